#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry and mDNS, on two machines with an avahi-daemon each: what is found, how soon it is gone,
what is left alone, what is announced, and what happens when avahi-daemon or D-Bus end, come back or
hang. Skipped (77) where namespaces or Avahi are missing."""

import json
import os
import signal
import time

from mdns_harness import end, enter, make_machines
from registry_harness import REGISTRY, RegistryTest, main, registration

WELL_KNOWN = 'nqn.2014-08.org.nvmexpress.discovery'
UNIQUE = 'nqn.2014-08.org.nvmexpress:uuid:8c4f0b52-5a50-4d0c-9d1b-0c2f3c1f7a11'
SUBSYSTEM = 'nqn.2024-01.com.xdevice:nvme:001'
BOTH = {('10.77.0.2', 8009), ('fd77::2', 8009)}


class Mdns(RegistryTest):
    def setUp(self):
        super().setUp()
        self.one, self.two = make_machines(self.dir)
        # Also when what follows here fails.
        self.addCleanup(self.unplug)
        os.environ['DBUS_SYSTEM_BUS_ADDRESS'] = self.one.env['DBUS_SYSTEM_BUS_ADDRESS']
        # So long that nothing here is found because of it.
        self.config['discovery'] = {'enable_mdns': True, 'discovery_interval_sec': 3600}
        self.two.start_bus()
        self.two.start_avahi()

    def unplug(self):
        self.one.ip('link', 'del', 'cable')
        self.one.end()
        self.two.end()

    def start_all(self):
        self.one.start_bus()
        self.one.start_avahi()
        self.start()

    # ---- what the registry says ----

    def method(self, name='mdns'):
        return next(m for m in self.good('GET', '/api/v1/status')['discovery']
                    if m['method'] == name)

    def details(self):
        return self.method()['details']

    def controllers(self):
        return {(c['address'], c['port']) for c in self.details()['discovery_controllers']}

    def targets(self):
        return {(t['nqn'], t['address'], t['port'], t['status'])
                for t in self.good('GET', '/api/v1/targets')['targets']}

    def states(self):
        return {t[3] for t in self.targets()}

    def timed(self, condition, what):
        begin = time.monotonic()
        self.wait_for(condition, what)
        took_s = time.monotonic() - begin
        print(f'{what}: no longer after {took_s * 1000:.0f} ms')
        return took_s

    # ---- finding ----

    def test_finds_discovery_controllers_and_hears_goodbyes(self):
        before = self.two.publish('array before', 8009, 'p=tcp', f'nqn={WELL_KNOWN}')
        self.start_all()
        self.wait_for(lambda: self.controllers() == BOTH, 'it is not found')
        self.assertEqual([c['nqn'] for c in self.details()['discovery_controllers']], ['', ''])
        # One that comes later, with a name of its own; no TXT value has a case to its key.
        later = self.two.publish('array later', 8010, 'P=tcp', f'NQN={UNIQUE}')
        self.wait_for(lambda: len(self.controllers()) == 4, 'the later one is not found')
        self.assertEqual({c['nqn'] for c in self.details()['discovery_controllers']}, {'', UNIQUE})
        end(before)
        took_s = self.timed(lambda: self.controllers() == {('10.77.0.2', 8010), ('fd77::2', 8010)},
                            'the first one is still known')
        self.assertLess(took_s, 20)
        end(later)
        self.wait_for(lambda: self.controllers() == set(), 'the later one is still known')
        self.assertEqual(self.targets(), set())
        self.assertEqual(self.method()['failures'], 0)

    def test_finds_targets_and_loses_them(self):
        self.start_all()
        child = self.two.publish('node', 4420, 'p=tcp', f'subnqn={SUBSYSTEM}')
        wanted = {(SUBSYSTEM, '10.77.0.2', 4420, 'unknown'), (SUBSYSTEM, 'fd77::2', 4420, 'unknown')}
        self.wait_for(lambda: self.targets() == wanted, 'the target is not found')
        self.assertEqual(self.controllers(), set())
        for line in self.good('GET', '/api/v1/targets')['targets']:
            target = self.good('GET', f'/api/v1/targets/{line["target_id"]}')
            self.assertEqual(target['source'], 'mdns')
            self.assertEqual(target['node_id'], 'two')
            self.assertEqual(target['metadata'],
                             {'mdns.host': 'two.local', 'mdns.name': 'node'})
        end(child)
        took_s = self.timed(lambda: self.states() == {'offline'}, 'the target is still there')
        self.assertLess(took_s, 20)
        # It is kept, and comes back as itself.
        ids = {t['target_id'] for t in self.good('GET', '/api/v1/targets')['targets']}
        self.two.publish('node', 4420, 'p=tcp', f'subnqn={SUBSYSTEM}')
        self.wait_for(lambda: self.states() == {'unknown'}, 'the target does not come back')
        self.assertEqual({t['target_id'] for t in self.good('GET', '/api/v1/targets')['targets']},
                         ids)

    def test_hears_what_changes(self):
        self.start_all()
        child = self.two.publish('node', 4420, 'p=tcp', f'subnqn={SUBSYSTEM}')
        self.wait_for(lambda: len(self.targets()) == 2, 'the target is not found')
        # So soon that its going may not be heard at all.
        end(child, signal.SIGKILL)
        self.two.publish('node', 4430, 'p=tcp', f'subnqn={SUBSYSTEM}')
        self.wait_for(lambda: {t[2:] for t in self.targets()} ==
                      {(4420, 'offline'), (4430, 'unknown')}, 'the new port is not heard')

    def test_finds_a_registry_and_takes_its_targets(self):
        # Both announce themselves, this one looks for others.
        path = self.two.dir / 'registry.json'
        path.write_text(json.dumps({
            'service': {'listen_port': 0, 'grpc_port': 0, 'data_directory': str(self.two.dir / 'data')},
            'discovery': {'static_targets': [registration(7)]},
            'health_monitoring': {'probe_level': 'none'},
            'discovery_controller': {'listen_address': '10.77.0.2', 'listen_port': 8009}}))
        self.config['discovery_controller'] = {'listen_address': '10.77.0.1', 'listen_port': 8009}
        other = self.two.popen(REGISTRY, '--config', path, log='registry')
        self.two.children.append(other)
        self.start_all()
        self.wait_for(lambda: self.controllers() == {('10.77.0.2', 8009)}, 'it is not found')
        self.wait_for(lambda: {t[0] for t in self.targets()} == {'nqn.2024-01.com.xdevice:nvme:008'},
                      'its targets are not taken')
        line, = self.good('GET', '/api/v1/targets')['targets']
        target = self.good('GET', f'/api/v1/targets/{line["target_id"]}')
        self.assertEqual((target['source'], target['metadata']['pull.ddc']),
                         ('pulled', '10.77.0.2:8009'))
        controller, = self.method('pull')['controllers']
        self.assertEqual(controller['sources'], ['mdns'])
        self.assertTrue(controller['nqn'].startswith('nqn.2014-08.org.nvmexpress:uuid:'))
        end(other)
        self.wait_for(lambda: self.controllers() == set(), 'it is still on the list')
        self.assertEqual(self.method()['failures'], 0)

    def test_leaves_alone_what_cannot_be_reached(self):
        self.start_all()
        for number, address in enumerate(('169.254.7.7', 'fe80::7', '224.0.0.7'), 1):
            self.two.publish_address(f'bad-{number}.local', address)
            self.two.publish(f'bad {number}', 8009, 'p=tcp', words=('-H', f'bad-{number}.local'))
        self.two.publish('no tcp', 8009, 'p=rdma')
        self.two.publish('no p', 8009, f'nqn={WELL_KNOWN}')
        self.two.publish('no name', 8009, 'p=tcp', 'nqn=hello')
        self.two.publish('no subsystem', 8009, 'p=tcp', f'subnqn=nqn.{"x" * 230}')
        self.two.publish('good', 8011, 'p=tcp')
        self.wait_for(lambda: self.controllers() == {('10.77.0.2', 8011), ('fd77::2', 8011)},
                      'the good one is not found')
        # Each of the four is shown over IPv4 and IPv6.
        self.wait_for(lambda: self.details()['ignored'] >= 8, 'they are not counted')
        self.assertEqual(self.controllers(), {('10.77.0.2', 8011), ('fd77::2', 8011)})
        self.assertEqual(self.targets(), set())

    def announce_by_file(self, services, number):
        path = self.dir / 'next'
        path.write_text(
            f'<service-group><name>array {number}</name><service><type>_nvme-disc._tcp</type>'
            f'<port>{10000 + number}</port><txt-record>p=tcp</txt-record></service>'
            '</service-group>')
        path.rename(services / f'{number}.service')

    def test_follows_no_more_than_it_can(self):
        # Many more services than are followed; each counts for IPv4 and for IPv6. Some at a time: of
        # what is said all at once much is lost, and what was lost is asked for ever more seldom. So
        # it is said again when it is not heard.
        services = self.dir / 'services'
        services.mkdir()
        self.two.stop_avahi()
        done = self.two.run('mount', '--bind', services, '/etc/avahi/services')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.two.start_avahi()
        self.start_all()
        for first in range(0, 300, 50):
            begin = time.monotonic()
            said = None
            while self.details()['services'] != 2 * (first + 50):
                self.assertLess(time.monotonic() - begin, 180, f'{first + 50} are not seen')
                if said is None or time.monotonic() - said > 15:
                    for number in range(first, first + 50):
                        self.announce_by_file(services, number)
                    said = time.monotonic()
                time.sleep(0.1)
        self.wait_for(lambda: len(self.controllers()) == 512, 'they are not followed')
        self.assertEqual(self.details()['ignored'], 88)
        # All go: so does what is known of them, and there is room again. So many good-byes at once
        # may be lost on a busy machine, and are then not said again for over an hour.
        self.two.stop_avahi()
        begin = said = time.monotonic()
        while self.controllers() != set():
            self.assertLess(time.monotonic() - begin, 180, 'they are still known')
            if time.monotonic() - said > 20:
                self.two.start_avahi()
                self.two.stop_avahi()
                said = time.monotonic()
            time.sleep(0.1)
        self.two.run('umount', '/etc/avahi/services')
        self.two.start_avahi()
        self.two.publish('array', 8009, 'p=tcp')
        self.wait_for(lambda: self.controllers() == BOTH, 'there is no room')
        self.assertEqual((self.details()['services'], self.details()['ignored']), (2, 0))

    def test_loopback_is_for_a_registry_on_loopback(self):
        self.start_all()  # on 127.0.0.1
        self.one.publish('here', 8009, 'p=tcp')
        everywhere = {('10.77.0.1', 8009), ('fd77::1', 8009)}
        self.wait_for(lambda: self.controllers() >= everywhere | {('127.0.0.1', 8009)},
                      'it is not found')
        self.assertEqual(self.stop(), 0, self.log_text())
        self.config['discovery_controller'] = {'listen_address': '10.77.0.1', 'listen_port': 8010}
        self.start()
        self.wait_for(lambda: self.controllers() >= everywhere, 'it is not found')
        self.wait_for(lambda: self.details()['ignored'] >= 1, 'the others are not counted')
        self.assertEqual(self.controllers(), everywhere)

    # ---- daemons that come and go ----

    def test_goes_on_when_avahi_comes_later(self):
        body = registration()
        self.config['discovery']['static_targets'] = [body]
        self.two.publish('node', 4420, 'p=tcp', f'subnqn={SUBSYSTEM}')
        self.start()  # not even a bus
        self.wait_for(lambda: self.method()['failures'] == 1, 'it does not fail')
        self.assertIn('no avahi-daemon', self.method()['problem'])
        self.assertEqual(self.details()['daemon'], 'missing')
        self.wait_equal(lambda: self.method('static')['successes'], 1, 'the others are not asked')
        self.wait_equal(lambda: len(self.targets()), 1, 'what they know is not there')
        self.one.start_bus()
        self.one.start_avahi()
        self.wait_for(lambda: len(self.targets()) == 3, 'it is not found later')
        self.wait_for(lambda: self.method()['problem'] == '', 'the problem is still told')
        self.wait_equal(lambda: self.details()['daemon'], 'running', 'it is not seen')
        self.assertEqual(self.log_text().count('no avahi-daemon'), 2)

    def check_outage(self, stop, start):
        # Nothing is lost while Avahi is away; what has gone meanwhile is seen afterwards.
        stays = self.two.publish('stays', 4420, 'p=tcp', f'subnqn={SUBSYSTEM}')
        leaves = self.two.publish('leaves', 4421, 'p=tcp', f'subnqn={SUBSYSTEM}')
        array = self.two.publish('array', 8009, 'p=tcp')
        self.start_all()
        self.wait_for(lambda: len(self.targets()) == 4 and self.controllers() == BOTH,
                      'they are not found')
        stop()
        self.wait_for(lambda: self.details()['daemon'] == 'missing', 'it is not missed')
        end(leaves)
        self.assertEqual(self.states(), {'unknown'})
        self.assertEqual(self.controllers(), BOTH)
        start()
        self.timed(lambda: {t[2:] for t in self.targets()} == {(4420, 'unknown'), (4421, 'offline')},
                   'what was missed is not seen')
        self.wait_equal(self.controllers, BOTH, 'what is still there is not')
        end(stays)
        end(array)
        self.wait_for(lambda: self.states() == {'offline'} and self.controllers() == set(),
                      'it is deaf now')

    def test_avahi_that_is_killed_and_restarted(self):
        self.check_outage(lambda: self.one.stop_avahi(signal.SIGKILL), self.one.start_avahi)

    def test_bus_that_is_killed_and_restarted(self):
        def stop():
            self.one.stop_bus()
            self.one.stop_avahi(signal.SIGKILL)

        def start():
            self.one.start_bus()
            self.one.start_avahi()
        self.check_outage(stop, start)

    def test_avahi_that_hangs_does_not_hold_up_the_end(self):
        self.config['discovery_controller'] = {'listen_address': '10.77.0.1', 'listen_port': 8009}
        self.start_all()
        self.wait_for(lambda: self.two.browse() != set(), 'it is not announced')
        self.one.avahi.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        self.assertEqual(self.stop(), 0, self.log_text())
        self.assertLess(time.monotonic() - begin, 20)

    # ---- reloading ----

    def test_a_reload_looks_and_looks_no_more(self):
        self.config['discovery'] = {'discovery_interval_sec': 3600, 'discovery_timeout_sec': 3600}
        self.config['discovery_controller'] = {'listen_address': '10.77.0.1', 'listen_port': 8009}
        self.two.publish('node', 4420, 'p=tcp', f'subnqn={SUBSYSTEM}')
        self.two.publish('array', 8010, 'p=tcp')
        self.start_all()
        self.wait_for(lambda: self.announced_here() == {8009}, 'it is not announced')
        self.assertNotIn('mdns', self.methods())
        self.taken(enable_mdns=True)
        self.wait_for(lambda: len(self.targets()) == 2, 'the target is not found')
        self.wait_for(lambda: len(self.controllers()) == 2, 'the controller is not found')
        self.wait_for(lambda: self.read_from() == {8010}, 'nobody reads it')
        # Nothing is looked for any more; what was found stays, but its controllers are not read.
        self.taken(enable_mdns=False)
        self.assertNotIn('mdns', self.methods())
        self.wait_for(lambda: self.read_from() == set(), 'it is still read')
        self.two.publish('later', 4430, 'p=tcp', f'subnqn={SUBSYSTEM}')
        self.assertEqual({t[2:] for t in self.targets()}, {(4420, 'unknown')})
        # Again, and quickly.
        for _ in range(5):
            self.taken(enable_mdns=True)
            self.taken(enable_mdns=False)
        self.taken(enable_mdns=True)
        self.wait_for(lambda: {t[2:] for t in self.targets()} == {(4420, 'unknown'), (4430, 'unknown')},
                      'the later one is not found')
        # A daemon that is not there is told, and does not hold up a reload.
        self.one.stop_avahi()
        self.taken(enable_mdns=False)
        self.taken(enable_mdns=True)
        self.wait_for(lambda: 'no avahi-daemon' in self.method()['problem'], 'it is not missed')
        self.assertEqual(len(self.targets()), 4)
        self.one.start_avahi()
        self.wait_for(lambda: len(self.controllers()) == 2, 'it does not go on')
        self.assertEqual(self.stop(), 0, self.log_text())

    def read_from(self):
        return {c['port'] for c in self.methods()['pull']['controllers'] if c['sources']}

    def announced_here(self):
        return {port for name, protocol, address, port in self.announced() if address == '10.77.0.1'}

    def test_a_reload_announces_and_withdraws(self):
        self.config['discovery_controller'] = {
            'listen_address': '10.77.0.1', 'listen_port': 8009, 'publish_mdns': False}
        self.start_all()
        self.wait_for(lambda: self.method()['successes'] > 0, 'it does not look')
        self.assertEqual(self.announced(), set())
        # As it would be by default there.
        del self.config['discovery_controller']['publish_mdns']
        self.assertEqual(self.reload()['taken'], ['discovery_controller.publish_mdns'])
        self.wait_for(lambda: self.announced_here() == {8009}, 'it is not announced')
        self.wait_for_published('xsan-registry one')
        # What is announced is what listens, whatever the file says now.
        self.config['discovery_controller'].update(
            publish_mdns=True, listen_port=8010, listen_address='127.0.0.1')
        answer = self.reload()
        self.assertEqual(answer['taken'], ['discovery_controller.publish_mdns'])
        self.assertEqual(answer['needs_restart'], ['discovery_controller.listen_address',
                                                   'discovery_controller.listen_port'])
        self.assertEqual(self.announced_here(), {8009})
        self.config['discovery_controller'].update(
            publish_mdns=False, listen_port=8009, listen_address='10.77.0.1')
        self.reload()
        self.wait_for(lambda: self.announced() == set(), 'it is still announced')
        self.wait_for_published(None)
        self.assertEqual(self.log_text().count("announced as 'xsan-registry one'"), 1)
        # And no finding without announcing, nor the other way round, for all that.
        self.config['discovery_controller']['publish_mdns'] = True
        self.taken(enable_mdns=False)
        self.wait_for(lambda: self.announced_here() == {8009}, 'it is not announced again')
        self.assertNotIn('mdns', self.methods())

    # ---- announcing ----

    def wait_for_published(self, name):
        """Others may know of it a moment before the registry is told."""
        self.wait_equal(lambda: self.details()['published'], name, 'it is not what is announced')

    def announced(self):
        return {(name, protocol, address, port)
                for name, protocol, address, port, _ in self.two.browse()}

    def test_announces_itself_and_does_not_find_itself(self):
        self.config['discovery_controller'] = {'listen_address': '0.0.0.0', 'listen_port': 8019,
                                               'nqn': UNIQUE}
        self.start_all()
        wanted = {('xsan-registry one', 'IPv4', '10.77.0.1', 8019, (f'nqn={UNIQUE}', 'p=tcp'))}
        self.wait_for(lambda: self.two.browse() == wanted, 'it is not announced')
        self.wait_equal(lambda: self.two.browse('_cdc._sub._nvme-disc._tcp'), wanted, 'it is not so announced')
        self.wait_for_published('xsan-registry one')
        # A stranger is found, this registry is not.
        self.two.publish('array', 8009, 'p=tcp')
        self.wait_for(lambda: self.controllers() == BOTH, 'the other one is not found')
        # Not even when another service on this machine has its place, or somebody its name.
        self.one.publish('copy', 8019, 'p=tcp')
        self.two.publish('name', 8020, 'p=tcp', f'nqn={UNIQUE}')
        self.two.publish('last', 8021, 'p=tcp')
        self.wait_for(lambda: ('10.77.0.2', 8021) in self.controllers(), 'it is not found')
        self.wait_for(lambda: self.details()['services'] >= 6, 'they are not seen')
        self.wait_equal(self.controllers, BOTH | {('10.77.0.2', 8021), ('fd77::2', 8021)},
                        'there are others')
        # Withdrawn at the end, at once.
        begin = time.monotonic()
        self.assertEqual(self.stop(), 0, self.log_text())
        self.wait_for(lambda: not any(name.startswith('xsan-registry')
                                      for name, *_ in self.announced()), 'it is still announced')
        self.assertLess(time.monotonic() - begin, 20)

    def test_announces_the_address_where_it_listens(self):
        for address, protocol in (('10.77.0.1', 'IPv4'), ('fd77::1', 'IPv6')):
            with self.subTest(address):
                self.config['discovery_controller'] = {'listen_address': address,
                                                       'listen_port': 8009}
                if self.one.bus is None:
                    self.one.start_bus()
                    self.one.start_avahi()
                self.start()
                self.wait_for(lambda: {a for n, p, a, *_ in self.announced()} == {address},
                              f'{address} is not announced alone')
                self.assertEqual(self.stop(), 0, self.log_text())
                self.wait_for(lambda: self.announced() == set(), 'it is still announced')

    def test_announces_only_what_others_reach_unless_told(self):
        self.start_all()  # listens on 127.0.0.1
        self.wait_for(lambda: self.details()['daemon'] == 'running', 'avahi is not seen')
        self.wait_for(lambda: self.method()['successes'] > 0, 'it does not look')
        self.assertIsNone(self.details()['published'])
        self.assertEqual(self.announced(), set())
        self.assertEqual(self.stop(), 0, self.log_text())
        self.config['discovery_controller'] = {'listen_address': '0.0.0.0', 'listen_port': 0,
                                               'publish_mdns': False}
        self.start()
        self.wait_for(lambda: self.method()['successes'] > 0, 'it does not look')
        self.assertIsNone(self.details()['published'])
        self.assertEqual(self.announced(), set())

    def test_announces_again_after_a_restart_of_avahi(self):
        self.config['discovery_controller'] = {'listen_address': '0.0.0.0', 'listen_port': 8009}
        self.start_all()
        self.wait_for(lambda: self.announced() != set(), 'it is not announced')
        first = self.announced()
        self.one.stop_avahi()
        self.wait_for(lambda: self.announced() == set(), 'it is still announced')
        self.wait_for(lambda: self.details()['published'] is None, 'it still says so')
        self.one.start_avahi()
        self.wait_for(lambda: self.announced() == first, 'it is not announced again')
        self.wait_equal(lambda: self.log_text().count("announced as 'xsan-registry one'"), 2, 'it is not said')

    def test_takes_another_name_when_its_own_is_taken(self):
        self.two.publish('xsan-registry one', 9000, 'p=tcp')
        self.config['discovery_controller'] = {'listen_address': '0.0.0.0', 'listen_port': 8009}
        self.start_all()
        self.wait_for(lambda: ('xsan-registry one #2', 'IPv4', '10.77.0.1', 8009)
                      in self.announced(), 'it has no other name')
        self.assertIn('10.77.0.2', {a for n, p, a, *_ in self.announced() if n.endswith('one')})


if __name__ == '__main__':
    enter()
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry reads other discovery controllers: a real node, another registry, and one of the tests' own
that is wrong in many ways; kick-starts, referrals, and two registries that read each other."""

import json
import signal
import time

from ddc_harness import Ddc, entry, kick_start
from host import Controller
from node_harness import NQN
from nvmetcp import DISCOVERY_NQN, DiscoveryLog, le
from registry_harness import OtherRegistry, RegistryTest, free_port, main, registration

LOG = 0x70
LOST = 'pull: not in the log of its discovery controller any more'


def log_of(port, *, lsp=0, **options):
    """The entries of a registry's log, as a host reads it."""
    host = Controller(('127.0.0.1', port), DISCOVERY_NQN, **options).enable()
    try:
        numrec = le(host.log(LOG, 1024, rae=1, lsp=lsp), 8, 8)
        data = b''
        while len(data) < 1024 * (numrec + 1):
            data += host.log(LOG, min(4096, 1024 * (numrec + 1) - len(data)), len(data), lsp=lsp)
        return DiscoveryLog(data).entries
    finally:
        host.close()


class Pull(RegistryTest):
    def setUp(self):
        super().setUp()
        self.discovery_port = self.prepare(self)
        self.ddcs, self.others = [], []

    def tearDown(self):
        for other in self.others:
            other.tearDown()
        super().tearDown()
        for ddc in self.ddcs:
            ddc.stop()

    @staticmethod
    def prepare(registry):
        port = free_port()
        registry.config['discovery_controller'] = {'listen_port': port}
        registry.config['discovery'] = {'discovery_interval_sec': 1, 'discovery_timeout_sec': 10}
        return port

    def ddc(self, *entries, **options):
        ddc = Ddc(entries, **options)
        self.ddcs.append(ddc)
        return ddc

    def other(self):
        other = OtherRegistry()
        other.setUp()
        other.discovery_port = self.prepare(other)
        self.others.append(other)
        return other

    def read(self, *ports, **discovery):
        """Has the registry read the controllers at these ports."""
        self.config['discovery'].update({
            'discovery_controllers': [{'address': '127.0.0.1', 'port': port} for port in ports],
            **discovery})
        self.start()

    @staticmethod
    def targets(registry):
        return {t['nqn']: t for t in registry.good('GET', '/api/v1/targets')['targets']}

    def full(self, nqn):
        return self.good('GET', f"/api/v1/targets/{self.targets(self)[nqn]['target_id']}")

    def status_of(self, nqn):
        return self.targets(self).get(nqn, {'status': 'none'})['status']

    def counters(self):
        method, = (m for m in self.good('GET', '/api/v1/status')['discovery']
                   if m['method'] == 'pull')
        return method

    def controller(self, port):
        found = [c for c in self.counters()['controllers'] if c['port'] == port]
        return found[0] if found else None

    def wait_for_state(self, port, state):
        """What is shown of a controller in that state."""
        shown = {}

        def is_so():
            shown.update(self.controller(port) or {})
            return shown.get('state') == state
        self.wait_for(is_so, f'the controller is not {state}')
        return shown

    # ---- a controller ----

    def test_a_log_is_taken_over(self):
        ddc = self.ddc(entry('nqn.2026-11.io.xsan:a', portid=7), entry('nqn.2026-11.io.xsan:b'),
                       entry(DISCOVERY_NQN, subtype=3), entry(DISCOVERY_NQN, subtype=1),
                       entry('nqn.2026-11.io.xsan:c', traddr='0.0.0.0'),
                       entry('nqn.2026-11.io.xsan:c', traddr='name'),
                       entry('nqn.2026-11.io.xsan:c', trsvcid='0'),
                       entry('nqn.2026-11.io.xsan:c', trtype=254),
                       entry('nqn.2026-11.io.xsan:b'), entry('no nqn'), entry(DISCOVERY_NQN))
        self.read(ddc.port, follow_referrals=False)
        self.wait_for(lambda: len(self.targets(self)) == 2, 'they are not there')
        full = self.full('nqn.2026-11.io.xsan:a')
        self.assertEqual((full['source'], full['status'], full['node_id']),
                         ('pulled', 'unknown', 'nqn.2026-11.io.xsan:ddc'))
        self.assertEqual(full['metadata'], {
            'pull.ddc': f'127.0.0.1:{ddc.port}', 'pull.port': '7',
            'pull.via': (self.data_dir / 'discovery-nqn').read_text()})
        shown = self.wait_for_state(ddc.port, 'connected')
        self.assertEqual((shown['state'], shown['persistent'], shown['nqn'], shown['sources'],
                          shown['found'], shown['ignored'], shown['problem']),
                         ('connected', True, ddc.nqn, ['static'], 2, 7, ''))
        # Whom it sees: a discovery controller that asks for all of this port.
        hostnqn, cattr, kato = ddc.seen[0]
        self.assertTrue(hostnqn.startswith('nqn.2014-08.org.nvmexpress:uuid:'))
        self.assertEqual((cattr & 0x10, kato, set(ddc.lsps)), (0x10, 15000, {7}))
        # Hosts see what was pulled, with its PORTID; discovery controllers do not.
        seen = [(e.subnqn, e.portid) for e in log_of(self.discovery_port) if e.subtype == 2]
        self.assertEqual(sorted(seen), [('nqn.2026-11.io.xsan:a', 7), ('nqn.2026-11.io.xsan:b', 1)])
        for lsp in (0, 4):
            self.assertEqual([e for e in log_of(self.discovery_port, cattr=0x10, lsp=lsp)
                              if e.subtype == 2], [])

    def test_changes_are_followed_at_once(self):
        a, b = entry('nqn.2026-11.io.xsan:a'), entry('nqn.2026-11.io.xsan:b')
        ddc = self.ddc(a)
        self.read(ddc.port, discovery_interval_sec=60)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not there')
        start = time.monotonic()
        ddc.change([a, b])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:b') == 'unknown', 'not there')
        ddc.change([b])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'offline', 'still there')
        print(f'two changes followed in {time.monotonic() - start:.2f} s')
        self.assertEqual(len(ddc.seen), 1, 'it was connected to anew')
        self.assertEqual(self.full('nqn.2026-11.io.xsan:a')['status_reason'], LOST)
        # What an operator has set stays.
        target = self.targets(self)['nqn.2026-11.io.xsan:b']['target_id']
        self.good('PATCH', f'/api/v1/targets/{target}',
                  {'config': {'weight': 7}, 'metadata': {'location': 'rack-1'}})
        ddc.change([a, entry('nqn.2026-11.io.xsan:b', portid=9)])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not back')
        # What is in a log is taken over one by one.
        self.wait_equal(lambda: self.full('nqn.2026-11.io.xsan:b')['metadata']['pull.port'], '9', 'not changed')
        self.assertEqual(self.full('nqn.2026-11.io.xsan:b')['config']['weight'], 7)

    def test_what_is_gone_goes_away(self):
        ddc = self.ddc(entry('nqn.2026-11.io.xsan:a'), persistent=False)
        self.read(ddc.port, pulled_forget_sec=1)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not there')
        self.assertFalse(self.controller(ddc.port)['persistent'])
        ddc.change([])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'none', 'still there')
        ddc.change([entry('nqn.2026-11.io.xsan:a')])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not back')
        # Nobody names the controller any more, for which two rounds are waited.
        self.assertEqual(self.stop(), 0)
        self.read(discovery_interval_sec=5)
        self.assertEqual(self.status_of('nqn.2026-11.io.xsan:a'), 'unknown')
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'none', 'still there')

    def test_a_reload_takes_another_list(self):
        first, second = self.ddc(entry('nqn.2026-11.io.xsan:a')), self.ddc(
            entry('nqn.2026-11.io.xsan:b'))
        self.read(first.port, discovery_interval_sec=3600)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not there')
        self.config['discovery'].update({
            'discovery_controllers': [{'address': '127.0.0.1', 'port': second.port}],
            'discovery_interval_sec': 1, 'pulled_forget_sec': 1})
        self.config_path.write_text(json.dumps(self.config))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: set(self.targets(self)) == {'nqn.2026-11.io.xsan:b'},
                      'the list is not followed')
        self.wait_for(lambda: first.nr_connected() == 0, 'it is still connected to')

    def test_one_that_is_not_there_changes_nothing(self):
        ddc = self.ddc(entry('nqn.2026-11.io.xsan:a'))
        self.read(ddc.port)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not there')
        ddc.stop()
        self.wait_for(lambda: self.controller(ddc.port)['failures'] >= 2, 'no failures')
        shown = self.wait_for_state(ddc.port, 'failing')
        self.assertIn('refused', shown['problem'])
        self.wait_for(lambda: 'refused' in self.counters()['problem'], 'the method has no problem')
        self.assertEqual(self.status_of('nqn.2026-11.io.xsan:a'), 'unknown')
        self.ddc(entry('nqn.2026-11.io.xsan:b'), port=ddc.port)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:b') == 'unknown', 'not there')
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'offline', 'still there')

    def test_wrong_ones_hold_up_nobody(self):
        """Twenty that hang, some with nonsense, and a good one behind all of them."""
        wrong = {how: self.ddc(entry('nqn.2026-11.io.xsan:x'), how=how)
                 for how in ('noise', 'moving', 'hang')}
        wrong['long'] = self.ddc()
        wrong['long'].numrec = 1 << 40
        hanging = [self.ddc(how='hang') for _ in range(20)]
        # Those whose log can be read in another way are read in that way.
        odd = self.ddc(entry('nqn.2026-11.io.xsan:odd'), how='no options', persistent=False)
        good = self.ddc(entry('nqn.2026-11.io.xsan:good'))
        self.read(*[d.port for d in (*wrong.values(), *hanging, odd, good)], discovery_timeout_sec=2)
        start = time.monotonic()
        self.wait_for(lambda: set(self.targets(self)) == {
            'nqn.2026-11.io.xsan:good', 'nqn.2026-11.io.xsan:odd'}, 'they are not there')
        print(f'the good ones were read after {time.monotonic() - start:.1f} s')
        self.assertIn(0, [kato for _, _, kato in odd.seen[1:]], 'KATO when that was refused')
        self.assertEqual(set(odd.lsps), {0, 6, 7})
        good.change([entry('nqn.2026-11.io.xsan:better')])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:better') == 'unknown', 'no change')
        self.assertNotIn('nqn.2026-11.io.xsan:x', self.targets(self))
        for how, text in (('long', '1099511627776 entries'), ('moving', 'faster than'),
                          ('hang', 'too long'), ('noise', 'protocol')):
            self.wait_for(lambda h=how, t=text: t in self.controller(wrong[h].port)['problem'],
                          f'{how}: {self.controller(wrong[how].port)}')
        self.assertEqual(self.stop(), 0)

    def test_a_place_belongs_to_whom_it_was_first(self):
        first = self.ddc(entry('nqn.2026-11.io.xsan:a'), entry('nqn.2026-11.io.xsan:mine'))
        self.start()
        mine = self.register(0, target_info__nqn='nqn.2026-11.io.xsan:mine',
                             target_info__address='127.0.0.1')
        self.assertEqual(self.stop(), 0)
        self.read(first.port)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not there')
        second = self.ddc(entry('nqn.2026-11.io.xsan:a'))
        self.assertEqual(self.stop(), 0)
        self.read(first.port, second.port)
        for ddc in (first, second):
            self.wait_for(lambda port=ddc.port: self.controller(port)['ignored'] == 1,
                          'it is not ignored')
        self.assertEqual(self.full('nqn.2026-11.io.xsan:mine')['source'], 'registered')
        self.assertEqual(self.targets(self)['nqn.2026-11.io.xsan:mine']['target_id'], mine)
        # What the first has lost is the second's, if that has it.
        first.change([])
        self.wait_for(lambda: self.full('nqn.2026-11.io.xsan:a')['metadata']['pull.ddc'] ==
                      f'127.0.0.1:{second.port}', 'it is not taken over')
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'it is lost')

    # ---- nodes and registries ----

    def test_a_node(self):
        """Its subsystems come and go, the monitor finds them healthy, it is killed and comes back."""
        node = self.make_node()  # every listener of it is a discovery controller too
        node.start()
        self.config['health_monitoring'] = {
            'monitoring_interval_sec': 1, 'health_check_timeout_sec': 1,
            'recovery_threshold_checks': 1, 'flap_limit': 0}
        self.config['failover'] = {'failover_threshold_failures': 2, 'recovery_backoff_sec': 1,
                                   'recovery_backoff_max_sec': 1}
        self.read(node.port)
        self.wait_for(lambda: self.status_of(NQN) == 'available', 'it is not available')
        self.wait_for_state(node.port, 'connected')
        more = 'nqn.2026-11.io.xsan:more'
        node.call('nvmf_create_subsystem', {'nqn': more, 'allow_any_host': True})
        node.call('nvmf_subsystem_add_listener', {'nqn': more, 'listen_address': {
            'trtype': 'TCP', 'adrfam': 'IPv4', 'traddr': '127.0.0.1', 'trsvcid': str(node.port)}})
        self.wait_for(lambda: self.status_of(more) == 'available', 'the new one is not there')
        node.call('nvmf_delete_subsystem', {'nqn': more})
        self.wait_for(lambda: self.status_of(more) == 'offline', 'it is still there')
        node.kill()
        self.wait_for(lambda: self.status_of(NQN) in ('failed', 'offline'), 'it is not failed')
        self.wait_for(lambda: self.controller(node.port)['state'] in ('failing', 'reading'),
                      'the controller is still there')
        node.start()
        self.wait_for(lambda: self.status_of(NQN) == 'available', 'it is not back')
        self.wait_for(lambda: self.controller(node.port)['state'] == 'connected', 'not connected')
        self.assertEqual(self.full(NQN)['source'], 'pulled')
        self.assertEqual(self.status_of(more), 'offline')

    def test_two_registries_that_read_each_other(self):
        """Each has what was registered with the other; what is gone is not kept alive between them."""
        other = self.other()
        other.config['discovery']['discovery_controllers'] = [
            {'address': '127.0.0.1', 'port': self.discovery_port},
            {'address': '127.0.0.1', 'port': other.discovery_port}]
        other.config['discovery']['pulled_forget_sec'] = 1
        other.start()
        self.read(other.discovery_port, self.discovery_port, pulled_forget_sec=1)
        mine = self.register(0, target_info__nqn='nqn.2026-11.io.xsan:mine')
        other.register(0, target_info__nqn='nqn.2026-11.io.xsan:theirs',
                       target_info__address='192.168.1.7')
        both = {'nqn.2026-11.io.xsan:mine', 'nqn.2026-11.io.xsan:theirs'}
        for registry in (self, other):
            self.wait_for(lambda r=registry: set(self.targets(r)) == both, 'not both are there')
        self.wait_equal(lambda: [c['port'] for c in self.counters()['controllers']],
                        [other.discovery_port], 'it reads itself')
        self.wait_for_log('are this registry itself')
        seen = {e.subnqn for e in log_of(other.discovery_port) if e.subtype == 2}
        self.assertEqual(seen, both)
        self.good('DELETE', f'/api/v1/targets/{mine}', {'force': True})
        for registry in (self, other):
            self.wait_for(lambda r=registry: 'nqn.2026-11.io.xsan:mine' not in self.targets(r),
                          'it is still there')
        time.sleep(2.5)
        self.assertEqual(set(self.targets(self)), {'nqn.2026-11.io.xsan:theirs'})
        self.assertEqual(set(self.targets(other)), {'nqn.2026-11.io.xsan:theirs'})

    # ---- kick-start ----

    def test_kick_start(self):
        ddc = self.ddc(entry('nqn.2026-11.io.xsan:a'), entry('nqn.2026-11.io.xsan:b'))
        self.config['discovery']['discovery_interval_sec'] = 60
        self.config['discovery']['pulled_entries_max'] = 100
        self.start()
        start = time.monotonic()
        self.assertEqual(kick_start(self.discovery_port, ('127.0.0.1', ddc.port), numdie=2)[:2],
                         (0, 0))
        self.wait_for(lambda: len(self.targets(self)) == 2, 'they are not there')
        print(f'read {time.monotonic() - start:.2f} s after a kick-start')
        self.assertEqual(self.controller(ddc.port)['sources'], ['kick-start'])
        # From then on an event is enough; another kick-start has it read again.
        ddc.change([entry('nqn.2026-11.io.xsan:a')])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:b') == 'offline', 'no event')
        before = self.controller(ddc.port)['successes']
        self.assertEqual(kick_start(self.discovery_port, ('127.0.0.1', ddc.port))[0], 0)
        self.wait_for(lambda: self.controller(ddc.port)['successes'] > before, 'not read again')
        # Refused, and why.
        for reason, places, options in (
                (2, [('127.0.0.1', 8009)], {'trtype': 1}), (3, [('127.0.0.1', 8009)], {'adrfam': 4}),
                (4, [('127.0.0.1', 8009)], {'adrfam': 2}), (4, [('name', 8009)], {}),
                (5, [('127.0.0.1', 0)], {}), (5, [('127.0.0.1', 'x')], {}),
                (6, [('127.0.0.1', 8009)], {'numdie': 101}),
                (6, [('127.0.0.1', port) for port in range(8000, 8017)], {}),
                (1, [('0.0.0.0', 8009)], {}), (1, [('127.0.0.1', self.discovery_port)], {})):
            self.assertEqual(kick_start(self.discovery_port, *places, **options)[:2], (1, reason),
                             (places, options))
        self.assertEqual([c['port'] for c in self.counters()['controllers']], [ddc.port])
        # It is read on after a restart, though it does not ask again.
        self.assertEqual(self.stop(), 0)
        ddc.change([entry('nqn.2026-11.io.xsan:c')])
        self.start()
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:c') == 'unknown', 'not read on')

    def test_a_kick_start_of_nobody(self):
        """Who asks to be read and cannot be leaves the list."""
        port = free_port()
        self.start()
        self.assertEqual(kick_start(self.discovery_port, ('127.0.0.1', port))[0], 0)
        self.wait_for(lambda: self.controller(port) is not None, 'it is not on the list')
        self.wait_for(lambda: self.controller(port) is None, 'it is still on the list')
        self.wait_equal(lambda: self.counters()['failures'], 5, 'they are not counted')

    def test_kick_starts_can_be_refused(self):
        self.config['discovery_controller']['accept_kick_start'] = False
        self.start()
        with self.assertRaises(EOFError):
            kick_start(self.discovery_port, ('127.0.0.1', 8009))

    # ---- referrals ----

    def test_labels(self):
        """Attributes of entries, where a controller knows any."""
        ddc = self.ddc(entry('nqn.2026-11.io.xsan:a'), entry('nqn.2026-11.io.xsan:b'))
        ddc.label = 'Schrank 3, grün'.encode()
        self.read(ddc.port)
        for nqn in ('nqn.2026-11.io.xsan:a', 'nqn.2026-11.io.xsan:b'):
            self.wait_for(lambda n=nqn: n in self.targets(self), 'not there')
            self.assertEqual(self.full(nqn)['metadata']['pull.label'], 'Schrank 3, grün')
        ddc.label = b'another'
        ddc.change(ddc.entries)
        self.wait_for(lambda: self.full('nqn.2026-11.io.xsan:a')['metadata']['pull.label'] ==
                      'another', 'the old label')

    def test_referrals_are_followed(self):
        """A chain of three that ends where it began, which goes link by link."""
        def refers_to(port):
            return entry(DISCOVERY_NQN, trsvcid=str(port), subtype=1)
        third = self.ddc(entry('nqn.2026-11.io.xsan:c'), nqn='nqn.2026-11.io.xsan:third')
        second = self.ddc(entry('nqn.2026-11.io.xsan:b'), refers_to(third.port),
                          nqn='nqn.2026-11.io.xsan:second')
        first = self.ddc(entry('nqn.2026-11.io.xsan:a'), refers_to(second.port))
        third.entries.append(refers_to(first.port))
        self.read(first.port)
        for name in 'abc':
            self.wait_for(lambda n=name: self.status_of(f'nqn.2026-11.io.xsan:{n}') == 'unknown',
                          f'{name} is not there')
        shown = [self.controller(ddc.port) for ddc in (first, second, third)]
        self.assertEqual([(c['sources'], c['referred_by'], c['referral_depth']) for c in shown],
                         [(['static'], '', 0),
                          (['referral'], f'127.0.0.1:{first.port}', 1),
                          (['referral'], f'127.0.0.1:{second.port}', 2)])
        self.assertEqual(self.full('nqn.2026-11.io.xsan:c')['metadata']['pull.ddc'],
                         f'127.0.0.1:{third.port}')
        # Gone with what led there, and back with it.
        first.change(first.entries[:1])
        for name in 'bc':
            self.wait_for(lambda n=name: self.status_of(f'nqn.2026-11.io.xsan:{n}') == 'offline',
                          f'{name} is still there')
        self.wait_for(lambda: self.controller(third.port) is None, 'it is still known')
        self.assertEqual(self.status_of('nqn.2026-11.io.xsan:a'), 'unknown')
        first.change([first.entries[0], refers_to(second.port)])
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:c') == 'unknown', 'not back')
        # A reload that allows one step only, and one that allows none.
        self.config['discovery']['referral_depth_max'] = 1
        self.config_path.write_text(json.dumps(self.config))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:c') == 'offline', 'still there')
        self.assertEqual(self.status_of('nqn.2026-11.io.xsan:b'), 'unknown')
        self.config['discovery']['follow_referrals'] = False
        self.config_path.write_text(json.dumps(self.config))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:b') == 'offline', 'still there')

    def test_looked_for_as_often_as_a_target_wants(self):
        """One target has its controller read more often than the configuration says, or not at all
        changed by it."""
        ddc = self.ddc(entry('nqn.2026-11.io.xsan:a'), persistent=False)
        self.read(ddc.port, discovery_interval_sec=3600)
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:a') == 'unknown', 'not there')
        target = self.targets(self)['nqn.2026-11.io.xsan:a']['target_id']
        self.good('PUT', f'/api/v1/targets/{target}/config', {'discovery_interval': 1})
        before = self.controller(ddc.port)['successes']
        self.wait_for(lambda: self.controller(ddc.port)['successes'] > before + 2, 'not read')
        # It is not to be looked for any more, and stays when it is not in the log.
        self.good('PATCH', f'/api/v1/targets/{target}', {'config': {'auto_discovery': False}})
        ddc.change([entry('nqn.2026-11.io.xsan:b')])
        self.good('POST', '/api/v1/reload')
        self.wait_for(lambda: self.status_of('nqn.2026-11.io.xsan:b') == 'unknown', 'not there')
        self.assertEqual(self.status_of('nqn.2026-11.io.xsan:a'), 'unknown')
        self.assertEqual(self.full('nqn.2026-11.io.xsan:a')['config']['auto_discovery'], False)

    def test_referrals(self):
        self.config['discovery_controller']['referrals'] = [
            {'address': '192.0.2.9'},
            {'address': 'fd00::9', 'port': 8010, 'nqn': 'nqn.2026-11.io.xsan:elsewhere'},
            {'address': '192.0.2.10', 'persistent': False}]
        self.start()
        expected = [('192.0.2.9', '8009', 1, DISCOVERY_NQN, 2),
                    ('fd00::9', '8010', 2, 'nqn.2026-11.io.xsan:elsewhere', 2),
                    ('192.0.2.10', '8009', 1, DISCOVERY_NQN, 0)]

        def referrals(**options):
            return [(e.traddr, e.trsvcid, e.adrfam, e.subnqn, e.eflags)
                    for e in log_of(self.discovery_port, **options) if e.subtype == 1]
        self.assertEqual(referrals(), expected)
        self.assertEqual(referrals(lsp=4), expected)
        self.assertEqual(referrals(cattr=0x10), expected)
        self.assertEqual(referrals(cattr=0x10, lsp=4), [])


if __name__ == '__main__':
    main()

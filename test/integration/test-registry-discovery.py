#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry as a central discovery controller, seen by the conformance suite's host: what is in the
log, who is told of changes and how soon, what a restart changes, and a node that is killed."""

import pathlib
import sys
import time

from registry_harness import PATIENCE_S, RegistryTest, free_port, main

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from host import Controller, ok  # noqa: E402
from nvmetcp import DISCOVERY_NQN, DiscoveryLog, le, text  # noqa: E402

LOG = 0x70
CHANGED = 0x0070f002


def raw_log(host):
    numrec = le(host.log(LOG, 1024, rae=1), 8, 8)
    data = b''
    while len(data) < 1024 * (numrec + 1):
        data += host.log(LOG, min(4096, 1024 * (numrec + 1) - len(data)), len(data))
    return data


def read_log(host):
    return DiscoveryLog(raw_log(host))


class Discovery(RegistryTest):
    def setUp(self):
        super().setUp()
        self.discovery_port = free_port()
        self.config['discovery_controller'] = {'listen_port': self.discovery_port}
        self.hosts = []
        self.start()

    def tearDown(self):
        for host in self.hosts:
            host.close()
        super().tearDown()

    def host(self, **options):
        host = Controller(('127.0.0.1', self.discovery_port), DISCOVERY_NQN, **options).enable()
        self.hosts.append(host)
        return host

    def subsystems(self, host):
        return {(e.subnqn, e.traddr, e.trsvcid) for e in read_log(host).entries if e.subtype == 2}

    def test_the_log_is_what_is_registered(self):
        host = self.host()
        self.assertEqual(self.subsystems(host), set())
        ids = host.identify_controller()
        self.assertEqual(ids[1806], 2, 'DCTYPE')
        self.assertTrue(text(ids, 768, 256).startswith('nqn.2014-08.org.nvmexpress:uuid:'))
        first = self.register(0)
        self.register(1, target_info__address='fd00::7', target_info__port=4421)
        self.assertEqual(self.subsystems(host), {
            ('nqn.2024-01.com.xdevice:nvme:001', '192.168.1.100', '4420'),
            ('nqn.2024-01.com.xdevice:nvme:002', 'fd00::7', '4421')})
        own = [e for e in read_log(host).entries if e.subtype == 3]
        self.assertEqual([(e.traddr, e.trsvcid) for e in own],
                         [('127.0.0.1', str(self.discovery_port))])
        # Offline is not deregistered: hosts would disconnect.
        self.good('PUT', f'/api/v1/targets/{first}/status', {'status': 'offline'})
        self.assertEqual(len(self.subsystems(host)), 2)
        self.good('DELETE', f'/api/v1/targets/{first}', {'force': True})
        self.assertEqual(len(self.subsystems(host)), 1)

    def test_hosts_are_told_within_a_second(self):
        host = self.host(kato=60000)
        before = read_log(host).genctr
        event = host.arm_event()
        start = time.monotonic()
        self.register(0)
        host.admin.wait(event, PATIENCE_S)
        told_s = time.monotonic() - start
        self.assertEqual(ok(event).cqe.dw0, CHANGED)
        self.assertEqual(read_log(host).genctr, before + 1)
        print(f'told after {told_s * 1000:.0f} ms')
        # What changes nothing in the log is no event: a report, weights.
        event = host.arm_event()
        made = self.good('GET', '/api/v1/targets')['targets'][0]['target_id']
        self.good('PUT', f'/api/v1/targets/{made}/metrics', {'current_iops': 1})
        self.good('PATCH', f'/api/v1/targets/{made}', {'config': {'weight': 3}})
        self.assertTrue(host.admin.is_quiet(0.5))
        self.assertEqual(read_log(host).genctr, before + 1)
        self.good('PATCH', f'/api/v1/targets/{made}', {'target_info': {'port': 4499}})
        host.admin.wait(event, PATIENCE_S)

    def test_a_restart_changes_nothing_but_the_counter_upwards(self):
        self.register(0)
        host = self.host()
        before, name = read_log(host), text(host.identify_controller(), 768, 256)
        self.assertEqual(self.stop(), 0)
        self.start()
        host = self.host()
        after = read_log(host)
        self.assertEqual(text(host.identify_controller(), 768, 256), name)
        self.assertGreater(after.genctr, before.genctr)
        self.assertEqual([e.subnqn for e in after.entries if e.subtype == 2],
                         [e.subnqn for e in before.entries if e.subtype == 2])

    def test_the_api_shows_the_hosts(self):
        host = self.host(kato=60000, hostnqn='nqn.2026-11.io.xsan:host-1')
        hosts = self.good('GET', '/api/v1/hosts')
        self.assertEqual([(h['hostnqn'], h['persistent'], h['address'])
                          for h in hosts['connected']],
                         [('nqn.2026-11.io.xsan:host-1', True, '127.0.0.1')])
        self.assertEqual(hosts['registered'], [])
        host.close()
        self.hosts.remove(host)
        self.wait_for(lambda: self.good('GET', '/api/v1/hosts')['connected'] == [],
                      'the host is still there')

    def test_zones_decide_who_sees_what(self):
        one, two = 'nqn.2026-11.io.xsan:host-1', 'nqn.2026-11.io.xsan:host-2'
        self.register(0, node_id='a')
        self.register(1, node_id='b')
        self.register(2, node_id='c', config={'tags': ['gold']})
        nqns = [f'nqn.2024-01.com.xdevice:nvme:00{i}' for i in (1, 2, 3)]
        hosts = {name: self.host(hostnqn=name, kato=60000) for name in (one, two)}
        seen = lambda name: sorted(nqn for nqn, _, _ in self.subsystems(hosts[name]))  # noqa: E731
        self.assertEqual([seen(one), seen(two)], [nqns, nqns])

        group = {'zones': [{'name': 'z1', 'hosts': [one], 'targets': [nqns[0], 'tag:gold']},
                           {'name': 'z2', 'hosts': [two], 'targets': ['node:b', nqns[0]]}]}
        self.good('PUT', '/api/v1/zones/prod', group)
        # Configured is not active yet.
        self.assertEqual([seen(one), seen(two)], [nqns, nqns])
        before = {name: read_log(host).genctr for name, host in hosts.items()}
        events = {name: host.arm_event() for name, host in hosts.items()}
        answer = self.good('POST', '/api/v1/zones/prod/activate')
        self.assertEqual([g['name'] for g in answer['active']], ['prod'])
        for name, host in hosts.items():
            host.admin.wait(events[name], PATIENCE_S)
            self.assertEqual(read_log(host).genctr, before[name] + 1)
        self.assertEqual([seen(one), seen(two)], [[nqns[0], nqns[2]], nqns[:2]])

        # A change that only one of them sees is told to that one only.
        counters = {name: read_log(host).genctr for name, host in hosts.items()}
        events = {name: host.arm_event() for name, host in hosts.items()}
        self.register(9, node_id='b')
        hosts[two].admin.wait(events[two], PATIENCE_S)
        self.assertTrue(hosts[one].admin.is_quiet(0.3))
        self.assertEqual(read_log(hosts[one]).genctr, counters[one])
        self.assertEqual(read_log(hosts[two]).genctr, counters[two] + 1)

        # Who is in no zone sees what is in none, unless the policy denies it.
        self.register(20, node_id='z')
        third = self.host(hostnqn='nqn.2026-11.io.xsan:host-3')
        self.assertEqual([n for n, _, _ in self.subsystems(third)],
                         ['nqn.2024-01.com.xdevice:nvme:021'])
        self.good('PATCH', '/api/v1/zones', {'default_policy': 'deny'})
        self.assertEqual(self.subsystems(third), set())

        # All of it is there after a restart.
        self.assertEqual(self.stop(), 0)
        self.start()
        hosts[one] = self.host(hostnqn=one)
        self.assertEqual(seen(one), [nqns[0], nqns[2]])
        self.refused(409, 'DELETE', '/api/v1/zones/prod')
        self.good('POST', '/api/v1/zones/prod/deactivate')
        self.assertEqual(len(seen(one)), 5)
        self.good('DELETE', '/api/v1/zones/prod')
        self.refused(404, 'GET', '/api/v1/zones/prod')

    def test_zones_that_cannot_be(self):
        for body in ({}, {'zones': 1}, {'zones': [{'name': 'a', 'hosts': []}]},
                     {'zones': [{'name': 'a b', 'hosts': [], 'targets': []}]},
                     {'zones': [{'name': 'a', 'hosts': ['x'], 'targets': []}]},
                     {'zones': [{'name': 'a', 'hosts': [], 'targets': ['tag:']}]},
                     {'zones': [{'name': 'a', 'hosts': [], 'targets': [], 'colour': 1}]}):
            self.refused(422, 'PUT', '/api/v1/zones/bad', body)
        self.refused(404, 'POST', '/api/v1/zones/none/activate')
        self.refused(422, 'PATCH', '/api/v1/zones', {'default_policy': 'maybe'})
        zones = self.call('GET', '/api/v1/zones')
        self.good('PUT', '/api/v1/zones/a', {'zones': []})
        self.refused(412, 'PUT', '/api/v1/zones/a', {'zones': []},
                     headers={'If-Match': zones.headers['ETag']})

    def test_a_reader_keeps_its_view(self):
        self.good('POST', '/api/v1/targets/bulk', {'targets': [
            {'node_id': 'n', 'target_info': {
                'nqn': f'nqn.2024-01.com.xdevice:nvme:{i:04}', 'address': '10.0.0.1',
                'port': 4420}} for i in range(100)]})
        host = self.host()
        header = host.log(LOG, 1024, rae=1)
        for i in range(100):
            self.register(i + 500)
        data = header
        while len(data) < 1024 * 102:
            data += host.log(LOG, 1024, len(data), rae=1)
        log = DiscoveryLog(data)
        self.assertEqual(len([e for e in log.entries if e.subtype == 2]), 100)
        self.assertEqual(len(self.subsystems(host)), 200)


if __name__ == '__main__':
    main()

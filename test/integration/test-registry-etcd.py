#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Several registries on one etcd: both show hosts and users the same, one of them judges, any of them may be
killed, and so may etcd. What is acknowledged is there in the end, whoever said so."""

import json
import subprocess
import threading
import time

from etcd_harness import PATIENCE_S, Registry, SharedTest, main_with_etcd
from node_harness import NQN
from registry_harness import REGISTRY, free_port, registration


class SharedData(SharedTest):
    def test_both_serve_the_same(self):
        one, other = self.registry(), self.registry()
        target = one.register(0)
        self.wait_for(lambda: target in other.targets(), 'it is not in the other')
        full = other.good('GET', f'/api/v1/targets/{target}')
        self.assertEqual(full, one.good('GET', f'/api/v1/targets/{target}'))
        other.refused(409, 'POST', '/api/v1/targets', registration(0))
        # A blocking query at the one hears of a change at the other at once.
        index = int(one.call('GET', '/api/v1/targets').headers['X-Registry-Index'])
        begin = time.monotonic()
        later = threading.Timer(0.5, lambda: other.register(1))
        later.start()
        answer = one.call('GET', f'/api/v1/targets?index={index}&wait=50s')
        self.assertEqual(len(answer.json['targets']), 2)
        self.assertLess(time.monotonic() - begin, 30)
        later.join()  # it has the other's connection
        # So do hosts, in the zones that were made at the other.
        host = 'nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001'
        nqns = [registration(i)['target_info']['nqn'] for i in range(2)]
        for registry in (one, other):
            self.wait_for(lambda registry=registry: registry.seen_by(host) == nqns, 'no log')
        other.good('PUT', '/api/v1/zones/g', {'zones': [
            {'name': 'z', 'hosts': [host], 'targets': [nqns[1]]}]})
        other.good('POST', '/api/v1/zones/g/activate')
        for registry in (one, other):
            self.wait_for(lambda registry=registry: registry.seen_by(host) == nqns[1:],
                          'the zone does not count')
        self.assertEqual(one.good('GET', '/api/v1/zones'), other.good('GET', '/api/v1/zones'))
        # One that comes later has all of it.
        third = self.registry()
        self.assertEqual(third.targets(), one.targets())
        self.assertEqual(third.seen_by(host), nqns[1:])
        self.assertEqual(third.events(), one.events())

    def test_one_is_killed_and_another_goes_on(self):
        health = {'health_monitoring': {'probe_level': 'none', 'monitoring_interval_sec': 1},
                  'failover': {'recovery_backoff_sec': 1}}
        one = self.registry(**health)
        self.wait_for(one.leads, 'the first does not lead')
        other = self.registry(**health)
        self.assertFalse(other.leads())
        target = one.register(0, ttl_seconds=10)
        self.wait_for(lambda: target in other.targets(), 'it is not in the other')
        report = {'current_iops': 1, 'avg_latency_us': 50}
        # The one that does not judge hears the node; the one that does knows of it.
        for _ in range(15):
            other.good('PUT', f'/api/v1/targets/{target}/metrics', report)
            time.sleep(1)
            self.assertEqual(one.targets()[target]['status'], 'available')
        one.kill()
        for i in range(1, 20):
            other.register(i)
        self.wait_for(other.leads, 'the other does not lead')
        # Nobody hears the node any more, and the one that is left says so.
        self.wait_for(lambda: other.targets()[target]['status'] == 'offline', 'it is not missed')
        changes = [e for e in other.events() if e.get('target_id') == target]
        self.assertEqual(len(changes), 2, changes)
        one.start()
        self.assertEqual(one.states(), other.states())
        self.assertTrue(other.leads())
        self.assertFalse(one.leads())

        # It is back when it reports again, though not to the one that judges; and it is gone when it does not.
        def is_reported_and(registry, status):
            one.good('PUT', f'/api/v1/targets/{target}/metrics', report)
            return registry.targets()[target]['status'] == status
        self.wait_for(lambda: is_reported_and(other, 'available'), 'it does not come back')
        self.wait_for(lambda: other.targets()[target]['status'] == 'offline', 'it is not missed again')

    def test_who_is_told_nothing_is_not_blind(self):
        """Nodes that report to the other are not silent; so the one that judges does not call itself blind."""
        health = {'health_monitoring': {'probe_level': 'none', 'monitoring_interval_sec': 1}}
        one, other = self.registry(**health), self.registry(**health)
        self.wait_for(one.leads, 'the first does not lead')
        targets = [one.register(i, node_id=f'node-{i}', ttl_seconds=10,
                                target_info__address=f'192.0.2.{i + 1}') for i in range(3)]
        self.wait_for(lambda: set(other.targets()) == set(targets), 'they are not in the other')
        for _ in range(15):
            for target in targets:
                other.good('PUT', f'/api/v1/targets/{target}/metrics', {'current_iops': 1})
            self.assertFalse(one.good('GET', '/api/v1/status')['monitor_blind'])
            self.assertEqual(set(one.states().values()), {'available'})
            time.sleep(1)

    def test_a_node_goes_to_the_next(self):
        one, other = self.registry(), self.registry()
        self.wait_for(one.leads, 'the first does not lead')
        node = one.make_node()  # that knows both
        try:
            node.config['registry'] = {'url': ','.join(f'http://127.0.0.1:{r.port}' for r in (one, other)),
                                       'node_id': 'node-7', 'interval_s': 1}
            node.start()
            self.wait_for(lambda: 'available' in other.states().values(), 'it is not registered')
            target, = other.states()
            path = f'/api/v1/targets/{target}'
            self.assertIsNone(other.good('GET', path)['metrics'])
            one.kill()
            self.wait_for(lambda: other.good('GET', path)['metrics'] is not None, 'it reports nowhere')
            # A volume that is added now is told, and nothing that was there went away meanwhile.
            node.call('nvmf_create_subsystem', {'nqn': f'{NQN}2', 'allow_any_host': True})
            node.call('nvmf_subsystem_add_listener', {'nqn': f'{NQN}2', 'listen_address': {
                'trtype': 'tcp', 'traddr': '127.0.0.1', 'trsvcid': str(free_port())}})
            self.wait_for(lambda: len(other.states()) == 2, 'the second is not told')
            self.assertEqual(set(other.states().values()), {'available'})
            self.assertEqual([e['type'] for e in other.events() if e.get('target_id') == target],
                             ['registered'])
        finally:
            node.close()

    @staticmethod
    def standing(registry):
        status = registry.good('GET', '/api/v1/status')
        return status['status'], status['store']

    def test_etcd_is_killed(self):
        one, other = self.registry(), self.registry()
        kept = one.register(0)
        self.wait_for(lambda: kept in other.targets(), 'it is not in the other')
        self.etcd.kill()
        problem = one.refused(504, 'POST', '/api/v1/targets', registration(1))
        self.assertIn('etcd', problem['detail'])
        for registry in (one, other):
            self.assertEqual(list(registry.targets()), [kept])
            registry.wait_equal(lambda r=registry: self.standing(r), (
                'read-only', {'backend': 'etcd', 'reachable': False, 'leads': False}), 'it is not noticed')
        self.etcd.start()

        def register():
            return one.call('POST', '/api/v1/targets', registration(1)).status in (201, 409)
        self.wait_for(register, 'changes cannot be made again')
        self.wait_for(lambda: len(other.targets()) == 2 and other.states() == one.states(),
                      'they do not agree')

    def test_what_is_refused(self):
        registry = Registry()
        registry.setUp()
        self.registries.append(registry)
        for persistence, words in (
                ({'persistence_backend': 'etcd'}, 'connection_string'),
                ({'persistence_backend': 'etcd', 'connection_string': 'a:1?x=1'}, 'option'),
                ({'persistence_backend': 'etcd', 'connection_string': 'http://127.0.0.1:1'}, 'etcd')):
            registry.config['persistence'] = persistence
            registry.config_path.write_text(json.dumps(registry.config))
            done = subprocess.run([REGISTRY, '--config', registry.config_path], check=False,
                                  capture_output=True, timeout=PATIENCE_S)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr.decode() + done.stdout.decode())


if __name__ == '__main__':
    main_with_etcd()

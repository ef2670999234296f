#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry watches its targets: a real node that is probed, dies and comes back, a place where nobody
answers, a node that stops reporting, and what an operator has set."""

import json
import re
import time

from node_harness import NQN, free_port
from registry_harness import RegistryTest, main, registration


class Health(RegistryTest):
    def setUp(self):
        super().setUp()
        self.config['health_monitoring'] = {
            'monitoring_interval_sec': 1, 'health_check_timeout_sec': 10,
            'recovery_threshold_checks': 1, 'flap_limit': 0}
        self.config['failover'] = {'failover_threshold_failures': 2, 'recovery_backoff_sec': 1,
                                   'recovery_backoff_max_sec': 1}
        self.node = self.make_node()
        self.start()

    def get(self, target):
        return self.good('GET', f'/api/v1/targets/{target}')

    def wait_for_state(self, target, *states):
        self.wait_for(lambda: self.get(target)['status'] in states,
                      f"it is {self.get(target)['status']} and not one of {states}")

    def register_at(self, nqn, port, **members):
        return self.register(0, target_info__nqn=nqn, target_info__address='127.0.0.1',
                             target_info__port=port, **members)

    def test_a_node_that_dies_and_comes_back(self):
        self.node.start()
        target = self.register_at(NQN, self.node.port)
        self.wait_for(lambda: (self.get(target)['probe'] or {}).get('good'), 'no probe is good')
        probe = self.get(target)['probe']
        self.assertEqual((probe['reached'], probe['problem']), ('identify', ''))
        self.assertEqual(self.get(target)['status'], 'available')
        self.node.process.kill()
        self.node.process.wait()
        self.wait_for_state(target, 'failed', 'offline')
        full = self.get(target)
        active = [f for f in full['failures'] if f['active']]
        self.assertEqual([f['type'] for f in active], ['network_timeout'])
        self.assertEqual(full['health']['availability'], 0)
        self.assertEqual(self.good('GET', '/api/v1/targets/select')['targets'], [])
        self.node.start()
        self.wait_for_state(target, 'available')
        self.assertIn('state_changed', [e['type'] for e in self.good('GET', '/api/v1/events')['events']])
        self.wait_for(lambda: re.search(r'xsan_registry_recoveries_total [1-9]', self.call('GET', '/metrics').text),
                      'the recovery is not counted')

    def test_nobody_answers(self):
        target = self.register_at('nqn.2026-11.io.xsan:nobody', free_port())
        self.wait_for_state(target, 'failed', 'offline')
        self.assertFalse(self.get(target)['probe']['good'])

    def test_another_subsystem_answers(self):
        self.node.start()
        target = self.register_at('nqn.2026-11.io.xsan:not-there', self.node.port)
        self.wait_for_state(target, 'failed', 'offline')

    def test_a_host_that_the_target_allows(self):
        host = 'nqn.2026-11.io.example:watcher'
        self.node.subsystem().update(allow_any_host=False, hosts=[host])
        self.node.start()
        target = self.register_at(NQN, self.node.port)

        def failures():
            return {f['type'] for f in self.get(target)['failures'] if f['active']}
        self.wait_for(lambda: failures() == {'authentication'}, 'it is not turned away')
        self.config['health_monitoring']['probe_host_nqn'] = host
        self.assertEqual(self.reload()['taken'], ['health_monitoring.probe_host_nqn'])
        self.wait_for(lambda: failures() == set(), 'it is still turned away')
        self.wait_for(lambda: self.get(target)['probe']['reached'] == 'identify', 'it does not get far')
        for wrong in ('watcher', 'nqn.2026-11.io.example:' + 'x' * 240):
            self.config['health_monitoring']['probe_host_nqn'] = wrong
            self.assertIn('health_monitoring: probe_host_nqn', self.refused_reload())

    def refused_reload(self):
        self.config_path.write_text(json.dumps(self.config))
        return self.refused(422, 'POST', '/api/v1/reload')['detail']

    def test_advice_goes_no_lower_than_is_said(self):
        self.config['health_monitoring'].update(probe_level='none', min_queue_depth=32, min_io_bytes=131072)
        self.reload()
        target = self.register(0)

        def told():
            self.good('PUT', f'/api/v1/targets/{target}/metrics', {'avg_latency_us': 5000})
            return re.findall(r'advice to hosts: queue depth (\d+), I/O size (\d+)', self.log_text())
        least = ('32', '131072')
        self.wait_for(lambda: least in told(), 'there is no such advice')
        for _ in range(4):
            time.sleep(1)
            told()
        self.assertEqual(told(), [('64', '524288'), ('32', '262144'), least])
        advice = self.good('GET', f'/api/v1/targets/{target}')['advice']
        self.assertEqual((advice['queue_depth'], advice['max_io_bytes']), (32, 131072))

    def test_what_an_operator_has_set_stays(self):
        target = self.register_at('nqn.2026-11.io.xsan:nobody', free_port())
        self.good('PUT', f'/api/v1/targets/{target}/status',
                  {'status': 'maintenance', 'reason': 'new fans'})
        time.sleep(4)
        full = self.get(target)
        self.assertEqual((full['status'], full['status_reason']), ('maintenance', 'new fans'))

    def test_a_static_list(self):
        """What is listed is unknown until it has been reached, and offline when it is listed no more."""
        self.assertEqual(self.stop(), 0)
        self.config['discovery'] = {'discovery_interval_sec': 1, 'static_targets': [
            registration(0, target_info__nqn=NQN, target_info__address='127.0.0.1',
                         target_info__port=self.node.port)]}
        self.start()

        def only():
            found = self.good('GET', '/api/v1/targets')['targets']
            self.assertLessEqual(len(found), 1)
            return found[0] if found else {'status': 'none'}
        self.wait_for(lambda: only()['status'] in ('failed', 'offline'), 'nobody is there')
        self.node.start()
        self.wait_for(lambda: only()['status'] == 'available', 'it is not found')
        full = self.get(only()['target_id'])
        self.assertEqual(full['source'], 'static')
        method, = (m for m in self.good('GET', '/api/v1/status')['discovery']
                   if m['method'] == 'static')
        self.assertEqual((method['method'], method['found'], method['failures']), ('static', 1, 0))
        self.assertEqual(self.stop(), 0)
        self.config['discovery']['static_targets'] = []
        self.start()
        self.wait_for(lambda: only()['status'] == 'offline', 'it is not offline')
        self.assertEqual(self.get(only()['target_id'])['status_reason'], 'not found')
        self.assertEqual(self.stop(), 0)
        self.config['discovery']['static_targets'] = [
            registration(0, target_info__nqn=NQN, target_info__address='127.0.0.1',
                         target_info__port=self.node.port, config={'weight': 7})]
        self.start()
        self.wait_for(lambda: only()['status'] == 'available', 'it is not found again')
        self.wait_equal(lambda: self.get(only()['target_id'])['config']['weight'], 7, 'it has another weight')

    def test_a_node_that_stops_reporting(self):
        self.node.start()
        body = registration(0, target_info__nqn=NQN, target_info__address='127.0.0.1',
                            target_info__port=self.node.port, ttl_seconds=8)
        target = self.good('POST', '/api/v1/targets', body, 201)['target_id']
        path = f'/api/v1/targets/{target}/metrics'
        for _ in range(12):
            self.good('PUT', path, {'load_percentage': 5})
            time.sleep(1)
        self.assertEqual(self.get(target)['status'], 'available')
        self.wait_for_state(target, 'offline')
        self.good('PUT', path, {'load_percentage': 5})

        def is_back():
            self.good('PUT', path, {'load_percentage': 5})
            return self.get(target)['status'] == 'available'
        self.wait_for(is_back, 'it is not available again')


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A storage node and the registry: the node registers what it exports, at start and on every change,
reports how it is doing, says good-bye, and lives without a registry."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from node_harness import NQN, PATIENCE_S, XSAND, free_port
from registry_harness import RegistryTest, main

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from host import Controller  # noqa: E402
from nvmetcp import Failure  # noqa: E402

OTHER = 'nqn.2026-11.io.xsan:other'


class Agent(RegistryTest):
    def setUp(self):
        super().setUp()
        self.node = self.make_node()
        self.node.config['registry'] = {
            'url': f'http://127.0.0.1:{self.port}', 'node_id': 'node-7', 'interval_s': 1,
            'metadata': {'location': 'rack-1-slot-3'}, 'tags': ['fast']}

    def targets(self):
        return {(t['nqn'], t['port']): t
                for t in self.good('GET', '/api/v1/targets?node_id=node-7')['targets']}

    def wait_for_targets(self, *keys):
        self.wait_for(lambda: set(self.targets()) == set(keys), f'there are not just {keys}')
        return [self.targets()[key] for key in keys]

    def stop_node(self):
        code = self.node.stop()
        self.assertIn(code, (0, None))

    def test_what_is_exported_is_registered(self):
        self.start()
        self.node.start()
        target, = self.wait_for_targets((NQN, self.node.port))
        self.assertEqual((target['status'], target['address'], target['location']),
                         ('available', '127.0.0.1', 'rack-1-slot-3'))
        path = f"/api/v1/targets/{target['target_id']}"
        full = self.good('GET', path)
        self.assertEqual(full['target_info']['namespace_capacity'], 16 << 20)
        self.assertEqual((full['storage']['device_path'], full['storage']['namespace_id']),
                         ('disk0', 1))
        self.assertEqual(full['config']['tags'], ['fast'])
        self.wait_for(lambda: self.good('GET', path)['metrics'] is not None, 'nothing is reported')
        status = self.node.call('xsan_status')['registry']
        self.assertEqual((status['connected'], status['registered'], status['wanted']),
                         (True, 1, 1))
        self.assertEqual(self.node.call('save_config')['registry'], self.node.config['registry'])

    def test_changes_are_told_within_a_second(self):
        self.start()
        self.node.start()
        self.wait_for_targets((NQN, self.node.port))
        port = free_port()
        self.node.call('nvmf_create_subsystem', {'nqn': OTHER, 'allow_any_host': True})
        start = time.monotonic()
        self.node.call('nvmf_subsystem_add_listener', {
            'nqn': OTHER, 'listen_address': {
                'trtype': 'tcp', 'traddr': '127.0.0.1', 'trsvcid': str(port)}})
        self.wait_for_targets((NQN, self.node.port), (OTHER, port))
        added_s = time.monotonic() - start
        self.node.call('nvmf_subsystem_add_ns', {'nqn': OTHER, 'namespace': {'bdev_name': 'mem0'}})
        self.wait_for(lambda: self.good(
            'GET', f"/api/v1/targets/{self.targets()[OTHER, port]['target_id']}")['target_info'].get(
                'namespace_capacity') == 1 << 20, 'the capacity is not told')
        start = time.monotonic()
        self.node.call('nvmf_delete_subsystem', {'nqn': OTHER})
        self.wait_for_targets((NQN, self.node.port))
        print(f'added: {added_s * 1000:.0f} ms, removed: {(time.monotonic() - start) * 1000:.0f} ms')
        self.assertLess(added_s, PATIENCE_S)

    def test_a_stopped_node_is_in_maintenance_and_comes_back(self):
        self.start()
        self.node.start()
        target, = self.wait_for_targets((NQN, self.node.port))
        self.stop_node()
        path = f"/api/v1/targets/{target['target_id']}"
        full = self.good('GET', path)
        self.assertEqual((full['status'], full['status_reason']), ('maintenance', 'node stopped'))
        self.node.start()
        self.wait_for(lambda: self.good('GET', path)['status'] == 'available',
                      'it is not available again')

    def test_what_an_operator_set_stays(self):
        self.start()
        self.node.start()
        target, = self.wait_for_targets((NQN, self.node.port))
        path = f"/api/v1/targets/{target['target_id']}"
        self.good('PUT', path + '/status', {'status': 'maintenance', 'reason': 'new fans'})
        self.node.process.kill()
        self.node.process.wait()
        self.node.start()
        time.sleep(1.5)
        self.assertEqual(self.good('GET', path)['status_reason'], 'new fans')

    def test_a_drained_node_takes_no_new_hosts(self):
        self.start()
        self.node.start()
        target, = self.wait_for_targets((NQN, self.node.port))
        host = Controller(('127.0.0.1', self.node.port), NQN).enable()
        path = f"/api/v1/targets/{target['target_id']}"
        self.wait_for(lambda: (self.good('GET', path)['metrics'] or {}).get('active_connections')
                      == 1, 'the host is not reported')
        connection = self.connect()
        connection.request('DELETE', path, json.dumps({'drain_timeout_seconds': 60}))
        self.wait_for(lambda: 'takes no new hosts' in self.node.log_text(), 'the node is not told')
        with self.assertRaises(Failure) as refused:
            Controller(('127.0.0.1', self.node.port), NQN)
        self.assertIn('1/81', str(refused.exception))
        # The host that is there is served, and its queues may come.
        host.keep_alive()
        host.close()
        answer = json.loads(connection.getresponse().read())
        connection.close()
        self.assertEqual((answer['status'], answer['drained_connections']), ('unregistered', 1))
        # Nobody puts back what an operator has taken away, but a restart of the node does.
        time.sleep(2.5)
        self.assertEqual(self.targets(), {})
        self.stop_node()
        self.node.start()
        self.wait_for_targets((NQN, self.node.port))

    def test_unregisters_when_told_so(self):
        self.node.config['registry']['on_stop'] = 'unregister'
        self.start()
        self.node.start()
        self.wait_for_targets((NQN, self.node.port))
        self.stop_node()
        self.assertEqual(self.targets(), {})

    def test_lives_without_a_registry(self):
        self.node.start()
        self.node.call('bdev_get_bdevs')
        self.assertFalse(self.node.call('xsan_status')['registry']['connected'])
        self.wait_for(lambda: 'does not answer' in self.node.log_text(), 'nothing is said')
        self.start()
        self.wait_for_targets((NQN, self.node.port))
        # It is killed and started again: nobody has to do anything.
        self.process.kill()
        self.process.wait()
        time.sleep(1.5)
        self.node.call('bdev_get_bdevs')
        self.start()
        self.wait_for(lambda: self.node.call('xsan_status')['registry']['connected'],
                      'it is not connected again')
        # Another one, which knows nothing of it.
        self.assertEqual(self.stop(), 0)
        shutil.rmtree(self.data_dir)
        self.start()
        self.wait_for_targets((NQN, self.node.port))
        self.wait_for_log('answers again', self.node)

    def test_a_stop_does_not_wait_for_a_registry_that_hangs(self):
        self.start()
        self.node.start()
        self.wait_for_targets((NQN, self.node.port))
        self.process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        self.stop_node()
        self.assertLess(time.monotonic() - start, 30)
        self.process.send_signal(signal.SIGCONT)

    def test_a_listener_on_all_addresses_needs_an_address(self):
        self.node.subsystem()['listeners'][0]['traddr'] = '0.0.0.0'
        self.start()
        self.node.start()
        self.wait_for(lambda: 'is not registered' in self.node.log_text(), 'nothing is said')
        self.assertEqual(self.targets(), {})
        self.stop_node()
        self.node.config['registry']['address'] = '192.0.2.7'
        self.node.start()
        target, = self.wait_for_targets((NQN, self.node.port))
        self.assertEqual(target['address'], '192.0.2.7')

    def test_shows_its_token(self):
        secret = self.node.dir / 'token'
        secret.write_text('agent-0123456789a\n')
        self.config['security'] = {'tokens': [
            {'name': 'agent', 'token': 'agent-0123456789a', 'role': 'register'}]}
        self.start()
        self.node.start()
        self.wait_for(lambda: 'refuses' in self.node.log_text(), 'it is not refused')
        self.stop_node()
        self.node.config['registry']['token_file'] = str(secret)
        self.node.start()
        headers = {'Authorization': 'Bearer agent-0123456789a'}
        self.wait_for(lambda: self.good('GET', '/api/v1/targets', headers=headers)[
            'total_count'] == 1, 'it is not registered')

    def test_a_configuration_that_cannot_be(self):
        for registry, text in (({}, "'url' is missing"), ({'url': 'x'}, 'does not begin with'),
                               ({'url': 'http://x', 'address': '0.0.0.0'}, 'no numeric address'),
                               ({'url': 'http://x', 'metadata': {'a': 1}}, 'is no text'),
                               ({'url': 'http://x', 'cert_file': 'a'}, 'together')):
            self.node.config['registry'] = registry
            self.node.write_config()
            done = subprocess.run([XSAND, '--check', '--config', self.node.config_path],
                                  capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)


if __name__ == '__main__':
    main()

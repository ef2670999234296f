#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a node remembers: run-time changes and identities survive a restart and a SIGKILL at any
moment, an edit of the configuration file is never lost, and neither goes without a word."""

import json
import os
import random
import threading
import time

from node_harness import NQN, Client, NodeTest, RpcError, main

NQN2 = 'nqn.2026-11.io.xsan:second'


class Restart(NodeTest):
    def restart(self):
        self.stop()
        self.start()

    def test_identities_stay(self):
        self.subsystem()['namespaces'].append({'nsid': 2, 'device': 'mem0'})
        self.start()
        namespaces = self.shown_subsystem()['namespaces']
        serial = self.shown_subsystem()['serial_number']
        for namespace in namespaces:
            self.assertEqual(namespace['uuid'], self.devices()[namespace['bdev_name']]['uuid'])
        self.restart()
        self.assertEqual(self.shown_subsystem()['namespaces'], namespaces)
        self.assertEqual(self.shown_subsystem()['serial_number'], serial)

    def test_an_identity_is_saved_before_a_host_can_see_it(self):
        # What is listened on at any moment has been saved before.
        self.spawn()
        while not self.socket_path.exists() or not self.state_path.exists():
            self.assertIsNone(self.process.poll())
        self.kill()
        saved = {d['name']: d['uuid']
                 for d in json.loads(self.state_path.read_text())['wanted']['devices']}
        self.start()
        self.assertEqual({n: d['uuid'] for n, d in self.devices().items()}, saved)

    def test_runtime_changes_stay(self):
        self.start()
        with self.client() as c:
            c.call('bdev_malloc_create', {'name': 'm1', 'num_blocks': 2048, 'block_size': 512})
            c.call('bdev_null_create', {'name': 'n1', 'num_blocks': 100, 'block_size': 4096})
            c.call('bdev_error_create', {'base_name': 'n1'})
            c.call('bdev_delay_create', {
                'base_bdev_name': 'EE_n1', 'name': 'd1', 'avg_read_latency': 1,
                'p99_read_latency': 2, 'avg_write_latency': 3, 'p99_write_latency': 4})
            c.call('bdev_delay_update_latency', {
                'delay_bdev_name': 'd1', 'latency_type': 'avg_read', 'latency_us': 50})
            c.call('bdev_file_resize', {'name': 'disk0', 'size': '32MiB'})
            c.call('bdev_malloc_delete', {'name': 'mem0'})
            c.call('nvmf_create_subsystem', {'nqn': NQN2, 'serial_number': 'S2',
                                             'model_number': 'M2', 'max_namespaces': 4})
            c.call('nvmf_subsystem_add_ns', {'nqn': NQN2, 'namespace': {
                'bdev_name': 'd1', 'nguid': '0123456789ABCDEF0123456789ABCDEF'}})
            c.call('nvmf_subsystem_add_host', {'nqn': NQN2, 'host': 'nqn.2026-11.x:h'})
            c.call('nvmf_subsystem_allow_any_host', {'nqn': NQN, 'allow_any_host': False})
            c.call('nvmf_subsystem_remove_listener', {'nqn': NQN, 'listen_address': {
                'trtype': 'TCP', 'traddr': '127.0.0.1', 'trsvcid': str(self.port)}})
            c.call('nvmf_subsystem_add_listener', {'nqn': NQN2, 'listen_address': {
                'trtype': 'TCP', 'adrfam': 'IPv4', 'traddr': '127.0.0.1',
                'trsvcid': str(self.port)}})
            c.call('log_set_level', {'level': 'WARNING'})
            before = c.call('save_config')
            shown = c.call('nvmf_get_subsystems')
            devices = c.call('bdev_get_bdevs')
        self.restart()
        self.assertEqual(self.call('save_config'), before)
        # The order of creation is not part of it.
        self.assertEqual(sorted(self.call('nvmf_get_subsystems'), key=str),
                         sorted(shown, key=str))
        self.assertEqual(sorted(self.call('bdev_get_bdevs'), key=str), sorted(devices, key=str))
        self.assertEqual(self.call('log_get_level'), 'WARNING')
        self.assertEqual(self.devices()['disk0']['size'], 32 << 20)
        self.assertEqual(self.call('xsan_status')['problems'], [])

    def test_an_edit_of_the_file_is_not_lost(self):
        self.start()
        self.call('bdev_malloc_create', {'name': 'm1', 'num_blocks': 8, 'block_size': 512})
        self.call('bdev_malloc_delete', {'name': 'mem0'})
        self.stop()
        self.config['devices'].append({'driver': 'null', 'name': 'n1', 'size': '1MiB'})
        self.subsystem()['hosts'] = ['nqn.2026-11.x:h']
        self.start()
        self.assertEqual(sorted(self.devices()), ['disk0', 'm1', 'n1'])
        self.assertEqual(self.shown_subsystem()['hosts'], [{'nqn': 'nqn.2026-11.x:h'}])
        self.assertNotIn('replaces the change', self.log_text())

    def test_the_file_wins_and_says_so(self):
        self.start()
        uuid = self.devices()['disk0']['uuid']
        self.call('bdev_file_resize', {'name': 'disk0', 'size': '32MiB'})
        self.call('bdev_malloc_delete', {'name': 'mem0'})
        self.stop()
        self.device('disk0')['size'] = '48MiB'
        self.device('mem0')['size'] = '2MiB'
        self.start()
        self.assertEqual(self.devices()['disk0']['size'], 48 << 20)
        self.assertEqual(self.devices()['disk0']['uuid'], uuid)
        self.assertEqual(self.devices()['mem0']['size'], 2 << 20)
        for name in ('disk0', 'mem0'):
            self.wait_log(f'devices {name}: the configuration file has been edited; its word '
                          'replaces the change made at run time')

    def test_a_saved_configuration_is_the_same_node(self):
        self.start()
        self.call('bdev_malloc_create', {'name': 'm1', 'num_blocks': 8, 'block_size': 512})
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'm1'}})
        saved = self.call('save_config')
        shown = self.shown_subsystem()
        self.stop()
        # As the file of a node without a state: moved to another machine.
        self.config = saved
        self.config['state_dir'] = str(self.dir / 'state2')
        self.start()
        self.assertEqual(self.shown_subsystem(), shown)
        self.stop()
        # And over the file that it came from.
        self.config['state_dir'] = str(self.dir / 'state')
        self.start()
        self.assertEqual(self.shown_subsystem(), shown)
        self.assertEqual(self.call('save_config'), saved)

    def test_a_damaged_state_stops_the_start(self):
        self.start()
        self.stop()
        text = self.state_path.read_text()
        self.state_path.write_text(text[:len(text) // 2])
        self.spawn()
        self.wait_exit(1)
        self.assertIn(f'the saved state {self.state_path} is damaged', self.log_text())
        self.assertEqual(self.state_path.read_text(), text[:len(text) // 2])
        self.state_path.unlink()
        self.start()

    def test_what_cannot_be_saved_is_said(self):
        self.start()
        # A directory where the new file is to be written makes the save fail, also for root.
        blocker = self.dir / 'state/state.json.new'
        blocker.mkdir()
        error = self.refused('bdev_malloc_create',
                             {'name': 'm1', 'num_blocks': 8, 'block_size': 512})
        self.assertTrue(error.message.startswith(
            'it is done, but lost with the next restart: saving the state in '), error.message)
        self.assertIn('m1', self.devices())
        # A reload saves first: it does nothing then.
        self.device('disk0')['size'] = '64MiB'
        self.write_config()
        self.refused('config_reload')
        self.assertEqual(self.devices()['disk0']['size'], 16 << 20)
        blocker.rmdir()
        self.assertEqual(self.call('config_reload')['done'], ['change device disk0'])
        self.assertEqual(self.devices()['disk0']['size'], 64 << 20)
        self.restart()
        self.assertIn('m1', self.devices())


class Killed(NodeTest):
    """SIGKILL at any moment while changes are saved."""

    ROUNDS = 60 if os.environ.get('XSAN_LONG') else 12

    def change(self, client, acknowledged, tried, refused):
        """Makes and deletes devices until the node is gone."""
        number = 0
        try:
            while True:
                number += 1
                name = f'm{random.randrange(20)}'
                tried.append(name)
                if name in acknowledged:
                    client.call('bdev_malloc_delete', {'name': name})
                    del acknowledged[name]
                else:
                    client.call('bdev_malloc_create',
                                {'name': name, 'num_blocks': 8, 'block_size': 512})
                    acknowledged[name] = client.call('bdev_get_bdevs',
                                                     {'name': name})[0]['uuid']
                tried.clear()
        except RpcError as error:
            refused.append(error)
        except (OSError, EOFError):
            return

    def test_state_is_old_or_new_and_acknowledged_changes_are_there(self):
        seed = int.from_bytes(os.urandom(4), 'little')
        print(f'seed {seed}')
        random.seed(seed)
        acknowledged, tried, refused = {}, [], []
        for _ in range(self.ROUNDS):
            self.start()
            shown = {n: d['uuid'] for n, d in self.devices().items() if n.startswith('m')}
            del shown['mem0']
            # What was under way may be done or not; all else is as it was acknowledged.
            for name in tried:
                if name in shown:
                    acknowledged[name] = shown[name]
                else:
                    acknowledged.pop(name, None)
            tried.clear()
            self.assertEqual(shown, acknowledged)
            with Client(self.socket_path) as client:
                thread = threading.Thread(target=self.change,
                                          args=(client, acknowledged, tried, refused))
                thread.start()
                time.sleep(random.random() * 0.3)
                self.kill()
                thread.join()
            self.assertEqual(refused, [])
            json.loads(self.state_path.read_text())  # never a part of it


class Refused(NodeTest):
    def test_what_fails_leaves_no_trace(self):
        self.start()
        before = self.call('save_config')
        calls = [
            ('bdev_aio_create', {'name': 'a', 'filename': '/no/such/file'}),
            ('bdev_malloc_create', {'name': 'mem0', 'num_blocks': 8, 'block_size': 512}),
            ('bdev_delete', {'name': 'nobody'}),
            ('bdev_resize', {'name': 'mem0', 'size': '2MiB'}),
            ('bdev_file_resize', {'name': 'disk0', 'size': '1MiB'}),
            ('bdev_error_create', {'base_name': 'disk0'}),
            ('nvmf_create_subsystem', {'nqn': 'bad'}),
            ('nvmf_create_subsystem', {'nqn': NQN}),
            ('nvmf_delete_subsystem', {'nqn': NQN2}),
            ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'disk0'}}),
            ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'nobody'}}),
            ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'mem0',
                                                                 'nsid': 1}}),
            ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'mem0',
                                                                 'nsid': 900}}),
            ('nvmf_subsystem_remove_ns', {'nqn': NQN, 'nsid': 2}),
            ('nvmf_subsystem_add_listener', {'nqn': NQN, 'listen_address': {
                'traddr': '192.0.2.1'}}),
            ('nvmf_subsystem_add_host', {'nqn': NQN, 'host': 'me'}),
            ('nvmf_subsystem_remove_host', {'nqn': NQN, 'host': 'nqn.2026-11.x:h'}),
            ('nvmf_create_transport', {'trtype': 'TCP', 'max_queue_depth': 32}),
        ]
        for method, params in calls:
            with self.subTest(method=method, params=params):
                error = self.refused(method, params)
                self.assertNotEqual(error.message, '')
                self.assertEqual(self.call('save_config'), before)
        self.assertEqual(self.call('xsan_status')['problems'], [])
        self.assertEqual(self.call('config_reload')['done'], [])
        self.stop()


if __name__ == '__main__':
    main()

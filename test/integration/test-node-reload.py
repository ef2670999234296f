#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reading the configuration file again: the difference is made, all else is left alone, what is not
possible is named, and a bad file changes nothing."""

import signal
import socket

from node_harness import NQN, PATIENCE_S, NodeTest, free_port, main


class Reload(NodeTest):
    def reload(self, **params):
        self.write_config()
        return self.call('config_reload', params)

    def test_makes_the_difference_only(self):
        self.start()
        uuid = self.devices()['disk0']['uuid']
        other = str(free_port())
        self.config['devices'] = [
            {'driver': 'null', 'name': 'n0', 'size': '1GiB'},
            {**self.device('disk0'), 'size': '64MiB'},
        ]
        self.subsystem().update({
            'allow_any_host': False, 'hosts': ['nqn.2026-11.x:h'],
            'namespaces': [{'nsid': 1, 'device': 'disk0'}, {'nsid': 7, 'device': 'n0'}],
            'listeners': [{'traddr': '127.0.0.1', 'trsvcid': other}]})
        self.config['log']['level'] = 'warn'
        report = self.reload(dry_run=True)
        expected = [
            'set the log level',
            f'remove listener tcp 127.0.0.1 {self.port} from {NQN}',
            'remove device mem0', 'add device n0', 'change device disk0',
            f'allow host nqn.2026-11.x:h to use {NQN}', f'set allow_any_host of {NQN}',
            f'add namespace 7 to {NQN}', f'add listener tcp 127.0.0.1 {other} to {NQN}']
        self.assertEqual(report, {'done': expected, 'failed': [], 'restart': [], 'notes': []})
        self.assertIn('mem0', self.devices())  # it was dry
        self.assertEqual(self.reload(), report)
        self.assertEqual(self.reload()['done'], [])
        devices = self.devices()
        self.assertEqual(sorted(devices), ['disk0', 'n0'])
        self.assertEqual((devices['disk0']['size'], devices['disk0']['uuid']), (64 << 20, uuid))
        shown = self.shown_subsystem()
        self.assertEqual([n['nsid'] for n in shown['namespaces']], [1, 7])
        self.assertEqual(shown['hosts'], [{'nqn': 'nqn.2026-11.x:h'}])
        self.assertIs(shown['allow_any_host'], False)
        self.assertEqual([a['trsvcid'] for a in shown['listen_addresses']], [other])
        socket.create_connection(('127.0.0.1', int(other)), PATIENCE_S).close()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', self.port), PATIENCE_S)
        self.assertEqual(self.call('log_get_level'), 'WARNING')
        self.stop()

    def test_keeps_what_was_made_at_run_time(self):
        self.start()
        self.call('bdev_malloc_create', {'name': 'm1', 'num_blocks': 8, 'block_size': 512})
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'm1'}})
        self.config['devices'].append({'driver': 'null', 'name': 'n0', 'size': '1MiB'})
        self.assertEqual(self.reload()['done'], ['add device n0'])
        self.assertEqual([n['nsid'] for n in self.shown_subsystem()['namespaces']], [1, 2])
        # And what the operator takes away goes, with a note on the namespace of the run time.
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'n0'}})
        self.config['devices'].pop()
        report = self.reload()
        self.assertEqual(report['done'], [f'remove namespace 3 from {NQN}', 'remove device n0'])
        self.assertEqual(len(report['notes']), 1)
        self.assertIn('namespaces 3: made at run time and dropped', report['notes'][0])

    def test_a_bad_file_changes_nothing(self):
        self.start()
        before = self.call('save_config')
        self.config['devices'] = [{'driver': 'null', 'name': 'n0', 'size': 100}]
        self.config['nvmf'] = {}
        self.write_config()
        error = self.refused('config_reload')
        self.assertEqual(error.code, -32602)
        self.assertTrue(error.message.startswith(f'{self.config_path}:'), error.message)
        self.assertIn('devices[0].size: 100 bytes is not accepted', error.message)
        self.config_path.unlink()
        self.assertEqual(self.refused('config_reload').code, -2)
        self.assertEqual(self.call('save_config'), before)
        # The same by signal: it is in the log.
        self.process.send_signal(signal.SIGHUP)
        self.wait_log('not reloaded, nothing was changed: ')
        self.assertEqual(self.call('save_config'), before)
        self.stop()

    def test_sighup_reloads(self):
        self.start()
        self.config['devices'].append({'driver': 'null', 'name': 'n0', 'size': '1MiB'})
        self.config['reactors'] = {'count': 2}
        self.write_config()
        self.process.send_signal(signal.SIGHUP)
        self.wait_log(f'reloaded {self.config_path}: 1 steps done, 0 failed')
        self.wait_log('changes with a restart only: reactors.count')
        self.assertIn('n0', self.devices())
        self.stop()

    def test_names_what_takes_a_restart(self):
        self.config['nvmf']['transport'] = {'max_queue_depth': 64}
        self.start()
        self.config['nvmf']['transport']['max_queue_depth'] = 256
        self.config['reactors'] = {'count': 2}
        self.config['log']['format'] = 'json'
        self.device('mem0')['size'] = '8MiB'
        self.device('disk0')['direct'] = False
        self.subsystem()['serial_number'] = 'NEW'
        report = self.reload()
        restart = ['log.format', 'reactors.count', 'nvmf.transport.max_queue_depth',
                   'device disk0: direct', 'device mem0: size', f'subsystem {NQN}: serial_number']
        self.assertEqual(report, {'done': [], 'failed': [], 'restart': restart, 'notes': []})
        status = self.call('xsan_status')
        self.assertEqual(status['needs_restart'], restart)
        self.assertEqual(status['problems'], [])
        self.assertEqual(self.call('nvmf_get_transports')[0]['max_queue_depth'], 64)
        self.stop()
        self.start()
        self.assertEqual(self.call('xsan_status')['needs_restart'], [])
        self.assertEqual(self.call('nvmf_get_transports')[0]['max_queue_depth'], 256)
        self.assertEqual(self.devices()['mem0']['size'], 8 << 20)
        self.assertEqual(self.shown_subsystem()['serial_number'], 'NEW')
        self.stop()

    def test_says_what_failed_and_does_the_rest(self):
        self.start()
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            self.subsystem()['listeners'].append({'traddr': '127.0.0.1', 'trsvcid': str(port)})
            self.config['devices'] += [
                {'driver': 'file', 'name': 'lost', 'filename': '/no/such/file'},
                {'driver': 'null', 'name': 'n0', 'size': '1MiB'}]
            report = self.reload()
        self.assertEqual(report['done'], ['add device n0'])
        steps = ['add device lost', f'add listener tcp 127.0.0.1 {port} to {NQN}']
        self.assertEqual([f['step'] for f in report['failed']], steps)
        status = self.call('xsan_status')
        self.assertEqual(status['state'], 'degraded')
        self.assertEqual(status['problems'],
                         [f"{f['step']}: {f['error']}" for f in report['failed']])
        # The next reload tries again.
        report = self.reload()
        self.assertEqual(report['done'], steps[1:])
        self.assertEqual([f['step'] for f in report['failed']], steps[:1])
        # What is given up is no problem any more.
        self.call('bdev_delete', {'name': 'lost'})
        self.assertEqual(self.call('xsan_status')['state'], 'ok')
        self.stop()

    def test_load_config_is_a_change_at_run_time(self):
        self.start()
        uuid = self.devices()['disk0']['uuid']
        document = self.call('save_config')
        document['devices'] = [{'driver': 'null', 'name': 'n0', 'size': '1MiB'},
                               {'driver': 'file', 'name': 'disk0',
                                'filename': str(self.dir / 'disk0.img')}]
        document['nvmf']['subsystems'][0]['namespaces'] = [{'nsid': 5, 'device': 'n0'}]
        report = self.call('load_config', {'config': document})
        self.assertEqual(report['failed'], [])
        self.assertEqual(self.devices()['disk0']['uuid'], uuid)
        self.stop()
        self.start()
        self.assertEqual(sorted(self.devices()), ['disk0', 'n0'])
        self.assertEqual(self.devices()['disk0']['uuid'], uuid)
        self.assertEqual([n['nsid'] for n in self.shown_subsystem()['namespaces']], [5])
        error = self.refused('load_config', {'config': {'devices': [{'driver': 'x'}]}})
        self.assertTrue(error.message.startswith('config.devices[0].driver: '), error.message)

    def test_the_transport_can_be_set_before_anything_is_exported(self):
        self.config['nvmf'] = {}
        self.start()
        self.assertIs(self.call('nvmf_create_transport', {
            'trtype': 'TCP', 'max_queue_depth': 64, 'max_io_qpairs_per_ctrlr': 8,
            'in_capsule_data_size': 4096, 'io_unit_size': 131072, 'c2h_success': True}), True)
        shown = self.call('nvmf_get_transports')[0]
        self.assertEqual((shown['max_queue_depth'], shown['max_io_qpairs_per_ctrlr'],
                          shown['in_capsule_data_size']), (64, 8, 4096))
        self.call('nvmf_create_subsystem', {'nqn': NQN})
        # Made already: the same is fine, another is refused by name.
        self.call('nvmf_create_transport', {'trtype': 'tcp'})
        self.call('nvmf_create_transport', {'trtype': 'TCP', 'max_queue_depth': 64})
        error = self.refused('nvmf_create_transport', {'trtype': 'TCP', 'max_queue_depth': 32})
        self.assertEqual(error.code, -16)
        self.assertIn('nvmf.transport.max_queue_depth', error.message)
        self.stop()
        self.start()
        self.assertEqual(self.call('nvmf_get_transports')[0], shown)
        self.stop()


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Starting and stopping: exit codes, what is said on the way, the service manager's protocol."""

import json
import os
import signal
import socket
import stat
import subprocess
import time

from node_harness import NQN, PATIENCE_S, Client, NodeTest, XSAND, main


def run(*words):
    return subprocess.run([XSAND, *words], capture_output=True, text=True, timeout=PATIENCE_S,
                          check=False)


class CommandLine(NodeTest):
    def test_says_how_to_get_a_configuration(self):
        done = run()
        self.assertEqual(done.returncode, 2)
        self.assertIn('--print-default-config', done.stderr)

    def test_prints_a_configuration_that_is_good(self):
        done = run('--print-default-config')
        self.assertEqual(done.returncode, 0)
        self.config = json.loads(done.stdout)
        self.config_path.write_text(done.stdout)
        checked = run('--check', '--config', self.config_path)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr),
                         (0, f'{self.config_path}: good: 1 devices, 1 subsystems\n', ''))

    def test_check_says_where(self):
        self.config_path.write_text('{\n  "devices": [{"driver": "file"}]\n}')
        done = run('--check', '--config', self.config_path)
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertEqual(done.stderr, f"{self.config_path}:2:15: devices[0]: 'name' is missing: "
                                      'name of the device\n')

    def test_help_and_version(self):
        self.assertEqual(run('--help').returncode, 0)
        self.assertTrue(run('--version').stdout.startswith('xsand '))

    def test_refuses_wrong_usage(self):
        for words in (['--nonsense'], ['extra'], ['--config', 'x', '--log-level', 'loud']):
            done = run(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ''))
            self.assertIn("Try 'xsand --help'", done.stderr)


class Life(NodeTest):
    def test_starts_and_stops(self):
        status = self.start()
        self.assertEqual(status['state'], 'ok')
        self.assertEqual(status['counts'],
                         {'devices': 2, 'subsystems': 1, 'namespaces': 1, 'listeners': 1})
        self.assertEqual(status['pid'], self.process.pid)
        mode = os.lstat(self.socket_path).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        socket.create_connection(('127.0.0.1', self.port), PATIENCE_S).close()
        self.stop()
        self.assertFalse(self.socket_path.exists())
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', self.port), PATIENCE_S)

    def test_runs_with_several_reactors(self):
        self.config['reactors'] = {'count': 3, 'spin_max_us': 0}
        self.start()
        reactors = self.call('framework_get_reactors')['reactors']
        self.assertEqual([r['lcore'] for r in reactors], [0, 1, 2])
        self.assertEqual(len({r['tid'] for r in reactors}), 3)
        self.stop(signals=[signal.SIGINT])

    def test_an_empty_configuration_is_a_node_too(self):
        for section in ('devices', 'nvmf', 'log'):
            del self.config[section]
        self.start()
        self.assertEqual(self.devices(), {})
        self.stop()

    def test_refuses_a_bad_configuration(self):
        self.config['devices'].append({'driver': 'file', 'name': 'disk0', 'filename': '/x'})
        self.spawn()
        self.wait_exit(2)
        self.assertIn('devices[2].name: devices[0] is called', self.log_text())
        self.assertFalse((self.dir / 'state').exists())
        self.assertFalse((self.dir / 'disk0.img').exists())

    def test_a_missing_disk_is_a_problem_of_its_own(self):
        self.config['devices'].append({'driver': 'file', 'name': 'lost',
                                       'filename': str(self.dir / 'nowhere/x.img')})
        self.subsystem()['namespaces'].append({'nsid': 2, 'device': 'lost'})
        status = self.start()
        self.assertEqual(status['state'], 'degraded')
        self.assertEqual(len(status['problems']), 2)
        self.assertTrue(status['problems'][0].startswith('add device lost: opening '),
                        status['problems'])
        self.assertTrue(status['problems'][1].startswith(f'add namespace 2 to {NQN}: '),
                        status['problems'])
        self.assertEqual([n['nsid'] for n in self.shown_subsystem()['namespaces']], [1])
        # It comes back with a reload once the disk is there.
        (self.dir / 'nowhere').mkdir()
        (self.dir / 'nowhere/x.img').write_bytes(bytes(1 << 20))
        report = self.call('config_reload')
        self.assertEqual(report['failed'], [])
        self.assertEqual(self.call('xsan_status')['problems'], [])
        self.assertEqual([n['nsid'] for n in self.shown_subsystem()['namespaces']], [1, 2])
        self.stop()

    def test_strict_does_not_run_without_a_disk(self):
        self.config['devices'].append({'driver': 'file', 'name': 'lost', 'filename': '/no/x'})
        self.spawn('--strict')
        self.wait_exit(1)
        self.assertIn('add device lost: opening /no/x', self.log_text())
        self.assertFalse(self.socket_path.exists())

    def test_a_second_node_is_kept_out(self):
        self.start()
        first = self.process
        self.spawn()
        self.wait_exit(1)
        self.assertIn('another xsand uses the state directory', self.log_text())
        # With a state of its own it is the socket that is taken.
        self.config['state_dir'] = str(self.dir / 'state2')
        self.spawn()
        self.wait_exit(1)
        self.assertIn(f'process {first.pid} answers on {self.socket_path} already',
                      self.log_text())
        self.process = first
        self.assertEqual(self.call('xsan_status')['pid'], first.pid)
        self.stop()

    def test_a_dead_nodes_places_are_taken_over(self):
        self.start()
        for _ in range(5):
            self.kill()
            self.assertTrue(self.socket_path.exists())
            self.assertEqual(self.start()['problems'], [])
        self.stop()

    def test_a_port_in_use_is_named(self):
        with socket.create_server(('127.0.0.1', self.port)):
            status = self.start()
            self.assertEqual(status['problems'], [
                f'add listener tcp 127.0.0.1 {self.port} to {NQN}: listening on 127.0.0.1 port '
                f'{self.port}: Address already in use'])
        self.assertEqual(self.call('config_reload')['failed'], [])
        self.stop()

    def test_a_client_that_takes_nothing_does_not_hold_up_the_stop(self):
        self.config['stop_timeout_s'] = 30
        self.start()
        client = self.client()
        client.socket.settimeout(1)
        with self.assertRaises(TimeoutError): # the node stops reading: the answers are not taken
            while True:
                client.send(json.dumps(client.request('rpc_get_methods', {'details': True})))
        self.stop()  # with 0, and not with the 3 of one that was not in time

    def test_log_goes_to_a_file_and_is_opened_again(self):
        path = self.dir / 'node.log'
        self.config['log'] = {'target': 'file', 'path': str(path), 'format': 'json'}
        self.start()
        path.rename(self.dir / 'node.log.old')
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists() or 'reloaded' not in path.read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.stop()
        for line in path.read_text().splitlines():
            self.assertEqual(json.loads(line)['prog'], 'xsand')

    def test_log_level_of_the_command_line_wins(self):
        self.start('--log-level', 'debug')
        self.assertEqual(self.call('log_get_level'), 'DEBUG')
        self.stop()


class ServiceManager(NodeTest):
    def setUp(self):
        super().setUp()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.dir / 'notify'))
        self.notify.settimeout(PATIENCE_S)
        self.addCleanup(self.notify.close)

    def expect(self, first_line, skip=('WATCHDOG=1',)):
        while True:
            lines = self.notify.recv(4096).decode().split('\n')
            if lines[0] not in skip:
                self.assertEqual(lines[0], first_line)
                return lines

    def test_hears_of_every_state(self):
        self.start(env={'NOTIFY_SOCKET': str(self.dir / 'notify')})
        self.assertEqual(self.expect('READY=1')[1],
                         'STATUS=2 devices, 1 subsystems, 0 problems')
        self.process.send_signal(signal.SIGHUP)
        self.assertTrue(self.expect('RELOADING=1')[1].startswith('MONOTONIC_USEC='))
        self.assertEqual(self.expect('READY=1')[1], 'STATUS=reloaded')
        self.process.send_signal(signal.SIGTERM)
        self.expect('STOPPING=1')
        self.wait_exit(0)

    def test_watchdog_is_fed(self):
        self.config['reactors'] = {'count': 2}
        self.start(env={'NOTIFY_SOCKET': str(self.dir / 'notify'), 'WATCHDOG_USEC': '300000'})
        self.expect('READY=1')
        begin = time.monotonic()
        for _ in range(3):
            self.assertEqual(self.notify.recv(4096), b'WATCHDOG=1')
        self.assertLess(time.monotonic() - begin, 5)
        self.stop()

    def test_abstract_address(self):
        name = f'xsan-test-{os.getpid()}'
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
            abstract.bind('\0' + name)
            abstract.settimeout(PATIENCE_S)
            self.start(env={'NOTIFY_SOCKET': '@' + name})
            self.assertTrue(abstract.recv(4096).startswith(b'READY=1'))
            self.stop()

    def test_not_ready_is_never_said(self):
        self.config['devices'].append({'driver': 'file', 'name': 'lost', 'filename': '/no/x'})
        self.spawn('--strict', env={'NOTIFY_SOCKET': str(self.dir / 'notify')})
        self.wait_exit(1)
        self.expect('STOPPING=1')
        self.notify.setblocking(False)
        with self.assertRaises(BlockingIOError):
            self.notify.recv(4096)


class Kill(NodeTest):
    def test_spdk_kill_instance_answers_and_stops(self):
        self.start()
        with Client(self.socket_path) as client:
            self.assertIs(client.call('spdk_kill_instance', {'sig_name': 'SIGTERM'}), True)
        self.wait_exit(0)


if __name__ == '__main__':
    main()

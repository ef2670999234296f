#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`xsan registry` against a real registry: every command, what it refuses, what it prints and its
exit codes; connections that are lost; servers that are none of ours; backups and restores."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

from cli_harness import OK, REFUSED, UNREACHABLE, USAGE, XSAN, environment
from registry_harness import PATIENCE_S, RegistryTest, main, registration


class CliTest(RegistryTest):
    def setUp(self):
        super().setUp()
        self.env = environment(XSAN_REGISTRY_URL=f'http://127.0.0.1:{self.port}',
                               XSAN_REGISTRY_TOKEN=None, http_proxy='http://127.0.0.1:1')

    def xsan(self, *words, code=OK, err='', stdin='', env=None):
        """Runs `xsan registry`; its exit code and a part of its sentence are expected. Its output."""
        command = [XSAN, 'registry', *map(str, words)]
        done = subprocess.run(command, cwd=self.dir, input=stdin, capture_output=True, text=True,
                              timeout=PATIENCE_S, env=env or self.env, check=False)
        self.assertEqual(done.returncode, code, f'{words}: {done.stdout}{done.stderr}')
        self.assertIn(err, done.stderr)
        if code == OK:
            self.assertEqual(done.stderr, '')
        else:
            self.assertTrue(done.stderr.startswith('xsan: '), done.stderr)
        return done.stdout

    def json(self, *words, **options):
        return json.loads(self.xsan(*words, '--json', **options))

    def write(self, name, content):
        path = self.dir / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def made(self, number=0, **members):
        return self.register(number, **members)


class Commands(CliTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_config(self):
        target = self.made()
        host = 'nqn.2014-08.org.nvmexpress:uuid:1'
        shown = self.xsan('config', 'show', target)
        self.assertRegex(shown, r'queue_depth +- +- +-')
        self.assertIn('state none, agent none\n', shown)
        self.assertEqual(self.xsan('config', 'set', target, 'queue_depth=64', 'weight=2.5',
                                   f'access.hosts={host}'), f'configuration of {target} is pending\n')
        desired = {'queue_depth': 64, 'weight': 2.5, 'access': {'any_host': False, 'hosts': [host]}}
        self.assertEqual(self.json('config', 'show', target)['desired'], desired)
        self.assertRegex(self.xsan('config', 'show', target),
                         rf'queue_depth +64 +- +not enforced\n[^~]*access.hosts +{host} +- +not enforced')
        # One way to say who may connect takes the place of the other, and goes with it.
        self.assertEqual(self.json('config', 'set', target, 'access.any_host=true')['desired']['access'],
                         {'any_host': True, 'hosts': []})
        self.assertEqual(self.json('config', 'set', target, 'access.hosts=')['desired']['access'],
                         {'any_host': False, 'hosts': []})
        self.assertRegex(self.xsan('config', 'show', target), 'access.hosts +nobody')
        self.assertEqual(self.json('config', 'unset', target, 'access.hosts', 'weight')['desired'],
                         {'queue_depth': 64})
        self.xsan('config', 'set', target, 'weight=3', '--wait', 1, code=REFUSED,
                  err='the node has not said anything within 1 s (agent none)')
        self.assertEqual(self.xsan('config', 'unset', target, '--all'), f'configuration of {target} is applied\n')
        revision = self.json('config', 'set', target, 'max_iops=5')['config_revision']
        self.good('PUT', f'/api/v1/targets/{target}/config/report', {
            'config_revision': revision, 'state': 'refused', 'reason': 'no limits here'})
        self.assertIn('state rolled-back: no limits here, agent connected\n', self.xsan('config', 'show', target))
        self.assertIn('rolled-back: no limits here', self.xsan('events'))
        for words, err in (((target, 'colour=red'), "'colour=red' is no setting"),
                           ((target, 'weight'), 'NAME=VALUE is needed'),
                           ((target, 'weight=much'), 'is no number'), ((target,), '')):
            self.xsan('config', 'set', *words, code=USAGE, err=err)
        self.xsan('config', 'unset', target, code=USAGE, err='--all')
        self.xsan('config', 'unset', target, 'weight', '--all', code=USAGE, err='--all')
        self.xsan('config', 'set', target, 'queue_depth=1', code=REFUSED, err='(queue_depth)')
        self.xsan('config', 'show', 'tgt-none', code=REFUSED, err='there is no target')

    def test_hosts_zones_and_alerts(self):
        self.assertEqual(self.xsan('hosts'), 'no host is connected\n')
        self.assertEqual(self.json('hosts'), {'connected': [], 'registered': []})
        self.assertEqual(self.xsan('zones', 'show'),
                         'there are no zones\na host and a target in no zone: allow\n')
        group = {'zones': [{'name': 'z', 'hosts': ['nqn.2026-11.io.xsan:h'],
                            'targets': ['node:a', 'tag:b']}]}
        path = self.write('group', group)
        self.assertIn('lab is configured', self.xsan('zones', 'set', 'lab', path))
        self.assertRegex(self.xsan('zones', 'show').splitlines()[1], r'^lab +no +z +1 +2$')
        self.assertEqual(self.xsan('zones', 'activate', 'lab'), 'lab is active\n')
        self.assertRegex(self.xsan('zones', 'show').splitlines()[1], r'^lab +yes +z +1 +2$')
        self.xsan('zones', 'delete', 'lab', code=REFUSED, err='is active')
        self.xsan('zones', 'deactivate', 'lab')
        self.xsan('zones', 'delete', 'lab')
        self.xsan('zones', 'activate', 'lab', code=REFUSED, err="no zone group 'lab'")
        self.xsan('zones', 'set', 'lab', self.write('bad', {'zones': 1}), code=REFUSED, err='zones')
        self.xsan('zones', 'policy', 'deny')
        self.assertEqual(self.json('zones', 'show')['default_policy'], 'deny')
        self.xsan('zones', 'policy', 'perhaps', code=USAGE)
        self.assertEqual(self.xsan('alerts', 'show'), 'there are no rules\n')
        self.xsan('alerts', 'silence', 'x', '5', code=REFUSED, err="no rule 'x'")
        self.xsan('alerts', 'silence', 'x', 'long', code=USAGE)
        self.xsan('alerts', 'test', 'a b', code=REFUSED, err="no rule 'a b'")
        self.xsan('alerts', 'unsilence', 'x', code=REFUSED, err="no rule 'x'")

    def test_list(self):
        self.assertEqual(self.xsan('list'), 'there are no such targets\n')
        ids = [self.made(i, node_id=f'node-{i % 2}', metadata__location=f'rack-{i}')
               for i in range(5)]
        lines = self.xsan('list', '--sort', 'nqn').splitlines()
        self.assertRegex(lines[0], r'^TARGET +NODE +NQN +TRANSPORT +ADDRESS +LOCATION +STATUS +'
                                   r'HEALTH +LOAD +LAST SEEN$')
        self.assertEqual([line.split()[0] for line in lines[1:]], ids)
        self.assertRegex(lines[1], r'node-0 +nqn\.2024-01\.com\.xdevice:nvme:001 +tcp +'
                                   r'192\.168\.1\.100:4420 +rack-0 +available +100 +0 % +20')
        for words, numbers in ((('--node', 'node-1'), {1, 3}), (('--location', 'rack-4'), {4}),
                               (('--nqn', 'nqn.2024-01.com.xdevice:nvme:003'), {2}),
                               (('--status', 'failed'), set()), (('--port', '4420'), {0, 1, 2, 3, 4}),
                               (('--max-load', '0', '--min-health', '100'), {0, 1, 2, 3, 4}),
                               (('--source', 'mdns'), set()), (('--transport', 'tcp'), set(range(5)))):
            with self.subTest(words=words):
                found = self.json('list', *words)
                self.assertEqual({t['target_id'] for t in found['targets']},
                                 {ids[i] for i in numbers})
                self.assertEqual(found['total_count'], len(numbers))
        self.assertEqual([t['target_id'] for t in self.json('list', '--sort', '-nqn')['targets']],
                         ids[::-1])
        self.assertTrue(self.xsan('list', '-n', '2').endswith('\n2 of 5 targets\n'))
        self.xsan('list', '--port', '0', code=REFUSED, err='(port)')
        self.xsan('list', '--sort', 'colour', code=USAGE, err='is not target_id, ')
        self.xsan('list', '--limit', '0', code=USAGE, err="--limit '0'")

    def test_all_pages_are_fetched(self):
        for start in range(0, 4500, 900):
            self.good('POST', '/api/v1/targets/bulk',
                      {'targets': [registration(i) for i in range(start, start + 900)]})
        found = self.json('list', '--sort', 'nqn')
        self.assertEqual(len(found['targets']), 4500)
        self.assertEqual(len({t['target_id'] for t in found['targets']}), 4500)
        self.assertNotIn('next_cursor', found)
        self.assertEqual(len(self.json('list', '--limit', '2001')['targets']), 2001)
        self.assertEqual(len(self.json('events')), 4500)
        self.assertEqual([e['revision'] for e in self.json('events', '--since', '2000', '-n', '1500')],
                         list(range(2001, 3501)))

    def test_get(self):
        made = self.made()
        full = self.json('get', made)
        self.assertEqual(full['target_info']['port'], 4420)
        text = self.xsan('get', made)
        for line in (r'target_info\.nqn +nqn\.2024-01\.com\.xdevice:nvme:001', r'status +available',
                     r'metadata\.location +rack-1-slot-3', r'health\.availability +100'):
            self.assertRegex(text, rf'(?m)^{line}$')
        self.assertNotIn('null', text)
        self.xsan('get', 'tgt-none', code=REFUSED, err="there is no target 'tgt-none'")
        self.xsan('get', 'a?b=c d%', code=REFUSED, err="there is no target 'a?b=c d%'")
        self.xsan('get', '', code=REFUSED, err='is no name of a target')
        self.xsan('get', 'x' * 600, code=REFUSED, err='is no name of a target')
        self.xsan('get', code=USAGE, err='TARGET is missing')

    def test_register(self):
        said = self.xsan('register', self.write('target.json', registration()))
        self.assertRegex(said, r'^target tgt-\S+ is registered\n$')
        made = said.split()[1]
        self.xsan('register', 'target.json', code=REFUSED, err=f'is registered as {made}')
        self.assertEqual(self.xsan('register', '-u', '-', stdin=json.dumps(registration())),
                         f'target {made} is changed\n')
        other = self.json('register', '--node', 'n2', '--nqn', 'nqn.2026-11.io.xsan:two', '--address',
                          '2001:db8::2', '--port', '4421', '--capacity', '2TiB', '--tags', 'a,b',
                          '--weight', '2.5', '--ttl', '60', '--location', 'rack 2', '--max-iops', '7',
                          '--max-bandwidth', '8', '--latency', '9', '--transport', 'rdma')
        full = self.good('GET', f"/api/v1/targets/{other['target_id']}")
        self.assertEqual(full['target_info'], {
            'nqn': 'nqn.2026-11.io.xsan:two', 'transport': 'rdma', 'address': '2001:db8::2',
            'port': 4421, 'namespace_capacity': 2 << 40, 'security_type': 'none'})
        self.assertEqual((full['config']['tags'], full['config']['weight'], full['ttl_seconds'],
                          full['metadata']), (['a', 'b'], 2.5, 60, {'location': 'rack 2'}))
        self.assertEqual(full['performance_caps'],
                         {'max_iops': 7, 'max_bandwidth_mbps': 8, 'avg_latency_us': 9})
        self.assertIn('[2001:db8::2]:4421', self.xsan('list'))
        # The field at fault is named, whoever finds it.
        self.xsan('register', 'target.json', '--address', '0.0.0.0', code=REFUSED,
                  err='(target_info.address)')
        self.xsan('register', '--node', 'n', '--port', 'x', code=USAGE, err="--port 'x'")
        self.xsan('register', '--capacity', 'much', code=USAGE, err="--capacity 'much'")
        self.xsan('register', '--weight', '-1', code=USAGE, err="--weight '-1'")
        self.xsan('register', code=USAGE, err='nothing is said of the target')
        self.xsan('register', 'nix.json', code=REFUSED, err='nix.json cannot be read: No such file')
        self.xsan('register', self.write('bad.json', '{"a": 1,\n}'), code=REFUSED, err='bad.json:2:1: ')
        self.xsan('register', self.write('list.json', '[]'), code=REFUSED, err='no JSON object')
        self.xsan('register', '-', stdin='{"a": "\0"}', code=REFUSED, err='a byte 0')

    def test_update(self):
        made = self.made()
        self.assertEqual(self.xsan('update', made, '--tags', 'fast', '--port', '4444'),
                         f'target {made} is changed\n')
        full = self.good('GET', f'/api/v1/targets/{made}')
        self.assertEqual((full['port'], full['config']['tags'], full['location']),
                         (4444, ['fast'], 'rack-1-slot-3'))
        self.xsan('update', made, self.write('patch', {'metadata': {'hw_type': None}}), '--tags', '')
        full = self.good('GET', f'/api/v1/targets/{made}')
        self.assertEqual((full['config']['tags'], 'hw_type' in full['metadata']), ([], False))
        self.xsan('update', made, '-', '--replace', stdin=json.dumps(registration(node_id='other')))
        self.assertEqual(self.good('GET', f'/api/v1/targets/{made}')['node_id'], 'other')
        revision = self.good('GET', f'/api/v1/targets/{made}')['revision']
        self.xsan('update', made, '--port', '1', '--if-revision', revision - 1, code=REFUSED,
                  err=f'has revision {revision}, not {revision - 1}')
        self.xsan('update', made, '--port', '1', '--if-revision', revision)
        self.xsan('update', made, '--port', '70000', code=REFUSED, err='(target_info.port)')
        self.xsan('update', 'nix', '--port', '1', code=REFUSED, err="there is no target 'nix'")

    def test_status_and_events(self):
        made = self.made()
        self.assertEqual(self.xsan('status', made, 'maintenance', '-r', 'new disk', '-m', '30'),
                         f'target {made} is maintenance\n')
        full = self.good('GET', f'/api/v1/targets/{made}')
        self.assertEqual((full['status'], full['status_reason']), ('maintenance', 'new disk'))
        self.assertIsNotNone(full['status_until'])
        lines = self.xsan('events').splitlines()
        self.assertRegex(lines[0], r'^REVISION  AT +EVENT +TARGET +NODE +NQN +WHAT$')
        self.assertRegex(lines[2], r'^ +2  20\S+Z  state_changed +tgt-\S+ +xdevice-node-001 +nqn\S+ +'
                                   r'available -> maintenance: new disk$')
        self.assertEqual(len(self.json('events', '--since', '1')), 1)
        self.assertEqual(self.json('events', '--node', 'none'), [])
        self.assertEqual([e['type'] for e in self.json('events', '--target', made)],
                         ['registered', 'state_changed'])
        self.xsan('events', '--since', '99', code=REFUSED, err='compacted')
        self.xsan('status', made, 'tired', code=USAGE, err="STATE 'tired' is not unknown, ")
        self.xsan('status', made, 'busy', '-m', '0', code=USAGE, err="--minutes '0'")
        self.xsan('status', made, 'busy', '--if-revision', '1', code=REFUSED, err='read it again')

    def test_events_that_are_forgotten(self):
        self.stop()
        self.config['service']['events_kept'] = 20
        self.start()
        for i in range(50):
            self.made(i)
        self.assertEqual([e['revision'] for e in self.json('events')], list(range(31, 51)))
        self.xsan('events', '--since', '5', code=REFUSED, err='compacted')

    def test_report(self):
        made = self.made()
        self.assertRegex(self.xsan('report', made, 'current_iops=45000', 'error_rate=0.5',
                                   'load_percentage=35', 'active_connections=2'),
                         rf'^target {made} is available, health \d+\n$')
        metrics = self.good('GET', f'/api/v1/targets/{made}')['metrics']
        self.assertEqual((metrics['current_iops'], metrics['error_rate'], metrics['load_percentage']),
                         (45000, 0.5, 35))
        self.assertRegex(self.xsan('list'), r'\b35 %')
        self.xsan('report', made, 'speed=1', code=USAGE, err="'speed=1' is no NAME=VALUE")
        self.xsan('report', made, 'cpu_usage', code=USAGE, err='is no NAME=VALUE')
        self.xsan('report', made, 'cpu_usage=hot', code=USAGE, err="cpu_usage 'hot' is no number")
        self.xsan('report', made, 'load_percentage=101', code=REFUSED, err='(load_percentage)')

    def test_delete_and_drain(self):
        first, second, third = (self.made(i) for i in range(3))
        self.assertEqual(self.xsan('delete', first), f'target {first} is unregistered\n')
        self.xsan('report', second, 'active_connections=3')
        self.xsan('delete', second, code=REFUSED, err='has 3 connections')
        self.good('GET', f'/api/v1/targets/{second}')
        begin = time.monotonic()
        self.assertEqual(self.xsan('drain', second, '--wait', '1'),
                         f'target {second} is unregistered; 0 connections have ended, 3 were left\n')
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.xsan('report', third, 'active_connections=3')
        self.assertEqual(self.xsan('delete', third, '-f'), f'target {third} is unregistered\n')
        self.assertEqual(self.json('list')['targets'], [])
        self.xsan('drain', third, code=REFUSED, err='there is no target')
        self.xsan('delete', third, code=REFUSED, err='there is no target')

    def test_select(self):
        ids = [self.made(i, node_id=f'node-{i}', metadata__location=f'rack-{i}') for i in range(3)]
        self.xsan('status', ids[1], 'failed')
        text = self.xsan('select', '--near', 'rack-2', '--location-weight', '10', '--explain')
        lines = text.splitlines()
        self.assertRegex(lines[0], r'^ *#  TARGET +NODE +ADDRESS +STATUS +SCORE +HEALTH +PERFORMANCE +'
                                   r'RELIABILITY +LOCATION +REASON$')
        self.assertRegex(lines[1], rf'^ *1  {ids[2]} +node-2 .* +\d+\.\d +\d+\.\d .*100\.0 +\S+')
        self.assertIn('partial: 2 of 2 candidates by score, 1 left out', text)
        self.assertRegex(text, rf'(?m)^LEFT OUT +REASON\n{ids[1]} +\S+')
        chosen = self.json('select', '--count', '1', '--node', 'node-0', '--spread', '--writable')
        self.assertEqual([t['target_id'] for t in chosen['targets']], [ids[0]])
        self.assertEqual(set(chosen['targets'][0]['scores']),
                         {'health', 'performance', 'reliability', 'location'})
        self.assertTrue(self.xsan('select', '--min-iops', '999999999')
                        .startswith('no target is suitable; --explain says why\n'))
        self.assertEqual(self.xsan('select', '--policy', 'hash', '--hash-key', 'host1', '-n', '1'),
                         self.xsan('select', '--policy', 'hash', '--hash-key', 'host1', '-n', '1'))
        self.xsan('select', '--policy', 'hash', code=REFUSED, err='(hash_key)')
        self.xsan('select', '--policy', 'dice', code=USAGE, err="'dice' is not score, ")

    def test_info(self):
        self.made()
        text = self.xsan('info')
        self.assertRegex(text, rf'(?m)^registry +http://127\.0\.0\.1:{self.port}$')
        self.assertRegex(text, r'(?m)^total_targets +1$')
        self.assertEqual(self.json('info')['targets']['available'], 1)

    def test_text_of_strangers_is_cleaned(self):
        self.made(node_id='node-1')
        made = self.json('list')['targets'][0]['target_id']
        self.good('PUT', f'/api/v1/targets/{made}/status', {'status': 'busy', 'reason': 'a\u009b31mb'})
        for words in (('get', made), ('events',)):
            self.assertNotIn('\u009b', self.xsan(*words))

    def test_completion(self):
        ids = sorted(self.made(i) for i in range(2))

        def complete(*words):
            done = subprocess.run([XSAN, 'complete', '--', 'registry', *words], capture_output=True,
                                  text=True, timeout=PATIENCE_S, env=self.env, check=True)
            return done.stdout.split()

        self.assertEqual(complete('get', 'tgt-'), ids)
        self.assertEqual(complete('get', '--url', f'http://127.0.0.1:{self.port}', 'tgt-'), ids)
        self.assertEqual(complete('get', '--url', 'http://127.0.0.1:1', 'tgt-'), [])
        self.assertEqual(complete('get', '--url', 'nonsense', 'tgt-'), [])
        self.assertEqual(complete('events', '--target', ''), ids)
        self.assertEqual(complete('report', ids[0], 'cpu'), ['cpu_usage='])
        self.assertEqual(complete('status', ids[0], 'ma'), ['maintenance'])
        self.assertEqual(complete('restore', ''), ['@files'])
        self.assertEqual(complete('wa'), ['watch'])


class Copies(CliTest):
    def setUp(self):
        super().setUp()
        self.start()

    def fill(self, count=30):
        ids = [self.made(i, metadata__location=f'rack-{i}') for i in range(count)]
        self.xsan('status', ids[1], 'maintenance', '-r', 'new disk', '-m', '90')
        self.xsan('status', ids[2], 'failed', '-r', 'smoke')
        self.xsan('report', ids[3], 'active_connections=1')
        return ids

    def picture(self):
        """What targets are, apart from what the registry itself gives them."""
        return sorted((t['nqn'], t['status'], t['status_reason'], t['target_info'], t['config'],
                       sorted(t['metadata'].items()))
                      for t in self.good('GET', '/api/v1/targets?full=true&sort=nqn')['targets'])

    def test_export_and_import(self):
        self.fill()
        before = self.picture()
        self.assertEqual(self.xsan('export', 'all'), '30 targets are in all\n')
        self.assertEqual(self.xsan('export', '-').splitlines(), (self.dir / 'all').read_text().splitlines())
        self.assertEqual(self.json('export', 'one', '--status', 'failed'), {'exported': 1})
        for line in (self.dir / 'all').read_text().splitlines():
            self.assertEqual(set(json.loads(line)), {'target_id', 'status', 'status_reason',
                                                     'status_until', 'registration'})
        # Again into the same registry: all are refused, or nothing changes.
        said = self.xsan('import', 'all', code=REFUSED, err='all:1: ')
        self.assertEqual(said, '0 registered, 0 changed, 30 refused, 0 states set\n')
        self.assertEqual(self.xsan('import', 'all', '--update'),
                         '0 registered, 30 changed, 0 refused, 0 states set\n')
        self.assertEqual(self.picture(), before)
        # Into an empty one.
        self.stop()
        self.config['service']['data_directory'] = str(self.dir / 'other')
        self.start()
        self.assertEqual(self.json('import', 'all'),
                         {'registered': 30, 'updated': 0, 'refused': 0, 'states': 2})
        self.assertEqual(self.picture(), before)

    def test_import_says_what_was_refused(self):
        lines = [json.dumps(registration(0)), '', 'nonsense', json.dumps(registration(1, node_id='')),
                 json.dumps(registration(2)), json.dumps({'registration': registration(0)}), '[1]',
                 json.dumps({'registration': registration(3), 'status': 'tired'})]
        self.write('some', '\n'.join(lines))
        said = subprocess.run([XSAN, 'registry', 'import', 'some'], cwd=self.dir, env=self.env, text=True,
                              capture_output=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(said.returncode, REFUSED)
        self.assertEqual(said.stdout, '3 registered, 0 changed, 5 refused, 0 states set\n')
        complaints = said.stderr.splitlines()
        self.assertEqual(sorted(int(re.match(r'xsan: some:(\d+): .', c).group(1)) for c in complaints),
                         [3, 4, 6, 7, 8])
        self.assertIn('(node_id)', said.stderr)
        self.xsan('import', 'nix', code=REFUSED, err='nix cannot be read')
        self.assertEqual(self.xsan('import', '-', stdin=''),
                         '0 registered, 0 changed, 0 refused, 0 states set\n')
        self.xsan('import', '-', stdin='"' + 'x' * 70000 + '"', code=REFUSED, err='-:1: the line is longer')

    def test_import_of_many(self):
        self.write('many', '\n'.join(json.dumps(registration(i)) for i in range(2500)))
        self.assertEqual(self.xsan('import', 'many'),
                         '2500 registered, 0 changed, 0 refused, 0 states set\n')
        self.assertEqual(self.good('GET', '/api/v1/status')['total_targets'], 2500)

    def test_a_drain_is_not_imported(self):
        self.write('one', {'registration': registration(), 'status': 'maintenance',
                           'status_reason': 'draining', 'status_until': '2000-01-01T00:00:00.000Z'})
        self.xsan('import', 'one')
        self.assertEqual(self.stop(), 0)
        self.start()
        time.sleep(0.6)
        found = self.json('list')['targets']
        self.assertEqual([t['status'] for t in found], ['maintenance'])

    def test_an_export_that_fails_leaves_the_old_one(self):
        self.write('old', 'precious')
        (self.dir / 'old.part').mkdir()
        self.xsan('export', 'old', code=REFUSED, err='old cannot be written: Is a directory')
        self.assertEqual((self.dir / 'old').read_text(), 'precious')

    def test_backup_and_restore(self):
        self.fill()
        before = self.picture()
        self.assertRegex(self.xsan('backup', 'copy.db'),
                         r'^copy\.db has 30 targets at revision 32, \d+ bytes\n$')
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()),
                         ['copy.db', 'data', 'log', 'registry.json'])
        self.assertEqual([p.name for p in self.data_dir.iterdir() if 'backup' in p.name], [])
        with contextlib.closing(sqlite3.connect(self.dir / 'copy.db')) as db:
            self.assertEqual(db.execute('PRAGMA journal_mode').fetchone(), ('delete',))
            self.assertEqual(db.execute('SELECT count(*) FROM events').fetchone(), (32,))
        for number in range(30, 40):
            self.made(number)
        database = self.data_dir / 'targets.db'
        # Not while a registry has it.
        self.xsan('restore', 'copy.db', database, code=REFUSED, err='a registry uses')
        self.assertEqual(self.good('GET', '/api/v1/status')['total_targets'], 40)
        self.assertEqual(self.stop(), 0)
        restored = self.json('restore', 'copy.db', database)
        self.assertEqual((restored['targets'], restored['revision']), (30, 32))
        self.start()
        self.assertEqual(self.picture(), before)
        self.assertEqual(self.made(99) and self.good('GET', '/api/v1/status')['revision'], 33)
        self.assertEqual(self.stop(), 0)
        # What was there before was kept, whole.
        kept = restored['kept']
        self.assertRegex(kept, r'targets\.db\.before-\d{8}T\d{6}Z$')
        self.assertRegex(self.xsan('restore', kept, database),
                         r'has 40 targets at revision 42\nwhat it was before is ')
        self.start()
        self.assertEqual(self.good('GET', '/api/v1/status')['total_targets'], 40)

    def test_a_restore_after_sigkill_has_what_was_answered(self):
        self.fill()
        self.xsan('backup', 'copy.db')
        self.made(50)
        self.stop(signal.SIGKILL)
        database = self.data_dir / 'targets.db'
        # The database without its log would be an older one.
        self.xsan('restore', database, self.dir / 'data2.db', code=REFUSED, err='not all of its database')
        self.assertFalse((self.dir / 'data2.db').exists())
        kept = self.json('restore', 'copy.db', database)['kept']
        self.xsan('restore', kept, self.dir / 'data2.db')
        with contextlib.closing(sqlite3.connect(self.dir / 'data2.db')) as db:
            self.assertEqual(db.execute('SELECT count(*) FROM targets').fetchone(), (31,))
        self.start()
        self.assertEqual(self.good('GET', '/api/v1/status')['total_targets'], 30)

    def test_what_cannot_be_restored(self):
        self.fill(5)
        self.xsan('backup', 'good.db')
        self.assertEqual(self.stop(), 0)
        database = self.data_dir / 'targets.db'
        content = database.read_bytes()
        self.write('text.db', 'no database at all')
        with contextlib.closing(sqlite3.connect(self.dir / 'other.db')) as db:
            db.execute('CREATE TABLE t(x)')
        good = (self.dir / 'good.db').read_bytes()
        (self.dir / 'short.db').write_bytes(good[:len(good) - 4096])
        bad = bytearray(good)
        bad[8192:12288] = b'\xff' * 4096
        (self.dir / 'bad.db').write_bytes(bad)
        (self.dir / 'record.db').write_bytes(good)
        with contextlib.closing(sqlite3.connect(self.dir / 'record.db')) as db:
            db.execute("UPDATE targets SET record = '{\"id\": 7}'")
            db.commit()
        (self.dir / 'newer.db').write_bytes(good)
        with contextlib.closing(sqlite3.connect(self.dir / 'newer.db')) as db:
            db.execute('PRAGMA user_version = 99')
        for name, why in (('nix.db', 'No such file'), ('text.db', 'not a database'),
                          ('other.db', 'no registry'), ('short.db', 'malformed'),
                          ('bad.db', 'malformed'), ('record.db', 'record'), ('newer.db', 'version 99'),
                          ('data', '')):
            with self.subTest(name=name):
                self.xsan('restore', name, database, code=REFUSED, err=why)
                self.assertEqual(database.read_bytes(), content)
                self.assertEqual([p.name for p in self.data_dir.glob('targets*')], ['targets.db'])
        # Another program's database is not replaced; a damaged one of ours is.
        self.xsan('restore', 'good.db', 'other.db', code=REFUSED, err='no registry')
        self.xsan('restore', 'good.db', 'text.db', code=REFUSED, err='is no database')
        database.write_bytes(bytes(bad))
        self.xsan('restore', 'good.db', database)
        self.start()
        self.assertEqual(self.good('GET', '/api/v1/status')['total_targets'], 5)

    def test_backups_while_targets_change(self):
        self.fill()
        over = threading.Event()
        answered = []

        def change():
            connection = self.connect()
            number = 1000
            while not over.is_set():
                connection.request('POST', '/api/v1/targets', json.dumps(registration(number)))
                answer = connection.getresponse()
                answered.append(json.loads(answer.read())['revision'])
                number += 1
            connection.close()

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for i in range(5):
                first = len(answered)
                copy = self.json('backup', 'copy.db')
                with contextlib.closing(sqlite3.connect(self.dir / 'copy.db')) as db:
                    self.assertEqual(db.execute('PRAGMA integrity_check').fetchone(), ('ok',))
                    # Revisions 31 and 32 made no target; all that follow made one.
                    self.assertEqual(db.execute('SELECT count(*) FROM targets').fetchone()[0],
                                     copy['revision'] - 2)
                self.assertGreaterEqual(copy['revision'], 32 + first)
                self.wait_for(lambda n=i: len(answered) > n + 1, 'nothing changes')
        finally:
            over.set()
            thread.join()
        self.assertGreater(len(answered), 5)

    def test_where_a_copy_cannot_be_written(self):
        (self.dir / 'dir').mkdir()
        os.mkfifo(self.dir / 'fifo')
        for words in (('backup',), ('export',)):
            self.xsan(*words, '/nonexistent/x', code=REFUSED, err='cannot be written: No such file')
            self.xsan(*words, 'dir', code=REFUSED, err='dir is no regular file')
            self.xsan(*words, 'fifo', code=REFUSED, err='fifo is no regular file')
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()),
                         ['data', 'dir', 'fifo', 'log', 'registry.json'])


class Watching(CliTest):
    class Watch:
        """A running `xsan registry watch`; its lines come by a queue."""

        def __init__(self, test, *words):
            self.test = test
            self.process = subprocess.Popen([XSAN, 'registry', 'watch', *words], env=test.env, text=True,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.out, self.err = queue.Queue(), queue.Queue()
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
                threading.Thread(target=self.read, args=(stream, lines), daemon=True).start()

        @staticmethod
        def read(stream, lines):
            for line in stream:
                lines.put(line.rstrip('\n'))

        def line(self):
            return self.out.get(timeout=PATIENCE_S)

        def end(self):
            code = self.process.wait(PATIENCE_S)
            self.process.stdout.close()
            self.process.stderr.close()
            return code

        def kill(self):
            self.process.send_signal(signal.SIGINT)
            return self.end()

    def setUp(self):
        super().setUp()
        self.config['service']['events_kept'] = 50

    def watch(self, *words):
        watch = self.Watch(self, *words)
        self.addCleanup(lambda: watch.process.poll() is None and watch.process.kill())
        return watch

    def test_what_happens(self):
        self.start()
        made = self.made()
        watch = self.watch('--count', '3', '--since', '0')
        self.assertRegex(watch.line(), rf'^20\S+Z  1  registered  {made}  xdevice-node-001  nqn\S+$')
        self.good('PUT', f'/api/v1/targets/{made}/status', {'status': 'failed', 'reason': 'smoke'})
        self.assertRegex(watch.line(), r'  2  state_changed  .*  available -> failed: smoke$')
        self.good('DELETE', f'/api/v1/targets/{made}', {'force': True})
        self.assertIn('  3  unregistered  ', watch.line())
        self.assertEqual(watch.end(), OK)

    def test_json_and_filters(self):
        self.start()
        watch = self.watch('--json', '--node', 'mine', '--since', '0', '-n', '2')
        for i in range(6):
            self.made(i, node_id='mine' if i % 3 == 2 else 'other')
        events = [json.loads(watch.line()) for _ in range(2)]
        self.assertEqual([(e['revision'], e['type'], e['node_id']) for e in events],
                         [(3, 'registered', 'mine'), (6, 'registered', 'mine')])
        self.assertEqual(watch.end(), OK)

    def test_it_goes_on_after_the_registry_was_away(self):
        self.start()
        self.made(0)
        watch = self.watch('--json')
        # It is there when it shows what comes.
        while watch.out.empty():
            self.made(1 + self.good('GET', '/api/v1/status')['revision'])
            time.sleep(0.05)
        seen = [json.loads(watch.line())['revision']]
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.stop(number)
            self.assertIn('is lost', watch.err.get(timeout=PATIENCE_S))
            self.start()
            for i in range(5):
                self.made(1000 * number + i)
            last = self.good('GET', '/api/v1/status')['revision']
            while seen[-1] != last:
                seen.append(json.loads(watch.line())['revision'])
        self.assertEqual(seen, list(range(seen[0], last + 1)))
        self.assertTrue(watch.out.empty())
        self.assertEqual(watch.kill(), -signal.SIGINT)

    def test_what_was_forgotten_is_told(self):
        self.start()
        for i in range(80):
            self.made(i)
        watch = self.watch('--since', '3', '-n', '2')
        self.assertRegex(watch.line(), r'^compacted: what happened up to revision 80 is not all known')
        self.made(80)
        self.assertIn('  81  registered', watch.line())
        self.assertEqual(watch.end(), OK)
        watch = self.watch('--since', '3', '-n', '1', '--json')
        self.assertEqual(json.loads(watch.line()), {'revision': 81, 'type': 'compacted'})
        self.assertEqual(watch.end(), OK)

    def test_giving_up(self):
        self.start()
        watch = self.watch('--give-up', '0.5')
        time.sleep(0.3)
        self.assertEqual(self.stop(), 0)
        self.assertEqual(watch.end(), UNREACHABLE)
        self.xsan('watch', code=UNREACHABLE, err='no registry answers')

    def test_a_pipe_that_is_closed_ends_it(self):
        self.start()
        for i in range(5):
            self.made(i)
        done = subprocess.run(f"timeout 50 '{XSAN}' registry watch --since 0 | head -n 1", shell=True,
                              env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertIn('  1  registered', done.stdout)


class Roles(CliTest):
    def setUp(self):
        super().setUp()
        self.config['security'] = {'tokens': [
            {'name': 'reader', 'token': 'reader-0123456789', 'role': 'read'},
            {'name': 'boss', 'token': 'boss-0123456789ab', 'role': 'admin'}]}
        self.start()

    def is_ready(self):
        try:
            self.hang_up()
            return self.call('GET', '/api/v1/openapi.json').status == 200
        except OSError:
            return False

    def test_tokens(self):
        self.xsan('list', code=REFUSED, err='give a token with --token-file')
        self.xsan('list', '--token', 'wrong-0123456789', code=REFUSED, err='give a token')
        self.xsan('list', '--token', 'reader-0123456789')
        self.xsan('list', env=self.env | {'XSAN_REGISTRY_TOKEN': 'reader-0123456789'})
        self.write('token', 'reader-0123456789\nmore\n')
        self.xsan('list', '--token-file', 'token')
        self.xsan('backup', 'x', '--token-file', 'token', code=REFUSED, err='somebody who may')
        self.assertFalse((self.dir / 'x').exists() or (self.dir / 'x.part').exists())
        self.xsan('backup', 'x', '--token', 'boss-0123456789ab')
        self.xsan('list', '--token-file', 'nix', code=REFUSED, err='nix cannot be read')
        self.xsan('list', '--token-file', self.write('empty', ''), code=REFUSED, err='no token in its first')
        self.xsan('list', '--token', 'a b', code=USAGE, err='one word of ASCII')
        self.xsan('list', '--token', 'x\r\nX-Evil: 1', code=USAGE, err='one word of ASCII')
        self.xsan('list', '--token', 'a', '--token-file', 'token', code=USAGE, err='both given')


class Tls(CliTest):
    def openssl(self, *words):
        subprocess.run(['openssl', *words], cwd=self.dir, check=True, capture_output=True,
                       timeout=PATIENCE_S)

    def setUp(self):
        super().setUp()
        self.openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=ca',
                     '-keyout', 'ca.key', '-out', 'ca.crt')
        for name in ('server', 'client'):
            self.openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={name}', '-addext',
                         'subjectAltName=IP:127.0.0.1', '-keyout', f'{name}.key', '-out', f'{name}.csr')
            self.openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key',
                         '-copy_extensions', 'copy', '-days', '2', '-out', f'{name}.crt')
        self.config['security'] = {
            'tls_enabled': True, 'cert_file': str(self.dir / 'server.crt'),
            'key_file': str(self.dir / 'server.key'), 'ca_file': str(self.dir / 'ca.crt')}
        self.env['XSAN_REGISTRY_URL'] = f'https://127.0.0.1:{self.port}'
        self.start()

    def is_ready(self):
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 1):
            return True
        return False

    def test_certificates(self):
        who = ('--cert', 'client.crt', '--key', 'client.key')
        self.assertEqual(self.xsan('list', '--ca', 'ca.crt', *who), 'there are no such targets\n')
        self.xsan('list', *who, code=UNREACHABLE, err='is not trusted')
        self.xsan('list', '--ca', 'ca.crt', code=REFUSED, err='a certificate with --cert and --key')
        self.xsan('list', '--ca', 'ca.crt', '--cert', 'client.crt', code=USAGE, err='belong together')
        self.xsan('list', '--ca', 'nix.crt', *who, code=REFUSED, err='a file of --ca, --cert or --key')
        self.xsan('list', '--ca', 'ca.crt', '--cert', 'nix', '--key', 'nix', code=REFUSED,
                  err='a file of --ca, --cert or --key')
        self.xsan('list', '--url', f'https://localhost:{self.port}', '--ca', 'ca.crt', *who,
                  code=UNREACHABLE, err='is not trusted')
        self.xsan('list', '--url', f'http://127.0.0.1:{self.port}', code=UNREACHABLE)
        self.xsan('watch', '--ca', 'nix', code=REFUSED, err='a file of --ca')


class Strangers(CliTest):
    """What answers is no registry, or goes away in the middle."""

    @contextlib.contextmanager
    def server(self, answer, wait=0):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            over = threading.Event()

            def serve(connection):
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(PATIENCE_S)
                    self.read_request(connection)
                    connection.sendall(answer)
                    over.wait(wait)

            def accept():
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        threading.Thread(target=serve, args=(connection,), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            self.env['XSAN_REGISTRY_URL'] = f'http://127.0.0.1:{listener.getsockname()[1]}'
            try:
                yield
            finally:
                over.set()
                listener.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def read_request(connection):
        """All of it: what is left unread when a connection is closed takes the answer with it."""
        data = b''
        while b'\r\n\r\n' not in data:
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        head, _, body = data.partition(b'\r\n\r\n')
        length = re.search(rb'(?i)\r\ncontent-length: *(\d+)', head)
        left = int(length.group(1)) - len(body) if length else 0
        while left > 0 and (piece := connection.recv(left)):
            left -= len(piece)

    @staticmethod
    def http(status, body, kind='application/json', length=None):
        length = len(body) if length is None else length
        return (f'HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n'
                f'Connection: close\r\n\r\n').encode() + body

    def test_answers_that_are_none(self):
        cases = (
            (b'', 'too early'), (b'\xff\x00garbage\r\n\r\n', 'no registry'), (b'HTTP/1.1 200\r\n', 'no registry'),
            (self.http(200, b'<html>'), 'no JSON object'), (self.http(200, b'[1]'), 'no JSON object'),
            (self.http(200, b''), 'no JSON object'), (self.http(200, b'{"targets": [', length=999), 'too early'),
            (self.http(502, b'bad gateway', 'text/html; charset=x'), 'HTTP status 502, text/html'),
            (self.http(301, b'', 'text/plain'), 'HTTP status 301'),
            (self.http(404, b'{"no": "detail"}', 'application/problem+json'), 'HTTP status 404'),
            (self.http(400, b'nonsense', 'application/problem+json'), 'HTTP status 400'),
            (b'SSH-2.0-OpenSSH_9.2\r\n', 'no registry'))
        for answer, why in cases:
            with self.subTest(answer=answer), self.server(answer):
                self.xsan('list', code=UNREACHABLE, err=why)
                self.xsan('backup', 'b', code=UNREACHABLE)
                self.xsan('watch', '--give-up', '0.2', code=UNREACHABLE)
                self.assertFalse((self.dir / 'b').exists())

    def test_answers_of_another_shape(self):
        """JSON objects without what a registry says: nothing is made up, nothing crashes."""
        for body in (b'{}', b'{"targets": 7, "results": {}, "events": "x", "health": []}',
                     b'{"targets": [1, null, {"target_id": 5}], "next_cursor": "x", "results": [{}]}'):
            with self.subTest(body=body), self.server(self.http(200, body)):
                for words in (('list', '-n', '5'), ('get', 'x'), ('info',), ('select', '--explain'), ('events',),
                              ('register', '--node', 'n'), ('drain', 'x'), ('report', 'x', 'io_count=1')):
                    self.xsan(*words)
                self.write('one', registration())
                done = subprocess.run([XSAN, 'registry', 'import', 'one'], cwd=self.dir, env=self.env,
                                      capture_output=True, timeout=PATIENCE_S, check=False)
                self.assertIn(done.returncode, (REFUSED, UNREACHABLE))

    def test_a_problem_is_told_with_its_field(self):
        body = json.dumps({'detail': 'too \x1b[31mred', 'field': 'colour', 'status': 422}).encode()
        with self.server(self.http(422, body, 'application/problem+json')):
            self.xsan('list', code=REFUSED, err='too ?[31mred (colour)')

    def test_a_server_that_is_silent(self):
        begin = time.monotonic()
        with self.server(b'', wait=PATIENCE_S):
            self.xsan('list', '--timeout', '0.5', code=UNREACHABLE, err='has not answered in time')
        with self.server(self.http(200, b'{', length=99), wait=PATIENCE_S):
            self.xsan('list', '--timeout', '0.5', code=UNREACHABLE, err='has not answered in time')
        self.assertLess(time.monotonic() - begin, 30)

    def test_a_backup_that_breaks_off(self):
        head = (b'HTTP/1.1 200 x\r\nContent-Type: application/vnd.sqlite3\r\n'
                b'Transfer-Encoding: chunked\r\n\r\n')
        self.write('old', 'precious')
        for answer, code in ((head + b'10\r\nSQLite format 3\0\r\n', UNREACHABLE),
                             (head + b'10\r\nSQLite format 3\0\r\n0\r\n\r\n', REFUSED),
                             (head + b'0\r\n\r\n', REFUSED)):
            with self.subTest(answer=answer), self.server(answer):
                self.xsan('backup', 'old', code=code)
                self.assertEqual((self.dir / 'old').read_text(), 'precious')
                self.assertFalse((self.dir / 'old.part').exists())

    def test_a_stream_of_nonsense(self):
        head = b'HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n'
        status = self.http(200, b'{"revision": 7}')
        count = 0

        def serve(listener):
            nonlocal count
            bodies = [b'id: 8\nevent: x\ndata: {', b'\n\n\n:\nid\ndata\n\nid: -3\ndata: {}\nevent: y\n\n',
                      b'id: 9\nevent: registered\ndata: {"target": 7}\r\n\r\n']
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        text = connection.recv(65536)
                        if b'/status' in text:
                            connection.sendall(status)
                        else:
                            self.assertIn(b'since=7 ', text)
                            count += 1   # before the answer: the client may be gone right after it
                            connection.sendall(head + bodies[(count - 1) % 3])

        with socket.create_server(('127.0.0.1', 0)) as listener:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            url = f'http://127.0.0.1:{listener.getsockname()[1]}'
            done = subprocess.run([XSAN, 'registry', 'watch', '-n', '1', '--json', '--url', url], text=True,
                                  capture_output=True, timeout=PATIENCE_S, env=self.env, check=False)
            listener.shutdown(socket.SHUT_RDWR)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(json.loads(done.stdout), {'target': 7, 'type': 'registered'})
        self.assertEqual(count, 3)

    def test_addresses(self):
        for url in ('nonsense', 'ftp://x', 'file:///etc/passwd', 'gopher://127.0.0.1', 'https:/x'):
            with self.subTest(url=url):
                self.xsan('list', '--url', url, code=USAGE, err='is no address of a registry')
        self.xsan('list', '--url', 'http://127.0.0.1:1', code=UNREACHABLE, err='start it (systemctl start')
        self.xsan('list', '--url', 'http://127.0.0.1:99999', code=REFUSED, err='is no address of a registry')
        self.xsan('list', '--url', 'http://host.invalid:8080', code=UNREACHABLE, err='nobody knows the host')


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry's command line, configuration, roles and TLS."""

import http.client
import json
import os
import signal
import ssl
import subprocess

from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, main, registration

# As spec/registry.md 7.1 prints it.
DOCUMENT = '''{
  "service": {
    "listen_address": "0.0.0.0",
    "listen_port": 8080,
    "data_directory": "/var/lib/xdevice/registry"
  },
  "discovery": {
    "auto_discovery_enabled": true,
    "discovery_interval_sec": 60,
    "discovery_timeout_sec": 5,
    "multicast_group": "239.255.43.21",
    "multicast_port": 4791
  },
  "health_monitoring": {
    "monitoring_interval_sec": 30,
    "health_check_timeout_sec": 10,
    "availability_weight": 0.3,
    "performance_weight": 0.4,
    "reliability_weight": 0.2,
    "resource_weight": 0.1,
    "max_acceptable_latency_us": 1000,
    "max_acceptable_error_rate": 0.01,
    "max_acceptable_load_pct": 80,
    "min_acceptable_iops": 10000
  },
  "failover": {
    "auto_failover_enabled": true,
    "failover_threshold_failures": 3,
    "failover_timeout_sec": 300
  },
  "integration": {
    "backend_integration_enabled": true,
    "backend_manager_endpoint": "http://localhost:8090"
  },
  "security": {
    "tls_enabled": true,
    "cert_file": "/etc/xdevice/tls/server.crt",
    "key_file": "/etc/xdevice/tls/server.key",
    "ca_file": "/etc/xdevice/tls/ca.crt"
  },
  "logging": {
    "log_level": "INFO",
    "log_file": "/var/log/xdevice/registry.log",
    "log_rotation_enabled": true,
    "max_log_file_size_mb": 100
  },
  "persistence": {
    "persistence_enabled": true,
    "persistence_backend": "sqlite",
    "connection_string": "/var/lib/xdevice/registry/targets.db",
    "sync_interval_sec": 60
  }
}
'''


def run(*words, **options):
    return subprocess.run([REGISTRY, *words], capture_output=True, text=True, timeout=PATIENCE_S,
                          check=False, **options)


class CommandLine(RegistryTest):
    def test_help_version_and_default(self):
        self.assertEqual(run('--help').returncode, 0)
        self.assertTrue(run('--version').stdout.startswith('xsan-registry '))
        done = run('--print-default-config')
        self.config_path.write_text(done.stdout)
        self.assertEqual(run('--check', '--config', self.config_path).stdout,
                         f'{self.config_path}: good\n')
        self.assertEqual(run('--check').returncode, 0)

    def test_refuses_wrong_usage(self):
        for words in (['--nonsense'], ['extra'], ['--log-level', 'loud'], ['--listen-port', '1x']):
            done = run(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ''))
            self.assertIn("Try 'xsan-registry --help'", done.stderr)

    def test_the_document_s_file_is_good(self):
        self.config_path.write_text(DOCUMENT)
        done = run('--check', '--config', self.config_path)
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_says_where(self):
        for text, where in (
                ('{\n "service": {"listen_port": 70000}}', ':2:29: service.listen_port: '),
                ('{"health_monitoring": {"availability_weight": "x"}}',
                 ':1:47: health_monitoring.availability_weight: '),
                ('{"persistence": {"persistence_enabled": false}}',
                 ':1:41: persistence.persistence_enabled: '),
                ('{"persistence": {"persistence_backend": "paper"}}',
                 ':1:41: persistence.persistence_backend: '),
                ('{"security": {"tls_enabled": true}}', ':1:14: security: '),
                ('{"security": {"tokens": [{"name": "a", "role": "admin"}]}}',
                 ':1:26: security.tokens[0]: '),
                ('{"discovery": {"enable_mdns": "yes"}}', ':1:31: discovery.enable_mdns: '),
                ('{"discovery_controller": {"publish_mdns": 1}}',
                 ':1:43: discovery_controller.publish_mdns: '),
                ('{"discovery": {"static_targets": [{"node_id": "a"}]}}',
                 ':1:35: discovery.static_targets[0]'),
                ('{"discovery": {"discovery_controllers": 1}}', ':1:41: discovery.discovery_contr'),
                ('{"discovery": {"discovery_controllers": [{"address": "name"}]}}',
                 ':1:42: discovery.discovery_controllers[0]: '),
                ('{"discovery": {"discovery_controllers": [{"address": "0.0.0.0"}]}}',
                 ':1:42: discovery.discovery_controllers[0]: '),
                ('{"discovery": {"discovery_controllers": [{"address": "192.0.2.9", "port": 0}]}}',
                 ':1:75: discovery.discovery_controllers[0].port: '),
                ('{"discovery": {"discovery_controllers": [{"port": 8009}]}}',
                 ':1:42: discovery.discovery_controllers[0]'),
                ('{"discovery": {"pulled_entries_max": 0}}', ':1:38: discovery.pulled_entries_max: '),
                ('{"discovery": {"referral_depth_max": 9}}', ':1:38: discovery.referral_depth_max: '),
                ('{"discovery": {"referrals_max": 0}}', ':1:33: discovery.referrals_max: '),
                ('{"discovery_controller": {"referrals": [{"address": "127.0.0.1"}]}}',
                 ':1:40: discovery_controller.referrals: '),
                ('{"discovery_controller": {"referrals": [{"address": "192.0.2.9", "nqn": "x"}]}}',
                 ':1:41: discovery_controller.referrals[0]: '),
                ('{"colour": 1}', ":1:12: colour: "),
                ('{"service": ', ':1:')):
            self.config_path.write_text(text)
            done = run('--check', '--config', self.config_path)
            self.assertEqual(done.returncode, 2, text)
            self.assertIn(f'{self.config_path}{where}', done.stderr)

    def test_without_a_file_data_is_below(self):
        process = subprocess.Popen([REGISTRY, '--listen-port', str(self.port),
                                    '--discovery-port', '0', '--grpc-port', '0'], cwd=self.dir,
                                   stderr=subprocess.DEVNULL)
        self.process = process
        self.wait_for(self.is_ready, 'the registry does not answer')
        self.register()
        self.assertEqual(self.stop(), 0)
        self.assertTrue((self.dir / 'var/registry/targets.db').exists())

    def test_what_cannot_start_says_why(self):
        self.start()
        # The data is one registry's.
        config = dict(self.config, service=dict(self.config['service'], listen_port=0))
        other = self.dir / 'other.json'
        other.write_text(json.dumps(config))
        done = run('--config', other)
        self.assertEqual(done.returncode, 1)
        self.assertIn('another registry uses it', done.stderr)
        # The port is taken.
        config['service'] = dict(self.config['service'], data_directory=str(self.dir / 'else'))
        other.write_text(json.dumps(config))
        done = run('--config', other)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.port), done.stderr)

    def test_reload(self):
        self.start()
        self.config['logging'] = {'log_level': 'debug'}
        self.config_path.write_text(json.dumps(self.config))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: 'reloaded: ' in self.log_text(), 'it is not reloaded')
        self.config_path.write_text('{')
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: 'not reloaded' in self.log_text(), 'it does not refuse')
        self.good('GET', '/api/v1/status')
        self.assertEqual(self.stop(), 0)


class Roles(RegistryTest):
    def setUp(self):
        super().setUp()
        secret = self.dir / 'secret'
        secret.write_text('operator-0123456789\n')
        os.environ['REGISTRY_TEST_TOKEN'] = 'admin-0123456789abc'
        self.config['security'] = {'tokens': [
            {'name': 'reader', 'token': 'reader-0123456789', 'role': 'read'},
            {'name': 'agent', 'token': 'agent-0123456789a', 'role': 'register'},
            {'name': 'operator', 'token_file': str(secret), 'role': 'operate'},
            {'name': 'root', 'token_env': 'REGISTRY_TEST_TOKEN', 'role': 'admin'}]}
        self.config['logging'] = {'audit_log_file': str(self.dir / 'audit')}
        self.start()

    def with_token(self, token):
        return {'Authorization': f'Bearer {token}'}

    def test_each_may_what_its_role_says(self):
        target = registration()
        self.refused(401, 'GET', '/api/v1/targets')
        self.refused(401, 'GET', '/api/v1/targets', headers=self.with_token('reader-012345678'))
        self.refused(401, 'GET', '/api/v1/targets', headers=self.with_token(''))
        reader = self.with_token('reader-0123456789')
        self.good('GET', '/api/v1/targets', headers=reader)
        self.refused(403, 'POST', '/api/v1/targets', target, headers=reader)
        agent = self.with_token('agent-0123456789a')
        made = self.good('POST', '/api/v1/targets', target, 201, headers=agent)['target_id']
        self.refused(403, 'DELETE', f'/api/v1/targets/{made}', headers=agent)
        operator = self.with_token('operator-0123456789')
        self.good('PUT', f'/api/v1/targets/{made}/status', {'status': 'busy'}, headers=operator)
        self.good('DELETE', f'/api/v1/targets/{made}',
                  headers=self.with_token('admin-0123456789abc'))
        audit = (self.dir / 'audit').read_text().splitlines()
        self.assertEqual(len(audit), 5)
        self.assertRegex(audit[1], r'POST /api/v1/targets by agent from 127\.0\.0\.1: 201 '
                                   r'\(request \S+\)$')


class Certificates(RegistryTest):
    def make(self, *words):
        subprocess.run(['openssl', *words], cwd=self.dir, check=True, capture_output=True,
                       timeout=PATIENCE_S)

    def make_certificates(self):
        self.make('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=ca',
                  '-keyout', 'ca.key', '-out', 'ca.crt')
        for name in ('server', 'client'):
            self.make('req', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={name}', '-addext',
                      'subjectAltName=IP:127.0.0.1', '-keyout', f'{name}.key', '-out', f'{name}.csr')
            self.make('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key',
                      '-copy_extensions', 'copy', '-days', '2', '-out', f'{name}.crt')
        self.make('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=evil',
                  '-keyout', 'evil.key', '-out', 'evil.crt')

    def context(self, name=None):
        context = ssl.create_default_context(cafile=self.dir / 'ca.crt')
        if name is not None:
            context.load_cert_chain(self.dir / f'{name}.crt', self.dir / f'{name}.key')
        return context

    def get(self, context):
        connection = http.client.HTTPSConnection('127.0.0.1', self.port, timeout=PATIENCE_S,
                                                 context=context)
        try:
            connection.request('GET', '/api/v1/status')
            return connection.getresponse().status
        finally:
            connection.close()

    def is_ready(self):
        try:
            return self.get(self.context('client')) == 200
        except OSError:
            return False

    def test_tls_and_client_certificates(self):
        self.make_certificates()
        self.config['security'] = {
            'tls_enabled': True, 'cert_file': str(self.dir / 'server.crt'),
            'key_file': str(self.dir / 'server.key'), 'ca_file': str(self.dir / 'ca.crt')}
        self.start()
        self.assertEqual(self.get(self.context('client')), 200)
        self.assertEqual(self.get(self.context()), 401)
        try:
            self.assertEqual(self.get(self.context('evil')), 401)
        except OSError:
            pass  # refused at once is as good
        with self.assertRaises((OSError, http.client.HTTPException)):
            plain = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE_S)
            plain.request('GET', '/api/v1/status')
            plain.getresponse()
        # A server of TLS 1.1 there is none.
        done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{self.port}', '-tls1_1',
                               '-cipher', 'ALL:@SECLEVEL=0'], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_a_key_of_another_certificate(self):
        self.make_certificates()
        self.config['security'] = {
            'tls_enabled': True, 'cert_file': str(self.dir / 'server.crt'),
            'key_file': str(self.dir / 'evil.key')}
        self.config_path.write_text(json.dumps(self.config))
        done = run('--config', self.config_path)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, 'a pair|mismatch')


class Exposure(RegistryTest):
    def test_a_public_address_needs_protection(self):
        self.config['service']['listen_address'] = '0.0.0.0'
        self.config_path.write_text(json.dumps(self.config))
        done = run('--config', self.config_path)
        self.assertEqual(done.returncode, 1)
        self.assertIn('not a loopback address', done.stderr)
        self.config['security'] = {'allow_insecure': True}
        self.start()
        self.good('GET', '/api/v1/status')


class Rate(RegistryTest):
    def test_too_many_calls(self):
        self.config['security'] = {'rate_limit_per_sec': 5}
        self.start()
        # However slowly they go, as long as it is more than five a second.
        statuses = set()

        def is_limited():
            statuses.update(self.call('GET', '/api/v1/status').status for _ in range(60))
            return statuses >= {200, 429}
        self.wait_for(is_limited, 'nothing is refused, or all')
        self.assertEqual(statuses, {200, 429})


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry's certificates are exchanged while it runs, clients' certificates have roles, wrong
tokens are counted, and a reload takes what it says; over REST and gRPC."""

import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import unittest

from registry_harness import PATIENCE_S, Answer, RegistryTest, free_port, main, registration

HAS_GRPC = importlib.util.find_spec('grpc') is not None
if HAS_GRPC:
    import grpc
SERVICE = '/xdevice.nvmeof.registry.NVMeOFTargetRegistry/'


class SecureTest(RegistryTest):
    """A registry with TLS, and certificates of all kinds."""

    def setUp(self):
        super().setUp()
        self.grpc_port = free_port()
        self.config['service']['grpc_port'] = self.grpc_port
        self.audit_path = self.dir / 'audit'
        self.config['logging'] = {'audit_log_file': str(self.audit_path)}
        self.make_ca('ca')
        for name in ('server', 'client'):
            self.make(name)
        self.config['security'] = {'tls_enabled': True, 'cert_file': self.path('server.crt'),
                                   'key_file': self.path('server.key'),
                                   'ca_file': self.path('ca.crt')}
        self.identity = 'client'

    # ---- certificates ----

    def path(self, name):
        return str(self.dir / name)

    def openssl(self, *words, **options):
        return subprocess.run(['openssl', *words], cwd=self.dir, check=True, capture_output=True,
                              text=True, timeout=PATIENCE_S, **options).stdout

    def make_ca(self, name):
        self.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                     '-days', '2', '-subj', f'/CN={name}', '-keyout', f'{name}.key', '-out',
                     f'{name}.crt')

    def make(self, name, ca='ca', subject=None, san='IP:127.0.0.1', days='2'):
        """NAME.crt and NAME.key, each whole at once."""
        self.openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj',
                     subject or f'/CN={name}', '-addext', f'subjectAltName={san}', '-keyout',
                     f'{name}.key', '-out', f'{name}.csr')
        self.openssl('x509', '-req', '-in', f'{name}.csr', '-CA', f'{ca}.crt', '-CAkey', f'{ca}.key',
                     '-copy_extensions', 'copy', '-days', days, '-out', f'{name}.crt')

    def serial(self, name):
        return self.openssl('x509', '-in', f'{name}.crt', '-noout', '-serial').strip()

    def served(self, port=None):
        """The serial number of the certificate that a new connection gets."""
        done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{port or self.port}',
                               '-alpn', 'h2' if port else 'http/1.1', '-cert', 'client.crt', '-key',
                               'client.key'], cwd=self.dir, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors='replace',
                              timeout=PATIENCE_S, check=False)
        return self.openssl('x509', '-noout', '-serial', input=done.stdout).strip()

    def put(self, source, target='server', halves=('key', 'crt')):
        """What a tool does that renews a certificate: each file is exchanged by itself."""
        for half in halves:
            shutil.copy(self.dir / f'{source}.{half}', self.dir / 'next')
            os.rename(self.dir / 'next', self.dir / f'{target}.{half}')

    # ---- calls ----

    def context(self, name):
        context = ssl.create_default_context(cafile=self.path('ca.crt'))
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if name is not None:
            context.load_cert_chain(self.path(f'{name}.crt'), self.path(f'{name}.key'))
        return context

    def connect(self):
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=PATIENCE_S,
                                           context=self.context(self.identity))

    def status_of(self, identity, method='GET', path='/api/v1/status', body=None):
        """What a new connection of this client gets; 0: not even an answer."""
        connection = http.client.HTTPSConnection('127.0.0.1', self.port, timeout=PATIENCE_S,
                                                 context=self.context(identity))
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def grpc_code(self, method='ListTargets', identity='client', token=None):
        """How a call ends; "OK" when it is good."""
        credentials = grpc.ssl_channel_credentials(
            (self.dir / 'ca.crt').read_bytes(), (self.dir / f'{identity}.key').read_bytes(),
            (self.dir / f'{identity}.crt').read_bytes())
        with grpc.secure_channel(f'127.0.0.1:{self.grpc_port}', credentials) as channel:
            try:
                channel.unary_unary(SERVICE + method)(
                    b'', timeout=PATIENCE_S,
                    metadata=[('authorization', f'Bearer {token}')] if token else None)
                return 'OK'
            except grpc.RpcError as error:
                return error.code().name

    def reload(self, status=200):
        self.config_path.write_text(json.dumps(self.config, indent=1))
        return (self.good if status == 200 else self.refused)(
            *(('POST', '/api/v1/reload') if status == 200 else (status, 'POST', '/api/v1/reload')))


class Certificates(SecureTest):
    def stream(self):
        connection = self.connect()
        connection.request('GET', '/api/v1/events', headers={'Accept': 'text/event-stream'})
        return connection, connection.getresponse()

    def next_event(self, response):
        lines = []
        while not any(line.startswith(b'data:') for line in lines):
            lines.append(response.readline())
            self.assertNotEqual(lines[-1], b'', 'the stream has ended')
        return b''.join(lines).decode()

    def test_a_new_pair_is_taken_and_nobody_is_cut_off(self):
        self.start()
        connection, stream = self.stream()
        old = self.serial('server')
        self.assertEqual((self.served(), self.served(self.grpc_port)), (old, old))
        self.make('other')
        new = self.serial('other')
        # Half of it is nothing: refused, once, and the old one goes on.
        self.put('other', halves=('key',))
        self.wait_for(lambda: 'are not a pair' in self.log_text(), 'it does not say that they differ')
        self.assertEqual((self.served(), self.served(self.grpc_port)), (old, old))
        self.put('other', halves=('crt',))
        self.wait_for(lambda: self.served() == new, 'the new certificate is not taken')
        self.wait_equal(lambda: self.served(self.grpc_port), new, 'gRPC does not take it')
        self.assertEqual(self.log_text().count('are not a pair'), 1)
        # Who was there stays, and is told.
        self.register()
        self.assertIn('registered', self.next_event(stream))
        connection.close()
        self.assertEqual(self.stop(), 0)

    def test_the_signal_takes_it_at_once_or_nothing(self):
        self.start()
        old = self.serial('server')
        self.make('other')
        # While it stands still: the files are not looked at before the signal is there.
        self.process.send_signal(signal.SIGSTOP)
        self.put('other')
        self.process.send_signal(signal.SIGHUP)
        self.process.send_signal(signal.SIGCONT)
        self.wait_for(lambda: 'the certificate; changed' in self.log_text(), 'it is not reloaded')
        new = self.serial('other')
        self.assertNotEqual(old, new)
        self.assertEqual((self.served(), self.served(self.grpc_port)), (new, new))
        # What has expired, or is none, is not taken; neither is anything else of that reload.
        self.make('expired', days='0')
        time.sleep(1.1)
        self.put('expired')
        self.config['logging']['log_level'] = 'debug'
        self.assertIn('has expired', self.reload(422)['detail'])
        self.assertNotIn('DEBUG', self.log_text())
        (self.dir / 'server.crt').write_text('nothing\n')
        self.assertIn('nothing was changed', self.reload(422)['detail'])
        (self.dir / 'server.crt').unlink()
        self.assertIn('server.crt: No such file', self.reload(422)['detail'])
        self.assertEqual((self.served(), self.served(self.grpc_port)), (new, new))
        self.put('other')
        self.assertEqual(self.reload()['taken'], ['logging.log_level'])
        self.wait_for_log('DEBUG')

    def test_files_elsewhere(self):
        self.start()
        self.make('other')
        self.config['security'].update(cert_file=self.path('other.crt'), key_file=self.path('other.key'))
        answer = self.reload()
        self.assertEqual(sorted(answer['taken']), ['security.cert_file', 'security.key_file'])
        self.assertTrue(answer['new_certificate'])
        self.assertEqual(self.served(), self.serial('other'))
        # From now on it is those that are looked at.
        self.make('third')
        self.put('third', 'other')
        self.wait_for(lambda: self.served() == self.serial('third'), 'the files are not looked at')

    def test_clients_that_are_not_let_in(self):
        self.start()
        self.make_ca('evil')
        self.make('stranger', ca='evil')
        self.make('late', days='0')
        time.sleep(1.1)
        for identity, status in (('client', 200), ('stranger', 401), ('late', 401), (None, 401)):
            with self.subTest(identity=identity):
                self.assertIn(self.status_of(identity), (status, 0) if status == 401 else (200,))
        if HAS_GRPC:
            for identity, code in (('client', 'OK'), ('stranger', 'UNAVAILABLE'),
                                   ('late', 'UNAVAILABLE')):
                with self.subTest(identity=identity):
                    self.assertEqual(self.grpc_code(identity=identity), code)

    def test_another_ca_of_clients(self):
        self.start()
        self.make_ca('next')
        self.make('newcomer', ca='next')
        self.assertIn(self.status_of('newcomer'), (401, 0))
        self.good('GET', '/api/v1/status')  # on a connection that stays
        shutil.copy(self.dir / 'next.crt', self.dir / 'new.crt')
        self.config['security']['ca_file'] = self.path('new.crt')
        self.assertEqual(self.reload()['taken'], ['security.ca_file'])
        self.assertEqual(self.status_of('newcomer'), 200)
        # The old one's are not let in any more, also where they were already.
        self.assertEqual(self.call('GET', '/api/v1/status').status, 401)
        self.assertIn(self.status_of('client'), (401, 0))

    def test_without_tls_before_is_said_to_need_a_restart(self):
        security = self.config.pop('security')
        self.connect = lambda: RegistryTest.connect(self)
        self.start()
        self.config['security'] = security
        answer = self.reload()
        self.assertEqual(answer['taken'], [])
        self.assertEqual(sorted(answer['needs_restart']),
                         ['security.ca_file', 'security.cert_file', 'security.key_file',
                          'security.tls_enabled'])
        self.wait_for_log('this takes a restart: ')
        # And again, since it is still so.
        self.assertEqual(len(self.reload()['needs_restart']), 4)


class CertificateRoles(SecureTest):
    def setUp(self):
        super().setUp()
        self.make('reader', subject='/O=example/CN=reader')
        self.make('node', subject='/CN=node', san='DNS:Node-1.example,IP:192.0.2.7')
        self.make('agent', subject='/CN=agent', san='URI:spiffe://example/agent')
        self.config['security'].update(client_role='none', client_certificates=[
            {'subject': 'CN=reader,O=example', 'role': 'read'},
            {'san': 'DNS:node-1.example', 'role': 'register'},
            {'san': 'URI:spiffe://example/agent', 'role': 'operate'},
            {'subject': 'CN=client', 'role': 'admin'}])
        self.start()

    def test_each_may_what_its_role_says(self):
        for identity, reads, registers in (('reader', 200, 403), ('node', 200, 201),
                                           ('agent', 200, 409), ('server', 401, 401)):
            with self.subTest(identity=identity):
                self.assertEqual(self.status_of(identity), reads)
                self.assertEqual(self.status_of(identity, 'POST', '/api/v1/targets', registration()),
                                 registers)
        lines = self.audit_path.read_text().splitlines()
        self.assertEqual(len(lines), 4)
        self.assertIn(' POST /api/v1/targets by certificate CN=reader,O=example from 127.0.0.1: 403 ',
                      lines[0])
        self.assertIn(' by certificate CN=node from 127.0.0.1: 201 ', lines[1])

    @unittest.skipUnless(HAS_GRPC, 'python3-grpcio is not installed')
    def test_grpc_has_the_same_roles(self):
        for identity, reads, registers in (
                ('reader', 'OK', 'PERMISSION_DENIED'), ('node', 'OK', 'INVALID_ARGUMENT'),
                ('server', 'UNAUTHENTICATED', 'UNAUTHENTICATED')):
            with self.subTest(identity=identity):
                self.assertEqual(self.grpc_code('ListTargets', identity), reads)
                self.assertEqual(self.grpc_code('RegisterTarget', identity), registers)
        lines = self.audit_path.read_text().splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn('gRPC RegisterTarget by certificate CN=reader,O=example from 127.0.0.1: code 7',
                      lines[0])
        self.assertIn('by certificate CN=node from 127.0.0.1: code 3', lines[1])

    def test_roles_are_reloaded(self):
        self.config['security']['client_certificates'][0]['role'] = 'register'
        self.assertEqual(self.reload()['taken'], ['security.client_certificates'])
        self.assertEqual(self.status_of('reader', 'POST', '/api/v1/targets', registration()), 201)
        del self.config['security']['client_certificates'][0]
        self.reload()
        self.assertEqual(self.status_of('reader'), 401)
        self.config['security']['client_role'] = 'read'
        self.reload()
        self.assertEqual(self.status_of('reader'), 200)


class WrongTokens(RegistryTest):
    """Of one address, at REST and gRPC together."""

    def setUp(self):
        super().setUp()
        self.grpc_port = free_port()
        self.config['service']['grpc_port'] = self.grpc_port
        self.config['security'] = {'wrong_tokens_per_sec': 5, 'tokens': [
            {'name': 'root', 'token': 'admin-0123456789abc', 'role': 'admin'}]}

    def status_of(self, token):
        return self.call('GET', '/api/v1/status',
                         headers={'Authorization': f'Bearer {token}'}).status

    def test_rest(self):
        self.start()
        statuses = [self.status_of('wrong-0123456789abc') for _ in range(40)]
        self.assertIn(401, statuses)
        self.assertIn(429, statuses)
        self.wait_for(lambda: self.status_of('admin-0123456789abc') == 200, 'it stays shut')
        # Who is right is not counted.
        self.assertEqual({self.status_of('admin-0123456789abc') for _ in range(40)}, {200})

    @unittest.skipUnless(HAS_GRPC, 'python3-grpcio is not installed')
    def test_grpc(self):
        def code(token):
            try:
                call(b'', timeout=PATIENCE_S, metadata=[('authorization', f'Bearer {token}')])
                return 'OK'
            except grpc.RpcError as error:
                return error.code().name

        self.start()
        with grpc.insecure_channel(f'127.0.0.1:{self.grpc_port}') as channel:
            call = channel.unary_unary(SERVICE + 'ListTargets')
            codes = [code('wrong-0123456789abc') for _ in range(40)]
            self.assertEqual(set(codes), {'UNAUTHENTICATED', 'RESOURCE_EXHAUSTED'})
            self.wait_for(lambda: code('admin-0123456789abc') == 'OK', 'it stays shut')
            self.assertEqual({code('admin-0123456789abc') for _ in range(40)}, {'OK'})
            # Guesses at the one count at the other.
            def is_shut():
                for _ in range(6):
                    code('wrong-0123456789abc')
                return self.status_of('wrong-0123456789abc') == 429
            self.wait_for(is_shut, 'REST does not know of guesses at gRPC')


class Reload(RegistryTest):
    def reload(self, status=200, token=None):
        self.config_path.write_text(json.dumps(self.config, indent=1))
        answer = self.call('POST', '/api/v1/reload',
                           headers={'Authorization': f'Bearer {token}'} if token else None)
        self.assertEqual(answer.status, status, answer.text)
        return answer.json

    def test_what_is_taken_and_what_is_not(self):
        self.start()
        self.assertEqual(self.reload(), {'status': 'reloaded', 'taken': [], 'needs_restart': [],
                                         'new_certificate': False})
        self.config['load_balancer'] = {'policy': 'round_robin', 'load_threshold': 0.5}
        self.config['health_monitoring']['monitoring_interval_sec'] = 7
        self.config['discovery'] = {'discovery_interval_sec': 1,
                                    'static_targets': [registration(3), registration(4)]}
        self.config['service']['max_targets'] = 77
        answer = self.reload()
        self.assertEqual(sorted(answer['taken']), [
            'discovery.discovery_interval_sec', 'discovery.static_targets',
            'health_monitoring.monitoring_interval_sec', 'load_balancer.load_threshold',
            'load_balancer.policy'])
        self.assertEqual(answer['needs_restart'], ['service.max_targets'])
        self.wait_for_log('this takes a restart: service.max_targets')
        self.wait_for(lambda: self.good('GET', '/api/v1/targets')['total_count'] == 2,
                      'the targets are not found')
        self.assertEqual(self.good('GET', '/api/v1/targets/select')['policy'], 'round_robin')
        # A default that is written down is no change.
        self.config['discovery']['discovery_timeout_sec'] = 5
        self.assertEqual(self.reload()['taken'], [])
        # And away with them again.
        del self.config['discovery']
        del self.config['service']['max_targets']
        answer = self.reload()
        self.assertEqual(sorted(answer['taken']),
                         ['discovery.discovery_interval_sec', 'discovery.static_targets'])
        self.assertEqual(answer['needs_restart'], [])

    def test_scores_follow(self):
        self.start()
        target = self.register()
        path = f'/api/v1/targets/{target}'
        self.good('PUT', path + '/metrics', {'current_iops': 1000, 'avg_latency_us': 10,
                                             'load_percentage': 90})
        before = self.good('GET', path)['health_score']
        self.config['health_monitoring'].update(
            availability_weight=1, performance_weight=0, reliability_weight=0, resource_weight=0)
        self.reload()
        self.assertNotEqual(before, 100)
        self.wait_for(lambda: self.good('GET', path)['health_score'] == 100, 'it is judged as before')

    def test_a_file_that_is_wrong_changes_nothing(self):
        self.config['security'] = {'tokens': [
            {'name': 'root', 'token': 'admin-0123456789abc', 'role': 'admin'}]}
        self.start()
        self.config['security']['tokens'][0]['token'] = 'another-0123456789'
        self.config['load_balancer'] = {'policy': 'nonsense'}
        problem = self.reload(422, 'admin-0123456789abc')
        self.assertIn('load_balancer.policy', problem['detail'])
        self.assertIn('nothing was changed', problem['detail'])
        del self.config['load_balancer']
        self.reload(401, 'another-0123456789')

    def test_rules_of_alerts_that_are_wrong_change_nothing(self):
        rules = self.dir / 'rules.json'
        rules.write_text('{"rules": []}')
        self.config['alerts'] = {'alert_rules_file': str(rules)}
        self.start()
        rules.write_text('{')
        self.config['load_balancer'] = {'policy': 'round_robin'}
        self.assertIn('rules.json', self.reload(422)['detail'])
        self.assertEqual(self.good('GET', '/api/v1/targets/select')['policy'], 'score')

    def test_tokens_and_rates(self):
        self.config['security'] = {'tokens': [
            {'name': 'root', 'token': 'admin-0123456789abc', 'role': 'admin'},
            {'name': 'reader', 'token': 'reader-0123456789', 'role': 'read'}]}
        self.start()
        self.assertEqual(self.reload(403, 'reader-0123456789')['status'], 403)
        self.config['security']['tokens'][0]['token'] = 'another-0123456789'
        self.config['security']['rate_limit_per_sec'] = 1000
        self.assertEqual(sorted(self.reload(200, 'admin-0123456789abc')['taken']),
                         ['security.rate_limit_per_sec', 'security.tokens'])
        self.reload(401, 'admin-0123456789abc')
        self.reload(200, 'another-0123456789')

    def test_only_who_may_register_is_a_node(self):
        self.config['security'] = {'tokens': [
            {'name': 'node', 'token': 'node-0123456789abc', 'role': 'register'},
            {'name': 'reader', 'token': 'reader-0123456789', 'role': 'read'}]}
        self.start()
        for token, status in (('reader-0123456789', 403), ('node-0123456789abc', 200)):
            connection = self.connect()
            connection.request('GET', '/api/v1/events?own=true&node_id=n', headers={
                'Authorization': f'Bearer {token}', 'Accept': 'text/event-stream'})
            self.assertEqual(connection.getresponse().status, status)
            connection.close()

    def test_a_public_address_does_not_become_open(self):
        self.config['service']['listen_address'] = '0.0.0.0'
        self.config['security'] = {'allow_insecure': True}
        self.start()
        self.config['security'] = {}
        # It was said to be open when it was started; that it is not any more takes a restart.
        self.assertEqual(self.reload()['needs_restart'], ['security.allow_insecure'])

    def test_tokens_of_a_public_address_do_not_go(self):
        self.config['service']['listen_address'] = '0.0.0.0'
        SecureTest.openssl(self, 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
                           '/CN=x', '-keyout', 'key', '-out', 'cert')
        self.config['security'] = {
            'tls_enabled': True, 'cert_file': str(self.dir / 'cert'), 'key_file': str(self.dir / 'key'),
            'tokens': [{'name': 'root', 'token': 'admin-0123456789abc', 'role': 'admin'}]}
        context = ssl.create_default_context(cafile=self.dir / 'cert')
        context.check_hostname = False
        self.connect = lambda: http.client.HTTPSConnection('127.0.0.1', self.port, context=context,
                                                           timeout=PATIENCE_S)
        self.start()
        tokens = self.config['security'].pop('tokens')
        self.assertIn('neither a token', self.reload(422, tokens[0]['token'])['detail'])
        self.reload(401)

    def test_many_at_once_and_a_stop(self):
        self.start()
        self.config_path.write_text(json.dumps(self.config))
        sockets = []
        for _ in range(20):
            sockets.append(socket.create_connection(('127.0.0.1', self.port), PATIENCE_S))
            sockets[-1].sendall(b'POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
        answers = []
        for one in sockets[:15]:
            response = http.client.HTTPResponse(one, method='POST')
            response.begin()
            answers.append(Answer(response).status)
        self.assertEqual(set(answers), {200})
        self.assertEqual(self.stop(), 0)
        for one in sockets:
            one.close()


if __name__ == '__main__':
    main()

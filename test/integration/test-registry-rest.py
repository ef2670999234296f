#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry over HTTP: what spec/registry.md 4.1 prints, and what users expect besides."""

import http.client
import json
import pathlib
import socket
import struct
import threading
import time

from registry_harness import PATIENCE_S, RegistryTest, main, registration


class Document(RegistryTest):
    """The document's examples, as they are printed."""

    def setUp(self):
        super().setUp()
        self.start()

    def test_register_query_update_delete(self):
        answer = self.call('POST', '/api/v1/targets', registration())
        self.assertEqual(answer.status, 201)
        made = answer.json
        self.assertRegex(made['target_id'], r'^tgt-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
        self.assertEqual(made['status'], 'registered')
        self.assertRegex(made['registered_at'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
        path = f"/api/v1/targets/{made['target_id']}"
        self.assertEqual(answer.headers['Location'], path)

        found = self.good('GET', '/api/v1/targets?status=available&location=rack-1')
        self.assertEqual((found['total_count'], found['healthy_count']), (1, 1))
        self.assertEqual({key: found['targets'][0][key] for key in (
            'target_id', 'node_id', 'nqn', 'transport', 'address', 'port', 'status')}, {
                'target_id': made['target_id'], 'node_id': 'xdevice-node-001',
                'nqn': 'nqn.2024-01.com.xdevice:nvme:001', 'transport': 'tcp',
                'address': '192.168.1.100', 'port': 4420, 'status': 'available'})

        self.good('PUT', path + '/metrics', {
            'current_iops': 45000, 'current_bandwidth_mbps': 2800, 'avg_latency_us': 45,
            'load_percentage': 35, 'error_rate': 0.001})
        full = self.good('GET', path)
        self.assertEqual(full['load_percentage'], 35)
        self.assertEqual(full['metrics']['current_iops'], 45000)
        self.assertEqual(full['performance_caps']['max_iops'], 500000)
        self.assertEqual(full['metadata']['firmware_version'], '1.2.3')
        # 5.1: latency, IOPS and bandwidth are good; 65 % of its resources are free.
        self.assertEqual(full['health']['performance'], 100)
        self.assertEqual(full['health']['resource_usage'], 65)

        chosen = self.good('GET', '/api/v1/targets/select?min_iops=100000&max_latency_us=100'
                                  '&min_bandwidth_mbps=2000')
        self.assertEqual([t['target_id'] for t in chosen['targets']], [made['target_id']])

        state = self.good('PUT', path + '/status', {
            'status': 'maintenance', 'reason': 'scheduled maintenance',
            'estimated_duration_minutes': 30})
        self.assertEqual((state['status'], state['status_reason']),
                         ('maintenance', 'scheduled maintenance'))
        self.assertEqual(self.good('GET', '/api/v1/targets/select?min_iops=1')['targets'], [])

        gone = self.good('DELETE', path, {'force': False, 'drain_timeout_seconds': 300})
        self.assertEqual((gone['status'], gone['drained_connections']), ('unregistered', 0))
        self.assertIn('unregistered_at', gone)
        self.refused(404, 'GET', path)


class Registration(RegistryTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_a_second_one_at_the_same_place(self):
        first = self.register()
        problem = self.refused(409, 'POST', '/api/v1/targets', registration())
        self.assertEqual(problem['target_id'], first)
        changed = self.good('POST', '/api/v1/targets?update=true',
                            registration(performance_caps__max_iops=7))
        self.assertEqual((changed['target_id'], changed['status']), (first, 'updated'))
        full = self.good('GET', f'/api/v1/targets/{first}')
        self.assertEqual(full['performance_caps']['max_iops'], 7)

    def test_names_the_field_at_fault(self):
        for member, value in (('target_info__nqn', 'no-nqn'), ('target_info__address', '0.0.0.0'),
                              ('target_info__port', 0), ('target_info__transport', 'pigeon'),
                              ('node_id', ''), ('performance_caps__max_iops', -1)):
            with self.subTest(member):
                problem = self.refused(422, 'POST', '/api/v1/targets',
                                       registration(**{member: value}))
                self.assertEqual(problem['field'], member.replace('__', '.'))
        self.assertEqual(self.good('GET', '/api/v1/targets')['total_count'], 0)

    def test_bodies_that_are_none(self):
        self.refused(400, 'POST', '/api/v1/targets', b'{"node_id": ')
        self.refused(400, 'POST', '/api/v1/targets', b'[1]')
        self.refused(400, 'POST', '/api/v1/targets', b'{"a": 1, "a": 2}')
        self.hang_up()
        self.refused(413, 'POST', '/api/v1/targets', b'x' * 70000)
        self.hang_up()
        self.assertEqual(self.good('GET', '/api/v1/targets')['total_count'], 0)

    def test_many_at_once(self):
        self.register(3)
        body = {'targets': [registration(i) for i in range(5)] + [{'node_id': 'x'}]}
        answer = self.good('POST', '/api/v1/targets/bulk', body)
        self.assertEqual((answer['registered_count'], answer['refused_count']), (4, 2))
        self.assertEqual([r['code'] for r in answer['results']], [201, 201, 201, 409, 201, 422])
        self.assertEqual(self.good('GET', '/api/v1/targets')['total_count'], 5)
        self.refused(422, 'POST', '/api/v1/targets/bulk', {'targets': []})

    def test_unknown_things(self):
        self.refused(404, 'GET', '/nothing')
        self.refused(404, 'GET', '/api/v1/targets/tgt-none')
        self.refused(404, 'PUT', '/api/v1/targets/tgt-none/status', {'status': 'failed'})
        self.refused(404, 'DELETE', '/api/v1/targets/' + 'x' * 300)
        answer = self.call('PATCH', '/api/v1/targets')
        self.assertEqual((answer.status, answer.headers['Allow']), (405, 'POST, GET'))
        self.assertEqual(self.refused(400, 'GET', '/api/v1/targets?stauts=x')['field'], 'stauts')

    def test_a_refusal_tells_what_is_no_utf8_or_was_cut(self):
        self.assertEqual(self.refused(404, 'GET', '/api/v1/targets/a%FFb')['instance'], '/api/v1/targets/a?b')
        self.assertEqual(self.refused(400, 'GET', '/api/v1/targets?a%E2=x')['field'], 'a?')
        self.assertIn('not \'x' + 'é' * 31 + '?\'',
                      self.refused(400, 'GET', '/api/v1/targets?wait=x' + '%C3%A9' * 40 + '&index=1')['detail'])


class Changes(RegistryTest):
    def setUp(self):
        super().setUp()
        self.start()
        self.target = self.register()
        self.path = f'/api/v1/targets/{self.target}'

    def test_patch(self):
        full = self.good('PATCH', self.path, {
            'metadata': {'location': 'rack-2-slot-1', 'hw_type': None},
            'config': {'weight': 2.5, 'tags': ['fast', 'gold']}})
        self.assertEqual(full['metadata'],
                         {'location': 'rack-2-slot-1', 'firmware_version': '1.2.3'})
        self.assertEqual(full['config']['tags'], ['fast', 'gold'])
        self.assertEqual(full['performance_caps']['max_iops'], 500000)
        self.assertEqual(self.refused(422, 'PATCH', self.path, {'target_info': {'port': 70000}})[
            'field'], 'target_info.port')
        self.refused(404, 'PATCH', '/api/v1/targets/tgt-none', {})

    def test_patches_at_once_are_all_made(self):
        def patch(name):
            connection = self.connect()
            connection.request('PATCH', self.path, json.dumps({'metadata': {name: 'x'}}))
            results.append(connection.getresponse().status)
            connection.close()
        results = []
        threads = [threading.Thread(target=patch, args=(f'k{i}',)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [200] * 12)
        metadata = self.good('GET', self.path)['metadata']
        self.assertEqual([k for k in metadata if k.startswith('k')],
                         sorted(f'k{i}' for i in range(12)))

    def test_only_what_was_read(self):
        etag = self.call('GET', self.path).headers['ETag']
        self.good('PUT', self.path + '/status', {'status': 'busy'}, headers={'If-Match': etag})
        problem = self.refused(412, 'PATCH', self.path, {'config': {'weight': 2}},
                               headers={'If-Match': etag})
        self.assertEqual(problem['target_id'], self.target)
        self.refused(412, 'DELETE', self.path, headers={'If-Match': etag})
        self.refused(400, 'PATCH', self.path, {}, headers={'If-Match': 'nonsense'})
        etag = self.call('GET', self.path).headers['ETag']
        self.good('DELETE', self.path, headers={'If-Match': etag})

    def test_put_replaces(self):
        body = registration()
        del body['metadata'], body['performance_caps']
        full = self.good('PUT', self.path, body)
        self.assertEqual(full['metadata'], {})
        other = self.register(7)
        problem = self.refused(409, 'PUT', f'/api/v1/targets/{other}', body)
        self.assertEqual(problem['target_id'], self.target)

    def test_states(self):
        for state in ('unknown', 'busy', 'degraded', 'maintenance', 'failed', 'offline', 'available'):
            self.assertEqual(self.good('PUT', self.path + '/status', {'status': state})['status'],
                             state)
        self.assertEqual(self.good('PUT', self.path + '/status', {'status': 'active'})['status'],
                         'available')
        self.assertEqual(self.refused(422, 'PUT', self.path + '/status', {'status': 'fine'})['field'],
                         'status')
        self.assertEqual(self.refused(422, 'PUT', self.path + '/status', {})['status'], 422)
        for path, body in (('/status', {'status': 'busy'}),
                           ('/config/report', {'config_revision': 0, 'state': 'refused'})):
            for reason in (5, True, None, {}, ['why']):
                problem = self.refused(422, 'PUT', self.path + path, {**body, 'reason': reason})
                self.assertEqual(problem['field'], 'reason')
            self.good('PUT', self.path + path, {**body, 'reason': ''})

    def test_reports(self):
        for body, field in (({'load_percentage': 101}, 'load_percentage'),
                            ({'error_rate': 1.5}, 'error_rate'), ({'current_iops': -1}, 'current_iops'),
                            ({'nonsense': 1}, 'nonsense')):
            self.assertEqual(self.refused(422, 'PUT', self.path + '/metrics', body)['field'], field)
        self.good('PUT', self.path + '/metrics', {'current_iops': 5, 'active_connections': 2})
        self.good('PUT', self.path + '/metrics', {'current_iops': 6})
        metrics = self.good('GET', self.path)['metrics']
        self.assertEqual((metrics['current_iops'], metrics['active_connections']), (6, 2))

    def test_a_removal_waits_for_connections(self):
        self.good('PUT', self.path + '/metrics', {'active_connections': 3})
        connection = self.connect()
        connection.request('DELETE', self.path, json.dumps({'drain_timeout_seconds': 60}))
        self.wait_for(lambda: self.good('GET', self.path)['status'] == 'maintenance',
                      'it is not being drained')
        self.assertEqual(self.good('GET', self.path)['status_reason'], 'draining')
        self.good('PUT', self.path + '/metrics', {'active_connections': 1})
        time.sleep(0.5)
        self.good('GET', self.path)
        self.good('PUT', self.path + '/metrics', {'active_connections': 0})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        self.assertEqual((answer['drained_connections'], answer['remaining_connections']), (3, 0))
        self.refused(404, 'GET', self.path)

    def test_a_removal_ends_in_time_or_at_once(self):
        self.good('PUT', self.path + '/metrics', {'active_connections': 3})
        start = time.monotonic()
        gone = self.good('DELETE', self.path, {'drain_timeout_seconds': 1})
        self.assertGreater(time.monotonic() - start, 0.8)
        self.assertEqual((gone['drained_connections'], gone['remaining_connections']), (0, 3))
        other = self.register(9)
        self.good('PUT', f'/api/v1/targets/{other}/metrics', {'active_connections': 3})
        start = time.monotonic()
        gone = self.good('DELETE', f'/api/v1/targets/{other}', {'force': True})
        self.assertEqual((gone['drained_connections'], gone['remaining_connections']), (0, 3))
        self.assertLess(time.monotonic() - start, 30)

    def test_a_drain_goes_on_after_a_restart(self):
        self.good('PUT', self.path + '/metrics', {'active_connections': 3})
        connection = self.connect()
        connection.request('DELETE', self.path, json.dumps({'drain_timeout_seconds': 600}))
        self.wait_for(lambda: self.good('GET', self.path)['status'] == 'maintenance',
                      'it is not being drained')
        self.assertEqual(self.stop(), 0)
        self.assertEqual(connection.getresponse().status, 503)
        connection.close()
        # Nobody has reported connections to the new one.
        self.start()
        self.wait_for(lambda: self.call('GET', self.path).status == 404, 'it is not drained on')


class Lists(RegistryTest):
    def setUp(self):
        super().setUp()
        self.start()
        self.good('POST', '/api/v1/targets/bulk', {'targets': [
            registration(i, node_id=f'node-{i % 4}', target_info__address=f'10.0.0.{i + 1}',
                         target_info__port=4420 + i % 2,
                         metadata={'location': f'rack-{i % 3}-slot-{i}'}) for i in range(30)]})

    def names(self, query):
        return [t['nqn'][-3:] for t in self.good('GET', '/api/v1/targets?' + query)['targets']]

    def test_filters(self):
        count = {
            'node_id=node-1': 8, 'address=10.0.0.7': 1, 'port=4421': 15, 'location=rack-1': 10,
            'location=rack-1-slot-4': 1, 'transport=tcp': 30, 'transport=rdma': 0,
            'status=failed': 0, 'node_id=node-1&port=4421': 8, 'node_id=node-1&port=4420': 0,
            'nqn=nqn.2024-01.com.xdevice:nvme:005': 1, 'source=registered': 30, 'source=static': 0,
            'min_health_score=1': 30, 'max_load_percentage=0': 30}
        for query, expected in count.items():
            self.assertEqual(self.good('GET', '/api/v1/targets?' + query)['total_count'], expected,
                             query)

    def test_sorting(self):
        self.assertEqual(self.names('sort=nqn&limit=3'), ['001', '002', '003'])
        self.assertEqual(self.names('sort=-nqn&limit=3'), ['030', '029', '028'])
        self.assertEqual(self.refused(400, 'GET', '/api/v1/targets?sort=colour')['field'], 'sort')
        for name in ('transport', 'source', 'status'):
            self.assertEqual(self.refused(400, 'GET', f'/api/v1/targets?{name}=colour')['field'],
                             name)

    def test_pages(self):
        for sort in ('nqn', '-nqn', 'port', '-registered_at', 'health_score', 'target_id'):
            seen, cursor = [], None
            while True:
                query = f'sort={sort}&limit=7' + (f'&cursor={cursor}' if cursor else '')
                page = self.good('GET', '/api/v1/targets?' + query)
                seen += [t['target_id'] for t in page['targets']]
                self.assertEqual(page['total_count'], 30)
                cursor = page.get('next_cursor')
                if cursor is None:
                    break
            self.assertEqual((len(seen), len(set(seen))), (30, 30), sort)
        self.assertEqual(self.refused(400, 'GET', '/api/v1/targets?cursor=x')['field'], 'cursor')

    def test_blocking(self):
        answer = self.call('GET', '/api/v1/targets')
        index = int(answer.headers['X-Registry-Index'])
        start = time.monotonic()
        self.call('GET', f'/api/v1/targets?index={index}&wait=300ms')
        self.assertGreaterEqual(time.monotonic() - start, 0.29)
        # An index that is old, or of other data, does not wait.
        start = time.monotonic()
        self.call('GET', f'/api/v1/targets?index={index - 1}&wait=60s')
        self.call('GET', f'/api/v1/targets?index={index + 5}&wait=60s')
        self.assertLess(time.monotonic() - start, 30)
        connection = self.connect()
        connection.request('GET', f'/api/v1/targets?index={index}&wait=60s')
        time.sleep(0.2)
        self.register(99)
        answer = connection.getresponse()
        self.assertEqual(json.loads(answer.read())['total_count'], 31)
        self.assertEqual(int(answer.headers['X-Registry-Index']), index + 1)
        connection.close()
        self.assertEqual(self.refused(400, 'GET', '/api/v1/targets?index=1&wait=soon')['field'],
                         'wait')

    def test_choice(self):
        chosen = self.good('GET', '/api/v1/targets/select?count=3&spread=true&explain=true'
                                  '&preferred_location=rack-2-slot-8')
        self.assertEqual(len(chosen['targets']), 3)
        self.assertEqual(len({t['node_id'] for t in chosen['targets']}), 3)
        self.assertEqual(chosen['targets'][0]['location'], 'rack-2-slot-8')
        self.assertEqual(chosen['targets'][0]['scores']['location'], 100)
        self.assertEqual(self.good('GET', '/api/v1/targets/select?min_iops=500001&explain=true')[
            'rejected_count'], 30)
        self.assertEqual(self.refused(422, 'GET', '/api/v1/targets/select?policy=hash')['field'],
                         'hash_key')
        one = self.good('GET', '/api/v1/targets/select?policy=hash&hash_key=a&count=1')['targets']
        two = self.good('GET', '/api/v1/targets/select?policy=hash&hash_key=a&count=1')['targets']
        self.assertEqual(one[0]['target_id'], two[0]['target_id'])


class Whole(RegistryTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_status_metrics_and_description(self):
        self.register()
        status = self.good('GET', '/api/v1/status')
        self.assertEqual((status['total_targets'], status['healthy_targets']), (1, 1))
        text = self.call('GET', '/metrics').text
        self.assertIn('xsan_registry_targets{state="available"} 1\n', text)
        for line in text.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) xsan_registry_\w+ .+'
                                   r'|xsan_registry_\w+(\{state="\w+"\})? [0-9.e+-]+)$')
        openapi = self.good('GET', '/api/v1/openapi.json')
        self.assertEqual(openapi['openapi'], '3.1.0')
        # What is described is there: each is asked for by a caller that is never let through.
        for path, methods in openapi['paths'].items():
            for method in methods:
                answer = self.call(method.upper(), path.replace('{', '').replace('}', ''),
                                   b'' if method == 'get' else b'{"no": "such"}')
                self.assertNotIn(answer.status, (405, 500, 501), f'{method} {path}: {answer.text}')
                self.assertNotIn('there is nothing at', answer.text)

    def test_requests_have_names(self):
        answer = self.call('GET', '/api/v1/status', headers={'X-Request-Id': 'my-own.1'})
        self.assertEqual(answer.headers['X-Request-Id'], 'my-own.1')
        answer = self.call('GET', '/nothing', headers={'X-Request-Id': 'has space'})
        self.assertNotEqual(answer.headers['X-Request-Id'], 'has space')
        self.assertEqual(answer.json['request_id'], answer.headers['X-Request-Id'])

    def test_a_connection_is_kept(self):
        connection = self.connect()
        connection.request('GET', '/api/v1/status')
        connection.getresponse().read()
        first = connection.sock
        for _ in range(20):
            connection.request('GET', '/api/v1/status')
            connection.getresponse().read()
        self.assertIs(connection.sock, first)
        connection.close()

    def test_data_is_there_after_a_restart(self):
        made = self.register()
        self.good('PUT', f'/api/v1/targets/{made}/status', {'status': 'busy'})
        before = self.good('GET', f'/api/v1/targets/{made}')
        self.assertEqual(self.stop(), 0)
        self.start()
        after = self.good('GET', f'/api/v1/targets/{made}')
        for key in ('nqn', 'status', 'revision', 'registered_at', 'metadata', 'performance_caps'):
            self.assertEqual(after[key], before[key])
        events = self.good('GET', '/api/v1/events')['events']
        self.assertEqual([e['type'] for e in events], ['registered', 'state_changed'])

    @staticmethod
    def is_taken(client):
        """Whether the server has read all that was sent to it on the connection."""
        address, port = client.getsockname()
        peer = f'{struct.unpack("=I", socket.inet_aton(address))[0]:08X}:{port:04X}'
        for line in pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2] == peer:
                return int(fields[4].partition(':')[2], 16) == 0
        return False

    def test_a_stop_answers_who_waits(self):
        connection = self.connect()
        connection.request('GET', '/api/v1/status')
        connection.getresponse().read()  # so it was taken
        connection.request('GET', '/api/v1/targets?index=0&wait=5m')
        self.wait_for(lambda: self.is_taken(connection.sock), 'the call is not taken')
        time.sleep(0.2)
        self.assertEqual(self.stop(), 0)
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_garbage_is_refused_and_harms_nobody(self):
        for data in (b'\0' * 100, b'GET\r\n\r\n', b'GET / HTTP/1.1\r\n' + b'A: b\r\n' * 5000,
                     b'POST /api/v1/targets HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n',
                     b'POST /api/v1/targets HTTP/1.1\r\nHost: x\r\n'
                     b'Transfer-Encoding: chunked\r\n\r\nZZ\r\n'):
            connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE_S)
            connection.connect()
            connection.sock.sendall(data)
            connection.sock.settimeout(2)
            try:
                connection.sock.recv(1000)
            except OSError:
                pass
            connection.close()
        self.good('GET', '/api/v1/status')


if __name__ == '__main__':
    main()

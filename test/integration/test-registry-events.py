#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Events of the registry: pages, server-sent events, resuming, what was forgotten, many clients."""

import json
import socket
import time

from registry_harness import PATIENCE_S, RegistryTest, free_port, main, registration


class Stream:
    """A client of server-sent events."""

    def __init__(self, port, query='', headers=''):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE_S)
        self.socket.sendall(f'GET /api/v1/events{query} HTTP/1.1\r\nHost: x\r\n'
                            f'Accept: text/event-stream\r\n{headers}\r\n'.encode())
        self.file = self.socket.makefile('rb')
        self.status = int(self.file.readline().split()[1])
        while self.file.readline() not in (b'\r\n', b''):
            pass
        self.lines = b''

    def line(self):
        """The next line of the body, whose chunks may end anywhere."""
        while b'\n' not in self.lines:
            size = int(self.file.readline(), 16)
            self.lines += self.file.read(size)
            self.file.readline()
            if size == 0:
                raise EOFError
        line, self.lines = self.lines.split(b'\n', 1)
        return line.decode()

    def event(self):
        """The next event: its id, kind and data. Comments and the time to retry are skipped."""
        event = {}
        while True:
            line = self.line()
            if line == '':
                if 'data' in event:
                    id = int(event['id']) if event['id'].isdigit() else event['id']
                    return id, event['event'], json.loads(event['data'])
                event = {}
                continue
            key, value = line.split(':', 1)
            event[key] = value.strip()

    def close(self):
        self.file.close()
        self.socket.close()


class Events(RegistryTest):
    def setUp(self):
        super().setUp()
        self.config['service']['events_kept'] = 50
        self.start()

    def test_a_page(self):
        first = self.register(0)
        self.register(1, node_id='other')
        self.good('PUT', f'/api/v1/targets/{first}/status', {'status': 'failed', 'reason': 'smoke'})
        self.good('DELETE', f'/api/v1/targets/{first}')
        page = self.good('GET', '/api/v1/events')
        self.assertEqual([(e['revision'], e['type']) for e in page['events']], [
            (1, 'registered'), (2, 'registered'), (3, 'state_changed'), (4, 'state_changed'),
            (5, 'unregistered')])
        self.assertEqual((page['events'][2]['old_status'], page['events'][2]['reason']),
                         ('available', 'smoke'))
        self.assertEqual(page['revision'], 5)
        page = self.good('GET', '/api/v1/events?since=2&limit=1')
        self.assertEqual([e['revision'] for e in page['events']], [3])
        page = self.good('GET', '/api/v1/events?node_id=other')
        self.assertEqual([e['revision'] for e in page['events']], [2])
        page = self.good('GET', f'/api/v1/events?target_id={first}&since=1')
        self.assertEqual([e['revision'] for e in page['events']], [3, 4, 5])

    def test_a_stream_of_a_node_s_own(self):
        for query in ('?own=true', '?own=true&node_id='):
            stream = Stream(self.port, query)
            self.assertEqual(stream.status, 422)
            stream.close()
        self.refused(422, 'GET', '/api/v1/events?own=true&node_id=n')
        stream = Stream(self.port, '?own=true&node_id=xdevice-node-001')
        self.register(0)
        self.assertEqual(stream.event()[1], 'registered')
        stream.close()

    def test_a_stream(self):
        stream = Stream(self.port)
        self.assertEqual(stream.status, 200)
        made = self.register(0)
        revision, kind, data = stream.event()
        self.assertEqual((revision, kind, data['target_id']), (1, 'registered', made))
        self.good('PUT', f'/api/v1/targets/{made}/status', {'status': 'busy'})
        self.good('PATCH', f'/api/v1/targets/{made}', {'config': {'weight': 2}})
        self.good('DELETE', f'/api/v1/targets/{made}', {'force': True})
        self.assertEqual([stream.event()[1] for _ in range(3)],
                         ['state_changed', 'updated', 'unregistered'])
        stream.close()

    def test_a_stream_resumes(self):
        for i in range(10):
            self.register(i)
        stream = Stream(self.port, headers='Last-Event-ID: 4\r\n')
        self.assertEqual([stream.event()[0] for _ in range(6)], [5, 6, 7, 8, 9, 10])
        stream.close()
        self.assertEqual(self.stop(), 0)
        self.start()
        stream = Stream(self.port, '?since=8')
        self.assertEqual([stream.event()[0] for _ in range(2)], [9, 10])
        self.register(10)
        self.assertEqual(stream.event()[0], 11)
        stream.close()

    def test_what_is_forgotten_is_told(self):
        for i in range(80):
            self.register(i)
        problem = self.refused(410, 'GET', '/api/v1/events?since=3')
        self.assertEqual(problem['revision'], 80)
        self.refused(410, 'GET', '/api/v1/events?since=1000')
        stream = Stream(self.port, '?since=3')
        revision, kind, data = stream.event()
        self.assertEqual((revision, kind, data), (80, 'compacted', {'revision': 80}))
        self.register(80)
        self.assertEqual(stream.event()[:2], (81, 'registered'))
        stream.close()

    def test_filters(self):
        stream = Stream(self.port, '?node_id=mine')
        self.register(0)
        self.register(1, node_id='mine')
        self.register(2)
        self.register(3, node_id='mine')
        self.assertEqual([stream.event()[0] for _ in range(2)], [2, 4])
        stream.close()

    def test_a_client_that_does_not_read_holds_up_nobody(self):
        lazy = Stream(self.port, '?since=0')
        eager = Stream(self.port, '?since=0')
        for i in range(40):
            self.register(i)
        self.assertEqual([eager.event()[0] for _ in range(40)], list(range(1, 41)))
        lazy.close()
        eager.close()

    def test_many_clients(self):
        streams = [Stream(self.port) for _ in range(300)]
        start = time.monotonic()
        self.register(0)
        for stream in streams:
            self.assertEqual(stream.event()[0], 1)
        print(f'300 clients were told within {1000 * (time.monotonic() - start):.0f} ms')
        # Most go without a word; those that stay still hear.
        for stream in streams[:290]:
            stream.close()
        self.register(1)
        for stream in streams[290:]:
            self.assertEqual(stream.event()[0], 2)
            stream.close()

    def test_a_stop_ends_streams(self):
        stream = Stream(self.port)
        self.register(0)
        stream.event()
        self.assertEqual(self.stop(), 0)
        with self.assertRaises((EOFError, OSError)):
            stream.event()
        stream.close()

    def test_bulk_is_told_in_order(self):
        stream = Stream(self.port)
        self.good('POST', '/api/v1/targets/bulk', {'targets': [registration(i) for i in range(40)]})
        self.assertEqual([stream.event()[0] for _ in range(40)], list(range(1, 41)))
        stream.close()


class Health(RegistryTest):
    """What the health monitor tells, in streams that ask for it."""

    def setUp(self):
        super().setUp()
        self.config['health_monitoring'] = {
            'probe_level': 'tcp', 'monitoring_interval_sec': 1, 'recovery_threshold_checks': 1}
        self.config['failover'] = {'failover_threshold_failures': 2, 'recovery_backoff_sec': 1,
                                   'recovery_backoff_max_sec': 1}
        self.start()
        self.port_of_target = free_port()

    def register_here(self):
        return self.register(0, target_info__address='127.0.0.1', target_info__port=self.port_of_target)

    def until(self, stream, wanted):
        """The events up to the first of a type of health, and that one last."""
        events = [stream.event()]
        while events[-1][1] != 'health' or events[-1][2]['type'] != wanted:
            events.append(stream.event())
        return events

    def test_what_is_told(self):
        plain, stream = Stream(self.port), Stream(self.port, '?health=true')
        target = self.register_here()
        events = self.until(stream, 'state_changed')
        self.assertEqual(events[0][1], 'registered')
        self.assertRegex(events[0][0], r'^1\.0\.\d+$')
        failure = next(data for _, kind, data in events if kind == 'health')
        self.assertEqual({key: failure[key] for key in (
            'type', 'number', 'target_id', 'node_id', 'failure', 'severity')}, {
                'type': 'failure', 'number': 1, 'target_id': target, 'node_id': 'xdevice-node-001',
                'failure': 'network_timeout', 'severity': 'high'})
        self.assertTrue(failure['text'])
        self.assertEqual([data['number'] for _, kind, data in events if kind == 'health'],
                         list(range(1, events[-1][2]['number'] + 1)))
        self.assertEqual((events[-1][2]['old_status'], events[-1][2]['new_status']),
                         ('available', 'failed'))
        self.good('PUT', f'/api/v1/targets/{target}/metrics', {'active_connections': 7})
        told = self.until(stream, 'connection_changed')[-1][2]
        self.assertEqual((told['old_connections'], told['connections']), (0, 7))
        # Who comes back misses nothing, and gets nothing twice.
        position = next(id for id, kind, _ in events if kind == 'health')
        again = Stream(self.port, '?health=true', f'Last-Event-ID: {position}\r\n')
        back = self.until(again, 'state_changed')
        # (An id also tells how far the revisions are, which may be told before it or behind it.)
        self.assertEqual([data for _, kind, data in back if kind == 'health'],
                         [data for _, kind, data in events if kind == 'health'][1:])
        # Who has not asked is told of revisions only.
        kinds = [plain.event()[:2] for _ in range(2)]
        self.assertEqual(kinds, [(1, 'registered'), (2, 'state_changed')])
        # Another start: numbers begin anew, and all that was told since then comes.
        for one in (plain, stream, again):
            one.close()
        self.assertEqual(self.stop(), 0)
        self.start()
        after = Stream(self.port, '?health=true', f'Last-Event-ID: {back[-1][0]}\r\n')
        events = self.until(after, 'failure')
        self.assertEqual([data['number'] for _, kind, data in events if kind == 'health_lost'], [0])
        first = events[-1]
        self.assertEqual(first[2]['number'] >= 1, True)
        self.assertNotEqual(first[0].split('.')[2], position.split('.')[2])
        after.close()

    def test_filters_and_pages(self):
        stream = Stream(self.port, '?health=true&node_id=nobody')
        one = Stream(self.port, '?health=true&node_id=xdevice-node-001')
        self.register_here()
        self.until(one, 'failure')
        self.assertEqual(self.refused(422, 'GET', '/api/v1/events?health=true')['field'], 'health')
        self.register(1, node_id='nobody')
        self.assertEqual(stream.event()[2]['node_id'], 'nobody')
        stream.close()
        one.close()
        self.assertEqual(self.stop(), 0)


if __name__ == '__main__':
    main()

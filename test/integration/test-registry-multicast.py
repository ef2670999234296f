#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Finding targets by multicast: real registries and nodes on loopback and over a cable, and strangers
written in Python from the description of the format in lib/xregistry/multicast.h: with another key, with
answers and queries of yesterday, with messages that are too long or damaged. All of it in a network
namespace of the test's own."""

import hashlib
import hmac
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

from net_harness import HERE, THERE, Peer, own_network
from node_harness import NQN
from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, main, registration

GROUP, PORT = '239.255.43.21', 4791
KEY = 'one key for all of them'
OTHER = 'nqn.2026-11.io.xsan:other'
# Who is silent is missed after three rounds of 1.5 s, with a second from one to the next: not before this,
# even when one has just begun; after two of them it would be at most 4 s.
MISSED_S = 4.5


# ---- the format ----

def seal(head, body, key):
    length = len(head) + 2 + len(body) + 32
    message = head + struct.pack('>H', length) + body
    return message + hmac.new(key.encode(), message, hashlib.sha256).digest()


def make_query(nonce, key=KEY, at_s=None, version=1):
    at_ms = int((time.time() if at_s is None else at_s) * 1000)
    return seal(b'XSMD' + bytes([version, 1]), nonce + struct.pack('>Q', at_ms), key)


def field(tag, value):
    data = value if isinstance(value, bytes) else value.encode()
    return bytes([tag, len(data)]) + data


def make_target(nqn, address='127.0.0.1', port=4420, more=b''):
    fields = field(1, nqn) + field(2, address) + field(7, struct.pack('>H', port)) + more
    return struct.pack('>H', len(fields)) + fields


def make_answer(nonce, targets, node='node-1', part=0, parts=1, key=KEY, tail=b''):
    body = nonce + bytes(8) + struct.pack('>HHHB', part, parts, len(targets), len(node))
    return seal(b'XSMD\1\2', body + node.encode() + b''.join(targets) + tail, key)


def read_answer(data, key=KEY):
    """The node, its part of how many, and the NQNs; the code is checked."""
    if not hmac.compare_digest(hmac.new(key.encode(), data[:-32], hashlib.sha256).digest(), data[-32:]):
        raise ValueError('the code is wrong')
    if (data[:6], struct.unpack('>H', data[6:8])[0]) != (b'XSMD\1\2', len(data)):
        raise ValueError('the head is wrong')
    part, parts, count, length = struct.unpack('>HHHB', data[32:39])
    at, nqns = 39 + length, []
    for _ in range(count):
        size, = struct.unpack('>H', data[at:at + 2])
        nqns.append(data[at + 4:at + 4 + data[at + 3]].decode())
        at += 2 + size
    if at != len(data) - 32:
        raise ValueError('there is something behind the targets')
    return data[8:24], data[39:39 + length].decode(), part, parts, nqns


class FakeNode(threading.Thread):
    """Answers every query in the group on loopback as `answer(nonce)` says: a list of datagrams."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer, self.queries, self.is_over = answer, [], False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((GROUP, PORT))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack(
            '=4s4si', socket.inet_aton(GROUP), bytes(4), socket.if_nametoindex('lo')))
        self.socket.settimeout(0.1)
        self.start()

    def run(self):
        while not self.is_over:
            try:
                data, sender = self.socket.recvfrom(2000)
            except TimeoutError:
                continue
            self.queries.append(data)
            for answer in self.answer(data[8:24]):
                self.socket.sendto(answer, sender)

    def close(self):
        self.is_over = True
        self.join()
        self.socket.close()


class Multicast(RegistryTest):
    def setUp(self):
        super().setUp()
        self.key_path = self.dir / 'key'
        self.key_path.write_text(KEY + '\n')
        self.others = []
        self.config['discovery'] = {
            'discovery_interval_sec': 1, 'enable_multicast': True, 'multicast_interface': 'lo',
            'multicast_key_file': str(self.key_path)}

    def tearDown(self):
        for one in self.others:
            one.close()
        super().tearDown()

    # ---- nodes ----

    def node(self, name='node-7', key=KEY, **members):
        node = self.make_node()
        path = node.dir / 'key'
        path.write_text(key + '\n')
        node.config['registry'] = {
            'node_id': name, 'enable_multicast': True, 'multicast_interface': 'lo',
            'multicast_key_file': str(path), 'metadata': {'location': 'rack-1'}, 'tags': ['fast'],
            **members}
        return node

    def fake(self, answer):
        self.others.append(FakeNode(answer))
        return self.others[-1]

    def multicast_of(self, node):
        return node.call('xsan_status')['registry']['multicast']

    def ask(self, *queries, least=0, wait_s=1.0):
        """The answers to queries that are sent to the group on loopback: those that come until nothing
        has come for so long, and as many as there must be at the least."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack(
                '=4s4si', bytes(4), bytes(4), socket.if_nametoindex('lo')))
            for query in queries:
                asker.sendto(query, (GROUP, PORT))
            answers = []
            try:
                while True:
                    asker.settimeout(PATIENCE_S if len(answers) < least else wait_s)
                    answers.append(asker.recv(2000))
            except (TimeoutError, BlockingIOError):
                return answers

    # ---- the registry ----

    def found(self):
        return {t['nqn']: t for t in self.good('GET', '/api/v1/targets?source=multicast')['targets']}

    def counters(self):
        return next(m for m in self.good('GET', '/api/v1/status')['discovery']
                    if m['method'] == 'multicast')

    def wait_for_rounds(self, count=1):
        """So many rounds that have begun after this call."""
        end = self.counters()['attempts'] + count + 1
        self.wait_for(lambda: self.counters()['attempts'] >= end, 'there are no rounds')

    def wait_for_found(self, *nqns):
        self.wait_for(lambda: set(self.found()) == set(nqns), f'not just {nqns} are found')
        return [self.found()[nqn] for nqn in nqns]


class Found(Multicast):
    def test_what_a_node_exports_is_unknown_until_it_was_reached(self):
        node = self.node()
        node.start()
        self.start()
        target, = self.wait_for_found(NQN)
        self.assertEqual((target['status'], target['node_id'], target['address'], target['port'],
                          target['location']),
                         ('unknown', 'node-7', '127.0.0.1', node.port, 'rack-1'))
        path = f"/api/v1/targets/{target['target_id']}"
        full = self.good('GET', path)
        self.assertEqual(full['target_info']['namespace_capacity'], 16 << 20)
        self.assertEqual((full['storage']['device_path'], full['storage']['namespace_id']),
                         ('disk0', 1))
        self.assertEqual(full['config']['tags'], ['fast'])
        # Round by round it is the same: no change, so no revision.
        self.wait_for_rounds()
        self.assertEqual(self.good('GET', path)['status'], 'unknown')
        self.assertEqual(self.good('GET', path)['revision'], full['revision'])
        counters = self.counters()
        self.assertEqual((counters['found'], counters['failures'], counters['problem']), (1, 0, ''))
        told = self.multicast_of(node)
        self.assertEqual((told['interfaces'], told['targets'], told['problem']), (1, 1, ''))
        self.assertEqual(told['refused'], {'foreign': 0, 'late': 0, 'repeated': 0, 'limited': 0})
        # And once the monitor may look, it is available.
        self.config['health_monitoring'] = {
            'probe_level': 'identify', 'monitoring_interval_sec': 1, 'recovery_threshold_checks': 1}
        self.config_path.write_text(json.dumps(self.config))
        self.process.send_signal(1)
        self.wait_for(lambda: self.good('GET', path)['status'] == 'available', 'it is not reached')

    def test_changes_are_followed(self):
        node = self.node()
        node.start()
        self.start()
        self.wait_for_found(NQN)
        node.call('nvmf_create_subsystem', {'nqn': OTHER, 'allow_any_host': True})
        node.call('nvmf_subsystem_add_listener', {'nqn': OTHER, 'listen_address': {
            'trtype': 'tcp', 'traddr': '127.0.0.1', 'trsvcid': str(node.port)}})
        self.wait_for_found(NQN, OTHER)
        node.call('nvmf_delete_subsystem', {'nqn': OTHER})
        self.wait_for(lambda: self.found()[OTHER]['status'] == 'offline', 'it is still there')
        self.assertEqual(self.found()[NQN]['status'], 'unknown')
        full = self.good('GET', f"/api/v1/targets/{self.found()[OTHER]['target_id']}")
        self.assertEqual(full['status_reason'], 'not found')
        # A node that is restarted is not gone in between, for which it has longer than it may need.
        self.taken(discovery_interval_sec=5)
        revision = self.good('GET', f"/api/v1/targets/{self.found()[NQN]['target_id']}")['revision']
        self.assertIn(node.stop(), (0, None))
        node.start()
        self.wait_for_rounds()
        full = self.good('GET', f"/api/v1/targets/{self.found()[NQN]['target_id']}")
        self.assertEqual((full['status'], full['revision']), ('unknown', revision))
        # One that is silent is, after three rounds, and comes back.
        self.taken(discovery_interval_sec=1)
        start = time.monotonic()
        node.process.kill()
        node.process.wait()
        self.wait_for(lambda: self.found()[NQN]['status'] == 'offline', 'it is still there')
        self.assertGreater(time.monotonic() - start, MISSED_S)
        node.start()
        self.wait_for(lambda: self.found()[NQN]['status'] == 'unknown', 'it is not back')

    def test_two_registries_and_two_nodes(self):
        nodes = [self.node('node-1'), self.node('node-2')]
        nodes[1].subsystem()['nqn'] = OTHER
        for node in nodes:
            node.start()
        self.start()
        second = RegistryTest()
        second.setUp()
        second.config['discovery'] = self.config['discovery']
        try:
            second.start()
            self.wait_for_found(NQN, OTHER)
            self.wait_for(lambda: second.good('GET', '/api/v1/targets')['total_count'] == 2,
                          'the second registry does not find them')
        finally:
            second.process.kill()
            second.process.wait()
            second.hang_up()
            shutil.rmtree(second.dir, ignore_errors=True)

    def test_who_registers_is_left_alone(self):
        node = self.node()
        self.start()
        node.start()
        found, = self.wait_for_found(NQN)
        # The node is told where the registry is: what was found is its own from then on.
        self.assertIn(node.stop(), (0, None))
        node.config['registry'].update(url=f'http://127.0.0.1:{self.port}', interval_s=1)
        node.start()
        path = f"/api/v1/targets/{found['target_id']}"
        self.wait_for(lambda: self.good('GET', path)['source'] == 'registered', 'it is not taken over')
        self.wait_for(lambda: self.good('GET', path)['status'] == 'available', 'it is not available')
        full = self.good('GET', path)
        self.assertEqual(full['ttl_seconds'], 8)
        self.wait_for_rounds()
        after = self.good('GET', path)
        self.assertEqual((after['revision'], after['ttl_seconds']), (full['revision'], 8))
        self.assertEqual(self.counters()['found'], 1)
        self.wait_equal(lambda: node.call('xsan_status')['registry']['registered'], 1, 'the node does not know it')
        self.assertEqual(self.multicast_of(node)['targets'], 1)

    def test_a_stop_does_not_wait_for_a_round(self):
        self.config['discovery']['discovery_timeout_sec'] = 60
        self.start()
        self.wait_for(lambda: self.counters()['attempts'] >= 1, 'there are no rounds')
        start = time.monotonic()
        self.assertEqual(self.stop(), 0)
        self.assertLess(time.monotonic() - start, 30)


class Reload(Multicast):
    def test_on_another_key_and_off(self):
        wanted = self.config['discovery']
        self.config['discovery'] = {'discovery_interval_sec': 1}
        node, other = self.node(), self.node('node-8', key='another key of this length')
        other.subsystem()['nqn'] = OTHER
        node.start()
        other.start()
        self.start()
        self.assertNotIn('multicast', self.methods())
        self.taken(**{name: value for name, value in wanted.items() if name != 'discovery_interval_sec'})
        self.wait_for_found(NQN)
        # What is wrong changes nothing.
        self.config['discovery']['multicast_key_file'] = '/nowhere'
        self.reload(422)
        self.key_path.write_text('short\n')
        self.config['discovery']['multicast_key_file'] = str(self.key_path)
        self.reload(422)
        self.wait_for_rounds()
        self.assertEqual((self.counters()['failures'], self.counters()['problem']), (0, ''))
        self.assertEqual(self.found()[NQN]['status'], 'unknown')
        # The same file with another key: who has the old one is silent from now on.
        self.key_path.write_text('another key of this length\n')
        start = time.monotonic()
        self.assertEqual(self.reload()['taken'], ['discovery.multicast_key_file'])
        self.wait_for_found(NQN, OTHER)
        self.wait_for(lambda: self.found()[NQN]['status'] == 'offline', 'it is still heard')
        # Not after one round, nor two.
        self.assertGreater(time.monotonic() - start, MISSED_S)
        # Off: nobody asks any more, and what was found stays.
        self.taken(enable_multicast=False)
        self.assertNotIn('multicast', self.methods())
        # A query that is on its way is answered still: this one is behind it.
        self.wait_for_others(1)
        foreign = self.multicast_of(other)['refused']['foreign']
        self.ask(b'', wait_s=0)
        self.wait_for(lambda: self.multicast_of(other)['refused']['foreign'] > foreign, 'it hears nothing')
        answered = self.multicast_of(other)['answered']
        self.assertGreater(answered, 0)
        self.wait_for_others(2)
        self.assertEqual(self.multicast_of(other)['answered'], answered)
        other.kill()
        self.wait_for_others(4)
        self.assertEqual(self.found()[OTHER]['status'], 'unknown')
        # And on again, by auto_discovery_enabled this time.
        self.taken(enable_multicast=True, auto_discovery_enabled=False)
        self.assertNotIn('multicast', self.methods())
        self.taken(auto_discovery_enabled=True)
        self.wait_for(lambda: self.found()[OTHER]['status'] == 'offline', 'it is not asked again')

    def test_another_port_while_it_waits(self):
        self.config['discovery'].update(discovery_interval_sec=3600, discovery_timeout_sec=3600)
        node = self.node(multicast_port=PORT + 1)
        node.start()
        self.start()
        self.wait_for(lambda: self.counters()['attempts'] >= 1, 'there are no rounds')
        self.assertEqual(self.found(), {})
        self.taken(multicast_port=PORT + 1)
        self.wait_for_found(NQN)


class Strangers(Multicast):
    def test_another_key(self):
        node = self.node(key='another key of this length')
        node.start()
        self.start()
        self.wait_for_rounds()
        self.assertEqual(self.found(), {})
        self.wait_for(lambda: self.multicast_of(node)['refused']['foreign'] > 2, 'it is not counted')
        self.assertEqual(self.multicast_of(node)['answered'], 0)
        self.assertEqual(self.found(), {})

    def test_answers_that_are_not_taken(self):
        old = []

        def answer(nonce):
            old.append(nonce)
            yesterday = old[0] if len(old) > 6 else bytes(16)
            good = [make_target('nqn.2026-11.io.xsan:good')]
            bad = [make_target('nqn.2026-11.io.xsan:bad')]
            return [
                make_answer(nonce, good),
                make_answer(nonce, bad, key='another key of this length'),
                make_answer(nonce, bad)[:-1],
                make_answer(nonce, bad) + b'\0',
                make_answer(yesterday, bad),
                make_answer(os.urandom(16), bad),
                make_answer(nonce, bad, part=1),
                make_answer(nonce, bad, parts=0),
                make_answer(nonce, bad, parts=257),
                make_answer(nonce, bad, node=''),
                make_answer(nonce, [*bad, b'\0\x7f']),  # damaged behind the first target
                make_answer(nonce, bad, tail=b'\0'),
                make_answer(nonce, bad * 40),  # good in all but its length
                make_query(nonce), b'', b'XSMD', os.urandom(1400)]

        fake = self.fake(answer)
        self.start()
        self.wait_for(lambda: len(old) > 12, 'nobody asks')
        self.wait_for_found('nqn.2026-11.io.xsan:good')
        self.wait_for_log('were no answers to this registry')
        self.assertEqual(self.counters()['failures'], 0)
        # Queries are of now, each with a number of its own.
        seen = list(old)  # it goes on meanwhile
        self.assertEqual(len(set(seen)), len(seen))
        for query in list(fake.queries):
            at_ms, = struct.unpack('>Q', query[24:32])
            self.assertEqual(query, make_query(query[8:24], at_s=at_ms / 1000))
            self.assertLess(abs(at_ms / 1000 - time.time()), 60)

    def test_targets_that_are_none(self):
        bad = [make_target('nqn.2026-11.io.xsan:all', '0.0.0.0'),
               make_target('nqn.2026-11.io.xsan:link', 'fe80::1'),
               make_target('nqn.2026-11.io.xsan:group', '224.0.0.1'),
               make_target('nqn.2026-11.io.xsan:name', 'example'),
               make_target('nqn.2026-11.io.xsan:port', port=0),
               make_target('no nqn'), make_target('')]
        good = make_target('nqn.2026-11.io.xsan:good', more=field(200, 'of a later version'))
        fake = self.fake(lambda nonce: [make_answer(nonce, [*bad, good])])
        self.start()
        target, = self.wait_for_found('nqn.2026-11.io.xsan:good')
        self.assertEqual(target['node_id'], 'node-1')
        self.wait_for(lambda: 'are not taken; node-1: ' in self.log_text(), 'nothing is said')
        # One that is in an answer that lacks a part is not gone at once, but as if nothing was said.
        start = time.monotonic()
        fake.answer = lambda nonce: [make_answer(nonce, [], part=1, parts=2)]
        self.wait_for_good('offline')
        self.assertGreater(time.monotonic() - start, MISSED_S)
        fake.answer = lambda nonce: [make_answer(nonce, [good])]
        self.wait_for_good('unknown')
        fake.answer = lambda nonce: [make_answer(nonce, [])]
        self.wait_for_good('offline')

    def wait_for_good(self, status):
        self.wait_equal(lambda: self.found()['nqn.2026-11.io.xsan:good']['status'], status, 'it is not so')

    def test_many_targets_in_parts(self):
        nqns = [f'nqn.2026-11.io.xsan:{i}' for i in range(2000)]
        parts = [[make_target(nqn) for nqn in nqns[at:at + 20]] for at in range(0, len(nqns), 20)]
        self.fake(lambda nonce: [make_answer(nonce, targets, part=i, parts=len(parts))
                                 for i, targets in enumerate(parts)])
        self.start()
        self.wait_for(lambda: self.counters()['found'] == len(nqns), 'they are not all found')
        self.wait_for(lambda: self.good(
            'GET', '/api/v1/targets?source=multicast&limit=1')['total_count'] == len(nqns),
            'they are not all registered')

    # ---- strangers who ask ----

    def test_queries_that_are_not_answered(self):
        node = self.node()
        started = time.time()
        node.start()
        self.wait_for(lambda: self.multicast_of(node)['targets'] == 1, 'the node exports nothing')
        nonces = [os.urandom(16) for _ in range(8)]
        good = make_query(nonces[0])
        answer, = self.ask(good, least=1)
        self.assertEqual(read_answer(answer), (nonces[0], 'node-7', 0, 1, [NQN]))
        for bad, counted in (
                (good, 'repeated'),
                (make_query(nonces[1], key='another key of this length'), 'foreign'),
                (make_query(nonces[2], at_s=time.time() - 61), 'late'),
                (make_query(nonces[3], at_s=time.time() + 90), 'late'),
                (make_query(nonces[4], at_s=started - 1), 'late'),
                (make_query(nonces[5], version=2), 'foreign'),
                (make_query(nonces[6]) + b'\0', 'foreign'),
                (make_query(nonces[7])[:-1], 'foreign'),
                (answer, 'foreign'), (b'', 'foreign'), (os.urandom(64), 'foreign')):
            before = self.multicast_of(node)['refused'][counted]
            self.assertEqual(self.ask(bad, wait_s=0.2), [], counted)
            self.wait_equal(lambda c=counted: self.multicast_of(node)['refused'][c], before + 1,
                            f'{bad} is not counted')
        self.wait_for_log('clocks', node)
        # Too many: at first some at once, then four a second.
        start = time.monotonic()
        before = self.multicast_of(node)
        answers = self.ask(*[make_query(os.urandom(16)) for _ in range(100)], least=8)
        self.assertGreaterEqual(len(answers), 8)

        def count():
            now = self.multicast_of(node)
            return now['answered'] - before['answered'], now['refused']['limited'] - before['refused']['limited']
        self.wait_for(lambda: sum(count()) == 100, 'not all are counted')
        most = 16 + 4 * (time.monotonic() - start + 1)
        self.assertLessEqual(len(answers), most)
        self.assertLessEqual(count()[0], most)
        # It is not angry for long.
        time.sleep(1)
        self.assertEqual(len(self.ask(make_query(os.urandom(16)), least=1)), 1)

    def test_a_query_to_the_node_s_own_address_is_not_answered(self):
        node = self.node()
        node.start()
        self.wait_for(lambda: self.multicast_of(node)['interfaces'] == 1, 'it has no group')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.3)
            asker.sendto(make_query(os.urandom(16)), ('127.0.0.1', PORT))
            with self.assertRaises((TimeoutError, ConnectionRefusedError)):
                asker.recv(2000)


class OverACable(Multicast):
    """The node is in another namespace, at the other end of a cable."""

    def setUp(self):
        super().setUp()
        self.peer = Peer()
        self.config['discovery'].pop('multicast_interface')

    def tearDown(self):
        super().tearDown()
        self.peer.close()

    def far_node(self, listener, **members):
        node = self.node(**members)
        if 'multicast_interface' not in members:
            node.config['registry'].pop('multicast_interface')
        node.subsystem()['listeners'][0]['traddr'] = listener
        node.prefix = self.peer.inside
        return node

    def test_ipv4_by_all_interfaces(self):
        self.far_node('192.0.2.2').start()
        self.start()
        target, = self.wait_for_found(NQN)
        self.assertEqual((target['address'], target['status']), ('192.0.2.2', 'unknown'))

    def test_ipv6_by_one_interface(self):
        group = 'ff02::4791'
        self.config['discovery'].update(multicast_group=group, multicast_interface=HERE,
                                        multicast_port=14791)
        self.far_node('2001:db8::2', multicast_group=group, multicast_interface=THERE,
                      multicast_port=14791).start()
        self.start()
        target, = self.wait_for_found(NQN)
        self.assertEqual(target['address'], '2001:db8::2')

    def test_ipv6_by_all_interfaces(self):
        self.config['discovery'].update(multicast_group='ff05::4791')
        self.far_node('2001:db8::2', multicast_group='ff05::4791').start()
        self.start()
        self.wait_for_found(NQN)

    def test_an_interface_that_comes_later(self):
        self.config['discovery'].update(multicast_interface='later0')
        node = self.far_node('0.0.0.0', multicast_interface='later1', address='192.0.2.2')
        node.start()
        self.start()
        self.wait_for(lambda: 'later0' in self.counters()['problem'], 'no problem is told')
        self.wait_for(lambda: 'later1' in self.multicast_of(node)['problem'], 'the node tells no problem')
        for name, new, inside in ((HERE, 'later0', []), (THERE, 'later1', self.peer.inside)):
            for words in (['down'], ['name', new], ['up']):
                subprocess.run([*inside, 'ip', 'link', 'set', new if words == ['up'] else name, *words],
                               check=True, timeout=PATIENCE_S)
        try:
            target, = self.wait_for_found(NQN)
            self.assertEqual(target['address'], '192.0.2.2')
            self.wait_equal(lambda: self.counters()['problem'], '', 'a problem is told')
        finally:
            subprocess.run(['ip', 'link', 'set', 'later0', 'down'], check=True, timeout=PATIENCE_S)
            subprocess.run(['ip', 'link', 'set', 'later0', 'name', HERE], check=True,
                           timeout=PATIENCE_S)


class Refused(Multicast):
    def complaint(self, **members):
        self.config['discovery'].update(members)
        self.config['discovery'] = {k: v for k, v in self.config['discovery'].items() if v is not None}
        self.config_path.write_text(json.dumps(self.config))
        done = subprocess.run([REGISTRY, '--check', '--config', self.config_path], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
        return done.stderr

    def test_configurations(self):
        self.assertEqual(self.complaint(), '')
        self.assertEqual(self.complaint(multicast_key_file=None), '')  # by loopback
        self.assertIn('discovery.multicast_key_file: it is missing',
                      self.complaint(multicast_interface=None))
        self.assertIn('discovery.multicast_key_file: it is missing',
                      self.complaint(multicast_interface='eth99'))
        self.key_path.write_text('short\n')
        self.assertIn('discovery.multicast_key_file: the key has 5 characters',
                      self.complaint(multicast_key_file=str(self.key_path)))
        self.assertIn('No such file', self.complaint(multicast_key_file='/nowhere'))
        self.assertIn('discovery.multicast_key_env: the environment has no variable',
                      self.complaint(multicast_key_file=None, multicast_key_env='XSAN_NO_SUCH_KEY'))
        os.environ['XSAN_TEST_KEY'] = KEY
        self.assertEqual(self.complaint(multicast_key_env='XSAN_TEST_KEY'), '')
        self.assertIn('one key is enough', self.complaint(multicast_key_file=str(self.key_path)))
        self.assertIn('discovery.multicast_group: ', self.complaint(
            multicast_key_file=None, multicast_group='192.0.2.1'))

    def test_switched_off_as_a_whole(self):
        self.config['discovery']['auto_discovery_enabled'] = False
        self.config['discovery']['static_targets'] = [registration()]
        self.start()
        self.wait_for_log('the network is not searched')
        methods = [m['method'] for m in self.good('GET', '/api/v1/status')['discovery']]
        self.assertIn('static', methods)
        self.assertNotIn('multicast', methods)

    def test_a_node_without_its_key_does_not_start(self):
        node = self.node(multicast_key_file=str(pathlib.Path(self.dir) / 'none'))
        node.spawn()
        self.assertEqual(node.process.wait(PATIENCE_S), 1)
        self.assertIn('reading the key of multicast', node.log_text())


if __name__ == '__main__':
    own_network()
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Finding targets by DHCP: a real registry asks a real server (dnsmasq) at the other end of a cable, in
network namespaces of the test's own. The server's list changes, is damaged, goes away; the server is
silent; another one knows nothing; one that is written here says nonsense first."""

import json
import shutil
import socket
import subprocess
import sys
import time

from net_harness import HERE, SKIPPED, THERE, Peer, ip, own_network
from node_harness import NQN
from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, main

ONE, TWO = 'nqn.2026-11.io.xsan:disk1', 'nqn.2026-11.io.xsan:disk2'

# What a stranger answers to each question, in this order: to another question, damaged, no answer
# at all, and the right one in pieces and in the field of the boot file.
STRANGER = '''
import os, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind(('0.0.0.0', 67))
while True:
    q, sender = s.recvfrom(2000)
    assert q[240:243] == bytes([53, 1, 8]) and bytes([55, 1, 250]) in q, q
    to = (socket.inet_ntoa(q[12:16]), 68)
    def ack(options, xid=q[4:8], file=b''):
        return (bytes([2]) + q[1:4] + xid + q[8:108] + file.ljust(128, bytes(1)) + q[236:240]
                + bytes([53, 1, 5, 54, 4, 192, 0, 2, 77]) + options + bytes([255]))
    bad = b'nqn.2026-11.io.xsan:bad@192.0.2.66:1'
    for answer in (ack(bytes([250, len(bad)]) + bad, xid=bytes(4)),
                   ack(bytes([250, 200]) + bad), b'', os.urandom(300), q,
                   ack(bytes([250, len(bad)]) + bad).replace(bytes([53, 1, 5]), bytes([53, 1, 6])),
                   ack(bytes([250, 4]) + b'nqn.' + bytes([250, 9]) + b'2026-11.i' + bytes([52, 1, 1]),
                       file=bytes([250, 29]) + b'o.xsan:disk1@192.0.2.2:4420, ' + bytes([255]))):
        s.sendto(answer, to)
'''


class Dhcp(RegistryTest):
    def setUp(self):
        super().setUp()
        self.peer = Peer()
        self.server = None
        self.config['discovery'] = {
            'discovery_interval_sec': 1, 'discovery_timeout_sec': 1, 'enable_dhcp': True,
            'dhcp_interface': HERE}

    def tearDown(self):
        self.silence()
        super().tearDown()
        self.peer.close()

    def silence(self):
        if self.server is not None:
            self.server.kill()
            self.server.wait()
            self.server = None

    def serve(self, *options):
        """A server that hands these lines of its configuration out; instead of the one before."""
        self.silence()
        path = self.dir / 'dnsmasq.conf'
        path.write_text('\n'.join([
            'port=0', 'keep-in-foreground', 'user=root', 'group=root', 'pid-file=', 'log-facility=-',
            'log-dhcp', f'dhcp-leasefile={self.dir}/leases', f'interface={THERE}',
            'dhcp-range=192.0.2.0,static,255.255.255.0', *options, '']))
        with open(self.dir / 'dnsmasq.log', 'ab') as log:
            self.server = subprocess.Popen(
                [*self.peer.inside, shutil.which('dnsmasq', path='/usr/sbin:/sbin:/usr/bin'),
                 f'--conf-file={path}'], stdout=log, stderr=log)

    def found(self):
        return {t['nqn']: t for t in self.good('GET', '/api/v1/targets?source=dhcp')['targets']}

    def counters(self):
        return next(m for m in self.good('GET', '/api/v1/status')['discovery']
                    if m['method'] == 'dhcp')

    def wait_for_found(self, *nqns):
        self.wait_for(lambda: set(self.found()) == set(nqns), f'not just {nqns} are found')
        return [self.found()[nqn] for nqn in nqns]

    def wait_for_problem(self, text):
        self.wait_for(lambda: text in self.counters()['problem'], f'{text!r} is not told')

    def wait_for_no_problem(self):
        self.wait_equal(lambda: self.counters()['problem'], '', 'a problem is told')

    def states(self):
        return {nqn: target['status'] for nqn, target in self.found().items()}


class Found(Dhcp):
    def test_the_server_s_list(self):
        # As the documentation has it.
        self.serve(f'dhcp-option=224,"{ONE}@192.0.2.10:4420,{TWO}@[2001:db8::10]:4421"')
        self.start()
        one, two = self.wait_for_found(ONE, TWO)
        self.assertEqual((one['status'], one['node_id'], one['address'], one['port']),
                         ('unknown', '192.0.2.10', '192.0.2.10', 4420))
        self.assertEqual((two['address'], two['port']), ('2001:db8::10', 4421))
        self.wait_for_no_problem()
        # Another list, of one target and a discovery controller, which is no target.
        revision = self.good('GET', f"/api/v1/targets/{two['target_id']}")['revision']
        self.serve(f'dhcp-option=224,"{TWO}@[2001:db8::10]:4421 192.0.2.20:8009"')
        self.wait_for(lambda: self.states() == {ONE: 'offline', TWO: 'unknown'}, 'no change is seen')
        self.assertEqual(self.good('GET', f"/api/v1/targets/{two['target_id']}")['revision'], revision)
        # Nobody answers, or nothing good: what was found stays.
        self.serve('dhcp-option=224,"nqn.2026-11.io.xsan:disk3@192.0.2.10"')
        self.wait_for_problem("'nqn.2026-11.io.xsan:disk3@192.0.2.10': there is no port")
        self.serve('dhcp-option=224,192.0.2.10')  # an address in binary
        self.wait_for_problem('option 224 is not printable')
        self.silence()
        self.wait_for_problem(f'no DHCP server on {HERE} has answered')
        self.assertEqual(self.states(), {ONE: 'offline', TWO: 'unknown'})
        self.wait_for_log('finding targets by dhcp: no DHCP server')
        # The server says that there is none.
        self.serve('dhcp-option=225,"something else"')
        self.wait_for(lambda: self.states()[TWO] == 'offline', 'it is not taken away')
        self.wait_for_no_problem()

    def test_another_server_takes_nothing_away(self):
        self.serve(f'dhcp-option=250,"{ONE}@192.0.2.10:4420"')
        self.config['discovery']['dhcp_option'] = 250
        self.start()
        self.wait_for_found(ONE)
        # Its address is its name.
        self.silence()
        ip('address', 'del', '192.0.2.2/24', 'dev', THERE, inside=self.peer.inside)
        ip('address', 'add', '192.0.2.3/24', 'dev', THERE, inside=self.peer.inside)
        self.serve()
        self.wait_for_problem('the DHCP server 192.0.2.3 knows no option 250, and 192.0.2.2, which had')
        self.assertEqual(self.states(), {ONE: 'unknown'})
        # But what it knows counts.
        self.serve(f'dhcp-option=250,"{TWO}@192.0.2.10:4420"')
        self.wait_for(lambda: self.states() == {ONE: 'offline', TWO: 'unknown'}, 'it is not believed')

    def test_discovery_controllers_are_read(self):
        node = self.make_node()
        node.prefix = self.peer.inside
        node.subsystem()['listeners'][0]['traddr'] = '192.0.2.2'
        node.start()
        self.serve(f'dhcp-option=224,"192.0.2.2:{node.port},{ONE}@192.0.2.10:4420"')
        self.start()
        self.wait_for(lambda: [t['nqn'] for t in self.good(
            'GET', '/api/v1/targets?source=pulled')['targets']] == [NQN], 'nobody reads it')
        self.wait_for_found(ONE)
        # It is no longer told: what was read of it is not what it was.
        self.serve(f'dhcp-option=224,"{ONE}@192.0.2.10:4420"')
        self.wait_for(lambda: self.good('GET', '/api/v1/targets?source=pulled')['targets'][0][
            'status'] == 'offline', 'it is still read')
        self.assertEqual(self.states(), {ONE: 'unknown'})

    def test_a_long_list_and_a_client_beside(self):
        entries = [f'{ONE[:-1]}{i}@192.0.2.{i}:4420' for i in range(10, 15)]
        text = ','.join(entries)
        self.assertGreater(len(text), 200)
        self.serve(f'dhcp-option=224,"{text}"')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(('0.0.0.0', 68))
            self.start()
            self.wait_for_found(*(entry.partition('@')[0] for entry in entries))

    def test_a_stranger_says_nonsense_first(self):
        self.config['discovery']['dhcp_option'] = 250
        self.server = subprocess.Popen([*self.peer.inside, sys.executable, '-c', STRANGER])
        self.start()
        target, = self.wait_for_found(ONE)
        self.assertEqual((target['address'], target['port']), ('192.0.2.2', 4420))
        time.sleep(1)
        self.assertEqual(list(self.found()), [ONE])
        self.assertIsNone(self.server.poll())


class Reload(Dhcp):
    def test_on_another_option_and_off(self):
        self.config['discovery'] = {'discovery_interval_sec': 1, 'discovery_timeout_sec': 1}
        self.serve(f'dhcp-option=224,"{ONE}@192.0.2.10:4420 192.0.2.20:8009"',
                   f'dhcp-option=225,"{TWO}@192.0.2.10:4420"')
        self.start()
        self.assertNotIn('dhcp', self.methods())
        self.taken(enable_dhcp=True, dhcp_interface=HERE)
        self.wait_for_found(ONE)
        self.wait_for(lambda: self.controllers() == ['192.0.2.20'], 'the controller is not read')
        # What is wrong changes nothing.
        self.config['discovery'].update(dhcp_option=225, dhcp_interface='')
        self.reload(422)
        self.assertEqual(self.states(), {ONE: 'unknown'})
        # Another interface, that is not there: what was found stays.
        self.config['discovery']['dhcp_option'] = 224
        self.taken(dhcp_interface='later0')
        self.wait_for_problem('hardware address of later0: No such device')
        self.assertEqual(self.states(), {ONE: 'unknown'})
        self.taken(dhcp_interface=HERE, dhcp_option=225)
        self.wait_for(lambda: self.states() == {ONE: 'offline', TWO: 'unknown'}, 'it is not asked for')
        self.wait_for_no_problem()
        self.wait_for(lambda: self.controllers() == [], 'the controller is still read')
        # Off, while it waits for an answer: what was found stays, but controllers are read no more.
        self.taken(dhcp_option=224)
        self.wait_for(lambda: self.controllers() == ['192.0.2.20'], 'the controller is not read')
        self.silence()
        self.wait_for_problem('no DHCP server')
        before = self.rounds()
        self.taken(discovery_timeout_sec=3600)
        self.wait_for_others(1, before)  # so it is asked again, for an hour in which no round ends
        self.taken(enable_dhcp=False)
        self.assertNotIn('dhcp', self.methods())
        self.wait_for(lambda: self.controllers() == [], 'the controller is still read')
        self.wait_for_others(2)
        self.assertEqual(self.states(), {ONE: 'unknown', TWO: 'offline'})

    def controllers(self):
        return [c['address'] for c in self.methods()['pull']['controllers'] if c['sources']]


class Refused(Dhcp):
    def test_interfaces(self):
        self.config['discovery']['dhcp_interface'] = 'later0'
        self.serve(f'dhcp-option=224,"{ONE}@192.0.2.10:4420"')
        self.start()
        self.wait_for_problem('hardware address of later0: No such device')
        ip('link', 'add', 'later0', 'type', 'veth', 'peer', 'name', 'later1')
        try:
            self.wait_for_problem('IPv4 address of later0: Cannot assign requested address')
        finally:
            ip('link', 'del', 'later0')
        # It comes.
        ip('link', 'set', HERE, 'down')
        ip('link', 'set', HERE, 'name', 'later0')
        ip('link', 'set', 'later0', 'up')
        try:
            self.wait_for_found(ONE)
        finally:
            ip('link', 'set', 'later0', 'down')
            ip('link', 'set', 'later0', 'name', HERE)

    def test_loopback_has_no_dhcp(self):
        self.config['discovery']['dhcp_interface'] = 'lo'
        self.start()
        self.wait_for_problem('lo is no Ethernet')

    def test_a_stop_does_not_wait_for_a_round(self):
        self.config['discovery']['discovery_timeout_sec'] = 3600
        self.start()
        time.sleep(0.5)
        self.assertEqual(self.stop(), 0)  # which has an end to its patience

    def test_configurations(self):
        for members, where in (({'enable_dhcp': True}, 'discovery.dhcp_interface: '),
                               ({'enable_dhcp': True, 'dhcp_interface': 'x' * 16},
                                'discovery.dhcp_interface: '),
                               ({'dhcp_option': 223}, 'discovery.dhcp_option: '),
                               ({'dhcp_option': 255}, 'discovery.dhcp_option: ')):
            self.config_path.write_text(json.dumps({'discovery': members}))
            done = subprocess.run([REGISTRY, '--check', '--config', self.config_path],
                                  capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 2, members)
            self.assertIn(where, done.stderr)


if __name__ == '__main__':
    if shutil.which('dnsmasq', path='/usr/sbin:/sbin:/usr/bin') is None:
        print('skipped: there is no dnsmasq; scripts/bootstrap.sh test installs it')
        sys.exit(SKIPPED)
    own_network()
    main()

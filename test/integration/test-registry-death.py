#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A node dies, and hosts are told: a real node in a network of its own registers itself with a real
registry, which checks targets twice a minute only. The node is killed, and later cut off, and each time
a host of the registry's discovery controller hears that, and that it is back, and finds it in the log."""

import pathlib
import signal
import sys
import time

from net_harness import THERE, Peer, ip, own_network
from node_harness import NQN, PATIENCE_S
from registry_harness import RegistryTest, free_port, main

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from host import Controller, ok  # noqa: E402
from nvmetcp import DISCOVERY_NQN, DiscoveryLog  # noqa: E402

LOG = 0x70
CHANGED = 0x0070f002
NOT_CONNECTED = 4


class Death(RegistryTest):
    def setUp(self):
        super().setUp()
        self.peer = Peer()
        self.addCleanup(self.peer.close)
        discovery_port = free_port()
        self.config['service'].update({'listen_address': '0.0.0.0'})
        self.config['security'] = {'allow_insecure': True}
        self.config['discovery_controller'] = {
            'listen_address': '127.0.0.1', 'listen_port': discovery_port}
        self.config['health_monitoring'] = {'monitoring_interval_sec': 30}
        self.node = self.make_node()
        self.node.prefix = self.peer.inside
        self.node.subsystem()['listeners'][0]['traddr'] = '192.0.2.2'
        self.node.config['registry'] = {
            'url': f'http://192.0.2.1:{self.port}', 'node_id': 'node-7', 'interval_s': 20}
        self.start()
        self.node.start()
        self.wait_for(lambda: self.state() == 'available', 'the node is not registered')
        self.host = Controller(('127.0.0.1', discovery_port), DISCOVERY_NQN, kato=60000).enable()
        self.addCleanup(self.host.close)

    def state(self):
        targets = self.good('GET', '/api/v1/targets?node_id=node-7')['targets']
        return targets[0]['status'] if targets else ''

    def flags(self):
        """Of the node's entry, which stays in the log whatever happens; and this is read with the event
        cleared, so that the next one comes."""
        data = self.host.log(LOG, 4096)
        entry, = (e for e in DiscoveryLog(data).entries if e.subnqn == NQN)
        return entry.eflags

    def expect_event(self, do, flags, what):
        event = self.host.arm_event()
        do()
        start = time.monotonic()
        self.host.admin.wait(event, PATIENCE_S)
        took_s = time.monotonic() - start
        print(f'{what}: told after {took_s:.2f} s', flush=True)
        # It takes less than one; machines that test are slow, and others look every 30 s.
        self.assertLess(took_s, 15)
        self.assertEqual(ok(event).cqe.dw0, CHANGED)
        self.assertEqual(self.flags(), flags)

    def test_a_node_is_killed(self):
        self.assertEqual(self.flags(), 0)
        self.expect_event(self.node.kill, NOT_CONNECTED, 'killed')
        self.assertIn(self.state(), ('failed', 'offline'))
        self.expect_event(self.node.start, 0, 'started')
        self.assertEqual(self.state(), 'available')

    def test_a_node_is_cut_off(self):
        self.assertEqual(self.flags(), 0)
        self.expect_event(lambda: ip('link', 'set', THERE, 'down', inside=self.peer.inside),
                          NOT_CONNECTED, 'cut off')
        self.assertEqual(self.state(), 'failed')
        self.expect_event(lambda: ip('link', 'set', THERE, 'up', inside=self.peer.inside), 0, 'joined')
        self.assertEqual(self.state(), 'available')

    def test_a_node_that_is_busy_is_not_silent(self):
        self.node.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        self.node.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        self.assertEqual(self.state(), 'available')
        self.assertNotIn('is silent', self.log_text())

    def test_a_node_that_is_stopped_has_not_died(self):
        self.node.stop()
        time.sleep(2)
        self.assertEqual(self.state(), 'maintenance')
        states = [e['target']['status'] for e in self.good('GET', '/api/v1/events')['events']]
        self.assertEqual(set(states), {'available', 'maintenance'})
        self.assertEqual(self.flags(), 0)


if __name__ == '__main__':
    own_network()
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What test/ports.py promises to the tests that run beside each other."""

import pathlib
import socket
import subprocess
import sys
import unittest

TEST = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TEST))
from node_harness import free_port as node_port  # noqa: E402
from ports import free_port  # noqa: E402

TAKE = ('import ports, sys\n'
        'for _ in range(300): print(ports.free_port(range(15000, 16000)))\n'
        'sys.stdout.flush()\n'
        'sys.stdin.read()\n')


def take():
    """Another test: takes 300 of 1000 ports and keeps them until its input ends."""
    return subprocess.Popen([sys.executable, '-c', TAKE], cwd=TEST, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


class Ports(unittest.TestCase):
    def test_are_not_given_to_two(self):
        others = [take() for _ in range(3)]
        ports = [line for other in others for line in
                 [other.stdout.readline() for _ in range(300)]]
        for other in others:
            other.communicate(timeout=60)
        self.assertEqual(len(set(ports)), 900)

    def test_are_not_those_that_the_kernel_gives(self):
        first = int(pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range').read_text().split()[0])
        for port in [node_port() for _ in range(200)]:
            self.assertLess(port, first)
            self.assertEqual(len(str(port)), 5)

    def test_are_not_in_use(self):
        """By somebody who has not asked here."""
        for address in '127.0.0.1', '0.0.0.0':
            with self.subTest(address=address), socket.create_server((address, 0)) as server:
                port = server.getsockname()[1]
                with self.assertRaises(RuntimeError):
                    free_port(range(port, port + 1))

    def test_are_not_given_twice(self):
        port = free_port()
        with self.assertRaises(RuntimeError):
            free_port(range(port, port + 1))


if __name__ == '__main__':
    unittest.main(verbosity=2)

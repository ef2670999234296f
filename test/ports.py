# SPDX-License-Identifier: BSD-3-Clause
"""TCP ports for tests that run beside each other. A port that the kernel picks is free at that moment
only: it may pick it again for another test, or for somebody's outgoing connection, before the daemon
of this one listens there. So these are below the range it picks from, and one is reserved for the
process that asked until that ends, by a name that only one socket can have: an abstract UNIX address,
which leaves nothing behind and, like ports, belongs to a network namespace."""

import random
import socket

# The shell's tests take theirs from 20000 to 29999 (test/e2e/lib.sh). All have five digits, so that
# tables keep their widths.
PORTS = range(10000, 20000)

_reserved = []


def _reserve(port):
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f'\0xsan-test-port-{port}')
    except OSError:
        lock.close()
        return False
    _reserved.append(lock)
    return True


def _is_unused(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True


def free_port(ports=PORTS):
    """A port that nobody listens on, and that no other call here is given."""
    for port in random.sample(ports, len(ports)):
        if _reserve(port) and _is_unused(port):
            return port
    raise RuntimeError(f'no port from {ports.start} to {ports.stop - 1} is free')

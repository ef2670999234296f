#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Connections, statistics and iostat of a node to which a host is connected and does I/O: what
xsan shows is what the host did."""

import json
import signal
import subprocess
import sys
import time

import cli_harness as h
from cli_harness import NQN, check, check_equal

sys.path.insert(0, str(h.TOP / 'test/conformance'))
from host import Controller  # noqa: E402

HOST_NQN = 'nqn.2014-08.org.nvmexpress:uuid:77777777-2222-4333-8444-555555555555'
READS, WRITES, FLUSHES = 100, 50, 7


def connect(node):
    """A host with one I/O queue, and its namespace."""
    controller = Controller(('127.0.0.1', node.port), NQN, hostnqn=HOST_NQN, kato=15000).enable()
    return controller, controller.io_queue(1), controller.namespace(1)


def do_io(queue, ns):
    """READS of one block, WRITES of two, FLUSHES."""
    for i in range(READS):
        queue.wait(queue.read(ns, i, 1))
    for i in range(WRITES):
        queue.wait(queue.write(ns, i, bytes(2 * ns.block_size)))
    for _ in range(FLUSHES):
        queue.wait(queue.flush(ns.nsid))


def test_connections():
    with h.node() as node:
        controller, _, _ = connect(node)
        peer = '127.0.0.1:' + str(controller.admin.connection.sock.getsockname()[1])
        io_peer = '127.0.0.1:' + str(controller.queues[1].connection.sock.getsockname()[1])
        check_equal(node.ok('connections').split('\n')[1].split(),
                    [NQN, str(controller.cntlid), HOST_NQN, peer, '1', '15', 's', 'yes'],
                    'connections')
        _, _, text = node.ok('connections', NQN, '-q').partition('\n\n')
        queues = [line.split() for line in text.splitlines()]
        at = f'127.0.0.1:{node.port}'
        check_equal(queues[1:], [
            [NQN, str(controller.cntlid), '0', '0', peer, at, 'enabled'],
            [NQN, str(controller.cntlid), '1', '0', io_peer, at, 'enabled']], 'queues')
        shown = node.json('connections')
        check_equal((shown['controllers'][0]['nqn'], shown['controllers'][0]['hostnqn'],
                     [qpair['qid'] for qpair in shown['qpairs']]), (NQN, HOST_NQN, [0, 1]), 'JSON')
        check('queues         2 connected, 2 since the start, 0 refused\n' in node.ok('status'),
              node.ok('status'))
        controller.close()
        deadline = time.monotonic() + h.PATIENCE_S
        while node.ok('connections') != 'no host is connected\n':
            check(time.monotonic() < deadline, node.ok('connections', '-q'))


def test_device_stats():
    with h.node() as node:
        controller, queue, ns = connect(node)
        check_equal(ns.block_size, 4096, 'the block size')
        do_io(queue, ns)
        rows = {line.split()[1]: line.split() for line in node.ok('device', 'stats').splitlines()}
        check_equal(rows['read'][:6], ['disk0', 'read', str(READS), '400', 'KiB', '0'], 'reads')
        check_equal(rows['write'][:6], ['disk0', 'write', str(WRITES), '400', 'KiB', '0'], 'writes')
        check_equal(rows['flush'][:5], ['disk0', 'flush', str(FLUSHES), '-', '0'], 'flushes')
        check_equal(node.ok('device', 'stats', 'mem0'), 'no I/O yet\n', 'another device')
        node.ok('device', 'stats', 'disk0', '--reset')
        check_equal(node.ok('device', 'stats'), 'no I/O yet\n', 'after --reset')
        controller.close()


def test_iostat_counts_each_operation_once():
    """Rates times seconds, added up over the reports, are what the host did: nothing twice, nothing
    lost, whatever the time between reports."""
    with h.node() as node:
        controller, queue, ns = connect(node)
        do_io(queue, ns)  # before the first report, so not to be seen
        watch = subprocess.Popen([h.XSAN, '-s', 'xsand.sock', 'iostat', '-j', '-i', '0.2', 'disk0'],
                                 cwd=node.directory, stdout=subprocess.PIPE, text=True)
        try:
            keys = {'reads_per_s': READS, 'writes_per_s': WRITES, 'others_per_s': FLUSHES,
                    'read_bytes_per_s': READS * 4096, 'write_bytes_per_s': WRITES * 8192}
            sums = dict.fromkeys(keys, 0.0)
            deadline = time.monotonic() + h.PATIENCE_S
            busy = []
            json.loads(watch.stdout.readline())
            do_io(queue, ns)
            while any(round(sums[key]) < count for key, count in keys.items()):
                check(time.monotonic() < deadline, f'it has only counted {sums}')
                report = json.loads(watch.stdout.readline())
                device = report['devices'][0]
                check_equal((len(report['devices']), device['name']), (1, 'disk0'), 'the devices')
                for key in keys:
                    sums[key] += device[key] * device['seconds']
                if device['reads_per_s']:
                    busy.append(device)
            for _ in range(2):
                quiet = json.loads(watch.stdout.readline())['devices'][0]
                check_equal([quiet[key] for key in keys] + [quiet['p99_ns']],
                            [0] * len(keys) + [None], 'after the I/O')
            check_equal({key: round(total) for key, total in sums.items()}, keys, 'the sums')
            check(all(1000 < device['read_mean_ns'] < 10e9 and
                      device['p99_ns'] >= device['read_mean_ns'] / 2 for device in busy),
                  f'latencies: {busy}')
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()
        controller.close()


def test_iostat_shows_p99_of_the_interval():
    """One slow read shows as what it took, in the report in which it ended."""
    with h.node() as node:
        node.ok('device', 'create', 'delay', 'name=slow', 'base=mem0',
                'avg_read_latency_us=50000')
        node.ok('namespace', 'add', NQN, 'slow', '-n', '2')
        controller, queue, _ = connect(node)
        slow = controller.namespace(2)
        watch = subprocess.Popen([h.XSAN, '-s', 'xsand.sock', 'iostat', '-i', '0.3', 'slow'],
                                 cwd=node.directory, stdout=subprocess.PIPE, text=True)
        try:
            watch.stdout.readline()
            watch.stdout.readline()
            queue.wait(queue.read(slow, 0, 1))
            deadline = time.monotonic() + h.PATIENCE_S
            row = []
            while not row or row[6] == '0':
                check(time.monotonic() < deadline, f'the read is not seen: {row}')
                line = watch.stdout.readline()
                row = line.split() if line.startswith('slow') else row
            # DEVICE READ/S WRITE/S OTHER/S READ-MIB/S WRITE-MIB/S, READ AVG with its unit,
            # WRITE AVG 0, P99 with its unit, DEPTH, ERRORS
            check_equal((row[2:4], row[8], row[11:]), (['0', '0'], '0', ['0', '0']),
                        f'the row {row}')
            units = {'ms': 1, 's': 1000}  # it may have waited for the processor
            check(all(row[at + 1] in units and 50 <= float(row[at]) * units[row[at + 1]] < 30000
                      for at in (6, 9)), f'the latencies of {row}')
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()
        controller.close()


def test_iostat_counts_reports_and_devices():
    with h.node() as node:
        begin = time.monotonic()
        out = node.ok('iostat', '-n', '3', '-i', '0.2', 'mem0')
        check(0.6 <= time.monotonic() - begin < 10, 'three reports of 0.2 s took another time')
        check_equal((out.count('DEVICE'), out.count('mem0'), out.count('disk0')), (3, 3, 0),
                    'reports')
        reports = [json.loads(line) for line in
                   node.ok('-j', 'iostat', '-n', '2', '-i', '0.1').splitlines()]
        check_equal([[device['name'] for device in report['devices']] for report in reports],
                    [['disk0', 'mem0']] * 2, 'devices')
        check(all(0.05 <= device['seconds'] < 5 for report in reports
                  for device in report['devices']), str(reports))
        h.expect(node.xsan('iostat', 'nix'), h.REFUSED, "there is no device 'nix'")


def test_iostat_that_was_stopped_makes_up_for_no_report():
    with h.node() as node:
        watch = subprocess.Popen([h.XSAN, '-s', 'xsand.sock', 'iostat', '-j', '-i', '0.5', 'mem0'],
                                 cwd=node.directory, stdout=subprocess.PIPE, text=True)

        def seconds():
            return json.loads(watch.stdout.readline())['devices'][0]['seconds']

        try:
            seconds()
            watch.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            watch.send_signal(signal.SIGCONT)
            first = [seconds() for _ in range(4)]
            check(max(first) > 2, f'it was not stopped: {first}')
            check(min(first) > 0.1, f'missed reports come at once: {first}')
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()


def test_iostat_of_devices_that_come_and_go():
    with h.node() as node:
        watch = subprocess.Popen([h.XSAN, '-s', 'xsand.sock', 'iostat', '-j', '-i', '0.1'],
                                 cwd=node.directory, stdout=subprocess.PIPE, text=True)

        def wait_for(names):
            deadline = time.monotonic() + h.PATIENCE_S
            shown = None
            while shown != names:
                check(time.monotonic() < deadline, f'{names} are not shown, but {shown}')
                report = json.loads(watch.stdout.readline())
                shown = [device['name'] for device in report['devices']]

        try:
            wait_for(['disk0', 'mem0'])
            node.ok('device', 'create', 'malloc', 'name=m', 'size=1M')
            wait_for(['disk0', 'mem0', 'm'])
            node.ok('device', 'delete', 'mem0')
            wait_for(['disk0', 'm'])
            check(watch.poll() is None, 'iostat has ended')
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()


if __name__ == '__main__':
    h.main(__name__)

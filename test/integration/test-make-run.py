#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""make run: an array, a store on it and a thin volume are made and exported at the first start, found
again at the next with the same identifiers, also when the first was cut off; an older ./var is used
as it is."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
import urllib.request

import cli_harness as h
from cli_harness import NQN, check, check_equal


class Run:
    """scripts/run.sh with a directory of its own."""

    def __init__(self, var):
        self.var = var
        self.socket = var / 'xsand.sock'
        self.port = h.free_port()
        self.rest_port = h.free_port()
        self.discovery_port = h.free_port()
        self.log = var.parent / 'log'
        self.log.touch()
        self.process = self.pipe = None

    def start(self):
        if self.pipe is not None:
            os.close(self.pipe)
        self.pipe, end = os.pipe()
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [h.TOP / 'scripts/run.sh', h.BUILD], stdout=log, stderr=log, pass_fds=[end],
                env=h.environment(XSAN_VAR=self.var, XSAN_PORT=self.port,
                                  XSAN_REST_PORT=self.rest_port,
                                  XSAN_GRPC_PORT=0, XSAN_DISCOVERY_PORT=self.discovery_port))
        os.close(end)

    def wait_gone(self):
        """Until all that it has started has ended too: nobody has the pipe any more."""
        check(select.select([self.pipe], [], [], h.PATIENCE_S)[0], 'not all of it ends')

    def wait(self, condition):
        deadline = time.monotonic() + h.PATIENCE_S
        while not condition():
            check(self.process.poll() is None and time.monotonic() < deadline,
                  self.log.read_text())
            time.sleep(0.05)

    def nr_ready(self):
        return self.log.read_text().count('The node is ready.')

    def start_and_wait(self):
        before = self.nr_ready()
        self.start()
        self.wait(lambda: self.nr_ready() > before)

    def xsan(self, *words):
        return h.expect(h.xsan(*words, socket_path=self.socket), h.OK).out

    def exported(self):
        """What hosts see of the namespaces."""
        subsystems = json.loads(self.xsan('rpc', 'nvmf_get_subsystems'))
        return next(s for s in subsystems if s['nqn'] == NQN)['namespaces']

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        check_equal(self.process.wait(h.PATIENCE_S), 0 if number == signal.SIGTERM else -number, 'exit code')


@contextlib.contextmanager
def run():
    with h.directory() as path:
        (path / 'var').mkdir()
        one = Run(path / 'var')
        try:
            yield one
        finally:
            if one.process is not None and one.process.poll() is None:
                one.process.kill()
                one.process.wait()
            if one.pipe is not None:
                os.close(one.pipe)


def registered(node):
    """The states of what the registry knows; None: it does not answer."""
    try:
        url = f'http://127.0.0.1:{node.rest_port}/api/v1/targets'
        with urllib.request.urlopen(url, timeout=5) as answer:
            return [(t['nqn'], t['port'], t['status']) for t in json.load(answer)['targets']]
    except OSError:
        return None


def test_registers_and_takes_the_registry_along():
    with run() as node:
        node.start_and_wait()
        node.wait(lambda: registered(node) == [(NQN, node.port, 'available')])
        for number in (signal.SIGTERM, signal.SIGKILL):
            node.stop(number)
            deadline = time.monotonic() + h.PATIENCE_S
            while registered(node) is not None:
                check(time.monotonic() < deadline, 'the registry is still there')
                time.sleep(0.05)
            node.start_and_wait()
            node.wait(lambda: registered(node) == [(NQN, node.port, 'available')])
        log = (node.var / 'registry.log').read_text()
        check(log.count('stopping: SIGTERM') == 2, log)
        node.stop()


def test_first_and_second_start():
    with run() as node:
        node.start_and_wait()
        first = node.exported()
        check_equal([ns['bdev_name'] for ns in first], ['store0/volume0'], 'namespaces')
        volume = json.loads(node.xsan('--json', 'volume', 'show', 'store0/volume0'))
        check_equal((volume['size'], volume['is_thin_provisioned']), (1 << 30, True), 'the volume')
        check_equal(volume['uuid'], first[0]['uuid'], 'identity')
        check('active raid5' in node.xsan('md', 'stat'), 'it is no RAID 5')
        check(not (node.var / 'unfinished').exists(), 'it is not finished')
        used = sum((node.var / f'disk{i}.img').stat().st_blocks * 512 for i in (1, 2, 3))
        check(used < 100 << 20, f'{used} bytes are taken on disk')
        for number in (signal.SIGTERM, signal.SIGKILL):
            node.stop(number)
            node.start_and_wait()
            check_equal(node.exported(), first, 'namespaces after a restart')
        # What was deleted on purpose is not made again.
        node.xsan('namespace', 'remove', NQN, '1')
        node.xsan('volume', 'delete', 'store0/volume0')
        node.stop()
        node.start_and_wait()
        check_equal(node.exported(), [], 'namespaces')
        node.stop()


def test_goes_on_after_a_start_that_was_cut_off():
    with run() as node:
        node.start()
        node.wait(lambda: h.xsan('status', socket_path=node.socket).code == h.OK)
        node.stop(signal.SIGKILL)
        # The part that makes the volume ends by itself without a node.
        node.wait_gone()
        node.start_and_wait()
        check_equal([ns['bdev_name'] for ns in node.exported()], ['store0/volume0'], 'namespaces')
        node.stop()


def test_an_older_layout_is_used_as_it_is():
    with run() as node:
        config = {
            'rpc': {'socket': str(node.socket)}, 'state_dir': str(node.var / 'state'),
            'devices': [{'driver': 'file', 'name': 'disk0', 'filename': str(node.var / 'disk0.img'),
                         'size': '64MiB', 'block_size': 512}],
            'nvmf': {'subsystems': [{
                'nqn': NQN, 'allow_any_host': True,
                'namespaces': [{'nsid': 1, 'device': 'disk0'}],
                'listeners': [{'trtype': 'tcp', 'traddr': '127.0.0.1',
                               'trsvcid': str(node.port)}]}]},
        }
        (node.var / 'xsand.json').write_text(json.dumps(config))
        content = b'precious' * 1000
        (node.var / 'disk0.img').write_bytes(content)
        os.truncate(node.var / 'disk0.img', 64 << 20)
        node.start_and_wait()
        check_equal([ns['bdev_name'] for ns in node.exported()], ['disk0'], 'namespaces')
        node.stop()
        check_equal((node.var / 'disk0.img').read_bytes()[:len(content)], content, 'content')
        check_equal(json.loads((node.var / 'xsand.json').read_text()), config, 'configuration')
        check(not list(node.var.glob('disk[123].img')), 'new disks were made')


if __name__ == '__main__':
    h.main(__name__)

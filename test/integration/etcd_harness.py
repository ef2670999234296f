# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of several registries on one etcd share: a real etcd, and registries that have its data."""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from registry_harness import OtherRegistry, RegistryTest, free_port, main

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from host import Controller  # noqa: E402
from nvmetcp import DISCOVERY_NQN, DiscoveryLog, le  # noqa: E402

LOG = 0x70
PATIENCE_S = 60


class Etcd:
    """A real one, with its data kept over kills."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='xsan-etcd-'))
        self.port, self.peer = free_port(), free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.process = None
        self.start()

    def start(self):
        peer = f'http://127.0.0.1:{self.peer}'
        with open(self.dir / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                ['etcd', '--name', 'm0', '--data-dir', self.dir / 'data', '--listen-client-urls', self.url,
                 '--advertise-client-urls', self.url, '--listen-peer-urls', peer,
                 '--initial-advertise-peer-urls', peer, '--initial-cluster', f'm0={peer}',
                 '--log-level', 'error'], stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while self.get('anything').returncode != 0:
            if time.monotonic() > end:
                raise AssertionError((self.dir / 'log').read_text())
            time.sleep(0.1)

    def get(self, *words):
        return subprocess.run(['etcdctl', f'--endpoints={self.url}', 'get', *words], check=False,
                              env={'ETCDCTL_API': '3', 'PATH': '/usr/bin:/bin'}, capture_output=True)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Registry(OtherRegistry):
    """One of those that share the data."""

    def begin(self, etcd, **sections):
        self.discovery_port = free_port()
        self.config['discovery_controller'] = {'listen_port': self.discovery_port}
        self.config['persistence'] = {'persistence_backend': 'etcd', 'connection_string': f'{etcd.url}/test'}
        self.config.update(sections)
        self.start()
        return self

    def kill(self):
        self.stop(signal.SIGKILL)

    def targets(self):
        return {t['target_id']: t for t in self.good('GET', '/api/v1/targets')['targets']}

    def states(self):
        return {key: target['status'] for key, target in self.targets().items()}

    def events(self):
        return self.good('GET', '/api/v1/events?limit=1000')['events']

    def seen_by(self, hostnqn):
        """The NVM subsystems that a host finds in the discovery log."""
        host = Controller(('127.0.0.1', self.discovery_port), DISCOVERY_NQN, hostnqn=hostnqn).enable()
        try:
            numrec = le(host.log(LOG, 1024, rae=1), 8, 8)
            data = b''
            while len(data) < 1024 * (numrec + 1):
                data += host.log(LOG, min(4096, 1024 * (numrec + 1) - len(data)), len(data))
            return sorted(e.subnqn for e in DiscoveryLog(data).entries if e.subtype == 2)
        finally:
            host.close()

    def leads(self):
        return self.good('GET', '/api/v1/status')['store']['leads']


class SharedTest(unittest.TestCase):
    """A test with an etcd and as many registries as it begins."""

    def setUp(self):
        self.etcd = Etcd()
        self.registries = []

    def tearDown(self):
        if any(error for _, error in getattr(self._outcome, 'errors', []) or []):
            for registry in self.registries:
                print(registry.log_text())
        for registry in self.registries:
            registry.tearDown()
        self.etcd.stop()

    def registry(self, **sections):
        registry = Registry()
        registry.setUp()
        self.registries.append(registry)
        return registry.begin(self.etcd, **sections)

    def wait_for(self, condition, what, patience=PATIENCE_S):
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                self.fail(f'{what} within {patience} s; ' +
                          '\n'.join(registry.log_text() for registry in self.registries))
            time.sleep(0.02)


def main_with_etcd():
    if shutil.which('etcd') is None or shutil.which('etcdctl') is None:
        print('SKIP: etcd is not installed')
        sys.exit(77)
    main()

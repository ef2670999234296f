# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the registry share: an xsan-registry in a directory of its own, and an HTTP client
that is Python's. Everything has a bound in time."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from node_harness import BUILD, PATIENCE_S, NodeTest, free_port, main  # noqa: F401

REGISTRY = BUILD / 'daemon/xsan-registry/xsan-registry'
# gRPC's libraries are not built with the thread sanitizer, so it does not see how their threads wait
# for each other. All of our code is, and is looked at all the same.
os.environ['TSAN_OPTIONS'] = ':'.join(
    [*filter(None, [os.environ.get('TSAN_OPTIONS')]), 'ignore_noninstrumented_modules=1'])


def registration(number=0, **members):
    """The document's example (4.1.1), or one of its kind."""
    body = {
        'node_id': 'xdevice-node-001',
        'target_info': {
            'nqn': f'nqn.2024-01.com.xdevice:nvme:{number + 1:03}', 'transport': 'tcp',
            'address': '192.168.1.100', 'port': 4420, 'namespace_capacity': 1073741824000,
            'security_type': 'none'},
        'performance_caps': {'max_iops': 500000, 'max_bandwidth_mbps': 6000, 'avg_latency_us': 50},
        'metadata': {'location': 'rack-1-slot-3', 'hw_type': 'nvme-ssd', 'firmware_version': '1.2.3'},
    }
    for path, value in members.items():
        *parents, name = path.split('__')
        at = body
        for parent in parents:
            at = at[parent]
        at[name] = value
    return body


class Node(NodeTest):
    """The node of a test of the registry, which ends it by close()."""

    def __init__(self):
        super().__init__()
        self.setUp()

    def runTest(self):
        """It is no test."""

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.text = self.body.decode(errors='replace')

    @property
    def json(self):
        return json.loads(self.text)


class RegistryTest(unittest.TestCase):
    """A test with a directory and at most one registry at a time."""

    maxDiff = None

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='xsan-registry-'))
        self.config_path = self.dir / 'registry.json'
        self.data_dir = self.dir / 'data'
        self.log_path = self.dir / 'log'
        self.process = None
        self.port = free_port()
        self.config = {
            'service': {'listen_address': '127.0.0.1', 'listen_port': self.port, 'grpc_port': 0,
                        'data_directory': str(self.data_dir)},
            'discovery_controller': {'listen_port': 0},
            # The targets of most tests are made up.
            'health_monitoring': {'probe_level': 'none'},
        }
        self.connection = None
        self.nodes = []

    def tearDown(self):
        self.hang_up()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        has_failed = self._outcome.result is not None and any(
            test is self for test, _ in self._outcome.result.failures + self._outcome.result.errors)
        for node in self.nodes:
            if has_failed and node.log_path.exists():
                print(f'--- log of a node of {self.id()}:\n{node.log_text()}')
            node.close()
        if has_failed:
            print(f'--- log of {self.id()}:\n{self.log_text()}')
        shutil.rmtree(self.dir, ignore_errors=True)

    def make_node(self):
        """A node that ends with the test; it is not started yet."""
        self.nodes.append(Node())
        return self.nodes[-1]

    # ---- the daemon ----

    def log_text(self):
        return self.log_path.read_text() if self.log_path.exists() else ''

    def start(self, *words):
        self.config_path.write_text(json.dumps(self.config, indent=1))
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen([REGISTRY, '--config', self.config_path, *words],
                                            stdout=log, stderr=log)
        self.wait_for(self.is_ready, 'the registry does not answer')

    def is_ready(self):
        if self.process.poll() is not None:
            self.fail(f'the registry has ended with {self.process.returncode}: {self.log_text()}')
        try:
            self.hang_up()
            return self.call('GET', '/api/v1/openapi.json').status == 200
        except OSError:
            return False

    def stop(self, number=signal.SIGTERM):
        self.hang_up()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def reload(self, status=200):
        """Has the configuration taken as it is now; what is answered."""
        self.config_path.write_text(json.dumps(self.config, indent=1))
        return self.good('POST', '/api/v1/reload', status=status)

    def taken(self, **members):
        """Members of `discovery` that a reload has to take; None takes one away."""
        discovery = {**self.config.setdefault('discovery', {}), **members}
        self.config['discovery'] = {key: value for key, value in discovery.items() if value is not None}
        answer = self.reload()
        self.assertEqual(answer['needs_restart'], [])
        self.assertLessEqual(set(members), {name.partition('.')[2] for name in answer['taken']})

    def methods(self):
        """How targets are found, by the names of the methods."""
        return {m['method']: m for m in self.good('GET', '/api/v1/status')['discovery']}

    def rounds(self):
        """Of the method that is always there, and the first of all to be asked."""
        return self.methods()['static']['attempts']

    def wait_for_others(self, count, since=None):
        """So many rounds of the method that is always there; they may be after such a number."""
        end = (self.rounds() if since is None else since) + count
        self.wait_for(lambda: self.rounds() >= end, 'there are no rounds')

    def wait_for(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                self.fail(f'{what() if callable(what) else what} within {PATIENCE_S} s')
            time.sleep(0.02)

    def wait_equal(self, get, expected, what):
        """Until get() is what is expected; tells what it was instead."""
        got = [get()]

        def is_so():
            got[0] = get()
            return got[0] == expected
        self.wait_for(is_so, lambda: f'{what}: {got[0]!r}, not {expected!r}')

    def wait_for_log(self, text, daemon=None):
        """Something that the registry, or another daemon, says in its log: soon after it was seen."""
        self.wait_for(lambda: text in (daemon or self).log_text(), f'the log does not say {text!r}')

    # ---- calls ----

    def hang_up(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def connect(self):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE_S)

    def call(self, method, path, body=None, headers=None):
        """One call on the test's connection, which is kept."""
        if self.connection is None:
            self.connection = self.connect()
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        self.connection.request(method, path, data, headers or {})
        return Answer(self.connection.getresponse())

    def good(self, method, path, body=None, status=200, headers=None):
        answer = self.call(method, path, body, headers)
        self.assertEqual(answer.status, status, answer.text)
        return answer.json

    def refused(self, status, method, path, body=None, headers=None):
        """A call that is refused: its problem."""
        answer = self.call(method, path, body, headers)
        self.assertEqual(answer.status, status, answer.text)
        self.assertEqual(answer.headers['Content-Type'], 'application/problem+json')
        problem = answer.json
        self.assertEqual(problem['status'], status)
        self.assertTrue(problem['detail'])
        return problem

    def register(self, number=0, **members):
        return self.good('POST', '/api/v1/targets', registration(number, **members),
                         201)['target_id']


class OtherRegistry(RegistryTest):
    """Another registry, beside that of the test, which ends it by tearDown()."""

    def runTest(self):
        """It is no test."""

    def tearDown(self):
        self.hang_up()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

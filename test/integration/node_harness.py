# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the daemon share: an xsand in a directory of its own, with a configuration that
the test edits, and a JSON-RPC client that sends and parses as SPDK's does: values one after the
other, nothing between them.

The tests are unittest cases. XSAN_BUILD names the build directory. Everything has a bound in time."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'test'))
from ports import free_port  # noqa: E402

BUILD = pathlib.Path(os.environ.get('XSAN_BUILD', TOP / 'build'))
XSAND = BUILD / 'daemon/xsand/xsand'
PATIENCE_S = 60
NQN = 'nqn.2026-11.io.xsan:demo'


class RpcError(Exception):
    """An answer that is an error."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.message, self.data = error['code'], error['message'], error.get('data')


class Client:
    """One connection to the management socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.buffer = ''
        self.next_id = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self):
        """The next JSON value; EOFError when there is none."""
        decoder = json.JSONDecoder()
        while True:
            text = self.buffer.lstrip()
            try:
                value, end = decoder.raw_decode(text)
                self.buffer = text[end:]
                return value
            except ValueError:
                data = self.socket.recv(65536)
                if not data:
                    raise EOFError(text) from None
                self.buffer += data.decode()

    def request(self, method, params=None):
        self.next_id += 1
        request = {'jsonrpc': '2.0', 'method': method, 'id': self.next_id}
        if params is not None:
            request['params'] = params
        return request

    def call(self, method, params=None):
        request = self.request(method, params)
        self.send(json.dumps(request, indent=2))
        answer = self.receive()
        if answer['id'] != request['id']:
            raise AssertionError(f'an answer to {answer["id"]} came to {request["id"]}')
        if 'error' in answer:
            raise RpcError(answer['error'])
        return answer['result']


class NodeTest(unittest.TestCase):
    """A test with a directory, a configuration in it, and at most one xsand at a time."""

    maxDiff = None

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='xsan-node-'))
        self.config_path = self.dir / 'xsand.json'
        self.socket_path = self.dir / 'xsand.sock'
        self.log_path = self.dir / 'log'
        self.state_path = self.dir / 'state/state.json'
        self.process = None
        self.prefix = []  # of its command
        self.port = free_port()
        self.config = {
            'log': {'level': 'info'},
            'rpc': {'socket': str(self.socket_path)},
            'state_dir': str(self.dir / 'state'),
            'devices': [{'driver': 'file', 'name': 'disk0', 'size': '16MiB',
                         'filename': str(self.dir / 'disk0.img')},
                        {'driver': 'malloc', 'name': 'mem0', 'size': '1MiB'}],
            'nvmf': {'subsystems': [
                {'nqn': NQN, 'allow_any_host': True,
                 'namespaces': [{'nsid': 1, 'device': 'disk0'}],
                 'listeners': [{'traddr': '127.0.0.1', 'trsvcid': str(self.port)}]}]},
        }

    def tearDown(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        failed = any(error for _, error in self._outcome.errors) if hasattr(
            self._outcome, 'errors') else not self._outcome.success
        if failed and self.log_path.exists():
            print(f'--- log of {self.id()}:\n{self.log_text()}')
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- the configuration ----

    def write_config(self):
        self.config_path.write_text(json.dumps(self.config, indent=1))

    def subsystem(self):
        return self.config['nvmf']['subsystems'][0]

    def device(self, name):
        return next(d for d in self.config['devices'] if d['name'] == name)

    # ---- the process ----

    def spawn(self, *options, env=None):
        self.write_config()
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [*self.prefix, XSAND, '--config', self.config_path, *options], stdout=log, stderr=log,
                cwd=self.dir, env={**os.environ, **(env or {})})
        return self.process

    def start(self, *options, env=None):
        """Starts the node and waits until it answers."""
        self.spawn(*options, env=env)
        return self.wait_ready()

    def wait_ready(self):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if self.process.poll() is not None:
                self.fail(f'xsand ended with {self.process.returncode}')
            try:
                with Client(self.socket_path) as client:
                    return client.call('xsan_status')
            except (FileNotFoundError, ConnectionError, EOFError):
                self.assertLess(time.monotonic(), deadline, 'xsand does not answer')
                time.sleep(0.01)

    def stop(self, signals=(signal.SIGTERM,), code=0):
        for number in signals:
            self.process.send_signal(number)
        self.wait_exit(code)

    def wait_exit(self, code):
        try:
            got = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.fail('xsand does not end')
        self.assertEqual(got, code)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log_text(self):
        return self.log_path.read_text(errors='replace')

    def wait_log(self, text, count=1):
        deadline = time.monotonic() + PATIENCE_S
        while self.log_text().count(text) < count:
            self.assertLess(time.monotonic(), deadline, f'{text!r} is not in the log')
            time.sleep(0.01)

    # ---- its management ----

    def client(self):
        client = Client(self.socket_path)
        self.addCleanup(client.close)
        return client

    def call(self, method, params=None):
        with Client(self.socket_path) as client:
            return client.call(method, params)

    def refused(self, method, params=None):
        """The error of a call that must fail."""
        with self.assertRaises(RpcError) as caught:
            self.call(method, params)
        return caught.exception

    def devices(self):
        return {d['name']: d for d in self.call('bdev_get_bdevs')}

    def shown_subsystem(self):
        return self.call('nvmf_get_subsystems', {'nqn': NQN})[0]


def main():
    unittest.main(verbosity=2)

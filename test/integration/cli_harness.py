# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the command line share: a real xsand in a directory of its own, xsan run
against it, servers that answer as no node should, and expectations.

A test is a function test_*() of its script; main() runs them all, each at most once, and says which
failed. XSAN_BUILD names the build directory. Everything has a bound in time."""

import contextlib
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'test'))
from ports import free_port  # noqa: E402

BUILD = pathlib.Path(os.environ.get('XSAN_BUILD', TOP / 'build'))
XSAN = BUILD / 'cli/xsan'
XSAND = BUILD / 'daemon/xsand/xsand'

PATIENCE_S = 60
OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
SKIPPED = 77

NQN = 'nqn.2026-11.io.xsan:demo'
DISK0_UUID = '11111111-2222-4333-8444-555555555555'
MEM0_UUID = '22222222-2222-4333-8444-555555555555'


class Failure(Exception):
    """An expectation that did not hold; the message says which."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def check_equal(got, expected, what):
    if got != expected:
        raise Failure(f'{what}:\n--- expected\n{expected}\n--- got\n{got}\n---')


def environment(**changes):
    """The caller's environment without what xsan would read; None takes a variable away."""
    env = {name: value for name, value in os.environ.items()
           if name not in ('XSAN_SOCKET', 'NO_COLOR')}
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = str(value)
    return env


class Result:
    def __init__(self, command, done):
        self.command, self.code = command, done.returncode
        self.out, self.err = done.stdout, done.stderr

    def __str__(self):
        return f'{self.command}: exit code {self.code}\nstdout: {self.out}\nstderr: {self.err}'


def xsan(*words, socket_path=None, cwd=None, stdin='', timeout=PATIENCE_S, env=None):
    """Runs xsan; its words may be anything that str() takes."""
    command = [str(XSAN)] + (['-s', str(socket_path)] if socket_path else [])
    command += [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True,
                          timeout=timeout, env=env or environment(), check=False)
    return Result(' '.join(command), done)


def xsan_on_terminal(*words, socket_path, cwd=None, seen=None, **env):
    """Runs xsan with its output on a terminal; the exit code and the text. seen() is called with all
    that has come whenever there is more."""
    master, slave = pty.openpty()
    with subprocess.Popen([XSAN, '-s', socket_path, *words], cwd=cwd, stdout=slave, stderr=slave,
                          env=environment(**{'TERM': 'xterm', **env})) as process:
        os.close(slave)
        text = b''
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(master, 4096):
                text += piece
                if seen is not None:
                    seen(text.decode(errors='replace'))
        os.close(master)
        return process.wait(PATIENCE_S), text.decode().replace('\r\n', '\n')


def expect(result, code, err=None):
    """The exit code, nothing on stderr when it is 0, else one sentence with `err` in it."""
    check(result.code == code, f'exit code {code} was expected of {result}')
    if code == OK:
        check(result.err == '', f'nothing was expected on stderr of {result}')
    else:
        check(result.err.startswith('xsan: ') and result.err.endswith('\n'),
              f'a sentence was expected on stderr of {result}')
    if err is not None:
        check(err in result.err, f'{err!r} was expected on stderr of {result}')
    return result


class Node:
    """A running xsand. Its paths are relative to its directory, so what it shows of them is always
    the same: xsand.json, xsand.sock, state, disk0.img."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        self.config = self.directory / 'xsand.json'
        self.write_config({})
        self.log = open(self.directory / 'log', 'wb')
        self.start()

    def start(self):
        self.process = subprocess.Popen([XSAND, '--config', 'xsand.json'], cwd=self.directory,
                                        stdout=self.log, stderr=self.log)

    def write_config(self, changes):
        """The standard configuration, with members replaced."""
        config = {
            'log': {'level': 'info', 'target': 'stderr', 'format': 'text'},
            'reactors': {'count': 1},
            'rpc': {'socket': 'xsand.sock'},
            'state_dir': 'state',
            'devices': [
                {'driver': 'file', 'name': 'disk0', 'filename': 'disk0.img', 'size': '1536MiB',
                 'block_size': 4096, 'uuid': DISK0_UUID},
                {'driver': 'malloc', 'name': 'mem0', 'size': '64MiB', 'uuid': MEM0_UUID},
            ],
            'nvmf': {'subsystems': [
                {'nqn': NQN, 'serial_number': 'SN1', 'allow_any_host': True,
                 'namespaces': [{'nsid': 1, 'device': 'disk0'}],
                 'listeners': [{'trtype': 'tcp', 'traddr': '127.0.0.1',
                                'trsvcid': str(self.port)}]},
            ]},
        } | changes
        self.config.write_text(json.dumps(config, indent=2))

    def wait_ready(self):
        deadline = time.monotonic() + PATIENCE_S
        while xsan('status', socket_path='xsand.sock', cwd=self.directory).code != OK:
            check(self.process.poll() is None, 'xsand ended: ' + self.log_text())
            check(time.monotonic() < deadline, 'xsand does not answer: ' + self.log_text())
            time.sleep(0.05)

    def log_text(self):
        return (self.directory / 'log').read_text(errors='replace')

    def xsan(self, *words, **options):
        return xsan(*words, socket_path='xsand.sock', cwd=self.directory, **options)

    def ok(self, *words, **options):
        """Runs a command that must succeed; its output."""
        return expect(self.xsan(*words, **options), OK).out

    def json(self, *words, **options):
        """The same with --json, read."""
        return json.loads(self.ok('--json', *words, **options))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.log.close()
        check(code == 0, f'xsand ended with {code}: {self.log_text()}')


@contextlib.contextmanager
def directory():
    path = tempfile.mkdtemp(prefix='xsan-cli-')
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def node():
    with directory() as path:
        running = Node(path)
        try:
            running.wait_ready()
            yield running
        except BaseException:
            running.process.kill()
            running.process.wait()
            running.log.close()
            raise
        running.stop()


@contextlib.contextmanager
def server(answer):
    """A socket whose connections are given to answer(connection), each in a thread; its path. The
    thread's end closes the connection."""
    with directory() as path, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path / 'fake.sock'))
        listener.listen(8)
        over = threading.Event()

        def serve(connection):
            with connection, contextlib.suppress(OSError):
                connection.settimeout(30)
                answer(connection, over)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield path / 'fake.sock'
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def read_request(connection):
    """One request, as the JSON value it is."""
    text = b''
    while True:
        piece = connection.recv(65536)
        if piece == b'':
            raise ConnectionResetError
        text += piece
        with contextlib.suppress(ValueError):
            return json.loads(text)


def main(module):
    """Runs the tests of a script; exits with 0 when all passed."""
    for program in (XSAN, XSAND):
        if not program.exists():
            sys.exit(f'{program} is not built (XSAN_BUILD names the build directory)')
    failed = 0
    for name, function in list(vars(sys.modules[module]).items()):
        if not name.startswith('test_'):
            continue
        begin = time.monotonic()
        try:
            function()
            verdict = 'ok'
        except Failure as failure:
            failed, verdict = failed + 1, f'FAILED: {failure}'
        except Exception:  # a broken test fails, and the others still run
            failed, verdict = failed + 1, f'FAILED: {traceback.format_exc()}'
        print(f'{name} ({time.monotonic() - begin:.1f} s): {verdict}', flush=True)
    sys.exit(1 if failed else 0)

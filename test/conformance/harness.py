# SPDX-License-Identifier: BSD-3-Clause
"""What every case needs: how a case is registered, what it may ask of the target, what it may
expect.

A case is a function marked with @case that takes a Context and raises Failure when the target is
wrong, or Skip when the target cannot be asked (no management socket, a feature not advertised). The
Context makes hosts, namespaces and expectations, and undoes what the case did. Daemon runs an xsand
for the suite and judges its end."""

import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import nvmetcp
from host import Controller, ok
from nvmetcp import Closed, Connection, Failure, Terminated

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402

SANITIZER = re.compile(r'(AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer|'
                       r'runtime error:|[Aa]ssertion .*failed)')


class Skip(Exception):
    """The case cannot run against this target; the message says why."""


class Case:
    def __init__(self, function, every, waits, rpc, config, central):
        self.function, self.every, self.waits, self.rpc = function, every, waits, rpc
        self.config, self.central = config, central
        topic = function.__module__.removeprefix('test_')
        self.name = f'{topic}.{function.__name__}'
        self.rule = ' '.join((function.__doc__ or '').split())
        if not self.rule:
            raise ValueError(f'{self.name} has no docstring that names its rule')


CASES = []


def case(function=None, *, every=False, waits=False, rpc=False, config=None, central=False):
    """Registers a case. every: in each configuration, not only the first. waits: spends its time
    sleeping, so it runs beside the others. rpc: needs the management socket. config: in that
    configuration only. central: for a central discovery controller, not for xsand."""
    def register(wrapped):
        CASES.append(Case(wrapped, every, waits, rpc, config, central))
        return wrapped
    return register(function) if function else register


# ---- expectations ----

def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(got, expected, what):
    if got != expected:
        if isinstance(got, int) and isinstance(expected, int) and not isinstance(got, bool):
            raise Failure(f'{what}: {got} ({got:#x}), expected {expected} ({expected:#x})')
        if isinstance(got, (bytes, bytearray)) and isinstance(expected, (bytes, bytearray)):
            raise Failure(f'{what}: {_first_difference(got, expected)}')
        raise Failure(f'{what}: {got!r}, expected {expected!r}')


def _first_difference(got, expected):
    if len(got) != len(expected):
        return f'{len(got)} bytes, expected {len(expected)}'
    index = next(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)
    return (f'differs from byte {index}: {bytes(got[index:index + 16]).hex()}, '
            f'expected {bytes(expected[index:index + 16]).hex()}')


def want(command, *statuses):
    """The command's status is one of the given: 'ok', 'SCT/SC', 'SCT/SC DNR', 'SCT/SC DNR?'."""
    for status in statuses:
        code = status.removesuffix('?').removesuffix(' DNR')
        if code == 'ok':
            code = '0/00'
        got = f'{command.cqe.sct}/{command.cqe.sc:02X}'
        if got == code and (status.endswith('?') or command.cqe.dnr == status.endswith(' DNR')):
            check(command.cqe.is_ok or not command.data,
                  f'{command}: {len(command.data)} bytes of data before status {command.status}')
            return command
    raise Failure(f'{command}: {command.status}, expected {" or ".join(statuses)}')


def want_terminated(connection, sent, *errors):
    """The target answers what was `sent` with a C2HTermReq; errors are 'FES/FEI' with the FES in
    hexadecimal and the FEI in decimal. It carries the header it complains about, and nothing
    follows it."""
    try:
        pdu = connection.recv()
    except Terminated as term:
        got = f'{term.fes:02X}/{term.fei}'
        if got not in errors:
            raise Failure(f'C2HTermReq with {got}, expected {" or ".join(errors)}') from term
        check(8 <= len(term.data) and sent.startswith(term.data),
              f'C2HTermReq carries {term.data.hex()}, sent was {sent[:128].hex()}')
        check(not connection.buffer, 'the target goes on after its C2HTermReq')
        return term
    except Closed as error:
        raise Failure(f'{error}, expected a C2HTermReq {" or ".join(errors)}') from error
    raise Failure(f'{pdu} instead of a C2HTermReq {" or ".join(errors)}')


def want_status_or_terminated(queue, command, sent, statuses, errors):
    """Where the facts allow a status as well as a termination."""
    try:
        queue.wait(command)
    except Terminated as term:
        got = f'{term.fes:02X}/{term.fei}'
        check(got in errors, f'terminated with FES/FEI {got}, expected {" or ".join(errors)}')
        check(sent.startswith(term.data), f'C2HTermReq carries {term.data.hex()}')
        return False
    want(command, *statuses)
    return True


def reads_as(queue, ns, slba, data, what='blocks'):
    """The blocks from slba on have this content."""
    equal(bytes(ok(queue.read(ns, slba, len(data) // ns.block_size)).data), bytes(data), what)


# ---- the target ----

class Rpc:
    """JSON-RPC 2.0 over the management socket, one connection per call."""

    def __init__(self, path):
        self.path = path
        self.next_id = 0

    def __call__(self, method, **params):
        self.next_id += 1
        request = {'jsonrpc': '2.0', 'id': self.next_id, 'method': method}
        if params:
            request['params'] = params
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            try:
                sock.connect(self.path)
                sock.sendall(json.dumps(request).encode() + b'\n')
                answer = self._receive(sock)
            except OSError as error:
                raise Failure(f'{method} on {self.path}: {error}') from error
        if 'error' in answer:
            raise Failure(f'{method}: {answer["error"]}')
        return answer.get('result')

    @staticmethod
    def _receive(sock):
        data = b''
        while len(data) < 16 << 20:
            piece = sock.recv(65536)
            if not piece:
                break
            data += piece
            try:
                return json.loads(data)
            except ValueError:
                continue
        raise Failure(f'no whole JSON answer in {len(data)} bytes')


class Target:
    """Where the target is and what is known about it. `config` is None unless we started it."""

    def __init__(self, address, nqn, rpc=None, config=None, connect_timeout_s=30.0):
        self.address, self.nqn, self.rpc, self.config = address, nqn, rpc, config
        self.connect_timeout_s = connect_timeout_s
        self.rpc_lock = threading.RLock()
        self.first_nsid = None
        self.central = None     # the program behind it, when it is a central discovery controller


class Context:
    """One case's view of the target; close() undoes what the case made, in reverse."""

    def __init__(self, target, name, seed):
        self.target, self.name = target, name
        self.random = random.Random(f'{seed}/{name}')
        self.undo = []

    def close(self):
        while self.undo:
            try:
                self.undo.pop()()
            except (Failure, OSError):
                # The connection may be gone, the namespace removed: both are fine here.
                pass

    def transport_size(self, option):
        """A transport option in bytes, or None when the target's configuration is not known."""
        value = (self.target.config or {'nvmf': {'transport': {}}})['nvmf']['transport'].get(option)
        units = {'KiB': 1 << 10, 'MiB': 1 << 20}
        return int(value[:-3]) * units[value[-3:]] if isinstance(value, str) else value

    # Hosts.

    def connect(self):
        """A TCP connection without ICReq."""
        connection = Connection(self.target.address)
        self.undo.append(connection.close)
        return connection

    def connection(self, *, dgst=0, hpda=0, maxr2t=0):
        """A connection after ICReq and ICResp."""
        connection = self.connect()
        connection.connect_ic(dgst, hpda, maxr2t)
        return connection

    def controller(self, *, nqn=None, **options):
        """A connected controller that is not enabled."""
        options.setdefault('kato', 60000)
        controller = Controller(self.target.address, nqn or self.target.nqn, **options)
        self.undo.append(controller.close)
        return controller

    def host(self, **options):
        """An enabled controller without I/O queues."""
        return self.controller(**options).enable()

    def queue(self, *, sqsize=31, **options):
        """An enabled controller with one I/O queue; returns (controller, queue)."""
        host = self.host(**options)
        return host, host.io_queue(1, sqsize=sqsize)

    def discovery(self, **options):
        return self.host(nqn=nvmetcp.DISCOVERY_NQN, **options)

    def alive(self):
        """A new host connects, is served and leaves."""
        host, queue = self.queue()
        ok(queue.read(self.namespace(host), 0, 1))
        host.keep_alive()
        host.close()

    # Namespaces.

    def namespace(self, host, block_size=512):
        """A namespace with that block size, or the first one."""
        spaces = self.namespaces(host)
        return next((ns for ns in spaces if ns.block_size == block_size), spaces[0])

    @property
    def first_nsid(self):
        """A namespace identifier that is active for the whole run."""
        if self.target.first_nsid is None:
            host = self.host()
            self.target.first_nsid = self.namespaces(host)[0].nsid
            host.close()
        return self.target.first_nsid

    @staticmethod
    def namespaces(host):
        nsids = host.active_nsids()
        if not nsids:
            raise Skip('the subsystem has no namespace')
        return [host.namespace(nsid) for nsid in nsids[:4]]

    def area(self, ns, size):
        """A random place for `size` bytes that cases may overwrite. The last quarter of every
        namespace is never written, see io.unwritten_blocks_read_zero."""
        blocks = size // ns.block_size
        return self.random.randrange(ns.nr_blocks // 4 * 3 - blocks)

    # Management.

    def rpc(self, method, **params):
        return self.target.rpc(method, **params)

    def temporary_device(self, blocks=4096, block_size=512):
        name = f'conf{self.random.getrandbits(40):010x}'
        self.rpc('bdev_malloc_create', name=name, num_blocks=blocks, block_size=block_size)
        self.undo.append(lambda: self.rpc('bdev_malloc_delete', name=name))
        return name

    def temporary_null_device(self, mebibytes, block_size=4096):
        name = f'conf{self.random.getrandbits(40):010x}'
        self.rpc('bdev_null_create', name=name, num_blocks=(mebibytes << 20) // block_size,
                 block_size=block_size)
        self.undo.append(lambda: self.rpc('bdev_null_delete', name=name))
        return name

    def temporary_slow_device(self, write_us=0):
        """A device that delays everything but reads."""
        base, name = self.temporary_device(), f'slow{self.random.getrandbits(40):010x}'
        self.rpc('bdev_delay_create', base_bdev_name=base, name=name, avg_read_latency=0,
                 p99_read_latency=0, avg_write_latency=write_us, p99_write_latency=0)
        self.undo.append(lambda: self.rpc('bdev_delay_delete', name=name))
        return name

    def temporary_error_device(self):
        """A device into which errors can be injected."""
        base, name = self.temporary_device(), f'bad{self.random.getrandbits(40):010x}'
        self.rpc('bdev_error_create', base_name=base, name=name)
        self.undo.append(lambda: self.rpc('bdev_error_delete', name=name))
        return name

    def temporary_subsystem(self, allow_any_host=True, listen=True):
        """A subsystem of the case's own behind the same listener; returns its NQN."""
        nqn = f'nqn.2026-11.io.xsan:t{self.random.getrandbits(40):010x}'
        self.rpc('nvmf_create_subsystem', nqn=nqn, serial_number='TEMPORARY',
                 allow_any_host=allow_any_host)
        self.undo.append(lambda: self.rpc('nvmf_delete_subsystem', nqn=nqn))
        if listen:
            self.rpc('nvmf_subsystem_add_listener', nqn=nqn, listen_address=self.listen_address())
        return nqn

    def listen_address(self, port=None):
        host = self.target.address[0]
        return {'trtype': 'TCP', 'adrfam': 'IPv6' if ':' in host else 'IPv4', 'traddr': host,
                'trsvcid': str(port or self.target.address[1])}

    def add_port(self, nqn):
        """Lets a subsystem of the case's own listen on another port too; returns its address."""
        port = free_port()
        self.rpc('nvmf_subsystem_add_listener', nqn=nqn, listen_address=self.listen_address(port))
        return self.target.address[0], port

    def add_namespace(self, nsid, device, nqn=None):
        self.rpc('nvmf_subsystem_add_ns', nqn=nqn or self.target.nqn,
                 namespace={'nsid': nsid, 'bdev_name': device})
        self.undo.append(lambda: self.remove_namespace(nsid, nqn))

    def remove_namespace(self, nsid, nqn=None):
        self.rpc('nvmf_subsystem_remove_ns', nqn=nqn or self.target.nqn, nsid=nsid)

    def free_nsid(self, host):
        """An NSID that the controller allows and nobody uses."""
        used = set(host.active_nsids())
        highest = nvmetcp.le(host.identify_controller(), 516, 4)
        for nsid in range(highest, 0, -1):
            if nsid not in used:
                return nsid
        raise Skip(f'all {highest} namespace identifiers are in use')


# ---- a daemon of our own ----

class Daemon:
    """xsand with a configuration of its own in `directory`."""

    def __init__(self, program, directory, config):
        self.directory, self.config = directory, config
        self.log_path = os.path.join(directory, 'xsand.log')
        path = os.path.join(directory, 'xsand.json')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(config, file, indent=2)
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen([program, '--config', path], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=directory)
        self._wait_ready()

    def _wait_ready(self):
        """Waits until this xsand listens. That somebody does on its port is not enough: free_port()
        may have given it to two runs, and then the other's xsand answers until it stops; after that
        all data would read as zeros. The management socket is nobody else's."""
        host, port = address = listener_address(self.config)
        nqn = self.config['nvmf']['subsystems'][0]['nqn']
        rpc = Rpc(self.config['rpc']['socket'])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not self.is_running():
                raise Failure(f'xsand ended with {self.process.returncode} at its start\n'
                              f'{self.log_tail()}')
            try:
                listeners = [entry['address'] for entry in
                             rpc('nvmf_subsystem_get_listeners', nqn=nqn)]
                if any(entry['traddr'] == host and entry['trsvcid'] == str(port)
                       for entry in listeners):
                    return
            except Failure:
                pass
            time.sleep(0.05)
        self.kill()
        raise Failure(f'xsand does not listen on {address} after 60 s\n{self.log_tail()}')

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def stop(self):
        """Ends it with SIGTERM and returns what was wrong with its life, as sentences."""
        problems = []
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                problems.append('xsand does not stop within 60 s of SIGTERM')
                self.kill()
        if self.process.returncode != 0:
            problems.append(f'xsand ended with {self.process.returncode}')
        if SANITIZER.search(self.log_text()):
            problems.append('a sanitizer or an assertion speaks in xsand\'s log')
        return problems

    def log_text(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()

    def log_tail(self, lines=60):
        report = self.log_text()
        found = SANITIZER.search(report)
        if found:
            start = report.rfind('\n', 0, found.start()) + 1
            return '\n'.join(report[start:].splitlines()[:lines])
        return '\n'.join(report.splitlines()[-lines:])


class Central:
    """The program `central` with a store of its own in `directory`."""

    def __init__(self, program, directory, count):
        self.log_path = os.path.join(directory, 'central.log')
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen([program, directory, str(count)], text=True, stderr=log,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock = threading.Lock()
        line = self.process.stdout.readline()
        if not line.startswith('port '):
            self.process.kill()
            raise Failure(f'central says {line!r} instead of its port\n{self.log_text()}')
        self.port = int(line.split()[1])

    def tell(self, line):
        """Has it do something and returns what it says."""
        with self.lock:
            self.process.stdin.write(line + '\n')
            self.process.stdin.flush()
            return self.process.stdout.readline().strip()

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def stop(self):
        """Ends it and returns what was wrong with its life, as sentences."""
        problems = []
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            problems.append('central does not end within 60 s')
            self.kill()
        self.process.stdout.close()
        if self.process.returncode != 0:
            problems.append(f'central ended with {self.process.returncode}')
        if SANITIZER.search(self.log_text()):
            problems.append('a sanitizer or an assertion speaks in the log of central')
        return problems

    def log_text(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()


def listener_address(config):
    listener = config['nvmf']['subsystems'][0]['listeners'][0]
    return listener['traddr'], int(listener['trsvcid'])

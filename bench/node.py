# SPDX-License-Identifier: BSD-3-Clause
"""The storage node in the benchmarks: our host to our target over loopback, beside two threads that
only send and receive the same bytes, and an exported file beside QEMU's NBD export of the same file.

The server is held on one CPU and the client on another. CPU per I/O is that of both. NBD's client is
fio's engine (libnbd)."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'test'))
from ports import free_port  # noqa: E402

NQN = 'nqn.2026-11.io.xsan:bench'
MALLOC = {'driver': 'malloc', 'name': 'd', 'size': '512MiB', 'block_size': 512}
PATIENCE_S = 20
HEADER_BYTES = 72  # a command capsule
ANSWER_BYTES = 24  # a data PDU's header, or a response capsule
ON_CLIENT, ON_SERVER = ('taskset', '-c', '0'), ('taskset', '-c', '1')


class Server:
    """A process that listens on a port of 127.0.0.1, and the CPU time it used."""

    def __init__(self, prefix, words, port, **options):
        self.port = port
        self.process = subprocess.Popen([*prefix, *ON_SERVER, *words], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, **options)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f'{words[0]}: {self.process.stderr.read()}') from None
                if time.monotonic() > end:
                    self.stop()
                    raise RuntimeError(f'{words[0]} does not listen on port {port}') from None
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process.stderr.close()

    def cpu_ns(self):
        """User and system time of the process."""
        fields = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK') * 1e9

    def measure(self, load, seconds):
        """What the load gives, with our CPU time added."""
        before = self.cpu_ns()
        done = load()
        done['cpu_ns_per_io'] += (self.cpu_ns() - before) / (done['iops'] * seconds)
        return done


class Exports:
    """Servers are started when a row first wants them."""

    def __init__(self, bench, prefix):
        self.bench, self.prefix, self.servers = bench, prefix, {}
        self.dir = tempfile.TemporaryDirectory(prefix='xsan-bench-')

    def close(self):
        for server in self.servers.values():
            server.stop()
        self.dir.cleanup()

    def nvmf(self, device):
        """xsand with one reactor that exports the device."""
        key = json.dumps(device)
        if key not in self.servers:
            port, place = free_port(), pathlib.Path(self.dir.name) / str(len(self.servers))
            place.mkdir()
            (place / 'xsand.json').write_text(json.dumps({
                'reactors': {'count': 1}, 'rpc': {'socket': str(place / 'sock')}, 'state_dir': str(place),
                'devices': [device],
                'nvmf': {'subsystems': [{'nqn': NQN, 'allow_any_host': True,
                                         'namespaces': [{'nsid': 1, 'device': device['name']}],
                                         'listeners': [{'traddr': '127.0.0.1', 'trsvcid': str(port)}]}]}}))
            xsand = os.path.join(self.bench.args.build, 'daemon/xsand/xsand')
            self.servers[key] = Server(self.prefix, [xsand, '--config', str(place / 'xsand.json')], port)
        return self.servers[key]

    def nbd(self, path):
        """QEMU's storage daemon that exports the file."""
        if path not in self.servers:
            port = free_port()
            self.servers[path] = Server(self.prefix, [
                'qemu-storage-daemon', '--blockdev',
                f'driver=file,filename={path},node-name=f,cache.direct=on,aio=io_uring',
                '--nbd-server', f'addr.type=inet,addr.host=127.0.0.1,addr.port={port}',
                '--export', 'type=nbd,id=e,node-name=f,name=f,writable=on'], port)
        return self.servers[path]

    # ---- loads ----

    def host(self, device, *words):
        server = self.nvmf(device)
        target = json.dumps({'driver': 'nvmf', 'name': 'n', 'addr': '127.0.0.1', 'port': server.port, 'nqn': NQN})
        return server.measure(lambda: self.bench.device(*words, target, prefix=ON_CLIENT), self.bench.args.seconds)

    def fio_nbd(self, path, rw, depth):
        server = self.nbd(path)
        return server.measure(lambda: self.bench.fio(rw, depth, '--ioengine=nbd', f'--uri=nbd://127.0.0.1:{server.port}/f',
                                                     prefix=ON_CLIENT), self.bench.args.seconds)


def tcp_row(bench, exports, rw, size, depth, by, iops):
    data = size * 1024
    send, receive = HEADER_BYTES, ANSWER_BYTES
    if rw == 'read':
        receive += data
    else:
        send += data
    bench.compare(f'nvmf, our host to our target, random {size} KiB {rw}, depth {depth}',
                  lambda: exports.host(MALLOC, '--rw', rw, '--bs', f'{size}KiB', '--depth', str(depth)), 'bare TCP',
                  lambda: bench.run('bench-tcp', '--send', str(send), '--receive', str(receive), '--depth', str(depth)),
                  0, iops, by=by)


def node_rows(bench, prefix, fill):
    """The aims are what SPDK's initiator and target reached, each spinning on a core of its own."""
    exports = Exports(bench, prefix)
    try:
        for size, depth, by, aims in ((4, 1, 'iops', {'read': 1e6 / 13.0, 'write': 1e6 / 10.6}),
                                      (4, 64, 'iops', {'read': 594e3, 'write': 471e3}),
                                      (128, 16, 'gib_per_s', {'read': 3.4e9 / 2**30, 'write': 3.8e9 / 2**30})):
            for rw, aim in aims.items():
                tcp_row(bench, exports, rw, size, depth, by, aim)
        if shutil.which('qemu-storage-daemon') is None or shutil.which('fio') is None:
            print('# no qemu-storage-daemon or no fio: no figures of NBD', file=sys.stderr)
            return
        exported = {'driver': 'file', 'name': 'f', 'filename': os.path.abspath(bench.args.file), 'block_size': 512}
        for rw in ('read', 'write'):
            for depth in ('1', '16', '64'):
                name = f'file over NVMe/TCP, random 4 KiB {rw}, depth {depth}'
                if bench.is_wanted(name):
                    fill()
                bench.compare(name, lambda: exports.host(exported, '--rw', rw, '--depth', depth), 'the same over NBD',
                              lambda: exports.fio_nbd(exported['filename'], f'rand{rw}', depth), 1)
    finally:
        exports.close()

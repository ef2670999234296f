#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the benchmarks: each figure beside a peer or a limit that was measured in the same run.

  run.py BUILD-DIR [--file PATH] [--seconds S] [--rounds N] [--only TEXT] [--realtime] [--cpu N] [--json]

Peer and subject take turns N times and the medians are compared, so that a noisy machine disturbs
both alike. CPU per I/O is user and system time of the process. Rows with two threads that wait for
each other, and all of the public interface, are judged by what one in twenty windows of a
millisecond reached: on a machine that does other work the two seldom run at once, and the rest of
the time measures the neighbours; the whole run's figure stands behind it. --realtime runs subjects
and peers above all other work (chrt, as root), which keeps the machine from others meanwhile: also
from the kernel's workers that end direct writes on the CPU that takes the disk's interrupts, so give
--cpu another one for the rows of rebuilds on files. The last column says whether the aim is met;
nothing fails here, because a figure of another machine is no reason to refuse a change.
"""

import argparse
import functools
import itertools
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from node import node_rows

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'test'))
from ports import free_port  # noqa: E402

NULL = '{"driver":"null","name":"n","size":"1TiB","zero_reads":false}'
MEMORY = '{"driver":"malloc","name":"m","size":"512MiB"}'
CACHED = '{"driver":"malloc","name":"m","size":"4MiB"}'


PREFIX = []
COUNT = 10000  # targets of a registry whose memory is looked at


def run_json(*words, prefix=()):
    done = subprocess.run([*PREFIX, *prefix, *words], check=True, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout[done.stdout.index('{'):])  # fio's engines may speak first


class Bench:
    """The rows of one run, and the programs that make them."""

    def __init__(self, args):
        self.args, self.rows = args, []

    # ---- programs; each gives IOPS, CPU nanoseconds per I/O and, where it is known, the best ----

    def run(self, program, *words, prefix=()):
        return run_json(os.path.join(self.args.build, 'bench', program), '--seconds', str(self.args.seconds), *words,
                        prefix=prefix)

    def device(self, *words, prefix=()):
        """The device graph itself."""
        return self.run('bench-device', *words, prefix=prefix)

    def api(self, *words):
        """The public interface, and its limits."""
        return self.run('bench-api', *words)

    def parity(self, *words):
        """Parity or plain copies of rows of 64 KiB buffers."""
        return self.run('bench-parity', *words)

    def perf(self, *words, prefix=()):
        """xbdev-perf on the file."""
        done = run_json(os.path.join(self.args.build, 'tools/xbdev-perf'), '--json', '--runtime',
                        str(self.args.seconds), *words, f'file:{self.args.file},block_size=512', prefix=prefix)
        return {'iops': done['read']['iops'] + done['write']['iops'],
                'cpu_ns_per_io': done['cpu']['user_ns_per_io'] + done['cpu']['system_ns_per_io']}

    def fio(self, rw, depth, *engine, prefix=()):
        """fio's io_uring engine on the file, or another engine."""
        engine = engine or (f'--filename={self.args.file}', '--ioengine=io_uring', '--direct=1')
        done = run_json('fio', '--name=peer', *engine, f'--rw={rw}', '--bs=4k', f'--iodepth={depth}',
                        f'--runtime={self.args.seconds}', '--time_based', '--randrepeat=0', '--output-format=json',
                        prefix=prefix)
        job = done['jobs'][0]
        iops = job['read']['iops'] + job['write']['iops']
        return {'iops': iops, 'cpu_ns_per_io': (job['usr_cpu'] + job['sys_cpu']) / 100 * 1e9 / iops}

    def handover(self, rw, depth, prefix=()):
        """What two bare threads, one that asks and one that does the I/O, do with the file."""
        return self.run('bench-api', '--file', self.args.file, '--depth', depth, *(['--write'] if rw == 'write' else []),
                        'handover', prefix=prefix)

    # ---- rows ----

    def is_wanted(self, name):
        return self.args.only in name

    def compare(self, name, subject, peer_name, peer, share, iops=0, by='iops', most=0, times=0):
        """Takes turns and adds a row. The aim is `share` of the peer's figure, or `iops`, or no more than `most`, or than
        `times` the peer's figure of the same turn, as the median of all; 0: not that."""
        if not self.is_wanted(name):
            return
        ours, theirs = [], []
        for _ in range(self.args.rounds):
            theirs += [peer()] if peer else []
            ours += [subject()]
        ratios = sorted(one[by] / other[by] for one, other in zip(ours, theirs))
        ours, theirs = medians(ours), medians(theirs)
        ratio = ours[by] / theirs[by] if theirs else None
        aim = f'>= {share:.2f}' if share else f'{iops:,.{2 if by == "gib_per_s" else 0}f}' if iops else '–'
        is_met = (ratio >= share if share else ours[by] >= iops) if share or iops else None
        if most:
            aim, is_met = f'<= {most:,}', ours[by] <= most
        if times:
            ratio = statistics.median(ratios)
            aim, is_met = f'<= {times}', ratio <= times
        self.rows.append({'name': name, 'by': by, 'ours': ours, 'peer': peer_name, 'theirs': theirs, 'ratio': ratio,
                          'ratios': ratios if times else [], 'aim': aim, 'met': is_met, 'load': os.getloadavg()[0]})
        print(f'# {name}: {ours[by]:,.0f}, {ours.get("cpu_ns_per_io", 0):,.0f} ns of CPU', file=sys.stderr, flush=True)

    def table(self):
        print('| what | IOPS | CPU ns/I/O | beside | IOPS | CPU ns/I/O | ratio | aim | met |')
        print('|---|---:|---:|---|---:|---:|---:|---:|---|')
        for r in self.rows:
            theirs = figures(r['theirs'], r['by']) if r['theirs'] else '– | –'
            ratio = f'{r["ratio"]:.2f}' if r['ratio'] is not None else '–'
            ratio += f' ({r["ratios"][0]:.2f} to {r["ratios"][-1]:.2f})' if r['ratios'] else ''
            met = {True: 'yes', False: 'no', None: '–'}[r['met']]
            print(f'| {r["name"]} | {figures(r["ours"], r["by"])} | {r["peer"]} | {theirs} | {ratio} | {r["aim"]} | {met} |')
        if self.rows:
            loads = [r['load'] for r in self.rows]
            print(f'\nLoad average {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} CPUs.')


# Figures that are neither a rate nor of an I/O.
UNITS = {'read_ms_p50': 'ms', 'told_ms_p99': 'ms', 'read_again_ms_p50': 'ms', 'loaded': 'B', 'with_events': 'B',
         'daemon': 'B', 'bytes_per_host': 'B'}


def medians(runs):
    keys = [key for key in ('iops', 'best', 'gib_per_s', 'cpu_ns_per_io', 'p99_us', 'bytes_per_tib', 'md_writes', 'md_bytes',
                            'flushes', 'rebuilt_mib_per_s', *UNITS) if runs and key in runs[0]]
    return {key: statistics.median(run[key] for run in runs) for key in keys}


def figures(one, by):
    """IOPS, with the whole run's behind the best, or GiB/s, and the CPU time; or memory, which has none."""
    if by == 'bytes_per_tib':
        return f'{one[by]:,.0f} B per TiB | –'
    if by in UNITS:
        return f'{one[by]:,.1f} {UNITS[by]} | –'
    if by == 'gib_per_s':
        return f'{one[by]:.2f} GiB/s | {one["cpu_ns_per_io"]:,.0f}'
    if by == 'p99_us':
        rebuilt = f', {one["rebuilt_mib_per_s"]:,.1f} MiB/s of each member rebuilt' if one.get('rebuilt_mib_per_s') else ''
        return f'{one[by]:.2f} us{rebuilt} | {one["cpu_ns_per_io"]:,.0f}'
    iops = f'{one["best"]:,.0f} ({one["iops"]:,.0f})' if by == 'best' else f'{one["iops"]:,.0f}'
    if one.get('md_writes'):
        iops += f'; for each {one["md_writes"]:.2f} metadata writes, {one["md_bytes"]:,.0f} B, {one["flushes"]:.2f} flushes'
    return f'{iops} | {one["cpu_ns_per_io"]:,.0f}'


def device_rows(bench):
    bench.compare('null, device graph, 4 KiB, depth 64', lambda: bench.device(NULL), 'a fixed aim', None, 0, 15e6)
    for rw in ('read', 'write'):
        bench.compare(f'malloc, device graph, random 4 KiB {rw}, depth 64',
                      lambda rw=rw: bench.device('--rw', rw, '--fill', MEMORY), 'memcpy alone',
                      lambda rw=rw: bench.device('--rw', rw, '--memcpy', '512MiB'), 0.85)


def api_rows(bench):
    def rings():
        return bench.api('--pin', 'rings')

    def pingpong():
        return bench.api('--pin', 'pingpong')

    for how, words in (('events', 'aio'), ('requests', 'request')):
        bench.compare(f'null, public interface embedded, {how}, depth 128', lambda words=words:
                      bench.api('--embedded', words), 'a fixed aim', None, 0, 15e6, by='best')
    for how, words in (('events', 'aio'), ('requests', 'request'), ('batches', 'batch')):
        bench.compare(f'null, public interface from another thread, {how}, depth 128', lambda words=words:
                      bench.api('--pin', words), 'two bare rings', rings, 0, 10e6, by='best')
    bench.compare('malloc, public interface embedded, random 4 KiB read, depth 64',
                  lambda: bench.api('--embedded', '--depth', '64', '--fill', '--device', MEMORY, 'aio'), 'memcpy alone',
                  lambda: bench.device('--rw', 'read', '--memcpy', '512MiB'), 0.85)
    # The way there and back is what is compared, so the data lies in the caches.
    bench.compare('malloc, xbdev_read() of 512 B from another thread',
                  lambda: bench.api('--pin', '--bs', '512', '--fill', '--device', CACHED, 'sync'),
                  'a word passed between two cores', pingpong, 0.5, by='best')
    bench.compare('malloc, xbdev_read() of 512 B embedded',
                  lambda: bench.api('--embedded', '--bs', '512', '--fill', '--device', CACHED, 'sync'),
                  'a word passed between two cores', pingpong, 0, by='best')


def parity_rows(bench):
    """The limit of RAID's writes: parity alone, beside copies of the same data."""
    for what, words in (('XOR of 4 to 1', ('--data', '4', 'xor')), ('P and Q of 6', ('--data', '6', 'pq')),
                        ('2 of 6 recovered', ('--data', '6', 'recover'))):
        for where, region in (('cached', '512KiB'), ('from memory', '256MiB')):
            bench.compare(f'parity, {what}, 64 KiB, {where}', lambda: bench.parity('--region', region, *words),
                          'memcpy of the data', lambda: bench.parity('--region', region, *words[:2], 'memcpy'), 0,
                          by='gib_per_s')


def raid(level, members, missing=0, spares=0, size='128MiB', file=None, delay_us=0):
    member = {'driver': 'file', 'filename': file, 'size': size} if file else {'driver': 'malloc', 'size': size}
    return json.dumps({'raid': level, 'members': members, 'missing': missing, 'spares': spares,
                       'chunk': 0 if level == 1 else 65536, 'delay': delay_us, 'member': member})


def raid_rows(bench):
    """Whole stripes beside copies of the same data and the parity alone, small I/O beside one memory device."""
    for name, level, members, data, what, aim in (('raid5 4+1', 5, 5, 4, 'xor', 4.9), ('raid6 6+2', 6, 8, 6, 'pq', 0)):
        size = data * 64
        subject = ('--rw', 'write', '--fill', '--bs', f'{size}KiB', '--depth', '16', raid(level, members))
        for peer in ('memcpy', what):
            bench.compare(f'{name}, whole stripes of {size} KiB written, depth 16, {peer}',
                          lambda: bench.device(*subject), f'{peer} from memory',
                          lambda: bench.parity('--region', '256MiB', '--data', str(data), peer), 0,
                          aim, by='gib_per_s')
    bench.compare('raid5 4+1, random 4 KiB read, depth 64', lambda: bench.device('--fill', raid(5, 5)),
                  'malloc alone', lambda: bench.device('--fill', MEMORY), 0, 1.29e6)
    bench.compare('raid5 4+1 without a member, random 4 KiB read, depth 64',
                  lambda: bench.device('--fill', raid(5, 5, 1)), 'whole',
                  lambda: bench.device('--fill', raid(5, 5)), 0)
    bench.compare('raid5 4+1, random 4 KiB write, depth 64', lambda: bench.device('--rw', 'write', '--fill', raid(5, 5)),
                  'malloc alone', lambda: bench.device('--rw', 'write', '--fill', MEMORY), 0)


def rebuild_rows(bench):
    """What members do for a rebuild beside what one does by itself, and what others notice of a rebuild: their p99, which is
    to be no more than twice that of the same array while its rebuild stands still; and what they notice of that."""
    for name, level, members in (('raid5 4+1', 5, 5), ('raid1', 1, 2), ('raid6 6+2', 6, 8), ('raid10 of 4', 10, 4)):
        array = raid(level, members, spares=1, size='512MiB')
        bench.compare(f'{name} rebuild, all that its members read and write',
                      lambda array=array: bench.device('--fill', '--rebuild', array), 'malloc alone, 64 KiB, depth 16',
                      lambda: bench.device('--fill', '--bs', '64KiB', '--depth', '16', MEMORY), 0.8, by='gib_per_s')
    for name, level, members in (('raid5 4+1', 5, 5), ('raid1', 1, 2), ('raid6 6+2', 6, 8)):
        for depth, rw in (('1', 'read'), ('16', 'read'), ('1', 'write'), ('16', 'write')):
            array = raid(level, members, spares=1, size='1GiB')
            words = ('--fill', '--depth', depth, '--rw', rw)
            for by in ('p99_us', 'iops'):
                bench.compare(f'{name}, random 4 KiB {rw}, depth {depth}, beside a rebuild, {by}',
                              lambda words=words, array=array: bench.device(*words, '--rebuilding', array),
                              'while it stands still',
                              lambda words=words, array=array: bench.device(*words, '--frozen', array), 0, by=by)


def slow_rebuild_rows(bench):
    """The same with members that are as slow as disks, and with files that share one, where nothing else stays the same for
    long: both figures of a ratio are of one process that takes turns."""
    place = os.path.dirname(bench.args.file) or '.'
    os.makedirs(place, exist_ok=True)
    prefix = ('taskset', '-c', bench.args.cpu) if bench.args.cpu else ()
    with tempfile.TemporaryDirectory(prefix='rebuild-', dir=place) as directory:
        for where, how in (('members 200 us slower', {'delay_us': 200}),
                           ('files of one disk', {'file': os.path.join(directory, 'member')})):
            for name, level, members in (('raid5 4+1', 5, 5), ('raid1', 1, 2)):
                for rw, depth in itertools.product(('read', 'mixed'), ('1', '16')):
                    array, last = raid(level, members, spares=1, size='512MiB', **how), {}

                    def still(words=('--fill', '--depth', depth, '--rw', rw, '--beside', array), last=last):
                        last.update(bench.device(*words, prefix=prefix))
                        return last['frozen']
                    what = 'mixed 70/30' if rw == 'mixed' else rw
                    bench.compare(f'{name}, {where}, random 4 KiB {what}, depth {depth}, beside a rebuild, p99_us',
                                  lambda last=last: last['rebuilding'], 'while it stands still', still, 0, by='p99_us',
                                  times=2)


def volume(thin=True, filled=True, chain=0, cluster=1 << 20, below='512MiB'):
    return json.dumps({'lvol': {'driver': 'malloc', 'name': 'm', 'size': below}, 'thin': thin, 'filled': filled,
                       'size': 384 << 20, 'cluster': cluster, 'chain': chain})


def lvol_rows(bench):
    """Volumes beside the device that they are on; what must not depend on sizes beside the small case."""
    for kind, thin in (('thick', False), ('thin, allocated', True)):
        for rw in ('read', 'write'):
            bench.compare(f'volume, {kind}, random 4 KiB {rw}, depth 64',
                          lambda: bench.device('--rw', rw, '--fill', volume(thin)), 'malloc alone',
                          lambda: bench.device('--rw', rw, '--fill', MEMORY), 0.95)
    bench.compare('volume, thin, first write of 4 KiB to random clusters of 64 KiB, depth 64',
                  lambda: bench.run('bench-device', '--rw', 'write', '--seconds', '0.01',
                                    volume(filled=False, cluster=64 << 10)),
                  'malloc alone', lambda: bench.device('--rw', 'write', '--fill', MEMORY), 0)
    for chain in (10, 100):
        bench.compare(f'volume, random 4 KiB read through {chain} snapshots, depth 64',
                      lambda: bench.device(volume(chain=chain)), 'through one',
                      lambda: bench.device(volume(chain=1)), 0.9)
    for what, large in (('of 64 GiB', ('--size', '64GiB')), ('with a chain of 500', ('--count', '500'))):
        bench.compare(f'snapshot of a volume {what}', lambda: bench.run('bench-lvol', 'snapshots', *large),
                      'of 1 GiB, a chain of 20', lambda: bench.run('bench-lvol', 'snapshots'), 0.9)
    bench.compare('loading a store, volumes per second, 10 000 of them',
                  lambda: bench.run('bench-lvol', 'load', '--count', '10000'), '100 of them',
                  lambda: bench.run('bench-lvol', 'load', '--count', '100'), 0)


def first_write_rows(bench):
    """What a new cluster costs on the device below besides the data, whose block is a page."""
    for how, words in (('random over 64 GiB', ('--size', '64GiB')), ('sequential', ('--sequential',))):
        for depth in ('1', '16', '64'):
            load = ('--count', '4096', '--block', '4096', '--depth', depth)
            bench.compare(f'volume, thin, first 4 KiB to clusters of 64 KiB, {how}, depth {depth}',
                          lambda words=words, load=load: bench.run('bench-lvol', 'first-writes', *load, *words),
                          'malloc alone', lambda words=words, load=load: bench.run('bench-lvol', 'bare', *load, *words), 0)


def volume_memory_rows(bench):
    """What a loaded store takes for each TiB of volume, more than one without volumes."""
    def memory(size, cluster, *what):
        words = ('--size', f'{size}GiB', '--cluster', cluster)
        none, some = (bench.run('bench-lvol-memory', *kind, *words)['bytes'] for kind in (('none',), what))
        return {'bytes_per_tib': (some - none) * 1024 / size}

    for size, cluster, count in ((1024, '4MiB', 1 << 18), (128, '64KiB', 1 << 24)):
        where = (size, cluster)
        for how, what in (('empty', ('thin',)), ('fully mapped', ('thick',)),
                          ('fully mapped, with 10 snapshots', ('thick', '--snapshots', '10'))):
            bench.compare(f'memory of a volume of {size} GiB, clusters of {cluster}, {how}',
                          lambda where=where, what=what: memory(*where, *what), '4 bytes a cluster',
                          lambda count=count: {'bytes_per_tib': 4 * count}, 0, by='bytes_per_tib')


class Server:
    """A program that serves while it is wanted, in a directory of its own."""

    def __init__(self, *command, **kwargs):
        self.dir = tempfile.TemporaryDirectory(prefix='xsan-bench-')
        self.process = subprocess.Popen([word.replace('@', self.dir.name) for word in command], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, **kwargs)

    def wait_for(self, port):
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                return self
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()


def etcd_server(port, peer):
    client, other = f'http://127.0.0.1:{port}', f'http://127.0.0.1:{peer}'
    return Server('etcd', '--name', 'm', '--data-dir', '@', '--listen-client-urls', client, '--advertise-client-urls', client,
                  '--listen-peer-urls', other, '--initial-advertise-peer-urls', other, '--initial-cluster', f'm={other}',
                  '--log-level', 'error').wait_for(port)


def resident_bytes(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith('VmRSS:'))


def registry_http(bench, persistence, *words):
    """Registrations over HTTP with a new registry; `daemon` is what memory each of COUNT has cost that, all in all."""
    port = free_port()
    with tempfile.NamedTemporaryFile('w', suffix='.json') as config:
        json.dump({'service': {'listen_port': port, 'grpc_port': 0, 'max_targets': 1000000},
                   'discovery_controller': {'listen_port': 0}, 'health_monitoring': {'probe_level': 'none'},
                   **persistence}, config)
        config.flush()
        with Server(os.path.join(bench.args.build, 'daemon/xsan-registry/xsan-registry'), '--config', config.name,
                    '--data-dir', '@').wait_for(port) as server:
            before = resident_bytes(server.process.pid)
            done = bench.run('bench-registry', '--port', str(port), *words, 'http')
            return {**done, 'daemon': (resident_bytes(server.process.pid) - before) / COUNT}


def registry_rows(bench):
    """Durable registrations by many clients, and reads: the store alone, over HTTP, and on etcd beside etcd itself."""
    bench.compare('registry, targets registered by 64 clients', lambda: bench.run('bench-registry', 'register'),
                  'a fixed aim', None, 0, iops=5e3)
    bench.compare('registry, targets registered over HTTP by 64 clients', lambda: registry_http(bench, {}),
                  'a fixed aim', None, 0, iops=5e3)
    bench.compare('registry, targets read by 2 clients', lambda: bench.run('bench-registry', '--clients', '2', 'get'),
                  'nothing', None, 0)
    if shutil.which('etcd') is None:
        print('# no etcd here, its rows are left out', file=sys.stderr)
        return

    def etcd(*words):
        port, peer = free_port(), free_port()
        with etcd_server(port, peer):
            return bench.run('bench-registry', '--etcd', f'http://127.0.0.1:{port}', *words)

    def over_http():
        port, peer = free_port(), free_port()
        with etcd_server(port, peer):
            return registry_http(bench, {'persistence': {'persistence_backend': 'etcd',
                                                         'connection_string': f'http://127.0.0.1:{port}'}})
    bench.compare('registry on etcd, targets registered by 64 clients', lambda: etcd('register'),
                  'puts of etcd', lambda: etcd('put'), 0)
    bench.compare('registry on etcd, targets registered over HTTP by 64 clients', over_http,
                  'puts of etcd', lambda: etcd('put'), 0)


def registry_scale_rows(bench):
    """What must hold with 10,000 targets and 10,000 hosts."""
    discovery = functools.partial(bench.run, 'bench-discovery')
    bench.compare('registry, a log of 10,000 entries read in pieces of 4 KiB', lambda: discovery('read'),
                  'a fixed aim', None, 0, by='read_ms_p50', most=100)
    for hosts in ('1000', '10000'):
        bench.compare(f'registry, a change told to {hosts} connected hosts, p99',
                      lambda hosts=hosts: discovery('--hosts', hosts, '--rounds', '5', 'tell'),
                      'a fixed aim', None, 0, by='told_ms_p99', most=1000)
    for how, words in (('that see all of 10,000 targets', ()),
                       ('each with a zone, of 10,000 targets', ('--filter',))):
        for by, most in (('told_ms_p99', 1000), ('read_again_ms_p50', 0), ('first_ms', 0), ('filtered_ms', 0),
                         ('bytes_per_host', 0)):
            bench.compare(f'registry, views of 10,000 hosts {how}, {by}',
                          lambda words=words: discovery('--hosts', '10000', '--rounds', '5', *words, 'views'),
                          'nothing', None, 0, by=by, most=most)
    for by in ('loaded', 'with_events'):
        bench.compare(f'registry, memory of each of 10,000 targets, the store alone, {by}',
                      lambda: bench.run('bench-registry', 'memory'), 'nothing', None, 0, by=by)
    bench.compare('registry, memory of each of 10,000 targets, the daemon',
                  lambda: registry_http(bench, {}, '--count', str(COUNT)), 'nothing', None, 0, by='daemon')


def make_file(bench):
    os.makedirs(os.path.dirname(bench.args.file) or '.', exist_ok=True)
    if not os.path.exists(bench.args.file):
        with open('/dev/urandom', 'rb') as source, open(bench.args.file, 'wb') as sink:
            for _ in range(1024):
                sink.write(source.read(1 << 20))
            os.fsync(sink.fileno())


def file_rows(bench):
    make_file(bench)
    target = json.dumps({'driver': 'file', 'name': 'f', 'filename': bench.args.file, 'block_size': 512})
    for rw in ('read', 'write'):
        for depth in ('1', '16', '64'):
            load = ['--rw', f'rand{rw}', '--iodepth', depth]
            subjects = (
                ('device graph', lambda: bench.device('--rw', rw, '--depth', depth, target)),
                ('xbdev-perf embedded', lambda: bench.perf('--mode', 'embedded', *load)),
                ('xbdev-perf through rings', lambda: bench.perf(*load)),
            )
            for how, subject in subjects:
                bench.compare(f'file, {how}, random 4 KiB {rw}, depth {depth}', subject, 'fio io_uring',
                              lambda: bench.fio(f'rand{rw}', depth), 0.95)
    handover_rows(bench)


def handover_rows(bench):
    """I/O through the rings beside the least that two threads can do, and on one CPU, where neither wakes the other one's."""
    one = ('taskset', '-c', str(os.cpu_count() - 1))
    for rw in ('read', 'write'):
        for depth in ('1', '16'):
            load = ('--rw', f'rand{rw}', '--iodepth', depth)
            for where, prefix in (('', ()), (', on one CPU', one)):
                what = f'random 4 KiB {rw}, depth {depth}{where}'
                bench.compare(f'file, through rings, {what}', lambda: bench.perf(*load, prefix=prefix),
                              'two bare threads', lambda: bench.handover(rw, depth, prefix), 0.95)
                bench.compare(f'file, two bare threads, {what}', lambda: bench.handover(rw, depth, prefix),
                              'fio io_uring', lambda: bench.fio(f'rand{rw}', depth, prefix=prefix), 0)
            bench.compare(f'file, xbdev-perf through rings, random 4 KiB {rw}, depth {depth}, on one CPU',
                          lambda: bench.perf(*load, prefix=one), 'fio io_uring',
                          lambda: bench.fio(f'rand{rw}', depth, prefix=one), 0.95)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--file', default='./var/bench.img', help='a file of 1 GiB to use (made when missing)')
    parser.add_argument('--seconds', type=int, default=3)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--only', default='', help='only rows whose name contains this')
    parser.add_argument('--realtime', action='store_true', help='above all other work of the machine')
    parser.add_argument('--cpu', default='', help='the one for rows of files beside a rebuild')
    parser.add_argument('--json', action='store_true')
    args = parser.parse_args()
    if args.realtime:
        PREFIX.extend(['chrt', '-f', '1'])
    bench = Bench(args)
    device_rows(bench)
    api_rows(bench)
    parity_rows(bench)
    raid_rows(bench)
    rebuild_rows(bench)
    slow_rebuild_rows(bench)
    lvol_rows(bench)
    first_write_rows(bench)
    volume_memory_rows(bench)
    registry_rows(bench)
    registry_scale_rows(bench)
    node_rows(bench, PREFIX, lambda: make_file(bench))
    if shutil.which('fio') is None:
        print('# fio is not installed: no file figures', file=sys.stderr)
    else:
        file_rows(bench)
    if bench.args.json:
        json.dump(bench.rows, sys.stdout, indent=2)
    else:
        bench.table()


if __name__ == '__main__':
    main()

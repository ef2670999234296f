#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the benchmarks: each figure beside a peer or a limit that was measured in the same run.

  run.py BUILD-DIR [--file PATH] [--seconds S] [--rounds N] [--json]

Peer and subject take turns N times and the medians are compared, so that a noisy machine disturbs
both alike. CPU per I/O is user and system time of the process. The last column says whether the aim
is met; nothing fails here, because a figure of another machine is no reason to refuse a change.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

ROWS = []


def device(build, *words):
    """One run of bench-device; its JSON."""
    program = os.path.join(build, 'bench', 'bench-device')
    done = subprocess.run([program, *words], check=True, capture_output=True, text=True, timeout=600)
    return json.loads(done.stdout)


def fio(path, rw, depth, seconds):
    """fio's io_uring engine with the same load; IOPS and CPU nanoseconds per I/O."""
    done = subprocess.run(
        ['fio', '--name=peer', f'--filename={path}', '--ioengine=io_uring', '--direct=1', f'--rw=rand{rw}',
         '--bs=4k', f'--iodepth={depth}', f'--runtime={seconds}', '--time_based', '--randrepeat=0',
         '--output-format=json'], check=True, capture_output=True, text=True, timeout=600)
    job = json.loads(done.stdout)['jobs'][0]
    iops = job[rw]['iops']
    return {'iops': iops, 'cpu_ns_per_io': (job['usr_cpu'] + job['sys_cpu']) / 100 * 1e9 / iops}


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key in ('iops', 'cpu_ns_per_io')}


def compare(name, subject, peer, peer_name, aim, rounds):
    """Takes turns and adds a row; `aim` is the share of the peer's IOPS that is wanted."""
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(peer())
        ours.append(subject())
    ours, theirs = medians(ours), medians(theirs)
    ratio = ours['iops'] / theirs['iops']
    row(name, ours, peer_name, theirs, f'{ratio:.2f}', f'>= {aim:.2f}', ratio >= aim)


def row(name, ours, peer_name, theirs, ratio, aim, is_met):
    ROWS.append({'name': name, 'iops': ours['iops'], 'cpu_ns_per_io': ours['cpu_ns_per_io'], 'peer': peer_name,
                 'peer_iops': theirs.get('iops'), 'peer_cpu_ns_per_io': theirs.get('cpu_ns_per_io'),
                 'ratio': ratio, 'aim': aim, 'met': bool(is_met)})
    print(f'# {name}: {ours["iops"]:,.0f} IOPS', file=sys.stderr, flush=True)


def table():
    print('| what | IOPS | CPU ns/I/O | beside | IOPS | CPU ns/I/O | ratio | aim | met |')
    print('|---|---:|---:|---|---:|---:|---:|---:|---|')
    for r in ROWS:
        peer = f'{r["peer_iops"]:,.0f} | {r["peer_cpu_ns_per_io"]:,.0f}' if r['peer_iops'] else '– | –'
        print(f'| {r["name"]} | {r["iops"]:,.0f} | {r["cpu_ns_per_io"]:,.0f} | {r["peer"]} | {peer} | {r["ratio"]} | '
              f'{r["aim"]} | {"yes" if r["met"] else "no"} |')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--file', default='./var/bench.img', help='a file of 1 GiB to use (made when missing)')
    parser.add_argument('--seconds', type=int, default=3)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--json', action='store_true')
    args = parser.parse_args()
    seconds = str(args.seconds)

    null = '{"driver":"null","name":"n","size":"1TiB","zero_reads":false}'
    runs = [device(args.build, '--seconds', seconds, null) for _ in range(args.rounds)]
    ours = medians(runs)
    row('null, embedded, 4 KiB, depth 64', ours, 'a fixed aim', {}, '–', '15,000,000', ours['iops'] >= 15e6)

    memory = '{"driver":"malloc","name":"m","size":"512MiB"}'
    for rw in ('read', 'write'):
        compare(f'malloc, embedded, random 4 KiB {rw}, depth 64',
                lambda rw=rw: device(args.build, '--rw', rw, '--fill', '--seconds', seconds, memory),
                lambda rw=rw: device(args.build, '--rw', rw, '--memcpy', '512MiB', '--seconds', seconds),
                'memcpy alone', 0.85, args.rounds)

    if shutil.which('fio') is None:
        print('# fio is not installed: no file figures', file=sys.stderr)
    else:
        os.makedirs(os.path.dirname(args.file) or '.', exist_ok=True)
        if not os.path.exists(args.file):
            with open('/dev/urandom', 'rb') as source, open(args.file, 'wb') as sink:
                for _ in range(1024):
                    sink.write(source.read(1 << 20))
                os.fsync(sink.fileno())
        target = json.dumps({'driver': 'file', 'name': 'f', 'filename': args.file, 'block_size': 512})
        for rw in ('read', 'write'):
            for depth in (1, 16, 64):
                compare(f'file, random 4 KiB {rw}, depth {depth}',
                        lambda rw=rw, depth=depth: device(args.build, '--rw', rw, '--depth', str(depth), '--seconds',
                                                          seconds, target),
                        lambda rw=rw, depth=depth: fio(args.file, rw, depth, args.seconds),
                        'fio io_uring', 0.95, args.rounds)
    if args.json:
        json.dump(ROWS, sys.stdout, indent=2)
    else:
        table()


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""xsan md: every command against a real node, what it prints, what it refuses, and mdadm's word for
word where mdadm can look at the same members."""

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import time

import cli_harness as h
from cli_harness import check, check_equal

MIB = 1 << 20


@contextlib.contextmanager
def node(count=6, size='16MiB'):
    """A node with files 'a', 'b' … as devices."""
    with h.node() as n:
        for name in 'abcdefgh'[:count]:
            n.ok('device', 'create', 'file', f'name={name}', f'filename={n.directory}/{name}',
                 f'size={size}')
        yield n


def refused(n, *words, code=h.REFUSED, err=None):
    return h.expect(n.xsan(*words), code, err)


def detail(n, name='md0'):
    return json.loads(n.ok('md', 'detail', name, '--json'))[0]


def wait_idle(n, name='md0'):
    end = time.monotonic() + h.PATIENCE_S
    while detail(n, name)['sync']['action'] != 'idle':
        check(time.monotonic() < end, f'{name} does not come to rest')
        time.sleep(0.02)


def fields(text):
    """The lines 'name : value' in their order."""
    return [tuple(part.strip() for part in line.split(' : ', 1))
            for line in text.splitlines() if ' : ' in line]


def test_create_stat_detail_stop():
    with node() as n:
        check_equal(n.ok('md', 'stat').splitlines()[1],
                    "there are no arrays; 'xsan md create' makes one", 'stat without arrays')
        check_equal(n.ok('md', 'create', 'md0', '-l', 'raid5', '-c', '64', '-x', '1', '-b', '1024',
                         'a', 'b', 'c', 'd').strip(), 'array md0 runs', 'create')
        wait_idle(n)
        check_equal(n.ok('md', 'stat').splitlines()[1:4], [
            'md0 : active raid5 d[3](S) c[2] b[1] a[0]',
            '      30720 blocks super 1.2 level 5, 64k chunk, algorithm 2 [3/3] [UUU]',
            '      bitmap: internal'], 'stat')
        shown = dict(fields(n.ok('md', 'detail', 'md0')))
        for name, value in (('Version', '1.2'), ('Raid Level', 'raid5'),
                            ('Array Size', '30720 (30.00 MiB 31.46 MB)'),
                            ('Used Dev Size', '15360 (15.00 MiB 15.73 MB)'),
                            ('Raid Devices', '3'), ('Total Devices', '4'),
                            ('Intent Bitmap', 'Internal'), ('State', 'clean'),
                            ('Active Devices', '3'), ('Working Devices', '4'),
                            ('Failed Devices', '0'), ('Spare Devices', '1'),
                            ('Layout', 'left-symmetric'), ('Chunk Size', '64K'),
                            ('Consistency Policy', 'bitmap'), ('Name', 'md0')):
            check_equal(shown.get(name), value, name)
        check(re.fullmatch('([0-9a-f]{8}:){3}[0-9a-f]{8}', shown['UUID']), shown['UUID'])
        check_equal(n.ok('md', 'detail', 'md0').splitlines()[-5:], [
            '    Number   RaidDevice State',
            '       0          0      active sync   a',
            '       1          1      active sync   b',
            '       2          2      active sync   c',
            '       3          -      spare   d'], 'devices')
        check_equal(n.ok('md', 'stop', 'md0').strip(),
                    'array md0 is stopped; its members keep it', 'stop')
        refused(n, 'md', 'detail', 'md0', err="there is no array 'md0'")
        # By its name on the members, by UUID, by devices.
        check_equal(n.ok('md', 'assemble', 'md0').strip(), 'array md0 runs, of 4 devices', 'scan')
        n.ok('md', 'stop', 'md0')
        n.ok('md', 'assemble', 'other', '--uuid', shown['UUID'])
        n.ok('md', 'stop', 'other')
        refused(n, 'md', 'assemble', 'md0', 'a', 'b', 'c', '-l', 'raid6', err='raid6')
        refused(n, 'md', 'assemble', 'md0', 'a', 'b')
        n.ok('md', 'assemble', 'md0', 'a', 'b', '--run')
        check_equal(detail(n)['degraded'], True, 'degraded')
        n.ok('md', 'stop', 'md0')
        n.ok('md', 'run', 'md0')
        refused(n, 'md', 'run', 'nothing', err="carries the array 'nothing'")
        refused(n, 'md', 'zero', 'a', err='a RAID array')
        n.ok('md', 'stop', 'md0')
        check_equal(n.ok('md', 'zero', 'a').strip(), 'a carries no array any more', 'zero')
        refused(n, 'md', 'examine', 'a', err='no RAID superblock')


def test_levels_in_stat():
    with node(count=8) as n:
        n.ok('md', 'create', 'lin', '-l', 'linear', 'a', 'b')
        n.ok('md', 'create', 'ten', '-l', 'raid10', '-p', 'far=2', '-c', '16', 'c', 'd', 'e')
        n.ok('md', 'create', 'one', '-l', 'raid1', 'f', 'missing')
        n.ok('md', 'create', 'zero', '-l', 'raid0', '-c', '16', 'g', 'h')
        for name in ('ten', 'one'):
            wait_idle(n, name)
        text = n.ok('md', 'stat')
        for line in ('lin : active linear b[1] a[0]', 'super 1.2 16K chunks 2 far-copies [3/3] [UUU]',
                     'one : active raid1 f[0]', 'blocks super 1.2 [2/1] [U_]',
                     'zero : active raid0 h[1] g[0]'):
            check(line in text, f'{line!r} is not in\n{text}')


def test_policies():
    with node() as n:
        for level, policy, members in (('raid5', 'ppl', 'abc'), ('raid6', 'journal', 'abcd'),
                                       ('raid1', 'resync', 'ab')):
            n.ok('md', 'create', 'md0', '-l', level, '-k', policy, *members)
            check_equal(dict(fields(n.ok('md', 'detail', 'md0')))['Consistency Policy'], policy,
                        level)
            n.ok('md', 'stop', 'md0')
            for member in members:
                n.ok('md', 'zero', member)
        refused(n, 'md', 'create', 'md0', '-l', 'raid1', '-k', 'ppl', 'a', 'b')


def test_members():
    with node() as n:
        n.ok('md', 'create', 'md0', '-l', 'raid1', 'a', 'b')
        wait_idle(n)
        check_equal(n.ok('md', 'spare', 'md0', 'c').strip(), 'c is a spare of array md0', 'spare')
        refused(n, 'md', 'remove', 'md0', 'a', err='fail it first')
        refused(n, 'md', 'remove', 'md0', 'd', err='d is no member of array md0')
        n.ok('md', 'remove', 'md0', 'c')
        check('redundancy' not in n.ok('status'), n.ok('status'))
        n.ok('md', 'fail', 'md0', 'b')
        check_equal(detail(n)['degraded'], True, 'after fail')
        check_equal(n.ok('status').splitlines()[-2:],
                    ['Without redundancy, or with less of it:',
                     '  array md0: 1 of its 2 members serve'], 'status')
        check('b[1](F)' in n.ok('md', 'stat'), n.ok('md', 'stat'))
        n.ok('md', 'remove', 'md0', 'b')
        refused(n, 'md', 're-add', 'md0', 'd', err='no RAID superblock')
        n.ok('md', 're-add', 'md0', 'b')
        wait_idle(n)
        check_equal(detail(n)['degraded'], False, 'after re-add')
        n.ok('md', 'add', 'md0', 'c')
        n.ok('md', 'replace', 'md0', 'a', 'c')
        wait_idle(n)
        names = {d['name']: d['state'] for d in detail(n)['disks']}
        check_equal(names, {'b': 'active', 'c': 'active', 'a': 'faulty'}, 'after replace')
        n.ok('md', 'remove', 'md0', 'a')
        n.ok('md', 'remove', 'md0', 'b', '--fail')
        check_equal(n.ok('md', 'spare', 'md0', 'd').strip(),
                    'd takes the place of a member of array md0 that is missing', 'spare')
        wait_idle(n)


def test_the_array():
    with node() as n:
        n.ok('md', 'create', 'md0', '-l', 'raid1', '--assume-clean', 'a', 'b')
        n.ok('md', 'readonly', 'md0')
        check_equal(dict(fields(n.ok('md', 'detail', 'md0')))['State'], 'clean, readonly', 'state')
        check('md0 : active (read-only) raid1' in n.ok('md', 'stat'), n.ok('md', 'stat'))
        n.ok('md', 'readwrite', 'md0')
        n.ok('md', 'scrub', 'md0', '--repair')
        wait_idle(n)
        n.ok('md', 'speed', 'md0', '1000', '0')
        check_equal(n.ok('md', 'speed', 'md0').strip(),
                    '1000 KiB/s at least, also where users of the array notice it (0: 1024), '
                    '0 KiB/s at most (0: no limit)',
                    'speed')
        check_equal(json.loads(n.ok('md', 'speed', 'md0', '--json'))['speed_min'], 1000, 'speed')
        refused(n, 'md', 'speed', 'md0', '1', code=h.USAGE, err='MIN and MAX go together')
        refused(n, 'md', 'speed', 'md0', 'x', '1', code=h.USAGE)
        refused(n, 'md', 'create', 'md1', 'c', 'd', code=h.USAGE, err='--level is needed')
        refused(n, 'md', 'create', 'md1', '-l', 'raid1', '-x', '2', 'c', 'd', code=h.USAGE)
        refused(n, 'md', 'create', 'md1', '-l', 'raid1', 'c', 'a')
        refused(n, 'md', 'create', 'md0', '-l', 'raid1', 'c', 'd',
                err="there is a device named 'md0' already")


def test_progress():
    with node(count=3, size='64MiB') as n:
        n.ok('md', 'create', 'md0', '-l', 'raid1', '--assume-clean', 'a', 'b')
        n.ok('md', 'fail', 'md0', 'b')
        n.ok('md', 'speed', 'md0', '2000', '2000')
        n.ok('md', 'add', 'md0', 'c')
        end = time.monotonic() + h.PATIENCE_S
        while not detail(n)['sync'].get('speed'):
            check(time.monotonic() < end, 'no speed is shown')
            time.sleep(0.1)
        line = n.ok('md', 'stat').splitlines()[3]
        check(re.fullmatch(r' {6}\[=*>\.*\]  recovery = \d+\.\d% \(\d+/64512\) finish=\d+\.\dmin '
                           r'speed=\d+K/sec', line), line)
        shown = n.ok('md', 'detail', 'md0')
        check(re.search(r'Rebuild Status : \d+% complete', shown), shown)
        check(re.search(r'Progress : \[=*>\.*\] \d+K/sec, \d+\.\d min left', shown), shown)
        check_equal(dict(fields(shown))['State'], 'clean, degraded, recovering', 'state')
        check(len(json.loads(n.ok('md', 'stat', '--json'))) == 1, 'stat --json')
        check_equal(n.ok('md', 'stat', '-i', '0.1', '-n', '3').count('md0 : '), 3, 'repeated')


def test_monitor():
    with node() as n:
        n.ok('md', 'create', 'md0', '-l', 'raid1', '--assume-clean', 'a', 'b')
        path = n.directory / 'events'
        with open(path, 'wb') as out:
            process = subprocess.Popen(
                [h.XSAN, '-s', n.directory / 'xsand.sock', 'md', 'monitor', '-i', '1', '--json'],
                stdout=out, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 2 * h.PATIENCE_S
        try:
            # It passes over what was before: things happen until it has seen one of them.
            while path.stat().st_size == 0:
                check(time.monotonic() < end, 'the monitor shows nothing')
                n.ok('md', 'create', 'early', '-l', 'raid0', '--force', 'c', 'd')
                seen_by = time.monotonic() + 3
                while path.stat().st_size == 0 and time.monotonic() < seen_by:
                    time.sleep(0.05)
                n.ok('md', 'stop', 'early')
            n.ok('md', 'fail', 'md0', 'b')
            n.ok('md', 'remove', 'md0', 'b')
            n.ok('md', 'stop', 'md0')
            # One that has gone when the monitor looks does not hide the next.
            n.ok('md', 'create', 'early', '-l', 'raid0', '--force', 'c', 'd')
            n.ok('md', 'stop', 'early')
            n.ok('md', 'create', 'md1', '-l', 'raid0', '--force', 'c', 'd')
            while '"md1"' not in path.read_text():
                check(time.monotonic() < end, 'the monitor does not show the last event')
                time.sleep(0.05)
        finally:
            process.terminate()
            _, err = process.communicate(timeout=h.PATIENCE_S)
        check_equal(err, '', 'what the monitor says')
        events = [json.loads(line) for line in path.read_text().splitlines()]
        check_equal([(e['array'], e['event'], e['device']) for e in events if e['array'] != 'early'],
                    [('md0', 'failed', 'b'), ('md0', 'removed', 'b'), ('md0', 'array-removed', ''),
                     ('md1', 'array-added', '')], 'events')
        past = n.ok('md', 'monitor', 'md0', '--past', '-n', '2')
        check(re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  md0 +failed +member b ', past), past)


def test_examine_is_mdadms():
    if shutil.which('mdadm') is None:
        print('SKIPPED: mdadm is not installed')
        return
    arrays = ((['-l', 'raid5', '-c', '64', '-b', '512', 'a', 'b', 'c'], 'abc'),
              (['-l', 'raid1', 'a', 'missing'], 'a'),
              (['-l', 'raid1', '-b', '64', '--write-behind', '32', '-W', 'b', 'a', 'b'], 'ab'),
              (['-l', 'raid10', '-p', 'far=2', '-c', '16', '-x', '1', 'a', 'b', 'c', 'd'], 'abcd'),
              (['-l', 'raid6', '-c', '128', 'a', 'b', 'c', 'd'], 'ad'),
              (['-l', 'raid0', '-c', '16', 'a', 'b'], 'ab'),
              (['-l', 'linear', 'a', 'b'], 'ab'))
    for words, members in arrays:
        with node(count=4) as n:
            n.ok('md', 'create', 'md0', *words)
            wait_idle(n)
            n.ok('md', 'stop', 'md0')
            ways = ['--examine', '--examine-bitmap'] if '-b' in words else ['--examine']
            for member, way in itertools.product(members, ways):
                ours = n.ok('md', 'examine', *(['-X'] if 'bitmap' in way else []), member)
                path = n.directory / member
                if 'bitmap' in way:
                    # It takes a file for a bitmap's file, and so gets one.
                    path = n.directory / 'bitmap'
                    path.write_bytes((n.directory / member).read_bytes()[8192:1 << 20])
                theirs = subprocess.run(['mdadm', way, path], check=True,
                                        capture_output=True, text=True).stdout
                ours_lines = [line.rstrip() for line in ours.splitlines()[1:]]
                theirs_lines = [line.rstrip() for line in theirs.rstrip().splitlines()[1:]]
                check_equal('\n'.join(ours_lines), '\n'.join(theirs_lines), f'{words} {member}')


def test_write_mostly():
    with node() as n:
        n.ok('md', 'create', 'md0', '-l', 'raid1', '-b', '64', '--write-behind', '32', 'a', 'b')
        check_equal(n.ok('md', 'write-mostly', 'md0', 'b').strip(),
                    'b of array md0 is read only if no other can be', 'write-mostly')
        check('active sync writemostly   b' in n.ok('md', 'detail', 'md0'), 'detail')
        check('write-mostly' in n.ok('md', 'examine', 'b'), 'examine')
        check('Allow write behind, max 32' in n.ok('md', 'examine', '-X', 'b'), 'examine -X')
        check_equal(n.ok('md', 'write-mostly', '--clear', 'md0', 'b').strip(),
                    'b of array md0 is read as any other', 'write-mostly --clear')
        check('writemostly' not in n.ok('md', 'detail', 'md0'), 'detail after --clear')
        refused(n, 'md', 'write-mostly', 'md0', 'c', err="has no member 'c'")
        n.ok('md', 'add', '--write-mostly', 'md0', 'c')
        check('write-mostly' in n.ok('md', 'examine', 'c'), 'add --write-mostly')


if __name__ == '__main__':
    h.main(__name__)

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""xsan lvs, volume, snapshot: every command against a real node, what it prints and what it refuses;
lvs check on files, good, damaged and in use, which it leaves as they are without --repair."""

import contextlib
import hashlib
import json
import os
import pty
import re
import select
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cli_harness as h
from cli_harness import NQN, check, check_equal

IMAGES = h.TOP / 'test/data/lvol'


@contextlib.contextmanager
def node():
    """A node with the device a, a file of 64 MiB."""
    with h.node() as n:
        n.ok('device', 'create', 'file', 'name=a', f'filename={n.directory}/a', 'size=64MiB')
        yield n


def refused(n, *words, code=h.REFUSED, err=None):
    return h.expect(n.xsan(*words), code, err)


def rows(text):
    """The cells of a table, by their first."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:]}


def test_stores():
    with node() as n:
        check_equal(n.ok('lvs', 'list').strip(),
                    "there are no stores; 'xsan lvs create' makes one", 'list without stores')
        check_equal(n.ok('lvs', 'create', 's', 'a', '-c', '1MiB').strip(), 'store s is on a',
                    'create')
        refused(n, 'lvs', 'create', 't', 'a')
        refused(n, 'lvs', 'create', 't', 'nix', err="there is no device 'nix'; 'xsan device list'")
        refused(n, 'lvs', 'create', 't', 'a', '-c', 'big', code=h.USAGE, err='--cluster-size')
        refused(n, 'lvs', 'create', 't', 'a', '-m', '0', code=h.USAGE, err='--metadata-ratio')
        row = rows(n.ok('lvs', 'list'))['s']
        check_equal((row[0], row[5:9], row[-1]),
                    ('a', ['0', '%', '0', '%'], 'read-write'), 'the store')
        store = n.json('lvs', 'list')[0]
        check_equal((store['name'], store['cluster_size']), ('s', 1 << 20), 'JSON')
        refused(n, 'lvs', 'grow', 's')
        n.ok('device', 'resize', 'a', '96MiB')
        check_equal(n.ok('lvs', 'grow', 's').strip(), 'store s has the space that its device has',
                    'grow')
        check_equal(n.json('lvs', 'list')[0]['total_data_clusters'],
                    store['total_data_clusters'] + 32, 'clusters')
        n.ok('lvs', 'set', 's', '--space-wait', '1.5', '--low', '60', '--high', '90')
        check_equal(n.json('lvs', 'list')[0]['space_wait_ms'], 1500, 'space wait')
        refused(n, 'lvs', 'set', 's', err='what is to be set?')
        refused(n, 'lvs', 'set', 's', '--low', '101', code=h.USAGE, err='--low')
        n.ok('volume', 'create', 's/v', '4MiB')
        refused(n, 'lvs', 'destroy', 's', err='store s has 1 volume; --force destroys it too')
        check_equal(n.ok('lvs', 'rename', 's', 't').strip(), 'store s is called t', 'rename')
        check_equal(n.ok('lvs', 'detach', 't').strip(), 'store t is detached; its device keeps it',
                    'detach')
        refused(n, 'lvs', 'detach', 't', err="there is no store 't'; 'xsan lvs list' lists them")
        check_equal(n.ok('lvs', 'attach', 'a').strip(), 'the store on a is attached', 'attach')
        check_equal(n.ok('lvs', 'destroy', 't', '--force').strip(), 'store t is destroyed',
                    'destroy')
        refused(n, 'lvs', 'attach', 'a')


def test_volumes():
    with node() as n:
        n.ok('lvs', 'create', 's', 'a', '-c', '64KiB')
        check_equal(n.ok('volume', 'list').strip(),
                    "there are no volumes; 'xsan volume create' makes one", 'list')
        check_equal(n.ok('volume', 'create', 's/v', '10M', '--thin').strip(),
                    'volume s/v is there', 'create')
        n.ok('volume', 'create', 's/thick', '128KiB')
        for words, err in ((('v', '10M'), 'STORE/NAME'), (('s/w', 'much'), 'SIZE'),
                           (('s/w', '0'), 'SIZE')):
            refused(n, 'volume', 'create', *words, code=h.USAGE, err=err)
        refused(n, 'volume', 'create', 'x/v', '1M', err="no store 'x'; 'xsan lvs list'")
        refused(n, 'volume', 'create', 's/v', '1M', err="'s/v'")
        table = rows(n.ok('volume', 'list', 's'))
        check_equal(table['s/v'], ['10', 'MiB', '0', 'B', 'thin', '-', '0', '-'], 'the thin one')
        check_equal(table['s/thick'], ['128', 'KiB', '128', 'KiB', 'thick', '-', '0', '-'],
                    'the thick one')
        shown = n.ok('volume', 'show', 's/thick')
        for line in ('own space +128 KiB \\(2 of 2 clusters\\)', 'kind +thick', 'state +in order'):
            check(re.search(line, shown), f'{line} is not in\n{shown}')
        n.ok('volume', 'resize', 's/thick', '1MiB')
        refused(n, 'volume', 'resize', 's/thick', '64KiB', err='--shrink makes it smaller')
        check_equal(n.ok('volume', 'resize', 's/thick', '64KiB', '--shrink').strip(),
                    's/thick has its new size', 'resize')
        check_equal(n.json('volume', 'show', 's/thick')['size'], 64 << 10, 'size')
        refused(n, 'volume', 'show', 's/x', err="there is no volume 's/x'; 'xsan volume list'")
        refused(n, 'volume', 'delete', 's/x', err="there is no volume 's/x'; 'xsan volume list'")
        check_equal(n.ok('volume', 'rename', 's/thick', 's/fat').strip(),
                    's/thick is called fat', 'rename')
        refused(n, 'volume', 'rename', 's/fat', 't/x', code=h.USAGE, err='in the same store')
        n.ok('volume', 'read-only', 's/fat')
        check('thick, read-only' in n.ok('volume', 'list'), 'it can be written')
        check_equal(n.ok('volume', 'cancel', 's/v').strip(),
                    'nothing is being done with s/v that could be stopped', 'cancel')
        n.ok('namespace', 'add', NQN, 's/v')
        refused(n, 'volume', 'delete', 's/v', err='in use')
        n.ok('namespace', 'remove', NQN, '2')
        check_equal(n.ok('volume', 'delete', 's/v').strip(), 's/v is deleted', 'delete')
        check_equal([v['alias'] for v in n.json('volume', 'list')], ['s/fat'], 'what is left')


def test_snapshots():
    with node() as n:
        n.ok('lvs', 'create', 's', 'a', '-c', '64KiB')
        n.ok('volume', 'create', 's/v', '128KiB')
        check_equal(n.ok('snapshot', 'create', 's/v', 'one').strip(),
                    'snapshot one of s/v is taken', 'create')
        n.ok('snapshot', 'create', 's/v', 's/two')
        refused(n, 'snapshot', 'create', 's/v', 't/x', code=h.USAGE, err='in the same store as s/v')
        check_equal(n.ok('snapshot', 'clone', 's/one', 'c').strip(), 'clone c of s/one is there',
                    'clone')
        refused(n, 'snapshot', 'clone', 's/v', 'd', err='can be written')
        check_equal(sorted(rows(n.ok('snapshot', 'list'))), ['s/one', 's/two'], 'list')
        tree = n.ok('snapshot', 'tree')
        names = [re.split(r'  +\d', line)[0] for line in tree.splitlines()[2:]]
        check(names in (['one', '|- two', '|  `- v', '`- c'], ['one', '|- c', '`- two', '   `- v']),
              f'not the tree:\n{tree}')
        line = next(line for line in tree.splitlines() if ' v ' in line)
        check_equal(line.split()[-8:-2], ['128', 'KiB', '0', 'B', '128', 'KiB'],
                    'size, own and shared of v')
        check_equal(tree, n.ok('snapshot', 'tree', 's'), 'the tree of the store')
        refused(n, 'snapshot', 'tree', 't', err="no store 't'")
        n.ok('snapshot', 'clone', 's/two', 'd')
        n.ok('volume', 'decouple', 's/d')
        check_equal(n.json('volume', 'show', 's/d')['base_snapshot'], 'one', 'parent')
        check_equal(n.ok('volume', 'inflate', 's/d').strip(),
                    's/d has all of its space itself and stands on nothing', 'inflate')
        check_equal(n.json('volume', 'show', 's/d')['num_allocated_clusters'], 2, 'clusters')
        n.ok('volume', 'delete', 's/d')
        n.ok('volume', 'set-parent', 's/c', 's/two')
        check_equal(n.json('volume', 'show', 's/c')['base_snapshot'], 'two', 'parent')
        check_equal(n.ok('snapshot', 'restore', 's/one').strip(),
                    'the volume has the content of s/one again', 'restore')
        check_equal(n.json('volume', 'show', 's/v')['base_snapshot'], 'one', 'parent')
        refused(n, 'snapshot', 'delete', 's/v', err="'xsan volume delete' deletes it")
        check_equal(n.ok('snapshot', 'delete', 's/two').strip(), 'snapshot s/two is deleted',
                    'delete')
        check_equal(n.json('volume', 'show', 's/c')['base_snapshot'], 'one', 'parent')


IMAGE_UUID = '00000000-0000-4000-8000-0000000000e1'


def test_devices_below():
    with node() as n:
        n.ok('lvs', 'create', 's', 'a', '-c', '64KiB')
        create = ('device', 'create', 'file', 'name=image', f'filename={n.directory}/image',
                  'size=1MiB', f'uuid={IMAGE_UUID}')
        n.ok(*create)
        check_equal(n.ok('volume', 'create', 's/v', '--from-device', 'image').strip(),
                    'volume s/v is there, on image', 'create')
        row = rows(n.ok('volume', 'list'))['s/v']
        check_equal(row, ['1', 'MiB', '0', 'B', 'thin', 'image', '0', '-'], 'the list')
        n.ok('device', 'delete', 'image')
        check('cannot be used: the device' in n.ok('volume', 'show', 's/v'), 'it can be used')
        n.ok(*create)
        check('in order' in n.ok('volume', 'show', 's/v'), 'it cannot be used')
        refused(n, 'volume', 'create', 's/w', '1MiB', '--from-device', 'image', code=h.USAGE,
                err="'xsan volume resize'")
        refused(n, 'volume', 'create', 's/w', code=h.USAGE, err='SIZE is missing')
        refused(n, 'volume', 'create', 's/w', '--from-device', 's/v', err="volume of store 's'")
        n.ok('volume', 'create', 's/w', '1MiB', '--thin')
        check_equal(n.ok('volume', 'set-parent', 's/w', '--device', 'image').strip(),
                    's/w stands on image', 'set-parent')
        refused(n, 'volume', 'set-parent', 's/w', code=h.USAGE, err='on what?')
        check_equal(n.json('volume', 'show', 's/w')['external_snapshot_id'], IMAGE_UUID, 'its UUID')
        for name in 's/v', 's/w':
            n.ok('volume', 'inflate', name)
        n.ok('device', 'delete', 'image')
        n.ok('volume', 'create', 's/t', '1MiB', '--thin')
        n.ok(*create)
        n.ok('volume', 'set-parent', 's/t', '--device', IMAGE_UUID)
        check('image' in n.ok('volume', 'show', 's/t'), 'it does not stand on the device')


def test_long_ones_show_how_far_they_are_and_can_be_stopped():
    with node() as n:
        n.ok('device', 'create', 'delay', 'name=slow', 'base=a', 'avg_write_latency_us=1',
             'p99_write_latency_us=1')
        n.ok('lvs', 'create', 's', 'slow', '-c', '64KiB')
        n.ok('volume', 'create', 's/v', '32MiB', '--thin')
        n.ok('rpc', 'bdev_delay_update_latency', '{"delay_bdev_name": "slow", '
             '"latency_type": "avg_write", "latency_us": 200000}')
        bar = r'\r\[=*>\.*\] +[0-9.]+ %'
        is_shown = threading.Event()
        with ThreadPoolExecutor() as pool:
            inflate = pool.submit(h.xsan_on_terminal, 'volume', 'inflate', 's/v',
                                  socket_path='xsand.sock', cwd=n.directory,
                                  seen=lambda text: re.search(bar, text) and is_shown.set())
            check(is_shown.wait(h.PATIENCE_S) and not inflate.done(), 'no bar is shown')
            end = time.monotonic() + h.PATIENCE_S
            while n.json('volume', 'show', 's/v').get('process', {}).get('percent', 0) < 1:
                check(time.monotonic() < end and not inflate.done(), 'it is not being inflated')
                time.sleep(0.05)
            check(re.search(r'being inflated, [0-9.]+ %', n.ok('volume', 'list')), 'the list')
            refused(n, 'volume', 'delete', 's/v', err='inflated')
            check_equal(n.ok('volume', 'cancel', 's/v').strip(),
                        'what is being done with s/v is to stop', 'cancel')
            code, text = inflate.result(h.PATIENCE_S)
        check(code == h.REFUSED and 'xsan: ' in text, f'{code} {text!r}')
        check(re.search(bar, text), f'no bar in {text!r}')
        check_equal(n.json('volume', 'show', 's/v').get('process'), None, 'what is being done')


def test_used_space_and_differences():
    with node() as n:
        n.ok('lvs', 'create', 's', 'a', '-c', '64KiB')
        check_equal(n.ok('volume', 'usage').strip(),
                    "there are no volumes; 'xsan volume create' makes one", 'usage')
        n.ok('volume', 'create', 's/v', '256KiB')
        n.ok('snapshot', 'create', 's/v', 'one')
        n.ok('volume', 'create', 's/w', '128KiB')
        for words in ((), ('s',)):
            table = rows(n.ok('volume', 'usage', *words))
            check_equal(sorted(table), ['s/one', 's/v', 's/w'], 'volumes')
            check_equal(table['s/v'], '256 KiB 0 B 256 KiB -'.split(), 'v shares all')
            check_equal(table['s/one'], '256 KiB 0 B 256 KiB -'.split(), 'and so does its snapshot')
            check_equal(table['s/w'], '128 KiB 128 KiB 0 B -'.split(), 'w shares nothing')
        check_equal(sorted(rows(n.ok('volume', 'usage', 's/w'))), ['s/w'], 'of one')
        check_equal(n.json('volume', 'usage', n.json('volume', 'show', 's/w')['uuid'])[0]['alias'],
                    's/w', 'by UUID')
        refused(n, 'volume', 'usage', 't', err="no store 't'")
        refused(n, 'volume', 'usage', 's/x', err="no volume 's/x'")
        check(re.search('used space +128 KiB alone, 0 B together with others',
                        n.ok('volume', 'show', 's/w')), 'show')
        check_equal(n.json('volume', 'show', 's/v')['shared_bytes'], 256 << 10, 'JSON')
        line = rows(n.ok('snapshot', 'tree'))['w']
        check_equal(line[:6], '128 KiB 128 KiB 0 B'.split(), 'the tree')

        check_equal(n.ok('snapshot', 'diff', 's/v', 's/one').strip(), 'they do not differ', 'diff')
        check_equal(n.json('snapshot', 'diff', 's/v', 's/one'),
                    {'cluster_size': 65536, 'num_extents': 0, 'bytes': 0, 'extents': []}, 'JSON')
        n.ok('snapshot', 'clone', 's/one', 'c')
        n.ok('volume', 'inflate', 's/c')
        check_equal(n.ok('snapshot', 'diff', 's/c', 's/one').splitlines()[1:],
                    ['     0  262144', '1 extent, 256 KiB'], 'diff')
        refused(n, 'snapshot', 'diff', 's/c', 's/x', err="no volume 's/x'")
        refused(n, 'snapshot', 'diff', 's/c', code=h.USAGE)


def test_copies_of_snapshots():
    with node() as n:
        n.ok('lvs', 'create', 's', 'a', '-c', '64KiB')
        n.ok('volume', 'create', 's/v', '8MiB')
        n.ok('device', 'create', 'malloc', 'name=m', 'size=8MiB')
        refused(n, 'snapshot', 'copy', 's/v', 'm', err='can be written')
        n.ok('snapshot', 'create', 's/v', 'one')
        refused(n, 'snapshot', 'copy', 's/one', 'x', err="no device 'x'; 'xsan device list'")
        check_equal(n.ok('snapshot', 'copy', 's/one', 'm').strip(),
                    '128 clusters of s/one are on m', 'copy')
        check_equal(n.json('snapshot', 'copy', 's/one', 'm'),
                    {'state': 'complete', 'copied_clusters': 128, 'total_clusters': 128}, 'JSON')
        n.ok('device', 'create', 'delay', 'name=slow', 'base=m', 'avg_write_latency_us=1000000',
             'p99_write_latency_us=1000000')
        # Interrupted on a terminal: a bar has been there, and the node has stopped.
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(n.directory)
            os.execv(h.XSAN, [h.XSAN, '-s', 'xsand.sock', 'snapshot', 'copy', 's/one', 'slow'])
        text = read_until(terminal, rb'\[=*>\.*\] +[1-9][0-9.]* %')
        check_equal(n.json('volume', 'show', 's/one')['process']['type'], 'copied', 'process')
        os.write(terminal, b'\x03')
        text += read_until(terminal, rb'was asked to stop')
        check_equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), h.REFUSED, 'exit code')
        os.close(terminal)
        check_equal(n.json('volume', 'show', 's/one').get('process'), None, 'process')


def read_until(terminal, pattern):
    text, end = b'', time.monotonic() + h.PATIENCE_S
    while not re.search(pattern, text):
        check(time.monotonic() < end, f'{pattern} is not in {text}')
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 4096)
    return text


def image(directory, name):
    """A store that SPDK has made."""
    path = directory / name
    subprocess.run(['zstd', '-dqf', IMAGES / f'{name}.img.zst', '-o', path], check=True)
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_check():
    if not shutil.which('zstd'):
        print('there is no zstd here')
        return
    with h.directory() as path:
        for name, code, lines in (
                ('thin-thick-512-1m', h.OK, ['given up cleanly', 'nothing is wrong']),
                ('masks-stale-unclean', h.OK, ['not given up cleanly', 'nothing is wrong']),
                ('cluster-mask-missing-bit', h.REFUSED,
                 ['cluster 4 is in use but marked as free (can be repaired)',
                  '1 of 2 problems can be repaired without loss, by --repair; nothing has been']),
                ('bad-extent-page', h.REFUSED,
                 ['its checksum is wrong', 'none of it can be repaired without loss'])):
            file = image(path, name)
            before = digest(file)
            result = h.xsan('lvs', 'check', file)
            check_equal((result.code, result.err), (code, ''), name)
            for line in lines:
                check(line in result.out, f'{line!r} is not in\n{result}')
            check_equal(digest(file), before, f'content of {name}')
        file = path / 'cluster-mask-missing-bit'
        check('problems repaired: 2, left: 0' in
              h.expect(h.xsan('lvs', 'check', file, '--repair'), h.OK).out, 'not repaired')
        report = json.loads(h.expect(h.xsan('--json', 'lvs', 'check', file), h.OK).out)
        check_equal((report['clean'], report['problems']), (True, []), 'after the repair')
        h.expect(h.xsan('lvs', 'check', image(path, 'bad-super-crc')), h.REFUSED, 'damaged')
        h.expect(h.xsan('lvs', 'check', path / 'nothing'), h.REFUSED, 'No such file')
        (path / 'blank').write_bytes(bytes(1 << 20))
        h.expect(h.xsan('lvs', 'check', path / 'blank'), h.REFUSED, 'no store')


def test_check_of_a_store_in_use():
    with node() as n:
        n.ok('lvs', 'create', 's', 'a')
        refused(n, 'lvs', 'check', n.directory / 'a', '--repair')
        n.ok('lvs', 'detach', 's')
        n.ok('device', 'delete', 'a')
        check('nothing is wrong' in n.ok('lvs', 'check', n.directory / 'a'), 'something is wrong')


if __name__ == '__main__':
    h.main(__name__)

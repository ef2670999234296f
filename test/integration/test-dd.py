#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""xbdev-dd: what arrives, byte by byte, and what it refuses."""

import json
import os
import random
import signal
import subprocess
import time

import tools_harness as h
from tools_harness import DIFFERS, FAILED, INTERRUPTED, MIB, OK, PARTIAL, USAGE, check, check_equal

dd = h.Tool('xbdev-dd')


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def make(directory, name, data):
    path = directory / name
    path.write_bytes(data)
    return path


def check_data(path, expected, what):
    got = path.read_bytes()
    check_equal(len(got), len(expected), f'{what}: length')
    if got != expected:
        at = next(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)
        raise h.Failure(f'{what}: differs at byte {at}')


def device(path, **params):
    """The file as a device of libxbdev."""
    return json.dumps({'driver': 'file', 'filename': str(path), **params})


def test_the_man_page_has_the_options_of_the_help(directory):
    h.check_man_page(dd)


def test_every_pair_of_ends(directory):
    data = noise(3 * MIB + 512 * 5)
    source = make(directory, 'source', data)
    blank = bytes(len(data))
    for bs in ('4KiB', '64KiB', '1MiB'):
        for words, depth in ((('device', 'device'), 4), (('device', 'file'), 1), (('file', 'device'), 16),
                             (('file', 'file'), 3)):
            target = make(directory, 'target', blank)
            name = {'device': lambda path: device(path, block_size=512), 'file': str}
            done = dd.run(f'from={name[words[0]](source)}', f'to={name[words[1]](target)}', f'bs={bs}',
                          f'iodepth={depth}', '--verify', cwd=directory)
            check_data(target, data, f'{words} bs={bs}')
            check('verified' in done.text, done.text)


def test_pipes(directory):
    data = noise(2 * MIB + 512)
    source = make(directory, 'source', data)
    target = make(directory, 'target', bytes(len(data)))
    done = dd.run(f'if={source}', 'of=-', 'bs=64K')
    check(done.stdout == data, 'a file to a pipe')
    done = dd.run(f'if={device(source)}', 'of=-', 'bs=4K', 'iodepth=32')
    check(done.stdout == data, 'a device to a pipe')
    dd.run('if=-', f'of={device(target, block_size=512)}', 'bs=64K', '--verify', stdin=data)
    check_data(target, data, 'a pipe to a device')
    target.unlink()
    dd.run('if=-', f'of={target}', stdin=data)
    check_data(target, data, 'a pipe to a file that did not exist')
    dd.run('if=-', f'of={target}', 'skip=512B', 'count=1M', stdin=data)
    check_data(target, data[512:512 + MIB], 'a part of a pipe')
    with open(target, 'ab') as file:
        dd.run(f'if={source}', 'of=-', stdout=file)
    check_data(target, data[512:512 + MIB] + data, 'what a file had that is appended to')


def test_amounts_are_chunks_or_bytes(directory):
    data = noise(64 * 1024)
    source = make(directory, 'source', data)
    target = directory / 'target'
    for words, expected in (
            (['bs=4K', 'count=2'], data[:8192]),
            (['bs=4K', 'count=512B', 'skip=3'], data[12288:12800]),
            (['bs=4K', 'count=2K', 'skip=1K'], data[1024:3072]),
            (['bs=4K', 'skip=15', 'count=100'], data[61440:]),
            (['--bs', '4096', '--skip=16'], b''),
            (['bs=1K', 'seek=2', 'count=1'], bytes(2048) + data[:1024])):
        if target.exists():
            target.unlink()
        dd.run(f'if={source}', f'of={target}', *words)
        check_data(target, expected, words)


def test_what_a_target_file_has_around_the_copy(directory):
    source = make(directory, 'source', noise(8192))
    old = noise(32768, 2)
    target = make(directory, 'target', old)
    dd.run(f'if={source}', f'of={target}', 'bs=4K', 'seek=1', '--no-truncate')
    check_data(target, old[:4096] + noise(8192) + old[12288:], 'with no-truncate')
    dd.run(f'if={source}', f'of={target}', 'bs=4K', 'seek=1')
    check_data(target, old[:4096] + noise(8192), 'without')


def test_zeroes_take_no_space(directory):
    data = noise(MIB) + bytes(2 * MIB) + noise(64 * 1024) + bytes(960 * 1024) + bytes(MIB)
    source = make(directory, 'source', data)
    full = noise(len(data), 3)
    for how, is_device in (('discard', False), ('discard', True), ('zeroes', False), ('zeroes', True)):
        target = make(directory, 'target', full)
        end = device(target, block_size=512) if is_device else target
        done = dd.run(f'if={source}', f'of={end}', f'sparse={how}', 'bs=64K', '--verify', '--no-truncate')
        check_data(target, data, f'sparse={how}')
        check('3.94 MiB of it zeroes' in done.text, done.text)
        used = target.stat().st_blocks * 512
        if how == 'discard':
            check(used < 2 * MIB, f'{used} bytes are still allocated')
        else:
            check(used >= 4 * MIB, f'only {used} bytes are allocated')
    target.unlink()
    hole = directory / 'hole'
    with open(hole, 'wb') as file:
        file.truncate(1 << 40)
        os.pwrite(file.fileno(), b'x' * 4096, (1 << 39) + 4096)
    dd.run(f'if={hole}', f'of={target}', 'sparse=discard', 'bs=64M')
    check_equal(target.stat().st_size, 1 << 40, 'size of a copy of holes')
    check(target.stat().st_blocks * 512 <= 65 * MIB, 'the copy of holes takes space')
    with open(target, 'rb') as file:
        check_equal(os.pread(file.fileno(), 4098, (1 << 39) + 4095), b'\0' + b'x' * 4096 + b'\0', 'data in a hole')


def test_a_tail_that_fills_no_block(directory):
    data = noise(10000)
    source = make(directory, 'source', data)
    old = noise(16384, 4)
    words = ['bs=8K', f'to={device(directory / "target", block_size=4096)}']
    target = make(directory, 'target', old)

    dd.run(f'if={source}', *words, code=FAILED, err='tail=zero')
    check_data(target, old, 'a tail that is refused')
    dd.run(f'if={source}', *words, 'tail=zero', '--verify')
    check_data(target, data + bytes(12288 - 10000) + old[12288:], 'tail=zero')
    target.write_bytes(old)
    dd.run(f'if={source}', *words, 'tail=keep', '--verify')
    check_data(target, data + old[10000:], 'tail=keep')

    target.write_bytes(old)
    done = dd.run('if=-', *words, stdin=data, code=PARTIAL, err='1808 bytes that fill no block')
    check('the first 8192 bytes' in done.text, done.text)
    check_data(target, data[:8192] + old[8192:], 'a pipe whose tail is refused')
    dd.run('if=-', *words, 'tail=zero', stdin=data)
    check_data(target, data + bytes(12288 - 10000) + old[12288:], 'a pipe, tail=zero')
    dd.run('if=-', *words, stdin=data[:100], code=PARTIAL, err='100 bytes that fill no block')


def test_what_cannot_be_is_refused_before_anything_is_written(directory):
    data = noise(MIB, 5)
    source = make(directory, 'source', data)
    target = make(directory, 'target', bytes(MIB))
    disk = device(target, block_size=4096)
    for code, err, words in (
            (USAGE, 'from=', []),
            (USAGE, 'to=', [f'if={source}']),
            (USAGE, "'sideways'", ['sideways']),
            (USAGE, 'sparse', [f'if={source}', f'of={target}', 'sparse=maybe']),
            (USAGE, 'bs', [f'if={source}', f'of={target}', 'bs=0']),
            (USAGE, 'needs a value', ['--bs']),
            (USAGE, 'takes no value', ['--verify=yes']),
            (FAILED, 'bs is 1000 bytes, which is not a multiple', [f'if={source}', f'of={disk}', 'bs=1000']),
            (FAILED, 'bs is 512 bytes, which is not a multiple', [f'if={disk}', 'of=-', 'bs=512']),
            (FAILED, 'skip passes over 512 bytes', [f'if={disk}', 'of=-', 'bs=4K', 'skip=512B']),
            (FAILED, 'skip passes over 2097152 bytes', [f'if={source}', f'of={disk}', 'skip=2M']),
            (FAILED, 'seek passes over 2097152 bytes', [f'if={source}', f'of={disk}', 'seek=2M']),
            (FAILED, 'count is 100 bytes', [f'if={disk}', 'of=-', 'bs=4K', 'count=100B']),
            (FAILED, 'too large', [f'if={source}', f'of={target}', 'seek=8191P', 'bs=64M']),
            (FAILED, 'behind seek', [f'if={source}', f'of={disk}', 'bs=4K', 'seek=1']),
            (FAILED, 'cannot be read back', [f'if={source}', 'of=-', '--verify']),
            (FAILED, 'seek', [f'if={source}', 'of=-', 'seek=1']),
            (FAILED, 'in use', [f'if={source}', f'of={source}']),
            (FAILED, 'in use', [f'if={device(source)}', f'of={source}']),
            (FAILED, 'missing', ['if=./missing', f'of={target}']),
            (FAILED, 'directory', [f'if={directory}', f'of={target}']),
            (FAILED, 'read-only', [f'if={source}', f'of={device(target, read_only=True)}'])):
        dd.run(*words, code=code, err=err, cwd=directory)
        check_data(source, data, f'{words}: the source')
        check_data(target, bytes(MIB), f'{words}: the target')


def test_a_copy_inside_one_device(directory):
    data = noise(MIB, 6)
    config = directory / 'storage.json'
    disk = make(directory, 'disk', data + bytes(MIB))
    config.write_text(json.dumps({'devices': [
        {'driver': 'file', 'name': 'disk0', 'filename': str(disk), 'block_size': 4096}]}))
    words = ['--config', config, 'if=disk0', 'of=disk0', 'bs=64K']
    dd.run(*words, 'count=1M', 'seek=512K', code=FAILED, err='overlap')
    dd.run(*words, code=FAILED, err='overlap')
    check_data(disk, data + bytes(MIB), 'after a refusal')
    dd.run(*words, 'count=1M', 'seek=1M', '--verify')
    check_data(disk, data + data, 'the second half')
    # A file of the same name is written with ./ in front.
    file = make(directory, 'disk0', b'')
    dd.run('--config', config, 'if=disk0', 'of=./disk0', cwd=directory)
    check_data(file, data + data, 'a file that is called as the device')


def test_devices_of_a_document(directory):
    data = noise(MIB, 7)
    file = make(directory, 'file', data)
    document = directory / 'document.json'
    document.write_text(json.dumps({'base_devices': [
        {'method': 'aio', 'params': {'name': 'new', 'filename': str(directory / 'new.img'), 'size': '1MiB'}}]}))
    dd.run('--config', document, f'if={file}', 'of=new', '--verify')
    check_data(directory / 'new.img', data, 'a device that the document made')


def test_an_error_on_the_way_tells_how_far_it_came(directory):
    # The device ends before the pipe does.
    data = noise(MIB, 7)
    target = make(directory, 'target', bytes(512 * 1024))
    done = dd.run('if=-', f'of={device(target)}', 'bs=64K', 'iodepth=4', stdin=data, code=PARTIAL, err='is full')
    check('the first 524288 bytes' in done.text, done.text)
    check_data(target, data[:512 * 1024], 'as much as fits')
    # Nobody reads the pipe any more.
    with subprocess.Popen(dd.command([f'if={make(directory, "source", data * 4)}', 'of=-']),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1000)
        process.stdout.close()
        err = process.stderr.read()
        check_equal(process.wait(60), PARTIAL, f'exit code ({err})')
        check(b'Broken pipe' in err, f'{err}')
    # A full file system, as /dev/full plays one.
    dd.run(f'if={target}', 'of=/dev/full', code=PARTIAL, err='No space left')


def test_a_signal_ends_the_copy(directory):
    target = directory / 'target'
    with subprocess.Popen(dd.command(['if=-', f'of={target}', 'bs=4K']), stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        process.stdin.write(noise(8192))
        process.stdin.flush()
        end = time.monotonic() + 60
        while not (target.exists() and target.stat().st_size == 8192) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        check_equal(process.wait(60), INTERRUPTED, f'exit code ({err})')
    check(b'the first 8192 bytes' in err, f'{err}')
    check_data(target, noise(8192), 'what had come')


def test_a_device_that_hangs_does_not_keep_the_tools(directory):
    config = directory / 'storage.json'
    config.write_text(json.dumps({'devices': [
        {'driver': 'malloc', 'name': 'mem', 'size': '1MiB'},
        {'driver': 'delay', 'name': 'hung', 'base': 'mem', 'avg_read_latency_us': 60000000}]}))
    with dd.start('--config', config, 'if=hung', 'of=null:1MiB') as copy, \
            h.Tool('xbdev-perf').start('--config', config, 'hung') as load:
        for process in (copy, load):
            h.wait_until_it_waits(process)
            process.send_signal(signal.SIGINT)
        for process, sentence in ((copy, b'I/Os do not come back'), (load, b'does not give back 1 I/Os')):
            _, err = process.communicate(timeout=60)
            check_equal(process.returncode, PARTIAL, f'exit code ({err})')
            check(sentence in err, f'{err}')


def test_verification_finds_a_target_that_forgets(directory):
    source = make(directory, 'source', noise(MIB, 8))
    done = dd.run(f'if={source}', 'of=null:1MiB', 'bs=64K', '--verify', code=DIFFERS, err='at 0 are not')
    check('16 chunks' in done.text, done.text)
    dd.run(f'if={source}', 'of=null:1MiB', 'bs=64K')


def test_reports(directory):
    source = make(directory, 'source', noise(MIB, 9))
    done = dd.run(f'if={source}', 'of=malloc:1MiB')
    check('1.00 MiB (1048576 bytes) copied in' in done.text, done.text)
    check_equal(dd.run(f'if={source}', 'of=malloc:1MiB', '--quiet').text, '', '--quiet')
    # A throttled source, so that there is time for a progress line and a question.
    config = directory / 'storage.json'
    config.write_text(json.dumps({'devices': [
        {'driver': 'malloc', 'name': 'mem', 'size': '1MiB'},
        {'driver': 'delay', 'name': 'slow', 'base': 'mem', 'avg_read_latency_us': 200000}]}))
    words = ['--config', config, 'if=slow', 'of=null:1MiB', 'bs=64K', 'iodepth=1']
    code, text = dd.on_terminal(*words)
    check_equal(code, OK, 'exit code')
    check('of 1.00 MiB copied (' in text and 's left' in text, f'a progress line was expected in {text!r}')
    with dd.start(*words) as process:
        h.wait_until_caught(process, signal.SIGUSR1)
        process.send_signal(signal.SIGUSR1)
        out, err = process.communicate(timeout=60)
        check_equal(process.returncode, OK, 'exit code')
        check(b'of 1.00 MiB copied (' in err, f'a report was expected in {err}')


if __name__ == '__main__':
    h.main(__name__)

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""xbdev-perf: what it does to devices, what it says of them, and what it finds wrong."""

import json
import os
import signal

import tools_harness as h
from tools_harness import DIFFERS, FAILED, INTERRUPTED, MIB, PARTIAL, USAGE, check, check_equal

perf = h.Tool('xbdev-perf')
MODES = ('queue', 'sync', 'embedded')


def make_file(directory, size=4 * MIB, name='disk'):
    path = directory / name
    with open(path, 'wb') as file:
        file.truncate(size)
    return path


def test_the_man_page_has_the_options_of_the_help(directory):
    h.check_man_page(perf)


def test_a_run_without_bounds_covers_the_region_once(directory):
    for mode in MODES:
        for jobs in (1,) if mode == 'embedded' else (1, 4):
            depth = 1 if mode == 'sync' else 8
            done = perf.json('--rw', 'write', '--mode', mode, '--jobs', jobs, '--iodepth', depth, '--size', '2MiB',
                             'malloc:4MiB')
            check_equal(done['write']['bytes'], 2 * MIB, f'bytes written by {jobs} jobs in mode {mode}')
            check_equal(done['write']['ios'], 512, 'I/Os')
            check_equal(done['read']['ios'], 0, 'reads')


def test_figures_agree_with_each_other(directory):
    done = perf.json('--rw', 'randrw', '--rwmixread', 70, '--iodepth', 4, '--runtime', '3', 'malloc:8MiB')
    reads, writes = done['read'], done['write']
    share = reads['ios'] / (reads['ios'] + writes['ios'])
    check(0.65 < share < 0.75, f'70 % reads were asked for, {share:.3f} came')
    check(2.99 < done['elapsed_s'] < 15, f'{done["elapsed_s"]} s')
    for one in (reads, writes):
        check(abs(one['iops'] * done['elapsed_s'] - one['ios']) < 2, f'IOPS of {one}')
        check_equal(one['bytes'], one['ios'] * 4096, 'bytes')
        check(abs(one['mb_per_s'] * 1e6 / 4096 - one['iops']) < 2, f'MB/s of {one}')
        latency = one['latency_us']
        steps = [latency['min'], *latency['percentiles'].values(), latency['max']]
        check_equal(steps, sorted(steps), 'percentiles grow')
        check(latency['min'] <= latency['mean'] <= latency['max'], f'{latency}')
    ios = reads['ios'] + writes['ios']
    cpu = done['cpu']
    check(cpu['user_s'] + cpu['system_s'] > 0, f'CPU time {cpu}')
    check(abs(cpu['user_ns_per_io'] * ios / 1e9 - cpu['user_s']) < 0.01, f'user time {cpu}')
    check(abs(cpu['system_ns_per_io'] * ios / 1e9 - cpu['system_s']) < 0.01, f'system time {cpu}')


def test_writes_reach_the_file_and_stay_in_their_region(directory):
    path = make_file(directory)
    perf.run('--rw', 'write', '--offset', '1MiB', '--size', '1MiB', '--bs', '64KiB', path)
    data = path.read_bytes()
    check_equal(len(data), 4 * MIB, 'size')
    check_equal(data[:MIB].count(0), MIB, 'zeroes before the region')
    check_equal(data[2 * MIB:].count(0), 2 * MIB, 'zeroes behind the region')
    check(data[MIB:2 * MIB].count(0) < MIB // 100, 'the region was not written')


def test_what_is_written_is_verified_in_every_mode(directory):
    for mode in MODES:
        depth = 1 if mode == 'sync' else 16
        jobs = 1 if mode == 'embedded' else 2
        for rw in ('write', 'randwrite', 'randrw'):
            done = perf.json('--rw', rw, '--mode', mode, '--jobs', jobs, '--iodepth', depth, '--verify', 'crc32c',
                             '--io-size', '2MiB', make_file(directory))
            check(done['verify']['good'] > 100, f'{mode} {rw}: {done["verify"]}')
            check_equal(done['verify']['bad'], 0, f'{mode} {rw}: wrong blocks')
            check_equal(done['errors'], 0, f'{mode} {rw}: errors')


def test_a_later_run_finds_each_kind_of_damage(directory):
    path = make_file(directory)
    perf.run('--rw', 'write', '--verify', 'crc32c', path)
    check_words = ['--rw', 'read', '--verify', 'crc32c', path]
    done = perf.json(*check_words)
    check_equal(done['verify'], {'good': 1024, 'bad': 0, 'unwritten': 0}, 'an intact file')

    with open(path, 'r+b') as file:
        block = os.pread(file.fileno(), 4096, 7 * 4096)
        os.pwrite(file.fileno(), block, 9 * 4096)             # at another place
        os.pwrite(file.fileno(), b'\x55', 100 * 4096 + 4095)  # a flipped byte
        os.pwrite(file.fileno(), b'\x55' * 4096, 200 * 4096)  # something else
        os.pwrite(file.fileno(), bytes(4096), 300 * 4096)     # never written
        other = os.pread(file.fileno(), 512, 400 * 4096)
        os.pwrite(file.fileno(), other, 401 * 4096)           # torn
    done = perf.run('--json', *check_words, code=DIFFERS)
    check_equal(json.loads(done.stdout)['verify'], {'good': 1019, 'bad': 4, 'unwritten': 1}, 'a damaged file')
    for offset, fault in ((9, 'belongs elsewhere'), (100, 'checksum'), (200, 'no header'), (401, 'checksum')):
        check(any(f'at {offset * 4096}:' in line and fault in line for line in done.text.splitlines()),
              f'{fault!r} at {offset * 4096} was expected in {done.text}')


def test_a_rate_is_not_exceeded(directory):
    for mode in MODES:
        words = ['--mode', mode, '--runtime', '3', 'malloc:4MiB']
        done = perf.json('--rate-iops', 400, *words)
        check(130 < done['read']['iops'] <= 410, f'{mode}: 400 IOPS asked for, {done["read"]["iops"]}')
    done = perf.json('--rate', '1MiB', '--jobs', 3, '--runtime', '3', 'malloc:4MiB')
    check(0.34 < done['read']['mib_per_s'] <= 1.03, f'1 MiB/s asked for, {done["read"]["mib_per_s"]}')


def test_a_signal_ends_the_run_and_the_result_is_printed(directory):
    for mode in MODES:
        with perf.start('--json', '--mode', mode, '--runtime', '60', 'null:1TiB') as process:
            h.wait_until_it_computes(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=100)
            check_equal(process.returncode, INTERRUPTED, f'exit code in mode {mode} ({err})')
        done = json.loads(out)
        check(done['interrupted'] and done['read']['ios'] > 0, f'{mode}: {done}')
        check(done['elapsed_s'] < 60, f'{mode}: {done["elapsed_s"]} s')


def test_an_error_ends_the_run_with_a_sentence(directory):
    path = make_file(directory)
    with perf.start('--json', '--rw', 'randread', '--iodepth', '8', '--runtime', '60', path) as process:
        h.wait_until_it_computes(process)
        os.truncate(path, 0)
        out, err = process.communicate(timeout=60)
    check_equal(process.returncode, PARTIAL, f'exit code ({err})')
    check(b'reading of 4096 bytes at ' in err, f'{err}')
    check(json.loads(out)['errors'] >= 1, f'{out}')


def test_filling_comes_before_the_measurement(directory):
    path = make_file(directory)
    done = perf.json('--rw', 'randread', '--fill', '--jobs', 3, '--io-size', '64KiB', path)
    check_equal(done['write']['ios'], 0, 'writes that were measured')
    data = path.read_bytes()
    check(all(data[at:at + 4096].count(0) < 400 for at in range(0, len(data), 4096)), 'a block was not filled')


def test_devices_of_a_configuration(directory):
    config = directory / 'storage.json'
    config.write_text(json.dumps({'devices': [
        {'driver': 'malloc', 'name': 'mem', 'size': '4MiB', 'block_size': 4096},
        {'driver': 'delay', 'name': 'slow', 'base': 'mem', 'avg_read_latency_us': 20000}]}))
    done = perf.json('--config', config, '--io-size', '40KiB', 'slow')
    check(done['read']['latency_us']['min'] >= 20000, f'{done["read"]["latency_us"]}')
    perf.run('--config', config, 'fast', code=FAILED, err="'fast'")
    perf.run('--config', config, 'delay:slow,avg_read_latency_us=1', '--io-size', '4KiB')
    perf.run('{"driver": "malloc", "size": "1MiB"}')
    perf.run('malloc:1MiB', 'malloc:2MiB', 'null:1MiB')
    config.write_text('{"devices": [}')
    perf.run('--config', config, 'slow', code=FAILED, err='storage.json:1:')


def test_devices_of_a_document(directory):
    document = directory / 'document.json'
    document.write_text(json.dumps({'base_devices': [
        {'method': 'delay', 'params': {'name': 'slow', 'base': 'mem', 'avg_read_latency_us': 20000}},
        {'method': 'malloc', 'params': {'name': 'mem', 'size': '4MiB', 'block_size': 4096}}]}))
    for words in ([], ['--mode', 'embedded']):
        done = perf.json('--config', document, *words, '--io-size', '40KiB', 'slow')
        check(done['read']['latency_us']['min'] >= 20000, f'{done["read"]["latency_us"]}')
    document.write_text('{"base_devices":\n [{"method": "null", "params": {"name": "n", "size": 7}}]}')
    perf.run('--config', document, 'n', code=FAILED,
             err='document.json:2:54: base_devices[0].params.size: 7 bytes is not accepted')
    document.write_text('{"base_device": []}')
    perf.run('--config', document, 'n', code=FAILED, err="base_device: 'base_device' is not known here")


def test_what_cannot_be_is_refused_with_a_reason(directory):
    for code, err, words in (
            (USAGE, 'no device', []),
            (USAGE, "--rw: 'sideways'", ['--rw', 'sideways', 'malloc:1MiB']),
            (USAGE, "--bs: '0'", ['--bs', '0', 'malloc:1MiB']),
            (USAGE, '--mode sync', ['--mode', 'sync', '--iodepth', '2', 'malloc:1MiB']),
            (USAGE, '--mode embedded', ['--mode', 'embedded', '--jobs', '2', 'malloc:1MiB']),
            (USAGE, '--rwmixread', ['--rwmixread', '30', 'malloc:1MiB']),
            (USAGE, '--verify', ['--verify', 'md5', 'malloc:1MiB']),
            (FAILED, 'block size', ['--bs', '1000', 'malloc:1MiB']),
            (FAILED, '--size', ['--size', '2MiB', 'malloc:1MiB']),
            (FAILED, 'too small', ['--bs', '2MiB', 'malloc:1MiB']),
            (FAILED, 'no device named', ['nothing']),
            (FAILED, 'missing', ['./missing']),
            (FAILED, 'PARAMETER=VALUE', ['null:1MiB,zero_reads']),
            (FAILED, 'zero_readz', ['null:1MiB,zero_readz=true']),
            (FAILED, 'read-only', ['--rw', 'write', f'file:{make_file(directory)},read_only=true']),
            (FAILED, 'more than --iodepth', ['--verify', 'crc32c', '--rw', 'write', '--iodepth', '256', 'malloc:1MiB']),
            (FAILED, 'CPUs', ['--cpus', '0', '--reactors', '2', 'malloc:1MiB'])):
        perf.run(*words, code=code, err=err, cwd=directory)
    perf.run('--no-such-option', code=USAGE)


def test_progress_is_shown_on_a_terminal_only(directory):
    words = ('--runtime', '1.5', 'malloc:1MiB')
    # Long enough for a line, which comes every second, that is late.
    code, text = perf.on_terminal('--runtime', '4', 'malloc:1MiB')
    check_equal(code, 0, 'exit code')
    check('read' in text and 'IOPS' in text, f'a progress line was expected in {text!r}')
    check(text.endswith('\r\033[K'), f'the line was expected to be wiped in the end: {text!r}')
    check_equal(perf.on_terminal('--quiet', *words), (0, ''), '--quiet')
    check_equal(perf.run(*words).text, '', 'stderr that is no terminal')


if __name__ == '__main__':
    h.main(__name__)

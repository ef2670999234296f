#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every command that changes a node: what it says, what the node has become (asked through
another command), and what the node refuses, with the sentence and exit code 1."""

import json
import signal
import time

import cli_harness as h
from cli_harness import MEM0_UUID, NQN, check, check_equal

TWO = 'nqn.2026-11.io.xsan:two'
D1_UUID = '33333333-2222-4333-8444-555555555555'
HOST = 'nqn.2014-08.org.nvmexpress:uuid:99999999-2222-4333-8444-555555555555'


def refused(node, err, *words):
    result = h.expect(node.xsan(*words), h.REFUSED, err)
    check(result.out == '', f'nothing was expected on stdout of {result}')


def device(node, name):
    return node.json('device', 'show', name)[0]


def test_device_create_takes_every_driver():
    with h.node() as node:
        check_equal(node.ok('device', 'create', 'file', 'name=d1', 'filename=d1.img', 'size=8MiB',
                            'block_size=4096', 'direct=false', f'uuid={D1_UUID}'),
                    'device d1 is there\n', 'create')
        d1 = device(node, 'd1')
        check_equal((d1['size'], d1['block_size'], d1['uuid'],
                     d1['driver_specific']['file']['direct']),
                    (8 << 20, 4096, D1_UUID, False), 'd1')
        check_equal((node.directory / 'd1.img').stat().st_size, 8 << 20, 'the file')
        # A name of digits stays a text, and a number a number.
        node.ok('device', 'create', 'malloc', 'name=7', 'num_blocks=16')
        check_equal(device(node, '7')['size'], 16 * 512, '7')
        node.ok('device', 'create', 'null', 'name=n', 'size=1T', 'zero_reads=true')
        check_equal(device(node, 'n')['size'], 1 << 40, 'n')
        node.ok('device', 'create', 'delay', 'name=slow', 'base=7', 'avg_read_latency_us=1000')
        node.ok('device', 'create', 'error', 'name=bad', 'base=slow')
        check_equal(device(node, '7')['claimed_by'], 'delay', '7')
        check_equal(device(node, 'bad')['driver'], 'error', 'bad')
        check_equal(node.json('device', 'create', 'malloc', 'name=j', 'size=1M'), 'j', 'JSON')
        # What stands on a device goes with it.
        check_equal(node.ok('device', 'delete', '7'), 'device 7 is gone\n', 'delete')
        check_equal([one['name'] for one in node.json('device', 'list')],
                    ['disk0', 'mem0', 'd1', 'n', 'j'], 'the devices left')
        node.ok('device', 'delete', D1_UUID)
        refused(node, "there is no device 'd1'; 'xsan device list' lists them", 'device', 'show',
                'd1')




def test_device_create_refusals():
    with h.node() as node:
        refused(node, "there is a device named 'mem0' already", 'device', 'create', 'malloc',
                'name=mem0', 'size=1M')
        refused(node, 'missing/d.img', 'device', 'create', 'file', 'name=d',
                'filename=missing/d.img', 'size=1M')
        refused(node, 'size: "1X" is not accepted', 'device', 'create', 'malloc', 'name=d',
                'size=1X')
        refused(node, "there is no device 'nix' to stand on", 'device', 'create', 'delay', 'name=d',
                'base=nix')
        refused(node, "there is no device 'nix'", 'device', 'delete', 'nix')
        check_equal(len(node.json('device', 'list')), 2, 'the devices')


def test_device_resize():
    with h.node() as node:
        check_equal(node.ok('device', 'resize', 'disk0', '2560MiB'), 'device disk0 has 2.5 GiB\n',
                    'resize')
        check_equal(device(node, 'disk0')['size'], 2560 << 20, 'disk0')
        check_equal((node.directory / 'disk0.img').stat().st_size, 2560 << 20, 'the file')
        refused(node, 'would lose data', 'device', 'resize', 'disk0', '1MiB')
        refused(node, "there is no device 'nix'", 'device', 'resize', 'nix', '1MiB')


def test_device_inject_and_clear():
    with h.node() as node:
        node.ok('device', 'create', 'error', 'name=bad', 'base=mem0')
        check_equal(node.ok('device', 'inject', 'bad', 'read', 'failure', '--count', '3',
                            '--skip=1', '--offset', '4KiB', '--length', '8KiB', '--chance',
                            '500000', '--queue-depth', '0'),
                    'device bad injects failure into read\n', 'inject')
        node.ok('device', 'inject', 'bad', 'all', 'corrupt_data', '--corrupt-offset', '5',
                '--corrupt-value', '16')
        check_equal(node.ok('device', 'clear', 'bad'), 'device bad makes no errors any more\n',
                    'clear')
        refused(node, 'driver error only', 'device', 'inject', 'mem0', 'read', 'failure')
        refused(node, 'length: "1X"', 'device', 'inject', 'bad', 'read', 'failure', '--length',
                '1X')
        refused(node, 'driver error only', 'device', 'clear', 'mem0')


def test_subsystem_namespace_listener():
    with h.node() as node:
        check_equal(node.ok('subsystem', 'create', TWO, '--serial', 'S2', '--model=M 2',
                            '--max-namespaces', '4'), f'subsystem {TWO} is there\n', 'create')
        refused(node, 'already', 'subsystem', 'create', TWO)
        refused(node, '"foo" is not accepted', 'subsystem', 'create', 'foo')
        check_equal(node.ok('namespace', 'add', TWO, 'mem0', '-n', '3', '--nguid', '5' * 32,
                            '--eui64', '6' * 16, '--read-only'),
                    f'{TWO} shows mem0 as namespace 3\n', 'add')
        refused(node, "there is no device 'nix'", 'namespace', 'add', TWO, 'nix')
        refused(node, 'there is a namespace 3 already', 'namespace', 'add', TWO, 'mem0', '-n', '3')
        address = f'[::1]:{node.port}'
        check_equal(node.ok('listener', 'add', TWO, '::1', node.port, '--advertise', '10.0.2.2'),
                    f'{TWO} is reached at {address}\n', 'listener add')
        refused(node, 'listens there already', 'listener', 'add', TWO, '::1', node.port)
        two = node.json('subsystem', 'show', TWO)[0]
        check_equal((two['serial_number'], two['model_number'], two['max_namespaces'],
                     two['allow_any_host']), ('S2', 'M 2', 4, False), 'the subsystem')
        ns = two['namespaces'][0]
        check_equal((ns['nsid'], ns['bdev_name'], ns['uuid'], ns['nguid'], ns['eui64']),
                    (3, 'mem0', MEM0_UUID, '5' * 32, '6' * 16), 'the namespace')
        listeners = node.json('listener', 'list', TWO)
        check_equal((listeners[0]['address']['traddr'], listeners[0]['advertise']),
                    ('::1', '10.0.2.2'), 'the listener')
        check(f'{TWO}   TCP        {address}      10.0.2.2\n' in node.ok('listener', 'list'),
              node.ok('listener', 'list'))
        node.ok('listener', 'remove', TWO, '::1', node.port)
        refused(node, "'xsan listener list' lists them", 'listener', 'remove', TWO, '::1',
                node.port)
        check_equal(node.ok('namespace', 'remove', TWO, '3'),
                    f'{TWO} has no namespace 3 any more\n', 'remove')
        refused(node, 'there is no namespace 3', 'namespace', 'remove', TWO, '3')
        node.ok('subsystem', 'delete', TWO)
        refused(node, f"there is no subsystem '{TWO}'; 'xsan subsystem list' lists them",
                'subsystem', 'delete', TWO)
        refused(node, f"there is no subsystem '{TWO}'", 'subsystem', 'show', TWO)


def test_hosts():
    with h.node() as node:
        node.ok('subsystem', 'create', TWO)
        check_equal(node.ok('subsystem', 'add-host', TWO, HOST), f'{HOST} may connect to {TWO}\n',
                    'add-host')
        refused(node, 'already', 'subsystem', 'add-host', TWO, HOST)
        check(f'host           {HOST}\n' in node.ok('subsystem', 'show', TWO), 'the host')
        node.ok('subsystem', 'remove-host', TWO, HOST)
        refused(node, 'is not in the list', 'subsystem', 'remove-host', TWO, HOST)
        for state, expected in (('on', True), ('off', False)):
            node.ok('subsystem', 'allow-any', TWO, state)
            check_equal(node.json('subsystem', 'show', TWO)[0]['allow_any_host'], expected, state)
        node.ok('subsystem', 'create', TWO + '3', '--allow-any')
        check_equal(node.json('subsystem', 'show', TWO + '3')[0]['allow_any_host'], True, 'create')


def test_log_level():
    with h.node() as node:
        for level in ('fatal', 'error', 'warn', 'info', 'debug', 'trace'):
            check_equal(node.ok('log', 'level', level), f'the node logs from {level} on\n', level)
            check_equal(node.ok('log', 'level'), f'{level}\n', level)


def test_config():
    with h.node() as node:
        config = json.loads(node.config.read_text())
        more = {'driver': 'null', 'name': 'n', 'size': '1GiB'}
        node.write_config({'devices': config['devices'] + [more]})
        check_equal(node.ok('config', 'reload', '--dry-run'), 'would: add device n\n', 'dry run')
        check_equal(len(node.json('device', 'list')), 2, 'after a dry run')
        check_equal(node.ok('config', 'reload'), 'done: add device n\n', 'reload')
        check_equal(len(node.json('device', 'list')), 3, 'after the reload')

        node.ok('device', 'create', 'malloc', 'name=m', 'size=1M')
        check_equal(node.ok('config', 'save', 'saved.json'),
                    'the configuration of the node is in saved.json\n', 'save')
        saved = json.loads((node.directory / 'saved.json').read_text())
        check_equal(saved, node.json('config', 'show'), 'show and save')
        check_equal([one['name'] for one in saved['devices']], ['disk0', 'mem0', 'n', 'm'], 'saved')
        node.ok('config', 'check', 'saved.json')
        check_equal(sorted(path.name for path in node.directory.glob('saved.json*')),
                    ['saved.json'], 'files left behind')

        saved['devices'].pop()
        (node.directory / 'less.json').write_text(json.dumps(saved))
        check_equal(node.ok('config', 'load', 'less.json'), 'done: remove device m\n', 'load')
        check_equal(len(node.json('device', 'list')), 3, 'after the load')
        refused(node, 'cannot write missing/saved.json: No such file', 'config', 'save',
                'missing/saved.json')


def test_config_check_says_where():
    with h.directory() as path:
        (path / 'bad.json').write_text('{\n  "devices": [\n'
                                       '    {"driver": "fil", "name": "d"}\n  ]\n}')
        h.expect(h.xsan('config', 'check', 'bad.json', cwd=path), h.REFUSED, 'bad.json:3:16: ')
        (path / 'torn.json').write_text('{\n  "devices": [')
        h.expect(h.xsan('config', 'check', 'torn.json', cwd=path), h.REFUSED, 'torn.json:2:')
        h.expect(h.xsan('config', 'check', 'missing.json', cwd=path), h.REFUSED, 'No such file')
        h.expect(h.xsan('config', 'load', 'bad.json', cwd=path), h.REFUSED, 'bad.json:3:16: ')


def test_rpc():
    with h.node() as node:
        params = json.dumps({'name': 'mem0'})
        by_word = node.ok('rpc', 'bdev_get_bdevs', params)
        check_equal(json.loads(by_word)[0]['name'], 'mem0', 'params as a word')
        check_equal(node.ok('rpc', 'bdev_get_bdevs', '-', stdin=params), by_word,
                    'params from stdin')
        check_equal(node.ok('rpc', 'bdev_delete', params), 'true\n', 'a result that is no object')
        refused(node, "there is no method 'nix'; 'xsan methods' lists them", 'rpc', 'nix')
        refused(node, 'by name', 'rpc', 'bdev_get_bdevs', '["mem0"]')


def test_changes_outlive_a_crash():
    with h.node() as node:
        node.ok('device', 'create', 'file', 'name=d1', 'filename=d1.img', 'size=8MiB')
        node.ok('namespace', 'add', NQN, 'd1')
        before = node.json('subsystem', 'show', NQN), node.json('device', 'list')
        node.process.send_signal(signal.SIGKILL)
        node.process.wait(h.PATIENCE_S)
        # What the kernel still holds for a dead process may accept for a moment.
        deadline = time.monotonic() + h.PATIENCE_S
        while 'nobody listens at xsand.sock any more' not in (result := node.xsan('status')).err:
            h.expect(result, h.UNREACHABLE)
            check(time.monotonic() < deadline, str(result))
        node.start()
        node.wait_ready()
        check_equal((node.json('subsystem', 'show', NQN), node.json('device', 'list')), before,
                    'the node after its restart')


if __name__ == '__main__':
    h.main(__name__)

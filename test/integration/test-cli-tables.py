#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What xsan prints of a real node: the tables to the letter, and JSON that says the same."""

import json
import re

import cli_harness as h
from cli_harness import DISK0_UUID, MEM0_UUID, NQN, check, check_equal

# Commands that only show, with the type of their JSON.
SHOWING = (
    (('status',), dict),
    (('device', 'list'), list),
    (('device', 'show', 'disk0'), list),
    (('device', 'stats'), dict),
    (('device', 'stats', 'mem0'), dict),
    (('subsystem', 'list'), list),
    (('subsystem', 'show', NQN), list),
    (('namespace', 'list'), list),
    (('namespace', 'list', NQN), list),
    (('listener', 'list'), list),
    (('listener', 'list', NQN), list),
    (('connections',), dict),
    (('connections', '-q'), dict),
    (('iostat', '-i', '0.1', '-n', '1'), dict),
    (('reactors',), dict),
    (('log', 'level'), str),
    (('config', 'show'), dict),
    (('config', 'check', 'xsand.json'), dict),
    (('config', 'reload', '--dry-run'), dict),
    (('methods',), list),
    (('version',), dict),
    (('rpc', 'rpc_get_methods'), list),
)


def version():
    return h.expect(h.xsan('--version'), h.OK).out.removeprefix('xsan ').strip()


def fixed(text, node):
    """Takes out of a text what is never the same twice; widths stay."""
    text = text.replace(str(node.port), 'PORT_')
    text = text.replace(version(), 'VERSION')
    text = re.sub(r'as process \d+', 'as process PID', text)
    return re.sub(r'running for    \S+ \S+,', 'running for    TIME,', text)


def check_table(node, words, expected):
    got = fixed(node.ok(*words), node)
    check_equal(got, expected.lstrip('\n'), 'xsan ' + ' '.join(words))


def test_tables():
    with h.node() as node:
        check_table(node, ['status'], '''
state          ok
version        VERSION
running for    TIME, as process PID
configuration  xsand.json
saved state    state
socket         xsand.sock
reactors       1
devices        2
subsystems     1
namespaces     1
listeners      1
queues         0 connected, 0 since the start, 0 refused
''')
        check_table(node, ['device', 'list'], f'''
NAME   DRIVER     SIZE  BLOCK  ACCESS      USED BY               UUID
disk0  file    1.5 GiB   4096  read-write  an NVMe-oF namespace  {DISK0_UUID}
mem0   malloc   64 MiB    512  read-write  -                     {MEM0_UUID}
''')
        check_table(node, ['device', 'show', 'mem0'], f'''
name         mem0
driver       malloc
product      memory device
uuid         {MEM0_UUID}
size         64 MiB (67108864 bytes)
blocks       131072 of 512 bytes
access       read-write
write cache  no
used by      -
reactor      0
operations   read, write, unmap, flush, write_zeroes, compare
''')
        check_table(node, ['subsystem', 'list'], f'''
NQN                       SERIAL  NAMESPACES  HOSTS  LISTENERS
{NQN}  SN1              1    any  127.0.0.1:PORT_
''')
        check_table(node, ['subsystem', 'show', NQN], f'''
nqn            {NQN}
serial number  SN1
model number   XSAN
highest nsid   32
any host       may connect
listener       TCP 127.0.0.1:PORT_
namespace      1: disk0, uuid {DISK0_UUID}
''')
        check_table(node, ['namespace', 'list'], f'''
SUBSYSTEM                 NSID  DEVICE  UUID                                  NGUID
{NQN}     1  disk0   {DISK0_UUID}  11111111222243338444555555555555
''')
        check_table(node, ['listener', 'list'], f'''
SUBSYSTEM                 TRANSPORT  ADDRESS          ADVERTISED
{NQN}  TCP        127.0.0.1:PORT_  -
''')
        check_table(node, ['connections'], 'no host is connected\n')
        check_table(node, ['connections', '-q'],
                    'no host is connected\n\nthere are no queues\n')
        check_table(node, ['device', 'stats'], 'no I/O yet\n')
        check_table(node, ['log', 'level'], 'info\n')
        check_table(node, ['config', 'reload'], 'there is nothing to change\n')
        check_table(node, ['config', 'check', 'xsand.json'],
                    'xsand.json is good; devices: 2, subsystems: 1\n')
        check_table(node, ['version'], 'xsan VERSION\nnode XSAN VERSION\n')
        check_table(node, ['iostat', '-i', '0.1', '-n', '2'], '''
DEVICE  READ/S  WRITE/S  OTHER/S  READ MIB/S  WRITE MIB/S  READ AVG  WRITE AVG  P99  DEPTH  ERRORS
disk0        0        0        0           0            0         0          0    -      0       0
mem0         0        0        0           0            0         0          0    -      0       0

DEVICE  READ/S  WRITE/S  OTHER/S  READ MIB/S  WRITE MIB/S  READ AVG  WRITE AVG  P99  DEPTH  ERRORS
disk0        0        0        0           0            0         0          0    -      0       0
mem0         0        0        0           0            0         0          0    -      0       0
''')


def test_json():
    with h.node() as node:
        for words, kind in SHOWING:
            if words == ('log', 'level'):  # a JSON text, not an object
                check_equal(node.ok('-j', *words), '"INFO"\n', 'log level')
                continue
            value = json.loads(node.ok('--json', *words))
            check(isinstance(value, kind), f'{words}: {kind} was expected, not {value}')
        status = node.json('status')
        check_equal((status['state'], status['counts']['devices'], status['pid']),
                    ('ok', 2, node.process.pid), 'status')
        devices = {device['name']: device for device in node.json('device', 'list')}
        check_equal((sorted(devices), devices['disk0']['size'], devices['mem0']['uuid']),
                    (['disk0', 'mem0'], 1536 << 20, MEM0_UUID), 'device list')
        check_equal([(ns['nqn'], ns['nsid'], ns['bdev_name'])
                     for ns in node.json('namespace', 'list')],
                    [(NQN, 1, 'disk0')], 'namespace list')
        check_equal([(one['nqn'], one['address']['trsvcid'])
                     for one in node.json('listener', 'list')],
                    [(NQN, str(node.port))], 'listener list')
        check_equal(node.json('methods'), node.ok('methods').split(), 'methods')
        check('xsan_status' in node.json('methods'), 'xsan_status is no method')
        check_equal(node.json('version')['xsan'], version(), 'version')
        shown = node.json('config', 'show')
        check_equal([device['name'] for device in shown['devices']], ['disk0', 'mem0'],
                    'config show')


def test_empty_node():
    with h.node() as node:
        node.ok('subsystem', 'delete', NQN)
        node.ok('device', 'delete', 'disk0')
        node.ok('device', 'delete', 'mem0')
        for words, expected in (
                (['device', 'list'], "there are no devices; 'xsan device create' makes one\n"),
                (['subsystem', 'list'],
                 "there are no subsystems; 'xsan subsystem create' makes one\n"),
                (['namespace', 'list'],
                 "there are no namespaces; 'xsan namespace add' makes one\n"),
                (['listener', 'list'], "there are no listeners; 'xsan listener add' makes one\n"),
                (['iostat', '-n', '1', '-i', '0.1'], 'there are no devices\n')):
            check_table(node, words, expected)
        check_equal(node.json('namespace', 'list'), [], 'namespace list')
        check_equal(node.json('iostat', '-n', '1', '-i', '0.1')['devices'], [], 'iostat')


def test_problems_are_shown():
    """A configuration that cannot be made as a whole is shown as it is."""
    with h.node() as node:
        lost = {'driver': 'file', 'name': 'lost', 'filename': 'missing/lost.img', 'size': '1MiB'}
        node.write_config({'devices': json.loads(node.config.read_text())['devices'] + [lost],
                           'reactors': {'count': 2}})
        result = h.expect(node.xsan('config', 'reload'), h.REFUSED, 'failed: add device lost')
        check('only by a restart: reactors.count' in result.out, str(result))
        text = node.ok('status')
        check(re.search(r'^state +degraded$', text, re.M), text)
        check('\nNot as it should be:\n  add device lost: ' in text, text)
        check('\nChanged only by a restart:\n  reactors.count\n' in text, text)


def test_colours_only_where_they_are_wanted():
    with h.node() as node:
        plain = node.ok('device', 'list')
        title, _, rows = plain.partition('\n')

        def on_terminal(**env):
            return h.xsan_on_terminal('device', 'list', socket_path='xsand.sock',
                                      cwd=node.directory, **env)

        check_equal(on_terminal(), (h.OK, f'\x1b[1m{title}\n\x1b[0m{rows}'), 'on a terminal')
        check_equal(on_terminal(NO_COLOR='1'), (h.OK, plain), 'with NO_COLOR')
        check_equal(on_terminal(TERM='dumb'), (h.OK, plain), 'on a dumb terminal')


if __name__ == '__main__':
    h.main(__name__)

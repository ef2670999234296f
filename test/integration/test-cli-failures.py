#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What xsan does when something is wrong: with the command line (exit code 2), with reaching the
node or with what answers (3), with the output (1). Each with one sentence on stderr that says what
to do."""

import json
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cli_harness as h
from cli_harness import check, check_equal

WRONG = (
    ((), 'a command is missing'),
    (('foo',), "there is no command 'foo'"),
    (('device',), "a command is missing; see 'xsan device --help'"),
    (('device', 'foo'), "there is no command 'foo'; see 'xsan device --help'"),
    (('device', 'show'), "DEVICE is missing: name or UUID of the device"),
    (('device', 'show', 'a', 'b'), "'b' is one word too many; see 'xsan device show --help'"),
    (('device', 'list', '--foo'), 'there is no option --foo'),
    (('device', 'list', '--fo=1'), 'there is no option --fo;'),
    (('device', 'list', '-x'), 'there is no option -x'),
    (('device', 'list', '-jx'), 'there is no option -x'),
    (('device', 'list', '--json=1'), 'option --json takes no value'),
    (('device', 'list', '--timeout'), 'option --timeout is missing its SECONDS'),
    (('device', 'list', '-t'), 'option -t is missing its SECONDS'),
    (('status', '-t', '0'), "--timeout '0' is not a number of seconds from 0.1 to 86400"),
    (('status', '-t', '0.09'), "--timeout '0.09'"),
    (('status', '-t', '1.2345'), "--timeout '1.2345'"),
    (('status', '-t', '86401'), "--timeout '86401'"),
    (('status', '-t', '99999999999999999999999'), "--timeout '99999999999999999999999'"),
    (('status', '-t', '1.2.3'), "--timeout '1.2.3'"),
    (('status', '-t', '-1'), "--timeout '-1'"),
    (('status', '-t', ''), "--timeout ''"),
    (('status', '-t', '.5'), "--timeout '.5'"),
    (('status', '-s', ''), '--socket is empty'),
    (('device', 'create', 'foo', 'name=a'), "there is no driver 'foo'"),
    (('device', 'create', 'file'), 'NAME=VALUE is missing'),
    (('device', 'create', 'file', 'filename=a'), 'name=NAME is missing'),
    (('device', 'create', 'file', 'name'), "'name' is no NAME=VALUE"),
    (('device', 'create', 'file', 'nam=a'),
     "'nam=a' is no NAME=VALUE with a parameter of driver file: name, filename, size"),
    (('device', 'create', 'malloc', 'name=a', 'num_blocks=1k'), "num_blocks '1k' is not a number"),
    (('device', 'create', 'malloc', 'name=a', 'num_blocks='), "num_blocks '' is not a number"),
    (('device', 'create', 'malloc', 'name=a', 'num_blocks=true'), "num_blocks 'true'"),
    (('device', 'create', 'file', 'name=a', 'read_only=yes'),
     "read_only 'yes' is not a truth value: true or false"),
    (('device', 'create', 'file', 'name=a', 'name=b'), 'name is given twice'),
    (('device', 'resize', 'a', '5x'), "SIZE '5x' is not a size"),
    (('device', 'resize', 'a', '16384P'), "SIZE '16384P' is not a size"),
    (('device', 'inject', 'a', 'reed', 'failure'),
     "OPERATION 'reed' is not all, read, write, unmap, flush, write_zeroes or compare"),
    (('device', 'inject', 'a', 'read', 'fail'),
     "FAULT 'fail' is not failure, pending, corrupt_data or nomem"),
    (('device', 'inject', 'a', 'read', 'failure', '--chance', '1000001'),
     "--chance '1000001' is not a whole number from 0 to 1000000"),
    (('namespace', 'remove', 'a', 'x'), "NSID 'x' is not a whole number from 1"),
    (('namespace', 'remove', 'a', '0'), "NSID '0'"),
    (('namespace', 'add', 'a', 'b', '--nsid', '+1'), "--nsid '+1'"),
    (('subsystem', 'create', 'a', '--max-namespaces', '-1'), "--max-namespaces '-1'"),
    (('subsystem', 'allow-any', 'a', 'yes'), "STATE 'yes' is not on or off"),
    (('listener', 'add', 'a', '::1', '65536'),
     "PORT '65536' is not a whole number from 1 to 65535"),
    (('listener', 'add', 'a', '::1', '--transport', 'rdma'), "--transport 'rdma' is not tcp"),
    (('log', 'level', 'warning'), "LEVEL 'warning' is not fatal, error, warn"),
    (('iostat', '-i', '0'), "--interval '0' is not a number of seconds"),
    (('iostat', '-n', '0'), "--count '0' is not a whole number from 1"),
    (('rpc',), 'METHOD is missing'),
    (('rpc', 'a', '{"b":'), 'PARAMS is not a JSON object: line 1, column 5'),
    (('rpc', 'a', '{"b": 1, "b": 2}'), 'PARAMS is not a JSON object'),
    (('rpc', 'a', '5'), 'PARAMS is not a JSON object'),
    (('completion', 'fish'), "SHELL 'fish' is not bash or zsh"),
    (('help', 'device', 'foo'), "there is no command 'foo'"),
    (('--', '--json'), "there is no command '--json'"),
)


def test_wrong_command_lines():
    """Nothing is asked of a node then: there is none at this socket."""
    for words, err in WRONG:
        result = h.expect(h.xsan(*words, env=h.environment(XSAN_SOCKET='/nonexistent')), h.USAGE,
                          err)
        check(" --help'" in result.err and result.err.count('\n') == 1, str(result))
        check(result.out == '', str(result))


def test_options_stand_anywhere():
    with h.node() as node:
        expected = node.ok('device', 'show', 'mem0', '--json')
        for words in (('-j', 'device', 'show', 'mem0'), ('device', '--json', 'show', 'mem0'),
                      ('device', 'show', '-jt5', 'mem0'), 
                      ('device', 'show', '-t', '5', '-j', 'mem0'),
                      ('device', 'show', '--timeout=5', '--json', '--', 'mem0')):
            check_equal(node.ok(*words), expected, str(words))


# ---- no node ----

def test_which_socket():
    """-s goes before XSAN_SOCKET, that before ./var/xsand.sock, that before the system's."""
    with h.directory() as path:
        empty = h.environment()
        named = h.environment(XSAN_SOCKET='named.sock')
        h.expect(h.xsan('status', '-s', 'given.sock', cwd=path, env=named), h.UNREACHABLE,
                 'there is no socket given.sock; start the node')
        h.expect(h.xsan('status', cwd=path, env=named), h.UNREACHABLE,
                 'there is no socket named.sock')
        if not os.path.exists('/run/xsan/xsand.sock'):
            h.expect(h.xsan('status', cwd=path, env=empty), h.UNREACHABLE,
                     'there is no socket /run/xsan/xsand.sock')
        (path / 'var').mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path / 'var/xsand.sock'))
        h.expect(h.xsan('status', cwd=path, env=empty), h.UNREACHABLE,
                 'nobody listens at ./var/xsand.sock any more; start the node')


def test_no_socket_to_talk_to():
    with h.directory() as path:
        (path / 'file').write_text('')
        h.expect(h.xsan('status', '-s', path / 'file'), h.UNREACHABLE, 'nobody listens at')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            datagram.bind(str(path / 'datagram'))
            h.expect(h.xsan('status', '-s', path / 'datagram'), h.UNREACHABLE,
                     'is no stream socket')
        h.expect(h.xsan('status', '-s', path / ('x' * 120)), h.UNREACHABLE, 'is longer than 107')
        h.expect(h.xsan('status', '-s', path / 'file/socket'), h.UNREACHABLE, 'Not a directory')


def test_help_and_version_need_no_node():
    env = h.environment(XSAN_SOCKET='/nonexistent')
    for words in (('--help',), ('device', '--help'), ('device', 'create', '-h'), ('help',),
                  ('help', 'device', 'create'), ('--version',), ('completion', 'bash')):
        h.expect(h.xsan(*words, env=env), h.OK)
    text = h.xsan('device', 'create', '--help').out
    for part in ('Usage: xsan device create DRIVER NAME=VALUE... [OPTIONS]\n', 'filename',
                 'Exit codes:\n  0  done\n', '-s, --socket SOCKET'):
        check(part in text, f'{part!r} is not in {text}')
    check_equal(h.xsan('help', 'device', 'create').out, text, 'help')
    result = h.expect(h.xsan('version', env=env), h.UNREACHABLE, 'there is no socket')
    check(result.out.startswith('xsan '), str(result))


# ---- what is asked ----

def test_options_become_parameters():
    """What cannot be seen in the node afterwards is seen in the request."""
    asked = []

    def answer(request):
        asked.append((request['jsonrpc'], request['method'], request.get('params')))
        return good(request, True)

    inject = {'name': 'bad', 'io_type': 'write_zeroes', 'error_type': 'corrupt_data'}
    fault = ('device', 'inject', 'bad', 'write_zeroes', 'corrupt_data')
    with h.server(answering(answer)) as path:
        for words, method, params in (
                (fault, 'bdev_error_inject_error', inject),
                (fault + ('-n', '3', '--skip', '4', '--offset', '5K', '--length', '6KiB',
                          '--chance', '7', '--queue-depth', '8', '--corrupt-offset', '9',
                          '--corrupt-value', '10'), 'bdev_error_inject_error',
                 inject | {'num': 3, 'skip': 4, 'offset': '5K', 'length': '6KiB',
                           'probability_ppm': 7, 'queue_depth': 8, 'corrupt_offset': 9,
                           'corrupt_value': 10}),
                (('device', 'clear', 'bad'), 'bdev_error_inject_error',
                 {'name': 'bad', 'io_type': 'clear'}),
                (('device', 'stats', 'a', '-r'), 'bdev_get_iostat',
                 {'name': 'a', 'reset_mode': 'all'}),
                (('namespace', 'add', 'n', 'd', '-r'), 'nvmf_subsystem_add_ns',
                 {'nqn': 'n', 'namespace': {'bdev_name': 'd', 'read_only': True}}),
                (('listener', 'add', 'n', '::'), 'nvmf_subsystem_add_listener',
                 {'nqn': 'n', 'listen_address': {'trtype': 'tcp', 'traddr': '::',
                                                 'trsvcid': '4420'}}),
                (('subsystem', 'create', 'n'), 'nvmf_create_subsystem',
                 {'nqn': 'n', 'allow_any_host': False}),
                (('rpc', 'm'), 'm', None),
                (('rpc', 'm', '{"a": [1, {}]}'), 'm', {'a': [1, {}]})):
            h.expect(h.xsan(*words, socket_path=path), h.OK)
            check_equal(asked.pop(), ('2.0', method, params), str(words))


# ---- what answers is no node, or a bad one ----

def answering(make):
    """A server that answers each request with make(request), bytes."""
    def serve(connection, over):
        while True:
            connection.sendall(make(h.read_request(connection)))
    return serve


def good(request, result):
    return json.dumps({'jsonrpc': '2.0', 'id': request['id'], 'result': result}).encode()


def check_answer(make, err, *words, code=h.UNREACHABLE):
    with h.server(answering(make)) as path:
        begin = time.monotonic()
        result = h.expect(h.xsan(*(words or ('methods',)), socket_path=path), code, err)
        check(time.monotonic() - begin < 10, f'that took too long: {result}')
        check(result.out == '', str(result))
        check(code != h.UNREACHABLE or str(path) in result.err, str(result))


def test_garbage():
    no_node = 'is no XSAN node: '
    for answer, err in (
            (b'HTTP/1.1 400 Bad Request\r\n\r\n', no_node + 'its answer is not JSON'),
            (b'{"jsonrpc": "2.0", }', no_node + 'its answer is not JSON'),
            (b'{"a": "\xff\xfe"}', no_node + 'its answer is not JSON'),
            (b'[]', no_node + 'its answer has neither a result nor an error'),
            (b'{}', no_node + 'its answer has neither a result nor an error'),
            (b'{"id": 1, "error": {"code": -1}}', no_node + 'its error has no message'),
            (b'{"id": 1, "error": "text"}', no_node + 'its error has no message'),
            (b'[' * 100000, no_node + 'its answer is nested too deep')):
        check_answer(lambda request, answer=answer: answer, err)
    for wrong_id in (None, 77, 'text'):
        check_answer(lambda request, wrong_id=wrong_id: good({'id': wrong_id}, []),
                     no_node + 'it answers another request')


def test_answer_of_another_form():
    """JSON-RPC, but not what the command asked for: shown as nothing, never a crash."""
    for result in (None, 5, 'text', [], {}, [[]], [{}], [None], {'bdevs': 5}, {'bdevs': [7]},
                   {'uptime_s': -1, 'tick_rate': -5, 'bdevs': [{'name': 'a', 'num_read_ops': 7}]},
                   {'uptime_s': 1e300, 'tick_rate': 1e-300, 'bdevs': [{'name': 'a'}]},
                   [{'name': 5, 'namespaces': [1], 'listen_addresses': {}}]):
        with h.server(answering(lambda request, result=result: good(request, result))) as path:
            for words in (('status',), ('device', 'list'), ('device', 'show', 'a'),
                          ('device', 'stats'), ('subsystem', 'list'), ('subsystem', 'show', 'a'),
                          ('namespace', 'list'), ('listener', 'list'), ('connections', '-q'),
                          ('reactors',), ('methods',), ('log', 'level'), ('config', 'reload'),
                          ('version',), ('iostat', '-n', '1', '-i', '0.1')):
                done = h.xsan(*words, socket_path=path)
                check(done.code in (h.OK, h.REFUSED), f'{result} made {done}')


def test_refusal_is_the_nodes_sentence():
    def refuse(request):
        return json.dumps({'jsonrpc': '2.0', 'id': None, 'error': {
            'code': -32600, 'message': 'no, \x1b[31mbecause\x07 of \u00e9\u0085'}}).encode()

    with h.server(answering(refuse)) as path:
        result = h.expect(h.xsan('device', 'list', socket_path=path), h.REFUSED)
        check_equal(result.err, 'xsan: no, ?[31mbecause? of \u00e9??\n', 'the sentence')


def test_foreign_text_in_a_table():
    """A host chooses its NQN; nothing of it may steer the terminal."""
    def answer(request):
        name = 'a\x1b]0;evil\x07b\u009b\u00fc'
        return good(request, [{'name': name, 'driver': 'file', 'num_blocks': 1, 'block_size': 512,
                               'uuid': ''}])

    with h.server(answering(answer)) as path:
        out = h.expect(h.xsan('device', 'list', socket_path=path), h.OK).out
        check_equal(out, 'NAME            DRIVER   SIZE  BLOCK  ACCESS      USED BY  UUID\n'
                         'a?]0;evil?b??\u00fc  file    512 B    512  read-write  -        -\n',
                    'the table')


def test_pieces():
    """Answers come in pieces of any size, with spaces between them."""
    def serve(connection, over):
        while True:
            for byte in b' \n' + good(h.read_request(connection), ['a', '}"{', '\u00fc']) + b'\n':
                connection.sendall(bytes([byte]))

    with h.server(serve) as path:
        out = h.expect(h.xsan('methods', socket_path=path), h.OK).out
        check_equal(out, 'a\n}"{\n\u00fc\n', 'methods')


def test_answers_with_space_around_them():
    """Several calls on one connection; what is left of one answer is not lost on the next."""
    def answer(request):
        return b' ' + good(request, [{'nqn': 'a', 'cntlid': 1, 'qid': 0}]) + b' \n'

    with h.server(answering(answer)) as path:
        shown = json.loads(h.expect(h.xsan('-j', 'connections', socket_path=path), h.OK).out)
        one = {'nqn': 'a', 'cntlid': 1, 'qid': 0}
        check_equal(shown, {'controllers': [one], 'qpairs': [one]}, 'connections')


def test_big_answer():
    """16 MiB are fine, more than 64 MiB are not."""
    name = 'x' * 1023
    with h.server(answering(lambda request: good(request, [name] * (16 << 10)))) as path:
        out = h.expect(h.xsan('methods', socket_path=path), h.OK).out
        check_equal(len(out), 16 << 20, 'the length')

    def flood(connection, over):
        h.read_request(connection)
        connection.sendall(b'{"id": 1, "result": "')
        while not over.is_set():
            connection.sendall(b'y' * (1 << 20))

    with h.server(flood) as path:
        h.expect(h.xsan('methods', socket_path=path), h.UNREACHABLE, 'is longer than 64 MiB')


def test_hang_up():
    def at_once(connection, over):
        h.read_request(connection)

    def in_between(connection, over):
        h.read_request(connection)
        connection.sendall(b'{"jsonrpc": "2.0", "id": 1, ')

    for serve in (at_once, in_between):
        with h.server(serve) as path:
            h.expect(h.xsan('status', socket_path=path), h.UNREACHABLE,
                     f'the node at {path} closed the connection without an answer')


def check_timeout(words, path):
    begin = time.monotonic()
    h.expect(h.xsan(*words, '--timeout', '0.5', socket_path=path), h.UNREACHABLE,
             f'the node at {path} has not answered within 0.5 s')
    took = time.monotonic() - begin
    check(0.5 <= took < 10, f'a timeout of 0.5 s took {took:.2f} s')


def test_hang():
    def silent(connection, over):
        over.wait(30)

    def trickle(connection, over):
        connection.sendall(b'{')
        while not over.wait(0.1):
            connection.sendall(b' ')

    for serve in (silent, trickle):
        with h.server(serve) as path:
            check_timeout(['status'], path)
    # It does not even read: more than a socket holds cannot be sent.
    with h.server(silent) as path:
        begin = time.monotonic()
        h.expect(h.xsan('rpc', 'a', '-', '-t', '0.5', socket_path=path,
                        stdin=json.dumps({'b': 'x' * (4 << 20)})), h.UNREACHABLE, 'within 0.5 s')
        check(time.monotonic() - begin < 10, 'sending took too long')


def test_a_long_wait_is_shown():
    """On a terminal, from two seconds on, and wiped before anything else is written."""
    is_shown = threading.Event()

    def slow(connection, _):
        request = h.read_request(connection)
        is_shown.wait(h.PATIENCE_S)
        connection.sendall(good(request, ['a']))

    def seen(text):
        if 'waiting' in text:
            is_shown.set()

    with h.server(slow) as path, ThreadPoolExecutor() as pool:
        elsewhere = pool.submit(h.xsan, 'methods', socket_path=path)
        begin = time.monotonic()
        code, text = h.xsan_on_terminal('methods', socket_path=path, seen=seen)
        check(time.monotonic() - begin >= 2, 'it is shown before two seconds are over')
        # A busy machine may be late with the first, and slow enough for another one.
        check(code == h.OK and re.fullmatch(
            r'(\rxsan: waiting for the node \(rpc_get_methods\), ([2-9]|\d\d) s)+\r\x1b\[Ka\n', text),
            f'on a terminal: {code} {text!r}')
        check_equal(h.expect(elsewhere.result(), h.OK).out, 'a\n', 'elsewhere')


def test_full_backlog():
    """A node that does not accept makes even connecting wait."""
    with h.directory() as path, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path / 'full.sock'))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path / 'full.sock'))
            check_timeout(['status'], path / 'full.sock')


# ---- output ----

def test_output_that_cannot_be_written():
    with h.node() as node:
        for words in (('device', 'list'), ('--json', 'device', 'list'), ('iostat', '-n', '1'),
                      ('--help',)):
            with open('/dev/full', 'w') as full:
                done = h.subprocess.run([h.XSAN, '-s', 'xsand.sock', *words], cwd=node.directory,
                                        stdout=full, stderr=h.subprocess.PIPE, text=True,
                                        timeout=h.PATIENCE_S, check=False)
            check(done.returncode == h.REFUSED and
                  'cannot write the output: No space' in done.stderr,
                  f'{words}: {done}')


if __name__ == '__main__':
    h.main(__name__)

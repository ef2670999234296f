#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The management server of libxbdev in a program of its own (examples/manage.c, built against the
shared library), and clients that are not ours: Python's sockets and its TLS, certificates by
openssl(1). Who may call and who may not, what the program hears of what they do, and that it stays
bounded and ends whatever they do. Loopback only."""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import tools_harness as h
from tools_harness import BUILD, check, check_equal

MANAGE = BUILD / 'test/integration/manage'
PATIENCE_S = 30
TOKEN = '0123456789abcdef-a-token'
NOT_TOKEN = '0123456789abcdef-a-tokeN'
EACCES, ENODEV = -13, -19
MAX_CONNECTIONS = 64


# ---- the program ----

class Program:
    """manage, with what it prints line by line. Ends with the block, and must have ended well."""

    def __init__(self, token=None, tls=None, client_ca=None, address='127.0.0.1', port=0):
        env = {key: value for key, value in os.environ.items() if not key.startswith('XBDEV_MGMT_')}
        if token is not None:
            env['XBDEV_MGMT_TOKEN'] = token
        if tls:
            env |= {'XBDEV_MGMT_TLS_CERT': f'{tls}.pem', 'XBDEV_MGMT_TLS_KEY': f'{tls}.key'}
        if client_ca:
            env['XBDEV_MGMT_TLS_CLIENT_CA'] = f'{client_ca}.pem'
        self.process = subprocess.Popen([MANAGE, address, str(port)], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def __enter__(self):
        try:
            words = self.line()
            check(re.fullmatch(r'listening on \S+ port \d+', words), words)
            self.port = int(words.split()[-1])
        except BaseException:
            self.process.kill()
            self.finish()
            raise
        return self

    def line(self):
        try:
            return self.lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise h.Failure('the program says nothing') from None

    def finish(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = 'never'
        self.reader.join()
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, errors

    def __exit__(self, kind, *_):
        begin = time.monotonic()
        code, errors = self.finish()
        if kind is None:
            check(code == 0, f'manage ended with {code}: {errors}')
            last = list(self.lines.queue)[-1]
            check_equal(last, 'ended', 'its last words')
            check(time.monotonic() - begin < 15, 'it takes long to end')


def refusal(**options):
    """What the program says that cannot start its server."""
    program = Program(**options)
    code, errors = program.finish()
    check_equal(code, 1, f'exit code of manage with {options}: {errors}')
    check(errors.startswith('the server: '), errors)
    return errors


# ---- clients ----

class Client:
    def __init__(self, port, context=None):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE_S)
        self.text = ''
        self.next_id = 0
        if context:
            raw = self.socket
            try:
                self.socket = context.wrap_socket(raw, server_hostname='127.0.0.1')
            except BaseException:
                raw.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode())

    def receive(self):
        """The next answer; None: the server has ended the connection."""
        while True:
            with contextlib.suppress(json.JSONDecodeError):
                answer, end = json.JSONDecoder().raw_decode(self.text)
                self.text = self.text[end:].lstrip()
                return answer
            try:
                more = self.socket.recv(65536).decode()
            except (ConnectionError, ssl.SSLError):
                return None
            if more == '':
                return None
            self.text += more

    def answer(self, method, **params):
        self.next_id += 1
        call = {'jsonrpc': '2.0', 'id': self.next_id, 'method': method}
        self.send(json.dumps(call | ({'params': params} if params else {})))
        answer = self.receive()
        check(answer is not None, f'{method}: the server ended the connection')
        check(answer['id'] in (self.next_id, None), f'{method}: {answer}')
        return answer

    def call(self, method, **params):
        answer = self.answer(method, **params)
        check('result' in answer, f'{method}: {answer}')
        return answer['result']

    def code(self, method, **params):
        answer = self.answer(method, **params)
        check('error' in answer and len(answer['error']['message']) > 10, f'{method}: {answer}')
        return answer['error']['code']

    def is_served(self):
        return [bdev['name'] for bdev in self.call('bdev_get_bdevs')] == ['disk']


# ---- certificates ----

def openssl(directory, *words):
    done = subprocess.run(['openssl', *words], cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0, f'openssl {words}: {done.stderr}')


def make_ca(directory, name):
    openssl(directory, 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
            '-subj', f'/CN={name}', '-keyout', f'{name}.key', '-out', f'{name}.pem')


def make_certificate(directory, name, ca, days=2):
    (directory / 'extensions').write_text('basicConstraints=critical,CA:FALSE\nsubjectAltName=IP:127.0.0.1\n')
    openssl(directory, 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}',
            '-keyout', f'{name}.key', '-out', f'{name}.csr')
    openssl(directory, 'x509', '-req', '-in', f'{name}.csr', '-CA', f'{ca}.pem', '-CAkey', f'{ca}.key',
            '-CAcreateserial', '-days', str(days), '-extfile', 'extensions', '-out', f'{name}.pem')


def make_certificates(directory):
    for ca in ('ca', 'other-ca'):
        make_ca(directory, ca)
    make_certificate(directory, 'server', 'ca')
    make_certificate(directory, 'client', 'ca')
    make_certificate(directory, 'stranger', 'other-ca')


def tls(directory, ca='ca', certificate=None, version=None):
    """The TLS of a client that trusts a CA for servers, and shows a certificate or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(directory / f'{ca}.pem')
    if certificate:
        context.load_cert_chain(directory / f'{certificate}.pem', directory / f'{certificate}.key')
    if version:
        context.maximum_version = version
    return context


def must_not_call(port, context, token=None):
    """A client that TLS turns away: during its handshake, or when it first waits for an answer."""
    try:
        with Client(port, context) as client:
            client.send(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'authenticate', 'params': {'token': token}}
                                   if token else {'jsonrpc': '2.0', 'id': 1, 'method': 'bdev_get_bdevs'}))
            answer = client.receive()
    except (ConnectionError, ssl.SSLError):
        return
    check(answer is None, f'a client without the right certificate is answered: {answer}')


# ---- who may call ----

def test_a_program_hears_of_what_clients_do(directory):
    with Program() as program, Client(program.port) as client:
        check(client.is_served(), 'the device is not listed')
        check('bdev_get_iostat' in client.call('rpc_get_methods'), 'the methods of statistics are missing')
        client.call('bdev_null_create', name='n', num_blocks=2048, block_size=512)
        check_equal(program.line(), 'added n, 1048576 bytes', 'the notification')
        client.call('bdev_null_resize', name='n', new_size=3)
        check_equal(program.line(), 'resized n, 3145728 bytes', 'the notification')
        with Client(program.port) as other:
            check_equal(other.call('bdev_get_bdevs', name='n')[0]['num_blocks'], 6144, 'blocks that another client sees')
            other.call('bdev_delete', name='n')
        check_equal(program.line(), 'removed n, 3145728 bytes', 'the notification')
        events = client.call('notify_get_notifications')
        check_equal([(event['type'], event['ctx']) for event in events],
                    [('bdev_register', 'n'), ('bdev_resize', 'n'), ('bdev_unregister', 'n')], 'events by asking')
        check_equal(client.code('bdev_delete', name='n'), ENODEV, 'code for a device that is not there')


def test_arrays_and_what_happens_in_them(directory):
    with Program() as program, Client(program.port) as client:
        for name in 'abc':
            client.call('bdev_malloc_create', name=name, num_blocks=16384, block_size=512)
        client.call('bdev_raid_create', name='md0', raid_level='raid1', base_bdevs=['a', 'b'], assume_clean=True)
        client.call('bdev_raid_add_base_bdev', raid_bdev='md0', base_bdev='c')
        client.call('bdev_raid_fail', raid_bdev='md0', base_bdev='a')
        client.call('bdev_raid_remove_base_bdev', name='a')
        events = [event for event in client.call('notify_get_notifications') if event['type'] == 'bdev_raid']
        check_equal([(e['ctx'], e['event'], e['base_bdev']) for e in events][:2],
                    [('md0', 'added', 'c'), ('md0', 'failed', 'a')], 'events of the array')
        check(all(e['text'] and e['time'] > 1700000000 for e in events), f'sentences and times: {events}')
        check_equal(client.code('bdev_raid_create', name='md0', raid_level='raid0', base_bdevs=['a']), -17,
                    'a name that is taken')
        client.call('bdev_raid_delete', name='md0')
        check_equal(client.call('bdev_raid_get_bdevs'), [], 'arrays')


def test_a_public_address_needs_authentication(directory):
    for address in ('0.0.0.0', '::', '192.0.2.1'):
        text = refusal(address=address)
        check(f'{address} is not a loopback address' in text and 'token' in text, text)
    # With a token the system is asked, which does not have this address of the documentation.
    text = refusal(address='192.0.2.1', token=TOKEN)
    check('loopback' not in text and '192.0.2.1' in text, text)
    for token in ('short', ''):
        text = refusal(token=token)
        check(f'{len(token)} characters' in text, text)


def test_the_right_token_and_wrong_ones(directory):
    with Program(token=TOKEN) as program:
        with Client(program.port) as client:
            check_equal(client.code('bdev_get_bdevs'), EACCES, 'code without a token')
        with Client(program.port) as client:
            for token in (NOT_TOKEN, TOKEN + 'x', TOKEN[:-1]):
                begin = time.monotonic()
                check_equal(client.code('authenticate', token=token), EACCES, f'code with {token}')
                check(time.monotonic() - begin > 0.5, 'tokens can be guessed quickly')
            check_equal(client.receive(), None, 'after three wrong tokens')
        with Client(program.port) as client:
            check_equal(client.call('authenticate', token=TOKEN), True, 'the right token')
            check(client.is_served(), 'who has the token is not served')
        # One connection's token is not another's.
        with Client(program.port) as client:
            check_equal(client.code('bdev_delete', name='disk'), EACCES, 'code without a token')


def test_the_address_in_use_is_told(directory):
    with Program() as program:
        text = refusal(port=program.port)
        check(str(program.port) in text and 'in use' in text.lower(), text)


# ---- TLS ----

def test_tls_takes_the_certificates_of_its_ca(directory):
    make_certificates(directory)
    with Program(tls=directory / 'server', client_ca=directory / 'ca') as program:
        with Client(program.port, tls(directory, certificate='client')) as client:
            check(client.is_served(), 'who has a certificate is not served')
            check_equal(client.socket.version(), 'TLSv1.3', 'the version of TLS')
        must_not_call(program.port, tls(directory))
        must_not_call(program.port, tls(directory, certificate='stranger'))
        must_not_call(program.port, None)  # clear text
        # Nothing older than version 1.3 is spoken.
        must_not_call(program.port, tls(directory, certificate='client', version=ssl.TLSVersion.TLSv1_2))
        with Client(program.port, tls(directory, certificate='client')) as client:
            check(client.is_served(), 'who has a certificate is not served after others')


def test_tls_tells_the_server_from_another(directory):
    make_certificates(directory)
    with Program(tls=directory / 'server', client_ca=directory / 'ca') as program:
        try:
            Client(program.port, tls(directory, ca='other-ca', certificate='client'))
            raise h.Failure('a client trusts a server of another CA')
        except ssl.SSLCertVerificationError:
            pass


def test_tls_and_a_token_are_both_asked_for(directory):
    make_certificates(directory)
    with Program(token=TOKEN, tls=directory / 'server', client_ca=directory / 'ca') as program:
        must_not_call(program.port, tls(directory), token=TOKEN)
        with Client(program.port, tls(directory, certificate='client')) as client:
            check_equal(client.code('bdev_get_bdevs'), EACCES, 'code with a certificate only')
        with Client(program.port, tls(directory, certificate='client')) as client:
            client.call('authenticate', token=TOKEN)
            check(client.is_served(), 'who has both is not served')


def test_tls_without_certificates_of_clients(directory):
    make_certificates(directory)
    with Program(token=TOKEN, tls=directory / 'server') as program:
        with Client(program.port, tls(directory)) as client:
            client.call('authenticate', token=TOKEN)
            check(client.is_served(), 'who has the token is not served')
    # Encryption alone lets anybody in, so it does not open a public address.
    text = refusal(address='0.0.0.0', tls=directory / 'server')
    check('not a loopback address' in text, text)


def test_tls_files_that_are_wrong(directory):
    make_certificates(directory)
    check('nobody' in refusal(tls=directory / 'nobody'), 'the missing file is not named')
    shutil.copy(directory / 'client.key', directory / 'mixed.key')
    shutil.copy(directory / 'server.pem', directory / 'mixed.pem')
    check('mixed' in refusal(tls=directory / 'mixed'), 'the key of another certificate is not named')
    check('nobody' in refusal(tls=directory / 'server', client_ca=directory / 'nobody'), 'the missing CA is not named')


def shown(port, ca):
    """Whom openssl's client is shown, by its serial number; it has to trust `ca`."""
    done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{port}', '-CAfile', f'{ca}.pem',
                           '-verify_return_error', '-brief', '-showcerts'], input='', capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    check('Verification: OK' in done.stderr, f'openssl s_client: {done.stderr}{done.stdout}')
    return re.search(r'Peer certificate: CN = (\S+)', done.stderr).group(1)


def copy_pair(directory, name):
    for kind in ('pem', 'key'):
        shutil.copy(directory / f'{name}.{kind}', directory / f'now.{kind}')


def test_tls_certificates_are_exchanged(directory):
    make_certificates(directory)
    make_certificate(directory, 'renewed', 'other-ca')
    make_certificate(directory, 'expired', 'ca', days=0)
    time.sleep(1.1)  # it is good until the end of the second
    copy_pair(directory, 'server')
    with Program(token=TOKEN, tls=directory / 'now') as program:
        with Client(program.port, tls(directory)) as client:
            client.call('authenticate', token=TOKEN)
            check_equal(shown(program.port, directory / 'ca'), 'server', 'the first certificate')
            # Without being told nothing changes, nor when what is there is no pair, or is none, or old.
            copy_pair(directory, 'renewed')
            check_equal(shown(program.port, directory / 'ca'), 'server', 'the certificate')
            for name, why in (('mixed', 'now.key'), ('expired', 'has expired'), ('empty', 'now.pem'), ('none', 'No such')):
                if name == 'mixed':
                    shutil.copy(directory / 'server.pem', directory / 'now.pem')
                elif name == 'expired':
                    copy_pair(directory, 'expired')
                elif name == 'empty':
                    (directory / 'now.pem').write_text('')
                else:
                    (directory / 'now.pem').unlink()
                program.process.send_signal(signal.SIGHUP)
                said = program.line()
                check(said.startswith('the old certificate stays: ') and why in said, f'{name}: {said}')
                check_equal(shown(program.port, directory / 'ca'), 'server', f'the certificate after {name}')
            copy_pair(directory, 'renewed')
            program.process.send_signal(signal.SIGHUP)
            check_equal(program.line(), 'a new certificate is in use', 'what is said')
            check_equal(shown(program.port, directory / 'other-ca'), 'renewed', 'the certificate after it')
            check(client.is_served(), 'who was there before is not served')
        with Client(program.port, tls(directory, ca='other-ca')) as client:
            client.call('authenticate', token=TOKEN)
            check(client.is_served(), 'who comes afterwards is not served')


def test_tls_another_ca_of_clients(directory):
    make_certificates(directory)
    shutil.copy(directory / 'ca.pem', directory / 'now.pem')
    with Program(tls=directory / 'server', client_ca=directory / 'now') as program:
        must_not_call(program.port, tls(directory, certificate='stranger'))
        with Client(program.port, tls(directory, certificate='client')) as client:
            check(client.is_served(), 'who has a certificate is not served')
            shutil.copy(directory / 'other-ca.pem', directory / 'now.pem')
            program.process.send_signal(signal.SIGHUP)
            check_equal(program.line(), 'a new certificate is in use', 'what is said')
            check(client.is_served(), 'who was there before is not served')
        must_not_call(program.port, tls(directory, certificate='client'))
        with Client(program.port, tls(directory, certificate='stranger')) as client:
            check(client.is_served(), 'who has a certificate of the new CA is not served')


def test_without_tls_there_is_nothing_to_read(directory):
    with Program(token=TOKEN) as program:
        program.process.send_signal(signal.SIGHUP)
        said = program.line()
        check('no management server runs with TLS' in said, said)


# ---- bounds ----

def test_strangers_and_crowds_are_bounded(directory):
    with Program(token=TOKEN) as program, contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(program.port))
        client.call('authenticate', token=TOKEN)
        # More strangers than there is place for, each with half a call: the first have to go.
        strangers = []
        for _ in range(2 * MAX_CONNECTIONS):
            strangers.append(stack.enter_context(Client(program.port)))
            strangers[-1].send('{"jsonrpc"')
        check_equal(strangers[0].receive(), None, 'what the first of many strangers receives')
        check(client.is_served(), 'strangers are in the way of who is known')
        late = stack.enter_context(Client(program.port))
        late.call('authenticate', token=TOKEN)
        check(late.is_served(), 'strangers are in the way of who comes late')
        # A stranger's call is not kept without bound.
        big = stack.enter_context(Client(program.port))
        with contextlib.suppress(ConnectionError):
            big.send('{"x": "' + 'x' * 100000)
        got = big.receive()
        check(got is None or 'error' in got, f'a stranger with a long call receives {got}')
        check(client.is_served(), 'the server does not serve any more')


def test_calls_that_are_no_calls(directory):
    with Program() as program:
        for text, code in (('nonsense', -32700), ('{"jsonrpc": "2.0", "id": 1, "method": "no"}', -32601),
                           ('[' * 1000, None), ('{"a": "' + 'x' * (2 << 20), None)):
            with Client(program.port) as client:
                with contextlib.suppress(ConnectionError):
                    client.send(text)
                got = client.receive()
                check(got is None or (code or got['error']['code']) == got['error']['code'], f'{text[:40]}: {got}')
                check(code is None or got is not None, f'{text[:40]} is not answered')
        with Client(program.port) as client:
            check(client.is_served(), 'the server does not serve any more')


def test_it_ends_under_its_clients(directory):
    with contextlib.ExitStack() as stack:
        with Program() as program:
            clients = [stack.enter_context(Client(program.port)) for _ in range(8)]
            for client in clients[:4]:
                client.send('{"jsonrpc": "2.0", "id"')
            check(clients[5].is_served(), 'it does not serve')
        for client in clients:
            check_equal(client.receive(), None, 'what clients receive at the end')


if __name__ == '__main__':
    if 'no TLS' in refusal(tls=BUILD / 'nothing'):
        for name in [name for name in globals() if name.startswith('test_tls_')]:
            print(f'{name}: SKIP: this build has no TLS')
            del globals()[name]
    h.main(__name__)

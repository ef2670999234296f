#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Alerts by mail through a real mail server, Exim, with its configuration, queue and mailboxes in the test's
directory: what is in the mailbox, TLS by the CA that is configured and no other, a password, who is refused."""

import email
import email.header
import email.policy
import email.utils
import grp
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from alerts_harness import RULE
from registry_harness import PATIENCE_S, RegistryTest, free_port, main

EXIM = shutil.which('exim4', path=f'{os.environ.get("PATH", "")}:/usr/sbin')
# It does not deliver as root.
USER = 'Debian-exim' if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
CONFIG = '''
exim_user = {user}
exim_group = {group}
deliver_drop_privilege = true
keep_environment =
add_environment = PATH=/usr/bin:/bin
spool_directory = {dir}/spool
log_file_path = {dir}/log.%s
pid_file_path = {dir}/pid
primary_hostname = mail.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = {tls_hosts}
tls_certificate = {dir}/server.crt
tls_privatekey = {dir}/server.key
acl_smtp_rcpt = check_rcpt
begin acl
check_rcpt:
  {demand}
  accept domains = example.org
         local_parts = ops : storage
  deny message = there is no such mailbox
begin routers
mailboxes:
  driver = accept
  local_parts = ops : storage
  transport = maildir
begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {dir}/mail/$local_part_data
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{registry}}}}{{eq{{$auth3}}{{so secret}}}}}}}}
  server_advertise_condition = ${{if def:tls_in_cipher}}
'''


def openssl(directory, *words):
    subprocess.run(['openssl', *words], cwd=directory, check=True, capture_output=True, timeout=PATIENCE_S)


def make_ca(directory, name):
    openssl(directory, 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
            '-subj', f'/CN={name}', '-keyout', f'{name}.key', '-out', f'{name}.crt')


class MailServer:
    """With a certificate for 127.0.0.1, of a CA of its own."""

    def __init__(self, has_tls=True, demand=''):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='xsan-mail-'))
        self.port, self.tls_port = free_port(), free_port()
        self.ca = self.dir / 'ca.crt'
        make_ca(self.dir, 'ca')
        (self.dir / 'ext').write_text('subjectAltName=IP:127.0.0.1\n')
        openssl(self.dir, 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=mail',
                '-keyout', 'server.key', '-out', 'server.csr')
        openssl(self.dir, 'x509', '-req', '-in', 'server.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial',
                '-days', '2', '-extfile', 'ext', '-out', 'server.crt')
        for name in ('spool', 'mail'):
            (self.dir / name).mkdir()
        user = pwd.getpwnam(USER)
        config = self.dir / 'exim.conf'
        config.write_text(CONFIG.format(
            user=USER, group=grp.getgrgid(user.pw_gid).gr_name, dir=self.dir, port=self.port,
            tls_port=self.tls_port, tls_hosts='*' if has_tls else '', demand=demand))
        if os.geteuid() == 0:
            for path in [self.dir, *self.dir.iterdir()]:
                os.chown(path, user.pw_uid, user.pw_gid)
            os.chown(config, 0, 0)
        with open(self.dir / 'out', 'wb') as out:
            self.process = subprocess.Popen([EXIM, '-C', config, '-bdf'], stdout=out, stderr=out,
                                            start_new_session=True)
        end = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f'no mail server: {self.log()}')
            time.sleep(0.1)

    def answers(self):
        try:
            with socket.create_connection(('127.0.0.1', self.port), timeout=5) as link:
                return link.recv(100).startswith(b'220')
        except OSError:
            return False

    def log(self):
        return '\n'.join(path.read_text() for path in [self.dir / 'out', *self.dir.glob('log.*')])

    def mailbox(self, name):
        """All mails that were delivered there."""
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                for path in sorted((self.dir / 'mail' / name / 'new').glob('*'))]

    def stop(self):
        # With those that deliver, which would write to its log.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        while self.dir.exists():
            shutil.rmtree(self.dir, ignore_errors=True)
            time.sleep(0.1)


class MailedAlerts(RegistryTest):
    def setUp(self):
        super().setUp()
        self.server = None
        self.serve()

    def tearDown(self):
        if self._outcome.result is not None and any(
                test is self for test, _ in self._outcome.result.failures + self._outcome.result.errors):
            print(f'--- log of the mail server of {self.id()}:\n{self.server.log()}')
        self.server.stop()
        super().tearDown()

    def serve(self, **options):
        """Another mail server."""
        if self.server is not None:
            self.server.stop()
        self.server = MailServer(**options)

    def begin(self, name=RULE, places='email:ops@example.org', url=None, **alerts):
        """A registry without a past that tells these places of an ill target."""
        if self.process is not None:
            self.assertEqual(self.stop(), 0)
            shutil.rmtree(self.data_dir)
        rules_path = self.dir / 'rules.json'
        rules_path.write_text(json.dumps([{
            'rule_name': name, 'metric_type': 'healthy_target_ratio', 'operator': '<', 'threshold_value': 0.5,
            'severity': 'critical', 'notification_targets': places}]))
        self.config['alerts'] = {
            'alert_rules_file': str(rules_path), 'evaluation_interval_sec': 1, 'smtp_from': 'registry@example.net',
            'smtp_url': url or f'smtp://127.0.0.1:{self.server.port}', **alerts}
        self.start()
        target = self.register()
        self.good('PUT', f'/api/v1/targets/{target}/status', {'status': 'failed'})

    def begin_trusting(self, **options):
        self.begin(smtp_ca_file=str(self.server.ca), **options)

    def ends(self, count=1):
        """How the first notifications ended, by their places."""
        def ended():
            return [n for n in self.good('GET', '/api/v1/alerts')['notifications'] if n['status'] != 'waiting']
        self.wait_for(lambda: len(ended()) >= count, 'the mails are not sent')
        return {n['target']: n for n in ended()}

    def sent(self):
        """The one mail, which was taken at once."""
        end = self.ends()['email:ops@example.org']
        self.assertEqual((end['status'], end['tries'], end['problem']), ('sent', 1, ''))
        self.wait_for(lambda: self.server.mailbox('ops'), 'it is not delivered')
        mail, = self.server.mailbox('ops')
        return mail

    def not_sent(self, words):
        """It was given up for that reason, and nothing came through."""
        end = self.ends()['email:ops@example.org']
        self.assertEqual((end['status'], end['tries']), ('failed', 4))
        self.assertRegex(end['problem'], words)
        self.assertEqual(self.server.mailbox('ops'), [])

    def way(self, mail):
        """By which protocol it came, as the server says (RFC 3848)."""
        return re.search(r' with (\w+)', ' '.join(mail['Received'].split())).group(1)

    def test_what_is_in_the_mailbox(self):
        before = time.time()
        self.begin_trusting()
        mail = self.sent()
        self.assertEqual(self.way(mail), 'esmtps')
        self.assertEqual((mail['From'], mail['To']), ('registry@example.net', 'ops@example.org'))
        self.assertEqual(mail['Subject'], f'[xsan-registry] {RULE} is firing')
        self.assertRegex(mail['Message-ID'], r'^<[0-9a-f-]{36}@example\.net>$')
        at = email.utils.parsedate_to_datetime(mail['Date']).timestamp()
        self.assertTrue(before - 1 <= at <= time.time() + 1, mail['Date'])
        self.assertEqual((mail.get_content_type(), mail.defects), ('text/plain', []))
        self.assertEqual(mail.get_content().strip().splitlines(), [
            f'ALERT: {RULE} is firing', 'Metric: healthy_target_ratio', 'Current Value: 0.00', 'Threshold: less_than 0.50',
            'Severity: critical'])
        # And with TLS from the first byte.
        self.serve()
        self.begin_trusting(url=f'smtps://127.0.0.1:{self.server.tls_port}')
        self.assertEqual(self.way(self.sent()), 'esmtps')

    def test_names_that_are_no_plain_text(self):
        for name in ('Regal 7 fällt aus, und zwar ganz und gar', 'first\n.\nBcc: storage@example.org',
                     'looks =?UTF-8?B?bGlrZQ==?= one', 'x' + '\u20ac' * 20):
            with self.subTest(name=name):
                self.begin_trusting(name=name)
                mail = self.sent()
                self.assertTrue(bytes(mail).isascii())
                self.assertEqual(''.join(text.decode(code or 'ascii') if isinstance(text, bytes) else text
                                         for text, code in email.header.decode_header(self.raw_subject())),
                                 f'[xsan-registry] {name} is firing')
                self.assertIsNone(mail['Bcc'])
                self.assertTrue(mail.get_content().startswith(f'ALERT: {name} is firing\nMetric: '),
                                mail.get_content())
                self.assertEqual(self.server.mailbox('storage'), [])
                shutil.rmtree(self.server.dir / 'mail' / 'ops')

    def raw_subject(self):
        path, = (self.server.dir / 'mail/ops/new').glob('*')
        return email.message_from_bytes(path.read_bytes())['Subject']

    def test_whom_tls_trusts(self):
        # Another CA, the system's, and the right one for another name.
        make_ca(self.server.dir, 'stranger')
        self.begin(smtp_ca_file=str(self.server.dir / 'stranger.crt'))
        self.not_sent('certificate')
        self.begin()
        self.not_sent('certificate')
        self.begin_trusting(url=f'smtp://localhost:{self.server.port}')
        self.not_sent('localhost')
        # In clear text only when nobody has asked for better.
        self.serve(has_tls=False)
        self.begin_trusting()
        self.not_sent('TLS|STARTTLS')
        self.begin()
        self.assertEqual(self.way(self.sent()), 'esmtp')

    def test_a_password(self):
        self.serve(demand='require authenticated = *')
        password = self.dir / 'password'
        password.write_text('so secret\n')
        named = {'smtp_user': 'registry', 'smtp_password_file': str(password)}
        self.begin_trusting()
        self.not_sent('550')
        password.write_text('a wrong one\n')
        self.begin_trusting(**named)
        self.not_sent('denied')
        password.write_text('so secret\n')
        self.begin_trusting(**named)
        self.assertEqual(self.way(self.sent()), 'esmtpsa')

    def test_several_of_whom_one_is_refused(self):
        places = [f'email:{name}@example.org' for name in ('nobody', 'ops', 'storage')]
        self.begin_trusting(places=', '.join(places))
        ends = self.ends(3)
        self.assertEqual([(ends[place]['status'], ends[place]['tries']) for place in places],
                         [('failed', 4), ('sent', 1), ('sent', 1)])
        self.assertIn('550', ends[places[0]]['problem'])
        for name in ('ops', 'storage'):
            self.wait_for(lambda name=name: self.server.mailbox(name), f'it is not delivered to {name}')
            mail, = self.server.mailbox(name)
            self.assertEqual((mail['To'], mail['Subject']),
                             (f'{name}@example.org', f'[xsan-registry] {RULE} is firing'))
        self.assertFalse((self.server.dir / 'mail/nobody').exists())


if __name__ == '__main__':
    if EXIM is None:
        print('SKIP: exim4 is not installed')
        sys.exit(77)
    main()

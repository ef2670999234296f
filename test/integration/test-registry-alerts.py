#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of the registry: from pending to firing to resolved, told to a webhook, to Slack and by mail,
grouped, repeated, silenced, tried again; rules that cannot be."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import threading
import time
import warnings

from alerts_harness import RULE, Hook, rule
from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, free_port, main

with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import asyncore
    import smtpd


class Mail(smtpd.SMTPServer):
    """A real SMTP server, of Python's library."""

    def __init__(self):
        self.got = []
        self.port = free_port()
        self.map = {}
        super().__init__(('127.0.0.1', self.port), None, map=self.map, decode_data=True)
        self.ending = False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while not self.ending:
            asyncore.loop(timeout=0.1, map=self.map, count=1)

    def process_message(self, peer, mailfrom, rcpttos, data, **_):
        self.got.append((mailfrom, rcpttos, data))

    def end(self):
        self.ending = True
        self.thread.join(PATIENCE_S)
        self.close()


class Alerts(RegistryTest):
    def setUp(self):
        super().setUp()
        self.hook, self.slack, self.mail = Hook(), Hook(), Mail()
        self.rules_path = self.dir / 'rules.json'
        self.config['alerts'] = {
            'alert_rules_file': str(self.rules_path), 'evaluation_interval_sec': 1,
            'smtp_url': f'smtp://127.0.0.1:{self.mail.port}', 'smtp_from': 'registry@example.org',
            'slack_webhook_url': self.slack.url}

    def tearDown(self):
        for server in (self.hook, self.slack, self.mail):
            server.end()
        super().tearDown()

    def rule(self, name=RULE, **members):
        return rule(self.hook, name, **members)

    def begin(self, *rules):
        self.rules_path.write_text(json.dumps({'rules': rules}))
        self.start()

    def stand(self, name=RULE):
        return next(r for r in self.good('GET', '/api/v1/alerts')['rules'] if r['rule_name'] == name)

    def notifications(self):
        return self.good('GET', '/api/v1/alerts')['notifications']

    def told(self):
        """How often the hook was told, when nothing is on its way to it."""
        self.wait_for(lambda: all(n['status'] != 'waiting' for n in self.notifications()), 'it is not told')
        return len(self.hook.got)

    def is_saved(self):
        """Whether the data has it that the rule was told."""
        copy = self.dir / 'copy.db'
        copy.write_bytes(self.call('GET', '/api/v1/backup').body)
        with contextlib.closing(sqlite3.connect(copy)) as data:
            found = data.execute("SELECT text FROM documents WHERE name = 'alerts'").fetchone()
        return found is not None and RULE in json.loads(found[0])

    def make_ill(self):
        self.target = self.register()
        self.good('PUT', f'/api/v1/targets/{self.target}/status', {'status': 'failed'})

    def make_well(self):
        self.good('PUT', f'/api/v1/targets/{self.target}/status', {'status': 'available'})

    def test_fires_and_is_resolved(self):
        self.begin(self.rule(duration_sec=8))
        self.assertEqual(self.stand()['state'], 'inactive')
        start = time.monotonic()
        self.make_ill()
        self.wait_for(lambda: self.stand()['state'] == 'pending', 'it is not pending')
        self.wait_for(lambda: self.stand()['state'] == 'firing', 'it does not fire')
        self.assertGreaterEqual(time.monotonic() - start, 7)
        self.wait_for(lambda: self.hook.got, 'nobody is told')
        alert, = self.hook.got[0]['alerts']
        self.assertEqual((alert['rule_name'], alert['state'], alert['value'], alert['severity']),
                         ('no targets are well', 'firing', 0.0, 'high'))
        self.make_well()
        self.wait_for(lambda: len(self.hook.got) == 2, 'nobody is told that it is over')
        self.assertEqual(self.hook.got[1]['alerts'][0]['state'], 'resolved')
        self.assertEqual(self.stand()['state'], 'inactive')
        self.wait_equal(lambda: [(n['status'], n['tries']) for n in self.notifications()], [('sent', 1)] * 2,
                        'they are not told once each')

    def test_all_ways_and_one_letter_for_each(self):
        places = f'email:ops@example.org, slack:#storage, webhook:{self.hook.url}'
        self.begin(self.rule('one', notification_targets=places),
                   self.rule('two', notification_targets=places))
        self.make_ill()
        self.wait_for(lambda: self.hook.got and self.slack.got and self.mail.got,
                      'not all have been told')
        self.assertEqual([a['rule_name'] for a in self.hook.got[0]['alerts']], ['one', 'two'])
        self.assertEqual(self.slack.got[0]['channel'], '#storage')
        self.assertIn('ALERT: one is firing', self.slack.got[0]['text'])
        sender, receivers, text = self.mail.got[0]
        self.assertEqual((sender, receivers), ('registry@example.org', ['ops@example.org']))
        self.assertIn('Subject: [xsan-registry] one is firing and others', text)
        self.assertIn('ALERT: two is firing', text)
        time.sleep(2.5)
        self.assertEqual((len(self.hook.got), len(self.slack.got), len(self.mail.got)), (1, 1, 1))

    def test_is_repeated_and_silenced(self):
        self.begin(self.rule(repeat_interval_sec=1))
        self.make_ill()
        self.wait_for(lambda: len(self.hook.got) >= 3, 'it is not repeated')
        self.good('PUT', '/api/v1/alerts/no%20targets%20are%20well/silence',
                  {'duration_minutes': 5, 'comment': 'x' + 'é' * 80})
        time.sleep(1.5)
        told = self.told()
        time.sleep(2.5)
        self.assertEqual(len(self.hook.got), told)
        self.assertEqual((self.stand()['state'], self.stand()['comment']), ('firing', 'x' + 'é' * 63))
        # A silence outlives the registry.
        self.assertEqual(self.stop(), 0)
        self.start()
        self.wait_for(lambda: self.stand()['state'] == 'firing', 'it does not fire')
        time.sleep(1.5)
        self.assertEqual(len(self.hook.got), told)
        self.good('DELETE', '/api/v1/alerts/no%20targets%20are%20well/silence')
        self.wait_for(lambda: len(self.hook.got) > told, 'nobody is told after the silence')
        self.refused(404, 'DELETE', '/api/v1/alerts/none/silence')
        self.refused(422, 'PUT', '/api/v1/alerts/none/silence', {})

    def test_silences_of_an_earlier_version(self):
        until = int(time.time() * 1000) + 3600000
        self.data_dir.mkdir()
        path = self.data_dir / 'silences.json'
        path.write_text(json.dumps({
            RULE: {'until_ms': until, 'comment': 'since \u00e4ges'},
            'over': {'until_ms': 5, 'comment': ''}, 'odd': 7}))
        self.begin(self.rule(), self.rule('over'), self.rule('odd'))
        for _ in range(2):
            self.assertEqual([(r['silenced_until_ms'], r['comment'])
                              for r in self.good('GET', '/api/v1/alerts')['rules']],
                             [(until, 'since \u00e4ges'), (0, ''), (0, '')])
            self.assertFalse(path.exists())
            self.assertTrue(path.with_suffix('.json.taken').exists())
            self.assertEqual(self.stop(), 0)
            self.start()
        # One that is no such file is left alone, and takes nothing away.
        self.assertEqual(self.stop(), 0)
        path.write_text('[')
        self.start()
        self.assertEqual(self.stand()['silenced_until_ms'], until)
        self.wait_for_log(f'{path} is not what was saved there')
        self.assertEqual(path.read_text(), '[')

    def test_what_was_told_outlives_the_registry(self):
        self.begin(self.rule())
        self.make_ill()
        self.wait_for(lambda: self.hook.got, 'nobody is told')
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.wait_for(self.is_saved, 'it is not saved that it was told')
            self.stop(number)
            self.start()
            self.wait_for(lambda: self.stand()['state'] == 'firing', 'it does not fire')
            time.sleep(2.5)
            self.assertEqual(self.hook.states(), ['firing'])
        self.assertEqual(self.stop(), 0)
        # It is over while nobody looks: that is told, too.
        self.rules_path.write_text(json.dumps([self.rule(threshold_value=0)]))
        self.start()
        self.wait_for(lambda: len(self.hook.got) > 1, 'nobody is told that it is over')
        time.sleep(2.5)
        self.assertEqual(self.hook.states(), ['firing', 'resolved'])

    def test_what_was_not_sent_is_told_after_a_crash(self):
        self.hook.hold()
        self.begin(self.rule())
        self.make_ill()
        self.wait_for(lambda: self.hook.held, 'it is not sent')
        self.stop(signal.SIGKILL)
        self.hook.release()
        self.start()
        self.wait_for(lambda: self.hook.got, 'nobody is told')
        time.sleep(2.5)
        self.assertEqual(self.hook.states(), ['firing'])

    def test_is_tried_again(self):
        flaky, gone = Hook(refusals=2), free_port()
        self.begin(self.rule('flaky', notification_targets=f'webhook:{flaky.url}'),
                   self.rule('gone', notification_targets=f'webhook:http://127.0.0.1:{gone}/'))
        self.good('POST', '/api/v1/alerts/flaky/test')
        self.good('POST', '/api/v1/alerts/gone/test')
        self.refused(404, 'POST', '/api/v1/alerts/none/test')

        def ends():
            return {n['target']: (n['status'], n['tries']) for n in self.notifications()}
        self.wait_for(lambda: ends().get(f'webhook:http://127.0.0.1:{gone}/') == ('failed', 4),
                      'it is not given up')
        self.wait_equal(lambda: ends()[f'webhook:{flaky.url}'], ('sent', 3), 'it is not sent in the end')
        self.assertEqual(flaky.got[0]['alerts'][0]['state'], 'a test')
        flaky.end()

    def test_rules_are_read_again(self):
        self.begin(self.rule())
        self.rules_path.write_text(json.dumps([self.rule('another')]))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: [r['rule_name'] for r in self.good('GET', '/api/v1/alerts')['rules']]
                      == ['another'], 'they are not read again')
        self.rules_path.write_text('[{"rule_name": "x"}]')
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: 'not reloaded, nothing was changed: ' in self.log_text(), 'nothing is said')
        self.assertEqual(self.stand('another')['state'], 'inactive')

    def test_every_metric_is_measured(self):
        metrics = ['healthy_target_ratio', 'average_health_score', 'failure_rate',
                   'api_response_time', 'memory_usage', 'cpu_usage', 'disk_usage',
                   'registrations_per_hour', 'recoveries_per_hour', 'api_requests_per_minute']
        self.begin(*[self.rule(metric, metric_type=metric, operator='>', threshold_value=1e12)
                     for metric in metrics])
        self.register()

        def values():
            return {r['rule_name']: r['value'] for r in self.good('GET', '/api/v1/alerts')['rules']}
        self.wait_for(lambda: values()['registrations_per_hour'] == 1, 'it is not counted')
        # Those before it in that round may be of a moment before.
        self.wait_for(lambda: values()['average_health_score'] > 0, 'its health is not measured')
        got = values()
        self.assertEqual(got['healthy_target_ratio'], 1)
        for metric in ('average_health_score', 'memory_usage', 'disk_usage',
                       'api_requests_per_minute', 'api_response_time'):
            self.assertGreater(got[metric], 0, metric)

    def test_rules_that_cannot_be(self):
        for change, where in (({'metric_type': 'mood'}, 'rules[0].metric_type'),
                              ({'operator': 'is'}, 'rules[0].operator'),
                              ({'notification_targets': 'pigeon:x'}, 'pigeon:x'),
                              ({'notification_targets': 'email:x'}, 'no mail address'),
                              ({'colour': 1}, 'rules[0].colour')):
            self.rules_path.write_text(json.dumps({'rules': [self.rule(**change)]}))
            self.config_path.write_text(json.dumps(self.config))
            done = subprocess.run([REGISTRY, '--config', self.config_path], capture_output=True,
                                  text=True, timeout=PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(str(self.rules_path), done.stderr)
            self.assertIn(where, done.stderr)


if __name__ == '__main__':
    main()

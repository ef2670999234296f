#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of the registry: from pending to firing to resolved, told to a webhook, to Slack and by mail,
grouped, repeated, silenced, tried again; rules that cannot be."""

import http.server
import json
import signal
import subprocess
import threading
import time
import warnings

from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, free_port, main

with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import asyncore
    import smtpd


class Hook(http.server.ThreadingHTTPServer):
    """Takes what is posted; refuses the first `refusals`."""

    def __init__(self, refusals=0):
        self.got, self.refusals, self.refused = [], refusals, 0
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                refuse = hook.refused < hook.refusals
                hook.refused += refuse
                if not refuse:
                    hook.got.append(body)
                self.send_response(500 if refuse else 200)
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *_):
                pass
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_address[1]}/hook'
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def end(self):
        self.shutdown()
        self.server_close()


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

    def rule(self, name='no targets are well', **members):
        return {'rule_name': name, 'metric_type': 'healthy_target_ratio', 'operator': 'less_than',
                'threshold_value': 0.5, 'duration_sec': 0, 'severity': 'high',
                'notification_targets': f'webhook:{self.hook.url}', **members}

    def begin(self, *rules):
        self.rules_path.write_text(json.dumps({'rules': rules}))
        self.start()

    def stand(self, name='no targets are well'):
        return next(r for r in self.good('GET', '/api/v1/alerts')['rules'] if r['rule_name'] == name)

    def make_ill(self):
        self.target = self.register()
        self.good('PUT', f'/api/v1/targets/{self.target}/status', {'status': 'failed'})

    def make_well(self):
        self.good('PUT', f'/api/v1/targets/{self.target}/status', {'status': 'available'})

    def test_fires_and_is_resolved(self):
        self.begin(self.rule(duration_sec=2))
        self.assertEqual(self.stand()['state'], 'inactive')
        self.make_ill()
        start = time.monotonic()
        self.wait_for(lambda: self.stand()['state'] == 'pending', 'it is not pending')
        self.wait_for(lambda: self.stand()['state'] == 'firing', 'it does not fire')
        self.assertGreaterEqual(time.monotonic() - start, 1)
        self.wait_for(lambda: self.hook.got, 'nobody is told')
        alert, = self.hook.got[0]['alerts']
        self.assertEqual((alert['rule_name'], alert['state'], alert['value'], alert['severity']),
                         ('no targets are well', 'firing', 0.0, 'high'))
        self.make_well()
        self.wait_for(lambda: len(self.hook.got) == 2, 'nobody is told that it is over')
        self.assertEqual(self.hook.got[1]['alerts'][0]['state'], 'resolved')
        self.assertEqual(self.stand()['state'], 'inactive')
        done = self.good('GET', '/api/v1/alerts')['notifications']
        self.assertEqual([(n['status'], n['tries']) for n in done], [('sent', 1)] * 2)

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
        told = len(self.hook.got)
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

    def test_is_tried_again(self):
        flaky, gone = Hook(refusals=2), free_port()
        self.begin(self.rule('flaky', notification_targets=f'webhook:{flaky.url}'),
                   self.rule('gone', notification_targets=f'webhook:http://127.0.0.1:{gone}/'))
        self.good('POST', '/api/v1/alerts/flaky/test')
        self.good('POST', '/api/v1/alerts/gone/test')
        self.refused(404, 'POST', '/api/v1/alerts/none/test')

        def ends():
            return {n['target']: (n['status'], n['tries'])
                    for n in self.good('GET', '/api/v1/alerts')['notifications']}
        self.wait_for(lambda: ends().get(f'webhook:http://127.0.0.1:{gone}/') == ('failed', 4),
                      'it is not given up')
        self.assertEqual(ends()[f'webhook:{flaky.url}'], ('sent', 3))
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

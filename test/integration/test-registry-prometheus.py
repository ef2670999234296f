#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prometheus judges what is made for it: promtool the metrics and the rules in packaging/, a real
server scrapes the registry, loads the rules and runs every expression of the board.

Skipped (77) where Prometheus is not installed: it is 96 MB, so only make check-long has it."""

import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request

from node_harness import TOP
from registry_harness import PATIENCE_S, RegistryTest, free_port, main

PROMTOOL, PROMETHEUS = shutil.which('promtool'), shutil.which('prometheus')
RULES = TOP / 'packaging/prometheus/xsan-registry.rules.yml'
BOARD = TOP / 'packaging/grafana/xsan-registry.json'
if PROMTOOL is None or PROMETHEUS is None:
    print('SKIP: prometheus is not installed (scripts/bootstrap.sh long)')
    sys.exit(77)


class Prometheus(RegistryTest):
    def setUp(self):
        super().setUp()
        self.server = None
        self.start()
        self.register()
        self.good('PUT', f"/api/v1/targets/{self.register(1)}/status", {'status': 'failed'})

    def tearDown(self):
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        super().tearDown()

    def promtool(self, *words, text=None):
        done = subprocess.run([PROMTOOL, *words], input=text, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_metrics(self):
        served = self.call('GET', '/metrics').text
        self.assertEqual(self.promtool('check', 'metrics', text=served), '')
        # It does complain.
        with self.assertRaises(AssertionError):
            self.promtool('check', 'metrics', text='# TYPE x counter\nx 1\n')

    def test_rules(self):
        self.assertIn('6 rules found', self.promtool('check', 'rules', RULES))
        served = set(re.findall(r'^(xsan_registry_\w+)', self.call('GET', '/metrics').text, re.M))
        self.assertLessEqual(set(re.findall(r'xsan_registry_\w+', RULES.read_text())), served)

    def ask(self, path, **query):
        where = f'http://127.0.0.1:{self.prometheus_port}/api/v1/{path}?{urllib.parse.urlencode(query)}'
        with urllib.request.urlopen(where, timeout=PATIENCE_S) as response:
            return json.load(response)['data']

    def value(self, expression):
        try:
            result = self.ask('query', query=expression)['result']
        except OSError:
            return None
        return float(result[0]['value'][1]) if result else None

    def test_a_real_one(self):
        self.prometheus_port = free_port()
        path = self.dir / 'prometheus.yml'
        path.write_text(json.dumps({  # which is YAML as well
            # A scrape has as long as the interval, and one that is late leaves nothing to show.
            'global': {'scrape_interval': '5s', 'scrape_timeout': '5s', 'evaluation_interval': '200ms'},
            'rule_files': [str(RULES)],
            'scrape_configs': [{'job_name': 'xsan-registry', 'static_configs': [
                {'targets': [f'127.0.0.1:{self.port}']}]}]}))
        with open(self.dir / 'prometheus.log', 'wb') as log:
            self.server = subprocess.Popen(
                [PROMETHEUS, f'--config.file={path}', f'--storage.tsdb.path={self.dir / "tsdb"}',
                 f'--web.listen-address=127.0.0.1:{self.prometheus_port}'], stdout=log, stderr=log)
        self.wait_for(lambda: self.value('up{job="xsan-registry"}') == 1, 'nothing is scraped')
        self.wait_equal(lambda: self.value('xsan_registry_targets{state="failed"}'), 1, 'it is not counted')
        # The rules are loaded, and what they look for is found.
        self.wait_for(lambda: {rule['name']: rule['state'] for group in self.ask('rules')['groups']
                               for rule in group['rules']}.get('RegistryTargetsFailed') == 'pending',
                      'the rule does not see the failed target')
        # (Until it was evaluated it is "unknown".)
        self.wait_equal(lambda: {rule['health'] for group in self.ask('rules')['groups'] for rule in group['rules']},
                        {'ok'}, 'rules are not well')
        # Every expression of the board is one, and those of one moment have a value.
        for panel in json.loads(BOARD.read_text())['panels']:
            for target in panel['targets']:
                expression = target['expr'].replace('$instance', '.*').replace('$__rate_interval', '5m')
                with self.subTest(expression=expression):
                    self.ask('query', query=expression)
                    if 'rate(' not in expression and 'increase(' not in expression and \
                            'certificate' not in expression:
                        self.wait_for(lambda e=expression: self.value(e) is not None, 'it has no value')
        # It is told when the registry goes.
        self.stop()
        self.wait_for(lambda: self.value('up{job="xsan-registry"}') == 0, 'its end is not seen')


if __name__ == '__main__':
    main()

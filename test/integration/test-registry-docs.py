#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What users of the registry read is true: the manual pages name every member of the configuration with
the range that the daemon tells, every option and exit code; docs/registry.md names every section and
its commands exist; the board for Grafana shows metrics that are served."""

import json
import re
import subprocess

from node_harness import TOP
from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, main

MAN = TOP / 'packaging/man'
BOARD = TOP / 'packaging/grafana/xsan-registry.json'
TABLES = sorted((TOP / 'daemon/xsan-registry').glob('config*.c'))
# Of the configuration, and what its tables are called.
SECTIONS = {
    'service': 'service', 'discovery': 'discovery', 'discovery_controller': 'central',
    'health_monitoring': 'health', 'failover': 'failover', 'load_balancer': 'balancer',
    'integration': 'integration', 'security': 'security', 'alerts': 'alerts', 'logging': 'logging',
    'persistence': 'persistence'}


def plain(page):
    """A manual page without its markup for fonts."""
    text = (MAN / page).read_text().replace('\\-', '-')
    return re.sub(r'\\f[BIRP]|"', '', text)


class Manual(RegistryTest):
    def complaint(self, config):
        self.config_path.write_text(json.dumps(config))
        done = subprocess.run([REGISTRY, '--check', '--config', self.config_path], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
        return done.stderr.strip() if done.returncode == 2 else ''

    def members(self, table):
        """The names in a table of parameters: what the daemon lists is cut off where it is long."""
        text = '\n'.join(path.read_text() for path in TABLES)
        found = re.findall(rf' {table}_params\[\] = {{\n(.*?)^}};', text, re.S | re.M)
        self.assertEqual(len(found), 1, table)
        names = re.findall(r'^\t{"(\w+)", XU_PARAM', found[0], re.M)
        self.assertTrue(names)
        return names

    def entry(self, section, member):
        """What the page says of a member: the paragraph whose head names it."""
        page = plain('xsan-registry.json.5')
        part = re.split(r'^\.S[SH] ', page.split(f'.SS {section}\n')[1], flags=re.M)[0]
        entries = [text for text in part.split('.TP\n') if re.search(rf'\b{member}\b', text.split('\n')[0])]
        self.assertEqual(len(entries), 1, f'{section}.{member} has {len(entries)} entries')
        return entries[0]

    def test_every_member_of_the_configuration(self):
        self.assertEqual(sorted(self.members('document')), sorted(SECTIONS))
        count = 0
        for section, table in SECTIONS.items():
            self.assertIn(self.members(table)[0], self.complaint({section: {'?': 0}}))
            for member in self.members(table):
                with self.subTest(section=section, member=member):
                    entry = self.entry(section, member)
                    count += 1
                    # The range, as the daemon tells it when a number is far beyond.
                    found = re.search(r'(\d+) to (\d+)$', self.complaint({section: {member: 4294967295}}))
                    if found:
                        self.assertIn(found.group(2), re.findall(r'\d+', entry))
                    for choice in re.findall(r'"(\w+)"', self.complaint({section: {member: '?'}}).partition(
                            'one of: ')[2]):
                        self.assertRegex(entry, rf'\b{choice}\b')
        self.assertGreater(count, 60)
        tokens = self.entry('security', 'tokens')
        for member in self.members('token'):
            self.assertRegex(tokens, rf'\b{member}\b')

    def test_the_example_is_good(self):
        text = (MAN / 'xsan-registry.json.5').read_text()
        example = json.loads(re.search(r'\.nf\n(.*?)\.fi', text, re.S).group(1))
        for token in example['security']['tokens']:
            path = self.dir / token['name']
            path.write_text('0123456789abcdef\n')
            token['token_file'] = str(path)
        self.assertEqual(self.complaint(example), '')

    def test_every_option(self):
        page = plain('xsan-registry.8')
        usage = subprocess.run([REGISTRY, '--help'], capture_output=True, text=True, timeout=PATIENCE_S,
                               check=True).stdout
        options = set(re.findall(r'--[a-z-]+', usage))
        self.assertGreater(len(options), 8)
        self.assertEqual(options, set(re.findall(r'(?<!\w)--[a-z-]+', page)))
        self.assertEqual(re.findall(r'^\.B (\d)$', page, re.M), ['0', '1', '2', '3'])

    def test_the_page_for_users(self):
        text = (TOP / 'docs/registry.md').read_text()
        for section in ('service', 'discovery_controller', 'security', 'health_monitoring', 'failover'):
            self.assertRegex(text, rf'[`"]{section}')
        for role in ('read', 'register', 'operate', 'admin'):
            self.assertIn(f'`{role}`', text)
        # Every example of a configuration is one.
        examples = re.findall(r'```json\n(.*?)```', text, re.S)
        self.assertTrue(examples)
        for example in examples:
            config = json.loads(example)
            if 'rules' in config:
                self.check_rules(config)
                continue
            for token in config.get('security', {}).get('tokens', []):
                token.pop('token_file', None)
                token['token'] = '0123456789abcdef'
            self.assertEqual(self.complaint(config), '')

    def check_rules(self, example):
        """A registry takes them, one that has somebody to tell."""
        rules = self.dir / 'rules.json'
        rules.write_text(json.dumps(example))
        self.config['alerts'] = {
            'alert_rules_file': str(rules), 'smtp_url': 'smtp://127.0.0.1:9', 'smtp_from': 'registry@example.org',
            'slack_webhook_url': 'http://127.0.0.1:9/'}
        self.start()
        self.assertEqual([rule['rule_name'] for rule in self.good('GET', '/api/v1/alerts')['rules']],
                         [rule['rule_name'] for rule in example['rules']])
        self.assertEqual(self.stop(), 0)


class Board(RegistryTest):
    def test_what_it_shows_is_served(self):
        self.start()
        self.register()
        served = self.call('GET', '/metrics').text
        names = set(re.findall(r'^(xsan_registry_\w+)', served, re.M))
        states = set(re.findall(r'state="(\w+)"', served))
        board = json.loads(BOARD.read_text())
        expressions = [target['expr'] for panel in board['panels'] for target in panel['targets']]
        expressions += [variable['query'] for variable in board['templating']['list']]
        self.assertGreater(len(expressions), 20)
        shown = set()
        for expression in expressions:
            with self.subTest(expression=expression):
                found = set(re.findall(r'xsan_registry_\w+', expression))
                self.assertLessEqual(found, names)
                shown |= found
                for wanted in re.findall(r'state=~?"([\w|]+)"', expression):
                    self.assertLessEqual(set(wanted.split('|')), states)
                self.assertEqual(expression.count('('), expression.count(')'))
        # And what is served is shown.
        self.assertEqual(shown, names)

    def test_counters_are_not_shown_as_they_are(self):
        self.start()
        counters = re.findall(r'^# TYPE (\w+) counter', self.call('GET', '/metrics').text, re.M)
        board = json.loads(BOARD.read_text())
        places = []
        for panel in board['panels']:
            self.assertTrue(panel['title'] and panel['targets'])
            places.append(tuple(panel['gridPos'][key] for key in 'xy'))
            for target in panel['targets'] if panel['type'] == 'timeseries' else []:
                for counter in counters:
                    for use in re.finditer(rf'{counter}\b', target['expr']):
                        self.assertRegex(target['expr'][:use.start()], r'(rate|increase)\($')
        self.assertEqual(len(places), len(set(places)))
        self.assertEqual(len({panel['id'] for panel in board['panels']}), len(places))


if __name__ == '__main__':
    main()

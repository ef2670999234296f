#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the registry says of its interface is true: real answers of every route, good and refused, are
what /openapi.json describes; parameters that it describes are taken and others are not; and
docs/registry-rest.md has the same paths."""

import json
import re
import sys

from registry_harness import RegistryTest, main, registration
from node_harness import TOP

try:
    import jsonschema
except ImportError:
    print('SKIP: there is no jsonschema for this Python (Debian: python3-jsonschema)')
    sys.exit(77)

DOC = TOP / 'docs/registry-rest.md'


class Description(RegistryTest):
    def setUp(self):
        super().setUp()
        rules = self.dir / 'rules.json'
        rules.write_text(json.dumps([{
            'rule_name': 'r', 'metric_type': 'cpu_usage', 'operator': '>', 'threshold_value': 1e9,
            'notification_targets': 'webhook:http://127.0.0.1:9/'}]))
        self.config['alerts'] = {'alert_rules_file': str(rules)}
        self.start()
        self.openapi = self.good('GET', '/api/v1/openapi.json')
        self.asked = {}

    # ---- against the description ----

    def operation(self, method, path):
        """The path as it is described, and the operation."""
        path = path.split('?')[0]
        for described, methods in self.openapi['paths'].items():
            pattern = re.sub(r'\{\w+\}', '[^/]+', described)
            # select is a path of its own, and no target.
            if re.fullmatch(pattern, path) and (path not in self.openapi['paths'] or path == described):
                return described, methods[method.lower()]
        return self.fail(f'{method} {path} is not described')

    def validate(self, value, schema, where):
        whole = {'$ref': '#/root', 'root': schema, 'components': self.openapi['components']}
        validator = jsonschema.Draft202012Validator(whole)
        problems = [f'{"/".join(map(str, e.absolute_path))}: {e.message}'
                    for e in validator.iter_errors(value)]
        self.assertEqual(problems, [], where)

    def ask(self, method, path, body=None, headers=None, status=200):
        """A call whose body (when it is taken) and answer must be as described."""
        described, operation = self.operation(method, path)
        where = f'{method} {path}'
        answer = self.call(method, path, body, headers)
        self.assertEqual(answer.status, status, f'{where}: {answer.text}')
        self.asked.setdefault((method, described), set()).add(status)
        for parameter in re.findall(r'[?&](\w+)=', path) if status != 400 else []:
            self.assertIn(parameter, [p['name'] for p in operation['parameters']], where)
        if body is not None and status < 300:
            self.validate(body, operation['requestBody']['content']['application/json']['schema'], where)
        kind = answer.headers['Content-Type'].split(';')[0]
        content = operation['responses'][str(status)]['content']
        self.assertIn(kind, content, where)
        if kind.endswith('json'):
            self.validate(answer.json, content[kind]['schema'], where)
            return answer.json
        return answer.text

    def test_the_description_itself(self):
        text = json.dumps(self.openapi)
        self.assertEqual(self.openapi['openapi'], '3.1.0')
        for name in re.findall(r'"#/components/schemas/(\w+)"', text):
            self.assertIn(name, self.openapi['components']['schemas'])
        for schema in self.openapi['components']['schemas'].values():
            jsonschema.Draft202012Validator.check_schema(schema)
            self.assertLessEqual(set(schema.get('required', [])), set(schema['properties']))
        used = set(re.findall(r'"#/components/schemas/(\w+)"', text))
        self.assertEqual(set(self.openapi['components']['schemas']) - used, {'Nothing'} - used)
        for path, methods in self.openapi['paths'].items():
            for method, operation in methods.items():
                with self.subTest(path=path, method=method):
                    self.assertIsInstance(operation, dict)
                    self.assertEqual({p['name'] for p in operation['parameters'] if p['in'] == 'path'},
                                     set(re.findall(r'\{(\w+)\}', path)))
                    self.assertTrue(any(code.startswith('2') for code in operation['responses']))

    def test_every_route_answers_as_described(self):
        self.change_targets()
        self.read_targets()
        self.change_zones()
        self.change_alerts()
        self.ask('GET', '/api/v1/hosts')
        self.ask('GET', '/api/v1/status')
        self.ask('POST', '/api/v1/reload')
        self.ask('GET', '/api/v1/openapi.json')
        self.assertTrue(self.ask('GET', '/api/v1/backup').startswith('SQLite format 3'))
        self.ask('GET', '/metrics')
        self.assertEqual(
            {(method.upper(), path) for path, methods in self.openapi['paths'].items() for method in methods},
            {key for key, statuses in self.asked.items() if min(statuses) < 300})

    def change_targets(self):
        full = registration(0, storage={'device_path': '/dev/x', 'block_size': 4096, 'readonly': True},
                            config={'tags': ['a'], 'weight': 2.5, 'discovery_interval': 7}, ttl_seconds=600)
        self.target = self.ask('POST', '/api/v1/targets', full, status=201)['target_id']
        self.ask('POST', '/api/v1/targets?update=true', full)
        self.ask('POST', '/api/v1/targets', full, status=409)
        self.ask('POST', '/api/v1/targets', {'node_id': 7}, status=422)
        self.ask('POST', '/api/v1/targets', b'{', status=400)
        self.ask('POST', '/api/v1/targets?colour=red', full, status=400)
        self.ask('POST', '/api/v1/targets', b'{"x": "' + b'x' * 70000 + b'"}', status=413)
        self.ask('POST', '/api/v1/targets/bulk',
                 {'targets': [registration(i) for i in range(4)]})
        bad = json.dumps({'targets': [{'node_id': ''}]}).encode()
        self.assertEqual(self.call('POST', '/api/v1/targets/bulk', bad).json['refused_count'], 1)
        self.ask('POST', '/api/v1/targets/bulk', {'targets': []}, status=422)
        path = f'/api/v1/targets/{self.target}'
        self.ask('PUT', path, full)
        self.ask('PUT', path, full, {'If-Match': '"1"'}, status=412)
        self.ask('PUT', path, registration(1), status=409)
        self.ask('PUT', '/api/v1/targets/none', full, status=404)
        self.ask('PATCH', path, {'metadata': {'hw_type': None}, 'config': {'tags': ['b']}})
        self.ask('PATCH', path, {'config': {'tags': 7}}, status=422)
        self.ask('PUT', path + '/status', {'status': 'maintenance', 'reason': 'why', 'estimated_duration_minutes': 5})
        self.ask('PUT', path + '/status', {'status': 'tired'}, status=422)
        self.ask('PUT', '/api/v1/targets/none/status', {'status': 'busy'}, status=404)
        self.ask('PUT', path + '/metrics', {'current_iops': 5, 'error_rate': 0.5, 'load_percentage': 99,
                                            'cpu_usage': 0.25, 'active_connections': 3})
        self.ask('PUT', path + '/metrics', {'load_percentage': 101}, status=422)
        self.ask('PUT', path + '/metrics', {'current_iops': 5, 'cpu_usage': 0.5})
        self.ask('PUT', '/api/v1/targets/none/metrics', {}, status=404)
        self.change_config(path + '/config')

    def change_config(self, path):
        host = 'nqn.2014-08.org.nvmexpress:uuid:1'
        self.assertEqual(self.ask('GET', path)['state'], 'none')
        self.ask('GET', '/api/v1/targets/none/config', status=404)
        desired = {'queue_depth': 64, 'max_connections': 4, 'max_iops': 5, 'max_bandwidth_mbps': 6,
                   'access': {'any_host': False, 'hosts': [host], 'read_only': True},
                   'discovery_interval': 30, 'weight': 1.5}
        self.assertEqual(self.ask('PUT', path, desired)['desired'], desired)
        self.ask('PUT', path, {'queue_depth': 1}, status=422)
        self.ask('PUT', path, desired, {'If-Match': '"1"'}, status=412)
        self.ask('PUT', '/api/v1/targets/none/config', desired, status=404)
        config = self.ask('PATCH', path, {'max_iops': None, 'access': {'read_only': None}})
        self.ask('PATCH', path, {'weight': 'much'}, status=422)
        report = {'config_revision': config['config_revision'], 'state': 'applied', 'actual': {
            'queue_depth': 64, 'max_connections': 4, 'max_iops': 0, 'max_bandwidth_mbps': 0,
            'access': {'any_host': False, 'hosts': [host], 'nr_hosts': 1, 'read_only': False}}}
        self.assertEqual(self.ask('PUT', path + '/report', report)['differences'], ['max_bandwidth_mbps'])
        self.ask('PUT', path + '/report', {**report, 'config_revision': 1}, status=412)
        self.ask('PUT', path + '/report', {**report, 'state': 'maybe'}, status=422)
        self.ask('PUT', path + '/report', {**report, 'actual': {'colour': 5}}, status=422)
        self.ask('PUT', '/api/v1/targets/none/config/report', report, status=404)
        self.assertEqual(self.ask('DELETE', path)['desired'], {})
        self.ask('DELETE', path, None, {'If-Match': '"1"'}, status=412)

    def read_targets(self):
        self.ask('GET', f'/api/v1/targets/{self.target}')
        self.ask('GET', f'/api/v1/targets/{self.target}?index=0&wait=1s')
        self.ask('GET', '/api/v1/targets/none', status=404)
        self.assertIn('next_cursor', self.ask('GET', '/api/v1/targets?limit=1&sort=-nqn'))
        self.assertEqual(len(self.ask('GET', '/api/v1/targets?full=true')['targets']), 4)
        self.ask('GET', '/api/v1/targets?status=tired', status=400)
        chosen = self.ask('GET', '/api/v1/targets/select?explain=true&count=2&min_iops=5')
        self.assertTrue(chosen['targets'] and chosen['rejected'])
        self.ask('GET', '/api/v1/targets/select?policy=hash', status=422)
        self.assertGreater(len(self.ask('GET', '/api/v1/events?since=0&limit=1000')['events']), 5)
        self.ask('GET', '/api/v1/events?since=99999', status=410)
        path = f'/api/v1/targets/{self.target}'
        self.ask('DELETE', path, {'force': True}, {'If-Match': '"1"'}, status=412)
        self.ask('DELETE', path, {'force': 7}, status=422)
        self.ask('DELETE', path, {'drain_timeout_seconds': 0})
        self.ask('DELETE', path, {'force': True}, status=404)
        self.assertEqual(self.ask('GET', '/api/v1/events?since=0&limit=1000')['events'][-1]['type'], 'unregistered')

    def change_zones(self):
        group = {'zones': [{'name': 'z', 'hosts': ['nqn.2026-11.io.xsan:h'], 'targets': ['tag:a']}]}
        self.ask('PUT', '/api/v1/zones/g', group)
        self.ask('PUT', '/api/v1/zones/g', {'zones': 7}, status=422)
        self.ask('GET', '/api/v1/zones/g')
        self.ask('GET', '/api/v1/zones/none', status=404)
        self.ask('POST', '/api/v1/zones/g/activate')
        self.ask('GET', '/api/v1/zones')
        self.ask('DELETE', '/api/v1/zones/g', status=409)
        self.ask('POST', '/api/v1/zones/g/deactivate')
        self.ask('DELETE', '/api/v1/zones/g')
        self.ask('PATCH', '/api/v1/zones', {'default_policy': 'deny'})
        self.ask('PATCH', '/api/v1/zones', {'default_policy': 'allow'}, {'If-Match': '"1"'}, status=412)

    def change_alerts(self):
        self.ask('GET', '/api/v1/alerts')
        self.ask('POST', '/api/v1/alerts/r/test')
        self.ask('POST', '/api/v1/alerts/none/test', status=404)
        self.ask('PUT', '/api/v1/alerts/r/silence', {'duration_minutes': 5, 'comment': 'x'})
        self.ask('PUT', '/api/v1/alerts/r/silence', {'duration_minutes': 0}, status=422)
        self.ask('DELETE', '/api/v1/alerts/r/silence')
        self.ask('DELETE', '/api/v1/alerts/none/silence', status=404)
        self.assertTrue(self.ask('GET', '/api/v1/alerts')['notifications'])

    def test_parameters_that_are_described_are_taken(self):
        examples = {'string': 'x', 'integer': '1', 'number': '1', 'boolean': 'true'}
        special = {'sort': 'nqn', 'wait': '1s', 'cursor': 'a,b', 'index': '99'}
        for path, methods in self.openapi['paths'].items():
            for parameter in methods.get('get', {}).get('parameters', []):
                schema, name = parameter['schema'], parameter['name']
                if parameter['in'] != 'query':
                    continue
                with self.subTest(path=path, name=name):
                    value = special.get(name) or schema.get('enum', [examples[schema['type']]])[0]
                    real = path.replace('{target_id}', 'none')
                    answer = self.call('GET', f'{real}?{name}={value}&since=0'.replace('&since=0', '' if
                                       'events' not in path or name == 'since' else '&since=0'))
                    self.assertNotEqual(answer.status, 400, answer.text)
                    # Beyond its range it is refused.
                    for beyond in ([schema['minimum'] - 1] if schema.get('minimum') else []) + (
                            [schema['maximum'] + 1] if 'maximum' in schema else []):
                        self.assertEqual(self.call('GET', f'{real}?{name}={beyond}').status, 400)
                    if 'enum' in schema:
                        self.assertEqual(self.call('GET', f'{real}?{name}=nonsense').status, 400)

    def test_roles_and_the_document(self):
        text = DOC.read_text()
        documented = set(re.findall(r'^### `(\w+) (/\S+)`', text, re.M))
        described = {(method.upper(), path) for path, methods in self.openapi['paths'].items()
                     for method in methods}
        self.assertEqual(documented, described)
        sections = re.split(r'^### `(\w+ /\S+)`\n', text, flags=re.M)
        for head, section in zip(sections[1::2], sections[2::2]):
            method, path = head.split()
            operation = self.openapi['paths'][path][method.lower()]
            section = section.split('\n## ')[0]
            with self.subTest(path=head):
                self.assertIn(f"Role: {operation['x-role']}.", section)
                for parameter in operation['parameters']:
                    if parameter['in'] == 'query':
                        self.assertIn(f"`{parameter['name']}`", section)
                for status in operation['responses']:
                    if status not in ('400', '401', '403', '413', '429', '500', '503', '504'):
                        self.assertRegex(section, rf'\b{status}\b')


if __name__ == '__main__':
    main()

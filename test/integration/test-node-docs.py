#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/rpc.md is true: it has every method and no other, each with its parameters as the node tells
them, and its examples run in the order of the document and give what it shows: the same members,
with values of the same kind."""

import json
import re

from node_harness import NQN, TOP, NodeTest, free_port, main

DOC = TOP / 'docs/rpc.md'
TYPES = {'string': 'text', 'uuid': 'UUID'}


def sections():
    """(name, text) of every method of the document."""
    parts = re.split(r'^### (\S+)\n', DOC.read_text(), flags=re.M)
    return [(name, text.split('\n## ')[0]) for name, text in zip(parts[1::2], parts[2::2])]


def example(text, title):
    found = re.search(rf'^{title}:\n\n```json\n(.*?)\n```', text, re.S | re.M)
    return json.loads(found.group(1)) if found else None


def parameters(text):
    return [re.match(r'\| `(\w+)` \| (\w+) \| (yes|no) \| (.*) \|$', line).groups()
            for line in text.split('\n') if line.startswith('| `')]


class Docs(NodeTest):
    def setUp(self):
        super().setUp()
        self.config['rpc']['socket'] = 'xsand.sock'
        self.config['state_dir'] = 'state'
        self.device('disk0')['filename'] = 'disk0.img'

    def same_shape(self, got, documented, where):
        """Members and kinds of values; a documented list shows its first element."""
        if isinstance(documented, dict):
            self.assertIsInstance(got, dict, where)
            self.assertEqual(sorted(got), sorted(documented), where)
            for key, value in documented.items():
                self.same_shape(got[key], value, f'{where}.{key}')
        elif isinstance(documented, list):
            self.assertIsInstance(got, list, where)
            if documented and got:
                self.same_shape(got[0], documented[0], f'{where}[0]')
        else:
            kinds = (int, float) if isinstance(documented, float) else type(documented)
            self.assertIsInstance(got, kinds, where)

    def test_every_method_is_documented_and_nothing_else(self):
        self.start()
        names = [name for name, _ in sections()]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(sorted(names), sorted(self.call('rpc_get_methods')))

    def test_parameters_are_as_documented(self):
        self.start()
        methods = {m['name']: m for m in self.call('rpc_get_methods', {'details': True})}
        for name, text in sections():
            with self.subTest(method=name):
                method = methods[name]
                self.assertTrue(' '.join(text.split()).startswith(method['help']))
                self.assertEqual(parameters(text), [
                    (p['name'], TYPES.get(p['type'], p['type']),
                     'yes' if p['required'] else 'no', p['help'])
                    for p in method['params']])

    def test_examples_run(self):
        ports = {'"4420"': f'"{self.port}"', '"4421"': f'"{free_port()}"'}
        self.start()
        with self.client() as client:
            for name, text in sections():
                params = example(text, 'Example parameters')
                for port, free in ports.items():
                    params = json.loads(json.dumps(params).replace(port, free))
                result = example(text, 'Example result')
                self.assertIsNotNone(result, name)
                got = client.call(name, params)
                self.same_shape(got, result, name)
                if isinstance(result, (str, bool)) and '…' not in str(result):
                    self.assertEqual(got, result, name)
        self.assertEqual(sorted(self.devices()), ['disk0', 'mem0'])
        self.assertEqual(self.shown_subsystem()['nqn'], NQN)
        self.stop()


if __name__ == '__main__':
    main()

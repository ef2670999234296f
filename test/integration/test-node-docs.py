#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The documents are true. docs/xsand.md and the man page name every member of a configuration.
docs/rpc.md: it has every method and no other, each with its parameters as the node tells
them, and its examples run in the order of the document and give what it shows: the same members,
with values of the same kind."""

import json
import re
import subprocess

from node_harness import NQN, PATIENCE_S, TOP, XSAND, NodeTest, free_port, main

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
        # The device of the store, which grows.
        before = {
            'bdev_lvol_create_lvstore': ('bdev_create', {'driver': 'file', 'name': 'f2',
                                                         'filename': 'f2.img', 'size': '16MiB'}),
            'bdev_lvol_grow_lvstore': ('bdev_resize', {'name': 'f2', 'size': '24MiB'}),
            'bdev_lvol_start_shallow_copy': ('bdev_create', {'driver': 'malloc', 'name': 'copy0',
                                                             'size': '16MiB'}),
            'bdev_lvol_resize': ('bdev_delete', {'name': 'copy0'}),
            'bdev_raid_create': ('bdev_delete', {'name': 'f2'}),
        }
        self.start()
        with self.client() as client:
            for name, text in sections():
                params = example(text, 'Example parameters')
                for port, free in ports.items():
                    params = json.loads(json.dumps(params).replace(port, free))
                result = example(text, 'Example result')
                self.assertIsNotNone(result, name)
                if name in before:
                    client.call(*before[name])
                got = client.call(name, params)
                if name == 'bdev_raid_assemble': # what follows needs its members
                    client.call('bdev_raid_delete', {'name': params['name']})
                self.same_shape(got, result, name)
                if isinstance(result, (str, bool)) and '…' not in str(result):
                    self.assertEqual(got, result, name)
        self.assertEqual(sorted(self.devices()), ['disk0', 'mem0'])
        self.assertEqual(self.shown_subsystem()['nqn'], NQN)
        self.stop()


class Configuration(NodeTest):
    """What the node accepts it says itself, when it is given a member that it does not know."""

    SECTIONS = [
        {'?': 0}, {'log': {'?': 0}}, {'reactors': {'?': 0}}, {'rpc': {'?': 0}}, {'nvmf': {'?': 0}},
        {'nvmf': {'transport': {'?': 0}}}, {'nvmf': {'subsystems': [{'?': 0}]}},
        {'nvmf': {'subsystems': [{'nqn': NQN, 'namespaces': [{'?': 0}]}]}},
        {'nvmf': {'subsystems': [{'nqn': NQN, 'listeners': [{'?': 0}]}]}},
    ]

    def complaint(self, config):
        self.config = config
        self.write_config()
        done = subprocess.run([XSAND, '--check', '--config', self.config_path],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 2, done.stdout)
        return done.stderr.strip()

    def members(self):
        drivers = re.findall(r'"(\w+)"', self.complaint(
            {'devices': [{'driver': 'none'}]}).split('one of:')[1])
        self.assertIn('file', drivers)
        sections = self.SECTIONS + [{'devices': [{'driver': d, '?': 0}]} for d in drivers]
        names = set(drivers)
        for section in sections:
            complaint = self.complaint(section)
            self.assertIn('accepted: ', complaint)
            names.update(complaint.split('accepted: ')[1].split(', '))
        self.assertGreater(len(names), 50)
        return sorted(names)

    def test_every_member_is_documented(self):
        markdown = (TOP / 'docs/xsand.md').read_text()
        man = (TOP / 'packaging/man/xsand.json.5').read_text()
        for name in self.members():
            with self.subTest(member=name):
                self.assertRegex(markdown, rf'[`."]{name}[`".]')
                self.assertRegex(man, rf'(?<!\w){name}(?!\w)')


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Central configuration: what is desired of a target in the registry is what hosts of its node see, or
is refused with a reason and rolled back, once; over the absence and the death of either of the two."""

import pathlib
import sys
import time

from node_harness import NQN, PATIENCE_S, RpcError, free_port
from registry_harness import RegistryTest, main, registration

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from host import Controller  # noqa: E402
from nvmetcp import Failure  # noqa: E402

HOST = 'nqn.2014-08.org.nvmexpress:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8'
OTHER_HOST = 'nqn.2014-08.org.nvmexpress:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c9'
NOT_ALLOWED, BUSY = '1/84', '1/81'
WRITE_PROTECTED = '0/20'


class Config(RegistryTest):
    def setUp(self):
        super().setUp()
        self.node = self.make_node()
        self.node.config['registry'] = {
            'url': f'http://127.0.0.1:{self.port}', 'node_id': 'node-7', 'interval_s': 1}
        self.hosts = []

    def tearDown(self):
        for host in self.hosts:
            host.close()
        super().tearDown()

    # ---- the two ----

    def stop_node(self):
        self.assertIn(self.node.stop(), (0, None))

    def kill_node(self):
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.process.kill()
            self.node.process.wait()

    def kill_registry(self):
        self.hang_up()
        self.process.kill()
        self.process.wait()

    def begin(self):
        """Both, and the path of the one target."""
        self.start()
        self.node.start()
        return self.path_of(self.node.port)

    def path_of(self, port):
        found = []

        def is_there():
            found[:] = [t for t in self.good('GET', '/api/v1/targets')['targets'] if t['port'] == port]
            return bool(found)

        self.wait_for(is_there, 'the target is not registered')
        return f"/api/v1/targets/{found[0]['target_id']}/config"

    def set(self, path, **desired):
        return self.good('PUT', path, desired)

    def wait_state(self, path, state, **members):
        def is_so():
            config = self.good('GET', path)
            return config['state'] == state and config['actual'] is not None and all(
                config[key] == value for key, value in members.items())

        end = time.monotonic() + PATIENCE_S
        while not is_so():
            self.assertLess(time.monotonic(), end, f"not {state}: {self.good('GET', path)}")
            time.sleep(0.02)
        return self.good('GET', path)

    def apply(self, path, **desired):
        """Sets it and waits until the node has it."""
        revision = self.set(path, **desired)['config_revision']
        return self.wait_state(path, 'applied', config_revision=revision, reported_revision=revision)

    # ---- the node as hosts and its own interface see it ----

    def host(self, nqn=None, port=None):
        host = Controller(('127.0.0.1', port or self.node.port), NQN, hostnqn=nqn)
        self.hosts.append(host)
        return host.enable()

    def assert_refused(self, status, nqn=None):
        with self.assertRaises(Failure) as refused:
            self.host(nqn)
        self.assertIn(status, str(refused.exception))

    def policy(self):
        subsystem, = self.node.call('nvmf_get_subsystems', {'nqn': NQN})
        return subsystem.get('policy')

    # ---- tests ----

    def test_what_is_desired_is_what_hosts_see(self):
        path = self.begin()
        config = self.wait_state(path, 'none')
        self.assertEqual(config['agent'], 'connected')
        self.assertEqual(config['actual'], {
            'queue_depth': 128, 'max_connections': 0, 'max_iops': 0, 'max_bandwidth_mbps': 0,
            'access': {'any_host': True, 'hosts': [], 'nr_hosts': 0, 'read_only': False}})
        self.assertIsNone(self.policy())

        stranger = self.host(OTHER_HOST)
        start = time.monotonic()
        config = self.apply(path, queue_depth=32, max_connections=1,
                            access={'hosts': [HOST], 'read_only': True}, weight=4)
        print(f'applied after {(time.monotonic() - start) * 1000:.0f} ms')
        self.assertEqual((config['differences'], config['not_enforced']), ([], []))
        self.assertEqual(config['actual'], {
            'queue_depth': 32, 'max_connections': 1, 'max_iops': 0, 'max_bandwidth_mbps': 0,
            'access': {'any_host': False, 'hosts': [HOST], 'nr_hosts': 1, 'read_only': True}})
        self.assertEqual(self.policy(), {
            'is_set': True, 'queue_depth': 32, 'max_connections': 1, 'allow_any_host': False,
            'hosts': [HOST], 'read_only': True})
        stranger.wait_gone(PATIENCE_S)
        self.assert_refused(NOT_ALLOWED, OTHER_HOST)
        host = self.host(HOST)
        self.assert_refused(BUSY, HOST)
        self.assertEqual(host.queue_entries(), 32)
        _, answer = host.try_io_queue(1, sqsize=32)
        self.assertFalse(answer.cqe.is_ok)
        queue = host.io_queue(1)
        namespace = host.namespace(1)
        self.assertTrue(queue.read(namespace, 0, 1).cqe.is_ok)
        self.assertIn(WRITE_PROTECTED, str(queue.write(namespace, 0, bytes(512)).status))
        # It is in the target's details too, and in the history.
        target = self.good('GET', path.removesuffix('/config'))
        self.assertEqual(target['central_config'], config)
        events = self.good('GET', '/api/v1/events?since=0')['events']
        self.assertEqual([e['config_state'] for e in events if e['type'] == 'config_changed'],
                         ['pending', 'applied'])

        # Parts of it, then none: the node is as it was by itself.
        self.good('PATCH', path, {'access': {'read_only': None}, 'max_connections': 3})
        self.wait_state(path, 'applied', desired={
            'queue_depth': 32, 'max_connections': 3, 'access': {'any_host': False, 'hosts': [HOST]},
            'weight': 4.0})
        self.assertTrue(queue.write(namespace, 0, bytes(512)).cqe.is_ok)
        self.good('DELETE', path)
        self.wait_state(path, 'applied', desired={})
        self.assertIsNone(self.policy())
        self.assertEqual(self.host(OTHER_HOST).queue_entries(), 128)

    def test_what_cannot_be_is_rolled_back_once(self):
        path = self.begin()
        self.apply(path, queue_depth=32)
        for desired, word in (({'queue_depth': 32, 'max_iops': 1000}, 'max_iops: this node cannot limit'),
                              ({'max_bandwidth_mbps': 5}, 'max_bandwidth_mbps: this node cannot limit'),
                              ({'queue_depth': 4096, 'access': {'hosts': []}}, 'at most 128')):
            with self.subTest(desired=desired):
                refused = self.set(path, **desired)['config_revision']
                config = self.wait_state(path, 'rolled-back', refused_revision=refused)
                self.assertIn(word, config['reason'])
                self.assertEqual(config['desired'], {'queue_depth': 32})
                self.wait_state(path, 'rolled-back', reported_revision=config['config_revision'])
                self.assertEqual(self.policy()['queue_depth'], 32)
                self.host(OTHER_HOST).close()
                event = [e for e in self.good('GET', '/api/v1/events?since=0')['events']
                         if e.get('config_state') == 'rolled-back'][-1]
                self.assertIn(word, event['reason'])
        revision = self.good('GET', '/api/v1/status')['revision']
        time.sleep(2.5)
        self.assertEqual(self.good('GET', '/api/v1/status')['revision'], revision, 'it does not rest')
        self.wait_for_log('is rolled back')
        self.wait_for_log('is refused: max_iops', self.node)

    def test_a_node_that_is_away_hears_of_it_later(self):
        path = self.begin()
        self.apply(path, queue_depth=64)
        self.stop_node()
        self.set(path, queue_depth=16)
        time.sleep(1)
        config = self.good('GET', path)
        self.assertEqual((config['state'], config['differences']), ('pending', ['queue_depth']))
        self.wait_state(path, 'pending', agent='unreachable')
        self.node.start()
        self.wait_state(path, 'applied', desired={'queue_depth': 16})
        self.assertEqual(self.host().queue_entries(), 16)

    def test_a_registry_that_is_killed_in_between(self):
        path = self.begin()
        self.apply(path, queue_depth=64)
        # The node hears nothing while it is stopped, and the registry dies with what it was told.
        self.node.process.send_signal(19)
        self.set(path, queue_depth=20)
        self.kill_registry()
        self.node.process.send_signal(18)
        time.sleep(1)
        self.assertEqual(self.policy()['queue_depth'], 64)
        self.start()
        self.wait_state(path, 'applied', desired={'queue_depth': 20}, agent='connected')
        self.assertEqual(self.host().queue_entries(), 20)
        # What it said was applied once is known to be, whatever it knew of the node is asked again.
        self.kill_registry()
        self.start()
        self.assertEqual(self.good('GET', path)['state'], 'applied')
        self.wait_state(path, 'applied', agent='connected', differences=[])
        # And what to go back to.
        self.set(path, max_iops=1)
        self.wait_state(path, 'rolled-back', desired={'queue_depth': 20})

    def test_a_node_that_is_killed(self):
        path = self.begin()
        self.apply(path, access={'hosts': [HOST]})
        self.kill_node()
        self.kill_registry()
        # It keeps to what it was told, also when nobody tells it again.
        self.node.start()
        self.assert_refused(NOT_ALLOWED, OTHER_HOST)
        self.host(HOST)
        self.kill_node()
        self.start()
        self.set(path, access={'hosts': [OTHER_HOST]})
        self.node.start()
        self.wait_state(path, 'applied', desired={'access': {'any_host': False, 'hosts': [OTHER_HOST]}})
        self.assert_refused(NOT_ALLOWED, HOST)
        # Killed while it applies, again and again: it comes to the last one.
        for depth in (17, 18, 19):
            self.set(path, queue_depth=depth)
            self.kill_node()
            self.node.start()
        self.wait_state(path, 'applied', desired={'queue_depth': 19}, differences=[])
        self.assertEqual(self.host(HOST).queue_entries(), 19)
        # Without a registry nothing of it holds.
        self.stop_node()
        del self.node.config['registry']
        self.node.start()
        self.assertIsNone(self.policy())

    def test_the_node_s_own_changes_are_seen(self):
        path = self.begin()
        self.apply(path, queue_depth=32)
        self.node.call('nvmf_subsystem_add_host', {'nqn': NQN, 'host': HOST})
        self.node.call('nvmf_subsystem_allow_any_host', {'nqn': NQN, 'allow_any_host': False})
        config = self.wait_state(path, 'applied', actual={
            'queue_depth': 32, 'max_connections': 0, 'max_iops': 0, 'max_bandwidth_mbps': 0,
            'access': {'any_host': False, 'hosts': [HOST], 'nr_hosts': 1, 'read_only': False}})
        self.assertEqual(config['differences'], [])
        # They do not count where the registry has said something.
        self.apply(path, access={'hosts': [OTHER_HOST]})
        self.assert_refused(NOT_ALLOWED, HOST)
        self.host(OTHER_HOST)
        # A document that replaces everything does not take it away for long.
        saved = self.node.call('save_config')
        self.assertEqual(saved['nvmf']['subsystems'][0]['registry'], {
            f'127.0.0.1 {self.node.port}': {'access': {'any_host': False, 'hosts': [OTHER_HOST]}}})
        self.node.call('config_reload')
        self.assert_refused(NOT_ALLOWED, HOST)
        del saved['nvmf']['subsystems'][0]['registry']
        self.node.call('load_config', {'config': saved})
        self.wait_for(lambda: self.policy() is not None and self.policy()['hosts'] == [OTHER_HOST],
                      'what the registry wants is not put back')
        self.wait_for_log('was lost, and is set again', self.node)

    def test_two_listeners_of_a_subsystem_are_one(self):
        self.node.subsystem()['listeners'].append({'traddr': '127.0.0.1', 'trsvcid': str(free_port())})
        first = self.begin()
        second = self.path_of(int(self.node.subsystem()['listeners'][1]['trsvcid']))
        self.apply(first, queue_depth=32, max_connections=2)
        self.apply(second, queue_depth=32)
        self.set(second, queue_depth=64)
        config = self.wait_state(second, 'rolled-back', desired={'queue_depth': 32})
        self.assertIn('queue_depth: different values are desired of listeners', config['reason'])
        # One that is gone has no word any more.
        self.good('DELETE', first)
        self.wait_state(first, 'applied', desired={})
        self.apply(second, queue_depth=64)
        self.node.call('nvmf_subsystem_remove_listener', {'nqn': NQN, 'listen_address': {
            'trtype': 'tcp', 'traddr': '127.0.0.1',
            'trsvcid': self.node.subsystem()['listeners'][1]['trsvcid']}})
        self.wait_for(lambda: self.policy() is None, 'the gone one has a word still')

    def test_a_target_without_an_agent(self):
        self.start()
        path = f'/api/v1/targets/{self.register()}'
        config = self.set(path + '/config', queue_depth=32, weight=7, discovery_interval=5)
        self.assertEqual((config['state'], config['agent'], config['not_enforced'], config['actual']),
                         ('pending', 'none', ['queue_depth'], None))
        # What the registry does itself is done.
        config = self.set(path + '/config', weight=7)
        self.assertEqual((config['state'], config['not_enforced']), ('applied', []))
        # A registration made again is none of its business.
        self.good('POST', '/api/v1/targets?update=true', registration(0))
        self.assertEqual(self.good('GET', path + '/config')['desired'], {'weight': 7.0})
        other = self.register(1)
        self.set(f'/api/v1/targets/{other}/config', weight=0)
        self.assertEqual(self.good('GET', f'/api/v1/targets/{other}/config')['state'], 'applied')
        for _ in range(4):
            chosen = self.good('GET', '/api/v1/targets/select?policy=weighted&count=1')['targets']
            self.assertEqual(chosen[0]['target_id'], path.split('/')[-1])

    def test_roles(self):
        tokens = {}
        self.config['security'] = {'tokens': []}
        for role in ('read', 'register', 'operate'):
            file = self.dir / role
            file.write_text(f'token-of-{role}-0123456789\n')
            tokens[role] = {'Authorization': f'Bearer token-of-{role}-0123456789'}
            self.config['security']['tokens'].append(
                {'name': role, 'role': role, 'token_file': str(file)})
        self.start()
        target = self.good('POST', '/api/v1/targets', registration(0), 201, tokens['register'])['target_id']
        path = f'/api/v1/targets/{target}/config'
        report = {'config_revision': 0, 'state': 'applied'}
        self.good('GET', path, headers=tokens['read'])
        for role in ('read', 'register'):
            self.refused(403, 'PUT', path, {}, tokens[role])
            self.refused(403, 'PATCH', path, {}, tokens[role])
            self.refused(403, 'DELETE', path, None, tokens[role])
        self.refused(403, 'PUT', path + '/report', report, tokens['read'])
        self.good('PUT', path + '/report', report, headers=tokens['register'])
        self.good('PUT', path, {}, headers=tokens['operate'])

    def test_if_match_and_fields(self):
        self.start()
        path = f'/api/v1/targets/{self.register()}/config'
        first = self.call('PUT', path, {'weight': 1})
        etag = first.headers['ETag']
        self.assertEqual(self.good('PUT', path, {'weight': 2}, headers={'If-Match': etag})['desired'],
                         {'weight': 2.0})
        self.refused(412, 'PUT', path, {'weight': 3}, {'If-Match': etag})
        self.refused(412, 'DELETE', path, None, {'If-Match': etag})
        self.assertEqual(self.refused(422, 'PUT', path, {'access': {'hosts': ['x']}})['field'],
                         'access.hosts')
        self.assertEqual(self.refused(422, 'PATCH', path, {'queue_depth': 0})['field'], 'queue_depth')

    def test_a_rule_of_the_configuration_file(self):
        self.node.subsystem()['registry'] = {'127.0.0.1 1': {'queue_depth': 1}}
        self.node.write_config()
        with self.assertRaises((AssertionError, RpcError)):
            self.node.start()
        self.wait_for_log('queue_depth', self.node)


if __name__ == '__main__':
    main()

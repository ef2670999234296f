#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Management while the node works: SPDK's way of calling, hostile clients, many clients at once, and
changes under a connected host (the host of the conformance tests)."""

import base64
import json
import struct
import sys
import threading
import time

from node_harness import NQN, PATIENCE_S, TOP, Client, NodeTest, RpcError, main

sys.path.insert(0, str(TOP / 'test/conformance'))
from host import READ, WRITE, Controller, read_fields, write_fields  # noqa: E402


class Framing(NodeTest):
    def test_calls_as_spdks_client_sends_them(self):
        """Indented values, joined by newlines, several before the first answer is read."""
        self.start()
        client = self.client()
        requests = [client.request('spdk_get_version'), client.request('bdev_get_bdevs'),
                    client.request('rpc_get_methods', {'current': True})]
        client.send('\n'.join(json.dumps(r, indent=2) for r in requests))
        answers = [client.receive() for _ in requests]
        self.assertEqual([a['id'] for a in answers], [r['id'] for r in requests])
        self.assertEqual(answers[0]['result']['version'][:5], 'XSAN ')
        self.assertEqual({d['name'] for d in answers[1]['result']}, {'disk0', 'mem0'})

    def test_answers_are_ascii(self):
        """SPDK's client decodes what it receives piece by piece, so no character may be split."""
        self.start()
        name = str(self.dir / ('ü€𝄞' * 20))
        self.call('bdev_aio_create', {'name': 'f0', 'filename': name, 'size': '1MiB'})
        client = self.client()
        client.send(json.dumps(client.request('bdev_get_bdevs', {'name': 'f0'})))
        data, answer = b'', None
        while answer is None:
            piece = client.socket.recv(65536)
            self.assertTrue(piece, data)
            data += piece
            try:
                answer = json.loads(data)
            except ValueError:
                pass  # there is more to come
        self.assertTrue(data.isascii(), data)
        file = answer['result'][0]['driver_specific']['file']
        self.assertEqual(file['filename'], name)
        self.stop()

    def test_batches_and_notifications(self):
        self.start()
        client = self.client()
        client.send(json.dumps([
            client.request('bdev_null_create', {'name': 'n0', 'num_blocks': 1,
                                                'block_size': 512}),
            {'jsonrpc': '2.0', 'method': 'bdev_delete', 'params': {'name': 'n0'}},
            client.request('bdev_get_bdevs', {'name': 'n0'}), 7]))
        first, second, third = client.receive()
        self.assertEqual(first['result'], 'n0')
        self.assertEqual(second['error']['code'], -19)
        self.assertEqual((third['id'], third['error']['code']), (None, -32600))

    def test_hostile_bytes_end_their_connection_only(self):
        self.start()
        calm = self.client()
        for data, code in [
                (b'hello', -32700), (b'{"a":tru}', -32700), (b'["\xff\xfe"]', -32700),
                (b'[' * 1000, -32700), (b'{"a":' * 100, -32700), (b'\x00', -32700),
                (b'["' + b'x' * (2 << 20) + b'"]', -32700),
                (b'{"jsonrpc":"2.0","method":"x","id":1e400}', -32700),
                (b'{"a":1,"a":2}', -32700), (b'["\\ud800"]', -32700),
                (b'["\\u0000"]', -32700)]:
            with self.subTest(data=data[:40]):
                client = self.client()
                try:
                    client.send(data)
                except OSError:
                    pass  # it may be cut off in the middle
                answer = client.receive()
                self.assertEqual((answer['id'], answer['error']['code']), (None, code))
                with self.assertRaises((EOFError, ConnectionError)):
                    client.receive()
                client.close()
        self.assertEqual(calm.call('xsan_status')['state'], 'ok')
        self.stop()

    def test_wrong_types_for_every_parameter(self):
        self.start()
        client = self.client()
        values = [None, True, -1, 1.5, 10**18, '', 'x', 'x' * 5000, [], [{}], {}, {'a': 1},
                  'ü', '../../x']
        for method in client.call('rpc_get_methods', {'details': True}):
            if method['name'] in ('spdk_kill_instance', 'bdev_aio_create', 'load_config'):
                continue
            for param in method['params']:
                for value in values:
                    try:
                        client.call(method['name'], {param['name']: value})
                    except RpcError as error:
                        self.assertTrue(error.message)
        self.assertEqual(client.call('xsan_status')['state'], 'ok')
        self.stop()


class Culprits(NodeTest):
    """An error names the parameter of the request that is to blame, never a place in a document that
    the caller has not written."""

    def refused(self, method, params, code, begin):
        with self.subTest(method=method, params=params):
            with self.assertRaises(RpcError) as caught:
                self.call(method, params)
            self.assertEqual(caught.exception.code, code, caught.exception.message)
            self.assertTrue(caught.exception.message.startswith(begin), caught.exception.message)
            self.assertNotRegex(caught.exception.message, r'(subsystems|devices)\[')

    def test_of_subsystems(self):
        self.start()
        for params, begin in [
                ({'nqn': 'nqn.2014-08.org.nvmexpress.discovery'}, 'nqn: the discovery subsystem'),
                ({'nqn': 'disk'}, 'nqn: "disk" is not accepted'),
                ({'nqn': NQN + '2', 'serial_number': 'x' * 21}, 'serial_number: '),
                ({'nqn': NQN + '2', 'model_number': 'ü'}, 'model_number: '),
                ({'nqn': NQN + '2', 'max_namespaces': 2000}, 'max_namespaces: ')]:
            self.refused('nvmf_create_subsystem', params, -32602, begin)
        self.refused('nvmf_subsystem_add_host', {'nqn': NQN, 'host': 'h'}, -32602, 'host: ')
        for address, begin in [
                ({'traddr': 'localhost'}, 'listen_address.traddr: '),
                ({'traddr': '::1', 'trsvcid': '66000'}, 'listen_address.trsvcid: '),
                ({'traddr': '::1', 'advertise': '::'}, 'listen_address.advertise: ')]:
            self.refused('nvmf_subsystem_add_listener', {'nqn': NQN, 'listen_address': address},
                         -32602, begin)
        self.stop()

    def test_of_namespaces(self):
        """Also when the subsystem stands before the one that has what is wanted."""
        uuid, other = '6ba7b810-9dad-11d1-80b4-00c04fd430c8', NQN + ':2'
        self.start()
        self.call('nvmf_create_subsystem', {'nqn': other, 'max_namespaces': 1})
        for name in ('m1', 'm2'):
            self.call('bdev_malloc_create', {'name': name, 'num_blocks': 8, 'block_size': 512})
        self.refused('nvmf_subsystem_add_ns', {'nqn': other, 'namespace': {
            'bdev_name': 'm1', 'nsid': 2}}, -32602, 'namespace.nsid: 2 is not accepted')
        self.call('nvmf_subsystem_add_ns', {'nqn': other, 'namespace': {
            'bdev_name': 'm1', 'uuid': uuid, 'eui64': '0011223344556677'}})
        self.refused('nvmf_subsystem_add_ns', {'nqn': other, 'namespace': {'bdev_name': 'm2'}},
                     -28, 'the subsystem has all of its 1 namespaces')
        for ns, begin in [
                ({'bdev_name': 'm1'}, "namespace.bdev_name: 'm1' is used by namespace 1 of " + other),
                ({'bdev_name': 'm2', 'uuid': uuid},
                 f'namespace.uuid: the UUID {uuid} is that of namespace 1 of {other}'),
                ({'bdev_name': 'm2', 'nguid': uuid.replace('-', '')}, 'namespace.nguid: the NGUID'),
                ({'bdev_name': 'm2', 'eui64': '0011223344556677'}, 'namespace.eui64: the EUI64'),
                ({'bdev_name': 'm2', 'nguid': '12'}, 'namespace.nguid: it takes 32'),
                ({'bdev_name': 'm2', 'uuid': '12'}, 'namespace.uuid: "12" is not accepted')]:
            self.refused('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': ns}, -32602, begin)
        self.stop()

    def test_of_devices(self):
        """A base that something else uses, and a UUID that another device has."""
        uuid = '6ba7b810-9dad-11d1-80b4-00c04fd430c8'
        self.start()
        self.call('bdev_malloc_create', {'name': 'm1', 'num_blocks': 8, 'block_size': 512,
                                         'uuid': uuid})
        self.call('bdev_error_create', {'base_name': 'm1', 'name': 'e1'})
        for method, params, begin in [
                ('bdev_error_create', {'base_name': 'disk0'},
                 f"base: 'disk0' is used by namespace 1 of {NQN} already"),
                ('bdev_delay_create', {'base_bdev_name': 'disk0', 'name': 'd', 'avg_read_latency': 1,
                                       'p99_read_latency': 1, 'avg_write_latency': 1,
                                       'p99_write_latency': 1},
                 f"base: 'disk0' is used by namespace 1 of {NQN} already"),
                ('bdev_create', {'driver': 'delay', 'name': 'd', 'base': 'm1'},
                 "base: 'm1' is used by device 'e1' already"),
                ('bdev_create', {'driver': 'malloc', 'name': 'm2', 'size': 4096, 'uuid': uuid},
                 "uuid: device 'm1' has it already")]:
            self.refused(method, params, -32602, begin)
        self.stop()

    def test_of_the_transport(self):
        self.start()
        for params, code, begin in [
                ({'in_capsule_data_size': 100}, -32602, 'in_capsule_data_size: 100 is not'),
                ({'max_io_size': 12288}, -32602, 'max_io_size: 12288 is not accepted'),
                ({'max_io_qpairs_per_ctrlr': 3}, -16, 'max_io_qpairs_per_ctrlr: it cannot be'),
                ({'max_qpairs_per_ctrlr': 3}, -16, 'max_qpairs_per_ctrlr: it cannot be changed')]:
            self.refused('nvmf_create_transport', {'trtype': 'TCP', **params}, code, begin)
        # What is so already is no change.
        self.assertTrue(self.call('nvmf_create_transport', {'trtype': 'TCP', 'max_io_size': 1 << 20}))
        self.stop()


class Spdk(NodeTest):
    def test_a_node_is_made_by_calls_and_saved_as_spdks_client_does(self):
        self.config['nvmf'] = {}
        self.config['devices'] = []
        self.start()
        calls = [
            ('bdev_malloc_create', {'num_blocks': 8192, 'block_size': 512}, 'Malloc0'),
            ('bdev_malloc_create', {'num_blocks': 8192, 'block_size': 512}, 'Malloc1'),
            ('bdev_error_create', {'base_name': 'Malloc1'}, True),
            ('nvmf_create_transport', {'trtype': 'TCP', 'io_unit_size': 8192,
                                       'max_io_qpairs_per_ctrlr': 16,
                                       'in_capsule_data_size': 4096}, True),
            ('nvmf_create_subsystem', {'nqn': NQN, 'serial_number': 'SPDK00000000000001',
                                       'allow_any_host': True, 'min_cntlid': 1,
                                       'max_cntlid': 65519, 'ana_reporting': False,
                                       'tgt_name': 'nvmf_tgt'}, True),
            ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'Malloc0'}}, 1),
            ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'EE_Malloc1'}}, 2),
            ('nvmf_subsystem_add_listener', {'nqn': NQN, 'listen_address': {
                'trtype': 'TCP', 'adrfam': 'IPv4', 'traddr': '127.0.0.1',
                'trsvcid': str(self.port)}}, True)]
        for method, params, result in calls:
            self.assertEqual(self.call(method, params), result, method)
        shown = self.call('nvmf_get_subsystems')
        config = {s['subsystem']: self.call('framework_get_config', {'name': s['subsystem']})
                  for s in self.call('framework_get_subsystems')}
        self.stop()
        # SPDK's load_config calls what was saved, one after the other, on an empty node.
        self.config['state_dir'] = str(self.dir / 'state2')
        self.start()
        for name in ('bdev', 'nvmf'):
            for call in config[name]:
                self.call(call['method'], call['params'])
        self.assertEqual(self.call('nvmf_get_subsystems'), shown)
        self.stop()

    def test_options_that_spdks_client_always_sends_are_taken(self):
        """Its switches come as false when they were not given. What is on and not here is refused."""
        self.config['nvmf'] = {}
        self.start()
        mem = {'num_blocks': 32768, 'block_size': 512, 'md_interleave': False,
               'dif_is_head_of_md': False}
        null = {'name': 'n0', 'num_blocks': 204800, 'block_size': 512, 'dif_is_head_of_md': False}
        file = {'name': 'f0', 'filename': str(self.dir / 'f0.img'), 'size': '1MiB',
                'readonly': False, 'fallocate': False, 'nowait': False}
        transport = {'trtype': 'tcp', 'c2h_success': True} | dict.fromkeys((
            'no_srq', 'zcopy', 'dif_insert_or_strip', 'no_wr_batching', 'disable_mappable_bar0',
            'disable_adaptive_irq', 'disable_shadow_doorbells', 'disable_command_passthru'), False)
        subsystem = {'nqn': NQN, 'allow_any_host': True, 'ana_reporting': False,
                     'passthrough': False, 'enable_nssr': False}
        namespace = {'bdev_name': 'Malloc0', 'no_auto_visible': False, 'hide_metadata': False}
        address = {'trtype': 'tcp', 'traddr': '127.0.0.1', 'trsvcid': str(self.port)}
        listener = {'nqn': NQN, 'secure_channel': False, 'listen_address': address}
        discovery = dict(listener, nqn='nqn.2014-08.org.nvmexpress.discovery')
        controller = {'name': 'Nvme0', 'trtype': 'tcp', 'adrfam': 'ipv4', 'subnqn': NQN,
                      'traddr': '127.0.0.1', 'trsvcid': str(self.port)} | dict.fromkeys((
                          'prchk_reftag', 'prchk_guard', 'hdgst', 'ddgst',
                          'allow_unrecognized_csi'), False) | {'multipath_opts': {}}
        raid = {'name': 'r0', 'raid_level': 'raid1', 'base_bdevs': ['Malloc0', 'n0']}
        for method, params, member, value in [
                ('bdev_malloc_create', mem, 'md_size', 8),
                ('bdev_malloc_create', mem, 'md_interleave', True),
                ('bdev_malloc_create', mem, 'physical_block_size', 4096),
                ('bdev_malloc_create', mem, 'numa_id', 1),
                ('bdev_null_create', null, 'dif_type', 1),
                ('bdev_aio_create', file, 'nowait', True),
                ('bdev_get_iostat', {}, 'per_channel', True),
                ('bdev_raid_create', raid, 'superblock', False),
                ('bdev_raid_set_options', {}, 'process_window_size_kb', 1024),
                ('nvmf_create_transport', transport, 'dif_insert_or_strip', True),
                ('nvmf_create_subsystem', subsystem, 'min_cntlid', 100),
                ('nvmf_create_subsystem', subsystem, 'passthrough', True),
                ('bdev_nvme_attach_controller', controller, 'prchk_guard', True),
                ('bdev_nvme_attach_controller', controller, 'multipath_opts',
                 {'policy': 'active_active'})]:
            with self.subTest(refused=(method, member, value)):
                with self.assertRaisesRegex(RpcError, f': {member}: '):
                    self.call(method, params | {member: value})
        self.assertEqual(sorted(self.devices()), ['disk0', 'mem0'])
        with self.assertRaisesRegex(RpcError, '^-2: there is no subsystem'):
            self.call('nvmf_subsystem_add_listener', listener)
        with self.assertRaisesRegex(RpcError, '^-95: discovery has no listeners of its own'):
            self.call('nvmf_subsystem_add_listener', discovery)
        for method, params, result in [
                ('framework_wait_init', None, True),
                ('bdev_malloc_create', mem | {'md_size': 0, 'numa_id': -1}, 'Malloc0'),
                ('bdev_null_create', null, 'n0'),
                ('bdev_aio_create', file, 'f0'),
                ('nvmf_create_transport', transport, True),
                ('nvmf_create_subsystem', subsystem, True),
                ('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': namespace}, 1),
                ('nvmf_subsystem_add_listener', listener, True),
                ('nvmf_subsystem_add_listener', discovery, True),
                ('bdev_nvme_attach_controller', controller, ['Nvme0n1']),
                ('bdev_nvme_detach_controller', {'name': 'Nvme0'}, True)]:
            self.assertEqual(self.call(method, params), result, method)
        for member in ('no_auto_visible', 'hide_metadata'):
            with self.assertRaisesRegex(RpcError, f'namespace: {member}: true is not accepted'):
                self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': namespace | {
                    'bdev_name': 'n0', member: True}})
        self.stop()

    def test_statistics_of_named_devices(self):
        self.start()
        stats = self.call('bdev_get_iostat', {'names': ['mem0', 'disk0'], 'per_channel': False})
        self.assertEqual([d['name'] for d in stats['bdevs']], ['mem0', 'disk0'])
        for params, begin in [({'names': ['mem0', 'none']}, "-19: there is no device 'none'"),
                              ({'names': ['mem0', 7]}, r'-32602: names\[1\]: '),
                              ({'names': 'mem0'}, '-32602: names: '),
                              ({'names': ['mem0'], 'name': 'mem0'}, '-32602: names: ')]:
            with self.assertRaisesRegex(RpcError, '^' + begin):
                self.call('bdev_get_iostat', params)
        self.stop()

    def test_histogram_has_spdks_layout(self):
        self.start()
        host = Controller(('127.0.0.1', self.port), NQN).enable()
        self.addCleanup(host.close)
        queue, ns = host.io_queue(), host.namespace(1)
        for _ in range(100):
            self.assertTrue(queue.write(ns, 0, bytes(4096)).cqe.is_ok)
        histogram = self.call('bdev_get_histogram', {'name': 'disk0'})
        shift = histogram['bucket_shift']
        data = base64.b64decode(histogram['histogram'])
        self.assertEqual(len(data), 8 * ((64 - shift + 1) << shift))
        self.assertEqual(sum(struct.unpack(f'<{len(data) // 8}Q', data)), 100)
        stats = self.call('bdev_get_iostat', {'name': 'disk0'})['bdevs'][0]
        self.assertEqual((stats['num_write_ops'], stats['bytes_written']), (100, 409600))
        self.assertGreater(stats['latency']['write']['p50_ns'], 0)
        self.call('bdev_reset_iostat')
        stats = self.call('bdev_get_iostat', {'name': 'disk0'})['bdevs'][0]
        self.assertEqual(stats['num_write_ops'], 0)
        self.stop()


class Crowd(NodeTest):
    def test_many_clients_change_at_once(self):
        self.config['reactors'] = {'count': 2}
        self.start()
        failures = []

        def work(index):
            try:
                with Client(self.socket_path) as client:
                    for _ in range(5):
                        name = f'c{index}'
                        client.call('bdev_malloc_create',
                                    {'name': name, 'num_blocks': 8, 'block_size': 512})
                        nsid = client.call('nvmf_subsystem_add_ns',
                                           {'nqn': NQN, 'namespace': {'bdev_name': name}})
                        client.call('bdev_get_iostat')
                        if index % 2 == 0:
                            client.call('nvmf_subsystem_remove_ns', {'nqn': NQN, 'nsid': nsid})
                        client.call('bdev_delete', {'name': name})
            except Exception as error:  # pylint: disable=broad-except
                failures.append(f'{index}: {error!r}')

        threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(failures, [])
        self.assertEqual(sorted(self.devices()), ['disk0', 'mem0'])
        self.assertEqual([n['nsid'] for n in self.shown_subsystem()['namespaces']], [1])
        self.stop()


class UnderAHost(NodeTest):
    def setUp(self):
        super().setUp()
        self.config['devices'].append({'driver': 'error', 'name': 'bad', 'base': 'mem0'})
        self.subsystem()['namespaces'].append({'nsid': 2, 'device': 'bad'})

    def connect(self):
        host = Controller(('127.0.0.1', self.port), NQN).enable()
        self.addCleanup(host.close)
        return host, host.io_queue()

    def wait_held(self, name):
        """Until the device has an I/O that it does not end."""
        deadline = time.monotonic() + PATIENCE_S
        while self.call('bdev_get_iostat', {'name': name})['bdevs'][0]['queue_depth'] != 1:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_deleted_device_is_taken_from_the_host(self):
        self.start()
        host, queue = self.connect()
        ns = host.namespace(2)
        self.assertTrue(queue.write(ns, 0, bytes(4096)).cqe.is_ok)
        self.call('bdev_delete', {'name': 'mem0'})  # the one below the exported one
        self.assertEqual(host.active_nsids(), [1])
        self.assertFalse(queue.run(READ, **read_fields(ns, 0, 8)).cqe.is_ok)
        self.assertEqual(sorted(self.devices()), ['disk0'])
        self.stop()

    def test_injected_errors_reach_the_host(self):
        self.start()
        host, queue = self.connect()
        ns = host.namespace(2)
        self.call('bdev_error_inject_error', {'name': 'bad', 'io_type': 'read',
                                              'error_type': 'failure', 'num': 2})
        results = [queue.run(READ, **read_fields(ns, 0, 8)).cqe.is_ok for _ in range(4)]
        self.assertEqual(results, [False, False, True, True])
        self.call('bdev_error_inject_error', {'name': 'bad', 'io_type': 'all',
                                              'error_type': 'pending', 'num': 1})
        command = queue.submit(WRITE, **write_fields(ns, 0, b'x' * 4096))
        self.wait_held('bad')
        self.assertTrue(queue.is_quiet(0.3))
        self.call('bdev_error_inject_error', {'name': 'bad', 'io_type': 'clear'})
        self.assertTrue(queue.wait(command).cqe.is_ok)
        self.stop()

    def test_a_resize_is_seen_by_the_host(self):
        self.start()
        host, _ = self.connect()
        self.assertEqual(host.namespace(1).nr_blocks * 512, 16 << 20)
        self.call('bdev_file_resize', {'name': 'disk0', 'size': '64MiB'})
        self.assertEqual(host.namespace(1).nr_blocks * 512, 64 << 20)
        self.stop()

    def test_connections_are_listed(self):
        self.start()
        host, _ = self.connect()
        controllers = self.call('nvmf_subsystem_get_controllers', {'nqn': NQN})
        self.assertEqual([(c['cntlid'], c['hostnqn'], c['num_io_qpairs']) for c in controllers],
                         [(host.cntlid, host.hostnqn, 1)])
        qpairs = self.call('nvmf_subsystem_get_qpairs', {'nqn': NQN})
        self.assertEqual(sorted(q['qid'] for q in qpairs), [0, 1])
        self.stop()

    def test_the_stop_does_not_wait_for_a_device_that_hangs(self):
        self.config['stop_timeout_s'] = 10  # half of it is for the host's command
        self.start()
        host, queue = self.connect()
        self.call('bdev_error_inject_error', {'name': 'bad', 'io_type': 'all',
                                              'error_type': 'pending', 'num': 1})
        queue.submit(WRITE, **write_fields(host.namespace(2), 0, b'x' * 4096))
        self.wait_held('bad')
        self.stop()  # with 0, and not with the 3 of one that was not in time

    def test_a_second_signal_ends_at_once(self):
        self.config['stop_timeout_s'] = 3600
        self.start()
        host, queue = self.connect()
        self.call('bdev_error_inject_error', {'name': 'bad', 'io_type': 'all',
                                              'error_type': 'pending', 'num': 1})
        queue.submit(WRITE, **write_fields(host.namespace(2), 0, b'x' * 4096))
        self.wait_held('bad')
        self.process.terminate()
        self.wait_log('stopping: SIGTERM')
        self.process.terminate()
        self.wait_exit(3)  # which is long before the end of its time


if __name__ == '__main__':
    main()

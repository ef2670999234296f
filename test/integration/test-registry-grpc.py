#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry over gRPC, called by a client that protoc has made for Python: all methods, streams
and resuming them, deadlines, cancellation, tokens, TLS, bounds, garbage, the end.

Skipped (77) where grpcio, protobuf's Python or protoc are missing."""

import importlib.util
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

# The packages may be those of the system's own Python.
SYSTEM_PYTHON = '/usr/bin/python3'
if importlib.util.find_spec('grpc') is None:
    if os.path.realpath(sys.executable) != os.path.realpath(SYSTEM_PYTHON) and os.path.exists(
            SYSTEM_PYTHON):
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, *sys.argv])
    print('SKIP: python3-grpcio is not installed')
    sys.exit(77)
for program in ('protoc', 'grpc_python_plugin', 'openssl'):
    if shutil.which(program) is None:
        print(f'SKIP: {program} is not installed')
        sys.exit(77)
if importlib.util.find_spec('google.protobuf') is None:
    print('SKIP: python3-protobuf is not installed')
    sys.exit(77)

import grpc  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('XSAN_BUILD', TOP / 'build'))
SERVER = BUILD / 'test/integration/registry-grpc'
PATIENCE_S = 60
# gRPC's libraries are not built with the thread sanitizer, so it does not see how their threads wait
# for each other. All of our code is, and is looked at all the same.
ENVIRONMENT = {**os.environ, 'TSAN_OPTIONS': ':'.join(
    [*filter(None, [os.environ.get('TSAN_OPTIONS')]), 'ignore_noninstrumented_modules=1'])}

stubs = tempfile.TemporaryDirectory(prefix='xsan-grpc-stubs-')
for folder, name in (('xdevice/nvmeof', 'registry'), ('grpc/health/v1', 'health')):
    subprocess.run(['protoc', f'--proto_path={TOP / "proto" / folder}',
                    f'--python_out={stubs.name}', f'--grpc_out={stubs.name}',
                    f'--plugin=protoc-gen-grpc={shutil.which("grpc_python_plugin")}',
                    f'{name}.proto'], check=True)
sys.path.insert(0, stubs.name)
import health_pb2  # noqa: E402
import health_pb2_grpc  # noqa: E402
import registry_pb2 as pb  # noqa: E402
import registry_pb2_grpc  # noqa: E402

from registry_harness import free_port  # noqa: E402

Code = grpc.StatusCode


def info(number=1, **more):
    values = {'node_id': 'node-1', 'nqn': f'nqn.2026-11.io.xsan:{number:06}',
              'address': '192.0.2.7', 'port': 4420, 'namespace_capacity': 1 << 40,
              'performance_caps': pb.PerformanceCaps(max_iops=500000, max_bandwidth_mbps=6000,
                                                     avg_latency_us=50, max_queue_depth=128),
              'metadata': {'location': f'rack-{number % 3}-slot-{number}', 'hw': 'ssd'}}
    values.update(more)
    return pb.TargetInfo(**values)


class Stream:
    """A subscription whose events a thread takes."""

    def __init__(self, call):
        self.call = call
        self.queue = queue.Queue()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            for event in self.call:
                self.queue.put(event)
            self.queue.put(None)
        except grpc.RpcError as error:
            self.queue.put(error)

    def next(self):
        return self.queue.get(timeout=PATIENCE_S)


class GrpcTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='xsan-grpc-'))
        self.process = None

    def tearDown(self):
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.dir)

    def start(self, *options, credentials=None, must=True):
        self.log = open(self.dir / 'log', 'ab+')
        self.process = subprocess.Popen([SERVER, self.dir, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=ENVIRONMENT)
        line = self.process.stdout.readline()
        if not must:
            return line
        self.assertNotEqual(line, '', (self.dir / 'log').read_text())
        self.port = int(line)
        self.connect(credentials)
        return line

    def connect(self, credentials=None, **options):
        where = f'127.0.0.1:{self.port}'
        self.channel = (grpc.secure_channel(where, credentials, **options) if credentials
                        else grpc.insecure_channel(where, **options))
        self.stub = registry_pb2_grpc.NVMeOFTargetRegistryStub(self.channel)
        self.addCleanup(self.channel.close)
        return self.stub

    def stop(self, code=0):
        """Ends the server, which must not take long; returns the line that it ends with."""
        process, self.process = self.process, None
        process.stdin.close()
        try:
            told = process.stdout.read()
            ended = process.wait(PATIENCE_S)
            log = (self.dir / 'log').read_text()
            self.assertEqual(ended, code, log)
            self.assertNotIn('memory is lost', log)
            self.assertNotIn('nobody has ended', log)
        finally:
            process.stdout.close()
            if process.poll() is None:
                process.kill()
                process.wait()
            self.log.close()
        return told

    def refused(self, code, call, *args, **named):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, timeout=named.pop('timeout', PATIENCE_S), **named)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception.details()

    def register(self, number=1, details=None, **more):
        request = pb.RegisterTargetRequest(target_info=info(number, **more), details=details)
        return self.stub.RegisterTarget(request, timeout=PATIENCE_S)

    def register_many(self, numbers, **more):
        """In their order, but not one after the other: the store makes them durable together."""
        pending = [self.stub.RegisterTarget.future(
            pb.RegisterTargetRequest(target_info=info(i, **more)), timeout=PATIENCE_S)
            for i in numbers]
        return [one.result() for one in pending]

    def subscribe(self, stub=None, **fields):
        stream = Stream((stub or self.stub).SubscribeEvents(pb.EventSubscriptionRequest(**fields)))
        first = stream.next()
        if not isinstance(first, grpc.RpcError):
            self.assertEqual(first.type, pb.EVENT_PROGRESS)
        stream.first = first
        return stream


class Methods(GrpcTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_register_and_get(self):
        details = pb.TargetDetails(interface='eth0', device_path='/dev/sdb', block_size=4096,
                                   namespace_id=1, readonly=True, max_connections=32,
                                   auto_discovery=False, discovery_interval_seconds=30, weight=0,
                                   tags=['lab', 'fast', 'lab'], ttl_seconds=90)
        made = self.register(details=details)
        self.assertTrue(made.target_id.startswith('tgt-'))
        self.assertEqual((made.status, made.revision), ('registered', 1))
        self.assertLess(abs(made.registered_at_ms / 1000 - time.time()), PATIENCE_S)
        target = self.stub.GetTarget(pb.GetTargetRequest(target_id=made.target_id)).target
        self.assertEqual(target.info, info(target_id=made.target_id))
        details.tags[:] = ['fast', 'lab']
        self.assertEqual(target.details, details)
        self.assertEqual((target.status, target.source), (pb.AVAILABLE, pb.SOURCE_REGISTERED))
        self.assertEqual((target.revision, target.created_revision), (1, 1))
        self.assertFalse(target.HasField('health'))
        self.refused(Code.NOT_FOUND, self.stub.GetTarget, pb.GetTargetRequest(target_id='tgt-no'))

    def test_defaults_of_details(self):
        made = self.register()
        details = self.stub.GetTarget(pb.GetTargetRequest(target_id=made.target_id)).target.details
        self.assertTrue(details.auto_discovery)
        self.assertEqual((details.discovery_interval_seconds, details.weight), (0, 1))

    def test_register_refuses(self):
        cases = [
            ({'node_id': ''}, 'node_id'), ({'nqn': 'iqn.1'}, 'NQN'), ({'port': 0}, 'port'),
            ({'port': 65536}, 'port'), ({'address': '0.0.0.0'}, 'every address'),
            ({'address': 'storage.example'}, 'numeric'), ({'transport': 7}, 'transport 7'),
            ({'namespace_capacity': 1 << 63}, 'too much'), ({'target_id': 'tgt-1'}, 'target_id'),
            ({'metadata': {f'k{i}': 'v' for i in range(65)}}, 'at most 64'),
            ({'metadata': {'a b': 'v'}}, 'letters'), ({'metadata': {'a': 'x' * 256}}, '256 bytes'),
            ({'node_id': 'a\0b'}, 'NUL'),
        ]
        for more, word in cases:
            with self.subTest(more=more):
                request = pb.RegisterTargetRequest(target_info=info(**more))
                self.assertIn(word, self.refused(Code.INVALID_ARGUMENT, self.stub.RegisterTarget,
                                                 request))
        for details, word in ((pb.TargetDetails(weight=float('nan')), 'weight'),
                              (pb.TargetDetails(tags=['t'] * 33), 'at most 32'),
                              (pb.TargetDetails(ttl_seconds=1 << 31), 'ttl_seconds')):
            request = pb.RegisterTargetRequest(target_info=info(), details=details)
            self.assertIn(word, self.refused(Code.INVALID_ARGUMENT, self.stub.RegisterTarget,
                                             request))
        self.assertIn('missing', self.refused(Code.INVALID_ARGUMENT, self.stub.RegisterTarget,
                                              pb.RegisterTargetRequest()))
        self.assertEqual(self.stub.ListTargets(pb.ListTargetsRequest()).revision, 0)

    def test_register_again(self):
        made = self.register()
        request = pb.RegisterTargetRequest(target_info=info(port=4420))
        self.assertIn(made.target_id,
                      self.refused(Code.ALREADY_EXISTS, self.stub.RegisterTarget, request))
        request.update_existing = True
        request.target_info.performance_caps.max_iops = 7
        again = self.stub.RegisterTarget(request)
        self.assertEqual((again.target_id, again.status), (made.target_id, 'updated'))

    def test_update(self):
        made = self.register()
        change = pb.UpdateTargetRequest(
            target_id=made.target_id, if_revision=made.revision,
            status=pb.StatusChange(status=pb.MAINTENANCE, reason='new disks',
                                   estimated_duration_minutes=30))
        target = self.stub.UpdateTarget(change).target
        self.assertEqual((target.status, target.status_reason), (pb.MAINTENANCE, 'new disks'))
        self.assertLess(abs(target.status_until_ms / 1000 - time.time() - 1800), PATIENCE_S)
        self.assertIn('revision', self.refused(Code.ABORTED, self.stub.UpdateTarget, change))
        change = pb.UpdateTargetRequest(target_id=made.target_id,
                                        specification=pb.TargetSpecification(
                                            target_info=info(address='192.0.2.8')))
        target = self.stub.UpdateTarget(change).target
        self.assertEqual((target.info.address, target.status), ('192.0.2.8', pb.MAINTENANCE))
        change.ClearField('change')
        self.refused(Code.INVALID_ARGUMENT, self.stub.UpdateTarget, change)
        change.status.status = 9
        self.refused(Code.INVALID_ARGUMENT, self.stub.UpdateTarget, change)
        change.status.status = pb.DEGRADED
        change.target_id = 'tgt-no'
        self.refused(Code.NOT_FOUND, self.stub.UpdateTarget, change)

    def test_unregister(self):
        made = self.register()
        request = pb.UnregisterTargetRequest(target_id=made.target_id, if_revision=9)
        self.refused(Code.ABORTED, self.stub.UnregisterTarget, request)
        request.if_revision = 0
        gone = self.stub.UnregisterTarget(request, timeout=PATIENCE_S)
        self.assertEqual(gone.status, 'unregistered')
        self.refused(Code.NOT_FOUND, self.stub.UnregisterTarget, request)
        self.refused(Code.NOT_FOUND, self.stub.UnregisterTarget,
                     pb.UnregisterTargetRequest(target_id='x' * 100))
        request.drain_timeout_seconds = 1 << 31
        self.refused(Code.INVALID_ARGUMENT, self.stub.UnregisterTarget, request)

    def test_unregister_drains(self):
        made = self.register()
        report = pb.HealthReportRequest(target_id=made.target_id,
                                        metrics=pb.HealthMetrics(active_connections=3))
        self.stub.ReportHealth(report)
        stream = self.subscribe(since_revision=1)
        pending = self.stub.UnregisterTarget.future(
            pb.UnregisterTargetRequest(target_id=made.target_id, drain_timeout_seconds=600))
        event = stream.next()  # it is being drained
        self.assertEqual((event.type, event.new_status), (pb.EVENT_STATUS, pb.MAINTENANCE))
        time.sleep(0.5)
        self.assertFalse(pending.done())
        report.metrics.active_connections = 0
        self.stub.ReportHealth(report)
        gone = pending.result(timeout=PATIENCE_S)
        self.assertEqual((gone.drained_connections, gone.remaining_connections), (3, 0))
        self.assertEqual(stream.next().type, pb.EVENT_UNREGISTERED)

    def test_unregister_by_force(self):
        made = self.register()
        self.stub.ReportHealth(pb.HealthReportRequest(
            target_id=made.target_id, metrics=pb.HealthMetrics(active_connections=3)))
        gone = self.stub.UnregisterTarget(
            pb.UnregisterTargetRequest(target_id=made.target_id, force=True), timeout=PATIENCE_S)
        self.assertEqual((gone.status, gone.drained_connections), ('unregistered', 0))
        self.refused(Code.NOT_FOUND, self.stub.GetTarget,
                     pb.GetTargetRequest(target_id=made.target_id))

    def test_list(self):
        ids = sorted(self.register(i, node_id=f'node-{i % 2}').target_id for i in range(10))
        got, token = [], ''
        for _ in range(20):
            page = self.stub.ListTargets(pb.ListTargetsRequest(page_size=3, page_token=token))
            self.assertEqual((page.total_count, page.healthy_count, page.revision), (10, 10, 10))
            self.assertLessEqual(len(page.targets), 3)
            got += [t.info.target_id for t in page.targets]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(got, ids)

        def count(**filters):
            return len(self.stub.ListTargets(pb.ListTargetsRequest(**filters)).targets)

        self.assertEqual(count(node_id='node-1'), 5)
        self.assertEqual(count(node_id='node-1', location='rack-0'), 2)
        self.assertEqual(count(nqn='nqn.2026-11.io.xsan:000004'), 1)
        self.assertEqual(count(location='rack-1-slot-'), 3)
        self.assertEqual(count(location='rack-1-slot-4'), 1)
        self.assertEqual(count(tag='none'), 0)
        self.assertEqual(count(address='192.0.2.7', statuses=[pb.OFFLINE, pb.AVAILABLE]), 10)
        self.assertEqual(count(statuses=[pb.OFFLINE]), 0)
        self.assertEqual(count(transports=[pb.RDMA, pb.FC]), 0)
        self.assertEqual(count(transports=[pb.TCP]), 10)

    def test_list_of_large_targets_fits_a_message(self):
        metadata = {f'key-{i:02}': 'x' * 255 for i in range(64)}
        self.register_many(range(300), metadata=metadata)
        got, token, pages = 0, '', 0
        while pages == 0 or token:
            page = self.stub.ListTargets(pb.ListTargetsRequest(page_size=1000, page_token=token))
            got, token, pages = got + len(page.targets), page.next_page_token, pages + 1
        self.assertEqual(got, 300)
        self.assertGreater(pages, 1)  # 300 of about 17 KiB

    def test_select(self):
        ids = [self.register(i, performance_caps=pb.PerformanceCaps(
            max_iops=100000 * i)).target_id for i in range(1, 4)]
        chosen = self.stub.SelectOptimalTargets(pb.SelectTargetsRequest(
            min_iops=150000, target_count=5, explain=True, policy=pb.POLICY_SCORE))
        self.assertEqual(chosen.status, pb.SELECTION_PARTIAL)
        self.assertEqual({t.target.info.target_id for t in chosen.targets}, set(ids[1:]))
        self.assertEqual([t.priority for t in chosen.targets], [1, 2])
        self.assertGreaterEqual(chosen.targets[0].total_score, chosen.targets[1].total_score)
        self.assertEqual((chosen.candidate_count, chosen.rejected_count), (2, 1))
        self.assertEqual(chosen.rejected[0].target_id, ids[0])
        self.assertNotEqual(chosen.rejected[0].reason, '')
        self.assertEqual((chosen.policy, chosen.revision), (pb.POLICY_SCORE, 3))
        none = self.stub.SelectOptimalTargets(pb.SelectTargetsRequest(min_iops=1 << 40))
        self.assertEqual((none.status, len(none.targets)), (pb.SELECTION_NO_SUITABLE, 0))
        none = self.stub.SelectOptimalTargets(pb.SelectTargetsRequest(transport=pb.RDMA))
        self.assertEqual(none.status, pb.SELECTION_NO_SUITABLE)
        for bad in (pb.SelectTargetsRequest(policy=pb.POLICY_HASH),
                    pb.SelectTargetsRequest(policy=99),
                    pb.SelectTargetsRequest(target_count=1 << 31),
                    pb.SelectTargetsRequest(weights=pb.SelectionWeights(health=-1))):
            self.refused(Code.INVALID_ARGUMENT, self.stub.SelectOptimalTargets, bad)

    def test_health(self):
        made = self.register()
        status = self.stub.GetHealthStatus(pb.HealthStatusRequest(target_id=made.target_id))
        self.assertFalse(status.HasField('metrics'))
        report = pb.HealthReportRequest(
            target_id=made.target_id, cpu_usage=0.5, memory_usage=0.25, io_count=10,
            error_count=1, uptime_seconds=77,
            metrics=pb.HealthMetrics(load_percentage=35, current_iops=45000,
                                     current_bandwidth_mbps=2800, current_latency_us=45,
                                     error_rate=0.001, active_connections=4))
        answer = self.stub.ReportHealth(report)
        self.assertEqual(answer.status, pb.AVAILABLE)
        self.assertGreater(answer.health_score, 0)
        status = self.stub.GetHealthStatus(pb.HealthStatusRequest(target_id=made.target_id))
        self.assertEqual(status.metrics.health_score, answer.health_score)
        self.assertEqual(status.assessment.health_score, answer.health_score)
        self.assertEqual(status.assessment.availability, 100)
        self.assertEqual(status.assessment.resource_usage, 65)
        self.assertEqual((status.metrics.current_iops, status.metrics.active_connections),
                         (45000, 4))
        self.assertEqual((status.cpu_usage, status.uptime_seconds), (0.5, 77))
        self.assertLess(abs(status.metrics.last_updated - time.time()), PATIENCE_S)
        target = self.stub.GetTarget(pb.GetTargetRequest(target_id=made.target_id)).target
        self.assertEqual(target.health, status.metrics)
        self.assertEqual(target.last_seen_ms // 1000, status.metrics.last_updated)
        report.metrics.load_percentage = 101
        self.assertIn('load_percentage', self.refused(Code.INVALID_ARGUMENT,
                                                      self.stub.ReportHealth, report))
        report.ClearField('metrics')
        self.refused(Code.INVALID_ARGUMENT, self.stub.ReportHealth, report)
        report = pb.HealthReportRequest(target_id='tgt-no', metrics=pb.HealthMetrics())
        self.refused(Code.NOT_FOUND, self.stub.ReportHealth, report)
        self.refused(Code.NOT_FOUND, self.stub.GetHealthStatus, pb.HealthStatusRequest())

    def test_standard_health_service(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        Request, Response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        for service in ('', 'xdevice.nvmeof.registry.NVMeOFTargetRegistry'):
            self.assertEqual(stub.Check(Request(service=service)).status, Response.SERVING)
        for service in ('xdevice', 'x' * 300):
            self.refused(Code.NOT_FOUND, stub.Check, Request(service=service))
        watch, unknown = Stream(stub.Watch(Request())), Stream(stub.Watch(Request(service='x')))
        self.assertEqual(watch.next().status, Response.SERVING)
        self.assertEqual(unknown.next().status, Response.SERVICE_UNKNOWN)
        self.stop()
        self.assertEqual(watch.next().status, Response.NOT_SERVING)
        self.assertIsNone(watch.next())

    def test_watches_are_bounded(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        watches = [Stream(stub.Watch(health_pb2.HealthCheckRequest())) for _ in range(64)]
        for watch in watches:
            self.assertEqual(watch.next().status, health_pb2.HealthCheckResponse.SERVING)
        more = Stream(stub.Watch(health_pb2.HealthCheckRequest()))
        self.assertEqual(more.next().code(), Code.RESOURCE_EXHAUSTED)
        watches[0].call.cancel()
        self.assertEqual(watches[0].next().code(), Code.CANCELLED)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:  # its place becomes free
            more = Stream(stub.Watch(health_pb2.HealthCheckRequest()))
            if not isinstance(more.next(), grpc.RpcError):
                break
        else:
            self.fail('the place of a cancelled watch is not free again')

    def test_unknown_method(self):
        call = self.channel.unary_unary('/xdevice.nvmeof.registry.NVMeOFTargetRegistry/Drop')
        self.refused(Code.UNIMPLEMENTED, call, b'')


class Events(GrpcTest):
    def test_events_tell_what_happened(self):
        self.start()
        stream = self.subscribe()
        self.assertEqual(stream.first.revision, 0)
        made = self.register()
        event = stream.next()
        self.assertEqual((event.type, event.revision), (pb.EVENT_REGISTERED, 1))
        self.assertEqual((event.target_id, event.target.info.node_id), (made.target_id, 'node-1'))
        self.assertEqual((event.old_status, event.new_status), (pb.UNKNOWN, pb.AVAILABLE))
        self.stub.UpdateTarget(pb.UpdateTargetRequest(
            target_id=made.target_id, status=pb.StatusChange(status=pb.DEGRADED)))
        event = stream.next()
        self.assertEqual((event.type, event.revision), (pb.EVENT_STATUS, 2))
        self.assertEqual((event.old_status, event.new_status), (pb.AVAILABLE, pb.DEGRADED))
        self.stub.UnregisterTarget(pb.UnregisterTargetRequest(target_id=made.target_id,
                                                              force=True))
        event = stream.next()
        self.assertEqual((event.type, event.revision), (pb.EVENT_UNREGISTERED, 3))
        self.assertEqual(event.target.info.nqn, 'nqn.2026-11.io.xsan:000001')

    def test_resume_over_a_reconnect(self):
        """Over a connection that is lost and over a restart: nothing twice, nothing missing."""
        self.start()
        stream = self.subscribe(since_revision=0)
        for i in range(5):
            self.register(i)
        seen = [stream.next().revision for _ in range(3)]
        self.channel.close()
        self.stop()
        self.start()
        for i in range(5, 8):
            self.register(i)
        stream = self.subscribe(since_revision=seen[-1])
        self.assertEqual(stream.first.revision, seen[-1])
        seen += [stream.next().revision for _ in range(5)]
        self.assertEqual(seen, list(range(1, 9)))

    def test_list_then_subscribe(self):
        """Who lists and subscribes from the revision of the list misses nothing, beside writers."""
        self.start()
        end = threading.Event()

        def write():
            stub = registry_pb2_grpc.NVMeOFTargetRegistryStub(self.channel)
            for first in range(0, 300, 5):
                for one in [stub.RegisterTarget.future(pb.RegisterTargetRequest(
                        target_info=info(i))) for i in range(first, first + 5)]:
                    one.result(timeout=PATIENCE_S)
            end.set()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(20):
                page = self.stub.ListTargets(pb.ListTargetsRequest(page_size=1000))
                known = {t.info.target_id for t in page.targets}
                stream = self.subscribe(since_revision=page.revision)
                self.assertNotIsInstance(stream.first, grpc.RpcError)
                while len(known) < 300 and len(known) < page.total_count + 10:
                    known.add(stream.next().target_id)
                stream.call.cancel()
                self.assertEqual(len(known), min(300, page.total_count + 10))
        finally:
            writer.join()
        self.assertTrue(end.is_set())

    def test_filters(self):
        self.start()
        by_node = self.subscribe(node_id='node-2')
        by_type = self.subscribe(types=[pb.EVENT_UNREGISTERED])
        by_place = self.subscribe(location='rack-2')
        one = self.register(1)
        two = self.register(2, node_id='node-2')
        by_id = self.subscribe(target_ids=[two.target_id], since_revision=0)
        self.assertEqual(by_node.next().target_id, two.target_id)
        self.assertEqual(by_place.next().target_id, two.target_id)
        self.assertEqual(by_id.next().revision, 2)
        # What leaves a rack is told to who watches it.
        self.stub.UpdateTarget(pb.UpdateTargetRequest(
            target_id=two.target_id, specification=pb.TargetSpecification(
                target_info=info(2, metadata={'location': 'rack-9'}))))
        self.assertEqual(by_place.next().revision, 3)
        self.assertEqual(by_node.next().revision, 3)
        for made in (one, two):
            self.stub.UnregisterTarget(pb.UnregisterTargetRequest(target_id=made.target_id,
                                                                  force=True))
        self.assertEqual([by_type.next().target_id for _ in range(2)],
                         [one.target_id, two.target_id])
        self.assertEqual(by_place.queue.qsize(), 0)

    def test_progress(self):
        self.start()
        stream = self.subscribe(node_id='nobody', progress_seconds=1)
        for i in range(3):
            self.register(i)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            event = stream.next()
            self.assertEqual(event.type, pb.EVENT_PROGRESS)
            if event.revision == 3:
                break
        self.assertEqual(event.revision, 3)
        call = self.stub.SubscribeEvents(pb.EventSubscriptionRequest(progress_seconds=1 << 20))
        self.assertEqual(Stream(call).next().code(), Code.INVALID_ARGUMENT)

    def test_compacted(self):
        self.start('events=10')
        self.register_many(range(30))
        for since in (0, 19, 31, 1 << 60):
            stream = self.subscribe(since_revision=since)
            self.assertEqual(stream.first.code(), Code.OUT_OF_RANGE)
            self.assertIn('list the targets', stream.first.details())
        self.assertEqual(self.subscribe(since_revision=20).next().revision, 21)

    def test_slow_subscriber_starts_over(self):
        """Takes nothing while far more happens than is kept: the others go on, and it is told."""
        self.start('events=200')
        slow = self.connect(options=[('grpc.http2.lookahead_bytes', 1024),
                                     ('grpc.http2.bdp_probe', 0)])
        call = slow.SubscribeEvents(pb.EventSubscriptionRequest())
        self.assertEqual(next(call).type, pb.EVENT_PROGRESS)
        self.connect()
        metadata = {f'key-{i:02}': 'x' * 255 for i in range(64)}
        made = self.register(metadata=metadata)
        pending = [self.stub.UpdateTarget.future(pb.UpdateTargetRequest(
            target_id=made.target_id, status=pb.StatusChange(status=1 + i % 3)))
            for i in range(600)]
        for one in pending:
            one.result(timeout=PATIENCE_S)
        revisions = []
        with self.assertRaises(grpc.RpcError) as caught:
            for event in call:
                revisions.append(event.revision)
        self.assertEqual(caught.exception.code(), Code.OUT_OF_RANGE)
        self.assertEqual(revisions, list(range(1, len(revisions) + 1)))
        self.assertLess(len(revisions), 601)

    def test_200_subscribers(self):
        self.start()
        streams = []
        for i in range(200):
            if i % 20 == 0:
                stub = self.connect(options=[('grpc.use_local_subchannel_pool', 1)])
            streams.append(self.subscribe(stub))
        started = time.monotonic()
        self.register_many(range(50))
        for stream in streams:
            self.assertEqual([stream.next().revision for _ in range(50)], list(range(1, 51)))
        took = time.monotonic() - started
        print(f'200 subscribers, 50 events: {took:.2f} s, {200 * 50 / took:.0f} messages/s',
              file=sys.stderr)
        threads = len(list(pathlib.Path(f'/proc/{self.process.pid}/task').iterdir()))
        self.assertLess(threads, 50)
        for stream in streams:
            stream.call.cancel()
        self.wait_calls_over()

    def wait_calls_over(self):
        """Places of subscribers who have gone are free again: the bound is on those who are there."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            streams = [Stream(self.stub.SubscribeEvents(pb.EventSubscriptionRequest()))
                       for _ in range(5)]
            firsts = [s.next() for s in streams]
            for stream in streams:
                stream.call.cancel()
            if not any(isinstance(first, grpc.RpcError) for first in firsts):
                return
        self.fail('subscribers who have gone still have places')

    def test_subscribers_are_bounded(self):
        self.start('subscribers=5')
        streams = [self.subscribe() for _ in range(5)]
        self.assertEqual(self.subscribe().first.code(), Code.RESOURCE_EXHAUSTED)
        for stream in streams:
            stream.call.cancel()
        self.wait_calls_over()


class Health(GrpcTest):
    """What the health monitor tells, in streams of those who ask for it."""

    def tell(self, target_id, before, after):
        self.process.stdin.write(f'{target_id} {before} {after}\n')
        self.process.stdin.flush()

    def ask(self, since=None, types=(), **fields):
        return self.subscribe(health=pb.HealthSubscription(since=since, types=types), **fields)

    def connections(self, stream, count):
        """The connections that the next events tell, which must all be of that."""
        events = [stream.next() for _ in range(count)]
        for event in events:
            self.assertEqual((event.type, event.health.type),
                             (pb.EVENT_HEALTH, pb.HEALTH_CONNECTION_CHANGED), event)
        return [event.health.connections for event in events]

    def test_what_is_told(self):
        self.start('health=8')
        plain, stream = self.subscribe(), self.ask()
        self.assertFalse(plain.first.HasField('health_place'))
        self.assertEqual(stream.first.health_place.number, 0)
        made = self.register()
        self.assertEqual(stream.next().type, pb.EVENT_REGISTERED)
        self.tell(made.target_id, 3, 5)
        event = stream.next()
        self.assertEqual((event.type, event.revision, event.target_id, event.timestamp_ms),
                         (pb.EVENT_HEALTH, 1, made.target_id, 5))
        self.assertEqual(event.health, pb.HealthEvent(
            type=pb.HEALTH_CONNECTION_CHANGED, text='told by the test', node_id='node-1',
            nqn='nqn.2026-11.io.xsan:000001', old_connections=3, connections=5))
        self.assertEqual(event.health_place.number, 1)
        self.tell('-', 0, 0)
        event = stream.next()
        self.assertEqual((event.health.type, event.target_id), (pb.HEALTH_BLIND, ''))
        self.register(2)
        self.assertEqual([event.type for event in (plain.next(), plain.next(), stream.next())],
                         3 * [pb.EVENT_REGISTERED])

    def test_resume(self):
        """Who comes back within what is kept misses nothing and is told nothing twice."""
        self.start('health=8')
        made = self.register()
        stream = self.ask(since_revision=0)
        self.assertEqual(stream.next().type, pb.EVENT_REGISTERED)
        for i in range(1, 7):
            self.tell(made.target_id, 0, i)
        self.assertEqual(self.connections(stream, 2), [1, 2])
        last = stream.next()
        self.assertEqual(last.health.connections, 3)
        stream.call.cancel()
        self.register(2)
        again = self.ask(last.health_place, since_revision=last.revision)
        self.assertEqual(again.first.health_place, last.health_place)
        self.assertEqual(again.next().revision, 2)
        self.assertEqual(self.connections(again, 3), [4, 5, 6])

    def test_what_is_lost_is_told(self):
        self.start('health=8')
        made = self.register()
        stream = self.ask()
        self.tell(made.target_id, 0, 0)
        place = stream.next().health_place
        for i in range(1, 21):
            self.tell(made.target_id, 0, i)
            self.assertEqual(self.connections(stream, 1), [i])
        stream = self.ask(place)
        event = stream.next()
        self.assertEqual((event.type, event.health_place.number), (pb.EVENT_HEALTH_LOST, 13))
        self.assertEqual(self.connections(stream, 8), list(range(13, 21)))
        # Numbers that have not been, and of another start.
        for number, epoch in ((22, place.epoch), (1, place.epoch - 1)):
            stream = self.ask(pb.HealthPlace(epoch=epoch, number=number))
            event = stream.next()
            self.assertEqual((event.type, event.health_place),
                             (pb.EVENT_HEALTH_LOST, pb.HealthPlace(epoch=place.epoch)))
            self.assertEqual(stream.next().type, pb.EVENT_HEALTH_LOST)  # since 8 are kept
            self.assertEqual(self.connections(stream, 8), list(range(13, 21)))
        self.channel.close()
        self.stop()
        self.start('health=8')
        stream = self.ask(place)
        self.assertEqual(stream.next().type, pb.EVENT_HEALTH_LOST)
        self.tell(made.target_id, 0, 77)
        self.assertEqual(self.connections(stream, 1), [77])

    def test_filters(self):
        self.start('health=8')
        one, two = self.register(1), self.register(2, node_id='node-2')
        by_node, by_id = self.ask(node_id='node-2'), self.ask(target_ids=[one.target_id])
        by_place = self.ask(location='rack-2', types=(pb.HEALTH_CONNECTION_CHANGED,))
        by_type = self.ask(types=(pb.HEALTH_BLIND,))
        only = self.subscribe(types=[pb.EVENT_HEALTH], health=pb.HealthSubscription())
        self.tell(one.target_id, 0, 1)
        self.tell(two.target_id, 0, 2)
        self.tell('-', 0, 0)
        self.tell(two.target_id, 0, 3)
        self.assertEqual(self.connections(by_node, 1), [2])
        self.assertEqual(by_node.next().health.type, pb.HEALTH_BLIND)
        self.assertEqual(self.connections(by_node, 1), [3])
        self.assertEqual(self.connections(by_id, 1), [1])
        self.assertEqual(self.connections(by_place, 2), [2, 3])
        self.assertEqual(by_type.next().health_place.number, 3)
        self.assertEqual([only.next().health_place.number for _ in range(4)], [1, 2, 3, 4])
        self.register(3)
        self.tell('-', 0, 0)
        self.assertEqual(only.next().health_place.number, 5)  # and not the registration

    def test_refused(self):
        self.start('health=8')
        for fields in ({'types': [pb.EVENT_HEALTH]},
                       {'types': [pb.EVENT_STATUS], 'health': pb.HealthSubscription()},
                       {'types': [pb.EVENT_STATUS] * 65},
                       {'health': pb.HealthSubscription(types=[pb.HEALTH_BLIND] * 65)}):
            stream = self.subscribe(**fields)
            self.assertEqual(stream.first.code(), Code.INVALID_ARGUMENT)
        self.stop()
        self.start()
        self.assertIn('no health monitor', self.ask().first.details())

    def test_slow_subscriber(self):
        """Takes nothing while far more is told than is kept: it is told that, and goes on."""
        self.start('health=64')
        made = self.register()
        slow = self.connect(options=[('grpc.http2.lookahead_bytes', 1024),
                                     ('grpc.http2.bdp_probe', 0)])
        call = slow.SubscribeEvents(pb.EventSubscriptionRequest(health=pb.HealthSubscription()))
        self.assertEqual(next(call).type, pb.EVENT_PROGRESS)
        self.connect()
        quick = self.ask()
        for i in range(1, 20001):
            self.tell(made.target_id, 0, i)
        numbers = []
        while not numbers or numbers[-1] < 20000:
            numbers.append(quick.next().health_place.number)
        self.assertEqual(numbers, sorted(numbers))
        known = 0
        while known < 20000:
            event = next(call)
            self.assertIn(event.type, (pb.EVENT_HEALTH, pb.EVENT_HEALTH_LOST))
            self.assertTrue(event.health_place.number == known + 1 or
                            event.type == pb.EVENT_HEALTH_LOST)
            known = event.health_place.number
        call.cancel()

    def test_of_the_daemon(self):
        """A target at which nobody listens: the monitor's own events, over the daemon's stream."""
        nobody = free_port()
        config = self.dir / 'registry.json'
        rest, self.port = free_port(), free_port()
        config.write_text(json.dumps({
            'service': {'listen_address': '127.0.0.1', 'listen_port': rest,
                        'grpc_port': self.port, 'data_directory': str(self.dir / 'data')},
            'discovery_controller': {'listen_port': 0},
            'health_monitoring': {'monitoring_interval_sec': 1, 'health_check_timeout_sec': 1}}))
        with open(self.dir / 'log', 'wb') as log:
            daemon = subprocess.Popen([BUILD / 'daemon/xsan-registry/xsan-registry', '--config',
                                       config], stdout=log, stderr=log, env=ENVIRONMENT)
        try:
            self.connect()
            request = pb.EventSubscriptionRequest(health=pb.HealthSubscription())
            stream = Stream(self.stub.SubscribeEvents(request, wait_for_ready=True))
            self.assertEqual(stream.next().type, pb.EVENT_PROGRESS)
            made = self.register(address='127.0.0.1', port=nobody)
            health = []
            while not health or health[-1].health.type != pb.HEALTH_STATE_CHANGED:
                event = stream.next()
                if event.type == pb.EVENT_HEALTH:
                    health.append(event)
            self.assertEqual(health[0].health.type, pb.HEALTH_FAILURE)
            self.assertEqual(health[0].health.failure, pb.FAILURE_NETWORK_TIMEOUT)
            self.assertEqual({event.target_id for event in health}, {made.target_id})
            self.assertEqual((health[-1].old_status, health[-1].new_status),
                             (pb.AVAILABLE, pb.FAILED))
            self.assertEqual([event.health_place.number for event in health],
                             list(range(1, len(health) + 1)))
        finally:
            daemon.terminate()
            self.assertEqual(daemon.wait(PATIENCE_S), 0)


class Life(GrpcTest):
    def test_deadline_of_a_subscription(self):
        self.start()
        self.register()  # so there is a connection
        call = self.stub.SubscribeEvents(pb.EventSubscriptionRequest(), timeout=6)
        stream = Stream(call)
        self.assertEqual(stream.next().type, pb.EVENT_PROGRESS)
        self.assertEqual(stream.next().code(), Code.DEADLINE_EXCEEDED)

    def test_deadline_and_cancellation_while_draining(self):
        self.start()
        made = [self.register(i) for i in range(2)]
        for one in made:
            self.stub.ReportHealth(pb.HealthReportRequest(
                target_id=one.target_id, metrics=pb.HealthMetrics(active_connections=1)))
        stream = self.subscribe(target_ids=[one.target_id for one in made])
        pending = self.stub.UnregisterTarget.future(
            pb.UnregisterTargetRequest(target_id=made[0].target_id), timeout=6)
        self.assertEqual(stream.next().target_id, made[0].target_id)  # it is being drained
        self.assertEqual(pending.exception(timeout=PATIENCE_S).code(), Code.DEADLINE_EXCEEDED)
        pending = self.stub.UnregisterTarget.future(
            pb.UnregisterTargetRequest(target_id=made[1].target_id))
        self.assertEqual(stream.next().target_id, made[1].target_id)
        pending.cancel()
        # Both are drained on, and the server serves and ends.
        listed = self.stub.ListTargets(pb.ListTargetsRequest(statuses=[pb.MAINTENANCE]))
        self.assertEqual(listed.total_count, 2)
        self.stop()

    def test_stop_ends_subscriptions(self):
        self.start('grace_ms=50000')
        stream = self.subscribe()
        started = time.monotonic()
        self.stop()
        self.assertLess(time.monotonic() - started, 40)
        error = stream.next()
        self.assertEqual(error.code(), Code.UNAVAILABLE)
        self.assertIn('stops', error.details())

    def test_stop_does_not_wait_for_who_takes_nothing(self):
        self.start('grace_ms=300', 'events=10000')
        slow = self.connect(options=[('grpc.http2.lookahead_bytes', 1024),
                                     ('grpc.http2.bdp_probe', 0)])
        call = slow.SubscribeEvents(pb.EventSubscriptionRequest())
        next(call)
        metadata = {f'key-{i:02}': 'x' * 255 for i in range(64)}
        self.connect()
        self.register_many(range(200), metadata=metadata)
        started = time.monotonic()
        self.stop()
        self.assertLess(time.monotonic() - started, 40)

    def test_stop_with_a_drain_under_way(self):
        self.start('grace_ms=30000')
        made = self.register()
        self.stub.ReportHealth(pb.HealthReportRequest(
            target_id=made.target_id, metrics=pb.HealthMetrics(active_connections=1)))
        stream = self.subscribe()
        pending = self.stub.UnregisterTarget.future(
            pb.UnregisterTargetRequest(target_id=made.target_id))
        stream.next()
        self.stop()
        self.assertEqual(pending.exception(timeout=PATIENCE_S).code(), Code.UNAVAILABLE)

    def test_calls_are_bounded(self):
        self.start('calls=10')
        streams = [self.subscribe() for _ in range(5)]
        other = self.connect(options=[('grpc.use_local_subchannel_pool', 1)])
        streams += [self.subscribe(other) for _ in range(5)]
        self.assertIn('later', self.refused(Code.RESOURCE_EXHAUSTED, other.ListTargets,
                                            pb.ListTargetsRequest()))
        for stream in streams:
            stream.call.cancel()

    def test_large_request(self):
        self.start()
        self.refused(Code.RESOURCE_EXHAUSTED, self.stub.GetTarget,
                     pb.GetTargetRequest(target_id='x' * (1 << 20)))
        self.refused(Code.UNIMPLEMENTED, self.stub.GetTarget,
                     pb.GetTargetRequest(target_id='x' * (1 << 20)),
                     compression=grpc.Compression.Gzip)
        self.register()

    def test_request_that_does_not_come(self):
        self.start('request_timeout_ms=1000')
        call = self.channel.stream_unary('/xdevice.nvmeof.registry.NVMeOFTargetRegistry/GetTarget')
        end = threading.Event()

        def nothing():
            end.wait(PATIENCE_S)
            yield b''

        pending = call.future(nothing(), timeout=PATIENCE_S)
        self.assertEqual(pending.exception(timeout=PATIENCE_S).code(), Code.CANCELLED)
        end.set()

    def test_bytes_that_are_no_message(self):
        self.start()
        name = '/xdevice.nvmeof.registry.NVMeOFTargetRegistry/'
        for method in ('RegisterTarget', 'GetTarget', 'ListTargets', 'ReportHealth'):
            call = self.channel.unary_unary(name + method)
            for data in (b'\xff' * 20, b'\x0a\x7f', b'\x0b', b'\x12\x02\xc3\x28', b'\0' * 9):
                if method == 'GetTarget' and data[0] == 0x12:
                    data = b'\x0a' + data[1:]
                self.refused(Code.INVALID_ARGUMENT, call, data)
        call = self.channel.unary_unary(name + 'GetTarget')
        self.refused(Code.NOT_FOUND, call, b'\xf8\x07\x01')  # a field of the future

    def test_garbage_on_the_port(self):
        self.start()
        for data in (b'GET / HTTP/1.1\r\n\r\n', os.urandom(65536), b'\0' * 1000,
                     b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + os.urandom(4096),
                     b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + b'\xff\xff\xff\x01\x05' + b'\0' * 500,
                     b''):
            for _ in range(5):
                with socket.create_connection(('127.0.0.1', self.port), PATIENCE_S) as stranger:
                    stranger.settimeout(PATIENCE_S)
                    try:
                        stranger.sendall(data)
                    except ConnectionError:
                        pass
        self.register()
        self.stop()

    def test_start_says_what_is_wrong(self):
        self.start()
        for options, word in ((['address=0.0.0.0'], 'without TLS'),
                              (['address=localhost'], 'numeric'),
                              ([f'port={self.port}'], f'127.0.0.1:{self.port}'),
                              (['cert=/none', 'key=/none'], '/none'),
                              (['cert=/none'], 'both'),
                              (['ca=/none'], 'both')):
            with self.subTest(options=options), tempfile.TemporaryDirectory() as folder:
                end = subprocess.run([SERVER, folder, *options], stdin=subprocess.DEVNULL,
                                     capture_output=True, text=True, timeout=PATIENCE_S,
                                     env=ENVIRONMENT)
                self.assertEqual(end.returncode, 1, end.stderr)
                self.assertIn(word, end.stderr)


class Access(GrpcTest):
    def make_certificates(self):
        def run(*words):
            subprocess.run(['openssl', *words], cwd=self.dir, check=True, capture_output=True)

        for name in ('ca', 'other'):
            run('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                '-keyout', f'{name}.key', '-out', f'{name}.pem', '-subj', f'/CN={name}', '-days',
                '2')
        for name in ('server', 'client'):
            run('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout',
                f'{name}.key', '-out', f'{name}.csr', '-subj', f'/CN={name}', '-addext',
                'subjectAltName=IP:127.0.0.1')
            run('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-out',
                f'{name}.pem', '-days', '2', '-copy_extensions', 'copy')

    def file(self, name):
        return (self.dir / name).read_bytes()

    def listed(self, credentials=None, **named):
        self.connect(credentials)
        return self.stub.ListTargets(pb.ListTargetsRequest(), timeout=PATIENCE_S, **named)

    def test_tokens(self):
        self.start('token=the-right-token-for-all', 'read_token=the-token-for-readers')
        request = pb.ListTargetsRequest()

        def bearer(token):
            return [('authorization', f'Bearer {token}')]

        for metadata in (None, bearer('wrong'), bearer(''), bearer('the-right-token-for-al'),
                         [('authorization', 'the-right-token-for-all')],
                         bearer('the-right-token-for-all') + bearer('wrong')):
            self.refused(Code.UNAUTHENTICATED, self.stub.ListTargets, request, metadata=metadata)
        self.stub.ListTargets(request, metadata=bearer('the-right-token-for-all'))
        self.stub.ListTargets(request, metadata=bearer('the-token-for-readers'))
        register = pb.RegisterTargetRequest(target_info=info())
        self.refused(Code.PERMISSION_DENIED, self.stub.RegisterTarget, register,
                     metadata=bearer('the-token-for-readers'))
        self.stub.RegisterTarget(register, metadata=bearer('the-right-token-for-all'))
        stream = Stream(self.stub.SubscribeEvents(pb.EventSubscriptionRequest()))
        self.assertEqual(stream.next().code(), Code.UNAUTHENTICATED)
        health = health_pb2_grpc.HealthStub(self.channel)
        health.Check(health_pb2.HealthCheckRequest())
        self.assertIn('refused 8', self.stop())

    def test_tls(self):
        self.make_certificates()
        self.start(f'cert={self.dir}/server.pem', f'key={self.dir}/server.key',
                   credentials=grpc.ssl_channel_credentials(self.file('ca.pem')))
        self.register()
        for credentials in (None, grpc.ssl_channel_credentials(self.file('other.pem'))):
            with self.assertRaises(grpc.RpcError) as caught:
                self.listed(credentials)
            self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
        self.listed(grpc.ssl_channel_credentials(self.file('ca.pem')))

    def test_tls_of_clients(self):
        self.make_certificates()
        good = grpc.ssl_channel_credentials(self.file('ca.pem'), self.file('client.key'),
                                            self.file('client.pem'))
        self.start(f'cert={self.dir}/server.pem', f'key={self.dir}/server.key',
                   f'ca={self.dir}/ca.pem', credentials=good)
        self.register()
        for credentials in (grpc.ssl_channel_credentials(self.file('ca.pem')),
                            grpc.ssl_channel_credentials(self.file('ca.pem'),
                                                         self.file('other.key'),
                                                         self.file('other.pem'))):
            with self.assertRaises(grpc.RpcError) as caught:
                self.listed(credentials)
            self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
        self.assertEqual(self.listed(good).total_count, 1)

    def test_bad_certificates(self):
        self.make_certificates()
        (self.dir / 'empty.pem').write_text('nothing\n')
        for cert, key in (('server.pem', 'other.key'), ('empty.pem', 'server.key')):
            end = subprocess.run([SERVER, self.dir, f'cert={self.dir}/{cert}',
                                  f'key={self.dir}/{key}'], stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=PATIENCE_S,
                                 env=ENVIRONMENT)
            self.assertEqual(end.returncode, 1)
            self.assertIn('gRPC on 127.0.0.1', end.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)

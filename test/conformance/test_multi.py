# SPDX-License-Identifier: BSD-3-Clause
"""Several hosts, queues and namespaces together: the end of associations, hot changes, allowed
hosts, and a data model under concurrent load (facts 1.9, 2.2, 2.10, pitfalls 16, 17, 25)."""

import random
import threading
import time
import uuid

from harness import Skip, case, check, equal, ok, reads_as, want
from host import DISCONNECT, READ, WRITE, Controller, read_fields, write_fields
from nvmetcp import Failure, le

NAMESPACE_CHANGED = 0x00040002


# ---- the end of an association ----

@case(every=True)
def admin_loss_ends_the_association(t):
    """1.9: when the admin connection is lost, all I/O connections are closed; nobody else's are."""
    other_host, other = t.queue()
    for reset in (False, True):
        host = t.host()
        queues = [host.io_queue(qid) for qid in (1, 2, 3)]
        (host.admin.connection.reset if reset else host.admin.connection.close)()
        for queue in queues:
            queue.connection.wait_closed(5)
    ok(other.flush(t.first_nsid))
    other_host.keep_alive()


@case
def io_loss_ends_the_association(t):
    """1.9: the loss of an I/O connection ends the association too, unless the controller (OFCS b0)
    and the host (CATTR b3) both can delete single queues."""
    host = t.host()
    first, second = host.io_queue(1), host.io_queue(2)
    first.connection.reset()
    second.connection.wait_closed(5)
    host.admin.connection.wait_closed(5)
    t.alive()


@case
def single_queue_deletion(t):
    """1.9, 2.10: with OFCS b0, a host that asked for it may disconnect or lose one I/O queue: the
    response comes after those of its commands, the rest goes on. Without, Disconnect is refused."""
    host = t.host(cattr=8)
    supported = le(host.identify_controller(), 1804, 2) & 1
    queue, answer = host.try_io_queue(1, cattr=8)
    ok(answer)
    if not supported:
        want(queue.fabrics(DISCONNECT), '0/01 DNR', '0/02 DNR')
        ok(queue.flush(t.first_nsid))
        return
    ns = t.namespace(host)
    flight = [queue.submit(READ, **read_fields(ns, index, 8)) for index in range(8)]
    ok(queue.fabrics(DISCONNECT))
    check(all(command.done for command in flight), 'the response was not the last one')
    queue.connection.close()
    host.keep_alive()
    second, answer = host.try_io_queue(2, cattr=8)
    ok(answer)
    second.connection.reset()
    time.sleep(0.2)
    ok(host.io_queue(1).flush(t.first_nsid))


@case
def disconnect_of_the_admin_queue(t):
    """2.10: Disconnect on the admin queue is 1/85h, or unknown where it is not supported."""
    host = t.host()
    want(host.admin.fabrics(DISCONNECT), '1/85 DNR?', '0/01 DNR', '0/02 DNR')
    host.keep_alive()
    discovery = t.discovery()
    want(discovery.admin.fabrics(DISCONNECT), '1/85 DNR?', '0/01 DNR', '0/02 DNR')


@case
def other_queues_go_on(t):
    """1.8, 1.9: a broken PDU on one host's queue ends that association only."""
    host, queue = t.queue()
    bad_host, bad = t.queue()
    ns = t.namespace(host)
    for _ in range(10):
        ok(queue.write(ns, t.area(ns, ns.block_size), bytes(ns.block_size)))
    bad.connection.send(b'\xff' * 128)
    for _ in range(10):
        ok(queue.read(ns, 0, 1))
    bad_host.close()


# ---- data under load ----

class Worker:
    """One host with one queue that owns every `stride`-th slot of a namespace, and knows what is in
    them: each read must give the last acknowledged write or, after a loss, one that was in
    flight."""

    def __init__(self, t, index, stride, options):
        self.random = random.Random(t.random.getrandbits(64))
        self.host = t.host(**options)
        self.queue = self.host.io_queue(1, sqsize=31)
        spaces = t.namespaces(self.host)
        self.ns = spaces[index % min(2, len(spaces))]
        self.slot_blocks = max(1, 16384 // self.ns.block_size)
        self.slots = [slot * self.slot_blocks for slot in range(index, 40 * stride, stride)]
        self.content = {}
        self.error = None

    def run(self, rounds):
        try:
            for _ in range(rounds):
                self.step()
            for slot in self.slots:
                self.check_slot(slot)
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.error = error

    def step(self):
        flight = []
        for slot in self.random.sample(self.slots, 12):
            blocks = self.random.randrange(1, self.slot_blocks + 1)
            if self.random.random() < 0.6 or slot not in self.content:
                data = self.random.randbytes(self.slot_blocks * self.ns.block_size)
                how = 'r2t' if self.random.random() < 0.5 else 'auto'
                flight.append((slot, self.queue.submit(
                    WRITE, how=how, **write_fields(self.ns, slot, data))))
            else:
                flight.append((slot, self.queue.submit(READ, **read_fields(self.ns, slot, blocks))))
        for slot, command in flight:
            ok(self.queue.wait(command))
            if command.data_out:
                self.content[slot] = command.data_out
            else:
                equal(bytes(command.data), self.content[slot][:len(command.data)], f'slot {slot}')

    def check_slot(self, slot):
        if slot in self.content:
            data = ok(self.queue.read(self.ns, slot, self.slot_blocks)).data
            equal(bytes(data), self.content[slot], f'slot {slot} at the end')


@case(every=True)
def concurrent_hosts_with_a_model(t):
    """3.1: several hosts at once, with and without digests, flow control and alignment, each with a
    model of its own blocks: every read is the last acknowledged write."""
    options = [{}, {'dgst': 3}, {'flow_control': False}, {'hpda': 31, 'dgst': 1},
               {'maxr2t': 3}, {'dgst': 2, 'flow_control': False}]
    workers = [Worker(t, index, len(options), option) for index, option in enumerate(options)]
    threads = [threading.Thread(target=worker.run, args=(15,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        check(not thread.is_alive(), 'a worker does not end')
    for worker in workers:
        if worker.error:
            raise worker.error
    for worker in workers:
        reader = t.host().io_queue(1)
        for slot, content in worker.content.items():
            data = ok(reader.read(worker.ns, slot, worker.slot_blocks)).data
            equal(bytes(data), content, f'slot {slot} through another host')


@case(every=True)
def overlapping_writes_are_whole(t):
    """3.1: one block is always atomic: hosts that write the same block with their own byte never
    leave a mixture."""
    hosts = [t.queue() for _ in range(4)]
    for ns in t.namespaces(hosts[0][0]):
        slba = t.area(ns, ns.block_size)
        for _ in range(25):
            flight = [(queue, queue.submit(WRITE, **write_fields(
                ns, slba, bytes([letter]) * ns.block_size)))
                for letter, (_, queue) in zip(b'ABCD', hosts)]
            read = hosts[0][1].submit(READ, **read_fields(ns, slba, 1))
            for queue, command in flight:
                ok(queue.wait(command))
            first = bytes(ok(hosts[0][1].wait(read)).data)
            last = bytes(ok(hosts[1][1].read(ns, slba, 1)).data)
            equal(len(set(last)), 1, 'different bytes in one block')
            check(len(set(first)) == 1 or first[:1] not in b'ABCD', 'a torn block')


@case
def association_churn_under_load(t):
    """Pitfall 17: hosts come and go, by reset and by silence, while another one works; its data
    stays right."""
    worker = Worker(t, 0, 1, {})
    thread = threading.Thread(target=worker.run, args=(30,))
    thread.start()
    hostid = uuid.uuid4().bytes
    for index in range(40):
        host, queue = t.queue(hostid=hostid)
        ok(queue.flush(t.first_nsid))
        if index % 3 == 0:
            queue.connection.reset()
        elif index % 3 == 1:
            host.admin.connection.reset()
        host.close()
    thread.join(60)
    check(not thread.is_alive(), 'the worker does not end')
    if worker.error:
        raise worker.error


# ---- namespaces that come, change and go ----

def changed(host, event, nsids):
    """Waits for the event and checks what the log of changes says."""
    host.admin.wait(event)
    equal(want(event, 'ok').cqe.dw0, NAMESPACE_CHANGED, 'DW0')
    log = host.log(4, 4096)
    got = [le(log, 4 * index, 4) for index in range(len(nsids) + 1)]
    equal(got, [*nsids, 0], 'changed namespaces')


def watching(t):
    host = t.host()
    ok(host.set_feature(0x0b, 0x100))
    return host


@case(rpc=True)
def namespace_is_added(t):
    """2.10: a new namespace is an event; it is in the list, has its own identity and works, for
    hosts that were there before and for new ones."""
    host = watching(t)
    queue = host.io_queue(1)
    nsid = t.free_nsid(host)
    want(queue.run(0, nsid=nsid), '0/0B DNR')
    event = host.arm_event()
    t.add_namespace(nsid, t.temporary_device(8192, 512))
    changed(host, event, [nsid])
    check(nsid in host.active_nsids(), 'not in the list of active namespaces')
    ns = host.namespace(nsid)
    equal((ns.nr_blocks, ns.block_size), (8192, 512), 'size')
    check(not any(ok(queue.read(ns, 0, 64)).data), 'a new namespace has bytes in it')
    data = t.random.randbytes(65536)
    ok(queue.write(ns, 100, data))
    other_host, other = t.queue()
    reads_as(other, ns, 100, data, 'blocks through another host')
    identities = [ns.data[104:120] for ns in map(other_host.namespace, other_host.active_nsids())]
    equal(len(set(identities)), len(identities), 'different NGUIDs')


@case(rpc=True)
def namespace_is_removed(t):
    """2.10, pitfall 25: after a removal there is an event, the namespace is out of the list,
    Identify is zeros, and commands are 0/0Bh with DNR; the NSID can be used again."""
    host = watching(t)
    queue = host.io_queue(1)
    nsid = t.free_nsid(host)
    device = t.temporary_device(4096, 512)
    event = host.arm_event()
    t.add_namespace(nsid, device)
    changed(host, event, [nsid])
    ns = host.namespace(nsid)
    ok(queue.write(ns, 0, t.random.randbytes(512)))
    event = host.arm_event()
    t.remove_namespace(nsid)
    changed(host, event, [nsid])
    check(nsid not in host.active_nsids(), 'still in the list of active namespaces')
    equal(host.identify(0, nsid), bytes(4096), 'Identify Namespace')
    want(queue.run(READ, **read_fields(ns, 0, 1)), '0/0B DNR')
    want(queue.run(WRITE, **write_fields(ns, 0, bytes(512))), '0/0B DNR')
    want(queue.run(WRITE, how='r2t', **write_fields(ns, 0, bytes(512))), '0/0B DNR')
    want(queue.flush(nsid), '0/0B DNR')
    event = host.arm_event()
    t.add_namespace(nsid, device)
    changed(host, event, [nsid])
    ok(queue.read(ns, 0, 1))


@case(rpc=True)
def removal_with_commands_in_flight(t):
    """Pitfall 25: a removal while writes wait for their data and reads are under way ends; the
    reads finish or are 0/0Bh, the writes too once their data came or without it; the queue lives
    on."""
    host, queue = t.queue()
    nsid = t.free_nsid(host)
    t.add_namespace(nsid, t.temporary_device(65536, 512))
    ns = host.namespace(nsid)
    held = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, 0, bytes(512)))
    r2t = queue.wait_r2t(held)
    flight = [queue.submit(READ, **read_fields(ns, index, 64)) for index in range(20)]
    errors = []

    def remove():
        try:
            t.remove_namespace(nsid)
        except Failure as error:
            errors.append(error)
    thread = threading.Thread(target=remove)
    thread.start()
    for command in queue.wait_all(flight):
        want(command, 'ok', '0/0B DNR')
    time.sleep(0.2)
    try:
        queue.pump(0.2)
    except Failure:
        pass
    # The target either ended the write already, or still takes its data.
    if not held.done:
        queue.answer_r2t(held, r2t)
        queue.wait(held)
    want(held, 'ok', '0/0B DNR', '0/07')
    thread.join(60)
    check(not thread.is_alive() and not errors, f'the removal does not end: {errors}')
    want(queue.run(0, nsid=nsid), '0/0B DNR')
    ok(queue.flush(t.first_nsid))


@case(rpc=True)
def namespace_grows_under_a_host(t):
    """2.10, pitfall 25: a file-backed namespace that grows is an event; the new blocks can be used
    at once, read as zeros, and the old ones keep their data."""
    if not t.target.config:
        raise Skip('the device behind namespace 2 is not known')
    host = watching(t)
    queue = host.io_queue(1)
    ns = host.namespace(2)
    data = t.random.randbytes(65536)
    slba = t.area(ns, len(data))
    ok(queue.write(ns, slba, data))
    event = host.arm_event()
    size = (ns.nr_blocks + 256) * ns.block_size
    t.rpc('bdev_file_resize', name='disk0', size=size)
    changed(host, event, [2])
    grown = host.namespace(2)
    equal(grown.nr_blocks, ns.nr_blocks + 256, 'NSZE')
    equal(grown.data[104:128], ns.data[104:128], 'identity')
    check(not any(ok(queue.read(grown, ns.nr_blocks, 16)).data), 'new blocks have bytes in them')
    want(queue.run(READ, **read_fields(grown, grown.nr_blocks, 1)), '0/80 DNR')
    reads_as(queue, grown, slba, data, 'old blocks')


@case(rpc=True)
def new_device_has_nobodys_data(t):
    """3.1: the memory of a device that was deleted does not show in a new one: every block of it
    reads as zeros before it is written."""
    host, queue = t.queue()
    nsid = t.free_nsid(host)
    for _ in range(3):
        name = f'conf{t.random.getrandbits(40):010x}'
        t.rpc('bdev_malloc_create', name=name, num_blocks=4096, block_size=512)
        t.undo.append(lambda name=name: t.rpc('bdev_malloc_delete', name=name))
        t.add_namespace(nsid, name)
        ns = host.namespace(nsid)
        for slba in range(0, 4096, 128):
            check(not any(ok(queue.read(ns, slba, 128)).data), f'bytes in block {slba} and up')
            ok(queue.write(ns, slba, t.random.randbytes(65536)))
        t.remove_namespace(nsid)
        t.rpc('bdev_malloc_delete', name=name)


@case(rpc=True)
def add_and_remove_many_times(t):
    """Pitfall 25 (blktests 051, 058): namespaces churn while a host reads and writes another
    one."""
    worker = Worker(t, 0, 1, {})
    thread = threading.Thread(target=worker.run, args=(25,))
    thread.start()
    device, nsid = t.temporary_device(4096, 512), t.free_nsid(worker.host)
    try:
        for _ in range(20):
            t.add_namespace(nsid, device)
            t.remove_namespace(nsid)
    finally:
        thread.join(60)
    if worker.error:
        raise worker.error


# ---- who may connect ----

def identity():
    hostid = uuid.uuid4().bytes
    return {'hostid': hostid, 'hostnqn': f'nqn.2026-11.io.xsan:{uuid.UUID(bytes=hostid)}'}


def may_connect(t, nqn, who):
    try:
        t.controller(nqn=nqn, **who).close()
    except Failure as error:
        check('1/84 DNR' in str(error), f'{error}, expected 1/84 DNR')
        return False
    return True


@case(rpc=True)
def allowed_hosts(t):
    """2.2: a host that is not allowed is 1/84h with DNR; allowed by name, or all of them."""
    one, two = identity(), identity()
    nqn = t.temporary_subsystem(allow_any_host=False)
    equal((may_connect(t, nqn, one), may_connect(t, nqn, two)), (False, False), 'at the start')
    t.rpc('nvmf_subsystem_add_host', nqn=nqn, host=one['hostnqn'])
    equal((may_connect(t, nqn, one), may_connect(t, nqn, two)), (True, False), 'with one allowed')
    for almost in (one['hostnqn'][:-1], one['hostnqn'] + '0', one['hostnqn'].upper()):
        equal(may_connect(t, nqn, {**one, 'hostnqn': almost}), False, f'{almost}')
    t.rpc('nvmf_subsystem_allow_any_host', nqn=nqn, allow_any_host=True)
    equal((may_connect(t, nqn, one), may_connect(t, nqn, two)), (True, True), 'with any host')
    t.rpc('nvmf_subsystem_allow_any_host', nqn=nqn, allow_any_host=False)
    equal((may_connect(t, nqn, one), may_connect(t, nqn, two)), (True, False), 'as before')
    t.rpc('nvmf_subsystem_remove_host', nqn=nqn, host=one['hostnqn'])
    equal(may_connect(t, nqn, one), False, 'after its removal')


@case(rpc=True)
def taking_the_right_away_ends_connections(t):
    """2.2: a host that is no longer allowed loses its connections; others keep theirs."""
    one, two = identity(), identity()
    nqn = t.temporary_subsystem(allow_any_host=False)
    for who in (one, two):
        t.rpc('nvmf_subsystem_add_host', nqn=nqn, host=who['hostnqn'])
    first, second = t.host(nqn=nqn, **one), t.host(nqn=nqn, **two)
    queue = first.io_queue(1)
    t.rpc('nvmf_subsystem_remove_host', nqn=nqn, host=one['hostnqn'])
    queue.connection.wait_closed(5)
    first.admin.connection.wait_closed(5)
    second.keep_alive()


@case(rpc=True)
def subsystem_is_deleted_under_a_host(t):
    """2.2: deleting a subsystem ends its connections, and only those; its name is unknown then."""
    nqn = t.temporary_subsystem()
    t.add_namespace(1, t.temporary_device(), nqn)
    host, other = t.host(nqn=nqn), t.host()
    queue = host.io_queue(1)
    ok(queue.flush(1))
    t.rpc('nvmf_delete_subsystem', nqn=nqn)
    queue.connection.wait_closed(5)
    host.admin.connection.wait_closed(5)
    other.keep_alive()
    try:
        Controller(t.target.address, nqn).close()
    except Failure as error:
        check('1/82 DNR' in str(error) and '00010100' in str(error), f'{error}')
        return
    raise Failure('the deleted subsystem still takes connections')


@case(rpc=True)
def listener_is_removed_under_queues(t):
    """1.9: a listener's removal ends the I/O queues that came by it, though their admin queue came
    by another one: with single queue deletion those queues alone, else the whole association."""
    nqn = t.temporary_subsystem()
    t.add_namespace(1, t.temporary_device(), nqn)
    for cattr in (8, 0):
        other = t.add_port(nqn)
        host, bystander = t.host(nqn=nqn, cattr=cattr), t.host(nqn=nqn)
        near, far = host.try_io_queue(1, cattr=cattr)[0], bystander.io_queue(1)
        host.address = other
        queue, answer = host.try_io_queue(2, cattr=cattr)
        ok(answer)
        ok(queue.flush(1))
        t.rpc('nvmf_subsystem_remove_listener', nqn=nqn,
              listen_address=t.listen_address(other[1]))
        queue.connection.wait_closed(5)
        if cattr:
            ok(near.flush(1))
            host.keep_alive()
        else:
            near.connection.wait_closed(5)
            host.admin.connection.wait_closed(5)
        ok(far.flush(1))
        bystander.keep_alive()
        host.close()
        bystander.close()


@case(rpc=True)
def admin_listener_is_removed(t):
    """1.9: the removal of the listener that an admin queue came by ends the association, its I/O
    queues by other listeners too."""
    nqn = t.temporary_subsystem()
    t.add_namespace(1, t.temporary_device(), nqn)
    other = t.add_port(nqn)
    host = Controller(other, nqn, cattr=8).enable()
    t.undo.append(host.close)
    host.address = t.target.address
    queue, answer = host.try_io_queue(1, cattr=8)
    ok(answer)
    t.rpc('nvmf_subsystem_remove_listener', nqn=nqn, listen_address=t.listen_address(other[1]))
    host.admin.connection.wait_closed(5)
    queue.connection.wait_closed(5)


@case(rpc=True)
def subsystem_without_namespaces(t):
    """2.7: a subsystem without namespaces serves its controller: empty lists, no I/O."""
    nqn = t.temporary_subsystem()
    host = t.host(nqn=nqn)
    equal(host.active_nsids(), [], 'active namespaces')
    queue = host.io_queue(1)
    want(queue.run(READ, nsid=1, read_bytes=512), '0/0B DNR')
    want(queue.flush(1), '0/0B DNR')
    host.keep_alive()


@case(rpc=True)
def namespaces_of_subsystems_are_apart(t):
    """2.2: a host of one subsystem reaches its own namespaces only, under the same numbers."""
    nqn = t.temporary_subsystem()
    t.add_namespace(1, t.temporary_device(2048, 512), nqn)
    host, other = t.host(nqn=nqn), t.host()
    ns = host.namespace(1)
    equal(ns.nr_blocks, 2048, 'size')
    check(ns.data[104:120] != other.namespace(t.first_nsid).data[104:120],
          'one NGUID for two volumes')
    equal(host.active_nsids(), [1], 'active namespaces')
    want(host.io_queue(1).flush(2), '0/0B DNR')


@case
def closed_by_the_host_in_every_state(t):
    """1.9: a host may just close, in any state, also with commands and events outstanding."""
    for index in range(30):
        host = t.controller()
        if index % 5 > 0:
            host.enable()
        if index % 5 > 1:
            queue = host.io_queue(1)
            if index % 5 > 2:
                ns = t.namespace(host)
                queue.submit(READ, **read_fields(ns, 0, 64))
                host.arm_event()
            if index % 5 > 3:
                queue.submit(WRITE, how='r2t', hold=True,
                             **write_fields(ns, ns.nr_blocks - 1, bytes(ns.block_size)))
        host.close()
    t.alive()

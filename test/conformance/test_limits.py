# SPDX-License-Identifier: BSD-3-Clause
"""Limits that the target states, reached: depth, queues, identifiers, connections."""

from harness import case, check, equal, ok, reads_as
from host import KEEP_ALIVE, READ, WRITE, read_fields, write_fields
from nvmetcp import Closed, Terminated

CONNECTIONS = 300


@case(every=True)
def full_queue_of_held_writes(t):
    """2.1: usable depth is size - 1, or all entries without flow control: so many writes may wait
    for their data at once; completed in any order, each block is right."""
    for flow_control in (True, False):
        host = t.host(flow_control=flow_control)
        depth = min(host.queue_entries(), 256)
        queue = host.io_queue(1, sqsize=depth - 1)
        ns = t.namespace(host)
        count = depth - 1 if flow_control else depth
        slba = t.area(ns, depth * ns.block_size)
        data = [t.random.randbytes(ns.block_size) for _ in range(count)]
        held = [queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba + i, data[i]))
                for i in range(count)]
        queue.pump_until(lambda: all(command.r2ts for command in held))
        equal(len({command.r2ts[0].ttag for command in held}), count, 'different TTAGs')
        for index in t.random.sample(range(count), count):
            queue.answer_r2t(held[index], held[index].r2ts[0])
        for command in queue.wait_all(held):
            ok(command)
        got = bytes(ok(queue.read(ns, slba, count)).data)
        equal(got, b''.join(data), 'all blocks')
        host.close()


@case(every=True)
def full_queue_of_long_transfers(t):
    """2.1, pitfall 19: a queue full of transfers of MDTS, writes and reads, is served in the end
    whatever the buffers of the target."""
    host = t.host()
    depth = min(host.queue_entries(), 64)
    queue = host.io_queue(1, sqsize=depth - 1)
    for ns in t.namespaces(host):
        size = host.max_transfer()
        slots = min(depth - 1, (ns.nr_blocks // 4 * 3) * ns.block_size // size)
        blocks = size // ns.block_size
        data = t.random.randbytes(size)
        flight = [queue.submit(WRITE, how='r2t', **write_fields(
            ns, index % slots * blocks, data)) for index in range(depth - 1)]
        for command in queue.wait_all(flight, 30):
            ok(command)
        flight = [queue.submit(READ, **read_fields(ns, index % slots * blocks, blocks))
                  for index in range(depth - 1)]
        for command in queue.wait_all(flight, 30):
            equal(bytes(ok(command).data), data, 'a long read')


def withhold(t, count, **options):
    """A host that asks to write `count` times the largest transfer, over all the queues it is granted,
    and sends no data. Returns it with the commands."""
    host = t.host(**options)
    queues = [host.io_queue(qid) for qid in range(1, host.ask_queues(16) + 1)]
    ns, size = t.namespace(host), host.max_transfer()
    data, blocks = t.random.randbytes(1 << 16) * (size >> 16), size // t.namespace(host).block_size
    held = []
    for index in range(count):
        queue = queues[index % len(queues)]
        held.append((queue, queue.submit(WRITE, how='r2t', hold=True, **write_fields(
            ns, index % 16 * blocks, data))))
    # The target takes commands in the order of each queue, so this comes behind them.
    for queue in queues:
        ok(queue.flush(ns.nsid))
    return host, held


def release(held):
    """Sends what the target asks for, until all is written."""
    for queue, command in held:
        command.hold = False
        for r2t in command.r2ts:
            queue.answer_r2t(command, r2t)
    for queue, command in held:
        ok(queue.wait(command, 30))


def asked_for(held):
    return sum(bool(command.r2ts) for _, command in held)


def works(t, host, rounds=3):
    """A host writes and reads the largest transfers, and does not wait for the others."""
    queue, size = host.io_queue(1), host.max_transfer()
    for ns in t.namespaces(host):
        data = t.random.randbytes(1 << 16) * (size >> 16)
        for index in range(rounds):
            slba = (20 + index) * size // ns.block_size
            ok(queue.write(ns, slba, data, how='r2t', timeout=30))
            reads_as(queue, ns, slba, data)


@case(config='default')
def host_that_withholds_its_data(t):
    """1.4, 1.6: data buffers are bounded, and a host that never sends what it wants written does not
    keep the others from working, however many queues it has; nor do several such hosts."""
    hosts = [withhold(t, 80) for _ in range(3)]
    got = [asked_for(held) for _, held in hosts]
    check(min(got) > 0, f'R2Ts for the three hosts: {got}')
    # Three quarters of the pool, which are one host's while no other has or wants any.
    check(got[0] <= 48, f'one host alone holds {got[0]} of 64 MiB')
    works(t, t.host())
    for host, held in hosts[1:]:
        host.close()
    release(hosts[0][1])


@case(config='few-buffers')
def small_commands_do_not_starve_a_large_one(t):
    """1.6: a host that holds no buffer gets one, however large: what others give back meanwhile is kept
    for it and not given to those who want more small ones; these go on with what was free."""
    slow, held = withhold(t, 3)
    ns, half = t.namespace(slow), bytes(slow.max_transfer() // 2)

    def hold(count):
        host = t.host()
        queues = [host.io_queue(qid + 1) for qid in range(count)]
        commands = [(queue, queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, 0, half)))
                    for queue in queues]
        for queue in queues:
            ok(queue.flush(ns.nsid))
        return commands
    first = hold(2)
    equal((asked_for(held), asked_for(first)), (2, 2), 'R2Ts of 1 MiB and of half of it')
    large, small = t.host(), t.host()
    queue = large.io_queue(1)
    wanted = queue.submit(READ, **read_fields(ns, 0, large.max_transfer() // ns.block_size))
    check(queue.is_quiet(0.3), 'there is no room for another MiB')
    greedy = hold(1) + hold(1) + hold(1)
    equal(asked_for(greedy), 1, 'R2Ts for three hosts that want less')
    ok(small.io_queue(1).read(ns, 0, 1))
    release(first)
    ok(queue.wait(wanted))
    release(greedy)
    release(held)
    works(t, t.host())


@case
def beyond_the_depth(t):
    """2.1: one command more than the queue holds is the host's fault: it is served, or the
    association ends; afterwards a new one works."""
    host = t.host()
    depth = min(host.queue_entries(), 128)
    queue = host.io_queue(1, sqsize=depth - 1)
    ns = t.namespace(host)
    data = bytes(ns.block_size)
    queue.size = -1  # SQHD means nothing in a queue that is too full
    try:
        held = [queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, i, data))
                for i in range(depth + 8)]
        queue.pump_until(lambda: sum(bool(command.r2ts) for command in held) >= depth - 1)
        for command in held:
            command.hold = False
            for r2t in command.r2ts:
                queue.answer_r2t(command, r2t)
        for command in queue.wait_all(held):
            ok(command)
    except (Closed, Terminated):
        pass
    t.alive()


@case
def smallest_queues(t):
    """2.2: queues of two entries, with one command at a time."""
    host = t.host(sqsize=1)
    queue = host.io_queue(1, sqsize=1)
    ns = t.namespace(host)
    for index in range(40):
        ok(queue.read(ns, index, 1))
        host.keep_alive()


@case
def every_identifier(t):
    """2.1, pitfall 3: CIDs are any 16 bits: sparse ones in flight together, FFFFh too, on both
    queues."""
    host, queue = t.queue(sqsize=63)
    ns = t.namespace(host)
    cids = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x0fff, 0x1000, 0x7fff, 0x8000, 0xf000, 0xfffe, 0xffff]
    cids += [generation << 12 | tag for generation in range(16) for tag in (2, 31)]
    cids = t.random.sample(cids, min(len(cids), queue.size - 1))
    slba = t.area(ns, len(cids) * ns.block_size)
    data = {cid: t.random.randbytes(ns.block_size) for cid in cids}
    held = [queue.submit(WRITE, how='r2t', hold=True, cid=cid,
                         **write_fields(ns, slba + i, data[cid])) for i, cid in enumerate(cids)]
    queue.pump_until(lambda: all(command.r2ts for command in held))
    for command in reversed(held):
        queue.answer_r2t(command, command.r2ts[0])
    for command in queue.wait_all(held):
        ok(command)
    reads = [queue.submit(READ, cid=cid, **read_fields(ns, slba + index, 1))
             for index, cid in enumerate(cids)]
    for cid, command in zip(cids, queue.wait_all(reads)):
        equal(bytes(ok(command).data), data[cid], f'block written as command {cid:04X}')
    for cid in cids:
        ok(host.admin.run(KEEP_ALIVE, cid=cid))


@case(every=True)
def all_queues(t):
    """2.9: as many I/O queues as granted can be connected and all work at once."""
    host = t.host()
    granted = min(host.ask_queues(64), 64)
    queues = [host.io_queue(qid) for qid in range(1, granted + 1)]
    ns = t.namespace(host)
    slba = t.area(ns, granted * 8 * ns.block_size)
    data = [t.random.randbytes(8 * ns.block_size) for _ in queues]
    flight = [queue.submit(WRITE, **write_fields(ns, slba + 8 * index, data[index]))
              for index, queue in enumerate(queues)]
    for queue, command in zip(queues, flight):
        ok(queue.wait(command))
    for index, queue in enumerate(reversed(queues)):
        reads_as(queue, ns, slba + 8 * index, data[index])


@case(every=True)
def hundreds_of_connections(t):
    """1.1: several hundred associations at once, each served, and all gone again."""
    hosts = [t.host() for _ in range(CONNECTIONS)]
    equal(len({host.cntlid for host in hosts}), CONNECTIONS, 'different controller IDs')
    for host in hosts:
        host.admin.submit(KEEP_ALIVE)
    for host in hosts:
        host.admin.pump()
    queues = [host.io_queue(1) for host in hosts[::10]]
    ns = t.namespace(hosts[0])
    for queue in queues:
        ok(queue.read(ns, 0, 8))
    for host in hosts:
        host.close()
    t.alive()


@case
def long_life(t):
    """2.1: more commands than 16 bits of CID or SQHD count go through one queue."""
    host = t.host()
    queue = host.io_queue(1, sqsize=min(host.queue_entries(), 128) - 1)
    nsid = t.first_nsid
    total, burst = 70000, min(host.queue_entries(), 128) - 1
    while queue.sent < total:
        stream, commands = bytearray(), []
        for _ in range(burst):
            command, capsule = queue.prepare(0, nsid=nsid)
            commands.append(queue.register(command))
            stream += capsule
        queue.connection.send(bytes(stream))
        queue.wait_all(commands)
        if not all(command.cqe.is_ok for command in commands):
            ok(next(command for command in commands if not command.cqe.is_ok))


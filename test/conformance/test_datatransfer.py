# SPDX-License-Identifier: BSD-3-Clause
"""How data moves: in capsules, by R2T, by C2HData; SGLs (facts 1.4, 1.5, 1.6)."""

import time

import nvmetcp
from harness import Skip, case, check, equal, ok, reads_as, want, want_status_or_terminated
from host import COMPARE, IDENTIFY, READ, WRITE, range_fields, read_fields, write_fields
from nvmetcp import (C2H_DATA, CAPSULE_RESP, NSID_ALL, SGL_IN_CAPSULE, SGL_TRANSPORT, Closed,
                     le, sgl)


def each_namespace(t, **options):
    host, queue = t.queue(**options)
    for ns in t.namespaces(host):
        yield host, queue, ns


def written(t, queue, ns, data, **options):
    """Writes data somewhere and checks that it reads back."""
    slba = t.area(ns, len(data))
    command = ok(queue.write(ns, slba, data, **options))
    reads_as(queue, ns, slba, data, f'{len(data)} bytes')
    return command


# ---- in the capsule ----

@case(every=True)
def in_capsule_sizes(t):
    """1.5: every size of in-capsule data from one block to the limit that IOCCSZ gives; capsules
    and R2Ts mixed."""
    for _, queue, ns in each_namespace(t):
        if queue.capsule_max < ns.block_size:
            continue
        for size in range(ns.block_size, queue.capsule_max + 1, ns.block_size):
            equal(written(t, queue, ns, t.random.randbytes(size), how='capsule').r2ts, [], 'R2Ts')
            written(t, queue, ns, t.random.randbytes(size), how='r2t')


@case(every=True)
def in_capsule_beyond_the_limit(t):
    """1.5: more in-capsule data than IOCCSZ allows is failed or terminated, nothing is written, and
    others are served."""
    for ns in t.namespaces(t.host()):
        host, queue = t.queue()
        extra = 4 if queue.capsule_max and ns.block_size > 4 else ns.block_size
        before = bytes(ok(queue.read(ns, 0, 1)).data)
        for size in {queue.capsule_max + extra, queue.capsule_max + ns.block_size, 1 << 17}:
            bad_host, bad = t.queue()
            data = bytes(size)
            command, capsule = bad.prepare(WRITE, how='capsule', data_out=data,
                                           **range_fields(ns.nsid, 0, -(-size // ns.block_size)))
            bad.register(command)
            try:
                bad.connection.send(capsule)
            except Closed:
                pass
            want_status_or_terminated(bad, command, capsule,
                                      ['0/0F DNR', '0/02 DNR', '0/16 DNR'], ['01/4'])
            bad_host.close()
        reads_as(queue, ns, 0, before, 'first block')
        host.close()


@case(every=True)
def admin_capsule_limit(t):
    """1.5: the admin queue takes 8192 bytes in a capsule whatever IOCCSZ says, and more is failed
    or terminated."""
    host = t.host()
    for size in (4, 4096, 8192):
        command = host.admin.run(0x09, cdw10=0x16, data_out=bytes(size), how='capsule')
        want(command, 'ok', '0/02 DNR', '0/0F DNR')
    command, capsule = host.admin.prepare(0x09, cdw10=0x16, data_out=bytes(8196), how='capsule')
    host.admin.register(command)
    host.admin.connection.send(capsule)
    want_status_or_terminated(host.admin, command, capsule,
                              ['0/0F DNR', '0/02 DNR', '0/16 DNR'], ['01/4'])


@case
def in_capsule_offset(t):
    """1.5: ICDOFF is 0: another offset in the descriptor is 0/16h with DNR."""
    for _, queue, ns in each_namespace(t):
        if queue.capsule_max < ns.block_size:
            raise Skip('no in-capsule data')
        size = ns.block_size
        for address in (4, 512, size, 1 << 32, (1 << 64) - 4):
            want(queue.run(WRITE, how='capsule', descriptor=sgl(SGL_IN_CAPSULE, size, address),
                           **write_fields(ns, t.area(ns, size), bytes(size))), '0/16 DNR')
        written(t, queue, ns, t.random.randbytes(size))


@case
def in_capsule_length(t):
    """1.5: the descriptor's length is what plen implies; both smaller and larger are 0/0Fh."""
    for _, queue, ns in each_namespace(t):
        if queue.capsule_max < 2 * ns.block_size:
            raise Skip('no in-capsule data')
        size = ns.block_size
        for length in (0, size - 4, size + 4, 2 * size, 0xffffffff):
            want(queue.run(WRITE, how='capsule', descriptor=sgl(SGL_IN_CAPSULE, length),
                           **write_fields(ns, t.area(ns, size), bytes(size))), '0/0F DNR')
        # Two blocks announced in the command and the descriptor, one in the capsule.
        want(queue.run(WRITE, how='capsule', descriptor=sgl(SGL_IN_CAPSULE, 2 * size),
                       data_out=bytes(size), **range_fields(ns.nsid, 0, 2)), '0/0F DNR')
        want(queue.run(WRITE, descriptor=sgl(SGL_IN_CAPSULE, size), how='capsule',
                       **range_fields(ns.nsid, 0, 1)), '0/0F DNR')
        written(t, queue, ns, t.random.randbytes(size))


@case
def data_in_the_capsule_of_a_transport_descriptor(t):
    """1.5: a 5Ah descriptor with data in the capsule contradicts itself: failed, terminated, or the
    data ignored and asked for with an R2T; never written from the wrong place."""
    host, queue = t.queue()
    ns = t.namespace(host)
    size = ns.block_size
    if queue.capsule_max < size:
        raise Skip('no in-capsule data')
    right, wrong = t.random.randbytes(size), t.random.randbytes(size)
    slba = t.area(ns, size)
    command, _ = queue.prepare(WRITE, how='r2t', **write_fields(ns, slba, right))
    capsule = queue.connection.capsule(bytes(command.entry), wrong)
    queue.register(command)
    queue.connection.send(capsule)
    if not want_status_or_terminated(queue, command, capsule, ['ok', '0/0F DNR', '0/11 DNR'],
                                     ['01/4', '01/3']):
        host, queue = t.queue()
    got = bytes(ok(queue.read(ns, slba, 1)).data)
    check(got != wrong, 'the capsule\'s data was written')
    if command.done and command.cqe.is_ok:
        equal(got, right, 'block')


# ---- descriptor types ----

@case(every=True)
def descriptor_types(t):
    """1.5: a descriptor type that does not exist here is 0/11h with DNR: data blocks with an
    address, bit buckets, segments, keyed and vendor types, wrong subtypes."""
    host, queue = t.queue()
    ns = t.namespace(host)
    size = ns.block_size
    for sgl_type in (0x00, 0x02, 0x0a, 0x0f, 0x10, 0x20, 0x21, 0x30, 0x31, 0x40, 0x4f, 0x50, 0x51,
                     0x5b, 0x60, 0xf0, 0xff):
        want(queue.run(READ, **read_fields(ns, 0, 1), descriptor=sgl(sgl_type, size)), '0/11 DNR')
        want(queue.run(READ, **read_fields(ns, 0, 1), descriptor=sgl(sgl_type, 0)),
             '0/11 DNR', '0/0F DNR')
        want(queue.run(WRITE, how='r2t', descriptor=sgl(sgl_type, size),
                       **write_fields(ns, t.area(ns, size), bytes(size))), '0/11 DNR')
        want(host.admin.run(IDENTIFY, cdw10=1, read_bytes=4096, descriptor=sgl(sgl_type, 4096)),
             '0/11 DNR')
    if queue.capsule_max >= size:
        want(queue.run(WRITE, how='capsule', descriptor=sgl(0x00, size),
                       **write_fields(ns, t.area(ns, size), bytes(size))), '0/11 DNR')
    ok(queue.read(ns, 0, 1))


@case
def response_data_in_the_capsule(t):
    """1.5: response data is never in a capsule: a read with 01h is a wrong descriptor type, or its
    length is not what the capsule has."""
    host, queue = t.queue()
    ns = t.namespace(host)
    want(queue.run(READ, **read_fields(ns, 0, 1), descriptor=sgl(SGL_IN_CAPSULE, ns.block_size)),
         '0/11 DNR', '0/0F DNR')
    want(host.admin.run(IDENTIFY, cdw10=1, read_bytes=4096,
                        descriptor=sgl(SGL_IN_CAPSULE, 4096)), '0/11 DNR', '0/0F DNR')


@case
def descriptor_of_commands_without_data(t):
    """1.5: commands without data come with a 5Ah descriptor of length 0; some hosts leave it all
    zeros, which may be refused by its type."""
    host, queue = t.queue()
    nsid = t.first_nsid
    ok(queue.run(0, nsid=nsid, descriptor=sgl(SGL_TRANSPORT, 0)))
    ok(queue.run(0, nsid=nsid, descriptor=sgl(SGL_TRANSPORT, 0, 0xffffffffffffffff)))
    want(queue.run(0, nsid=nsid, descriptor=bytes(16)), 'ok', '0/11 DNR')
    ok(queue.run(0, nsid=nsid, how='capsule', descriptor=sgl(SGL_IN_CAPSULE, 0)))
    host.keep_alive()


# ---- R2T ----

def r2t_sizes(t, host, ns):
    limit = host.max_transfer()
    sizes = {ns.block_size, 2 * ns.block_size, 4096, 8192, 8192 + ns.block_size, 12288, 65536,
             65536 + ns.block_size, limit // 2, limit - ns.block_size, limit}
    return sorted(size for size in sizes if 0 < size <= limit and size % ns.block_size == 0)


@case(every=True)
def r2t_covers_the_transfer(t):
    """1.6: R2Ts in order from 0, contiguous, none larger than MAXH2CDATA, one at a time (each
    checked by the host), and not more of them than needed."""
    for host, queue, ns in each_namespace(t):
        for size in r2t_sizes(t, host, ns):
            command = written(t, queue, ns, t.random.randbytes(size), how='r2t')
            equal(sum(r2t.length for r2t in command.r2ts), size, 'bytes asked for')
            equal(len(command.r2ts), -(-size // queue.connection.maxh2cdata),
                  f'R2Ts for {size} bytes')


@case(every=True)
def several_r2ts_allowed(t):
    """1.3, 1.6: a host that takes more R2Ts per command is served too; ours sends one at a time."""
    for maxr2t in (1, 7, 0xffffffff):
        for host, queue, ns in each_namespace(t, maxr2t=maxr2t):
            for size in (65536, host.max_transfer()):
                written(t, queue, ns, t.random.randbytes(size), how='r2t')
            host.close()
            break


@case(every=True)
def next_r2t_waits_for_its_predecessor(t):
    """1.6: with MAXR2T 0 the next R2T does not come before the last one is answered in full."""
    for host, queue, ns in each_namespace(t):
        size = min(host.max_transfer(), 4 * queue.connection.maxh2cdata)
        data = t.random.randbytes(size)
        slba = t.area(ns, size)
        command = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data))
        while not command.done:
            r2t = queue.wait_r2t(command, len(command.r2ts) or 1)
            check(queue.is_quiet(0.02), 'more came before the data')
            half = r2t.length // 2 // 4 * 4
            queue.connection.send(queue.connection.h2c_data(
                command.cid, r2t.ttag, r2t.offset, data[r2t.offset:r2t.offset + half], last=False))
            check(queue.is_quiet(0.02), 'more came before all of the data')
            queue.connection.send(queue.connection.h2c_data(
                command.cid, r2t.ttag, r2t.offset + half,
                data[r2t.offset + half:r2t.offset + r2t.length]))
            command.r2t_answered += 1
            nr_r2ts = len(command.r2ts)
            queue.pump_until(lambda: command.done or len(command.r2ts) > nr_r2ts)
        ok(command)
        reads_as(queue, ns, slba, data)


@case(every=True)
def h2c_data_in_small_pieces(t):
    """1.6: one R2T answered with many H2CData, down to four bytes each, LAST on the final one."""
    for _, queue, ns in each_namespace(t):
        for piece, size in ((4, ns.block_size), (8, 4096), (60, 4096), (512, 16384), (1460, 65536)):
            written(t, queue, ns, t.random.randbytes(size), how='r2t', piece=piece)


@case(every=True)
def missing_data_stops_nobody_else(t):
    """1.6: a write whose data does not come is not completed, and the queue serves other commands;
    the data may come later."""
    for _, queue, ns in each_namespace(t):
        data = t.random.randbytes(8 * ns.block_size)
        slba = t.area(ns, 2 * len(data))
        before = t.random.randbytes(2 * len(data))
        ok(queue.write(ns, slba, before))
        held = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data))
        r2t = queue.wait_r2t(held)
        queue.connection.send(queue.connection.h2c_data(held.cid, r2t.ttag, 0, data[:4],
                                                        last=False))
        for index in range(40):
            other = t.random.randbytes(ns.block_size)
            ok(queue.write(ns, slba + 8 + index % 8, other))
            reads_as(queue, ns, slba + 8 + index % 8, other, 'another block')
        check(not held.done, 'the write without its data is done')
        place = 4
        while place < r2t.length:
            queue.connection.send(queue.connection.h2c_data(
                held.cid, r2t.ttag, place, data[place:r2t.length]))
            place = r2t.length
        held.r2t_answered += 1
        held.hold = False
        ok(queue.wait(held))
        reads_as(queue, ns, slba, data)


@case(every=True)
def partial_data_is_never_written_when_the_host_goes(t):
    """1.6, pitfall 19: a connection that ends in the middle of a write's data ends the write: no
    answer, and the namespace goes on. Blocks may have their old data, nothing else is allowed while
    the whole of it has not arrived."""
    host, queue = t.queue()
    for ns in t.namespaces(host):
        size = 8192
        slba = t.area(ns, size)
        before = t.random.randbytes(size)
        ok(queue.write(ns, slba, before))
        for reset in (False, True):
            other_host, other = t.queue()
            held = other.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, bytes(size)))
            r2t = other.wait_r2t(held)
            other.connection.send(other.connection.h2c_data(held.cid, r2t.ttag, 0, bytes(4096),
                                                            last=False))
            other.connection.send(other.connection.h2c_data(held.cid, r2t.ttag, 4096,
                                                            bytes(4096))[:2000])
            if reset:
                other.connection.reset()
            other_host.close()
            time.sleep(0.05)
            reads_as(queue, ns, slba, before)


@case(every=True)
def transfers_of_several_commands(t):
    """1.6: commands' R2Ts may be answered in any order and their data interleaved piece by
    piece."""
    for _, queue, ns in each_namespace(t):
        size, count = 8192, 8
        blocks = size // ns.block_size
        slba = t.area(ns, count * size)
        data = [t.random.randbytes(size) for _ in range(count)]
        held = [queue.submit(WRITE, how='r2t', hold=True,
                             **write_fields(ns, slba + index * blocks, data[index]))
                for index in range(count)]
        r2ts = {command.cid: queue.wait_r2t(command) for command in held}
        equal(len({r2t.ttag for r2t in r2ts.values()}), count, 'different TTAGs')
        places = dict.fromkeys(range(count), 0)
        while places:
            index = t.random.choice(list(places))
            r2t, place = r2ts[held[index].cid], places[index]
            stop = min(place + t.random.randrange(4, 2048, 4), r2t.length)
            queue.connection.send(queue.connection.h2c_data(
                held[index].cid, r2t.ttag, place, data[index][place:stop], stop == r2t.length))
            places[index] = stop
            if stop == r2t.length:
                del places[index]
        for command in held:
            command.hold = False
            command.r2t_answered += 1
        for command in queue.wait_all(held):
            ok(command)
        got = bytes(ok(queue.read(ns, slba, count * blocks)).data)
        equal(got, b''.join(data), 'all blocks')


# ---- C2HData ----

@case(every=True)
def every_read_size(t):
    """1.6: reads of every number of blocks up to 64, and many above up to MDTS, in order from 0,
    with LAST at the end."""
    for host, queue, ns in each_namespace(t):
        most = host.max_transfer() // ns.block_size
        data = t.random.randbytes(host.max_transfer())
        slba = t.area(ns, len(data))
        ok(queue.write(ns, slba, data))
        step = max(1, most // 64) | 1
        sizes = {*range(1, min(64, most) + 1), *range(64, most, step), most - 1, most}
        for blocks in sorted(sizes - {0}):
            got = ok(queue.read(ns, slba, blocks)).data
            equal(bytes(got), data[:blocks * ns.block_size], f'{blocks} blocks')


@case(every=True)
def alignment_of_data(t):
    """1.2, 1.3: with HPDA 0..31 C2HData's pdo is aligned as the host asked, its padding zero, with
    and without digests (checked by the host)."""
    for dgst in (0, 3):
        for hpda in range(32):
            host, queue = t.queue(hpda=hpda, dgst=dgst)
            ns = t.namespace(host)
            data = t.random.randbytes(4 * ns.block_size)
            written(t, queue, ns, data)
            host.log(2, 20, nsid=NSID_ALL)
            host.close()


@case(every=True)
def responses_with_flow_control(t):
    """1.6: with flow control every read ends in a CapsuleResp (SUCCESS would raise Violation)."""
    for _, queue, ns in each_namespace(t):
        for _ in range(5):
            ok(queue.read(ns, 0, 4))
        equal(queue.nr_pdus[CAPSULE_RESP] % 5, 1, 'CapsuleResps, Connect included')
        check(queue.nr_pdus[C2H_DATA] >= 5, 'C2HData')
        break


@case(every=True)
def success_flag(t):
    """1.6, 2.2: with SQ flow control disabled a successful read ends with the SUCCESS flag, without
    a CapsuleResp; other commands and failed reads have one."""
    host, queue = t.queue(flow_control=False)
    for ns in t.namespaces(host):
        data = t.random.randbytes(host.max_transfer())
        slba = t.area(ns, len(data))
        ok(queue.write(ns, slba, data))
        for blocks in (1, 2, 8, host.max_transfer() // ns.block_size):
            command = ok(queue.read(ns, slba, blocks))
            equal(bytes(command.data), data[:blocks * ns.block_size], 'data')
            check(command.was_success_flag, 'no SUCCESS flag')
        command = want(queue.run(READ, **read_fields(ns, ns.nr_blocks, 1)), '0/80 DNR')
        check(not command.was_success_flag, 'SUCCESS')
        ok(queue.flush(ns.nsid))


@case
def success_flag_on_the_admin_queue(t):
    """1.6: the SUCCESS flag stands for DW0 0 only; with flow control off Identify and log pages may
    use it, a feature with a value in DW0 never."""
    host = t.host(flow_control=False)
    equal(len(host.identify(1)), 4096, 'Identify')
    equal(len(host.log(2, 512, nsid=NSID_ALL)), 512, 'SMART')
    ok(host.set_feature(0x0b, 0x100))
    equal(ok(host.get_feature(0x0b)).cqe.dw0, 0x100, 'AEC')
    host.keep_alive()


@case(every=True)
def errors_carry_no_data(t):
    """1.6: a command with an error status has no C2HData before it (checked by want), and the next
    read is whole."""
    for _, queue, ns in each_namespace(t):
        for index in range(20):
            want(queue.run(READ, **read_fields(ns, ns.nr_blocks + index, 8)), '0/80 DNR')
            ok(queue.read(ns, 0, 8))


@case(every=True)
def reads_and_writes_overlapped(t):
    """1.6: many commands of both directions and all sizes in flight; each is right by itself."""
    for host, queue, ns in each_namespace(t, sqsize=63):
        limit = min(host.max_transfer(), 65536)
        slots, slot = 16, limit // ns.block_size
        base = t.area(ns, slots * limit)
        content = [t.random.randbytes(limit) for _ in range(slots)]
        for index in range(slots):
            ok(queue.write(ns, base + index * slot, content[index]))
        for _ in range(12):
            flight = []
            for index in range(slots):
                blocks = t.random.randrange(1, slot + 1)
                size = blocks * ns.block_size
                if t.random.random() < 0.5:
                    data = t.random.randbytes(size)
                    content[index] = data + content[index][size:]
                    how = 'auto' if t.random.random() < 0.5 else 'r2t'
                    flight.append((index, blocks, queue.submit(
                        WRITE, how=how, **write_fields(ns, base + index * slot, data))))
                else:
                    flight.append((index, blocks, queue.submit(
                        READ, **read_fields(ns, base + index * slot, blocks))))
            queue.wait_all([command for _, _, command in flight])
            for index, blocks, command in flight:
                ok(command)
                if command.read_bytes:
                    equal(bytes(command.data), content[index][:blocks * ns.block_size], 'read')


@case(every=True)
def compare_by_both_ways(t):
    """1.6, 3.1: Compare's data comes in the capsule or by R2T like a write's."""
    for host, queue, ns in each_namespace(t):
        if not le(host.identify_controller(), 520, 2) & 1:
            raise Skip('no Compare')
        for size in (ns.block_size, 8192, host.max_transfer()):
            data = t.random.randbytes(size)
            slba = t.area(ns, size)
            ok(queue.write(ns, slba, data))
            for how in ('auto', 'r2t'):
                ok(queue.compare(ns, slba, data, how=how))
        want(queue.run(COMPARE, **write_fields(ns, ns.nr_blocks, bytes(ns.block_size)), how='r2t'),
             '0/80 DNR')


@case
def reader_that_does_not_read(t):
    """1.6: a host that asks for much and reads slowly gets all of it in the end; others are served
    meanwhile."""
    host = t.host()
    slow = host.io_queue(1, sqsize=63)
    ns = t.namespace(host)
    size = host.max_transfer()
    blocks = size // ns.block_size
    slba = t.area(ns, size)
    data = t.random.randbytes(size)
    ok(slow.write(ns, slba, data))
    flight = [slow.submit(READ, **read_fields(ns, slba, blocks))
              for _ in range(min(48, slow.size - 1))]
    other_host, other = t.queue()
    for _ in range(20):
        ok(other.read(ns, slba, 8))
    other_host.close()
    for command in slow.wait_all(flight):
        equal(bytes(ok(command).data), data, 'a slow read')


@case
def in_capsule_descriptor_without_data(t):
    """1.2, 1.5: an in-capsule descriptor in a capsule without data is a wrong length: the target
    does not wait for data, nor take the next PDU for it."""
    host, queue = t.queue()
    ns = t.namespace(host)
    if queue.capsule_max < ns.block_size:
        raise Skip('no in-capsule data')
    size = ns.block_size
    command, _ = queue.prepare(WRITE, how='capsule', **write_fields(ns, 0, bytes(size)))
    capsule = nvmetcp.build_pdu(nvmetcp.CAPSULE_CMD, bytes(command.entry))
    queue.register(command)
    queue.connection.send(capsule)
    want(queue.wait(command), '0/0F DNR')
    ok(queue.read(ns, 0, 1))

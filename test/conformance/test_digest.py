# SPDX-License-Identifier: BSD-3-Clause
"""Header and data digests: right ones everywhere, wrong ones with the right consequence (facts
1.7).

Whatever the target sends is checked by the host in nvmetcp.py."""

import struct

import nvmetcp
from harness import Skip, case, equal, ok, reads_as, want, want_terminated
from host import COMPARE, KEEP_ALIVE, READ, WRITE, write_fields
from nvmetcp import DATA_DIGEST, DDGSTF, HDGSTF, HEADER_DIGEST, LAST, NSID_ALL

BOTH = HEADER_DIGEST | DATA_DIGEST


@case(every=True)
def transfers(t):
    """1.7: reads, writes in capsules and by R2T, log pages and Identify with each choice of
    digests."""
    for dgst in (HEADER_DIGEST, DATA_DIGEST, BOTH):
        host, queue = t.queue(dgst=dgst)
        host.log(2, 512, nsid=NSID_ALL)
        for ns in t.namespaces(host):
            for size in (ns.block_size, 8192, 65536, host.max_transfer()):
                for how in ('auto', 'r2t'):
                    data = t.random.randbytes(size)
                    slba = t.area(ns, size)
                    ok(queue.write(ns, slba, data, how=how))
                    reads_as(queue, ns, slba, data)
        host.close()


@case(every=True)
def transfers_in_pieces(t):
    """1.7: the data digest is of one PDU's data: many H2CData for one R2T have one each."""
    for dgst in (DATA_DIGEST, BOTH):
        host, queue = t.queue(dgst=dgst)
        for ns in t.namespaces(host):
            for piece, size in ((4, 512), (60, 4096), (1000, 16384), (4096, 32768)):
                data = t.random.randbytes(max(size, ns.block_size))
                slba = t.area(ns, len(data))
                ok(queue.write(ns, slba, data, how='r2t', piece=piece))
                reads_as(queue, ns, slba, data)
        host.close()


@case
def no_digest_unless_agreed(t):
    """1.7: with one digest only, the other's flag and bytes are absent (checked by the host), also
    where a PDU has no data."""
    for dgst in (0, HEADER_DIGEST, DATA_DIGEST):
        host, queue = t.queue(dgst=dgst)
        ns = t.namespace(host)
        ok(queue.write(ns, t.area(ns, 8192), bytes(8192), how='r2t'))
        ok(queue.read(ns, 0, 1))
        want(queue.run(READ, nsid=0), '0/0B DNR')
        host.close()


def terminated(t, make, *errors, dgst=BOTH):
    host, queue = t.queue(dgst=dgst)
    sent = make(host, queue)
    queue.connection.send(sent)
    term = want_terminated(queue.connection, sent, *errors)
    host.close()
    return term


def digest_on_wire(pdu, hlen):
    """What the receiver finds where the header digest is, as FEI has it."""
    return struct.unpack_from('<I', pdu, hlen)[0]


def flush_capsule(queue, **wrong):
    command, _ = queue.prepare(0, nsid=1)
    return queue.connection.capsule(bytes(command.entry), **wrong)


@case
def header_digest_of_a_capsule(t):
    """1.7: a wrong header digest is fatal, FES 03, FEI the digest received."""
    for dgst in (HEADER_DIGEST, BOTH):
        host, queue = t.queue(dgst=dgst)
        for _ in range(3):
            sent = flush_capsule(queue, corrupt_hdgst=True)
            queue.connection.send(sent)
            want_terminated(queue.connection, sent, f'03/{digest_on_wire(sent, 72)}')
            host.close()
            host, queue = t.queue(dgst=dgst)
        host.close()


@case
def every_header_byte_is_covered(t):
    """1.7: one changed bit anywhere in the SQE is found."""
    for offset in range(8, 72, 3):
        def make(_, queue, place=offset):
            capsule = bytearray(flush_capsule(queue))
            capsule[place] ^= 0x10
            return bytes(capsule)
        host, queue = t.queue(dgst=HEADER_DIGEST)
        sent = make(host, queue)
        queue.connection.send(sent)
        want_terminated(queue.connection, sent, f'03/{digest_on_wire(sent, 72)}')
        host.close()


@case
def header_digest_of_h2c_data(t):
    """1.7: the same for H2CData."""
    for dgst in (HEADER_DIGEST, BOTH):
        host, queue = t.queue(dgst=dgst)
        ns = t.namespace(host)
        command = queue.submit(WRITE, how='r2t', hold=True,
                               **write_fields(ns, t.area(ns, 8192), bytes(8192)))
        r2t = queue.wait_r2t(command)
        sent = queue.connection.h2c_data(command.cid, r2t.ttag, 0, bytes(8192), corrupt_hdgst=True)
        queue.connection.send(sent)
        want_terminated(queue.connection, sent, f'03/{digest_on_wire(sent, 24)}')
        host.close()


@case
def digest_error_on_the_admin_queue(t):
    """1.7: also before Connect, and on the admin queue."""
    connection = t.connection(dgst=BOTH)
    sent = connection.capsule(nvmetcp.sqe(0x7f, 1, nsid=1), corrupt_hdgst=True)
    connection.send(sent)
    want_terminated(connection, sent, f'03/{digest_on_wire(sent, 72)}')
    host = t.host(dgst=HEADER_DIGEST)
    command, _ = host.admin.prepare(KEEP_ALIVE)
    sent = host.admin.connection.capsule(bytes(command.entry), corrupt_hdgst=True)
    host.admin.connection.send(sent)
    want_terminated(host.admin.connection, sent, f'03/{digest_on_wire(sent, 72)}')


@case
def missing_header_digest_flag(t):
    """1.7: with header digests on, a PDU without HDGSTF is fatal: a wrong flags field."""
    terminated(t, lambda _, queue: flush_capsule(queue, raw_flags=0), '01/1', dgst=HEADER_DIGEST)
    terminated(t, lambda _, queue: flush_capsule(queue, hdgst=False), '01/1', dgst=HEADER_DIGEST)


@case
def missing_data_digest_flag(t):
    """1.7: with data digests on, a PDU with data and without DDGSTF is a wrong flags field."""
    def capsule(host, queue, **wrong):
        ns = t.namespace(host)
        if queue.capsule_max < ns.block_size:
            raise Skip('no in-capsule data')
        command, _ = queue.prepare(WRITE, how='capsule',
                                   **write_fields(ns, t.area(ns, 512), bytes(ns.block_size)))
        return queue.connection.capsule(bytes(command.entry), bytes(ns.block_size), **wrong)
    terminated(t, lambda *a: capsule(*a, raw_flags=HDGSTF), '01/1')
    terminated(t, lambda *a: capsule(*a, ddgst=False), '01/1')
    terminated(t, lambda *a: capsule(*a, raw_flags=0), '01/1', dgst=DATA_DIGEST)


@case
def missing_data_digest_flag_of_h2c_data(t):
    """1.7: the same for H2CData."""
    for wrong in ({'raw_flags': LAST | HDGSTF}, {'raw_flags': LAST | DDGSTF}, {'ddgst': False}):
        host, queue = t.queue(dgst=BOTH)
        ns = t.namespace(host)
        command = queue.submit(WRITE, how='r2t', hold=True,
                               **write_fields(ns, t.area(ns, 8192), bytes(8192)))
        r2t = queue.wait_r2t(command)
        sent = queue.connection.h2c_data(command.cid, r2t.ttag, 0, bytes(8192), **wrong)
        queue.connection.send(sent)
        want_terminated(queue.connection, sent, '01/1')
        host.close()


@case(every=True)
def data_digest_error_in_a_capsule(t):
    """1.7: a wrong data digest is not fatal: the command completes with 0/22h without DNR, its data
    is not written, and the connection goes on."""
    for dgst in (DATA_DIGEST, BOTH):
        host, queue = t.queue(dgst=dgst)
        for ns in t.namespaces(host):
            if queue.capsule_max < ns.block_size:
                continue
            size = queue.capsule_max // ns.block_size * ns.block_size
            slba = t.area(ns, size)
            before = t.random.randbytes(size)
            ok(queue.write(ns, slba, before))
            for opcode in (WRITE, COMPARE, WRITE):
                command, _ = queue.prepare(opcode, how='capsule', **write_fields(ns, slba, before))
                data = t.random.randbytes(size) if opcode == WRITE else before
                queue.register(command)
                queue.connection.send(queue.connection.capsule(bytes(command.entry), data,
                                                               corrupt_ddgst=True))
                want(queue.wait(command), '0/22')
                reads_as(queue, ns, slba, before)
        host.keep_alive()
        host.close()


@case(every=True)
def data_digest_error_in_h2c_data(t):
    """1.7: the same for data asked for with R2Ts, in any piece: the target takes all of it, then
    completes with 0/22h."""
    for dgst in (DATA_DIGEST, BOTH):
        host, queue = t.queue(dgst=dgst)
        for ns in t.namespaces(host):
            size = 16384
            slba = t.area(ns, size)
            before = t.random.randbytes(size)
            ok(queue.write(ns, slba, before))
            for bad in range(0, size, 4096):
                data = t.random.randbytes(size)
                command = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data))
                for offset in range(0, size, 4096):
                    queue.pump_until(lambda o=offset, c=command: c.done or c.r2t_next > o)
                    if command.done:
                        break
                    r2t = command.r2ts[-1]
                    last = offset + 4096 == r2t.offset + r2t.length
                    queue.connection.send(queue.connection.h2c_data(
                        command.cid, r2t.ttag, offset, data[offset:offset + 4096], last,
                        corrupt_ddgst=offset == bad))
                    command.r2t_answered += last
                want(queue.wait(command), '0/22')
                reads_as(queue, ns, slba, before)
        host.keep_alive()
        host.close()


@case
def data_digest_error_of_an_admin_command(t):
    """1.7: the same on the admin queue: a feature's data with a wrong digest changes nothing."""
    host = t.host(dgst=BOTH)
    if not host.get_feature(0x16, read_bytes=512).cqe.is_ok:
        raise Skip('no feature with data')
    command, _ = host.admin.prepare(9, cdw10=0x16, how='capsule', data_out=b'\1'.ljust(512, b'\0'))
    host.admin.register(command)
    host.admin.connection.send(host.admin.connection.capsule(
        bytes(command.entry), command.data_out, corrupt_ddgst=True))
    want(host.admin.wait(command), '0/22')
    equal(ok(host.get_feature(0x16, read_bytes=512)).data[0], 0, 'ACRE')


@case
def data_digest_error_of_connect(t):
    """1.7: Connect with a wrong data digest is 0/22h; it may be sent again on that connection, or
    on a new one."""
    connection = t.connection(dgst=BOTH)
    data = nvmetcp.connect_data(b'digest'.ljust(16), 0xffff, t.target.nqn, 'nqn.2026-11.io.xsan:h')
    connection.send(connection.capsule(
        nvmetcp.sqe(0x7f, 5, nsid=1, descriptor=nvmetcp.sgl(1, 1024), cdw11=31), data,
        corrupt_ddgst=True))
    cqe = nvmetcp.Cqe(connection.recv().header[8:24])
    equal((str(cqe), cqe.cid), ('0/22', 5), 'answer')
    t.host(dgst=BOTH).keep_alive()


@case
def refused_command_with_a_wrong_data_digest(t):
    """1.7, 3.3: a command that is wrong for two reasons gets one answer, and the stream goes on."""
    host, queue = t.queue(dgst=BOTH)
    ns = t.namespace(host)
    if queue.capsule_max < ns.block_size:
        raise Skip('no in-capsule data')
    command, _ = queue.prepare(WRITE, how='capsule', **write_fields(ns, ns.nr_blocks,
                                                                    bytes(ns.block_size)))
    queue.register(command)
    queue.connection.send(queue.connection.capsule(bytes(command.entry), bytes(ns.block_size),
                                                   corrupt_ddgst=True))
    want(queue.wait(command), '0/22', '0/80 DNR')
    ok(queue.read(ns, 0, 1))


@case
def digests_of_the_two_queues_may_differ(t):
    """1.1, 1.7: digests are agreed on per connection."""
    host = t.host(dgst=BOTH)
    host.ic['dgst'] = 0
    queue = host.io_queue(1)
    host.ic['dgst'] = HEADER_DIGEST
    second = host.io_queue(2)
    ns = t.namespace(host)
    for each in (queue, second):
        data = t.random.randbytes(ns.block_size)
        slba = t.area(ns, len(data))
        ok(each.write(ns, slba, data))
        reads_as(each, ns, slba, data)

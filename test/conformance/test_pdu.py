# SPDX-License-Identifier: BSD-3-Clause
"""PDU headers after the set-up: each wrong field of each PDU, splits, and termination (facts 1.2,
1.4, 1.8)."""

import struct
import time

import nvmetcp
from harness import case, check, equal, ok, reads_as, want_terminated
from host import CONNECT, FABRICS, KEEP_ALIVE, READ, WRITE, Queue, read_fields, write_fields
from nvmetcp import HDGSTF, LAST, SUCCESS, Closed, Failure

WRONG_HLENS = (0, 1, 8, 23, 25, 71, 73, 128, 255)


def refused(t, make, *errors, dgst=0):
    """On a fresh admin queue the bytes of make(queue) end in a termination."""
    host = t.host(dgst=dgst)
    sent = make(host.admin)
    host.admin.connection.send(sent)
    want_terminated(host.admin.connection, sent, *errors)
    host.close()


def keep_alive(queue, **options):
    command, capsule = queue.prepare(KEEP_ALIVE, **options)
    queue.register(command)
    return command, capsule


def change(capsule, offset, value):
    """The capsule with one byte of its common header changed."""
    return capsule[:offset] + bytes([value]) + capsule[offset + 1:]


@case
def unknown_types(t):
    """1.2: an unknown type is fatal, FES 01 offset 0."""
    for pdu_type in (0x08, 0x0b, 0x0c, 0x0e, 0x10, 0x44, 0x7f, 0x84, 0xfe, 0xff):
        refused(t, lambda queue, v=pdu_type: change(keep_alive(queue)[1], 0, v), '01/0')


@case
def kickstart_request_on_a_plain_connection(t):
    """1.2, 1.10: KDReq belongs to a connection that asked for kickstart with ICReq: elsewhere it is
    an unknown type or out of sequence."""
    refused(t, lambda queue: nvmetcp.build_pdu(0x0a, struct.pack('<HH', 0, 0)).ljust(72, b'\0'),
            '01/0', '02/0')


@case
def wrong_direction(t):
    """1.2: a PDU that only a controller sends is fatal, FES 01 offset 0."""
    for pdu_type in (0x01, 0x03, 0x05, 0x07, 0x09):
        refused(t, lambda queue, v=pdu_type: change(keep_alive(queue)[1], 0, v), '01/0')
    response = nvmetcp.build_pdu(nvmetcp.CAPSULE_RESP, bytes(16))
    refused(t, lambda queue: response, '01/0')
    r2t = nvmetcp.build_pdu(nvmetcp.R2T, struct.pack('<HHII4x', 1, 1, 0, 512))
    refused(t, lambda queue: r2t, '01/0')


@case
def capsule_hlen(t):
    """1.2: the hlen of CapsuleCmd is 72, anything else is FES 01 offset 2."""
    for hlen in WRONG_HLENS:
        refused(t, lambda queue, v=hlen: change(keep_alive(queue)[1], 2, v), '01/2')


@case
def capsule_plen(t):
    """1.2: plen must add up, and is refused before its bytes come: FES 01 offset 4."""
    for plen in (0, 1, 7, 8, 71, 72 + 8192 + 4, 1 << 20, 0x7fffffff, 0xffffffff):
        def make(queue, value=plen):
            _, capsule = keep_alive(queue)
            header = struct.pack('<BBBBI', 4, 0, 72, 72 if value > 72 else 0, value)
            return header + capsule[8:]
        refused(t, make, '01/4')


@case
def capsule_pdo_with_data(t):
    """1.2: pdo is hlen (+ digest) rounded up to CPDA, which is 0: exactly 72; else FES 01 offset
    3."""
    for pdo in (0, 1, 8, 71, 73, 74, 76, 80, 128, 255):
        def make(queue, value=pdo):
            _, capsule = queue.prepare(WRITE, nsid=1, data_out=bytes(512))
            return change(capsule, 3, value)
        refused(t, make, '01/3')


@case
def capsule_pdo_moved_with_plen(t):
    """1.2: a pdo of 76 with four bytes of padding is not what CPDA 0 asks for: FES 01 offset 3."""
    def make(queue):
        _, capsule = queue.prepare(WRITE, nsid=1, data_out=bytes(512))
        return (change(capsule, 3, 76)[:4] + struct.pack('<I', len(capsule) + 4) + capsule[8:72] +
                bytes(4) + capsule[72:])
    refused(t, make, '01/3')


@case
def digest_flags_without_digests(t):
    """1.2, 1.7: HDGSTF or DDGSTF where no digest was agreed on is a bad flags field: FES 01 offset
    1."""
    refused(t, lambda queue: change(keep_alive(queue)[1], 1, HDGSTF), '01/1')
    refused(t, lambda queue: change(queue.prepare(WRITE, data_out=bytes(8))[1], 1, 2), '01/1')


@case
def reserved_flags_are_ignored(t):
    """Conventions, 1.2: CapsuleCmd has only flags 0 and 1; the others are reserved: never fail on
    them."""
    host = t.host()
    for flags in (LAST, SUCCESS, 0x10, 0x20, 0x40, 0x80, 0xfc):
        command, capsule = keep_alive(host.admin)
        host.admin.connection.send(change(capsule, 1, flags))
        ok(host.admin.wait(command))


# ---- H2CData: the host has an R2T and answers it wrongly ----

def with_r2t(t, make, *errors, size=8192, dgst=0, first=0):
    """A write waits for its data; what make(queue, command, r2t) returns is refused. `first` bytes
    are sent rightly before."""
    host, queue = t.queue(dgst=dgst)
    ns = t.namespace(host)
    command = queue.submit(WRITE, **write_fields(ns, t.area(ns, size), bytes(size)), how='r2t',
                           hold=True)
    r2t = queue.wait_r2t(command)
    if first:
        queue.connection.send(queue.connection.h2c_data(command.cid, r2t.ttag, 0, bytes(first),
                                                        last=False))
    sent = make(queue.connection, command, r2t)
    queue.connection.send(sent)
    want_terminated(queue.connection, sent, *errors)
    host.close()


@case
def h2c_data_header_fields(t):
    """1.2: hlen is 24 (offset 2), pdo 24 (offset 3), plen what the parts add up to (offset 4)."""
    def piece(connection, command, r2t, **wrong):
        return connection.h2c_data(command.cid, r2t.ttag, 0, bytes(r2t.length), **wrong)
    for hlen in WRONG_HLENS:
        with_r2t(t, lambda *a, v=hlen: piece(*a, hlen=v), '01/2')
    for pdo in (0, 8, 23, 25, 28, 128, 255):
        with_r2t(t, lambda *a, v=pdo: piece(*a, pdo=v), '01/3')
    for plen in (0, 8, 23, 24 + 8192 - 4, 24 + 8192 + 4, 0xffffffff):
        with_r2t(t, lambda *a, v=plen: piece(*a, plen=v), '01/4')
    for flags in (LAST | HDGSTF, LAST | 2):
        with_r2t(t, lambda *a, v=flags: piece(*a, raw_flags=v), '01/1')


@case
def h2c_data_moved_with_plen(t):
    """1.2: four bytes of padding that CPDA 0 does not ask for: FES 01 offset 3."""
    def make(connection, command, r2t):
        pdu = connection.h2c_data(command.cid, r2t.ttag, 0, bytes(r2t.length), pdo=28,
                                  plen=28 + r2t.length)
        return pdu[:24] + bytes(4) + pdu[24:]
    with_r2t(t, make, '01/3')


@case
def h2c_data_unknown_ttag(t):
    """1.8: an unknown TTAG is FES 01 offset 10."""
    for delta in (1, 0x100, 0x8000, 0xffff):
        with_r2t(t, lambda connection, command, r2t, d=delta: connection.h2c_data(
            command.cid, (r2t.ttag + d) & 0xffff, 0, bytes(r2t.length)), '01/10')


@case
def h2c_data_wrong_cccid(t):
    """1.8: an unknown CCCID is FES 01 offset 8; another reading takes one that does not fit the
    TTAG for a sequence error."""
    for delta in (1, 0x100, 0x8000):
        with_r2t(t, lambda connection, command, r2t, d=delta: connection.h2c_data(
            (command.cid + d) & 0xffff, r2t.ttag, 0, bytes(r2t.length)), '01/8', '02/0')


@case
def h2c_data_without_any_r2t(t):
    """1.8: unexpected data is a sequence error, or an unknown TTAG, FES 01 offset 10."""
    refused(t, lambda queue: queue.connection.h2c_data(1, 1, 0, bytes(512)), '01/10', '02/0')


@case
def h2c_data_out_of_range(t):
    """1.8: H2CData outside its R2T is FES 04; what also breaks the order may be called that."""
    def make(offset, size, last=True):
        return lambda connection, command, r2t: connection.h2c_data(command.cid, r2t.ttag, offset,
                                                                    bytes(size), last)
    with_r2t(t, make(0, 8196), '04/0', '05/0')
    with_r2t(t, make(0, 8196, False), '04/0', '05/0')
    with_r2t(t, make(4096, 8192), '04/0', first=4096)
    with_r2t(t, make(8192, 512), '04/0', '02/0')
    with_r2t(t, make(0xfffffffc, 512), '04/0', '02/0')
    with_r2t(t, make(0xfffff000, 8192), '04/0', '02/0')


@case
def h2c_data_not_contiguous(t):
    """1.6, 1.8: H2CData goes on where the last one ended: a gap or a repetition is a sequence
    error."""
    def make(offset):
        return lambda connection, command, r2t: connection.h2c_data(command.cid, r2t.ttag, offset,
                                                                    bytes(512), last=False)
    with_r2t(t, make(512), '02/0')
    with_r2t(t, make(0), '02/0', first=2048)
    with_r2t(t, make(2052), '02/0', first=2048)
    with_r2t(t, make(1536), '02/0', first=2048)


@case
def h2c_data_before_its_r2t(t):
    """1.6, 1.8: data for the second part of a command before its R2T came is refused."""
    host, queue = t.queue()
    ns = t.namespace(host)
    size = host.max_transfer()
    if queue.connection.maxh2cdata >= size:
        with_r2t(t, lambda connection, command, r2t: connection.h2c_data(
            command.cid, r2t.ttag, r2t.length, bytes(512)), '02/0', '04/0')
        return
    command = queue.submit(WRITE, **write_fields(ns, t.area(ns, size), bytes(size)), how='r2t',
                           hold=True)
    r2t = queue.wait_r2t(command)
    sent = queue.connection.h2c_data(command.cid, r2t.ttag, r2t.length, bytes(512), last=False)
    queue.connection.send(sent)
    want_terminated(queue.connection, sent, '02/0', '04/0')


@case(every=True)
def h2c_data_above_maxh2cdata(t):
    """1.8: H2CData larger than MAXH2CDATA is FES 05, or outside its R2T, FES 04."""
    host, queue = t.queue()
    ns = t.namespace(host)
    limit, size = queue.connection.maxh2cdata, host.max_transfer()
    command = queue.submit(WRITE, **write_fields(ns, t.area(ns, size), bytes(size)), how='r2t',
                           hold=True)
    r2t = queue.wait_r2t(command)
    sent = queue.connection.h2c_data(command.cid, r2t.ttag, 0, bytes(limit + 4))
    try:
        queue.connection.send(sent)
    except Closed:
        pass
    want_terminated(queue.connection, sent, '05/0', '04/0')


@case
def h2c_data_last_flag(t):
    """1.6: LAST is on the final H2CData only: a target counts bytes and checks LAST. Which fatal
    error that is the text leaves open: flags at offset 1, or a sequence error."""
    with_r2t(t, lambda connection, command, r2t: connection.h2c_data(
        command.cid, r2t.ttag, 0, bytes(r2t.length), last=False), '01/1', '02/0')
    with_r2t(t, lambda connection, command, r2t: connection.h2c_data(
        command.cid, r2t.ttag, 0, bytes(512), last=True), '01/1', '02/0')


@case
def h2c_data_twice(t):
    """1.6, 1.8: data after LAST is unexpected, its TTAG no longer known."""
    def make(connection, command, r2t):
        return connection.h2c_data(command.cid, r2t.ttag, 0, bytes(r2t.length))
    host, queue = t.queue()
    ns = t.namespace(host)
    command = queue.submit(WRITE, **write_fields(ns, t.area(ns, 8192), bytes(8192)), how='r2t',
                           hold=True)
    r2t = queue.wait_r2t(command)
    queue.connection.send(make(queue.connection, command, r2t))
    ok(queue.wait(command))
    sent = make(queue.connection, command, r2t)
    queue.connection.send(sent)
    want_terminated(queue.connection, sent, '01/10', '01/8', '02/0')


@case
def h2c_data_empty(t):
    """1.4: a piece of no bytes means nothing: the target may refuse it (DATAL at 16, plen or pdo)
    or go on; it must not take it for the whole."""
    host, queue = t.queue()
    ns = t.namespace(host)
    data = t.random.randbytes(8192)
    slba = t.area(ns, 8192)
    command = queue.submit(WRITE, **write_fields(ns, slba, data), how='r2t', hold=True)
    r2t = queue.wait_r2t(command)
    sent = queue.connection.h2c_data(command.cid, r2t.ttag, 0, b'', last=False)
    queue.connection.send(sent)
    if not queue.is_quiet(1):
        want_terminated(queue.connection, sent, '01/16', '01/4', '01/3', '02/0')
        return
    queue.connection.send(queue.connection.h2c_data(command.cid, r2t.ttag, 0, data))
    ok(queue.wait(command))
    reads_as(queue, ns, slba, data)


# ---- splits ----

@case
def connect_one_byte_at_a_time(t):
    """1.1: any split: a whole association, byte by byte."""
    connection = t.connection()
    queue = Queue(connection, 0, 32)
    data = nvmetcp.connect_data(b'split'.ljust(16), 0xffff, t.target.nqn, 'nqn.2026-11.io.xsan:s')
    command, capsule = queue.prepare(FABRICS, nsid=CONNECT, how='capsule', data_out=data, cdw11=31)
    queue.size = -1
    queue.register(command)
    connection.send_bytewise(capsule)
    ok(queue.wait(command))


@case
def capsule_in_any_two_pieces(t):
    """1.1: every 2-way split of a capsule with data and of one without works."""
    host, queue = t.queue()
    ns = t.namespace(host)
    size = ns.block_size
    slba = t.area(ns, size)
    for cut in [*range(1, 72 + 40), 72 + size - 1]:
        data = t.random.randbytes(size)
        how = 'capsule' if queue.capsule_max >= size else 'r2t'
        command, capsule = queue.prepare(WRITE, how=how, **write_fields(ns, slba, data))
        queue.register(command)
        queue.connection.send_pieces(capsule, min(cut, len(capsule) - 1))
        ok(queue.wait(command))
        command, capsule = queue.prepare(READ, **read_fields(ns, slba, 1))
        queue.register(command)
        queue.connection.send_pieces(capsule, min(cut, 71))
        equal(bytes(ok(queue.wait(command)).data), data, f'block written with a cut at {cut}')


@case
def capsule_with_digests_in_any_two_pieces(t):
    """1.1, 1.7: the same with both digests: also within the digests themselves."""
    host, queue = t.queue(dgst=3)
    ns = t.namespace(host)
    if queue.capsule_max < ns.block_size:
        return
    size = ns.block_size
    slba = t.area(ns, size)
    total = 76 + size + 4
    for cut in [*range(64, 90), *range(total - 10, total)]:
        data = t.random.randbytes(size)
        command, capsule = queue.prepare(WRITE, how='capsule', **write_fields(ns, slba, data))
        equal(len(capsule), total, 'capsule')
        queue.register(command)
        queue.connection.send_pieces(capsule, cut)
        ok(queue.wait(command))
        reads_as(queue, ns, slba, data, f'block written with a cut at {cut}')


@case(every=True)
def h2c_data_in_any_two_pieces(t):
    """1.1: every 2-way split of an H2CData header works, and byte by byte."""
    host, queue = t.queue()
    ns = t.namespace(host)
    size = ns.block_size
    slba = t.area(ns, size)
    for cut in [*range(0, 33), 24 + size - 1, -1]:
        data = t.random.randbytes(size)
        command = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data))
        pdu = queue.connection.h2c_data(command.cid, queue.wait_r2t(command).ttag, 0, data)
        if cut < 0:
            queue.connection.send_bytewise(pdu)
        else:
            queue.connection.send_pieces(pdu, cut)
        ok(queue.wait(command))
        reads_as(queue, ns, slba, data, f'block written with a cut at {cut}')


@case(every=True)
def many_pdus_in_one_segment(t):
    """1.1: many PDUs per segment: capsules, data and capsules again in one write to the socket."""
    host, queue = t.queue(sqsize=31)
    ns = t.namespace(host)
    slba = t.area(ns, 64 * ns.block_size)
    data = t.random.randbytes(ns.block_size)
    held = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data))
    r2t = queue.wait_r2t(held)
    stream, commands = b'', []
    for index in range(24):
        if index == 12:
            stream += queue.connection.h2c_data(held.cid, r2t.ttag, 0, data)
        command, capsule = queue.prepare(READ, **read_fields(ns, slba + 1, 1 + index % 4))
        commands.append(queue.register(command))
        stream += capsule
    queue.connection.send(stream)
    queue.wait_all([held, *commands])
    for command in [held, *commands]:
        ok(command)
    reads_as(queue, ns, slba, data, 'the block written in between')


@case
def random_cuts(t):
    """1.1: a stream of commands cut at random places, many PDUs per piece and many pieces per
    PDU."""
    host, queue = t.queue(sqsize=31)
    ns = t.namespace(host)
    slba = t.area(ns, 32 * ns.block_size)
    for _ in range(20):
        stream, commands = b'', []
        for index in range(16):
            if index % 2 and queue.capsule_max >= ns.block_size:
                options = {'how': 'capsule', **write_fields(ns, slba + index, bytes(ns.block_size))}
                command, capsule = queue.prepare(WRITE, **options)
            else:
                command, capsule = queue.prepare(READ, **read_fields(ns, slba + index, 1))
            commands.append(queue.register(command))
            stream += capsule
        cuts = sorted(t.random.randrange(1, len(stream)) for _ in range(40))
        queue.connection.send_pieces(stream, *cuts)
        for command in queue.wait_all(commands):
            ok(command)


# ---- termination ----

@case
def h2c_term_request_is_not_answered(t):
    """1.8: the receiver of a TermReq closes at once and sends no TermReq; one whose plen is not
    24..152 is ignored as a PDU, and never answered with a TermReq either."""
    header = nvmetcp.sqe(0, 0)[:24]
    for pdu in (nvmetcp.h2c_term(1, 2, header), nvmetcp.h2c_term(),
                nvmetcp.h2c_term(data=bytes(128)), nvmetcp.h2c_term(0xffff, 0xffffffff, header)):
        host, queue = t.queue()
        queue.connection.send(pdu)
        start = time.monotonic()
        queue_closed(queue)
        check(time.monotonic() - start < 15, 'closed too late')
        host.close()
    for plen in (0, 8, 23, 153, 4096, 0xffffffff):
        host, queue = t.queue()
        queue.connection.send(nvmetcp.h2c_term(data=header, plen=plen))
        try:
            pdu = queue.connection.recv_raw(0.3)
        except (Closed, nvmetcp.Silence):
            host.close()
            continue
        raise Failure(f'{pdu} in answer to a TermReq with plen {plen}')
    t.alive()


def queue_closed(queue):
    try:
        pdu = queue.connection.recv_raw()
    except Closed:
        return
    raise Failure(f'{pdu} in answer to a TermReq')


@case
def nothing_follows_a_termination(t):
    """1.8: after its TermReq the target processes nothing more of the connection."""
    host = t.host()
    connection = host.admin.connection
    bad = change(keep_alive(host.admin)[1], 0, 0xff)
    good = b''.join(keep_alive(host.admin)[1] for _ in range(4))
    connection.send(bad + good)
    want_terminated(connection, bad, '01/0')
    try:
        connection.send(good)
        pdu = connection.recv_raw(0.3)
    except (Closed, nvmetcp.Silence):
        return
    raise Failure(f'{pdu} after the C2HTermReq')


@case(waits=True)
def terminated_connection_is_closed(t):
    """1.8: the sender of a TermReq waits for its peer to close, 30 s at most, and closes."""
    host = t.host()
    bad = change(keep_alive(host.admin)[1], 0, 0xff)
    host.admin.connection.send(bad)
    want_terminated(host.admin.connection, bad, '01/0')
    host.admin.connection.wait_closed(33)


@case
def commands_before_a_bad_pdu_are_answered_or_not(t):
    """1.8: a bad PDU behind good commands in one segment ends in a TermReq; the commands before
    may or may not be answered first, and nothing else comes."""
    host = t.host()
    commands = [keep_alive(host.admin) for _ in range(3)]
    bad = change(keep_alive(host.admin)[1], 2, 9)
    host.admin.connection.send(b''.join(capsule for _, capsule in commands) + bad)
    try:
        while True:
            host.admin.pump()
    except nvmetcp.Terminated as term:
        equal((term.fes, term.fei), (1, 2), 'FES, FEI')
        check(bad.startswith(term.data), f'C2HTermReq carries {term.data.hex()}')


@case
def termination_carries_the_whole_header(t):
    """1.8: the data of a TermReq is the header being processed: hlen bytes of it when all came."""
    host, queue = t.queue()
    ns = t.namespace(host)
    command = queue.submit(WRITE, how='r2t', hold=True,
                           **write_fields(ns, t.area(ns, 8192), bytes(8192)))
    r2t = queue.wait_r2t(command)
    sent = queue.connection.h2c_data(command.cid, r2t.ttag ^ 0x4000, 0, bytes(8192))
    queue.connection.send(sent)
    equal(len(want_terminated(queue.connection, sent, '01/10').data), 24, 'header bytes')


@case
def termination_ends_only_its_connection(t):
    """1.8, 1.9: another host is not touched by somebody's broken PDUs."""
    other, other_queue = t.queue()
    ns = t.namespace(other)
    for _ in range(5):
        refused(t, lambda queue: change(keep_alive(queue)[1], 0, 0xee), '01/0')
    ok(other_queue.read(ns, 0, 1))
    other.keep_alive()


@case
def termination_never_has_a_digest(t):
    """1.2, 1.7: TermReq carries no digest, whatever the connection agreed on."""
    refused(t, lambda queue: change(keep_alive(queue)[1], 0, 0xff), '01/0', dgst=3)

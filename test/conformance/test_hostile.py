# SPDX-License-Identifier: BSD-3-Clause
"""Bytes and habits that no host should have: the target may refuse anybody, but it goes on serving
others, answers nothing it should not, and shows nobody's memory."""

import struct
import threading
import time

import nvmetcp
from harness import case, check, equal, ok, want
from host import READ, WRITE, read_fields, write_fields
from nvmetcp import Closed, Connection, Failure, Silence, Terminated

ROUNDS = 60


def ends(connection, seconds=0.02):
    """Takes what the target sends for a moment: every PDU must be a proper one."""
    try:
        for _ in range(1000):
            connection.recv(seconds)
    except (Closed, Silence, Terminated):
        pass
    connection.close()


def throw(connection, data):
    try:
        connection.send(data)
    except Closed:
        pass


@case
def random_bytes_first(t):
    """1.2: noise instead of ICReq is terminated or closed."""
    for _ in range(ROUNDS):
        connection = t.connect()
        throw(connection, t.random.randbytes(t.random.randrange(1, 400)))
        ends(connection)
    t.alive()


@case
def random_bytes_later(t):
    """1.2: noise after ICReq, and on connected queues, with and without digests."""
    for index in range(ROUNDS):
        if index % 3 == 0:
            connection = t.connection(dgst=index % 4)
        elif index % 3 == 1:
            connection = t.host(dgst=index % 4).admin.connection
        else:
            connection = t.queue(dgst=index % 4)[1].connection
        throw(connection, t.random.randbytes(t.random.randrange(1, 2000)))
        ends(connection)
    t.alive()


@case
def random_headers(t):
    """1.2: headers with small random values in every field of every PDU type a host may send."""
    for _ in range(ROUNDS * 2):
        _, queue = t.queue()
        pdu_type = t.random.choice((0, 2, 4, 6))
        hlen = nvmetcp.HLEN[pdu_type]
        plen = t.random.choice((hlen, hlen + 512, hlen + 4096, t.random.randrange(1 << 14)))
        pdu = struct.pack('<BBBBI', pdu_type, t.random.choice((0, 0, 4, 1, 255)),
                          t.random.choice((hlen, hlen, t.random.randrange(256))),
                          t.random.choice((0, hlen, hlen, t.random.randrange(256))), plen)
        throw(queue.connection, pdu + t.random.randbytes(t.random.randrange(hlen, hlen + 600)))
        ends(queue.connection)
    t.alive()


@case
def random_commands(t):
    """2, 3: random SQEs with a proper PDU around them: each is answered, with C2HData only inside
    its length; none may hang or take the connection's order away. Opcodes that change the
    namespaces' data everywhere are left out by the length of their ranges."""
    def taken(connection, command_id):
        for _ in range(10000):
            pdu = connection.recv(5)
            if pdu.type == nvmetcp.CAPSULE_RESP:
                cqe = nvmetcp.Cqe(pdu.header[8:24])
                if cqe.cid == command_id:
                    return
            elif pdu.type == nvmetcp.R2T:
                r2t = nvmetcp.DataHeader(pdu.header)
                connection.send(connection.h2c_data(r2t.cccid, r2t.ttag, r2t.offset,
                                                    bytes(r2t.length)))
        raise Failure('10000 PDUs for one command')
    for admin in (True, False):
        host, queue = t.queue()
        target = host.admin if admin else queue
        for index in range(300):
            opcode = t.random.choice((0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 24, t.random.randrange(256)))
            if admin and opcode in (0x0c, 0x7f):
                continue
            one_of, bits = t.random.choice, t.random.getrandbits
            entry = nvmetcp.sqe(
                opcode, index, nsid=one_of((0, 1, 2, 3, 0xffffffff, bits(32))),
                flags=one_of((0x40, 0x40, 0x40, 0x40, bits(8))),
                descriptor=nvmetcp.sgl(one_of((0x5a, 0x5a, 0x5a, 1, bits(8))),
                                       one_of((0, 4, 512, 4096, bits(32)))),
                cdw10=one_of((0, 1, bits(12), bits(32))), cdw11=one_of((0, 0, bits(32))),
                cdw12=one_of((0, 0, 7, bits(32))), cdw13=bits(32))
            try:
                target.connection.send(target.connection.capsule(entry))
                taken(target.connection, index)
            except (Closed, Terminated):
                host.close()
                host, queue = t.queue()
                target = host.admin if admin else queue
    t.alive()


@case
def half_a_pdu_and_gone(t):
    """1.1: a connection that ends inside any PDU leaves nothing behind."""
    for index in range(ROUNDS):
        host, queue = t.queue()
        ns = t.namespace(host)
        _, capsule = queue.prepare(WRITE, **write_fields(ns, 0, bytes(ns.block_size)))
        throw(queue.connection, capsule[:t.random.randrange(1, len(capsule))])
        (queue.connection.reset if index % 2 else queue.connection.close)()
        host.close()
    t.alive()


@case(every=True)
def reset_in_the_middle_of_reads(t):
    """1.9, pitfall 19: RST while the target sends long reads."""
    for _ in range(10):
        host, queue = t.queue()
        ns = t.namespace(host)
        blocks = host.max_transfer() // ns.block_size
        for _ in range(16):
            queue.submit(READ, **read_fields(ns, 0, blocks))
        queue.connection.sock.recv(1000)
        queue.connection.reset()
        host.close()
    t.alive()


@case(every=True)
def reset_in_the_middle_of_writes(t):
    """1.9: RST while the host sends what R2Ts asked for."""
    for index in range(10):
        host, queue = t.queue()
        ns = t.namespace(host)
        size = host.max_transfer()
        commands = [queue.submit(WRITE, how='r2t', hold=True,
                                 **write_fields(ns, t.area(ns, size), bytes(size)))
                    for _ in range(4)]
        r2t = queue.wait_r2t(commands[0])
        pdu = queue.connection.h2c_data(commands[0].cid, r2t.ttag, 0, bytes(r2t.length))
        throw(queue.connection, pdu[:t.random.randrange(1, len(pdu))])
        (queue.connection.reset if index % 2 else queue.connection.close)()
        host.close()
    t.alive()


@case(every=True)
def reader_that_never_reads(t):
    """1.6: a host that asks and does not read fills its own connection only; it can be cut."""
    hosts = []
    for _ in range(4):
        host, queue = t.queue(sqsize=31)
        ns = t.namespace(host)
        blocks = host.max_transfer() // ns.block_size
        for _ in range(30):
            queue.submit(READ, **read_fields(ns, 0, blocks))
        hosts.append(host)
    other_host, other = t.queue()
    for ns in t.namespaces(other_host):
        for _ in range(50):
            ok(other.read(ns, 0, 8))
            ok(other.write(ns, t.area(ns, 8192), bytes(8192), how='r2t'))
    for host in hosts:
        host.close()
    t.alive()


@case
def duplicate_identifiers(t):
    """2.1, 2.10: a CID in flight twice is 0/03h, or served twice; never a crash or a mix-up."""
    host, queue = t.queue()
    ns = t.namespace(host)
    data = t.random.randbytes(ns.block_size)
    held = queue.submit(WRITE, how='r2t', hold=True, cid=0x77,
                        **write_fields(ns, t.area(ns, ns.block_size), data))
    r2t = queue.wait_r2t(held)
    entry = nvmetcp.sqe(0, 0x77, nsid=ns.nsid, descriptor=nvmetcp.sgl(0x5a, 0))
    queue.connection.send(queue.connection.capsule(entry))
    queue.sent += 1
    pdu = queue.connection.recv()
    cqe = nvmetcp.Cqe(pdu.header[8:24])
    equal((pdu.type, cqe.cid), (nvmetcp.CAPSULE_RESP, 0x77), 'answer to the second')
    check(str(cqe) in ('0/03', '0/03 DNR', '0/00'), f'status {cqe}')
    queue.answer_r2t(held, r2t)
    ok(queue.wait(held))
    ok(queue.read(ns, 0, 1))


@case
def more_commands_than_the_queue_has(t):
    """2.1: more commands in flight than the queue's size: the target may end the association or
    serve them, nothing else."""
    host, queue = t.queue(sqsize=3)
    ns = t.namespace(host)
    entries = b''.join(queue.connection.capsule(
        nvmetcp.sqe(READ, index, nsid=ns.nsid, descriptor=nvmetcp.sgl(0x5a, ns.block_size * 8),
                    cdw12=7)) for index in range(300))
    throw(queue.connection, entries)
    ends(queue.connection, 0.3)
    t.alive()


@case
def held_commands_beyond_the_queue(t):
    """2.1, pitfall 3: many writes that never get their data, more than the queue has entries."""
    host, queue = t.queue(sqsize=7)
    ns = t.namespace(host)
    stream = b''.join(queue.connection.capsule(
        nvmetcp.sqe(WRITE, index, nsid=ns.nsid, descriptor=nvmetcp.sgl(0x5a, ns.block_size)))
        for index in range(200))
    throw(queue.connection, stream)
    ends(queue.connection, 0.3)
    t.alive()


@case
def memory_of_others_is_not_shown(t):
    """Zero fill everywhere: after a host wrote a mark, another's log pages, Identify data, padding
    and error answers do not have it."""
    mark = b'MARK-OF-ANOTHER-HOST' * 200
    host, queue = t.queue()
    ns = t.namespace(host)
    data = (mark * 70)[:65536]
    for _ in range(20):
        ok(queue.write(ns, t.area(ns, len(data)), data, how='r2t'))
    other = t.host(hpda=31)
    seen = [other.identify(cns, nsid) for cns, nsid in ((0, ns.nsid), (1, 0), (2, 0), (3, ns.nsid))]
    seen += [other.log(lid, 8192) for lid in (0, 1, 2, 3, 4, 5)]
    discovery = t.discovery(hpda=31)
    seen += [discovery.identify(1), discovery.log(0x70, 65536), discovery.log(0, 4096)]
    check(all(mark[:20] not in data for data in seen), 'another host\'s data')


@case
def association_storm(t):
    """2.2: connections opened and dropped at every stage by many threads at once."""
    errors = []

    def storm(index):
        try:
            for step in range(25):
                connection = Connection(t.target.address)
                stage = (index + step) % 4
                if stage:
                    connection.connect_ic()
                if stage > 1:
                    connection.send(connection.capsule(nvmetcp.sqe(0x7f, 1, nsid=1))[:30 * stage])
                (connection.reset if step % 2 else connection.close)()
        except Failure as error:
            errors.append(error)

    threads = [threading.Thread(target=storm, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check(not errors, f'{errors[:1]}')
    t.alive()


@case
def many_zero_length_and_tiny_pdus(t):
    """1.2: plen values around the header's length, one after another."""
    for plen in (*range(0, 80), 127, 128, 129):
        _, queue = t.queue()
        header = struct.pack('<BBBBI', 4, 0, 72, 0, plen)
        throw(queue.connection, header.ljust(max(plen, 72), b'\0'))
        ends(queue.connection, 0.01)
    t.alive()


@case(waits=True)
def half_open_connections_are_dropped(t):
    """1.1, 2.10: hosts that stop in the middle of everything, without closing: those in set-up are
    closed by the connect timeout, those with KATO by its expiry, and their commands end."""
    stages = [t.connect(), t.connection()]
    stages[0].send(nvmetcp.icreq()[:100])
    host, queue = t.queue(kato=1000)
    ns = t.namespace(host)
    held = queue.submit(WRITE, how='r2t', hold=True,
                        **write_fields(ns, ns.nr_blocks - 1, bytes(ns.block_size)))
    queue.wait_r2t(held)
    stages.append(queue.connection)
    deadline = time.monotonic() + max(t.target.connect_timeout_s, 2) + 15
    for connection in stages:
        connection.wait_closed(max(deadline - time.monotonic(), 0.1))


@case
def commands_behind_a_held_one(t):
    """1.6: a flood of commands behind a write that never gets its data; then the host goes."""
    for _ in range(5):
        host, queue = t.queue(sqsize=63)
        ns = t.namespace(host)
        held = queue.submit(WRITE, how='r2t', hold=True,
                            **write_fields(ns, 0, bytes(ns.block_size)))
        queue.wait_r2t(held)
        flight = [queue.submit(READ, **read_fields(ns, 8, 8)) for _ in range(queue.size - 3)]
        queue.wait_all(flight)
        queue.connection.reset()
        host.close()
    host, queue = t.queue()
    want(queue.flush(t.first_nsid), 'ok')

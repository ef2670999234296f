# SPDX-License-Identifier: BSD-3-Clause
"""Connect: what it returns and each way to refuse it (facts 2.2)."""

import time
import uuid

import nvmetcp
from harness import case, check, equal, ok, want, want_status_or_terminated
from host import CC, CC_ENABLE, CONNECT, CSTS, FABRICS, IDENTIFY, KEEP_ALIVE, PROPERTY_GET, Queue
from nvmetcp import DISCOVERY_NQN, SGL_IN_CAPSULE, SGL_TRANSPORT, Closed, Terminated, sgl

FROM_DATA = 1 << 16
HOSTNQN = 'nqn.2026-11.io.xsan:conformance-host'

# Names that are none: empty, without an end, one character too long.
MALFORMED = (bytes(256), b'a' * 256, b'nqn.2026-11.io.xsan:'.ljust(224, b'x').ljust(256, b'\0'))


def attempt(t, *, qid=0, size=32, flow_control=True, subnqn=None, hostnqn=HOSTNQN, hostid=None,
            **options):
    """Connect on a new connection; returns the queue and the answer."""
    queue = Queue(t.connection(), qid, size, flow_control)
    hostid = uuid.uuid4().bytes if hostid is None else hostid
    subnqn = t.target.nqn if subnqn is None else subnqn
    return queue, queue.connect(subnqn, hostnqn, hostid, **options)


def refused(t, code, dw0, **options):
    queue, answer = attempt(t, **options)
    want(answer, code)
    equal(answer.cqe.dw0, dw0, f'DW0 of {code} for {options}')
    queue.connection.close()


def io_refused(host, code, dw0, qid=1, **options):
    _, answer = host.try_io_queue(qid, **options)
    want(answer, *code.split(' or '))
    if dw0 is not None:
        equal(answer.cqe.dw0, dw0, f'DW0 of {code} for {options}')


@case(every=True)
def success_fields(t):
    """2.2: DW0 has the controller ID 1..FFEFh, no authentication bits; DW1 is 0; SQHD is 1, the
    Connect itself (checked by Queue.connect)."""
    answer = t.controller().connect_answer.cqe
    check(1 <= answer.dw0 <= 0xffef, f'DW0 {answer.dw0:08X}')
    equal(answer.dw1, 0, 'DW1')


@case(every=True)
def flow_control_disabled(t):
    """2.2, 2.1: DISSQFC is granted with SQHD FFFFh in the answer and 0 in later completions."""
    host = t.controller(flow_control=False)
    equal(host.connect_answer.cqe.sqhd, 0xffff, 'SQHD')
    equal(host.enable().keep_alive().cqe.sqhd, 0, 'SQHD of Keep Alive')
    queue = host.io_queue(1)
    equal(ok(queue.flush(host.active_nsids()[0])).cqe.sqhd, 0, 'SQHD of Flush')


@case
def flow_control_is_per_queue(t):
    """2.2: an I/O queue may have it where the admin queue has not, and the reverse."""
    for admin in (False, True):
        host = t.host(flow_control=admin)
        queue = host.io_queue(1, flow_control=not admin)
        ns = t.namespace(host)
        for _ in range(40):
            ok(queue.read(ns, 0, 1))
        host.keep_alive()
        host.close()


@case
def sqhd_counts_capsules(t):
    """2.1: with flow control SQHD counts the capsules taken, modulo the queue's size."""
    for size in (2, 3, 32):
        host = t.controller(sqsize=size - 1).enable()
        for _ in range(2 * size + 3):
            cqe = host.keep_alive().cqe
            equal(cqe.sqhd, host.admin.sent % size, f'SQHD in a queue of {size}')
        host.close()


@case
def unknown_subsystem(t):
    """2.2: an unknown SUBNQN is 1/82h with IPO 256 of the data, DNR."""
    long_nqn = 'nqn.2026-11.io.xsan:'.ljust(223, 'x')
    for subnqn in ('nqn.2026-11.io.xsan:nobody', t.target.nqn + 'x', t.target.nqn[:-1], long_nqn,
                   t.target.nqn.upper()):
        refused(t, '1/82 DNR', FROM_DATA | 256, subnqn=subnqn)


@case
def malformed_subsystem_name(t):
    """2.2, conventions: an SUBNQN that is empty, too long or without its NUL names nothing."""
    for subnqn in MALFORMED:
        refused(t, '1/82 DNR', FROM_DATA | 256, subnqn=subnqn)


@case
def bytes_after_the_nul(t):
    """Conventions: NQNs end at their NUL: what follows does not make another name."""
    _, answer = attempt(t, subnqn=t.target.nqn.encode().ljust(256, b'\0')[:255] + b'x')
    ok(answer)


@case
def malformed_host_name(t):
    """2.2, conventions: a HOSTNQN that is empty, longer than 223 or without its NUL is 1/82h with
    IPO 512 of the data."""
    for hostnqn in MALFORMED:
        refused(t, '1/82 DNR?', FROM_DATA | 512, hostnqn=hostnqn)


@case
def longest_host_name(t):
    """Conventions: a HOSTNQN of 223 characters is accepted."""
    ok(attempt(t, hostnqn='nqn.2026-11.io.xsan:'.ljust(223, 'h'))[1])


@case
def record_format(t):
    """2.2: RECFMT other than 0 is 1/80h."""
    for recfmt in (1, 0x100, 0xffff):
        want(attempt(t, recfmt=recfmt)[1], '1/80 DNR?')


@case
def queue_size_zero(t):
    """2.2: SQSIZE 0 is 1/82h with IPO 44 of the command, on any queue."""
    refused(t, '1/82 DNR?', 44, sqsize=0)
    io_refused(t.host(), '1/82 DNR?', 44, sqsize=0)


@case(every=True)
def queue_size_limit(t):
    """2.2, 2.3: an I/O queue may have CAP.MQES + 1 entries and no more: 1/82h with IPO 44."""
    host = t.host()
    mqes = host.property_get(0, 8) & 0xffff
    if mqes < 0xffff:
        io_refused(host, '1/82 DNR?', 44, sqsize=mqes + 1)
        io_refused(host, '1/82 DNR?', 44, sqsize=0xffff)
    ok(host.io_queue(1, sqsize=mqes).flush(t.first_nsid))


@case
def admin_queue_sizes(t):
    """2.2, 5.2: the admin queue takes 2 and 32 entries and what hosts use in between."""
    for size in (2, 16, 32):
        ok(attempt(t, size=size)[1])


@case
def controller_ids_refused(t):
    """2.2, dynamic model: the admin queue's CNTLID must be FFFFh; others are 1/82h, IPO 16 of the
    data."""
    for cntlid in (0, 1, 0x1234, 0xffef, 0xfff0, 0xfffd, 0xfffe):
        refused(t, '1/82 DNR?', FROM_DATA | 16, cntlid=cntlid)


@case
def controller_ids_are_not_reused_quickly(t):
    """2.2: IDs are unique in the subsystem and not reused quickly."""
    seen = []
    for _ in range(20):
        host = t.controller()
        seen.append(host.cntlid)
        host.close()
    equal(len(set(seen)), len(seen), f'different IDs in {seen}')


@case
def io_queue_of_an_unknown_controller(t):
    """2.2: an I/O queue must name its controller: 1/82h with IPO 16 of the data."""
    host = t.host()
    for cntlid in (0, 0xffff, 0xfffe, host.cntlid ^ 0x4000):
        io_refused(host, '1/82 DNR?', FROM_DATA | 16, cntlid=cntlid)


@case
def io_queue_of_another_host(t):
    """2.2: HOSTNQN, SUBNQN or HOSTID other than the admin queue's: 1/82h, IPO 512, 256 or 0 of the
    data."""
    host = t.host()
    io_refused(host, '1/82 DNR?', FROM_DATA | 512, hostnqn='nqn.2026-11.io.xsan:thief')
    io_refused(host, '1/82 DNR?', FROM_DATA | 256, subnqn='nqn.2026-11.io.xsan:nobody')
    io_refused(host, '1/82 DNR?', FROM_DATA | 0, hostid=uuid.uuid4().bytes)
    ok(host.io_queue(1).flush(t.first_nsid))


@case
def io_queue_before_enable(t):
    """2.2: an I/O Connect while CC.EN is 0 is 1/82h with IPO 42 of the command."""
    host = t.controller()
    io_refused(host, '1/82 DNR?', 42)
    host.enable()
    host.io_queue(1)


@case
def io_queue_after_shutdown(t):
    """2.2: an I/O Connect while the controller shuts down or has shut down is 1/82h, IPO 42."""
    host = t.host()
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.poll_csts(3 << 2, 2 << 2)
    io_refused(host, '1/82 DNR?', 42)


@case(every=True)
def queue_beyond_those_granted(t):
    """2.2: a QID above the queues granted by feature 07h is 1/82h with IPO 42 of the command."""
    host = t.host()
    granted = host.ask_queues(65535)
    if t.target.config:
        equal(granted, t.target.config['nvmf']['transport']['max_queues'], 'queues granted')
    for qid in (granted + 1, 0xffff):
        io_refused(host, '1/82 DNR?', 42, qid)
    ok(host.io_queue(granted).flush(t.first_nsid))


@case
def queue_in_use(t):
    """2.2: a QID in use is 0/0Ch; the text also names 1/01h. The queue there goes on."""
    host, queue = t.queue()
    for _ in range(3):
        io_refused(host, '0/0C DNR? or 1/01 DNR?', None)
    ok(queue.flush(t.first_nsid))


def connect_again(queue, host, **options):
    return queue.connect(host.subnqn, host.hostnqn, host.hostid, **options)


@case
def connect_twice(t):
    """1.1, 2.2: Connect comes exactly once on a queue: 0/0Ch, and the queue goes on."""
    host, queue = t.queue()
    want(connect_again(host.admin, host), '0/0C DNR?')
    want(connect_again(queue, host, cntlid=host.cntlid), '0/0C DNR?')
    host.keep_alive()
    ok(queue.flush(t.first_nsid))


@case
def command_before_connect(t):
    """1.1: the first capsule of a queue must be Connect. Another one is out of sequence: 0/0Ch, or
    a PDU sequence error."""
    for opcode, fields in ((FABRICS, {'nsid': PROPERTY_GET}), (IDENTIFY, {'cdw10': 1}),
                           (KEEP_ALIVE, {}), (FABRICS, {'nsid': 8}), (0xff, {})):
        queue = Queue(t.connection(), 0, -1)
        command, capsule = queue.prepare(opcode, **fields)
        queue.connection.send(capsule)
        queue.register(command)
        want_status_or_terminated(queue, command, capsule, ['0/0C DNR?'], ['02/0'])


@case
def refused_connect_leaves_no_error_log_entry(t):
    """2.2: a refused Connect is never 0/02h and never in the error log."""
    host = t.host()
    before = host.log(1, 64)
    refused(t, '1/82 DNR', FROM_DATA | 256, subnqn='nqn.2026-11.io.xsan:nobody')
    io_refused(host, '1/82 DNR?', 42, qid=0xffff)
    equal(host.log(1, 64), before, 'newest error log entry')


@case
def data_by_r2t(t):
    """2.2: Connect data is usually in the capsule; fetched with an R2T it works as well, or is
    refused with a status."""
    queue = Queue(t.connection(), 0, -1)
    data = nvmetcp.connect_data(uuid.uuid4().bytes, 0xffff, t.target.nqn, HOSTNQN)
    answer = queue.fabrics(CONNECT, data_out=data, how='r2t', cdw11=31)
    want(answer, 'ok', '0/11 DNR')


@case
def wrong_data_length(t):
    """2.2, 3.3: Connect carries 1024 bytes; less of it, or none, is refused with a status, by the
    length or as an invalid parameter, and never served."""
    data = nvmetcp.connect_data(uuid.uuid4().bytes, 0xffff, t.target.nqn, HOSTNQN)
    for size in (4, 512, 1020):
        queue = Queue(t.connection(), 0, -1)
        answer = queue.fabrics(CONNECT, data_out=data[:size], how='capsule', cdw11=31)
        want(answer, '0/0F DNR', '1/82 DNR?')
    queue = Queue(t.connection(), 0, -1)
    answer = queue.fabrics(CONNECT, how='capsule', cdw11=31, descriptor=sgl(SGL_IN_CAPSULE, 0))
    want(answer, '0/0F DNR', '1/82 DNR?')


@case(every=True)
def too_much_data(t):
    """2.2, 1.6: a stranger that has more than 1024 bytes of Connect data to send is refused before a
    byte of it is asked for, so that strangers cannot fill the buffers; and others connect."""
    for size in (1028, 65536, 1 << 20, 0xfffffffc):
        queue = Queue(t.connection(), 0, -1)
        answer = queue.submit(FABRICS, nsid=CONNECT, data_out=bytes(4), how='r2t', cdw11=31,
                              descriptor=sgl(SGL_TRANSPORT, size), hold=True)
        queue.wait(answer)
        want(answer, '0/0F DNR', '0/02 DNR', '1/82 DNR')
    t.alive()


@case
def biggest_admin_capsule(t):
    """1.5: the admin queue takes capsules with 8192 bytes of data whatever IOCCSZ says: Connect
    data that is longer than needed is served, or its length refused with a status."""
    data = nvmetcp.connect_data(uuid.uuid4().bytes, 0xffff, t.target.nqn, HOSTNQN)
    queue = Queue(t.connection(), 0, -1)
    want(queue.fabrics(CONNECT, data_out=data.ljust(8192, b'\0'), how='capsule', cdw11=31),
         'ok', '0/0F DNR')


@case
def reconnect_beside_the_old_association(t):
    """Pitfall 17: a host that comes back while its old association still stands is accepted at
    once, and gets another ID."""
    first = t.host()
    second = t.host(hostid=first.hostid)
    check(first.cntlid != second.cntlid, 'two controllers with one ID')
    ok(second.io_queue(1).flush(t.first_nsid))


@case
def queue_id_is_free_after_its_connection_ends(t):
    """2.2: a new association works at once after the old one was cut, many times over."""
    hostid = uuid.uuid4().bytes
    for _ in range(10):
        host, queue = t.queue(hostid=hostid)
        ok(queue.flush(t.first_nsid))
        queue.connection.reset()
        host.admin.connection.reset()


@case
def keep_alive_time_on_an_io_queue_is_ignored(t):
    """2.2: KATO is a field of the admin queue's Connect only."""
    host = t.host()
    queue, answer = host.try_io_queue(1, kato=1)
    ok(answer)
    time.sleep(0.1)
    ok(queue.flush(t.first_nsid))


@case
def discovery_nqn_has_no_io_queues(t):
    """2.2, 5.1: an I/O Connect to a discovery controller is 1/82h with IPO 42."""
    host = t.discovery()
    io_refused(host, '1/82 DNR?', 42)
    host.keep_alive()


@case
def io_queue_into_a_discovery_service(t):
    """2.2: an I/O queue whose SUBNQN is the discovery service while its controller is not: refused
    with 1/82h."""
    host = t.host()
    io_refused(host, '1/82 DNR?', None, subnqn=DISCOVERY_NQN)


@case
def connect_on_an_io_queue_before_the_admin_queue(t):
    """2.2: the first queue of an association is the admin queue; QID 1 with CNTLID FFFFh is 1/82h
    with IPO 16 of the data."""
    refused(t, '1/82 DNR?', FROM_DATA | 16, qid=1)


@case
def reserved_bytes_in_data(t):
    """Conventions: reserved bytes of the Connect data are ignored."""
    data = bytearray(nvmetcp.connect_data(uuid.uuid4().bytes, 0xffff, t.target.nqn, HOSTNQN))
    data[18:256] = b'\xff' * 238
    data[768:1024] = b'\xff' * 256
    ok(attempt(t, data=bytes(data))[1])


@case
def property_commands_with_other_fabrics_types(t):
    """2.3, 3.3: an unknown Fabrics command type is refused with a status, and the queue goes on."""
    host = t.host()
    for fctype in (0x02, 0x03, 0x07, 0x09, 0x40, 0xc0, 0xff):
        want(host.admin.fabrics(fctype), '0/01 DNR', '0/02 DNR')
    equal(host.property_get(CSTS) & 1, 1, 'CSTS.RDY')


@case
def disconnected_socket_in_the_middle_of_connect(t):
    """1.1: a connection that ends within its Connect leaves nothing behind."""
    for cut in (1, 8, 72, 500, 1095):
        queue = Queue(t.connection(), 0, 32)
        data = nvmetcp.connect_data(uuid.uuid4().bytes, 0xffff, t.target.nqn, HOSTNQN)
        _, capsule = queue.prepare(FABRICS, nsid=CONNECT, how='capsule', data_out=data, cdw11=31)
        queue.connection.send(capsule[:cut])
        queue.connection.reset()
    t.alive()


@case
def connect_with_more_behind_it(t):
    """1.1: commands in the same segment as Connect are out of a host's turn; the target answers
    them in order or refuses them, and serves others."""
    queue = Queue(t.connection(), 0, 32)
    data = nvmetcp.connect_data(uuid.uuid4().bytes, 0xffff, t.target.nqn, HOSTNQN)
    first, capsule = queue.prepare(FABRICS, nsid=CONNECT, how='capsule', data_out=data, cdw11=31)
    second, more = queue.prepare(FABRICS, nsid=PROPERTY_GET, cdw11=CSTS)
    queue.size = -1
    queue.register(first)
    queue.register(second)
    queue.connection.send(capsule + more)
    try:
        ok(queue.wait(first))
        want(queue.wait(second), 'ok', '0/0C DNR?')
    except (Closed, Terminated):
        pass
    t.alive()

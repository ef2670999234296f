# SPDX-License-Identifier: BSD-3-Clause
"""Abort (facts 2.10)."""

from harness import case, check, equal, ok, reads_as, want
from host import ABORT, WRITE, write_fields
from nvmetcp import Closed, Failure

NOT_ABORTED = 1


@case
def command_that_is_not_there(t):
    """2.10: nothing to abort is a success with DW0 b0 set; a queue that is not there may also be
    0/02h."""
    host, queue = t.queue()
    for cid in (0, 0x1234, 0xffff):
        for qid in (0, 1):
            command = host.admin.run(ABORT, cdw10=qid | cid << 16)
            equal(ok(command).cqe.dw0, NOT_ABORTED, f'DW0 for command {cid:04X} of queue {qid}')
    for qid in (2, 100, 0xffff):
        command = want(host.admin.run(ABORT, cdw10=qid), 'ok', '0/02 DNR')
        if command.cqe.is_ok:
            equal(command.cqe.dw0, NOT_ABORTED, f'DW0 for queue {qid}')
    ok(queue.flush(t.first_nsid))


@case
def event_request(t):
    """2.10: an outstanding event request can be aborted: it completes with 0/07h before the Abort
    does, whose DW0 is 0."""
    host = t.host()
    event, other = host.arm_event(), host.arm_event()
    command = host.abort(event, 0)
    equal(ok(command).cqe.dw0, 0, 'DW0')
    check(event.done, 'Abort was answered before the command it aborted')
    want(event, '0/07')
    check(not other.done, 'another event request was completed')
    equal(ok(host.abort(event, 0)).cqe.dw0, NOT_ABORTED, 'DW0 for a command that is gone')
    host.arm_event()
    host.keep_alive()


@case(every=True)
def write_waiting_for_data(t):
    """2.10: Abort of a write whose data has not come either aborts it (0/07h first, DW0 0) or does
    not (DW0 1, and it goes on); the queue lives in both cases."""
    host, queue = t.queue()
    ns = t.namespace(host)
    data = t.random.randbytes(ns.block_size)
    slba = t.area(ns, ns.block_size)
    command = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data))
    r2t = queue.wait_r2t(command)
    answer = ok(host.abort(command, 1))
    if answer.cqe.dw0 & NOT_ABORTED:
        queue.answer_r2t(command, r2t)
        ok(queue.wait(command))
        reads_as(queue, ns, slba, data)
    else:
        want(queue.wait(command), '0/07')
        # The host had the R2T and its data may be under way: the target must take it and go on.
        queue.connection.send(queue.connection.h2c_data(command.cid, r2t.ttag, 0, data))
        try:
            ok(queue.flush(ns.nsid))
        except (Closed, Failure) as error:
            raise Failure(f'data on its way when its command was aborted: {error}') from error


@case
def itself(t):
    """2.10: an Abort that names itself or another Abort is answered."""
    host = t.host()
    ok(host.admin.run(ABORT, cid=0x4242, cdw10=0x4242 << 16))
    host.keep_alive()


@case
def many_at_once(t):
    """2.10: more than ACL + 1 at once may be 1/03h; each is answered."""
    host = t.host(sqsize=31)
    stream, commands = b'', []
    for index in range(24):
        command, capsule = host.admin.prepare(ABORT, cdw10=index << 16)
        commands.append(host.admin.register(command))
        stream += capsule
    host.admin.connection.send(stream)
    for command in host.admin.wait_all(commands):
        want(command, 'ok', '1/03 DNR?')
    check(any(command.cqe.is_ok for command in commands), 'all of them refused')
    host.keep_alive()


@case
def finished_write(t):
    """2.10: a command that has completed cannot be aborted, and its data stays."""
    host, queue = t.queue()
    ns = t.namespace(host)
    data = t.random.randbytes(ns.block_size)
    slba = t.area(ns, ns.block_size)
    command = ok(queue.write(ns, slba, data))
    equal(ok(host.abort(command, 1)).cqe.dw0, NOT_ABORTED, 'DW0')
    reads_as(queue, ns, slba, data)

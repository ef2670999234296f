# SPDX-License-Identifier: BSD-3-Clause
"""Abort (facts 2.10)."""

import time

from harness import case, check, equal, ok, reads_as, want
from host import ABORT, READ, WRITE, read_fields, write_fields
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


# ---- what can be taken back ----

def aborted(host, queue, command):
    """Aborts a command that waits: DW0 is 0 and it ends with 0/07h."""
    equal(ok(host.abort(command, queue.qid)).cqe.dw0, 0, f'DW0 of the Abort of {command}')
    want(queue.wait(command), '0/07')


def held_write(t, host, queue, size=None, **options):
    """A write whose data is asked for and not sent; returns it with its R2T and its place."""
    ns = t.namespace(host)
    data = t.random.randbytes(size or ns.block_size)
    slba = t.area(ns, len(data))
    command = queue.submit(WRITE, how='r2t', hold=True, **write_fields(ns, slba, data), **options)
    return command, queue.wait_r2t(command), slba


@case(every=True)
def data_of_an_aborted_write(t):
    """2.10, 1.4: the data of an aborted write that comes late, in pieces, with its command's identifier
    in use again, is taken and thrown away; the block keeps what it had, and the queue goes on."""
    for options in ({}, {'dgst': 3}, {'flow_control': False}):
        host, queue = t.queue(**options)
        ns = t.namespace(host)
        size = min(host.max_transfer(), 65536)
        for rounds in range(20):
            command, r2t, slba = held_write(t, host, queue, size)
            old = bytes(ok(queue.read(ns, slba, size // ns.block_size)).data)
            aborted(host, queue, command)
            again = queue.submit(READ, cid=command.cid, **read_fields(ns, slba, 8))
            if rounds % 2:
                ok(queue.wait(again))
            end = r2t.offset + r2t.length
            for offset in range(r2t.offset, end, 4096):
                queue.connection.send(queue.connection.h2c_data(
                    command.cid, r2t.ttag, offset, command.data_out[offset:offset + 4096],
                    offset + 4096 >= end))
            ok(queue.wait(again) if not again.done else again)
            reads_as(queue, ns, slba, old, 'the place of an aborted write')
            fresh = t.random.randbytes(size)
            ok(queue.write(ns, slba, fresh, how='r2t'))
            reads_as(queue, ns, slba, fresh)
        host.close()


@case(config='no-capsule')
def write_aborted_between_its_r2ts(t):
    """2.10, 1.4: a write that takes several R2Ts can be aborted after some of them; data of the one that
    is out is thrown away, no other follows."""
    host, queue = t.queue()
    limit = queue.connection.maxh2cdata
    size = 4 * limit
    check(size <= host.max_transfer(), 'one R2T asks for the largest transfer')
    for answered in range(size // limit):
        command, r2t, _ = held_write(t, host, queue, size)
        for index in range(answered):
            queue.answer_r2t(command, r2t)
            r2t = queue.wait_r2t(command, index + 2)
        aborted(host, queue, command)
        queue.answer_r2t(command, r2t)
        ok(queue.flush(t.first_nsid))
        equal(len(command.r2ts), answered + 1, 'R2Ts of an aborted write')


@case(every=True)
def data_that_never_comes(t):
    """2.10: a host may keep the data of aborted writes to itself: some more are aborted, then they are
    not; every other command is served, Disconnect too, and the connection can be closed."""
    host = t.host(cattr=8)
    queue, answer = host.try_io_queue(1, sqsize=31, cattr=8)
    ok(answer)
    ns = t.namespace(host)
    taken_back, kept = [], []
    for _ in range(24):
        command, r2t, _ = held_write(t, host, queue)
        if ok(host.abort(command, 1)).cqe.dw0:
            kept.append((command, r2t))
        else:
            want(queue.wait(command), '0/07')
            taken_back.append((command, r2t))
    check(taken_back, 'none was aborted')
    for command, r2t in kept:
        queue.answer_r2t(command, r2t)
        ok(queue.wait(command))
    flight = [queue.submit(WRITE, how='r2t', **write_fields(ns, 0, bytes(ns.block_size)))
              for _ in range(31)]
    for command in queue.wait_all(flight):
        ok(command)
    queue.answer_r2t(*taken_back[0])  # and once the data has come after all, there is room for one
    command, r2t, _ = held_write(t, host, queue)
    aborted(host, queue, command)
    ok(queue.fabrics(8))
    queue.connection.close()
    host.keep_alive()


@case(every=True)
def abort_after_abort(t):
    """2.10: what was aborted cannot be aborted again, before and after its data came."""
    host, queue = t.queue()
    command, r2t, _ = held_write(t, host, queue)
    aborted(host, queue, command)
    equal(ok(host.abort(command, 1)).cqe.dw0, NOT_ABORTED, 'DW0 before the data came')
    queue.answer_r2t(command, r2t)
    ok(queue.flush(t.first_nsid))
    equal(ok(host.abort(command, 1)).cqe.dw0, NOT_ABORTED, 'DW0 after it came')


@case(config='few-buffers')
def commands_in_line_for_a_buffer(t):
    """2.10: commands that wait for a buffer can be aborted, the first of the line and others; those
    behind them go on when it is their turn, and a smaller one at once."""
    host, queue = t.queue()
    other_host, other = t.queue()
    ns, size = t.namespace(host), host.max_transfer()

    def write(which, length):
        return which.submit(WRITE, how='r2t', hold=True, **write_fields(ns, 0, bytes(length)))
    first = write(queue, size)
    r2t = queue.wait_r2t(first)
    line = [write(queue, size) for _ in range(4)]
    over = [write(other, size), write(other, size)]
    other.wait_r2t(over[0])
    ok(queue.flush(ns.nsid))
    check(not any(command.r2ts for command in line), 'a queue holds more than its share')
    aborted(host, queue, line[2])
    aborted(host, queue, line[0])
    aborted(other_host, other, over[1])
    queue.answer_r2t(first, r2t)
    ok(queue.wait(first))
    for command in (line[1], line[3]):
        queue.answer_r2t(command, queue.wait_r2t(command))
        ok(queue.wait(command))
    # The large one at the head of the host's line is in the way of a small one on another queue.
    second, third = host.io_queue(2), host.io_queue(3)
    queue.wait_r2t(write(queue, size))
    large = write(second, size)
    ok(second.flush(ns.nsid))
    small = write(third, ns.block_size)
    ok(third.flush(ns.nsid))
    check(not large.r2ts and not small.r2ts, 'a host holds more than its share')
    aborted(host, second, large)
    third.answer_r2t(small, third.wait_r2t(small))
    ok(third.wait(small))


@case(every=True, rpc=True)
def command_with_the_device(t):
    """2.10: what a device has goes on: DW0 1, and the command ends as it would have."""
    nqn, device = t.temporary_subsystem(), t.temporary_slow_device(2000000)
    t.add_namespace(1, device, nqn)
    host, queue = t.queue(nqn=nqn)
    ns = host.namespace(1)
    data = t.random.randbytes(ns.block_size)
    command = queue.submit(WRITE, **write_fields(ns, 0, data))
    if not queue.capsule_max:
        queue.pump_until(lambda: command.r2ts)
    deadline = time.monotonic() + 30
    while t.rpc('bdev_get_iostat', name=device)['bdevs'][0]['queue_depth'] == 0:
        check(time.monotonic() < deadline, 'the device does not get the command')
        time.sleep(0.01)
    equal(ok(host.abort(command, 1)).cqe.dw0, NOT_ABORTED, 'DW0')
    ok(queue.wait(command))
    reads_as(queue, ns, 0, data)


@case(every=True)
def limit_of_aborts(t):
    """2.10: Aborts beyond ACL + 1 at once are 1/03h or served; each that is served does what it says,
    and afterwards there is no limit reached."""
    host, queue = t.queue()
    held = [held_write(t, host, queue) for _ in range(8)]
    for _ in range(3):
        stream, commands = b'', []
        for command, _, _ in held:
            abort, capsule = host.admin.prepare(ABORT, cdw10=1 | command.cid << 16)
            commands.append(host.admin.register(abort))
            stream += capsule
        host.admin.connection.send(stream)
        host.admin.wait_all(commands)
        left = []
        for abort, (command, r2t, slba) in zip(commands, held):
            want(abort, 'ok', '1/03 DNR?')
            if abort.cqe.is_ok and not abort.cqe.dw0:
                want(queue.wait(command), '0/07')
            else:
                left.append((command, r2t, slba))
        check(len(left) < len(held), 'none was aborted')
        held = left
        if not held:
            break
    equal(len(held), 0, 'writes that could not be aborted')


@case(every=True)
def aborts_under_load(t):
    """2.10, 1.9: aborts of everything, at any moment, on queues that are cut in the middle: each command
    ends once, with success or 0/07h, and what was aborted was not written."""
    for index in range(10):
        host, queue = t.queue()
        ns = t.namespace(host)
        slba = t.area(ns, 32 * ns.block_size)
        ok(queue.write_zeroes(ns, slba, 32))
        flight, aborts = [], []
        for block in range(24):
            data = bytes([block + 1]) * ns.block_size
            flight.append(queue.submit(WRITE, how='r2t', **write_fields(ns, slba + block, data)))
            aborts.append(host.admin.submit(ABORT, cdw10=1 | flight[-1].cid << 16))
        if index % 2:
            (queue.connection.reset if index % 4 == 1 else queue.connection.close)()
            host.close()
            continue
        for command in queue.wait_all(flight):
            want(command, 'ok', '0/07')
        for command in host.admin.wait_all(aborts):
            want(command, 'ok', '1/03 DNR?')
        got = bytes(ok(queue.read(ns, slba, 24)).data)
        for block, (command, abort) in enumerate(zip(flight, aborts)):
            taken_back = abort.cqe.is_ok and not abort.cqe.dw0
            equal(str(command.cqe), '0/07' if taken_back else '0/00', f'{command}')
            equal(got[block * ns.block_size], 0 if taken_back else block + 1, f'block {block}')
    t.alive()

# SPDX-License-Identifier: BSD-3-Clause
"""Asynchronous events: how many are held, when they come, how they are masked (facts 2.10).

The events are made with the management socket: a namespace of this subsystem is resized."""

import time

from harness import case, check, equal, ok, want
from host import CC, CC_ENABLE, CSTS_RDY
from nvmetcp import le

NAMESPACE_CHANGED = 0x00040002
CHANGED_LOG = 4


@case
def limit(t):
    """2.10: AERL + 1 are held without an answer, one more is 1/05h, and the others stay."""
    host = t.host()
    limit_count = host.identify_controller()[259] + 1
    events = [host.arm_event() for _ in range(limit_count)]
    for _ in range(3):
        want(host.admin.run(0x0c), '1/05 DNR?')
    check(host.admin.is_quiet(0.2), 'an event without a reason')
    equal([event.done for event in events], [False] * limit_count, 'completed events')
    host.keep_alive()


@case
def any_identifier(t):
    """2.1: the CID of an event request may be far outside the admin queue's depth."""
    host = t.host()
    for cid in (0xffff, 0xf01f, 0x0020):
        host.arm_event(cid=cid)
    host.keep_alive()


@case
def no_completion_at_the_end(t):
    """2.10: outstanding events are dropped in silence by a reset."""
    host = t.host()
    event = host.arm_event()
    host.property_set(CC, CC_ENABLE & ~1)
    host.poll_csts(CSTS_RDY, 0)
    check(host.admin.is_quiet(0.2) and not event.done, 'an event was completed by a reset')
    host.enable()
    # The old request is gone: as many as ever fit.
    events = [host.arm_event(cid=0x7000 + index)
              for index in range(host.identify_controller()[259] + 1)]
    host.keep_alive()
    check(not any(e.done for e in events), 'an event of the new life was refused')


@case
def not_on_io_queues(t):
    """2.10: opcode 0Ch on an I/O queue is Verify, which needs a namespace."""
    _, queue = t.queue()
    want(queue.run(0x0c, nsid=0), '0/0B DNR', '0/01 DNR')


class Changer:
    """A namespace on a device of its own, whose size the case changes."""

    def __init__(self, t, host):
        self.t, self.blocks = t, 4096
        self.nsid = t.free_nsid(host)
        self.name = t.temporary_null_device(self.blocks // 256)
        t.add_namespace(self.nsid, self.name)

    def grow(self):
        self.blocks += 2048
        self.t.rpc('bdev_null_resize', name=self.name, new_size=self.blocks // 256)


def event_within(host, event, seconds=30.0):
    host.admin.wait(event, seconds)
    return event.cqe.dw0


def listening(t):
    host = t.host()
    changer = Changer(t, host)
    host.close()
    # A host that comes after the namespace was added has nothing to be told.
    host = t.host()
    ok(host.set_feature(0x0b, 0x100))
    return host, changer


@case(rpc=True)
def resize_is_reported(t):
    """2.10, pitfall 25: a resize is DW0 00040002h, the namespace is in log 04h, and Identify has
    the new size when the event comes."""
    host, changer = listening(t)
    event = host.arm_event()
    changer.grow()
    equal(event_within(host, event), NAMESPACE_CHANGED, 'DW0')
    want(event, 'ok')
    equal(host.namespace(changer.nsid).nr_blocks * host.namespace(changer.nsid).block_size,
          changer.blocks * 4096, 'new size')
    log = host.log(CHANGED_LOG, 4096)
    equal(log, changer.nsid.to_bytes(4, 'little').ljust(4096, b'\0'), 'changed namespaces')
    equal(host.log(CHANGED_LOG, 4096), bytes(4096), 'changed namespaces read again')


@case(rpc=True)
def masked_until_the_log_is_read(t):
    """2.10: after a report the event stays masked until its log is read with RAE 0; a read with
    RAE 1 leaves the list and the mask alone."""
    host, changer = listening(t)
    event = host.arm_event()
    changer.grow()
    event_within(host, event)
    second = host.arm_event()
    changer.grow()
    check(host.admin.is_quiet(0.3), 'an event came while it was masked')
    for _ in range(2):
        equal(le(host.log(CHANGED_LOG, 4096, rae=1), 0, 4), changer.nsid, 'changed namespace')
    check(host.admin.is_quiet(0.3), 'an event came after a read with RAE 1')
    equal(le(host.log(CHANGED_LOG, 4096), 0, 4), changer.nsid, 'changed namespace')
    # What happened before the read may be reported once more, then all is quiet.
    if not host.admin.is_quiet(0.3):
        event_within(host, second)
        host.log(CHANGED_LOG, 4096)
        second = host.arm_event()
    changer.grow()
    equal(event_within(host, second), NAMESPACE_CHANGED, 'DW0')


@case(rpc=True)
def kept_until_somebody_asks(t):
    """2.10: an event that happens with no request outstanding is kept, once."""
    host, changer = listening(t)
    for _ in range(3):
        changer.grow()
    time.sleep(0.2)
    first, second = host.arm_event(), host.arm_event()
    equal(event_within(host, first), NAMESPACE_CHANGED, 'DW0')
    check(host.admin.is_quiet(0.3), 'one kind of event twice')
    host.log(CHANGED_LOG, 4096)
    check(not second.done, 'the second request')


@case(rpc=True)
def not_when_switched_off(t):
    """2.9, 2.10: with AEC bit 8 off no event comes."""
    host, changer = listening(t)
    ok(host.set_feature(0x0b, 0))
    event = host.arm_event()
    changer.grow()
    check(host.admin.is_quiet(0.5) and not event.done, 'an event that was switched off')


@case(rpc=True)
def each_host_has_its_own(t):
    """2.10: every controller is told, and masks and logs for itself."""
    first, changer = listening(t)
    second = t.host()
    ok(second.set_feature(0x0b, 0x100))
    events = [host.arm_event() for host in (first, second)]
    changer.grow()
    for host, event in zip((first, second), events):
        equal(event_within(host, event), NAMESPACE_CHANGED, 'DW0')
    first.log(CHANGED_LOG, 4096)
    equal(le(second.log(CHANGED_LOG, 4096, rae=1), 0, 4), changer.nsid, 'list of the second')


@case(rpc=True)
def several_namespaces_in_one_list(t):
    """2.8: log 04h names each changed namespace once, ascending."""
    host, changer = listening(t)
    other = Changer(t, host)
    host.admin.wait(host.arm_event())
    host.log(CHANGED_LOG, 4096)
    for _ in range(2):
        other.grow()
        changer.grow()
    host.admin.wait(host.arm_event())
    log = host.log(CHANGED_LOG, 4096)
    equal([le(log, 4 * index, 4) for index in range(3)],
          [*sorted((changer.nsid, other.nsid)), 0], 'changed namespaces')


@case(rpc=True)
def feature_log_mask_survives_reset(t):
    """2.10: after a reset events work again with the new life's configuration."""
    host, changer = listening(t)
    host.arm_event()
    host.property_set(CC, CC_ENABLE & ~1)
    host.poll_csts(CSTS_RDY, 0)
    host.enable()
    host.admin.commands.clear()
    host.log(CHANGED_LOG, 4096)
    ok(host.set_feature(0x0b, 0x100))
    event = host.arm_event()
    changer.grow()
    equal(event_within(host, event), NAMESPACE_CHANGED, 'DW0')


@case(rpc=True)
def host_that_vanishes_with_requests(t):
    """2.10: a change after hosts with outstanding requests are gone harms nobody."""
    host, changer = listening(t)
    for index in range(8):
        other = t.host()
        other.arm_event()
        if index % 2:
            other.admin.connection.reset()
        else:
            other.close()
    event = host.arm_event()
    changer.grow()
    equal(event_within(host, event), NAMESPACE_CHANGED, 'DW0')

# SPDX-License-Identifier: BSD-3-Clause
"""Properties and the controller's life: enable, disable, fail, shut down (facts 2.3)."""

import time

from harness import case, check, equal, ok, want
from host import (CAP, CC, CC_ENABLE, CSTS, CSTS_CFS, CSTS_RDY, KEEP_ALIVE, PROPERTY_GET,
                  PROPERTY_SET, VS)
from nvmetcp import Closed, Failure, le

NSSR, CRTO = 0x20, 0x68


@case(every=True)
def capabilities(t):
    """2.3: CAP has CQR, a time-out of 15 units of 500 ms at least, the NVM command set, 4 KiB
    pages only, no doorbell stride, no NSSR; MQES is the configured depth."""
    cap = t.controller().property_get(CAP, 8)
    equal(cap >> 16 & 1, 1, 'CAP.CQR')
    check(cap >> 24 & 0xff >= 15, f'CAP.TO {cap >> 24 & 0xff}')
    equal(cap >> 32 & 0xf, 0, 'CAP.DSTRD')
    equal(cap >> 36 & 1, 0, 'CAP.NSSRC')
    equal(cap >> 37 & 1, 1, 'CAP.CSS NVM')
    equal(cap >> 44 & 1, 0, 'CAP.CSS none')
    equal(cap >> 48 & 0xff, 0, 'CAP.MPSMIN and MPSMAX')
    check(cap & 0xffff >= 1, 'CAP.MQES 0')
    if t.target.config:
        equal(cap & 0xffff, t.target.config['nvmf']['transport']['max_queue_depth'] - 1, 'CAP.MQES')


@case
def version(t):
    """2.3, 2.6: VS is a version that exists, and what Identify says."""
    host = t.controller()
    version = host.property_get(VS)
    check(version in (0x10300, 0x10400, 0x20000, 0x20100), f'VS {version:08X}')
    host.enable()
    equal(le(host.identify_controller(), 80, 4), version, 'VER of Identify')


@case
def version_and_ready_modes_agree(t):
    """2.3: CRTO exists only when CAP.CRMS is not 0."""
    host = t.controller()
    crms = host.property_get(CAP, 8) >> 59 & 3
    answer = host.admin.property_get(CRTO)
    want(answer, *(['ok'] if crms else ['0/02 DNR']))


@case
def wrong_sizes(t):
    """2.3: an access of the wrong size is 0/02h."""
    host = t.controller()
    for offset, size in ((CAP, 4), (VS, 8), (CC, 8), (CSTS, 8)):
        want(host.admin.property_get(offset, size), '0/02 DNR')
    want(host.admin.property_set(CC, 0, 8), '0/02 DNR')
    for attributes in range(2, 8):
        want(host.admin.fabrics(PROPERTY_GET, cdw10=attributes, cdw11=CSTS), '0/02 DNR')
        want(host.admin.fabrics(PROPERTY_SET, cdw10=attributes, cdw11=CC), '0/02 DNR')


@case
def unknown_offsets(t):
    """2.3: an unknown offset is 0/02h, to read and to write."""
    host = t.controller()
    for offset in (1, 4, 0x0c, 0x10, 0x15, 0x18, 0x24, 0x28, 0x30, 0x38, 0x1000, 0x80000000,
                   0xffffffff):
        want(host.admin.property_get(offset), '0/02 DNR')
        want(host.admin.property_set(offset, 0), '0/02 DNR')
    want(host.admin.property_get(NSSR), '0/02 DNR')


@case
def read_only_properties(t):
    """2.3: CAP, VS and CSTS are not to be written: 0/02h, and they keep their values. CSTS has bits
    that one may clear, so a target may take a write that changes nothing."""
    host = t.host()
    cap, csts = host.property_get(CAP, 8), host.property_get(CSTS)
    want(host.admin.property_set(CAP, 0, 8), '0/02 DNR')
    want(host.admin.property_set(VS, 0), '0/02 DNR')
    want(host.admin.property_set(CSTS, 0), '0/02 DNR', 'ok')
    equal((host.property_get(CAP, 8), host.property_get(CSTS)), (cap, csts), 'CAP and CSTS')


@case
def reserved_attribute_bits(t):
    """Conventions, 2.3: ATTRIB has its size in bits 2:0; the bits above are reserved and
    ignored."""
    host = t.controller()
    ok(host.admin.fabrics(PROPERTY_GET, cdw10=0xf8, cdw11=VS))


@case
def upper_half_of_a_short_property(t):
    """2.3: the value of a 4-byte property is in DW0, DW1 is 0."""
    host = t.controller()
    for offset in (VS, CC, CSTS):
        equal(ok(host.admin.property_get(offset)).cqe.dw1, 0, f'DW1 of property {offset:#x}')


@case
def only_on_the_admin_queue(t):
    """2.3: property commands on an I/O queue are 0/02h."""
    _, queue = t.queue()
    want(queue.property_get(CSTS), '0/02 DNR')
    want(queue.property_get(CAP, 8), '0/02 DNR')
    want(queue.property_set(CC, 0), '0/02 DNR')
    ok(queue.flush(t.first_nsid))


@case
def configuration_is_kept(t):
    """2.3: CC reads as written; settings written with EN 0 first, as newer Linux does, are fine."""
    host = t.controller()
    equal(host.property_get(CC), 0, 'CC at the start')
    equal(host.property_get(CSTS), 0, 'CSTS at the start')
    host.property_set(CC, CC_ENABLE & ~1)
    equal(host.property_get(CC), CC_ENABLE & ~1, 'CC')
    equal(host.property_get(CSTS), 0, 'CSTS')
    host.enable()
    equal(host.property_get(CC), CC_ENABLE, 'CC')
    equal(host.property_get(CSTS), CSTS_RDY, 'CSTS')


@case
def enabling_twice(t):
    """2.3: EN written as 1 when it is 1 changes nothing."""
    host, queue = t.queue()
    host.property_set(CC, CC_ENABLE)
    equal(host.property_get(CSTS), CSTS_RDY, 'CSTS')
    ok(queue.flush(t.first_nsid))


@case
def illegal_settings_are_fatal(t):
    """2.3: EN 0 to 1 with a wrong IOSQES, IOCQES, MPS, AMS or CSS sets CSTS.CFS and not RDY; a
    reset clears it, and the right settings work then."""
    for what, value in {'IOSQES 5': 0x00450001, 'IOSQES 7': 0x00470001, 'IOCQES 3': 0x00360001,
                        'MPS 1': CC_ENABLE | 1 << 7, 'AMS 1': CC_ENABLE | 1 << 11,
                        'CSS 1': CC_ENABLE | 1 << 4, 'CSS 7': CC_ENABLE | 7 << 4}.items():
        host = t.controller()
        host.property_set(CC, value)
        try:
            csts = host.poll_csts(CSTS_CFS, CSTS_CFS, 1)
        except Failure as error:
            raise Failure(f'{what}: {error}') from error
        equal(csts & CSTS_RDY, 0, f'CSTS.RDY with {what}')
        host.property_set(CC, 0)
        host.poll_csts(CSTS_CFS | CSTS_RDY, 0)
        host.enable()
        host.keep_alive()
        host.close()


@case
def queue_entry_sizes_at_enable_only(t):
    """2.3: with EN 0 no setting is illegal yet: hosts write them one after another."""
    host = t.controller()
    host.property_set(CC, 0)
    equal(host.property_get(CSTS) & CSTS_CFS, 0, 'CSTS.CFS')
    host.enable()


@case
def admin_commands_before_enable(t):
    """2.10: admin commands while EN is 0 are 0/0Ch; Fabrics commands work."""
    host = t.controller()
    want(host.identify_command(1), '0/0C DNR')
    want(host.admin.run(KEEP_ALIVE), '0/0C DNR')
    want(host.get_feature(7), '0/0C DNR')
    want(host.log_command(2, 512), '0/0C DNR')
    host.enable()
    ok(host.identify_command(1))


@case
def reset_ends_io_queues(t):
    """2.3: EN 1 to 0 clears RDY and ends the I/O queues; the admin queue stays for a re-enable."""
    host, queue = t.queue()
    ok(queue.flush(t.first_nsid))
    host.property_set(CC, CC_ENABLE & ~1)
    host.poll_csts(CSTS_RDY, 0)
    queue.connection.wait_closed(5)
    want(host.identify_command(1), '0/0C DNR')
    host.enable()
    ok(host.io_queue(1).flush(t.first_nsid))


@case
def reset_many_times(t):
    """2.3, 8 (blktests 022): enable, use, reset, again and again on one association."""
    host = t.controller()
    for _ in range(10):
        host.enable()
        queue = host.io_queue(1)
        ok(queue.flush(t.first_nsid))
        host.property_set(CC, 0)
        host.poll_csts(CSTS_RDY, 0)
        queue.connection.wait_closed(5)


@case
def shutdown(t):
    """2.3, 1.9: SHN 1 (normal) or 2 (abrupt) reaches SHST 2, and a new association works."""
    for notification in (1, 2):
        host, queue = t.queue()
        ok(queue.flush(t.first_nsid))
        host.property_set(CC, CC_ENABLE | notification << 14)
        host.poll_csts(3 << 2, 2 << 2)
        host.close()
    t.alive()


def flushes(t, device):
    stats, = t.rpc('bdev_get_iostat', name=device)['bdevs']
    return stats['latency']['flush']['count']


@case(rpc=True)
def shutdown_flushes(t):
    """2.3: SHN: flush, then SHST 2: it is "processing" while the caches of the controller's namespaces
    are written, each of them once, and complete when that is done."""
    nqn = t.temporary_subsystem()
    devices = [t.temporary_slow_device(), t.temporary_slow_device(1500000)]
    for nsid, device in enumerate(devices, 1):
        t.add_namespace(nsid, device, nqn)
    for has_queue in (False, True):
        host = t.host(nqn=nqn)
        if has_queue:
            ok(host.io_queue(1).write(host.namespace(1), 0, t.random.randbytes(512)))
        before = [flushes(t, device) for device in devices]
        start = time.monotonic()
        host.property_set(CC, CC_ENABLE | 1 << 14)
        equal(host.property_get(CSTS) >> 2 & 3, 1, 'SHST while the slow device flushes')
        host.poll_csts(3 << 2, 2 << 2)
        check(time.monotonic() - start > 1.45, 'complete before the slow device has flushed')
        equal([flushes(t, device) for device in devices], [count + 1 for count in before],
              'flushes')
        equal(host.property_get(CSTS) & CSTS_CFS, 0, 'CFS')
        host.close()


@case(rpc=True)
def shutdown_that_cannot_flush(t):
    """2.3: a shutdown whose flush fails is never reported as complete: CFS is set."""
    nqn, device = t.temporary_subsystem(), t.temporary_error_device()
    t.add_namespace(1, device, nqn)
    host = t.host(nqn=nqn)
    t.rpc('bdev_error_inject_error', name=device, io_type='flush', error_type='failure', num=1)
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.poll_csts(CSTS_CFS, CSTS_CFS)
    time.sleep(0.2)
    equal(host.property_get(CSTS) >> 2 & 3, 1, 'SHST after the flush failed')
    host.close()
    host = t.host(nqn=nqn)
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.poll_csts(3 << 2 | CSTS_CFS, 2 << 2)


@case(rpc=True)
def shutdown_meets_other_ends(t):
    """2.3, 1.9: a reset, the loss of the connection, the removal of the namespace or of the subsystem
    in the middle of a shutdown's flushes: each is served, and none hangs."""
    def begin(nqn):
        host = t.host(nqn=nqn)
        ok(host.io_queue(1).write(host.namespace(1), 0, t.random.randbytes(512)))
        host.property_set(CC, CC_ENABLE | 1 << 14)
        return host
    nqn, device = t.temporary_subsystem(), t.temporary_slow_device(300000)
    t.add_namespace(1, device, nqn)
    host = begin(nqn)
    host.property_set(CC, 0)
    host.poll_csts(0xd, 0)
    time.sleep(0.5)
    equal(host.property_get(CSTS), 0, 'CSTS after a reset in the middle')
    host.enable()
    ok(host.io_queue(1).flush(1))
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.property_set(CC, 0)
    host.property_set(CC, CC_ENABLE)
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.poll_csts(3 << 2, 2 << 2)
    host.close()
    begin(nqn).admin.connection.reset()
    host = begin(nqn)
    t.remove_namespace(1, nqn)
    host.poll_csts(3 << 2, 2 << 2)
    t.add_namespace(1, device, nqn)
    host = begin(nqn)
    t.rpc('nvmf_delete_subsystem', nqn=nqn)
    host.admin.connection.wait_closed(5)
    t.alive()


@case
def shutdown_then_reset(t):
    """2.3: after a shutdown a reset makes the controller usable again."""
    host = t.host()
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.poll_csts(3 << 2, 2 << 2)
    host.property_set(CC, 0)
    host.poll_csts(0xd, 0)
    host.enable()
    host.keep_alive()
    ok(host.io_queue(1).flush(t.first_nsid))


@case
def property_access_does_not_stop(t):
    """2.3: properties can be read at every moment of a controller's life."""
    host = t.controller()
    for action in (lambda: None, lambda: host.property_set(CC, CC_ENABLE),
                   lambda: host.property_set(CC, CC_ENABLE | 1 << 14),
                   lambda: host.property_set(CC, 0)):
        action()
        for offset, size in ((CAP, 8), (VS, 4), (CC, 4), (CSTS, 4)):
            host.property_get(offset, size)


@case
def reset_with_commands_in_flight(t):
    """2.3, 2.10: a reset ends commands that wait for data, and outstanding events get no answer."""
    host, queue = t.queue()
    ns = t.namespace(host)
    command = queue.submit(1, nsid=ns.nsid, data_out=bytes(ns.block_size), how='r2t', hold=True)
    queue.wait_r2t(command)
    event = host.arm_event()
    host.property_set(CC, CC_ENABLE & ~1)
    host.poll_csts(CSTS_RDY, 0)
    try:
        queue.wait(command)
        check(command.cqe.sc in (0x07, 0x08), f'write ended with {command.status}')
        queue.connection.wait_closed(5)
    except Closed:
        pass
    time.sleep(0.1)
    host.enable()
    check(not event.done, 'an event was completed by a reset')

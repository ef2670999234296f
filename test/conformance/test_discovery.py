# SPDX-License-Identifier: BSD-3-Clause
"""The discovery controller behind the same listener (facts 5.1, 5.2, pitfalls 21, 22)."""

import time
import uuid

from harness import case, check, equal, ok, want
from host import ABORT, AER, GET_FEATURES, GET_LOG, IDENTIFY, KEEP_ALIVE, SET_FEATURES, VS
from nvmetcp import DISCOVERY_NQN, NSID_ALL, DiscoveryLog, le, text

LOG = 0x70
CHANGED = 0x0070f002
HEADER = 1024


def raw_log(host):
    """The log as SPDK reads it: the header, then all of it in one read."""
    numrec = le(host.log(LOG, HEADER), 8, 8)
    return host.log(LOG, HEADER + 1024 * numrec)


def read_log(host):
    return DiscoveryLog(raw_log(host))


def subsystems(log):
    return [entry.subnqn for entry in log.entries if entry.subtype == 2]


def new_host():
    hostid = uuid.uuid4().bytes
    return {'hostid': hostid, 'hostnqn': f'nqn.2026-11.io.xsan:{uuid.UUID(bytes=hostid)}'}


@case(every=True)
def identify(t):
    """5.1, 2.5: a discovery controller says CNTRLTYPE 2, offers the change event, has no
    namespaces and no in-capsule data, and carries one unique NQN for the service."""
    host = t.discovery()
    ids = host.identify_controller()
    for what, offset, size, expected in (
            ('CNTLID', 78, 2, host.cntlid), ('VER', 80, 4, host.property_get(VS)),
            ('CNTRLTYPE', 111, 1, 2), ('NN', 516, 4, 0), ('IOCCSZ', 1792, 4, 4),
            ('IORCSZ', 1796, 4, 1), ('ICDOFF', 1800, 2, 0), ('SGLS', 536, 4, 0x00300001),
            ('MSDBD', 1803, 1, 1)):
        equal(le(ids, offset, size), expected, what)
    check(ids[1806] in (0, 1), f'DCTYPE {ids[1806]}, which is not a DDC')
    check(le(ids, 92, 4) >> 31, f'OAES {le(ids, 92, 4):#x} without the discovery log event')
    check(ids[261] & 4, f'LPA {ids[261]:#x} without extended data')
    check(le(ids, 320, 2), 'KAS 0')
    check(le(ids, 514, 2), 'MAXCMD 0')
    check(ids[77], 'MDTS 0')
    check(text(ids, 768, 256).startswith('nqn.'), f'SUBNQN {text(ids, 768, 256)}')
    equal(ids[768:1024], t.discovery().identify_controller()[768:1024], 'SUBNQN elsewhere')
    for offset, size in ((4, 20), (24, 40), (64, 8)):
        check(all(0x20 <= byte <= 0x7e for byte in ids[offset:offset + size]), 'SN, MN or FR')


@case
def unique_name(t):
    """5.1: besides the well-known NQN the one in SUBNQN is accepted, for the same service: libnvme
    reconnects with it."""
    host = t.discovery()
    unique = text(host.identify_controller(), 768, 256)
    again = t.host(nqn=unique)
    equal(text(again.identify_controller(), 768, 256), unique, 'SUBNQN')
    equal(subsystems(read_log(again)), subsystems(read_log(host)), 'subsystems')


@case(every=True)
def log_entries(t):
    """5.2: the header; an entry for the I/O subsystem and one for this discovery service, with
    every field as hosts want it; addresses are real ones, never wildcards."""
    host = t.discovery()
    unique = text(host.identify_controller(), 768, 256)
    data = raw_log(host)
    log = DiscoveryLog(data)
    equal(log.recfmt, 0, 'RECFMT')
    equal(len(data), HEADER + 1024 * log.numrec, 'length')
    check(not any(data[24:HEADER]), 'reserved bytes of the header')
    check(t.target.nqn in subsystems(log), f'{t.target.nqn} is not among {subsystems(log)}')
    current = [entry for entry in log.entries if entry.subtype == 3]
    check(current, 'no entry for the discovery service itself')
    for entry in log.entries:
        what = f'entry {entry.subnqn}'
        equal((entry.trtype, entry.adrfam), (3, 2 if ':' in entry.traddr else 1), f'{what}: type')
        equal(entry.traddr, t.target.address[0], f'{what}: TRADDR')
        equal(entry.trsvcid, str(t.target.address[1]), f'{what}: TRSVCID')
        check(entry.subtype in (2, 3), f'{what}: SUBTYPE {entry.subtype}')
        check(entry.treq & 3 in (0, 2), f'{what}: TREQ {entry.treq:#x} without TLS')
        check(entry.treq & 4, f'{what}: TREQ {entry.treq:#x}, SQ flow control may be off')
        equal(entry.treq >> 4, 0, f'{what}: authentication')
        equal(entry.cntlid, 0xffff, f'{what}: CNTLID')
        check(entry.asqsz >= 32, f'{what}: ASQSZ {entry.asqsz}')
        equal(entry.sectype, 0, f'{what}: SECTYPE')
        check(not any(entry.data[769:]), f'{what}: bytes behind TSAS')
        check(not any(entry.data[12:32]) and not any(entry.data[64:256]), f'{what}: reserved bytes')
        for offset, size, value in ((256, 256, entry.subnqn), (512, 256, entry.traddr)):
            equal(entry.data[offset:offset + size], value.encode().ljust(size, b'\0'),
                  f'{what}: padding at {offset}')
    for entry in current:
        check(entry.subnqn in (unique, DISCOVERY_NQN), f'subtype 3 with {entry.subnqn}')
        check(entry.eflags & 2, 'EFLAGS without persistent connections')


@case
def listed_subsystem_can_be_connected(t):
    """5.2: what the log says works: address, port and name of each entry, and flow control off."""
    log = read_log(t.discovery())
    for entry in log.entries:
        equal((entry.traddr, int(entry.trsvcid)), t.target.address, 'address')
        t.host(nqn=entry.subnqn, flow_control=False).keep_alive()


@case
def read_in_any_chunks(t):
    """5.2: header of 20..1024 bytes, chunks of 4 KiB from 1024 on as libnvme does, and small ones
    across all borders give the same bytes as one read; the tail beyond the end is zeros."""
    host = t.discovery()
    whole = raw_log(host)
    for length in (4, 16, 20, 24, 1020, 1024, 1028, 2048, 4096, host.max_transfer()):
        equal(host.log(LOG, length)[:len(whole)], whole[:length], f'{length} bytes')
        check(not any(host.log(LOG, length)[len(whole):]), 'bytes behind the end')
    for chunk in (4, 20, 512, 1000, 1024, 4096):
        got = b''.join(host.log(LOG, chunk, offset, rae=1)
                       for offset in range(0, len(whole), chunk))
        equal(got[:len(whole)], whole, f'in chunks of {chunk}')
        check(not any(got[len(whole):]), f'tail in chunks of {chunk}')


@case
def offset_rules(t):
    """5.2: an unaligned offset, or one beyond the end, is 0/02h."""
    host = t.discovery()
    size = len(raw_log(host))
    for offset in (1, 2, 3, 1025, 1026):
        want(host.log_command(LOG, 4, offset), '0/02 DNR')
    for offset in (size + 4, size + 4096, 1 << 32, (1 << 64) - 4):
        want(host.log_command(LOG, 4, offset), '0/02 DNR')
    want(host.log_command(LOG, host.max_transfer() + 4), '0/02 DNR')


@case
def specific_parameters(t):
    """5.2: LSP bits for extended, port-local and all entries are taken by a service that has none
    of them: the basic log is still there."""
    host = t.discovery()
    whole = raw_log(host)
    for lsp in (1, 2, 4, 7, 0x40):
        equal(host.log(LOG, len(whole), lsp=lsp)[16:], whole[16:], f'log with LSP {lsp:#x}')


@case
def counter_is_stable(t):
    """Pitfall 21, 5.2: GENCTR does not move by reading, nor by other hosts coming and going, nor
    by a new connection of the same host."""
    identity = new_host()
    host = t.discovery(**identity)
    first = read_log(host).genctr
    for _ in range(5):
        equal(read_log(host).genctr, first, 'GENCTR')
        t.discovery().close()
        t.host().close()
    equal(read_log(t.discovery(**identity)).genctr, first, 'GENCTR of a second connection')
    host.close()
    equal(read_log(t.discovery(**identity)).genctr, first, 'GENCTR of a later connection')


@case
def only_the_commands_it_has(t):
    """5.1: every admin command that a discovery controller does not have is 0/01h with DNR;
    features other than 0Bh and 0Fh are 0/02h, identify forms other than 01h are 0/02h."""
    host = t.discovery()
    has = {GET_LOG, IDENTIFY, ABORT, SET_FEATURES, GET_FEATURES, AER, KEEP_ALIVE, 0x7f}
    for opcode in range(256):
        if opcode not in has:
            want(host.admin.run(opcode, nsid=NSID_ALL if opcode & 1 else 0), '0/01 DNR')
    for fid in range(256):
        if fid not in (0x0b, 0x0f):
            want(host.get_feature(fid), '0/02 DNR')
            want(host.set_feature(fid), '0/02 DNR')
    for cns in range(256):
        if cns != 1:
            want(host.identify_command(cns, 1), '0/02 DNR', '0/0B DNR')
    want(host.admin.run(ABORT, cdw10=1 << 16), 'ok', '0/01 DNR')
    host.keep_alive()


@case
def only_the_logs_it_has(t):
    """5.1: pages 02h to 04h, 0Ch and everything unknown are refused; 00h and 05h are there."""
    host = t.discovery()
    supported = host.log(0, 1024)
    check(le(supported, 4 * LOG, 4) & 1, 'page 70h is not among the supported ones')
    for lid in range(256):
        command = host.log_command(lid, 64)
        if le(supported, 4 * lid, 4) & 1:
            ok(command)
        else:
            want(command, '1/09 DNR', '0/02 DNR')
    for lid in (2, 3, 4, 0x0c, 0x80, 0xc0):
        want(host.log_command(lid, 64), '1/09 DNR', '0/02 DNR')
    for lid in (0, 5, LOG):
        check(le(supported, 4 * lid, 4) & 1, f'page {lid:02X}h')
    host.log(5, 4096)


@case
def event_configuration(t):
    """2.9, 5.1: on a persistent connection the change event is on from the start; AEC takes it and
    the SMART bits, others are 0/02h."""
    host = t.discovery(kato=60000)
    check(ok(host.get_feature(0x0b)).cqe.dw0 >> 31, 'the event is off on a persistent connection')
    oaes = le(host.identify_controller(), 92, 4)
    for value in (1 << 31, 0, 0x1f, 1 << 31 | 0xff):
        ok(host.set_feature(0x0b, value))
        equal(ok(host.get_feature(0x0b)).cqe.dw0, value, 'AEC')
    for bit in range(8, 31):
        if not oaes >> bit & 1:
            want(host.set_feature(0x0b, 1 << bit), '0/02 DNR')


@case
def many_short_connections(t):
    """5.1: connect, read, leave, many times: as nvme discover does."""
    for _ in range(60):
        host = t.discovery()
        read_log(host)
        host.close()


@case(rpc=True)
def counter_moves_with_the_content(t):
    """5.2: GENCTR goes up when what this host sees changes, also between two connections."""
    identity = new_host()
    host = t.discovery(**identity)
    before = read_log(host)
    nqn = t.temporary_subsystem()
    after = read_log(host)
    check(nqn in subsystems(after), 'the new subsystem is not in the log')
    check(after.genctr > before.genctr, f'GENCTR from {before.genctr} to {after.genctr}')
    host.close()
    t.rpc('nvmf_subsystem_remove_listener', nqn=nqn, listen_address=t.listen_address())
    last = read_log(t.discovery(**identity))
    check(nqn not in subsystems(last), 'a subsystem without listener is still in the log')
    check(last.genctr > after.genctr, f'GENCTR from {after.genctr} to {last.genctr}')


@case(rpc=True)
def subsystem_without_listener(t):
    """5.2: a subsystem that nobody can reach is not in the log and changes nothing."""
    host = t.discovery()
    before = read_log(host)
    nqn = t.temporary_subsystem(listen=False)
    after = read_log(host)
    check(nqn not in subsystems(after), 'a subsystem without listener is in the log')
    equal(after.genctr, before.genctr, 'GENCTR')


@case(rpc=True)
def each_host_sees_what_it_may_use(t):
    """5.2, pitfall 21: a subsystem with a list of hosts is in their logs only, and GENCTR moves
    for those whose view changed only."""
    one, two = new_host(), new_host()
    nqn = t.temporary_subsystem(allow_any_host=False)
    first, second = t.discovery(**one), t.discovery(**two)
    before = read_log(first), read_log(second)
    check(nqn not in subsystems(before[0]), 'a host sees a subsystem that it may not use')
    t.rpc('nvmf_subsystem_add_host', nqn=nqn, host=one['hostnqn'])
    after = read_log(first), read_log(second)
    check(nqn in subsystems(after[0]), 'the allowed host does not see the subsystem')
    check(nqn not in subsystems(after[1]), 'another host sees it')
    check(after[0].genctr > before[0].genctr, 'GENCTR of the allowed host')
    equal(after[1].genctr, before[1].genctr, 'GENCTR of the other host')
    t.rpc('nvmf_subsystem_remove_host', nqn=nqn, host=one['hostnqn'])
    last = read_log(first)
    check(nqn not in subsystems(last), 'a host sees a subsystem that it may use no longer')
    check(last.genctr > after[0].genctr, 'GENCTR')


@case(rpc=True)
def change_is_reported(t):
    """5.2, 2.10: a persistent connection is told: DW0 0070F002h; it stays quiet until the log was
    read with RAE 0."""
    host = t.discovery(kato=60000)
    read_log(host)
    event = host.arm_event()
    t.temporary_subsystem()
    host.admin.wait(event)
    equal(want(event, 'ok').cqe.dw0, CHANGED, 'DW0')
    second = host.arm_event()
    t.temporary_subsystem()
    check(host.admin.is_quiet(0.5), 'a second event before the log was read')
    host.log(LOG, HEADER, rae=1)
    check(host.admin.is_quiet(0.5), 'a second event after a read with RAE 1')
    read_log(host)
    if not host.admin.is_quiet(0.5):
        host.admin.wait(second)
        read_log(host)
        second = host.arm_event()
    t.temporary_subsystem()
    host.admin.wait(second)
    equal(second.cqe.dw0, CHANGED, 'DW0')


@case(rpc=True)
def bursts_are_one_event(t):
    """5.2: a burst of changes is coalesced: one event for all, and the log has all of them."""
    host = t.discovery(kato=60000)
    read_log(host)
    events = [host.arm_event() for _ in range(3)]
    nqns = [t.temporary_subsystem() for _ in range(5)]
    host.admin.pump_until(lambda: any(event.done for event in events))
    time.sleep(0.3)
    check(host.admin.is_quiet(0.2), 'more than one event for a burst')
    equal(sum(event.done for event in events), 1, 'events')
    missing = set(nqns) - set(subsystems(read_log(host)))
    check(not missing, f'{missing} is not in the log')


@case(rpc=True)
def no_event_for_others(t):
    """5.2: a host whose view did not change is not told."""
    one = new_host()
    nqn = t.temporary_subsystem(allow_any_host=False)
    host = t.discovery(kato=60000)
    read_log(host)
    event = host.arm_event()
    t.rpc('nvmf_subsystem_add_host', nqn=nqn, host=one['hostnqn'])
    check(host.admin.is_quiet(0.5) and not event.done, 'an event for nothing')


@case(rpc=True)
def log_is_consistent_while_it_changes(t):
    """5.2: one read is atomic; reads in pieces see one snapshot, or 1/90h (Discover Restart), or
    GENCTR tells at the end that it moved."""
    host = t.discovery()
    before = raw_log(host)
    pieces = [host.log(LOG, 1024)]
    t.temporary_subsystem()
    size, offset = HEADER + 1024 * le(pieces[0], 8, 8), 1024
    while offset < size:
        command = host.log_command(LOG, 1024, offset)
        if not command.cqe.is_ok:
            want(command, '1/90 DNR?')
            return
        pieces.append(bytes(command.data))
        offset += 1024
    last = host.log(LOG, HEADER)
    check(b''.join(pieces) == before or le(last, 0, 8) != le(pieces[0], 0, 8),
          'a mixture of two logs with one GENCTR')
    check(le(last, 0, 8) > le(before, 0, 8), 'GENCTR after the change')


@case(rpc=True)
def controllers_are_listed(t):
    """5.1: the operator sees who is connected to the discovery service: its controllers, their queues
    and where it listens are listed under its NQN, while they are there."""
    def listed(host):
        return [entry for entry in t.rpc('nvmf_subsystem_get_controllers', nqn=DISCOVERY_NQN)
                if entry['hostnqn'] == host.hostnqn]
    one = new_host()
    host = t.discovery(kato=60000, **one)
    entry, = listed(host)
    equal((entry['cntlid'], entry['kato_ms'], entry['num_io_qpairs'], entry['ready']),
          (host.cntlid, 60000, 0, True), 'the controller')
    queue, = [queue for queue in t.rpc('nvmf_subsystem_get_qpairs', nqn=DISCOVERY_NQN)
              if queue['cntlid'] == host.cntlid]
    own = host.admin.connection.sock.getsockname()
    equal((queue['qid'], queue['state'], queue['peer_address']['traddr'],
           queue['peer_address']['trsvcid']), (0, 'enabled', own[0], str(own[1])), 'its queue')
    addresses = [listener['address'] for listener in
                 t.rpc('nvmf_subsystem_get_listeners', nqn=DISCOVERY_NQN)]
    check(t.listen_address() in addresses, f'{t.listen_address()} is not in {addresses}')
    subsystem, = t.rpc('nvmf_get_subsystems', nqn=DISCOVERY_NQN)
    equal(subsystem['listen_addresses'], addresses, 'addresses of the subsystem')
    host.close()
    deadline = time.monotonic() + 30
    while listed(host):
        check(time.monotonic() < deadline, 'a controller that is gone is still listed')
        time.sleep(0.02)

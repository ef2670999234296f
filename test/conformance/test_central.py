# SPDX-License-Identifier: BSD-3-Clause
"""A central discovery controller (facts 1.10, 5.1, 5.2, 5.4): what it says of itself, a log that is
another one for each host, events, registration, kick-start. Runs against the program `central`."""

import struct
import time
import uuid

from harness import case, check, equal, ok, want, want_terminated
from host import ABORT, AER, GET_FEATURES, GET_LOG, IDENTIFY, KEEP_ALIVE, SET_FEATURES
from nvmetcp import DISCOVERY_NQN, NSID_ALL, DiscoveryEntry, DiscoveryLog, build_pdu, icreq, le, text

DIM, LOG, HOSTS_LOG = 0x21, 0x70, 0x71
REGISTER, DEREGISTER, UPDATE = 0, 1, 2
HOST, DDC, CDC = 1, 2, 3
EXTENDED, ALL = 1, 4
ALL_HOSTS = 1
CHANGED, HOSTS_CHANGED = 0x0070f002, 0x0071f102
HEADER = 1024
NOT_CONNECTED = 4  # of EFLAGS
BAD_FIELD, BAD_INFO = '0/02 DNR', '1/2F DNR'


def read_log(host, lsp=0):
    """The log as libnvme reads it: the header, 4 KiB at a time, the header again."""
    header = host.log(LOG, HEADER, lsp=lsp)
    size = le(header, 20, 4) or HEADER + 1024 * le(header, 8, 8)
    data = header + b''.join(host.log(LOG, 4096, offset, rae=1, lsp=lsp)
                             for offset in range(HEADER, size, 4096))
    equal(host.log(LOG, HEADER, lsp=lsp), header, 'the header at the end')
    return data[:size]


def subsystems(log):
    return [entry.subnqn for entry in log.entries if entry.subtype == 2]


def seen(host, lsp=0):
    return subsystems(DiscoveryLog(read_log(host, lsp)))


def fresh(name='target'):
    return f'nqn.2026-11.io.xsan:{name}-{uuid.uuid4().hex[:12]}0'


def tell(t, line):
    answer = t.target.central.tell(line)
    check(answer == 'ok', f'{line}: {answer}')


def entry_bytes(nqn, *, trtype=3, adrfam=1, subtype=2, treq=0, portid=1, cntlid=0xffff, asqsz=32,
                trsvcid='4420', traddr='192.0.2.9', sectype=0):
    head = struct.pack('<BBBBHHHH', trtype, adrfam, subtype, treq, portid, cntlid, asqsz, 0)
    return (head.ljust(32, b'\0') + trsvcid.encode().ljust(32, b' ') + bytes(192) +
            nqn.encode().ljust(256, b'\0') + traddr.encode().ljust(256, b'\0') +
            bytes([sectype]).ljust(256, b'\0'))


def extend(entry, *attributes):
    tail = b''.join(struct.pack('<HH', kind, len(value)) + value for kind, value in attributes)
    return entry + struct.pack('<IHH', 1032 + len(tail), len(attributes), 0) + tail


def dim_data(eid, *entries, etype=DDC, entfmt=1, portlcl=0, ektype=0x5f, ename='', ever='', tdl=None,
             nument=None):
    body = b''.join(entries)
    return (struct.pack('<I4xQHHBxH', 1024 + len(body) if tdl is None else tdl,
                        len(entries) if nument is None else nument, entfmt, etype, portlcl,
                        ektype) + eid.encode().ljust(256, b'\0') +
            ename.encode().ljust(256, b' ') + ever.encode().ljust(64, b' ')).ljust(1024, b'\0') + body


def dim(host, task, data):
    return host.admin.run(DIM, cdw10=task, data_out=data)


def host_data(host, **options):
    """What nvme-stas registers: one extended entry, the address left to the controller."""
    entry = entry_bytes(host.hostnqn, subtype=0, portid=0, cntlid=0, asqsz=0, traddr='')
    entry = entry[:32] + bytes(32) + entry[64:]
    return dim_data(host.hostnqn, extend(entry, (1, host.hostid), (2, b'rack 3\0\0')), etype=HOST,
                    entfmt=2, ename='db-3', ever='Debian 12', **options)


# ---- what it is ----

@case(central=True)
def identify(t):
    """5.1: DCTYPE 2, one unique name of its own that is accepted beside the well-known one, and
    log page 00h tells that extended entries and all subsystems may be asked for."""
    for nqn in (DISCOVERY_NQN, t.target.nqn):
        host = t.host(nqn=nqn)
        ids = host.identify_controller()
        equal((ids[111], ids[1806]), (2, 2), 'CNTRLTYPE, DCTYPE')
        equal(text(ids, 768, 256), t.target.nqn, 'SUBNQN')
        check(le(ids, 92, 4) >> 31, 'OAES without the discovery log event')
        check(ids[261] & 4, 'LPA without offsets')
        equal(le(host.log(0, 1024), 4 * LOG, 4), 1 | 1 << 16 | 1 << 18, 'page 70h in page 00h')
        check(le(host.log(5, 4096), 4 * DIM, 4) & 1, 'DIM in the effects log')


@case(central=True)
def only_the_commands_it_has(t):
    """5.1: commands that it does not have are 0/01h with DNR; DIM without data is 0/02h."""
    host = t.discovery()
    has = {GET_LOG, IDENTIFY, ABORT, SET_FEATURES, GET_FEATURES, AER, KEEP_ALIVE, DIM, 0x7f}
    for opcode in range(256):
        if opcode not in has:
            want(host.admin.run(opcode, nsid=NSID_ALL if opcode & 1 else 0), '0/01 DNR')
    want(host.admin.run(DIM), BAD_FIELD)
    host.keep_alive()


# ---- the log ----

@case(central=True)
def log_entries(t):
    """5.2: the service itself once, and every target once, with the fields that hosts need."""
    log = DiscoveryLog(read_log(t.discovery()))
    current, = [entry for entry in log.entries if entry.subtype == 3]
    equal((current.subnqn, current.traddr, current.trsvcid),
          (t.target.nqn, t.target.address[0], str(t.target.address[1])), 'the service itself')
    nqns = subsystems(log)
    equal(len(nqns), len(set(nqns)), 'entries of different subsystems')
    for number in range(200):
        check(f'nqn.2026-11.io.xsan:target-{number:05}' in nqns, f'no target {number}')
    for entry in log.entries:
        equal((entry.trtype, entry.adrfam, entry.cntlid), (3, 1, 0xffff), 'TRTYPE, ADRFAM, CNTLID')
        check(entry.asqsz >= 32, f'ASQSZ {entry.asqsz}')
        check(not any(entry.data[12:32]) and not any(entry.data[64:256]), 'reserved bytes')
        check(entry.traddr not in ('', '0.0.0.0'), 'TRADDR')


@case(central=True)
def read_in_any_chunks(t):
    """5.2: all ways to cut the log give the same bytes, basic and extended, and zeros behind it."""
    host = t.discovery()
    for lsp in (0, EXTENDED, EXTENDED | ALL):
        whole = read_log(host, lsp)
        for chunk in (1024, 1000, 2048, 4096, 65536):
            got = b''.join(host.log(LOG, chunk, offset, rae=1, lsp=lsp)
                           for offset in range(0, len(whole), chunk))
            equal(got[:len(whole)], whole, f'in chunks of {chunk} with LSP {lsp}')
            check(not any(got[len(whole):]), f'tail in chunks of {chunk}')
        want(host.log_command(LOG, 4, len(whole) + 4 & ~3, lsp=lsp), 'ok', BAD_FIELD)
        want(host.log_command(LOG, 4, len(whole) + 8, lsp=lsp), BAD_FIELD)


@case(central=True)
def extended_entries(t):
    """5.2: asked for, entries have a length and attributes behind them; DLPF and TDLPL say so, and
    their first 1024 bytes are the basic ones."""
    host = t.discovery()
    basic, data = DiscoveryLog(read_log(host)), read_log(host, EXTENDED)
    equal(data[18], EXTENDED, 'DLPF')
    equal(le(data, 20, 4), len(data), 'TDLPL')
    at = HEADER
    for expected in basic.entries:
        equal(data[at:at + 1024], expected.data, f'entry {expected.subnqn}')
        tel, count = struct.unpack_from('<IH', data, at + 1024)
        check(tel >= 1032 and tel % 4 == 0 and at + tel <= len(data), f'TEL {tel}')
        offset = at + 1032
        for _ in range(count):
            kind, length = struct.unpack_from('<HH', data, offset)
            check(kind in (2, 3) and 4 <= length <= 256 and length % 4 == 0, f'{kind}: {length}')
            offset += 4 + length
        check(offset <= at + tel, 'attributes beyond TEL')
        at += tel
    equal(at, len(data), 'the end of the last entry')


@case(central=True)
def each_host_sees_its_own(t):
    """5.2: what a host may not see is not in its log; GENCTR moves for those who see the change;
    a discovery controller that asks for all (LSP b2) gets all, a host does not, and is told so."""
    half = t.discovery(hostnqn=f'{fresh("host")}even')
    full = t.discovery()
    before = DiscoveryLog(read_log(half)), DiscoveryLog(read_log(full))
    check(all(int(nqn[-1], 16) % 2 == 0 for nqn in subsystems(before[0])), 'an odd target')
    check(len(before[0].entries) < len(before[1].entries), 'nothing is hidden')
    odd = fresh()[:-1] + '1'
    tell(t, f'register {odd}')
    after = DiscoveryLog(read_log(half)), DiscoveryLog(read_log(full))
    equal(after[0].genctr, before[0].genctr, 'GENCTR of the host that does not see it')
    equal(after[1].genctr, before[1].genctr + 1, 'GENCTR of the host that sees it')
    equal(seen(half, ALL), seen(half), 'what a host sees that asks for all')
    equal(half.log(LOG, HEADER, lsp=ALL)[18], 0, 'DLPF of a host that asks for all')
    peer = t.discovery(hostnqn=f'{fresh("host")}even', cattr=0x10)
    check(odd in seen(peer, ALL), 'not in the log of all')
    equal(peer.log(LOG, HEADER, lsp=ALL)[18], ALL, 'DLPF of all')
    check(odd not in seen(peer), 'in the log of a discovery controller that does not ask')
    tell(t, f'unregister {odd}')


@case(central=True)
def counter_is_stable(t):
    """Pitfall 21: neither reading nor the state of a target moves GENCTR, but that it is down, which
    its entry tells (5.2, NCC)."""
    nqn = fresh()
    tell(t, f'register {nqn}')
    host = t.discovery()
    first = DiscoveryLog(read_log(host)).genctr
    # Busy, offline, failed, maintenance, available.
    for state, moved, flags in ((2, 0, 0), (5, 1, NOT_CONNECTED), (4, 1, NOT_CONNECTED), (3, 2, 0), (1, 2, 0)):
        tell(t, f'state {nqn} {state}')
        log = DiscoveryLog(read_log(host))
        equal(log.genctr, first + moved, f'GENCTR in state {state}')
        equal([e.eflags for e in log.entries if e.subnqn == nqn], [flags], f'EFLAGS in state {state}')
    tell(t, f'unregister {nqn}')


@case(central=True)
def log_stays_while_it_is_read(t):
    """5.2: a reader that began goes on in the log that it began with, though it shrinks."""
    nqns = [fresh() for _ in range(5)]
    for nqn in nqns:
        tell(t, f'register {nqn}')
    host = t.discovery()
    header = host.log(LOG, HEADER)
    for nqn in nqns:
        tell(t, f'unregister {nqn}')
    log = DiscoveryLog(header + host.log(LOG, 1024 * le(header, 8, 8), HEADER, rae=1))
    check(set(nqns) <= set(subsystems(log)), 'targets are missing in the old log')
    check(not set(nqns) & set(seen(host)), 'targets are left in the new log')


@case(central=True)
def changes_are_told(t):
    """5.2, 2.10: a persistent connection gets F0h once for a burst, when what it sees changes."""
    half, full = (t.discovery(hostnqn=f'{fresh("host")}even', kato=60000),
                  t.discovery(kato=60000))
    events = []
    for host in (half, full):
        read_log(host)
        events.append(host.arm_event())
    odd = [fresh()[:-1] + '1' for _ in range(3)]
    for nqn in odd:
        tell(t, f'register {nqn}')
    full.admin.wait(events[1])
    equal(want(events[1], 'ok').cqe.dw0, CHANGED, 'DW0')
    check(half.admin.is_quiet(0.5), 'an event for a host that sees no change')
    read_log(full)
    second = full.arm_event()
    check(full.admin.is_quiet(0.5), 'a second event for one burst')
    for nqn in odd:
        tell(t, f'unregister {nqn}')
    full.admin.wait(second)
    check(not set(odd) & set(seen(full)), 'what was unregistered is there')


# ---- registration ----

@case(central=True)
def registration(t):
    """5.4: what is registered is in the log of all, replaced by its key, until it is deregistered;
    each answer comes when it is so."""
    host, other = t.discovery(cattr=0x10), t.discovery()
    eid, nqn = fresh('ddc'), fresh()
    data = dim_data(eid, entry_bytes(nqn, portid=7), ename='shelf-3')
    want(dim(host, REGISTER, data), 'ok')
    log = DiscoveryLog(read_log(other))
    entry, = [entry for entry in log.entries if entry.subnqn == nqn]
    equal((entry.traddr, entry.trsvcid, entry.portid, entry.eflags), ('192.0.2.9', '4420', 7, 0),
          'the entry')
    want(dim(host, REGISTER, data), 'ok')
    equal(DiscoveryLog(read_log(other)).genctr, log.genctr, 'GENCTR after the same again')
    tell(t, f'state {nqn} 5')
    entry, = [entry for entry in DiscoveryLog(read_log(other)).entries if entry.subnqn == nqn]
    equal(entry.eflags, 4, 'EFLAGS of one that is lost')
    update = dim_data(eid, entry_bytes(nqn, portid=7),
                      entry_bytes(nqn, portid=7, traddr='192.0.2.10'))
    want(dim(host, UPDATE, update), 'ok')
    entry, = [entry for entry in DiscoveryLog(read_log(other)).entries if entry.subnqn == nqn]
    equal((entry.traddr, entry.eflags), ('192.0.2.10', 0), 'the entry after the update')
    want(dim(host, UPDATE, update), BAD_INFO)
    want(dim(host, DEREGISTER, data), BAD_INFO)
    data = dim_data(eid, entry_bytes(nqn, portid=7, traddr='192.0.2.10'))
    want(dim(host, DEREGISTER, data), 'ok')
    check(nqn not in seen(other), 'it is still in the log')
    want(dim(host, DEREGISTER, data), BAD_INFO)


@case(central=True)
def registration_stays(t):
    """5.4: registrations belong to the entity, not to its connection; another one cannot take them."""
    identity = {'hostid': uuid.uuid4().bytes, 'hostnqn': fresh('host')}
    host, stranger = t.discovery(**identity), t.discovery()
    eid, nqn = fresh('ddc'), fresh()
    data = dim_data(eid, entry_bytes(nqn))
    want(dim(host, REGISTER, data), 'ok')
    host.close()
    check(nqn in seen(stranger), 'gone with its connection')
    for task in (REGISTER, DEREGISTER):
        want(dim(stranger, task, data), BAD_INFO)
        want(dim(stranger, task, dim_data(fresh('ddc'), entry_bytes(nqn))), BAD_INFO)
    want(dim(t.discovery(**identity), DEREGISTER, data), 'ok')


@case(central=True)
def many_entries(t):
    """5.4: many entries in one request, in an R2T and in its capsule, basic and extended."""
    host = t.discovery()
    eid = fresh('ddc')
    nqns = [fresh() for _ in range(100)]
    want(dim(host, REGISTER, dim_data(eid, *(entry_bytes(nqn) for nqn in nqns))), 'ok')
    check(set(nqns) <= set(seen(host)), 'some are missing')
    want(dim(host, DEREGISTER, dim_data(eid, *(entry_bytes(nqn) for nqn in nqns))), 'ok')
    check(not set(nqns) & set(seen(host)), 'some are left')
    few = [extend(entry_bytes(nqn), (2, b'shelf 12'), (9, bytes(8))) for nqn in nqns[:5]]
    want(dim(host, REGISTER, dim_data(eid, *few, entfmt=2)), 'ok')
    want(dim(host, DEREGISTER, dim_data(eid, *few, entfmt=2)), 'ok')


@case(central=True)
def host_registration(t):
    """5.4: a host registers itself as nvme-stas does; without its ID, with fields that are a
    subsystem's, or for another one it is refused."""
    host = t.discovery()
    data = host_data(host)
    for task in (REGISTER, REGISTER, DEREGISTER):
        want(dim(host, task, data), 'ok')
    entry = data[1024:2048]
    for wrong in (extend(entry), extend(entry[:2] + b'\2' + entry[3:], (1, host.hostid)),
                  extend(entry[:32] + b'4420' + entry[36:], (1, host.hostid))):
        want(dim(host, REGISTER, dim_data(host.hostnqn, wrong, etype=HOST, entfmt=2)), BAD_INFO)
    want(dim(host, REGISTER, host_data(t.discovery())), BAD_INFO)
    want(dim(host, REGISTER, host_data(host, ektype=0x3f)), BAD_FIELD)


@case(central=True)
def malformed_registrations(t):
    """5.4: lengths and counts that do not fit are 0/02h, content that cannot be is 1/2Fh; nothing
    of such a request is done, and the connection goes on."""
    host = t.discovery()
    nqn = fresh()
    one, eid = entry_bytes(nqn), fresh('ddc')
    before = read_log(host)
    for options in ({'tdl': 2052}, {'tdl': 1020}, {'tdl': 0}, {'tdl': 0xffffffff}, {'nument': 0},
                    {'nument': 2}, {'nument': (1 << 64) - 1}, {'nument': 1 << 54}, {'entfmt': 0},
                    {'entfmt': 3}, {'etype': 0}, {'etype': 4}, {'ektype': 0}, {'portlcl': 2},
                    {'portlcl': 1, 'etype': CDC}, {'entfmt': 2}):
        want(dim(host, REGISTER, dim_data(eid, one, **options)), BAD_FIELD)
    for task in range(3, 16):
        want(dim(host, task, dim_data(eid, one)), BAD_FIELD)
    want(dim(host, UPDATE, dim_data(eid, one)), BAD_FIELD)
    extended = extend(one, (2, b'label 12'))
    for offset, value in ((0, 1028), (0, 1030), (0, 4000), (0, 0), (4, 2), (4, 0xffff), (10, 6),
                          (10, 0), (10, 12), (10, 0xfffc)):
        size = '<I' if offset == 0 else '<H'
        wrong = bytearray(extended)
        struct.pack_into(size, wrong, 1024 + offset, value)
        want(dim(host, REGISTER, dim_data(eid, bytes(wrong), entfmt=2)), BAD_FIELD)
    good = extend(one, (2, b'label 12'))
    for wrong in (entry_bytes(''), entry_bytes('has space'), entry_bytes('n' * 256),
                  entry_bytes('no-nqn'), entry_bytes(nqn, traddr='0.0.0.0'),
                  entry_bytes(nqn, traddr='::', adrfam=2), entry_bytes(nqn, traddr='host'),
                  entry_bytes(nqn, adrfam=2), entry_bytes(nqn, trtype=0), entry_bytes(nqn, trtype=254),
                  entry_bytes(nqn, trsvcid=''), entry_bytes(nqn, trsvcid='0'),
                  entry_bytes(nqn, trsvcid='65536'), entry_bytes(nqn, trsvcid='44 20')):
        want(dim(host, REGISTER, dim_data(eid, wrong)), BAD_INFO)
        want(dim(host, REGISTER, dim_data(eid, good[:1024], wrong)), BAD_INFO)
    want(dim(host, REGISTER, dim_data('', one)), BAD_INFO)
    want(dim(host, REGISTER, dim_data('e' * 256, one)), BAD_INFO)
    equal(read_log(host), before, 'the log after refused requests')


# ---- the log of hosts ----

def hosts_log(host, lsp=0):
    """Page 71h: its GENCTR and its entries, each {hostnqn: (address, EFLAGS, host ID)}."""
    header = host.log(HOSTS_LOG, HEADER, lsp=lsp)
    size = le(header, 20, 4)
    data = header + b''.join(host.log(HOSTS_LOG, 4096, offset, lsp=lsp)
                             for offset in range(HEADER, size, 4096))
    found, at = {}, HEADER
    for _ in range(le(header, 8, 8)):
        tel, count = struct.unpack_from('<IH', data, at + 1024)
        equal((tel, count), (1052, 1), 'TEL, NUMEXAT')
        equal(struct.unpack_from('<HH', data, at + 1032), (1, 16), 'the attribute')
        equal((data[at], data[at + 1]), (3, 1), 'TRTYPE, ADRFAM')
        found[text(data, at + 256, 256)] = (text(data, at + 512, 256), le(data, at + 10, 2),
                                            data[at + 1036:at + 1052])
        at += tel
    equal(at, size, 'THDLPL')
    equal(header[18], lsp, 'HDLPF')
    return le(header, 0, 8), found


@case(central=True)
def hosts_are_told(t):
    """5.3: hosts that have registered are in page 71h for discovery controllers, for those that
    ask for all, and else if they may use what that controller has registered; hosts see none."""
    ddc, half, full = t.discovery(cattr=0x10), t.discovery(hostnqn=f'{fresh("host")}even'), \
        t.discovery()
    equal(le(ddc.log(0, 1024), 4 * HOSTS_LOG, 4), 1 | 1 << 16, 'page 71h in page 00h')
    check(le(ddc.identify_controller(), 92, 4) >> 30 & 1, 'OAES without the event of hosts')
    for host in (half, full):
        want(dim(host, REGISTER, host_data(host)), 'ok')
    genctr, found = hosts_log(ddc, ALL_HOSTS)
    address = ddc.admin.connection.sock.getsockname()[0]
    for host in (half, full):
        equal(found.get(host.hostnqn), (address, 0, host.hostid), 'the entry')
    equal(hosts_log(ddc)[1], {}, 'hosts of one that has registered nothing')
    header = full.log(HOSTS_LOG, HEADER, lsp=ALL_HOSTS)
    equal((le(header, 8, 8), header[18]), (0, 0), 'what a host sees')
    eid, odd, even = fresh('ddc'), fresh()[:-1] + '1', fresh()
    want(dim(ddc, REGISTER, dim_data(eid, entry_bytes(odd))), 'ok')
    names = set(hosts_log(ddc)[1])
    check(full.hostnqn in names and half.hostnqn not in names, f'{names} with an odd target')
    want(dim(ddc, REGISTER, dim_data(eid, entry_bytes(even))), 'ok')
    check({full.hostnqn, half.hostnqn} <= set(hosts_log(ddc)[1]), 'with an even target')
    equal(hosts_log(ddc, ALL_HOSTS)[0], genctr, 'GENCTR of all, which has not changed')
    half.close()
    for _ in range(300):
        changed, found = hosts_log(ddc, ALL_HOSTS)
        if found[half.hostnqn][1] == 4:
            break
        time.sleep(0.1)
    equal(found[half.hostnqn][1], 4, 'EFLAGS of one that has left')
    check(changed > genctr, 'GENCTR has not moved')
    want(dim(full, DEREGISTER, host_data(full)), 'ok')
    check(full.hostnqn not in hosts_log(ddc, ALL_HOSTS)[1], 'it is still there')
    want(dim(ddc, DEREGISTER, dim_data(eid, entry_bytes(odd), entry_bytes(even))), 'ok')


@case(central=True)
def events_of_hosts(t):
    """5.3: who has read page 71h is told F1h when that changes, once until it is read again."""
    ddc, other, host = (t.discovery(cattr=0x10, kato=60000), t.discovery(cattr=0x10, kato=60000),
                        t.discovery())
    for peer in (ddc, other):
        read_log(peer)
    hosts_log(ddc, ALL_HOSTS)
    event, none = ddc.arm_event(), other.arm_event()
    want(dim(host, REGISTER, host_data(host)), 'ok')
    ddc.admin.wait(event)
    equal(want(event, 'ok').cqe.dw0, HOSTS_CHANGED, 'DW0')
    second = ddc.arm_event()
    want(dim(host, REGISTER, host_data(host)), 'ok')
    want(dim(host, DEREGISTER, host_data(host)), 'ok')
    check(ddc.admin.is_quiet(0.5), 'a second event before the log was read')
    check(other.admin.is_quiet(0.1), 'an event for one that has not read it')
    hosts_log(ddc, ALL_HOSTS)
    want(dim(host, REGISTER, host_data(host)), 'ok')
    ddc.admin.wait(second)
    equal(second.cqe.dw0, HOSTS_CHANGED, 'DW0')
    check(not none.done, 'an event for one that has not read it')
    equal(hosts_log(ddc, ALL_HOSTS)[1][host.hostnqn][1], 0, 'EFLAGS of one that is connected')
    third = ddc.arm_event()
    host.close()
    ddc.admin.wait(third)
    equal(third.cqe.dw0, HOSTS_CHANGED, 'DW0 when it leaves')
    equal(hosts_log(ddc, ALL_HOSTS)[1][host.hostnqn][1], 4, 'EFLAGS of one that has left')
    fourth = ddc.arm_event()
    host = t.discovery(hostnqn=host.hostnqn, hostid=host.hostid)
    ddc.admin.wait(fourth)
    equal(hosts_log(ddc, ALL_HOSTS)[1][host.hostnqn][1], 0, 'EFLAGS of one that is back')
    want(dim(host, DEREGISTER, host_data(host)), 'ok')


# ---- kick-start ----

KDCONN, KDREQ, KDRESP = 0x80, 0x0a, 0x0b


def kick(t):
    """A connection that says that it is one, up to ICResp."""
    connection = t.connect()
    connection.send(icreq(raw_flags=KDCONN))
    equal(connection.recv().type, 1, 'type of ICResp')
    return connection


def record(trtype=3, adrfam=1, trsvcid='8009', traddr='192.0.2.9'):
    return (bytes([trtype, adrfam]) + trsvcid.encode().ljust(32, b' ') +
            traddr.encode().ljust(256, b'\0'))


def kdreq(*records, numdie=1, numkr=None, **wrong):
    numkr = len(records) if numkr is None else numkr
    return build_pdu(KDREQ, struct.pack('<HH', numkr, numdie), b''.join(records), **wrong)


def answer(connection):
    data = b''
    while len(data) < 274:
        piece = connection.sock.recv(274 - len(data))
        check(piece, f'closed after {len(data)} bytes of KDResp')
        data += piece
    equal(struct.unpack_from('<BBBBI', data), (KDRESP, 0, 10, 0, 274), 'the header of KDResp')
    return data


@case(central=True)
def kick_start(t):
    """1.10: KDReq is answered by KDResp with the name of the service; refused ones say why."""
    before = int(t.target.central.tell('kicks'))
    for request, status, reason in (
            (kdreq(record()), 0, 0), (kdreq(record(), record(traddr='192.0.2.10')), 0, 0),
            (kdreq(*[record()] * 64), 0, 0), (kdreq(record(), raw_flags=0x40), 0, 0),
            (kdreq(record(trtype=1)), 1, 2), (kdreq(record(adrfam=2)), 1, 3),
            (kdreq(record(), numdie=1001), 1, 6), (kdreq(record(traddr='')), 1, 1),
            (kdreq(record(traddr='a b')), 1, 1)):
        connection = kick(t)
        connection.send(request)
        data = answer(connection)
        equal((data[8], data[9]), (status, reason), 'KSSTAT, FAILRSN')
        equal(text(data, 10, 256), t.target.nqn, 'CDCNQN')
    equal(int(t.target.central.tell('kicks')), before + 4, 'kick-starts that were taken')


@case(central=True)
def kick_start_in_pieces(t):
    """1.1: a KDReq that comes byte by byte is the same."""
    connection = kick(t)
    connection.send_bytewise(kdreq(record()))
    equal(answer(connection)[8], 0, 'KSSTAT')


@case(central=True)
def wrong_kick_starts(t):
    """1.2, 1.10: wrong lengths, counts and offsets end the connection with the place of the first;
    what is no KDReq is out of order; without KDCONN a KDReq is unknown."""
    for pdu, error in (
            (kdreq(record(), hlen=16), '01/2'), (kdreq(record(), pdo=0), '01/3'),
            (kdreq(record(), pdo=16), '01/3'), (kdreq(record(), plen=300), '01/4'),
            (kdreq(record(), plen=12), '01/4'), (kdreq(record(), plen=0), '01/4'),
            (kdreq(record(), plen=0xffffffff), '01/4'), (kdreq(*[record()] * 65), '01/4'),
            (kdreq(record(), numkr=0), '01/8'), (kdreq(record(), numkr=2), '01/8'),
            (kdreq(record(), numkr=0xffff), '01/8'), (icreq(), '02/0')):
        connection = kick(t)
        connection.send(pdu)
        want_terminated(connection, pdu, error)
    connection = t.connection()
    connection.send(kdreq(record()))
    want_terminated(connection, kdreq(record()), '01/0')


@case(central=True, waits=True)
def silent_kick_starts_end(t):
    """1.1: a connection that announces a kick-start and says no more is closed."""
    start = time.monotonic()
    connection = kick(t)
    connection.wait_closed(t.target.connect_timeout_s + 15)
    check(time.monotonic() - start >= t.target.connect_timeout_s - 0.5, 'closed early')


@case(central=True)
def hosts_are_served_meanwhile(t):
    """5.2: hosts that come and go while targets do, each reading a whole log."""
    nqns = [fresh() for _ in range(20)]
    for nqn in nqns:
        tell(t, f'register {nqn}')
        check(nqn in seen(t.discovery()), 'not in the log of a new host')
    for nqn in nqns:
        tell(t, f'unregister {nqn}')
    ok(t.discovery().get_feature(0x0b))
    check(not set(nqns) & set(seen(t.discovery())), 'left in the log')
    check(DiscoveryEntry(read_log(t.discovery())[1024:2048]).subtype == 3, 'the first entry')

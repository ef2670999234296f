# SPDX-License-Identifier: BSD-3-Clause
"""Identify in every form (facts 2.5, 2.6, 2.7)."""

import struct
import uuid

from harness import Skip, case, check, equal, ok, want
from host import IDENTIFY, VS
from nvmetcp import NSID_ALL, SGL_TRANSPORT, Failure, le, sgl, text


@case(every=True)
def controller(t):
    """2.6, 2.5: the fields without which Linux or SPDK refuse an I/O controller, and our fixed
    ones."""
    host = t.host()
    ids = host.identify_controller()
    cap = host.property_get(0, 8)
    for what, offset, size, expected in (
            ('CNTLID', 78, 2, host.cntlid), ('CNTRLTYPE', 111, 1, 1), ('SQES', 512, 1, 0x66),
            ('CQES', 513, 1, 0x44), ('MAXCMD', 514, 2, (cap & 0xffff) + 1), ('IORCSZ', 1796, 4, 1),
            ('ICDOFF', 1800, 2, 0), ('FCATT', 1802, 1, 0), ('MSDBD', 1803, 1, 1),
            ('DCTYPE', 1806, 1, 0), ('SGLS', 536, 4, 0x00300001), ('FRMW', 260, 1, 3),
            ('NPSS', 263, 1, 0), ('RTD3R', 84, 4, 0), ('RTD3E', 88, 4, 0), ('FNA', 524, 1, 0)):
        equal(le(ids, offset, size), expected, what)
    check(le(ids, 320, 2) != 0, 'KAS is 0')
    check(le(ids, 386, 2) != 0, 'CQT is 0: not told')
    check(ids[76] & 2, f'CMIC {ids[76]:#x} without several controllers')
    check(ids[261] & 6 == 6, f'LPA {ids[261]:#x} without effects log or extended data')
    check(le(ids, 92, 4) & 0x100, f'OAES {le(ids, 92, 4):#x} without namespace attributes')
    check(le(ids, 96, 4) & 1, f'CTRATT {le(ids, 96, 4):#x} without 128-bit host ID')
    check(le(ids, 1792, 4) >= 4, f'IOCCSZ {le(ids, 1792, 4)}')
    check(ids[259] >= 3, f'AERL {ids[259]}')
    check(ids[77] != 0, 'MDTS without a limit')
    check(0 < le(ids, 516, 4) < NSID_ALL, f'NN {le(ids, 516, 4)}')


@case(every=True)
def controller_limits_follow_the_configuration(t):
    """2.6: MDTS, IOCCSZ and NN say what the target was told."""
    if not t.target.config:
        raise Skip('the configuration is not known')
    host = t.host()
    ids = host.identify_controller()
    equal(host.max_transfer(), t.transport_size('max_io_size'), 'MDTS')
    equal(host.capsule_max(), t.transport_size('in_capsule_data_size'), 'IOCCSZ')
    equal(text(ids, 4, 20), 'XSAN0001', 'SN')
    check(le(ids, 516, 4) >= 2, 'NN below the highest namespace')


@case
def controller_text(t):
    """2.6: SN, MN and FR are ASCII with spaces behind, SUBNQN is the exact name, NUL padded."""
    ids = t.host().identify_controller()
    for what, offset, size in (('SN', 4, 20), ('MN', 24, 40), ('FR', 64, 8)):
        field = ids[offset:offset + size]
        check(all(0x20 <= byte <= 0x7e for byte in field), f'{what} {field!r}')
        check(field.strip() and not field.startswith(b' '), f'{what} {field!r}')
    equal(ids[768:1024], t.target.nqn.encode().ljust(256, b'\0'), 'SUBNQN')


@case
def controller_reserved_bytes(t):
    """Conventions: reserved bytes are 0; nobody's memory shows in them."""
    ids = t.host().identify_controller()
    for start, end in ((135, 240), (362, 368), (396, 512), (600, 768), (1024, 1792), (1807, 2048),
                       (2080, 4096)):
        check(not any(ids[start:end]), f'bytes {start} to {end}: {ids[start:end].hex()}')


@case
def controllers_of_a_subsystem_agree(t):
    """2.5, 2.6: two controllers differ in CNTLID only."""
    first, second = t.host(), t.host()
    a, b = bytearray(first.identify_controller()), bytearray(second.identify_controller())
    check(a[78:80] != b[78:80], 'one CNTLID for two controllers')
    a[78:80] = b[78:80] = bytes(2)
    equal(bytes(a), bytes(b), 'Identify Controller')


@case
def optional_commands_are_consistent(t):
    """2.6, 2.8: a bit in ONCS and the effects log tell the same."""
    host = t.host()
    oncs = le(host.identify_controller(), 520, 2)
    effects = host.log(5, 4096)
    for bit, opcode, name in ((0, 5, 'Compare'), (1, 4, 'Write Uncorrectable'), (2, 9, 'DSM'),
                              (3, 8, 'Write Zeroes'), (5, 0x0d, 'reservations'),
                              (7, 0x0c, 'Verify'), (8, 0x19, 'Copy')):
        equal(effects[1024 + 4 * opcode] & 1, oncs >> bit & 1, f'{name} in the effects log')


@case(every=True)
def namespaces(t):
    """2.7: the structure of each active namespace is sane and names it."""
    host = t.host()
    for ns in t.namespaces(host):
        data = ns.data
        what = f'namespace {ns.nsid}'
        nsze, ncap, nuse = struct.unpack_from('<QQQ', data)
        check(nsze > 0 and 0 < ncap <= nsze and nuse <= ncap, f'{what}: {nsze} {ncap} {nuse}')
        check(ns.block_size in (512, 4096), f'{what}: blocks of {ns.block_size}')
        check(data[26] & 0xf <= data[25], f'{what}: FLBAS {data[26]} of {data[25]}')
        equal(data[26] >> 4, 0, f'{what}: FLBAS metadata bits')
        equal(data[27:30], bytes(3), f'{what}: MC, DPC, DPS')
        equal(data[30] & 1, 1, f'{what}: NMIC shared')
        equal(data[99], 0, f'{what}: NSATTR')
        equal(le(data, 128 + 4 * (data[26] & 0xf), 2), 0, f'{what}: metadata size')
        check(any(data[104:128]), f'{what}: neither NGUID nor EUI64')
        check(data[33] & 7 <= 2, f'{what}: DLFEAT {data[33]:#x}')
        nvmcap = le(data, 48, 16)
        check(nvmcap in (0, nsze * ns.block_size), f'{what}: NVMCAP {nvmcap}')
        noiob = le(data, 46, 2)
        check(noiob & (noiob - 1) == 0, f'{what}: NOIOB {noiob}')
        check(not any(data[384:]), f'{what}: vendor specific bytes set')


@case
def namespace_identities(t):
    """2.5, 2.7: identities differ between namespaces, and are the same through every controller."""
    first, second = t.host(), t.host()
    spaces = t.namespaces(first)
    nguids = {ns.data[104:120] for ns in spaces}
    equal(len(nguids), len(spaces), 'different NGUIDs')
    for ns in spaces:
        equal(second.identify(0, ns.nsid), ns.data, f'namespace {ns.nsid} elsewhere')
        equal(second.identify(3, ns.nsid), first.identify(3, ns.nsid), 'its descriptors')


@case
def namespace_identifiers_refused(t):
    """2.7: NSID 0, above NN or FFFFFFFFh is 0/0Bh; a valid one that is inactive reads as zeros."""
    host = t.host()
    highest = le(host.identify_controller(), 516, 4)
    for nsid in (0, highest + 1, NSID_ALL - 1, NSID_ALL):
        want(host.identify_command(0, nsid), '0/0B DNR')
    used = host.active_nsids()
    for nsid in {1, 2, highest // 2, highest - 1, highest} - {0, *used}:
        equal(host.identify(0, nsid), bytes(4096), f'inactive namespace {nsid}')


@case
def active_namespace_list(t):
    """2.7: CNS 02h has the active NSIDs above the given one, ascending, zero terminated."""
    host = t.host()
    everything = host.active_nsids()
    equal(everything, sorted(set(everything)), 'ascending and unique')
    data = host.identify(2)
    check(not any(data[4 * len(everything):]), 'bytes behind the list')
    for start in [*everything, 1, everything[-1] + 1, 0xfffffffd]:
        equal(host.active_nsids(start), [nsid for nsid in everything if nsid > start],
              f'list from {start}')
    for start in (0xfffffffe, 0xffffffff):
        want(host.identify_command(2, start), '0/0B DNR')


@case
def descriptors(t):
    """2.7: CNS 03h: known types with their lengths, end with type 0, the same IDs as CNS 00h, a
    version-independent UUID or NGUID at least; an inactive namespace is 0/02h or 0/0Bh."""
    host = t.host()
    iocs = host.property_get(0, 8) >> 43 & 1
    for ns in t.namespaces(host):
        found, data, place = {}, host.identify(3, ns.nsid), 0
        while place + 4 <= len(data) and data[place]:
            kind, length = data[place], data[place + 1]
            equal(length, {1: 8, 2: 16, 3: 16, 4: 1}.get(kind), f'length of descriptor {kind}')
            equal(data[place + 2:place + 4], bytes(2), 'reserved bytes of a descriptor')
            check(kind not in found, f'descriptor {kind} twice')
            found[kind] = data[place + 4:place + 4 + length]
            place += 4 + length
        check(not any(data[place:]), 'bytes behind the descriptors')
        check(found, 'no descriptor at all')
        equal(found.get(1, bytes(8)), ns.data[120:128], 'EUI64')
        equal(found.get(2, bytes(16)), ns.data[104:120], 'NGUID')
        if 3 in found:
            check(any(found[3]), 'UUID 0')
        if iocs:
            equal(found.get(4), b'\0', 'command set')
    highest = le(host.identify_controller(), 516, 4)
    for nsid in (0, highest + 1, NSID_ALL):
        want(host.identify_command(3, nsid), '0/0B DNR', '0/02 DNR')


def optional(host, cns, nsid=0, csi=0):
    """Data of a form that a controller of this version may leave out with 0/02h, or None."""
    command = host.identify_command(cns, nsid, csi)
    if host.property_get(VS) < 0x20000:
        want(command, 'ok', '0/02 DNR')
    else:
        ok(command)
    return bytes(command.data) if command.cqe.is_ok else None


@case
def command_set_forms(t):
    """2.7: CNS 05h, 06h, 07h with CSI 0 answer; sizes in 06h are powers of two. A controller below
    2.0 may refuse them with 0/02h. CSI that does not exist is 0/02h."""
    host = t.host()
    nsid = t.first_nsid
    data = optional(host, 5, nsid)
    if data:
        check(not any(data[268:]), 'reserved bytes of CNS 05h')
    data = optional(host, 6)
    if data:
        check(not any(data[16:]), 'reserved bytes of CNS 06h')
    data = optional(host, 7)
    if data:
        equal(data, host.identify(2), 'CNS 07h and CNS 02h')
    for cns in (5, 6, 7):
        for csi in (2, 3, 0x2f, 0xff):
            want(host.identify_command(cns, nsid, csi), '0/02 DNR')


@case
def independent_namespace(t):
    """2.7, pitfall 15: CNS 08h has NSTAT ready, and NMIC as CNS 00h."""
    host = t.host()
    for ns in t.namespaces(host):
        data = optional(host, 8, ns.nsid)
        if data:
            equal(data[14] & 1, 1, 'NSTAT')
            equal(data[1], ns.data[30], 'NMIC')
            equal(data[3], ns.data[32], 'FPI')
            equal(data[9], 0, 'reserved byte')
            check(not any(data[15:]), 'reserved bytes of CNS 08h')


@case
def command_set_vectors(t):
    """2.7: CNS 1Ch exists with CAP.CSS IOCS only: entry 0 has NVM; else 0/02h."""
    host = t.host()
    command = host.identify_command(0x1c)
    if host.property_get(0, 8) >> 43 & 1:
        equal(le(ok(command).data, 0, 8) & 1, 1, 'vector 0')
    else:
        want(command, '0/02 DNR')


@case
def every_other_form(t):
    """2.7, pitfall 8: every CNS that is not there is 0/02h with DNR, and the connection lives."""
    host = t.host()
    known = {0, 1, 2, 3, 5, 6, 7, 8, 0x1c}
    for cns in range(256):
        if cns not in known:
            want(host.identify_command(cns, 0), '0/02 DNR')
            if cns % 16 == 0:
                want(host.identify_command(cns, t.first_nsid), '0/02 DNR')
    host.keep_alive()


@case
def buffer_length(t):
    """1.6, 3.3: Identify data is 4096 bytes: a shorter buffer is 0/0Fh; a longer one is that too,
    or gets its 4096 bytes. By another data length than the SGL's nothing is ever written."""
    host = t.host()
    for length in (0, 4, 512, 4092):
        want(host.admin.run(IDENTIFY, cdw10=1, descriptor=sgl(SGL_TRANSPORT, length),
                            read_bytes=length), '0/0F DNR')
    command = host.admin.run(IDENTIFY, cdw10=1, descriptor=sgl(SGL_TRANSPORT, 8192),
                             read_bytes=4096)
    want(command, 'ok', '0/0F DNR')
    host.keep_alive()


@case
def controller_ignores_the_namespace_field(t):
    """Conventions: CNS 01h does not use NSID; hosts leave anything in it."""
    host = t.host()
    for nsid in (1, 0x1234, NSID_ALL):
        ok(host.identify_command(1, nsid))


@case
def descriptor_address_is_ignored(t):
    """1.5: the address of a 5Ah descriptor is ignored."""
    host = t.host()
    ok(host.admin.run(IDENTIFY, cdw10=1, read_bytes=4096,
                      descriptor=sgl(SGL_TRANSPORT, 4096, 0xdeadbeefcafe)))


@case(rpc=True)
def identity_of_another_namespace(t):
    """2.5, pitfall 16: a UUID, NGUID or EUI64 names one namespace: it is refused for a second one, in
    the same subsystem and in another; free again, it is taken, and hosts see it."""
    uuid_text, eui64 = str(uuid.UUID(bytes=t.random.randbytes(16))), t.random.randbytes(8).hex()
    first, second = t.temporary_subsystem(), t.temporary_subsystem()
    device, other = t.temporary_device(), t.temporary_device()

    def add(nqn, nsid, name, **identity):
        t.rpc('nvmf_subsystem_add_ns', nqn=nqn,
              namespace={'nsid': nsid, 'bdev_name': name, **identity})
    add(first, 1, device, uuid=uuid_text, eui64=eui64)
    for nqn, nsid in ((first, 2), (second, 1)):
        for identity in ({'uuid': uuid_text}, {'nguid': uuid_text.replace('-', '').upper()},
                         {'eui64': eui64.upper()}):
            try:
                add(nqn, nsid, other, **identity)
            except Failure as error:
                kind, = identity
                check(f'namespace 1 of {first}' in str(error) and kind.upper() in str(error),
                      f'{identity}: {error}')
            else:
                raise Failure(f'{identity} names two namespaces now')
    host = t.host(nqn=first)
    equal(host.active_nsids(), [1], 'active namespaces')
    t.rpc('nvmf_subsystem_remove_ns', nqn=first, nsid=1)
    add(second, 1, other, uuid=uuid_text, eui64=eui64)
    data = t.host(nqn=second).identify(0, 1)
    equal(data[104:128].hex(), uuid_text.replace('-', '') + eui64, 'NGUID and EUI64')

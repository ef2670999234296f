# SPDX-License-Identifier: BSD-3-Clause
"""I/O commands: what they do to blocks and each way to refuse them (facts 3.1, 3.2, 3.3)."""

import nvmetcp
from harness import Skip, case, check, equal, ok, reads_as, want
from host import (COMPARE, DSM, FLUSH, FUA, READ, VERIFY, WRITE, WRITE_ZEROES, range_fields,
                  read_fields, write_fields)
from nvmetcp import NSID_ALL, SGL_TRANSPORT, le, sgl

LIMITED_RETRY, PRACT, DEAC = 1 << 31, 1 << 29, 1 << 25


def oncs(host, bit):
    return le(host.identify_controller(), 520, 2) >> bit & 1


def each_namespace(t, **options):
    """(host, queue, namespace) for each namespace, over one queue."""
    host, queue = t.queue(**options)
    for ns in t.namespaces(host):
        yield host, queue, ns


def range_commands(host, ns, slba, blocks):
    """Every command that has a range of blocks: opcode and fields for it."""
    size = blocks * ns.block_size
    yield READ, {**range_fields(ns.nsid, slba, blocks), 'read_bytes': size}
    yield WRITE, {**range_fields(ns.nsid, slba, blocks), 'data_out': bytes(size), 'how': 'r2t'}
    if oncs(host, 0):
        yield COMPARE, {**range_fields(ns.nsid, slba, blocks), 'data_out': bytes(size),
                        'how': 'r2t'}
    if oncs(host, 3):
        yield WRITE_ZEROES, range_fields(ns.nsid, slba, blocks)
    if oncs(host, 7):
        yield VERIFY, range_fields(ns.nsid, slba, blocks)


@case(every=True)
def write_and_read(t):
    """3.1: a block reads as it was written, for several lengths and places, the last block too."""
    for _, queue, ns in each_namespace(t):
        for blocks in (1, 2, 3, 7, 8, 16):
            for slba in (0, t.area(ns, blocks * ns.block_size), ns.nr_blocks // 4 * 3 - blocks):
                data = t.random.randbytes(blocks * ns.block_size)
                ok(queue.write(ns, slba, data))
                reads_as(queue, ns, slba, data, f'{blocks} from {slba}')
        ok(queue.read(ns, ns.nr_blocks - 1, 1))
        ok(queue.read(ns, ns.nr_blocks - 8, 8))


@case(every=True)
def neighbours_are_not_touched(t):
    """3.1: a write changes its own blocks only."""
    for _, queue, ns in each_namespace(t):
        slba = t.area(ns, 16 * ns.block_size)
        before = t.random.randbytes(16 * ns.block_size)
        ok(queue.write(ns, slba, before))
        for at, blocks in ((1, 1), (5, 4), (13, 2)):
            data = t.random.randbytes(blocks * ns.block_size)
            ok(queue.write(ns, slba + at, data))
            start = at * ns.block_size
            before = before[:start] + data + before[start + len(data):]
        reads_as(queue, ns, slba, before, 'sixteen blocks')


@case
def unwritten_blocks_read_zero(t):
    """3.1, 2.7: what was never written reads as zeros: no other connection's data, no memory."""
    if not t.target.config:
        raise Skip('only a target of our own is known to be unwritten')
    for host, queue, ns in each_namespace(t):
        size = min(host.max_transfer(), 131072)
        ok(queue.write(ns, 0, t.random.randbytes(size)))
        blocks = size // ns.block_size
        for slba in range(ns.nr_blocks // 4 * 3, ns.nr_blocks - blocks + 1, blocks):
            data = bytes(ok(queue.read(ns, slba, blocks)).data)
            check(not any(data), f'namespace {ns.nsid}: bytes in blocks {slba} and up')


@case(every=True)
def ignored_fields(t):
    """3.1: no PI: PRINFO, tags, DSM hints, LR and reserved dwords are ignored; PRACT is no
    error."""
    for _, queue, ns in each_namespace(t):
        data = t.random.randbytes(2 * ns.block_size)
        slba = t.area(ns, len(data))
        extra = {'cdw13': 0xffffffff, 'cdw14': 0x01020304, 'cdw15': 0x05060708, 'cdw2': 7,
                 'cdw3': 9, 'mptr': 0x1234}
        for cdw12 in (LIMITED_RETRY, PRACT, 0xf << 26, LIMITED_RETRY | PRACT):
            ok(queue.write(ns, slba, data, cdw12=cdw12, **extra))
            equal(bytes(ok(queue.read(ns, slba, 2, cdw12=cdw12, **extra)).data), data, 'data')


@case(every=True)
def force_unit_access(t):
    """3.1: FUA on Write, Read, Compare and Write Zeroes."""
    for host, queue, ns in each_namespace(t):
        data = t.random.randbytes(4 * ns.block_size)
        slba = t.area(ns, len(data))
        for how in ('auto', 'r2t'):
            ok(queue.write(ns, slba, data, cdw12=FUA, how=how))
            equal(bytes(ok(queue.read(ns, slba, 4, cdw12=FUA)).data), data, 'data')
        if oncs(host, 0):
            ok(queue.run(COMPARE, **write_fields(ns, slba, data, FUA)))
        if oncs(host, 3):
            ok(queue.write_zeroes(ns, slba, 4, cdw12=FUA))
            reads_as(queue, ns, slba, bytes(len(data)), 'zeroed blocks')


@case
def flush(t):
    """3.1, 2.6: Flush of a namespace; of all of them (FFFFFFFFh) when VWC says so, else 0/0Bh; the
    bits of VWC that are not defined are not used."""
    host, queue = t.queue()
    vwc = host.identify_controller()[525]
    for ns in t.namespaces(host):
        ok(queue.flush(ns.nsid))
    behaviour = vwc >> 1 & 3
    check(behaviour in (0, 2, 3) and vwc & ~7 == 0, f'VWC {vwc:#x}')
    command = queue.flush(NSID_ALL)
    if behaviour == 3:
        want(command, 'ok')
    elif behaviour == 2:
        want(command, '0/0B DNR')
    else:
        want(command, 'ok', '0/0B DNR')


@case(every=True)
def lba_out_of_range(t):
    """3.1, 3.3: SLBA + NLB beyond NSZE is 0/80h with DNR, without overflow in 64 bits; no block
    before the end is touched."""
    for host, queue, ns in each_namespace(t):
        last = ns.nr_blocks
        before = bytes(ok(queue.read(ns, last - 2, 2)).data)
        for slba, blocks in ((last, 1), (last - 1, 2), (last + 1, 1), (last, 8), (1 << 32, 1),
                             (1 << 63, 1), ((1 << 64) - 1, 1), ((1 << 64) - 1, 2),
                             ((1 << 64) - 8, 8), ((1 << 64) - 7, 8), ((1 << 64) - last, 8)):
            for opcode, fields in range_commands(host, ns, slba, blocks):
                want(queue.run(opcode, **fields), '0/80 DNR')
        reads_as(queue, ns, last - 2, before, 'the last blocks')
        if oncs(host, 2):
            want(queue.dsm(ns.nsid, [(last, 1)]), '0/80 DNR')
            want(queue.dsm(ns.nsid, [(0, 1), (last - 1, 2)]), '0/80 DNR')
            want(queue.dsm(ns.nsid, [((1 << 64) - 1, 2)]), '0/80 DNR')


@case(every=True)
def longest_ranges_out_of_range(t):
    """3.1: NLB FFFFh at the end of the address space, for the commands that move no data."""
    for host, queue, ns in each_namespace(t):
        for slba in (ns.nr_blocks - 1, (1 << 64) - 1, (1 << 64) - 0xffff, (1 << 64) - 0x10000):
            if oncs(host, 3):
                want(queue.write_zeroes(ns, slba, 65536), '0/80 DNR')
            if oncs(host, 7):
                want(queue.verify(ns, slba, 65536), '0/80 DNR', '0/02 DNR')


@case(every=True)
def namespace_identifiers(t):
    """3.1, 3.3: NSID 0, inactive, above NN or FFFFFFFFh is 0/0Bh with DNR for every command."""
    host, queue = t.queue()
    ns = t.namespaces(host)[0]
    highest = le(host.identify_controller(), 516, 4)
    used = host.active_nsids()
    inactive = [nsid for nsid in (highest, 3, 4, highest // 2) if nsid not in (0, *used)][:2]
    for nsid in [0, *inactive, highest + 1, 0x80000000, NSID_ALL - 1, NSID_ALL]:
        for opcode, fields in range_commands(host, ns, 0, 1):
            want(queue.run(opcode, **{**fields, 'nsid': nsid}), '0/0B DNR')
        if queue.capsule_max >= ns.block_size:
            want(queue.run(WRITE, nsid=nsid, how='capsule', data_out=bytes(ns.block_size)),
                 '0/0B DNR')
        if oncs(host, 2):
            want(queue.dsm(nsid, [(0, 1)]), '0/0B DNR')
        if nsid != NSID_ALL:
            want(queue.flush(nsid), '0/0B DNR')
    ok(queue.read(ns, 0, 1))


@case(every=True)
def data_length_mismatch(t):
    """3.1: an SGL length other than the blocks' is 0/0Fh with DNR, and nothing is moved; one that
    is above MDTS as well may be 0/02h."""
    for host, queue, ns in each_namespace(t):
        size = 4 * ns.block_size
        slba = t.area(ns, size)
        before = t.random.randbytes(size)
        ok(queue.write(ns, slba, before))
        for length in (0, 4, ns.block_size, size - 4, size + 4, size + ns.block_size, 0x7ffffffc):
            wrong = sgl(SGL_TRANSPORT, length)
            refused = ['0/0F DNR'] + ['0/02 DNR'] * (length > host.max_transfer())
            want(queue.run(READ, **range_fields(ns.nsid, slba, 4), read_bytes=length,
                           descriptor=wrong), *refused)
            for opcode in [WRITE] + [COMPARE] * oncs(host, 0):
                want(queue.run(opcode, **range_fields(ns.nsid, slba, 4), data_out=bytes(8),
                               how='r2t', descriptor=wrong), *refused)
        reads_as(queue, ns, slba, before)


@case(every=True)
def beyond_mdts(t):
    """3.1: more than MDTS is 0/02h with DNR, for each command that moves data; MDTS itself is
    served."""
    for host, queue, ns in each_namespace(t):
        limit = host.max_transfer() // ns.block_size
        for blocks in (limit + 1, limit * 2, 65536):
            if blocks > 65536 or blocks > ns.nr_blocks:
                continue
            for opcode, fields in range_commands(host, ns, 0, blocks):
                if opcode not in (WRITE_ZEROES, VERIFY):
                    want(queue.run(opcode, **fields), '0/02 DNR')
        ok(queue.read(ns, 0, limit))
        ok(queue.write(ns, t.area(ns, host.max_transfer()), bytes(host.max_transfer())))


@case(every=True)
def write_zeroes(t):
    """3.1: Write Zeroes makes its blocks zeros and touches no others; with DEAC as well."""
    for host, queue, ns in each_namespace(t):
        if not oncs(host, 3):
            raise Skip('no Write Zeroes')
        for cdw12 in (0, DEAC):
            for blocks in (1, 3, 8, host.max_transfer() // ns.block_size - 2):
                data = t.random.randbytes((blocks + 2) * ns.block_size)
                slba = t.area(ns, len(data))
                ok(queue.write(ns, slba, data, how='r2t'))
                ok(queue.write_zeroes(ns, slba + 1, blocks, cdw12=cdw12))
                zeros = bytes(blocks * ns.block_size)
                reads_as(queue, ns, slba, data[:ns.block_size] + zeros + data[-ns.block_size:],
                         f'{blocks} blocks')


@case(every=True)
def write_zeroes_of_the_longest_range(t):
    """Pitfall 26: NLB FFFFh is not bounded by MDTS; WZSL may bound it (0/02h then)."""
    host, queue = t.queue()
    ns = next((ns for ns in t.namespaces(host) if ns.nr_blocks // 4 * 3 >= 65540), None)
    if not ns or not oncs(host, 3):
        raise Skip('no namespace with 65540 blocks to write, or no Write Zeroes')
    data = t.random.randbytes(ns.block_size)
    for slba in (100, 101 + 32768, 100 + 65535, 100 + 65536):
        ok(queue.write(ns, slba, data))
    command = host.identify_command(6)
    wzsl = command.data[1] if command.cqe.is_ok else 0
    command = queue.write_zeroes(ns, 100, 65536, cdw12=DEAC)
    if wzsl and 4096 << wzsl < 65536 * ns.block_size:
        want(command, '0/02 DNR')
        return
    ok(command)
    for slba in (100, 101 + 32768, 100 + 65535):
        check(not any(ok(queue.read(ns, slba, 1)).data), f'block {slba}')
    reads_as(queue, ns, 100 + 65536, data, 'the block behind')


@case(every=True)
def deallocate(t):
    """3.1, pitfall 9: DSM with the 4096-byte payload that Linux sends even for one range; NR says
    how many count. Discarded blocks read as zeros when DLFEAT is 1."""
    for host, queue, ns in each_namespace(t):
        if not oncs(host, 2):
            raise Skip('no DSM')
        data = t.random.randbytes(32 * ns.block_size)
        slba = t.area(ns, len(data))
        ok(queue.write(ns, slba, data))
        ranges = [(slba + 4, 8), (slba + 16, 8)]
        decoy = nvmetcp.dsm_ranges([*ranges, (slba, 4), (slba + 30, 2)]).ljust(4096, b'\xee')
        for how in ('auto', 'r2t'):
            ok(queue.dsm(ns.nsid, ranges, payload=decoy, nr=1, how=how))
        got = bytes(ok(queue.read(ns, slba, 32)).data)
        size = ns.block_size
        for index in range(32):
            block = got[index * size:(index + 1) * size]
            if 4 <= index < 12 or 16 <= index < 24:
                if ns.dlfeat & 7 == 1:
                    check(not any(block), f'discarded block {index} has bytes')
                else:
                    check(not any(block) or block == data[index * size:(index + 1) * size],
                          f'discarded block {index}')
            else:
                equal(block, data[index * size:(index + 1) * size], f'block {index}')


@case(every=True)
def deallocate_payloads(t):
    """3.1: a payload of exactly NR ranges, 256 ranges, ranges of length 0 (skipped); a payload
    shorter than NR says is 0/0Fh."""
    for host, queue, ns in each_namespace(t):
        if not oncs(host, 2):
            raise Skip('no DSM')
        slba = t.area(ns, 512 * ns.block_size)
        ok(queue.dsm(ns.nsid, [(slba, 1)], payload=nvmetcp.dsm_ranges([(slba, 1)])))
        many = [(slba + 2 * index, 1) for index in range(256)]
        ok(queue.dsm(ns.nsid, many))
        data = t.random.randbytes(ns.block_size)
        ok(queue.write(ns, slba, data))
        ok(queue.dsm(ns.nsid, [(slba, 0)] * 4))
        reads_as(queue, ns, slba, data, 'block of a range of no blocks')
        for size, nr in ((16, 1), (4080, 255), (12, 0), (4, 0)):
            want(queue.run(DSM, nsid=ns.nsid, cdw10=nr, cdw11=4, data_out=bytes(size)), '0/0F DNR')
        want(queue.run(DSM, nsid=ns.nsid, cdw10=0, cdw11=4), '0/0F DNR')


@case
def dsm_attributes(t):
    """3.1: only AD acts: with the hints alone nothing changes."""
    for host, queue, ns in each_namespace(t):
        if not oncs(host, 2):
            raise Skip('no DSM')
        data = t.random.randbytes(8 * ns.block_size)
        slba = t.area(ns, len(data))
        ok(queue.write(ns, slba, data))
        for attributes in (0, 1, 2, 3):
            ok(queue.dsm(ns.nsid, [(slba, 8)], attributes=attributes))
        reads_as(queue, ns, slba, data)


@case(every=True)
def compare(t):
    """3.1, 3.3: Compare of the same data succeeds; one different byte anywhere is 2/85h with
    DNR."""
    for host, queue, ns in each_namespace(t):
        if not oncs(host, 0):
            raise Skip('no Compare')
        for blocks in (1, 2, 16, host.max_transfer() // ns.block_size):
            data = t.random.randbytes(blocks * ns.block_size)
            slba = t.area(ns, len(data))
            ok(queue.write(ns, slba, data))
            ok(queue.compare(ns, slba, data))
            for place in (0, len(data) // 2, len(data) - 1):
                other = bytearray(data)
                other[place] ^= 1
                want(queue.compare(ns, slba, bytes(other)), '2/85 DNR')
                want(queue.compare(ns, slba, bytes(other), how='r2t'), '2/85 DNR')
            reads_as(queue, ns, slba, data, 'data after comparing')


@case(every=True)
def verify(t):
    """3.1, 2.7: Verify moves no data and succeeds on readable blocks, any number of them unless VSL
    bounds it (0/02h); unsupported it is 0/01h."""
    for host, queue, ns in each_namespace(t):
        if not oncs(host, 7):
            want(queue.verify(ns, 0, 1), '0/01 DNR')
            continue
        limits = host.identify_command(6)
        vsl = 4096 << limits.data[0] if limits.cqe.is_ok and limits.data[0] else 1 << 40
        for blocks in (1, 8, 256, 65536):
            size = blocks * ns.block_size
            if blocks < ns.nr_blocks:
                want(queue.verify(ns, 0, blocks), '0/02 DNR' if size > vsl else 'ok')


@case
def fused_commands(t):
    """3.2: without FUSES b0 a fused command of either half is 0/02h, the reserved value too, and
    nothing is written."""
    host, queue = t.queue()
    if host.identify_controller()[522] & 1:
        raise Skip('fused compare-and-write is advertised')
    ns = t.namespace(host)
    data = t.random.randbytes(ns.block_size)
    slba = t.area(ns, len(data))
    ok(queue.write(ns, slba, data))
    for fuse in (1, 2, 3):
        flags = nvmetcp.PSDT_SGL | fuse
        for how in ('auto', 'r2t'):
            want(queue.run(COMPARE, **write_fields(ns, slba, data), how=how, flags=flags),
                 '0/02 DNR')
            want(queue.run(WRITE, **write_fields(ns, slba, bytes(len(data))), how=how, flags=flags),
                 '0/02 DNR')
        want(queue.run(READ, **read_fields(ns, slba, 1), flags=flags), '0/02 DNR')
        want(queue.run(FLUSH, nsid=ns.nsid, flags=flags), '0/02 DNR')
        want(host.admin.run(6, cdw10=1, read_bytes=4096, flags=flags), '0/02 DNR')
    reads_as(queue, ns, slba, data)


@case
def data_pointer_kind(t):
    """1.5: PSDT is 01b from all hosts; 00b (PRP) and the reserved 11b do not exist on fabrics:
    0/02h. 10b is an SGL too."""
    host, queue = t.queue()
    ns = t.namespace(host)
    for flags in (0x00, 0xc0):
        want(queue.run(READ, **read_fields(ns, 0, 1), flags=flags), '0/02 DNR')
        want(host.admin.run(6, cdw10=1, read_bytes=4096, flags=flags), '0/02 DNR')
    want(queue.run(READ, **read_fields(ns, 0, 1), flags=0x80), 'ok', '0/02 DNR')
    ok(queue.read(ns, 0, 1))


@case
def reserved_command_flags(t):
    """Conventions: bits 5:2 of the flags byte are reserved and ignored."""
    host, queue = t.queue()
    ns = t.namespace(host)
    for bit in (2, 3, 4, 5):
        ok(queue.run(READ, **read_fields(ns, 0, 1), flags=nvmetcp.PSDT_SGL | 1 << bit))


@case
def unknown_opcodes(t):
    """2.10, 3.3: an unknown opcode is 0/01h with DNR before the NSID is looked at, with and without
    data, and the connection lives. Reservations, Copy and Write Uncorrectable only as ONCS says."""
    host, queue = t.queue()
    known = {FLUSH, WRITE, READ}
    for bit, opcodes in ((0, [5]), (1, [4]), (2, [9]), (3, [8]), (5, [0xd, 0xe, 0x11, 0x15]),
                         (7, [0xc]), (8, [0x19])):
        if oncs(host, bit):
            known.update(opcodes)
    for opcode in range(256):
        if opcode not in known and opcode != 0x7f:
            for nsid in (0, t.first_nsid, NSID_ALL):
                want(queue.run(opcode, nsid=nsid), '0/01 DNR')
            if queue.capsule_max >= 512:
                want(queue.run(opcode, nsid=1, data_out=bytes(512), how='capsule'), '0/01 DNR')
            want(queue.run(opcode, nsid=1, data_out=bytes(512), how='r2t'), '0/01 DNR')
    ok(queue.flush(t.first_nsid))


@case
def unknown_admin_opcodes(t):
    """2.10: admin commands that do not exist on fabrics, or are not advertised, are 0/01h with DNR:
    I/O queue creation, doorbells, virtualization, directives, namespace management, format,
    sanitize, security, self-test, firmware."""
    host = t.host()
    oacs = le(host.identify_controller(), 256, 2)
    optional = {0x10: 2, 0x11: 2, 0x80: 1, 0x0d: 3, 0x15: 3, 0x14: 4, 0x19: 5, 0x1a: 5, 0x81: 0,
                0x82: 0, 0x7c: 8}
    for opcode in (0, 1, 4, 5, 0x0d, 0x10, 0x11, 0x14, 0x15, 0x19, 0x1a, 0x1c, 0x1d, 0x1e, 0x20,
                   0x21, 0x22, 0x24, 0x25, 0x29, 0x39, 0x7c, 0x80, 0x81, 0x82, 0x84, 0x86, 0xc0,
                   0xff):
        if opcode in optional and oacs >> optional[opcode] & 1:
            continue
        for nsid in (0, 1, NSID_ALL):
            want(host.admin.run(opcode, nsid=nsid), '0/01 DNR')
        want(host.admin.run(opcode, data_out=bytes(512), how='capsule'), '0/01 DNR')
    host.keep_alive()


@case
def fabrics_commands_on_io_queues(t):
    """2.3: of the Fabrics commands an I/O queue has Connect (once), Disconnect and authentication
    only; others are 0/02h, or unknown."""
    _, queue = t.queue()
    for fctype in (0, 4, 3, 0xff):
        want(queue.fabrics(fctype), '0/02 DNR', '0/01 DNR')
    ok(queue.flush(t.first_nsid))


@case
def refused_commands_take_their_data(t):
    """1.5, 3.3: a refused command with data in its capsule does not upset the stream behind it."""
    host, queue = t.queue()
    ns = t.namespace(host)
    if queue.capsule_max < ns.block_size:
        raise Skip('no in-capsule data')
    size = min(queue.capsule_max, 4 * ns.block_size) // ns.block_size * ns.block_size
    stream, refused, good = b'', [], []
    for index in range(10):
        command, capsule = queue.prepare(
            WRITE, how='capsule', data_out=t.random.randbytes(size),
            **range_fields(ns.nsid, ns.nr_blocks, size // ns.block_size))
        refused.append(queue.register(command))
        stream += capsule
        command, capsule = queue.prepare(READ, **read_fields(ns, index, 1))
        good.append(queue.register(command))
        stream += capsule
    queue.connection.send(stream)
    for command in queue.wait_all(refused + good):
        want(command, 'ok' if command in good else '0/80 DNR')


@case
def write_read_through_two_queues(t):
    """3.1: an acknowledged write is seen by every queue and every host at once."""
    first_host, first = t.queue()
    _, second = t.queue()
    third = first_host.io_queue(2)
    for ns in t.namespaces(first_host):
        slba = t.area(ns, ns.block_size)
        for _ in range(30):
            for writer in (first, second, third):
                data = t.random.randbytes(ns.block_size)
                ok(writer.write(ns, slba, data))
                for reader in (first, second, third):
                    reads_as(reader, ns, slba, data)

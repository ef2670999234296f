# SPDX-License-Identifier: BSD-3-Clause
"""Get Log Page: the pages of an I/O controller, lengths, offsets, RAE (facts 2.8)."""

import struct

from harness import case, check, equal, ok, want
from host import FABRICS, READ, range_fields
from nvmetcp import NSID_ALL, SGL_TRANSPORT, le, sgl

SIZES = {0: 1024, 2: 512, 3: 512, 4: 4096, 5: 4096}
ERROR_LOG, SMART = 1, 2


def log_sizes(host):
    """Identifier and size of every page that must be there."""
    return {**SIZES, ERROR_LOG: 64 * (host.identify_controller()[262] + 1)}


@case
def supported_pages_are_the_truth(t):
    """2.8: page 00h names exactly the pages that answer; others are 1/09h (0/02h up to 2.0)."""
    host = t.host()
    supported = struct.unpack('<256I', host.log(0, 1024))
    for lid in range(256):
        command = host.log_command(lid, 64)
        if supported[lid] & 1:
            want(command, 'ok')
        else:
            equal(supported[lid], 0, f'entry of page {lid:02X}h')
            want(command, '1/09 DNR', '0/02 DNR')
    for lid in SIZES:
        check(supported[lid] & 1, f'page {lid:02X}h is not supported')
    check(supported[ERROR_LOG] & 1, 'no error log')
    for lid in range(0x70, 0x74):
        equal(supported[lid], 0, f'discovery page {lid:02X}h on an I/O controller')
    host.keep_alive()


@case
def vendor_pages(t):
    """Pitfall 27: pages C0h and above, as nvme-cli asks for, are 1/09h and the connection lives."""
    host = t.host()
    for lid in (0xc0, 0xca, 0xcb, 0xd0, 0xff):
        want(host.log_command(lid, 512), '1/09 DNR')
        want(host.log_command(lid, 512, nsid=NSID_ALL), '1/09 DNR')
    host.keep_alive()


@case(every=True)
def any_length(t):
    """2.8, 1.6: Get Log Page returns NUMD dwords exactly, zeros behind the page's end."""
    host = t.host()
    for lid, size in log_sizes(host).items():
        whole = host.log(lid, size)
        for length in (4, 8, 20, 60, 64, 512, 516, 4096, 8192, host.max_transfer()):
            got = host.log(lid, length)
            if lid != SMART:
                equal(got[:size], whole[:length], f'page {lid:02X}h, {length} bytes')
            check(not any(got[size:]), f'page {lid:02X}h: bytes behind its end')


@case
def offsets(t):
    """2.8: byte offsets; the tail beyond the end reads as zeros; one beyond the page is 0/02h."""
    host = t.host()
    for lid, size in log_sizes(host).items():
        whole = host.log(lid, size)
        for offset in (4, 64, size // 2, size - 4):
            got = host.log(lid, 64, offset)
            if lid != SMART:
                equal(got, whole[offset:offset + 64].ljust(64, b'\0'),
                      f'page {lid:02X}h from {offset}')
        for offset in (size + 4, size + 4096, 1 << 32, 1 << 63, (1 << 64) - 4):
            want(host.log_command(lid, 64, offset), '0/02 DNR')


@case
def unaligned_offset(t):
    """2.8: the offset is dword aligned, else 0/02h."""
    host = t.host()
    for lid in log_sizes(host):
        for offset in (1, 2, 3, 5, 63):
            want(host.log_command(lid, 64, offset), '0/02 DNR')


@case(every=True)
def longer_than_mdts(t):
    """2.8: a length above MDTS is 0/02h, also where only NUMDU says so."""
    host = t.host()
    limit = host.max_transfer()
    for length in (limit + 4, limit * 2, 1 << 30, 1 << 34):
        command = host.admin.run(2, cdw10=SMART | (length // 4 - 1 & 0xffff) << 16,
                                 cdw11=length // 4 - 1 >> 16, read_bytes=min(length, 0xfffffffc))
        want(command, '0/02 DNR', *(['0/0F DNR'] if length > 0xfffffffc else []))


@case
def buffer_length(t):
    """3.3: an SGL shorter than NUMD is 0/0Fh; a longer one too, or NUMD bytes come."""
    host = t.host()
    for length in (0, 4, 508):
        want(host.log_command(SMART, 512, read_bytes=length,
                              descriptor=sgl(SGL_TRANSPORT, length)), '0/0F DNR')
    want(host.log_command(SMART, 512, descriptor=sgl(SGL_TRANSPORT, 4096)), 'ok', '0/0F DNR')
    host.keep_alive()


@case
def index_offset(t):
    """2.8: an offset by index (OT) on a page without it is 0/02h."""
    host = t.host()
    supported = struct.unpack('<256I', host.log(0, 1024))
    for lid in (SMART, 3):
        if not supported[lid] & 2:
            want(host.log_command(lid, 64, 1, cdw14=1 << 23), '0/02 DNR')


def newest_error(host):
    entry = host.log(ERROR_LOG, 64)
    count, sqid, cid, status, _, lba, nsid = struct.unpack_from('<QHHHHQI', entry)
    return count, sqid, cid, status >> 1, lba, nsid


@case
def error_log(t):
    """2.8: a failed command is in the error log, newest first, with queue, CID, status, LBA and
    NSID; its count goes up by one for each."""
    host, queue = t.queue()
    ns = t.namespace(host)
    before = newest_error(host)[0]
    first = queue.run(READ, **range_fields(ns.nsid, ns.nr_blocks, 1), read_bytes=ns.block_size)
    want(first, '0/80 DNR')
    equal(newest_error(host), (before + 1, 1, first.cid, 0x4080, ns.nr_blocks, ns.nsid),
          'newest entry: count, SQID, CID, status, LBA, NSID')
    second = queue.run(0xc7, nsid=ns.nsid)
    want(second, '0/01 DNR')
    newest = newest_error(host)
    equal(newest[:4], (before + 2, 1, second.cid, 0x4001), 'newest entry')
    entries = host.log(ERROR_LOG, 128)
    equal(le(entries, 64, 8), before + 1, 'count of the second entry')


@case
def error_log_order(t):
    """2.8: the whole log: counts descending by one, unused entries zero, as many as ELPE says."""
    host, queue = t.queue()
    entries = host.identify_controller()[262] + 1
    for _ in range(entries + 5):
        queue.run(0xc7, nsid=1)
    log = b''.join(host.log(ERROR_LOG, 2048, offset) for offset in range(0, entries * 64, 2048))
    counts = [le(log, 64 * index, 8) for index in range(entries)]
    equal(counts, list(range(counts[0], counts[0] - entries, -1)), 'counts')


@case
def smart(t):
    """2.8: plausible temperature, no warning, spare above its threshold; namespace 0 or FFFFFFFFh
    (Linux hwmon); one namespace's only if LPA b0 says so."""
    host = t.host()
    for nsid in (0, NSID_ALL):
        log = host.log(SMART, 512, nsid=nsid)
        equal(log[0], 0, 'critical warning')
        check(273 <= le(log, 1, 2) <= 373, f'temperature {le(log, 1, 2)} K')
        check(log[3] >= log[4] and log[3] <= 100, f'spare {log[3]}, threshold {log[4]}')
    per_namespace = host.identify_controller()[261] & 1
    want(host.log_command(SMART, 512, nsid=t.first_nsid),
         *(['ok'] if per_namespace else ['0/02 DNR', '0/0B DNR']))
    highest = le(host.identify_controller(), 516, 4)
    want(host.log_command(SMART, 512, nsid=highest + 1), '0/0B DNR', '0/02 DNR')


@case
def smart_counts_traffic(t):
    """2.8: host reads and writes count commands, units count 1000 blocks of 512 bytes rounded
    up."""
    host, queue = t.queue()
    ns = t.namespace(host)
    def numbers():
        log = host.log(SMART, 512, nsid=NSID_ALL)
        return [le(log, offset, 16) for offset in (32, 48, 64, 80)]
    before = numbers()
    size = min(host.max_transfer(), 131072)
    data = t.random.randbytes(size)
    for _ in range(40):
        slba = t.area(ns, size)
        ok(queue.write(ns, slba, data))
        ok(queue.read(ns, slba, size // ns.block_size))
    after = numbers()
    least = 40 * size // 512000 - 1
    names = 'units read', 'units written', 'reads', 'writes'
    for what, old, new, count in zip(names, before, after, (least, least, 40, 40)):
        check(new - old >= count, f'{what} from {old} to {new}, expected {count} more')


@case
def firmware(t):
    """2.8: slot 1 is active and has the revision of Identify."""
    host = t.host()
    log = host.log(3, 512)
    equal(log[0], 1, 'AFI')
    equal(log[8:16], host.identify_controller()[64:72], 'FRS1')
    check(not any(log[1:8]) and not any(log[16:]), 'reserved bytes')


@case
def changed_namespaces_at_rest(t):
    """2.8: the list of changed namespaces is empty for a new controller and stays so."""
    host = t.host()
    equal(host.log(4, 4096), bytes(4096), 'changed namespaces')
    equal(host.log(4, 4096, rae=1), bytes(4096), 'changed namespaces')


@case
def effects_name_the_commands(t):
    """2.8, 2.10: the effects log says for every admin and I/O opcode whether it is there: those
    that are not answer 0/01h with DNR, and CSE is 0 everywhere."""
    host, queue = t.queue()
    log = host.log(5, 4096)
    admin, io = struct.unpack_from('<256I', log), struct.unpack_from('<256I', log, 1024)
    check(not any(log[2048:]), 'reserved bytes')
    for what, entries, required in (('admin', admin, (2, 6, 8, 9, 0xa, 0xc, 0x18)),
                                    ('I/O', io, (0, 1, 2))):
        for opcode, entry in enumerate(entries):
            equal(entry >> 16 & 7, 0, f'CSE of {what} opcode {opcode:02X}')
            if not entry & 1:
                equal(entry, 0, f'entry of {what} opcode {opcode:02X}')
        for opcode in required:
            check(entries[opcode] & 1, f'{what} opcode {opcode:02X} is not supported')
    check(io[1] & 2, 'Write does not change blocks')
    check(not io[2] & 2, 'Read changes blocks')
    for opcode in range(256):
        if opcode != FABRICS:
            if not admin[opcode] & 1:
                want(host.admin.run(opcode), '0/01 DNR')
            if not io[opcode] & 1:
                want(queue.run(opcode, nsid=1), '0/01 DNR')
    host.keep_alive()
    ok(queue.flush(t.first_nsid))


@case
def log_by_bytes_through_small_reads(t):
    """2.8: a page read 4 bytes at a time is the page."""
    host = t.host()
    whole = host.log(5, 4096)
    pieces = b''.join(host.log(5, 4, offset) for offset in range(0, 1200, 4))
    equal(pieces, whole[:1200], 'effects log')


@case
def no_log_on_io_queues(t):
    """2.8: opcode 02h on an I/O queue is Read, never a log page."""
    _, queue = t.queue()
    want(queue.run(2, nsid=0, cdw10=SMART | 127 << 16, read_bytes=512), '0/0B DNR')

# SPDX-License-Identifier: BSD-3-Clause
"""Initialising a connection: ICReq and ICResp (facts 1.1, 1.3)."""

import time

import nvmetcp
from harness import Skip, case, check, equal, want_terminated
from nvmetcp import HLEN, ICREQ, Closed, Failure


def exchange(t, **fields):
    connection = t.connect()
    return connection, connection.connect_ic(**fields)


def refused(t, sent, *errors):
    connection = t.connect()
    connection.send(sent)
    want_terminated(connection, sent, *errors)
    connection.close()


@case(every=True)
def answer_fields(t):
    """1.3: ICResp has PFV 0, CPDA 0 (Linux refuses others), no digest unasked, MAXH2CDATA a
    multiple of 4 and at least 4096, reserved bytes 0 (checked by connect_ic)."""
    _, answer = exchange(t)
    equal(answer.cpda, 0, 'CPDA')
    equal(answer.dgst, 0, 'digests')
    if t.transport_size('max_h2c_data'):
        equal(answer.maxh2cdata, t.transport_size('max_h2c_data'), 'MAXH2CDATA')
    elif t.transport_size('max_io_size'):
        equal(answer.maxh2cdata, t.transport_size('max_io_size'), 'MAXH2CDATA')


@case
def every_hpda(t):
    """1.3: HPDA 0..31 are all honoured; CPDA stays 0."""
    for hpda in range(32):
        connection, answer = exchange(t, hpda=hpda)
        equal(answer.cpda, 0, f'CPDA for HPDA {hpda}')
        connection.close()


@case
def hpda_out_of_range(t):
    """1.3: HPDA is 0..31; a larger one is a bad or an unsupported field at offset 10."""
    for hpda in (32, 128, 255):
        refused(t, nvmetcp.icreq(hpda=hpda), '01/10', '06/10')


@case
def digests_granted_as_asked(t):
    """1.3: ICResp grants a subset of the request; a host may refuse to go on with less than it
    asked for (Linux does), so all of it is granted."""
    for dgst in range(4):
        _, answer = exchange(t, dgst=dgst)
        equal(answer.dgst, dgst, f'digests granted when {dgst} is asked')


@case
def digest_reserved_bits(t):
    """1.3, conventions: reserved bits of the digest field are ignored and never granted."""
    for dgst in (0x04, 0x80, 0xfc, 0xff):
        connection = t.connect()
        connection.send(nvmetcp.icreq(dgst=dgst))
        equal(nvmetcp.IcResp(connection.recv().header).dgst, dgst & 3, f'granted for {dgst:#x}')


@case
def reserved_bytes_ignored(t):
    """Conventions: numbers in reserved fields are ignored on receive."""
    connection = t.connect()
    connection.send(nvmetcp.icreq()[:16] + b'\xa5' * 112)
    equal(nvmetcp.IcResp(connection.recv().header).pfv, 0, 'PFV')


@case
def every_maxr2t(t):
    """1.3: MAXR2T is 0-based and of any size."""
    for maxr2t in (0, 1, 31, 0x7fffffff, 0xffffffff):
        exchange(t, maxr2t=maxr2t)


@case
def unknown_pfv(t):
    """1.3: a PDU format version other than 0 is an unsupported parameter at offset 8."""
    for pfv in (1, 0x100, 0xffff):
        refused(t, nvmetcp.icreq(pfv=pfv), '06/8')


@case
def second_icreq(t):
    """1.8: a second ICReq is a PDU sequence error."""
    for controller in (False, True):
        connection = t.controller().admin.connection if controller else t.connection()
        connection.send(nvmetcp.icreq())
        want_terminated(connection, nvmetcp.icreq(), '02/0')


@case
def other_pdu_first(t):
    """1.1, 1.8: a PDU before ICReq is a PDU sequence error."""
    connection = t.connect()
    capsule = connection.capsule(nvmetcp.sqe(0x7f, 1, nsid=4))
    refused(t, capsule, '02/0')
    refused(t, connection.h2c_data(1, 1, 0, bytes(8)), '02/0')


@case
def term_request_first(t):
    """1.8: a receiver of H2CTermReq closes at once and never answers with a C2HTermReq."""
    connection = t.connect()
    connection.send(nvmetcp.h2c_term())
    try:
        pdu = connection.recv()
    except Closed:
        return
    raise Failure(f'{pdu} in answer to H2CTermReq')


@case
def wrong_hlen(t):
    """1.2: hlen is fixed per type; a wrong value is fatal, FES 01 offset 2."""
    for hlen in (0, 8, 24, 72, 127, 129, 255):
        refused(t, nvmetcp.icreq(hlen=hlen), '01/2')


@case
def wrong_plen(t):
    """1.2: plen must be exactly 128; a larger one is refused before its bytes have come."""
    for plen in (0, 1, 8, 24, 127, 129, 132, 256, 1 << 20, 0x80000000, 0xffffffff):
        refused(t, nvmetcp.icreq(plen=plen), '01/4')


@case
def wrong_direction_or_type(t):
    """1.2: wrong direction or unknown type is fatal, FES 01 offset 0."""
    for pdu_type in (0x01, 0x03, 0x05, 0x07, 0x09, 0x08, 0x0c, 0x80, 0xff):
        refused(t, nvmetcp.icreq(type=pdu_type), '01/0')


@case
def lowest_bad_field_is_named(t):
    """1.8: the FEI is the offset of the lowest bad field."""
    refused(t, nvmetcp.icreq(type=0x3f, hlen=9, plen=3), '01/0')
    refused(t, nvmetcp.icreq(hlen=9, plen=3), '01/2')
    refused(t, nvmetcp.icreq(plen=3, pfv=7), '01/4')


@case
def any_split(t):
    """1.1: PDU boundaries have nothing to do with segments: every 2-way split of ICReq works."""
    for cut in range(1, HLEN[ICREQ]):
        connection = t.connect()
        connection.send_pieces(nvmetcp.icreq(), cut)
        equal(connection.recv().type, nvmetcp.ICRESP, f'answer to an ICReq cut at {cut}')
        connection.close()


@case
def one_byte_at_a_time(t):
    """1.1: an ICReq that comes byte by byte works."""
    connection = t.connect()
    connection.send_bytewise(nvmetcp.icreq())
    equal(connection.recv().type, nvmetcp.ICRESP, 'answer')


def closed_in_time(t, connection, start):
    """The target must close between half its timeout and the timeout plus a check interval."""
    connection.wait_closed(t.target.connect_timeout_s + 10)
    check(time.monotonic() - start > t.target.connect_timeout_s / 2,
          f'closed after only {time.monotonic() - start:.2f} s')


def needs_short_timeout(t):
    if t.target.connect_timeout_s > 10:
        raise Skip(f'the connect timeout of {t.target.connect_timeout_s} s is too long to wait for')


@case(waits=True)
def silent_connection_is_closed(t):
    """1.1: a target closes connections that never send ICReq."""
    needs_short_timeout(t)
    start = time.monotonic()
    closed_in_time(t, t.connect(), start)


@case(waits=True)
def slow_icreq_is_closed(t):
    """1.1, pitfall 23: bytes that trickle do not extend the time for ICReq."""
    needs_short_timeout(t)
    connection, start = t.connect(), time.monotonic()
    for byte in nvmetcp.icreq():
        if time.monotonic() - start > t.target.connect_timeout_s + 10:
            raise Failure('still open with half an ICReq')
        try:
            connection.send(bytes([byte]))
            if not connection.is_quiet(t.target.connect_timeout_s / 20):
                break
        except Closed:
            break
    closed_in_time(t, connection, start)


@case(waits=True)
def missing_connect_is_closed(t):
    """1.1: a target closes connections that never send Connect, also with half a capsule."""
    needs_short_timeout(t)
    start = time.monotonic()
    nothing, half = t.connection(), t.connection()
    half.send(half.capsule(nvmetcp.sqe(0x7f, 1, nsid=1))[:71])
    closed_in_time(t, nothing, start)
    closed_in_time(t, half, start)


@case(waits=True)
def connected_queue_outlives_the_timeout(t):
    """1.1: the limit is for connections that never finish the set-up only."""
    needs_short_timeout(t)
    host, queue = t.queue()
    time.sleep(t.target.connect_timeout_s * 1.5 + 1)
    host.keep_alive()
    queue.flush(t.first_nsid)

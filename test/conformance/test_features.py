# SPDX-License-Identifier: BSD-3-Clause
"""Get and Set Features (facts 2.9)."""

import struct
import time

from harness import Skip, case, check, equal, ok, want
from nvmetcp import NSID_ALL, le

KNOWN = {0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0b, 0x0e, 0x0f, 0x16, 0x81, 0x82, 0x83, 0x84}


def select_is_there(host):
    return le(host.identify_controller(), 520, 2) >> 4 & 1


@case
def unknown_features(t):
    """2.9, pitfall 8: a feature that is not there is 0/02h with DNR, for Get and Set, and the
    connection lives. Queue entries by interrupt (08h, 09h) do not exist on fabrics."""
    host = t.host()
    for fid in range(256):
        if fid not in KNOWN:
            want(host.get_feature(fid), '0/02 DNR')
            want(host.set_feature(fid, 0), '0/02 DNR')
    host.keep_alive()


@case
def remembered_values(t):
    """2.9: arbitration, power management and temperature threshold are accepted and remembered by
    this controller; another one has its own."""
    host, other = t.host(), t.host()
    for fid, value in ((0x01, 0x03020105), (0x02, 0), (0x04, 0x0150)):
        untouched = ok(other.get_feature(fid)).cqe.dw0
        ok(host.set_feature(fid, value))
        equal(ok(host.get_feature(fid)).cqe.dw0, value, f'feature {fid:02X}h')
        equal(ok(other.get_feature(fid)).cqe.dw0, untouched, f'feature {fid:02X}h elsewhere')


@case
def power_state_that_is_not_there(t):
    """2.9, 2.6: NPSS is 0: another power state than 0 is 0/02h."""
    host = t.host()
    if host.identify_controller()[263] == 0:
        want(host.set_feature(2, 1), '0/02 DNR')
        equal(ok(host.get_feature(2)).cqe.dw0 & 0x1f, 0, 'power state')


@case
def error_recovery(t):
    """2.9: TLER is remembered; DULBE needs NSFEAT b2, else it is 0/02h."""
    host = t.host()
    ns = host.namespace(t.first_nsid)
    nsid = next((n for n in (0, ns.nsid, NSID_ALL) if host.get_feature(5, nsid=n).cqe.is_ok), None)
    check(nsid is not None, 'feature 05h with NSID 0, 1 or FFFFFFFFh')
    ok(host.set_feature(5, 100, nsid))
    equal(ok(host.get_feature(5, nsid=nsid)).cqe.dw0, 100, 'TLER')
    if not ns.data[24] & 4:
        want(host.set_feature(5, 1 << 16 | 100, nsid), '0/02 DNR')


@case
def write_cache(t):
    """2.9: feature 06h exists only with a write cache; without one it is 0/02h."""
    host = t.host()
    if host.identify_controller()[525] & 1:
        value = ok(host.get_feature(6)).cqe.dw0
        ok(host.set_feature(6, value))
    else:
        want(host.get_feature(6), '0/02 DNR')
        want(host.set_feature(6, 1), '0/02 DNR')


@case(every=True)
def number_of_queues(t):
    """2.9: 0-based counts; FFFFh is 0/02h; what is answered is what is granted, and Get agrees."""
    host = t.host()
    for value in (0xffff, 0xffff0000, 0xffffffff, 0xffff0003):
        want(host.set_feature(7, value), '0/02 DNR')
    for count in (1, 2, 4, 65535):
        dw0 = ok(host.set_feature(7, (count - 1) | (count - 1) << 16)).cqe.dw0
        granted = min(dw0 & 0xffff, dw0 >> 16) + 1
        equal(ok(host.get_feature(7)).cqe.dw0, dw0, 'Get after Set')
        check(granted >= 1, f'DW0 {dw0:08X}')
        if t.target.config:
            most = t.target.config['nvmf']['transport']['max_queues']
            check(granted <= most and (count < most or granted == most),
                  f'{granted} queues for {count} asked, {most} configured')
    host.io_queue(granted)


@case
def number_of_queues_after_the_first(t):
    """2.9: after any I/O queue the number of queues is settled: 0/0Ch."""
    host, _ = t.queue()
    want(host.set_feature(7, 0x00030003), '0/0C DNR')
    ok(host.get_feature(7))


@case
def write_atomicity(t):
    """2.9: 0Ah (DN) is remembered, where it exists."""
    host = t.host()
    command = host.get_feature(0x0a)
    if command.cqe.is_ok:
        for value in (1, 0):
            ok(host.set_feature(0x0a, value))
            equal(ok(host.get_feature(0x0a)).cqe.dw0, value, 'feature 0Ah')
    else:
        want(command, '0/02 DNR')


@case
def event_configuration(t):
    """2.9: AEC takes every OAES bit and the SMART bits 7:0; a bit that OAES has not is 0/02h."""
    host = t.host()
    oaes = le(host.identify_controller(), 92, 4)
    for value in (oaes, 0x100, 0, 0x1f, 0xff, oaes | 0xff):
        ok(host.set_feature(0x0b, value))
        equal(ok(host.get_feature(0x0b)).cqe.dw0, value, 'AEC')
    for bit in range(8, 32):
        if not oaes >> bit & 1:
            want(host.set_feature(0x0b, 1 << bit), '0/02 DNR')
    equal(ok(host.get_feature(0x0b)).cqe.dw0, oaes | 0xff, 'AEC after refused values')


@case
def timestamp(t):
    """2.9: 8 bytes of milliseconds that run on from what was set, if ONCS b6; else 0/02h."""
    host = t.host()
    if not le(host.identify_controller(), 520, 2) >> 6 & 1:
        want(host.get_feature(0x0e, read_bytes=8), '0/02 DNR')
        want(host.set_feature(0x0e, data=bytes(8)), '0/02 DNR')
        return
    value = 1_700_000_000_000
    for how in ('capsule', 'r2t'):
        start = time.monotonic()
        ok(host.set_feature(0x0e, data=struct.pack('<Q', value), how=how))
        time.sleep(0.05)
        data = ok(host.get_feature(0x0e, read_bytes=8)).data
        passed = le(data, 0, 6) - value
        check(40 <= passed <= 1000 * (time.monotonic() - start) + 10, f'{passed} ms after 50 ms')
        equal(data[6] >> 1 & 7, 1, 'origin: set by the host')
        equal(data[7], 0, 'reserved byte')


@case
def keep_alive_timer(t):
    """2.9: KATO reads as set, rounded up to KAS; 0 is 0/1Ah on TCP."""
    host = t.host(kato=30000)
    granularity = le(host.identify_controller(), 320, 2) * 100
    def rounded(value):
        return (value + granularity - 1) // granularity * granularity
    equal(ok(host.get_feature(0x0f)).cqe.dw0, rounded(30000), 'KATO of Connect')
    for value in (15000, 15001, 20500, granularity * 60, granularity * 60 + 1):
        ok(host.set_feature(0x0f, value))
        equal(ok(host.get_feature(0x0f)).cqe.dw0, rounded(value), f'KATO set to {value}')
    want(host.set_feature(0x0f, 0), '0/1A DNR')
    equal(ok(host.get_feature(0x0f)).cqe.dw0, rounded(value), 'KATO after a refused value')


@case
def host_behaviour(t):
    """2.9: 512 bytes, remembered; or the feature is not there, 0/02h."""
    host = t.host()
    command = host.get_feature(0x16, read_bytes=512)
    if not command.cqe.is_ok:
        want(command, '0/02 DNR')
        want(host.set_feature(0x16, data=bytes(512)), '0/02 DNR')
        return
    for how in ('capsule', 'r2t'):
        for acre in (1, 0):
            ok(host.set_feature(0x16, data=bytes([acre]).ljust(512, b'\0'), how=how))
            data = ok(host.get_feature(0x16, read_bytes=512)).data
            equal(data[0], acre, 'ACRE')
            check(not any(data[5:]), 'reserved bytes')


@case
def host_identifier(t):
    """2.9: Get with EXHID returns the 16 bytes of Connect; without it 0/18h; Set is 0/0Ch."""
    host = t.host()
    equal(bytes(ok(host.get_feature(0x81, cdw11=1, read_bytes=16)).data), host.hostid, 'host ID')
    want(host.get_feature(0x81, cdw11=0, read_bytes=8), '0/18 DNR', '0/02 DNR')
    want(host.set_feature(0x81, 1, data=bytes(16)), '0/0C DNR')
    equal(bytes(ok(host.get_feature(0x81, cdw11=1, read_bytes=16)).data), host.hostid, 'host ID')


@case
def reservation_and_protection_features(t):
    """2.9: 82h and 83h exist with reservations (ONCS b5), 84h with write protection (NWPC) only."""
    host = t.host()
    ids = host.identify_controller()
    nsid = t.first_nsid
    for fid, there in ((0x82, le(ids, 520, 2) >> 5 & 1), (0x83, le(ids, 520, 2) >> 5 & 1),
                       (0x84, ids[531] & 1)):
        if there:
            ok(host.get_feature(fid, nsid=nsid))
        else:
            want(host.get_feature(fid, nsid=nsid), '0/02 DNR')
            want(host.set_feature(fid, 0, nsid=nsid), '0/02 DNR')


@case
def selections(t):
    """2.9: with ONCS b4, SEL 1 is the default, 2 the saved value, 3 the capabilities, and more is
    0/02h; without it SEL is ignored or 0/02h."""
    host = t.host()
    default = ok(host.get_feature(1)).cqe.dw0
    ok(host.set_feature(1, default ^ 0x0700))
    if not select_is_there(host):
        for sel in (1, 2, 3, 7):
            want(host.get_feature(1, sel), 'ok', '0/02 DNR')
        return
    equal(ok(host.get_feature(1, 0)).cqe.dw0, default ^ 0x0700, 'current value')
    equal(ok(host.get_feature(1, 1)).cqe.dw0, default, 'default value')
    saved = ok(host.get_feature(1, 2)).cqe.dw0
    capabilities = ok(host.get_feature(1, 3)).cqe.dw0
    check(capabilities & ~7 == 0 and capabilities & 4, f'capabilities {capabilities:08X}')
    if not capabilities & 1:
        equal(saved, default, 'saved value of a feature that is not saveable')
    for sel in (4, 5, 6, 7):
        want(host.get_feature(1, sel), '0/02 DNR')


@case
def saving(t):
    """2.9: SV on a feature that is not saveable is 1/0Dh, and nothing changes."""
    host = t.host()
    if select_is_there(host) and ok(host.get_feature(1, 3)).cqe.dw0 & 1:
        raise Skip('feature 01h is saveable')
    before = ok(host.get_feature(1)).cqe.dw0
    want(host.set_feature(1, before ^ 0x0700, save=1), '1/0D DNR')
    equal(ok(host.get_feature(1)).cqe.dw0, before, 'arbitration')
    want(host.set_feature(0x0b, 0, save=1), '1/0D DNR')


@case
def namespace_of_a_controller_feature(t):
    """2.9: a controller's feature set for one namespace is 1/0Fh; NSID 0 and FFFFFFFFh are fine."""
    host = t.host()
    for fid, value in ((0x01, 0), (0x04, 0x150), (0x0b, 0)):
        for nsid in (0, NSID_ALL):
            ok(host.set_feature(fid, value, nsid))
        want(host.set_feature(fid, value, t.first_nsid), '1/0F DNR')


@case
def features_survive_nothing(t):
    """2.9: a new controller starts with defaults, whatever the last host left."""
    host = t.host()
    default = ok(host.get_feature(1)).cqe.dw0
    ok(host.set_feature(1, default ^ 0x0700))
    host.close()
    equal(ok(t.host(hostid=host.hostid).get_feature(1)).cqe.dw0, default, 'arbitration')


@case
def data_features_with_a_wrong_buffer(t):
    """3.3: a feature with data whose SGL is too short is 0/0Fh; the connection lives."""
    host = t.host()
    want(host.get_feature(0x81, cdw11=1, read_bytes=8), '0/0F DNR')
    want(host.get_feature(0x81, cdw11=1, read_bytes=0), '0/0F DNR')
    if host.get_feature(0x16, read_bytes=512).cqe.is_ok:
        want(host.set_feature(0x16, data=bytes(8)), '0/0F DNR')
        want(host.set_feature(0x16), '0/0F DNR')
    host.keep_alive()

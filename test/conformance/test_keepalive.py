# SPDX-License-Identifier: BSD-3-Clause
"""Keep Alive: the command, expiry, and what feeds the timer (facts 2.10, pitfall 18).

Expiry may be found up to twice the time after the last sign of life (TBKAS), plus the target's
check interval; the slack below allows for a loaded machine."""

import time

from harness import case, check, equal, ok, want
from host import CC, CC_ENABLE, KEEP_ALIVE, READ, read_fields
from nvmetcp import Closed, le

KATO_MS = 2000
SLACK_S = 10.0


def granted_s(host):
    """The host's keep-alive time in seconds, as the target rounds it."""
    return ok(host.get_feature(0x0f)).cqe.dw0 / 1000


def expires(host, since=None, time_s=KATO_MS / 1000):
    """The association ends not before its time and not long after it."""
    since = since or time.monotonic()
    host.wait_gone(3 * time_s + SLACK_S)
    check(time.monotonic() - since >= time_s * 0.9,
          f'closed {time.monotonic() - since:.2f} s after the last command, KATO is {time_s} s')


@case
def command(t):
    """2.10: Keep Alive succeeds with DW0 and DW1 0; without a timer it may also be 0/1Ah."""
    for kato in (0, 60000):
        host = t.host(kato=kato)
        for _ in range(5):
            cqe = want(host.admin.run(KEEP_ALIVE), 'ok', *([] if kato else ['0/1A DNR?'])).cqe
            equal((cqe.dw0, cqe.dw1), (0, 0), 'DW0, DW1')


@case
def not_on_io_queues(t):
    """2.10: opcode 18h on an I/O queue is unknown: 0/01h."""
    _, queue = t.queue()
    want(queue.run(KEEP_ALIVE), '0/01 DNR')


@case(waits=True)
def expiry_closes_everything(t):
    """2.10: when the time is over the target closes all connections of the association; a new
    Connect of the same host is fine then, and other hosts do not notice."""
    other, other_queue = t.queue()
    start = time.monotonic()
    host, _ = t.queue(kato=KATO_MS)
    expires(host, start)
    t.host(hostid=host.hostid).keep_alive()
    ok(other_queue.flush(t.first_nsid))
    other.keep_alive()


@case(waits=True)
def silence_without_io_queues(t):
    """2.10: an admin queue alone expires too."""
    start = time.monotonic()
    expires(t.host(kato=KATO_MS), start)


@case(waits=True)
def expiry_with_a_command_waiting_for_data(t):
    """2.10: a command in the middle of its transfer does not keep an association alive."""
    start = time.monotonic()
    host, queue = t.queue(kato=KATO_MS)
    ns = t.namespace(host)
    held = queue.submit(1, nsid=ns.nsid, how='r2t', hold=True, data_out=bytes(ns.block_size))
    queue.wait_r2t(held)
    host.arm_event()
    expires(host, start)


@case(waits=True)
def commands_keep_it_alive(t):
    """2.10: a Keep Alive within each interval keeps the association."""
    host, queue = t.queue(kato=KATO_MS)
    end = time.monotonic() + 4.5 * KATO_MS / 1000
    while time.monotonic() < end:
        host.keep_alive()
        time.sleep(0.4)
    ok(queue.flush(t.first_nsid))


@case(waits=True)
def traffic_counts_with_tbkas_only(t):
    """2.10: with TBKAS (CTRATT b6) any command within the interval counts; without it only Keep
    Alive does, and I/O alone lets the association expire."""
    host, queue = t.queue(kato=KATO_MS)
    ns = t.namespace(host)
    has_tbkas = le(host.identify_controller(), 96, 4) >> 6 & 1
    end = time.monotonic() + 4.5 * KATO_MS / 1000
    alive = True
    while alive and time.monotonic() < end:
        try:
            ok(queue.run(READ, **read_fields(ns, 0, 1)))
            time.sleep(0.2)
        except Closed:
            alive = False
    equal(alive, bool(has_tbkas), 'alive with I/O and without Keep Alive')


@case(waits=True)
def admin_traffic_with_tbkas_only(t):
    """2.10: the same with admin commands."""
    host = t.host(kato=KATO_MS)
    has_tbkas = le(host.identify_controller(), 96, 4) >> 6 & 1
    end = time.monotonic() + 4.5 * KATO_MS / 1000
    alive = True
    while alive and time.monotonic() < end:
        try:
            host.identify(1)
            time.sleep(0.2)
        except Closed:
            alive = False
    equal(alive, bool(has_tbkas), 'alive with admin commands and without Keep Alive')


@case(waits=True)
def no_timer_without_kato(t):
    """2.2, 2.10: KATO 0 is no timer (TCP's default of 120 s is far away)."""
    host, queue = t.queue(kato=0)
    time.sleep(4.5)
    ok(queue.flush(t.first_nsid))
    host.identify(1)


@case(waits=True)
def no_timer_before_enable(t):
    """2.10: the timer is active only with EN and RDY 1."""
    host = t.controller(kato=KATO_MS)
    time.sleep(2 * KATO_MS / 1000 + 1.5)
    host.enable().keep_alive()


@case(waits=True)
def no_timer_after_shutdown(t):
    """2.10: the timer is not active once the controller was told to shut down."""
    host = t.host(kato=KATO_MS)
    host.property_set(CC, CC_ENABLE | 1 << 14)
    host.poll_csts(3 << 2, 2 << 2)
    time.sleep(2 * KATO_MS / 1000 + 1.5)
    host.property_get(CC)


@case(waits=True)
def set_features_arms_the_timer(t):
    """2.9, 2.10: feature 0Fh sets the time of a running association."""
    host, _ = t.queue(kato=60000)
    ok(host.set_feature(0x0f, KATO_MS))
    equal(granted_s(host), KATO_MS / 1000, 'KATO')
    expires(host)


@case(waits=True)
def set_features_extends_the_timer(t):
    """2.9, 2.10: and a longer time counts from then on."""
    host, queue = t.queue(kato=KATO_MS)
    ok(host.set_feature(0x0f, 60000))
    time.sleep(2 * KATO_MS / 1000 + 1.5)
    ok(queue.flush(t.first_nsid))


@case(waits=True)
def rounding_up(t):
    """2.9: a KATO below the granularity is rounded up, never down to no timer at all."""
    start = time.monotonic()
    host = t.host(kato=1)
    least_s = max(1, le(host.identify_controller(), 320, 2) / 10)
    equal(granted_s(host), least_s, 'KATO')
    expires(host, start, least_s)


@case(waits=True)
def discovery_expires(t):
    """5.1, 2.10: a persistent discovery connection has a keep-alive timer like any other."""
    start = time.monotonic()
    host = t.discovery(kato=KATO_MS)
    host.keep_alive()
    expires(host, start)

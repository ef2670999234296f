#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# node-idle.sh ADDR PORT NQN: stays connected without I/O while the host measures what the target
# uses of a processor (host_do measure SECONDS prints hundredths of a percent of a core). First
# once under load, which must be seen, because a measure that cannot see work proves nothing.

. /xsan/guest-lib.sh

IDLE_CENTIPERCENT_MAX=100

sees_load() {
	busy=$(host_do measure 2) && [ "$busy" -gt "$IDLE_CENTIPERCENT_MAX" ]
}

nvme_attach "$1" "$2" "$3"
fio --name=load --filename="$DISK" --ioengine=libaio --direct=1 --rw=randrw --bs=4k --iodepth=16 \
	--time_based --runtime=20 >/tmp/fio.out 2>&1 &
wait_until 18 sees_load || fail "the measure does not see the load"
wait $! || fail "fio: $(cat /tmp/fio.out)"
say "under load: $busy hundredths of a percent of a core"

sleep 3
idle=$(host_do measure 10) || fail "the host could not measure"
say "idle: $idle hundredths of a percent of a core"
check_eq "the state of $CTRL after being idle" "$(nvme_state "$CTRL")" live
[ "$idle" -lt $IDLE_CENTIPERCENT_MAX ] ||
	fail "an idle target uses $idle hundredths of a percent of a core, at most 99 are allowed"
nvme_detach "$3"
exit 0

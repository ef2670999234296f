#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of test-host-nvmet.sh: the kernel's target, which the host outside uses.

. /xsan/guest-lib.sh
. /xsan/nvmet.sh

NQN=$1
SIZE=$((16 * 1048576))
SUBSYS=$NVMET/subsystems/$NQN

# start_target IN_CAPSULE QUEUES: both can be set only while nothing listens.
start_target() {
	modprobe nvmet_tcp || fail "no nvmet in this kernel"
	nvmet_export "$NQN" /dev/loop0 0.0.0.0 4420
	rm "$NVMET/ports/1/subsystems/$NQN"
	echo "$1" >"$NVMET/ports/1/param_inline_data_size" || fail "no param_inline_data_size"
	echo "$2" >"$SUBSYS/attr_qid_max" || fail "no attr_qid_max"
	ln -s "$SUBSYS" "$NVMET/ports/1/subsystems/$NQN" || fail "nvmet does not listen again"
}

disk_sum() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sha256sum </dev/loop0
}

# check_info WORD: our host said so of its last device.
check_info() {
	host_do info | grep -q "$1" || fail "our host does not have $1: $(host_do info)"
}

# Whether our host has connected since there were $before connections.
has_connected() {
	[ "$(host_do connected)" -gt "$before" ]
}

stays_connected() {
	host_do registry-status | grep -q '"state":"connected","persistent":true'
}

# check_model WHAT MORE NR_IOS: our host's random I/O, and the disk has what it says.
check_model() {
	local sum

	say "$1"
	sum=$(host_do model "$2" "$3") || fail "$1: our host failed"
	check_eq "$1: the checksum of the disk" "$(disk_sum)" "$sum"
}

modprobe loop || fail "no loop module"
truncate -s $SIZE /tmp/disk
losetup /dev/loop0 /tmp/disk || fail "no loop device"

start_target 16384 128
say "discovery"
host_do discover >/tmp/discovery || fail "our host cannot discover"
grep -q "^$NQN .* 4420 subtype 2" /tmp/discovery || fail "discovery gives $(cat /tmp/discovery)"

say "the registry reads it, and is told of changes"
host_do registry-start || fail "the registry does not start"
host_do registry-knows "$NQN" unknown || fail "it is not read: $(host_do registry-status)"
wait_until 60 stays_connected ||
	fail "the registry does not stay connected: $(host_do registry-status)"
mkdir "$NVMET/subsystems/$NQN-2" || fail "no second subsystem"
echo 1 >"$NVMET/subsystems/$NQN-2/attr_allow_any_host"
ln -s "$NVMET/subsystems/$NQN-2" "$NVMET/ports/1/subsystems/$NQN-2" || fail "it does not listen"
host_do registry-knows "$NQN-2" unknown || fail "no news: $(host_do registry-status)"
rm "$NVMET/ports/1/subsystems/$NQN-2"
host_do registry-knows "$NQN-2" offline || fail "it is still there: $(host_do registry-status)"
host_do registry-stop || fail "the registry does not stop"
rmdir "$NVMET/subsystems/$NQN-2"

check_model "plain" "" 600
check_info '"in_capsule_data_size":16384'
check_info '"queues_granted":2'
check_model "digests" ', "hdgst": true, "ddgst": true' 600
check_model "small queues" ', "queue_size": 4' 200
nvmet_remove "$NQN"
start_target 4096 1
check_model "one queue for two reactors, 4 KiB in a capsule" ', "ddgst": true' 400

check_info '"in_capsule_data_size":4096'
check_info '"state":"forward"'

say "the target goes and comes back under load"
# Little under way at a time: QEMU's user network (libslirp 4.7) dies when a connection is closed while
# its buffer is full.
host_do start ', "quiesce_ms": 500, "queue_size": 4' model 8000 "$(host_do dump)" 8192
for _ in 1 2 3; do
	sleep 1
	rm "$NVMET/ports/1/subsystems/$NQN"
	sleep 1
	ln -s "$SUBSYS" "$NVMET/ports/1/subsystems/$NQN" || fail "nvmet does not listen again"
done
status=$(host_do finish) || fail "our host did not come to an end"
check_eq "the exit code of our host" "$status" 0
check_eq "the checksum of the disk" "$(disk_sum)" "$(host_do sum)"
[ "$(host_do connected)" -ge 8 ] || fail "our host did not connect again"

say "the namespace grows"
before=$(host_do connected)
host_do start "" wait-size $((SIZE * 2))
wait_until 60 has_connected || fail "our host does not connect"
sleep 3
truncate -s $((SIZE * 2)) /tmp/disk
losetup -c /dev/loop0
echo 1 >"$SUBSYS/namespaces/1/revalidate_size"
status=$(host_do finish) || fail "our host did not hear of the new size"
check_eq "the exit code of our host" "$status" 0

say "the namespace goes"
before=$(host_do connected)
host_do start "" wait-removed
wait_until 60 has_connected || fail "our host does not connect"
sleep 3
echo 0 >"$SUBSYS/namespaces/1/enable"
status=$(host_do finish) || fail "our host did not hear of the namespace's end"
check_eq "the exit code of our host" "$status" 0

kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

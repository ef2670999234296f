#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# node-hotplug.sh ADDR PORT NQN: the host adds, resizes and removes namespaces of a connected
# target (host_do), and this guest must notice by events alone: nothing here asks for a rescan.
# Then discard and write zeroes on namespace 1, a file of 256 MiB.

. /xsan/guest-lib.sh

ADDR=$1
PORT=$2
NQN=$3
MIB=1048576
EVENT_S=60

size_is() {
	[ "$(blockdev --getsize64 "$1" 2>/dev/null)" = "$2" ]
}

# expect_size DISK BYTES
expect_size() {
	wait_until $EVENT_S size_is "$1" "$2" ||
		fail "$1 has $(blockdev --getsize64 "$1") bytes and not $2 after $EVENT_S s"
}

# random FILE MIB
random() {
	dd if=/dev/urandom of="$1" bs=$MIB count="$2" 2>/dev/null
}

# put FILE DISK OFFSET_MIB: copies a file of whole MiBs to a place on the disk.
put() {
	dd if="$1" of="$2" oflag=direct bs=$MIB seek="$3" 2>/dev/null || fail "write to $2 at $3 MiB"
}

# expect_data FILE DISK OFFSET_MIB
expect_data() {
	dd if="$2" iflag=direct bs=$MIB skip="$3" count=$(($(wc -c <"$1") / MIB)) 2>/dev/null |
		cmp - "$1" || fail "$2 at $3 MiB is not what was written"
}

expect_zero() {
	is_zero "$1" "$2" "$3" || fail "$1 is not zero from $2 MiB for $3 MiB: $4"
}

# expect_namespaces COUNT: what the target itself says.
expect_namespaces() {
	local count

	count=$(host_do count-ns) || fail "the host could not ask for the namespaces"
	check_eq "the number of namespaces in nvmf_get_subsystems" "$count" "$1"
}

hot_add() {
	say "add a namespace of $1 MiB"
	host_do add-ns 2 "$2" "$1" || fail "the host could not add a namespace"
	wait_until $EVENT_S nvme_ns_ready "$NQN" 2 ||
		fail "namespace 2 did not appear within $EVENT_S s of being added"
	DISK2=/dev/$(nvme_ns "$NQN" 2)
	expect_size "$DISK2" $(($1 * MIB))
	expect_zero "$DISK2" 0 4 "it was never written"
	random /tmp/two 4
	put /tmp/two "$DISK2" $(($1 - 4))
	expect_data /tmp/two "$DISK2" $(($1 - 4))
	expect_namespaces 2
}

resize() {
	say "resize"
	host_do resize disk0 $((320 * MIB)) || fail "the host could not resize disk0"
	expect_size "$DISK" $((320 * MIB))
	expect_data /tmp/one "$DISK" 0
	expect_zero "$DISK" 256 4 "it is new"
	random /tmp/end 4
	put /tmp/end "$DISK" 316
	expect_data /tmp/end "$DISK" 316
}

hot_remove_under_load() {
	local fio

	say "remove a namespace under load"
	fio --name=load --filename="$DISK2" --ioengine=libaio --direct=1 --rw=randwrite --bs=4k \
		--iodepth=32 --time_based --runtime=60 >/tmp/load.out 2>&1 &
	fio=$!
	sleep 2
	kill -0 $fio || fail "fio ended before the removal: $(cat /tmp/load.out)"
	host_do remove-ns 2 || fail "the host could not remove namespace 2"
	wait_until $EVENT_S nvme_ns_gone "$NQN" 2 ||
		fail "namespace 2 is still there $EVENT_S s after its removal"
	wait_until $EVENT_S process_is_over $fio || fail "fio hangs on the removed namespace"
	wait $fio && fail "fio noticed no error on the removed namespace"
	expect_data /tmp/one "$DISK" 0
	expect_namespaces 1
}

process_is_over() {
	! kill -0 "$1" 2>/dev/null
}

# What is discarded reads as zeroes, gives its space back to the host, and nothing beside it
# changes.
discard() {
	local before after

	say "discard"
	[ "$(cat "/sys/block/${DISK#/dev/}/queue/discard_max_bytes")" -gt 0 ] ||
		fail "$DISK offers no discard"
	random /tmp/sixteen 16
	put /tmp/sixteen "$DISK" 32
	before=$(host_do allocated-kib disk0)
	check_run "blkdiscard" blkdiscard -o $((36 * MIB)) -l $((8 * MIB)) "$DISK"
	expect_zero "$DISK" 36 8 "it was discarded"
	dd if=/tmp/sixteen of=/tmp/head bs=$MIB count=4 2>/dev/null
	dd if=/tmp/sixteen of=/tmp/tail bs=$MIB skip=12 count=4 2>/dev/null
	expect_data /tmp/head "$DISK" 32
	expect_data /tmp/tail "$DISK" 44
	after=$(host_do allocated-kib disk0)
	[ $((before - after)) -ge 8000 ] ||
		fail "a discard of 8192 KiB gave only $((before - after)) KiB back to the host"
}

write_zeroes() {
	say "write zeroes"
	[ "$(cat "/sys/block/${DISK#/dev/}/queue/write_zeroes_max_bytes")" -gt 0 ] ||
		fail "$DISK offers no write zeroes"
	put /tmp/sixteen "$DISK" 64
	put /tmp/sixteen "$DISK" 96
	check_run "blkdiscard -z" blkdiscard -z -o $((68 * MIB)) -l $((8 * MIB)) "$DISK"
	expect_zero "$DISK" 68 8 "zeroes were written"
	expect_data /tmp/head "$DISK" 64
	expect_data /tmp/tail "$DISK" 76

	# 65536 blocks are the most that one command can name: 32 MiB from 64 MiB on.
	check_run "nvme write-zeroes" nvme write-zeroes "$DISK" --namespace-id=1 \
		--start-block=$((64 * MIB / 512)) --block-count=65535
	expect_zero "$DISK" 64 32 "one command wrote zeroes"
	expect_data /tmp/sixteen "$DISK" 96
}

nvme_attach "$ADDR" "$PORT" "$NQN" -l 60 -c 1
say "connected: $CTRL, $DISK"
expect_size "$DISK" $((256 * MIB))
random /tmp/one 8
put /tmp/one "$DISK" 0
expect_namespaces 1

hot_add 64 hot0
resize
hot_remove_under_load
hot_add 32 hot1
host_do remove-ns 2 || fail "the host could not remove namespace 2"
wait_until $EVENT_S nvme_ns_gone "$NQN" 2 || fail "namespace 2 is still there"
discard
write_zeroes

expect_data /tmp/one "$DISK" 0
check_eq "the state of $CTRL" "$(nvme_state "$CTRL")" live
# A reconnect scans the namespaces as well and would hide a missing event.
if dmesg | grep -iE 'reconnect|controller.*(reset|down)'; then
	fail "the connection was made anew"
fi
nvme_detach "$NQN"
kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

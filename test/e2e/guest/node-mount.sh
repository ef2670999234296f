#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# node-mount.sh ADDR PORT NQN: what an administrator does with a new target: discover, connect,
# look at it with nvme-cli, make file systems, use them, check them; and all of it is still there
# after the target restarted. Namespace 1 is 256 MiB for ext4, namespace 2 is 320 MiB for xfs.

. /xsan/guest-lib.sh

ADDR=$1
PORT=$2
NQN=$3
MIB=1048576

# field NAME: the value behind "NAME :" in the output of the last check_run.
field() {
	sed -n "s/^[[:space:]]*$1[[:space:]]*: *//p" /tmp/check_run.out | head -n 1 | sed 's/ *$//'
}

# identity: what a host knows the namespaces by.
identity() {
	local nsid disk

	for nsid in 1 2; do
		disk=$(nvme_ns "$NQN" $nsid)
		echo "$nsid $(cat "/sys/block/$disk/wwid") $(cat "/sys/block/$disk/nguid")" \
			"$(cat "/sys/block/$disk/uuid")"
	done
}

look_at_discovery() {
	check_run "discover" nvme discover -t tcp -a "$ADDR" -s "$PORT"
	# The entry of our subsystem: from its "=====" line to the next one.
	awk -v nqn="$NQN" '/^=====/ { entry = "" } { entry = entry $0 "\n" }
		$1 == "subnqn:" && $2 == nqn { found = 1 }
		found && /^sectype:|^eflags:/ { printf "%s", entry; found = 0 }' \
		/tmp/check_run.out >/tmp/entry
	[ -s /tmp/entry ] || {
		cat /tmp/check_run.out
		fail "nvme discover does not list $NQN"
	}
	check_eq "trtype of the entry" "$(awk '$1 == "trtype:" { print $2 }' /tmp/entry)" tcp
	check_eq "traddr of the entry" "$(awk '$1 == "traddr:" { print $2 }' /tmp/entry)" "$ADDR"
	check_eq "trsvcid of the entry" "$(awk '$1 == "trsvcid:" { print $2 }' /tmp/entry)" "$PORT"
	check_eq "subtype of the entry" \
		"$(sed -n 's/^subtype: *//p' /tmp/entry)" "nvme subsystem"
}

connect() {
	check_run "connect-all" nvme connect-all -t tcp -a "$ADDR" -s "$PORT" -l 60 -c 1
	CTRL=$(nvme_ctrl "$NQN") || fail "connect-all made no controller of $NQN"
	wait_until 60 nvme_state_is "$CTRL" live || fail "$CTRL is '$(nvme_state "$CTRL")'"
	wait_until 60 nvme_ns_ready "$NQN" 1 || fail "namespace 1 does not appear"
	wait_until 60 nvme_ns_ready "$NQN" 2 || fail "namespace 2 does not appear"
	EXT4=/dev/$(nvme_ns "$NQN" 1)
	XFS=/dev/$(nvme_ns "$NQN" 2)
}

look_at_controller() {
	local oncs

	check_run "list" nvme list
	grep "^$EXT4 " /tmp/check_run.out | grep -q XSAN0001 || fail "nvme list lacks $EXT4"
	grep "^$XFS " /tmp/check_run.out | grep -q XSAN0001 || fail "nvme list lacks $XFS"
	check_run "list-subsys" nvme list-subsys
	grep -q "NQN=$NQN" /tmp/check_run.out || fail "nvme list-subsys lacks $NQN"

	check_run "id-ctrl" nvme id-ctrl "/dev/$CTRL"
	check_eq "sn" "$(field sn)" XSAN0001
	check_eq "mn" "$(field mn)" XSAN
	check_eq "subnqn" "$(field subnqn)" "$NQN"
	check_eq "cntrltype" "$(field cntrltype)" 1
	check_eq "mdts (1 MiB)" "$(field mdts)" 8
	check_eq "ioccsz (8 KiB in the capsule)" "$(field ioccsz)" 516
	[ "$(field kas)" -gt 0 ] || fail "kas is 0: no keep-alive"
	[ "$(field nn)" -ge 2 ] || fail "nn is $(field nn)"
	[ $(($(field sgls) & 3)) -ne 0 ] || fail "sgls is $(field sgls): no SGLs"
	oncs=$(field oncs)
	[ $((oncs & 0xd)) -eq 13 ] ||
		fail "oncs is $oncs: Compare, Dataset Management or Write Zeroes is missing"
	[ $(($(field oaes) & 0x100)) -ne 0 ] ||
		fail "oaes is $(field oaes): no namespace attribute events"
}

look_at_namespaces() {
	local id

	check_run "id-ns" nvme id-ns "/dev/$CTRL" -n 1
	check_eq "nsze" "$(($(field nsze)))" $((256 * MIB / 512))
	check_eq "ncap" "$(($(field ncap)))" $((256 * MIB / 512))
	grep -q 'lbads:9 .*in use' /tmp/check_run.out || fail "the blocks are not of 512 bytes"
	check_eq "the size of $EXT4" "$(blockdev --getsize64 "$EXT4")" $((256 * MIB))
	check_eq "the size of $XFS" "$(blockdev --getsize64 "$XFS")" $((320 * MIB))
	check_eq "the block size of $EXT4" "$(blockdev --getss "$EXT4")" 512
	[ "$(cat "/sys/block/${EXT4#/dev/}/queue/max_hw_sectors_kb")" -le 1024 ] ||
		fail "requests larger than the target's 1 MiB are possible"

	check_run "ns-descs" nvme ns-descs "/dev/$CTRL" -n 1
	for id in uuid nguid; do
		field "$id" | grep -q '[1-9a-f]' || fail "ns-descs gives no $id"
	done
	check_run "list-ns" nvme list-ns "/dev/$CTRL"
	check_eq "the namespaces of list-ns" "$(grep -c '0x[12]$' /tmp/check_run.out)" 2
}

look_at_logs() {
	local command

	check_run "smart-log" nvme smart-log "/dev/$CTRL"
	check_eq "critical_warning" "$(field critical_warning)" 0
	# nvme-cli 2.3 prints nothing for a fabrics controller when it is not told the command set.
	check_run "effects-log" nvme effects-log "/dev/$CTRL" --csi=0
	for command in 'Get Log Page' Identify Abort 'Set Features' 'Keep Alive' Flush Write Read \
		Compare 'Write Zeroes' 'Dataset Management'; do
		grep -q "CS[0-9]* *\[$command *\]" /tmp/check_run.out || {
			cat /tmp/check_run.out
			fail "effects-log does not list $command"
		}
	done
	check_run "error-log" nvme error-log "/dev/$CTRL" -e 1
	check_run "fw-log" nvme fw-log "/dev/$CTRL"
	check_run "supported log pages" nvme get-log "/dev/$CTRL" --log-id=0 --log-len=1024
	check_run "number of queues" nvme get-feature "/dev/$CTRL" -f 7
	check_run "keep-alive timer" nvme get-feature "/dev/$CTRL" -f 15
}

# fill DIRECTORY: files of many sizes, one deep path, and the list of all checksums on tmpfs.
fill() {
	local index=0

	mkdir -p "$1/a/deep/path"
	for size in 0 1 511 512 513 4095 4096 4097 65536 1000000 1048576 3000000 8388608; do
		head -c $size /dev/urandom >"$1/file$index"
		index=$((index + 1))
	done
	for index in $(seq 40); do
		head -c $((index * 700)) /dev/urandom >"$1/a/deep/path/$index"
	done
	(cd "$1" && find . -type f -exec sha256sum {} +) >"/tmp/sums.$2"
	[ "$(wc -l <"/tmp/sums.$2")" -eq 53 ] || fail "the files were not all written"
}

# compare DEVICE TYPE: mounts, and every file is as it was.
compare() {
	check_run "mount $2" mount -t "$2" "$1" /mnt
	(cd /mnt && sha256sum -c "/tmp/sums.$2") >/tmp/compare.out 2>&1 || {
		grep -v ': OK$' /tmp/compare.out
		fail "files on $2 have changed"
	}
	check_run "umount $2" umount /mnt
}

compare_all() {
	check_run "e2fsck" e2fsck -fn "$EXT4"
	check_run "xfs_repair" xfs_repair -n "$XFS"
	compare "$EXT4" ext4
	compare "$XFS" xfs
}

look_at_discovery
connect
say "connected: $CTRL, $EXT4, $XFS"
look_at_controller
look_at_namespaces
look_at_logs
identity >/tmp/identity

say "file systems"
check_run "mkfs.ext4" mkfs.ext4 -q "$EXT4"
check_run "mount ext4" mount -t ext4 "$EXT4" /mnt
fill /mnt ext4
check_run "umount ext4" umount /mnt
check_run "mkfs.xfs" mkfs.xfs -q "$XFS"
check_run "mount xfs" mount -t xfs "$XFS" /mnt
fill /mnt xfs
check_run "umount xfs" umount /mnt
echo 3 >/proc/sys/vm/drop_caches
compare_all

say "disconnect and connect again"
nvme_detach "$NQN"
connect
identity | cmp -s - /tmp/identity || fail "the identifiers changed over a reconnect"
compare_all

say "restart of the target under a connected host"
host_do restart || fail "the host could not restart the target"
wait_until 60 nvme_state_is "$CTRL" live || fail "$CTRL is '$(nvme_state "$CTRL")' after a restart"
echo 3 >/proc/sys/vm/drop_caches
compare_all
nvme_detach "$NQN"
connect
identity >/tmp/identity.now
cmp -s /tmp/identity.now /tmp/identity || {
	cat /tmp/identity /tmp/identity.now
	fail "the identifiers changed over a restart of the target"
}
nvme_detach "$NQN"
kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of test-nvme.sh. The PCI disks are at 0000:00:10.0 (namespaces 1 and 3), 11.0, 12.0
# and 13.0; the kernel gives controllers their numbers in any order.

. /xsan/guest-lib.sh
. /xsan/nvmet.sh

TWO=0000:00:10.0
ONE=0000:00:11.0
PULL=0000:00:12.0
PULL2=0000:00:13.0
NQN=nqn.2026-11.io.xsan:nvme
CHECK=/root/device-check
export LD_LIBRARY_PATH=/root/lib

# check ARGS: the program must succeed; what it says is shown.
check() {
	"$CHECK" "$@" >/tmp/check.out 2>&1 || {
		cat /tmp/check.out
		fail "device-check $1 $2"
	}
	tail -n 3 /tmp/check.out
}

# controller PCI-ADDRESS: nvme0...
controller() {
	local dir

	for dir in /sys/class/nvme/nvme*; do
		if [ "$(cat "$dir/address")" = "$1" ]; then
			echo "${dir##*/}"
			return
		fi
	done
	return 1
}

controller_gone() {
	! controller "$1" >/dev/null 2>&1
}

# disk PCI-ADDRESS NSID: nvme0n1...
disk() {
	local dir ctrl

	ctrl=$(controller "$1") || return 1
	for dir in "/sys/class/nvme/$ctrl/nvme"*; do
		if [ "$(cat "$dir/nsid" 2>/dev/null)" = "$2" ]; then
			echo "${dir##*/}"
			return
		fi
	done
	return 1
}

# exercise NAME PCI-ADDRESS NSID ENGINE...: the engines in turn on one disk, each on what the one before
# has left.
exercise() {
	local name=$1 pci=$2 nsid=$3 engine seed=1 node

	shift 3
	node=/dev/$(disk "$pci" "$nsid") || fail "no disk for namespace $nsid at $pci"
	for engine; do
		say "$name: $engine on $node"
		check exercise "{\"driver\": \"nvme\", \"name\": \"$name\", \"pci_addr\": \"$pci\",
			\"nsid\": $nsid, \"engine\": \"$engine\"}" $seed /tmp/model
		# Past the page cache, which knows nothing of what went past it.
		blockdev --flushbufs "$node"
		dd if="$node" iflag=direct bs=1M 2>/dev/null | cmp - /tmp/model ||
			fail "$node is not what the library wrote by $engine"
		seed=$((seed + 1))
	done
	check compare "{\"driver\": \"nvme\", \"name\": \"r\", \"device\": \"$node\",
		\"read_only\": true}" /tmp/model
	echo "model of $name: $(sha256sum </tmp/model | cut -d ' ' -f 1)"
}

{ wait_until 60 disk $PULL 1 && wait_until 20 disk $PULL2 1; } >/dev/null || fail "the disks do not appear"
[ -c "/dev/ng$(controller $ONE | tr -cd 0-9)n1" ] || fail "this kernel has no generic NVMe devices"

say "what there is"
check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$TWO\"}" \
	"namespaces 1, 3; choose one by nsid"
check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"0000:00:1f.0\"}" "$ONE"
check refuse '{"driver": "nvme", "name": "x", "pci_addr": "0000:00:00.0"}' "no NVMe controller"
check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\",
	\"uuid\": \"11111111-2222-3333-4444-555555555555\"}" "serial number ONE"
check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\", \"device\": \"nvme0\"}" \
	"one of the two"
"$CHECK" info "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\"}" >/tmp/info ||
	fail "info: $(cat /tmp/info)"
cat /tmp/info
check_eq "the size" "$(sed -n 's/^size //p' /tmp/info)" 33554432
check_eq "the alignment, which says that passthrough is used" \
	"$(sed -n 's/^buffer_align //p' /tmp/info)" 4
UUID=$(sed -n 's/^uuid //p' /tmp/info)
# The same disk is the same by its name, and may be asked for by its identity.
"$CHECK" info "{\"driver\": \"nvme\", \"name\": \"x\", \"device\": \"$(controller $ONE)\",
	\"uuid\": \"$UUID\"}" >/tmp/info2 || fail "info: $(cat /tmp/info2)"
cmp /tmp/info /tmp/info2 || fail "the disk is another one by its name: $(cat /tmp/info2)"
"$CHECK" info "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$TWO\", \"nsid\": 3}" \
	>/tmp/info || fail "info: $(cat /tmp/info)"
check_eq "the block size of namespace 3" "$(sed -n 's/^block //p' /tmp/info)" 4096
# Without the ring for commands, "auto" takes the block device and "passthru" says why not.
XSAN_URING_MASK=cmd "$CHECK" info "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\"}" \
	>/tmp/info2 || fail "info: $(cat /tmp/info2)"
check_eq "the alignment of the block device" "$(sed -n 's/^buffer_align //p' /tmp/info2)" 4
check_eq "the identity" "$(sed -n 's/^uuid //p' /tmp/info2)" "$UUID"
XSAN_URING_MASK=cmd check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\",
	\"engine\": \"passthru\"}" "takes no commands by io_uring"

say "by a configuration document"
# document PARAMS
document() {
	echo "{\"base_devices\": [{\"method\": \"nvme\", \"params\": {\"name\": \"disk\", $1}}]}"
}
document "\"pci_addr\": \"$ONE\"" >/tmp/one.json
document "\"pci_addr\": \"$TWO\", \"nsid\": 3" >/tmp/two.json
document "\"device\": \"/dev/$(disk $TWO 1)\", \"engine\": \"block\"" >/tmp/name.json
check document /tmp/one.json /tmp/two.json
check document /tmp/name.json /tmp/one.json
check document /tmp/two.json /tmp/name.json

exercise a $TWO 1 passthru block passthru
exercise b $TWO 3 block passthru

say "in use"
node=/dev/$(disk $ONE 1)
check_run "mkfs" mkfs.ext4 -q "$node"
check_run "mount" mount -t ext4 "$node" /mnt
for engine in passthru block; do
	check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\",
		\"engine\": \"$engine\"}" "mounted on /mnt"
done
"$CHECK" info "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\", \"read_only\": true}" \
	>/tmp/info || fail "read-only: $(cat /tmp/info)"
check_eq "read-only" "$(sed -n 's/^read_only //p' /tmp/info)" 1
check_run "umount" umount /mnt
check_run "fsck" e2fsck -fn "$node"

exercise c $ONE 1 passthru block

say "SMART"
check smart $ONE
cp /tmp/check.out /tmp/smart
nvme smart-log "/dev/$(controller $ONE)" >/tmp/smart-log || fail "nvme smart-log"
# field OURS THEIRS: the number on their line, without units.
field() {
	local ours theirs

	ours=$(sed -n "s/^$1 //p" /tmp/smart)
	theirs=$(sed -n "s/^$2[^:]*: *\([0-9]*\).*/\1/p" /tmp/smart-log | head -n 1)
	check_eq "$1" "$ours" "$theirs"
}
field critical_warning critical_warning
field temperature temperature
field available_spare available_spare
field percentage_used percentage_used
field power_cycles power_cycles
field media_errors media_errors
field host_write_commands host_write_commands
check_eq "serial" "$(sed -n 's/^serial //p' /tmp/smart)" ONE
[ "$(sed -n 's/^bytes_written //p' /tmp/smart)" -gt 10000000 ] || fail "it says nothing was written"

for engine in passthru block; do
	say "idle, $engine"
	check idle "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$ONE\",
		\"engine\": \"$engine\"}"
done

say "resize, on a namespace of the kernel's own target"
modprobe loop
truncate -s 64M /tmp/disk
losetup /dev/loop0 /tmp/disk || fail "no loop device"
nvmet_export $NQN /dev/loop0 127.0.0.1 4420
nvme_attach 127.0.0.1 4420 $NQN
for engine in passthru block; do
	size=$(blockdev --getsize64 "$DISK")
	"$CHECK" resize "{\"driver\": \"nvme\", \"name\": \"x\", \"device\": \"$DISK\",
		\"engine\": \"$engine\"}" $((size + 33554432)) >/tmp/resize.out 2>&1 &
	pid=$!
	wait_until 60 grep -q waiting /tmp/resize.out || fail "resize: $(cat /tmp/resize.out)"
	truncate -s $((size + 33554432)) /tmp/disk
	losetup -c /dev/loop0
	echo 1 >"/sys/kernel/config/nvmet/subsystems/$NQN/namespaces/1/revalidate_size"
	wait $pid || fail "resize by $engine: $(cat /tmp/resize.out)"
done
nvme_detach $NQN
nvmet_remove $NQN

say "pulled out under load"
for engine in block passthru; do
	pci=$PULL id=nvme-pull
	if [ $engine = block ]; then
		pci=$PULL2 id=nvme-pull2
	fi
	"$CHECK" load "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$pci\",
		\"engine\": \"$engine\"}" >/tmp/load.out 2>&1 &
	pid=$!
	wait_until 60 grep -q "under load" /tmp/load.out || fail "load: $(cat /tmp/load.out)"
	host_do unplug "$id" || fail "the host could not pull $id out"
	wait $pid || fail "pulled out, $engine: $(cat /tmp/load.out)"
	cat /tmp/load.out
	# The disk goes before its controller does.
	wait_until 60 controller_gone "$pci" || fail "the controller at $pci is still there"
	check refuse "{\"driver\": \"nvme\", \"name\": \"x\", \"pci_addr\": \"$pci\"}" "no PCI device"
done
kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

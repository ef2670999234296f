#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows libxbdev on NVMe disks that a real Linux kernel drives: emulated PCI disks, found by PCI
# address, by name, and with several namespaces, through both engines. What it wrote is what the
# guest's block device shows and what is in the image on this machine afterwards; the SMART log is
# what nvme-cli reads; a disk in use is left alone; one that is pulled out under load is removed;
# one that grows is seen to.

. "$(dirname "$0")/lib.sh"
test_begin
require_guest
require socat socat
XSAN_BUILD=${XSAN_BUILD:-$E2E_DIR/../../build}
CHECK=$XSAN_BUILD/test/e2e/device-check
[ -x "$CHECK" ] || test_fail "$CHECK is not built (XSAN_BUILD names the build directory)"
QMP=$TEST_DIR/qmp.sock
export QMP

on_request() {
	case $1 in
	unplug)
		printf '%s\n%s\n' '{"execute": "qmp_capabilities"}' \
			"{\"execute\": \"device_del\", \"arguments\": {\"id\": \"$2\"}}" |
			timeout 10 socat -t 3 - "UNIX-CONNECT:$QMP" >"$TEST_DIR/qmp.log" 2>&1
		! grep '"error"' "$TEST_DIR/qmp.log" >&2
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request

# The program and its shared libraries, in a directory of their own.
files=(--file "$CHECK:/root/device-check")
while read -r library; do
	files+=(--file "$library:/root/lib/${library##*/}")
done < <(ldd "$CHECK" | sed -n 's/^.*=> \(\/[^ ]*\) .*/\1/p')

# disk FILE: a raw image as a disk of QEMU named after the file.
disks=()
disk() {
	truncate -s 32M "$TEST_DIR/$1.img"
	disks+=(--qemu -drive --qemu "file=$TEST_DIR/$1.img,if=none,id=$1,format=raw,discard=unmap")
}
device() {
	disks+=(--qemu -device --qemu "$1")
}
for name in a b c d e; do
	disk "$name"
done
# Its namespaces have the numbers 1 (512-byte blocks) and 3 (4096-byte blocks).
device nvme,id=nvme-two,serial=TWO,addr=0x10
device nvme-ns,bus=nvme-two,drive=a,nsid=1
device nvme-ns,bus=nvme-two,drive=b,nsid=3,logical_block_size=4096,physical_block_size=4096
device nvme,id=nvme-one,serial=ONE,drive=c,addr=0x11
device nvme,id=nvme-pull,serial=PULL,drive=d,addr=0x12
device nvme,id=nvme-pull2,serial=PULL2,drive=e,addr=0x13

guest --timeout 600 --mem 2048 "${files[@]}" "${disks[@]}" --monitor "$QMP" \
	--on-request on_request "$E2E_DIR/guest/nvme.sh" 2>&1 | tee "$TEST_DIR/guest.log"
# What the library wrote is in the images: the guest printed the checksums of its models.
for name in a b c; do
	want=$(sed -n "s/^model of $name: //p" "$TEST_DIR/guest.log")
	got=$(sha256sum <"$TEST_DIR/$name.img" | cut -d ' ' -f 1)
	[ -n "$want" ] || test_fail "the guest printed no checksum for $name"
	[ "$want" = "$got" ] || test_fail "the image $name.img is not what the library wrote"
done
test_pass

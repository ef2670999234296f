#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows what libxbdev tells of the health of disks that a real Linux kernel drives: an NVMe disk and
# an ATA disk, each as a device node and as a file on a file system on a partition of it or on an
# array of both. The figures are what nvme-cli reads, and what QEMU's disks are known to say. A
# warning that the NVMe disk raises becomes an event within seconds, and so does its end.

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
	warning) # BITS: what the disk warns of from now on
		printf '%s\n%s\n' '{"execute": "qmp_capabilities"}' \
			"{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"/machine/peripheral/nvme\",
			  \"property\": \"smart_critical_warning\", \"value\": $2}}" | tr -d '\n\t' |
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

disks=()
for name in nvme ata; do
	truncate -s 64M "$TEST_DIR/$name.img"
	disks+=(--qemu -drive --qemu "file=$TEST_DIR/$name.img,if=none,id=disk-$name,format=raw")
done
for words in nvme,id=nvme,serial=NVME,drive=disk-nvme ich9-ahci,id=ahci \
	ide-hd,bus=ahci.0,drive=disk-ata,serial=ATA; do
	disks+=(--qemu -device --qemu "$words")
done

guest --timeout 300 "${files[@]}" "${disks[@]}" --monitor "$QMP" --on-request on_request \
	"$E2E_DIR/guest/health.sh"
test_pass

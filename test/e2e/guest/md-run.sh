#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of md_guest (md_guest.sh): finds the disks by their serial numbers, loads the MD
# driver, runs the test's script and brings back what that left in /out.

. /xsan/md.sh

# All disks are there when virtio_blk has been loaded.
for dir in /sys/block/vd*; do
	serial=
	read -r serial <"$dir/serial"
	if [ "$serial" = xsan-md-out ]; then
		out=/dev/${dir##*/}
		continue
	fi
	while read -r want array image; do
		if [ "$serial" = "$want" ]; then
			mkdir -p "/md/$array"
			ln -s "/dev/${dir##*/}" "/md/$array/$image"
		fi
	done </xsan/md-table
done
check_eq "the number of disks" "$(find /md -type l 2>/dev/null | wc -l)" "$(wc -l </xsan/md-table)"
check_run "load the MD driver" modprobe md_mod
mkdir -p /out /run/mdadm

bash /xsan/md-script "$@"
status=$?

md_stop_all
kernel_is_sane || fail "the kernel complains"
tar -C /out -cf "$out" . || fail "/out does not fit on its disk"
sync
exit $status

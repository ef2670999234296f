#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of test-guest-selftest.sh: the kernel's host against the kernel's target, both
# in this guest, so that whatever fails here is the harness's fault and not xsand's.

. /xsan/guest-lib.sh
. /xsan/nvmet.sh

NQN=nqn.2026-11.io.xsan:selftest

check_eq "an argument with a blank" "$1" "one word"
check_eq "the last argument" "$2" ""
check_eq "the extra file" "$(cat /etc/extra.txt)" "extra"
check_eq "the host's NQN" "$(cat /etc/nvme/hostnqn)" nqn.2014-08.org.nvmexpress:uuid:selftest
grep -q nvme_core.multipath=N /proc/cmdline || fail "--append did not reach the kernel"
check_eq "nvme_core.multipath" "$(cat /sys/module/nvme_core/parameters/multipath)" N
check_eq "the size of vda" "$(blockdev --getsize64 /dev/vda)" 8388608
wait_until 60 test -b /dev/nvme0n1 || fail "no PCI NVMe disk"
check_eq "the size of the PCI NVMe disk" "$(blockdev --getsize64 /dev/nvme0n1)" 8388608
echo on-the-disk | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null

say "host_do"
answer=$(host_do make-file "two words" "") || fail "host_do gave exit code $?"
check_eq "what the host wrote" "$answer" "made for: two words|"
host_do fail-with 3
check_eq "the exit code of a request that fails" $? 3

say "modules"
for module in raid0 raid1 raid10 raid456 linear dm_crypt null_blk loop; do
	check_run "load $module" modprobe $module
done

say "the kernel's own target"
truncate -s 96M /tmp/disk
losetup /dev/loop0 /tmp/disk || fail "no loop device"
nvmet_export $NQN /dev/loop0 127.0.0.1 4420
check_run "discover" nvme discover -t tcp -a 127.0.0.1 -s 4420
grep -q "subnqn:.*$NQN" /tmp/check_run.out || fail "nvme discover does not show $NQN"
nvme_attach 127.0.0.1 4420 $NQN
say "$NQN is $DISK on $CTRL"
check_eq "the size of $DISK" "$(blockdev --getsize64 "$DISK")" $((96 * 1048576))
lsblk "$DISK" >/dev/null || fail "lsblk"

say "ext4"
check_run "mkfs.ext4" mkfs.ext4 -q "$DISK"
check_run "mount" mount -t ext4 "$DISK" /mnt
dd if=/dev/urandom of=/mnt/file bs=1M count=4 2>/dev/null
sum=$(sha256sum </mnt/file)
check_run "fstrim" fstrim /mnt
check_run "umount" umount /mnt
check_run "e2fsck" e2fsck -fn "$DISK"
check_run "mount again" mount -t ext4 "$DISK" /mnt
check_eq "the checksum of the file" "$(sha256sum </mnt/file)" "$sum"
check_run "umount" umount /mnt

say "fio"
for engine in libaio io_uring psync; do
	check_run "fio $engine" fio --name=verify --filename="$DISK" --ioengine=$engine --direct=1 \
		--rw=randwrite --bs=4k --size=2m --iodepth=16 --verify=crc32c --verify_fatal=1
done
check_run "blkdiscard" blkdiscard "$DISK"
is_zero "$DISK" 0 8 || fail "a discarded loop device does not read as zeroes"

say "xfs"
# mkfs.xfs takes nothing below 300 MiB.
truncate -s 320M /tmp/xfs
check_run "mkfs.xfs" mkfs.xfs -q /tmp/xfs
losetup /dev/loop1 /tmp/xfs
check_run "mount xfs" mount -t xfs /dev/loop1 /mnt
echo content >/mnt/file
check_run "umount xfs" umount /mnt
check_run "xfs_repair" xfs_repair -n /dev/loop1

say "disconnect"
nvme_detach $NQN
nvmet_remove $NQN
losetup -d /dev/loop0
kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

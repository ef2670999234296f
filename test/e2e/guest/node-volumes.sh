#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# node-volumes.sh ADDR PORT NQN: namespace 1 is a thin volume of 256 MiB. ext4 on it; a snapshot
# while fio writes, whose clone comes as namespace 2; fstrim. The host is asked for "snapshot",
# "clone", "free" (the store's free clusters of 64 KiB) and "restart".

. /xsan/guest-lib.sh

NQN=$3
MIB_CLUSTERS=16

# compare DIRECTORY: every file that was synced before the snapshot is as it was.
compare() {
	(cd "$1" && sha256sum -c /tmp/sums) >/tmp/compare.out 2>&1 || {
		grep -v ': OK$' /tmp/compare.out
		fail "files in $1 have changed"
	}
}

free_clusters() {
	host_do free || fail "the host does not know what is free"
}

nvme_attach "$1" "$2" "$NQN"
check_run "mkfs.ext4" mkfs.ext4 -q "$DISK"
mkdir -p /mnt/volume /mnt/clone
check_run "mount" mount -t ext4 "$DISK" /mnt/volume
mkdir /mnt/volume/kept
for index in $(seq 40); do
	head -c $((index * 30000)) /dev/urandom >"/mnt/volume/kept/$index"
done
(cd /mnt/volume && find kept -type f -exec sha256sum {} +) >/tmp/sums
check_eq "files" "$(wc -l </tmp/sums)" 40
: >/mnt/volume/load
sync

say "a snapshot under load"
fio --name=load --filename=/mnt/volume/load --size=48m --rw=randwrite --bs=4k-64k --ioengine=io_uring \
	--iodepth=16 --direct=1 --fsync=200 --verify=crc32c --do_verify=1 --loops=2 >/tmp/fio.out 2>&1 &
fio=$!
wait_until 60 test -s /mnt/volume/load || fail "fio does not begin"
sleep 2
kill -0 $fio || fail "fio is over before the snapshot"
host_do snapshot || fail "no snapshot"
host_do clone || fail "no clone"
wait_until 60 nvme_ns_ready "$NQN" 2 || fail "the clone does not appear"
CLONE=/dev/$(nvme_ns "$NQN" 2)
check_run "mount of the clone" mount -t ext4 "$CLONE" /mnt/clone
compare /mnt/clone
[ -e /mnt/clone/load ] || fail "the clone lacks the file that was being written"
echo mine >/mnt/clone/mine
check_run "umount of the clone" umount /mnt/clone
check_run "e2fsck of the clone" e2fsck -fn "$CLONE"
wait $fio || {
	tail -n 20 /tmp/fio.out
	fail "fio: wrong data, or an error"
}
[ ! -e /mnt/volume/mine ] || fail "the volume has the clone's file"
compare /mnt/volume

# What the snapshot has too stays with the volume; what was never there before does not.
say "fstrim"
head -c $((32 * 1048576)) /dev/urandom >/mnt/volume/late
sync
before=$(free_clusters)
rm /mnt/volume/late
sync
check_run "fstrim" fstrim -v /mnt/volume
after=$(free_clusters)
say "free clusters: $before, then $after"
[ $((after - before)) -ge $((24 * MIB_CLUSTERS)) ] ||
	fail "32 MiB are deleted, and $((after - before)) clusters came back"
compare /mnt/volume

say "restart of the target"
host_do restart || fail "the host could not restart the target"
wait_until 60 nvme_state_is "$CTRL" live || fail "$CTRL is '$(nvme_state "$CTRL")' after a restart"
echo 3 >/proc/sys/vm/drop_caches
compare /mnt/volume
check_run "umount" umount /mnt/volume
check_run "e2fsck" e2fsck -fn "$DISK"
check_run "e2fsck of the clone" e2fsck -fn "$CLONE"
check_run "mount of the clone" mount -t ext4 "$CLONE" /mnt/clone
check_eq "the clone's file" "$(cat /mnt/clone/mine)" mine
check_run "umount of the clone" umount /mnt/clone
nvme_detach "$NQN"
kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of test-health.sh: /dev/nvme0n1, an NVMe disk, and /dev/sda, an ATA disk.

. /xsan/guest-lib.sh

CHECK=/root/device-check
export LD_LIBRARY_PATH=/root/lib

# health JSON: what the library says, in /tmp/health.
health() {
	"$CHECK" health "$1" >/tmp/health 2>&1 || {
		cat /tmp/health
		fail "device-check health $1"
	}
}

# says NAME WANTED
says() {
	check_eq "$1" "$(sed -n "s/^$1 //p" /tmp/health)" "$2"
}

# is_nvme: /tmp/health is of the NVMe disk, whose log nvme-cli shows too.
is_nvme() {
	says has_smart 1
	says source "NVMe SMART log of /dev/nvme0"
	nvme smart-log /dev/nvme0 >/tmp/smart-log || fail "nvme smart-log"
	field temperature temperature
	field wear percentage_used
	field power_on_hours power_on_hours
	field unsafe_shutdowns unsafe_shutdowns
	field media_errors media_errors
	says bad_sectors -1
	says warnings 0
}

# field OURS THEIRS: the number on their line, without units.
field() {
	says "$1" "$(sed -n "s/^$2[^:]*: *\([0-9]*\).*/\1/p" /tmp/smart-log | head -n 1)"
}

# is_ata: /tmp/health is of the ATA disk, of which QEMU says these.
is_ata() {
	says has_smart 1
	says source "ATA SMART of /dev/sda"
	says percentage 100
	says temperature 31
	says bad_sectors 0
	says media_errors 0
	says wear -1
	says spare -1
	says days -1
	says warnings 0
}

for module in ahci sd_mod; do
	modprobe $module || fail "no module $module"
done
wait_until 60 test -b /dev/sda || fail "there is no ATA disk"
wait_until 60 test -b /dev/nvme0n1 || fail "there is no NVMe disk"

say "device nodes"
health '{"driver": "nvme", "name": "x", "device": "nvme0n1"}'
cat /tmp/health
is_nvme
says percentage 100
before=$(sed -n 's/^bytes_written //p' /tmp/health)
health '{"driver": "file", "name": "x", "filename": "/dev/nvme0n1"}'
is_nvme
health '{"driver": "file", "name": "x", "filename": "/dev/sda"}'
cat /tmp/health
is_ata

say "files"
for disk in nvme0n1 sda; do
	check_run "mkfs" mkfs.ext4 -q "/dev/$disk"
	mkdir -p "/mnt/$disk"
	check_run "mount" mount -t ext4 "/dev/$disk" "/mnt/$disk"
	check_run "a file" dd if=/dev/urandom of="/mnt/$disk/file" bs=1M count=20 conv=fsync
done
health '{"driver": "file", "name": "x", "filename": "/mnt/nvme0n1/file"}'
is_nvme
after=$(sed -n 's/^bytes_written //p' /tmp/health)
[ "$after" -ge $((before + 20 * 1000000)) ] || fail "20 MiB more make $before bytes to $after"
health '{"driver": "file", "name": "x", "filename": "/mnt/sda/file"}'
is_ata
# What stands on no disk, and on one that is neither.
truncate -s 1M /tmp/file
health '{"driver": "file", "name": "x", "filename": "/tmp/file"}'
says has_smart 0
grep -q '^source statistics of this library; no SMART: ' /tmp/health || fail "$(cat /tmp/health)"
umount /mnt/nvme0n1 /mnt/sda

say "an array of both"
modprobe raid1
[ -e /dev/md0 ] || mknod /dev/md0 b 9 0
if command -v mdadm >/dev/null; then
	check_run "mdadm" mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 \
		--assume-clean /dev/nvme0n1 /dev/sda
	health '{"driver": "file", "name": "x", "filename": "/dev/md0"}'
	# The least healthy counts, and both are well: the first that was read.
	says has_smart 1
	says percentage 100
	host_do warning 8 || fail "the host could not change the disk"
	health '{"driver": "file", "name": "x", "filename": "/dev/md0"}'
	says source "NVMe SMART log of /dev/nvme0"
	says percentage 0
	says reason "the disk has become read-only"
	host_do warning 0 || fail "the host could not change the disk"
	check_run "mdadm" mdadm --stop /dev/md0
else
	say "SKIP: there is no mdadm in this image"
fi

say "events"
mkfifo /tmp/stop
"$CHECK" watch '{"driver": "nvme", "name": "x", "device": "nvme0n1"}' </tmp/stop >/tmp/watch 2>&1 &
pid=$!
exec 7>/tmp/stop
wait_until 60 grep -q watching /tmp/watch || fail "watch: $(cat /tmp/watch)"
sleep 2
check_eq "events of a healthy disk" "$(grep -c condition /tmp/watch)" 0
# 2: temperature; 1: too few spare blocks; 4: unreliable.
host_do warning 2 || fail "the host could not change the disk"
wait_until 60 grep -q '^condition 1 begins at 100 %' /tmp/watch || fail "watch: $(cat /tmp/watch)"
host_do warning 5 || fail "the host could not change the disk"
for words in '^condition 1 ends' '^condition 4 begins at 10 %' '^condition 8 begins at 10 %'; do
	wait_until 60 grep -q "$words" /tmp/watch || fail "watch: $(cat /tmp/watch)"
done
host_do warning 0 || fail "the host could not change the disk"
for words in '^condition 4 ends at 100 %' '^condition 8 ends at 100 %'; do
	wait_until 60 grep -q "$words" /tmp/watch || fail "watch: $(cat /tmp/watch)"
done
exec 7>&-
wait $pid || fail "watch: $(cat /tmp/watch)"
cat /tmp/watch
check_eq "events" "$(grep -c condition /tmp/watch)" 6

kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

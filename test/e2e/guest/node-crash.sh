#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# node-crash.sh ADDR PORT NQN KILLS SEED: namespace 1 is written by crash-writer, namespace 2 holds
# an ext4 on which files are written and synced, and meanwhile the host kills and restarts the
# target (host_do kill-restart). The guest reconnects by itself. After every kill all that was
# acknowledged must be there; in the end ext4 must be clean and every synced file unchanged.

. /xsan/guest-lib.sh

ADDR=$1
PORT=$2
NQN=$3
KILLS=$4
SEED=$5
WRITER=/root/crash-writer
JOURNAL=/tmp/journal
NR_BLOCKS=4096
ROUND_S=100

process_is_over() {
	! kill -0 "$1" 2>/dev/null
}

flushes() {
	$WRITER status $JOURNAL | cut -d ' ' -f 1
}

flushes_reach() {
	[ "$(flushes)" -ge "$1" ]
}

files() {
	wc -l </tmp/synced
}

files_reach() {
	[ "$(files)" -ge "$1" ]
}

reconnects_reach() {
	[ "$(dmesg | grep -c "$CTRL: Successfully reconnected")" -ge "$1" ] &&
		nvme_state_is "$CTRL" live
}

# expect_progress WHEN: both writers get something acknowledged that was not yet.
expect_progress() {
	wait_until 60 flushes_reach $(($(flushes) + 10)) ||
		fail "crash-writer gets nothing acknowledged $1"
	wait_until 60 files_reach $(($(files) + 2)) || fail "no file is synced on ext4 $1"
}

# file_writer ROUND: writes new files over and over, each synced, until /tmp/stop is there. Only a
# file whose sync succeeded is entered in /tmp/synced.
file_writer() {
	local index=0 path sum

	while [ ! -e /tmp/stop ]; do
		path=round$1-$index
		head -c $((index * 3777 % 90000 + 1)) /dev/urandom >/tmp/source
		sum=$(sha256sum </tmp/source)
		dd if=/tmp/source of="/mnt/$path" conv=fsync 2>/dev/null || return 1
		echo "${sum%% *}  $path" >>/tmp/synced
		index=$((index + 1))
	done
}

start_writers() {
	rm -f /tmp/stop
	$WRITER write "$DISK" $JOURNAL $ROUND_S $((SEED * 1000 + $1)) >/tmp/writer.out 2>&1 &
	writer=$!
	file_writer "$1" &
	file_writer=$!
}

stop_writers() {
	kill -0 $writer 2>/dev/null || {
		cat /tmp/writer.out
		fail "crash-writer ended by itself: an I/O failed"
	}
	kill -TERM $writer
	touch /tmp/stop
	wait_until 60 process_is_over $writer || fail "crash-writer hangs"
	wait_until 60 process_is_over $file_writer || fail "the writer of files hangs"
	wait $writer || {
		cat /tmp/writer.out
		fail "crash-writer failed"
	}
	wait $file_writer || fail "a synced write of a file on ext4 failed"
}

verify() {
	check_run "verify $1" $WRITER verify "$DISK" $JOURNAL
	say "$1: $(cat /tmp/check_run.out)"
}

# written_sector: the number of a sector in /tmp/new, not the last of its block, that holds data. Some
# blocks may never have been written, and zeroes in the place of zeroes are nothing to be seen.
written_sector() {
	local sector

	for ((sector = 4; sector < 4096; sector += 8)); do
		if [ "$(dd if=/tmp/new bs=512 skip="$sector" count=1 2>/dev/null | tr -d '\0' | wc -c)" -gt 0 ]; then
			echo $sector
			return
		fi
	done
	fail "nothing was written in the first 2 MiB"
}

# The check itself must be able to fail: old blocks put back, and a block that was torn.
verify_can_fail() {
	local sector

	dd if="$DISK" of=/tmp/old iflag=direct bs=1M count=2 2>/dev/null
	check_run "one more round" $WRITER write "$DISK" $JOURNAL 2 $((SEED * 1000 + 999))
	verify "before the check of the check"
	dd if="$DISK" of=/tmp/new iflag=direct bs=1M count=2 2>/dev/null
	dd if=/tmp/old of="$DISK" oflag=direct bs=1M 2>/dev/null
	if $WRITER verify "$DISK" $JOURNAL >/tmp/verify.out; then
		fail "verify does not see that old data came back"
	fi
	grep -q 'went back' /tmp/verify.out || fail "verify sees something else than old data"
	dd if=/tmp/new of="$DISK" oflag=direct bs=1M 2>/dev/null
	sector=$(written_sector)
	dd if=/tmp/new of="$DISK" oflag=direct bs=512 skip="$sector" seek=$((sector + 1)) count=1 2>/dev/null
	if $WRITER verify "$DISK" $JOURNAL >/tmp/verify.out; then
		fail "verify does not see a sector in the wrong place"
	fi
	grep -q '1 errors' /tmp/verify.out || fail "verify sees more than the one wrong sector"
	say "verify sees old and misplaced data"
}

compare_files() {
	(cd /mnt && sha256sum -c /tmp/synced) >/tmp/compare.out 2>&1 || {
		grep -v ': OK$' /tmp/compare.out
		fail "synced files on ext4 are lost or changed"
	}
}

: >/tmp/synced
check_run "make the journal" $WRITER create $JOURNAL $NR_BLOCKS
nvme_attach "$ADDR" "$PORT" "$NQN" -l 60 -c 1
wait_until 60 nvme_ns_ready "$NQN" 2 || fail "namespace 2 does not appear"
EXT4=/dev/$(nvme_ns "$NQN" 2)
check_run "mkfs.ext4" mkfs.ext4 -q "$EXT4"
check_run "mount" mount -t ext4 "$EXT4" /mnt

round=1
while [ $round -le "$KILLS" ]; do
	start_writers $round
	expect_progress "before kill $round"
	host_do kill-restart busy || fail "the host could not kill and restart the target"
	wait_until 60 reconnects_reach $round ||
		fail "$CTRL is '$(nvme_state "$CTRL")' after kill $round"
	expect_progress "after kill $round"
	stop_writers
	verify "kill $round under load"
	round=$((round + 1))
done

# Nothing is written between these two checks, so nothing may be older in the second one.
host_do kill-restart idle || fail "the host could not kill and restart the target"
wait_until 60 reconnects_reach $round || fail "$CTRL is '$(nvme_state "$CTRL")' after the idle kill"
verify "kill without load"
verify_can_fail

echo 3 >/proc/sys/vm/drop_caches
compare_files
check_run "umount" umount /mnt
check_run "e2fsck" e2fsck -fn "$EXT4"
check_run "mount again" mount -t ext4 "$EXT4" /mnt
compare_files
check_run "umount" umount /mnt
say "$(files) synced files unchanged, ext4 clean; $(flushes) flushes"
if dmesg | grep -E 'EXT4-fs (error|warning)|I/O error'; then
	fail "the kernel reported errors of the disks"
fi
nvme_detach "$NQN"
kernel_is_sane || fail "the kernel complains"
exit 0

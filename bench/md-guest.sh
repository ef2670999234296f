#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of md.sh: SECONDS of each load, ROUNDS times, the kernel and us in turn.

# shellcheck source=test/e2e/guest/guest-lib.sh
. /xsan/guest-lib.sh

readonly RUN_S=$1 ROUNDS=$2 NR_DISKS=5 DISK_MIB=128
export LD_LIBRARY_PATH=/root/lib

# Five disks of memory.
check_run "load null_blk" modprobe null_blk nr_devices=0
check_run "load raid456" modprobe raid456
mkdir -p /sys/kernel/config /run/mdadm /dev/md
[ -d /sys/kernel/config/nullb ] || mount -t configfs none /sys/kernel/config
for ((i = 0; i < NR_DISKS; i++)); do
	dir=/sys/kernel/config/nullb/ram$i
	mkdir "$dir"
	echo 1 >"$dir/memory_backed"
	echo $DISK_MIB >"$dir/size"
	echo 4096 >"$dir/blocksize"
	echo 1 >"$dir/power"
done
disks=()
for ((i = 0; i < NR_DISKS; i++)); do
	disks+=("/dev/ram$i")
	[ -b "/dev/ram$i" ] || fail "there is no /dev/ram$i"
done

check_run "create the array" mdadm --create /dev/md/bench --run --metadata=1.2 --level=5 --chunk=64 \
	--raid-devices=$NR_DISKS --bitmap=none --assume-clean "${disks[@]}"
node=$(readlink -f /dev/md/bench)
bytes=$(blockdev --getsize64 "$node")
# Written once, so that parity and pages are there.
check_run "fill the array" dd if=/dev/zero of="$node" bs=1M count=$((bytes >> 20)) oflag=direct
check_run "stop the array" mdadm --stop "$node"

{
	echo '{"base_devices": ['
	for ((i = 0; i < NR_DISKS; i++)); do
		echo "{\"method\": \"aio\", \"params\": {\"name\": \"d$i\", \"filename\": \"${disks[i]}\"}}$([ $i -eq $((NR_DISKS - 1)) ] || echo ,)"
	done
	echo '], "raid_devices": [{"method": "raid5", "params": {"name": "bench",'
	echo '"base_bdevs": ["d0", "d1", "d2", "d3", "d4"], "strip_size_kb": 64}}]}'
} >/tmp/bench.json

# busy_ms: what the guest's processors have worked since it began.
busy_ms() {
	local user nice system irq softirq

	read -r _ user nice system _ _ irq softirq _ </proc/stat
	echo $(((user + nice + system + irq + softirq) * 10))
}

# report WHO NR_IOS MS BUSY_MS
report() {
	[ "$2" -gt 0 ] || fail "$1 did nothing"
	printf '  %-12s %8d IOPS, %8d ns of CPU per I/O\n' "$1" $(($2 * 1000 / $3)) $(($4 * 1000000 / $2))
}

# linux FIO-RW BS DEPTH
linux() {
	local before after iops node

	check_run "assemble the array" mdadm --assemble /dev/md/bench "${disks[@]}"
	node=$(readlink -f /dev/md/bench)
	echo 4096 >"/sys/block/${node##*/}/md/stripe_cache_size"
	before=$(busy_ms)
	fio --minimal --name=b --filename="$node" --ioengine=io_uring --direct=1 --rw="$1" --bs="$2" \
		--iodepth="$3" --time_based --runtime="$RUN_S" >/tmp/fio.out 2>&1 ||
		fail "fio: $(tail -n 3 /tmp/fio.out)"
	after=$(busy_ms)
	iops=$(tail -n 1 /tmp/fio.out | awk -F ';' '{ print int($8 + $49) }')
	check_run "stop the array" mdadm --stop "$node"
	report "Linux MD" $((iops * RUN_S)) $((RUN_S * 1000)) $((after - before))
}

# ours XBDEV-PERF-RW BS DEPTH
ours() {
	local before after ios

	before=$(busy_ms)
	/root/xbdev-perf --config /tmp/bench.json --rw "$1" --bs "$2" --iodepth "$3" --runtime "${RUN_S}s" \
		--mode embedded --json --quiet bench >/tmp/perf.out 2>/tmp/perf.err ||
		fail "xbdev-perf: $(tail -n 1 /tmp/perf.err)"
	after=$(busy_ms)
	ios=$(awk -F '[:,]' '/"ios"/ { sum += $2 } END { print sum }' /tmp/perf.out)
	report "libxbdev" "$ios" $((RUN_S * 1000)) $((after - before))
}

# load WHAT FIO-RW OUR-RW BS DEPTH
load() {
	local round

	for ((round = 0; round < ROUNDS; round++)); do
		echo "$1"
		linux "$2" "$4" "$5"
		ours "$3" "$4" "$5"
	done
}

load "raid5 4+1, whole stripes of 256 KiB written, depth 16" write write 256k 16
load "raid5 4+1, random 4 KiB read, depth 64" randread randread 4k 64
load "raid5 4+1, random 4 KiB write, depth 64" randwrite randwrite 4k 64
exit 0

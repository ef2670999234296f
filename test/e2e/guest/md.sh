# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the scripts of md_guest use (. /xsan/md.sh): MD arrays by name, whole reads, checks, reports.
# NAME is an array's directory below /md, whose links are its members' disks. A failed step prints a
# sentence and ends the script with 1.

. /xsan/guest-lib.sh

MD_WAIT_S=120

# md_node NAME: the array's device.
md_node() {
	echo "/dev/md/$1"
}

# md_sysfs NAME: its directory in sysfs.
md_sysfs() {
	echo "/sys/block/$(basename "$(readlink -f "$(md_node "$1")")")/md"
}

# md_try_assemble NAME [OPTIONS] [-- IMAGE...]: mdadm's exit code and words, whatever they are. Without
# names all images are given to it; its options may be --readonly, --run, --force and others.
md_try_assemble() {
	local name=$1 options=() images=()

	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	images=("${@/#//md/$name/}")
	[ $# -gt 0 ] || images=("/md/$name"/*.img)
	mkdir -p /dev/md
	mdadm --assemble "/dev/md/$name" ${options[@]+"${options[@]}"} "${images[@]}" 2>&1
}

# md_create NAME OPTIONS: makes an array of all images (--level, --raid-devices and whatever else is not
# to be mdadm's choice), read-write, its first resync under way.
md_create() {
	local name=$1

	shift
	mkdir -p /dev/md
	check_run "create $name" mdadm --create "/dev/md/$name" --run --metadata=1.2 \
		--homehost=guest "$@" "/md/$name"/*.img
}

# md_assemble NAME [OPTIONS] [-- IMAGE...]: must succeed.
md_assemble() {
	md_try_assemble "$@" >/tmp/md_assemble.out || {
		cat /tmp/md_assemble.out
		fail "mdadm does not assemble $1"
	}
}

# md_assemble_readonly NAME [-- IMAGE...]: started, though members are missing, and none is written to.
md_assemble_readonly() {
	local name=$1

	shift
	md_assemble "$name" --readonly --run "$@"
}

md_stop() {
	check_run "stop $1" mdadm --stop "$(md_node "$1")"
}

md_stop_all() {
	mdadm --stop --scan >/dev/null 2>&1
}

# md_sha256 NAME: of the whole array.
md_sha256() {
	sha256sum <"$(md_node "$1")" | cut -d ' ' -f 1
}

# md_size NAME: bytes.
md_size() {
	blockdev --getsize64 "$(md_node "$1")"
}

# md_state NAME ATTRIBUTE: array_state, sync_action, mismatch_cnt, degraded...
md_state() {
	cat "$(md_sysfs "$1")/$2"
}

md_is_idle() {
	[ "$(md_state "$1" sync_action)" = idle ]
}

# md_wait_idle NAME: until no resync, recovery or check runs. Sets nothing right by itself.
md_wait_idle() {
	wait_until $MD_WAIT_S md_is_idle "$1" ||
		fail "$1 is still at '$(md_state "$1" sync_action)' after $MD_WAIT_S s"
}

# md_check NAME: reads and compares everything, prints mismatch_cnt; the array is read-write.
md_check() {
	md_wait_idle "$1"
	echo check >"$(md_sysfs "$1")/sync_action" || fail "$1 takes no check"
	md_wait_idle "$1"
	check_eq "the last action of $1" "$(md_state "$1" last_sync_action)" check
	md_state "$1" mismatch_cnt
}

# md_write NAME SEED FIRST_KIB KIB: the pattern of test/data/md, down to the members.
md_write() {
	check_run "write to $1" md-pattern write "$(md_node "$1")" "$2" "$3" "$4"
}

# md_verify NAME SEED FIRST_KIB KIB
md_verify() {
	check_run "the pattern of seed $2 in $1" md-pattern verify "$(md_node "$1")" "$2" "$3" "$4"
}

# md_report NAME: what mdadm and the kernel say, in /out/NAME: examine.txt and bitmap.txt of all members
# in their order, detail.txt and mdstat.txt of an array that is started.
md_report() {
	local out=/out/$1 image

	mkdir -p "$out"
	for image in "/md/$1"/*.img; do
		echo "== ${image##*/}"
		mdadm --examine "$(readlink -f "$image")"
	done >"$out/examine.txt" 2>&1
	for image in "/md/$1"/*.img; do
		echo "== ${image##*/}"
		mdadm --examine-bitmap "$(readlink -f "$image")"
	done >"$out/bitmap.txt" 2>&1
	if [ -b "$(md_node "$1")" ]; then
		mdadm --detail "$(md_node "$1")" >"$out/detail.txt" 2>&1
		cat /proc/mdstat >"$out/mdstat.txt"
	fi
}

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# For tests of RAID: directories of member images and a script in, the script's output and files out.
# Sourced after lib.sh. The script runs in a guest with Linux's MD driver, mdadm and the functions of
# guest/md.sh; one guest serves many arrays.
#
# The images are the guest's disks, each a virtio disk with a serial number that guest/md-run.sh finds
# in its table, so what the guest wrote is in them when md_guest returns. The script's files come back
# as a tar archive on one more disk.

MD_OUT_MIB=16

# md_guest [OPTIONS] SCRIPT DIR...
#
# Boots one guest and runs SCRIPT, bash, in it. Every DIR is an array: in the guest its images (*.img,
# 127 in all) are the disks /md/NAME/*.img, NAME being the directory's. The script's output is in
# TEST_DIR/md-guest.log and printed. The test skips or fails as the script does (lib.sh, guest).
#   --out DIR        what the script leaves in /out is put here, which is made when it is not there
#   --snapshot       the images stay as they are, whatever the guest writes
#   --file SRC:DST   another file for the guest
#   --arg WORD       the script's next argument
#   --timeout SEC    600
md_guest() {
	local out='' snapshot=off timeout_s=600 script dir image options=() args=() count=0 status=0
	local table=$TEST_DIR/md-table scratch=$TEST_DIR/md-out.img

	while [ "${1#--}" != "$1" ]; do
		case $1 in
		--snapshot)
			snapshot=on
			shift
			continue
			;;
		--out) out=$2 ;;
		--file) options+=(--file "$2") ;;
		--arg) args+=("$2") ;;
		--timeout) timeout_s=$2 ;;
		*) test_fail "md_guest: unknown option $1" ;;
		esac
		shift 2
	done
	script=$1
	shift
	: >"$table"
	options+=(--snapshot "$snapshot")
	for dir; do
		for image in "$dir"/*.img; do
			[ -f "$image" ] || test_fail "md_guest: there are no images in $dir"
			echo "xsan-md-$count $(basename "$dir") $(basename "$image")" >>"$table"
			options+=(--packed-drive "xsan-md-$count:$image")
			count=$((count + 1))
		done
	done
	rm -f "$scratch"
	truncate -s "${MD_OUT_MIB}M" "$scratch"
	options+=(--snapshot off --packed-drive "xsan-md-out:$scratch")
	options+=(--timeout "$timeout_s" --console-log "$TEST_DIR/console.log")
	"$E2E_DIR/guest-run.sh" "${options[@]}" --file "$table:/xsan/md-table" \
		--file "$E2E_DIR/guest/md.sh:/xsan/md.sh" --file "$(md_pattern):/usr/bin/md-pattern" \
		--file "$script:/xsan/md-script" "$E2E_DIR/guest/md-run.sh" ${args[@]+"${args[@]}"} \
		>"$TEST_DIR/md-guest.log" || status=$?
	cat "$TEST_DIR/md-guest.log"
	guest_ended $status
	if [ -n "$out" ]; then
		mkdir -p "$out"
		check_host "what the guest left in /out cannot be unpacked" \
			tar -C "$out" -xf "$scratch"
	fi
}

# Prints the path of the program guest/md-pattern.c, for this machine and for guests.
md_pattern() {
	[ -x "$TEST_DIR/md-pattern" ] || static_program "$E2E_DIR/guest/md-pattern.c" >/dev/null ||
		return
	echo "$TEST_DIR/md-pattern"
}

# md_fixture NAME DIR: unpacks the member images of an array of test/data/md into DIR/NAME.
md_fixture() {
	mkdir -p "$2/$1"
	zstd -dcq "$E2E_DIR/../data/md/$1/members.tar.zst" | tar -C "$2/$1" -xf - ||
		test_fail "the array $1 cannot be unpacked"
}

# md_fixture_get NAME KEY...: one value of its manifest, content sha256 for instance.
md_fixture_get() {
	python3 - "$E2E_DIR/../data/md/manifest.json" "$@" <<'END'
import json
import sys

value = [a for a in json.load(open(sys.argv[1]))["arrays"] if a["name"] == sys.argv[2]][0]
for key in sys.argv[3:]:
    value = value[int(key) if isinstance(value, list) else key]
print(value)
END
}

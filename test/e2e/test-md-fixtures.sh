#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that md_guest.sh works, on arrays whose content is known: Linux assembles eleven arrays of
# test/data/md in one guest and reads what the manifest says; it makes one, checks it and reads it
# without two members; what a guest writes is in the images afterwards, or is not when that was asked
# for; reports and exit codes come back.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/md_guest.sh"
test_begin
require_long
require mdadm mdadm
require zstd zstd
require_guest

# An order of all levels and kinds of layout; 46 members.
readonly ARRAYS="linear-3u raid0-3u-alternate raid1-2-bitmap raid4-4 raid5-la-4 raid5-ls-5-512k raid6-ls-6
	raid10-n2-5 raid10-f2-4 raid10-o2-4 tiny-raid6-ddf-N-restart-5"
dirs=()
for name in $ARRAYS; do
	md_fixture "$name" "$TEST_DIR/read"
	dirs+=("$TEST_DIR/read/$name")
done
md_guest --out "$TEST_DIR/out" --arg read "$E2E_DIR/guest/md-fixtures.sh" "${dirs[@]}"
for name in $ARRAYS; do
	wanted="content $name $(md_fixture_get "$name" array_bytes) $(md_fixture_get "$name" content sha256)"
	grep -qxF "$wanted" "$TEST_DIR/md-guest.log" || test_fail "not in the guest's output: $wanted"
	uuid=$(md_fixture_get "$name" uuid)
	grep -q "Array UUID : $uuid" "$TEST_DIR/out/$name/examine.txt" ||
		test_fail "examine.txt of $name lacks its UUID"
	grep -q "UUID : $uuid" "$TEST_DIR/out/$name/detail.txt" ||
		test_fail "detail.txt of $name lacks its UUID"
	grep -q '^md.* : active (read-only)' "$TEST_DIR/out/$name/mdstat.txt" ||
		test_fail "mdstat.txt of $name does not show it"
done
rm -rf "$TEST_DIR/read"

for name in raid1-2-bitmap state-raid5-mismatch; do
	md_fixture $name "$TEST_DIR/write"
done
mkdir "$TEST_DIR/write/made"
truncate -s 8M "$TEST_DIR"/write/made/m{0,1,2,3,4}.img
sha256sum "$TEST_DIR"/write/*/*.img >"$TEST_DIR/before"
status=0
# A script that fails fails the test; the test itself goes on here.
(
	trap - EXIT
	md_guest --snapshot --arg write --arg fail "$E2E_DIR/guest/md-fixtures.sh" "$TEST_DIR"/write/*
) || status=$?
check_host "a script that failed was taken for a success" [ $status -eq 1 ]
check_host "the reason is not told" \
	grep -q "mdadm does not assemble nothing" "$TEST_DIR/md-guest.log"
# Two rows of 4 KiB are wrong there, 8 sectors each.
grep -qx "mismatch state-raid5-mismatch 16" "$TEST_DIR/md-guest.log" ||
	test_fail "the check did not find the two damaged rows"
sha256sum --quiet -c "$TEST_DIR/before" || test_fail "--snapshot changed an image"
md_guest --out "$TEST_DIR/out2" --arg write "$E2E_DIR/guest/md-fixtures.sh" "$TEST_DIR"/write/*
grep -qx "mismatch made 0" "$TEST_DIR/md-guest.log" ||
	test_fail "Linux's own raid6 has wrong parity, or was not made"
grep -q "Events" "$TEST_DIR/out2/raid1-2-bitmap/bitmap.txt" || test_fail "no bitmap.txt"
offset_kib=$(($(md_fixture_get raid1-2-bitmap members 0 superblock data_offset) / 2))
for image in "$TEST_DIR"/write/raid1-2-bitmap/*.img; do
	# Behind the data's offset the blocks have other numbers, so the data is copied out.
	tail -c +$((offset_kib * 1024 + 1)) "$image" >"$TEST_DIR/data"
	check_host "what Linux wrote is not in $image" \
		"$(md_pattern)" verify "$TEST_DIR/data" 7 1001 501
	check_host "what Linux did not write has changed in $image" "$(md_pattern)" verify \
		"$TEST_DIR/data" "$(md_fixture_get raid1-2-bitmap content pattern_seed)" 0 1001
done
test_pass

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of test-md-fixtures.sh.

. /xsan/md.sh

case $1 in
read)
	for dir in /md/*; do
		name=${dir##*/}
		md_assemble_readonly "$name"
		check_eq "the state of $name" "$(md_state "$name" array_state)" readonly
		md_report "$name"
		echo "content $name $(md_size "$name") $(md_sha256 "$name")"
		md_stop "$name"
	done
	;;
write)
	md_assemble state-raid5-mismatch
	echo "mismatch state-raid5-mismatch $(md_check state-raid5-mismatch)"
	md_stop state-raid5-mismatch
	md_assemble raid1-2-bitmap
	md_write raid1-2-bitmap 7 1001 501
	md_verify raid1-2-bitmap 7 1001 501
	md_report raid1-2-bitmap
	md_stop raid1-2-bitmap
	md_create made --level=6 --chunk=64 --raid-devices=5
	md_write made 8 0 15000
	echo "mismatch made $(md_check made)"
	md_stop made
	md_assemble_readonly made -- m0.img m2.img m3.img
	check_eq "the members that are missing" "$(md_state made degraded)" 2
	md_verify made 8 0 15000
	md_stop made
	;;
*)
	fail "unknown part $1"
	;;
esac
say "done"
[ "${2:-}" != fail ] || md_assemble_readonly nothing
exit 0

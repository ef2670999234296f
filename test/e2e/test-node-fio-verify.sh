#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that what a Linux host writes is what it reads back: fio with crc32c verification at block
# sizes of 4 KiB, 64 KiB, 1 MiB and 512 bytes to 128 KiB mixed, at depths 1, 16 and 128, with
# header and data digests on and off and with in-capsule data on and off: every two of these three
# together, with XSAN_LONG all three.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

on_request() {
	case $1 in
	form)
		echo "${XSAN_LONG:+long}"
		;;
	in-capsule)
		node_stop && node_config "$2" 256MiB && node_start
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request

node_begin
node_config 8192 256MiB
node_start || test_fail "xsand did not start"
node_guest --timeout 600 --on-request on_request "$E2E_DIR/guest/node-fio-verify.sh"
node_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that a Linux host can discover, attach, inspect, format and use the volumes of an xsand,
# that its file systems are clean afterwards, and that data and identifiers outlive a restart. In
# the end the disk files themselves are checked on this side.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

on_request() {
	case $1 in
	restart)
		node_stop && node_start
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request

node_begin
require e2fsck e2fsprogs
require xfs_repair xfsprogs
node_config 8192 256MiB 320MiB
node_start || test_fail "xsand did not start"
node_guest --timeout 240 --on-request on_request "$E2E_DIR/guest/node-mount.sh"
node_stop || test_fail "xsand did not stop cleanly"
check_host "ext4 in disk0.img is not clean" e2fsck -fn "$TEST_DIR/disk0.img"
check_host "xfs in disk1.img is not clean" xfs_repair -n -f "$TEST_DIR/disk1.img"
test_pass

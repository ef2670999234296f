#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that a Linux host uses a thin volume of an xsand as any disk: a snapshot that is taken under
# load is one moment of it, and a clone of that mounts, has what was synced before, and is clean; the
# volume itself goes on; fstrim gives the space of deleted files back to the store; all of it is there
# after a restart of the target, and the store is in order in the end.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

xsan() {
	timeout 60 "$XSAN" -s "$TEST_DIR/xsand.sock" "$@"
}

on_request() {
	case $1 in
	snapshot)
		xsan snapshot create store0/volume snap
		;;
	clone)
		xsan snapshot clone store0/snap clone && xsan namespace add "$NODE_NQN" store0/clone --nsid 2
		;;
	free)
		xsan --json lvs list | sed -n 's/.*"free_clusters": \([0-9]*\).*/\1/p'
		;;
	restart)
		node_stop && node_start
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f xsan on_request

node_begin
require e2fsck e2fsprogs
node_config 8192 400MiB
node_start || test_fail "xsand did not start"
check_host "no store" xsan namespace remove "$NODE_NQN" 1
check_host "no store" xsan lvs create store0 disk0 --cluster-size 64KiB
check_host "no volume" xsan volume create store0/volume 256MiB --thin
check_host "no namespace" xsan namespace add "$NODE_NQN" store0/volume --nsid 1
node_guest --timeout 400 --on-request on_request "$E2E_DIR/guest/node-volumes.sh"
node_stop || test_fail "xsand did not stop cleanly"
check_host "the store is not in order" "$XSAN" lvs check "$TEST_DIR/disk0.img"
test_pass

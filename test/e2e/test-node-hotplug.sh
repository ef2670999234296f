#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that a connected Linux host sees namespaces being added, resized and removed without being
# told to look, also under load; and that discard and write zeroes do what they say, up to the
# space that comes back to this machine's file system.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

on_request() {
	case $1 in
	add-ns)
		node_rpc bdev_malloc_create \
			"{\"name\": \"$3\", \"num_blocks\": $(($4 * 2048)), \"block_size\": 512}" >&2 &&
			node_rpc nvmf_subsystem_add_ns "{\"nqn\": \"$NODE_NQN\",
				\"namespace\": {\"nsid\": $2, \"bdev_name\": \"$3\"}}" >&2
		;;
	resize)
		node_rpc bdev_file_resize "{\"name\": \"$2\", \"size\": $3}" >&2
		;;
	remove-ns)
		node_rpc nvmf_subsystem_remove_ns "{\"nqn\": \"$NODE_NQN\", \"nsid\": $2}" >&2
		;;
	count-ns)
		node_rpc nvmf_get_subsystems '{}' | grep -o '"nsid"' | wc -l
		;;
	allocated-kib)
		du -k "$TEST_DIR/$2.img" | cut -f 1
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
node_guest --timeout 240 --on-request on_request "$E2E_DIR/guest/node-hotplug.sh"
node_end

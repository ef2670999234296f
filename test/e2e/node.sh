# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of a storage node source after lib.sh: one xsand on file-backed disks below
# TEST_DIR, exporting one subsystem on a free port of 127.0.0.1, which the guest sees as 10.0.2.2.
#
# The functions are exported, so that the ones which answer host_do can use them too.

NODE_NQN=nqn.2026-11.io.xsan:e2e
NODE_ADDR=10.0.2.2
NODE_STOP_S=20

# node_begin: as test_begin, and sets NODE_PORT; skips or fails the test when something is missing.
node_begin() {
	test_begin
	XSAN_BUILD=${XSAN_BUILD:-$E2E_DIR/../../build}
	XSAND=$XSAN_BUILD/daemon/xsand/xsand
	XSAN=$XSAN_BUILD/cli/xsan
	[ -x "$XSAND" ] || test_fail "$XSAND is not built (XSAN_BUILD names the build directory)"
	[ -x "$XSAN" ] || test_fail "$XSAN is not built (XSAN_BUILD names the build directory)"
	require_guest
	NODE_PORT=$(free_port) || test_fail "no free TCP port"
	export XSAND XSAN NODE_NQN NODE_ADDR NODE_PORT NODE_STOP_S
}

# node_config IN_CAPSULE_BYTES SIZE...: writes the configuration: for every size one file disk0,
# disk1... of 512-byte blocks, exported as namespace 1, 2...
node_config() {
	local in_capsule=$1 size index=0 devices='' namespaces=''

	shift
	for size; do
		devices+="${devices:+, }{\"driver\": \"file\", \"name\": \"disk$index\",
			\"filename\": \"$TEST_DIR/disk$index.img\", \"size\": \"$size\",
			\"block_size\": 512}"
		namespaces+="${namespaces:+, }{\"nsid\": $((index + 1)), \"device\": \"disk$index\"}"
		index=$((index + 1))
	done
	cat >"$TEST_DIR/xsand.json" <<END
{
  "log": {"level": "info", "target": "stderr", "format": "text"},
  "reactors": {"count": 1},
  "rpc": {"socket": "$TEST_DIR/xsand.sock"},
  "state_dir": "$TEST_DIR/state",
  "devices": [$devices],
  "nvmf": {
    "transport": {"in_capsule_data_size": $in_capsule, "max_io_size": "1MiB",
      "max_queue_depth": 128},
    "subsystems": [
      {"nqn": "$NODE_NQN", "serial_number": "XSAN0001", "model_number": "XSAN",
       "allow_any_host": true, "hosts": [],
       "namespaces": [$namespaces],
       "listeners": [{"trtype": "tcp", "traddr": "127.0.0.1", "trsvcid": "$NODE_PORT",
         "advertise": "$NODE_ADDR"}]}
    ]
  }
}
END
}

node_start() {
	daemon_start xsand "$XSAND" --config "$TEST_DIR/xsand.json" &&
		wait_for_port 127.0.0.1 "$NODE_PORT" 60 xsand
}

node_stop() {
	daemon_stop xsand "$NODE_STOP_S"
}

# node_rpc METHOD PARAMS
node_rpc() {
	timeout 30 "$XSAN" -s "$TEST_DIR/xsand.sock" rpc "$1" "$2"
}

# node_guest OPTIONS SCRIPT: runs a guest script with the arguments ADDR PORT NQN. The daemon must
# live until the script is over.
node_guest() {
	guest "$@" "$NODE_ADDR" "$NODE_PORT" "$NODE_NQN"
	daemon_is_alive xsand || test_fail "xsand ended with exit code $(daemon_status xsand)"
}

# node_end: stops the daemon, which must be clean about it, and passes the test.
node_end() {
	node_stop || test_fail "xsand did not stop cleanly"
	test_pass
}

export -f node_config node_start node_stop node_rpc

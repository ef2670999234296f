#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows the registry with a real Linux host: a node registers itself, the host asks the registry's
# discovery controller, connect-all attaches the node's volumes; a volume that is added or taken away
# is told by an event; and neither a registry that is killed nor its restart costs the host an I/O
# controller. Two hosts in different zones see different logs.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

OTHER_NQN=nqn.2026-11.io.xsan:other
HOST_NQN=nqn.2026-11.io.xsan:host
export OTHER_NQN HOST_NQN

registry_start() {
	daemon_start registry "$REGISTRY" --config "$TEST_DIR/registry.json" &&
		wait_for_port 127.0.0.1 "$DISCOVERY_PORT" 30 registry
}

registry_knows() {
	curl -s --max-time 5 "http://127.0.0.1:$REST_PORT/api/v1/targets?nqn=$1&status=$2" |
		grep -q '"total_count":1[,}]'
}

# registry_put PATH BODY METHOD
registry_put() {
	curl -sf --max-time 5 -X "$3" -d "$2" "http://127.0.0.1:$REST_PORT/api/v1/$1" >/dev/null
}

on_request() {
	case $1 in
	add-subsystem)
		node_rpc bdev_malloc_create '{"name": "mem0", "num_blocks": 32768, "block_size": 512}' >&2 &&
			node_rpc nvmf_create_subsystem \
				"{\"nqn\": \"$OTHER_NQN\", \"allow_any_host\": true}" >&2 &&
			node_rpc nvmf_subsystem_add_ns \
				"{\"nqn\": \"$OTHER_NQN\", \"namespace\": {\"bdev_name\": \"mem0\"}}" >&2 &&
			node_rpc nvmf_subsystem_add_listener "{\"nqn\": \"$OTHER_NQN\",
				\"listen_address\": {\"trtype\": \"tcp\", \"traddr\": \"0.0.0.0\",
				\"trsvcid\": \"$OTHER_PORT\"}}" >&2
		;;
	remove-subsystem)
		node_rpc nvmf_delete_subsystem "{\"nqn\": \"$OTHER_NQN\"}" >&2
		;;
	kill-registry)
		daemon_kill registry
		;;
	start-registry)
		registry_start
		;;
	zone)
		# The node's volume is for host-1 alone.
		registry_put zones/lab "{\"zones\": [{\"name\": \"one\",
			\"hosts\": [\"$HOST_NQN-1\"], \"targets\": [\"node:e2e\"]}]}" PUT &&
			registry_put zones/lab/activate '{}' POST
		;;
	no-zone)
		registry_put zones/lab/deactivate '{}' POST
		;;
	node-is-registered)
		wait_for 20 registry_knows "$NODE_NQN" available
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request registry_start registry_knows registry_put

node_begin
require curl curl
REGISTRY=$XSAN_BUILD/daemon/xsan-registry/xsan-registry
[ -x "$REGISTRY" ] || test_fail "$REGISTRY is not built (XSAN_BUILD names the build directory)"
REST_PORT=$(free_port) || test_fail "no free TCP port"
DISCOVERY_PORT=$(free_port) || test_fail "no free TCP port"
OTHER_PORT=$(free_port) || test_fail "no free TCP port"
export REGISTRY REST_PORT DISCOVERY_PORT OTHER_PORT
# The node's address is that which the guest sees; this machine has no such node there, whoever answers. So
# the registry does not probe, else it finds the node failed as soon as its turn comes.
cat >"$TEST_DIR/registry.json" <<END
{
  "health_monitoring": {"probe_level": "none"},
  "service": {"listen_port": $REST_PORT, "grpc_enabled": false, "data_directory": "$TEST_DIR/registry"},
  "discovery_controller": {"listen_port": $DISCOVERY_PORT, "advertise_address": "$NODE_ADDR"}
}
END
node_config 8192 64MiB
sed -i "s|^  \"state_dir\"|  \"registry\": {\"url\": \"http://127.0.0.1:$REST_PORT\", \"node_id\": \"e2e\",\n    \"address\": \"$NODE_ADDR\", \"interval_s\": 1},\n&|" \
	"$TEST_DIR/xsand.json"
node_start || test_fail "xsand did not start"
registry_start || test_fail "xsan-registry did not start"
wait_for 20 registry_knows "$NODE_NQN" available || test_fail "the node does not register itself"
guest --timeout 240 --on-request on_request "$E2E_DIR/guest/registry.sh" \
	"$NODE_ADDR" "$DISCOVERY_PORT" "$NODE_NQN" "$OTHER_NQN" "$NODE_PORT" "$HOST_NQN"
daemon_is_alive registry || test_fail "xsan-registry ended with exit code $(daemon_status registry)"
node_stop || test_fail "xsand did not stop cleanly"
wait_for 10 registry_knows "$NODE_NQN" maintenance ||
	test_fail "the registry was not told that the node has stopped"
daemon_stop registry 20 || test_fail "xsan-registry did not stop cleanly"
test_pass

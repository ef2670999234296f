#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows the registry with a real Linux host: a node registers itself, the host asks the registry's
# discovery controller, connect-all attaches the node's volumes; a volume that is added or taken away
# is told by an event; and neither a registry that is killed nor its restart costs the host an I/O
# controller. Two hosts in different zones see different logs.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"
. "$(dirname "$0")/registry.sh"

OTHER_NQN=nqn.2026-11.io.xsan:other
HOST_NQN=nqn.2026-11.io.xsan:host
export OTHER_NQN HOST_NQN

on_request() {
	case $1 in
	add-subsystem)
		node_add_volume "$OTHER_NQN" >/dev/null
		;;
	remove-subsystem)
		node_remove_volume "$OTHER_NQN" >/dev/null
		;;
	kill-registry)
		daemon_kill registry
		;;
	start-registry)
		registry_start registry "$DISCOVERY_PORT"
		;;
	zone)
		# The node's volume is for host-1 alone.
		registry_put "$REST_PORT" zones/lab "{\"zones\": [{\"name\": \"one\",
			\"hosts\": [\"$HOST_NQN-1\"], \"targets\": [\"node:e2e\"]}]}" PUT &&
			registry_put "$REST_PORT" zones/lab/activate '{}' POST
		;;
	no-zone)
		registry_put "$REST_PORT" zones/lab/deactivate '{}' POST
		;;
	node-is-registered)
		wait_for 60 registry_knows "$REST_PORT" "$NODE_NQN" available
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request

node_begin
registry_begin
REST_PORT=$(free_port) || test_fail "no free TCP port"
DISCOVERY_PORT=$(free_port) || test_fail "no free TCP port"
export REST_PORT DISCOVERY_PORT
registry_config registry "$REST_PORT" "$DISCOVERY_PORT"
node_config 8192 64MiB
node_registers_with "http://127.0.0.1:$REST_PORT"
node_start || test_fail "xsand did not start"
registry_start registry "$DISCOVERY_PORT" || test_fail "xsan-registry did not start"
wait_for 60 registry_knows "$REST_PORT" "$NODE_NQN" available || test_fail "the node does not register itself"
guest --timeout 240 --on-request on_request "$E2E_DIR/guest/registry.sh" \
	"$NODE_ADDR" "$DISCOVERY_PORT" "$NODE_NQN" "$OTHER_NQN" "$NODE_PORT" "$HOST_NQN"
daemon_is_alive registry || test_fail "xsan-registry ended with exit code $(daemon_status registry)"
node_stop || test_fail "xsand did not stop cleanly"
wait_for 60 registry_knows "$REST_PORT" "$NODE_NQN" maintenance ||
	test_fail "the registry was not told that the node has stopped"
daemon_stop registry 60 || test_fail "xsan-registry did not stop cleanly"
test_pass

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of the registry source after node.sh: registries whose discovery controllers the guest
# reaches at NODE_ADDR, their REST, and volumes that the node gets and loses while it runs.

# own_network: goes on in a network of its own, in which NODE_ADDR is this machine's: so the registry reaches the node
# where the guest does.
own_network() {
	local words=(unshare --net)

	if [ "${XSAN_OWN_NETWORK:-}" != $$ ]; then
		[ "$(id -u)" -eq 0 ] || words=(unshare --user --map-root-user --net)
		if ! "${words[@]}" true 2>/dev/null; then
			echo "SKIP $(basename "$0" .sh): no network namespace can be had"
			exit 77
		fi
		# What it is made of may have to come from elsewhere. Whether there is one is judged later.
		"$E2E_DIR/guest-image.sh" >/dev/null 2>&1 || :
		XSAN_OWN_NETWORK=$$ exec "${words[@]}" bash "$0"
	fi
	ip link set lo up
	ip address add "$NODE_ADDR/32" dev lo
}

# registry_begin: skips or fails the test when something is missing; sets REGISTRY.
registry_begin() {
	require curl curl
	REGISTRY=$XSAN_BUILD/daemon/xsan-registry/xsan-registry
	[ -x "$REGISTRY" ] || test_fail "$REGISTRY is not built (XSAN_BUILD names the build directory)"
	OTHER_PORT=$(free_port) || test_fail "no free TCP port"
	export REGISTRY OTHER_PORT
}

# registry_config NAME REST-PORT DISCOVERY-PORT [MEMBERS [PERSISTENCE]]: writes the configuration of a registry, with
# MEMBERS of discovery_controller and the object PERSISTENCE. The node's address is that which the guest sees; outside of a
# network of our own nobody is there. So the registry probes only when REGISTRY_PROBES says how far; and what comes
# from a guest may be slow.
registry_config() {
	local persistence=${5:-}

	[ -n "$persistence" ] || persistence='{}'
	cat >"$TEST_DIR/$1.json" <<END
{
  "health_monitoring": {"probe_level": "${REGISTRY_PROBES:-none}", "monitoring_interval_sec": ${REGISTRY_INTERVAL_S:-1},
    "max_acceptable_latency_us": 0},
  "failover": {"recovery_backoff_sec": 1},
  "service": {"listen_port": $2, "grpc_enabled": false, "data_directory": "$TEST_DIR/$1"},
  "discovery_controller": {"listen_port": $3, "advertise_address": "$NODE_ADDR"${4:+, $4}},
  "persistence": $persistence
}
END
}

# registry_start NAME DISCOVERY-PORT
registry_start() {
	daemon_start "$1" "$REGISTRY" --config "$TEST_DIR/$1.json" &&
		wait_for_port 127.0.0.1 "$2" 60 "$1"
}

# registry_get REST-PORT PATH
registry_get() {
	curl -sf --max-time 20 "http://127.0.0.1:$1/api/v1/$2"
}

# registry_put REST-PORT PATH BODY METHOD
registry_put() {
	curl -sf --max-time 20 -X "$4" -d "$3" "http://127.0.0.1:$1/api/v1/$2" >/dev/null
}

# registry_knows REST-PORT NQN [STATUS]: whether it knows one target of that name, in that state.
registry_knows() {
	registry_get "$1" "targets?nqn=$2${3:+&status=$3}" | grep -q '"total_count":1[,}]'
}

# registry_lacks REST-PORT NQN
registry_lacks() {
	registry_get "$1" "targets?nqn=$2" | grep -q '"total_count":0[,}]'
}

# node_registers_with URL: has the node register itself; behind node_config.
node_registers_with() {
	sed -i "s|^  \"state_dir\"|  \"registry\": {\"url\": \"$1\", \"node_id\": \"e2e\",\n    \"address\": \"$NODE_ADDR\", \"interval_s\": 1},\n&|" \
		"$TEST_DIR/xsand.json"
}

# node_add_volume NQN: a subsystem with 16 MiB of memory at OTHER_PORT.
node_add_volume() {
	node_rpc bdev_malloc_create '{"name": "mem0", "num_blocks": 32768, "block_size": 512}' &&
		node_rpc nvmf_create_subsystem "{\"nqn\": \"$1\", \"allow_any_host\": true}" &&
		node_rpc nvmf_subsystem_add_ns \
			"{\"nqn\": \"$1\", \"namespace\": {\"bdev_name\": \"mem0\"}}" &&
		node_rpc nvmf_subsystem_add_listener "{\"nqn\": \"$1\",
			\"listen_address\": {\"trtype\": \"tcp\", \"traddr\": \"0.0.0.0\",
			\"trsvcid\": \"$OTHER_PORT\"}}"
}

# node_remove_volume NQN
node_remove_volume() {
	node_rpc nvmf_delete_subsystem "{\"nqn\": \"$1\"}" &&
		node_rpc bdev_malloc_delete '{"name": "mem0"}'
}

export -f registry_start registry_get registry_put registry_knows registry_lacks
export -f node_add_volume node_remove_volume

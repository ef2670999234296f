#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows two registries on one etcd with a real Linux host: the host comes from the one to the other by a
# referral, writes to the node's volume without a pause, and loses no I/O controller when the registry that
# leads is killed; the other one tells it of the next volume. The one that was killed comes back and shows the
# same. Log pages, as the host has read them, are judged by the REST interfaces (registry_judge.py), and so is
# what the host registers of itself (nvme dim). In the end the node is killed, of which the host
# hears from both. XSAN_LONG: whoever leads is killed
# ten times.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"
. "$(dirname "$0")/registry.sh"

OTHER_NQN=nqn.2026-11.io.xsan:other
REGISTRY_NQN=nqn.2026-11.io.xsan:registry
SHELF_NQN=nqn.2026-11.io.xsan:shelf-3
LEAD_S=60
export REGISTRY_PROBES=identify
export REGISTRY_INTERVAL_S=30 # a dead node is found sooner
KILLS=${XSAN_LONG:+10}
KILLS=${KILLS:-1}
export OTHER_NQN SHELF_NQN LEAD_S

etcd_start() {
	local peer="http://127.0.0.1:$STORE_PEER_PORT" client="http://127.0.0.1:$STORE_PORT"

	daemon_start etcd etcd --name m0 --data-dir "$TEST_DIR/etcd" --listen-client-urls "$client" \
		--advertise-client-urls "$client" --listen-peer-urls "$peer" \
		--initial-advertise-peer-urls "$peer" --initial-cluster "m0=$peer" --log-level error &&
		wait_for_port 127.0.0.1 "$STORE_PORT" 60 etcd
}

# of_registry NUMBER: sets REST and DISCOVERY to the ports of registry 1 or 2.
of_registry() {
	REST=REST_PORT_$1 DISCOVERY=DISCOVERY_PORT_$1
	REST=${!REST} DISCOVERY=${!DISCOVERY}
}

leads() {
	of_registry "$1"
	registry_get "$REST" status | grep -q '"leads":true'
}

# knows_in_state NUMBER NQN STATE; an empty state: does not know it.
knows_in_state() {
	of_registry "$1"
	if [ -n "$3" ]; then
		registry_knows "$REST" "$2" "$3"
	else
		registry_lacks "$REST" "$2"
	fi
}

judge() {
	timeout 60 /usr/bin/python3 "$E2E_DIR/registry_judge.py" "$@"
}

on_request() {
	local number

	case $1 in
	kill-leader)
		for number in 1 2; do
			leads $number && daemon_kill registry-$number && echo $number && return 0
		done
		return 1
		;;
	leads) # NUMBER
		wait_for "$LEAD_S" leads "$2"
		;;
	start-registry) # NUMBER
		of_registry "$2"
		registry_start "registry-$2" "$DISCOVERY"
		;;
	add-volume) # the numbers of the registries that must know it
		node_add_volume "$OTHER_NQN" >/dev/null || return 1
		for number in "${@:2}"; do
			wait_for 60 knows_in_state "$number" "$OTHER_NQN" available || return 1
		done
		;;
	remove-volume)
		node_remove_volume "$OTHER_NQN" >/dev/null && wait_for 60 knows_in_state 1 "$OTHER_NQN" '' &&
			wait_for 60 knows_in_state 2 "$OTHER_NQN" ''
		;;
	kill-node)
		daemon_kill xsand
		;;
	start-node)
		node_start
		;;
	wait-for) # NQN STATE: at both
		wait_for 50 knows_in_state 1 "$2" "$3" && wait_for 50 knows_in_state 2 "$2" "$3"
		;;
	judge-log) # NUMBER LSP BASE64
		of_registry "$2"
		judge log "$REST" "$3" "$4" "$NODE_ADDR" "$DISCOVERY" "$(
			of_registry $((3 - $2))
			echo "$NODE_ADDR:$DISCOVERY"
		)" 2>&1
		;;
	judge-hosts-log) # NUMBER LSP BASE64
		of_registry "$2"
		judge hosts-log "$REST" "$3" "$4" 2>&1
		;;
	judge-hosts) # NUMBER +HOSTNQN or -HOSTNQN
		of_registry "$2"
		judge hosts "$REST" "$DISCOVERY" "$3" 2>&1
		;;
	dim-data)
		judge dim "$SHELF_NQN:controller" "$SHELF_NQN" 192.0.2.9 4420
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request of_registry leads knows_in_state judge

own_network
node_begin
registry_begin
require etcd etcd-server
for name in STORE_PORT STORE_PEER_PORT {REST,DISCOVERY}_PORT_{1,2}; do
	printf -v "$name" '%s' "$(free_port)"
	[ -n "${!name}" ] || test_fail "no free TCP port"
	export "${name?}"
done
etcd_start || test_fail "etcd did not start"
for number in 1 2; do
	of_registry $((3 - number))
	referral="{\"address\": \"$NODE_ADDR\", \"port\": $DISCOVERY, \"nqn\": \"$REGISTRY_NQN-$((3 - number))\"}"
	of_registry $number
	registry_config registry-$number "$REST" "$DISCOVERY" \
		"\"nqn\": \"$REGISTRY_NQN-$number\", \"referrals\": [$referral]" \
		"{\"persistence_backend\": \"etcd\", \"connection_string\": \"http://127.0.0.1:$STORE_PORT\"}"
	registry_start registry-$number "$DISCOVERY" || test_fail "registry $number did not start"
done
node_config 8192 64MiB
sed -i '/"trsvcid"/s/127\.0\.0\.1/0.0.0.0/' "$TEST_DIR/xsand.json"
node_registers_with "http://127.0.0.1:$REST_PORT_1,http://127.0.0.1:$REST_PORT_2"
node_start || test_fail "xsand did not start"
on_request wait-for "$NODE_NQN" available || test_fail "the registries do not know the node"
guest --timeout $((400 + 60 * KILLS)) --request-timeout 120 --on-request on_request "$E2E_DIR/guest/registry-etcd.sh" "$NODE_ADDR" \
	"$DISCOVERY_PORT_1" "$DISCOVERY_PORT_2" "$NODE_NQN" "$OTHER_NQN" "$SHELF_NQN" "$KILLS"
node_stop || test_fail "xsand did not stop cleanly"
for name in registry-1 registry-2; do
	daemon_is_alive $name || test_fail "$name ended with exit code $(daemon_status $name)"
	daemon_stop $name 60 || test_fail "$name did not stop cleanly"
done
test_pass

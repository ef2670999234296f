#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that our NVMe/TCP host works with the Linux kernel's target (nvmet in a guest, its port
# forwarded to this machine): random I/O on two reactors against a model, with and without digests,
# in-capsule data and a second queue; afterwards the guest's disk holds, byte for byte, what we say
# that it holds. The target is taken away and comes back under load; namespaces grow and go. And the
# registry reads the kernel's discovery controller, and is told of its changes.

. "$(dirname "$0")/lib.sh"
test_begin
XSAN_BUILD=${XSAN_BUILD:-$E2E_DIR/../../build}
VERIFY=$XSAN_BUILD/test/unit/xnvmf/nvmf-verify
[ -x "$VERIFY" ] || test_fail "$VERIFY is not built (XSAN_BUILD names the build directory)"
require_guest
PORT=$(free_port) || test_fail "no free TCP port"
NQN=nqn.2026-11.io.xsan:nvmet
REGISTRY=$XSAN_BUILD/daemon/xsan-registry/xsan-registry
[ -x "$REGISTRY" ] || test_fail "$REGISTRY is not built (XSAN_BUILD names the build directory)"
require curl curl
REST_PORT=$(free_port) || test_fail "no free TCP port"
export VERIFY PORT NQN REGISTRY REST_PORT
# It looks once in an hour: what comes sooner has been told.
cat >"$TEST_DIR/registry.json" <<END
{
  "service": {"listen_port": $REST_PORT, "grpc_enabled": false, "data_directory": "$TEST_DIR/registry"},
  "discovery": {"discovery_interval_sec": 3600,
                "discovery_controllers": [{"address": "127.0.0.1", "port": $PORT}]},
  "discovery_controller": {"enabled": false},
  "health_monitoring": {"probe_level": "none"}
}
END

registry_get() {
	curl -s --max-time 5 "http://127.0.0.1:$REST_PORT/api/v1/$1"
}

registry_knows() {
	registry_get "targets?nqn=$1&status=$2" | grep -q '"total_count":1[,}]'
}

# verify MORE COMMAND...: our host; what it says goes to the log.
verify() {
	local more=$1

	shift
	timeout 150 "$VERIFY" "{\"traddr\": \"127.0.0.1\", \"port\": $PORT, \"subnqn\": \"$NQN\"$more}" \
		"$@" 2>>"$TEST_DIR/verify.log"
}

on_request() {
	case $1 in
	model) # MORE NR_IOS: prints the checksum of what the device holds in the end
		verify "$2" model "$3" "$TEST_DIR/dump.img" >/dev/null &&
			sha256sum <"$TEST_DIR/dump.img"
		;;
	start) # MORE WORDS: the same in the background
		shift
		(
			verify "$@" >/dev/null
			echo $? >"$TEST_DIR/background"
		) </dev/null >/dev/null 2>&1 &
		;;
	finish) # its exit code
		wait_for 140 test -s "$TEST_DIR/background" &&
			cat "$TEST_DIR/background" && rm "$TEST_DIR/background"
		;;
	sum)
		sha256sum <"$TEST_DIR/dump.img"
		;;
	info)
		grep '^{' "$TEST_DIR/verify.log" | tail -n 1
		;;
	discover)
		verify "" discover
		;;
	registry-start)
		daemon_start registry "$REGISTRY" --config "$TEST_DIR/registry.json" &&
			wait_for_port 127.0.0.1 "$REST_PORT" 60 registry
		;;
	registry-knows) # NQN STATE
		wait_for 60 registry_knows "$2" "$3"
		;;
	registry-status)
		registry_get status
		;;
	registry-stop)
		daemon_stop registry 60
		;;
	connected) # how often, so far
		grep -c 'connected to' "$TEST_DIR/verify.log"
		;;
	dump)
		echo "$TEST_DIR/dump.img"
		;;
	*)
		return 99
		;;
	esac
}
export -f verify on_request registry_get registry_knows

guest --timeout 600 --request-timeout 200 --forward "$PORT:4420" --on-request on_request \
	"$E2E_DIR/guest/host-nvmet.sh" "$NQN" ||
	test_fail "the guest's script failed"
echo "--- our host:"
grep -v '^{' "$TEST_DIR/verify.log" | tail -n 12
test_pass

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that our NVMe/TCP host works with the Linux kernel's target (nvmet in a guest, its port
# forwarded to this machine): random I/O on two reactors against a model, with and without digests,
# in-capsule data and a second queue; afterwards the guest's disk holds, byte for byte, what we say
# that it holds. The target is taken away and comes back under load; namespaces grow and go.

. "$(dirname "$0")/lib.sh"
test_begin
XSAN_BUILD=${XSAN_BUILD:-$E2E_DIR/../../build}
VERIFY=$XSAN_BUILD/test/unit/xnvmf/nvmf-verify
[ -x "$VERIFY" ] || test_fail "$VERIFY is not built (XSAN_BUILD names the build directory)"
require_guest
PORT=$(free_port) || test_fail "no free TCP port"
NQN=nqn.2026-11.io.xsan:nvmet
export VERIFY PORT NQN

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
export -f verify on_request

guest --timeout 600 --request-timeout 200 --forward "$PORT:4420" --on-request on_request \
	"$E2E_DIR/guest/host-nvmet.sh" "$NQN" ||
	test_fail "the guest's script failed"
echo "--- our host:"
grep -v '^{' "$TEST_DIR/verify.log" | tail -n 12
test_pass

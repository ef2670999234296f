#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that what xsand acknowledged survives its SIGKILL: a connected Linux host writes and
# flushes, xsand is killed at random moments and restarted with the same configuration, the host
# reconnects by itself, and every write that it saw acknowledged after a flush is there, none has
# gone back, and ext4 is clean. The random numbers come from XSAN_E2E_SEED, which is printed.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

KILLS=4

on_request() {
	local delay_ms down_ms nr

	case $1 in
	kill-restart)
		nr=$(cat "$TEST_DIR/kills")
		echo $((nr + 1)) >"$TEST_DIR/kills"
		RANDOM=$((SEED + nr))
		delay_ms=$((RANDOM % 1500))
		down_ms=$((RANDOM % 1500))
		sleep "$(printf '%d.%03d' $((delay_ms / 1000)) $((delay_ms % 1000)))"
		daemon_is_alive xsand || {
			echo "xsand ended by itself: exit code $(daemon_status xsand)" >&2
			return 1
		}
		daemon_kill xsand || return 1
		sleep "$(printf '%d.%03d' $((down_ms / 1000)) $((down_ms % 1000)))"
		echo "kill $((nr + 1)) ($2) after $delay_ms ms, down for $down_ms ms"
		node_start
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request

node_begin
require cc gcc
require e2fsck e2fsprogs
SEED=${XSAN_E2E_SEED:-$RANDOM}
export SEED
echo "XSAN_E2E_SEED=$SEED"
WRITER=$(static_program "$E2E_DIR/guest/crash-writer.c") ||
	test_fail "crash-writer.c does not compile (it needs the package libc6-dev)"
echo 0 >"$TEST_DIR/kills"
node_config 8192 32MiB 256MiB
node_start || test_fail "xsand did not start"
guest --timeout 300 --on-request on_request --file "$WRITER" "$E2E_DIR/guest/node-crash.sh" \
	"$NODE_ADDR" "$NODE_PORT" "$NODE_NQN" $KILLS "$SEED"
[ "$(cat "$TEST_DIR/kills")" -eq $((KILLS + 1)) ] || test_fail "the guest asked for too few kills"
node_stop || test_fail "xsand did not stop cleanly"
check_host "ext4 in disk1.img is not clean" e2fsck -fn "$TEST_DIR/disk1.img"
test_pass

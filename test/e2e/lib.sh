# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What every e2e test sources: reporting, a directory that cleans itself up, daemons with a log and
# bounded start and stop.
#
# A test is one script. It ends through test_pass, test_skip or test_fail, whose last line says
# what happened; a script that ends in another way, by a failed command under set -e or by a
# signal, is a failure too and says so. Daemons live in files below TEST_DIR and not in variables,
# so the functions that guest-run.sh runs for host_do, which are other processes, can stop and
# start them as well. A test exports what those need with export -f; the functions of this file are
# exported already.

set -euo pipefail

E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
LOG_TAIL_LINES=40

# Begins the test: sets TEST_NAME, TEST_DIR, TEST_START_S.
test_begin() {
	TEST_NAME=$(basename "$0" .sh)
	TEST_START_S=$SECONDS
	TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/xsan-$TEST_NAME-XXXXXX")
	TEST_ENDED=
	export E2E_DIR TEST_NAME TEST_DIR LOG_TAIL_LINES
	mkdir "$TEST_DIR/daemon"
	trap test_end EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

test_end() {
	local status=$? dir

	trap - EXIT
	set +e
	for dir in "$TEST_DIR"/daemon/*/; do
		[ ! -d "$dir" ] || daemon_kill "$(basename "$dir")"
	done
	if [ -n "$TEST_ENDED" ] && [ $status -eq 0 ]; then
		rm -rf "$TEST_DIR"
	elif [ $status -eq 77 ]; then
		rm -rf "$TEST_DIR"
	else
		for dir in "$TEST_DIR"/daemon/*/; do
			[ -s "$dir/log" ] || continue
			echo "--- last lines of $(basename "$dir"):"
			tail -n "$LOG_TAIL_LINES" "$dir/log"
		done
		# The logs stay, the disk images do not.
		rm -f "$TEST_DIR"/*.img
		echo "--- logs are kept in $TEST_DIR"
		[ $status -ne 0 ] || status=1
		[ -n "$TEST_ENDED" ] || TEST_ENDED="ended with exit code $status, see above"
		echo "FAIL $TEST_NAME: $TEST_ENDED"
	fi
	exit $status
}

test_pass() {
	TEST_ENDED=pass
	echo "PASS $TEST_NAME ($((SECONDS - TEST_START_S)) s)"
	exit 0
}

test_skip() {
	echo "SKIP $TEST_NAME: $*"
	exit 77
}

test_fail() {
	TEST_ENDED=$*
	exit 1
}

# require COMMAND PACKAGE: skips the test when the command is missing.
require() {
	command -v "$1" >/dev/null || test_skip "$1 is missing: install the package $2"
}

# What tests our tests, and nothing else, is for the long form.
require_long() {
	[ -n "${XSAN_LONG:-}" ] || test_skip "tests the guest itself: only with XSAN_LONG"
}

# check_host SENTENCE COMMAND...: fails the test with the sentence and the command's output when
# the command fails.
check_host() {
	local sentence=$1

	shift
	"$@" >"$TEST_DIR/check.log" 2>&1 || {
		tail -n "$LOG_TAIL_LINES" "$TEST_DIR/check.log"
		test_fail "$sentence"
	}
}

# Skips the test when no guest can be booted; builds the guest's image when there is none yet, and
# sets XSAN_E2E_IMAGE for the guest-run.sh that follow.
require_guest() {
	local status=0

	require qemu-system-x86_64 qemu-system-x86
	XSAN_E2E_IMAGE=$("$E2E_DIR/guest-image.sh" 2>"$TEST_DIR/image.log") || status=$?
	[ $status -ne 77 ] || test_skip "$(tail -n 1 "$TEST_DIR/image.log")"
	[ $status -eq 0 ] || test_fail "$(tail -n 1 "$TEST_DIR/image.log")"
	export XSAN_E2E_IMAGE
}

# guest OPTIONS SCRIPT ARGS: runs a script in the guest. The test skips when the script does (77)
# and fails when it fails. XSAN_E2E_APPEND goes to every guest's kernel (nvme_core.multipath=N).
guest() {
	local status=0

	"$E2E_DIR/guest-run.sh" --console-log "$TEST_DIR/console.log" \
		--append "${XSAN_E2E_APPEND:-}" "$@" || status=$?
	guest_ended $status
}

# guest_ended STATUS: ends the test unless the guest's script has succeeded.
guest_ended() {
	case $1 in
	0) return 0 ;;
	77) test_skip "the guest's script cannot run, see above" ;;
	125) test_fail "the guest gave no result, see above" ;;
	*) test_fail "the guest's script failed with exit code $1, see above" ;;
	esac
}

# static_program SOURCE: compiles a C file into TEST_DIR for the guest and prints the program's
# path.
static_program() {
	local program

	program=$TEST_DIR/$(basename "$1" .c)
	cc -std=gnu17 -O2 -Wall -Wextra -static -pthread -o "$program" "$1" || return
	echo "$program"
}

# free_port: prints a TCP port of 127.0.0.1 that nothing listens on and that this test was not given before. With
# XSAN_E2E_PORTS one of a hundred from there: tests that run beside each other are given different hundreds,
# so that none takes what another has just been given.
free_port() {
	local port tries

	for ((tries = 0; tries < 100; tries++)); do
		if [ -n "${XSAN_E2E_PORTS:-}" ]; then
			port=$((XSAN_E2E_PORTS + RANDOM % 100))
		else
			port=$((20000 + RANDOM % 10000))
		fi
		if ! grep -qsx "$port" "$TEST_DIR/ports" && ! port_is_open 127.0.0.1 "$port"; then
			echo "$port" | tee -a "$TEST_DIR/ports"
			return
		fi
	done
	return 1
}

port_is_open() {
	timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null
}

# wait_for SEC COMMAND...: true as soon as the command is, false after SEC seconds.
wait_for() {
	local deadline=$((SECONDS + $1))

	shift
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.05
	done
}

# wait_for_port HOST PORT SEC [DAEMON]: gives up early when the daemon has ended.
wait_for_port() {
	local deadline=$((SECONDS + $3))

	until port_is_open "$1" "$2"; do
		if [ -n "${4:-}" ] && ! daemon_is_alive "$4"; then
			echo "$4 ended with exit code $(daemon_status "$4") before it listened" >&2
			return 1
		fi
		if [ $SECONDS -ge $deadline ]; then
			echo "nothing listens on $1:$2 after $3 s" >&2
			return 1
		fi
		sleep 0.05
	done
}

# daemon_start NAME COMMAND...: starts the command with its output appended to the daemon's log. A
# shell of its own waits for it, so its exit code is known to everybody and no zombie is left.
daemon_start() {
	local dir=$TEST_DIR/daemon/$1

	shift
	mkdir -p "$dir"
	rm -f "$dir/pid" "$dir/status"
	# shellcheck disable=SC2016 # expanded by that shell
	setsid bash -c 'dir=$1
		shift
		"$@" &
		echo $! >"$dir/pid.new"
		mv "$dir/pid.new" "$dir/pid"
		wait $!
		echo $? >"$dir/status.new"
		mv "$dir/status.new" "$dir/status"' daemon "$dir" "$@" \
		</dev/null >>"$dir/log" 2>&1 &
	wait_for 60 test -s "$dir/pid"
}

daemon_pid() {
	cat "$TEST_DIR/daemon/$1/pid"
}

daemon_is_alive() {
	[ -s "$TEST_DIR/daemon/$1/pid" ] && [ ! -e "$TEST_DIR/daemon/$1/status" ]
}

daemon_is_over() {
	! daemon_is_alive "$1"
}

daemon_status() {
	cat "$TEST_DIR/daemon/$1/status"
}

# daemon_stop NAME SEC: SIGTERM; fails when it takes longer than SEC or the exit code is not 0.
daemon_stop() {
	daemon_is_over "$1" || kill -TERM "$(daemon_pid "$1")" 2>/dev/null || :
	if ! wait_for "$2" daemon_is_over "$1"; then
		daemon_kill "$1"
		echo "$1 did not stop within $2 s of SIGTERM" >&2
		return 1
	fi
	if [ "$(daemon_status "$1")" != 0 ]; then
		echo "$1 stopped with exit code $(daemon_status "$1")" >&2
		return 1
	fi
}

# daemon_kill NAME: SIGKILL, and waits until the kernel has taken the process apart.
daemon_kill() {
	daemon_is_over "$1" && return 0
	kill -KILL "$(daemon_pid "$1")" 2>/dev/null || :
	wait_for 60 daemon_is_over "$1"
}

export -f port_is_open wait_for wait_for_port
export -f daemon_start daemon_stop daemon_kill
export -f daemon_pid daemon_is_alive daemon_is_over daemon_status

# shellcheck shell=bash disable=SC2034 # CTRL and DISK are for the caller
# SPDX-License-Identifier: BSD-3-Clause
#
# What guest scripts source (. /xsan/guest-lib.sh): reporting, bounded waiting, and finding NVMe
# controllers and namespaces in sysfs. A failed check prints a sentence and ends the script with 1.

set -u

say() {
	echo "guest [$(cut -d ' ' -f 1 /proc/uptime)]: $*"
}

fail() {
	echo "guest: FAIL: $*"
	exit 1
}

# check_eq WHAT GOT WANTED
check_eq() {
	[ "$2" = "$3" ] || fail "$1 is '$2', wanted '$3'"
}

# check_run WHAT COMMAND...: the command must succeed; its output is shown when it does not.
check_run() {
	local what=$1

	shift
	"$@" >/tmp/check_run.out 2>&1 || {
		local status=$?

		tail -n 40 /tmp/check_run.out
		fail "$what: '$*' gave exit code $status"
	}
}

# wait_until SEC COMMAND...: true as soon as the command is, false after SEC seconds.
wait_until() {
	local deadline=$(($(date +%s) + $1))

	shift
	until "$@"; do
		[ "$(date +%s)" -lt $deadline ] || return 1
		sleep 0.1
	done
}

# nvme_ctrl NQN: the name (nvme0) of the first I/O controller connected to the subsystem.
nvme_ctrl() {
	local dir

	for dir in /sys/class/nvme/nvme*; do
		if [ "$(cat "$dir/subsysnqn" 2>/dev/null)" = "$1" ] &&
			[ "$(cat "$dir/cntrltype" 2>/dev/null)" != discovery ]; then
			echo "${dir##*/}"
			return 0
		fi
	done
	return 1
}

# nvme_ns NQN NSID: the name (nvme0n1) of the namespace's disk. The hidden disks of single paths
# (nvme0c0n1) are not looked at.
nvme_ns() {
	local dir

	for dir in /sys/block/nvme*; do
		case $dir in
		*c[0-9]*) continue ;;
		esac
		if [ "$(cat "$dir/nsid" 2>/dev/null)" = "$2" ] &&
			[ "$(cat "$dir/device/subsysnqn" 2>/dev/null)" = "$1" ]; then
			echo "${dir##*/}"
			return 0
		fi
	done
	return 1
}

nvme_ns_ready() {
	local name

	name=$(nvme_ns "$1" "$2") && [ -b "/dev/$name" ]
}

nvme_ns_gone() {
	! nvme_ns "$1" "$2" >/dev/null
}

# nvme_state CTRL: live, connecting, resetting...
nvme_state() {
	cat "/sys/class/nvme/$1/state" 2>/dev/null
}

nvme_state_is() {
	[ "$(nvme_state "$1")" = "$2" ]
}

# nvme_attach ADDR PORT NQN [OPTIONS]: connects and waits for namespace 1; fails the script
# otherwise. Sets CTRL (nvme0) and DISK (/dev/nvme0n1).
nvme_attach() {
	local addr=$1 port=$2 nqn=$3

	shift 3
	check_run "connect to $nqn" nvme connect -t tcp -a "$addr" -s "$port" -n "$nqn" "$@"
	CTRL=$(nvme_ctrl "$nqn") || fail "no controller of $nqn after nvme connect"
	wait_until 60 nvme_state_is "$CTRL" live ||
		fail "$CTRL is '$(nvme_state "$CTRL")' and not live"
	wait_until 60 nvme_ns_ready "$nqn" 1 || fail "namespace 1 of $nqn does not appear"
	DISK=/dev/$(nvme_ns "$nqn" 1)
}

# nvme_detach NQN: disconnects and waits until the controller is gone.
nvme_detach() {
	check_run "disconnect from $1" nvme disconnect -n "$1"
	wait_until 60 nvme_ctrl_gone "$1" || fail "a controller of $1 is still there"
}

nvme_ctrl_gone() {
	! nvme_ctrl "$1" >/dev/null
}

# is_zero DEVICE OFFSET_MIB LENGTH_MIB: true when the range reads as zeroes.
is_zero() {
	dd if="$1" iflag=direct bs=1M skip="$2" count="$3" 2>/dev/null |
		cmp -s -n $(($3 * 1048576)) - /dev/zero
}

# kernel_is_sane: the kernel reported no bug in itself.
kernel_is_sane() {
	! dmesg | grep -E 'BUG:|WARNING:|blocked for more than|Oops|unable to handle'
}

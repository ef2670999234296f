#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that an xsand to which an idle Linux host is connected uses less than 1 % of a core: the
# processor time of all its threads over 10 seconds, some seconds after a load has ended.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/node.sh"

# cpu_ticks PID: user and system time of the process in clock ticks.
cpu_ticks() {
	local stat

	stat=$(cat "/proc/$1/stat") || return
	# The second field is the name in brackets, which may hold blanks; utime and stime are 14
	# and 15.
	echo "${stat##*) }" | awk '{ print $12 + $13 }'
}

on_request() {
	local pid before after

	case $1 in
	measure)
		pid=$(daemon_pid xsand)
		before=$(cpu_ticks "$pid") || return
		sleep "$2"
		after=$(cpu_ticks "$pid") || return
		echo $(((after - before) * 10000 / ($2 * $(getconf CLK_TCK))))
		;;
	*)
		echo "unknown request $1" >&2
		return 99
		;;
	esac
}
export -f on_request cpu_ticks

node_begin
node_config 8192 64MiB
node_start || test_fail "xsand did not start"
node_guest --timeout 120 --on-request on_request "$E2E_DIR/guest/node-idle.sh"
node_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# registry.sh ADDR PORT NQN OTHER-NQN NODE-PORT HOST-NQN: asks the discovery controller at ADDR PORT, attaches
# what it names, and watches it change. Events are read as the kernel tells them to user space, the
# way udev's rules do.

. /xsan/guest-lib.sh

ADDR=$1
PORT=$2
NQN=$3
OTHER=$4
NODE_PORT=$5
HOST=$6
EVENTS=/tmp/events

# nr_events: how many changes of the discovery log the kernel has told of.
nr_events() {
	grep -c 'NVME_AEN=0x70f002' $EVENTS
}

has_events() {
	[ "$(nr_events)" -ge "$1" ]
}

discovery_ctrl() {
	local path

	for path in /sys/class/nvme/nvme*; do
		[ "$(cat "$path/cntrltype" 2>/dev/null)" = discovery ] && basename "$path" && return 0
	done
	return 1
}

# log_has NQN: the log page, read over the persistent connection.
log_has() {
	nvme discover -t tcp -a "$ADDR" -s "$PORT" --device="$DISCOVERY" >/tmp/log 2>&1 ||
		nvme discover -t tcp -a "$ADDR" -s "$PORT" >/tmp/log 2>&1
	grep -q "subnqn: *$1\$" /tmp/log
}

look_at_log() {
	check_run "discover" nvme discover -t tcp -a "$ADDR" -s "$PORT"
	grep -q "subnqn: *$NQN\$" /tmp/check_run.out || {
		cat /tmp/check_run.out
		fail "the registry's log does not list $NQN"
	}
	awk '/^=====/ { entry = "" } { entry = entry $0 "\n" } /^sectype:/ { print entry }' \
		/tmp/check_run.out | grep -q "trsvcid: *$NODE_PORT\$" || fail "the log lacks port $NODE_PORT"
	grep -q "subtype: *current discovery subsystem" /tmp/check_run.out ||
		fail "the log lacks the discovery controller itself"
}

attach_all() {
	check_run "connect-all" nvme connect-all -t tcp -a "$ADDR" -s "$PORT" --persistent -l 60 -c 1
	CTRL=$(nvme_ctrl "$NQN") || fail "connect-all made no controller of $NQN"
	wait_until 60 nvme_state_is "$CTRL" live || fail "$CTRL is '$(nvme_state "$CTRL")'"
	wait_until 60 nvme_ns_ready "$NQN" 1 || fail "namespace 1 of $NQN does not appear"
	DISK=/dev/$(nvme_ns "$NQN" 1)
	DISCOVERY=$(discovery_ctrl) || fail "connect-all --persistent kept no discovery controller"
	check_run "a write" dd if=/dev/urandom of="$DISK" oflag=direct bs=1M count=4
}

told_of_addition() {
	local before

	say "a volume is added"
	before=$(nr_events)
	host_do add-subsystem || fail "the host could not add a subsystem"
	wait_until 60 has_events $((before + 1)) || fail "no event of the added volume"
	wait_until 60 log_has "$OTHER" || fail "the log lacks $OTHER: $(cat /tmp/log)"
	check_run "connect-all" nvme connect-all -t tcp -a "$ADDR" -s "$PORT"
	wait_until 60 nvme_ns_ready "$OTHER" 1 || fail "namespace 1 of $OTHER does not appear"
}

told_of_removal() {
	local before

	say "it is taken away"
	nvme_detach "$OTHER"
	# The next event comes when the log has been read since the last.
	wait_until 60 log_has "$OTHER" || fail "the log lacks $OTHER: $(cat /tmp/log)"
	before=$(nr_events)
	host_do remove-subsystem || fail "the host could not remove a subsystem"
	wait_until 60 has_events $((before + 1)) || fail "no event of the removed volume"
	wait_until 60 sh -c "! nvme discover -t tcp -a $ADDR -s $PORT | grep -q $OTHER" ||
		fail "the log still has $OTHER"
}

registry_dies() {
	say "the registry is killed"
	host_do kill-registry || fail "the host could not kill the registry"
	check_run "a write without a registry" dd if=/dev/urandom of=/tmp/data bs=1M count=4
	check_run "a write without a registry" dd if=/tmp/data of="$DISK" oflag=direct bs=1M
	sleep 3
	check_eq "state of the I/O controller" "$(nvme_state "$CTRL")" live
	host_do start-registry || fail "the host could not start the registry"
	wait_until 60 nvme_state_is "$DISCOVERY" live ||
		fail "the discovery controller is '$(nvme_state "$DISCOVERY")' after a restart"
	host_do node-is-registered || fail "the node is not registered any more"
	dd if="$DISK" iflag=direct bs=1M count=4 2>/dev/null | cmp - /tmp/data ||
		fail "what was written without a registry is not there"
	log_has "$NQN" || fail "the log lacks $NQN after a restart"
	check_eq "state of the I/O controller" "$(nvme_state "$CTRL")" live
}

# sees NUMBER: whether that host's log has the node's volume.
sees() {
	nvme discover -t tcp -a "$ADDR" -s "$PORT" --hostnqn="$HOST-$1" \
		--hostid="2f1b3c54-7a0e-4a38-9d51-e2e00000010$1" >/tmp/log 2>&1 ||
		fail "discover as $HOST-$1: $(cat /tmp/log)"
	grep -q "subnqn: *$NQN\$" /tmp/log
}

look_through_zones() {
	say "zones"
	# Else nvme discover asks over that connection, which is that of this guest's own host NQN.
	check_run "disconnect from the registry" nvme disconnect -d "$DISCOVERY"
	sees 1 || fail "host 1 does not see $NQN without zones"
	sees 2 || fail "host 2 does not see $NQN without zones"
	host_do zone || fail "the host could not make a zone"
	sees 1 || fail "host 1 does not see $NQN, which is in its zone"
	sees 2 && fail "host 2 sees $NQN, which is in the zone of host 1 alone"
	host_do no-zone || fail "the host could not take the zone away"
	sees 2 || fail "host 2 does not see $NQN when there is no zone any more"
}

busybox uevent env >$EVENTS 2>/dev/null &
look_at_log
attach_all
told_of_addition
registry_dies
told_of_removal
look_through_zones
kernel_is_sane || fail "the guest's kernel complains"

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# registry-etcd.sh ADDR PORT-1 PORT-2 NQN OTHER-NQN SHELF-NQN KILLS: asks two registries at ADDR, attaches what they
# name, writes to it all the time, and watches the registries and the node die and come back. Events are read
# as the kernel tells them to user space, the way udev's rules do. What a log page should be the host knows
# (host_do judge-...).

. /xsan/guest-lib.sh

ADDR=$1
PORTS=("" "$2" "$3")
NQN=$4
OTHER=$5
SHELF=$6
KILLS=$7
EVENTS=/tmp/events
TOLD_S=60 # from the moment that the registry knows; a tenth of a second and what this machine takes
CTRL=
DISCOVERY=("" "" "") # by the registry's number

# A line for each event of an NVMe controller: when, its port, what it is.
cat >/tmp/on-event <<'END'
#!/bin/bash
[ -z "$NVME_TRSVCID" ] || echo "$(cut -d ' ' -f 1 /proc/uptime) $NVME_TRSVCID ${NVME_AEN:-}${NVME_EVENT:-}" >>/tmp/events
END
chmod +x /tmp/on-event
: >$EVENTS

now() {
	cut -d ' ' -f 1 /proc/uptime
}

# nr_events NUMBER: of changes of the log that the registry has told of.
nr_events() {
	grep -c " ${PORTS[$1]} 0x70f002\$" $EVENTS
}

# has_events NUMBER COUNT
has_events() {
	[ "$(nr_events "$1")" -ge "$2" ]
}

# find_discovery NUMBER: sets DISCOVERY[NUMBER] to the persistent controller of that registry.
find_discovery() {
	local path

	for path in /sys/class/nvme/nvme*; do
		if [ "$(cat "$path/cntrltype" 2>/dev/null)" = discovery ] &&
			grep -q "trsvcid=${PORTS[$1]}\(,\|\$\)" "$path/address"; then
			DISCOVERY[$1]=${path##*/}
			return 0
		fi
	done
	return 1
}

# ---- log pages ----

# number_at FILE OFFSET BYTES
number_at() {
	od -An -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# read_page NUMBER LID LSP: the page in base64, read over the persistent connection in pieces of 4 KiB.
read_page() {
	local size

	nvme get-log "/dev/${DISCOVERY[$1]}" --log-id="$2" --lsp="$3" --log-len=1024 --raw-binary \
		>/tmp/page 2>/tmp/page.err || return
	size=$(number_at /tmp/page 20 4)
	[ "$size" != 0 ] || size=$((1024 + 1024 * $(number_at /tmp/page 8 8)))
	nvme get-log "/dev/${DISCOVERY[$1]}" --log-id="$2" --lsp="$3" --log-len="$size" --raw-binary \
		>/tmp/page 2>/tmp/page.err || return
	base64 -w 0 /tmp/page
}

# judge_log NUMBER LSP: the log must be what REST says; sets LOG to what it is in short, and GENCTR.
judge_log() {
	local page words

	page=$(read_page "$1" 0x70 "$2") || fail "page 70h of registry $1: $(cat /tmp/page.err)"
	LOG=$(host_do judge-log "$1" "$2" "$page") ||
		fail "the log of registry $1 with LSP $2 is not what REST says: $LOG"
	read -ra words <<<"$LOG"
	GENCTR=${words[1]}
}

# ---- the writer ----

# Writes and verifies until /tmp/stop is there; every pass is a line in /tmp/passes. The pauses are for the others
# on this guest's slow processors.
write_on() {
	while [ ! -e /tmp/stop ]; do
		if ! fio --name=passes --filename="$DISK" --direct=1 --rw=randwrite --bs=16k --size=1m \
			--iodepth=8 --ioengine=libaio --verify=crc32c --verify_fatal=1 \
			--randseed="$(wc -l </tmp/passes)" >/tmp/fio.out 2>&1; then
			touch /tmp/fio.failed
			return
		fi
		echo pass >>/tmp/passes
		sleep 0.5
	done
}

writer_goes_on() {
	local before

	before=$(wc -l </tmp/passes)
	wait_until 60 sh -c "[ -e /tmp/fio.failed ] || [ \$(wc -l </tmp/passes) -ge $((before + 2)) ]" ||
		fail "the writer stands still $1: $(cat /tmp/fio.out)"
	[ ! -e /tmp/fio.failed ] || fail "the writer failed $1: $(cat /tmp/fio.out)"
}

# ---- the parts ----

attach_by_referral() {
	say "discover, and connect by a referral"
	check_run "discover" nvme discover -t tcp -a "$ADDR" -s "${PORTS[1]}"
	grep -A 4 "subtype: *discovery subsystem referral" /tmp/check_run.out |
		grep -q "trsvcid: *${PORTS[2]}\$" || {
		cat /tmp/check_run.out
		fail "registry 1 does not refer to registry 2"
	}
	check_run "connect-all" nvme connect-all -t tcp -a "$ADDR" -s "${PORTS[1]}" --persistent -l 120 -c 1
	for number in 1 2; do
		find_discovery $number ||
			fail "connect-all at registry 1 has left no discovery controller of registry $number"
	done
	check_run "connect-all" nvme connect-all -t tcp -a "$ADDR" -s "${PORTS[2]}" --persistent -l 120 -c 1
	check_eq "number of controllers" "$(find /sys/class/nvme/ -mindepth 1 | wc -l)" 3
	CTRL=$(nvme_ctrl "$NQN") || fail "connect-all made no controller of $NQN"
	wait_until 60 nvme_ns_ready "$NQN" 1 || fail "namespace 1 of $NQN does not appear"
	DISK=/dev/$(nvme_ns "$NQN" 1)
}

# Page 70h with its options (EXTDLPE; PLEO and ALLSUBE, which are not for hosts), and the page of hosts.
logs_are_right() {
	local lsp page

	say "log pages"
	for lsp in 1 6; do
		judge_log 1 $lsp
	done
	page=$(read_page 1 0x71 1) || fail "page 71h: $(cat /tmp/page.err)"
	host_do judge-hosts-log 1 1 "$page" >/dev/null || fail "this host sees hosts"
}

leader_dies() {
	local leader left number before=() known told

	say "the registry that leads is killed"
	for number in 1 2; do
		judge_log $number 0
		before[number]=$GENCTR
	done
	leader=$(host_do kill-leader) || fail "the host could not kill the registry that leads"
	left=$((3 - leader))
	writer_goes_on "without registry $leader"
	check_eq "state of the I/O controller" "$(nvme_state "$CTRL")" live
	told=$(nr_events $left)
	host_do add-volume $left || fail "the host could not add a volume, or registry $left does not hear of it"
	known=$(now)
	wait_until $TOLD_S has_events $left $((told + 1)) || fail "registry $left tells of no new volume"
	say "told $(echo "$known $(now)" | awk '{ printf "%.1f", $2 - $1 }') s after registry $left knows it"
	check_run "connect-all" nvme connect-all -t tcp -a "$ADDR" -s "${PORTS[$left]}" -l 120 -c 1
	wait_until 60 nvme_ns_ready "$OTHER" 1 || fail "namespace 1 of $OTHER does not appear"
	host_do leads $left || fail "registry $left does not lead"
	judge_log $left 0
	check_eq "state of the I/O controller" "$(nvme_state "$CTRL")" live

	say "it comes back"
	host_do start-registry "$leader" || fail "the host could not start registry $leader"
	wait_until 60 nvme_state_is "${DISCOVERY[$leader]}" live ||
		fail "the discovery controller of registry $leader is '$(nvme_state "${DISCOVERY[$leader]}")'"
	judge_log "$leader" 0
	[ "$GENCTR" -gt "${before[leader]}" ] ||
		fail "the change counter of registry $leader is not higher than before"
	writer_goes_on "with registry $leader again"
}

volume_goes() {
	local told=("" "$(nr_events 1)" "$(nr_events 2)")

	say "the volume is taken away"
	nvme_detach "$OTHER"
	host_do remove-volume || fail "the registries do not hear that the volume is gone"
	for number in 1 2; do
		wait_until $TOLD_S has_events $number $((told[number] + 1)) ||
			fail "registry $number does not tell that the volume is gone"
		judge_log $number 1
	done
}

registers_itself() {
	local me what hosts

	say "nvme dim"
	me=$(cat /etc/nvme/hostnqn)
	host_do judge-hosts 1 "-$me" >/dev/null || fail "this host is registered before it asked for that"
	check_run "registration" nvme dim --device="${DISCOVERY[1]}" --task=register
	hosts=$(host_do judge-hosts 1 "+$me") || fail "this host is not registered: $hosts"
	for what in "\"hostid\": \"$(cat /etc/nvme/hostid)\"" "\"name\": \"$(hostname)\"" "$(uname -r)"; do
		grep -qF "$what" <<<"$hosts" || fail "it is registered without $what: $hosts"
	done
	check_run "the end of it" nvme dim --device="${DISCOVERY[1]}" --task=deregister
	host_do judge-hosts 1 "-$me" >/dev/null || fail "this host is still registered"
}

registers_subsystem() {
	local told task

	say "a subsystem is registered by a command"
	host_do dim-data | base64 -d >/tmp/dim
	for task in 0 1; do
		told=("" "$(nr_events 1)" "$(nr_events 2)")
		check_run "registration, task $task" nvme admin-passthru "/dev/${DISCOVERY[1]}" --opcode=0x21 \
			--cdw10=$task --data-len=2048 --write --input-file=/tmp/dim
		host_do wait-for "$SHELF" "$([ $task = 1 ] || echo available)" ||
			fail "the registries do not know $SHELF after task $task"
		for number in 1 2; do
			wait_until $TOLD_S has_events $number $((told[number] + 1)) ||
				fail "registry $number does not tell of $SHELF after task $task"
			judge_log $number 1 # the next event comes when the log has been read
		done
	done
}

# both_tell WHAT SINCE: another event of each registry; the host reads what has changed.
both_tell() {
	for number in 1 2; do
		wait_until $TOLD_S has_events $number $((told[number] + 1)) || fail "registry $number does not tell that $1"
		say "registry $number: told $(awk -v p="${PORTS[$number]}" -v since="$2" \
			'$2 == p { at = $1 } END { printf "%.1f", at - since }' $EVENTS) s after $1"
		judge_log $number 1
		told[number]=$(nr_events $number)
	done
}

node_dies() {
	local told=("" "$(nr_events 1)" "$(nr_events 2)") since

	say "the node is killed"
	since=$(now)
	host_do kill-node || fail "the host could not kill the node"
	both_tell "the node is dead" "$since"
	wait_until 60 nvme_state_is "$CTRL" connecting || fail "$CTRL is '$(nvme_state "$CTRL")'"
	# It stays in the log, so that hosts keep on trying, and what becomes of it without the node is no news.
	host_do wait-for "$NQN" offline || fail "the registries do not find that the node is gone"
	for number in 1 2; do
		check_eq "events of registry $number" "$(nr_events $number)" "${told[number]}"
	done
	since=$(now)
	host_do start-node || fail "the host could not start the node"
	both_tell "the node is back" "$since"
	wait_until 60 nvme_state_is "$CTRL" live || fail "$CTRL is '$(nvme_state "$CTRL")'"
	host_do wait-for "$NQN" available || fail "the registries do not find that the node is back"
	writer_goes_on "with the node again"
}

busybox uevent /tmp/on-event 2>/dev/null &
attach_by_referral
: >/tmp/passes
write_on &
writer=$!
logs_are_right
for ((kill = 0; kill < KILLS; kill++)); do
	leader_dies
	volume_goes
done
registers_itself
registers_subsystem
node_dies
touch /tmp/stop
wait $writer
[ ! -e /tmp/fio.failed ] || fail "the writer failed: $(cat /tmp/fio.out)"
say "$(wc -l </tmp/passes) passes written and verified"
kernel_is_sane || fail "the guest's kernel complains"
exit 0

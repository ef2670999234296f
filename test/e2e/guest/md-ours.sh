#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's part of test-md-ours.sh. Two files say what to do, a line for each array:
#
#   /xsan/judge   NAME ACTION FROM_KIB DEGRADED CHECK SIZE_KIB CONTENT FIRST_KIB KIB HOW
#                 Linux assembles it (HOW force: only when forced), begins ACTION (idle, resync, recover;
#                 any; none without redundancy) at FROM_KIB or later, finishes it, misses DEGRADED
#                 members then, finds CONTENT (SEED:START_KIB:END_KIB,…) and with CHECK "yes" no
#                 mismatch, and writes seed 3.
#   /xsan/make    NAME STATE MEMBERS OPTIONS…
#                 Linux makes it of the first MEMBERS images and leaves it in STATE for us.

. /xsan/md.sh

# A recovery that is to be seen at its begin is slow until it has been.
sync_speed() {
	echo "$1" >/proc/sys/dev/raid/speed_limit_max
	echo "$1" >/proc/sys/dev/raid/speed_limit_min
}

action_is() {
	[ "$(md_state "$1" sync_action)" = "$2" ]
}

has_progress() {
	[[ $(md_state "$1" sync_completed) == [0-9]* ]]
}

# sees_action NAME ACTION FROM_KIB: what Linux does by itself, and that it goes on where we were.
sees_action() {
	local at

	[ "$2" != none ] && [ "$2" != any ] || return 0
	if [ "$2" = idle ]; then
		check_eq "what Linux does with $1" "$(md_state "$1" sync_action)" idle
		check_eq "where the resync of $1 is to begin" "$(md_state "$1" resync_start)" none
		return
	fi
	wait_until 60 action_is "$1" "$2" ||
		fail "$1: Linux does '$(md_state "$1" sync_action)', wanted '$2'"
	wait_until 60 has_progress "$1" || fail "$1: the $2 has no progress"
	at=$(md_state "$1" sync_completed)
	[ "${at%% *}" -ge $(($3 * 2)) ] ||
		fail "$1: the $2 is at sector ${at%% *} and not at $(($3 * 2)) or beyond"
}

assemble() {
	if [ "$2" = force ]; then
		! md_try_assemble "$1" >/tmp/refused || fail "$1 starts without force"
		mdadm --stop "$(md_node "$1")" >/dev/null 2>&1
		md_assemble "$1" --force
	else
		md_assemble "$1"
	fi
}

verify() {
	local name=$1 range seed start end

	for range in ${2//,/ }; do
		IFS=: read -r seed start end <<<"$range"
		md_verify "$name" "$seed" "$start" $((end - start))
	done
}

judge() {
	local name=$1 action=$2 from=$3 degraded=$4 check=$5 size=$6 content=$7 first=$8 count=$9 how=${10}
	local mismatch=-

	sync_speed 1000
	assemble "$name" "$how"
	sees_action "$name" "$action" "$from"
	sync_speed 1000000
	[ "$check" = none ] || md_wait_idle "$name"
	[ "$check" = none ] ||
		check_eq "the members $name misses" "$(md_state "$name" degraded)" "$degraded"
	check_eq "the size of $name" "$(md_size "$name")" $((size * 1024))
	verify "$name" "$content"
	if [ "$check" = yes ]; then
		mismatch=$(md_check "$name") || fail "$mismatch"
		check_eq "mismatch_cnt of $name" "$mismatch" 0
	fi
	if [ "$count" -gt 0 ]; then
		md_write "$name" 3 "$first" "$count"
		md_verify "$name" 3 "$first" "$count"
	fi
	md_stop "$name"
	say "judged $name $mismatch"
}

# make NAME STATE MEMBERS OPTIONS: whole, degraded (member 1 failed and written on), recovering (and the
# image behind the members is being made number 1).
make() {
	local name=$1 state=$2 members=$3 images=() i node

	shift 3
	for ((i = 0; i < members; i++)); do
		images+=("/md/$name/m$i.img")
	done
	mkdir -p /dev/md
	check_run "create $name" mdadm --create "/dev/md/$name" --run --metadata=1.2 --homehost=guest \
		--raid-devices="$members" "$@" "${images[@]}"
	md_wait_idle "$name"
	node=$(md_node "$name")
	md_write "$name" 1 0 $(($(md_size "$name") / 1024))
	if [ "$state" != whole ]; then
		check_run "fail m1 of $name" mdadm "$node" --fail "$(readlink -f "/md/$name/m1.img")"
		md_write "$name" 2 100 1001
	fi
	if [ "$state" = recovering ]; then
		sync_speed 1000
		check_run "add to $name" mdadm "$node" --add \
			"$(readlink -f "/md/$name/m$members.img")"
		wait_until 60 has_progress "$name" || fail "$name: no recovery"
		sleep 2
		action_is "$name" recover || fail "$name: the recovery is over already"
	fi
	md_stop "$name"
	sync_speed 1000000
	say "made $name"
}

modprobe md_mod
sync_speed 1000000
# One that fails does not keep the others from being judged.
nr_failed=0
while read -r -a words; do
	(judge "${words[@]}") && continue
	say "the array ${words[*]}"
	cat /proc/mdstat
	nr_failed=$((nr_failed + 1))
	mdadm --stop "$(md_node "${words[0]}")" >/dev/null 2>&1
done </xsan/judge
while read -r -a words; do
	make "${words[@]}"
done </xsan/make
[ $nr_failed -eq 0 ] || fail "$nr_failed arrays failed, see above"
say "done"
exit 0

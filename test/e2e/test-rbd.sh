#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows libxbdev on images of a real Ceph cluster, which the test starts: one monitor and one OSD in
# memory, on 127.0.0.1, without authentication. What was written is what Ceph's own tool exports,
# and the other way round; zeroes free space; a resize is seen; an image that is held is left alone;
# and what is missing is said within its time.

. "$(dirname "$0")/lib.sh"
test_begin
for command in ceph-mon:ceph-mon ceph-osd:ceph-osd ceph:ceph-common rbd:ceph-common \
	monmaptool:ceph-base; do
	require "${command%%:*}" "${command##*:}"
done
XSAN_BUILD=${XSAN_BUILD:-$E2E_DIR/../../build}
CHECK=$XSAN_BUILD/test/e2e/device-check
export XBDEV_MODULE_DIR=$XSAN_BUILD/modules
[ -x "$CHECK" ] || test_fail "$CHECK is not built (XSAN_BUILD names the build directory)"
[ -e "$XBDEV_MODULE_DIR/xbdev-rbd.so" ] ||
	test_skip "the module rbd is not built: install the package librbd-dev"
export CEPH_CONF=$TEST_DIR/ceph.conf
MIB=1048576
OSD_TRIES=10

# ---- the cluster ----

cluster_config() {
	cat >"$CEPH_CONF" <<END
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = v1:127.0.0.1:$1
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
ms_bind_msgr2 = false
ms_bind_port_min = $2
ms_bind_port_max = $(($2 + 300))
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = $((1024 * MIB))
# A file system that is nearly full is no reason to fail here.
mon_data_avail_crit = 1
mon_data_avail_warn = 2
run_dir = $TEST_DIR/run
admin_socket = $TEST_DIR/run/\$name.\$pid.asok
log_file = $TEST_DIR/\$name.log
mon_cluster_log_file = $TEST_DIR/cluster.log
keyring = $TEST_DIR/keyring
mon_data = $TEST_DIR/mon
osd_data = $TEST_DIR/osd
crash_dir = $TEST_DIR
END
}

ceph_answers() {
	timeout 10 ceph --connect-timeout 5 "$@" >"$TEST_DIR/ceph.out" 2>&1
}

osd_is_up() {
	ceph_answers osd stat && grep -q '1 up' "$TEST_DIR/ceph.out"
}

osd_is_up_or_over() {
	daemon_is_over osd || osd_is_up
}

# osd_start: the OSD asks the monitor for its place as soon as it has a session, which may be before
# it has the map with the cluster's identity; then it is refused ("wrong fsid") and ends. Who runs
# OSDs starts such a one again, and so do we: one that ends before it is up.
osd_start() {
	local tries

	for ((tries = 1; tries <= OSD_TRIES; tries++)); do
		daemon_start osd ceph-osd -i 0 -f
		wait_for 60 osd_is_up_or_over || break
		daemon_is_over osd || return 0
		echo "the OSD ended with exit code $(daemon_status osd) before it was up (start $tries" \
			"of $OSD_TRIES): $(grep . "$TEST_DIR/daemon/osd/log" | tail -n 1)"
	done
	test_fail "the OSD does not come up: $(cat "$TEST_DIR/ceph.out")"
}

cluster_start() {
	local port

	mkdir "$TEST_DIR/mon" "$TEST_DIR/osd" "$TEST_DIR/run"
	port=$(free_port) || test_fail "no free TCP port"
	cluster_config "$port" $((31000 + RANDOM % 1000))
	check_host "no keyring" ceph-authtool --create-keyring "$TEST_DIR/keyring" --gen-key \
		-n mon. --cap mon 'allow *'
	check_host "no key" ceph-authtool "$TEST_DIR/keyring" --gen-key -n client.admin \
		--cap mon 'allow *' --cap osd 'allow *'
	check_host "no monitor map" monmaptool --create --addv a "v1:127.0.0.1:$port" --fsid \
		"$(sed -n 's/^fsid = //p' "$CEPH_CONF")" "$TEST_DIR/monmap"
	check_host "the monitor cannot be made" ceph-mon --mkfs -i a --monmap "$TEST_DIR/monmap" \
		--keyring "$TEST_DIR/keyring"
	daemon_start mon ceph-mon -i a -f
	wait_for 60 ceph_answers -s || test_fail "the monitor does not answer: $(cat "$TEST_DIR/ceph.out")"
	osd=$(cat /proc/sys/kernel/random/uuid)
	check_host "no number for the OSD" timeout 30 ceph osd new "$osd"
	check_host "the OSD cannot be made" ceph-osd -i 0 --mkfs --osd-uuid "$osd"
	osd_start
	# The monitor may just be busy with its first election.
	wait_for 60 ceph_answers osd pool create p 8 ||
		test_fail "no pool: $(cat "$TEST_DIR/ceph.out")"
}

# ---- the device ----

# entry IMAGE [MEMBERS]: the JSON of a device of that image.
entry() {
	echo "{\"driver\": \"rbd\", \"name\": \"r\", \"pool_name\": \"p\", \"image_name\": \"$1\",
		\"config_file\": \"$CEPH_CONF\", \"timeout_s\": 20${2:+, $2}}"
}

check() {
	timeout 200 "$CHECK" "$@" >"$TEST_DIR/check.out" 2>&1 || {
		cat "$TEST_DIR/check.out"
		test_fail "device-check $1 $2"
	}
	tail -n 3 "$TEST_DIR/check.out"
}

ceph_rbd() {
	check_host "rbd $1 failed" timeout 60 rbd "$@"
}

# exported_is IMAGE FILE: Ceph's own tool finds the same bytes.
exported_is() {
	rm -f "$TEST_DIR/exported"
	check_host "rbd export failed" timeout 60 rbd export "$1" "$TEST_DIR/exported"
	cmp "$TEST_DIR/exported" "$2" || test_fail "$1 is not what is in $2"
}

# used_is IMAGE BYTES
used_is() {
	local used

	used=$(timeout 60 rbd du "$1" --format json 2>/dev/null |
		sed 's/.*"used_size":\([0-9]*\).*/\1/')
	[ "$used" = "$2" ] || test_fail "$1 uses '$used' bytes and not $2"
}

cluster_start
for image in a b c; do
	ceph_rbd create "p/$image" --size 64M
done

for members in '' '"block_size": 4096' '"cache": true'; do
	echo "-- exercise $members"
	check exercise "$(entry a "$members")" 1 "$TEST_DIR/model"
	exported_is p/a "$TEST_DIR/model"
done
check info "$(entry a '"cache": true')"
grep -q '^write_cache 1' "$TEST_DIR/check.out" || test_fail "a cache is not told"
ceph_rbd config image set p/b rbd_cache true
check info "$(entry b)"
grep -q '^write_cache 1' "$TEST_DIR/check.out" || test_fail "the image's own cache is not told"
check info "$(entry c)"
grep -q '^write_cache 0' "$TEST_DIR/check.out" || test_fail "a cache is told where there is none"

echo "-- what Ceph's tool wrote, and a snapshot of it"
head -c $((16 * MIB)) /dev/urandom >"$TEST_DIR/random"
ceph_rbd import "$TEST_DIR/random" p/import
check compare "$(entry import '"read_only": true')" "$TEST_DIR/random"
ceph_rbd snap create p/import@before
check exercise "$(entry import)" 2 "$TEST_DIR/model"
exported_is p/import "$TEST_DIR/model"
check compare "$(entry import '"snap_name": "before"')" "$TEST_DIR/random"

echo "-- space"
ceph_rbd create p/space --size 64M
used_is p/space 0
check fill "$(entry space)" 0 $((16 * MIB))
used_is p/space $((16 * MIB))
check discard "$(entry space)" $((4 * MIB)) $((8 * MIB))
used_is p/space $((8 * MIB))

echo "-- resize"
"$CHECK" resize "$(entry c)" $((96 * MIB)) >"$TEST_DIR/resize.out" 2>&1 &
pid=$!
wait_for 60 grep -q waiting "$TEST_DIR/resize.out" || test_fail "$(cat "$TEST_DIR/resize.out")"
ceph_rbd resize p/c --size 96M --allow-shrink
wait $pid || test_fail "the new size is not seen: $(cat "$TEST_DIR/resize.out")"

echo "-- one at a time"
mkfifo "$TEST_DIR/stdin"
"$CHECK" hold "$(entry b)" <"$TEST_DIR/stdin" >"$TEST_DIR/hold.out" 2>&1 &
pid=$!
exec 5>"$TEST_DIR/stdin"
wait_for 60 grep -q holding "$TEST_DIR/hold.out" || test_fail "$(cat "$TEST_DIR/hold.out")"
check refuse "$(entry b)" "another client has it open exclusively"
check info "$(entry b '"read_only": true')"
exec 5>&-
wait $pid || test_fail "$(cat "$TEST_DIR/hold.out")"
check info "$(entry b)"

echo "-- by a configuration document"
entry b | sed 's/"driver": "rbd", \(.*\)/"base_devices": [{"method": "rbd", "params": {\1/; s/}$/}}]}/' \
	>"$TEST_DIR/document.json"
check document "$TEST_DIR/document.json"

echo "-- what is missing"
check refuse "$(entry none)" "opening the RBD image 'none'"
check refuse "$(entry a | sed 's/"p"/"nopool"/')" "opening the Ceph pool 'nopool'"
check refuse "$(entry a '"block_size": 1024')" "512 or 4096"
check refuse "$(entry a | sed 's/"timeout_s": 20/"timeout_s": 0/')" "use 1 to 600"
check refuse "$(entry a | sed 's/ceph.conf/none.conf/')" "none.conf"

echo "-- the cluster goes away: a device cannot be made, within its time"
daemon_kill osd
daemon_kill mon
start=$SECONDS
check refuse "$(entry a | sed 's/"timeout_s": 20/"timeout_s": 3/')" "connecting to the Ceph cluster"
[ $((SECONDS - start)) -lt 20 ] || test_fail "it took $((SECONDS - start)) s instead of 3"
test_pass

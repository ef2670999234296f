# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The kernel's own NVMe/TCP target, driven through configfs: a peer of ours inside the guest. Guest
# scripts source it after guest-lib.sh (. /xsan/nvmet.sh).

NVMET=/sys/kernel/config/nvmet

# nvmet_export NQN DEVICE ADDR PORT: one subsystem open to every host, with DEVICE as namespace 1.
nvmet_export() {
	local subsys=$NVMET/subsystems/$1

	modprobe nvmet_tcp || fail "no nvmet in this kernel"
	[ -d /sys/kernel/config/nvmet ] || mount -t configfs configfs /sys/kernel/config ||
		fail "configfs cannot be mounted"
	mkdir "$subsys" || fail "nvmet does not take the subsystem $1"
	echo 1 >"$subsys/attr_allow_any_host"
	nvmet_add_ns "$1" 1 "$2"
	mkdir "$NVMET/ports/1"
	echo tcp >"$NVMET/ports/1/addr_trtype"
	echo ipv4 >"$NVMET/ports/1/addr_adrfam"
	echo "$3" >"$NVMET/ports/1/addr_traddr"
	echo "$4" >"$NVMET/ports/1/addr_trsvcid"
	ln -s "$subsys" "$NVMET/ports/1/subsystems/$1" || fail "nvmet does not listen on $3:$4"
}

# nvmet_add_ns NQN NSID DEVICE
nvmet_add_ns() {
	local ns=$NVMET/subsystems/$1/namespaces/$2

	if ! { mkdir "$ns" && echo -n "$3" >"$ns/device_path" && echo 1 >"$ns/enable"; }; then
		fail "nvmet does not take $3 as namespace $2"
	fi
}

nvmet_remove() {
	rm "$NVMET/ports/1/subsystems/$1"
	rmdir "$NVMET/ports/1"
	rmdir "$NVMET/subsystems/$1"/namespaces/*
	rmdir "$NVMET/subsystems/$1"
}

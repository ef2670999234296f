#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh BUILD-DIR: starts a storage node in the foreground, with everything it has below ./var: a
# RAID 5 array of three files (sparse), a store of logical volumes on it, and a thin volume of 1 GiB
# in that, exported over NVMe/TCP on 127.0.0.1. Beside it runs a registry, where the node registers
# what it exports and hosts can ask for it; it ends when the node does. They and the configuration are
# made once and are yours to change; a second start finds the same data and the same identifiers. A ./var that is there
# already, also one of an earlier layout, is used as it is. XSAN_VAR and the
# ports are for tests.
#
# The volume is made while the node runs, as it is on its device and not in the configuration. Until
# that is done the file "unfinished" is there, and the next start goes on with it.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build}
var=${XSAN_VAR:-$PWD/var}
port=${XSAN_PORT:-4420}
rest_port=${XSAN_REST_PORT:-8080}
grpc_port=${XSAN_GRPC_PORT:-8081}
discovery_port=${XSAN_DISCOVERY_PORT:-8009}
nqn=nqn.2026-11.io.xsan:demo
config=$var/xsand.json
socket=$var/xsand.sock
volume=store0/volume0

xsan() {
	"$build/cli/xsan" -s "$socket" "$@"
}

# write_config NAMESPACES: replaces the configuration. The files are made by the node and hold
# zeroes, which agree with each other: no resync is needed.
write_config() {
	cat >"$config.new" <<END_OF_CONFIG
{
  "log": {"level": "info", "target": "stderr", "format": "text"},
  "reactors": {"count": 1},
  "rpc": {"socket": "$socket"},
  "state_dir": "$var/state",
  "registry": {"url": "http://127.0.0.1:$rest_port", "node_id": "demo"},
  "devices": [
    {"driver": "file", "name": "disk1", "filename": "$var/disk1.img", "size": "768MiB", "block_size": 512},
    {"driver": "file", "name": "disk2", "filename": "$var/disk2.img", "size": "768MiB", "block_size": 512},
    {"driver": "file", "name": "disk3", "filename": "$var/disk3.img", "size": "768MiB", "block_size": 512},
    {"driver": "raid", "name": "md0", "level": "raid5", "members": ["disk1", "disk2", "disk3"],
     "chunk_size": "64KiB", "assume_clean": true}
  ],
  "nvmf": {
    "subsystems": [
      {
        "nqn": "$nqn",
        "allow_any_host": true,
        "namespaces": [$1],
        "listeners": [{"trtype": "tcp", "traddr": "127.0.0.1", "trsvcid": "$port"}]
      }
    ]
  }
}
END_OF_CONFIG
	mv "$config.new" "$config"
}

write_registry_config() {
	cat >"$var/registry.json" <<END_OF_CONFIG
{
  "service": {"listen_address": "127.0.0.1", "listen_port": $rest_port, "grpc_port": $grpc_port,
    "data_directory": "$var/registry"},
  "discovery_controller": {"listen_address": "127.0.0.1", "listen_port": $discovery_port}
}
END_OF_CONFIG
}

# Starts the registry, which Ctrl-C does not reach: the node says good-bye to it first, and the kernel
# ends it when the node is gone, however that comes.
start_registry() {
	[ -e "$var/registry.json" ] || write_registry_config
	setsid setpriv --pdeathsig TERM "$build/daemon/xsan-registry/xsan-registry" \
		--config "$var/registry.json" >>"$var/registry.log" 2>&1 &
}

# Makes what is missing of store and volume, and exports the volume.
finish() {
	{ xsan volume list store0 >/dev/null 2>&1 ||
		xsan lvs create store0 md0 --cluster-size 1MiB; } &&
		{ xsan volume show "$volume" >/dev/null 2>&1 ||
			xsan volume create "$volume" 1GiB --thin; } &&
		write_config "{\"nsid\": 1, \"device\": \"$volume\"}" &&
		xsan config reload &&
		rm "$var/unfinished"
}

mkdir -p "$var/state" "$var/registry"
if [ ! -e "$config" ]; then
	touch "$var/unfinished"
	write_config ""
fi

# An older configuration knows of no registry.
grep -q '"registry"' "$config" && start_registry

# Says how to attach as soon as the node answers; the node itself keeps the terminal.
(
	while kill -0 "$$" 2>/dev/null; do
		if xsan status >/dev/null 2>&1; then
			if [ -e "$var/unfinished" ] && ! finish >/dev/null; then
				echo "The volume could not be made; the lines above say why. The next start tries again." >&2
				exit 1
			fi
			cat <<END

The node is ready. Attach its volume to this or another Linux host (as root there):

    modprobe nvme-tcp
    nvme connect-all -t tcp -a 127.0.0.1 -s $discovery_port    (all that the registry knows)
    nvme connect -t tcp -a 127.0.0.1 -s $port -n $nqn
    nvme list

Look after it from another terminal:

    $build/cli/xsan -s $socket status
    $build/cli/xsan -s $socket volume list
    $build/cli/xsan -s $socket iostat -i 1
    curl http://127.0.0.1:$rest_port/api/v1/targets

Data, configuration and state are in $var. Ctrl-C stops the node.

END
			exit 0
		fi
		sleep 0.1
	done
) &

exec "$build/daemon/xsand/xsand" --config "$config" --strict

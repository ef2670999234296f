#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh BUILD-DIR: starts a storage node in the foreground, with everything it has below ./var: one
# volume of 1 GiB (sparse) in a file, exported over NVMe/TCP on 127.0.0.1. The configuration is made
# once and is yours to edit; a second start finds the same data and the same identifiers.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build}
var=$PWD/var
nqn=nqn.2026-11.io.xsan:demo
config=$var/xsand.json
socket=$var/xsand.sock

mkdir -p "$var/state"
if [ ! -e "$config" ]; then
	cat >"$config.new" <<END
{
  "log": {"level": "info", "target": "stderr", "format": "text"},
  "reactors": {"count": 1},
  "rpc": {"socket": "$socket"},
  "state_dir": "$var/state",
  "devices": [
    {"driver": "file", "name": "disk0", "filename": "$var/disk0.img", "size": "1GiB", "block_size": 512}
  ],
  "nvmf": {
    "subsystems": [
      {
        "nqn": "$nqn",
        "allow_any_host": true,
        "namespaces": [{"nsid": 1, "device": "disk0"}],
        "listeners": [{"trtype": "tcp", "traddr": "127.0.0.1", "trsvcid": "4420"}]
      }
    ]
  }
}
END
	mv "$config.new" "$config"
fi

# Says how to attach as soon as the node answers; the node itself keeps the terminal.
(
	for _ in $(seq 100); do
		if "$build/cli/xsan" -s "$socket" status >/dev/null 2>&1; then
			cat <<END

The node is ready. Attach its volume to this or another Linux host (as root there):

    modprobe nvme-tcp
    nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn
    nvme list

Look after it from another terminal:

    $build/cli/xsan -s $socket status
    $build/cli/xsan -s $socket iostat -i 1

Data, configuration and state are in $var. Ctrl-C stops the node.

END
			exit 0
		fi
		sleep 0.1
	done
) &

exec "$build/daemon/xsand/xsand" --config "$config" --strict

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The engine for fio, built with the headers of the fio that is installed, as fio uses it: a memory
# device and a file, verified, from several jobs, trimmed and flushed, devices of a configuration;
# what cannot be is refused with a sentence. Skipped where fio's source cannot be had.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$(realpath "${XSAN_BUILD:-build}")
top=$(mktemp -d -p "$build" fio-engine-XXXXXX)
trap 'rm -rf "$top"' EXIT

fail() {
	echo "FAIL test-fio-engine: $1"
	[ -f "$top/log" ] && tail -n 20 "$top/log"
	exit 1
}

headers=$(scripts/fio-source.sh "$build/fio-source") || exit $?
meson setup --reconfigure "$build" -Dfio="$headers" >"$top/log" 2>&1 || fail "configuring with fio's headers"
ninja -C "$build" tools/xbdev-fio.so >"$top/log" 2>&1 || fail "building the engine"
rm "$top/log"

# engine NAME OPTIONS...: a run that must pass; prints what `want` is of its JSON.
engine() {
	local name=$1
	shift
	(cd "$top" && fio --ioengine=external:"$build/tools/xbdev-fio.so" --thread --output-format=json \
		--output="$top/$name.json" --name="$name" "$@") >"$top/log" 2>&1 || fail "$name"
	python3 - "$top/$name.json" <<'PY' || fail "$name: what it says of itself"
import json, sys
text = open(sys.argv[1]).read()
jobs = json.loads(text[text.index("{"):])["jobs"]
done = sum(j[d]["total_ios"] for j in jobs for d in ("read", "write", "trim"))
assert done > 0 and all(j["error"] == 0 for j in jobs), jobs
print(f"{jobs[0]['jobname']}: {len(jobs)} jobs, {done} I/Os")
PY
}

# refused WORDS OPTIONS...: a run that must fail and say so.
refused() {
	local words=$1
	shift
	(cd "$top" && fio --ioengine=external:"$build/tools/xbdev-fio.so" --name=refused "$@") \
		>"$top/log" 2>&1 && fail "passed, and should be refused: $words"
	grep -q "$words" "$top/log" || fail "does not say '$words'"
}

truncate -s 64M "$top/disk"
echo '{"devices": [{"driver": "malloc", "name": "m7", "size": "32MiB"}]}' >"$top/config.json"
engine verify --filename='malloc\:32MiB' --rw=randrw --bs=4k --iodepth=32 --verify=crc32c --size=32m
engine file --filename="$top/disk" --rw=randwrite --bs=16k --iodepth=16 --fsync=32 --verify=crc32c --size=64m
cmp -s "$top/disk" <(head -c 64M /dev/zero) && fail "nothing has been written to the file"
engine jobs --filename='malloc\:32MiB' --rw=randread --bs=4k --iodepth=300 --numjobs=4 --size=32m
engine trim --filename="$top/disk" --rw=randtrimwrite --bs=64k --size=64m
engine configured --xbdev_config="$top/config.json" --filename=m7 --rw=write --bs=64k
refused "give --thread" --filename='malloc\:32MiB' --rw=read
refused "no device named 'nobody'" --thread --filename=nobody --rw=read
refused "none.json" --thread --xbdev_config="$top/none.json" --filename=m7 --rw=read
echo "PASS test-fio-engine"

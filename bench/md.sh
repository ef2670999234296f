#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Compares our raid5 with Linux MD's, on the same array: five RAM disks (null_blk with memory) of one
# guest carry an array that mdadm makes. The kernel serves it to fio (io_uring, direct), then
# libxbdev serves the same members, through its file driver, to xbdev-perf; they take turns. Prints
# for each load I/Os per second and the processor time of the whole guest per I/O, the kernel's
# threads included.
#
# The guest is emulated, so figures say little by themselves, and what is measured is instructions
# more than caches; the ratio is what there is. XSAN_BUILD names the build (build-bench),
# XSAN_BENCH_S seconds for each, XSAN_BENCH_ROUNDS how many.

# shellcheck source=test/e2e/lib.sh
. "$(dirname "$0")/../test/e2e/lib.sh"
test_begin
require mdadm mdadm
require_guest
PERF=${XSAN_BUILD:-$E2E_DIR/../../build-bench}/tools/xbdev-perf
[ -x "$PERF" ] || test_fail "$PERF is missing: build it (make bench-md does), or set XSAN_BUILD"

# The program and its shared libraries, in a directory of their own.
files=(--file "$PERF:/root/xbdev-perf")
while read -r library; do
	files+=(--file "$library:/root/lib/${library##*/}")
done < <(ldd "$PERF" | sed -n 's/^.*=> \(\/[^ ]*\) .*/\1/p')
echo "load average of this machine: $(cut -d ' ' -f 1 /proc/loadavg)"
guest --mem 2048 --timeout 1500 "${files[@]}" "$E2E_DIR/../../bench/md-guest.sh" \
	"${XSAN_BENCH_S:-5}" "${XSAN_BENCH_ROUNDS:-3}"
echo "load average of this machine: $(cut -d ' ' -f 1 /proc/loadavg)"
test_pass

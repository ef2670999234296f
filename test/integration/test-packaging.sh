#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The man pages have no markup that groff warns of, and systemd finds nothing wrong with the units.
# Skips, saying so, where a tool is missing: groff-base, systemd.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${XSAN_BUILD:-$top/build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/xsan-packaging-XXXXXX")
trap 'rm -rf "$dir"' EXIT

for tool in groff systemd-analyze; do
	command -v "$tool" >/dev/null || {
		echo "SKIP: there is no $tool here"
		exit 77
	}
done

for page in "$top"/packaging/man/*.[1358]; do
	groff -man -ww -Tutf8 "$page" >/dev/null 2>"$dir/warnings"
	if [ -s "$dir/warnings" ]; then
		echo "FAIL: $page"
		cat "$dir/warnings"
		exit 1
	fi
done

# The units as they are installed, with programs that exist.
for unit in xsand xsan-registry; do
	sed "s|^\(ExecStart[A-Za-z]*=\)[^ ]*|\1$build/daemon/$unit/$unit|; /^Documentation/d" \
		"$build/packaging/$unit.service" >"$dir/$unit.service"
	if ! systemd-analyze verify "$dir/$unit.service" 2>"$dir/warnings" || [ -s "$dir/warnings" ]; then
		echo "FAIL: $unit.service"
		cat "$dir/warnings"
		exit 1
	fi
done

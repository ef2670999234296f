#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds optimised and runs the benchmarks; words are handed on to bench/run.py (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -f build-bench/build.ninja ] || meson setup build-bench -Dbuildtype=release -Dtests=disabled >/dev/null
ninja -C build-bench >/dev/null
exec python3 bench/run.py build-bench "$@"

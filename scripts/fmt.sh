#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Formats every C file by .clang-format; with --check it only compares and names what differs.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.cpp' '*.hpp')
if [ "${1:-}" = --check ]; then
	clang-format --dry-run --Werror "${files[@]}"
else
	clang-format -i "${files[@]}"
fi

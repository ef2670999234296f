#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs every test and ends with "N passed, N failed, N skipped"; exit status 1 when something failed.
#
#   check.sh           everything, in the time of a coffee (about 20 minutes on two cores)
#   check.sh --long    the same with longer sweeps, fuzzing and guests, and soaks (about two and a half hours)
#   check.sh STAGE...  only these: lint gcc asan tsan conformance fuzz e2e soak
#
# Each stage builds what it needs: gcc for the plain suite and the guests, clang with ASan and UBSan for
# the whole suite, clang with TSan for the threaded tests. Logs are kept in build-check/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
top=$PWD
logs=$top/build-check
jobs=$(nproc)
passed=0 failed=0 skipped=0
declare -a failures=() started=()
long=0
stages=()

for word; do
	case $word in
	--long) long=1 ;;
	lint | gcc | asan | tsan | conformance | fuzz | e2e | soak) stages+=("$word") ;;
	*)
		sed -n '4,12s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	esac
done
if [ "${#stages[@]}" -eq 0 ]; then
	stages=(lint gcc asan tsan conformance fuzz e2e)
	[ "$long" -eq 1 ] && stages+=(soak)
fi

fuzz_seconds=10 soak_seconds=60 e2e_seconds=1200 patience=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
if [ "$long" -eq 1 ]; then
	fuzz_seconds=600 soak_seconds=1800 e2e_seconds=7200 patience=30
	export SIM_ROUNDS=50 XSAN_LONG=1
fi

# result NAME pass|fail|skip [WHY]
result() {
	case $2 in
	pass) passed=$((passed + 1)) ;;
	skip)
		skipped=$((skipped + 1))
		echo "SKIP $1: ${3:-no reason given}"
		;;
	*)
		failed=$((failed + 1))
		failures+=("$1")
		echo "FAIL $1: ${3:-}"
		;;
	esac
}

# start NAME COMMAND...: a step that passes or fails as a whole, beside others, one a core.
start() {
	local name=$1
	shift
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	started+=("$name")
	("$@" >"$logs/$name.log" 2>&1 && echo pass || echo fail) >"$logs/$name.end" &
}

# finish: waits for all that were started, and tells how they ended.
finish() {
	local name
	wait
	for name in "${started[@]}"; do
		if [ "$(cat "$logs/$name.end")" = pass ]; then
			result "$name" pass
		else
			result "$name" fail "see $logs/$name.log"
			tail -n 25 "$logs/$name.log"
		fi
	done
	started=()
}

# one NAME COMMAND...: such a step alone.
one() {
	start "$@"
	finish
}

# needed DIR SUITE: what ninja must build for the tests of a suite.
needed() {
	meson introspect "$1" --tests --targets --force-object-output | python3 -c '
import json, os, sys
told = json.load(sys.stdin)
files = {t["id"]: t["filename"][0] for t in told["targets"]}
ids = {i for t in told["tests"] if sys.argv[2] in [s.split(":")[-1] for s in t["suite"]] for i in t["depends"]}
print("\n".join(sorted(os.path.relpath(files[i], sys.argv[1]) for i in ids if i in files)))' "$1" "$2"
}

# build DIR CC MESON-OPTIONS...: configures and builds; false when that fails. With only_suite set, what
# the tests of that suite need.
build() {
	local dir=$1 cc=$2
	shift 2
	if [ ! -f "$dir/build.ninja" ]; then
		CC=$cc meson setup "$dir" -Dwerror=true "$@" >"$logs/${dir##*/}-setup.log" 2>&1 || {
			tail -n 20 "$logs/${dir##*/}-setup.log"
			return 1
		}
	fi
	# shellcheck disable=SC2046
	ninja -C "$dir" -j "$jobs" $([ -z "${only_suite:-}" ] || needed "$dir" "$only_suite") \
		>"$logs/${dir##*/}-build.log" 2>&1 || {
		grep -E 'error|warning|FAILED' "$logs/${dir##*/}-build.log" | head -n 40
		return 1
	}
}

# number LOG LABEL: a count of meson's summary.
number() {
	sed -n "s/^$2: *\([0-9]*\).*/\1/p" "$1" | tail -n 1
}

# bad_tests LOG: the names of the tests that have failed, as meson's list has them.
bad_tests() {
	sed -En 's,^ *[0-9]+/[0-9]+ (.* / )?([^ ]+) +(FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS) .*,\2,p' \
		"$1" | sort -u
}

# suite STAGE DIR MESON-TEST-OPTIONS...: runs meson's tests and adds up their results. Two a core: they
# wait for disks and clocks most of the time.
suite() {
	local stage=$1 dir=$2 log ok bad skip late
	shift 2
	log=$logs/$stage-tests.log
	meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes $((2 * jobs)) "$@" \
		>"$log" 2>&1
	ok=$(number "$log" Ok) bad=$(number "$log" Fail) late=$(number "$log" Timeout)
	skip=$(number "$log" Skipped)
	if [ -z "$ok" ]; then
		result "$stage-tests" fail "no summary; see $log"
		tail -n 20 "$log"
		return
	fi
	bad=$((${bad:-0} + ${late:-0}))
	passed=$((passed + ok))
	failed=$((failed + bad))
	skipped=$((skipped + ${skip:-0}))
	if [ "$bad" -ne 0 ]; then
		failures+=("$stage-tests ($(bad_tests "$log" | paste -sd ' '))")
		grep -E '(FAIL|TIMEOUT)' "$log" | head -n 40
		tail -n 60 "$log"
	fi
	[ "${skip:-0}" -ne 0 ] && grep -E 'SKIP' "$log" | head -n 20
	return 0
}

stage_lint() {
	one fmt scripts/fmt.sh --check
	# shellcheck disable=SC2046
	one shellcheck shellcheck -x $(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
	# shellcheck disable=SC2046
	one codespell codespell -q 3 -L ot,inflight,fro,sise,nd,numer,ist,fo,te,ans,inout,ser,clen \
		$(git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.md' '*.sh' '*.py' '*.build')
}

stage_gcc() {
	if ! build "$top/build-gcc" gcc; then
		result build-gcc fail "gcc build"
		return
	fi
	result build-gcc pass
	suite gcc "$top/build-gcc" --no-suite conformance --timeout-multiplier "$patience"
}

stage_asan() {
	if ! build "$top/build-asan" clang -Db_sanitize=address,undefined -Db_lundef=false; then
		result build-asan fail "clang build with ASan and UBSan"
		return
	fi
	result build-asan pass
	suite asan "$top/build-asan" --no-suite conformance --timeout-multiplier $((4 * patience))
}

stage_tsan() {
	local only_suite=threaded
	if ! build "$top/build-tsan" clang -Db_sanitize=thread -Db_lundef=false; then
		result build-tsan fail "clang build with TSan"
		return
	fi
	result build-tsan pass
	suite tsan "$top/build-tsan" --suite threaded --timeout-multiplier $((4 * patience))
}

# conformance NAME OPTIONS...: one run of the suite.
conformance() {
	local name=$1 log=$logs/$1.log line
	shift
	timeout 900 python3 test/conformance/run.py "$@" >"$log" 2>&1
	line=$(tail -n 1 "$log")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
		if [ "${BASH_REMATCH[2]}" -ne 0 ]; then
			failures+=("$name ($(sed -n 's/^failed: //p' "$log"))")
			sed -n '/^failed:/,$p' "$log"
		fi
		grep '^skip' "$log" | head -n 20
	else
		result "$name" fail "no summary; see $log"
		tail -n 20 "$log"
	fi
}

# The wire, from an initiator of our own that can send any byte; against the sanitizer build.
stage_conformance() {
	if ! build "$top/build-asan" clang -Db_sanitize=address,undefined -Db_lundef=false; then
		result conformance fail "clang build with ASan and UBSan"
		return
	fi
	conformance conformance --xsand build-asan/daemon/xsand/xsand
	conformance conformance-central --central build-asan/test/conformance/central -k central.
}

stage_fuzz() {
	local target name
	if ! build "$top/build-fuzz" clang -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false; then
		result build-fuzz fail "fuzzers"
		return
	fi
	for target in "$top"/build-fuzz/test/fuzz/fuzz_*; do
		if [ ! -f "$target" ] || [ ! -x "$target" ]; then
			continue
		fi
		name=${target##*/}
		mkdir -p "$logs/$name" "test/fuzz/corpus/${name#fuzz_}"
		start "$name" "$target" -max_total_time="$fuzz_seconds" -timeout=60 -rss_limit_mb=2048 \
			-print_final_stats=1 -artifact_prefix="$logs/$name/" \
			"$logs/$name" "test/fuzz/corpus/${name#fuzz_}"
	done
	finish
}

stage_e2e() {
	local script name log status
	if ! build "$top/build-gcc" gcc; then
		result e2e fail "gcc build"
		return
	fi
	for script in test/e2e/test-*.sh; do
		name=${script##*/}
		log=$logs/$name.log
		XSAN_BUILD=$top/build-gcc timeout "$e2e_seconds" bash "$script" >"$log" 2>&1
		status=$?
		case $status in
		0) result "$name" pass ;;
		77) result "$name" skip "$(tail -n 1 "$log")" ;;
		*)
			result "$name" fail "exit status $status; see $log"
			tail -n 30 "$log"
			;;
		esac
	done
}

# The soaks, whose short form is in the suites, against both sanitizer builds.
stage_soak() {
	local dir name
	for dir in asan tsan; do
		if ! build "$top/build-$dir" clang -Db_lundef=false \
			-Db_sanitize="$([ $dir = asan ] && echo address,undefined || echo thread)"; then
			result "build-$dir" fail "clang build for the soak"
			continue
		fi
		for name in "$top/build-$dir"/test/soak/soak-*; do
			if [ -f "$name" ] && [ -x "$name" ]; then
				mkdir -p "$logs/soak-$dir"
				start "${name##*/}-$dir" env -C "$logs/soak-$dir" "$name" --seconds "$soak_seconds"
			fi
		done
	done
	finish
}

groups=(build test)
[ "$long" -eq 1 ] && groups+=(long)
scripts/bootstrap.sh "${groups[@]}" || exit 1
mkdir -p "$logs"
for stage in "${stages[@]}"; do
	start=$SECONDS
	echo "== $stage"
	"stage_$stage"
	echo "== $stage: $((SECONDS - start)) s"
done
[ "${#failures[@]}" -ne 0 ] && echo "failed: ${failures[*]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

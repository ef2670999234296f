#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs every test and ends with "N passed, N failed, N skipped"; exit status 1 when something failed.
#
#   check.sh           everything, about half an hour on two cores
#   check.sh --long    the same with longer sweeps, fuzzing and guests, and soaks (about two and a half hours)
#   check.sh STAGE...  only these: lint gcc asan tsan conformance fuzz e2e soak
#
# Each stage builds what it needs: gcc for the plain suite and the guests, clang with ASan and UBSan for
# the whole suite, clang with TSan for the threaded tests. Tests with daemons, and threaded ones that
# wait for clocks, run under the sanitizers only, but with --long. Logs are kept in build-check/.
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

fuzz_seconds=7 soak_seconds=60 e2e_seconds=1200 patience=1
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

# start NAME COMMAND...: a step that passes or fails as a whole, or is skipped with exit status 77,
# beside others, one a core.
start() {
	local name=$1
	shift
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	started+=("$name")
	(
		"$@" >"$logs/$name.log" 2>&1
		echo $? >"$logs/$name.end"
	) &
}

# finish: waits for all that were started, and tells how they ended.
finish() {
	local name status
	wait
	for name in "${started[@]}"; do
		status=$(cat "$logs/$name.end")
		case $status in
		0) result "$name" pass ;;
		77) result "$name" skip "$(tail -n 1 "$logs/$name.log")" ;;
		*)
			result "$name" fail "exit status $status; see $logs/$name.log"
			tail -n 30 "$logs/$name.log"
			;;
		esac
	done
	started=()
}

# one NAME COMMAND...: such a step alone.
one() {
	start "$@"
	finish
}

# needed DIR SUITE: what ninja must build for the tests of a suite. Of "fuzzers": the fuzzers.
needed() {
	if [ "$2" = fuzzers ]; then
		ninja -C "$1" -t targets all | sed -n 's,^\(test/fuzz/fuzz_[a-z]*\): .*,\1,p'
		return
	fi
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

# number LOG LABEL: a count of meson's summaries, of which there may be several.
number() {
	sed -n "s/^$2: *\([0-9]*\).*/\1/p" "$1" | awk '{ sum += $1; seen = 1 } END { if (seen) print sum }'
}

# bad_tests LOG: the names of the tests that have failed, as meson's list has them.
bad_tests() {
	sed -En 's,^ *[0-9]+/[0-9]+ (.* / )?([^ ]+) +(FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS) .*,\2,p' \
		"$1" | sort -u
}

# tests DIR SUITE: the tests of a suite ("all": of every one but conformance; "short": the same without
# those that take long without the sanitizers, too, under which they run), each behind how it is
# run: "waits" with others that mostly wait for clocks, "alone", or "works".
tests() {
	meson introspect "$1" --tests | python3 -c '
import json, sys
for test in json.load(sys.stdin):
    suites = {s.split(":")[-1] for s in test["suite"]}
    is_long = "integration" in suites and test["name"] != "install" or {"threaded", "waits"} <= suites
    if sys.argv[1] in suites or "conformance" not in suites and (
            sys.argv[1] == "all" or sys.argv[1] == "short" and not is_long):
        print(*({"waits", "alone"} & suites or {"works"}), test["name"])' "$2"
}

# run_tests LIST KIND LOG DIR MESON-TEST-OPTIONS...: runs those of the list that are of this kind.
run_tests() {
	local list=$1 kind=$2 log=$3 dir=$4 names
	shift 4
	mapfile -t names < <(sed -n "s/^$kind //p" "$list")
	[ "${#names[@]}" -eq 0 ] && return
	meson test -C "$dir" --no-rebuild --print-errorlogs --logbase "testlog-$kind" "$@" "${names[@]}" \
		>"$log" 2>&1
}

# suite STAGE DIR SUITE MESON-TEST-OPTIONS...: runs meson's tests and adds up their results. Those that
# only wait use no processor, so they run beside the others; of these there is one more than there
# are cores, as they wait for disks now and then. More would not be sooner, and what is to happen in
# some time would be late.
suite() {
	local stage=$1 dir=$2 log ok bad skip late kind
	log=$logs/$stage-tests.log
	tests "$dir" "$3" >"$logs/$stage-tests.list"
	shift 3
	for kind in waits works alone; do
		: >"$log.$kind"
	done
	run_tests "$logs/$stage-tests.list" waits "$log.waits" "$dir" --num-processes 5 "$@" &
	run_tests "$logs/$stage-tests.list" works "$log.works" "$dir" --num-processes $((jobs + 1)) "$@"
	wait
	run_tests "$logs/$stage-tests.list" alone "$log.alone" "$dir" "$@"
	cat "$log.waits" "$log.works" "$log.alone" >"$log"
	ok=$(number "$log" Ok) bad=$(number "$log" Fail) late=$(number "$log" Timeout)
	skip=$(number "$log" Skipped)
	if [ -z "$ok" ] || [ $((ok + bad + late + skip)) -ne "$(wc -l <"$logs/$stage-tests.list")" ]; then
		result "$stage-tests" fail "no summary of all tests; see $log"
		tail -n 20 "$log"
		return
	fi
	bad=$((bad + late))
	passed=$((passed + ok))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
	if [ "$bad" -ne 0 ]; then
		failures+=("$stage-tests ($(bad_tests "$log" | paste -sd ' '))")
		grep -E '(FAIL|TIMEOUT)' "$log" | head -n 40
		for kind in waits works alone; do
			grep -q '^Fail: *0 *$' "$log.$kind" || tail -n 60 "$log.$kind"
		done
	fi
	[ "$skip" -ne 0 ] && grep -E 'SKIP' "$log" | head -n 20
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
	suite gcc "$top/build-gcc" "$([ "$long" -eq 1 ] && echo all || echo short)" --timeout-multiplier "$patience"
}

stage_asan() {
	if ! build "$top/build-asan" clang -Db_sanitize=address,undefined -Db_lundef=false; then
		result build-asan fail "clang build with ASan and UBSan"
		return
	fi
	result build-asan pass
	suite asan "$top/build-asan" all --timeout-multiplier $((4 * patience))
}

stage_tsan() {
	local only_suite=threaded
	if ! build "$top/build-tsan" clang -Db_sanitize=thread -Db_lundef=false; then
		result build-tsan fail "clang build with TSan"
		return
	fi
	result build-tsan pass
	suite tsan "$top/build-tsan" threaded --timeout-multiplier $((4 * patience))
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
	local target name only_suite=fuzzers
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
			-print_final_stats=1 -error_exitcode=1 -artifact_prefix="$logs/$name/" \
			"$logs/$name" "test/fuzz/corpus/${name#fuzz_}"
	done
	finish
}

# A guest's two processors are emulated, and take one of ours between them: two guests at a time take
# little more than half the time. Each test has ports of its own.
stage_e2e() {
	local script nr=0
	if ! build "$top/build-gcc" gcc; then
		result e2e fail "gcc build"
		return
	fi
	for script in test/e2e/test-*.sh; do
		start "${script##*/}" env XSAN_BUILD="$top/build-gcc" XSAN_E2E_PORTS=$((20000 + 100 * nr)) \
			timeout "$e2e_seconds" bash "$script"
		nr=$((nr + 1))
	done
	finish
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

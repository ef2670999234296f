#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that the guest harness itself works, without xsand: arguments, files, disks, exit codes,
# output and host_do get through, and in the guest the kernel's NVMe/TCP host, formatters and fio
# work against the kernel's own target. Also that a guest which fails is reported as such and, with
# XSAN_LONG, one that panics or hangs.

. "$(dirname "$0")/lib.sh"
test_begin
require_long
require_guest

on_request() {
	case $1 in
	make-file)
		echo "made for: $2|$3" >"$TEST_DIR/made"
		cat "$TEST_DIR/made"
		;;
	fail-with)
		return "$2"
		;;
	*)
		return 99
		;;
	esac
}
export -f on_request

# guest_gives STATUS WORDS SCRIPT-TEXT [OPTIONS]: the exit code and what is printed, both.
guest_gives() {
	local want=$1 words=$2 text=$3 status=0

	shift 3
	printf '#!/bin/bash\n%s\n' "$text" >"$TEST_DIR/script.sh"
	"$E2E_DIR/guest-run.sh" "$@" "$TEST_DIR/script.sh" >"$TEST_DIR/output" 2>&1 || status=$?
	[ $status -eq "$want" ] || test_fail "the guest of '$text' gives $status and not $want"
	grep -qF "$words" "$TEST_DIR/output" || {
		cat "$TEST_DIR/output"
		test_fail "the guest of '$text' does not print '$words'"
	}
}

echo extra >"$TEST_DIR/extra file"
truncate -s 8M "$TEST_DIR/virtio.img" "$TEST_DIR/nvme,comma.img"
guest --timeout 120 --append nvme_core.multipath=N --mem 768 \
	--file "$TEST_DIR/extra file:/etc/extra.txt" \
	--drive "$TEST_DIR/virtio.img" --nvme-drive "$TEST_DIR/nvme,comma.img" \
	--hostnqn nqn.2014-08.org.nvmexpress:uuid:selftest \
	--on-request on_request "$E2E_DIR/guest/selftest.sh" "one word" ""
[ "$(cat "$TEST_DIR/made")" = "made for: two words|" ] ||
	test_fail "host_do did not run on this side"
[ "$(head -c 11 "$TEST_DIR/virtio.img")" = on-the-disk ] ||
	test_fail "what the guest wrote to its virtio disk is not in the image"

guest_gives 42 "last words" "echo last words; exit 42"
if [ -n "${XSAN_LONG:-}" ]; then
	guest_gives 125 "kernel panicked" "echo c >/proc/sysrq-trigger; sleep 60"
	guest_gives 125 "within 9 s" "sleep 60" --timeout 9
fi
test_pass

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# node-fio-verify.sh ADDR PORT NQN: fio writes and verifies checksummed blocks of several sizes at
# several depths, over connections with and without digests, to a target with and without
# in-capsule data: every two of these three settings together, or in the long form (host_do form)
# all three. The host changes the target's in-capsule size when asked (host_do in-capsule BYTES).

. /xsan/guest-lib.sh

ADDR=$1
PORT=$2
NQN=$3

case_number=0

# job NAME: one section of the job file. The seed differs in every job, so blocks that an earlier
# job left at the same place cannot pass for this one's.
job() {
	case_number=$((case_number + 1))
	echo "[$1]"
	echo "randseed=$((case_number * 7919))"
	echo "stonewall"
}

# jobs: every block size at every depth, each depth with its own mix and engine.
jobs() {
	cat <<END
[global]
filename=$DISK
direct=1
verify=crc32c
verify_fatal=1
do_verify=1
END
	for bs in 4k 64k 1m mixed; do
		case $bs in
		4k) sizes="bs=4k size=1m" ;;
		64k) sizes="bs=64k size=8m" ;;
		1m) sizes="bs=1m size=16m" ;;
		mixed) sizes="bsrange=512-128k size=4m" ;;
		esac
		for depth in 1 16 128; do
			case $depth in
			1) mix="rw=randwrite ioengine=psync" ;;
			16) mix="rw=randrw ioengine=io_uring" ;;
			128) mix="rw=randwrite ioengine=libaio" ;;
			esac
			job "$bs-depth$depth"
			for word in $sizes $mix "iodepth=$depth" "offset=${depth}m"; do
				echo "$word"
			done
		done
	done
}

# verify_over OPTIONS: one connection with these options of nvme connect.
verify_over() {
	local started

	started=$(date +%s)
	nvme_attach "$ADDR" "$PORT" "$NQN" "$@"
	check_run "id-ctrl" nvme id-ctrl "/dev/$CTRL"
	check_eq "ioccsz" "$(sed -n 's/^ioccsz *: *//p' /tmp/check_run.out)" \
		$(((in_capsule + 64) / 16))
	jobs >/tmp/jobs.fio
	check_run "fio in-capsule=$in_capsule digests='$*'" fio --output-format=terse /tmp/jobs.fio
	check_eq "the number of fio jobs that ended" "$(grep -c '^3;' /tmp/check_run.out)" 12
	check_eq "the fio jobs with an error" \
		"$(grep '^3;' /tmp/check_run.out | cut -d ';' -f 5 | grep -cvx 0)" 0
	nvme_detach "$NQN"
	say "in-capsule=$in_capsule digests='$*': 12 jobs verified, $(($(date +%s) - started)) s"
}

form=$(host_do form) || fail "the host does not say which form to run"
for in_capsule in 8192 0; do
	host_do in-capsule $in_capsule || fail "the target did not start with in-capsule $in_capsule"
	if [ "$form" = long ] || [ $in_capsule -ne 0 ]; then
		verify_over
		verify_over -g -G
	fi
	if [ "$form" = long ] || [ $in_capsule -eq 0 ]; then
		verify_over -g
		verify_over -G
	fi
done
# A digest error would show here, as would a connection that was lost and made again.
if dmesg | grep -iE 'digest|reconnecting|I/O error'; then
	fail "the kernel saw errors"
fi
kernel_is_sane || fail "the kernel complains"
say "done"
exit 0

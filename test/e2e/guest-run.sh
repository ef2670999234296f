#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# guest-run.sh [options] SCRIPT [ARGS]: boots a Linux guest in QEMU, runs SCRIPT inside it, and
# exits with its exit code. See usage() for the options and README.md for the picture.
#
# SCRIPT, its arguments, /init and the files of --file travel in a second cpio archive behind the
# image's initramfs. Three ways lead out of the guest: the kernel's console (a serial port) into a
# log file; a virtio-serial port with the script's output, which QEMU writes into a file that is
# copied to stdout while it grows; and a virtio-serial port over two FIFOs for requests (host_do)
# and the exit code.
#
# Every wait is bounded. A guest that panics, powers off without an exit code, or does not finish
# in time is exit 125 with the reason and the console's last lines on stderr; 77 is a missing
# package; 2 is wrong usage.

set -u

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

EXIT_GUEST=125
SHUTDOWN_TIMEOUT_S=15
CONSOLE_TAIL_LINES=30
REPLY_LINES_MAX=1000

timeout_s=300
request_timeout_s=60
memory_mib=1024
cmdline=
on_request=
console_log=
hostnqn=${XSAN_E2E_HOSTNQN:-nqn.2014-08.org.nvmexpress:uuid:2f1b3c54-7a0e-4a38-9d51-e2e000000001}
hostid=${XSAN_E2E_HOSTID:-2f1b3c54-7a0e-4a38-9d51-e2e000000001}
files=()
devices=()
forwards=
nr_disks=0
nr_packed=0
snapshot=off

usage() {
	cat <<'END'
usage: guest-run.sh [options] SCRIPT [ARGS]
  --timeout SEC          kill the guest after SEC seconds (300)
  --append WORDS         more words for the kernel's command line (nvme_core.multipath=N)
  --mem MIB              memory of the guest (1024)
  --drive FILE           raw image as a virtio-blk disk: vda, vdb...
  --nvme-drive FILE      raw image as an emulated PCI NVMe disk
  --packed-drive SERIAL:FILE     raw image as a virtio-blk disk that is known by its serial number
                         (20 characters) and shares a PCI slot with seven others; 128 at most
  --snapshot on|off      on: what the guest writes to the drives that follow is lost (off)
  --qemu WORD            one more word for QEMU; repeat it for each
  --monitor PATH         QEMU's QMP on a unix socket of that path
  --file SRC[:DST]       a file for the guest; DST is absolute, default /root/NAME
  --forward PORT:GUEST   127.0.0.1:PORT of this machine goes to the guest's port GUEST
  --on-request COMMAND   bash command that answers host_do WORDS; WORDS are put behind it
  --request-timeout SEC  bound of one such command (60)
  --console-log FILE     keep the kernel's console here
  --hostnqn NQN --hostid UUID    instead of the defaults or XSAN_E2E_HOSTNQN, XSAN_E2E_HOSTID
END
}

usage_error() {
	echo "guest-run: $*" >&2
	usage >&2
	exit 2
}

# Commas separate QEMU's options, so one in a file name is doubled.
qemu_path() {
	printf '%s' "${1//,/,,}"
}

add_disk() {
	local file=$1 device=$2 id=disk$nr_disks

	[ -r "$file" ] || usage_error "the disk image $file cannot be read"
	file=$(qemu_path "$(realpath "$file")")
	devices+=(-drive "file=$file,if=none,id=$id,format=raw,discard=unmap"
		-device "$device,drive=$id,serial=$id")
	nr_disks=$((nr_disks + 1))
}

# Slots 16 to 31 of the bus are kept for these; QEMU gives the others the lowest free ones.
add_packed_disk() {
	local serial=${1%%:*} file=${1#*:} id=packed$nr_packed

	[ -r "$file" ] || usage_error "the disk image $file cannot be read"
	[ "${#serial}" -le 20 ] || usage_error "the serial number $serial is longer than 20"
	[ "$nr_packed" -lt 128 ] || usage_error "there is room for 128 packed drives"
	file=$(qemu_path "$(realpath "$file")")
	devices+=(-drive "file=$file,if=none,id=$id,format=raw,discard=unmap,snapshot=$snapshot"
		-device "virtio-blk-pci,drive=$id,serial=$serial,num-queues=1,multifunction=on,addr=$(
			printf '0x%x.%d' $((16 + nr_packed / 8)) $((nr_packed % 8))
		)")
	nr_packed=$((nr_packed + 1))
}

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--help)
			usage
			exit 0
			;;
		--)
			shift
			break
			;;
		--*)
			[ $# -ge 2 ] || usage_error "$1 needs a value"
			;;
		*)
			break
			;;
		esac
		case $1 in
		--timeout) timeout_s=$2 ;;
		--request-timeout) request_timeout_s=$2 ;;
		--append) cmdline="$cmdline $2" ;;
		--mem) memory_mib=$2 ;;
		--drive) add_disk "$2" virtio-blk-pci ;;
		--nvme-drive) add_disk "$2" nvme ;;
		--packed-drive) add_packed_disk "$2" ;;
		--snapshot) snapshot=$2 ;;
		--qemu) devices+=("$2") ;;
		--monitor) devices+=(-qmp "unix:$(qemu_path "$2"),server=on,wait=off") ;;
		--file) files+=("$2") ;;
		--forward) forwards+=",hostfwd=tcp:127.0.0.1:${2%:*}-:${2#*:}" ;;
		--on-request) on_request=$2 ;;
		--console-log) console_log=$2 ;;
		--hostnqn) hostnqn=$2 ;;
		--hostid) hostid=$2 ;;
		*) usage_error "unknown option $1" ;;
		esac
		shift 2
	done
	[ $# -ge 1 ] || usage_error "no SCRIPT given"
	script=$1
	shift
	script_args=("$@")
	[ -f "$script" ] || usage_error "the script $script does not exist"
	for number in "$timeout_s" "$request_timeout_s" "$memory_mib"; do
		[[ $number =~ ^[1-9][0-9]{0,6}$ ]] || usage_error "$number is not a number above 0"
	done
}

# Makes the initramfs of this run: the image's own, then ours.
make_initramfs() {
	local image=$1 root=$work/payload spec src dst arg

	mkdir -p "$root/xsan" "$root/root" "$root/usr/bin"
	install -m 755 "$HERE/guest/init" "$root/init"
	install -m 755 "$HERE/guest/host_do" "$root/usr/bin/host_do"
	install -m 644 "$HERE/guest/guest-lib.sh" "$HERE/guest/nvmet.sh" "$root/xsan/"
	install -m 755 "$script" "$root/xsan/script"
	printf "HOSTNQN='%s'\nHOSTID='%s'\n" "$hostnqn" "$hostid" >"$root/xsan/config"
	for arg in ${script_args[@]+"${script_args[@]}"}; do
		printf '%s' "$arg" | base64 -w 0
		echo
	done >"$root/xsan/args"
	for spec in ${files[@]+"${files[@]}"}; do
		src=${spec%%:*}
		dst=/root/${src##*/}
		[ "$spec" = "$src" ] || dst=${spec#*:}
		[ "${dst#/}" != "$dst" ] || usage_error "--file $spec: $dst is not absolute"
		mkdir -p "$root$(dirname "$dst")"
		cp -p "$src" "$root$dst" || usage_error "--file $spec: $src cannot be copied"
	done
	(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$work/payload.cpio" || return 1
	cat "$image/initramfs.cpio" "$work/payload.cpio" >"$work/initramfs"
}

start_qemu() {
	local image=$1

	mkfifo "$work/ctl.in" "$work/ctl.out"
	: >"$work/out"
	: >"$console_log"
	# Opened both ways, so that neither open waits for QEMU: 3 goes to the guest, 4 comes from
	# it.
	exec 3<>"$work/ctl.in" 4<>"$work/ctl.out"
	# timeout(1) is the second line of defence: it works even when this script is killed.
	timeout -k 5 $((timeout_s + 2 * SHUTDOWN_TIMEOUT_S)) \
		qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory_mib" \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$image/vmlinuz" -initrd "$work/initramfs" \
		-append "no_timer_check console=ttyS0 panic=-1 oops=panic mitigations=off rdinit=/init$cmdline" \
		-serial "file:$(qemu_path "$console_log")" \
		-netdev "user,id=net0$forwards" -device virtio-net-pci,netdev=net0,romfile= \
		-device virtio-serial-pci \
		-chardev "file,id=out,path=$(qemu_path "$work/out")" \
		-device virtserialport,chardev=out,name=org.xsan.out \
		-chardev "pipe,id=ctl,path=$(qemu_path "$work/ctl")" \
		-device virtserialport,chardev=ctl,name=org.xsan.ctl \
		${devices[@]+"${devices[@]}"} \
		</dev/null >"$work/qemu.log" 2>&1 3>&- 4>&- &
	qemu_pid=$!
	tail -s 0.1 -c +1 -f --pid=$qemu_pid "$work/out" 2>/dev/null &
	tail_pid=$!
}

qemu_is_alive() {
	kill -0 "$qemu_pid" 2>/dev/null
}

# Waits for QEMU to end and ends it when it does not.
stop_qemu() {
	local grace_s=$1 deadline=$((SECONDS + $1))

	while [ "$grace_s" -gt 0 ] && qemu_is_alive && [ $SECONDS -lt $deadline ]; do
		sleep 0.05
	done
	kill -TERM "$qemu_pid" 2>/dev/null
	wait "$qemu_pid" 2>/dev/null
	# tail sees by itself that QEMU ended, and copies the rest first.
	wait "$tail_pid" 2>/dev/null
	qemu_pid=
}

cleanup() {
	[ -z "$qemu_pid" ] || stop_qemu 0
	rm -rf "$work"
}

guest_failed() {
	# What QEMU says after this is only that it was ended.
	cp "$work/qemu.log" "$work/qemu.tail"
	stop_qemu 0
	{
		echo "guest-run: $*"
		if [ -s "$work/qemu.tail" ]; then
			echo "--- QEMU:"
			tail -n 10 "$work/qemu.tail"
		fi
		echo "--- last lines of the guest's console:"
		tail -n "$CONSOLE_TAIL_LINES" "$console_log" | tr -d '\r'
	} >&2
	exit $EXIT_GUEST
}

# Runs the command of --on-request for the words of one request and answers.
serve_request() {
	local id=${1%%$'\t'*} words=() status=0 left_s=$((deadline_s - SECONDS))

	[ "$left_s" -ge 1 ] || left_s=1
	[ "$left_s" -le "$request_timeout_s" ] || left_s=$request_timeout_s
	if [ "$1" != "$id" ]; then
		mapfile -t -d $'\t' words < <(printf '%s\t' "${1#*$'\t'}")
	fi
	if [ -z "$on_request" ]; then
		echo "guest-run: the guest asks for '${words[*]}' but there is no --on-request" >&2
		status=127
		: >"$work/reply"
	else
		timeout -k 5 "$left_s" bash -c "$on_request \"\$@\"" on-request "${words[@]}" \
			</dev/null >"$work/reply" 3>&- 4>&- || status=$?
		[ $status -ne 124 ] ||
			echo "guest-run: '$on_request ${words[*]}' took longer than $left_s s" >&2
	fi
	{
		head -n $REPLY_LINES_MAX "$work/reply" | sed -e 's/^/|/' -e "\$a\\"
		echo "=$id $status"
	} >&3
}

# Reads the control port until the guest's exit code is there, and returns it in guest_status.
serve_guest() {
	local line=

	deadline_s=$((SECONDS + timeout_s))
	while :; do
		local part=
		if IFS= read -r -t 0.5 -u 4 part; then
			line+=$part
			case $line in
			ready)
				booted=1
				;;
			"do "*)
				serve_request "${line#do }"
				;;
			"exit "*)
				guest_status=${line#exit }
				return
				;;
			*)
				guest_failed "the guest sent '$line' on its control port"
				;;
			esac
			line=
			continue
		fi
		line+=$part
		if [ $SECONDS -ge $deadline_s ]; then
			[ $booted = 1 ] || guest_failed "the guest did not boot within $timeout_s s"
			guest_failed "the guest did not finish within $timeout_s s"
		elif ! qemu_is_alive; then
			if grep -q 'Kernel panic' "$console_log"; then
				line=$(grep -m 1 -o 'Kernel panic.*' "$console_log" | tr -d '\r')
				guest_failed "the guest's kernel panicked: $line"
			fi
			guest_failed "the guest ended without an exit code"
		fi
	done
}

parse_options "$@"
command -v qemu-system-x86_64 >/dev/null || {
	echo "guest-run: qemu-system-x86_64 is missing: install the package qemu-system-x86" >&2
	exit 77
}
# A test that boots several guests asks for the image once and hands it on.
image=${XSAN_E2E_IMAGE:-}
[ -n "$image" ] || image=$("$HERE/guest-image.sh") || exit

booted=0
guest_status=
qemu_pid=
work=$(mktemp -d "${TMPDIR:-/tmp}/xsan-guest-XXXXXX") || exit 1
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
: "${console_log:=$work/console.log}"

make_initramfs "$image" || {
	echo "guest-run: the initramfs cannot be written below $work" >&2
	exit 1
}
start_qemu "$image"
serve_guest
echo bye >&3
stop_qemu $SHUTDOWN_TIMEOUT_S
[[ $guest_status =~ ^[0-9]+$ ]] || exit $EXIT_GUEST
if [ "$guest_status" -ne 0 ] && [ "$guest_status" -ne 77 ]; then
	{
		echo "guest-run: ${script##*/} failed in the guest with exit code $guest_status"
		echo "--- last lines of the guest's console:"
		tail -n "$CONSOLE_TAIL_LINES" "$console_log" | tr -d '\r'
	} >&2
fi
exit "$guest_status"

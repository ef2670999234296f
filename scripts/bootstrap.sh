#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Installs the Debian packages that are missing for the groups named (default: build) and says which.
# Groups: build (compile and run), test (make check), long (what else make check-long wants: Ceph, Prometheus),
# bench (make bench). As root or with sudo.
set -euo pipefail

build=(gcc libc6-dev make meson ninja-build pkg-config liburing-dev libisal-dev libjansson-dev libssl-dev
	libsqlite3-dev libmicrohttpd-dev libgnutls28-dev libcurl4-openssl-dev
	libgrpc-dev libprotobuf-c-dev protobuf-c-compiler libavahi-client-dev)
test=(g++ clang libclang-rt-14-dev clang-format-14 clang-format libcmocka-dev python3 groff-base shellcheck codespell
	etcd-server etcd-client qemu-system-x86 busybox-static kmod cpio zstd socat zsh nvme-cli mdadm fio e2fsprogs xfsprogs util-linux
	binutils file procps iproute2 dnsmasq-base openssl curl avahi-daemon avahi-utils dbus python3-grpcio python3-jsonschema python3-protobuf protobuf-compiler protobuf-compiler-grpc)
long=(prometheus librbd-dev ceph-mon ceph-osd ceph-base ceph-common)
bench=(fio python3 qemu-system-common util-linux)

declare -a wanted=()
for group in "${@:-build}"; do
	case $group in
	build) wanted+=("${build[@]}") ;;
	test)
		wanted+=("${test[@]}")
		# The tests' mail server; where there is one it stays, for Debian has one at a time.
		[ -e /usr/sbin/sendmail ] || wanted+=(exim4-daemon-light)
		;;
	long) wanted+=("${long[@]}") ;;
	bench) wanted+=("${bench[@]}") ;;
	*)
		echo "bootstrap.sh: unknown group '$group'; there are build, test, long, bench" >&2
		exit 2
		;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "bootstrap.sh: not a Debian system; install yourself: ${wanted[*]}" >&2
	exit 0
fi

declare -a missing=()
for package in "${wanted[@]}"; do
	if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
		missing+=("$package")
	fi
done
# The guests' kernel is downloaded through apt, which needs its lists.
has_lists=$(find /var/lib/apt/lists -name '*Packages*' -print -quit 2>/dev/null)
[ "${#missing[@]}" -eq 0 ] && [ -n "$has_lists" ] && exit 0

sudo=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "bootstrap.sh: missing packages, and neither root nor sudo: ${missing[*]}" >&2
		exit 1
	}
	sudo=(sudo)
fi
"${sudo[@]}" apt-get update -q >/dev/null
[ "${#missing[@]}" -eq 0 ] && exit 0
echo "bootstrap.sh: installing ${missing[*]}"
if [[ " ${missing[*]} " == *" exim4-daemon-light "* ]]; then
	# Without a configuration of the system's it does not start: it is there for the tests alone.
	echo 'exim4-config exim4/dc_eximconfig_configtype select no configuration at this time' |
		"${sudo[@]}" debconf-set-selections
fi
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	"${missing[@]}" >/dev/null

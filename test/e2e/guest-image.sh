#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds the kernel and the initramfs that every e2e guest boots, once, and prints the directory
# that holds them (files vmlinuz and initramfs.cpio).
#
# The kernel is the package that Debian's linux-image-amd64 depends on today; it is downloaded and
# unpacked below the cache and never installed. The initramfs has busybox, the tools under TOOLS
# with their shared libraries, and the modules under MODULES with what they depend on. /init is not
# in it: guest-run.sh appends it together with the script to run, so a change of either needs no
# new image.
#
# The image's name is a hash of the kernel's version, of every packed file and of this script, so a
# new version of any of them makes a new image. Two callers at once wait for each other; an image
# appears whole or not at all. Exit 77, with the package to install, when something is missing on
# this machine; 1 when the build itself fails.

set -euo pipefail

CACHE=${XSAN_E2E_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/xsan-e2e}
IMAGE_DAYS_MAX=30

MODULES="virtio_pci virtio_net virtio_blk virtio_console nvme nvme_tcp nvme_fabrics nvmet nvmet_tcp
	raid0 raid1 raid10 raid456 linear dm_mod dm_crypt xts aesni_intel ext4 xfs
	crc32c_generic crc32c_intel loop null_blk ahci sd_mod"

# command:package; a package in brackets may be absent.
TOOLS="busybox:busybox-static bash:bash kmod:kmod nvme:nvme-cli fio:fio
	mkfs.ext4:e2fsprogs e2fsck:e2fsprogs mkfs.xfs:xfsprogs xfs_repair:xfsprogs
	blkdiscard:util-linux fstrim:util-linux lsblk:util-linux blockdev:util-linux
	flock:util-linux sha256sum:coreutils mdadm:[mdadm]"

# Needed on this machine to build the image.
HOST_TOOLS="apt-get:apt apt-cache:apt dpkg-deb:dpkg cpio:cpio depmod:kmod modprobe:kmod
	flock:util-linux ldd:libc-bin"

PATH=$PATH:/usr/sbin:/sbin

skip() {
	echo "guest-image: $*" >&2
	exit 77
}

die() {
	echo "guest-image: $*" >&2
	exit 1
}

# Prints the libraries of the given programs, one absolute path per line. libgcc_s is opened by
# glibc at run time when a thread is cancelled, so no program's header names it.
libraries() {
	{
		# A static program makes ldd fail, and has no libraries.
		ldd "$@" 2>/dev/null |
			sed -n 's/^.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) .*/\1/p' || :
		ldconfig -p | sed -n 's/^\tlibgcc_s\.so\.1 (libc6,x86-64) => //p' | head -n 1
	} | sort -u
}

# Sets KERNEL_PACKAGE and KERNEL_VERSION.
find_kernel() {
	KERNEL_PACKAGE=$(apt-cache depends --important linux-image-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
	[ -n "$KERNEL_PACKAGE" ] ||
		skip "apt does not know linux-image-amd64: run apt-get update"
	KERNEL_VERSION=$(apt-cache show --no-all-versions "$KERNEL_PACKAGE" 2>/dev/null |
		sed -n 's/^Version: //p' | head -n 1)
	[ -n "$KERNEL_VERSION" ] ||
		skip "apt does not know $KERNEL_PACKAGE: run apt-get update"
}

# Sets TOOL_FILES (names as found in PATH) and LIB_FILES.
find_tools() {
	local entry command package path

	for entry in $HOST_TOOLS; do
		command -v "${entry%%:*}" >/dev/null ||
			skip "${entry%%:*} is missing: install the package ${entry##*:}"
	done
	TOOL_FILES=()
	for entry in $TOOLS; do
		command=${entry%%:*}
		package=${entry##*:}
		if path=$(command -v "$command"); then
			TOOL_FILES+=("$path")
		elif [ "${package#\[}" = "$package" ]; then
			skip "$command is missing: install the package $package"
		fi
	done
	if ldd "$(command -v busybox)" >/dev/null 2>&1; then
		skip "busybox is not static: install the package busybox-static"
	fi
	mapfile -t LIB_FILES < <(libraries "${TOOL_FILES[@]}")
}

# Leaves the kernel's .deb in the cache and its path in KERNEL_DEB.
fetch_kernel() {
	KERNEL_DEB=$CACHE/deb/${KERNEL_PACKAGE}_${KERNEL_VERSION//:/%3a}_amd64.deb
	[ ! -f "$KERNEL_DEB" ] || return 0
	(cd "$WORK" && timeout 600 apt-get -q -o APT::Sandbox::User=root download \
		"$KERNEL_PACKAGE=$KERNEL_VERSION") >"$WORK/download.log" 2>&1 || {
		cat "$WORK/download.log" >&2
		skip "$KERNEL_PACKAGE cannot be downloaded (see above): run apt-get update"
	}
	rm -rf "$CACHE/deb"
	mkdir -p "$CACHE/deb"
	mv "$WORK/${KERNEL_DEB##*/}" "$KERNEL_DEB" ||
		die "apt-get download left no ${KERNEL_DEB##*/}"
}

# Copies the modules and what they depend on into the tree $1 from the unpacked kernel $2.
pack_modules() {
	local root=$1 kernel=$2 release module depends kind file

	release=$(basename "$kernel"/lib/modules/*)
	depmod -b "$kernel" "$release"
	for module in $MODULES; do
		depends=$(modprobe -C /dev/null -d "$kernel" -S "$release" \
			--show-depends "$module") ||
			die "the kernel $release has no module $module"
		while read -r kind file _; do
			if [ "$kind" = insmod ]; then
				file=${file#"$kernel"}
				install -D -m 644 "$kernel$file" "$root/usr$file"
			fi
		done <<<"$depends"
	done
	cp "$kernel/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} \
		"$root/usr/lib/modules/$release/"
	depmod -b "$root" "$release"
}

pack_tools() {
	local root=$1 applet file

	# Busybox gives every command first; the real tools then take their own names back. The
	# shell is bash, because busybox's prefers its own commands to the real ones of the same
	# name.
	install -m 755 "$(command -v busybox)" "$root/usr/bin/busybox"
	while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$root/usr/bin/$applet"
	done < <(busybox --list)
	for file in "${TOOL_FILES[@]}"; do
		rm -f "$root/usr/bin/${file##*/}"
		install -m 755 "$file" "$root/usr/bin/${file##*/}"
	done
	for file in modprobe insmod rmmod lsmod modinfo depmod; do
		ln -sf kmod "$root/usr/bin/$file"
	done
	ln -sf bash "$root/usr/bin/sh"
	for file in "${LIB_FILES[@]}"; do
		install -D -m 755 "$file" "$root$file"
	done
	install -m 644 /etc/mke2fs.conf "$root/etc/"
}

build() {
	local root=$WORK/root kernel=$WORK/kernel

	fetch_kernel
	mkdir -p "$kernel" "$root"/{dev,proc,sys,run,tmp,mnt,root,etc,var,usr/bin,usr/lib,usr/lib64}
	dpkg-deb -x "$KERNEL_DEB" "$kernel"
	ln -s usr/bin "$root/bin"
	ln -s usr/bin "$root/sbin"
	ln -s bin "$root/usr/sbin"
	ln -s usr/lib "$root/lib"
	ln -s usr/lib64 "$root/lib64"
	ln -s ../run "$root/var/run"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	echo '127.0.0.1 localhost' >"$root/etc/hosts"
	pack_modules "$root" "$kernel"
	pack_tools "$root"

	mkdir "$WORK/image"
	cp "$kernel"/boot/vmlinuz-* "$WORK/image/vmlinuz"
	# Not compressed: the guest's emulated processor would take longer to unpack it than to copy
	# it.
	(cd "$root" && find . -print0 | LC_ALL=C sort -z |
		cpio --quiet --null -o -H newc -R 0:0) >"$WORK/image/initramfs.cpio"
	mv "$WORK/image" "$IMAGE"
}

[ "$(uname -m)" = x86_64 ] || skip "the guest is x86_64 Linux and this machine is $(uname -m)"
find_tools
find_kernel

key=$({
	echo "$KERNEL_PACKAGE $KERNEL_VERSION"
	sha256sum "${BASH_SOURCE[0]}" | cut -d ' ' -f 1
	sha256sum "${TOOL_FILES[@]}" "${LIB_FILES[@]}"
} | sha256sum | cut -c 1-16)
IMAGE=$CACHE/image-$key

mkdir -p "$CACHE" || skip "the cache directory $CACHE cannot be made; set XSAN_E2E_CACHE"
exec 8>"$CACHE/lock"
flock -w 600 8 || die "another guest-image.sh holds $CACHE/lock for 10 minutes"
if [ ! -d "$IMAGE" ]; then
	WORK=$(mktemp -d "$CACHE/work-XXXXXX")
	trap 'rm -rf "$WORK"' EXIT
	build
	# Images that nothing has asked for in a long time go, so the cache stays bounded.
	find "$CACHE" -maxdepth 1 -name 'image-*' -mtime "+$IMAGE_DAYS_MAX" -exec rm -rf {} +
fi
touch "$IMAGE"
echo "$IMAGE"

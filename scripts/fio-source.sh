#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Gets the source of the fio that is installed, configured for its headers, which Debian does not
# package; an engine for fio must be built with those of the fio that loads it. Prints the folder,
# for meson's option fio.
#
#   fio-source.sh DIR    downloads to DIR, unless it is there
#
# Exit status 77: it cannot be had here, with the reason.
set -uo pipefail
dir=${1:?usage: fio-source.sh DIR}
version=$(dpkg-query -W -f '${source:Upstream-Version}' fio 2>/dev/null)
source_dir=$dir/fio-$version

no() {
	echo "fio's source cannot be had: $1" >&2
	exit 77
}

[ -n "$version" ] || no "fio is not installed as a package"
if [ ! -f "$source_dir/config-host.h" ]; then
	# The package sources of this system, as sources of source.
	mkdir -p "$dir/parts" "$dir/lists/partial" || no "$dir cannot be made"
	{
		cat /etc/apt/sources.list 2>/dev/null
		cat /etc/apt/sources.list.d/*.list 2>/dev/null
	} | sed -n 's/^deb /deb-src /p' >"$dir/parts/fio.list"
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$dir/parts/${file##*/}"
	done
	apt=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$(realpath "$dir/parts")"
		-o Dir::State::lists="$(realpath "$dir/lists")")
	"${apt[@]}" update >/dev/null 2>&1 || no "apt-get update fails"
	(cd "$dir" && "${apt[@]}" source --download-only fio >/dev/null 2>&1) || no "apt-get source fails"
	for file in "$dir"/fio_"$version".orig.tar.[gx]z; do
		tar -x -f "$file" -C "$dir" || no "it cannot be unpacked"
	done || no "it cannot be unpacked"
	(cd "$source_dir" && ./configure >configure.log 2>&1) || no "its configure fails, see $source_dir/configure.log"
fi
realpath "$source_dir"

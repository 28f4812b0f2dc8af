#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the initramfs that the benchmark's virtual machine boots: the programs
# of this machine that it needs, one kernel's modules, and the build tree's own.
#   image.sh KERNEL_ROOT KERNEL_VERSION BUILD_TREE OUT
# KERNEL_ROOT holds lib/modules/KERNEL_VERSION.  BUILD_TREE may lack the module
# or the programs: the rows that need them are then left out.
# BENCH_PERF=1 adds perf, for the profile of a row that misses its ratio.
set -eu
kernel_root=$1 version=$2 build=$3 out=$4
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Copies a program and every shared object that it names to the same path.
add_program() {
	local file=$1 to=${2:-/bin/$(basename "$1")} lib
	install -D "$file" "$root$to"
	while read -r lib; do
		[ -e "$root$lib" ] || install -D "$lib" "$root$lib"
	done < <(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | grep -v "^$file:")
}

mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,etc,lib/modules,usr/bin,usr/sbin,sbin}
for p in bash cmp cat cp cut date dd dmesg dmsetup fio grep head insmod ls mkdir mount mv ps rm rmdir sed sleep \
	sort stat sync tail tr true umount uname wc zstd thin_restore blockdev thin_delta modprobe kmod chmod kill mknod rsync; do
	path=$(type -P "$p") || { echo "image.sh: $p: not installed" >&2; exit 1; }
	add_program "$(readlink -f "$path")" "/bin/$p"
done
if [ -n "${BENCH_PERF:-}" ]; then
	add_program "$(type -P perf)" /bin/perf
fi

# Modules: the ones of the baselines and what they depend on.
src=$kernel_root/lib/modules/$version
dst=$root/lib/modules/$version
mkdir -p "$dst"
cp "$src"/modules.builtin "$src"/modules.builtin.modinfo "$src"/modules.order "$dst"/ 2>/dev/null || true
for m in virtio_pci virtio_console configfs null_blk dm-mod dm-snapshot dm-thin-pool crc32c_generic crc32c-intel \
	libcrc32c; do
	while read -r file; do
		install -D -m 644 "$file" "$dst/${file#*"/lib/modules/$version/"}"
	done < <(modprobe -d "$kernel_root" -S "$version" --show-depends "$m" 2>/dev/null |
		sed -n 's/^insmod \([^ ]*\).*/\1/p')
done
if [ -e "$build/bench/dm-ddsnap.ko" ]; then
	install -D -m 644 "$build/bench/dm-ddsnap.ko" "$dst/extra/dm-ddsnap.ko"
fi
depmod -b "$root" "$version"

for p in ddsnap ddsnap-agent ddsnap-server; do
	[ -x "$build/$p" ] || continue
	add_program "$build/$p" "/bin/$p"
done
for p in bench-thin-snap bench-create-many bench-copy-ranges; do
	[ -x "$build/tests/bench/$p" ] || continue
	add_program "$build/tests/bench/$p" "/bin/$p"
done

cp "$here"/guest/*.sh "$root/"
mv "$root/init.sh" "$root/init"
chmod +x "$root/init"
(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet) | zstd -q -3 -T2 >"$out"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel that the benchmark boots: a Debian root file system as the tests'
# virtual machines have it, and the module built in it for its kernel.
#   kernel.sh SUITE SOURCES OUT
# Leaves OUT/root, OUT/dm-ddsnap.ko and OUT/kernel; prints the kernel's version.
set -eu
suite=$1 top=$(cd "$2" && pwd) out=$3
# shellcheck source=tests/lib/vm_image.sh
. "$top/tests/lib/vm_image.sh"
tar=$(vm_image "$suite")
if [ "$(cat "$out/root.from" 2>/dev/null)" != "$tar" ]; then
	rm -rf --one-file-system "$out/root"
	mkdir -p "$out/root"
	tar -C "$out/root" --numeric-owner -xf "$tar"
	echo "$tar" >"$out/root.from"
fi
image=$(cd "$out/root/boot" && ls -v vmlinuz-* | tail -n 1)
version=${image#vmlinuz-}
cp "$out/root/boot/$image" "$out/kernel"
mkdir -p "$out/root/usr/src/ddsnap"
cp -ru "$top"/kernel/* "$out/root/usr/src/ddsnap/"
vm_chroot "$out/root" make -C "/lib/modules/$version/build" M=/usr/src/ddsnap modules >"$out/module.log" 2>&1 || {
	tail -n 20 "$out/module.log" >&2
	exit 1
}
cp "$out/root/usr/src/ddsnap/dm-ddsnap.ko" "$out/dm-ddsnap.ko"
echo "$version"

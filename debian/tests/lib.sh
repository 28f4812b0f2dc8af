# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What the tests of the installed packages share.  To be sourced.

work=${AUTOPKGTEST_TMP:-$(mktemp -d)}
cd "$work" || exit 1

fail() {
	echo "FAILED: $*"
	journalctl -b --no-pager -n 40 || true
	dmesg | tail -n 20
	exit 1
}
run() {
	echo "\$ $*"
	"$@" || fail "$* (status $?)"
}
is() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

# disk SIZE NAME: prints a block device of its own.
disk() {
	truncate -s "$1" "$work/$2.img"
	losetup --show -f "$work/$2.img"
}

# The module that dkms has built for the kernel that runs; without that kernel's headers there is none.
need_module() {
	[ -d /sys/module/dm_ddsnap ] || modprobe dm-ddsnap && return
	dkms status
	fail "no module for $(uname -r)"
}

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What the scripts of this folder share.  They run as root in a virtual machine with the packages
# installed; tests/suites/60-package.sh says which, and when.  To be sourced.
set -u -o pipefail
# shellcheck disable=SC2034 # for those who source this
d=/dev/disk/by-id/virtio-
# shellcheck disable=SC2034
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() { systemctl --failed --no-pager; journalctl -b --no-pager -n 30; echo "FAILED: $*"; exit 1; }
run() { echo "\$ $*"; "$@" || fail "$* (status $?)"; }
is() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }
# refused WHY COMMAND...: it fails with one line that says WHY.
refused() {
	local why=$1 out rc
	shift
	out=$("$@" 2>&1 >/dev/null </dev/null) && fail "$* was not refused"
	rc=$?
	echo "refused: $out"
	[ $rc -eq 1 ] && [ "$(wc -l <<<"$out")" -eq 1 ] && [[ $out == zumastor:*$why* ]] || fail "$*: status $rc, $out"
}
# until_true SECONDS COMMAND...: tries it until it succeeds; the last try's output shows.
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/run/until_true.out 2>&1; do
		[ $SECONDS -lt $end ] || { cat /run/until_true.out; return 1; }
		sleep 0.3
	done
}
# All files but those that the tests themselves change.
sums() { (cd "$1" && find . -path ./load -prune -o -type f ! -path ./note ! -path ./not-frozen -print0 | sort -z | xargs -0 sha256sum); }
tags() { zumastor list "$1" --json | jq -r "$2"; }
# loop SIZE: a new loop device, by name.
loop() {
	local file
	file=$(mktemp /root/loop.XXXXXX) && truncate -s "$1" "$file" && losetup -P --show -f "$file"
}
# unloop DEVICE...: it goes, with its file.
unloop() {
	local dev file
	for dev in "$@"; do
		file=$(losetup -n -O BACK-FILE "$dev")
		run losetup -d "$dev"
		rm -f "$file"
	done
}
dm_name() { cat "/sys/class/block/$(basename "$(readlink -f "$1")")/dm/name"; }

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
	[ $rc -eq 1 ] && [ "$(wc -l <<<"$out")" -eq 1 ] && [[ $out == zumastor:*"$why"* ]] || fail "$*: status $rc, $out"
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
# drop NAME: forgets a volume of loop devices, which go.
drop() {
	local conf=/etc/zumastor/volumes/$1.conf origin store
	origin=$(sed -n 's/^Origin=//p' "$conf") store=$(sed -n 's/^Store=//p' "$conf")
	run zumastor forget "$1"
	unloop "$origin" "$store"
}
# complete_words WORD...: what bash offers for the last word.
complete_words() {
	bash -c '. /usr/share/bash-completion/completions/zumastor
		COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
		_zumastor; printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | sort | paste -sd' '
}
# Devices that no refused command may change, and what `state` said before it.
watched=() before=''
# Everything that a refused command could have left behind, on disk and around.
state() {
	[ ${#watched[@]} -eq 0 ] || md5sum "${watched[@]}"
	find /etc/zumastor /var/lib/zumastor /etc/systemd /run/systemd/generator* /etc/fstab -printf '%p %s %l\n' | sort
	find /etc/zumastor -type f -exec md5sum {} + | sort
	systemctl list-units --plain --no-legend 'zumastor*' | sort
	systemctl show -P NFailedUnits
	dmsetup table | sort
}
# as_before: nothing has changed since `before` was taken.
as_before() {
	local now
	now=$(state)
	[ "$now" = "$before" ] || { diff <(echo "$before") <(echo "$now"); fail "a command that was refused changed something"; }
}

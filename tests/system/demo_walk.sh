#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The steps of the first Zumastor's README, with its commands and spellings, on
# the disks up-origin, up-store, down-origin and down-store.  Run by tests/demo
# in a virtual machine.  Upstream is the volume at /tmp/server, downstream the one
# at /tmp/server-down; both have one agent, /tmp/control.
set -u -o pipefail
cd /root || exit 1
begun=$EPOCHREALTIME

fail() { echo "FAILED: $*"; tail -n 20 /tmp/*.log; dmesg | tail -n 20; exit 1; }
say() { awk -v t="$EPOCHREALTIME" -v b="$begun" -v s="$*" 'BEGIN { printf "  [%6.1f s] %s\n", t - b, s }'; }
proved() { say "proved: $*"; }
# run COMMAND...: shows it and runs it.
run() { say "\$ $*"; "$@" || fail "$* (status $?)"; }
# pipe TEXT: the same for a line with pipes.
pipe() { say "\$ $*"; bash -o pipefail -c "$*" || fail "$* (status $?)"; }
sum() { sha256sum <"$1" | cut -d' ' -f1; }
same() { [ "$(sum "$1")" = "$2" ] || fail "$3"; proved "$3"; }
await() {
	local n
	for ((n = 0; n < 300; n++)); do [ -S "$1" ] && return; sleep 0.1; done
	fail "no socket $1"
}

for role in up down; do
	for part in origin store; do
		[ -b /dev/disk/by-id/virtio-$role-$part ] || fail "no disk $role-$part"
	done
done
ln -sf /dev/disk/by-id/virtio-up-origin /dev/test-origin
ln -sf /dev/disk/by-id/virtio-up-store /dev/test-snapstore
ln -sf /dev/disk/by-id/virtio-down-origin /dev/test-origin-down
ln -sf /dev/disk/by-id/virtio-down-store /dev/test-snapstore-down
sectors=$(blockdev --getsz /dev/test-origin)

agent_up() {
	say "\$ ddsnap agent -f /tmp/control &"
	ddsnap agent -f /tmp/control >/tmp/agent.log 2>&1 &
	agent=$!
	await /tmp/control
}

# server_up SUFFIX: store, server and origin of one side, as "make dd-server" and "make origin".
server_up() {
	rm -f /tmp/server"$1"
	say "\$ ddsnap server -f /dev/test-snapstore$1 /dev/test-origin$1 /tmp/control /tmp/server$1 &"
	ddsnap server -f /dev/test-snapstore"$1" /dev/test-origin"$1" /tmp/control /tmp/server"$1" \
		>/tmp/server"$1".log 2>&1 &
	servers+=($!)
	await /tmp/server"$1"
}
origin_up() {
	pipe "echo 0 $sectors ddsnap /dev/test-snapstore$1 /dev/test-origin$1 /tmp/control -1 | dmsetup create vol$1"
}
snapshot_up() {  # SUFFIX TAG
	pipe "echo 0 $sectors ddsnap /dev/test-snapstore$1 /dev/test-origin$1 /tmp/control $2 | dmsetup create snapshot$2$1"
}
all_down() {
	local name
	for name in snapshot0 snapshot1 snapshot1-down vol vol-down; do
		dmsetup info "$name" >/dev/null 2>&1 && run dmsetup remove --retry "$name"
	done
	kill "${servers[@]}" && wait "${servers[@]}"
	servers=()
}
check_stores() {
	run ddsnap check /dev/test-snapstore
	run ddsnap check /dev/test-snapstore-down
}

# write_upstream: files and random blocks, through a file system.
write_upstream() {
	run mount /dev/mapper/vol /mnt
	run cp /etc/passwd /etc/group /mnt
	run cp -r /etc/systemd /mnt
	truncate -s 16M /mnt/spam
	run ddsnap devspam --seed "$1" /mnt/spam
	run umount /mnt
}

servers=()
run modprobe dm-ddsnap
say "$(uname -r), $(modinfo -F filename dm-ddsnap), $(ddsnap --version)"
agent_up

say "=== bootstrap strategy 1: zeroed devices, then deltas ==="
pipe "dd if=/dev/zero of=/dev/test-origin bs=1M 2>/dev/null; test \$(wc -c </dev/test-origin) = $((sectors * 512))"
pipe "dd if=/dev/zero of=/dev/test-origin-down bs=1M 2>/dev/null; test \$(wc -c </dev/test-origin-down) = $((sectors * 512))"
zero=$(sum /dev/test-origin)
for side in '' -down; do
	run ddsnap initialize -y /dev/test-snapstore$side /dev/test-origin$side
	server_up "$side"
	origin_up "$side"
done
run ddsnap create /tmp/server 0
snapshot_up '' 0
run mkfs.ext3 -q /dev/mapper/vol
write_upstream 1
same /dev/mapper/snapshot0 "$zero" "snapshot 0 is still empty after mkfs, files and devspam on the origin"
run ddsnap create-snap /tmp/server 1
one=$(sum /dev/mapper/vol)
snapshot_up '' 1
same /dev/mapper/snapshot1 "$one" "snapshot 1 is the origin at its creation"
run ddsnap create-cl /tmp/server changelist0-1 0 1
run ddsnap create-delta -r changelist0-1 deltafile0-1 /dev/mapper/snapshot0 /dev/mapper/snapshot1
run ddsnap apply-delta deltafile0-1 /dev/mapper/vol-down
same /dev/mapper/vol-down "$one" "downstream is upstream's snapshot 1"
run ddsnap create-snap /tmp/server-down 1
snapshot_up -down 1
same /dev/mapper/snapshot1-down "$one" "downstream's snapshot 1 is upstream's"
run dmsetup status
run ddsnap status /tmp/server
all_down
check_stores

say "=== bootstrap strategy 2: a whole copy through a socket, then deltas ==="
for side in '' -down; do
	run ddsnap initialize -y /dev/test-snapstore$side /dev/test-origin$side
done
server_up ''
origin_up ''
run mkfs.ext3 -q -F /dev/mapper/vol
run dmsetup remove --retry vol
say "\$ nc -l -p 20049 | dd of=/dev/test-origin-down bs=1M &"
(nc -l -p 20049 | dd of=/dev/test-origin-down bs=1M iflag=fullblock 2>/dev/null) &
copy=$!
for ((n = 0; n < 100; n++)); do ss -Hltn 'sport = :20049' | grep -q . && break; sleep 0.1; done
pipe "dd if=/dev/test-origin bs=1M 2>/dev/null | nc -N 127.0.0.1 20049"
wait "$copy" || fail "the copy through the socket"
sync
same /dev/test-origin-down "$(sum /dev/test-origin)" "the devices are identical"
origin_up ''
server_up -down
origin_up -down
run ddsnap create /tmp/server 0
zero=$(sum /dev/mapper/vol)
snapshot_up '' 0
write_upstream 2
same /dev/mapper/snapshot0 "$zero" "snapshot 0 has its old content after the origin changed"
[ "$(sum /dev/mapper/vol)" != "$zero" ] || fail "the origin did not change"
run ddsnap create-snap /tmp/server 1
one=$(sum /dev/mapper/vol)
snapshot_up '' 1
same /dev/mapper/snapshot1 "$one" "snapshot 1 is the origin at its creation"
run ddsnap create-cl /tmp/server changelist0-1 0 1
run ddsnap create-delta -r changelist0-1 deltafile0-1 /dev/mapper/snapshot0 /dev/mapper/snapshot1
run ddsnap delta show deltafile0-1
run ddsnap apply-delta deltafile0-1 /dev/mapper/vol-down
same /dev/mapper/vol-down "$one" "downstream is upstream's snapshot 1"
run ddsnap create-snap /tmp/server-down 1
snapshot_up -down 1
same /dev/mapper/snapshot1-down "$one" "downstream's snapshot 1 is upstream's"
run mount -o ro /dev/mapper/snapshot1-down /mnt
cmp /mnt/passwd /etc/passwd || fail "a file downstream differs"
run ddsnap devspam --verify --seed 2 /mnt/spam
run umount /mnt
proved "files and devspam's blocks are whole downstream"
run ddsnap list /tmp/server
all_down
check_stores
kill "$agent" && wait "$agent"
run rmmod dm-ddsnap
say "all done"

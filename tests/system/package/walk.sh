#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What an administrator does with the installed packages, on the disks origin, store, origin2 and
# store2 of a virtual machine.  Run by tests/suites/60-package.sh.
#   walk.sh define     two volumes, one of a device that has data, in /etc/fstab
#   walk.sh load       writes to both until the machine goes down
#   walk.sh verify N   after boot N: all is up, nothing waited or failed, nothing is lost
#   walk.sh half_way, gone_back    a revert that a power cut interrupts is finished by the next boot
#   walk.sh own_var    /var gets a file system of its own, at the next boot
#   walk.sh mark, marked    a mark of a store that failed is obeyed by the boot after it
#   walk.sh missed     a snapshot that was due while the machine was off has been made
#   walk.sh before_missing, missing, after_missing    my-vol boots without its store, and with it again
#   walk.sh forget     the origins are plain devices again, with all their data
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "$0")/lib.sh"

define() {
	run mkfs.ext4 -q -U 11111111-2222-3333-4444-555555555555 ${d}origin
	mkdir -p /srv/data /srv/my-vol /root/sums
	run mount ${d}origin /srv/data
	run cp -a /usr/lib/udev /etc /srv/data
	sums /srv/data >/root/sums/data
	refused "mounted at /srv/data" zumastor define volume data ${d}origin ${d}store --initialize
	run umount /srv/data
	run zumastor define volume data ${d}origin ${d}store --initialize
	run zumastor define volume my-vol ${d}origin2 ${d}store2 --initialize --chunk-size 64K
	run mkfs.xfs -q /dev/zumastor/my-vol
	printf '%s\n' '/dev/zumastor/data /srv/data ext4 defaults 0 2' \
		'/dev/zumastor/my-vol /srv/my-vol xfs defaults 0 0' >>/etc/fstab
	systemctl daemon-reload
	run mount /srv/data
	run mount /srv/my-vol
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "data that was there before"
	run cp -a /etc /srv/my-vol
	sums /srv/my-vol >/root/sums/my-vol
	refused "mounted at /srv/data" zumastor stop data
	refused "mounted at /srv/data" zumastor forget data
	printf '[Service]\nExecStart=bash %s load\n' "$(realpath "$0")" >/etc/systemd/system/load.service
	printf '[Service]\nExecStart=bash -c "sleep 4; systemctl start --no-block --job-mode=replace-irreversibly reboot.target"\n' \
		>/etc/systemd/system/go-down.service
	systemctl daemon-reload
	snapshots
	reverts
	sizes
	names
}

# Snapshots and rotations, and their folders.
snapshots() {
	local tag n
	run zumastor define schedule my-vol --hourly 2 --daily 1 --randomized-delay 2s
	echo before >/srv/data/note
	tag=$(zumastor snapshot data) || fail "snapshot"
	echo after >/srv/data/note
	is "$(cat /run/zumastor/snapshot/data/*/note)" before "the note in the snapshot"
	is "$(zumastor status data --json | jq -r '.snapshots[0].tag')" "$tag" "the printed tag"
	for n in 1 2 3 4; do
		echo "$n" >/srv/my-vol/note
		run zumastor snapshot my-vol --rotation hourly
	done
	is "$(tags my-vol 'map(.tag) | join(",")')" 2,3 "what the hourly rotation keeps"
	is "$(cat /run/zumastor/snapshot/my-vol/hourly.0/note)" 4 "hourly.0"
	is "$(cat /run/zumastor/snapshot/my-vol/hourly.1/note)" 3 "hourly.1"
	[ ! -e /run/zumastor/snapshot/my-vol/hourly.2 ] || fail "hourly.2 is there"
	run systemctl start zumastor-snapshot@my-vol.service
	is "$(tags my-vol 'map(select(.rotations | index("daily"))) | length')" 1 "daily snapshots"
	is "$(tags my-vol 'map(select(.rotations | index("hourly"))) | length')" 2 "hourly snapshots"
	run systemctl start zumastor-snapshot@my-vol.service
	is "$(tags my-vol length)" 2 "snapshots after a run with nothing due"
	[ -n "$(systemctl show -P NextElapseUSecRealtime zumastor-snapshot@my-vol.timer)" ] || fail "no timer"
	is "$(systemctl show -P Persistent zumastor-snapshot@my-vol.timer)" yes "Persistent"
	is "$(systemctl show -P RandomizedDelayUSec zumastor-snapshot@my-vol.timer)" 2s "RandomizedDelaySec"
	for n in hourly daily; do
		[[ $(systemctl show -P TimersCalendar zumastor-snapshot@my-vol.timer) == *"OnCalendar=$(systemd-analyze calendar $n | sed -n 's/ *Normalized form: //p')"* ]] ||
			fail "the timer has no $n calendar"
	done
	hooks
}

# Back and forward again; what is cut off is finished before the volume is there again.
reverts() {
	local first second pid
	echo one >/srv/data/note
	first=$(zumastor snapshot data) || fail "snapshot"
	echo two >/srv/data/note
	second=$(zumastor snapshot data) || fail "snapshot"
	refused "mounted at /srv/data" zumastor revert data "$first"
	is "$(cat /srv/data/note)" two "the note after a refused revert"
	run umount /srv/data
	refused "does not exist" zumastor revert data 99999
	run zumastor revert data "$first"
	run mount /srv/data
	is "$(cat /srv/data/note)" one "the reverted note"
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "data after a revert"
	run umount /srv/data
	run zumastor revert data "$second"
	run mount /srv/data
	is "$(cat /srv/data/note)" two "the note after going forward"
	run umount /srv/data
	# Killed while the snapshot cannot be read.
	run dmsetup suspend "zumastor-data@$first"
	zumastor revert data "$first" &
	pid=$!
	for ((i = 0; i < 300; i++)); do
		[ "$(ddsnap status /run/zumastor/server/data --json | jq .reverting)" != "$first" ] || break
		sleep 0.1
	done
	is "$(ddsnap status /run/zumastor/server/data --json | jq .reverting)" "$first" "what status says of the revert"
	kill -9 "$pid"
	run dmsetup resume "zumastor-data@$first"
	wait "$pid"
	[ ! -e /dev/zumastor/data ] || fail "a volume that is half-way can be mounted"
	is "$(zumastor status data --json | jq -r .state)" reverting "its state"
	refused "is not up" zumastor snapshot data
	run systemctl restart zumastor@data
	run mount /srv/data
	is "$(cat /srv/data/note)" one "the note after the revert was finished"
	refused "no revert is under way" zumastor revert data --cancel
	run zumastor delete data "$first" "$second"
}

# A revert that is stopped half-way, for a power cut: some of the origin is as it was, the rest is not.
half_way() {
	local first stat pid now=0 before fields
	echo old >/srv/data/note
	first=$(zumastor snapshot data) || fail "snapshot"
	echo "$first" >/root/half-way
	echo new >/srv/data/note
	run dd if=/dev/urandom of=/srv/data/big bs=1M count=40 conv=fsync status=none
	run umount /srv/data
	stat=/sys/class/block/$(basename "$(readlink -f ${d}origin)")/stat
	read -r -a fields <"$stat"
	before=${fields[6]}
	zumastor revert data "$first" >/run/revert 2>&1 &
	pid=$!
	# Nothing is started in this loop: it must see the revert before that is over.
	while [ $now -lt 8192 ]; do
		kill -0 $pid || fail "the revert is over, after $now sectors: $(cat /run/revert)"
		read -r -a fields <"$stat"
		now=$((fields[6] - before))
	done
	kill -STOP $pid
	is "$(ddsnap status /run/zumastor/server/data --json | jq .reverting)" "$first" "what status says of the revert"
	read -r -a fields <"$stat"
	sync -f /root
	echo "half-way: $((fields[6] - before)) sectors"
}

# The boot after the power cut has finished it before the volume was mounted.
gone_back() {
	until_true 60 mountpoint -q /srv/data || fail "/srv/data is not mounted after a power cut"
	is "$(cat /srv/data/note)" old "the note after the power cut in a revert"
	[ ! -e /srv/data/big ] || fail "a file of after the snapshot is there"
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "the data after the power cut in a revert"
	is "$(zumastor status data --json | jq -r '.state, (.problems | length)' | paste -sd,)" up,0 "the volume's state"
	is "$(zumastor list data --json | jq -c "map(select(.tag == $(cat /root/half-way)) | .state)")" '["ok"]' "the snapshot"
	run umount /srv/data
	run e2fsck -f -n /dev/zumastor/data
	run mount /srv/data
	echo before >/srv/data/note
	run zumastor delete data "$(cat /root/half-way)"
}

# Smaller and larger while it is used.
sizes() {
	local full
	full=$(blockdev --getsz /dev/zumastor/data)
	refused "bytes" zumastor resize data --origin 100G
	refused "no metadata device" zumastor resize data --meta max
	run zumastor resize data --store 180M
	is "$(zumastor status data --json | jq '.store.total_chunks')" $((180 * 64)) "chunks of the smaller store"
	run zumastor resize data --store max
	is "$(zumastor status data --json | jq '.store.total_chunks')" $((192 * 64)) "chunks of the larger store"
	run zumastor snapshot data
	run umount /srv/data
	run e2fsck -f -p /dev/zumastor/data
	run resize2fs /dev/zumastor/data 150M
	run zumastor resize data --origin 160M
	is "$(blockdev --getsz /dev/zumastor/data)" $((160 * 2048)) "the smaller origin"
	run mount /srv/data
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "data on a smaller origin"
	run zumastor resize data --origin max
	is "$(blockdev --getsz /dev/zumastor/data)" "$full" "the larger origin"
	run resize2fs /dev/zumastor/data
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "data on a larger origin"
	run zumastor delete data "$(tags data '.[-1].tag')"
}

# A hook that fails or hangs is reported; the snapshot is made and nothing stays frozen.
hooks() {
	local tag
	mkdir -p /etc/zumastor/hooks.d/pre-snapshot
	printf '#!/bin/sh\necho "$ZUMASTOR_VOLUME $ZUMASTOR_MOUNTPOINT" >/run/hook-ran\n' >/etc/zumastor/hooks.d/pre-snapshot/10-good
	printf '#!/bin/sh\necho out of luck\nexit 3\n' >/etc/zumastor/hooks.d/pre-snapshot/20-bad
	printf '#!/bin/sh\nsleep 1000\n' >/etc/zumastor/hooks.d/post-snapshot
	chmod +x /etc/zumastor/hooks.d/pre-snapshot/* /etc/zumastor/hooks.d/post-snapshot
	tag=$(zumastor snapshot data 2>/run/hook-errors) || fail "snapshot with bad hooks"
	is "$(cat /run/hook-ran)" "data /srv/data" "what the hook was told"
	grep -q 'out of luck' /run/hook-errors || fail "the failed hook is not reported"
	grep -q 'killed, it took longer' /run/hook-errors || fail "the hook that hangs is not reported"
	run timeout 10 touch /srv/data/not-frozen
	rm -r /etc/zumastor/hooks.d/*
	run zumastor delete data "$tag"
}

names() {
	local tag
	tag=$(tags data '.[0].tag')
	is "$(readlink -f /dev/disk/by-uuid/11111111-2222-3333-4444-555555555555)" "$(readlink -f /dev/zumastor/data)" \
		"the file system's UUID"
	[ -b "/dev/zumastor/data@$tag" ] || fail "no /dev/zumastor/data@$tag"
	is "$(readlink -f "/dev/zumastor/by-uuid/$(zumastor status data --json | jq -r .volume_uuid)")" \
		"$(readlink -f /dev/zumastor/data)" "the volume's UUID"
	is "$(systemctl show -P ActiveState dev-zumastor-data.device)" active "the device unit"
	is "$(lsblk -dno FSTYPE ${d}origin)" zumastor_member "the origin's mark"
	[ ! -e /dev/disk/by-uuid/"$(blkid -p -s UUID -o value ${d}origin2)" ] ||
		is "$(readlink -f /dev/disk/by-uuid/"$(blkid -p -s UUID -o value ${d}origin2)")" \
			"$(readlink -f /dev/zumastor/my-vol)" "the UUID of xfs"
	! mount ${d}origin /mnt 2>/dev/null || fail "the origin's device can be mounted beside the volume"
}

load() {
	local dir n=0
	for dir in /srv/data/load /srv/my-vol/load; do mkdir -p $dir; done
	while :; do
		n=$((n + 1))
		dd if=/dev/urandom of=/srv/data/load/$((n % 40)) bs=256K count=1 conv=fsync 2>/dev/null
		dd if=/dev/urandom of=/srv/my-vol/load/$((n % 40)) bs=256K count=1 2>/dev/null
	done
}

verify() {
	local bad
	for _ in $(seq 60); do
		case $(systemctl is-system-running) in running) break ;; esac
		sleep 1
	done
	is "$(systemctl is-system-running)" running "the state of the system"
	mountpoint -q /srv/data || fail "/srv/data is not mounted"
	mountpoint -q /srv/my-vol || fail "/srv/my-vol is not mounted"
	is "$(findmnt -no SOURCE /srv/data)" /dev/mapper/zumastor-data "what is mounted"
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "the data after boot $1"
	is "$(sums /srv/my-vol)" "$(cat /root/sums/my-vol)" "my-vol after boot $1"
	is "$(cat /run/zumastor/snapshot/data/*/note)" before "a snapshot after boot $1"
	names
	[ -e /run/zumastor/snapshot/my-vol/hourly.0/note ] || fail "no link to the newest hourly snapshot after boot $1"
	daemons_var
	is "$(zumastor status --json | jq '[.[].problems[]] | length')" 0 "problems after boot $1"
	# The boot before: both file systems were unmounted, nothing ran into a time limit. (devices.sh and commands.sh have a snapshot
	# in use, to see its unmount refused.)
	bad=$(journalctl -b -1 --no-pager -o cat | grep -vE 'snapshot-(dirty|els)' | grep -E 'timed out|Dependency failed|Failed (to stop|unmounting)|left-over|Job .* running' | head -n 5)
	[ -z "$bad" ] || fail "boot before: $bad"
	journalctl -b --no-pager -k -o cat | grep -E 'recovery complete|Starting recovery' && fail "a file system was not clean"
	echo "boot $1: up and clean in $(systemd-analyze time | grep -o 'userspace) = .*' | cut -d= -f2)"
}

# What lies below the new file system stays, and is old from now on.
own_var() {
	run mkfs.ext4 -q ${d}var
	run mount ${d}var /mnt
	run cp -a /var/. /mnt
	run umount /mnt
	echo "${d}var /var ext4 defaults 0 2" >>/etc/fstab
	# As one finds it who had snapshots made since.
	run rm -r /var/lib/zumastor/volumes
}

# Servers run from before /var is mounted: what they write goes there all the same.
daemons_var() {
	local volume pid wanted=no
	! grep -q ' /var ' /etc/fstab || wanted=yes
	for volume in data my-vol; do
		pid=$(systemctl show -P MainPID zumastor-server@$volume)
		is "$(stat -c %d "/proc/$pid/root/var/lib/zumastor")" "$(stat -c %d /var/lib/zumastor)" "the file system of /var, for a server"
		is "$(systemctl show -P ConditionResult zumastor-rest@$volume)" $wanted "whether snapshots had to wait for /var"
		[ ! -e /run/zumastor/early/$volume ] || fail "they wait still"
	done
}

mark() {
	install -d -m 700 /var/lib/zumastor/abandoned
	run touch "/var/lib/zumastor/abandoned/$(zumastor status data --json | jq -r .volume_uuid)"
}

marked() {
	until_true 60 mountpoint -q /srv/data || fail "/srv/data is not mounted"
	until_true 60 eval '! systemctl is-system-running | grep -qx starting' || fail "the boot hangs"
	is "$(tags data 'map(.state) | unique | join(",")')" given-up "snapshots of a store that had failed"
	is "$(ls -d /dev/zumastor/data@* /run/zumastor/snapshot/data/*/ 2>/dev/null)" "" "what is left of them"
	is "$(tags my-vol 'map(.state) | unique | join(",")')" ok "snapshots of the other volume"
	is "$(ls /var/lib/zumastor/abandoned)" "" "the mark that was obeyed"
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "the data"
	# shellcheck disable=SC2046 # a word for each
	run zumastor delete data $(tags data '.[].tag')
	run zumastor snapshot data
}

# The clock was a day further when the machine came up, and nobody has asked for anything since.
missed() {
	due() { tags my-vol 'map(select(.rotations == ["hourly", "daily"])) | last | .created[:10]' | grep -qx "$(date -u +%F)"; }
	until_true 60 due || fail "no snapshot was made up for: $(zumastor list my-vol)"
	is "$(tags my-vol 'map(select(.rotations | index("hourly"))) | length')" 2 "hourly snapshots"
	is "$(tags my-vol 'map(select(.rotations | index("daily"))) | length')" 1 "daily snapshots"
	[ -e /run/zumastor/snapshot/my-vol/daily.0/note ] || fail "daily.0 has no note"
}

before_missing() {
	sed -i 's:^\(/dev/zumastor/my-vol .*\)defaults:\1nofail:' /etc/fstab
	mkdir -p /etc/systemd/system.conf.d
	printf '[Manager]\nDefaultDeviceTimeoutSec=20s\n' >/etc/systemd/system.conf.d/quick.conf
}

missing() {
	until_true 120 eval '! systemctl is-system-running | grep -qx starting' || fail "the boot hangs"
	mountpoint -q /srv/data || fail "the other volume is not mounted"
	mountpoint -q /srv/my-vol && fail "my-vol is mounted without its store"
	is "$(zumastor status my-vol --json | jq -r .state)" failed "the state of a volume without its store"
	zumastor status my-vol
	zumastor status my-vol --json | jq -r '.problems[0].what' | grep -qx '.*store2: has not appeared within 10 s' ||
		fail "status does not say what is missing"
	journalctl -b -q --no-pager -o cat -u zumastor@my-vol.service | grep -q 'has not appeared' || fail "nor does the journal"
	refused 'store2: has not appeared within 10 s' zumastor start my-vol
	is "$(ls -d /dev/zumastor/my-vol* 2>/dev/null)" "" "names of a volume that is not up"
	# The load goes to the volume that is there.
	mkdir -p /srv/my-vol/load
	echo "up without a store after $(systemd-analyze time | grep -o 'userspace) = .*' | cut -d= -f2)"
}

after_missing() {
	rm -r /etc/systemd/system.conf.d
	until_true 60 mountpoint -q /srv/my-vol || fail "my-vol does not come back"
	is "$(sums /srv/my-vol)" "$(cat /root/sums/my-vol)" "my-vol after all"
	is "$(zumastor status my-vol --json | jq '.problems | length')" 0 "problems after all"
}

forget() {
	run umount /srv/data /srv/my-vol
	sed -i '/zumastor/d' /etc/fstab
	run zumastor forget data
	run zumastor forget my-vol
	run mount ${d}origin /srv/data
	is "$(sums /srv/data)" "$(cat /root/sums/data)" "the plain device's data"
	run umount /srv/data
	is "$(readlink -f /dev/disk/by-uuid/11111111-2222-3333-4444-555555555555)" "$(readlink -f ${d}origin)" \
		"the file system's UUID"
	is "$(find /dev/zumastor -type l 2>/dev/null)" "" "names of forgotten volumes"
	is "$(dmsetup ls)" "No devices found" "devices of forgotten volumes"
	run rmmod dm-ddsnap
}

"$@"

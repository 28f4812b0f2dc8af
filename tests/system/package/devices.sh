#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Names under fire, file systems of all kinds in snapshots, and what else an origin may hold.
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "$0")/lib.sh"

# make NAME SIZE MKFS...: a volume of loop devices that holds what MKFS makes.
make() {
	local name=$1 size=$2 dev
	dev=$(loop "$size")
	shift 2
	[ $# -eq 0 ] || "$@" "$dev" >/dev/null || fail "$*"
	run zumastor define volume "$name" "$dev" "$(loop 32M)" --initialize
}
# Exactly the names that there should be: those of device-mapper's devices.
names_agree() {
	udevadm settle
	is "$(find /dev/zumastor -maxdepth 1 -type l -printf '%f\n' | sort)" "$(dmsetup ls | sed -n 's/^zumastor-\([^\t]*\).*/\1/p' | sort)" "names"
	local link
	for link in /dev/zumastor/*; do
		[ ! -L "$link" ] || is "$(dm_name "$link")" "zumastor-${link##*/}" "what $link is"
	done
	is "$(find /dev/zumastor/by-uuid -type l | wc -l)" "$(find /dev/zumastor -maxdepth 1 -type l | wc -l)" "names by uuid"
}

# by-uuid is the volume's whoever's event comes last, and by whatever command.
by_uuid() {
	local uuid=$1 name=$2 event
	for event in "" "@0" "@*" ""; do
		# shellcheck disable=SC2086 # a pattern
		udevadm trigger --settle -c change /dev/zumastor/$name$event
		is "$(dm_name "/dev/disk/by-uuid/$uuid")" "zumastor-$name" "by-uuid after an event of $name$event"
	done
	udevadm trigger --settle -c add -s block
	is "$(dm_name "/dev/disk/by-uuid/$uuid")" "zumastor-$name" "by-uuid after all events"
	udevadm control --reload
	systemctl restart systemd-udevd && udevadm trigger --settle -s block
	is "$(dm_name "/dev/disk/by-uuid/$uuid")" "zumastor-$name" "by-uuid after a new udevd"
	is "$(findfs "UUID=$uuid")" "/dev/mapper/zumastor-$name" "findfs"
	is "$(lsblk -dno FSTYPE "$(sed -n 's/^Origin=//p' "/etc/zumastor/volumes/$name.conf")")" zumastor_member "the member's mark"
}

storm() {
	local uuid=aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb v n pids=() found watcher
	make storm1 16M mkfs.ext4 -q -U $uuid
	make storm2 16M mkfs.ext4 -q
	zumastor snapshot storm1 >/dev/null || fail snapshot
	by_uuid $uuid storm1
	# Who looks at any moment sees the volume or, between two events, nothing; never a snapshot or the member.
	(while :; do
		found=$(readlink -f /dev/disk/by-uuid/$uuid)
		case $(cat "/sys/class/block/${found##*/}/dm/name" 2>/dev/null) in
		zumastor-storm1) ;;
		*) [ ! -e "/sys/class/block/${found##*/}" ] || echo "$found" ;;
		esac
	done) >/run/wrong-names &
	watcher=$!
	for v in storm1 storm2; do
		(for n in 1 2 3 4; do zumastor snapshot $v >/dev/null || exit 1; done) &
		pids+=($!)
	done
	for n in 1 2 3 4; do udevadm trigger -c change -s block; sleep 0.5; done &
	for n in "${pids[@]}"; do wait "$n" || fail "a snapshot in the storm"; done
	names_agree
	pids=()
	for v in storm1 storm2; do
		(for n in $(tags $v '.[].tag'); do zumastor delete $v "$n" || exit 1; done) &
		pids+=($!)
	done
	(zumastor snapshot storm1 >/dev/null; udevadm trigger -c change -s block) &
	pids+=($!)
	for n in "${pids[@]}"; do wait "$n" || fail "a deletion in the storm"; done
	names_agree
	kill $watcher
	wait $watcher 2>/dev/null
	is "$(sort -u /run/wrong-names)" "" "what by-uuid was at times"
	drop storm1
	drop storm2
	names_agree
}

# Snapshots as folders, each with the options that it needs.
kinds() {
	local tag folder other
	# No file system: no folder, and no complaint.
	make none 16M
	run zumastor snapshot none
	is "$(find /run/zumastor/snapshot/none -mindepth 1 2>/dev/null)" "" "folders of a volume without a file system"
	drop none
	# A journal that is not clean: the file system is mounted where we do not see it, so it is not frozen.
	make dirty 32M mkfs.ext4 -q
	unshare -m --propagation private sh -c 'mkdir -p /run/dirty && mount /dev/zumastor/dirty /run/dirty && echo text >/run/dirty/a &&
		sync -f /run/dirty && echo text >/run/dirty/b && touch /run/mounted && exec sleep 1000' &
	other=$!
	until_true 20 [ -e /run/mounted ] || fail "mount in another namespace"
	zumastor snapshot dirty >/dev/null 2>/run/warned || fail snapshot
	grep -q 'as after a power cut' /run/warned || fail "not told that nothing was frozen: $(cat /run/warned)"
	dumpe2fs -h /dev/zumastor/dirty@0 2>/dev/null | grep -q needs_recovery || fail "the snapshot's journal is clean: nothing is tested"
	is "$(cat /run/zumastor/snapshot/dirty/*/a)" text "a file in a snapshot that was not frozen"
	is "$(findmnt -no OPTIONS -S /dev/zumastor/dirty@0 -t ext4 | tr , '\n' | grep -cxE 'ro|nosuid|nodev|noload|norecovery')" 4 "options of ext4"
	kill $other
	wait $other 2>/dev/null
	# Mounted at several places, one of them covered by another file system.
	mkdir -p /run/one /run/two
	run mount /dev/zumastor/dirty /run/one
	run mount -t tmpfs tmpfs /run/one
	run mount /dev/zumastor/dirty /run/two
	echo "in the snapshot" >/run/two/c
	tag=$(zumastor snapshot dirty 2>/run/warned) || fail snapshot
	is "$(cat /run/warned)" "" "warnings of a volume that is mounted twice"
	folder=$(zumastor status dirty "$tag" --json | jq -r '.snapshots[0].folder')
	is "$(cat "$folder/c")" "in the snapshot" "a file that was not synced"
	refused 'mounted at' zumastor stop dirty
	umount /run/two /run/one && umount /run/one
	# In use: not deleted, and still there.
	(cd "$folder" && exec sleep 1000) &
	other=$!
	until_true 10 eval "[ \"\$(readlink /proc/$other/cwd)\" = $folder ]"
	refused 'in use' zumastor delete dirty "$tag"
	is "$(cat "$folder/c")" "in the snapshot" "a snapshot that could not be deleted"
	kill $other
	wait $other 2>/dev/null
	run zumastor delete dirty "$tag"
	[ ! -e "$folder" ] || fail "$folder is left behind"
	mountpoint -q "$folder" && fail "$folder is still mounted"
	drop dirty
	is "$(systemctl --failed --plain --no-legend)" "" "units that failed"
}

# What udev hands on by its contents belongs to the volume, not to its snapshots or member.
contents() {
	local type dev
	make pv 32M
	run pvcreate -qq /dev/zumastor/pv
	zumastor snapshot pv >/dev/null 2>&1 || fail snapshot
	udevadm trigger --settle -s block
	for type in "pv LVM2_member" "pv@0 "; do
		is "$(udevadm info -q property /dev/zumastor/"${type% *}" | sed -n 's/^ID_FS_TYPE=//p')" "${type#* }" "what udev says of ${type% *}"
	done
	dev=$(sed -n 's/^Origin=//p' /etc/zumastor/volumes/pv.conf)
	is "$(udevadm info -q property "$dev" | sed -n 's/^ID_FS_TYPE=//p')" zumastor_member "what udev says of the member"
	run pvremove -qq -y /dev/zumastor/pv
	# The heads of an encrypted device, and of a member of an array.
	printf 'LUKS\xba\xbe\x00\x01' | dd of=/dev/zumastor/pv conv=notrunc,fsync status=none
	zumastor snapshot pv >/dev/null 2>&1 || fail snapshot
	udevadm trigger --settle -s block
	is "$(udevadm info -q property /dev/zumastor/pv | sed -n 's/^ID_FS_TYPE=//p')" crypto_LUKS "what udev says of an encrypted volume"
	is "$(udevadm info -q property /dev/zumastor/pv@1 | sed -n 's/^ID_FS_TYPE=//p')" "" "what udev says of its snapshot"
	drop pv
}

# A name that does not come: a limit, and a message.
no_name() {
	local rules=/run/udev/rules.d/57-no-names.rules
	make late 16M
	run zumastor stop late
	mkdir -p /run/udev/rules.d
	printf 'ENV{DM_NAME}=="zumastor-late", SYMLINK="mapper/zumastor-late"\n' >$rules
	udevadm control --reload
	refused '/dev/zumastor/late: has not appeared within 30 s' zumastor start late
	is "$(dmsetup ls | grep -c zumastor-late)" 0 "devices of a volume that has not come up"
	is "$(zumastor status late --json | jq -r '.state, .problems[0].what' | paste -sd,)" \
		"failed,/dev/zumastor/late: has not appeared within 30 s" "its status"
	rm $rules
	udevadm control --reload
	run zumastor start late
	drop late
}

# A device by several paths, a file system without partitions that has data, and all of it back.
existing() {
	local dev store
	dev=$(loop 320M) store=$(loop 64M)
	run mkfs.xfs -q -m uuid=cccccccc-1111-2222-3333-dddddddddddd "$dev"
	mkdir -p /run/existing
	run mount "$dev" /run/existing
	cp -a /etc /run/existing && sums /run/existing >/run/existing.sums
	umount /run/existing
	udevadm trigger --settle "$dev"
	ln -sfn "$dev" /root/link-to-it
	run zumastor define volume existing /dev/disk/by-uuid/cccccccc-1111-2222-3333-dddddddddddd "$store" --initialize
	grep -q '^Origin=/dev/loop\|^Origin=/dev/disk/by-id' /etc/zumastor/volumes/existing.conf || fail "the origin's name follows from its contents"
	refused 'belongs to volume existing' zumastor define volume again /root/link-to-it "$store" --initialize
	run mount UUID=cccccccc-1111-2222-3333-dddddddddddd /run/existing
	is "$(dm_name "$(findmnt -no SOURCE /run/existing)")" zumastor-existing "what is mounted by UUID"
	is "$(sums /run/existing)" "$(cat /run/existing.sums)" "the data that was there before"
	zumastor snapshot existing >/dev/null || fail snapshot
	echo more >/run/existing/more && sums /run/existing >/run/existing.sums
	ls /run/zumastor/snapshot/existing/*/etc >/dev/null || fail "the snapshot lacks a folder"
	ls /run/zumastor/snapshot/existing/*/more 2>/dev/null && fail "the snapshot has a later file"
	is "$(findmnt -no OPTIONS -S /dev/mapper/zumastor-existing@0 -t xfs | tr , '\n' | grep -cxE 'ro|nouuid|norecovery')" 3 "options of xfs"
	umount /run/existing
	run zumastor forget existing
	run mount UUID=cccccccc-1111-2222-3333-dddddddddddd /run/existing
	is "$(findmnt -no SOURCE /run/existing)" "$dev" "what is mounted by UUID after forget"
	is "$(sums /run/existing)" "$(cat /run/existing.sums)" "the plain device's data"
	umount /run/existing
	rm /root/link-to-it
	unloop "$dev" "$store"
}

[ $# -gt 0 ] || set -- storm kinds contents no_name existing
for part; do
	begun=$SECONDS
	$part
	echo "$part: $((SECONDS - begun)) s"
done
echo "devices: PASS"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What `zumastor define` and others refuse, each with one line, and that nothing has changed then.
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "$0")/lib.sh"

origin=$(loop 6M) store=$(loop 6M) tiny=$(loop 64K) disk=$(loop 8M)
mkfs.ext4 -q "$origin"
# A read-only mount: what is mounted otherwise changes by itself.
mount() { command mount -o ro "$@"; }

watched=("$origin" "$store" "$tiny" "$disk")
define() { refused "$1" zumastor define volume "${@:2}" --initialize; }

before=$(state)
for name in '' 'a b' ../x /etc .x 'é' $'a\nb' 'a@1' '%i' '$(id)' by-uuid 'a;b' 'a/b' "$(printf 'x%.0s' {1..65})"; do
	define "volume's name" "$name" "$origin" "$store"
done
define 'No such file' v "$origin" /dev/nothing
define 'Block device required' v "$origin" /dev/null
define 'Block device required' v /etc/passwd "$store"
define 'same device' v "$origin" "$origin"
ln -sfn "$origin" /root/other-name
define 'same device' v "$origin" /root/other-name
define 'same device' v "$origin" "$store" --meta "$store"
define 'too small' v "$origin" "$tiny"
define 'chunk' v "$origin" "$store" --chunk-size 3000
define 'chunk' v "$origin" "$store" --chunk-size 8M
define 'MountPoint' v "$origin" "$store" --mountpoint somewhere
define 'something is mounted there' v "$origin" "$store" --mountpoint /
define 'cannot be written' v "$origin" "$store" --mountpoint /srv/x --mount-options $'ro\n[Schedule]\nHourly=5'
refused '--initialize' zumastor define volume v "$origin" "$store"
refused 'goes with --initialize' zumastor define volume v "$origin" "$store" --chunk-size 16K

as_before

# A device that holds something is kept, unless somebody says otherwise on a terminal.
define 'holds ext4' v "$store" "$origin"
as_before

# In use, in every way there is.
mkdir -p /run/refusals
mount "$origin" /run/refusals && before=$(state)
define 'mounted at /run/refusals' v "$origin" "$store"
define 'mounted at /run/refusals' v "$store" "$origin"
as_before
umount /run/refusals
mkswap "$store" >/dev/null && swapon "$store" && before=$(state)
define 'used as swap' v "$origin" "$store"
as_before
swapoff "$store" && wipefs -qa "$store"
# LVM's own event would activate the volume again, seconds after it was taken down.
pvcreate -qq "$store" && vgcreate -qq --setautoactivation n -s 1M refusals "$store" &&
	lvcreate -qq -y -an -Wn -Zn -l 1 -n held refusals && lvchange -qq -ay refusals/held
before=$(state)
define 'part of' v "$origin" "$store"
define 'part of' v "$store" "$origin"
as_before
lvchange -qq -an refusals/held && before=$(state)
define 'holds LVM2_member' v "$origin" "$store"
as_before
vgremove -qq -y refusals && pvremove -qq "$store"

# A partition and its disk are the same bytes.
python3 -c 'import struct, sys
with open(sys.argv[1], "r+b") as disk:
    sectors = disk.seek(0, 2) // 512
    disk.seek(446)
    disk.write(struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), 2048, sectors - 2048))
    disk.seek(510)
    disk.write(bytes([0x55, 0xAA]))' "$disk" && blockdev --rereadpt "$disk" && udevadm settle
before=$(state)
define 'shares its space' v "$disk" "${disk}p1"
define 'shares its space' v "${disk}p1" "$disk"
as_before
mkfs.ext4 -q "${disk}p1" && mount "${disk}p1" /run/refusals && before=$(state)
define 'is mounted at' v "$disk" "$store"
as_before
umount /run/refusals

# Another volume's, whether that is up or down.
run zumastor define volume refusals "${disk}p1" "$store" --initialize -y
before=$(state)
define 'belongs to volume refusals' v "$origin" "$store"
define 'belongs to volume refusals' v "${disk}p1" "$origin"
define 'is itself' v /dev/zumastor/refusals "$origin"
define 'shares its space' v "$disk" "$origin"
refused 'defined already' zumastor define volume refusals "$origin" "$tiny" --initialize
refused 'not a calendar' zumastor define schedule refusals --custom 'every full moon,3'
refused 'Custom' zumastor define schedule refusals --custom 'daily'
refused 'not a time' zumastor define schedule refusals --hourly 2 --randomized-delay soon
refused 'no rotation weekly' zumastor snapshot refusals --rotation weekly
refused 'does not exist' zumastor delete refusals 77
refused 'does not exist' zumastor status refusals 77
as_before
run zumastor stop refusals
before=$(state)
define 'belongs to volume refusals' v "$origin" "$store"
define 'shares its space' v "$disk" "$origin"
refused 'is not up' zumastor snapshot refusals
refused 'is not up' zumastor delete refusals 0
as_before
run zumastor forget refusals
before=$(state)
for verb in start stop forget snapshot status list 'delete 1' 'define schedule'; do
	# shellcheck disable=SC2086 # a verb may be two words
	refused 'no such volume' zumastor ${verb% 1} nobody ${verb#"${verb% 1}"}
done
refused "volume's name" zumastor snapshot ../../nobody
[ ! -e /run/nobody.volume ] || fail "a lock of no volume"
as_before
rm /root/other-name
unloop "$origin" "$store" "$tiny" "$disk"
echo "refusals: PASS"

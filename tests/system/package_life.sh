#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The life of the packages on a root file system: installed, upgraded, removed, installed again, purged; what is
# left behind and what of others was touched.  Run by tests/suites/65-packaging.sh inside a chroot that has kernel
# headers; /packages has the packages, /packages/older an older version of them.
set -u -o pipefail
export DEBIAN_FRONTEND=noninteractive

fail() { echo "FAILED: $*"; exit 1; }
quiet() { "$@" >/tmp/out 2>&1 || { tail -n 40 /tmp/out; fail "$* (status $?)"; }; }
is() { [ "$1" = "$2" ] || fail "$3: '$1', not '$2'"; }
module() { find /lib/modules -name 'dm-ddsnap.ko*' | wc -l; }

# Everything on the file system with kind, mode, owner, target, size and time of the last change, but for what
# dpkg, apt, dkms and the linker keep about any package, and indexes of modules.
files() {
	find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /packages \
		-o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log -o -path /var/lib/dkms/mok.\* \
		-o -path /etc/ld.so.cache -o -path '/lib/modules/*/modules.*' -o -path '/usr/lib/modules/*/modules.*' \
		-o -path /var/lib/systemd/deb-systemd-helper-enabled -o -path /var/lib/systemd/deb-systemd-helper-masked \
		-o -path '/boot/initrd.img-*' \) -prune -o \
		\( -type f -printf '%y %m %U:%G %p %s %T@\n' \) -o \( ! -path / -printf '%y %m %U:%G %p %l\n' \) | sort -k4
}
changed() { diff <(echo "$1") <(files) | grep '^[<>]' | sort -k5; }

# What an administrator has made, of ours and beside it.
administer() {
	printf '[Volume]\nOrigin=/dev/null\nStore=/dev/null\n' >/etc/zumastor/volumes/mine.conf
	mkdir -p /etc/zumastor/hooks.d/pre-snapshot
	echo '#!/bin/sh' >/etc/zumastor/hooks.d/pre-snapshot/mine
	mkdir -p /var/lib/zumastor/volumes
	echo '{}' >/var/lib/zumastor/volumes/mine.json
	quiet systemctl enable zumastor@mine.service
	mkdir -p /var/lib/systemd/timers && : >/var/lib/systemd/timers/stamp-zumastor-snapshot@mine.timer
}
ours() { sha256sum /etc/zumastor/volumes/mine.conf /etc/zumastor/hooks.d/pre-snapshot/mine /var/lib/zumastor/volumes/mine.json; }

# Others' files with names close to ours.
mkdir -p /etc/systemd/system/zumastor-agent.service.d /usr/src/zumastor-of-others
printf '[Service]\nNice=0\n' >/etc/systemd/system/zumastor-agent.service.d/others.conf
mkdir -p /var/lib/systemd/timers
: >/usr/src/zumastor-of-others/file
: >/var/lib/systemd/timers/stamp-others.timer

clean=$(files)
quiet apt-get -y --no-install-recommends install /packages/older/*.deb
is "$(module)" 1 "modules of 0.9"
is "$(dkms status zumastor | grep -c '^zumastor/0\.9')" 1 "dkms's entries"
[ -e /etc/systemd/system/sockets.target.wants/zumastor-agent.socket ] || fail "the agent's socket is not enabled"
administer
mine=$(ours)

quiet apt-get -y --no-install-recommends install /packages/*.deb
is "$(ours)" "$mine" "configuration and state after the upgrade"
is "$(dkms status zumastor | grep -vc '^zumastor/0\.9')" 1 "dkms's entries after the upgrade"
is "$(dkms status zumastor | grep -c '^zumastor/0\.9')" 0 "dkms's entries of 0.9 after the upgrade"
[ ! -e /usr/src/zumastor-0.9 ] && [ ! -e /var/lib/dkms/zumastor/0.9 ] || fail "0.9 is still there"
is "$(module)" 1 "modules after the upgrade"
echo "upgraded: configuration and state are as they were, nothing of 0.9 is left"

# Everything that is not the administrator's belongs to a package, or was made by dkms or systemctl.
while read -r _ _ _ _ path _; do
	case $path in
	/lib/modules/*/updates* | /usr/lib/modules/*/updates* | /var/lib/dkms/* | /etc/zumastor/* | /var/lib/zumastor/* | \
		/etc/systemd/system/*.wants | /etc/systemd/system/*.wants/zumastor* | /var/lib/systemd/timers/stamp-zumastor-*) continue ;;
	esac
	dpkg -S "$path" >/dev/null 2>&1 || dpkg -S "${path#/usr}" >/dev/null 2>&1 || fail "$path belongs to no package"
done < <(changed "$clean" | grep '^>')
changed "$clean" | grep '^<' && fail "files of others were changed"
quiet dpkg --verify zumastor zumastor-dkms
echo "installed: all files belong to the packages"

quiet apt-get -y remove zumastor zumastor-dkms
is "$(ours)" "$mine" "configuration and state after the removal"
is "$(module)" 0 "modules after the removal"
left=$(changed "$clean" | grep -vE ' (/etc/zumastor|/etc/kernel/(header_)?postinst.d/50-zumastor-dkms|/var/lib/zumastor|/etc/systemd/system/[a-z.-]+\.wants|/var/lib/systemd/timers/stamp-zumastor-)')
is "$left" "" "files that the removal leaves besides configuration and state"
echo "removed: configuration and state are left, and nothing else"

quiet apt-get -y --no-install-recommends install /packages/*.deb
is "$(ours)" "$mine" "configuration and state after installing again"
is "$(module)" 1 "modules after installing again"
[ -L /etc/systemd/system/local-fs.target.wants/zumastor@mine.service ] || fail "the volume is not enabled any more"
: >/var/lib/systemd/timers/stamp-zumastor-snapshot@mine.timer

# A mark that a store has failed is knowledge that nothing else has.
mkdir -p /var/lib/zumastor/abandoned && : >/var/lib/zumastor/abandoned/6ca4e05b-6a06-4b0f-8a86-6ac1a2a6f5a0
quiet apt-get -y purge zumastor zumastor-dkms
is "$(changed "$clean" | cut -d' ' -f5 | paste -sd' ')" \
	"/var/lib/zumastor /var/lib/zumastor/abandoned /var/lib/zumastor/abandoned/6ca4e05b-6a06-4b0f-8a86-6ac1a2a6f5a0" \
	"what a purge leaves while a store is marked as failed"
quiet apt-get -y --no-install-recommends install /packages/*.deb
rm /var/lib/zumastor/abandoned/*
quiet apt-get -y purge zumastor zumastor-dkms
is "$(changed "$clean")" "" "what a purge leaves"
is "$(find /var/lib/systemd/deb-systemd-helper-* -name '*zumastor*')" "" "what a purge leaves of systemd's notes"
is "$(dpkg -l 'zumastor*' 2>/dev/null | grep -c '^[a-z][a-z] ')" 0 "packages that are known after a purge"
echo "purged: the file system is as it was"
echo "life: PASS"

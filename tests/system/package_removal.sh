#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The package is removed while the volume `vol` is up, and installed again.  Run by tests/suites/65-packaging.sh.
set -u -o pipefail
export DEBIAN_FRONTEND=noninteractive
fail() { echo "FAILED: $*"; journalctl -b --no-pager -n 30; exit 1; }
run() { echo "\$ $*"; "$@" || fail "$* (status $?)"; }
origin=/dev/disk/by-id/virtio-origin

systemctl start zumastor@vol.service || fail "the volume does not start"
run mkfs.ext4 -q -F /dev/zumastor/vol
mkdir -p /srv/vol
run mount /dev/zumastor/vol /srv/vol
cp -a /etc/. /srv/vol/
# Mounted: refused, and everything goes on.
apt-get -y remove zumastor >/tmp/out 2>&1 && fail "zumastor was removed below a mounted volume"
grep -q 'volume vol cannot be stopped' /tmp/out || fail "no reason: $(tail -n 5 /tmp/out)"
run zumastor status vol
echo on >/srv/vol/after && sync
run apt-get -y --no-install-recommends install zumastor
sums=$(cd /srv/vol && find . -type f -print0 | sort -z | xargs -0 sha256sum)
run umount /srv/vol
run apt-get -y remove zumastor
[ -e /etc/zumastor/volumes/vol.conf ] || fail "the configuration is gone"
[ "$(dmsetup ls --target ddsnap)" = "No devices found" ] || fail "a device is left: $(dmsetup ls)"
pgrep -ax 'ddsnap-(agent|server)' && fail "a daemon is left"
[ -z "$(find /run/zumastor -type s 2>/dev/null)" ] || fail "a socket is left: $(find /run/zumastor)"
# The data was never anywhere but on the administrator's devices.
run mount -o ro "$origin" /srv/vol
[ "$(cd /srv/vol && find . -type f -print0 | sort -z | xargs -0 sha256sum)" = "$sums" ] || fail "the origin has changed"
run umount /srv/vol
run apt-get -y --no-install-recommends install /opt/zumastor-tests/new/zumastor_*.deb
run systemctl start zumastor@vol.service
run mount /dev/zumastor/vol /srv/vol
[ "$(cd /srv/vol && find . -type f -print0 | sort -z | xargs -0 sha256sum)" = "$sums" ] || fail "the volume has changed"
run umount /srv/vol
run zumastor forget vol
run apt-get -y purge zumastor
[ ! -e /etc/zumastor ] && [ ! -e /var/lib/zumastor ] || fail "the purge leaves configuration"
echo "removal: PASS"

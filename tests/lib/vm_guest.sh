#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prepares a root file system (the argument) to be a test machine: a command
# channel, a console, no needless waiting.  See tests/lib/vm.sh for the host's side.
set -eu
root=$1

echo zumastor-test >"$root/etc/hostname"
echo '127.0.0.1 localhost zumastor-test' >"$root/etc/hosts"
echo 'LABEL=root / ext4 defaults,noatime 0 1' >"$root/etc/fstab"
chroot "$root" passwd -d root >/dev/null
echo 'MODULES=list' >"$root/etc/initramfs-tools/conf.d/modules"
printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
echo 'COMPRESS=gzip' >"$root/etc/initramfs-tools/conf.d/compress"
chroot "$root" update-initramfs -u -k all

# The command channel: a connection sends a script that ends with a line
# VM-END; the script runs as root, and what it prints comes back, followed by
# a line VM-EXIT with its status.
cat >"$root/usr/local/sbin/vm-exec" <<'END'
#!/bin/bash
script=''
while IFS= read -r line; do
	[ "$line" = VM-END ] && break
	script+=$line$'\n'
done
f=$(mktemp /run/vm-exec.XXXXXX)
printf '%s' "$script" >"$f"
cd /root
HOME=/root bash "$f" </dev/null 2>&1
printf '\nVM-EXIT %d\n' $?
rm -f "$f"
END
chmod 755 "$root/usr/local/sbin/vm-exec"
cat >"$root/etc/systemd/system/vm-exec.socket" <<'END'
[Socket]
ListenStream=2222
Accept=yes
MaxConnections=64
[Install]
WantedBy=sockets.target
END
cat >"$root/etc/systemd/system/vm-exec@.service" <<'END'
[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart=-/usr/local/sbin/vm-exec
StandardInput=socket
StandardOutput=socket
StandardError=journal
LimitCORE=infinity
END
# The network of QEMU's user mode: fixed addresses, so nothing to wait for.
cat >"$root/usr/local/sbin/vm-net" <<'END'
#!/bin/sh
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
END
chmod 755 "$root/usr/local/sbin/vm-net"
cat >"$root/etc/systemd/system/vm-net.service" <<'END'
[Unit]
DefaultDependencies=no
After=systemd-udev-settle.service
Wants=systemd-udev-settle.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/vm-net
[Install]
WantedBy=sysinit.target
END
# For tests that boot often: an init without systemd (VM_INIT=quick).
cat >"$root/usr/local/sbin/vm-init" <<'END'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -o remount,rw /
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /run || mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock /dev/shm
/lib/systemd/systemd-udevd --daemon
udevadm trigger --type=subsystems --action=add
udevadm trigger --type=devices --action=add
udevadm settle
vm-net
# A half-closed connection is the normal case: the script was sent, its output comes.
while :; do socat -t 86400 TCP-LISTEN:2222,fork,reuseaddr EXEC:/usr/local/sbin/vm-exec; sleep 1; done
END
chmod 755 "$root/usr/local/sbin/vm-init"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nForwardToConsole=no\nStorage=persistent\n' \
	>"$root/etc/systemd/journald.conf.d/test.conf"
chroot "$root" systemctl enable vm-exec.socket vm-net.service
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer \
	e2scrub_all.timer fstrim.timer dpkg-db-backup.timer e2scrub_reap.service \
	lvm2-monitor.service getty-static.service getty@tty1.service \
	blk-availability.service dev-hugepages.mount dev-mqueue.mount \
	sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
	modprobe@configfs.service modprobe@efi_pstore.service modprobe@fuse.service \
	systemd-binfmt.service systemd-timesyncd.service systemd-pstore.service \
	ssh.service ssh.socket

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Init of a user-mode Linux of uml_run: the host's file system read-only as the
# root, fresh /tmp, /run and /dev, then $UML_SCRIPT, its status on the console.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DM_DISABLE_UDEV=1 HOME=/tmp LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /mnt
mkdir /mnt/host
mount -t hostfs -o ro,/ none /mnt/host
seen() { case $1 in /tmp/* | /run/*) echo "/mnt/host$1" ;; *) echo "$1" ;; esac; }
UML_SCRIPT=$(seen "$UML_SCRIPT")
ZUMASTOR_TOP=$(seen "$UML_TOP")
export ZUMASTOR_TOP
for d in /run /tmp /etc/zumastor /var/lib/zumastor; do
	[ ! -d $d ] || mount -t tmpfs -o mode=1777 tmpfs $d
done
mkdir -p /dev/mapper /dev/shm /run/lock
ip link set lo up 2>/dev/null
echo 8 >/proc/sys/kernel/printk
echo 120 >/proc/sys/kernel/hung_task_timeout_secs
cd /tmp || exit 1
bash "$UML_SCRIPT" </dev/null
echo "UML-EXIT: $?"
echo o >/proc/sysrq-trigger
sleep 5
poweroff -f

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The benchmark machine's first process: sets up, runs the rows, switches off.
# The kernel command line chooses: bench.rows=A,B (default: all),
# bench.chunks=4,64, bench.reps=N, bench.ms=MS.  Results go, a line each, to the virtio port.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/mapper /dev/shm /run
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm

for m in virtio_pci virtio_console configfs dm-mod dm-snapshot dm-thin-pool crc32c-intel crc32c_generic; do
	modprobe "$m" 2>/dev/null
done
modprobe null_blk nr_devices=0
mount -t configfs config /sys/kernel/config
dmsetup mknodes
port=$(cd /dev && ls vport* 2>/dev/null | head -n 1)
exec 3>"/dev/${port:-console}"

. /lib.sh
. /disks.sh
. /rows.sh
. /tools.sh
. /transfer.sh
export DM_DISABLE_UDEV=1 TMPDIR=/tmp ZUMASTOR_LIBEXECDIR=/bin
modprobe dm-ddsnap 2>/dev/null && have_ddsnap=1
[ -x /bin/ddsnap ] || have_ddsnap=
export have_ddsnap
run_rows
note end
sync
# The virtio port has drained when the host closed the connection: reboot.
echo b >/proc/sysrq-trigger
sleep 60

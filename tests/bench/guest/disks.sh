# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The disks that are measured: null_blk devices that keep what is written in
# the guest's memory.  An emulated disk would spend most of each request in the
# emulator and hide what the software adds; these cost the same for every side
# and next to nothing.  They are made new for each row, so no row inherits the
# pages, or the fragmentation, of the one before.
#
#   D[1..3]  origins          D[4] D[5]  stores of ddsnap
#   D[6]     thin metadata    D[7]       thin data
#   D[8..15] exception stores of dm-snapshot
config=/sys/kernel/config/nullb
declare -a D=()

# One disk: NUMBER MIB
disk_up() {
	local at=$config/disk$1
	mkdir "$at" || return 1
	echo "$2" >"$at/size"
	echo 1 >"$at/memory_backed"
	echo 4096 >"$at/blocksize"
	echo "$(param irqmode 0)" >"$at/irqmode"
	echo "$(param latency_ns 0)" >"$at/completion_nsec"
	echo 2 >"$at/submit_queues"
	echo 1 >"$at/power" || return 1
	if [ -b "/dev/disk$1" ]; then D[$1]=/dev/disk$1; else D[$1]=/dev/nullb$(cat "$at/index"); fi
	[ -b "${D[$1]}" ]
}

disks_up() {  # MIB of disk 1, 2, ...
	local number=0 mib
	for mib in "$@"; do
		number=$((number + 1))
		disk_up $number "$mib" || { die "disk $number of $mib MiB"; return 1; }
	done
}

disks_down() {
	local at
	for at in "$config"/disk*; do
		[ -d "$at" ] && { echo 0 >"$at/power"; rmdir "$at"; }
	done
	D=()
}

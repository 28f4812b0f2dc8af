# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # lib.sh sets what is not set here
# The rows that measure programs: changelists and deltas.

# timed ROW CHUNK SIDE REP COMMAND...: emits how long the command took.
timed() {
	local row=$1 chunk=$2 side=$3 rep=$4 from to
	shift 4
	from=$EPOCHREALTIME
	profiled "$row" "$side" "$rep" "$@" >/tmp/timed.out 2>/tmp/timed.err ||
		{ die "$row $side: $(tail -n 1 /tmp/timed.err)"; return 1; }
	to=$EPOCHREALTIME
	emit "time|$row|$chunk|$side|$rep|$((${to/./} - ${from/./}))"
}

# 2 million chunks of 64 KiB, one in a hundred written after a snapshot.  The
# disks are that large and sparse.  The thin volume's mappings, all of them
# present as in a volume that is in use, come from thin_restore; then the
# kernel takes the snapshot and makes the changes.
changelist_chunks=2097152
changelist_sparse=(131072 1 1 8192 1 256 196608)

spray() {  # DEVICE: writes 1 % of the chunks
	fio --name=spray --thread --filename="$1" --rw=randwrite --bs=4k --blockalign=64k --direct=1 --ioengine=io_uring \
		--iodepth=16 --number_ios=$((changelist_chunks / 100)) --randrepeat=1 --randseed=7 --minimal >/dev/null
}

thin_with_changes() {
	local n=$((changelist_chunks * 128)) table
	table="0 $((196608 * 2048)) thin-pool ${D[6]} ${D[7]} 128 0 1 skip_block_zeroing"
	cat >/tmp/thin.xml <<-END
		<superblock uuid="" time="0" transaction="0" flags="0" version="2" data_block_size="128" nr_data_blocks="$((196608 * 16))">
		<device dev_id="0" mapped_blocks="$changelist_chunks" transaction="0" creation_time="0" snap_time="0">
		<range_mapping origin_begin="0" data_begin="0" length="$changelist_chunks" time="0"/>
		</device>
		</superblock>
	END
	thin_restore -i /tmp/thin.xml -o "${D[6]}" >/dev/null || { die "thin_restore"; return 1; }
	dmsetup create pool --table "$table" || { die "thin pool"; return 1; }
	dmsetup create thin --table "0 $n thin /dev/mapper/pool 0"
	bench-thin-snap thin pool 0 1
	spray /dev/mapper/thin
	dmsetup remove --retry thin
	dmsetup remove --retry pool
}

row_changelist() {
	local rep chunk=64
	disks_up "${changelist_sparse[@]}" || return 1
	thin_with_changes || return 1
	if [ -n "$have_ddsnap" ]; then
		ddsnap_up dds "${D[1]}" "${D[4]}" $chunk 1 || return 1
		spray /dev/mapper/dds
		ddsnap create /run/dds 2
	fi
	for ((rep = 0; rep <= reps; rep++)); do
		[ -n "$have_ddsnap" ] && timed changelist $chunk ddsnap $rep ddsnap delta changelist /run/dds /tmp/cl 1 2
		timed changelist $chunk thin_delta $rep thin_delta --snap1 1 --snap2 0 "${D[6]}"
	done
	note "changelist thin_delta printed $(grep -c '<different' /tmp/timed.out) ranges"
	[ -n "$have_ddsnap" ] && ddsnap delta show /tmp/cl | head -n 12 | while read -r rep; do note "changelist $rep"; done
	[ -n "$have_ddsnap" ] && ddsnap_down dds
	disks_down
}

# A delta of 128 MiB in one piece, against dd of the same.  One dd is the
# strictest rival: with many extents it would start many times.
row_delta() {
	local chunk=$1 mib=128 rep
	[ -n "$have_ddsnap" ] || return 0
	disks_up 256 256 1 512 || return 1
	ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" 1 || return 1
	fio --name=fill --thread --filename=/dev/mapper/dds --rw=write --bs=256k --size=${mib}m --direct=1 --ioengine=io_uring \
		--iodepth=4 --minimal >/dev/null
	ddsnap_snaps dds 2 2
	ddsnap_device dds 1 && ddsnap_device dds 2
	ddsnap delta changelist /run/dds /tmp/cl 1 2 || { die "changelist"; return 1; }
	for ((rep = 0; rep <= reps; rep++)); do
		rm -f /tmp/delta /tmp/copy
		timed delta-create "$chunk" ddsnap $rep ddsnap delta create -r /tmp/cl /tmp/delta /dev/mapper/dds.1 /dev/mapper/dds.2
		timed delta-create "$chunk" dd $rep dd if=/dev/mapper/dds.2 of=/tmp/copy bs=1M count=$mib iflag=direct
		# The base again: it was all zeroes.
		dd if=/dev/zero of="${D[2]}" bs=1M count=$mib oflag=direct conv=notrunc status=none
		timed delta-apply "$chunk" ddsnap $rep ddsnap delta apply /tmp/delta "${D[2]}"
		cmp -n $((mib << 20)) /tmp/copy "${D[2]}" || die "the applied delta differs from its source"
		timed delta-apply "$chunk" dd $rep dd if=/tmp/copy of="${D[2]}" bs=1M oflag=direct conv=notrunc,fsync
	done
	rm -f /tmp/delta /tmp/copy
	ddsnap_down dds
	disks_down
}

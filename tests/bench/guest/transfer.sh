# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # lib.sh sets what is not set here
# The rows transfer1, transfer10 and transfer100: from one disk to another goes
# what was written to that many per cent of a volume since its last snapshot.
#
#   D[1]  origin of ddsnap     D[4]  its store
#   D[2]  where it goes        D[5]  what is there before, for every run
#   D[6] D[7]  dm-thin
transfer_mib=64

# Half of it compresses away: each 4 KiB is half random, half zero.
transfer_fio() {  # DEVICE SEED OPTIONS...
	local device=$1 seed=$2
	shift 2
	fio --name=fill --thread --filename="$device" --size=${transfer_mib}m --direct=1 --ioengine=io_uring --iodepth=4 \
		--refill_buffers --buffer_compress_percentage=50 --buffer_compress_chunk=4k --randrepeat=1 --randseed="$seed" \
		--minimal "$@" >/dev/null || die "fio $device"
}

transfer_changes() {  # DEVICE CHUNK PERCENT: so many chunks, each once, the same ones on every device
	local count=$((transfer_mib * 1024 / $2 * $3 / 100))
	transfer_fio "$1" 2 --rw=randwrite --bs="${2}k" --io_size=$((count * $2))k
}

transfer_thin_up() {  # CHUNK PERCENT: thin.1 and thin.2 as dds.1 and dds.2
	local i
	thin_up "$1" 0
	dd if="${D[5]}" of=/dev/mapper/thin bs=1M oflag=direct status=none
	thin_snap 1
	transfer_changes /dev/mapper/thin "$1" "$2"
	thin_snap 2
	for i in 1 2; do
		dmsetup create thin.$i --table "0 $(sectors /dev/mapper/thin) thin /dev/mapper/pool $i" || return 1
	done
}

# The ways to go.
transfer_ddsnap() {  # CHUNK OPTION
	ddsnap delta send "$2" --from 1 /run/dds 2 |
		ddsnap delta receive --state /tmp/receive --no-snapshot "${D[2]}"
}
transfer_dd() {  # CHUNK: it is told for nothing what has changed
	bench-copy-ranges /dev/mapper/dds.2 "${D[2]}" $(($1 * 1024)) </tmp/ranges
}
transfer_thin() {  # CHUNK
	dmsetup message pool 0 reserve_metadata_snap &&
		thin_delta -m --snap1 1 --snap2 2 "${D[6]}" >/tmp/thin.xml &&
		dmsetup message pool 0 release_metadata_snap &&
		sed -n 's/.*<\(different\|right_only\) begin="\([0-9]*\)" length="\([0-9]*\)".*/\2 \3/p' /tmp/thin.xml |
		bench-copy-ranges /dev/mapper/thin.2 "${D[2]}" $((($1 < 64 ? 64 : $1) * 1024))
}
transfer_rsync() {
	rsync --inplace --no-whole-file --ignore-times --copy-links --copy-devices --write-devices \
		/dev/mapper/dds.2 "${D[2]}"
}

transfer_run() {  # ROW CHUNK SIDE REP COMMAND...
	local row=$1 chunk=$2 side=$3 rep=$4 source=/dev/mapper/dds.2
	shift 4
	[ "$side" = thin_dd ] && source=/dev/mapper/thin.2
	rm -f /tmp/receive*
	dd if="${D[5]}" of="${D[2]}" bs=1M oflag=direct status=none
	timed "$row" "$chunk" "$side" "$rep" "$@" || return 1
	[ "$rep" != 0 ] || cmp "$source" "${D[2]}" || die "$row $side: the copy differs from its source"
}

row_transfer() {  # CHUNK PERCENT
	local chunk=$1 row=transfer$2 rep
	[ -n "$have_ddsnap" ] || return 0
	disks_up $transfer_mib $transfer_mib 1 $((3 * transfer_mib + 64)) $transfer_mib 32 $((4 * transfer_mib)) || return 1
	transfer_fio "${D[5]}" 1 --rw=write --bs=256k || return 1
	dd if="${D[5]}" of="${D[1]}" bs=1M oflag=direct status=none
	ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" 1 || return 1
	transfer_changes /dev/mapper/dds "$chunk" "$2"
	ddsnap_snaps dds 2 2
	ddsnap_device dds 1 && ddsnap_device dds 2 || return 1
	transfer_thin_up "$chunk" "$2" || return 1
	ddsnap delta changelist /run/dds /tmp/cl 1 2 || { die "changelist"; return 1; }
	ddsnap delta show -v /tmp/cl | sed -n 's/^range *chunk \([0-9]*\), \([0-9]*\)$/\1 \2/p' >/tmp/ranges
	note "$row $chunk: $(ddsnap delta show /tmp/cl | tail -n 1)"
	for ((rep = 0; rep <= reps; rep++)); do
		transfer_run "$row" "$chunk" ddsnap $rep transfer_ddsnap "$chunk" -r
		transfer_run "$row" "$chunk" dd $rep transfer_dd "$chunk"
		transfer_run "$row" "$chunk" thin_dd $rep transfer_thin "$chunk"
		transfer_run "$row" "$chunk" ddsnap_b $rep transfer_ddsnap "$chunk" -b
		transfer_run "$row" "$chunk" rsync $rep transfer_rsync
	done
	rm -f /tmp/receive* /tmp/cl /tmp/ranges /tmp/thin.xml
	ddsnap_down dds
	thin_down
	disks_down
}

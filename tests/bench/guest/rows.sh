# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # lib.sh sets what is not set here
# The rows of the table.  In each, the sides that are compared are alive at the
# same time on equal disks and take turns: A B C, C B A, A B C, ...
# Repetition 0 is a warm-up that the report leaves out.  The origin is cut in
# regions; every repetition of first writes has one of its own.
region=48
origin=$(((reps + 1) * region))
# Sizes of D[1..15], as in disks.sh.
usual_disks=("$origin" "$origin" "$origin" $((5 * origin + 256)) $((5 * origin + 256)) 64 $((5 * origin + 256)))
for _ in 1 2 3 4 5 6 7 8; do usual_disks+=($((2 * origin))); done

# take_turns ROW CHUNK RW "SIDE=DEVICE..." OFFSETS [fio options]
# OFFSETS: "fresh" (a region for each repetition) or an offset in MiB.
take_turns() {
	local row=$1 chunk=$2 rw=$3 sides=$4 where=$5 rep side offset turn
	shift 5
	for ((rep = 0; rep <= reps; rep++)); do
		offset=$where
		[ "$where" = fresh ] && offset=$((rep * region))
		turn=$sides
		[ $((rep % 2)) = 1 ] && turn=$(reversed "$sides")
		for side in $turn; do
			measure "$row" "$chunk" "${side%%=*}" "$rep" "${side#*=}" "$rw" "$offset" $region "$@"
		done
	done
}

reversed() {
	local word out=
	for word in $1; do out="$word $out"; done
	echo "$out"
}

# Origins hold data before any side's snapshots are made, as they do in use.
prepare_disks() {
	local disk
	disks_up "${usual_disks[@]}" || return 1
	for disk in 1 2 3; do
		dd if=/dev/zero of="${D[$disk]}" bs=1M count=$origin oflag=direct status=none || return 1
	done
}

# Makes every chunk of a region a copied one.
fill() {  # DEVICE OFFSET_MIB
	dd if=/dev/zero of="$1" bs=64k count=$((region * 16)) seek=$(($2 * 16)) oflag=direct conv=notrunc status=none
}

counters() {  # ROW: what the targets and the servers say of themselves
	local line name stat
	for name in "${!server_pid[@]}"; do
		[ -e "/proc/${server_pid[$name]}/io" ] || continue
		read -ra stat <"/proc/${server_pid[$name]}/stat"
		note "server $1 $name user ${stat[13]}0 ms system ${stat[14]}0 ms" \
			"$(grep -h -E '^(syscr|syscw|voluntary_ctxt|nonvol)' "/proc/${server_pid[$name]}/"{io,status} | tr '\n\t' '  ')"
	done
	dmsetup status | while read -r line; do note "status $1 $line"; done
}

# Without a snapshot: reads and writes against dm-linear.
row_plain() {
	local chunk=$1 sides="linear=/dev/mapper/linear"
	prepare_disks || return 1
	linear_up linear "${D[2]}"
	[ -n "$have_ddsnap" ] && ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" 0 && sides="ddsnap=/dev/mapper/dds $sides"
	take_turns read "$chunk" randread "$sides" 0 --time_based
	take_turns write "$chunk" randwrite "$sides" $region --time_based
	dmsetup remove --retry linear
	[ -n "$have_ddsnap" ] && ddsnap_down dds
	disks_down
}

# Chunks already copied under one snapshot.
row_copied() {
	local chunk=$1 sides="linear=/dev/mapper/linear snapshot=/dev/mapper/old thin=/dev/mapper/thin" s
	prepare_disks || return 1
	thin_up "$chunk" 1
	snapshot_up old "${D[2]}" "$chunk" 1
	linear_up linear "${D[3]}"
	[ -n "$have_ddsnap" ] && ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" 1 && sides="ddsnap=/dev/mapper/dds $sides"
	for s in $sides; do fill "${s#*=}" 0; done
	take_turns copied "$chunk" randwrite "$sides" 0 --time_based
	counters "copied $chunk"
	[ -n "$have_ddsnap" ] && ddsnap_down dds
	dmsetup remove --retry linear
	snapshot_down old
	thin_down
	disks_down
}

# First writes after COUNT snapshots; ddsnap also against itself with one.
row_first() {
	local chunk=$1 count=$2 sides=
	prepare_disks || return 1
	if [ "$count" -le 64 ]; then
		thin_up "$chunk" "$count"
		sides="thin=/dev/mapper/thin"
	fi
	if [ "$count" -le 8 ]; then
		snapshot_up old "${D[2]}" "$chunk" "$count"
		sides="snapshot=/dev/mapper/old $sides"
	fi
	if [ -n "$have_ddsnap" ]; then
		[ "$count" -ge 64 ] && ddsnap_up own "${D[3]}" "${D[5]}" "$chunk" 1 &&
			sides="ddsnap1=/dev/mapper/own $sides"
		ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" "$count" && sides="ddsnap=/dev/mapper/dds $sides"
	fi
	take_turns "first$count" "$chunk" randwrite "$sides" fresh --blockalign="${chunk}k"
	counters "first$count $chunk"
	if [ -n "$have_ddsnap" ]; then
		ddsnap_down dds
		[ "$count" -ge 64 ] && ddsnap_down own
	fi
	[ "$count" -le 8 ] && snapshot_down old
	[ "$count" -le 64 ] && thin_down
	disks_down
}

# Sequential reads of a snapshot: of what is still the origin's (the upper
# region) and of what was copied (the lower one).
row_seqread() {
	local chunk=$1 sides="snapshot=/dev/mapper/old.0 thin=/dev/mapper/thin.1" s
	prepare_disks || return 1
	thin_up "$chunk" 1
	snapshot_up old "${D[2]}" "$chunk" 1
	dmsetup create thin.1 --table "0 $(sectors /dev/mapper/thin) thin /dev/mapper/pool 1"
	[ -n "$have_ddsnap" ] && ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" 1 && ddsnap_device dds 1 &&
		sides="ddsnap=/dev/mapper/dds.1 $sides"
	for s in $sides; do
		s=${s#*=}
		fill "${s%.*}" 0
	done
	take_turns seqread-shared "$chunk" read "$sides" $((2 * region)) --bs=128k --time_based
	take_turns seqread-copied "$chunk" read "$sides" 0 --bs=128k --time_based
	counters "seqread $chunk"
	[ -n "$have_ddsnap" ] && ddsnap_down dds
	snapshot_down old
	thin_down
	disks_down
}

# The longest time that a write takes while a snapshot is made under load.
row_pause() {
	local chunk=$1 sides=thin rep side
	prepare_disks || return 1
	thin_up "$chunk" 0
	[ -n "$have_ddsnap" ] && ddsnap_up dds "${D[1]}" "${D[4]}" "$chunk" 0 && sides="ddsnap thin"
	for ((rep = 0; rep <= reps; rep++)); do
		for side in $sides; do pause_of "$side" "$rep" "$chunk"; done
	done
	[ -n "$have_ddsnap" ] && ddsnap_down dds
	thin_down
	disks_down
}
pause_of() {  # SIDE REP CHUNK
	local side=$1 rep=$2 chunk=$3 dev=/dev/mapper/thin load before from to
	[ "$side" = ddsnap ] && dev=/dev/mapper/dds
	before=$(writes_of "$dev")
	measure pause "$chunk" "$side" "$rep" "$dev" randwrite 0 $((4 * region)) --time_based \
		--runtime=3 &
	load=$!
	while [ "$(writes_of "$dev")" -lt $((before + 300)) ]; do kill -0 $load || return 1; done
	from=$(cut -d' ' -f1 /proc/uptime)
	if [ "$side" = ddsnap ]; then ddsnap create /run/dds "$((rep + 1))"; else thin_snap "$((rep + 1))"; fi
	to=$(cut -d' ' -f1 /proc/uptime)
	kill -0 $load 2>/dev/null || note "pause $side $rep: the load ended before the snapshot was made"
	wait $load
	note "create $chunk $side $rep $from $to"
}
writes_of() {  # DEVICE: writes completed
	local stat
	read -ra stat <"/sys/dev/block/$((0x$(stat -Lc %t "$1"))):$((0x$(stat -Lc %T "$1")))/stat"
	echo "${stat[4]}"
}

wanted() { [ "$rows_wanted" = all ] || [[ ",$rows_wanted," == *",$1,"* ]]; }

run_rows() {
	local chunk count
	note "machine $(uname -r) cpus $(grep -c ^processor /proc/cpuinfo) memory $(grep MemTotal /proc/meminfo | tr -s ' ' | cut -d' ' -f2) kB"
	for chunk in ${chunks_wanted//,/ }; do
		for count in 1 8 64 1000; do
			wanted "first$count" || continue
			[ "$count" = 1000 ] && [ -z "$have_ddsnap" ] && continue
			note "first$count $chunk"
			row_first "$chunk" "$count"
		done
		for row in plain copied seqread pause delta; do
			wanted $row && { note "$row $chunk"; "row_$row" "$chunk"; }
		done
		for count in 1 10 100; do
			wanted "transfer$count" && { note "transfer$count $chunk"; row_transfer "$chunk" "$count"; }
		done
	done
	wanted changelist && { note changelist; row_changelist; }
}

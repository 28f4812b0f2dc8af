# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # some are read by rows.sh
# What the rows are made of: devices to measure, and measuring.
#
# The devices are D[n] of disks.sh.
agent_sock=/run/agent
param() {  # NAME DEFAULT, from the kernel command line
	local v
	v=$(grep -o "bench\.$1=[^ ]*" /proc/cmdline | cut -d= -f2)
	echo "${v:-$2}"
}
reps=$(param reps 6)
ms=$(param ms 1000)
profile=$(param profile none)
rows_wanted=$(param rows all)
chunks_wanted=$(param chunks 4,64)

emit() { echo "$*" >&3; }
note() { emit "# $(cut -d' ' -f1 /proc/uptime) $*"; echo "bench: $*" >/dev/console; }
sectors() { blockdev --getsz "$1"; }
die() { note "FAILED $*"; return 1; }

# wait_for WHAT COMMAND...: until the command succeeds, a minute at most.
wait_for() {
	local what=$1 end=$((SECONDS + 60))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { die "$what did not come"; return 1; }
		sleep 0.02
	done
}

# profiled ROW SIDE REP COMMAND...: runs the command; with BENCH_PERF=1 and
# bench.profile=ROW:SIDE the first repetition of that is sampled and noted.
profiled() {
	local what=$1:$2 rep=$3 line rc
	shift 3
	if [ "$what" != "$profile" ] || [ "$rep" != 1 ] || [ ! -x /bin/perf ]; then
		"$@"
		return
	fi
	perf record -a -g -F 997 -e cpu-clock -o /tmp/perf.data -- "$@" 2>/tmp/perf.err
	rc=$?
	{
		perf report -i /tmp/perf.data --stdio --no-children -g none --sort comm --percent-limit 0.7
		perf report -i /tmp/perf.data --stdio --no-children -g none --sort comm,symbol --percent-limit 0.5
		perf report -i /tmp/perf.data --stdio --comms ddsnap-server --children -g none --sort symbol --percent-limit 0.4
	} 2>/dev/null | grep '%' | while read -r -a line; do note "profile $what ${line[*]}"; done
	return $rc
}

# measure ROW CHUNK SIDE REP DEVICE RW OFFSET_MIB SIZE_MIB [fio options]
# One short fio run; emits its terse line.  Offsets are aligned to the chunk.
measure() {
	local row=$1 chunk=$2 side=$3 rep=$4 dev=$5 rw=$6 offset=$7 size=$8 line
	shift 8
	line=$(profiled "$row" "$side" "$rep" fio --name=b --thread --filename="$dev" --rw="$rw" --bs=4k --blockalign=4k --direct=1 \
		--ioengine=io_uring --iodepth=16 --offset="${offset}m" --size="${size}m" --runtime="${ms}ms" \
		--randrepeat=1 --randseed=$((1000 + rep)) --group_reporting --minimal "$@" 2>/tmp/fio.err) ||
		{ die "fio $row $side: $(tail -n 1 /tmp/fio.err)"; return 1; }
	emit "fio|$row|$chunk|$side|$rep|$line"
}

# ---- dm-linear
linear_up() {  # NAME DEVICE
	dmsetup create "$1" --table "0 $(sectors "$2") linear $2 0"
}

# ---- dm-snapshot: NAME ORIGIN CHUNK_KIB COUNT
snapshot_up() {
	local name=$1 origin=$2 chunk=$3 count=$4 i n
	n=$(sectors "$origin")
	dmsetup create "$name" --table "0 $n snapshot-origin $origin"
	for ((i = 0; i < count; i++)); do
		dd if=/dev/zero of="${D[8 + i]}" bs=64k count=4 oflag=direct status=none
		dmsetup suspend "$name"
		dmsetup create "$name.$i" --table "0 $n snapshot $origin ${D[8 + i]} P $((chunk * 2))"
		dmsetup resume "$name"
	done
}
snapshot_down() {  # NAME
	local d
	for d in $(dmsetup ls | cut -f1 | grep "^$1\."); do dmsetup remove --retry "$d"; done
	dmsetup remove --retry "$1"
}

# ---- dm-thin: a thin volume, wholly provisioned.  CHUNK_KIB COUNT
# Its pool's blocks are 64 KiB at least.
thin_up() {
	local chunk=$1 count=$2 block n i
	block=$((chunk < 64 ? 64 : chunk))
	n=$(sectors "${D[1]}")
	dd if=/dev/zero of="${D[6]}" bs=64k count=4 oflag=direct status=none
	dmsetup create pool --table \
		"0 $(sectors "${D[7]}") thin-pool ${D[6]} ${D[7]} $((block * 2)) 0 1 skip_block_zeroing"
	dmsetup message pool 0 "create_thin 0"
	dmsetup create thin --table "0 $n thin /dev/mapper/pool 0"
	dd if=/dev/zero of=/dev/mapper/thin bs=1M count=$((n / 2048)) oflag=direct status=none
	for ((i = 1; i <= count; i++)); do thin_snap "$i"; done
}
thin_snap() {  # ID: as LVM does it, in one process
	bench-thin-snap thin pool 0 "$1"
}
thin_down() {
	local d
	for d in $(dmsetup ls | cut -f1 | grep '^thin'); do dmsetup remove --retry "$d"; done
	dmsetup remove --retry pool
}

# ---- ddsnap: NAME ORIGIN STORE CHUNK_KIB COUNT
declare -A server_pid=() server_devices=()
agent_up() {
	[ -S $agent_sock ] && return
	ddsnap agent -f $agent_sock >/tmp/agent.log 2>&1 &
	wait_for "the agent" test -S $agent_sock || { tail -n 3 /tmp/agent.log; return 1; }
}
ddsnap_up() {
	local name=$1 origin=$2 store=$3 chunk=$4 count=$5
	agent_up || return 1
	ddsnap initialize -y -c "${chunk}K" "$store" "$origin" >/tmp/init.log 2>&1 ||
		{ die "initialize: $(tail -n 1 /tmp/init.log)"; return 1; }
	ddsnap server -f "$store" "$origin" $agent_sock "/run/$name" >"/tmp/server.$name.log" 2>&1 &
	server_pid[$name]=$! server_devices[$name]="$store $origin"
	wait_for "server $name" test -S "/run/$name" || return 1
	dmsetup create "$name" --table "0 $(sectors "$origin") ddsnap $store $origin $agent_sock -1" ||
		{ die "dmsetup: $(tail -n 1 "/tmp/server.$name.log")"; return 1; }
	ddsnap_snaps "$name" 1 "$count"
}
ddsnap_snaps() {  # NAME FIRST LAST
	[ "$3" -lt "$2" ] && return
	if [ -x /bin/bench-create-many ]; then
		bench-create-many "/run/$1" "$2" "$3" || die "create-many"
	else
		local i
		for ((i = $2; i <= $3; i++)); do ddsnap create "/run/$1" "$i" || die "create $i"; done
	fi
}
ddsnap_device() {  # NAME TAG: makes NAME.TAG
	dmsetup create "$1.$2" --table "0 $(sectors "/dev/mapper/$1") ddsnap ${server_devices[$1]} $agent_sock $2"
}
ddsnap_down() {  # NAME
	local d
	for d in $(dmsetup ls | cut -f1 | grep "^$1\."); do dmsetup remove --retry "$d"; done
	dmsetup remove --retry "$1"
	kill "${server_pid[$1]}" 2>/dev/null
	wait "${server_pid[$1]}" 2>/dev/null
	rm -f "/run/$1"
}

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# A week of hourly replication in minutes.  To be sourced by replicate.sh.
#
# The clock is set forward by some hours at a time, and systemd does what is due.  At random steps the link is down,
# a process is killed or a server restarted.  What has come of it is read from `zumastor status --json` alone.
# shellcheck source=tests/system/package/replicate_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/replicate_lib.sh"

soak='' seed=$((RANDOM * 32768 + RANDOM))

week_clock() { date -u -d "@$now" +%FT%TZ; }
# a_says FILTER: it is true of a's status, at the time $now of this step.
a_says() {
	zumastor status a --json | jq -e --arg now "$(week_clock)" '(.targets[] | select(.target == "hostb:b")) as $b | '"$1"
}
# The hour's snapshot is made; B has what there was, or a knows that it cannot be reached.
hour_made() { a_says 'any(.snapshots[]; .created >= $now and (.rotations | index("hourly")))'; }
hour_sent() { a_says '$b.state == "idle" and $b.last_success >= $now'; }
hour_missed() { a_says '$b.state == "failing" and $b.last_try >= $now'; }

# The processes are there for a moment only; whoever waits for it must be quick.
kill_when_there() {
	local end=$(($(up_for) + 30))
	until pkill -9 -f "$1"; do
		[ "$(up_for)" -lt $end ] || { echo "no process $1 was seen"; return; }
		sleep 0.02
	done
	echo "killed: $1"
}
# Sets $fault, and begins it.
begin_fault() {
	fault=none
	case $((RANDOM % 8)) in
	0 | 1)
		down=$((1 + RANDOM % 3))
		fault="link down for $down steps"
		cut_link hostb ;;
	2) fault="kill -9 of ssh"; kill_when_there "$sender_ssh" & ;;
	3) fault="kill -9 of the receiver"; kill_when_there "$receiver" & ;;
	4) fault="kill -9 of the sender"; kill_when_there "$sender" & ;;
	5) fault="restart of b's server"; systemctl restart zumastor-server@b.service & ;;
	esac
}

# step FAULTS: the next hours.
week_step() {
	local fault='' begun
	begun=$(up_for)
	dd if=/dev/urandom of=$content/scribble bs=64K count=$((1 + RANDOM % 8)) seek=$((RANDOM % 320)) conv=notrunc,fsync status=none ||
		fail "a cannot be written to"
	if [ "$down" -gt 0 ]; then
		down=$((down - 1))
		fault="link still down"
		[ "$down" -gt 0 ] || { mend_link hostb; fault="link up again"; }
	elif [ "$1" = faults ]; then
		begin_fault
	fi
	now=$((now + hours * 3600))
	times+=("$now")
	date -s "@$now" >/dev/null || fail "the clock"
	until_true 120 hour_made || fail "$(week_clock): no hourly snapshot: $(zumastor status a)"
	if [ "$down" -gt 0 ]; then
		until_true 200 hour_missed || fail "$(week_clock): the link is down, but: $(zumastor status a)"
	else
		until_true 200 hour_sent || fail "$(week_clock): nothing is sent: $(zumastor status a)"
	fi
	# shellcheck disable=SC2046 # one for each
	wait $(jobs -p)
	echo "$(week_clock): ${fault:-none} ($(($(up_for) - begun)) s)"
}

part_week() {
	local hours=12 steps=14 now down=0 times=() i tag
	[ -z "$soak" ] || { hours=1 steps=168; }
	echo "week: --seed $seed, $steps steps of $hours hours"
	pair
	for tag in $(tags a '.[].tag'); do
		[ "$tag" = "$(target hostb:b .snapshot)" ] || run zumastor delete a "$tag"
	done
	run zumastor define target a hostb:b --period hourly
	run zumastor define schedule a --hourly 6 --daily 3
	RANDOM=$seed
	# From the beginning of tomorrow.
	now=$(((EPOCHSECONDS / 86400 + 1) * 86400 + 300 - hours * 3600))
	for ((i = 0; i < steps; i++)); do week_step faults; done
	while [ $down -gt 0 ]; do week_step ''; done
	week_step ''
	week_ends
	clock_set_back
	run zumastor define schedule a --hourly 0 --daily 0
	run zumastor define target a hostb:b --period ''
	# What was due when the clock was set forward again ends first.
	until_true 120 eval '! jobs_run' || fail "the jobs do not end"
}
jobs_run() { systemctl show -P ActiveState zumastor-delta@a.service zumastor-snapshot@a.service | grep -E '^(active|activating|deactivating)$'; }

# Both ends are as if nothing had happened.
week_ends() {
	local tag
	is "$(problems a; problems b)" "" "problems after the week"
	within 0 900 "$(target hostb:b .lag)" "lag upstream"
	within 0 900 "$(received b .lag)" "lag downstream"
	tag=$(target hostb:b .snapshot)
	is "$(received b .snapshot)" "$tag" "the snapshot that both have"
	identical a b "$tag"
	is "$(created a hourly 13)" "$(printf '%s\n' "${times[@]: -6}" | hours_of)" "the hourly snapshots"
	is "$(created a daily 13)" "$(printf '%s\n' "${times[@]}" | hours_of | sort -u -k 1.1,1.10 | tail -n 3)" "the daily snapshots"
	is "$(tags a 'map(select(.rotations | index("replica"))) | length <= 1')" true "at most one that was made to be sent"
	is "$(tags a "map(select(.rotations == [] and .tag != $tag)) | length")" 0 "snapshots that nobody wants"
	is "$(tags b 'map(.rotations | join(",")) | unique | join(" ")')" received "rotations downstream"
	is "$(tags b length)" 4 "received snapshots"
	is "$(tags b 'last | .tag')" "$tag" "the newest downstream"
	is "$(tags b 'map(.tag) | . == sort')" true "their order"
	# B has the newest four of what a has or had: what is on both is the same.
	for tag in $(tags b '.[].tag'); do
		[ ! -e "/dev/zumastor/a@$tag" ] || identical a b "$tag"
	done
}
# Nobody waits until the clock is where it was.
clock_set_back() {
	local tag
	tag=$(target hostb:b .snapshot)
	run date -s '-3 hours'
	scribble 1
	run systemctl start zumastor-delta@a.service
	[ "$(target hostb:b .snapshot)" != "$tag" ] || fail "nothing was sent after the clock was set back: $(zumastor status a)"
	is "$(target hostb:b '"\(.state) \(.lag < 900)"')" "idle true" "the state after the clock was set back"
	identical a b "$(target hostb:b .snapshot)"
	run date -s '+3 hours'
}
# created VOLUME ROTATION N: the first N characters of the times of those that it keeps.
created() { tags "$1" "map(select(.rotations | index(\"$2\"))) | .[].created[:$3]"; }
hours_of() { sed 's/^/@/' | date -u -f - +%FT%H; }

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What replication refuses, survives and gives up.  To be sourced by replicate.sh.
# shellcheck source=tests/system/package/replicate_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/replicate_lib.sh"

# untouched VOLUME: all that a stream could have changed of it.
untouched() {
	dd if="/dev/zumastor/$1" bs=1M iflag=direct status=none | sha256sum
	zumastor list "$1" --json | jq -c 'map({tag, state, rotations})'
}
# turned_away WHY TARGET: a stream that must not be taken: one line here, the same reason in the status of both ends,
# and nothing has been written.
turned_away() {
	local why=$1 to=$2 volume=${2#*:} before now
	before=$(untouched "$volume")
	refused "$why" zumastor replicate a "$to" --wait
	now=$(untouched "$volume")
	[ "$now" = "$before" ] || { diff <(echo "$before") <(echo "$now"); fail "$volume has changed: $why"; }
	is "$(target "$to" .state)" failing "the state upstream"
	[[ $(target "$to" .last_error) == *"$why"* ]] || fail "the error upstream: $(target "$to" .last_error)"
	is "$(target "$to" .last_error | wc -l)" 1 "lines of the error upstream"
	problems a | grep -qF -- "$why" || fail "a's problems: $(problems a)"
	# Who finds that it is no replica of this volume is the sender.
	if [ "$(section "$volume" Source)" = "" ] || [ "$why" = 'replica of' ]; then return; fi
	[[ $(received "$volume" .last_error) == *"$why"* ]] || fail "the error downstream: $(received "$volume" .last_error)"
	problems "$volume" | grep -qF -- "$why" || fail "$volume's problems: $(problems "$volume")"
}
# taken TARGET: the reason is gone.
taken() {
	run zumastor replicate a "$1" --wait
	identical a "${1#*:}" "$(target "$1" .snapshot)"
	is "$(target "$1" .state)" idle "the state upstream"
	is "$(received "${1#*:}" .state)" idle "the state downstream"
	is "$(problems a; problems "${1#*:}")" "" "problems"
}

part_refusals() {
	local holder
	pair
	scribble 1
	mkdir -p /run/b
	run mount -o ro,noload /dev/zumastor/b /run/b
	turned_away 'mounted at /run/b' hostb:b
	run umount /run/b
	run dmsetup create held --table "0 2048 linear /dev/zumastor/b 0"
	turned_away 'part of' hostb:b
	run dmsetup remove held
	# Held by a program, which nothing in /sys names.
	python3 -c 'import os, time
fd = os.open("/dev/zumastor/b", os.O_RDONLY | os.O_EXCL)
open("/run/holds", "w").close()
time.sleep(1000)' &
	holder=$!
	until_true 30 [ -e /run/holds ] || fail "nobody holds b"
	turned_away 'in use' hostb:b
	kill $holder
	wait $holder 2>/dev/null
	rm /run/holds
	taken hostb:b
	others
	wrong_base
}

# Volumes that no stream of a's may go to.
others() {
	volume small 32M 32M
	run zumastor define source small hosta:a
	run zumastor define target a hostc:small
	turned_away 'small' hostc:small
	run zumastor forget target a hostc:small
	drop small
	volume plain 80M 32M
	run zumastor define target a hostc:plain
	turned_away 'source' hostc:plain
	run zumastor forget target a hostc:plain
	drop plain
	# A replica of another volume.
	fresh c
	volume x 16M 32M
	run zumastor define source c hosta:x
	run zumastor define target x hostc:c
	run zumastor replicate x hostc:c --wait
	run zumastor define target a hostc:c
	turned_away 'replica of' hostc:c
	run zumastor forget target a hostc:c
	drop x
	drop c
	# No such volume there, and nobody there at all.
	run zumastor define target a hostc:nobody
	refused 'no such volume' zumastor replicate a hostc:nobody --wait
	run zumastor forget target a hostc:nobody
	run zumastor define target a nowhere.invalid
	refused 'nowhere.invalid' zumastor replicate a nowhere.invalid --wait
	run zumastor forget target a nowhere.invalid
	is "$(problems a)" "" "problems that are left of forgotten targets"
}

# B was changed by hand: no increment fits it, until it is what it was, or nobody knows any more what it had.
wrong_base() {
	local wire
	run dd if=/dev/urandom of=/dev/zumastor/b bs=1M count=1 seek=20 oflag=direct status=none
	scribble 1
	turned_away 'has changed since' hostb:b
	# The file system may write a last word, and have a second snapshot made: what counts is what goes over in all.
	wire=$(carried hostb)
	run zumastor revert b "$(received b .snapshot)"
	taken hostb:b
	within $mib $((3 * mib)) $(($(carried hostb) - wire)) "bytes on the wire of an increment after a revert"
	run dd if=/dev/urandom of=/dev/zumastor/b bs=1M count=1 seek=20 oflag=direct status=none
	# What is known of it is damaged: there is a way out, and status names it.
	echo damage >"$(echo /var/lib/zumastor/receive/volume-"$(zumastor status b --json | jq -r .volume_uuid)"*)"
	refused hostb zumastor replicate a hostb:b --wait
	zumastor status b --json | jq -r '.problems[].remedy' | grep -q 'ddsnap delta receive --forget /dev/zumastor/b' ||
		fail "nobody says what to do about a damaged state: $(zumastor status b)"
	run ddsnap delta receive --forget /dev/zumastor/b
	scribble 1
	taken hostb:b
	within $((17 * mib)) $((size * mib)) "$(target hostb:b .bytes)" "bytes of a replica that has forgotten what it had"
	cmp -n $((size * mib)) /dev/zumastor/b "/dev/zumastor/b@$(newest b)" || fail "b itself is not what its newest snapshot is"
}

# A stream of 24 MiB at 2 MiB a second, in the midst of which something happens.  It goes on by itself, from where it
# was: what goes over in all is hardly more than the stream.  Meanwhile B's snapshots hold what they held.
part_faults() {
	local fault
	pair
	scribble 24
	run zumastor replicate a hostb:b --wait
	run zumastor define target a hostb:b --rate-limit 2M
	for fault in cut_off no_receiver no_ssh no_sender new_server; do amid $fault; done
	run zumastor define target a hostb:b --rate-limit ''
	is "$(problems a; problems b)" "" "problems"
}

# amid FAULT
amid() {
	local old new before sent begun=$SECONDS
	old=$(target hostb:b .snapshot)
	before=$(sum "/dev/zumastor/b@$old") || fail "b@$old"
	scribble 24
	sent=$(carried hostb)
	run zumastor replicate a hostb:b
	until_true 120 past 14 || fail "$1: no stream"
	new=$(newest a)
	[ "$new" != "$old" ] || fail "$1: no new snapshot"
	[ "$(sum /dev/zumastor/b)" != "$before" ] || fail "$1: nothing was written to b: nothing is tested"
	$1
	is "$(sum "/dev/zumastor/b@$old")" "$before" "b's snapshot in the midst of a stream"
	until_true 240 arrived "$new" || fail "$1: it does not go on by itself: $(zumastor status a)"
	sent=$(($(carried hostb) - sent))
	identical a b "$(target hostb:b .snapshot)"
	is "$(sum "/dev/zumastor/b@$old")" "$before" "b's older snapshot"
	within $((24 * mib)) $((33 * mib)) "$sent" "bytes on the wire in all, for 24 MiB"
	[ "$1" = new_server ] || within 1 $((18 * mib)) "$(target hostb:b .bytes)" "bytes of the last run"
	is "$(target hostb:b .last_error)" "" "the last error after success"
	echo "$1: went on, after $((SECONDS - begun)) s"
}
cut_off() {
	cut_link hostb
	until_true 200 state_is failing || fail "nobody notices that the link is cut"
	[[ $(target hostb:b .last_error) == *hostb* ]] || fail "the error of a cut link: $(target hostb:b .last_error)"
	mend_link hostb
}
no_ssh() { run pkill -9 -f "$sender_ssh"; }
no_sender() { run systemctl kill -s KILL zumastor-delta@a.service; }
no_receiver() { run pkill -9 -f "$receiver"; }
new_server() { run systemctl restart zumastor-server@b.service; }

# A stream that does not get on is given up, at either end.
part_aborts() {
	local old before
	pair
	old=$(target hostb:b .snapshot)
	before=$(sum /dev/zumastor/b) || fail "b"
	run zumastor define target a file:/srv/other
	stuck file:/srv/other
	run zumastor forget target a file:/srv/other
	stuck_downstream "$old" "$before"
	mistyped_revert
	reverted_downstream
	waiter_is_stopped
	# Whoever cannot be reached is not tried any more, once it is given up.
	cut_link hostb
	scribble 1
	run zumastor replicate a hostb:b
	until_true 200 state_is failing || fail "nobody notices that the link is cut"
	[[ $(target hostb:b .last_error) == *hostb* ]] || fail "why it does not get on: $(target hostb:b .last_error)"
	problems a | grep -q hostb || fail "a's problems do not say why it does not get on: $(problems a)"
	run zumastor replicate a hostb:b --abort
	given_up
	mend_link hostb
	run zumastor define target a hostb:b --rate-limit ''
	taken hostb:b
	nothing_to_go_back_to
}

# stuck [TARGET]: B's receiver does not get on, and the stream is given up upstream.  The other target was asked for, too.
stuck() {
	run zumastor define target a hostb:b --rate-limit 2M
	scribble 24
	run zumastor replicate a hostb:b
	until_true 120 past 6 || fail "no stream"
	[ $# -eq 0 ] || run zumastor replicate a "$1"
	run pkill -STOP -f "$receiver"
	run timeout 60 zumastor replicate a hostb:b --abort
	[ "$(target hostb:b .state)" != running ] || fail "it runs on"
	is "$(pgrep -f "$sender_ssh")" "" "the sender's ssh"
	# Nobody has stopped that one: it is served yet.
	[ $# -eq 0 ] || until_true 180 eval '[ "$(target '"$1"' .state)" = idle ]' || fail "the other target gets nothing: $(zumastor status a)"
	given_up
	run pkill -CONT -f "$receiver"
	until_true 60 eval "! pgrep -f '$receiver'" || fail "the receiver does not end"
}

# Nobody tries again, and nothing is left that was asked for.
given_up() {
	local before
	until_true 30 eval 'systemctl show -P ActiveState zumastor-delta@a.service | grep -qxE "inactive|failed"' ||
		fail "the unit is $(systemctl show -P ActiveState,SubState zumastor-delta@a.service)"
	before=$(target hostb:b '"\(.last_try) \(.snapshot)"')
	run systemctl start zumastor-delta@a.service
	is "$(target hostb:b '"\(.last_try) \(.snapshot)"')" "$before" "a target that nobody asks for"
}

# stuck_downstream TAG SUM: B is between two snapshots, says so, and can be brought back.
stuck_downstream() {
	[ "$(sum /dev/zumastor/b)" != "$2" ] || fail "b is what it was: nothing is tested"
	problems b | grep -q 'cut off' || fail "b's problems do not say that a stream was cut off: $(problems b)"
	zumastor status b --json | jq -r '.problems[].remedy' | grep -q 'zumastor receive b --abort' ||
		fail "nobody says how to bring b back: $(zumastor status b)"
	refused 'midst of a stream' zumastor forget source b
	is "$(received b .between_snapshots)" true "whether b says that it is between two snapshots"
	run zumastor receive b --abort
	is "$(received b .between_snapshots)" false "whether b says so when it was brought back"
	is "$(sum /dev/zumastor/b)" "$2" "b, brought back"
	is "$(sum "/dev/zumastor/b@$1")" "$2" "its newest snapshot"
	is "$(problems b)" "" "problems of b"
	refused 'nothing to abort' zumastor receive b --abort
	run zumastor define target a hostb:b --rate-limit ''
	taken hostb:b
}

# Who waits for the job at work is stopped with it, and does not take over.
waiter_is_stopped() {
	local waiter
	run zumastor define target a hostb:b --rate-limit 2M
	scribble 24
	run zumastor replicate a hostb:b
	until_true 120 past 4 || fail "no stream"
	zumastor replicate a hostb:b --wait 2>/run/waiter &
	waiter=$!
	until_true 20 grep -q nanosleep /proc/$waiter/wchan || fail "it does not wait: $(cat /proc/$waiter/wchan /run/waiter)"
	run zumastor replicate a hostb:b --abort
	wait $waiter && fail "who waited has gone on"
	grep -qx 'zumastor: a: was stopped while it waited for its turn' /run/waiter || fail "who waited says: $(cat /run/waiter)"
	given_up
	run zumastor define target a hostb:b --rate-limit ''
	taken hostb:b
}

# A revert to what is not there changes nothing: the stream goes on where it was cut off.
mistyped_revert() {
	local wire
	stuck
	refused 'does not exist' zumastor revert b 99999
	run zumastor define target a hostb:b --rate-limit ''
	wire=$(carried hostb)
	taken hostb:b
	within $((4 * mib)) $((22 * mib)) $(($(carried hostb) - wire)) "bytes on the wire of a stream that goes on"
}

# The same by reverting it: what was received of the stream is gone, and nobody goes on from there.
reverted_downstream() {
	local old older before wire
	old=$(target hostb:b .snapshot)
	older=$(tags b 'map(select(.state == "ok")) | .[-2].tag')
	before=$(sum /dev/zumastor/b) || fail "b"
	stuck
	[ "$(sum /dev/zumastor/b)" != "$before" ] || fail "b is what it was: nothing is tested"
	# To an older one: that is a snapshot too, but not what comes next begins at.
	run zumastor revert b "$older"
	is "$(sum /dev/zumastor/b)" "$(sum "/dev/zumastor/b@$older")" "b, reverted to an older snapshot"
	is "$(received b .between_snapshots)" false "whether b is between two snapshots still"
	is "$(problems b)" "" "problems of b"
	refused 'not the base' zumastor replicate a hostb:b --wait
	run zumastor revert b "$old"
	is "$(sum /dev/zumastor/b)" "$before" "b, reverted"
	is "$(problems b)" "" "problems of b"
	run zumastor define target a hostb:b --rate-limit ''
	wire=$(carried hostb)
	taken hostb:b
	within $((24 * mib)) $((33 * mib)) $(($(carried hostb) - wire)) "bytes on the wire of a stream that begins again"
}

# In the midst of the first stream there is no older state: whoever gives it up is told, and so is who looks later.
nothing_to_go_back_to() {
	fresh b
	run zumastor define source b hosta:a --keep 4
	stuck
	zumastor receive b --abort 2>&1 | grep 'no snapshot to go back to' || fail "an abort without a snapshot to go back to says nothing"
	problems b | grep -q 'no state that ever was' || fail "b's problems: $(problems b)"
	refused 'no state that ever was' zumastor forget source b
	run zumastor define target a hostb:b --rate-limit ''
	taken hostb:b
}

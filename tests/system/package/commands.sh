#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What `zumastor` prints, for people and programs; completion; and many commands at once on one volume.
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "$0")/lib.sh"

# on_terminal COMMAND: its output on a terminal.
on_terminal() { TERM=xterm script -qec "$1" /dev/null; }
escapes() { grep -c $'\033' <<<"$1"; }

output() {
	local verb out width
	for verb in '' define 'define volume' 'define schedule' forget start stop snapshot delete list status; do
		# shellcheck disable=SC2086 # a verb may be two words
		out=$(zumastor $verb --help 2>&1) || fail "zumastor $verb --help"
		grep -q 'Usage\|OPTIONS\|Options' <<<"$out" || fail "zumastor $verb --help: $out"
		width=$(wc -L <<<"$out")
		[ "$width" -le 120 ] || fail "zumastor $verb --help: $width columns"
	done
	for verb in bring-up bring-up-rest take-down run-schedule run-events thaw; do
		zumastor --help | grep -q -- $verb && fail "the help lists $verb, which is for units"
	done
	zumastor nonsense >/dev/null 2>&1
	is $? 2 "the status of wrong usage"
	zumastor --version | grep -q '[0-9]' || fail "no version"
	for verb in list 'list cmd' status 'status cmd' 'status cmd 0' 'snapshot cmd'; do
		# shellcheck disable=SC2086 # several words
		zumastor $verb --json | jq -e . >/dev/null || fail "zumastor $verb --json is no JSON"
	done
	is "$(zumastor snapshot cmd --json | jq -c keys)" '["tag"]' "the keys of snapshot --json"
	is "$(zumastor status cmd 0 --json | jq -c '.snapshots | map(.tag)')" '[0]' "the snapshots of status cmd 0"
	is "$(zumastor status --json | jq -r 'map(.volume) | index("cmd") != null')" true "status of all"
	# Colours on a terminal only, and not for those who do not want them.
	is "$(escapes "$(zumastor status cmd)")" 0 "escapes in a pipe"
	is "$(escapes "$(on_terminal 'NO_COLOR=1 zumastor status cmd')")" 0 "escapes with NO_COLOR"
	is "$(escapes "$(on_terminal 'TERM=dumb zumastor status cmd')")" 0 "escapes on a dumb terminal"
	[ "$(escapes "$(on_terminal 'zumastor status cmd')")" -gt 0 ] || fail "no colours on a terminal"
	out=$(zumastor status cmd)
	grep -qE '^  store .* \[[#-]{20}\] [0-9]+ % of ' <<<"$out" || fail "no usage bar: $out"
	is "$(grep -E '^  (origin|store|kernel) ' <<<"$out" | sed -E 's/^(  [a-z]+ +).*/\1/' | awk '{print length}' | sort -u)" 12 "columns of status"
	echo "$out"
}

completion() {
	local tag
	tag=$(tags cmd '.[0].tag')
	[[ " $(complete_words zumastor '') " == *' define '*' snapshot '*' status '* ]] || fail "completion of commands: $(complete_words zumastor '')"
	is "$(complete_words zumastor def)" define "completion of def"
	is "$(complete_words zumastor define '')" "schedule source target volume" "completion of define"
	[[ " $(complete_words zumastor status '') " == *' cmd '* ]] || fail "completion of volumes: $(complete_words zumastor status '')"
	is "$(complete_words zumastor snapshot cm)" cmd "completion of a volume"
	[[ " $(complete_words zumastor delete cmd '') " == *" $tag "* ]] || fail "completion of tags: $(complete_words zumastor delete cmd '')"
	is "$(complete_words zumastor status --j)" --json "completion of an option"
	[[ " $(complete_words zumastor define volume --) " == *' --initialize '*' --mountpoint '* ]] || fail "completion of define volume's options"
	is "$(complete_words zumastor snapshot cmd --rotation we)" weekly "completion of rotations"
	[[ " $(complete_words zumastor define volume x /dev/vd) " == *" /dev/vdb "* ]] || fail "completion of devices"
}

# Whoever stops it meets a use that our own list of mounts does not show: all stays as it was.
elsewhere() {
	local origin store pid
	origin=$(loop 32M) store=$(loop 32M)
	mkfs.ext4 -q "$origin"
	run zumastor define volume els "$origin" "$store" --initialize --mountpoint /run/els
	until_true 30 mountpoint -q /run/els || fail "els is not mounted"
	zumastor snapshot els >/dev/null || fail snapshot
	unshare -m --propagation private sleep 1000 &
	pid=$!
	until_true 10 eval "grep -q ' /run/els ' /proc/$pid/mountinfo" || fail "no mount elsewhere"
	refused 'els:' zumastor stop els
	mountpoint -q /run/els || fail "a stop that was refused has unmounted it"
	kill $pid
	wait $pid 2>/dev/null
	# A shell in a snapshot's folder is in the way too, and nothing has changed when it is gone.
	(cd /run/zumastor/snapshot/els/2* && exec sleep 1000) &
	pid=$!
	until_true 10 eval "readlink /proc/$pid/cwd | grep -q /snapshot/els/" || fail "nobody is there"
	zumastor stop els 2>/run/said && fail "stopped with a shell in a snapshot"
	cat /run/said
	[ -b /dev/zumastor/els ] || fail "els is not up after a stop that was refused"
	until_true 20 mountpoint -q /run/els || fail "it is not mounted again"
	is "$(systemctl is-active zumastor@els)" active "its unit"
	kill $pid
	wait $pid 2>/dev/null
	drop els
}

# Automounts are set up when the volume's unit has started.
has_hourly() { until_true 10 [ -e /run/zumastor/snapshot/cmd/hourly.0/lost+found ]; }

# A file that was written by hand has no UUID: all works, and the next start writes it.
by_hand() {
	local conf=/etc/zumastor/volumes/cmd.conf uuid tag
	uuid=$(zumastor status cmd --json | jq -r .volume_uuid)
	run zumastor define schedule cmd --hourly 3
	run sed -i '/^UUID=/d' $conf
	tag=$(zumastor snapshot cmd --rotation hourly) || fail "a snapshot"
	[ -b "/dev/zumastor/cmd@$tag" ] || fail "no /dev/zumastor/cmd@$tag"
	[ -b "/dev/zumastor/by-uuid/$uuid@$tag" ] || fail "no such name by UUID"
	has_hourly || fail "no hourly.0"
	run zumastor stop cmd
	run zumastor start cmd
	is "$(grep ^UUID= $conf)" "UUID=$uuid" "what was written"
	has_hourly || fail "no hourly.0 after a start"
	run zumastor stop cmd
	run sed -i 's/^UUID=.*/UUID=nonsense/' $conf
	refused "a UUID" zumastor start cmd
	run sed -i "s/^UUID=.*/UUID=${uuid^^}/" $conf
	run zumastor start cmd
	has_hourly || fail "no hourly.0 with an UUID in capitals"
	run zumastor delete cmd "$tag"
}

# again SECONDS COMMAND: over and over. It may be refused, with one line; nothing else. It goes well at
# least once, if only when the others are done: on a slow machine the time may be over after one try.
again() {
	local end=$((SECONDS + $1)) n=0 good=0 rc said=/run/again.$BASHPID
	while [ $SECONDS -lt "$end" ] || { [ $good -eq 0 ] && [ $SECONDS -lt $((end + 120)) ]; }; do
		n=$((n + 1))
		bash -c "$2" >/dev/null 2>"$said"
		rc=$?
		[ $rc -ne 0 ] || good=$((good + 1))
		if [ $rc -gt 1 ] || [ "$(grep -cv '^zumastor: warning: ' "$said")" -gt 1 ]; then
			echo "$2: status $rc: $(cat "$said")"
			return 1
		fi
	done
	echo "$2: $n times, $good went well"
	[ $good -gt 0 ]
}

parallel() {
	local pids=() p tag
	run zumastor define schedule cmd --hourly 3 --custom '*-*-* *:*:00/5,4'
	again 25 'zumastor snapshot cmd' & pids+=($!)
	again 25 'zumastor snapshot cmd --rotation hourly' & pids+=($!)
	again 25 'zumastor delete cmd $(zumastor list cmd --json | jq ".[].tag" | shuf -n 1 | grep . || echo 0)' & pids+=($!)
	again 25 'zumastor run-schedule cmd' & pids+=($!)
	again 25 'zumastor status cmd --json | jq -e .volume' & pids+=($!)
	again 25 'zumastor stop cmd; sleep 1; zumastor start cmd' & pids+=($!)
	again 25 'zumastor define schedule cmd --daily $((RANDOM % 4))' & pids+=($!)
	for p in "${pids[@]}"; do wait "$p" || fail "two commands at once"; done
	systemctl reset-failed 'zumastor*@cmd*' 2>/dev/null
	run zumastor define schedule cmd --custom '' --daily 0
	run zumastor start cmd
	udevadm settle
	# Server, device-mapper, names, folders and records are of one mind.
	tag=$(zumastor list cmd --json | jq -r '.[] | select(.state == "ok") | .tag' | sort -n)
	is "$(dmsetup ls | sed -n 's/^zumastor-cmd@\([0-9]*\).*/\1/p' | sort -n)" "$tag" "devices"
	is "$(find /dev/zumastor -name 'cmd@*' | sed 's/.*@//' | sort -n)" "$tag" "names"
	is "$(find /run/zumastor/mounts/cmd -type l -printf '%f\n' | sort -n)" "$tag" "folders"
	is "$(tags cmd 'map(select(.rotations | index("hourly"))) | length <= 3')" true "as many as asked"
	for tag in /run/zumastor/snapshot/cmd/*/; do
		[ -e "$tag/lost+found" ] || fail "$tag is not mounted when looked at"
	done
	is "$(zumastor status cmd --json | jq -r '.state, .link' | paste -sd,)" up,connected "the volume"
}

origin=$(loop 32M) store=$(loop 64M)
mkfs.ext4 -q "$origin"
run zumastor define volume cmd "$origin" "$store" --initialize
zumastor snapshot cmd >/dev/null || fail snapshot
output
completion
by_hand
elsewhere
parallel
run zumastor forget cmd
is "$(find /etc/zumastor /run/zumastor /var/lib/zumastor -name 'cmd*' ! -name 'cmd.volume')" "" "what is left of a forgotten volume"
unloop "$origin" "$store"
echo "commands: PASS"

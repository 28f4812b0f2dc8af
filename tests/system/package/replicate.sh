#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Replication as an administrator meets it: host A with volume a, host B with b, host C with c.
#   replicate.sh [--soak] [--seed N] [PART...]      each part can be run alone; without names all; with --soak the
#                                                   week has steps of an hour
# shellcheck source=tests/system/package/replicate_lib.sh
. "$(dirname "$0")/replicate_lib.sh"
# shellcheck source=tests/system/package/replicate_faults.sh
. "$here/replicate_faults.sh"
# shellcheck source=tests/system/package/replicate_week.sh
. "$here/replicate_week.sh"

# bad WHY TARGET: neither a target nor a source.
bad() {
	refused "$1" zumastor define target a "$2"
	refused "$1" zumastor define source b "$2"
}
refused_targets() {
	local name
	before=$(state)
	for name in '' ':b' '@hostb' 'root@' 'root@:b' 'host b' 'hostb;id' '$(id)' $'hostb\n[Volume]' 'a/b' \
		'root@-oProxyCommand=touch /run/option' 'root@-hostb' '[::1' 'hostb]'; do
		bad 'is not [USER@]HOST[:VOLUME]' "$name"
	done
	for name in 'hostb:../a' 'hostb:' 'hostb:-b' 'hostb:a b' 'hostb:b:c'; do bad "volume's name" "$name"; done
	# Before ssh could take it for an option, our own command line does.
	for name in -oProxyCommand=touch\ /run/option --help-me; do
		zumastor define target a "$name" >/dev/null 2>&1 && fail "define target a $name was not refused"
		zumastor define target a -- "$name" >/dev/null 2>&1 && fail "define target a -- $name was not refused"
	done
	refused 'not a calendar' zumastor define target a hostb:b --period 'every full moon'
	refused 'not a calendar' zumastor define source b hosta:a --period 'every full moon'
	for name in soon -1M 10X 10MM; do refused 'bytes a second' zumastor define target a hostb:b --rate-limit="$name"; done
	refused 'number of snapshots to keep' zumastor define source b hosta:a --keep 0
	refused 'no such volume' zumastor define target nobody hostb:b
	refused 'no such volume' zumastor define source nobody hosta:a
	refused 'no such volume' zumastor replicate nobody
	refused 'no such volume' zumastor receive nobody
	refused 'neither a target nor a source' zumastor replicate a
	refused 'no target' zumastor replicate a hostb:b
	refused 'no target' zumastor forget target a hostb:b
	refused 'no source' zumastor forget source b
	refused 'whole path' zumastor define target a file:deltas
	refused 'No such file' zumastor define target a file:/nowhere/deltas
	# It would grow with each delta of itself.
	refused 'itself' zumastor define target a file:$content/deltas
	as_before
	[ ! -e /run/option ] || fail "a host's name became an option of ssh"
}

part_define() {
	forget_targets a
	fresh b
	refused_targets
	run zumastor define target a hostb:b --period monthly --rate-limit 8M
	is "$(section a 'Target hostb:b')" Period=monthly,RateLimit=8M "the target's section"
	is "$(systemctl show -P ActiveState zumastor-delta@a.timer)" active "the timer"
	[[ $(systemctl show -P TimersCalendar zumastor-delta@a.timer) == *"OnCalendar=$(systemd-analyze calendar monthly | sed -n 's/ *Normalized form: //p')"* ]] ||
		fail "the timer's calendar: $(systemctl show -P TimersCalendar zumastor-delta@a.timer)"
	run zumastor define target a hostb:b --period yearly
	is "$(section a 'Target hostb:b')" Period=yearly,RateLimit=8M "a target that was defined again"
	run zumastor define source b hosta:a --keep 4
	is "$(section b Source)" Host=hosta:a,Keep=4 "the source's section"
	# One upstream volume for a replica, and no snapshots of its own making.
	before=$(state)
	refused 'comes from hosta:a' zumastor define source b hostc:other
	refused 'is a replica' zumastor snapshot b
	refused 'Schedule' zumastor define schedule b --hourly 2
	refused 'no target' zumastor replicate a hostc:other --wait
	as_before
	is "$(target hostb:b '"\(.state) \(.snapshot) \(.last_success) [\(.last_error)]"')" 'never null null []' "a target that was never tried"
	is "$(received b '"\(.state) \(.host)"')" 'never hosta:a' "a source that has never sent"
	completion
	run zumastor define target a hostb:b --period '' --rate-limit ''
	[ "$(systemctl show -P ActiveState zumastor-delta@a.timer)" != active ] || fail "a timer without a period"
}

# offers WORDS LINE...: the completion of the line has each of the words.
offers() {
	local word all
	all=" $(complete_words zumastor "${@:2}") "
	for word in $1; do [[ $all == *" $word "* ]] || fail "completion of '${*:2}' has no $word: $all"; done
}
completion() {
	is "$(complete_words zumastor define '')" "schedule source target volume" "completion of define"
	offers 'receive replicate restore' ''
	is "$(complete_words zumastor replicate a '')" hostb:b "completion of targets"
	is "$(complete_words zumastor verify a '')" hostb:b "completion of targets to verify"
	is "$(complete_words zumastor forget target a '')" hostb:b "completion of targets to forget"
	offers 'a b' define target ''
	offers 'source target' forget ''
	offers '--abort --wait' replicate --
}

# Everything, from a volume of another name that is larger and has never received anything.
part_first() {
	local tag lag begun=$EPOCHSECONDS
	forget_targets a
	fresh b
	run zumastor define target a hostb:b
	run zumastor define source b hosta:a --keep 4
	run zumastor replicate a hostb:b --wait
	tag=$(newest a)
	is "$(newest b)" "$tag" "the tag downstream"
	is "$(target hostb:b '"\(.state) \(.snapshot) [\(.last_error)] \(.progress)"')" "idle $tag [] null" "status upstream"
	is "$(received b '"\(.state) \(.snapshot) [\(.last_error)]"')" "idle $tag []" "status downstream"
	identical a b "$tag"
	cmp -n $((size * mib)) /dev/zumastor/b "/dev/zumastor/b@$tag" || fail "b itself is not what its newest snapshot is"
	within $((17 * mib)) $((size * mib)) "$(target hostb:b .bytes)" "bytes of a first time"
	lag=$(target hostb:b .lag)
	within 0 $((EPOCHSECONDS - begun)) "$lag" "lag"
	[[ $(target hostb:b .last_success) > $(date -u -d "@$((begun - 1))" +%FT%TZ) ]] || fail "last success: $(target hostb:b .last_success)"
	is "$(tags a "map(select(.tag == $tag)) | .[0].rotations | join(\",\")")" replica "rotations upstream"
	is "$(tags b 'last | .rotations | join(",")')" received "rotations downstream"
	is "$(readlink -f /run/zumastor/snapshot/b/received.0)" "$(zumastor status b "$tag" --json | jq -r '.snapshots[0].folder')" "received.0"
	cmp $content/old /run/zumastor/snapshot/b/received.0/old || fail "a file downstream"
	is "$(problems a; problems b)" "" "problems"
	zumastor status a | grep -q 'hostb:b' || fail "status does not name the target: $(zumastor status a)"
	zumastor status b | grep -q 'hosta:a' || fail "status does not name the source: $(zumastor status b)"
	for lag in 'volume="a",direction="to",peer="hostb:b"' 'volume="b",direction="from",peer="hosta:a"'; do
		zumastor status --prometheus | grep -q "^zumastor_replication_lag_seconds{$lag} [0-9]" || fail "no metrics of $lag: $(zumastor status --prometheus)"
	done
	# Nothing is new: nothing is made, and nothing goes over.
	run umount $content
	run zumastor replicate a hostb:b --wait
	tag=$(newest a)
	run zumastor replicate a hostb:b --wait
	is "$(newest a)" "$tag" "the newest snapshot of a volume that has not changed"
	# A failure is over when nothing is new, too.
	run zumastor stop b
	refused 'is not up' zumastor replicate a hostb:b --wait
	run zumastor start b
	problems b | grep -q 'is not up' || fail "b does not say what failed: $(zumastor status b)"
	run zumastor replicate a hostb:b --wait
	is "$(problems a; problems b)" "" "problems when nothing is new"
	mount_a
}

part_increments() {
	local tag made=() before wire
	pair
	# What has changed goes over, and not much besides.
	scribble 2
	wire=$(carried hostb)
	run zumastor replicate a hostb:b --wait
	wire=$(($(carried hostb) - wire))
	identical a b "$(newest a)"
	within $((2 * mib)) $((4 * mib)) "$(target hostb:b .bytes)" "bytes of an increment of 2 MiB"
	within $((2 * mib)) $((4 * mib + mib / 2)) "$wire" "bytes on the wire"
	# Whoever wants to wait for it waits for the job that is at work, too.
	run zumastor define target a hostb:b --rate-limit 1M
	scribble 6
	run zumastor replicate a hostb:b
	until_true 60 eval '[ "$(target hostb:b .state)" = running ]' || fail "no job"
	tag=$(zumastor snapshot a) || fail snapshot
	run zumastor replicate a hostb:b --wait
	identical a b "$tag"
	run zumastor define target a hostb:b --rate-limit ''
	# Those that were made meanwhile arrive in order, each as it is here.
	for _ in 1 2 3; do
		scribble 1
		tag=$(zumastor snapshot a) || fail snapshot
		made+=("$tag")
	done
	run zumastor replicate a hostb:b --wait
	for tag in "${made[@]}"; do identical a b "$tag"; done
	is "$(tags b "map(.tag) | map(select(IN(${made[0]}, ${made[1]}, ${made[2]}))) | join(\" \")")" "${made[*]}" "snapshots in order of creation, downstream"
	# The base is kept from everybody, at both ends; what is no base is not.
	tag=$(target hostb:b .snapshot)
	before=$(tags a 'map(.tag)')
	refused 'hostb:b' zumastor delete a "$tag"
	is "$(tags a 'map(.tag)')" "$before" "snapshots after a refused deletion"
	before=$(tags b 'map(.tag)')
	refused 'needs it' zumastor delete b "$tag"
	is "$(tags b 'map(.tag)')" "$before" "snapshots downstream after a refused deletion"
	scribble 1
	run zumastor replicate a hostb:b --wait
	run zumastor delete a "${made[@]}"
	is "$(tags b length)" 4 "received snapshots that are kept"
	rotations
}

# A base that its rotation has no room for stays until the target has a newer one.
rotations() {
	local base
	run zumastor define schedule a --hourly 1
	# Nothing writes between its creation and its way to B.
	run umount $content
	base=$(zumastor snapshot a --rotation hourly) || fail snapshot
	run zumastor replicate a hostb:b --wait
	is "$(target hostb:b .snapshot)" "$base" "the snapshot that the target holds"
	mount_a
	for _ in 1 2; do
		scribble 1
		zumastor snapshot a --rotation hourly >/dev/null || fail snapshot
	done
	is "$(tags a "map(.tag) | index($base) != null")" true "whether the base of an increment is still there"
	is "$(tags a 'map(select(.rotations | index("hourly"))) | length')" 1 "hourly snapshots"
	run zumastor replicate a hostb:b --wait
	identical a b "$(newest a)"
	zumastor snapshot a --rotation hourly >/dev/null || fail snapshot
	is "$(tags a "map(.tag) | index($base)")" null "a base that nobody needs any more"
	run zumastor define schedule a --hourly 0
}

# A target that is away for days: what it holds becomes a bookmark here, which keeps no data, and is
# what the next difference builds on all the same.
part_bookmark() {
	local base newest
	pair
	base=$(target hostb:b .snapshot)
	is "$(tags a "map(select(.tag == $base)) | .[0].rotations | join(\",\")")" replica "rotations of the base"
	cut_link hostb
	scribble 2
	refused hostb zumastor replicate a hostb:b --wait
	is "$(tags a "map(select(.tag == $base)) | .[0].state")" ok "the base of a target that is away for minutes"
	run date -s '+2 days'
	scribble 1
	refused hostb zumastor replicate a hostb:b --wait
	is "$(tags a "map(select(.tag == $base)) | .[0].state")" bookmark "the base of a target that is away for days"
	[ ! -e "/dev/zumastor/a@$base" ] || fail "a bookmark has a device"
	is "$(zumastor status a --json | jq "[.snapshots[] | select(.tag == $base)] | .[0].unshared")" 0 "chunks that the bookmark keeps"
	refused 'needs it' zumastor delete a "$base"
	mend_link hostb
	run zumastor replicate a hostb:b --wait
	newest=$(newest a)
	is "$(target hostb:b .snapshot)" "$newest" "what the target holds"
	identical a b "$newest"
	within $((2 * mib)) $((5 * mib)) "$(target hostb:b .bytes)" "bytes of a difference to a bookmark"
	is "$(tags a "map(select(.tag == $base)) | length")" 0 "bookmarks that nobody needs"
	scribble 1
	run zumastor replicate a hostb:b --wait
	identical a b "$(newest a)"
}

part_chain() {
	local before tag last
	pair
	fresh c
	run zumastor define target b hostc:c
	run zumastor define source c hostb:b --keep 8
	scribble 1
	run zumastor replicate a hostb:b --wait
	before=$(tags b 'map(.tag)')
	run zumastor replicate b hostc:c --wait
	is "$(tags b 'map(.tag)')" "$before" "snapshots of a replica that sends: it makes none"
	tag=$(newest a)
	is "$(newest c)" "$tag" "the tag at the chain's end"
	identical b c "$tag"
	# B receives more than it keeps while C is away: the base of C is still there, and what is kept arrives.
	for _ in 1 2 3 4 5 6; do
		scribble 1
		run zumastor replicate a hostb:b --wait
	done
	is "$(tags b "map(.tag) | index($tag) != null")" true "whether the base of C is kept on B"
	run zumastor replicate b hostc:c --wait
	last=$(target hostb:b .snapshot)
	is "$(newest c)" "$last" "what C has after all"
	identical a c "$last"
	is "$(tags c "map(.tag) | . == sort")" true "whether C has them in order"
	is "$(received c .host)" hostb:b "the source of C"
	run zumastor forget target b hostc:c
}

# B asks for what it lacks, with a key that may do only that.
part_fetch() {
	local tag command ssh='^([^ ]*/)?ssh .*hosta' peer
	peer=$(uname -n):b
	forget_targets a
	fresh b
	[ -e /etc/ssh/hosta ] || host hosta 1
	key_for hosta 'command="zumastor send a --restrict",restrict'
	run zumastor define source b hosta:a --period yearly --keep 4
	is "$(systemctl show -P ActiveState zumastor-delta@b.timer)" active "the timer"
	scribble 2
	run zumastor replicate b --wait
	tag=$(newest a)
	identical a b "$tag"
	is "$(target "$peer" '"\(.state) \(.snapshot) [\(.last_error)]"')" "idle $tag []" "status upstream"
	is "$(received b '"\(.state) \(.snapshot) [\(.last_error)]"')" "idle $tag []" "status downstream"
	refused "$peer" zumastor delete a "$tag"
	for command in id 'zumastor send b --to hostb:b' 'zumastor receive a' 'zumastor send a --to $(id)' 'zumastor delete a 0'; do
		refused '' ssh -o BatchMode=yes hosta "$command"
	done
	# In the midst of it its ssh is killed.
	scribble 24
	run zumastor replicate b
	until_true 60 pkill -9 -f "$ssh" || fail "nobody fetches"
	fetched() { [ "$(newest a)" != "$tag" ] && is_now "$(received b '"\(.state) \(.snapshot)"')" "idle $(newest a)"; }
	until_true 240 fetched || fail "it does not go on by itself: $(zumastor status b)"
	identical a b "$(newest a)"
	run zumastor forget source b
	run zumastor forget target a "$peer"
	is "$(tags a 'map(select(.rotations | index("replica"))) | length')" 0 "snapshots that were made to be sent"
	is "$(problems a; problems b)" "" "problems"
	# For the other parts b is one that has never received anything.
	fresh b
}

# B's newest is mounted for readers there, and B itself never.
part_mount() {
	local tag reader
	pair
	mkdir -p /srv/b
	printf '\n[Mount]\nMountPoint=/srv/b\n' >>$conf/b.conf
	run systemctl daemon-reload
	for _ in 1 2; do
		scribble 1
		run zumastor replicate a hostb:b --wait
		tag=$(newest b)
		is "$(findmnt -no SOURCE /srv/b)" "/dev/mapper/zumastor-b@$tag" "what is mounted"
		cmp $content/scribble /srv/b/scribble || fail "/srv/b has other content"
	done
	# Somebody has a file open: he keeps what he has, and all others see what is new.
	cp $content/scribble /run/scribble
	exec {reader}</srv/b/scribble
	scribble 1
	run zumastor replicate a hostb:b --wait
	tag=$(newest b)
	is "$(findmnt -no SOURCE /srv/b)" "/dev/mapper/zumastor-b@$tag" "what is mounted while another has a file open"
	cmp $content/scribble /srv/b/scribble || fail "/srv/b has other content while another has a file open"
	cmp /run/scribble - <&$reader || fail "the open file has changed"
	exec {reader}<&-
	rm /run/scribble
	findmnt -no OPTIONS /srv/b | tr , '\n' | grep -qx ro || fail "/srv/b is not read-only"
	touch /srv/b/new 2>/dev/null && fail "/srv/b can be written to"
	is "$(findmnt -n -S /dev/mapper/zumastor-b)" "" "where B itself is mounted"
	# Up again, with what it has.
	run systemctl restart zumastor@b.service
	until_true 60 mountpoint -q /srv/b || fail "/srv/b is not mounted when b is up again"
	is "$(findmnt -no SOURCE /srv/b)" "/dev/mapper/zumastor-b@$tag" "what is mounted when b is up again"
	is "$(systemctl --failed --plain --no-legend)" "" "units that failed"
	run zumastor stop b
	mountpoint -q /srv/b && fail "/srv/b is mounted without b"
	sed -i '/^\[Mount\]$/d;/^MountPoint=/d' $conf/b.conf
	run systemctl daemon-reload
	run zumastor start b
}

# A key that may send to b, and nothing else.
part_restricted() {
	local command out before
	pair
	key_for hostb 'command="zumastor receive b --restrict",restrict'
	scribble 1
	run zumastor replicate a hostb:b --wait
	identical a b "$(newest a)"
	[ -e $conf/c.conf ] || fresh c
	before=$(tags b 'map(.tag)'; tags c 'map(.tag)')
	for command in id 'zumastor receive c' 'zumastor receive b; id' 'zumastor receive b $(id)' 'zumastor receive b c' \
		'zumastor receive b --abort' 'zumastor send a --to hostb:b' 'zumastor delete b 0' 'zumastor stop b' '/bin/sh' 'scp -t /root'; do
		refused 'receive b' ssh -o BatchMode=yes hostb "$command"
		out=$(ssh -o BatchMode=yes hostb "$command" 2>/dev/null </dev/null)
		[[ $out != *uid=* ]] || fail "$command was run"
	done
	is "$(tags b 'map(.tag)'; tags c 'map(.tag)')" "$before" "snapshots after commands that were refused"
	is "$(zumastor status b --json | jq -r .state)" up "b after commands that were refused"
	scribble 1
	run zumastor replicate a hostb:b --wait
	identical a b "$(newest a)"
	# Another volume than the key is for, as a target.
	run zumastor define target a hostb:c
	refused 'receive b' zumastor replicate a hostb:c --wait
	run zumastor forget target a hostb:c
	key_for hostb ''
}

part_directory() {
	local first_sum first second grown dev folder=/srv/deltas
	mkdir -p $folder
	run zumastor define target a file:$folder
	run zumastor replicate a file:$folder --wait
	first=$(target file:$folder .snapshot)
	first_sum=$(sum "/dev/zumastor/a@$first") || fail "a@$first"
	grown=$(du -sb $folder | cut -f1)
	scribble 2
	run zumastor replicate a file:$folder --wait
	second=$(target file:$folder .snapshot)
	within $((2 * mib)) $((4 * mib)) $(($(du -sb $folder | cut -f1) - grown)) "bytes of an increment in the folder"
	dev=$(loop ${size}M)
	run zumastor restore $folder "$dev"
	is "$(sum "$dev")" "$(sum "/dev/zumastor/a@$second")" "the newest, restored"
	unloop "$dev"
	dev=$(loop ${size}M)
	run zumastor restore $folder "$dev" --tag "$first"
	is "$(sum "$dev")" "$first_sum" "an older one, restored"
	refused_restores $folder "$dev" "$second"
	# The folder is away for a while.
	mv $folder $folder.away
	scribble 1
	refused "$folder" zumastor replicate a file:$folder --wait
	is "$(target file:$folder .state)" failing "the state of a target that is away"
	# Its mount point is there, and somebody looks into it.
	mkdir $folder
	refused "$folder" zumastor verify a file:$folder
	refused 'has lost its deltas' zumastor replicate a file:$folder --wait
	rm -r $folder
	mv $folder.away $folder
	run zumastor replicate a file:$folder --wait
	is "$(target file:$folder '"\(.state) [\(.last_error)]"')" "idle []" "the state of a target that is back"
	dev=$(loop ${size}M)
	run zumastor restore $folder "$dev"
	is "$(sum "$dev")" "$(sum "/dev/zumastor/a@$(target file:$folder .snapshot)")" "the newest, restored, after all"
	unloop "$dev"
	one_for_all file:$folder
	run zumastor forget target a file:$folder
	[ -n "$(ls $folder)" ] || fail "forgetting a target has emptied its folder"
}

# one_for_all TARGET: it gets the same snapshot as hostb:b, though a changes all the time.
one_for_all() {
	local writer before
	pair
	before=$(tags a 'map(.tag) | max')
	while :; do
		dd if=/dev/urandom of=$content/busy bs=4K count=1 conv=notrunc,fsync status=none
		sleep 0.1
	done &
	writer=$!
	run zumastor replicate a --wait
	kill $writer
	wait $writer 2>/dev/null
	is "$(target "$1" .snapshot)" "$(target hostb:b .snapshot)" "the snapshot of $1, beside that of hostb:b"
	is "$(tags a "map(select(.tag > $before)) | length")" 1 "snapshots that were made to be sent"
	identical a b "$(target hostb:b .snapshot)"
}

# refused_restores FOLDER DEVICE TAG
refused_restores() {
	local small before file dev=$2
	small=$(loop 32M)
	before=$(sum "$dev")
	refused 'small' zumastor restore "$1" "$small"
	refused '99999' zumastor restore "$1" "$dev" --tag 99999
	refused 'No such file' zumastor restore /nowhere "$dev"
	mkdir -p /run/restored
	run mount -o ro,noload "$dev" /run/restored
	refused 'mounted at /run/restored' zumastor restore "$1" "$dev"
	run umount /run/restored
	refused 'zumastor' zumastor restore "$1" /dev/zumastor/a
	is "$(sum "$dev")" "$before" "a device after refused restores"
	# A damaged delta is named, and not made something of.
	file=$(find "$1" -type f -size +1M -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
	cp -a "$file" /root/delta
	printf 'damage' | dd of="$file" bs=1 seek=$mib conv=notrunc status=none
	refused "$(basename "$file")" zumastor restore "$1" "$dev"
	cp -a /root/delta "$file"
	unloop "$small"
	run zumastor restore "$1" "$dev"
	is "$(sum "$dev")" "$(sum "/dev/zumastor/a@$3")" "restored from the file as it was"
	unloop "$dev"
}

# flip DEVICE BYTE: it becomes another one, past all caches.
flip() {
	local block=$(($2 / 4096)) byte
	run dd if="$1" of=/run/block bs=4096 skip=$block count=1 iflag=direct status=none
	byte=$(od -An -tu1 -j $(($2 % 4096)) -N 1 /run/block)
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %x $((byte ^ 1)))" | dd of=/run/block bs=1 seek=$(($2 % 4096)) conv=notrunc status=none
	run dd if=/run/block of="$1" bs=4096 seek=$block conv=notrunc oflag=direct status=none
	rm /run/block
}
# verified STATUS FILTER EXPECTED WHAT [OPTION]: of a verification of hostb:b.
verified() {
	local out
	out=$(zumastor verify a hostb:b --json "${@:5}" 2>/run/verify.err)
	is $? "$1" "$4: exit status ($out $(cat /run/verify.err))"
	is "$(jq -c "$2" <<<"$out")" "$3" "$4"
}
# says STATUS LINE [OPTION]: the same for people.
says() {
	local out
	out=$(zumastor verify a hostb:b "${@:3}")
	is "$? $out" "$1 $2" "what verify says"
}
# What is wrong downstream is found to the chunk, and mended; with a key that may do nothing but send.
part_verify() {
	local tag wire chunk=16384 first=$((20 * mib + 12345)) second=$((40 * mib + 5)) at good
	pair
	tag=$(target hostb:b .snapshot)
	key_for hostb 'command="zumastor receive b --restrict",restrict'
	wire=$(carried hostb)
	says 0 "b on hostb: snapshot $tag is the same: ${size}M compared"
	within 0 $((mib / 4)) $(($(carried hostb) - wire)) "bytes that a comparison sends"
	verified 0 '[.volume, .target, .snapshot, .compared, .different, .ranges, .origin_differs, .repaired]' \
		"[\"a\",\"hostb:b\",$tag,$((size * mib)),0,[],false,false]" "what is the same"
	before=$(tags b 'map(.tag)')
	# One byte of the replica itself: what it holds is good still, and increments would be refused.
	flip /dev/zumastor/b $second
	says 1 "b on hostb: snapshot $tag is the same: ${size}M compared; but b was written to since"
	# And one on the disk below, which both have.
	at=$((first / chunk * chunk))
	flip "$(sed -n 's/^Origin=//p' $conf/b.conf)" $first
	verified 1 '[.different, .ranges, .origin_differs, .repaired]' "[1,[[$at,$chunk]],true,false]" "one byte that differs"
	says 1 "b on hostb: snapshot $tag differs in 1 chunk (at byte $at)"
	scribble 1
	refused 'has changed since' zumastor replicate a hostb:b --wait
	is "$(tags b 'map(.tag)')" "$before" "snapshots after comparisons"
	verified 0 '[.snapshot, .different, .ranges, .repaired]' "[$tag,1,[[$at,$chunk]],true]" "a repair" --repair
	good=$(received b .snapshot)
	is "$good" 1000000000 "the snapshot of what was mended"
	is "$(sum "/dev/zumastor/b@$good")" "$(sum "/dev/zumastor/a@$tag")" "what was mended, beside the original"
	is "$(sum /dev/zumastor/b)" "$(sum "/dev/zumastor/a@$tag")" "b itself, beside the original"
	[ "$(sum "/dev/zumastor/b@$tag")" != "$(sum "/dev/zumastor/a@$tag")" ] || fail "the damaged snapshot was changed"
	is "$(tags b "map(select(.tag == $good or .tag == $tag) | .rotations | join(\",\")) | join(\" \")")" "received received" "rotations of the damaged and the good one"
	is "$(readlink -f /run/zumastor/snapshot/b/received.0)" "$(zumastor status b "$good" --json | jq -r '.snapshots[0].folder')" "received.0"
	says 0 "b on hostb: snapshot $tag is the same: ${size}M compared"
	# What comes next builds on it, under the tag that it has here.
	run zumastor replicate a hostb:b --wait
	identical a b "$(newest a)"
	repair_cut_off
	key_for hostb ''
	verify_folder
}

# The receiver dies in the midst of a repair: doing it again finishes it.
repair_cut_off() {
	local tag sent
	tag=$(target hostb:b .snapshot)
	run dd if=/dev/urandom of=/dev/zumastor/b bs=1M seek=8 count=8 conv=notrunc oflag=direct status=none
	run zumastor define target a hostb:b --rate-limit 1M
	sent=$(carried hostb)
	zumastor verify a hostb:b --repair >/run/verify.out 2>&1 &
	sent_some() { [ $(($(carried hostb) - sent)) -gt $((2 * mib)) ]; }
	until_true 120 sent_some || fail "nothing is repaired: $(cat /run/verify.out)"
	run pkill -9 -f "$receiver"
	wait $! && fail "a repair that was cut off went well: $(cat /run/verify.out)"
	is "$(wc -l </run/verify.out)" 1 "lines of a repair that was cut off ($(cat /run/verify.out))"
	run zumastor define target a hostb:b --rate-limit ''
	verified 1 '[.different, .origin_differs]' '[0,true]' "a repair that was cut off"
	refused 'has changed since' zumastor replicate a hostb:b --wait
	says 0 "b on hostb: snapshot $tag is the same: ${size}M compared; but b was written to since: repaired; there the good one is snapshot 1000000001" --repair
	is "$(sum /dev/zumastor/b)" "$(sum "/dev/zumastor/a@$tag")" "b itself, beside the original"
	scribble 1
	run zumastor replicate a hostb:b --wait
	identical a b "$(newest a)"
	says 0 "b on hostb: snapshot $(newest a) is the same: ${size}M compared"
	is "$(problems a; problems b)" "" "problems"
}

verify_folder() {
	local folder=/srv/verified file out
	run zumastor define target a file:$folder
	refused 'holds nothing' zumastor verify a file:$folder
	run zumastor replicate a file:$folder --wait
	scribble 2
	run zumastor replicate a file:$folder --wait
	out=$(zumastor verify a) || fail "verify of all targets: $out"
	is "$(wc -l <<<"$out")" 2 "lines of two targets ($out)"
	grep -q "^file:$folder: snapshot $(newest a): 2 deltas lead to it, all sound: " <<<"$out" || fail "verify of a folder: $out"
	refused 'not repaired' zumastor verify a file:$folder --repair
	file=$(find $folder -name '*-from-*.delta')
	cp -a "$file" /root/delta
	printf damage | dd of="$file" bs=1 seek=$mib conv=notrunc status=none
	refused "$(basename "$file")" zumastor verify a file:$folder
	cp -a /root/delta "$file"
	run zumastor verify a file:$folder
	refused 'no target' zumastor verify a hostc:c
	run zumastor forget target a file:$folder
}

part_forget() {
	local base before mine
	pair
	mine=$(zumastor snapshot a) || fail snapshot
	run zumastor define target a hostb:b --period yearly
	is "$(systemctl show -P ActiveState zumastor-delta@a.timer)" active "the timer"
	base=$(target hostb:b .snapshot)
	run zumastor forget target a hostb:b
	grep -qF '[Target hostb:b]' $conf/a.conf && fail "the target's section is there"
	[ "$(systemctl show -P ActiveState zumastor-delta@a.timer)" != active ] || fail "the timer is there"
	is "$(zumastor status a --json | jq -c '.targets // [] | map(select(.target == "hostb:b"))')" '[]' "what status says of it"
	# What was made for the target alone goes with it, and nothing else.
	is "$(tags a "map(.tag) | index($mine) != null")" true "whether a snapshot of one's own stays"
	is "$(tags a 'map(select(.rotations | index("replica"))) | length')" 0 "snapshots that were made to be sent"
	is "$(tags a "map(.tag) | index($base)")" null "the base of a target that is forgotten"
	run zumastor delete a "$mine"
	refused 'no target' zumastor replicate a hostb:b --wait
	before=$(tags b 'map(.tag)')
	source_goes
	is "$(section b Source)" "" "the source's section"
	is "$(tags b 'map(.tag)')" "$before" "snapshots after forgetting a source"
	# A volume like any other: written to, snapshotted, and not to be overwritten from outside.
	mkdir -p /run/b
	run mount /dev/zumastor/b /run/b
	run touch /run/b/mine
	run zumastor snapshot b
	run zumastor delete b "$(newest b)"
	run umount /run/b
	run zumastor define target a hostb:b
	refused 'source' zumastor replicate a hostb:b --wait
	run mount -o ro /dev/zumastor/b /run/b
	[ -e /run/b/mine ] || fail "what was written to b is gone"
	run umount /run/b
	run zumastor forget target a hostb:b
	run zumastor define schedule b --hourly 2
}

# B ceases to be a replica while it is reverted, which ends first, and while a sender is about to begin, which may not.
source_goes() {
	local sum revert late pipe=/run/late
	sum=$(sum /dev/zumastor/b)
	mkfifo $pipe
	zumastor receive b <$pipe >$pipe.out 2>$pipe.err &
	late=$!
	exec {sender_end}>$pipe
	until_true 30 [ -s $pipe.out ] || fail "the receiver does not tell its state"
	run dd if=/dev/urandom of=/dev/zumastor/b bs=1M count=8 oflag=direct status=none
	zumastor revert b "$(newest b)" >/run/revert.out 2>&1 &
	revert=$!
	until_true 30 grep -qx $revert /run/zumastor/lock/b.receiving || fail "the revert does not begin: $(cat /run/revert.out)"
	run zumastor forget source b
	wait $revert || fail "a revert, while the source is forgotten: $(cat /run/revert.out)"
	is "$(zumastor status b --json | jq -r .state)" up "b after a revert"
	head -c 65536 /dev/zero >&$sender_end
	exec {sender_end}>&-
	wait $late && fail "a stream to what is no replica any more was taken"
	grep -q 'is no replica' $pipe.err || fail "why a stream is not taken: $(cat $pipe.err)"
	is "$(sum /dev/zumastor/b)" "$sum" "b, which was reverted"
	rm $pipe $pipe.out $pipe.err
}

# Whatever was run: nothing stays behind.
leave() {
	local name
	run umount $content
	for name in a b c; do [ ! -e $conf/$name.conf ] || drop $name; done
	is "$(find /etc/zumastor /run/zumastor /var/lib/zumastor -path /run/zumastor/lock -prune -o -regex '.*/[abc]\([.@].*\)?' -print)" "" "what is left of forgotten volumes"
	for name in /etc/ssh/host[abc]; do no_host "$(basename "$name")"; done
	rm -r /run/systemd/system/zumastor-delta@.service.d
	run systemctl daemon-reload
	is "$(systemctl --failed --plain --no-legend)" "" "units that failed"
}

while [[ ${1:-} == --* ]]; do
	case $1 in
	--soak) soak=1 ;;
	--seed) seed=$2; shift ;;
	*) fail "$1: no such option" ;;
	esac
	shift
done
[ $# -gt 0 ] || set -- define first increments bookmark chain fetch mount restricted verify refusals faults directory \
	aborts week forget
# No hour begins while a part counts hourly snapshots.
run date -s "@$(((EPOCHSECONDS / 3600 + 1) * 3600 + 300))"
hosts
volume_a
for part; do
	begun=$(up_for)
	part_"$part"
	echo "$part: $(($(up_for) - begun)) s"
done
leave
echo "replicate: PASS"

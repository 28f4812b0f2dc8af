#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Every event is in the journal with its fields, in `status`, and told to the hook.
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "$0")/lib.sh"

told=/run/told
mkdir -p $told
cat >/etc/zumastor/hooks.d/event <<END
#!/bin/bash
# A hook may use zumastor itself: nobody waits for it.
zumastor status "\$ZUMASTOR_VOLUME" --json >/run/hook-status
env | grep ^ZUMASTOR_ >$told/.new && mv $told/.new $told/\$ZUMASTOR_EVENT\${ZUMASTOR_PERCENT:-}
END
chmod +x /etc/zumastor/hooks.d/event

# event NAME ID FIELD=VALUE...: is in the journal, and has reached the hook soon after.
event() {
	local name=$1 id=$2 field file=$told/$1
	shift 2
	for field; do [[ $field != ZUMASTOR_PERCENT=* ]] || file+=${field#*=}; done
	in_journal() { journalctl -b --no-pager -q -o json "MESSAGE_ID=$id" ZUMASTOR_VOLUME=ev "$@" | grep .; }
	until_true 40 in_journal "$@" || fail "$name: not in the journal"
	until_true 20 [ -e "$file" ] || fail "$name $*: no hook ran"
	for field in "ZUMASTOR_VOLUME=ev" "ZUMASTOR_EVENT=$name" "$@"; do
		grep -qxF "$field" "$file" || fail "$name: the hook was not told $field: $(cat "$file")"
	done
	grep -q '^ZUMASTOR_TEXT=.' "$file" || fail "$name: the hook was told no text"
	grep -q "^| $name | $id |" "$here/../events.md" || fail "$name: not in doc/events.md"
	rm "$file"
	echo "event: $name $*"
}
problem() { zumastor status ev --json | jq -r '.problems[].what' | grep -q "$1" || fail "status does not say: $1"; }

origin=$(loop 64M) store=$(loop 24M)
run zumastor define volume ev "$origin" "$store" --initialize --chunk-size 16K
run zumastor define schedule ev --hourly 3
tag=$(zumastor snapshot ev) || fail snapshot
fill() { dd if=/dev/urandom of=/dev/zumastor/ev bs=1M "$@" oflag=direct status=none; }

fill count=40 || fail "writes to a volume whose store is full"
# A store that fills quickly may pass a level between two looks.
until_true 20 eval "ls $told/store-filling??" || fail "nobody was told that the store fills up"
for percent in $told/store-filling??; do
	event store-filling 607d1f2bf54045a584e412649cd9809e "ZUMASTOR_PERCENT=${percent#*filling}"
done
event given-up fffc6ce10f164b1c8cf4814cb7e35b33 "ZUMASTOR_TAG=$tag"
problem "snapshot $tag was given up"
run zumastor delete ev "$tag"

tag=$(zumastor snapshot ev) || fail snapshot
run ddsnap priority /run/zumastor/server/ev "$tag" 127
until_true 10 eval 'zumastor status ev --json | jq -e "(.store.free_chunks / .store.total_chunks) > 0.5"' || fail "the store is not emptied"
rm -f $told/*
fill count=40 2>/dev/null && fail "writes go on beside a full store whose snapshot is kept"
event store-full c07ef973f0ca4d25b8d7a2393a6ef585
problem '% full'
run zumastor delete ev "$tag"

# No server: the kernel waits, and a job fails.
systemctl mask --runtime -q zumastor-server@ev.service
run systemctl stop zumastor-server@ev.service
zumastor run-schedule ev >/dev/null 2>&1 && fail "a job without a server"
event job-failed a7cacd4e14bf4b30878954512ea6868c
event link-waiting 9e0b6f1c2d7a4c64a5b3f5d0c8e14a7b
zumastor status ev | grep -q '^!' || fail "status names no problem without a server"
systemctl unmask --runtime -q zumastor-server@ev.service
systemctl reset-failed zumastor-server@ev.socket zumastor-server@ev.service 2>/dev/null
run systemctl start zumastor-server@ev.socket
problem 'the last snapshot job failed'
until_true 20 eval '[ "$(zumastor status ev --json | jq -r .link)" = connected ]' || fail "no link again"
run systemctl start zumastor-snapshot@ev.service
is "$(zumastor status ev --json | jq '.problems | length')" 0 "problems after a good job"

# A hook that hangs or fails holds nobody up, and is reported once.
printf '#!/bin/sh\nexit 3\n' >/etc/zumastor/hooks.d/event
mkdir /etc/zumastor/hooks.d/pre-snapshot && printf '#!/bin/sh\nfalse\n' >/etc/zumastor/hooks.d/pre-snapshot/x
chmod +x /etc/zumastor/hooks.d/pre-snapshot/x
zumastor snapshot ev >/dev/null 2>&1 || fail snapshot
until_true 20 eval 'journalctl -b -q -o cat --no-pager -u zumastor-events.service MESSAGE_ID=c325b38049574bcdac6bdef058ffa4e6 | grep "event hook"' ||
	fail "the event hook that failed is not reported"
is "$(systemctl is-active zumastor-events.path)" active "the path unit"
is "$(ls /run/zumastor/events)" "" "events left behind"
rm -r /etc/zumastor/hooks.d/*
run zumastor forget ev
is "$(systemctl is-failed zumastor-events.service)" inactive "the service of events"
unloop "$origin" "$store"
echo "events: PASS"

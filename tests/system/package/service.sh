#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Units: what systemd thinks of them, presets, the watchdog, and a file system that cannot stay
# frozen.  Needs the volumes of walk.sh, mounted.
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "$0")/lib.sh"

units() {
	local unit
	run systemd-analyze verify --generators=yes --man=no zumastor-agent.service zumastor-agent.socket zumastor@data.service \
		zumastor-server@data.service zumastor-server@data.socket zumastor-snapshot@my-vol.timer \
		zumastor-snapshot@my-vol.service zumastor-rest@my-vol.service zumastor-delta@my-vol.service zumastor-events.path zumastor-events.service \
		zumastor-metrics.service zumastor-metrics.timer
	for unit in zumastor-agent.service zumastor-server@data.service zumastor-metrics.service; do
		systemd-analyze security --no-pager "$unit" | tail -n 1
		systemd-analyze security --no-pager --threshold=40 "$unit" >/dev/null || fail "$unit is exposed"
	done
}

# By hand, and by presets, as an administrator would expect of any unit.
enabling() {
	is "$(systemctl is-enabled zumastor-agent.socket zumastor-metrics.timer zumastor@data.service | paste -sd,)" \
		enabled,disabled,enabled "what is enabled"
	run systemctl disable zumastor-agent.socket
	run systemctl enable zumastor-metrics.timer
	run systemctl preset zumastor-agent.socket zumastor-metrics.timer
	is "$(systemctl is-enabled zumastor-agent.socket zumastor-metrics.timer | paste -sd,)" enabled,disabled "after presets"
	run systemctl disable zumastor@data
	systemctl list-dependencies --plain local-fs.target | grep -q zumastor@data && fail "it would come up all the same"
	run systemctl enable zumastor@data
	systemctl list-dependencies --plain local-fs.target | grep -q zumastor@data || fail "it would not come up at boot"
	mountpoint -q /srv/data || fail "enabling has stopped it"
}

metrics() {
	mkdir -p /var/lib/prometheus/node-exporter
	run systemctl start zumastor-metrics.service
	grep -q 'zumastor_volume_up{volume="data"} 1' /var/lib/prometheus/node-exporter/zumastor.prom || fail "no metrics"
	is "$(stat -c %a /var/lib/prometheus/node-exporter/zumastor.prom)" 644 "who may read the metrics"
}

server_pid() { systemctl show -P MainPID zumastor-server@data.service; }
linked() { [ "$(zumastor status data --json | jq -r .link)" = connected ]; }

# A server that hangs is killed and started again; I/O waits, and goes on.
watchdog() {
	local dropin=/run/systemd/system/zumastor-server@.service.d pid writer
	mkdir -p $dropin && printf '[Service]\nWatchdogSec=8\n' >$dropin/quick.conf
	run systemctl daemon-reload
	run systemctl restart zumastor-server@data.service
	until_true 20 linked || fail "no link after a restart"
	zumastor snapshot data >/run/tag || fail snapshot
	pid=$(server_pid)
	kill -STOP "$pid"
	dd if=/dev/urandom of=/srv/data/note bs=64K count=16 oflag=sync status=none &
	writer=$!
	until_true 60 eval "[ \$(systemctl show -P MainPID zumastor-server@data.service) != $pid ]" || fail "the watchdog does not bite"
	wait $writer || fail "a write failed while the server hung"
	until_true 20 linked || fail "no link after the watchdog"
	journalctl --sync
	journalctl -b -q --no-pager -o cat -u zumastor-server@data.service | grep -q 'Watchdog timeout' || fail "it was not the watchdog"
	rm -r $dropin
	run systemctl daemon-reload
	run systemctl restart zumastor-server@data.service
	until_true 20 linked || fail "no link after a restart"
	run zumastor delete data "$(cat /run/tag)"
	echo before >/srv/data/note
	echo "watchdog: $pid was killed, the write went on"
}

# Waits until the file system is frozen; then $toucher is a process that waits for it.
await_frozen() {
	local i
	for ((i = 0; i < 100; i++)); do
		touch "$1" &
		toucher=$!
		sleep 0.3
		[ "$(cut -d' ' -f3 /proc/$toucher/stat 2>/dev/null)" != D ] && continue
		sleep 0.3
		[ "$(cut -d' ' -f3 /proc/$toucher/stat 2>/dev/null)" = D ] && return
	done
	fail "$1: the file system does not freeze"
}
# The moment in which it is frozen is made to last: a hook stops the server.
hold_frozen() {
	printf '#!/bin/sh\nsystemctl kill -s STOP "zumastor-server@$ZUMASTOR_VOLUME.service"\n' >/etc/zumastor/hooks.d/pre-snapshot
	chmod +x /etc/zumastor/hooks.d/pre-snapshot
}
thawed() {
	local begun=$SECONDS
	until_true 20 eval "! kill -0 $toucher" || fail "$1: stays frozen"
	# The limit of 10 s is not what has thawed it.
	[ $((SECONDS - begun)) -lt 7 ] || fail "$1: thawed after $((SECONDS - begun)) s only"
	echo "thawed after: $1"
}

# A volume of its own, without snapshots before each: so freezing it needs no copies, and no server.
frozen() {
	local maker origin store file=/run/fz/file
	origin=$(loop 32M) store=$(loop 32M)
	mkfs.ext4 -q "$origin" && mkdir -p /run/fz
	run zumastor define volume fz "$origin" "$store" --initialize
	run mount /dev/zumastor/fz /run/fz
	touch $file
	hold_frozen
	# The command alone is killed.
	zumastor snapshot fz >/dev/null 2>&1 &
	maker=$!
	await_frozen $file
	kill -9 $maker
	thawed "kill -9 of a command"
	answer
	# The whole job is killed, its guard included.
	run zumastor define schedule fz --hourly 1
	systemctl start --no-block zumastor-snapshot@fz.service
	await_frozen $file
	systemctl kill -s KILL zumastor-snapshot@fz.service
	thawed "kill -9 of all of a job"
	answer
	until_true 30 eval 'zumastor status fz --json | jq -r ".problems[].what" | grep "snapshot job failed: was killed"' ||
		fail "nobody says that the job was killed"
	# Nobody is killed, but the server does not answer: the limit thaws, and the command says so.
	zumastor snapshot fz >/dev/null 2>/run/late &
	maker=$!
	await_frozen $file
	until_true 30 eval "! kill -0 $toucher" || fail "there is no limit"
	systemctl kill -s CONT zumastor-server@fz.service
	wait $maker || fail "snapshot: $(cat /run/late)"
	grep -q 'was thawed before' /run/late || fail "the late snapshot is not called late: $(cat /run/late)"
	rm /etc/zumastor/hooks.d/pre-snapshot
	umount /run/fz
	run zumastor forget fz
	unloop "$origin" "$store"
	systemctl reset-failed zumastor-snapshot@fz.service 2>/dev/null
}
# The server goes on, and what it has made for a command that was killed is deleted.
answer() {
	systemctl kill -s CONT zumastor-server@fz.service
	until_true 30 eval '[ "$(tags fz length)" = 1 ]' || fail "the server does not go on"
	run zumastor delete fz "$(tags fz '.[0].tag')"
}

[ $# -gt 0 ] || set -- units enabling metrics watchdog frozen
for part; do $part; done
echo "service: PASS"

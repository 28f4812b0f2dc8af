# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Three hosts in one machine, and what replicate*.sh ask of them.  To be sourced.
#
# Host A is the machine itself and has volume a.  hostb and hostc (and hosta, for who fetches) are the same machine as
# ssh reaches it through a network of its own: A's ssh connects to a relay in a namespace, and that to an sshd with keys of its own.
#
#     A's ssh -> 10.9.N.2:22 (relay in the namespace link-HOST) -> 10.9.N.1:220N (sshd of HOST)
#
# So all that passes between two hosts passes one pair of interfaces, which counts it and can be cut.
# shellcheck source=tests/system/package/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

conf=/etc/zumastor/volumes
content=/srv/a # where a is mounted

# host NAME N
host() {
	local name=$1 net=10.9.$2 dir=/etc/ssh/$1
	mkdir -p "$dir" /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$dir/key" || fail "a key of $name"
	printf '%s\n' "Port 220$2" "ListenAddress $net.1" "HostKey $dir/key" "AuthorizedKeysFile $dir/authorized_keys" \
		'PermitRootLogin prohibit-password' 'UsePAM no' 'UseDNS no' 'PidFile none' >"$dir/sshd_config"
	key_for "$name" ''
	run ip netns add "link-$name"
	run ip link add "$name" type veth peer name far netns "link-$name"
	run ip address add "$net.1/24" dev "$name"
	run ip link set "$name" up
	run ip -n "link-$name" address add "$net.2/24" dev far
	run ip -n "link-$name" link set far up
	echo "$net.2 $name" >>/etc/hosts
	echo "$name $(cat "$dir/key.pub")" >>/root/.ssh/known_hosts
	run systemd-run -q --unit="sshd-$name" -p KillMode=process /usr/sbin/sshd -D -f "$dir/sshd_config"
	# Programs keep the machine's file systems and devices; the network alone is another one.
	run systemd-run -q --unit="relay-$name" -p SuccessExitStatus=143 nsenter --net="/run/netns/link-$name" \
		socat TCP-LISTEN:22,fork,reuseaddr "TCP:$net.1:220$2"
	until_true 60 ssh -o BatchMode=yes "$name" true || fail "$name cannot be reached"
}
# key_for HOST OPTIONS: what A's key may do there.
key_for() { echo "${2:+$2 }$(cat /root/.ssh/id_ed25519.pub)" >"/etc/ssh/$1/authorized_keys"; }
no_host() {
	run systemctl stop "relay-$1" "sshd-$1"
	run ip netns delete "link-$1"
	sed -i "/ $1\$/d" /etc/hosts
}
cut_link() { run ip -n "link-$1" link set far down; }
mend_link() { run ip -n "link-$1" link set far up; }
# carried HOST: bytes that have gone there.
carried() { cat "/sys/class/net/$1/statistics/tx_bytes"; }

hosts() {
	mkdir -p /root/.ssh
	chmod 700 /root/.ssh
	[ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 || fail "a key of A"
	run modprobe veth
	host hostb 2
	host hostc 3
	# A failed job is not tried again 5 minutes later, but at once.
	mkdir -p /run/systemd/system/zumastor-delta@.service.d
	printf '[Service]\nRestartSec=2\n' >/run/systemd/system/zumastor-delta@.service.d/quick.conf
	run systemctl daemon-reload
}

# volume NAME SIZE STORE
volume() { run zumastor define volume "$1" "$(loop "$2")" "$(loop "$3")" --initialize; }
# a is smaller than its replicas.
size=64
volume_a() {
	volume a ${size}M 192M
	run mkfs.ext4 -q -J size=4 -E lazy_itable_init=0,lazy_journal_init=0 /dev/zumastor/a
	mkdir -p $content
	mount_a
	run dd if=/dev/urandom of=$content/old bs=1M count=16 conv=fsync status=none
	scribble 1
}
mount_a() { run mount -o noatime /dev/zumastor/a $content; }
# scribble MIB: so much of a's content changes.
scribble() { run dd if=/dev/urandom of=$content/scribble bs=1M count="$1" conv=notrunc,fsync status=none; }
# fresh NAME: a volume for a replica that has never received anything.
fresh() {
	[ ! -e $conf/$1.conf ] || drop "$1"
	volume "$1" 80M 192M
}
has_target() { grep -qxF "[Target $2]" "$conf/$1.conf"; }
forget_targets() {
	local target
	while IFS= read -r target; do run zumastor forget target "$1" "$target"; done \
		< <(sed -n 's/^\[Target \(.*\)\]$/\1/p' "$conf/$1.conf")
}
# pair: b is a's replica, and has all that a has.
pair() {
	[ -e $conf/b.conf ] || fresh b
	has_target a hostb:b || run zumastor define target a hostb:b
	grep -qx '\[Source\]' $conf/b.conf || run zumastor define source b hosta:a --keep 4
	run zumastor replicate a hostb:b --wait
	identical a b "$(target hostb:b .snapshot)"
}

# section VOLUME NAME: the settings in it.
section() {
	awk -v head="[$2]" '$0 == head { in_it = 1; next } /^\[/ { in_it = 0 } in_it && NF' "$conf/$1.conf" | sort | paste -sd,
}
# target NAME FILTER [VOLUME]: what status says of a target (of a's).
target() { zumastor status "${3:-a}" --json | jq -r --arg t "$1" ".targets[] | select(.target == \$t) | $2"; }
# received VOLUME FILTER: what status says of a volume's source.
received() { zumastor status "$1" --json | jq -r ".source | $2"; }
problems() { zumastor status "$1" --json | jq -r '.problems[].what'; }
newest() { tags "$1" 'map(select(.state == "ok")) | last | .tag'; }
# arrived TAG: hostb:b has it, and nothing is under way.
# Or a later one: whoever tries again may make one.
arrived() {
	[ "$(target hostb:b .state)" = idle ] && [ "$(target hostb:b '.snapshot // -1')" -ge "$1" ]
}
is_now() {
	echo "$1"
	[ "$1" = "$2" ]
}
state_is() { is_now "$(target hostb:b .state)" "$1"; }
# past MIB: so much of a snapshot is on its way or there.
past() { zumastor status a --json | jq -e --argjson n "$1" '.targets[] | select(.target == "hostb:b" and .state == "running") | .progress.done > $n * 1048576'; }

# sum DEVICE: of as much as a has; past the page cache, which may be older than the device.
sum() { dd if="$1" bs=1M count=$size iflag=direct status=none | sha256sum | cut -d' ' -f1; }
# identical FROM TO TAG: the snapshot is the same on both.
identical() {
	local from to
	from=$(sum "/dev/zumastor/$1@$3") && to=$(sum "/dev/zumastor/$2@$3") || fail "snapshot $3 of $1 or $2 cannot be read"
	is "$to" "$from" "snapshot $3 of $2, beside that of $1"
	echo "identical: $1@$3 and $2@$3"
}
# Seconds that do not jump when the clock is set.
up_for() { cut -d. -f1 /proc/uptime; }
# within LEAST MOST NUMBER WHAT
within() {
	if [[ ! $3 =~ ^[0-9]+$ ]] || [ "$3" -lt "$1" ] || [ "$3" -gt "$2" ]; then fail "$4: $3, not $1 to $2"; fi
	echo "$4: $3"
}
# shellcheck disable=SC2034
mib=1048576

# Processes of a stream: the sender, its ssh, and what B's sshd runs.
# shellcheck disable=SC2034
sender='^([^ ]*/)?zumastor run-deltas a' sender_ssh='^([^ ]*/)?ssh .*hostb'
# shellcheck disable=SC2034
receiver='^([^ ]*/)?zumastor receive b'

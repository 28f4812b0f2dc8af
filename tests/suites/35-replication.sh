#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Replication between hosts: network namespaces joined by veth, links that are cut, processes that
# are killed, three hosts in a chain; memory; Ceph's own rbd merge-diff on exported deltas.
# One processor.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/plain.sh
. tests/lib/plain.sh
plain_make ddsnap ddsnap-server || exit 1
cd build/plain || exit 1
ddsnap=$PWD/ddsnap
rbd=$ZUMASTOR_TOP/tests/lib/rbd.py
dir=$(mktemp -d /var/tmp/replication.XXXXXX)
export TMPDIR=$dir
id=zr$$
servers=()
cleanup() {
	[ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null
	for ns in a b c; do ip netns del $id-$ns 2>/dev/null; done
	rm -rf "$dir"
}
trap cleanup EXIT
fail() { echo "FAIL: $*"; exit 1; }
step() { echo "== $* (${SECONDS}s)"; }

# In the background: the process that $! names is the program itself.
exec_on() { exec ip netns exec $id-"$1" env ZUMASTOR_STATEDIR="$dir/$1" "${@:2}"; }
on() { ip netns exec $id-"$1" env ZUMASTOR_STATEDIR="$dir/$1" "${@:2}"; }

# a - b - c, each link a veth pair.
for ns in a b c; do
	ip netns add $id-$ns || fail "network namespaces"
	ip -n $id-$ns link set lo up
	mkdir "$dir/$ns"
done
link() {  # NS PEER NET
	ip link add "v$1$2" netns $id-"$1" type veth peer name "v$2$1" netns $id-"$2" || fail "veth"
	ip -n $id-"$1" addr add "10.9.$3.1/24" dev "v$1$2" && ip -n $id-"$1" link set "v$1$2" up
	ip -n $id-"$2" addr add "10.9.$3.2/24" dev "v$2$1" && ip -n $id-"$2" link set "v$2$1" up
}
link a b 1
link b c 2

serve() {  # NS ORIGIN: a server over files, on socket $dir/NS/sock
	truncate -s 96M "$dir/$1/store"
	"$ddsnap" initialize "$dir/$1/store" "$2" >/dev/null || fail "initialize"
	./ddsnap-server -f "$dir/$1/store" "$2" "$dir/$1/agent" "$dir/$1/sock" >"$dir/$1/server.log" 2>&1 &
	servers+=($!)
	for _ in $(seq 600); do
		"$ddsnap" list "$dir/$1/sock" >/dev/null 2>&1 && return
		sleep 0.1
	done
	fail "server of $1: $(cat "$dir/$1/server.log")"
}

listen() {  # NS ADDRESS DEVICE [OPTION...]: sets port and listener
	exec_on "$1" "$ddsnap" delta listen --bind "$2" --timeout 3 "${@:4}" 0 "$3" >"$dir/$1/listen" 2>>"$dir/$1/listen.err" &
	listener=$!
	for _ in $(seq 600); do
		[ -s "$dir/$1/listen" ] && break
		kill -0 $listener 2>/dev/null || fail "listen: $(cat "$dir/$1/listen.err")"
		sleep 0.1
	done
	port=$(sed 's/.*port //' "$dir/$1/listen")
}

python3 "$rbd" volume 5 $((24 << 20)) "$dir/a/origin"
serve a "$dir/a/origin"
"$ddsnap" create "$dir/a/sock" 1 || fail create
send=(--device "$dir/a/origin" "$dir/a/sock" 1)

step "a sends to b while the link is cut three times"
truncate -s 24M "$dir/b/origin"
serve b "$dir/b/origin"
listen b 10.9.1.2 "$dir/b/origin" --server "$dir/b/sock"
exec_on a "$ddsnap" delta transmit -r --timeout 3 --retries 60 --rate-limit 2M "10.9.1.2:$port" "${send[@]}" \
	2>"$dir/a/transmit.err" &
transmitter=$!
for _ in 1 2 3; do
	sleep 1.5
	ip -n $id-a link set vab down
	sleep 4
	ip -n $id-a link set vab up
done
wait $transmitter || fail "transmit: $(cat "$dir/a/transmit.err")"
wait $listener || fail "listen: $(cat "$dir/b/listen.err")"
grep -q "trying again" "$dir/a/transmit.err" || fail "the link was never missed"
cmp "$dir/a/origin" "$dir/b/origin" || fail "b has other content"
"$ddsnap" status "$dir/b/sock" --state 1 || fail "b has no snapshot of what arrived"

step "b hands on to c, whose receiver is killed again and again"
truncate -s 24M "$dir/c/origin"
killed=0
for _ in $(seq 40); do
	rm -f "$dir/c/listen"
	listen c 10.9.2.2 "$dir/c/origin"
	exec_on b "$ddsnap" delta transmit -r --timeout 3 --retries 0 --rate-limit 8M --device "$dir/b/origin" \
		"10.9.2.2:$port" "$dir/b/sock" 1 2>"$dir/b/transmit.err" &
	transmitter=$!
	sleep 0.$((RANDOM % 9 + 1))
	if kill -9 $listener 2>/dev/null; then killed=$((killed + 1)); fi
	wait $listener 2>/dev/null
	wait $transmitter && break
	[ $killed -lt 6 ] || break
done
[ $killed -gt 0 ] || fail "nothing was killed"
rm -f "$dir/c/listen"
if ! on c "$ddsnap" delta receive --status --json "$dir/c/origin" | grep -q complete; then
	listen c 10.9.2.2 "$dir/c/origin"
	on b "$ddsnap" delta transmit --timeout 3 --device "$dir/b/origin" "10.9.2.2:$port" "$dir/b/sock" 1 ||
		fail "transmit to c"
	wait $listener || fail "listen: $(cat "$dir/c/listen.err")"
fi
cmp "$dir/a/origin" "$dir/c/origin" || fail "c has other content"
step "killed $killed times"

step "a sender that is killed, and nobody may listen but where he was told"
on c "$ddsnap" delta receive --forget "$dir/c/origin"
head -c 24M /dev/urandom >"$dir/c/origin"
listen c 10.9.2.2 "$dir/c/origin"
exec_on b "$ddsnap" delta transmit -r --rate-limit 4M --device "$dir/b/origin" "10.9.2.2:$port" "$dir/b/sock" 1 2>/dev/null &
transmitter=$!
sleep 1
kill -9 $transmitter; wait $transmitter 2>/dev/null
on b "$ddsnap" delta transmit --device "$dir/b/origin" "10.9.2.2:$port" "$dir/b/sock" 1 || fail "second sender"
wait $listener || fail "listen: $(cat "$dir/c/listen.err")"
cmp "$dir/a/origin" "$dir/c/origin" || fail "c has other content"
cp "$dir/a/origin" "$dir/b/spare"
exec_on b "$ddsnap" delta listen 7777 "$dir/b/spare" >"$dir/b/loopback" 2>&1 &
listener=$!
for _ in $(seq 600); do [ -s "$dir/b/loopback" ] && break; sleep 0.1; done
on a "$ddsnap" delta transmit --timeout 3 --retries 0 "10.9.1.2:7777" "${send[@]}" 2>/dev/null &&
	fail "listened on more than loopback"
kill $listener; wait $listener 2>/dev/null

step "memory does not grow with the volume"
python3 - "$ddsnap" "$dir" <<'END' || fail "memory"
import os, resource, subprocess, sys
ddsnap, folder = sys.argv[1:]
limit = 160 << 10  # KiB
with open(folder + "/big", "wb") as f:
    f.truncate(3 << 40)
    for i in range(320):
        f.seek(i << 33)
        f.write(os.urandom(1 << 20))
with open(folder + "/big.copy", "wb") as f:
    f.truncate(3 << 40)
os.mkdir(folder + "/m")
os.environ["ZUMASTOR_STATEDIR"] = folder + "/m"
run = lambda *words, **more: subprocess.run([ddsnap, *words], check=True, **more)
with open(folder + "/m/store", "wb") as f:
    f.truncate(64 << 20)
run("initialize", "-c", "1M", folder + "/m/store", folder + "/big", stdout=subprocess.DEVNULL)
server = subprocess.Popen(["./ddsnap-server", "-f", folder + "/m/store", folder + "/big",
                           folder + "/m/agent", folder + "/m/sock"], stderr=subprocess.DEVNULL)
try:
    while subprocess.run([ddsnap, "create", folder + "/m/sock", "1"], stderr=subprocess.DEVNULL).returncode:
        pass
    send = subprocess.Popen([ddsnap, "delta", "send", "--device", folder + "/big", folder + "/m/sock", "1"],
                            stdout=subprocess.PIPE)
    receive = subprocess.Popen([ddsnap, "delta", "receive", folder + "/big.copy"], stdin=send.stdout)
    send.stdout.close()
    for child in (send, receive):
        _, status, usage = os.wait4(child.pid, 0)
        print("peak", usage.ru_maxrss, "KiB")
        if status or usage.ru_maxrss > limit:
            sys.exit(f"status {status}, {usage.ru_maxrss} KiB")
    with open(folder + "/big", "rb") as a, open(folder + "/big.copy", "rb") as b:
        for i in range(320):
            a.seek(i << 33)
            b.seek(i << 33)
            assert a.read(1 << 20) == b.read(1 << 20)
    assert os.stat(folder + "/big.copy").st_blocks < (400 << 11)
finally:
    server.kill()
    os.unlink(folder + "/big")
    os.unlink(folder + "/big.copy")
END

step "Ceph merges what we export"
command -v rbd >/dev/null || fail "rbd is not installed"
cd "$dir" || exit 1
python3 "$rbd" volume 7 $((6 << 20)) one
python3 "$rbd" change 8 one two d1
python3 "$rbd" change 9 two three d2
for i in 1 2; do
	base=one; [ $i = 1 ] || base=two
	"$ddsnap" delta import --format rbd d$i delta$i $base || fail "import $i"
	from=s$((i - 1))
	"$ddsnap" delta export --format rbd --from-snap $from --to-snap s$i delta$i $base >x$i || fail "export $i"
done
rbd --no-progress merge-diff x1 x2 merged || fail "rbd merge-diff"
cp one copy
python3 "$rbd" apply merged copy
cmp copy three || fail "what rbd merged is not the target"
# What Ceph wrote is read back.
"$ddsnap" delta import --format rbd merged delta3 one || fail "import of what rbd wrote"
cp one copy
ZUMASTOR_STATEDIR=$dir/m "$ddsnap" delta receive copy <delta3 || fail "receive of what rbd wrote"
cmp copy three || fail "what rbd merged, as a delta, is not the target"
echo "replication: PASS (${SECONDS}s)"

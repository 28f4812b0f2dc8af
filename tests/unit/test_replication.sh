#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Streams on files: received, cut off, resumed, verified, sent by a server, over TCP, as RBD diffs.
# Runs where `ddsnap` was built; prints a line for each failure.
set -u
ddsnap=${DDSNAP:-./ddsnap}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
export ZUMASTOR_STATEDIR=$dir/var TMPDIR=$dir
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
failures=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
rbd() { python3 "$here/../lib/rbd.py" "$@" || fail "rbd.py $*"; }
same() { cmp "$1" "$2" || fail "$3: other content"; }

# good COMMAND...: exits 0; standard input is $in.
in=/dev/null
good() {
	"$ddsnap" "$@" <"$in" >"$dir/out" 2>"$dir/err" || fail "$*: exit $?: $(cat "$dir/err")"
}

# refused TEXT COMMAND...: exits 1 with one line that holds TEXT.
refused() {
	local text=$1 rc
	shift
	"$ddsnap" "$@" <"$in" >"$dir/out" 2>"$dir/err"
	rc=$?
	[ $rc -eq 1 ] || fail "$*: exit $rc"
	[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$*: not one line: $(cat "$dir/err")"
	grep -qF -- "$text" "$dir/err" || fail "$*: does not say '$text': $(cat "$dir/err")"
}
says() { grep -qF -- "$1" "$dir/out" || fail "output lacks '$1': $(head -n 5 "$dir/out")"; }

rbd volume 1 $(((3 << 20) + 512)) "$dir/base"
rbd change 2 "$dir/base" "$dir/target" "$dir/diff"

# A delta of a diff, checked against both ends.
for mode in -r -x "-b -z 5"; do
	# shellcheck disable=SC2086 # words
	good delta import --format rbd $mode "$dir/diff" "$dir/delta$mode" "$dir/base"
	good delta verify "$dir/delta$mode"
	says sound
	good delta verify "$dir/delta$mode" "$dir/base"
	says "holds the base"
	good delta verify --json "$dir/delta$mode" "$dir/target"
done
delta=$dir/delta-x
good delta show "$delta"
cp "$dir/base" "$dir/other"
printf X | dd of="$dir/other" bs=1 seek=100 conv=notrunc status=none
rbd change 3 "$dir/other" "$dir/foreign" "$dir/diff3"
good delta import --format rbd --volume 00112233-4455-6677-8899-aabbccddeeff "$dir/diff3" "$dir/delta3" "$dir/other"
refused "is not the base" delta verify "$delta" "$dir/foreign"
head -c 5000 "$delta" >"$dir/cut"
refused "truncated at byte 5000" delta verify "$dir/cut"

# And back: the diff of a delta makes the target.
good delta export --format rbd "$delta" "$dir/base"
cp "$dir/out" "$dir/back"
cp "$dir/base" "$dir/copy"
rbd apply "$dir/back" "$dir/copy"
same "$dir/copy" "$dir/target" "exported diff"
refused "differences" delta export --format rbd "$delta"
refused "name the device" delta import --format rbd "$dir/diff" "$dir/none"
[ ! -e "$dir/none" ] || fail "a refused import left a file"

# Received from a file and from a pipe; cut off and resumed; replayed; foreign.
for mode in -r -x "-b -z 5"; do
	cp "$dir/base" "$dir/copy"
	in=$dir/delta$mode
	good delta receive --json "$dir/copy"
	same "$dir/copy" "$dir/target" "receive $mode"
	refused "nothing to do" delta receive "$dir/copy"
	good delta receive --forget "$dir/copy"

	cp "$dir/base" "$dir/copy"
	size=$(stat -c %s "$dir/delta$mode")
	head -c $((size / 2)) "$dir/delta$mode" | { in=/dev/stdin; refused truncated delta receive "$dir/copy"; exit $failures; } ||
		failures=$((failures + 1))
	good delta receive --status "$dir/copy"
	says ddresume1:
	in=$dir/delta3
	refused "in the middle of another stream" delta receive "$dir/copy"
	in=$dir/delta$mode
	good delta receive --resume "$dir/copy"
	same "$dir/copy" "$dir/target" "resume $mode"
	good delta receive --forget "$dir/copy"
done
cp "$dir/base" "$dir/copy"
refused "nothing to resume" delta receive --resume "$dir/copy"
truncate -s 3M "$dir/copy"
refused "too small" delta receive "$dir/copy"
in=$dir/delta-r
cp "$dir/base" "$dir/copy"
flock "$dir/copy" -c "$(printf '%q ' "$ddsnap" delta receive "$dir/copy") <$in" 2>"$dir/err" && fail "a locked file was taken"
grep -qF "in use" "$dir/err" || fail "locked: $(cat "$dir/err")"
in=$dir/cut
refused truncated delta receive "$dir/copy"
same "$dir/copy" "$dir/base" "a damaged file"
in=/dev/null

# A server on files: a full stream, by a pipe, resumed by a token, and over TCP.
truncate -s 16M "$dir/store"
cp "$dir/base" "$dir/origin"
truncate -s 4M "$dir/origin"
good initialize "$dir/store" "$dir/origin"
./ddsnap-server -f "$dir/store" "$dir/origin" "$dir/agent" "$dir/sock" >"$dir/server.log" 2>&1 &
server=$!
for _ in $(seq 600); do
	[ -S "$dir/sock" ] && "$ddsnap" list "$dir/sock" >/dev/null 2>&1 && break
	sleep 0.1
done
good create "$dir/sock" 7
send=(delta send --device "$dir/origin" --from-device "$dir/origin")
good "${send[@]}" "$dir/sock" 7
cp "$dir/out" "$dir/full"
head -c 4M /dev/urandom >"$dir/copy"
in=$dir/full
good delta receive "$dir/copy"
same "$dir/copy" "$dir/origin" "full"
good delta receive --forget "$dir/copy"
[ "$(stat -c %s "$dir/full")" -lt "$(stat -c %s "$dir/origin")" ] || fail "a full stream holds zeroes"
truncate -s 0 "$dir/copy" && truncate -s 4M "$dir/copy"
head -c 60000 "$dir/full" >"$dir/cut"
cat "$dir/cut" | "$ddsnap" delta receive --zeroed "$dir/copy" 2>/dev/null && fail "a cut stream was taken"
good delta receive --status "$dir/copy"
token=$(cat "$dir/out")
in=/dev/null
good "${send[@]}" -r --resume "$token" --rate-limit 64M --json "$dir/sock"
[ "$(stat -c %s "$dir/out")" -lt "$(stat -c %s "$dir/origin")" ] || fail "a resumed stream is whole"
mv "$dir/out" "$dir/rest"
in=$dir/rest
good delta receive --resume "$dir/copy"
same "$dir/copy" "$dir/origin" "by token"
in=/dev/null
good delta receive --forget "$dir/copy"
refused "there is none" "${send[@]}" "$dir/sock" 8
refused "not a resume token" "${send[@]}" --resume nonsense "$dir/sock"
refused "not older" "${send[@]}" --from 7 "$dir/sock" 7

head -c 4M /dev/urandom >"$dir/copy"
"$ddsnap" delta listen 0 "$dir/copy" >"$dir/listen" 2>"$dir/listen.err" &
listener=$!
for _ in $(seq 600); do [ -s "$dir/listen" ] && break; sleep 0.1; done
port=$(sed 's/.*port //' "$dir/listen")
good delta transmit --retries 2 --device "$dir/origin" "127.0.0.1:$port" "$dir/sock" 7
wait $listener || fail "listen: $(cat "$dir/listen.err")"
same "$dir/copy" "$dir/origin" "over TCP"
refused "127.0.0.1:1" delta transmit --retries 0 --device "$dir/origin" 127.0.0.1:1 "$dir/sock" 7

# A replica that is an origin: its server makes a snapshot of what it is.
in=$dir/full
good create "$dir/sock" 1
good delta receive --server "$dir/sock" --tag 9 "$dir/origin"
good list "$dir/sock"
says 9
good delta receive --status --server "$dir/sock" "$dir/origin"
says "holds snapshot 7"
[ $failures -eq 0 ] && echo "all good"
exit $((failures > 0))

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# `zumastor restore` on files: whole chains and parts of them, damage, and restores that are cut off.
# Runs where `zumastor` was built; prints a line for each failure.
set -u
zumastor=${ZUMASTOR:-./zumastor}
maker=./tests/unit/test_delta_folder
[ -x $maker ] || { echo "no Check library: nothing makes the deltas"; exit 77; }
dir=$(mktemp -d)
export ZUMASTOR_STATEDIR=$dir/var TMPDIR=$dir
trap 'rm -rf "$dir"' EXIT
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# good ARGUMENTS...: exits 0.
good() {
	"$zumastor" restore "$@" >"$dir/out" 2>"$dir/err" || fail "restore $*: exit $?: $(cat "$dir/err")"
}

# refused TEXT ARGUMENTS...: exits 1 with one line that holds TEXT; writes nothing to $dir/dev.
refused() {
	local text=$1 rc
	shift
	cp "$dir/dev" "$dir/before"
	"$zumastor" restore "$@" >"$dir/out" 2>"$dir/err"
	rc=$?
	[ $rc -eq 1 ] || fail "restore $*: exit $rc"
	[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "restore $*: not one line: $(cat "$dir/err")"
	grep -qF -- "$text" "$dir/err" || fail "restore $*: does not say '$text': $(cat "$dir/err")"
	cmp -s "$dir/dev" "$dir/before" || fail "restore $*: has written"
}

# cut KIB ARGUMENTS...: killed by its first write past that place of the device.
cut() {
	local limit=$1 rc
	shift
	{ (ulimit -c 0 -f "$limit"; exec "$zumastor" restore "$@") >"$dir/out" 2>&1; } 2>/dev/null
	rc=$?
	[ $rc -eq $((128 + $(kill -l XFSZ))) ] || fail "restore $* up to ${limit}K: exit $rc: $(cat "$dir/out")"
}
says() { grep -qF -- "$1" "$dir/out" || fail "output lacks '$1': $(head -n 9 "$dir/out")"; }
lacks() { ! grep -qF -- "$1" "$dir/out" || fail "output has '$1'"; }

# holds TAG: the device begins with the snapshot's contents.
holds() { cmp -n "$(stat -c %s "$dir/$1")" "$dir/$1" "$dir/dev" || fail "other content than $1"; }

# Nothing is remembered of a restore that is over.
forgotten() { [ -z "$(ls -A "$dir/var/receive" 2>/dev/null)" ] || fail "left: $(ls "$dir/var/receive")"; }
noise() { head -c 3M /dev/urandom >"$dir/dev"; }

# 1, 2, 3 and 4 are one chain, in which 3 is the largest; 5 and 6 another.
deltas=$dir/deltas
$maker make "$deltas" "$dir" >"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }
file() { echo "$deltas/00000000$1.delta"; }
noise

# What there is.
good "$deltas"
says 'TAG  EPOCH  CREATED'
[ "$(wc -l <"$dir/out")" -eq 7 ] || fail "list: $(cat "$dir/out")"
good "$deltas" --json
python3 - "$dir/out" "$deltas" <<'END' || fail "list as JSON: $(cat "$dir/out")"
import json, os, sys
out = json.load(open(sys.argv[1]))
assert out["volume_uuid"] == "07070707-0707-0707-0707-070707070707" and out["unusable"] == []
assert [s["tag"] for s in out["snapshots"]] == [1, 2, 3, 4, 5, 6]
last = out["snapshots"][3]
assert last["epoch"] == 40 and last["created"] == "1970-01-01T00:00:04Z" and last["size"] == 2 << 20
assert last["device_size"] == 3 << 20 and len(last["files"]) == 4
assert last["bytes"] == sum(os.stat(f).st_size for f in last["files"])
assert len(out["snapshots"][5]["files"]) == 2
END
refused "No such file" "$dir/none"

# The newest, and those in the middle.
good "$deltas" "$dir/dev"
says "$dir/dev: now holds snapshot 6 of volume 07070707"
lacks "cut off"
holds 6
forgotten
for tag in 2 3 1 4 5; do
	noise
	good "$deltas" "$dir/dev" --tag $tag --json
	holds $tag
	forgotten
	says "\"tag\": $tag"
	says '"resumed": false'
done
refused "no snapshot 9" "$deltas" "$dir/dev" --tag 9

# A device that will not do.
truncate -s $(((3 << 20) - 4096)) "$dir/dev"
refused "too small" "$deltas" "$dir/dev" --tag 4
good "$deltas" "$dir/dev" --tag 6
holds 6
noise
flock "$dir/dev" "$zumastor" restore "$deltas" "$dir/dev" 2>"$dir/err" && fail "a locked file was taken"
grep -qF "in use" "$dir/err" || fail "locked: $(cat "$dir/err")"

# A link that is missing; damage where it matters, and where it does not.
mv "$(file 20-from-0000000010)" "$dir/away"
refused "no file makes snapshot 2 (epoch 20), the base of $(file 30-from-0000000020)" "$deltas" "$dir/dev" --tag 4
good "$deltas" "$dir/dev"
holds 6
printf nonsense >"$(file 20-from-0000000010)"
refused "$(file 20-from-0000000010): " "$deltas" "$dir/dev" --tag 3
refused "--tag" "$deltas" "$dir/dev"
good "$deltas" "$dir/dev" --tag 6
good "$deltas"
says "not usable: $(file 20-from-0000000010): "
size=$(stat -c %s "$dir/away")
head -c $((size - 1)) "$dir/away" >"$(file 20-from-0000000010)"
refused "$(file 20-from-0000000010): truncated at byte $((size - 1))" "$deltas" "$dir/dev" --tag 3
good "$deltas"
says "its end is missing"
good "$deltas" "$dir/dev" --tag 1
holds 1
cp "$dir/away" "$(file 20-from-0000000010)"
printf XXXX | dd of="$(file 20-from-0000000010)" bs=1 seek=$((size / 2)) conv=notrunc status=none
refused "$(file 20-from-0000000010): damaged at byte" "$deltas" "$dir/dev" --tag 3
good "$deltas" "$dir/dev" --tag 5
mv "$dir/away" "$(file 20-from-0000000010)"

# A delta too many: of another volume, or in another's place.
cp "$dir/foreign" "$deltas/some.delta"
refused "$deltas/some.delta: is a delta of volume 08080808" "$deltas" "$dir/dev"
cp "$(file 30-from-0000000020)" "$deltas/some.delta"
refused "both make snapshot 3" "$deltas" "$dir/dev" --tag 3
rm "$deltas/some.delta"

# Names and times say nothing.
mv "$(file 10-full)" "$deltas/zz.delta"
mv "$(file 40-from-0000000030)" "$deltas/00.delta"
touch "$deltas/zz.delta"
noise
good "$deltas" "$dir/dev" --tag 4
holds 4

# Cut off in the first delta, at several places, and in the third, which is the first to write past 1M.
for limit in 4 100 512 1000; do
	noise
	cut $limit "$deltas" "$dir/dev" --tag 3
	good "$deltas" "$dir/dev" --tag 3
	says "went on"
	holds 3
	forgotten
done
noise
cut 100 "$deltas" "$dir/dev" --tag 3
noise
good "$deltas" "$dir/dev" --tag 3
holds 3
for limit in 1100 2500 3000; do
	noise
	cut $limit "$deltas" "$dir/dev" --tag 4
	log=$(echo "$dir/var/receive/"*.restore)
	grep -q '"status": "partial"' "$log" || fail "not in the midst of a delta"
	grep -q '"epoch": 20' "$log" || fail "not in the third delta"
	good "$deltas" "$dir/dev" --tag 4
	holds 4
	forgotten
done

# Cut off, and then something else is wanted, or the device was changed: from the beginning.
noise
cut 2500 "$deltas" "$dir/dev" --tag 4
good "$deltas" "$dir/dev" --tag 2
lacks "went on"
holds 2
noise
cut 2500 "$deltas" "$dir/dev" --tag 4
noise
good "$deltas" "$dir/dev" --tag 4
lacks "went on"
holds 4
# In the hole that all have, where the delta that was cut off does not look.
noise
cut 2500 "$deltas" "$dir/dev" --tag 4
head -c 4096 /dev/urandom | dd of="$dir/dev" bs=4096 seek=80 conv=notrunc status=none
good "$deltas" "$dir/dev" --tag 4
lacks "went on"
holds 4
noise
cut 512 "$deltas" "$dir/dev" --tag 4
truncate -s 4M "$dir/dev"
good "$deltas" "$dir/dev" --tag 4
lacks "went on"
holds 4
forgotten
noise
cut 512 "$deltas" "$dir/dev" --tag 4
printf rubbish >"$log"
good "$deltas" "$dir/dev" --tag 4
lacks "went on"
holds 4
forgotten

# Between two deltas.
between() {
	noise
	"${DDSNAP:-./ddsnap}" delta receive --state "$log" "$dir/dev" <"$deltas/zz.delta" >"$dir/out" || fail "$(cat "$dir/out")"
	holds 1
}
between
good "$deltas" "$dir/dev" --tag 3
says "went on"
holds 3
between
changed=$(cmp "$dir/1" "$dir/2" | sed 's/.*byte \([0-9]*\),.*/\1/')
printf Z | dd of="$dir/dev" bs=1 seek=$((changed - 1)) conv=notrunc status=none
printf Z | dd of="$dir/dev" bs=1 seek=$((changed + 1)) conv=notrunc status=none
good "$deltas" "$dir/dev" --tag 3
lacks "went on"
holds 3
between
last=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["last"]["offset"])' "$log")
head -c 4096 /dev/urandom | dd of="$dir/dev" bs=1 seek="$last" conv=notrunc status=none
good "$deltas" "$dir/dev" --tag 3
lacks "went on"
holds 3
forgotten

# Killed at any moment, again and again: it ends, with the right contents.
noise
for ms in 1 2 4 8 15 30 60; do
	"$zumastor" restore "$deltas" "$dir/dev" --tag 4 >/dev/null &
	sleep "0.$(printf %03d $ms)"
	kill -9 $!
	wait $!
done 2>/dev/null
good "$deltas" "$dir/dev" --tag 4
holds 4
forgotten
[ $failures -eq 0 ] && echo "all good"
exit $((failures > 0))

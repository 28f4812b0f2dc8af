#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The tool's verbs that need no server, on files.  Runs where `ddsnap` was built
# (or where $DDSNAP says); prints a line for each failure.
set -u
ddsnap=${DDSNAP:-./ddsnap}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# good COMMAND...: exits 0 and complains of nothing.
good() {
	"$ddsnap" "$@" >"$dir/out" 2>"$dir/err" || fail "$*: exit $?: $(cat "$dir/err")"
	[ ! -s "$dir/err" ] || fail "$*: complains: $(cat "$dir/err")"
}

# refused CODE TEXT COMMAND...: exits with CODE and one line that holds TEXT.
refused() {
	local code=$1 text=$2 rc
	shift 2
	"$ddsnap" "$@" >"$dir/out" 2>"$dir/err" </dev/null
	rc=$?
	[ $rc -eq "$code" ] || fail "$*: exit $rc, not $code"
	[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$*: not one line: $(cat "$dir/err")"
	grep -qF -- "$text" "$dir/err" || fail "$*: does not say '$text': $(cat "$dir/err")"
}

says() { grep -qE -- "$1" "$dir/out" || fail "output lacks '$1': $(head -n 5 "$dir/out")"; }

json() {  # FIELD VALUE: of the last output
	python3 - "$dir/out" "$1" "$2" <<-'END' || fail "JSON: $1 is not $2: $(head -c 300 "$dir/out")"
		import json, sys
		value = json.load(open(sys.argv[1]))
		for key in sys.argv[2].split("."):
		    value = value[key]
		sys.exit(str(value) != sys.argv[3])
	END
}

truncate -s 8M "$dir/origin" "$dir/other"
truncate -s 16M "$dir/store"
truncate -s 4M "$dir/meta"

# Stores.
good initialize -c 64K "$dir/store" "$dir/origin"
says 'chunks of 64K'
refused 1 "holds a snapshot store" initialize "$dir/store" "$dir/origin"
good init -y --json -c 4K "$dir/store" "$dir/origin" "$dir/meta"
json chunk_size 4096
json origin_size 8388608
good check "$dir/store" "$dir/meta"
good check --json "$dir/store" "$dir/meta"
good dump "$dir/store" "$dir/meta"
good dump --json "$dir/store" "$dir/meta"
json chunk_size 4096
refused 1 "$dir/store" check "$dir/store"          # its metadata is elsewhere
refused 1 "same device" initialize -y "$dir/origin" "$dir/origin"
refused 1 "$dir/none" check "$dir/none"
refused 1 "$dir/origin" check "$dir/origin"
refused 2 "chunk" initialize -y -c nonsense "$dir/store" "$dir/origin"
refused 1 "chunk" initialize -y -c 5000 "$dir/store" "$dir/origin"
good check "$dir/store" "$dir/meta"                # refusals changed nothing

# Spam, and what is no delta.
good devspam --seed 3 "$dir/origin"
good devspam --verify --seed 3 "$dir/origin"
refused 1 "$dir/origin" devspam --verify --seed 4 "$dir/origin"
good devspam --seed 3 --generation 2 --percent 30 "$dir/origin"
good devspam --verify --json --seed 3 "$dir/origin"
cp "$dir/origin" "$dir/kept"
refused 1 "$dir/store" delta show "$dir/store"
refused 1 "$dir/store" apply-delta "$dir/store" "$dir/origin"
refused 1 "$dir/meta" create-delta -r "$dir/meta" "$dir/delta" "$dir/origin" "$dir/other"
[ ! -e "$dir/delta" ] || fail "a delta of nothing was left behind"
cmp "$dir/origin" "$dir/kept" || fail "a refused delta changed the device"

# Wrong usage.
refused 2 "nonsense" nonsense
refused 2 "required" create
refused 1 "$dir/nobody" status "$dir/nobody"
refused 1 "$dir/nobody" create "$dir/nobody" 1
refused 2 "tag" create "$dir/nobody" 4294967295

[ $failures -eq 0 ] && echo "all good"
exit $((failures > 0))

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Every libFuzzer target of tests/fuzz/Makemodule.am, each for a fixed number
# of inputs from its seed corpus.  FUZZ_RUNS and FUZZ_SECONDS (a bound for slow
# machines) change that; tests/run --soak fuzzes on, each time from other numbers.
set -eu
cd "$ZUMASTOR_TOP"
# shellcheck source=tests/lib/ccache.sh
. tests/lib/ccache.sh
ccache_compilers clang-19 clang++-19
[ -x configure ] || ./bootstrap
mkdir -p build/fuzz
top=$PWD
cd build/fuzz
[ -e Makefile ] || ../../configure --enable-werror --enable-fuzz CXXFLAGS='-gline-tables-only -O1'

runs=${FUZZ_RUNS:-100000} seconds=${FUZZ_SECONDS:-60} seed=1
[ -z "${ZUMASTOR_SOAK:-}" ] || { runs=-1 seconds=${FUZZ_SECONDS:-3600} seed=$RANDOM; }

# The programs that the Makemodule.am lists, by their folder's rule.
programs() {
	awk '/^noinst_PROGRAMS/ { on = 1 }
	     on { for (i = 1; i <= NF; i++) if ($i ~ "^tests/fuzz/" kind "_") print $i }
	     !/\\$/ { on = 0 }' kind="$1" "$top/tests/fuzz/Makemodule.am"
}
mapfile -t fuzzers < <(programs fuzz)
mapfile -t seeders < <(programs seed)
[ ${#fuzzers[@]} -gt 0 ] || { echo "no fuzz targets"; exit 1; }
make -j2 "${fuzzers[@]}" "${seeders[@]}"

fuzz() {
	local name=${1##*/fuzz_}
	local found=corpus/$name seeds=seeds/$name	# what was found before helps, and stays
	rm -rf "$seeds"
	mkdir -p "$found" "$seeds"
	[ ! -d "$top/tests/fuzz/corpus/$name" ] || cp "$top/tests/fuzz/corpus/$name"/* "$seeds"
	[ ! -x "tests/fuzz/seed_$name" ] || "tests/fuzz/seed_$name" "$seeds"
	[ -n "${ZUMASTOR_SOAK:-}" ] || { rm -rf "$found" && mkdir -p "$found"; }
	echo "== $name: $(find "$seeds" -type f | wc -l) seeds"
	"$1" -runs="$runs" -max_total_time="$seconds" -seed="$seed" -timeout=20 \
		-rss_limit_mb=2048 -artifact_prefix="artifacts/$name-" -print_final_stats=1 \
		-verbosity=0 "$found" "$seeds" ||
		{ echo "fuzz_$name found something; the input is $PWD/artifacts/$name-*"; return 1; }
}

rm -rf logs
mkdir -p artifacts logs
for fuzzer in "${fuzzers[@]}"; do
	[ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n || true
	log=logs/${fuzzer##*/fuzz_}
	{ fuzz "$fuzzer" >"$log" 2>&1 && touch "$log.passed"; } &
done
wait
rc=0
for fuzzer in "${fuzzers[@]}"; do
	log=logs/${fuzzer##*/fuzz_}
	[ -e "$log.passed" ] || rc=1
	[ ! -e "$log.passed" ] || cat "$log"
done
for fuzzer in "${fuzzers[@]}"; do	# at the end, where it is seen
	log=logs/${fuzzer##*/fuzz_}
	[ -e "$log.passed" ] || cat "$log"
done
exit $rc

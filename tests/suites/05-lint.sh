#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What a reader can hold the sources to without building them.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/sources.sh
. tests/lib/sources.sh
rc=0
tests/lib/check-includes.sh || rc=1

# Every source has its licence line.
while IFS= read -r f; do
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0' || { echo "$f: no SPDX line"; rc=1; }
done < <(sources_list '*.c' '*.h' '*.cc' '*.sh' '*.py' 'Makefile.am' '*/Makemodule.am')

# Every header compiles alone.
flags=$(pkg-config --cflags libsystemd libudev devmapper libzstd libcrypto libisal blkid mount)
while IFS= read -r h; do
	# shellcheck disable=SC2086 # flags are words
	g++ -std=gnu++23 -fsyntax-only -Ilib -Ikernel/uapi $flags -x c++ "$h" || { echo "$h: does not compile alone"; rc=1; }
done < <(sources_list 'lib/*.h')
gcc -fsyntax-only -x c kernel/uapi/dm-ddsnap.h || rc=1

# Scripts.
mapfile -t scripts < <(sources_list '*.sh' bootstrap tests/run tests/demo .ci/run 'tools/completion/bash/*' 'debian/zumastor.p*' debian/tests/volume debian/tests/deltas)
shellcheck -x -S warning "${scripts[@]}" || rc=1

mapfile -t scripts < <(sources_list '*.py')
pyflakes3 "${scripts[@]}" || rc=1

# Manual pages: well formed, and there for each that a unit names.
for page in doc/man/*; do
	out=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
	[ -z "$out" ] || { echo "$page: $out"; rc=1; }
done
while IFS= read -r page; do
	page=${page%)}
	[ -e "doc/man/${page/(/.}" ] || [ "${page%(*}" = systemd.time ] || { echo "systemd: names ${page/(/.}, which does not exist"; rc=1; }
done < <(grep -rhoE 'man:[a-z.]+\([0-9]\)' systemd | sed 's/^man://' | sort -u)

# One thing per file: none above the hard limit.
while IFS= read -r f; do
	n=$(wc -l <"$f")
	[ "$n" -le 900 ] || { echo "$f: $n lines"; rc=1; }
done < <(sources_list '*.c' '*.h' '*.cc' '*.py' '*.sh')
exit $rc

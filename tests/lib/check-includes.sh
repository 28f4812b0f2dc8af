#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Holds the tree to the layer table of doc/architecture.md.  Prints each
# violation as file:line and exits 1 if there is one.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0

# layer FOLDER ALLOWED...: project headers that FOLDER includes must be from
# FOLDER or the allowed ones.
layer() {
	local dir=$1 line inc top ok a
	shift
	while IFS= read -r line; do
		inc=${line##*\#include \"}
		inc=${inc%%\"*}
		case $inc in
		*/*) top=${inc%%/*} ;;
		dm-ddsnap.h) top=uapi ;;
		*) continue ;;
		esac
		ok=0
		for a in "$@"; do [ "$top" = "$a" ] && ok=1; done
		[ $ok = 1 ] || { echo "${line%%:#*}: $dir may not include $inc"; bad=1; }
	done < <(grep -rnE '^#include "' "$dir" --include='*.h' --include='*.cc')
}
layer lib/base base
layer lib/io base io
layer lib/store base io store
layer lib/wire base io wire uapi
layer lib/repl base io store wire repl
layer lib/dm base dm
layer lib/cli base cli
layer lib/volume base volume
layer lib/host base io host
layer daemons base io store wire repl dm cli host volume agent server
# tools/zumastor uses what both tools share, one folder up.
layer tools base io store wire repl dm cli host volume tools ..

# The uapi header has one reader in user space, and the kernel includes nothing of lib.
while IFS= read -r f; do
	[ "$f" = lib/wire/messages.h ] || { echo "$f: only lib/wire/messages.h may include dm-ddsnap.h"; bad=1; }
done < <(grep -rlE '#include [<"]([a-z/]*/)?dm-ddsnap.h[>"]' lib daemons tools)
if grep -rnE '#include "(base|io|store|wire|repl|dm|cli)/' kernel; then bad=1; fi
# Kernel versions are never asked for; features are probed in kernel/compat.
if grep -rnE 'LINUX_VERSION_CODE|KERNEL_VERSION *\(' kernel; then bad=1; fi
if grep -nE '^[[:space:]]*#[[:space:]]*if(n?def)?[[:space:]].*(HAVE_|CONFIG_)' kernel/*.c kernel/*.h 2>/dev/null; then bad=1; fi
exit $bad

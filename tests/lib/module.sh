# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The kernel module, built for user-mode Linux.  To be sourced.
#
#   module_build FOLDER   builds FOLDER/dm-ddsnap.ko from a copy of kernel/
#   module_check FOLDER   what checkpatch and sparse say of it; fails if anything

# shellcheck source=tests/lib/uml.sh
. "$(dirname "${BASH_SOURCE[0]}")/uml.sh"
# shellcheck source=tests/lib/sources.sh
. "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

module_build() {
	local tree
	tree=$(uml_build) || return 1
	sources_list 'kernel/*' | tar -C "$sources_top" --transform 's:^kernel/::' -c -T - |
		tar -C "$1" -x || return 1
	make -C "$tree" M="$1" ARCH=um W=1 KCFLAGS=-Werror modules >"$1/build.log" 2>&1 || {
		cat "$1/build.log"
		return 1
	}
}

module_check() {
	local tree said
	tree=$(uml_build) || return 1
	said=$(
		perl "$tree/scripts/checkpatch.pl" --no-tree --terse --max-line-length=100 -f \
			"$sources_top"/kernel/*.[ch] "$sources_top"/kernel/{compat,uapi}/*.h 2>&1
		make -C "$tree" M="$1" ARCH=um C=2 modules 2>&1 | grep -E ': (warning|error|note):'
	)
	[ -z "$said" ] || { echo "$said"; return 1; }
}

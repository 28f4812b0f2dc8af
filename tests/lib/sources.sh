# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The project's own files.  To be sourced.
#
#   sources_list [PATTERN...]   prints them, in the top folder: what git tracks,
#                      or, in an unpacked release, what is there
#   sources_copy FOLDER         copies them, with changes not yet committed
#   sources_key        a word that changes when any of them does that is part
#                      of what is installed

sources_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# shellcheck disable=SC2120 # its patterns are for suites
sources_list() (
	cd "$sources_top" || exit 1
	# Root may read a checkout of somebody else's.
	if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
		git -c safe.directory='*' ls-files -- "$@"
	else
		find . -path ./build -prune -o -path ./autom4te.cache -prune -o -type f -print |
			sed 's:^\./::' | sources_match "$@"
	fi | while IFS= read -r f; do [ ! -e "$f" ] || echo "$f"; done
)

sources_match() {
	local f pattern
	while IFS= read -r f; do
		[ $# -gt 0 ] || echo "$f"
		for pattern in "$@"; do
			# shellcheck disable=SC2053 # patterns are meant
			[[ $f == $pattern ]] && { echo "$f"; break; }
		done
	done
}

sources_copy() {
	mkdir -p "$1" && sources_list | tar -C "$sources_top" -c -T - | tar -C "$1" -x
}

sources_key() {
	sources_list | grep -vE '^tests/.*\.(sh|py|cc|h)$|^tests/(run|demo)$|^tests/.*Makemodule.am$|\.md$' | (cd "$sources_top" && xargs -d '\n' sha256sum) | sha256sum | cut -c1-16
}

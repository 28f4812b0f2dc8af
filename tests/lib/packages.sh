# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The project's packages, built once for one state of the sources.  To be sourced.
#
#   packages_build     builds zumastor and zumastor-dkms from a clean copy of
#                      the checkout and prints the folder that holds them, kept
#                      under $ZUMASTOR_CACHE

ZUMASTOR_CACHE=${ZUMASTOR_CACHE:-/var/cache/zumastor-tests}
# shellcheck source=tests/lib/sources.sh
. "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

packages_build() {
	local dir
	dir=$ZUMASTOR_CACHE/packages/$(sources_key)
	mkdir -p "$ZUMASTOR_CACHE/packages"
	(
		flock 9
		[ -e "$dir/done" ] && exit 0
		echo "building the packages" >&2
		# Earlier states are of no more use.
		find "$ZUMASTOR_CACHE/packages" -mindepth 1 -maxdepth 1 -type d -mmin +600 -exec rm -rf {} +
		rm -rf "$dir"
		mkdir -p "$dir"
		sources_copy "$dir/zumastor" || exit 1
		(cd "$dir/zumastor" && DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
			dpkg-buildpackage -us -uc -b) >"$dir/build.log" 2>&1 || {
			tail -n 30 "$dir/build.log" >&2
			exit 1
		}
		rm -rf "$dir/zumastor" "$dir"/*-dbgsym_*
		touch "$dir/done"
	) 9>"$ZUMASTOR_CACHE/packages/lock" || return 1
	echo "$dir"
}

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The project's packages, built once for one state of the sources.  To be sourced.
#
#   packages_build     builds zumastor and zumastor-dkms from a clean copy of
#                      the checkout and prints the folder that holds them, kept
#                      under $ZUMASTOR_CACHE; what packages_clean has built will do
#   packages_clean     the same, built by a user in a root file system that has their Build-Depends and
#                      nothing else; beside the .debs are build/ (all that the build left, with its .changes)
#                      and older/ (the same packages as version 0.9, to upgrade from)

ZUMASTOR_CACHE=${ZUMASTOR_CACHE:-/var/cache/zumastor-tests}
# shellcheck source=tests/lib/sources.sh
. "$(dirname "${BASH_SOURCE[0]}")/sources.sh"
# shellcheck source=tests/lib/chroot.sh
. "$(dirname "${BASH_SOURCE[0]}")/chroot.sh"

packages_build() {
	local dir
	dir=$ZUMASTOR_CACHE/clean/$(sources_key)
	[ -e "$dir/done" ] && { echo "$dir"; return; }
	dir=$ZUMASTOR_CACHE/packages/$(sources_key)
	mkdir -p "$ZUMASTOR_CACHE/packages"
	(
		flock 9
		[ -e "$dir/done" ] && exit 0
		echo "building the packages" >&2
		# Earlier states are of no more use.
		find "$ZUMASTOR_CACHE/packages" -mindepth 1 -maxdepth 1 -type d -mmin +600 -exec rm -rf --one-file-system {} +
		rm -rf --one-file-system "$dir"
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

packages_clean() {
	local dir
	dir=$ZUMASTOR_CACHE/clean/$(sources_key)
	mkdir -p "$ZUMASTOR_CACHE/clean"
	(
		flock 9
		[ -e "$dir/done" ] && exit 0
		echo "building the packages in a clean root file system" >&2
		# Earlier states are of no more use.
		find "$ZUMASTOR_CACHE/clean" -mindepth 1 -maxdepth 1 -type d -mmin +600 -exec rm -rf --one-file-system {} +
		rm -rf --one-file-system "$dir"
		mkdir -p "$dir/build" "$dir/older"
		packages_clean_in "$dir/root" "$dir" >"$dir/build.log" 2>&1 || {
			tail -n 30 "$dir/build.log" >&2
			rm -rf --one-file-system "$dir/root"
			exit 1
		}
		rm -rf --one-file-system "$dir/root"
		touch "$dir/done"
	) 9>"$ZUMASTOR_CACHE/clean/lock" || return 1
	echo "$dir"
}

# packages_clean_in ROOT DIR: the tests of `make check` are run elsewhere, and debug information is looked at
# nowhere; ZUMASTOR_SOAK has both.
packages_clean_in() {
	local root=$1 dir=$2 options flags=''
	options="parallel=$(nproc)"
	[ -n "${ZUMASTOR_SOAK:-}" ] || options="nocheck noautodbgsym $options" flags=-g0
	chroot_make build "$root" && sources_copy "$root/home/builder/zumastor" || return 1
	cat >"$root/home/builder/build" <<-END || return 1
		set -e
		export DEB_BUILD_OPTIONS="$options" DEB_CXXFLAGS_APPEND="$flags"
		cd ~/zumastor
		dpkg-buildpackage -us -uc -b
		mkdir ~/built ~/older && mv ../zumastor*_* ~/built
		# The same program under an older name: nothing is compiled again.
		sed -i '1s/(.*)/(0.9)/' debian/changelog
		rm debian/files
		dpkg-buildpackage -us -uc -b -nc
		mv ../zumastor*.deb ~/older
	END
	chroot "$root" chown -R builder: /home/builder
	chroot_run "$root" runuser -u builder -- sh /home/builder/build || return 1
	cp "$root"/home/builder/built/* "$dir/build/" && cp "$root"/home/builder/older/* "$dir/older/" || return 1
	rm -f "$dir"/older/*-dbgsym_*
	cp "$dir"/build/*.deb "$dir/" && rm -f "$dir"/*-dbgsym_*
}

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Debian root file systems to build and look at packages in.  To be sourced.
#
#   chroot_make build ROOT     unpacks at ROOT (a new folder) a root file system with build-essential and the
#                      Build-Depends of debian/control, and nothing else
#   chroot_make check ROOT     the same with the tools that look at packages: lintian, rpm, rpmlint, and what
#                      a release and its rpm are built with
#   chroot_run ROOT COMMAND... runs a command in it
#
# Both are of Debian 12, the oldest that the packages are for: what is built there installs on later ones.
# They are kept under $ZUMASTOR_CACHE.

ZUMASTOR_CACHE=${ZUMASTOR_CACHE:-/var/cache/zumastor-tests}
chroot_suite=bookworm
chroot_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib/vm_image.sh
. "$chroot_lib/vm_image.sh"

chroot_run() { vm_chroot "$@"; }

chroot_packages() {
	case $1 in
	build) echo build-essential ;;
	check) echo build-essential autoconf automake pkg-config rsync git lintian rpm rpmlint ccache ;;
	esac
}

# chroot_tar KIND: the path of its tar file, made on first use.
chroot_tar() {
	local kind=$1 control=$chroot_lib/../../debian/control key tar
	key=$({ chroot_packages "$kind"; awk '/^[^ ]/ { on = /^Build-Depends:/ } on' "$control"; } | sha256sum | cut -c1-12)
	tar=$ZUMASTOR_CACHE/chroot/$kind-$key.tar
	mkdir -p "$ZUMASTOR_CACHE/chroot"
	(
		flock 9
		[ -e "$tar" ] && exit 0
		echo "making the root file system to $kind packages in" >&2
		vm_sources $chroot_suite >"$tar.list" || exit 1
		vm_apt_options >"$tar.apt"
		# Of the source, build-dep looks at debian/control alone.
		mmdebstrap --mode=root --variant=buildd --format=tar \
			--include="$(chroot_packages "$kind" | tr ' ' ,)" \
			--aptopt="$tar.apt" --aptopt='Acquire::Languages "none"' \
			--aptopt='APT::Install-Recommends "false"' \
			--customize-hook='mkdir -p "$1/tmp/source/debian"' \
			--customize-hook="copy-in '$control' /tmp/source/debian" \
			--customize-hook='chroot "$1" apt-get -y build-dep /tmp/source' \
			--customize-hook='rm -r "$1/tmp/source"' \
			--customize-hook='chroot "$1" useradd -m builder' \
			$chroot_suite "$tar.part" "$tar.list" >"$tar.log" 2>&1 || {
			tail -n 20 "$tar.log" >&2
			exit 1
		}
		mv "$tar.part" "$tar"
	) 9>"$ZUMASTOR_CACHE/chroot/$kind.lock" || return 1
	echo "$tar"
}

chroot_make() {
	local tar
	tar=$(chroot_tar "$1") || return 1
	mkdir -p "$2" && tar -C "$2" --numeric-owner -xf "$tar" && chmod 755 "$2"
}

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Debian root file systems for virtual machines, made with mmdebstrap from the
# mirrors that this machine's own apt uses.  To be sourced.
#
#   vm_image SUITE           prints the path of a tar file with a root file
#                            system of SUITE (bookworm, trixie), made on first
#                            use and kept under $ZUMASTOR_CACHE
#   vm_disk SUITE DISK [--install DEB...] [--copy PATH...]
#                            makes DISK, an ext4 image of that root with the
#                            packages installed by apt and the paths copied to
#                            /opt/zumastor-tests; DISK.kernel and DISK.initrd
#                            are beside it

ZUMASTOR_CACHE=${ZUMASTOR_CACHE:-/var/cache/zumastor-tests}
vm_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# What every machine has: a kernel and the tools of the tests.  The libraries
# are those that the zumastor package depends on, so that apt needs no network.
vm_packages=(
	linux-image-cloud-amd64 linux-headers-cloud-amd64 dkms make
	systemd-sysv udev dmsetup kmod util-linux procps iproute2 netcat-openbsd
	e2fsprogs xfsprogs fio jq socat python3 binutils
	libsystemd0 libudev1 libdevmapper1.02.1 libzstd1 libisal2 libblkid1
	lvm2 thin-provisioning-tools
)
# shellcheck disable=SC2034 # both are used by name
vm_packages_bookworm=(libssl3)
# shellcheck disable=SC2034
vm_packages_trixie=(libssl3t64 systemd-cryptsetup-)

# vm_mirror LABEL: where apt takes Debian (or Debian-Security) from.
vm_mirror() {
	apt-get indextargets --format '$(REPO_URI)' "Label: $1" 'Created-By: Packages' |
		sed 's:/*$::' | sort -u | head -n 1
}

# vm_sources SUITE: a sources.list for SUITE on this machine's mirrors.
vm_sources() {
	local debian security
	debian=$(vm_mirror Debian)
	security=$(vm_mirror Debian-Security)
	[ -n "$debian" ] || { echo "vm_image: apt here has no Debian source" >&2; return 1; }
	echo "deb $debian $1 main"
	[ -z "$security" ] || echo "deb $security $1-security main"
}

# vm_apt_options: this machine's settings of apt that a mirror may need, one a
# line: proxies, and whether an old snapshot of the archive is welcome.
vm_apt_options() {
	apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) '
}

vm_package_list() {
	local -n own=vm_packages_$1
	local p
	for p in "${vm_packages[@]}" "${own[@]}"; do
		case $p in *-) ;; *) echo "$p" ;; esac
	done
}

vm_image() {
	local suite=$1 key tar
	key=$({ vm_package_list "$suite"; cat "$vm_lib/vm_guest.sh"; } | sha256sum | cut -c1-12)
	tar=$ZUMASTOR_CACHE/vm/$suite-$key.tar
	mkdir -p "$ZUMASTOR_CACHE/vm"
	(
		flock 9
		[ -e "$tar" ] && exit 0
		echo "making the $suite root file system" >&2
		vm_sources "$suite" >"$tar.list" || exit 1
		vm_apt_options >"$tar.apt"
		mmdebstrap --mode=root --variant=minbase --format=tar \
			--include="$(vm_package_list "$suite" | paste -sd,)" \
			--aptopt="$tar.apt" --aptopt='Acquire::Languages "none"' \
			--dpkgopt='path-exclude=/usr/share/doc/*' \
			--dpkgopt='path-exclude=/usr/share/man/*' \
			--dpkgopt='path-exclude=/usr/share/locale/*' \
			--customize-hook="sh '$vm_lib/vm_guest.sh' \"\$1\"" \
			"$suite" "$tar.part" "$tar.list" >&2 || exit 1
		mv "$tar.part" "$tar"
	) 9>"$ZUMASTOR_CACHE/vm/$suite.lock" || return 1
	echo "$tar"
}

# vm_chroot ROOT COMMAND...: runs a command in a root file system, without
# starting services, with the kernel's file systems that dkms and apt expect.
vm_chroot() {
	local root=$1 rc
	shift
	mount -t proc proc "$root/proc"
	mount -t devtmpfs dev "$root/dev" 2>/dev/null || mount --bind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/tmp"
	DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"
	rc=$?
	umount -R "$root/tmp" "$root/dev" "$root/proc" || umount -R -l "$root/tmp" "$root/dev" "$root/proc"
	return $rc
}

vm_disk() {
	local suite=$1 disk=$2 mode='' root tar rc=1 arg debs=() copies=()
	shift 2
	for arg in "$@"; do
		case $arg in
		--install | --copy) mode=$arg ;;
		*) if [ "$mode" = --install ]; then debs+=("$arg"); else copies+=("$arg"); fi ;;
		esac
	done
	tar=$(vm_image "$suite") || return 1
	root=$(mktemp -d "$disk.root.XXXXXX")
	vm_disk_fill && rc=0
	rm -rf --one-file-system "$root"
	return $rc
}

# The body of vm_disk, with its variables; the caller removes $root.
vm_disk_fill() {
	local image
	tar -C "$root" --numeric-owner -xf "$tar" || return 1
	chmod 755 "$root"
	if [ ${#debs[@]} -gt 0 ]; then
		mkdir "$root/packages"
		cp "${debs[@]}" "$root/packages/" || return 1
		printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
		chmod 755 "$root/usr/sbin/policy-rc.d"
		vm_chroot "$root" sh -c 'exec apt-get -y --no-install-recommends install /packages/*.deb' ||
			return 1
		rm -r "$root/packages" "$root/usr/sbin/policy-rc.d"
	fi
	mkdir -p "$root/opt/zumastor-tests"
	[ ${#copies[@]} -eq 0 ] || cp -a "${copies[@]}" "$root/opt/zumastor-tests/" || return 1
	image=$(cd "$root/boot" && ls -v vmlinuz-* | tail -n 1)
	cp "$root/boot/$image" "$disk.kernel" &&
		cp "$root/boot/initrd.img-${image#vmlinuz-}" "$disk.initrd" || return 1
	rm -f "$disk.part"
	truncate -s 6G "$disk.part" &&
		mke2fs -q -F -t ext4 -E lazy_itable_init=1,nodiscard -L root -d "$root" "$disk.part" &&
		mv "$disk.part" "$disk"
}

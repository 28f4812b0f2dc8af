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
	e2fsprogs xfsprogs fio jq socat python3 binutils openssh-server
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

# vm_sources SUITE [MORE...]: a sources.list for the suites on this machine's mirrors.
vm_sources() {
	local debian security suite
	debian=$(vm_mirror Debian)
	security=$(vm_mirror Debian-Security)
	[ -n "$debian" ] || { echo "vm_image: apt here has no Debian source" >&2; return 1; }
	for suite in "$@"; do
		echo "deb $debian $suite main"
	done
	[ -z "$security" ] || [ "$1" = sid ] || echo "deb $security $1-security main"
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
		vm_image_make "$suite" "$tar" "$(vm_package_list "$suite" | paste -sd,)"
	) 9>"$ZUMASTOR_CACHE/vm/$suite.lock" || return 1
	echo "$tar"
}

# vm_image_make SUITE TAR PACKAGE,... [HOOK...]: makes the tar file TAR from the sources in TAR.list. The
# hooks are shell commands that run last, outside the new root, whose path is their $1.
vm_image_make() {
	local suite=$1 tar=$2 packages=$3 hook hooks=()
	shift 3
	for hook in "sh '$vm_lib/vm_guest.sh' \"\$1\"" "$@"; do
		hooks+=("--customize-hook=$hook")
	done
	vm_apt_options >"$tar.apt"
	mmdebstrap --mode=root --variant=minbase --format=tar --include="$packages" \
		--aptopt="$tar.apt" --aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"${hooks[@]}" "$suite" "$tar.part" "$tar.list" >&2 && mv "$tar.part" "$tar"
}

# vm_chroot ROOT COMMAND...: runs a command in a root file system, without
# starting services, with the kernel's file systems that dkms and apt expect.  They are
# mounted in a namespace of its own: however this ends, none is left for an rm to find.
vm_chroot() {
	local root=$1
	shift
	DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 unshare --mount --propagation private bash -c '
		root=$1
		shift
		mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/tmp" &&
			mount -t tmpfs -o mode=755 dev "$root/dev" || exit 1
		while read -r name major minor; do
			mknod -m 666 "$root/dev/$name" c "$major" "$minor" || exit 1
		done <<-END
			null 1 3
			zero 1 5
			full 1 7
			random 1 8
			urandom 1 9
			tty 5 0
		END
		ln -s /proc/self/fd "$root/dev/fd"
		ln -s /proc/self/fd/0 "$root/dev/stdin"
		ln -s /proc/self/fd/1 "$root/dev/stdout"
		ln -s /proc/self/fd/2 "$root/dev/stderr"
		ln -s pts/ptmx "$root/dev/ptmx"
		mkdir "$root/dev/shm" "$root/dev/pts"
		mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts" || exit 1
		exec chroot "$root" "$@"' bash "$root" "$@"
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
	[ ${#debs[@]} -eq 0 ] || vm_root_install "$root" "${debs[@]}" || return 1
	mkdir -p "$root/opt/zumastor-tests"
	[ ${#copies[@]} -eq 0 ] || cp -a "${copies[@]}" "$root/opt/zumastor-tests/" || return 1
	image=$(cd "$root/boot" && ls -v vmlinuz-* | tail -n 1)
	vm_root_kernel "$root" "${image#vmlinuz-}" "$disk" && vm_root_pack "$root" "$disk"
}

# vm_root_install ROOT DEB...: installs packages by apt in the root file system, without starting services.
vm_root_install() {
	local root=$1
	shift
	mkdir "$root/packages"
	cp "$@" "$root/packages/" || return 1
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	vm_chroot "$root" sh -c 'exec apt-get -y --no-install-recommends install /packages/*.deb' || return 1
	rm -r "$root/packages" "$root/usr/sbin/policy-rc.d"
}

# vm_root_kernel ROOT RELEASE DISK: puts that kernel beside DISK, to be booted with it.
vm_root_kernel() {
	cp "$1/boot/vmlinuz-$2" "$3.kernel" && cp "$1/boot/initrd.img-$2" "$3.initrd"
}

# vm_root_pack ROOT DISK: makes the ext4 image DISK.
vm_root_pack() {
	rm -f "$2.part"
	truncate -s 6G "$2.part" &&
		mke2fs -q -F -t ext4 -E lazy_itable_init=1,nodiscard -L root -d "$1" "$2.part" &&
		mv "$2.part" "$2"
}

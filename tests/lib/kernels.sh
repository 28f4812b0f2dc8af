# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Root file systems with every kernel of kernels.list.  To be sourced; needs vm.sh.
#
#   kernels_roots       prints the suites that root file systems are made of
#   kernels_image ROOT  prints the path of a tar file with ROOT's kernels, their headers and dkms, made on
#                       first use and kept under $ZUMASTOR_CACHE.  In it, /etc/zumastor-kernels has a line
#                       for each kernel: KERNEL FROM RELEASE PACKAGE-VERSION

# shellcheck disable=SC2154 # vm_image.sh sets vm_lib
kernels_list=$vm_lib/kernels.list

# What a machine needs to have dkms build the module, to boot quickly, and to run test_target.py.
kernels_packages=systemd-sysv,udev,dmsetup,kmod,util-linux,procps,iproute2,e2fsprogs,socat,python3
kernels_packages+=,initramfs-tools,dkms,make,openssl

kernels_rows() { grep -E "^kernel +[^ ]+ +${1:-[^ ]+} " "$kernels_list"; }

kernels_roots() { kernels_rows | awk '{ print $3 }' | uniq; }

# kernels_debs FOLDER: has the packages of the list that no index names, checked.
kernels_debs() {
	local mirror sum path
	mkdir -p "$1"
	mirror=$(vm_mirror Debian)
	while read -r _ sum path; do
		[ -e "$1/${path##*/}" ] && continue
		/usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "$mirror/$path" \
			"$1/${path##*/}.part" "SHA256:$sum" >&2 && mv "$1/${path##*/}.part" "$1/${path##*/}" || return 1
	done < <(grep '^deb ' "$kernels_list")
}

kernels_image() {
	local root=$1 key tar debs=$ZUMASTOR_CACHE/vm/debs froms
	mapfile -t froms < <({ echo "$root"; kernels_rows "$root" | awk '{ print $4 }'; } | awk '!seen[$0]++')
	key=$({
		echo "$kernels_packages"
		kernels_rows "$root"
		grep '^deb ' "$kernels_list"
		cat "$vm_lib"/{vm,kernels}_guest.sh
	} | sha256sum | cut -c1-12)
	tar=$ZUMASTOR_CACHE/vm/kernels-$root-$key.tar
	mkdir -p "$ZUMASTOR_CACHE/vm"
	(
		flock 9
		[ -e "$tar" ] && exit 0
		echo "making the root file system of kernels on $root" >&2
		vm_sources "${froms[@]}" >"$tar.list" && kernels_debs "$debs" || exit 1
		vm_image_make "$root" "$tar" "$kernels_packages" \
			"sh '$vm_lib/kernels_guest.sh' \"\$1\" '$root' '$kernels_list' '$debs'"
	) 9>"$ZUMASTOR_CACHE/vm/kernels-$root.lock" || return 1
	echo "$tar"
}

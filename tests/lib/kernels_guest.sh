#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Installs kernels and their headers into a root file system.  See kernels.sh.
#   kernels_guest.sh FOLDER ROOT LIST DEBS
set -eu
folder=$1 root=$2 list=$3 debs=$4
index=$folder/tmp/index
chroot "$folder" apt-cache dumpavail | sed -n 's/^Package: //p' >"$index"

# newest KERNEL: the release of the newest cloud kernel of that version, in the index or in DEBS.
newest() {
	case $1 in
	newest) version='[0-9][^-]*' ;;
	*) version="$(echo "$1" | sed 's/\./\\./g')[.+][^-]*" ;;
	esac
	{ cat "$index"; ls "$debs" | sed 's/_.*//'; } |
		sed -n "s/^linux-image-\($version\(-[^-]*\)\{0,1\}-cloud-amd64\)\$/\1/p" | sort -V | tail -n 1
}

# install TARGET PACKAGE...: by name, or by file where the index does not have it.
install() {
	target=$1
	shift
	args=''
	for name; do
		if grep -qFx "$name" "$index"; then
			args="$args $name"
		else
			cp "$debs/${name}"_*.deb "$folder/var/tmp/"
			args="$args /var/tmp/${name}_*.deb"
		fi
	done
	chroot "$folder" sh -c "DEBIAN_FRONTEND=noninteractive exec apt-get -y --no-install-recommends \
		${target:+-t $target} install $args"
	rm -f "$folder"/var/tmp/*.deb
}

# missing RELEASE: names of the packages in DEBS that belong to that kernel.
missing() {
	ls "$debs" | sed -n 's/_.*//p' | grep -Fe "-$1" | grep -Fvx "linux-headers-$2"
}

grep -E "^kernel +[^ ]+ +$root " "$list" | while read -r _ kernel _ from; do
	release=$(newest "$kernel")
	[ -n "$release" ] || { echo "$from has no kernel $kernel: edit ${list##*/}" >&2; exit 1; }
	case $from in *-backports) target=$from ;; *) target='' ;; esac
	# shellcheck disable=SC2046 # names are words
	install "$target" "linux-image-$release" "linux-headers-$release" \
		$(missing "${release%-cloud-*}" "$release") </dev/null
	# The first one's packages stay, for tests that install a kernel.
	if [ ! -e "$folder/opt/kernel" ]; then
		mkdir "$folder/opt/kernel"
		cp "$folder"/var/cache/apt/archives/linux-*-"$release"_*.deb "$folder/opt/kernel/"
	fi
	echo "$kernel $from $release $(chroot "$folder" dpkg-query -W -f '${Version}' "linux-image-$release")" \
		>>"$folder/etc/zumastor-kernels"
done
rm "$index"

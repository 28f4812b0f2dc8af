#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs what building and testing need, from the distribution's packages.
#   setup.sh [demo|bench]   only what tests/demo needs, or that and what `make bench` needs
set -eu
packages=(
	# the packages
	autoconf automake g++ make pkg-config libsystemd-dev libudev-dev libdevmapper-dev
	libcli11-dev nlohmann-json3-dev libzstd-dev libssl-dev libisal-dev libxxhash-dev libblkid-dev libmount-dev check
	dpkg-dev debhelper dh-dkms systemd git ca-certificates
	# virtual machines
	mmdebstrap qemu-system-x86 socat python3 e2fsprogs
)
case ${1:-} in
demo) ;;
bench) packages+=(
	fio thin-provisioning-tools dmsetup kmod cpio zstd rsync
	# the file system that has a history
	flex bison bc libelf-dev libc6-dev xz-utils gcc
) ;;
*) packages+=(
	clang-19 libclang-rt-19-dev shellcheck pyflakes3 zsh sparse groff-base
	# the kernel of user-mode Linux, and what runs in it
	linux-source-6.1 flex bison bc libelf-dev libc6-dev xz-utils patch kmod rsync
	dmsetup xfsprogs iproute2 gcc cpio ceph-common ccache
) ;;
esac
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"

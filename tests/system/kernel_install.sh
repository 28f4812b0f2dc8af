#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs zumastor-dkms and kernels in a root file system of tests/lib/kernels.sh, in every order and with
# one kernel on which the module cannot be built.  dpkg must be content, and every kernel have an initrd.
#   kernel_install.sh PACKAGE...
set -u
export DEBIAN_FRONTEND=noninteractive
read -r _ _ kernel _ </etc/zumastor-kernels
debs=(/opt/kernel/*.deb)
names=()
for deb in "${debs[@]}"; do names+=("$(dpkg-deb -f "$deb" Package)"); done
header=/usr/src/linux-headers-${kernel%-cloud-amd64}-common/include/linux/device-mapper.h
log=/tmp/kernel-install.log

fail() { cat "$log"; echo "kernel_install: $*"; exit 1; }

step() {
	echo "== $*"
	: >"$log"
}

run() { "$@" >>"$log" 2>&1 </dev/null || fail "$*: status $?"; }

module() { compgen -G "/lib/modules/$1/updates/dkms/dm-ddsnap.ko*" >/dev/null; }

purge() {
	run dpkg --purge "${names[@]}"
	! module "$kernel" || fail "the module of a removed kernel is still there"
}

# sound WHY: the kernel is installed, with an initrd, without the module, and somebody said WHY.
sound() {
	[ -z "$(dpkg --audit)" ] || { dpkg --audit; fail "dpkg is not content"; }
	for name in "${names[@]}"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name")" = installed ] || fail "$name is not installed"
	done
	[ -s "/boot/initrd.img-$kernel" ] || fail "no initrd"
	! module "$kernel" || fail "a module that cannot be"
	grep -q "zumastor-dkms: kernel $kernel gets no dm-ddsnap.*$1" "$log" || fail "nobody said: $1"
	grep "^zumastor-dkms: " "$log"
}

step "zumastor-dkms where a kernel's headers are damaged"
mv "$header" "$header.away" || fail "no $header"
run apt-get -y --no-install-recommends install "$@"
sound 'the build failed'

step "a kernel with damaged headers where zumastor-dkms is"
purge
run dpkg -i "${debs[@]}"
sound 'the build failed'
mv "$header.away" "$header"

step "a kernel without device-mapper"
purge
run dpkg --unpack "${debs[@]}"
config=/usr/src/linux-headers-$kernel/include/config/auto.conf
sed -i.away '/^CONFIG_BLK_DEV_DM=/d' "$config" || fail "no $config"
run dpkg --configure -a
sound 'it has no CONFIG_BLK_DEV_DM'
mv "$config.away" "$config"

step "an old kernel"
old=4.19.0-1-amd64
mkdir -p "/lib/modules/$old" && ln -s "$(realpath "/lib/modules/$kernel/build")" "/lib/modules/$old/build"
run env DPKG_MAINTSCRIPT_NAME=postinst DPKG_MAINTSCRIPT_PACKAGE=linux-headers-$old \
	run-parts --exit-on-error --arg=$old /etc/kernel/header_postinst.d
grep "zumastor-dkms: kernel $old gets no dm-ddsnap.*it is older than 5.10" "$log" || fail "nobody said why"
rm -r "/lib/modules/$old"

step "a good kernel where zumastor-dkms is"
purge
run dpkg -i "${debs[@]}"
[ -z "$(dpkg --audit)" ] && [ -s "/boot/initrd.img-$kernel" ] || fail "dpkg is not content"
module "$kernel" || fail "no module"
run dpkg-query -W zumastor-dkms dkms

# What the table says of each kernel.
while read -r name from release version; do
	module "$release" || { dkms status; fail "no module for $release"; }
	signer=$(modinfo -k "$release" -F signer dm-ddsnap)
	# dkms signs from 3.0 on.
	[ -n "$signer" ] || ! grep -q mok_signing_key /usr/sbin/dkms || fail "the module for $release is not signed"
	echo "$name $from $release $version $(dpkg-query -W -f '${Version}' dkms) ${signer:+yes}" >>/etc/zumastor-built
done </etc/zumastor-kernels
cat /etc/zumastor-built

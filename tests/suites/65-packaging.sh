#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The packages as packages.  PACKAGING_PARTS (all unless told) is which parts are run:
#   lintian    nothing that Debian's checker has to say about the .debs and their .changes
#   release    make distcheck; the tarball's rpms, which have the same files, and rpmlint
#   life       install, upgrade, remove, reinstall, purge: what is left behind, and what of others touched
#   machine    in a virtual machine: the autopkgtests; an upgrade, restarts and kills below a volume under
#              load; a removal while a volume is up
# `life` and `machine` are for the Debian suites in PACKAGE_SUITES (trixie unless told).
set -u -o pipefail
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/packages.sh
. tests/lib/packages.sh
# shellcheck source=tests/lib/vm.sh
. tests/lib/vm.sh
roots=$(mktemp -d "${TMPDIR:-/var/tmp}/zumastor-roots.XXXXXX")
cleanup() {
	vm_cleanup
	rm -rf --one-file-system "$roots"
}
trap cleanup EXIT
PACKAGES=${PACKAGES:-$(packages_clean)} || exit 1
read -ra suites <<<"${PACKAGE_SUITES:-trixie}"

as_builder() { chroot_run "$roots/check" runuser -u builder -- sh -c "cd ~ && $1"; }

lintian() {
	cp -r "$PACKAGES/build" "$roots/check/home/builder/built" &&
		as_builder 'lintian --pedantic --display-info --show-overrides built/*.changes' &&
		# What is shown as overridden would count.
		as_builder 'lintian --fail-on error,warning built/*.changes'
}

# What was compiled for an earlier run is kept as the other suites' is (tests/lib/ccache.sh).
release() {
	local home=$roots/check/home/builder kept=$ZUMASTOR_CACHE/ccache-release
	sources_copy "$home/zumastor" || return 1
	[ ! -d "$kept" ] || cp -r "$kept" "$home/ccache"
	chroot "$roots/check" chown -R builder: /home/builder || return 1
	as_builder 'export CXX="ccache g++" CCACHE_DIR=~/ccache CCACHE_BASEDIR=~ CCACHE_NOHASHDIR=1
		cd zumastor && ./bootstrap && mkdir -p build/dist && cd build/dist && ../../configure CXXFLAGS="-O2 -g0" &&
		make -j'"$(nproc)"' distcheck DISTCHECK_CONFIGURE_FLAGS="CXXFLAGS=\"-O2 -g0\""' >"$VM_DIR/distcheck.log" 2>&1 || { tail -n 40 "$VM_DIR/distcheck.log"; return 1; }
	grep -A 2 'archives ready for distribution' "$VM_DIR/distcheck.log"
	# No package of debug information is made, so that the linker strips.
	as_builder 'export CXX="ccache g++" CCACHE_DIR=~/ccache CCACHE_BASEDIR=~ CCACHE_NOHASHDIR=1 LDFLAGS=-s
		rpmbuild -ta --nodeps --define "optflags -O2 -g0" --define "debug_package %{nil}" zumastor/build/dist/zumastor-*.tar.xz' >"$VM_DIR/rpm.log" 2>&1 ||
		{ tail -n 40 "$VM_DIR/rpm.log"; return 1; }
	rm -rf "$kept" && cp -r "$home/ccache" "$kept" || return 1
	same_files && as_builder 'rpmlint --strict -r zumastor/rpm/zumastor.rpmlintrc rpmbuild/RPMS rpmbuild/SRPMS zumastor/build/dist/rpm/zumastor.spec'
}

# Debian keeps some files elsewhere, numbers its udev rules otherwise and compresses manual pages, and a kernel that is
# installed there runs hooks of the packages; besides that both formats have the same files, and the same source
# of the module.
same_files() {
	local home=$roots/check/home/builder kind package
	mkdir "$home/deb" "$home/rpm"
	for package in "$PACKAGES"/*.deb; do
		dpkg-deb -x "$package" "$home/deb" || return 1
	done
	for package in "$home"/rpmbuild/RPMS/*/zumastor-[0-9]*.rpm "$home"/rpmbuild/RPMS/*/zumastor-dkms-*.rpm; do
		chroot_run "$roots/check" rpm2cpio "${package#"$roots/check"}" | (cd "$home/rpm" && cpio -id --quiet) || return 1
	done
	for kind in deb rpm; do
		(cd "$home/$kind" && find . \( -type f -o -type l \) ! -path './usr/share/doc/*' ! -path './usr/share/licenses/*' \
			! -path './usr/share/lintian/*' ! -path './usr/lib/.build-id/*' \
			! -path './etc/kernel/*.d/50-zumastor-dkms' ! -path './usr/share/zumastor-dkms/build-for' |
			sed -e 's:^\./lib/:./usr/lib/:' -e 's:rules.d/[0-9]*-:rules.d/:' -e 's:\.gz$::' | sort) >"$VM_DIR/$kind.files"
	done
	diff "$VM_DIR/deb.files" "$VM_DIR/rpm.files" && diff -r "$home/deb/usr/src" "$home/rpm/usr/src"
}

# A root file system with kernel headers; installing must not need a network.
life() {
	local suite=$1 root=$roots/life-$1 tar
	tar=$(vm_image "$suite") && mkdir "$root" && tar -C "$root" --numeric-owner -xf "$tar" || return 1
	mkdir "$root/packages"
	cp -r "$PACKAGES"/*.deb "$PACKAGES/older" tests/system/package_life.sh "$root/packages/" || return 1
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root" "$root/usr/sbin/policy-rc.d"
	vm_chroot "$root" bash /packages/package_life.sh
}

machine() {
	local suite=$1 disk=$VM_DIR/$1.disk
	mkdir -p "$roots/new" && cp "$PACKAGES"/*.deb "$roots/new/" || return 1
	vm_disk "$suite" "$disk" --install "$PACKAGES"/older/*.deb --copy tests debian/tests/* "$roots/new" \
		>"$disk.log" 2>&1 || { tail -n 30 "$disk.log"; return 1; }
	vm_scratch 24M "$suite-origin" >/dev/null
	vm_scratch 128M "$suite-store" >/dev/null
	vm_boot "$suite" "$disk" "$VM_DIR/$suite-"{origin.img:origin,store.img:store} || return 1
	# An emulated machine takes minutes to compile the module, which `life` does as well; without headers
	# dkms has nothing to build for, and the module that is loaded stays.
	[ "$(vm_accel "$disk")" = kvm ] || step "$suite" 'rm /lib/modules/*/build' || return 1
	STEP_SECONDS=${STEP_SECONDS:-900} step "$suite" "RESTARTS=${RESTARTS:-4} ${SEED:+SEED=$SEED} python3 -u tests/system/test_upgrade.py /dev/disk/by-id/virtio-{origin,store} /opt/zumastor-tests/new/*.deb" &&
		step "$suite" 'mkdir -p /var/tmp/apt && for t in volume deltas; do AUTOPKGTEST_TMP=$(mktemp -d /var/tmp/apt/XXXXXX) bash "$t" || exit 1; done' &&
		step "$suite" 'bash tests/system/package_removal.sh' && echo "$suite: PASS"
}

step() {
	local rc
	vm_run -t "${STEP_SECONDS:-600}" "$1" "cd /opt/zumastor-tests && { $2; }"
	rc=$?
	vm_faults "$1" && { echo "$1: the kernel reported a fault"; rc=1; }
	[ $rc -eq 0 ] || echo "$1: status $rc: $2"
	return $rc
}

rc=0
pids=()
names=()
# part NAME COMMAND...: runs it beside the others.
part() {
	local name=$1
	shift
	"$@" >"$VM_DIR/$name.part" 2>&1 &
	pids+=($!)
	names+=("$name")
}
read -ra parts <<<"${PACKAGING_PARTS:-lintian release life machine}"
checks() {
	local p
	chroot_make check "$roots/check" || return 1
	for p in "$@"; do
		echo "-- $p"
		"$p" || return 1
	done
}
checks=()
for p in "${parts[@]}"; do
	case $p in
	lintian | release) checks+=("$p") ;;
	life | machine) for suite in "${suites[@]}"; do part "$p-$suite" "$p" "$suite"; done ;;
	*) echo "65-packaging: $p: no such part"; exit 2 ;;
	esac
done
[ ${#checks[@]} -eq 0 ] || part checks checks "${checks[@]}"
for i in "${!pids[@]}"; do
	wait "${pids[i]}" || rc=1
	echo "== ${names[i]}"
	cat "$VM_DIR/${names[i]}.part"
done
exit $rc

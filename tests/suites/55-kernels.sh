#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The module on every kernel of tests/lib/kernels.list: dkms builds it in the kernel's own Debian suite, a
# machine boots the kernel, and the target's tests run there (all, or $TARGET_TESTS).  $KERNELS takes a part of
# the list, and leaves the other rows as they are.  Writes build/kernels.md, which doc/kernels.md must not contradict.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/packages.sh
. tests/lib/packages.sh
# shellcheck source=tests/lib/vm.sh
. tests/lib/vm.sh
# shellcheck source=tests/lib/kernels.sh
. tests/lib/kernels.sh
trap vm_cleanup EXIT
PACKAGES=${PACKAGES:-$(packages_build)} || exit 1
tests=${TARGET_TESTS:-lines snapshot_4k snapshot_writes load_reconnect server_away reload_under_load drop
	full_and_abandon discard_and_zeroes cgroup store_errors origin_errors snapshot_write_load}

wanted() { [ -z "${KERNELS:-}" ] || [[ " $KERNELS " == *" $1 "* ]]; }

# prepare ROOT: the root file system with dkms's modules, packed, and ROOT.built, what dkms did.
prepare() {
	local root=$VM_DIR/$1.root tar rc=1
	tar=$(kernels_image "$1") || return 1
	mkdir "$root" && tar -C "$root" --numeric-owner -xf "$tar" || return 1
	chmod 755 "$root"
	mkdir -p "$root/opt/zumastor-tests/packages"
	cp -a tests/kernel tests/lib tests/system/kernel_install.sh "$root/opt/zumastor-tests/" &&
		cp "$PACKAGES"/zumastor-dkms_*.deb "$root/opt/zumastor-tests/packages/" &&
		vm_chroot "$root" sh -c 'exec bash /opt/zumastor-tests/kernel_install.sh /opt/zumastor-tests/packages/*.deb' &&
		cp "$root/etc/zumastor-built" "$VM_DIR/$1.built" &&
		kernels_of "$1" "$root" && vm_root_pack "$root" "$VM_DIR/$1.disk" && rc=0
	rm -rf --one-file-system "$root"
	return $rc
}

# kernels_of NAME ROOT: the kernels to boot, as names of one disk.
kernels_of() {
	local release
	while read -r _ _ release _; do
		vm_root_kernel "$2" "$release" "$VM_DIR/$release.disk" && ln -s "$1.disk" "$VM_DIR/$release.disk" || return 1
	done <"$VM_DIR/$1.built"
}

# try RELEASE: boots the kernel and runs the tests, without udev, whose looks at every new device would be I/O
# that the tests do not expect.  Prints "loaded PASSED PLANNED SECONDS" in RELEASE.result.
try() {
	local release=$1 begun=$SECONDS rc loaded=no out=$VM_DIR/$1.tap
	local VM_INIT=quick VM_MEM=1024M
	vm_scratch 8M "$release-origin" >/dev/null
	vm_scratch 96M "$release-store" >/dev/null
	: >"$out"
	vm_boot "$release" "$VM_DIR/$release.disk" "$VM_DIR/$release-"{origin.img:origin,store.img:store} &&
		vm_run -t "${KERNEL_SECONDS:-600}" "$release" "
			[ \$(uname -r) = $release ] && modprobe dm-ddsnap && echo loaded || exit 9
			cd /opt/zumastor-tests/kernel && d=/dev/disk/by-id/virtio-
			pkill -KILL -f systemd-udevd
			while pgrep -f 'systemd-udevd|udev-worker' >/dev/null; do sleep 0.1; done
			python3 -u test_target.py \${d}origin \${d}store ${tests//$'\n'/ } && rmmod dm-ddsnap" >"$out"
	rc=$?
	grep -qx loaded "$out" && loaded=yes
	vm_faults "$release" && { echo "$release: the kernel reported a fault"; rc=1; }
	vm_kill "$release"
	cat "$out"
	[ $rc -eq 0 ] || { echo "$release: the tests ended with status $rc"; tail -n 20 "$VM_DIR/$release/console.log"; }
	echo "$loaded $(grep -c '^ok ' "$out") $(sed -n 's/^1\.\.//p' "$out") $((SECONDS - begun))" >"$VM_DIR/$release.result"
	return $rc
}

# two COMMAND NAME...: COMMAND NAME for each name, two at a time; what each said, and how it ended.
two() {
	local command=$1 name rc=0
	shift
	for name; do
		while [ "$(jobs -pr | wc -l)" -ge 2 ]; do wait -n; done
		{
			$command "$name" >"$VM_DIR/$name.log" 2>&1
			echo $? >"$VM_DIR/$name.rc"
		} &
	done
	wait
	for name; do
		echo "== $name: $(cat "$VM_DIR/$name.rc")"
		cat "$VM_DIR/$name.log"
		[ "$(cat "$VM_DIR/$name.rc")" = 0 ] || rc=1
	done
	return $rc
}

# row KERNEL FROM: its line of the table.
row() {
	local built loaded=no passed=0 planned=0 seconds='' release version dkms signed tests=no
	built=$(cat "$VM_DIR"/*.built 2>/dev/null | grep -E "^$1 $2 ")
	read -r _ _ release version dkms signed <<<"$built"
	[ -z "$release" ] || read -r loaded passed planned seconds 2>/dev/null <"$VM_DIR/$release.result"
	[ "${planned:-0}" -eq 0 ] || [ "$(cat "$VM_DIR/$release.rc")" != 0 ] || tests=yes
	printf '| %s | %s | %s | %s | %s | %s | %s | %s | %s of %s | %s |\n' "$1" "$2" "${release:-?}" "${version:-?}" \
		"${dkms:-?}" "$([ -n "$built" ] && echo yes || echo no)" "${signed:-no}" "$loaded" "$passed" "${planned:-0}" \
		"$([ $tests = yes ] && echo "$seconds" || echo FAILED)"
}

table() {
	cat <<END
# Kernels

The module on Debian's kernels, as \`tests/run 55-kernels\` found it. That test writes this page, and fails when it has
become wrong; \`cp build/kernels.md doc/kernels.md\` brings it up to date. The kernels are listed in tests/lib/kernels.list.

For each, dkms builds the module in the root file system of the Debian suite that ships that dkms and that compiler; a machine
boots the kernel, loads the module, and runs tests/kernel/test_target.py with a server that lies and dies on demand.
Anything that the kernel reports as a fault fails the row. *newest* is whatever sid has. Seconds are those from boot to the end, on an emulated
processor of which two share two cores.

| kernel | from | release | package | dkms | built | signed | loaded | tests passed | seconds |
|---|---|---|---|---|---|---|---|---|---|
END
	while read -r _ kernel _ from; do
		if wanted "$kernel"; then
			row "$kernel" "$from"
		else
			cat build/kernels.md doc/kernels.md 2>/dev/null | grep -m 1 "^| $kernel | $from |"
		fi
	done < <(kernels_rows)
}

# The committed page must have the same kernels, and none that it says nothing good of.
compare() {
	local pages=(build/kernels.md doc/kernels.md)
	diff <(sed -n 's/^| \([0-9n][^|]*| [^|]*\)|.*/\1/p' "${pages[0]}") \
		<(sed -n 's/^| \([0-9n][^|]*| [^|]*\)|.*/\1/p' "${pages[1]}") ||
		{ echo "doc/kernels.md has other kernels: cp build/kernels.md doc/kernels.md"; return 1; }
	! grep -E '^\|.*(FAILED|\?)' "${pages[@]}" || { echo "a kernel failed"; return 1; }
}

rc=0
roots=()
while read -r _ kernel root _; do
	wanted "$kernel" && [[ " ${roots[*]} " != *" $root "* ]] && roots+=("$root")
done < <(kernels_rows)
two prepare "${roots[@]}" || rc=1
releases=()
while read -r kernel _ release _; do
	wanted "$kernel" && releases+=("$release")
done < <(cat "$VM_DIR"/*.built 2>/dev/null)
[ ${#releases[@]} -gt 0 ] || exit 1
# Once for all machines: whether this processor can be had by them.
vm_accel "$VM_DIR/${releases[0]}.disk" >/dev/null
two try "${releases[@]}" || rc=1
mkdir -p build
table >build/kernels.md.new && mv build/kernels.md.new build/kernels.md
grep '^|' build/kernels.md
[ -n "${KERNELS:-}" ] || compare || rc=1
exit $rc

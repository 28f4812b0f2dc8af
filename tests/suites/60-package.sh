#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What an administrator meets, on Debian 12 and 13 side by side, with the packages installed by apt:
# volumes, snapshots, names, and $REBOOTS reboots under load.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/packages.sh
. tests/lib/packages.sh
# shellcheck source=tests/lib/promtool.sh
. tests/lib/promtool.sh
# shellcheck source=tests/lib/vm.sh
. tests/lib/vm.sh
trap vm_cleanup EXIT
PACKAGES=${PACKAGES:-$(packages_build)} || exit 1
reboots=${REBOOTS:-3}
[ -z "${ZUMASTOR_SOAK:-}" ] || reboots=${REBOOTS:-50}
export VM_KEEP=1

walk() {
	local suite=$1 disk=$VM_DIR/$1.disk boot
	vm_disk "$suite" "$disk" --install "$PACKAGES"/*.deb --copy tests/system/package_walk.sh \
		>"$disk.log" 2>&1 || { tail -n 30 "$disk.log"; return 1; }
	vm_scratch 192M "$suite-origin" "$suite-store" >/dev/null
	vm_scratch 320M "$suite-origin2" "$suite-store2" >/dev/null
	start "$suite" && step "$suite" define && metrics "$suite" || return 1
	for ((boot = 1; boot <= reboots; boot++)); do
		reboot_loaded "$suite" && step "$suite" verify "$boot" || return 1
	done
	step "$suite" forget && echo "$suite: PASS"
}

start() {
	vm_boot "$1" "$VM_DIR/$1.disk" "$VM_DIR/$1-"{origin.img:origin,store.img:store,origin2.img:origin2,store2.img:store2}
}

step() {
	local rc
	vm_run -t 600 "$1" "exec bash /opt/zumastor-tests/package_walk.sh ${*:2}"
	rc=$?
	vm_faults "$1" && { echo "$1: the kernel reported a fault"; return 1; }
	[ $rc -eq 0 ] || echo "$1: ${*:2}: status $rc"
	return $rc
}

metrics() {
	local out=$VM_DIR/$1.prom
	vm_run -t 60 "$1" 'zumastor status --prometheus' >"$out" && promtool check metrics <"$out" &&
		grep -qx 'zumastor_volume_up{volume="my-vol"} 1' "$out" &&
		grep -qx 'zumastor_snapshots{volume="my-vol",state="ok"} 2' "$out" && return
	echo "$1: metrics:"; cat "$out"
	return 1
}

# The machine goes down by itself, and in time: no limit of systemd's may pass.
reboot_loaded() {
	local begun=$SECONDS
	vm_run -t 20 "$1" 'systemctl start load.service go-down.service' || { echo "$1: no load"; return 1; }
	while vm_alive "$1"; do
		[ $((SECONDS - begun)) -lt 85 ] || { echo "$1: does not go down"; tail -n 20 "$VM_DIR/$1/console.log"; return 1; }
		sleep 0.2
	done
	echo "$1: down in $((SECONDS - begun - 4)) s"
	start "$1"
}

rc=0
pids=()
read -ra suites <<<"${PACKAGE_SUITES:-bookworm trixie}"
for suite in "${suites[@]}"; do
	walk "$suite" >"$VM_DIR/$suite.log" 2>&1 &
	pids+=($!)
done
for i in "${!pids[@]}"; do
	wait "${pids[i]}" || rc=1
	echo "== ${suites[i]}"
	cat "$VM_DIR/${suites[i]}.log"
done
exit $rc

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What an administrator meets, on Debian 12 and 13 side by side, with the packages installed by apt:
# the walk of tests/system/package/walk.sh with reboots under load. The last of $PACKAGE_SUITES has ten of
# those in a row ($REBOOTS), with /var on a file system of its own, and the README's first ten minutes; the first has one, and the other parts
# ($PACKAGE_PARTS).  Both replicate, each other parts of it, so that they take about the same time.  If replicate is
# the only part ($REPLICATE_PARTS of it), the walk is left out.
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
reboots=${REBOOTS:-10}
[ -z "${ZUMASTOR_SOAK:-}" ] || reboots=${REBOOTS:-50}
read -ra all_parts <<<"${PACKAGE_PARTS:-readme service power refusals commands devices events missing own_var replicate}"
export VM_KEEP=1
# Two machines share two processors.
export VM_CPUS=1
# The machines' clocks: no hour begins while a test counts hourly snapshots, it is not today, and nothing weekly is due.
clock=$(date -u -d 'next tuesday 12:05' +%s)
begun=$SECONDS

# walk SUITE REBOOTS PART...
walk() {
	local suite=$1 reboots=$2 disk=$VM_DIR/$1.disk boot part
	shift 2
	vm_disk "$suite" "$disk" --install "$PACKAGES"/*.deb --copy tests/system/package README.md doc/events.md \
		>"$disk.log" 2>&1 || { tail -n 30 "$disk.log"; return 1; }
	vm_scratch 192M "$suite-origin" "$suite-store" >/dev/null
	vm_scratch 320M "$suite-origin2" "$suite-store2" >/dev/null
	vm_scratch 2G "$suite-var" >/dev/null
	! has readme "$@" || readme "$suite" || return 1
	start "$suite" || return 1
	# It fails on Debian's cloud kernels, each week: a week of replication would not find the system as it was.
	vm_run -t 60 "$suite" 'systemctl disable --now xfs_scrub_all.timer 2>/dev/null; true' || return 1
	[ "$*" != replicate ] || { replicate "$suite" && echo "$suite: PASS"; return; }
	for part in refusals events commands devices; do
		! has $part "$@" || step "$suite" $part.sh || return 1
	done
	step "$suite" walk.sh define && metrics "$suite" || return 1
	! has service "$@" || step "$suite" service.sh || return 1
	! has power "$@" || power_cut "$suite" || return 1
	! has own_var "$@" || step "$suite" walk.sh own_var || return 1
	for ((boot = 1; boot <= reboots; boot++)); do
		# The machine was off for a day before the last one.
		[ $boot -lt "$reboots" ] || clock=$((clock + 86400))
		reboot_loaded "$suite" && start "$suite" && step "$suite" walk.sh verify "$boot" || return 1
	done
	step "$suite" walk.sh missed || return 1
	! has own_var "$@" || marked "$suite" || return 1
	! has missing "$@" || missing "$suite" || return 1
	step "$suite" walk.sh forget || return 1
	! has replicate "$@" || replicate "$suite" || return 1
	echo "$suite: PASS"
}

has() {
	local wanted=$1 part
	shift
	for part; do [ "$part" != "$wanted" ] || return 0; done
	return 1
}

start() { start_without "$1" ''; }

# start_without SUITE DISK: the machine with all of its disks but one.
start_without() {
	local name disks=()
	for name in origin store origin2 store2 var; do
		[ "$name" = "$2" ] || disks+=("$VM_DIR/$1-$name.img:$name")
	done
	VM_CLOCK=$((clock + SECONDS - begun)) vm_boot "$1" "$VM_DIR/$1.disk" "${disks[@]}"
}

step() {
	local rc begun=$SECONDS
	vm_run -t "${STEP_SECONDS:-600}" "$1" "exec bash /opt/zumastor-tests/package/$2 ${*:3}"
	rc=$?
	vm_faults "$1" && { echo "$1: the kernel reported a fault"; return 1; }
	[ $rc -eq 0 ] || echo "$1: ${*:2}: status $rc"
	echo "$1: ${*:2}: $((SECONDS - begun)) s"
	return $rc
}

# On a machine and disks of its own, which nobody has touched.
readme() {
	local rc VM_KEEP=''
	vm_scratch 192M "$1-vdb" "$1-vdc" >/dev/null
	vm_boot "$1-readme" "$VM_DIR/$1.disk" "$VM_DIR/$1-vdb.img" "$VM_DIR/$1-vdc.img" || return 1
	vm_run -t "${STEP_SECONDS:-600}" "$1-readme" 'exec python3 -u /opt/zumastor-tests/package/readme.py /opt/zumastor-tests/README.md'
	rc=$?
	vm_faults "$1-readme" && rc=1
	vm_kill "$1-readme"
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
}

power_cut() {
	step "$1" walk.sh half_way && vm_kill "$1" && start "$1" && step "$1" walk.sh gone_back
}

# What a server remembers of a store that failed is obeyed although it lies on a file system that comes later.
marked() {
	step "$1" walk.sh mark && reboot_loaded "$1" && start "$1" && step "$1" walk.sh marked
}

# One volume's store is gone at boot: the other volume and the machine are there in time.
missing() {
	step "$1" walk.sh before_missing && reboot_loaded "$1" && start_without "$1" store2 &&
		step "$1" walk.sh missing && reboot_loaded "$1" && start "$1" && step "$1" walk.sh after_missing
}

# It comes last: it sets the machine's clock forward.
replicate() {
	local limit=1800 options=() parts=$replicate_rest
	[ "$1" != "${suites[0]}" ] || parts=$replicate_first
	[ ${#suites[@]} -gt 1 ] || parts=''
	[ -z "${ZUMASTOR_SOAK:-}" ] || { limit=7200; options+=(--soak); }
	[ -z "${REPLICATE_SEED:-}" ] || options+=(--seed "$REPLICATE_SEED")
	STEP_SECONDS=$limit step "$1" replicate.sh "${options[@]}" "${REPLICATE_PARTS:-$parts}"
}

# What the first machine has of replicate, and the last.
replicate_first='define first increments bookmark fetch restricted refusals directory aborts forget'
replicate_rest='chain mount verify faults week forget'

rc=0
pids=()
read -ra suites <<<"${PACKAGE_SUITES:-bookworm trixie}"
last=$((${#suites[@]} - 1))
for i in "${!suites[@]}"; do
	share=()
	for p in "${all_parts[@]}"; do
		case $p in
		readme | own_var) [ "$i" -ne $last ] || share+=("$p") ;;
		replicate) share+=("$p") ;;
		*) [ "$i" -ne 0 ] || share+=("$p") ;;
		esac
	done
	[ "$i" -eq $last ] && n=$reboots || n=1
	walk "${suites[i]}" "$n" "${share[@]}" >"$VM_DIR/${suites[i]}.log" 2>&1 &
	pids+=($!)
done
# What failed comes last: the end of the log is what people see first.
good='' bad=''
for i in "${!pids[@]}"; do
	if wait "${pids[i]}"; then good+=" ${suites[i]}"; else bad+=" ${suites[i]}" rc=1; fi
done
for suite in $good $bad; do
	echo "== $suite"
	cat "$VM_DIR/$suite.log"
done
exit $rc

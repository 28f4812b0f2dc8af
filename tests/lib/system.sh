# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The system tests in virtual machines of one Debian suite.  To be sourced.
#
#   system_run SUITE [TEST...]   tests/system/test_volume.py (TESTs of it, or all), then power
#                      cuts ($POWER_CUTS; the tests' rounds are $SYSTEM_EFFORT percent of
#                      those in user-mode Linux), all on one disk with the packages of the
#                      folder $PACKAGES installed

# shellcheck source=tests/lib/packages.sh
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"
# shellcheck source=tests/lib/vm.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm.sh"

system_run() {
	local suite=$1 built disk=$VM_DIR/$1.disk
	shift
	built=${PACKAGES:-$(packages_build)} || return 1
	vm_disk "$suite" "$disk" --install "$built"/*.deb --copy "$sources_top"/tests \
		>"$disk.log" 2>&1 || { tail -n 30 "$disk.log"; return 1; }
	vm_scratch 8M "$suite-origin" >/dev/null
	vm_scratch 16M "$suite-meta" >/dev/null
	vm_scratch 64M "$suite-big" >/dev/null
	vm_scratch 384M "$suite-store" >/dev/null
	system_tests "$suite" "$disk" "$@" && system_cuts "$suite" "$disk" && echo "$suite: PASS"
}

system_tests() {
	local suite=$1 disk=$2 rc
	shift 2
	vm_boot "$suite" "$disk" "$VM_DIR/$suite-"{origin.img:origin,store.img:store,meta.img:meta,big.img:big} ||
		return 1
	vm_run -t "${SYSTEM_SECONDS:-1500}" "$suite" "modprobe dm-ddsnap && uname -r &&
		cd /opt/zumastor-tests/tests/system && d=/dev/disk/by-id/virtio- &&
		SYSTEM_BIG=\${d}big SYSTEM_EFFORT=${SYSTEM_EFFORT:-40} python3 -u test_volume.py \${d}origin \${d}store \${d}meta $* &&
		rmmod dm-ddsnap"
	rc=$?
	vm_faults "$suite" && { echo "$suite: the kernel reported a fault"; rc=1; }
	[ $rc -eq 0 ] || echo "$suite: the tests ended with status $rc"
	vm_kill "$suite"
	return $rc
}

# The machine is killed under load and started again, over and over.
system_cuts() {
	local suite=$1 disk=$2 cut dir=$VM_DIR cuts=${POWER_CUTS:-10}
	local program='modprobe dm-ddsnap; cd /opt/zumastor-tests/tests/system; d=/dev/disk/by-id/virtio-
		python3 -u powercut.py'
	local VM_INIT=quick
	vm_scratch 24M "$suite-cut-origin" "$suite-notes" >/dev/null
	vm_scratch 128M "$suite-cut-store" >/dev/null
	for ((cut = 0; cut <= cuts; cut++)); do
		rm -f "$dir/$suite-cut/console.log"
		vm_boot "$suite-cut" "$disk" "$dir/$suite-"{cut-origin.img:origin,cut-store.img:store,notes.img:notes} ||
			return 1
		if [ "$cut" -eq 0 ]; then
			vm_run -t 300 "$suite-cut" "$program begin \${d}origin \${d}store \${d}notes" || return 1
		fi
		: >"$dir/$suite.cut.log"
		vm_run -t 300 "$suite-cut" "$program load \${d}origin \${d}store \${d}notes" >"$dir/$suite.cut.log" &
		local load=$!
		system_await_load "$load" "$dir/$suite.cut.log" || { vm_kill "$suite-cut"; return 1; }
		# The last round only verifies.
		[ "$cut" -eq "$cuts" ] || sleep "$((RANDOM % 4 + 1)).$((RANDOM % 10))"
		kill -0 "$load" || { cat "$dir/$suite.cut.log"; return 1; }
		vm_kill "$suite-cut"
		wait "$load"
		vm_faults "$suite-cut" && { echo "$suite: the kernel reported a fault"; return 1; }
		echo "$suite: cut $cut: $(tr '\n' ' ' <"$dir/$suite.cut.log")"
	done
}

system_await_load() {
	local end=$((SECONDS + 240))
	until grep -q '^loading' "$2"; do
		kill -0 "$1" 2>/dev/null || { cat "$2"; echo "the load ended"; return 1; }
		[ $SECONDS -lt $end ] || { cat "$2"; echo "the load does not begin"; return 1; }
		sleep 0.2
	done
}

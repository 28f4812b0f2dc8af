# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Virtual machines of QEMU for tests.  To be sourced; vm_image.sh makes disks.
#
#   vm_boot NAME DISK [FILE[:SERIAL]...]
#                     starts a machine on a disk of vm_disk and waits until it
#                     takes commands.  What it writes to DISK is forgotten when
#                     it ends; the files are further disks, /dev/vdb and on
#                     (/dev/disk/by-id/virtio-SERIAL), and keep what is written
#   vm_run [-t SECONDS] NAME SCRIPT
#                     runs the text SCRIPT by bash as root in it; output and
#                     status are the script's.  124: out of time (120 s unless
#                     told); 125: the machine went away.  May be called many
#                     times at once
#   vm_kill NAME      the power cut: the machine is gone at once
#   vm_stop NAME      orderly shutdown, vm_kill after a minute
#   vm_alive NAME     whether it runs
#   vm_faults NAME    prints what the kernel complained of; 0 if it did
#   vm_scratch SIZE NAME...   makes empty disk files in $VM_DIR, prints paths
#
# VM_CLOCK (seconds since 1970) is what its clock says at first.
# Every machine has a folder $VM_DIR/NAME with pid, port and console.log.
# VM_MEM, VM_CPUS and VM_APPEND (kernel arguments) may be set, VM_INIT=quick
# for a machine without systemd that boots in half the time, and VM_KEEP=1 for
# one that keeps what it writes to DISK.

VM_DIR=${VM_DIR:-$(mktemp -d "${TMPDIR:-/var/tmp}/zumastor-vm.XXXXXX")}
# shellcheck source=tests/lib/vm_image.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm_image.sh"

# A WARN has its place first since 7.0.
vm_kernel_faults='BUG:|WARNING: (CPU:|([^ ]+:[0-9]+ )?at |possible|suspicious|inconsistent|bad)|Kernel panic|Oops|general protection fault|INFO: (task|rcu)|sleeping function called|list_(add|del) corruption|refcount_t:'

# vm_accel: kvm where it really works, else the emulator.  A /dev/kvm that
# opens is no proof: some hypervisors offer one that hangs, so a guest must print.
vm_accel() {
	if [ -z "${VM_ACCEL:-}" ]; then
		VM_ACCEL=tcg,thread=multi
		if [ -w /dev/kvm ] && timeout 5 qemu-system-x86_64 -accel kvm -m 256M -nographic \
			-no-reboot -net none -serial stdio -monitor none -kernel "$1.kernel" \
			-append 'console=ttyS0 panic=-1' </dev/null 2>/dev/null |
			grep -aq 'Linux version'; then
			VM_ACCEL=kvm
		fi
		export VM_ACCEL
	fi
	echo "$VM_ACCEL"
}

vm_scratch() {
	local size=$1 name
	shift
	for name in "$@"; do
		rm -f "$VM_DIR/$name.img"
		truncate -s "$size" "$VM_DIR/$name.img"
		echo "$VM_DIR/$name.img"
	done
}

# A port that nothing listens on now; QEMU fails at once if it lost a race.
vm_free_port() {
	python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

vm_boot() {
	vm_start "$@" && vm_await "$1" "${VM_BOOT_SECONDS:-180}" && return
	# A machine that keeps its disk has written to it: that boot counts.
	[ -z "${VM_KEEP:-}" ] && vm_emulator_fault "$1" || return 1
	echo "vm_boot: $1: the emulator tripped over code that was being patched; once more" >&2
	vm_kill "$1"
	rm "$VM_DIR/$1/console.log"
	vm_start "$@" && vm_await "$1" "${VM_BOOT_SECONDS:-180}"
}

# The kernel patches its own code while other processors run it, behind a breakpoint. QEMU's emulator sometimes
# runs into the breakpoint when the kernel has already taken it away, which no real processor does. Where
# one of our own functions was on the stack it is not excused.
vm_emulator_fault() {
	[ "$(vm_accel '')" != kvm ] && grep -aq 'int3: 0000 \[#1\]' "$VM_DIR/$1/console.log" &&
		! grep -a 'dm_ddsnap' "$VM_DIR/$1/console.log" | grep -avq 'Modules linked in'
}

vm_start() {
	local name=$1 disk=$2 dir=$VM_DIR/$1 port accel file serial n=0 args=()
	local snapshot=off append="systemd.show_status=0 ${VM_APPEND:-}"
	shift 2
	vm_alive "$name" && { echo "vm_boot: $name runs already" >&2; return 1; }
	mkdir -p "$dir"
	accel=$(vm_accel "$disk")
	for file in "$@"; do
		serial=disk$n
		case $file in *:*) serial=${file##*:} file=${file%:*} ;; esac
		n=$((n + 1))
		args+=(-drive "file=$file,format=raw,if=none,id=d$n,cache=${VM_CACHE:-unsafe},discard=unmap"
			-device "virtio-blk-pci,drive=d$n,serial=$serial")
	done
	[ -z "${VM_KEEP:-}" ] && snapshot=on
	[ -z "${VM_CLOCK:-}" ] || args+=(-rtc "base=$(date -u -d "@$VM_CLOCK" +%Y-%m-%dT%H:%M:%S)")
	[ "${VM_INIT:-}" = quick ] && append="$append init=/usr/local/sbin/vm-init"
	port=$(vm_free_port)
	echo "$port" >"$dir/port"
	: >>"$dir/console.log"
	TMPDIR=$VM_DIR setsid qemu-system-x86_64 -accel "$accel" -cpu max -smp "${VM_CPUS:-2}" \
		-m "${VM_MEM:-1536M}" -display none -monitor none -no-reboot -nodefaults \
		-kernel "$disk.kernel" -initrd "$disk.initrd" \
		-append "root=LABEL=root ro console=ttyS0 quiet loglevel=6 panic=-1 oops=panic net.ifnames=0 $append" \
		-chardev "file,id=con,path=$dir/console.log,append=on" -serial chardev:con \
		-drive "file=$disk,format=raw,if=none,id=root,snapshot=$snapshot,cache=unsafe" \
		-device virtio-blk-pci,drive=root,serial=root "${args[@]}" \
		-device virtio-rng-pci \
		-netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:2222" \
		-device virtio-net-pci,netdev=net,romfile= \
		>"$dir/qemu.log" 2>&1 </dev/null 9>&- &
	echo $! >"$dir/pid"
	disown
}

# vm_await NAME SECONDS: until the command channel answers.
vm_await() {
	local name=$1 end=$((SECONDS + $2))
	while [ $SECONDS -lt $end ]; do
		vm_alive "$name" || {
			echo "vm_boot: $name ended:" >&2
			tail -n 15 "$VM_DIR/$name/qemu.log" "$VM_DIR/$name/console.log" >&2
			return 1
		}
		vm_run -t 10 "$name" true >/dev/null 2>&1 && return 0
		sleep 0.3
	done
	echo "vm_boot: $name does not answer; its console ends:" >&2
	tail -n 30 "$VM_DIR/$name/console.log" >&2
	return 1
}

vm_alive() {
	[ -e "$VM_DIR/$1/pid" ] && kill -0 "$(cat "$VM_DIR/$1/pid")" 2>/dev/null
}

# Prints each line as it comes, but for the line of the status, which becomes the
# exit status, and the empty one that stands before it.
vm_output() {
	local line empty=0 rc=125
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in
		'') empty=$((empty + 1)) ;;
		'VM-EXIT '*) rc=${line#VM-EXIT } empty=$((empty > 0 ? empty - 1 : 0)) ;;
		*)
			for (( ; empty > 0; empty--)); do echo; done
			printf '%s\n' "$line" ;;
		esac
	done
	return "$rc"
}

vm_run() {
	local limit=120
	[ "$1" = -t ] && { limit=$2; shift 2; }
	local port
	port=$(cat "$VM_DIR/$1/port") || return 125
	printf '%s\nVM-END\n' "$2" |
		timeout "$limit" socat -t "$limit" - "TCP:127.0.0.1:$port" 2>/dev/null | vm_output
	local status=("${PIPESTATUS[@]}")
	[ "${status[1]}" -eq 124 ] && return 124
	return "${status[2]}"
}

vm_kill() {
	local pid
	pid=$(cat "$VM_DIR/$1/pid" 2>/dev/null) || return 0
	kill -9 "$pid" 2>/dev/null
	while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
	rm -f "$VM_DIR/$1/pid"
}

vm_stop() {
	local end=$((SECONDS + 60))
	vm_run -t 10 "$1" 'systemctl --no-block poweroff' >/dev/null 2>&1
	while vm_alive "$1" && [ $SECONDS -lt $end ]; do sleep 0.2; done
	vm_kill "$1"
}

vm_faults() {
	grep -aE "$vm_kernel_faults" "$VM_DIR/$1/console.log"
}

# vm_cleanup: ends every machine of this test and removes the disks.
vm_cleanup() {
	local pid
	for pid in "$VM_DIR"/*/pid; do
		[ -e "$pid" ] && kill -9 "$(cat "$pid")" 2>/dev/null
	done
	rm -rf --one-file-system "$VM_DIR"
}

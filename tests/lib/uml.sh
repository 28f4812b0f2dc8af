# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# A user-mode Linux with KASAN, lockdep and device-mapper.  To be sourced.
#
#   uml_build          makes the kernel on first use (5 to 10 minutes) and
#                      prints the folder of its build tree, kept under
#                      $ZUMASTOR_CACHE; TREE/linux is the kernel, and
#                      make -C TREE M=FOLDER ARCH=um modules builds a module
#   uml_run [--timeout SECONDS] [--console FILE] SCRIPT [SIZE...]
#                      runs SCRIPT as root in it, with empty disks /dev/ubda,
#                      /dev/ubdb... of the given sizes; returns SCRIPT's exit
#                      status, 124 on a timeout, 125 when the kernel reported
#                      a fault of any kind, 126 when it died
#
# Inside, the host's file system is the read-only root; /tmp, /run and /dev are
# fresh.  What is in the host's /tmp or /run (a checkout, perhaps) is below /mnt/host
# there: $ZUMASTOR_TOP and the script's own path are set so.

ZUMASTOR_CACHE=${ZUMASTOR_CACHE:-/var/cache/zumastor-tests}
uml_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# What no correct run prints.
uml_faults='KASAN:|BUG:|WARNING: (CPU:|possible|suspicious|inconsistent|bad|lock|held|nested|chain|Nested)|UBSAN|Kernel panic|Oops|general protection|INFO: (possible|task|rcu|suspicious|trying)|sleeping function called|ODEBUG:|list_(add|del) corruption|refcount_t:'

uml_build() {
	local version key dir
	version=$(dpkg-query -W -f '${Version}' linux-source-6.1) || return 1
	key=$({ echo "$version"; cat "$uml_lib"/uml.{config,patch}; } | sha256sum | cut -c1-12)
	dir=$ZUMASTOR_CACHE/uml-6.1/$key
	mkdir -p "$dir"
	(
		flock 9
		[ -e "$dir/done" ] && exit 0
		echo "building the user-mode Linux kernel" >&2
		uml_build_in "$dir" >"$dir/build.log" 2>&1 && touch "$dir/done" || {
			tail -n 20 "$dir/build.log" >&2
			exit 1
		}
	) 9>"$dir/lock" || return 1
	echo "$dir/linux-source-6.1"
}

uml_build_in() (
	set -e
	cd "$1"
	rm -rf linux-source-6.1
	tar -xf /usr/src/linux-source-6.1.tar.xz
	cd linux-source-6.1
	patch -p1 <"$uml_lib/uml.patch"
	make ARCH=um defconfig
	scripts/kconfig/merge_config.sh -m .config "$uml_lib/uml.config"
	make ARCH=um olddefconfig
	for option in KASAN PROVE_LOCKING DEBUG_ATOMIC_SLEEP BLK_DEV_DM DM_FLAKEY; do
		grep -q "^CONFIG_$option=y" .config
	done
	make ARCH=um -j"$(nproc)" linux modules
)

uml_run() {
	local limit=300 console='' script tree dir i rc args=()
	while :; do
		case $1 in
		--timeout) limit=$2; shift 2 ;;
		--console) console=$2; shift 2 ;;
		*) break ;;
		esac
	done
	script=$(realpath "$1")
	shift
	tree=$(uml_build) || return 1
	dir=$(mktemp -d "${TMPDIR:-/tmp}/uml.XXXXXX")
	console=${console:-$dir/console}
	i=0
	for size in "$@"; do
		truncate -s "$size" "$dir/disk$i"
		args+=("ubd$i=$dir/disk$i")
		i=$((i + 1))
	done
	timeout --kill-after=5 "$limit" setsid "$tree/linux" mem="${UML_MEM:-768M}" \
		uml_dir="$dir/" umid=vm root=/dev/root rootfstype=hostfs rootflags=/ ro \
		init="$uml_lib/uml_init.sh" UML_SCRIPT="$script" UML_TOP="$(realpath "$uml_lib/../..")" "${args[@]}" \
		con=null con0=fd:0,fd:1 panic=-1 </dev/null 2>&1 |
		stdbuf -oL tr -d '\r' | tee "$console"
	rc=${PIPESTATUS[0]}
	uml_status "$rc" "$console"
	rc=$?
	rm -rf "$dir"
	return $rc
}

# uml_status RC CONSOLE: what a run's end and console mean.
uml_status() {
	local said
	if grep -aE "$uml_faults" "$2" >&2; then
		echo "uml_run: the kernel reported a fault" >&2
		return 125
	fi
	said=$(sed -n 's/^UML-EXIT: \([0-9]*\)$/\1/p' "$2" | tail -n 1)
	[ -n "$said" ] && return "$said"
	[ "$1" -eq 124 ] || [ "$1" -eq 137 ] && { echo "uml_run: timed out" >&2; return 124; }
	echo "uml_run: the kernel died (status $1)" >&2
	return 126
}

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs test_target.py in user-mode Linux with KASAN and lockdep.
#   run_uml.sh LINUX MODULE.ko INIT [TEST...]
# LINUX: the UML binary; INIT: a script that mounts, runs $UML_SCRIPT, powers off.
# Fails as well on any report of the kernel.
set -eu
here=$(dirname "$(realpath "$0")")
linux=$1 module=$2 init=$3
shift 3
work=$(mktemp -d /var/tmp/ddsnap-uml.XXXXXX)
trap 'rm -rf "$work"' EXIT
cp "$module" "$work/dm-ddsnap.ko"	# /tmp is another one inside
truncate -s "${ORIGIN_SIZE:-16M}" "$work/origin"
truncate -s "${STORE_SIZE:-96M}" "$work/store"
cat >"$work/script" <<EOF
echo 20 >/proc/sys/kernel/hung_task_timeout_secs 2>/dev/null
insmod $work/dm-ddsnap.ko || exit 9
python3 -u $here/test_target.py /dev/ubda /dev/ubdb $*
r=\$?
[ \$r = 0 ] || exit \$r
rmmod dm_ddsnap || exit 8
exit 0
EOF
timeout "${TIMEOUT:-900}" "$linux" mem=768M root=/dev/root rootfstype=hostfs rootflags=/ rw \
	init="$init" UML_SCRIPT="$work/script" ubd0="$work/origin" ubd1="$work/store" \
	con=null con0=fd:0,fd:1 </dev/null 2>&1 | tee "$work/log" || true
# UML 6.1 itself walks a maple tree outside of RCU when it forks: not ours.
sed -i '/WARNING: suspicious RCU usage/{N;N;N;/maple_tree.c/d}' "$work/log"
if grep -qE 'KASAN|WARNING:|BUG:|INFO: (task|possible|trying|inconsistent)|Oops|Kernel panic' "$work/log"; then
	echo "run_uml: the kernel reported a fault"
	exit 1
fi
grep -q '^UML-EXIT: 0' "$work/log"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The target's functional tests on a kernel with KASAN and lockdep, against a
# server that misbehaves on purpose.  Any report of the kernel fails the suite.
# One processor.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/module.sh
. tests/lib/module.sh
work=$(mktemp -d /var/tmp/zumastor-uml.XXXXXX)
trap 'rm -rf "$work"' EXIT
module_build "$work" || exit 1
module_check "$work" || exit 1
cat >"$work/script" <<END
insmod $work/dm-ddsnap.ko || exit 9
python3 -u \$ZUMASTOR_TOP/tests/kernel/test_target.py /dev/ubda /dev/ubdb ${TARGET_TESTS:-} || exit 1
rmmod dm_ddsnap || exit 8
END
uml_run --timeout 1200 "$work/script" 8M 96M

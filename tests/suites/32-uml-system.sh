#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The whole system (module, agent, server, tool) on a kernel with KASAN and lockdep.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/module.sh
. tests/lib/module.sh
# shellcheck source=tests/lib/plain.sh
. tests/lib/plain.sh
plain_make all || exit 1
work=$(mktemp -d /var/tmp/zumastor-uml.XXXXXX)
trap 'rm -rf "$work"' EXIT
module_build "$work" || exit 1
cat >"$work/script" <<END
insmod $work/dm-ddsnap.ko || exit 9
export DDSNAP_BUILD=\$ZUMASTOR_TOP/build/plain
python3 -u \$ZUMASTOR_TOP/tests/system/test_volume.py /dev/ubda /dev/ubdb /dev/ubdc ${SYSTEM_TESTS:-core} || exit 1
rmmod dm_ddsnap || exit 8
END
uml_run --timeout 1500 "$work/script" 8M 80M 16M

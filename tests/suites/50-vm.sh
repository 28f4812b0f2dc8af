#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The system tests and power cuts on Debian 12 (6.1) and Debian 13 (6.12), side by side.
set -u
cd "$ZUMASTOR_TOP" || exit 1
# shellcheck source=tests/lib/system.sh
. tests/lib/system.sh
trap vm_cleanup EXIT
[ -z "${ZUMASTOR_SOAK:-}" ] || export POWER_CUTS=${POWER_CUTS:-100} SYSTEM_EFFORT=${SYSTEM_EFFORT:-400}
PACKAGES=${PACKAGES:-$(packages_build)} || exit 1
rc=0
pids=()
read -ra suites <<<"${SYSTEM_SUITES:-bookworm trixie}"
for suite in "${suites[@]}"; do
	# shellcheck disable=SC2086 # several names
	system_run "$suite" ${SYSTEM_TESTS:-} >"$VM_DIR/$suite.log" 2>&1 &
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

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The walk that a new user is shown, on Debian 12 (6.1); and beside it on Debian 13 (6.12).
cd "$ZUMASTOR_TOP" || exit 1
other=$(mktemp)
trap 'rm -f "$other"' EXIT
# shellcheck source=tests/lib/packages.sh
. tests/lib/packages.sh
packages_clean >/dev/null || exit 1	# one build for all suites
export VM_CPUS=1	# two machines share two processors
DEMO_SUITE=trixie tests/demo >"$other" 2>&1 &
tests/demo
rc=$?
wait $! || rc=1
echo "== trixie"
cat "$other"
exit $rc

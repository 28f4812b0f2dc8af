#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds with warnings as errors and runs every unit test.
# shellcheck source=tests/lib/plain.sh
. "$ZUMASTOR_TOP/tests/lib/plain.sh"
plain_make check VERBOSE=1

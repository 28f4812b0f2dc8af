#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The walk that a new user is shown.
cd "$ZUMASTOR_TOP" || exit 1
exec tests/demo

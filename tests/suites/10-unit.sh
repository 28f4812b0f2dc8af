#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds with warnings as errors and runs every unit test.
set -eu
cd "$ZUMASTOR_TOP"
[ -x configure ] || ./bootstrap
mkdir -p build/plain
cd build/plain
[ -e Makefile ] || ../../configure --enable-werror
make -j2 check VERBOSE=1

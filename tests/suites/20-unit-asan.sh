#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The unit tests under AddressSanitizer and UndefinedBehaviorSanitizer.
set -eu
cd "$ZUMASTOR_TOP"
[ -x configure ] || ./bootstrap
mkdir -p build/asan
cd build/asan
[ -e Makefile ] || ../../configure --enable-werror --enable-asan CXXFLAGS='-g -O1'
CK_FORK=no make -j2 check VERBOSE=1

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The unit tests under AddressSanitizer and UndefinedBehaviorSanitizer.
set -eu
cd "$ZUMASTOR_TOP"
# shellcheck source=tests/lib/ccache.sh
. tests/lib/ccache.sh
[ -x configure ] || ./bootstrap
mkdir -p build/asan
cd build/asan
[ -e Makefile ] || ../../configure --enable-werror --enable-asan CXXFLAGS='-g1 -O1'
# The verbs of the tools are little code that takes long to compile: a third of the time without -O.
make -j2 lib/libddsnap.a
make -j2 CXXFLAGS='-g1 -O0' ddsnap zumastor
CK_FORK=no make -j2 check VERBOSE=1

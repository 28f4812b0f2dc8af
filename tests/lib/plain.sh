# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The programs as a user builds them, in build/plain.  To be sourced.
#
#   plain_make TARGET...  builds them there.  Without debug information, which takes a third of the
#                      compiler's time and which no test looks at; the packages have it

# shellcheck source=tests/lib/ccache.sh
. "$ZUMASTOR_TOP/tests/lib/ccache.sh"

plain_make() {
	(
		cd "$ZUMASTOR_TOP" || exit 1
		[ -x configure ] || ./bootstrap || exit 1
		mkdir -p build/plain && cd build/plain || exit 1
		[ -e Makefile ] || ../../configure --enable-werror CXXFLAGS='-O2 -g0' || exit 1
		make -j"$(nproc)" "$@"
	)
}

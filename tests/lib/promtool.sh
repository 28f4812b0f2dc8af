# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Prometheus's own checker of its text format, taken out of the distribution's
# package: to install that would start a daemon.  To be sourced.
#
#   promtool ARGUMENT...

ZUMASTOR_CACHE=${ZUMASTOR_CACHE:-/var/cache/zumastor-tests}

promtool() {
	local dir=$ZUMASTOR_CACHE/promtool
	(
		flock 9
		[ -x "$dir/promtool" ] && exit 0
		mkdir -p "$dir/package" && cd "$dir/package" || exit 1
		apt-get -q download prometheus || { apt-get -q update && apt-get -q download prometheus; } || exit 1
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --to-stdout ./usr/bin/promtool >../promtool.new &&
			chmod +x ../promtool.new && mv ../promtool.new ../promtool && rm -r "$dir/package"
	) 9>"$dir.lock" >&2 || return 1
	"$dir/promtool" "$@"
}

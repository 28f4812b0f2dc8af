#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs what building and testing need, from the distribution's packages.
set -eu
packages=(
	autoconf automake g++ make pkg-config clang-19 libclang-rt-19-dev
	check libsystemd-dev libudev-dev libdevmapper-dev libcli11-dev
	nlohmann-json3-dev libzstd-dev libssl-dev libisal-dev libblkid-dev libxxhash-dev
	shellcheck
)
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"

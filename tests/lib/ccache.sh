# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What was compiled once is not compiled again, in any checkout.  To be sourced by the suites that compile;
# configure takes CC and CXX from the environment.  The packages are built without: their root file system has
# their Build-Depends and nothing else.
export CCACHE_DIR=${CCACHE_DIR:-$ZUMASTOR_CACHE/ccache} CCACHE_BASEDIR=${CCACHE_BASEDIR:-$ZUMASTOR_TOP} CCACHE_NOHASHDIR=1
export CCACHE_COMPRESS=1 CCACHE_MAXSIZE=2G
ccache_compilers() { export CC="ccache $1" CXX="ccache $2"; }
ccache_compilers gcc g++

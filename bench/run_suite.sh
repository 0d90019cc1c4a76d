#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The benchmark suite: install what is missing, build the programs of bench/ into
# build/bench and hand over to suite/main.py, which knows the options:
#
#	bench/run_suite.sh [--install] [--help]
#
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
out=${BENCH_OUT:-$top/build/bench}

if [ "${1-}" = --install ]; then
	shift
	"$top/tests/install_tools.sh" build bench
fi
"$here/run_quick.sh" --build
flags="-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra"
hide="-fno-builtin-malloc -fno-builtin-free -fno-builtin-calloc -fno-builtin-realloc"
# shellcheck disable=SC2086 # these are lists of words
${CC:-cc} $flags -o "$out/bench_run" "$here/bench_run.c"
# shellcheck disable=SC2086
${CC:-cc} $flags $hide -o "$out/load" "$here"/load/*.c -pthread
${CXX:-c++} -O2 -Wall -Wextra -o "$out/load_stl" "$here/load/stl.cc"
exec python3 "$here/suite/main.py" --top "$top" --out "$out" "$@"

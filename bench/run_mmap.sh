#!/bin/sh
# SPDX-License-Identifier: MIT
#
# mmap() and its kin beside the system calls, see bench_mmap.c.
# usage: bench/run_mmap.sh [--lib DIRECTORY] [bench_mmap's options]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
lib=$top/build/release
out=${BENCH_OUT:-$top/build/bench}
if [ "${1-}" = --lib ]; then
	lib=${2:?--lib needs a directory}
	shift 2
fi
preload=$lib/liblabyrinth-preload.so
if [ ! -r "$preload" ]; then
	echo "run_mmap.sh: no $preload (run make first)" >&2
	exit 2
fi
mkdir -p "$out"
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -o "$out/bench_mmap" "$here/bench_mmap.c"
for rseq in 1 0; do
	[ $rseq = 1 ] && echo "# rseq" || echo "# trylock"
	env LD_PRELOAD="$(realpath "$preload")" GLIBC_TUNABLES=glibc.pthread.rseq=$rseq \
		"$out/bench_mmap" "$@"
done
echo "# no library: what the comparison says of itself"
"$out/bench_mmap" "$@"

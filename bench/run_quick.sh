#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Labyrinth beside other allocators, in under three minutes: build the benchmark
# programs into build/bench and hand over to quick.py, which knows the options:
#
#	bench/run_quick.sh --help
#	bench/run_quick.sh --install	install what is missing first (apt-get)
#	bench/run_quick.sh --latency	latency.py instead: single allocations
#	bench/run_quick.sh --build	build and no more
#
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
out=${BENCH_OUT:-$top/build/bench}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Install the first of the named packages that this release has.
install_one_of()
{
	for package in "$@"; do
		if [ -n "$(apt-cache madison "$package" 2>/dev/null)" ]; then
			as_root apt-get install -y -q --no-install-recommends "$package"
			return
		fi
	done
	echo "run_quick.sh: not packaged here: $*" >&2
}

install_packages()
{
	as_root apt-get update -q
	install_one_of gcc
	install_one_of libc6-dev
	install_one_of python3
	install_one_of libjemalloc2
	install_one_of libmimalloc3 libmimalloc2.0 libmimalloc2
	install_one_of libtcmalloc-minimal4t64 libtcmalloc-minimal4
}

# The compiler is told nothing about malloc.  Alignment: a loop of 3 ns should
# not depend on where the linker put it.
build_pairs()
{
	hide="-fno-builtin-malloc -fno-builtin-free -fno-builtin-calloc -fno-builtin-realloc"
	place="-fPIE -pie -falign-functions=64 -falign-loops=32 -Wl,-z,dynamic-undefined-weak"

	# shellcheck disable=SC2086 # these are lists of words
	${CC:-cc} $flags $hide $place "$2" -o "$out/$1" "$here/bench_pairs.c" \
		"$here/bench_cases.c" "$here/bench_pages.c" "$here/bench_threads.c" -pthread -ldl \
		-L"$out" -lbench_floor -Wl,-rpath,"\$ORIGIN"
}

build()
{
	flags="-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -I$top/include"
	mkdir -p "$out"
	# shellcheck disable=SC2086 # these are lists of words
	${CC:-cc} $flags -falign-functions=64 -fPIC -shared -o "$out/libbench_floor.so" \
		"$here/bench_floor.c"
	# shellcheck disable=SC2086
	${CC:-cc} $flags -o "$out/bench_start" "$here/bench_start.c"
	# shellcheck disable=SC2086
	[ "$(uname -m)" != x86_64 ] ||
		${CC:-cc} $flags -fno-builtin-malloc -fno-builtin-free -o "$out/bench_latency" \
			"$here/bench_latency.c" -ldl
	build_pairs bench_pairs -fplt
	build_pairs bench_pairs_noplt -fno-plt
}

if [ "${1-}" = --install ]; then
	shift
	install_packages
fi
if ! command -v python3 >/dev/null; then
	echo "run_quick.sh: python3 is missing; try --install" >&2
	exit 2
fi
build
[ "${1-}" != --build ] || exit 0
if [ "${1-}" = --latency ]; then
	shift
	exec python3 "$here/latency.py" --top "$top" --out "$out" "$@"
fi
exec python3 "$here/quick.py" --top "$top" --out "$out" "$@"

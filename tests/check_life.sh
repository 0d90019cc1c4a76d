#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The semantics of the malloc family compared with glibc's (abi, family,
# contents, cxxops), and allocation at every moment of a process (life), each in
# programs_c/.  All pass with plain glibc: --preload ''.
#
# About 25 s for each back end.  $SEED repeats a run of contents and cxxops.
cd "$(dirname "$0")/.." || exit 1
build=build/tests
usage='
'
# shellcheck source=tests/programs_c/suite.sh
. tests/programs_c/suite.sh

here=tests/programs_c
bin=$build/bin

# -fno-builtin: the compiler must not reason about malloc() and errno.
c() {
	${CC:-gcc} -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -fno-builtin "$@" -pthread
}

build_all() {
	c -o "$bin/abi" $here/abi.c &&
		c -o "$bin/family" $here/family.c &&
		c -o "$bin/contents" $here/contents.c &&
		${CXX:-g++} -std=c++20 -O2 -g -Wall -Wextra -Wshadow -o "$bin/cxxops" \
			$here/cxxops.cc -pthread &&
		build_life life &&
		build_life life_late -DLATE_IFUNC &&
		build_life life_early -DEARLY_IFUNC &&
		${CXX:-g++} -std=c++20 -O2 -g -Wall -Wextra -Wshadow -shared -fPIC \
			-o "$bin/life_cxx.so" $here/life_cxx.cc &&
		c -shared -fPIC -o "$bin/life_plugin.so" $here/life_plugin.c || return
	for n in $(seq 0 23); do
		cp "$bin/life_plugin.so" "$bin/life_plugin_$n.so" || return
	done
}

# build_life NAME [-D...]: -z now, as a resolver may be called before anything
# could be bound lazily.  The library is initialised before what is preloaded,
# because the program needs it.
build_life() {
	name=$1
	shift
	# shellcheck disable=SC2016 # $ORIGIN is for the loader
	c "$@" -shared -fPIC -Wl,-z,now -Wl,-Bsymbolic -o "$bin/lib$name.so" $here/life_lib.c &&
		c "$@" -Wl,-z,now -o "$bin/$name" $here/life.c -L"$bin" -l"$name" \
			-Wl,-rpath,'$ORIGIN' -ldl
}

suite_options "$@"
mkdir -p "$bin" "$build/log" || exit 1
build_all >"$build/log/build" 2>&1 || {
	cat "$build/log/build"
	suite_broken "the programs do not build"
}
[ ! -s "$build/log/build" ] || suite_fail build "warnings, see $build/log/build"
suite_preload

seed=${SEED:-$(date +%N | sed 's/^0*//')}
for program in abi family contents cxxops; do
	suite_run $program 300 "$bin/$program" --seed "${seed:-1}"
	suite_run $program-direct 120 "$bin/$program" --direct --seed "${seed:-1}"
done
for case in chain fork exit_with_threads main_leaves quick_exit storm plugin deepbind cxx tls; do
	suite_run life/$case 60 "$bin/life" $case
done
# malloc() while the loader relocates the program; then, the hardest, while it
# relocates a library and has not yet relocated the one that is preloaded.
suite_run life/late_ifunc 60 "$bin/life_late" chain
suite_run life/early_ifunc 60 "$bin/life_early" chain
suite_end

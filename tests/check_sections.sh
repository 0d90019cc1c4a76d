#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Atomic sections in unmodified programs (atomic_handlers:1): that each handler runs
# in one and leaves it however it ends (sections, sections_cxx), and that nobody can
# tell otherwise (handlers; --preload '' holds it against libc alone).  Then real
# programs that live by their handlers.
cd "$(dirname "$0")/.." || exit 1
build=build/tests
usage='
'
# shellcheck source=tests/programs_c/suite.sh
. tests/programs_c/suite.sh

here=tests/programs_c
bin=$build/bin

c() {
	${CC:-gcc} -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -fno-builtin -Iinclude "$@" -pthread
}

build_all() {
	# shellcheck disable=SC2016 # $ORIGIN is for the loader
	c -shared -fPIC -o "$bin/libhandlers_early.so" $here/handlers_early.c &&
		c -o "$bin/handlers" $here/handlers.c -L"$bin" -lhandlers_early \
			-Wl,-rpath,'$ORIGIN' &&
		c -o "$bin/sections" $here/sections.c &&
		${CXX:-g++} -std=c++17 -O2 -g -Wall -Wextra -Wshadow -fnon-call-exceptions \
			-fasynchronous-unwind-tables -o "$bin/sections_cxx" $here/sections_cxx.cc
}

# regrtest NAME...: the interpreter's own tests, where they are installed
regrtest() {
	python=$(command -v python3) && "$python" -c 'import test.test_signal' 2>/dev/null || {
		suite_skip regrtest "no python3 with its tests"
		return
	}
	for name; do
		suite_run "python3/$name" 300 env LABYRINTH_OPTIONS="$on" \
			"$python" -m test -q "$name"
	done
}

suite_options "$@"
mkdir -p "$bin" "$build/log" || exit 1
build_all >"$build/log/build_sections" 2>&1 || {
	cat "$build/log/build_sections"
	suite_broken "the programs do not build"
}
[ ! -s "$build/log/build_sections" ] ||
	suite_fail build "warnings, see $build/log/build_sections"
suite_preload

suite_run handlers/off 120 "$bin/handlers"
if [ -n "$preload" ]; then
	on=atomic_handlers=1,reserve=8m
	suite_run handlers 120 env LABYRINTH_OPTIONS=$on HANDLERS_WRAPPED=1 "$bin/handlers"
	suite_run sections/off 120 env SECTIONS_OFF=1 "$bin/sections"
	for case in plain family_handler family_saved left_behind jumps jumps_within nested \
		alternate_stack forks threads storm; do
		suite_run sections/$case 60 env LABYRINTH_OPTIONS=$on "$bin/sections" $case
	done
	suite_run sections/direct 60 env LABYRINTH_OPTIONS=$on "$bin/sections" --direct \
		plain jumps nested alternate_stack threads plain forks plain
	for case in news exceptions exceptions_then_handlers; do
		suite_run cxx/$case 60 env LABYRINTH_OPTIONS=$on "$bin/sections_cxx" $case
	done
	# shellcheck disable=SC2016 # for the shell that is tested
	suite_run bash/trap 60 env LABYRINTH_OPTIONS=$on bash -c '
		n=0
		trap "n=\$((n + 1)); text=\$(printf %1000s \$n); set -- \$text" USR1
		trap "echo bye" EXIT
		for i in $(seq 300); do kill -USR1 $$; done
		[ $n = 300 ]'
	regrtest test_signal
fi
suite_end

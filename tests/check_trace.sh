#!/bin/bash
# SPDX-License-Identifier: MIT
#
# liblabyrinth-trace.so: failure reports name the functions on the stack; the
# library itself needs libc alone, and is built without libunwind by UNWIND=0.  The object has
# libunwind in it, or links the system's: all that UNWIND= can say, and what happens without a source.
# About 5 s for each back end, and a build without libunwind.
#
# usage: check_trace.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
lib=$(dirname "$preload")
trace=$lib/liblabyrinth-trace.so
program=$out/trace
build "$program" "$root/tests/programs_c/trace.c" || exit 1
build "${program}_static" "$root/tests/programs_c/trace.c" -O0 -no-pie -fno-pic || exit 1

# run CASE [PROGRAM]: what it says, in $log
run() {
	LABYRINTH_OPTIONS=trace:1 LD_PRELOAD="$preload" timeout -k 5 20 \
		"${2:-$program}" "$1" >"$log" 2>&1 </dev/null
}

# the same where the clock is a system call
emulate() {
	timeout -k 5 60 qemu-x86_64 -E LABYRINTH_OPTIONS=trace:1 -E LD_PRELOAD="$preload" \
		"$program" "$1" >"$log" 2>&1 </dev/null
}

# says NAME CASE [PROGRAM] -- PATTERN...: lines in this order; one report
says() {
	local name=$1 case=$2 with=$program pattern at=0 line code
	shift 2
	[ "$1" = -- ] || { with=$1 && shift; }
	shift
	run "$case" "$with"
	code=$?
	if [ $code -ne 0 ]; then
		fail "$name" "exit code $code" "$log"
		return
	fi
	if [ "$(grep -c 'page allocation failure: order:0, mode:0x' "$log")" -ne 1 ]; then
		fail "$name" "not one report" "$log"
		return
	fi
	for pattern; do
		line=$(grep -n -E -e "$pattern" "$log" | cut -d: -f1 | awk -v at="$at" '$1 > at' | head -n 1)
		if [ -z "$line" ]; then
			fail "$name" "no \"$pattern\" after line $at" "$log"
			return
		fi
		at=$line
	done
	pass "$name"
}

check_stacks() {
	local b=$1 kept=" capture\+0x[0-9a-f]+/0x[0-9a-f]+ \[liblabyrinth-trace.so\]\$"
	local frame="\+0x[0-9a-f]+/0x[0-9a-f]+\$"

	says "handler, $b" handler -- '^Call Trace:$' "^$kept" "^ exhaust_reserve$frame" \
		"^ fail_in_handler$frame" "^ interrupted_work$frame" "^ main$frame" '^Mem-Info:$'
	says "handler, not position-independent, $b" handler "${program}_static" -- \
		"^ fail_in_handler$frame" "^ interrupted_work$frame" "^ main$frame" '^Mem-Info:$'
	says "thread, $b" thread -- "^ fail_in_handler$frame" "^ interrupted_work$frame" \
		"^ deep$frame" "^ in_thread$frame" '^Mem-Info:$'
	says "first instruction, $b" first -- "^ fail_and_skip$frame" \
		'^ first_instruction\+0(x0)?/0x3$' "^ main$frame" '^Mem-Info:$'
	says "no system call, $b" sandbox -- "^ fail_in_handler$frame" "^ sandboxed$frame" \
		'^Mem-Info:$'
	says "alternate stack, $b" altstack -- "^ exhaust_reserve$frame" '^Mem-Info:$'
	says "written on an alternate stack, $b" altwrite -- "^ write_in_handler$frame" \
		'^Mem-Info:$' '^stack used: '
	says "at once, $b" kernel -- 'mode:0x80000cc0\(GFP_KERNEL\|__GFP_EXCLUSIVE\), tid=' \
		"^ print_here\+.* \[liblabyrinth-trace.so\]" \
		"^ [a-z_.]+\+.* \[liblabyrinth-preload.so\]" \
		"^ write_in_handler$frame" "^ main$frame" '^Mem-Info:$'
	says "deep, $b" deep -- "^ fail_in_handler$frame" "^ interrupted_work$frame" "^ deep$frame" \
		'^Mem-Info:$'
	says "child, $b" child -- "^ fail_in_handler$frame" "^ main$frame" '^Mem-Info:$'
}

check_object() {
	local exported needed static_trace=

	if [ "$(cat "$lib/trace/link")" = static ]; then
		static_trace=$trace
	else
		skip "libunwind is in the object" "it is not: $(cat "$root/build/libunwind/failed" 2>/dev/null || echo UNWIND=shared)"
	fi
	exported=$(nm -D --defined-only "$trace" | awk '$2 != "w" { print $3 }')
	if [ -z "$exported" ]; then
		pass "the trace object exports nothing"
	else
		fail "exports" "$(echo "$exported" | head -n 3)"
	fi
	for needed in "$preload" "$lib/liblabyrinth.so" ${static_trace:+"$static_trace"}; do
		if [ -z "$(readelf -d "$needed" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
			grep -v -e '^libc\.so' -e '^ld-linux')" ]; then
			pass "$(basename "$needed") needs libc alone"
		else
			fail "$(basename "$needed")" "needs more than libc"
		fi
	done
	# without trace:1 it is not even looked for
	if LD_PRELOAD="$preload" "$program" handler >"$log" 2>&1 &&
		! grep -q 'Call Trace' "$log" && grep -q 'page allocation failure' "$log"; then
		pass "no stack without trace:1"
	else
		fail "without trace:1" "a stack, or no report" "$log"
	fi
}

check_no_clock() {
	run twice
	if [ "$(grep -c 'page allocation failure' "$log")" -eq 1 ] &&
		grep -q '^vdso yes, suppressed 1$' "$log"; then
		pass "one report of two failures"
	else
		fail "twice" "not one report of two failures" "$log"
	fi
	if ! type qemu-x86_64 >/dev/null 2>&1; then
		skip "without a vDSO" "no qemu-x86_64"
		return
	fi
	emulate twice
	if grep -q '^vdso yes' "$log"; then
		skip "without a vDSO" "this emulator has one"
	elif [ "$(grep -c 'page allocation failure' "$log")" -eq 1 ] &&
		grep -q '^ main+0x' "$log" && grep -q '^vdso no, suppressed 1$' "$log"; then
		pass "without a vDSO: one report of two failures"
	else
		fail "without a vDSO" "not one report of two failures" "$log"
	fi
}

check_missing() {
	cp "$preload" "$dir/"
	LABYRINTH_OPTIONS=trace:1 LD_PRELOAD="$dir/$(basename "$preload")" \
		"$program" handler >"$log" 2>&1
	if grep -q "^labyrinth: trace:1: no stacks in reports: $dir/liblabyrinth-trace.so: cannot open" \
		"$log" && grep -q '^ok handler' "$log"; then
		pass "a missing object is named, and the program runs"
	else
		fail "missing" "no clear message" "$log"
	fi
}

# a program that contains the library, and so lies where there is no trace object
check_contained() {
	local kind flags says
	while read -r kind flags says; do
		# shellcheck disable=SC2046 # a list of words
		if ! "${CC:-gcc}" -O1 -g -I"$root/include" -o "$dir/contains_$kind" "$root/tests/programs_c/trace.c" \
			"$lib/labyrinth-malloc.o" $(tr + ' ' <<<"$flags") -pthread -ldl 2>"$log"; then
			fail "contained, $kind" "does not build" "$log"
			continue
		fi
		LD_LIBRARY_PATH=$lib LABYRINTH_OPTIONS=trace:1 timeout -k 5 20 "$dir/contains_$kind" handler >"$log" 2>&1
		if grep -q -e "$says" "$log" && grep -q '^ok handler' "$log"; then
			pass "contained, $kind"
		else
			fail "contained, $kind" "does not say $says" "$log"
		fi
	done <<-'END'
		exported -rdynamic ^ capture+0x[0-9a-f]*/0x[0-9a-f]* .liblabyrinth-trace.so.$
		hidden -O1 ^labyrinth: trace:1: no stacks in reports: .*/liblabyrinth-trace.so: cannot open shared object file
	END
}

# called by name, it does not know its directory, and asks where libraries are
check_by_name() { # NAME DIRECTORY PATTERN
	(
		PATH=$dir:$PATH
		LD_LIBRARY_PATH=$2 LABYRINTH_OPTIONS=trace:1 timeout -k 5 20 contains_exported handler
	) >"$log" 2>&1
	if grep -q -e "$3" "$log" && grep -q '^ok handler' "$log"; then
		pass "contained, by name, $1"
	else
		fail "contained, by name, $1" "does not say $3" "$log"
	fi
}

# build_with UNWIND [ARGUMENT...]: only the trace object is built anew; what make says in $log
build_with() {
	local how=$1
	shift
	make -C "$root" --no-print-directory -j2 UNWIND="$how" OUT="$plain" "$@" >"$log" 2>&1
}

# links NAME HOW PATTERN [UNWIND ARGUMENT...]: so it was linked, and said; HOW is static, shared or none
links() {
	local name=$1 how=$2 pattern=$3 object=$plain/liblabyrinth-trace.so is=none
	shift 3
	if ! build_with "$@"; then
		fail "$name" "does not build" "$log"
		return
	fi
	if [ -e "$object" ]; then
		is=static
		! readelf -d "$object" | grep -q 'NEEDED.*libunwind' || is=shared
	fi
	if [ $is != "$how" ] || { [ -e "$object" ] && ! nm "$object" | grep -q ' [tU] _Ux86_64_step$'; }; then
		fail "$name" "linked: $is" "$log"
	elif [ -n "$pattern" ] && ! grep -q -E "$pattern" "$log"; then
		fail "$name" "not said: $pattern" "$log"
	elif [ -z "$pattern" ] && grep -q '^libunwind:' "$log"; then
		fail "$name" "it says something" "$log"
	else
		pass "$name"
	fi
}

refuses() {
	local name=$1 pattern=$2
	shift 2
	if build_with "$@"; then
		fail "$name" "it builds" "$log"
	elif grep -q -E "$pattern" "$log"; then
		pass "$name"
	else
		fail "$name" "not said: $pattern" "$log"
	fi
}

check_ways() {
	local nowhere=LIBUNWIND=$dir/libunwind none="$dir/cc"

	plain=$out/without_unwind
	links "UNWIND=0 builds without the trace object" none '' 0
	[ -e "$plain/liblabyrinth-preload.so" ] || fail "UNWIND=0" "no library"
	links "UNWIND=shared: the system's" shared '' shared
	LABYRINTH_OPTIONS=trace:1 LD_PRELOAD=$plain/liblabyrinth-preload.so "$program" handler >"$log" 2>&1
	if grep -q '^ fail_in_handler+' "$log"; then
		pass "UNWIND=shared: stacks"
	else
		fail "UNWIND=shared" "no stacks" "$log"
	fi
	refuses "UNWIND=1 is refused" 'UNWIND=1 is not one of auto static shared 0' 1

	# an apt that knows of no source, and a compiler that finds no libunwind
	printf 'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "%s/none";\n' "$dir" >"$dir/apt.conf"
	# shellcheck disable=SC2016 # for the script
	printf '#!/bin/sh\ncase "$*" in *-lunwind*) exit 1 ;; esac\nexec %s "$@"\n' "${CC:-cc}" >"$none"
	chmod +x "$none"
	export APT_CONFIG=$dir/apt.conf
	refuses "UNWIND=static without a source" 'no static one: apt has no lists here; see ' static "$nowhere"
	links "no source: the system's, and why" shared \
		'^libunwind: no static one: apt has no lists here; see .*/log; linking libunwind-x86_64.so' auto "$nowhere"
	refuses "UNWIND=shared without libunwind-dev" 'no shared one \(libunwind-dev\)' shared CC="$none"
	links "neither: without stacks, and why" none \
		'no static one: apt has .*; no shared one either \(libunwind-dev\): building without' auto "$nowhere" CC="$none"
	# lists of both forms, which lead nowhere
	mkdir "$dir/none"
	printf 'deb [trusted=yes] file:%s/no x main\ndeb cdrom:[x]/ x main\n' "$dir" >"$dir/none/a.list"
	printf 'Types: deb\nURIs: file:%s/no\nSuites: y\nComponents: main\nTrusted: yes\n' "$dir" >"$dir/none/b.sources"
	rm -r "$dir/libunwind"
	links "a source that is not there: why" shared \
		'no static one: apt-get source libunwind has failed: .*; see .*; linking' auto "$nowhere"
	if grep -q "file:$dir/no x" "$dir/libunwind/log" && grep -q "file:$dir/no y" "$dir/libunwind/log" &&
		! grep -q 'cdrom' "$dir/libunwind/log"; then
		pass "apt was asked by lists of both forms"
	else
		fail "lists of apt" "not asked" "$dir/libunwind/log"
	fi
	unset APT_CONFIG
}

if [ ! -e "$trace" ]; then
	fail "trace object" "not built: see what make says of libunwind"
	finish
	exit
fi
for backend in $backends; do
	export "$(backend_environment "$backend")"
	check_stacks "$backend"
done
check_object
check_no_clock
check_missing
check_contained
check_by_name "where libraries are" "$lib" '^ capture+0x[0-9a-f]*/0x[0-9a-f]* .liblabyrinth-trace.so.$'
check_by_name "nowhere" "$dir" \
	'^labyrinth: trace:1: no stacks in reports: liblabyrinth-trace.so: cannot open shared object file'
check_ways
finish

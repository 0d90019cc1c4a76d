#!/bin/bash
# SPDX-License-Identifier: MIT
#
# liblabyrinth-trace.so: failure reports name the functions on the stack; the
# library itself needs libc alone, and is built without libunwind by UNWIND=0.
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
	local exported needed
	exported=$(nm -D --defined-only "$trace" | awk '$2 != "w" { print $3 }')
	if [ -z "$exported" ]; then
		pass "the trace object exports nothing"
	else
		fail "exports" "$(echo "$exported" | head -n 3)"
	fi
	for needed in "$preload" "$lib/liblabyrinth.so"; do
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

check_without() {
	local plain=$out/without_unwind
	if ! make -C "$root" --no-print-directory -j2 UNWIND=0 OUT="$plain" >"$log" 2>&1; then
		fail "UNWIND=0" "does not build" "$log"
	elif [ -e "$plain/liblabyrinth-trace.so" ] || [ ! -e "$plain/liblabyrinth-preload.so" ]; then
		fail "UNWIND=0" "builds the wrong files" "$log"
	else
		pass "UNWIND=0 builds without the trace object"
	fi
	if make -C "$root" -n UNWIND=missing OUT="$plain" 2>&1 |
		grep -q '^no libunwind (libunwind-dev): building without'; then
		pass "a missing libunwind is said in one line"
	else
		fail "missing libunwind" "not said"
	fi
}

if [ ! -e "$trace" ]; then
	fail "trace object" "not built: no libunwind-dev?"
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
check_without
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Bugs that were there once, one case each: programs_c/regress.c (memory and
# its limits), regress_calls.c (calls that others interrupt, atomic pages,
# giving back) and regress_own.c (an executable with a malloc of its own).
# About 20 s for each back end.
#
# usage: check_regress.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
sources=$root/tests/programs_c
regress=$out/regress
regress_calls=$out/regress_calls
limit_seconds=30
# Giving back 200 MB in vain: a few passes.  Trying at each free() makes thousands.
madvise_max=400

# Headers count as well, see build().
for header in check.h regress.h; do
	for program in regress regress_nopie regress_calls regress_own; do
		[ "$sources/$header" -ot "$out/$program" ] || rm -f "$out/$program"
	done
done
# -fno-builtin: the compiler must not reason about malloc() and errno.
build "$regress" "$sources/regress.c" -fno-builtin &&
	build "${regress}_nopie" "$sources/regress.c" -fno-builtin -no-pie -fno-pic &&
	build "$regress_calls" "$sources/regress_calls.c" -fno-builtin &&
	build "$out/regress_own" "$sources/regress_own.c" -fno-builtin || exit 1

# verdict NAME CODE PATTERN: of the program that has written $log.
verdict() {
	local name=$1 code=$2 pattern=$3
	if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
		fail "$name" "no end within $limit_seconds s" "$log"
	elif grep -q 'labyrinth\[[0-9]*\]: BUG' "$log"; then
		fail "$name" "a report of the library" "$log"
	elif [ "$code" -ne 0 ]; then
		fail "$name" "exit code $code" "$log"
	elif grep -q '^skip ' "$log"; then
		skip "$name" "$(sed -n 's/^skip [^:]*: //p' "$log")"
	elif ! grep -q -e "$pattern" "$log"; then
		fail "$name" "did not print \"$pattern\"" "$log"
	else
		pass "$name"
	fi
}

# expect NAME PATTERN command ...
expect() {
	local name=$1 pattern=$2
	shift 2
	timeout -k 5 "$limit_seconds" "$@" >"$log" 2>&1 </dev/null
	verdict "$name" $? "$pattern"
}

# run_case BACKEND PROGRAM CASE [command that runs the program ...]
run_case() {
	local b=$1 program=$2 case=$3
	shift 3
	expect "$case${what:+, $what}, $b" "^ok $case: " \
		"$@" env LD_PRELOAD="$preload" "$program" --direct "$case"
}

# Under strace, which counts: time would depend on the machine.
check_locked() {
	local b=$1 calls
	if ! type strace >/dev/null 2>&1; then
		skip "locked, $b" "no strace"
		return
	fi
	timeout -k 5 "$limit_seconds" strace -c -f -e trace=madvise -o "$dir/calls" \
		-E LD_PRELOAD="$preload" "$regress_calls" --direct locked >"$log" 2>&1 </dev/null
	verdict "locked, $b" $? "^ok locked: "
	grep -q '^skip ' "$log" && return
	calls=$(awk '$NF == "madvise" { print $4 }' "$dir/calls")
	if [ "${calls:-0}" -le $madvise_max ]; then
		pass "locked: ${calls:-0} calls of madvise, $b"
	else
		fail "locked, $b" "$calls calls of madvise, more than $madvise_max"
	fi
}

check_memory() {
	local b=$1 case what=

	run_case "$b" "$regress" served
	what="not position-independent"
	run_case "$b" "${regress}_nopie" served
	what=
	expect "a malloc of its own, $b" "^own: ok\$" env LD_PRELOAD="$preload" "$out/regress_own"
	for case in failing-huge shrink move-child move-tight move-refused move-abandoned \
		foreign foreign-many foreign-move; do
		run_case "$b" "$regress" "$case"
	done
	run_case "$b" "$regress" bottom-up setarch "$(uname -m)" -L
	if [ "$(cat /proc/sys/vm/overcommit_memory)" = 2 ]; then
		skip "limit-12g, $b" "vm.overcommit_memory is 2"
	else
		# shellcheck disable=SC2016
		run_case "$b" "$regress" limit-12g \
			bash -c 'ulimit -v 12000000 && exec "$@"' -
	fi
}

check_calls() {
	local b=$1 case what

	limit_seconds=10
	for what in "run 1" "run 2" "run 3"; do
		run_case "$b" "$regress_calls" vfork
	done
	limit_seconds=30
	what=
	for case in abandoned atomic-faults atomic-sandbox falls-back; do
		run_case "$b" "$regress_calls" "$case"
	done
	check_locked "$b"
}

for backend in $backends; do
	export "$(backend_environment "$backend")"
	check_memory "$backend"
	check_calls "$backend"
done
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Signal storms, fork storms, and calls that never return: see programs_c/storm.c,
# forkstorm.c and cancelstorm.c.
# usage: check_storm.sh [--preload PATH] [--backend rseq|trylock|both] [--seconds S]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run NAME BACKEND LIMIT command ...
run() {
	local name=$1 backend=$2 limit=$3 code
	shift 3
	env "$(backend_environment "$backend")" LD_PRELOAD="$preload" \
		timeout -k 5 "$limit" "$@" >"$log" 2>&1
	code=$?
	case $code in
	0) ;;
	2) fail "$name" "hang" "$log" && return ;;
	3) fail "$name" "corruption" "$log" && return ;;
	4) fail "$name" "crash" "$log" && return ;;
	5) fail "$name" "NULL without need" "$log" && return ;;
	*) fail "$name" "exit code $code" "$log" && return ;;
	esac
	# atomic requests may find a zone empty, and say so
	if grep 'labyrinth\[' "$log" | grep -qvE 'page allocation failure|callbacks suppressed'; then
		fail "$name" "a report of the library" "$log"
	elif grep -q 'backend=' "$log" && [[ ${preload##*/} == *labyrinth* ]] &&
		! grep -q "backend=$backend\$" "$log"; then
		fail "$name" "another back end than $backend" "$log"
	elif grep -q 'stack-used' "$log"; then
		pass "$name, $(sed -n 's/^storm: stack-used=\([0-9]*\) of.*/\1 bytes of a handler'"'"'s stack/p' "$log")"
	else
		pass "$name"
	fi
}

for program in storm forkstorm cancelstorm; do
	build "$out/$program" "$root/tests/programs_c/$program.c" || exit 1
done

# 1,000 forks in a full run of 60 s; 50 in one of 3 s.
forks=$((seconds * 50 / 3))
[ "$forks" -ge 20 ] || forks=20

for backend in $backends; do
	for threads in 1 2 8 64; do
		run "storm, $threads threads, $backend" "$backend" $((seconds + 30)) \
			"$out/storm" "$seconds" "$threads"
	done
	run "storm, 2 threads, up to 1 KiB, $backend" "$backend" $((seconds + 30)) \
		"$out/storm" "$seconds" 2 1024
	run "$((forks * 2)) turns of cancelled threads, $backend" "$backend" $((forks + 90)) \
		"$out/cancelstorm" cancel $((forks * 2))
	run "$((forks * 4)) exec() out of handlers, $backend" "$backend" 90 \
		"$out/cancelstorm" exec $((forks * 4))
	for mode in fork handler handler-fork; do
		run "forkstorm, $forks forks, $mode, $backend" "$backend" $((forks / 4 + 60)) \
			"$out/forkstorm" "$forks" 8 "$mode"
	done
done
finish

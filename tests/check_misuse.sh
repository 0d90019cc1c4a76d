#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs each program of misuse/ and compares what it says on stderr, exactly,
# with the file NAME.stderr beside it, and how it ends: by SIGABRT for the
# malloc family, with "ok" and status 0 for the page API.  In the files %d is
# the number of the process and %p the address which the program announced.
# NAME.options, if there is one, has the options it runs with.
#
# usage: check_misuse.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

ABORTED=134
NO_API=77
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

# check NAME BACKEND [WHERE]
check() {
	local name=$1 backend=$2 want pid ptr code
	local label="$name, $backend${3-}" options=

	[ ! -e "$root/tests/misuse/$name.options" ] || options=$(cat "$root/tests/misuse/$name.options")

	# The subshell takes bash's own line about the signal.
	(
		env "$(backend_environment "$backend")" LD_PRELOAD="$preload" \
			LABYRINTH_OPTIONS="$options" \
			timeout --foreground 20 "$out/misuse_$name" >"$log/out" 2>"$log/err"
		echo $? >"$log/code"
	) 2>/dev/null
	code=$(cat "$log/code")
	if [ "$code" -eq $NO_API ]; then
		fail "$label" "the library does not export the page API"
		return
	fi
	read -r pid ptr <"$log/out"
	want=$(cat "$root/tests/misuse/$name.stderr")
	want=${want//%d/$pid}
	want=${want//%p/$ptr}
	if [ "$(cat "$log/err")" != "$want" ]; then
		printf 'wanted: %s\n' "$want" >"$log/why"
		sed 's/^/said:   /' "$log/err" >>"$log/why"
		fail "$label" "stderr differs (exit code $code)" "$log/why"
	elif grep -q 'puts("ok")' "$root/tests/misuse/$name.c"; then
		if [ "$code" -eq 0 ] && [ "$(tail -n 1 "$log/out")" = ok ]; then
			pass "$label"
		else
			fail "$label" "did not go on: exit code $code" "$log/out"
		fi
	elif [ "$code" -ne $ABORTED ]; then
		fail "$label" "ended with $code, not by SIGABRT" "$log/err"
	else
		pass "$label"
	fi
}

# Without core files the programs end at once.
ulimit -c 0
for source in "$root"/tests/misuse/*.c; do
	name=$(basename "$source" .c)
	build "$out/misuse_$name" "$source" -fno-builtin || exit 1
	for backend in $backends; do
		check "$name" "$backend"
	done
done
# what the library without checks sees as well: it does not look at live bytes
without=${preload%.so}-nocheck.so
if [ -e "$without" ]; then
	preload=$without
	for name in double_free_large double_free_huge free_interior_large free_mapped; do
		for backend in $backends; do
			check "$name" "$backend" ", without checks"
		done
	done
fi
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# mmap() and its kin under the library beside the kernel's own, see
# programs_c/mmapdiff.c.
#
# usage: check_mmap.sh [--preload PATH] [--backend rseq|trylock|both]
#                      [--sequences N] [--seed S]
#
# --sequences  of up to 14 calls each, per back end (10000, about 5 s);
#              1000000 takes about ten minutes

sequences=10000
seed=
rest=()
while [ $# -gt 0 ]; do
	case $1 in
	--sequences) sequences=$2 && shift ;;
	--seed) seed=$2 && shift ;;
	*) rest+=("$1") ;;
	esac
	shift
done

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "${rest[@]}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
sources=$root/tests/programs_c
for part in mmapdiff.h mmapdiff_child.c; do
	[ "$sources/$part" -ot "$out/mmapdiff" ] || rm -f "$out/mmapdiff"
done
build "$out/mmapdiff" "$sources/mmapdiff.c" "$sources/mmapdiff_child.c" || exit 1

for backend in $backends; do
	env "$(backend_environment "$backend")" timeout $((60 + sequences / 100)) "$out/mmapdiff" -n "$sequences" \
		${seed:+-s "$seed"} "$preload" >"$log" 2>&1
	if [ $? -eq 0 ] && grep -q 'no difference$' "$log"; then
		pass "$backend, $(sed -n 's/^mmapdiff: //p' "$log" | tr '\n' ' ')"
	else
		fail "$backend" "$(sed -n 's/^mmapdiff: //p' "$log" | head -1)"
		cut -c -220 "$log"
	fi
done

# check_option VALUE PATTERN: of the figures at the end of a short run
check_option() {
	LABYRINTH_OPTIONS=mmap:$1,stats:1 timeout 60 "$out/mmapdiff" -n 300 "$preload" >"$log" 2>&1
	if [ $? -eq 0 ] && grep -q "mmap routed $2 lost 0\$" "$log"; then
		pass "mmap:$1, $(sed -n 's/.* mmap routed/routed/p' "$log")"
	else
		fail "mmap:$1" "figures other than routed $2 lost 0" "$log"
	fi
}
check_option 0 '0 passed [1-9][0-9]* restored 0'
check_option 1 '[1-9][0-9]* passed [1-9][0-9]* restored [1-9][0-9]*'
finish

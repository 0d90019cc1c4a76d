#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Every order of a few threads' atomic accesses in the library's own code: see
# explore/explore.h.
# usage: check_explore.sh [--states N] [--orders] [--build] [SCENARIO...]
#
# --states    at most so many states of each scenario, 2000000 if not said
# --orders    only with the orders of plain accesses; else without and with them
# --build     build and do no more
# SCENARIO    only those whose names begin so

root=$(cd "$(dirname "$0")/.." && pwd)
# relative, so that a copy of the tree has what was built in it
out=build/explore
states=2000000
kinds="all orders"
only=()
build=0

while [ $# -gt 0 ]; do
	case $1 in
	--states) states=$2 && shift ;;
	--orders) kinds=orders ;;
	--build) build=1 ;;
	-*) sed -n '6,11s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
	*) only+=("$1") ;;
	esac
	shift || exit 2
done
cd "$root" || exit 2
if [ "$(uname -m)" != x86_64 ]; then
	echo "skipped: the switch of coroutines is for x86-64 alone"
	echo "0 passed, 0 failed"
	exit 0
fi

# What is wrapped are calls across files: os/ and base/fail.c are the only places.
wraps="lab_os_map lab_os_unmap lab_os_discard lab_os_populate lab_os_probe lab_cpu_init
	lab_cpu_now lab_cpus_nr lab_os_no_access lab_os_lock_on_fault lab_os_wipe_on_fork
	lab_os_keep_on_fork lab_os_clock_ms lab_os_clear lab_bug"
# shellcheck disable=SC2086
make -s --no-print-directory -f tests/explore/explore.mk OUT="$out" \
	WRAPS="$(printf ' -Wl,--wrap=%s' $wraps)" || {
	echo "FAILED  build"
	echo "0 passed, 1 failed"
	exit 1
}
[ $build = 0 ] || exit 0

passed=0
failed=0
chosen() {
	local o
	[ ${#only[@]} -gt 0 ] || return 0
	for o in "${only[@]}"; do
		[[ $1 == "$o"* ]] && return 0
	done
	return 1
}
for kind in $kinds; do
	for name in $("$out/explore" -l); do
		chosen "$name" || continue
		if [ "$kind" = orders ]; then
			echo -n "orders "
			set -- -o
		else
			set --
		fi
		"$out/explore" -n "$states" "$@" -s "$name"
		code=$?
		if [ $code -eq 0 ]; then
			passed=$((passed + 1))
		else
			[ $code -eq 1 ] || echo "FAILED  $name: ended with $code"
			failed=$((failed + 1))
		fi
	done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

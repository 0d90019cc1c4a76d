#!/bin/bash
# SPDX-License-Identifier: MIT
# All the hostile shapes at once: threads, fork, vfork, clone, timers,
# faults, mremap, stack growth, memory until none is left.
# packages: stress-ng
# timeout: 90
# quick: yes
. "$(dirname "$0")/lib.sh"
need stress-ng

seconds=${STRESS_SECONDS:-15}
mkdir tmp
# bounds --bigheap, which otherwise takes all the memory there is
ulimit -v 1572864
ulimit -c 0
a_child() {
	child=$(children "$pid" | head -n 1)
	[ -n "$child" ]
}
stress() { # SECONDS
	spawn stress-ng --malloc 2 --malloc-pthreads 4 --mmap 1 --mmap-bytes 16M --fork 1 --vfork 1 \
		--clone 1 --timer 1 --sigsegv 1 --sigq 1 --pthread 1 --bigheap 1 \
		--mremap 1 --mremap-bytes 16M --stack 1 --verify --metrics --temp-path "$WORK/tmp" \
		-t "$1s" >log
	loaded "$pid"
	until_true 50 a_child || fail "no stressor runs"
	loaded "$child"
	wait "$pid" || fail "stress-ng: status $?: $(tail -n 40 log)"
	cat log "$STDERR" >all
	! grep -E '\] *(fail|error):|corrupt' all || fail "stress-ng complains"
	grep -q 'successful run completed' all || fail "$(tail -n 40 all)"
}
# the stressors that have done nothing
idle() {
	local name

	for name in malloc mmap fork vfork clone timer sigsegv sigq pthread bigheap mremap stack; do
		grep -qE "\] $name +[1-9]" all || echo "$name"
	done
}
# where the time is short and CPUs are few, some are not begun before it is over
for times in 1 2 4; do
	stress $((seconds * times))
	[ -n "$(idle)" ] || break
done
[ -z "$(idle)" ] || fail "no operation of $(idle | tr '\n' ' '): $(tail -n 40 all)"

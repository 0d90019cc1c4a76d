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
spawn stress-ng --malloc 2 --malloc-pthreads 4 --mmap 1 --mmap-bytes 16M --fork 1 --vfork 1 \
	--clone 1 --timer 1 --sigsegv 1 --sigq 1 --pthread 1 --bigheap 1 \
	--mremap 1 --mremap-bytes 16M --stack 1 --verify --metrics --temp-path "$WORK/tmp" \
	-t "${seconds}s" >log
loaded "$pid"
a_child() {
	child=$(children "$pid" | head -n 1)
	[ -n "$child" ]
}
until_true 50 a_child || fail "no stressor runs"
loaded "$child"
wait "$pid" || fail "stress-ng: status $?: $(tail -n 40 log)"
cat log "$STDERR" >all
! grep -E '\] *(fail|error):|corrupt' all || fail "stress-ng complains"
grep -q 'successful run completed' all || fail "$(tail -n 40 all)"
# each stressor has done something
for name in malloc mmap fork vfork clone timer sigsegv sigq pthread bigheap mremap stack; do
	grep -qE "\] $name +[1-9]" all || fail "no operation of $name: $(tail -n 40 all)"
done

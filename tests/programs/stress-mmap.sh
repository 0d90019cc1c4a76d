#!/bin/bash
# SPDX-License-Identifier: MIT
# Every stressor of stress-ng that maps, moves, protects, advises and unmaps.
# packages: stress-ng
# timeout: 150
. "$(dirname "$0")/lib.sh"
need stress-ng

seconds=${STRESS_SECONDS:-60}
mkdir tmp
ulimit -c 0
spawn stress-ng --mmap 1 --mmap-bytes 16M --mremap 1 --mremap-bytes 16M --mprotect 1 --madvise 1 \
	--munmap 1 --fork 1 --mincore 1 --mlock 1 --msync 1 --msync-bytes 4M --mmapfixed 1 \
	--mmapaddr 1 --mmapfork 1 --remap 1 --stackmmap 1 --verify --metrics \
	--temp-path "$WORK/tmp" -t "${seconds}s" >log
loaded "$pid"
wait "$pid" || fail "stress-ng: status $?: $(tail -n 40 log)"
cat log "$STDERR" >all
! grep -E '\] *(fail|error):|corrupt' all || fail "stress-ng complains"
grep -q 'successful run completed' all || fail "$(tail -n 40 all)"
for name in mmap mremap mprotect madvise munmap fork mincore mlock msync; do
	grep -qE "\] $name +[1-9]" all || fail "no operation of $name: $(tail -n 40 all)"
done

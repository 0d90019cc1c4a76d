#!/bin/bash
# SPDX-License-Identifier: MIT
# Python's own tests of mmap, signals, threads, fork, ctypes over malloc.
# packages: python3 libpython3.11-testsuite
# timeout: 400
. "$(dirname "$0")/lib.sh"
need /usr/bin/python3
/usr/bin/python3 -c 'import test.test_mmap' 2>/dev/null ||
	{ echo "missing: the python test suite"; exit 77; }

tests="test_mmap test_signal test_threading test_threadsignals test_fork1
	test_posix test_faulthandler test_json test_array test_gc test_dict
	test_list test_bytes test_zlib test_weakref test_subprocess test_ctypes"
mkdir tmp
export PYTHONMALLOC=malloc TMPDIR="$WORK/tmp"
# its own processes get crashes on purpose, whose stderr it keeps to itself
# shellcheck disable=SC2086
spawn /usr/bin/python3 -m test -j2 --tempdir "$WORK/tmp" $tests >log
loaded "$pid"
a_worker() {
	worker=$(children "$pid" | head -n 1)
	[ -n "$worker" ]
}
until_true 100 a_worker || fail "no worker process"
loaded "$worker"
wait "$pid" || fail "$(tail -n 60 log)"
grep -q '^Tests result: SUCCESS' log || fail "$(tail -n 60 log)"
equal "$(sed -n 's/^All \(.*\) tests OK\.$/\1/p' log)" "$(wc -w <<<"$tests")" tests

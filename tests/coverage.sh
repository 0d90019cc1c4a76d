#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Lines of src/ that the tests run: the unit tests with both back ends, and the
# programs that end the process or fail system calls, under the preload.  What they
# do not run is listed; lines that no test can reach say why where they are
# (GCOVR_EXCL_*).  Fails below 95 %.  About five minutes.

cd "$(dirname "$0")/.." || exit 2
out=build/coverage
least=95
make -s -j"$(nproc)" BUILD=coverage all || exit 1
units=()
for source in tests/test_*.c; do
	name=${source#tests/}
	units+=("$out/tests/${name%.c}")
done
make -s -j"$(nproc)" BUILD=coverage "${units[@]}" || exit 1
find $out -name '*.gcda' -delete

# The counters are written by calls and cost page faults of their own: a test that
# counts these may fail here, which is not what this is about.
run() {
	timeout 900 "$@" >>$out/log 2>&1 || echo "  (failed here: $*)"
}
: >$out/log
for unit in "${units[@]}"; do
	run tests/run_units.sh "$unit"
done
lib=$out/liblabyrinth-preload.so
for check in misuse limits life atomic kswapd trace mmap sections profile; do
	run tests/check_$check.sh --preload $lib --backend both
done
run tests/check_storm.sh --preload $lib --backend both --seconds 1

mkdir -p $out/html
gcovr --root . --object-directory $out --filter 'src/' --exclude-unreachable-branches \
	--exclude '.*/nocheck/.*' --html-details $out/html/index.html --txt $out/summary.txt \
	--gcov-ignore-parse-errors 2>$out/gcovr.log ||
	{ tail -n 5 $out/gcovr.log; exit 1; }
cat $out/summary.txt
percent=$(awk '/^TOTAL/ { sub("%", "", $4); print $4 }' $out/summary.txt)
echo "lines of src/: $percent % (at least $least), details in $out/html/index.html"
[ "${percent:-0}" -ge $least ]

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Lines of src/ that the tests run: the unit tests with both back ends, and the checks
# of programs and of the tool labyrinth.  Printed are the lines that none of them runs,
# each with its reason in coverage/unreached.txt, and a table by directory.  Fails
# below 95 %, and on a line without a reason: see coverage/judge.py.  About ten
# minutes on two idle cores.
#
# usage: coverage.sh [--report]
#
# --report    judge the counters of the last run again

cd "$(dirname "$0")/.." || exit 2
out=build/coverage
least=95

report() {
	mkdir -p $out/html
	gcovr --root . --object-directory $out --filter 'src/' --exclude-unreachable-branches \
		--html-details $out/html/index.html --json $out/coverage.json \
		--gcov-ignore-parse-errors 2>$out/gcovr.log ||
		{ tail -n 5 $out/gcovr.log; exit 1; }
	tests/coverage/judge.py $out/coverage.json tests/coverage/unreached.txt $least
	code=$?
	echo "line by line: $out/html/index.html"
	exit $code
}
case $#:${1-} in
0:) ;;
1:--report) report ;;
*) sed -n '10,12s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac

# libgcov's own requests are not the heap's that it counts: see coverage/stdio.c
mkdir -p $out
redefine=()
for name in fdopen fread fwrite fseek fclose malloc free; do
	redefine+=(--redefine-sym "$name=coverage_$name")
done
gcc -O2 -Wall -Wextra -fPIC -fvisibility=hidden -c -o $out/stdio.o tests/coverage/stdio.c &&
	objcopy "${redefine[@]}" "$(gcc -print-file-name=libgcov.a)" $out/libgcov.new &&
	ar rs $out/libgcov.new $out/stdio.o 2>/dev/null || exit 1
# what was linked with another one is linked anew
cmp -s $out/libgcov.new $out/libgcov.a || rm -rf $out/labyrinth $out/*.so $out/tests
mv $out/libgcov.new $out/libgcov.a
build=(make -s -j"$(nproc)" BUILD=coverage "LDFLAGS=-L$out")
"${build[@]}" all || exit 1
units=()
for source in tests/test_*.c; do
	name=${source#tests/}
	units+=("$out/tests/${name%.c}")
done
"${build[@]}" "${units[@]}" || exit 1
find $out -name '*.gcda' -delete
# programs that contain the library are linked with what it counts by
printf '#!/bin/sh\nexec gcc "$@" -L%s -lgcov\n' "$PWD/$out" >$out/cc
chmod +x $out/cc
export CC=$PWD/$out/cc GCOV_ERROR_FILE=$PWD/$out/gcov_errors
preload=$out/liblabyrinth-preload.so

# The counters are written by calls and cost page faults and time of their own: a test
# that counts or measures these may fail here, which is not what this is about.
run() { # run LOG COMMAND...
	local log=$out/$1.log began=$SECONDS at
	shift
	at=$(($(stat -c %s "$log" 2>/dev/null) + 1))
	timeout 900 "$@" >>"$log" 2>&1 || {
		echo "  (failed here: $*)"
		tail -c +$at "$log" | sed -n -E 's/^(FAILED|FAIL)( +[^:]+).*/    \2/p; s/^\[  FAILED  \] (test_\w+)$/       \1/p' |
			sort -u
	}
	printf '  %4d s %s\n' $((SECONDS - began)) "$*" >>$out/times
}
rm -f $out/*.log $out/times $out/gcov_errors
{
	for unit in "${units[@]}"; do
		run units tests/run_units.sh "$unit"
	done
	for check in atomic kswapd life regress; do
		run $check tests/check_$check.sh --preload $preload --backend both
	done
} &
for check in misuse limits trace mmap sections profile fault histogram probes; do
	run $check tests/check_$check.sh --preload $preload --backend both
done
run nocheck tests/check_life.sh --only 'contents*' --backend rseq --preload $out/liblabyrinth-preload-nocheck.so
run tools tests/check_tools.sh --lib $out
run storm tests/check_storm.sh --preload $preload --backend both --seconds 1
wait
report

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The unit tests, stress tests included, with ASan and UBSan, and with TSan: no
# finding.  Both have no restartable sequences.  About six minutes.
# usage: check_sanitize.sh [NAME...]       (tests/test_NAME.c; default: all)

cd "$(dirname "$0")/.." || exit 2
passed=0
failed=0
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
	for source in tests/test_*.c; do
		name=${source#tests/test_}
		names+=("${name%.c}")
	done
fi
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=detect_leaks=0
for build in asan tsan; do
	if ! make -s -j"$(nproc)" BUILD=$build "${names[@]/#/build/$build/tests/test_}"; then
		echo "FAILED  $build: build"
		failed=$((failed + 1))
		continue
	fi
	for name in "${names[@]}"; do
		log=build/log/$build.test_$name
		mkdir -p build/log
		timeout 300 build/$build/tests/test_"$name" >"$log" 2>&1
		code=$?
		if [ $code -eq 0 ] && ! grep -qE 'runtime error|Sanitizer' "$log"; then
			passed=$((passed + 1))
			echo "ok      $name, $build"
		else
			failed=$((failed + 1))
			echo "FAILED  $name, $build: ended with $code"
			grep -E -A 12 'runtime error|Sanitizer|must hold|ERROR|FAILED' "$log" | head -n 40
		fi
	done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]

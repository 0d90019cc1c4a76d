#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cppcheck and clang-tidy over the library, with the configurations of
# static/cppcheck.txt and .clang-tidy: no finding.  About three minutes.
# usage: check_static.sh [FILE...]

cd "$(dirname "$0")/.." || exit 2
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

result() { # result NAME STATUS
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok      $1"
	else
		failed=$((failed + 1))
		echo "FAILED  $1"
		head -n 60 "$log"
	fi
}

files=("$@")
if [ ${#files[@]} -eq 0 ]; then
	mapfile -t files < <(find src preload trace -name '*.c' | sort)
fi
grep -v '^#' tests/static/cppcheck.txt >"$log.list"
trap 'rm -f "$log" "$log.list"' EXIT
cppcheck --quiet -j "$(nproc)" --std=c11 --enable=warning,performance,portability \
	--inline-suppr --suppressions-list="$log.list" --library=gnu --library=posix \
	-Isrc -Iinclude -I. -iquote src/api -D__x86_64__ -D_GNU_SOURCE --error-exitcode=1 \
	"${files[@]}" >"$log" 2>&1
result "cppcheck, ${#files[@]} files" $?

for file in "${files[@]}"; do
	extra=()
	[ "$file" = preload/labyrinth.c ] && extra=(-iquote src/api '-DLABYRINTH_LIBDIR="/"')
	clang-tidy --quiet "$file" -- -std=gnu11 -Isrc -Iinclude -I. "${extra[@]}" >"$log" 2>/dev/null
	result "clang-tidy $file" $?
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cppcheck and clang-tidy over the library, with the configurations of
# static/cppcheck.txt and .clang-tidy: no finding.  A file that cannot be parsed is
# one.  About three minutes.
# usage: check_static.sh [FILE...]

cd "$(dirname "$0")/.." || exit 2
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log" "$log.list" "$log.errors"' EXIT
# what the Makefile defines, by which code is chosen
defines=(-Isrc -Iinclude -I. '-DLABYRINTH_VERSION="0"' '-DLABYRINTH_LIBDIR="/"')

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
cppcheck --quiet -j "$(nproc)" --std=c11 --enable=warning,performance,portability \
	--inline-suppr --suppressions-list="$log.list" --library=gnu --library=posix \
	"${defines[@]}" -D__x86_64__ -D_GNU_SOURCE --error-exitcode=1 \
	"${files[@]}" >"$log" 2>&1
result "cppcheck, ${#files[@]} files" $?

for file in "${files[@]}"; do
	clang-tidy --quiet "$file" -- -std=gnu11 "${defines[@]}" >"$log" 2>"$log.errors"
	code=$?
	# what is there on success: how many warnings of system headers it has left out
	if [ $code -eq 0 ] && ! grep -v -q -E '^[0-9]+ warnings? generated\.$' "$log.errors"; then
		result "clang-tidy $file" 0
	else
		cat "$log.errors" >>"$log"
		result "clang-tidy $file" 1
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Hostile input, by libFuzzer: strings of options, and pointers to every entry that
# takes one.  See fuzz/.
# usage: check_fuzz.sh [--seconds S]       (for each of the two; default 10)

cd "$(dirname "$0")/.." || exit 2
seconds=10
while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=$2 && shift ;;
	*) sed -n '6p' "$0" >&2 && exit 2 ;;
	esac
	shift
done
out=build/fuzz
passed=0
failed=0
mkdir -p $out
# the whole library with coverage for the fuzzer; ASan finds reads beyond the text
if ! make -s -j"$(nproc)" OUT=$out CC=clang UNWIND=0 \
	CFLAGS="-O1 -g -fsanitize=fuzzer-no-link -DLAB_NO_RSEQ" $out/liblabyrinth.a >$out/log 2>&1; then
	tail -n 20 $out/log
	echo "0 passed, 1 failed"
	exit 1
fi
for target in options pointers; do
	asan=
	[ $target = options ] && asan=,address
	mkdir -p $out/$target.corpus
	if ! clang -O1 -g -std=gnu11 -Isrc -Iinclude -fsanitize=fuzzer$asan -DLAB_NO_RSEQ -Wall -Wextra \
		-o $out/$target tests/fuzz/$target.c $out/liblabyrinth.a -lpthread >$out/log 2>&1; then
		tail -n 20 $out/log
		failed=$((failed + 1))
		continue
	fi
	[ $target = options ] && printf 'reserve:1m,exclusive:64k,mmap:4,stall_ms:5' >$out/options.corpus/seed
	# reports of the library go to descriptor 2, which is closed for the target; whatever the
	# fuzzer leaves, it leaves in $out
	if (cd $out && exec timeout $((seconds + 60)) "./$target" -max_total_time="$seconds" -close_fd_mask=2 \
		-timeout=20 -max_len=198 -artifact_prefix=./ -print_final_stats=1 "$target.corpus") >$out/log 2>&1; then
		passed=$((passed + 1))
		echo "ok      $target: $(sed -n 's/stat::number_of_executed_units: *//p' $out/log) inputs"
	else
		failed=$((failed + 1))
		echo "FAILED  $target"
		tail -n 15 $out/log
	fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -eq 2 ]

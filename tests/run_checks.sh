#!/bin/sh
# SPDX-License-Identifier: MIT
# Run the named make targets one after the other; sum up at the end.
# usage: run_checks.sh MAKE TARGET...
make=$1
shift
passed=0
failed=0
names=
begin=$(date +%s)
$make --no-print-directory -j"$(nproc)" all || exit 1
for target; do
	start=$(date +%s)
	echo "== $target"
	if $make --no-print-directory "$target"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		names="$names $target"
	fi
	echo "== $target: $(($(date +%s) - start)) s"
done
[ $failed = 0 ] || echo "failed:$names"
echo "make check: $(($(date +%s) - begin)) s"
echo "$passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/sh
# SPDX-License-Identifier: MIT
# Run unit test programs, each under both back ends; count them.
# usage: run_units.sh PROGRAM...
passed=0
failed=0
mkdir -p build/log
for program; do
	for tunable in glibc.pthread.rseq=1 glibc.pthread.rseq=0; do
		log=build/log/$(basename "$program").$tunable
		if GLIBC_TUNABLES=$tunable timeout 120 "$program" >"$log" 2>&1; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			echo "FAIL $(basename "$program") with $tunable:"
			tail -n 40 "$log"
		fi
	done
done
[ $((passed + failed)) -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ $failed = 0 ]

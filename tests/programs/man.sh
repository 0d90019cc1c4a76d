#!/bin/bash
# SPDX-License-Identifier: MIT
# A page through man-db's seccomp sandbox, groff and its preprocessors.
# packages: man-db groff-base
# timeout: 60
. "$(dirname "$0")/lib.sh"
need man groff

{
	echo '.TH LAB 1 2020-01-01 lab "Lab manual"'
	printf '.SH NAME\nlab \\- a page\n.SH DESCRIPTION\n'
	for i in $(seq 1 400); do
		printf '.TP\n.BI item%d " argument"\nThe text of item %d, long enough to be filled.\n' "$i" "$i"
	done
	printf '.TS\nl l.\none\ttwo\nthree\tfour\n.TE\n'
} >lab.1
sed -i "1i '\\\\\" t" lab.1
gzip -k lab.1
export MANWIDTH=80
loaded_stdin man -P cat -l -
# twice, for the page and for its packed copy
for page in lab.1 lab.1.gz; do
	man -P cat -l "./$page" >want
	under man -P cat -l "./$page" >got
	same got want
	equal "$(grep -c 'item[0-9]* argument' got)" 400 items
	grep -qE '^ +three +four' got || fail "no table"
done

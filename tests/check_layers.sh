#!/bin/sh
# SPDX-License-Identifier: MIT
# src/<layer>/ may include itself and the layers named here, nothing else.
allowed() {
	case $1 in
	base) echo "" ;;
	os) echo "base" ;;
	page) echo "base os" ;;
	pcp) echo "base os page" ;;
	slab) echo "base os page pcp" ;;
	map) echo "base os page pcp" ;;
	gfp) echo "base os page pcp slab" ;;
	diag) echo "base os page pcp slab map gfp" ;;
	api) echo "base os page pcp slab map gfp diag" ;;
	# a few headers alone, see below
	tool) echo "api base" ;;
	esac
}
status=0
for file in src/*/*.[ch]; do
	layer=${file#src/}
	layer=${layer%%/*}
	for to in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$file"); do
		case " $layer $(allowed "$layer") " in
		*" $to "*) ;;
		*)
			echo "$file: $layer/ must not include $to/"
			status=1
			;;
		esac
	done
	if [ "$layer" != api ] && [ "$layer" != gfp ] && [ "$layer" != tool ] && grep -Hn '^#include "labyrinth.h"' "$file"; then
		status=1
	fi
done
# The tool is no part of the library: it knows its options, what it shows, and the public headers.
if grep -Hn '^#include "[a-z]*/' src/tool/*.[ch] | grep -v -e '"tool/' -e '"api/option_\(keys\|value\)\.h"' \
	-e '"base/export\(_[a-z]*\)\{0,1\}\.h"'; then
	status=1
fi
# The shims see the public header alone.
if grep -Hn '^#include "[a-z]*/' preload/*.[ch]; then
	status=1
fi
# The trace object knows the library by one table.
if grep -Hn '^#include "[a-z]*/' trace/*.[ch] | grep -v -e '"trace/' -e '"gfp/trace.h"'; then
	status=1
fi
# System calls are made in os/; base/fail.c may write and end the process.
if grep -ln 'lab_sys6(' src/*/*.c | grep -v -e '^src/os/' -e '^src/base/fail.c$'; then
	echo "system calls belong to src/os/"
	status=1
fi
if grep -ln 'stdatomic.h' src/*/*.[ch] | grep -v '^src/base/word.h$'; then
	echo "only base/word.h includes <stdatomic.h>"
	status=1
fi
[ $status = 0 ] && echo "layers: arrows point down"
exit $status

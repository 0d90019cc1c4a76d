#!/bin/sh
# SPDX-License-Identifier: MIT
# Each header compiles alone as C11; the public one as C++ too.
status=0
for h in src/*/*.h include/*.h; do
	case $h in src/os/rseq_none.h) continue ;; esac
	if ! ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -Isrc -Iinclude -fsyntax-only -x c "$h" \
		2>build/header.log; then
		echo "$h does not compile alone:"
		cat build/header.log
		status=1
	fi
done
echo '#include "labyrinth.h"' | ${CXX:-c++} -std=c++17 -Wall -Wextra -Werror -Iinclude \
	-fsyntax-only -x c++ - || status=1
${CXX:-c++} -std=c++17 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ include/labyrinth.hpp 2>build/header.log ||
	{ grep -v 'pragma once' build/header.log && status=1; }
[ $status = 0 ] && echo "headers: each compiles alone"
exit $status

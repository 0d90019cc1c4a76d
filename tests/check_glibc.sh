#!/bin/sh
# SPDX-License-Identifier: MIT
#
# glibc's own allocator-neutral tests, malloc/tst-*.c of Debian's glibc-source,
# as a specification of malloc.  They are LGPL: the sources are unpacked from
# /usr/src/glibc into build/ (or taken from $GLIBC_SRC, an unpacked tree), built
# there against glibc/shim/, and never become part of this tree.
#
# About 35 s for each back end with an allocator that does not hang.
cd "$(dirname "$0")/.." || exit 1
build=build/glibc-tests
usage='[--install]

  --install        install glibc-source first if it is missing
'
# shellcheck source=tests/programs_c/suite.sh disable=SC2154 # sets $install
. tests/programs_c/suite.sh

# There are 31 in glibc 2.36; much less means that something is amiss.
least=28

get_source() {
	if [ -n "${GLIBC_SRC-}" ]; then
		src=$GLIBC_SRC
		[ -d "$src/malloc" ] || suite_broken "no malloc/ in GLIBC_SRC=$src"
		return
	fi
	tarball=$(find /usr/src/glibc -name 'glibc-*.tar.*' 2>/dev/null | sort | tail -n 1)
	if [ -z "$tarball" ] && [ -n "$install" ]; then
		sudo=
		[ "$(id -u)" -eq 0 ] || sudo=sudo
		$sudo apt-get install -y --no-install-recommends glibc-source >"$build/apt.log" 2>&1 ||
			suite_broken "apt-get install glibc-source: see $build/apt.log"
		tarball=$(find /usr/src/glibc -name 'glibc-*.tar.*' | sort | tail -n 1)
	fi
	[ -n "$tarball" ] || suite_broken "no /usr/src/glibc/glibc-*.tar.*: try --install"
	src=$build/src
	if [ -z "$(find "$src/.unpacked" -newer "$tarball" 2>/dev/null)" ]; then
		rm -rf "$src"
		mkdir -p "$src"
		tar -C "$src" --strip-components=1 --wildcards -xf "$tarball" \
			'glibc-*/malloc/*.c' 'glibc-*/malloc/*.h' || suite_broken "cannot unpack $tarball"
		touch "$src/.unpacked"
	fi
}

# build_test NAME: quiet, the complaints are kept in log/NAME.build.
build_test() {
	extra=
	case $1 in
	tst-interpose-nothread | tst-interpose-thread)
		extra=$src/malloc/tst-interpose-aux-${1#tst-interpose-}.c
		;;
	esac
	# shellcheck disable=SC2086 # $extra may be nothing
	${CC:-gcc} -std=gnu11 -O2 -g -w -fno-builtin -D_GNU_SOURCE \
		-Itests/glibc/shim/support -Itests/glibc/shim \
		-o "$build/bin/$1" "$src/malloc/$1.c" $extra -pthread >"$build/log/$1.build" 2>&1
}

suite_options "$@"
mkdir -p "$build/bin" "$build/log" || exit 1
suite_preload
get_source

found=0
for file in "$src"/malloc/tst-*.c; do
	[ -f "$file" ] || continue
	name=${file##*/}
	name=${name%.c}
	suite_wanted "$name" || continue
	reason=$(awk -v name="$name" '$1 == name { $1 = ""; print substr($0, 2) }' tests/glibc/skip.txt)
	if [ -n "$reason" ]; then
		suite_skip "$name" "$reason"
		continue
	fi
	found=$((found + 1))
	if ! build_test "$name"; then
		suite_fail "$name" "does not build, see $build/log/$name.build"
		continue
	fi
	limit=$(sed -n 's/^#define TIMEOUT \([0-9]*\).*/\1/p' "$file")
	suite_run "$name" $((${limit:-20} + 10)) "$build/bin/$name"
done
[ -n "$only" ] || [ "$found" -ge "$least" ] ||
	suite_fail source "only $found tests in $src/malloc, expected $least"
suite_end

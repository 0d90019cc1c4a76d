#!/bin/bash
# SPDX-License-Identifier: MIT
#
# How liblabyrinth-trace.so gets libunwind.  Debian's archive of it is not position-independent
# (libunwind-x86_64.a 1.6.2: 57 relocations R_X86_64_32 and 32S, 6 R_X86_64_TPOFF32 outside of debug
# sections; ld refuses it with -z notext as well), so it is built from the source of Debian's
# package: from where the machine's own lists get libunwind-dev, fetched and verified by apt-get,
# which keeps what it needs for that in DIRECTORY.  Once; DIRECTORY/current is what was built last.
#
# usage: libunwind.sh auto|static|shared DIRECTORY FILE
#
# Into FILE goes how to link: "static", "shared", or "none".  What is asked for and cannot be had is
# an error; auto takes what comes next, and says why.
set -u
wanted=$1
directory=$2
answer=$3
self=$0
CC=${CC:-cc}
export LC_ALL=C

say() {
	echo "libunwind: $*" >&2
}

# FILE is as old as the answer in it: what was linked so stays as it is
answer_with() {
	mkdir -p "$(dirname "$answer")"
	[ "$(cat "$answer" 2>/dev/null)" = "$1" ] || { echo "$1" >"$answer.$$" && mv "$answer.$$" "$answer"; }
	exit 0
}

# compiles TEXT [FLAG...]
compiles() {
	text=$1
	shift
	# shellcheck disable=SC2086 # $CC may be a command with arguments
	echo "$text" | $CC -D_GNU_SOURCE -include dlfcn.h -w -o /dev/null -x c - -x none "$@" 2>/dev/null
}
is_here='#ifndef __x86_64__
#error
#endif
struct dl_find_object found; int main(void) { return _dl_find_object(0, &found); }'
has_shared() {
	compiles 'int main(void) { return !unw_create_addr_space(0, 0); }' -include libunwind.h -lunwind-x86_64
}

# ---- a static one ----

# why TEXT: what has failed, for who comes next as well
why() {
	echo "$*" >"$directory/failed"
	return 1
}

# the machine's lists as lists of sources; of disks there are none
write_lists() {
	sourcelist=
	sourceparts=
	eval "$(apt-config shell sourcelist Dir::Etc::sourcelist/f sourceparts Dir::Etc::sourceparts/d)"
	mkdir -p "$new/apt/parts" "$new/apt/lists/partial" "$new/apt/cache/archives/partial"
	for list in "$sourcelist" "$sourceparts"/*.list; do
		[ ! -r "$list" ] || sed -E -n -e '/^[^#]*cdrom:/d' \
			-e 's/^[[:space:]]*deb(-src)?([[:space:]])/deb-src\2/p' "$list"
	done | sort -u >"$new/apt/parts/all.list"
	for list in "$sourceparts"/*.sources; do
		[ ! -r "$list" ] || sed -E 's/^[Tt]ypes:.*/Types: deb-src/' "$list" >"$new/apt/parts/${list##*/}"
	done
	grep -q -r deb-src "$new/apt/parts"
}

apt() {
	timeout -k 5 180 apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$new/apt/parts" \
		-o Dir::State::Lists="$new/apt/lists" -o Dir::Cache="$new/apt/cache" \
		-o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

fetch() {
	for tool in apt-get apt-config tar gzip xz patch; do
		command -v $tool >/dev/null || why "there is no $tool" || return
	done
	write_lists || why "apt has no lists here" || return
	# a list that has no sources, or cannot be reached, need not be that of libunwind
	apt update
	mkdir "$new/source"
	(cd "$new/source" && apt source --download-only libunwind) || why "apt-get source libunwind has failed: $(
		sed -n 's/^E: //p' "$new/log" | tail -n 1)" || return
}

unpack() {
	tar -C "$new/source" -xf "$new"/source/*.orig.tar.[gx]z --one-top-level=tree --strip-components=1 &&
		tar -C "$new/source/tree" -xf "$new"/source/*.debian.tar.[gx]z || why "the source is not as expected" || return
	sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$new/source/tree/debian/patches/series" >"$new/series"
	while read -r patch; do
		patch -s -f -p1 -d "$new/source/tree" <"$new/source/tree/debian/patches/$patch" ||
			why "a patch of Debian's does not apply: $patch" || return
	done <"$new/series"
}

# Nothing that would need another library; what make was told for Labyrinth is not for libunwind.
compile() (
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS CFLAGS CPPFLAGS LDFLAGS LIBS
	cd "$new/source/tree" &&
		./configure --quiet --disable-shared --enable-static --with-pic --disable-minidebuginfo \
			--disable-zlibdebuginfo --disable-documentation --disable-coredump --disable-ptrace \
			--disable-setjmp --disable-cxx-exceptions --disable-per-thread-cache \
			--disable-dependency-tracking CC="$CC" \
			CFLAGS="-O2 -g -fPIC -fvisibility=hidden -ffile-prefix-map=$PWD=libunwind" &&
		# patches of its tests do not make configure out of date
		make -C src -j"$(nproc)" AUTOMAKE=: AUTOCONF=: ACLOCAL=: AUTOHEADER=: libunwind-x86_64.la
)

# notice: whose it is
notice() (
	cd "$new/source/tree" && cat COPYING && echo &&
		find include src/dwarf src/mi src/x86_64 src/elf* src/os-linux* -type f -exec cat {} + |
		sed -n 's/.*\(Copyright (c) [0-9].*[^[:space:]*/]\)[[:space:]*/]*$/\1/Ip' | sort -u
)

build() {
	rm -f "$directory/failed"
	fetch && unpack || return
	version=$(sed -n 's/^Version: //p' "$new"/source/*.dsc)
	compile || why "it does not build" || return
	to=$directory/$version
	rm -rf "$to"
	mkdir -p "$to/include" &&
		cp "$new"/source/tree/include/libunwind*.h "$to/include/" &&
		cp "$new"/source/tree/src/.libs/libunwind.a "$new"/source/tree/src/.libs/libunwind-x86_64.a "$to/" &&
		notice >"$to/COPYING" && ln -sfn "$version" "$directory/current" || why "it cannot be kept" || return
}

is_built() {
	[ "$directory/current/COPYING" -nt "$self" ]
}

# two makes may be at it; what has failed is not tried again for an hour, unless it is asked for
make_static() {
	is_built && return
	mkdir -p "$directory"
	directory=$(cd "$directory" && pwd)
	exec 9>"$directory/lock"
	flock 9
	is_built && return
	if [ "$wanted" = auto ] && [ "$directory/failed" -nt "$self" ] &&
		[ -n "$(find "$directory/failed" -mmin -60)" ]; then
		return 1
	fi
	new=$directory/new
	rm -rf "$new"
	mkdir "$new"
	say "fetching and building it in $directory, once"
	build >"$new/log" 2>&1 9>&-
	status=$?
	mv "$new/log" "$directory/log"
	rm -rf "$new"
	return $status
}

# the usual case, in no time
[ "$wanted" = shared ] || ! is_built || [ "$(cat "$answer" 2>/dev/null)" != static ] || exit 0
if ! compiles "$is_here"; then
	[ "$wanted" = auto ] || { say "stacks in failure reports need x86-64 and glibc 2.35" && exit 1; }
	say "none needed: stacks in failure reports are for x86-64 and glibc 2.35 or later"
	answer_with none
fi
if [ "$wanted" != shared ]; then
	make_static && answer_with static
	reason="no static one: $(cat "$directory/failed"); see $directory/log"
	[ "$wanted" = auto ] || { say "$reason" && exit 1; }
fi
if has_shared; then
	[ "$wanted" = shared ] || say "$reason; linking libunwind-x86_64.so (UNWIND=shared, without these lines)"
	answer_with shared
fi
[ "$wanted" = auto ] || { say "no shared one (libunwind-dev)" && exit 1; }
say "$reason; no shared one either (libunwind-dev): building without stacks in failure reports (UNWIND=0)"
answer_with none

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Install what `make` has built, or take away what was installed.  Each file and
# each directory that was made is noted in LIBDIR/labyrinth/installed; uninstall
# removes these and nothing else, so that the tree is as it was before.
#
# usage: OUT= VERSION= PREFIX= LIBDIR= MANDIR= [DESTDIR=] install.sh install|uninstall
set -eu
umask 022
cd "$(dirname "$0")/.."
root=${DESTDIR:-}
own=$LIBDIR/labyrinth
manifest=$root$own/installed
major=${VERSION%%.*}

note() {
	grep -q -x -F -e "$1" "$manifest" 2>/dev/null || echo "$1" >>"$manifest"
}

# make_directory PATH: with its parents, noting those that were not there
make_directory() {
	[ ! -d "$root$1" ] || return 0
	[ "$1" = / ] || make_directory "$(dirname "$1")"
	[ -d "$root$1" ] || mkdir "$root$1"
	made="$made$1
"
}

room_for() {
	made=
	make_directory "$1"
	printf %s "$made" | while read -r directory; do note "$directory"; done
}

# put MODE SOURCE PATH
put() {
	room_for "$(dirname "$3")"
	install -m "$1" "$2" "$root$3"
	note "$3"
}

# link TARGET PATH
link() {
	room_for "$(dirname "$2")"
	ln -sf "$1" "$root$2"
	note "$2"
}

fill() {
	sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$LIBDIR|" -e "s|@VERSION@|$VERSION|" \
		-e "s|@MAJOR@|$major|" "$1"
}

install_all() {
	room_for "$own"
	note "$own/installed"
	put 644 "$OUT/liblabyrinth.so" "$LIBDIR/liblabyrinth.so.$VERSION"
	link "liblabyrinth.so.$VERSION" "$LIBDIR/liblabyrinth.so.$major"
	link "liblabyrinth.so.$major" "$LIBDIR/liblabyrinth.so"
	for file in liblabyrinth.a labyrinth-malloc.o liblabyrinth-preload.so \
		liblabyrinth-preload-nocheck.so liblabyrinth-trace.so; do
		# the last one only where there is libunwind, see trace/libunwind.sh
		[ ! -e "$OUT/$file" ] || put 644 "$OUT/$file" "$LIBDIR/$file"
	done
	# libunwind's notice, where the object has libunwind in it
	[ ! -e "$OUT/liblabyrinth-trace.COPYING" ] ||
		put 644 "$OUT/liblabyrinth-trace.COPYING" "$PREFIX/share/doc/labyrinth/libunwind.COPYING"
	put 755 "$OUT/labyrinth" "$PREFIX/bin/labyrinth"
	for file in include/*.h include/*.hpp; do
		[ ! -e "$file" ] || put 644 "$file" "$PREFIX/$file"
	done
	fill include/labyrinth.pc.in | put 644 /dev/stdin "$LIBDIR/pkgconfig/labyrinth.pc"
	for file in LabyrinthConfig LabyrinthConfigVersion; do
		fill "include/$file.cmake.in" |
			put 644 /dev/stdin "$LIBDIR/cmake/Labyrinth/$file.cmake"
	done
	man/list.sh | while read -r section name page; do
		path=$MANDIR/man$section/$name.$section
		if [ "$name.$section" = "$page" ]; then
			put 644 "man/$page" "$path"
		else
			link "$page" "$path"
		fi
	done
}

uninstall_all() {
	if [ ! -r "$manifest" ]; then
		echo "nothing was installed by \"make install\" with PREFIX=$PREFIX LIBDIR=$LIBDIR" >&2
		exit 1
	fi
	tac "$manifest" >"$OUT/installed"
	while read -r path; do
		if [ -d "$root$path" ] && [ ! -L "$root$path" ]; then
			# others may have put something there since
			rmdir "$root$path" 2>/dev/null || true
		else
			rm -f "$root$path"
		fi
	done <"$OUT/installed"
	rm -f "$OUT/installed"
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*)
	echo "usage: $0 install|uninstall" >&2
	exit 2
	;;
esac
# the loader finds libraries of the system's directories by its cache
if [ -z "$root" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then
	ldconfig
fi

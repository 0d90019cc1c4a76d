#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `make install` and `make uninstall`: the tree afterwards is the tree before; in
# between a program is built with pkg-config and with CMake, and runs.
#
# usage: check_install.sh BUILD-DIRECTORY

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
build=$(realpath "$1")
cd "$root" || exit 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
cc=${CC:-cc}

# what [NAME] command ...: status 0
what() {
	local name=$1
	shift
	if limited "$@" >"$log" 2>&1 </dev/null; then
		pass "$name"
	else
		fail "$name" "exit code $?" "$log"
	fi
}

# a function of this script, or a program
limited() {
	if [ "$(type -t "$1")" = function ]; then "$@"; else timeout -k 5 120 "$@"; fi
}

# every path with kind, mode, owner, size, target and, of files, contents
tree() {
	{
		find "$1" ! -type d -printf '%P %y %m %u:%g %s %l\n'
		find "$1" -type d -printf '%P %y %m %u:%g\n'
		find "$1" -type f -exec sha256sum {} +
	} | LC_ALL=C sort
}
make_it() { make --no-print-directory BUILD="${build##*/}" "$@"; }
same() { diff "$1" "$2"; }

# ---- before = after ----

# in an empty place, and among files and empty directories of others
mkdir -p "$dir/empty" "$dir/full/opt/lib/pkgconfig" "$dir/full/opt/include" "$dir/full/opt/share/man/man3" \
	"$dir/full/opt/lib/cmake"
echo theirs >"$dir/full/opt/lib/pkgconfig/other.pc"
echo theirs >"$dir/full/opt/share/man/man3/labyrinth_other.3"
ln -s other.so.1 "$dir/full/opt/lib/other.so"
for kind in empty full; do
	tree "$dir/$kind" >"$dir/before"
	make_it install DESTDIR="$dir/$kind" PREFIX=/opt >"$log" 2>&1 || fail "$kind: install" "exit code $?" "$log"
	tree "$dir/$kind" >"$dir/installed"
	# a second time: the same, and known to uninstall still
	make_it install DESTDIR="$dir/$kind" PREFIX=/opt >"$log" 2>&1 || fail "$kind: install" "exit code $?" "$log"
	tree "$dir/$kind" >"$dir/again"
	what "$kind: install is the same a second time" same "$dir/installed" "$dir/again"
	if [ "$(LC_ALL=C comm -13 "$dir/before" "$dir/installed" | wc -l)" -ge 100 ]; then
		pass "$kind: install puts something there"
	else
		fail "$kind: install" "nothing is there"
	fi
	make_it uninstall DESTDIR="$dir/$kind" PREFIX=/opt >"$log" 2>&1 || fail "$kind: uninstall" "exit code $?" "$log"
	tree "$dir/$kind" >"$dir/after"
	what "$kind: uninstall leaves the tree as it was" same "$dir/before" "$dir/after"
done
if make_it uninstall DESTDIR="$dir/empty" PREFIX=/opt >"$log" 2>&1; then
	fail "uninstall of nothing" "it says nothing"
else
	pass "uninstall of nothing: refused"
fi

# ---- names and versions ----

p=$dir/usr
make_it install PREFIX="$p" >"$log" 2>&1 || fail "install" "exit code $?" "$log"
version=$(sed -n 's/^#define LABYRINTH_VERSION_M[AI][JN]OR *//p' include/labyrinth.h | paste -sd.)
if [ "$(cat "$build/trace/link" 2>/dev/null)" = static ]; then
	what "libunwind's notice" grep -q 'Hewlett-Packard' "$p/share/doc/labyrinth/libunwind.COPYING"
fi
is() { [ "$1" = "$2" ] || { echo "$1, not $2" && false; }; }
export PKG_CONFIG_PATH=$p/lib/pkgconfig
what "pkg-config: the header's version" is "$(pkg-config --modversion labyrinth)" "$version.0"
what "labyrinth version: the header's" is "$("$p/bin/labyrinth" version)" "labyrinth $version.0"
what "soname" is "$(readelf -d "$p/lib/liblabyrinth.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" \
	"liblabyrinth.so.${version%.*}"
nm -D --defined-only "$p/lib/liblabyrinth.so" | sed -n 's/.* [TW] \(labyrinth_.*\)@@.*PRIVATE$/\1/p' | LC_ALL=C sort >"$dir/private"
sed -n "/^private='/,/'\$/s/.*/&/p" tests/check_man.sh | sed "s/^private=//" | tr -d "'" | tr ' ' '\n' |
	{ cat && echo labyrinth_trace_register; } | LC_ALL=C sort >"$dir/undocumented"
what "what has no page is LABYRINTH_PRIVATE" same "$dir/undocumented" "$dir/private"
nm -D --defined-only "$p/lib/liblabyrinth.so" | sed -n 's/.* T //p' | grep -v -e '@@LABYRINTH_1.0$' -e '@@LABYRINTH_PRIVATE$' >"$log"
what "every symbol has a version" is "$(wc -l <"$log")" 0

# ---- a program, by pkg-config ----

source=tests/cmake/main.c
# shellcheck disable=SC2046 # flags are words
{
	what "pkg-config: compiles" $cc -Wall -Werror -o "$dir/shared" $source $(pkg-config --cflags --libs labyrinth)
	what "pkg-config: static" $cc -Wall -Werror -static -o "$dir/archive" $source \
		$(pkg-config --cflags labyrinth) "$(pkg-config --variable=libdir labyrinth)/liblabyrinth.a"
	what "pkg-config: the object" $cc -Wall -Werror -DREPLACED -o "$dir/object" $source \
		$(pkg-config --cflags labyrinth) "$(pkg-config --variable=malloc_object labyrinth)"
}
what "the program needs the soname and the version" sh -c "readelf -d '$dir/shared' | grep liblabyrinth.so.1 &&
	readelf -V '$dir/shared' | grep LABYRINTH_1.0"
what "shared: runs" env LD_LIBRARY_PATH="$p/lib" "$dir/shared"
what "static: runs" "$dir/archive"
what "object: runs, malloc is replaced" "$dir/object"
what "labyrinth run: finds the installed library" sh -c \
	"'$p/bin/labyrinth' run -- cat /proc/self/maps | grep '$p/lib/liblabyrinth-preload.so'"

tests/readme_example.sh >"$dir/readme.c"
# shellcheck disable=SC2046 # flags are words
what "the README's example: compiles" $cc -Wall -Wextra -Werror -o "$dir/readme" "$dir/readme.c" \
	$(pkg-config --cflags --libs labyrinth)
what "the README's example: runs" env LD_LIBRARY_PATH="$p/lib" "$dir/readme"

# ---- by CMake ----

what "CMake: configures" cmake -S tests/cmake -B "$dir/cmake" -DCMAKE_PREFIX_PATH="$p" -DWANT="$version"
if grep -q -F "preload $p/lib/liblabyrinth-preload.so" "$log"; then
	pass "CMake: Labyrinth_PRELOAD"
else
	fail "CMake: Labyrinth_PRELOAD" "not said" "$log"
fi
what "CMake: builds" cmake --build "$dir/cmake"
for kind in labyrinth static malloc; do
	what "CMake: Labyrinth::$kind runs" "$dir/cmake/with_$kind"
done
for other in 2.0 0.9 1.999; do
	if cmake -S tests/cmake -B "$dir/cmake.$other" -DCMAKE_PREFIX_PATH="$p" -DWANT=$other >"$dir/refused" 2>&1; then
		fail "CMake: version $other" "accepted" "$dir/refused"
	else
		what "CMake: version $other is refused" grep -q "compatible with requested version \"$other\"" "$dir/refused"
	fi
done
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
# Install what building and testing need, if it is missing.
# usage: install_tools.sh [build] [check] [proof] [aarch64] [deb] [debootstrap] [bench] [demo]
#        (default: build check)
set -u
[ $# -gt 0 ] || set -- build check
want=
need() { # need COMMAND-OR-FILE PACKAGE...
	probe=$1
	shift
	case $probe in
	/*) [ -e "$probe" ] && return ;;
	*) command -v "$probe" >/dev/null 2>&1 && return ;;
	esac
	want="$want $*"
}
for part; do
	case $part in
	build)
		need cc gcc
		need "/usr/include/$(uname -m)-linux-gnu/sys/sdt.h" systemtap-sdt-dev
		need /usr/include/stdio.h libc6-dev
		# of libunwind the source is built, see trace/libunwind.sh; where it cannot be had, this
		need patch patch
		need xz xz-utils
		[ -e /usr/include/libunwind.h ] ||
			need "/usr/include/$(uname -m)-linux-gnu/libunwind.h" libunwind-dev
		;;
	check)
		need g++ g++
		need clang-format clang-format
		need /usr/include/cmocka.h libcmocka-dev
		need valgrind valgrind
		need jeprof libjemalloc-dev
		need google-pprof google-perftools
		need qemu-x86_64 qemu-user
		need strace strace
		need gdb gdb
		need gnuplot gnuplot-nox
		need pgrep procps
		need setarch util-linux
		need setpriv util-linux
		need xz xz-utils
		need mandoc mandoc
		need python3 python3
		need sqlite3 sqlite3
		need redis-server redis-server
		need redis-benchmark redis-tools
		need stress-ng stress-ng
		need tmux tmux
		need strip binutils
		need git git
		need cmake cmake
		need pkg-config pkg-config
		need perl perl
		need lua5.4 lua5.4
		need luajit luajit
		need /usr/src/glibc glibc-source
		;;
	deb)
		need dpkg-buildpackage dpkg-dev
		need /usr/share/dpkg/architecture.mk dpkg-dev
		need dh debhelper
		need fakeroot fakeroot
		need lintian lintian
		;;
	rust)
		need rustc rustc
		;;
	debootstrap)
		need debootstrap debootstrap
		;;
	bench)
		lib=/usr/lib/$(uname -m)-linux-gnu
		need g++ g++
		need python3 python3
		need gnuplot gnuplot-nox
		need "$lib/libjemalloc.so.2" libjemalloc2
		need "$lib/libmimalloc.so.2.0" libmimalloc2.0
		need "$lib/libtcmalloc_minimal.so.4" libtcmalloc-minimal4
		need "$lib/libtbbmalloc_proxy.so.2" libtbbmalloc2
		need redis-server redis-server
		need redis-benchmark redis-tools
		need sqlite3 sqlite3
		need lua5.4 lua5.4
		need ruby ruby
		need z3 z3
		need gs ghostscript
		need git git
		need /usr/sbin/nginx nginx-light
		need ab apache2-utils
		need db_bench rocksdb-tools
		;;
	proof)
		need cppcheck cppcheck
		need clang-tidy clang-tidy
		need clang clang
		need gcovr gcovr
		need addr2line binutils
		;;
	aarch64)
		need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
		need /usr/aarch64-linux-gnu/include/stdio.h libc6-dev-arm64-cross
		need qemu-aarch64 qemu-user
		;;
	demo)
		need python3 python3
		need redis-server redis-server
		need redis-benchmark redis-tools
		;;
	esac
done
[ -n "$want" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$want"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # both are lists of words
if ! { $sudo apt-get update -qq &&
	$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends $want; } >"$log" 2>&1; then
	cat "$log"
	echo "could not install:$want"
	exit 1
fi

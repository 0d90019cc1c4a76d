#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The packages of `make deb` in a clean Debian 12: they install, the example of the
# README compiles with pkg-config, the manual opens, LD_PRELOAD works, and when they
# are purged nothing is left.  And `make dist`: twice the same bytes, of a clone too.
# The system is made by debootstrap from where apt gets its packages here.
#
# usage: check_deb.sh      (as root, after `make deb`)

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
cd "$root" || exit 2
[ "$(id -u)" = 0 ] || {
	echo "$0: chroot needs root" >&2
	exit 2
}
base=build/debootstrap
mkdir -p $base
log=$base/log
if [ ! -s $base/base.tar ]; then
	site=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
	rm -rf $base/new
	debootstrap --variant=minbase bookworm $base/new "$site" >$log 2>&1 || {
		tail -n 5 $log
		echo "debootstrap has failed" >&2
		exit 2
	}
	tar -C $base/new -cf $base/base.tar.part . && mv $base/base.tar.part $base/base.tar
	rm -rf $base/new
fi
clean=$(mktemp -d)
trap 'rm -rf "$clean"' EXIT
tar -C "$clean" -xf $base/base.tar
cp /etc/resolv.conf "$clean/etc/" 2>/dev/null

# inside SCRIPT: by a shell in the clean system, /proc mounted for it alone
inside() {
	timeout -k 5 300 unshare --mount --fork --pid sh -c \
		"mount -t proc proc '$clean/proc' && exec chroot '$clean' sh -euc \"\$1\"" - "$1"
}

# what NAME SCRIPT
what() {
	if inside "$2" >$log 2>&1 </dev/null; then pass "$1"; else fail "$1" "exit code $?" $log; fi
}

apt='export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
install() { apt-get -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false -o Dpkg::Use-Pty=0 \
	install -y -qq --no-install-recommends "$@"; }'
mkdir "$clean/debs"
for package in liblabyrinth1 liblabyrinth-dev liblabyrinth-preload labyrinth; do
	cp build/deb/${package}_*.deb "$clean/debs/" || exit 2
done
what "what a user has: compiler, pkg-config, man" "$apt
	apt-get -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false update -qq
	install gcc libc6-dev pkg-config man-db"
inside 'find / -xdev ! -path "/proc/*" ! -path "/var/*" ! -path "/tmp/*" ! -path "/etc/ld.so.cache" | sort' >$base/before
what "the packages install" "$apt
	install /debs/*.deb"
tests/readme_example.sh >"$clean/root/example.c"
what "the README's example: compiles with pkg-config, runs" 'cd /root
	gcc -Wall -Wextra -Werror -o example example.c $(pkg-config --cflags --libs labyrinth)
	./example'
what "an installed example, preloaded" 'cd /root
	gcc -O2 -o handler_malloc /usr/share/doc/liblabyrinth-dev/examples/handler_malloc.c
	LD_PRELOAD=liblabyrinth-preload.so ./handler_malloc 1 | grep "^survived"'
what "labyrinth run --stats" 'labyrinth run --stats -- perl -e 1 2>&1 | grep "labyrinth stats: .*zone heap"'
what "labyrinth run --opt check_free=0, trace=1: silent" '
	[ -z "$(labyrinth run --opt check_free=0 -- true 2>&1)" ]
	[ -z "$(labyrinth run --opt trace=1 -- true 2>&1)" ]'
what "man labyrinth" 'man labyrinth | grep "labyrinth run"'
what "man 7 labyrinth" 'man 7 labyrinth | grep "double free of ADDR"'
what "man of a name that has no page of its own" 'man labyrinth_alloc_page | grep "LABYRINTH_ALLOC_PAGES(3)"'
what "man -k" 'mandb -q; man -k labyrinth_mempool_alloc | grep "pools that"'
what "purge" "$apt
	apt-get purge -y -qq liblabyrinth1 liblabyrinth-dev liblabyrinth-preload labyrinth
	rm -r /root/example* /root/handler_malloc"
inside 'find / -xdev ! -path "/proc/*" ! -path "/var/*" ! -path "/tmp/*" ! -path "/etc/ld.so.cache" | sort' >$base/after
if LC_ALL=C comm -13 <(LC_ALL=C sort $base/before) <(LC_ALL=C sort $base/after) | grep labyrinth >$log; then
	fail "purge leaves nothing" "something is left" $log
else
	pass "purge leaves nothing"
fi

# ---- the source ----

if git rev-parse --git-dir >/dev/null 2>&1; then
	sum() { make --no-print-directory -C "$1" dist 2>/dev/null | sed -n 's/^\([0-9a-f]\{64\}\) .*/\1/p'; }
	first=$(sum .)
	git clone -q . "$clean/clone"
	if [ -n "$first" ] && [ "$(sum .)" = "$first" ] && [ "$(sum "$clean/clone")" = "$first" ]; then
		pass "make dist: the same bytes twice, and from a clone"
	else
		fail "make dist" "not the same bytes"
	fi
else
	skip "make dist" "this is no clone of the repository"
fi
finish

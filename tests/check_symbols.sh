#!/bin/sh
# SPDX-License-Identifier: MIT
# Names are ours, exports are those of the maps, TLS is none or initial-exec; what is hot is small.
# usage: check_symbols.sh BUILD-DIRECTORY
out=$1
status=0
complain() {
	echo "$1"
	status=1
}
# _.stapsdt.base is that of sys/sdt.h: hidden, and one for all who use it
bad=$(nm -g --defined-only "$out/liblabyrinth.a" 2>/dev/null |
	awk 'NF == 3 && $3 !~ /^(lab_|labyrinth_)/ && $3 != "_.stapsdt.base" { print $3 }')
[ -z "$bad" ] || complain "external symbols without our prefix: $bad"
exported() {
	nm -D --defined-only "$1" | awk '{ sub(/@.*/, "", $3); if ($2 != "A") print $3 }' | sort -u
}
bad=$(exported "$out/liblabyrinth.so" | grep -v '^labyrinth_')
[ -z "$bad" ] || complain "liblabyrinth.so exports: $bad"
wanted=$(sed -n '/^global:/,/^local:/p' preload/preload.map | tr ';' '\n' |
	sed 's/[[:space:]]//g' | grep -v -e '^$' -e ':' -e '\*' | sort -u)
got=$(exported "$out/liblabyrinth-preload.so" | grep -v '^labyrinth_')
if [ "$wanted" != "$got" ]; then
	complain "liblabyrinth-preload.so does not export what preload.map names:"
	printf '%s\n' "$wanted" >"$out/exports.wanted"
	printf '%s\n' "$got" | diff "$out/exports.wanted" -
fi
for so in "$out/liblabyrinth.so" "$out/liblabyrinth-preload.so"; do
	readelf -d "$so" | grep -q 'BIND_NOW\|FLAGS.*NOW' || complain "$so: not bound at load time"
	readelf -d "$so" | grep -q NODELETE || complain "$so: may be unloaded"
	if nm -D "$so" | grep -q __tls_get_addr; then complain "$so: dynamic TLS"; fi
	# pthread_create() is for kswapd:1 alone, see check_kswapd.sh
	if nm -D "$so" | grep -q -w clone; then complain "$so: makes threads"; fi
	bad=$(readelf -d "$so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
		grep -v -e '^libc\.so' -e '^ld-linux' -e '^lib[at]san' -e '^libubsan')
	[ -z "$bad" ] || complain "$so needs $bad"
done

# What is hot stays in one window of 64 KiB, see src/layout.ld; and malloc and free of one
# build, up to their return, as short as they are (src/README.md, "Who watches").
section() {
	readelf -SW "$1" | sed 's/^ *\[ *[0-9]*\]//' | awk -v name="$2" '$1 == name { print "0x" $3, "0x" $5 }'
}
in_window() {
	# shellcheck disable=SC2046 # words are meant
	set -- "$1" "$2" "$3" $(section "$1" "$2") $(section "$1" "$3")
	if [ $# != 7 ]; then
		complain "$1: no $2 or $3"
	elif [ $(($4 / 0x10000)) != $((($6 + $7 - 1) / 0x10000)) ]; then
		complain "$1: from $2 to $3 there is a multiple of 64 KiB"
	fi
}
instructions() {
	at=0x$(nm -D "$1" | awk -v name="$2" '{ sub(/@.*/, "", $3) } $3 == name { print $1 }')
	objdump -d --no-show-raw-insn --start-address="$at" --stop-address=$((at + 1024)) "$1" |
		awk '$1 ~ /^[0-9a-f]+:$/ { n++; if ($2 ~ /^ret/) { print n; exit } }'
}
at_most() {
	n=$(instructions "$1" "$2")
	[ -n "$n" ] || complain "$1: $2 not found"
	[ "${n:-0}" -le "$3" ] || complain "$1: $2 has $n instructions, not $3"
	hot="$hot $2 $n"
}
hot=
if [ "${out##*/}" = release ] && [ "$(uname -m)" = x86_64 ]; then
	for so in "$out/liblabyrinth.so" "$out/liblabyrinth-preload.so"; do
		in_window "$so" .init .fini
		in_window "$so" .rodata_hot .rodata_hot
	done
	at_most "$out/liblabyrinth-preload.so" malloc 25
	at_most "$out/liblabyrinth-preload.so" free 31
fi

# the trace object: libunwind is in it, and nobody sees it; or it is the system's, where that was asked for
trace=$out/liblabyrinth-trace.so
how=$(cat "$out/trace/link" 2>/dev/null)
if [ -e "$trace" ]; then
	bad=$(nm -D --defined-only "$trace" | awk '{ print $3 }')
	[ -z "$bad" ] || complain "liblabyrinth-trace.so exports: $bad"
	bad=$(readelf -d "$trace" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
		grep -v -e '^libc\.so' -e '^ld-linux' -e '^lib[at]san' -e '^libubsan')
	case $how in
	static)
		[ -z "$bad" ] || complain "liblabyrinth-trace.so needs $bad"
		nm "$trace" | grep -q ' t _Ux86_64_step$' || complain "liblabyrinth-trace.so has no libunwind in it"
		grep -q -s 'permission notice shall be' "$out/liblabyrinth-trace.COPYING" ||
			complain "libunwind's notice is missing"
		;;
	shared)
		[ "$(echo "$bad" | sed 's/\.so.*//')" = libunwind-x86_64 ] || complain "liblabyrinth-trace.so needs $bad"
		[ ! -e "$out/liblabyrinth-trace.COPYING" ] || complain "a notice of what is not in there"
		;;
	*) complain "liblabyrinth-trace.so is linked in an unknown way" ;;
	esac
else
	[ "$how" != static ] && [ "$how" != shared ] || complain "no liblabyrinth-trace.so"
fi
[ $status = 0 ] && echo "symbols: exports are those of the maps; libunwind: ${how:-none}; instructions:${hot:- not counted}"
exit $status

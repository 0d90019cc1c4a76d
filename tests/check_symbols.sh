#!/bin/sh
# SPDX-License-Identifier: MIT
# Names are ours, exports are those of the maps, TLS is none or initial-exec.
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
[ $status = 0 ] && echo "symbols: exports are those of the maps; libunwind: ${how:-none}"
exit $status

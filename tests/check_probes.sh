#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The USDT probes: their names are those of the list in labyrinth(7), each is one nop,
# none lies in the hot paths, and gdb stops at them and reads their arguments in a
# program that it runs.
#
# usage: check_probes.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
readelf -n "$preload" >"$log/notes" 2>/dev/null
if ! grep -q 'Provider: labyrinth' "$log/notes"; then
	fail "probes" "there are none: built without sys/sdt.h (systemtap-sdt-dev)?"
	finish
	exit
fi

# NAME ADDRESS BASE of each
awk '/Name:/ { name = $2 } /Location:/ { print name, $2, $4 }' "$log/notes" | tr -d , >"$log/probes"
cut -d ' ' -f 1 "$log/probes" | sort -u >"$log/have"
sed -n '/^\.Ss Probes/,/^\.Ss\|^\.Sh/s/^\.It Li \([a-z_]*\).*/\1/p' "$root/man/labyrinth.7" | sort >"$log/named"
if [ -s "$log/named" ] && diff "$log/named" "$log/have" >"$log/diff"; then
	pass "$(wc -l <"$log/have") probes, all in labyrinth(7)"
else
	fail "probes" "those of labyrinth(7) (<) and of the library (>) differ" "$log/diff"
fi

# sections are mapped as they lie in the file: the notes' base tells of a prelink, which there is none
hot=$(nm -S --defined-only "$preload" | awk '
$4 ~ /^labyrinth_(heap_malloc|free|alloc_page|free_page|free_sized|void_alloc_page_gfp_atomic_exclusive)$/ { print $1, $2, $4 }')
[ "$(wc -l <<<"$hot")" -eq 6 ] || fail "hot paths" "not all were found: $hot"
bad=
while read -r name at base; do
	code=$(objdump -d --start-address="$at" --stop-address=$((at + 1)) "$preload" | awk '/^ +[0-9a-f]+:/ { print $2 }')
	[ "$code" = 90 ] || bad="$bad $name:$code"
	while read -r start size where; do
		if [ $((at)) -ge $((16#$start)) ] && [ $((at)) -lt $((16#$start + 16#$size)) ]; then
			bad="$bad $name-in-$where"
		fi
	done <<<"$hot"
done <"$log/probes"
if [ -z "$bad" ]; then
	pass "$(wc -l <"$log/probes") places, each a nop, none in a hot path"
else
	fail "places" "$bad"
fi

# stops PROBE ARGUMENTS COMMAND...: gdb stops there, and sees these arguments
stops() {
	local probe=$1 want=$2
	shift 2
	timeout 60 gdb -nx -batch -ex 'set confirm off' -ex 'set debuginfod enabled off' \
		-ex 'set breakpoint pending on' -ex 'set startup-with-shell off' \
		-ex "set environment $(backend_environment "$backend")" \
		-ex "set environment LD_PRELOAD $preload" \
		-ex "set environment LABYRINTH_OPTIONS $options" \
		-ex "break -probe-stap labyrinth:$probe" -ex run \
		-ex 'printf "args %d %ld %ld\n", $_probe_argc, (long)$_probe_arg0, (long)$_probe_arg1' \
		-ex kill --args "$@" >"$log/gdb" 2>&1
	if grep -q "^args $want\$" "$log/gdb"; then
		pass "gdb stops at $probe: $(grep ^args "$log/gdb"), $backend"
	else
		fail "gdb stops at $probe, $backend" "not with args $want" "$log/gdb"
	fi
}

backend=rseq
options=
# without a shell there are no quotes: a script
echo 'for i = 1, 3 do local s = ("x"):rep(300000) end' >"$log/lua"
stops refill '2 [1-9][0-9]* [1-9][0-9]*' lua5.4 "$log/lua"
stops large_alloc '2 300000 4096' lua5.4 "$log/lua"
options=failslab:1/100/0/-1,fail_ignore_gfp_wait:0,fail_verbose:0
stops fault_injected '2 1 [0-9]*' lua5.4 "$log/lua"
finish

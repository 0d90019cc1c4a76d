#!/bin/bash
# SPDX-License-Identifier: MIT
# Four threads, own slabs, eight clients.
# packages: memcached libmemcached-tools
# timeout: 60
. "$(dirname "$0")/lib.sh"
need memcached memcslap

as_user=()
[ "$(id -u)" != 0 ] || as_user=(-u nobody)
free_port
spawn memcached -l 127.0.0.1 -p "$port" -U 0 -t 4 -m 64 \
	${as_user[@]+"${as_user[@]}"}
wait_port
loaded "$pid"
for kind in set get; do
	under memcslap --servers="127.0.0.1:$port" --concurrency=8 \
		--execute-number=4000 --initial-load=1000 --test=$kind >slap.$kind
	grep -q "^Time to $kind  *32000 keys" slap.$kind || fail "$(cat slap.$kind)"
done

# a value of every length of a ladder, read back
exec 3<>"/dev/tcp/127.0.0.1/$port"
for n in 1 10 100 1000 10000 100000 1000000; do
	printf 'set k%d 0 0 %d\r\n' $n $n >&3
	head -c $n /dev/zero | tr '\0' v >&3
	printf '\r\n' >&3
	read -r line <&3
	equal "${line%$'\r'}" STORED "set of $n bytes"
	printf 'get k%d\r\n' $n >&3
	read -r line <&3
	equal "${line%$'\r'}" "VALUE k$n 0 $n" "get of $n bytes"
	read -r line <&3
	equal "${#line}" $((n + 1)) "length of the value"
	read -r line <&3
	equal "${line%$'\r'}" END "end of the value"
done
printf 'stats\r\n' >&3
while read -r line <&3 && [ "$line" != END$'\r' ]; do
	echo "${line%$'\r'}"
done >stats
exec 3>&-
sets=$(sed -n 's/^STAT cmd_set //p' stats)
[ "$sets" -ge 32000 ] || fail "only $sets sets of 32000 arrived"
stop TERM || fail "stop: status $?"

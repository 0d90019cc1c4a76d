#!/bin/bash
# SPDX-License-Identifier: MIT
# Linked to libjemalloc.so.2 and full of malloc_usable_size(); fork and
# copy-on-write in bgsave, threads in lazy free.
# packages: redis-server redis-tools
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli redis-benchmark

free_port
start() {
	spawn redis-server --bind 127.0.0.1 --port "$port" --dir "$WORK" \
		--save '' --daemonize no --enable-debug-command yes >>redis.log
	wait_port
	loaded "$pid"
	until_true 300 ready || fail "not ready"
}
cli() {
	redis-cli -p "$port" "$@"
}
ready() {
	[ "$(cli ping)" = PONG ]
}
start
under redis-benchmark -p "$port" -q --csv -n 60000 -c 20 -P 8 \
	-r 10000 -d 100 -t set,get,incr,lpush,lpop,sadd,hset >bench.csv
grep -q '"HSET"' bench.csv || fail "benchmark: $(cat bench.csv)"
equal "$(cli flushall async)" OK flushall
equal "$(cli debug populate 300000 key 64)" OK populate
equal "$(cli dbsize)" 300000 dbsize
digest=$(cli debug digest)
equal "$(cli bgsave)" "Background saving started" bgsave
# writes during the save, which break the sharing of pages
equal "$(cli eval 'for i=1,100000 do redis.call("set","other:"..i,i) end return 1' 0)" 1 eval
saved() {
	cli info persistence | grep -q '^rdb_bgsave_in_progress:0'
}
until_true 300 saved || fail "bgsave does not end"
cli info persistence | grep -q '^rdb_last_bgsave_status:ok' || fail "bgsave failed"
equal "$(cli eval 'for i=1,100000 do redis.call("unlink","other:"..i) end return 1' 0)" 1 unlink
equal "$(cli debug digest)" "$digest" "digest after writes"
cli shutdown nosave >/dev/null || true
wait "$pid" || fail "shutdown: status $?"

# the saved file has the data as it was
start
equal "$(cli dbsize)" 300000 "dbsize after restart"
equal "$(cli debug digest)" "$digest" "digest after restart"
stop TERM || fail "stop: status $?"
! grep -E 'CRASH|crashed by signal' redis.log || fail "crash report"

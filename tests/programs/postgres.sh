#!/bin/bash
# SPDX-License-Identifier: MIT
# initdb, pgbench with eight clients, a big sort, fast stop; forks its
# processes from inside signal handlers.
# packages: postgresql
# timeout: 120
. "$(dirname "$0")/lib.sh"
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ -x "$bin/postgres" ] || { echo "missing: postgres"; exit 77; }
need "$bin/pgbench" "$bin/psql"

mkdir pg
as_user=()
if [ "$(id -u)" = 0 ]; then
	# refuses root; that user may not reach the tree, so it gets a copy
	user=$(id -un postgres 2>/dev/null || echo nobody)
	as_user=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
	[ -z "$PRELOAD" ] || { cp "$PRELOAD" pg/; PRELOAD=$WORK/pg/${PRELOAD##*/}; }
	chmod 711 "$WORK"
	chown -R "$user" pg
fi
cd pg
run() {
	under ${as_user[@]+"${as_user[@]}"} env HOME="$WORK/pg" "$@"
}
run "$bin/initdb" -D data -U lab -A trust -N >initdb.log
free_port
spawn ${as_user[@]+"${as_user[@]}"} "$bin/postgres" -D data -p "$port" \
	-c listen_addresses=127.0.0.1 -c unix_socket_directories= \
	-c fsync=off -c max_connections=30 -c work_mem=4MB >server.log
server=$pid
wait_port
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=lab PGDATABASE=postgres
sql() {
	run "$bin/psql" -X -At -v ON_ERROR_STOP=1 -c "$1"
}
until_true 100 run "$bin/psql" -X -c 'select 1' >/dev/null ||
	fail "no connection"
loaded "$server"
{ sql 'select pg_sleep(20)' && echo ended; } >sleep.out &
client=$!
backend=
find_backend() {
	backend=$(sql "select pid from pg_stat_activity where query like 'select pg_sleep%' and pid <> pg_backend_pid()")
	[ -n "$backend" ]
}
until_true 100 find_backend || fail "no backend"
loaded "$backend"
equal "$(sql "select pg_cancel_backend($backend)")" t "cancel"
wait "$client" && fail "the query was not cancelled"

run "$bin/pgbench" -q -i -s 2 >pgbench-init.log
run "$bin/pgbench" -n -c 8 -j 2 -T 5 >pgbench.log
grep -q 'number of failed transactions: 0 ' pgbench.log || fail "$(cat pgbench.log)"
# what pgbench keeps equal by its transactions
equal "$(sql 'select (select sum(abalance) from pgbench_accounts) =
	(select sum(delta) from pgbench_history)')" t "balance"
equal "$(sql 'select count(*) from pgbench_accounts')" 200000 "accounts"
q='select md5(string_agg(m, $$,$$ order by m)) from (select md5(i::text) m from generate_series(1, 300000) i) s'
want=$(seq 1 300000 | perl -MDigest::MD5=md5_hex -e \
	'chomp(@n = <>); print md5_hex(join ",", sort map { md5_hex($_) } @n)')
equal "$(sql "$q")" "$want" "sort"

pid=$server
stop INT || fail "fast stop: status $?"
! grep -hE 'PANIC|terminated by signal|crash of another' server.log "$STDERR" ||
	fail "the server's log shows a crash"
grep -q 'database system is shut down' "$STDERR" || fail "no clean shutdown"

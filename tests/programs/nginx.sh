#!/bin/bash
# SPDX-License-Identifier: MIT
# Keep-alive and gzip from two workers, reload under load, graceful stop.
# packages: nginx-light apache2-utils curl
# timeout: 60
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
need nginx ab curl

mkdir www tmp
seq 1 5000 >www/page.html
chmod 711 "$WORK"
free_port
cat >conf <<CONF
daemon off;
worker_processes 2;
pid $WORK/pid;
error_log $WORK/error.log notice;
events { worker_connections 128; }
http {
	access_log $WORK/access.log;
	client_body_temp_path $WORK/tmp/1;
	proxy_temp_path $WORK/tmp/2;
	fastcgi_temp_path $WORK/tmp/3;
	uwsgi_temp_path $WORK/tmp/4;
	scgi_temp_path $WORK/tmp/5;
	keepalive_requests 1000;
	types { text/html html; }
	gzip on;
	server { listen 127.0.0.1:$port; root $WORK/www; }
}
CONF
spawn nginx -p "$WORK" -c "$WORK/conf" -e "$WORK/error.log"
wait_port
loaded "$pid"
for worker in $(children "$pid"); do
	loaded "$worker"
done

url=http://127.0.0.1:$port/page.html
load() {
	under ab -q -c 10 -H 'Accept-Encoding: gzip' "$@" "$url" >"ab.log"
	grep -q '^Failed requests: *0$' "ab.log" || fail "$(cat ab.log)"
	cat ab.log >>ab.logs
}
new_workers() {
	[ "$(children "$pid")" != "$before" ]
}
load -k -n 10000
# no keep-alive here: the reload may close such a connection at any time
before=$(children "$pid")
load -n 5000 &
load_pid=$!
until_true 100 test -s access.log || fail "no request arrives"
kill -HUP "$pid"
wait "$load_pid" || fail "the load during the reload failed"
until_true 100 new_workers || fail "no new workers after the reload"
load -k -n 5000
equal "$(grep -c '^Complete requests: *\(10000\|5000\)$' ab.logs)" 3 loads
curl -sS --compressed "$url" | cmp - www/page.html || fail "page differs"
equal "$(grep -c ' 200 ' access.log)" 20001 "requests served"
stop QUIT || fail "graceful stop: status $?"
! grep -E '\[(alert|crit|emerg)\]|exited on signal' error.log || fail "error log"

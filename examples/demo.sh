#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make demo` shows: unchanged programs on Labyrinth with the reserve's
# figures, then malloc in a signal handler on the system's allocator and on
# Labyrinth.  Starts servers on 127.0.0.1 only, and ends only what it started.
#
# usage: demo.sh [build-directory]          (build/release)

set -u

root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "${1:-$root/build/release}")
labyrinth=$build/labyrinth
preload=$build/liblabyrinth-preload.so
cc=${CC:-gcc}
dir=$(mktemp -d)
redis_pid=
problems=0

cleanup() {
	[ -z "$redis_pid" ] || kill "$redis_pid" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT

headline() {
	printf '\n==== %s\n' "$*"
}

problem() {
	problems=$((problems + 1))
	printf '!!!! %s\n' "$*"
}

# need COMMAND PACKAGE: install the package if the command is missing.
need() {
	local as_root=()

	type "$1" >/dev/null 2>&1 && return 0
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	echo "installing $2"
	"${as_root[@]}" apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "$2" \
			>"$dir/apt.log" 2>&1
	type "$1" >/dev/null 2>&1 || {
		problem "$1 (package $2) is not to be had; its step is left out"
		return 1
	}
}

# A port nobody listens on.
free_port() {
	local port

	for port in $(shuf -i 20000-40000 -n 50); do
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
}

step_python() {
	headline "python3: words of the GPL counted, in a dictionary, 200 times over"
	need python3 python3 || return
	"$labyrinth" run --stats -- "$(command -v /usr/bin/python3 || command -v python3)" -c '
import collections, glob, re
path = (glob.glob("/usr/share/common-licenses/GPL-3") + glob.glob("/etc/services"))[0]
words = re.findall(r"[a-z]+", open(path).read().lower()) * 200
count = collections.Counter(words)
text = ", ".join("%s %d" % pair for pair in count.most_common(5))
print(len(words), "words of", path, "- most frequent:", text)
' 2>"$dir/python.err" || problem "python3 ended with $?"
	cat "$dir/python.err"
	grep -q 'pcp none' "$dir/python.err" && problem "Labyrinth stepped aside in python3"
}

step_redis() {
	local port try

	headline "redis-server, under redis-benchmark: 100,000 SETs, GETs and LPUSHes"
	need redis-server redis-server || return
	need redis-benchmark redis-tools || return
	port=$(free_port)
	(cd "$dir" && exec "$labyrinth" run --stats -- redis-server --bind 127.0.0.1 \
		--port "$port" --save '' --daemonize no --logfile "$dir/redis.log" \
		>/dev/null 2>"$dir/redis.err") &
	redis_pid=$!
	for try in $(seq 100); do
		redis-cli -h 127.0.0.1 -p "$port" ping >/dev/null 2>&1 && break
		sleep 0.1
	done
	if [ "$try" -eq 100 ]; then
		problem "redis-server did not start"
	else
		redis-benchmark -h 127.0.0.1 -p "$port" -q -n 100000 -P 16 -t set,get,lpush |
			tr '\r' '\n' | grep 'requests per second' ||
			problem "redis-benchmark failed"
		redis-cli -h 127.0.0.1 -p "$port" shutdown nosave >/dev/null 2>&1
	fi
	kill "$redis_pid" 2>/dev/null
	wait "$redis_pid" || problem "redis-server ended with $?"
	redis_pid=
	cat "$dir/redis.err"
}

step_gcc() {
	headline "$cc: compile handler_malloc.c and watchdog.c, with optimisation"
	need "$cc" gcc || return
	for program in handler_malloc watchdog; do
		"$labyrinth" run --stats -- "$cc" -O2 -Wall -Wextra -o "$dir/$program" \
			"$root/examples/$program.c" 2>"$dir/cc.err" ||
			problem "$cc ended with $?"
		grep -v '^labyrinth stats' "$dir/cc.err"
		# the compiler proper is the process that took most from the heap
		echo "$program.c: $(grep -c 'pcp' "$dir/cc.err") processes; the busiest:"
		busiest=$(awk '/zone heap/ { for (i = 1; i < NF; i++) if ($i == "taken" && $(i + 1) >= max) {
			max = $(i + 1); pid = $4 } } END { print pid }' "$dir/cc.err")
		grep "pid $busiest " "$dir/cc.err"
	done
}

handler_on() {
	local name=$1
	shift
	headline "malloc in a signal handler, on $name"
	env "$@" "$dir/watchdog" 10 "$dir/handler_malloc" 5
}

if [ ! -x "$labyrinth" ] || [ ! -r "$preload" ]; then
	echo "$0: $build holds no labyrinth and liblabyrinth-preload.so; run make first" >&2
	exit 1
fi
step_python
step_redis
step_gcc
# Built above, by a compiler on Labyrinth.
if [ -x "$dir/handler_malloc" ] && [ -x "$dir/watchdog" ]; then
	handler_on "the system's allocator" LD_PRELOAD= &&
		echo "(It was lucky this time. Try again.)"
	handler_on "Labyrinth (restartable sequences)" LD_PRELOAD="$preload" ||
		problem "not survived"
	handler_on "Labyrinth (try-lock, without rseq)" LD_PRELOAD="$preload" \
		GLIBC_TUNABLES=glibc.pthread.rseq=0 || problem "not survived"
fi
headline "$problems problems"
[ "$problems" -eq 0 ]

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# labyrinth(1) on programs at work, stopped, gone and foreign; its formats, by the tools
# that read the kernel's; the figures by option, at exit and on a signal; malloc_info().
#
# usage: check_tools.sh --lib BUILD-DIRECTORY

# shellcheck source=tests/check_lib.sh
source "$(dirname "$0")/check_lib.sh"
lib=$root/build/release
[ "$1" = --lib ] && lib=$(realpath "$2")
[ -x "$lib/labyrinth" ] || {
	echo "$0: no $lib/labyrinth (run make first)" >&2
	exit 2
}
mkdir -p "$out"
tool=$lib/labyrinth
dir=$(mktemp -d)
log=$dir/log
port=$((20000 + $$ % 20000))
pids=
cleanup() {
	# shellcheck disable=SC2086 # a list of numbers
	[ -z "$pids" ] || {
		kill -KILL $pids
		wait
	} 2>/dev/null
	tmux -S "$dir/tmux" kill-server 2>/dev/null
	tmux -S "$dir/tmux2" kill-server 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT

# check NAME COMMAND...: it succeeds
check() {
	local name=$1
	shift
	if "$@" >"$log" 2>&1; then pass "$name"; else fail "$name" "exit $?" "$log"; fi
}

# refused NAME CODE TEXT COMMAND...: it ends with this code and says this
refused() {
	local name=$1 code=$2 text=$3 got
	shift 3
	timeout 20 "$@" >"$log" 2>&1 </dev/null
	got=$?
	if [ $got != "$code" ]; then
		fail "$name" "exit $got, not $code" "$log"
	elif ! grep -q -e "^labyrinth: .*$text" "$log"; then
		fail "$name" "does not say: $text" "$log"
	else
		pass "$name"
	fi
}

# until CONDITION...: it holds within ten seconds
until_true() {
	local left=100
	while [ $((left -= 1)) -ge 0 ]; do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	return 1
}

# ---- run ----

dry() { "$tool" run "$@" --dry-run -- true a b; }
dry_says() {
	env -u LABYRINTH_OPTIONS -u LD_PRELOAD "$tool" run --reserve=8m --min-free-kbytes=400 --kswapd \
		--opt stall_ms:7 --opt=mmap=4 --stats --dry-run -- true a b >"$dir/dry" &&
		grep -q -x '# reserve: 2048 pages of 4096 bytes' "$dir/dry" &&
		grep -q -x 'LABYRINTH_OPTIONS=reserve=8m,min_free_kbytes=400,kswapd=1,stall_ms=7,mmap=4,stats=1' "$dir/dry" &&
		grep -q -x "LD_PRELOAD=$lib/liblabyrinth-preload.so" "$dir/dry" &&
		grep -q -x 'true a b' "$dir/dry"
}
check "run: --dry-run says what it would set" dry_says
every_option() { # each key of the list is taken by its name
	local key value
	while IFS=, read -r key value; do
		case $value in
		*SIZE*) value=1m ;; *PAGES*) value=3 ;; *KB*) value=5 ;; *MS*) value=9 ;;
		*INTERVAL*) value=1/1/0/1 ;; *SIGNAL*) value=USR1 ;; *PATH*) value=/tmp/x ;; *) value=1 ;;
		esac
		dry "--$key=$value" | grep -q "LABYRINTH_OPTIONS=.*$key=$value" || {
			echo "--$key=$value"
			return 1
		}
	done < <(sed -n 's/^[[:space:]]*X(\([a-z_]*\), "\([^"]*\)".*/\1,\2/p' "$root/src/api/option_keys.h")
}
check "run: every option by its name" every_option
refused "run: value out of range" 2 'bad value "2g"; reserve takes SIZE' "$tool" run --reserve=2g true
refused "run: no such signal" 2 'bad value "KILL"; stats_signal takes' "$tool" run --stats_signal=KILL true
refused "run: no such option" 2 'unknown option: --reserv ' "$tool" run --reserv=1m true
refused "run: no such key" 2 'unknown option (known:.*): x=1' "$tool" run --opt x=1 true
refused "run: no value" 2 '--reserve wants a value' "$tool" run --reserve true
refused "run: --opt at the end" 2 '--opt wants key=value' "$tool" run --opt
refused "run: no program" 2 'run what' "$tool" run --stats
refused "run: not found" 127 'cannot run' "$tool" run -- "$dir/nothing"
refused "no such command" 2 'no such command: frobnicate' "$tool" frobnicate
refused "help: of no command" 2 'no such command: frobnicate' "$tool" help frobnicate
version_is() { # each way of asking
	local want
	want="labyrinth $(awk '/^#define LABYRINTH_VERSION_M/ { printf "%d.", $3 } END { print 0 }' "$root/include/labyrinth.h")"
	[ "$("$tool" version)" = "$want" ] && [ "$("$tool" --version)" = "$want" ]
}
check "version, --version" version_is
# usage NAME TEXT COMMAND...: it ends with 2 and says how it is used
usage() {
	local name=$1 text=$2 got
	shift 2
	timeout 20 "$@" >"$log" 2>"$log.err" </dev/null
	got=$?
	if [ $got = 2 ] && [ ! -s "$log" ] && grep -q "^usage: labyrinth $text" "$log.err"; then
		pass "$name"
	else
		fail "$name" "exit $got, or no usage" "$log.err"
	fi
}
usage "no command" COMMAND "$tool"
usage "version: too much" version "$tool" version now
usage "list: too much" list "$tool" list all
usage "profile: a process and more" profile "$tool" profile 1 2
usage "top: no such option" top "$tool" top --fast 1
check "help: of every command" sh -c "'$tool' help | sed -n 's/^  \\([a-z]*\\) .*/\\1/p' | while read -r c; do '$tool' help \$c || exit 1; done"

# on its own, and beside a library that cannot be preloaded
mkdir "$dir/alone" "$dir/a b"
cp "$tool" "$dir/alone"
cp "$tool" "$lib/liblabyrinth-preload.so" "$dir/a b"
installed=$(sed -n 's/^PREFIX ?= //p' "$root/Makefile")/lib
if [ -e "$installed/liblabyrinth-preload.so" ]; then
	skip "run: no library" "one is installed in $installed"
else
	refused "run: no library" 1 "liblabyrinth-preload.so not found beside this program or in: $installed" \
		"$dir/alone/labyrinth" run true
	refused "run: no library for check_free=0" 1 "liblabyrinth-preload-nocheck.so not found" \
		"$dir/alone/labyrinth" run --check-free=0 true
fi
refused "run: a path with a space" 1 'cannot name a path with a space or colon: ' "$dir/a b/labyrinth" run true

# ---- the figures by option ----

json_is_right() {
	python3 -c '
import json, sys
for line in open(sys.argv[1]):
    d = json.loads(line)
    assert d["pcp"] in ("rseq", "trylock") and [z["name"] for z in d["zones"]] == ["heap", "reserve", "exclusive"]
    for c in d["classes"]:
        if not c["name"].startswith("atomic"):
            assert c["taken"] == c["given"] + c["stacked"] + c["active"], c
    # what was taken before start-up is of no CPU
    assert sum(c["taken"] for c in d["classes"] if not c["name"].startswith("atomic")) >= sum(c["taken"] for c in d["cpus"]) > 0
    assert d["events"]["refill"] >= 0 and len(d["classes"]) > 3
    n = d["pid"]
print(n)' "$1"
}
# the grammar of the text format, version 0.0.4
prom_is_right() {
	python3 -c '
import re, sys
name, label = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*=\"[^\"\\\\\n]*\""
types, samples = {}, {}
for line in open(sys.argv[1]):
    m = re.fullmatch(r"# TYPE (%s) (counter|gauge)\n" % name, line)
    if m:
        assert m[1] not in types, "twice: " + line
        types[m[1]] = m[2]
        continue
    m = re.fullmatch(r"((%s)(?:\{%s\})?) (\d+)\n" % (name, label), line)
    assert m, "neither a comment nor a sample: " + line
    assert m[1] not in samples and list(types)[-1] == m[2], line
    assert (types[m[2]] == "counter") == m[2].endswith("_total"), line
    samples[m[1]] = int(m[3])
assert samples["labyrinth_zone_managed{zone=\"heap\"}"] > 0
assert samples["labyrinth_class_active{class=\"malloc-112\"}"] >= 1000, samples
assert len(types) > 25' "$1"
}
at_exit() {
	"$tool" run --stats=json --stats_file="$dir/exit.%p" -- "$BASH" -c 'echo $$ >'"$dir/pid; exit 3"
	[ $? = 3 ] && [ "$(json_is_right "$dir/exit.$(cat "$dir/pid")")" = "$(cat "$dir/pid")" ]
}
check "stats:json at exit, in a file of its own" at_exit
build "$out/figures" "$root/tests/programs_c/figures.c" -Wl,--no-as-needed "$lib/liblabyrinth.so" || exit 2
# by its soname, as an installed library is found
ln -s "$lib/liblabyrinth.so" "$dir/liblabyrinth.so.1"
export LD_LIBRARY_PATH=$dir

start() { # start FILE COMMAND...: in the background; its output goes to FILE
	local file=$1
	shift
	"$@" >"$file" 2>"$file.err" &
	last=$!
	pids="$pids $last"
}
# gone PID: end it, stopped or not, and wait, in silence
gone() {
	kill -TERM "$1"
	kill -CONT "$1"
	wait "$1" 2>/dev/null
}
start "$dir/wait" "$tool" run --stats=prom --stats_signal=SIGUSR2 --stats_file="$dir/prom" -- "$out/figures" wait
waiting=$last
until_true grep -q ready "$dir/wait"
on_signal() {
	kill -USR2 $waiting && until_true grep -q labyrinth_mmap_lost_total "$dir/prom" && prom_is_right "$dir/prom" &&
		kill -USR2 $waiting && sleep 0.3 && prom_is_right "$dir/prom"
}
check "stats:prom on a signal, each time anew" on_signal
gone $waiting
in_handlers() {
	local mode
	for mode in 1 0; do
		GLIBC_TUNABLES=glibc.pthread.rseq=$mode timeout 60 "$tool" run -- "$out/figures" handler >"$dir/handler" || return 1
		[ "$(grep -c '^{"labyrinth"' "$dir/handler")" -ge 60 ] || return 1
	done
}
check "labyrinth_stats() in handlers that interrupt malloc()" in_handlers
says_why() {
	"$tool" run --stats --stats_file=/nonexistent/x -- true 2>"$dir/why"
	grep -q -x 'labyrinth: stats_file cannot be written, error 2' "$dir/why" || return 1
	"$tool" run --stats --stats_file=/dev/full -- true 2>"$dir/why"
	grep -q -x 'labyrinth: stats_file cannot be written, error 28' "$dir/why"
}
check "stats_file that cannot be written" says_why
xml_is_right() {
	"$tool" run -- "$out/figures" xml >"$dir/xml" && python3 -c '
import sys, xml.etree.ElementTree as E
r = E.parse(sys.argv[1]).getroot()
assert r.tag == "malloc" and r.get("version") == "1"
assert [t.get("type") for t in r.findall("total")] == ["fast", "rest", "mmap"]
assert r.find("total[@type=\"mmap\"]").get("count") == "1"
for s in r.find("heap").find("sizes"):
    assert int(s.get("total")) == int(s.get("to")) * int(s.get("count")) and int(s.get("from")) <= int(s.get("to"))
assert int(r.find("system").get("size")) > 0' "$dir/xml"
}
check "malloc_info(), mallinfo2(), mallopt()" xml_is_right

# ---- truth, from outside ----

start "$dir/hold" "$tool" run -- "$out/figures" hold
held=$last
until_true grep -q huge "$dir/hold"
outside_is_inside() {
	local name active bytes
	until_true grep -q 'State:.T' "/proc/$held/status" || return 1
	"$tool" slabinfo "$held" >"$dir/slabinfo" || return 1
	while read -r name active bytes; do
		awk -v n="$name" -v a="$active" '$1 == n { found = $2 == a } END { exit !found }' "$dir/slabinfo" || {
			echo "$name: $active, $bytes inside; outside:"
			grep "^$name " "$dir/slabinfo"
			return 1
		}
	done <"$dir/hold"
	grep -q '^malloc-1536 .*1234$' "$dir/hold" || awk '$1 == "malloc-1536" { exit !($2 >= 1234) }' "$dir/hold"
}
check "a stopped process is read, to the object" outside_is_inside
check "two copies of the library: the one at work" awk '$1 == "huge" { exit !($2 == 3) }' "$dir/slabinfo"

# ---- the kernel's formats ----

formats() {
	"$tool" zoneinfo "$held" >"$dir/zoneinfo" && "$tool" buddyinfo "$held" >"$dir/buddyinfo" &&
		"$tool" vmstat "$held" >"$dir/vmstat" && python3 -c '
import re, sys
d = sys.argv[1]
zone = None; zones = {}; sets = 0
for line in open(d + "/zoneinfo"):
    m = re.fullmatch(r"Node (\d+), zone +(\S+)\n", line)
    if m: zone = zones.setdefault(m[2], {}); continue
    m = re.fullmatch(r"  pages free +(\d+)\n", line)
    if m: zone["free"] = int(m[1]); continue
    m = re.fullmatch(r"        (boost|min|low|high|spanned|present|managed|cma) +(\d+)\n", line)
    if m: zone[m[1]] = int(m[2]); continue
    m = re.fullmatch(r"    cpu: (\d+)\n", line)
    if m: sets += 1; continue
    m = re.fullmatch(r"              count: +(\d+)\n", line)
    if m: assert int(m[1]) < 50000, line
    assert re.fullmatch(r"        protection: \((\d+, )*\d+\)\n|      (nr_\w+) +\d+\n|  pagesets\n"
        r"|              (count|high|batch): +\d+\n|  node_unreclaimable: +0\n|  start_pfn: +\d+\n", line), line
assert set(zones) == {"heap", "reserve", "exclusive"} and sets > 0
assert all(z["free"] <= z["managed"] <= z["present"] <= z["spanned"] for z in zones.values()), zones
for line in open(d + "/buddyinfo"):
    m = re.fullmatch(r"Node 0, zone +(\S+) ((?: *\d+ ){11})\n", line)
    assert m, line
    runs = [int(x) for x in m[2].split()]
    assert sum(n << o for o, n in enumerate(runs)) == zones[m[1]]["free"], (line, zones)
    # nobody has taken a page there, and the heap is small: the 16 of the start, adjacent and aligned
    assert m[1] != "exclusive" or runs == [0] * 4 + [1] + [0] * 6, line
stat = dict(line.split() for line in open(d + "/vmstat"))
assert int(stat["nr_free_pages"]) == sum(z["free"] for z in zones.values()) and "allocstall" in stat
assert all(v.isdigit() for v in stat.values())' "$dir"
}
check "zoneinfo, buddyinfo, vmstat: the kernel's formats, and they agree" formats
# procps reads /proc/slabinfo: a namespace puts ours there
slabtop_reads() {
	head -n 1 "$dir/slabinfo" | grep -q -x 'slabinfo - version: 2.1' || return 1
	unshare -rm sh -c "mount --bind '$dir/slabinfo' /proc/slabinfo && slabtop -o && vmstat -m" >"$dir/slabtop" || return 1
	grep -q -E '^ *1[0-9]{3} +1[0-9]{3} +[0-9]+% +1.50K .* malloc-1536 *$' "$dir/slabtop" && grep -q '^malloc-1536 ' "$dir/slabtop"
}
if unshare -rm true 2>/dev/null; then
	check "slabinfo: slabtop(1) and vmstat(8) read it" slabtop_reads
else
	skip "slabinfo: slabtop(1) and vmstat(8) read it" "unshare -rm is not allowed here"
fi
gone $held

# ---- redis: at work and stopped ----

start "$dir/redis" "$tool" run -- redis-server --port $port --save '' --dir "$dir"
redis=$last
until_true redis-cli -p $port ping || fail redis "does not start" "$dir/redis"
start "$dir/load" sh -c "while redis-benchmark -p $port -q -n 20000 -c 4 -d 300 -r 10000 -t set,lpush,get; do :; done"
load=$last
listed() { "$tool" list 2>/dev/null | grep -q -E "^ *$redis [RSD] redis-server +(rseq|trylock) +[0-9.]+ +[0-9]{4,} +[0-9]+/[0-9]+ +[0-9]+/[0-9]+"; }
check "list: redis is there, with its figures" listed
stat_moves() {
	timeout 20 "$tool" stat $redis 0.5 4 >"$dir/stat" && [ "$(wc -l <"$dir/stat")" = 6 ] &&
		awk 'NR > 2 { if (NF != 14) exit 1; up += $8 } END { exit !(up > 0) }' "$dir/stat"
}
check "stat: four lines, and something moves" stat_moves
once() {
	"$tool" top --once -s n $redis >"$dir/once" && ! grep -q -P '\x1b' "$dir/once" &&
		grep -q -E '^ redis-server \([0-9]+\), running, Labyrinth [0-9.]+, (rseq|trylock) stacks, sorted by name$' "$dir/once" &&
		grep -q -E '^ *[0-9]+ +[0-9]+ +[0-9]+% +[0-9.]+K +[0-9]+ +[0-9]+ +[0-9]+K +[0-9]+  malloc-64 *$' "$dir/once" &&
		sed -n '7,$s/.*  //p' "$dir/once" | tr -d ' ' | sort -V -c
}
check "top --once: plain, sorted" once
# the column of a key falls, for each key and each way of writing the option
each_key() {
	local key column
	while read -r key column; do
		"$tool" top -o "-s$key" $redis >"$dir/keys" && "$tool" top -o --sort="$key" $redis >>"$dir/keys" || return 1
		[ "$(grep -c ', sorted by ' "$dir/keys")" = 2 ] || return 1
		awk -v c="$column" '/NAME *$/ { n = 1; next } / sorted by / { n = 0 }
			n { gsub(/[%K]/, ""); if (n++ > 1 && $c > last) exit bad = 1; last = $c }
			END { exit bad || n < 5 }' "$dir/keys" || {
			echo "-s $key: column $column"
			cat "$dir/keys"
			return 1
		}
	done <<-END
		o 1
		a 2
		u 3
		s 4
		l 5
		b 6
		c 7
		r 8
	END
}
check "top: the column of each key falls" each_key
"$tool" top $redis >"$dir/piped" 2>&1 </dev/null
check "top into a pipe ends by itself" grep -q malloc-64 "$dir/piped"

socket=$dir/tmux
screen() { tmux -S "$socket" capture-pane -p; }
shows() { screen | grep -q -E -e "$1"; }
shell() { tmux -S "$socket" send-keys "$@"; }
tmux -S "$socket" -f /dev/null new-session -d -x 100 -y 20 \
	"'$tool' top -d 0.2 $redis 2>'$dir/top.err'; echo \$? >'$dir/top.code'; sleep 100"
check "top: redis under load, live" until_true shows "^ redis-server \($redis\), running.*sorted by cache size"
rolls() {
	screen >"$dir/one"
	sleep 1.5
	screen >"$dir/two"
	! cmp -s "$dir/one" "$dir/two" && [ "$(grep -c 'OBJS   ACTIVE' "$dir/two")" = 1 ] &&
		sed -n 1p "$dir/two" | grep -q '^ redis-server' && sed -n 6p "$dir/two" | grep -q '^ *OBJS '
}
check "top: the screen changes, and stays in its place" rolls
sorts() {
	shell a && until_true shows 'sorted by active$' && screen | sed -n '7,$p' | awk 'NF { if (n++ && $2 > last) exit 1; last = $2 } END { exit n < 5 }' &&
		shell n && until_true shows 'sorted by name$'
}
check "top: keys sort" sorts
small() {
	tmux -S "$socket" resize-window -x 70 -y 12 && sleep 0.6 && shows '^ redis-server' &&
		[ "$(screen | grep -c .)" -ge 10 ] && tmux -S "$socket" resize-window -x 100 -y 20
}
check "top: a small window" small
kill -STOP $redis
check "top: redis stopped" until_true shows "^ redis-server \($redis\), stopped"
stopped_is_read() { "$tool" list 2>/dev/null | grep -q -E "^ *$redis T redis-server" && "$tool" stat $redis 0.2 2 | tail -n 1 | awk '{ exit !($8 == 0 && $9 == 0 && $3 > 0) }'; }
check "list, stat: the same redis stopped" stopped_is_read
kill -CONT $redis
check "top: it goes on" until_true shows "^ redis-server \($redis\), running"
shell q
check "top: q ends it with 0" until_true grep -q -x 0 "$dir/top.code"
tmux -S "$socket" kill-server
# ended by a signal it leaves the terminal as it was; without a keyboard there is no live screen
rm -f "$dir/top.code"
tmux -S "$socket" -f /dev/null new-session -d -x 100 -y 20 "sh -c 'echo \$\$ >$dir/top.pid; exec $tool top $redis'; echo \$? >'$dir/top.code'; \
	stty -a >'$dir/stty'; '$tool' top $redis </dev/null 2>'$dir/top.err'; echo \$? >'$dir/top.code2'; sleep 100"
by_signal() {
	until_true shows "^ redis-server" && kill -TERM "$(cat "$dir/top.pid")" && until_true grep -q -x 0 "$dir/top.code" &&
		until_true grep -q -w icanon "$dir/stty" && ! grep -q -w -e '-echo' -e '-icanon' "$dir/stty"
}
check "top: a signal ends it, and the terminal is as before" by_signal
no_keyboard() { until_true grep -q -x 1 "$dir/top.code2" && grep -q -x 'labyrinth: standard input is no terminal; use -o' "$dir/top.err"; }
check "top: standard input is no terminal" no_keyboard
tmux -S "$socket" kill-server
# a new one, to see the process go
rm -f "$dir/top.code"
socket=$dir/tmux2
tmux -S "$socket" -f /dev/null new-session -d -x 100 -y 20 \
	"'$tool' top -d 0.2 $redis 2>'$dir/top.err'; echo \$? >'$dir/top.code'; sleep 100"
until_true shows '^ redis-server'
gone $load
gone $redis
check "top: the process ends, exit code 3" until_true grep -q -x 3 "$dir/top.code"
check "top: and it says so" grep -q "^labyrinth: process $redis (redis-server) has ended" "$dir/top.err"

# ---- what cannot be read ----

for command in stat top slabinfo zoneinfo buddyinfo vmstat; do
	refused "$command: a process that is gone" 3 "there is no process $redis" "$tool" $command $redis
	refused "$command: no number" 2 'not the number of a process: abc' "$tool" $command abc
	"$tool" $command >"$log" 2>&1
	if [ $? = 2 ] && grep -q "^usage: labyrinth $command" "$log"; then
		pass "$command: usage"
	else
		fail "$command: usage" "no usage" "$log"
	fi
done
for value in 0 0.09 1e9 x 2x ''; do
	refused "top: a bad delay, \"$value\"" 2 "-d takes seconds, from 0.1 to 86400: $value\$" "$tool" top -d "$value" 1
done
refused "stat: a bad interval" 2 'not a number from 0.01' "$tool" stat 1 0
refused "top: a bad key" 2 '-s takes one of' "$tool" top -s z 1
start "$dir/plain" sleep 100
plain=$last
until_true grep -q sleep "/proc/$plain/comm"
refused "a process without Labyrinth" 5 "process $plain (sleep) does not contain Labyrinth" "$tool" stat "$plain"
sh -c 'sleep 0 & echo $! >'"$dir/zombie"'; exec sleep 100' &
pids="$pids $!"
until_true test -s "$dir/zombie"
sleep 0.3
refused "a process that has ended, and waits" 3 'has ended, and its parent' "$tool" stat "$(cat "$dir/zombie")"
# somebody else's: as root, be nobody; else look at root's
cp "$tool" "$dir/tool"
chmod 755 "$dir" "$dir/tool"
if [ "$(id -u)" = 0 ]; then
	refused "another user's process" 4 "process $plain may not be read: it belongs to user 0" \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$dir/tool" stat "$plain"
else
	refused "another user's process" 4 'process 1 may not be read: it belongs to user 0' "$tool" stat 1
fi
gone "$plain"
# what this system, or one's rights, do not allow
build "$out/refuse" "$root/tests/programs_c/refuse.c" || exit 2
start "$dir/null" "$tool" run -- sleep 100
plain=$last
until_true "$tool" stat "$plain"
refused "memory that may not be read" 4 "process $plain may not be read: its memory may not be read" \
	"$out/refuse" process_vm_readv/1 -- "$tool" stat "$plain"
refused "memory that may not be written" 4 "process $plain cannot be written to: Operation not permitted" \
	"$out/refuse" process_vm_writev/1 -- "$tool" fault "$plain" failslab interval=1
refused "a process that is there and cannot be found" 4 "process $plain may not be read" \
	"$out/refuse" process_vm_writev/3 -- "$tool" fault "$plain" failslab interval=1
gone "$plain"
if [ "$(id -u)" = 0 ]; then
	start "$dir/null" setpriv --reuid 65534 --regid 65534 --clear-groups sleep 100
	until_true grep -q sleep "/proc/$last/comm"
	refused "another user's process, without root's rights" 4 "process $last may not be read: it belongs to user 65534" \
		"$out/refuse" process_vm_readv/1 -- "$tool" stat "$last"
	gone "$last"
else
	skip "another user's process, without root's rights" "needs root"
fi
if unshare -rm true 2>/dev/null; then
	refused "list: no process" 5 'no process here has Labyrinth' unshare -rm sh -c "mount -t tmpfs none /proc && '$tool' list"
	refused "list: no /proc" 1 '/proc cannot be read: Permission denied' unshare -rm \
		sh -c "mount -t tmpfs -o mode=0 none /proc && exec setpriv --bounding-set=-dac_override,-dac_read_search '$tool' list"
else
	skip "list: no process, no /proc" "unshare -rm is not allowed here"
fi

# sleep(1) has come to its sleep, in clock_nanosleep(2): what it allocates at start is all there
asleep() { grep -q -E '^(230|115) ' "/proc/$1/syscall"; }

# figures that are none: a library that has not started, is of another kind, or is broken
poked() { # poked NAME CODE TEXT EXPRESSION COMMAND [ARGUMENT...]: a process in whose memory gdb does this
	local name=$1 code=$2 text=$3 expression=$4 command=$5
	shift 5
	start "$dir/null" "$tool" profile --rate=4k --output="$dir/poked" sleep 100
	until_true "$tool" stat "$last"
	until_true asleep "$last"
	gdb -nx -batch -ex 'set debuginfod enabled off' -p "$last" -ex "set var $expression" >"$log.gdb" 2>&1
	if grep -q -E 'No symbol|Invalid|Cannot|not permitted' "$log.gdb"; then
		fail "$name" "gdb cannot do it" "$log.gdb"
	elif [ "$code" = 0 ]; then
		check "$name" "$text" "$last"
	else
		refused "$name" "$code" "$text" "$tool" $command "$last" "$@"
	fi
	gone "$last"
}
poked "not started yet" 5 'has not started its Labyrinth yet; try again' 'lab_export.magic[0] = 0' stat
poked "another version" 5 'figures are of version 99, and this program reads 1' 'lab_export.version = 99' stat
poked "more CPUs than there are" 4 'may not be read' 'lab_export.cpus.n = 0' stat
poked "classes that are nowhere" 4 'may not be read' 'lab_export.classes.at = 8' zoneinfo
poked "names that are nowhere" 4 'may not be read' 'lab_export.event_names.at = 8' vmstat
poked "no faults" 5 'has a Labyrinth without faults' 'lab_export.fault = 0' fault
poked "faults that are nowhere" 4 'cannot be written to: Bad address' 'lab_export.fault = 8' fault
poked "watchers that are nowhere" 4 'cannot be written to: Bad address' 'lab_fault.watchers = 8' fault failslab probability=1
poked "faults of another version" 5 'whose faults are of another version' 'lab_fault.version = 99' fault
poked "no profiles" 5 'has a Labyrinth without profiles' 'lab_export.depot = 0' profile
poked "profiles that are nowhere" 4 'may not be read' 'lab_export.depot = 8' profile
poked "profiles of another version" 5 'whose profiles are of another version' 'lab_depot.version = 99' profile
poked "too few stacks" 5 'has stacks that cannot be understood' 'lab_depot.used = 1' profile
poked "too many stacks" 5 'has stacks that cannot be understood' 'lab_depot.used = 1 << 30' profile
poked "stacks that are nowhere" 4 'may not be read' 'lab_depot.memory = 4096' profile
not_listed() { ! "$tool" list 2>/dev/null | grep -q "^ *$1 "; }
poked "list: passes over what it cannot read" 0 not_listed 'lab_export.cpus.n = 0' list
listed_as() { "$tool" list 2>/dev/null | grep -q "^ *$2 [SR] sleep  *$1 "; }
none() { listed_as none "$1"; }
trylock() { listed_as trylock "$1"; }
poked "list: no stacks" 0 none 'lab_export.backend = 0' list
poked "list: stacks by the try-lock" 0 trylock 'lab_export.backend = 2' list
# the first stack of all is left out, the others are not
stacks_but() { # stacks_but PID: as many as have samples
	"$tool" profile "$1" >"$dir/stacks" && [ "$(grep -c -E '^[0-9]+: [0-9]+ \[[0-9]+: [0-9]+\] @ 0x' "$dir/stacks")" = \
		"$(($(gdb -nx -batch -ex 'set debuginfod enabled off' -p "$1" -ex 'print lab_depot.nstacks' 2>/dev/null |
			sed -n 's/^\$1 = //p') - 1))" ] && grep -q '^MAPPED_LIBRARIES:$' "$dir/stacks"
}
first='((struct lab_export_stack_sums *)(lab_depot.memory + 8 * 16384))'
poked "profile: a stack without end is left out" 0 stacks_but "$first->n = 1000" profile
poked "profile: a stack without samples is left out" 0 stacks_but "$first->total = 0" profile
start "$dir/null" "$tool" profile --rate=4k --output="$dir/poked" sleep 100
until_true "$tool" stat "$last"
refused "profile: a file that cannot be made" 1 'cannot write /nonexistent/x: No such file' \
	"$tool" profile --output=/nonexistent/x "$last"
refused "profile: a disk that is full" 1 'cannot write /dev/full: No space left' "$tool" profile --output=/dev/full "$last"
refused "profile: a value that is too long" 2 'a value is too long' "$tool" profile --rate="$(printf %080d 1)" true
refused "profile: a path that is too long" 2 'a value is too long' "$tool" profile --output="$(printf %0600d 1)" true
gone "$last"

# static, stripped, stripped of notes
static_programs() {
	"${CC:-cc}" -O1 -static -I"$root/include" -o "$dir/static" "$root/tests/programs_c/figures.c" "$lib/liblabyrinth.a" 2>"$log" || return 1
	strip --strip-all "$dir/static"
	start "$dir/static.out" "$dir/static" wait
	until_true grep -q ready "$dir/static.out"
	"$tool" slabinfo "$last" >"$dir/static.slab" || return 1
	gone "$last"
	grep -q '^malloc-16 ' "$dir/static.slab"
}
check "a static program, stripped: read as any other" static_programs
printf '#include <unistd.h>\nint main(void) { return pause(); }\n' >"$dir/pause.c"
cc -static -o "$dir/pause" "$dir/pause.c"
start "$dir/null" "$tool" run -- "$dir/pause"
until_true grep -q pause "/proc/$last/comm"
refused "a static program: no preload" 5 'does not contain Labyrinth.*static' "$tool" stat "$last"
gone "$last"
cat >"$dir/own.c" <<'END'
#include <stddef.h>
#include <unistd.h>
static char pool[1 << 20];
static size_t used;
void *malloc(size_t n) { used += (n + 31) & ~(size_t)15; return pool + used - ((n + 15) & ~(size_t)15); }
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) { (void)p; return malloc(n); }
int main(void) { return pause(); }
END
cc -O1 -w -o "$dir/own" "$dir/own.c"
start "$dir/null" "$tool" run -- "$dir/own"
steps_aside() { "$tool" list 2>/dev/null | grep -q -E "^ *$last [SR] own +aside " && "$tool" top -o "$last" | grep -q ', standing aside,'; }
check "a program with its own malloc: Labyrinth stands aside, and it is said" until_true steps_aside
gone "$last"
strip --strip-all -o "$dir/liblabyrinth-preload.so" "$lib/liblabyrinth-preload.so"
start "$dir/null" env LD_PRELOAD="$dir/liblabyrinth-preload.so" sleep 100
until_true grep -q liblabyrinth "/proc/$last/maps"
check "a stripped library" until_true "$tool" stat "$last"
gone "$last"
objcopy -R .note.labyrinth "$lib/liblabyrinth-preload.so" "$dir/liblabyrinth-preload.so"
start "$dir/null" env LD_PRELOAD="$dir/liblabyrinth-preload.so" sleep 100
until_true grep -q liblabyrinth "/proc/$last/maps"
refused "a library without its note" 5 'shows no figures' "$tool" stat "$last"
gone "$last"
# as if of another release: the version stands behind the magic, which start-up writes
sed 's/define LAB_EXPORT_VERSION 1u/define LAB_EXPORT_VERSION 99u/' "$root/src/base/export.h" >"$dir/export.h"
other_version() {
	mkdir -p "$dir/src" && cp -r "$root/src/." "$dir/src" && cp "$dir/export.h" "$dir/src/base/export.h" &&
		(cd "$dir" && cc -std=gnu11 -O1 -w -DLABYRINTH_VERSION='"9.9"' -DLABYRINTH_LIBDIR='""' -Isrc -I"$root/include" \
			-o tool99 src/tool/*.c)
}
check "a tool of another version can be built" other_version
start "$dir/null" "$tool" run -- sleep 100
until_true "$tool" stat "$last"
refused "a library of another version" 5 'figures are of version 1, and this program reads 99' "$dir/tool99" stat "$last"
gone "$last"

finish

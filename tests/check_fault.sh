#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Requests that fail on purpose in real programs: by option, for each n-th request in
# turn, and by labyrinth fault in a process that is stopped, or that makes children by
# vfork().  What a program does without memory is its own affair, but those below are
# known to end in order; and none may end by a message of ours.
#
# usage: check_fault.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

tool=$(dirname "$preload")/labyrinth
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
wait_option=fail_ignore_gfp_wait:0

# under OPTIONS COMMAND...: its exit code
under() {
	local options=$1
	shift
	(
		env "$(backend_environment "$backend")" LD_PRELOAD="$preload" \
			LABYRINTH_OPTIONS="$options" timeout --foreground 20 "$@" \
			>"$log/out" 2>"$log/err" </dev/null
		echo $? >"$log/code"
	) 2>/dev/null
	cat "$log/code"
}

# ended LABEL CODE: no signal, no message of ours but that of the fault
ended() {
	if [ "$2" -ge 124 ]; then
		fail "$1" "ended with $2" "$log/err"
	elif grep -q 'labyrinth\[.*BUG' "$log/err"; then
		fail "$1" "a message" "$log/err"
	else
		return 0
	fi
	return 1
}

sql="create table t(a, b); insert into t values (1, randomblob(5000)), (2, hex(randomblob(3000)));
create index i on t(b); select a, length(b) from t order by b; select group_concat(b) from t;"
lua='local t = {} for i = 1, 3000 do t[i] = ("x"):rep(i) end print(#table.concat(t))'
python='import json
n = 0
for i in range(300):
    try:
        n += len(json.loads(json.dumps(["x" * 600] * i)))
    except MemoryError:
        pass
print(n)'

# many seeds: some runs fail, some do not, all end in order
check_chance() {
	local name=$1 options=$2 code failures=0 seed
	shift 2
	for seed in $(seq 1 8); do
		code=$(under "$options,$wait_option,fail_seed:$seed" "$@")
		ended "$name, seed $seed, $backend" "$code" || return
		grep -q 'FAULT_INJECTION: forcing a failure' "$log/err" && failures=$((failures + 1))
	done
	if [ $failures -lt 4 ]; then
		fail "$name, $backend" "only $failures of 8 runs met a failure"
	else
		pass "$name: $failures of 8 runs met failures and ended in order, $backend"
	fi
}

# each of the first requests, and every 29th after those, until one run meets none
check_nth() {
	local name=$1 n=1 code bad=0
	shift
	while [ $n -lt 20000 ]; do
		code=$(under "fail_nth:$n,$wait_option,fail_verbose:1" "$@")
		ended "$name, request $n, $backend" "$code" || return
		grep -q 'forcing a failure' "$log/err" || break
		[ "$code" -eq 0 ] || bad=$((bad + 1))
		n=$((n + (n < 20 ? 1 : 29)))
	done
	if [ $n -lt 20 ] || [ "$code" -ne 0 ]; then
		fail "$name: fail-nth, $backend" "stopped at $n, code $code" "$log/err"
	else
		pass "$name: fail-nth 1 to $n, $bad runs said so and ended in order, $backend"
	fi
}

# the same seed, the same failures: the program prints which of its requests failed
check_repeats() {
	local many='for i = 1, 500 do io.write(pcall(string.rep, "x", 1000 + i) and "." or "F") end'

	under "failslab:1/10/100000/-1,$wait_option,fail_seed:5" lua5.4 -e "$many" >/dev/null
	mv "$log/out" "$log/first"
	under "failslab:1/10/100000/-1,$wait_option,fail_seed:5" lua5.4 -e "$many" >/dev/null
	if grep -q 'F.*F.*F' "$log/first" && cmp -s "$log/first" "$log/out"; then
		pass "a seed repeats a run: $(tr -d . <"$log/out" | wc -c) of 500 fail, $backend"
	else
		fail "a seed repeats a run, $backend" "two runs differ, or nothing failed" "$log/out"
	fi
}

# make_it_fail marks the program's thread, and a task filter spares those without
check_marked() {
	local mark code want
	for mark in 0 1; do
		code=$(under "make_it_fail:$mark,fail_task_filter:1,failslab:1/100/0/-1,$wait_option" lua5.4 -e 'print(1)')
		want=$((mark ? 1 : 0))
		if [ "$code" = $want ] && [ "$(grep -c 'forcing a failure' "$log/err")" -ge $want ] &&
			{ [ $mark = 1 ] || [ ! -s "$log/err" ]; }; then
			pass "make_it_fail:$mark with a task filter: $code, $backend"
		else
			fail "make_it_fail:$mark with a task filter, $backend" "ended with $code" "$log/err"
		fi
	done
}

# labyrinth fault PID: stopped or not, with vfork(), several at once too, or without
check_outside() {
	# bytes to be had first: more than are asked for where a sequence was interrupted
	local label="labyrinth fault, $*, $backend" pid code state=$1 space=64000000
	[ "${2:-}" != vfork ] || space=1500000000
	shift
	: >"$log/out"
	env "$(backend_environment "$backend")" LD_PRELOAD="$preload" "$out/fault" "$@" \
		>"$log/out" 2>"$log/err" &
	pid=$!
	until grep -q ready "$log/out" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	[ "$state" = running ] || kill -STOP $pid
	if ! "$tool" fault $pid failslab 1/100/0/1 space=$space ignore-gfp-wait=0 2>"$log/tool"; then
		fail "$label" "refused" "$log/tool"
		kill -KILL $pid
		return
	fi
	if [ "$state" = stopped ]; then
		"$tool" fault $pid | sed -n '/^failslab/,$p' >"$log/tool"
		grep -q "space *$space\$" "$log/tool" && grep -q 'injected *0$' "$log/tool" ||
			fail "$label" "does not show what was set" "$log/tool"
	fi
	kill -CONT $pid 2>/dev/null
	wait $pid
	code=$?
	if [ $code -ne 42 ] || ! grep -q 'name failslab, interval 1, probability 100' "$log/err"; then
		fail "$label" "ended with $code, not 42" "$log/err"
	else
		pass "$label"
	fi
}

# exit codes and messages of labyrinth fault
check_words() {
	local want=$1 says=$2 code
	shift 2
	"$tool" fault "$@" >"$log/out" 2>&1
	code=$?
	if [ $code -eq "$want" ] && grep -q -e "$says" "$log/out"; then
		pass "labyrinth fault $*: $code"
	else
		fail "labyrinth fault $*" "code $code, wanted $want and \"$says\"" "$log/out"
	fi
}

# without TEXT COMMAND...: each request fails once; where the program does not succeed it says TEXT
without() {
	local text=$1 n code said=0
	local label="labyrinth $3 without memory"
	shift
	for n in $(seq 1 60); do
		code=$(under "fail_nth:$n,$wait_option,fail_verbose:1" "$@")
		ended "$label, request $n" "$code" || return
		grep -q 'forcing a failure' "$log/err" || break
		[ "$code" -ne 0 ] || continue
		if ! grep -q -x "labyrinth: $text" "$log/err"; then
			fail "$label" "code $code at request $n, and no word" "$log/err"
			return
		fi
		said=$((said + 1))
	done
	if [ "$code" -eq 0 ] && [ $said -gt 0 ]; then
		pass "$label: $said of $((n - 1)) requests are needed"
	else
		fail "$label" "code $code, $said of $((n - 1)) said something" "$log/err"
	fi
}

build "$out/fault" "$root/tests/programs_c/fault.c" -fno-builtin || exit 1
ulimit -c 0
for backend in $backends; do
	check_chance sqlite3 failslab:1/1/2000/-1 sqlite3 :memory: "$sql"
	check_chance lua failslab:7/10/0/-1 lua5.4 -e "$lua"
	check_chance python3 failslab:1/30/4000000/-1 python3 -c "$python"
	check_nth lua lua5.4 -e 'print(("x"):rep(10000):len())'
	check_repeats
	check_marked
	check_outside running
	check_outside stopped
	check_outside running vfork
	check_outside running vforks
done
backend=rseq
env LD_PRELOAD="$preload" "$out/fault" >/dev/null &
pid=$!
sleep 0.3
check_words 2 'no such fault' $pid failslap 1/1/0/1
check_words 2 'no such attribute' $pid failslab probabilty=1
check_words 2 'bad value "101"; probability takes 0 to 100' $pid failslab probability=101
check_words 2 'neither ATTRIBUTE=VALUE nor' $pid failslab 1/2/3
kill $pid
wait $pid 2>/dev/null
check_words 3 'there is no process' 999999999
LD_PRELOAD=$preload LABYRINTH_OPTIONS=profile:1 sleep 60 &
pid=$!
sleep 0.3
without 'no memory' "$tool" run --dry-run --opt reserve=1m --kswapd true
without '.*' "$tool" profile --output="$log/heap" $pid
kill $pid
wait $pid 2>/dev/null
check_words 5 'does not contain Labyrinth' $$
check_words 2 'usage: labyrinth fault PID' $$ failslab
finish

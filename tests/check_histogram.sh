#!/bin/bash
# SPDX-License-Identifier: MIT
#
# labyrinth histogram on a program whose requests are known, however it ends, and on
# real ones: the figures are exact, the text, the JSON and the plot are made.
#
# usage: check_histogram.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

tool=$(dirname "$preload")/labyrinth
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
export TMPDIR=$log

# looks LABEL CODE WANTED-CODE PYTHON: an expression of the JSON, h, size(BYTES), slow(TIMES), quick(TIMES)
looks() {
	local label="$1, $backend"
	if [ "$2" -ne "$3" ]; then
		fail "$label" "ended with $2, not $3" "$log/err"
	elif python3 - "$log/json" "$4" >"$log/py" 2>&1 <<'P'; then
import json, sys
h = json.load(open(sys.argv[1]))
def size(n):
    return next(s for s in h["sizes"] if s["from"] <= n <= s["to"])
def between(times, low, high):
    return sum(t["objects"] for t in times if low <= t["from_ns"] < high)
for s in h["sizes"]:
    ended = between(s["lifetimes"], 0, 1 << 64)
    assert s["from"] <= s["bytes"] / s["objects"] <= s["to"], s
    assert s["live"] <= s["live_peak"] <= s["objects"], s
    assert h["lost"] or ended + s["live"] == s["objects"], s
assert sum(s["live"] for s in h["sizes"]) == h["live"]
assert eval(sys.argv[2]), sys.argv[2]
P
		pass "$label"
	else
		fail "$label" "the figures are others" "$log/py"
	fi
}

run() {
	env "$(backend_environment "$backend")" timeout --foreground 30 "$tool" histogram --json \
		--output="$log/json" -- "$@" >"$log/out" 2>"$log/err"
}

build "$out/histogram" "$root/tests/programs_c/histogram.c" -fno-builtin || exit 1
ulimit -c 0
known='size(7000)["objects"] == 1000 and size(7000)["live_peak"] == 1000 and size(7000)["bytes"] == 7000000
and size(7000)["live"] == 0 and between(size(7000)["lifetimes"], 1 << 24, 1 << 34) == 1000
and size(300000)["objects"] == 7 and size(300000)["live"] == 3 and size(600000)["live"] == 4
and size(300000)["live_peak"] == 4'
alone=' and size(11000)["objects"] == 5000 and size(11000)["live_peak"] == 1
and between(size(11000)["lifetimes"], 1, 1 << 20) > 4900 and h["lost"] == 0'
known=${known//$'\n'/ }
alone=${alone//$'\n'/ }
for backend in $backends; do
	run "$out/histogram"
	looks "a known program" $? 7 "$known$alone and h['unknown'] < 50 and h['processes'] == 1"
	run "$out/histogram" kill
	looks "one that is killed" $? 137 "$known$alone"
	run "$out/histogram" fork
	looks "one with a child" $? 7 "$known and size(11000)['objects'] == 5001 and h['unknown'] > 0"
	run "$out/histogram" many
	looks "more objects than the table has places" $? 7 \
		"$known and h['lost'] > 400000 and h['lost'] + h['live'] > 1500000"
	run sh -c "'$out/histogram'; '$out/histogram'; true"
	looks "two programs of a shell" $? 0 "size(7000)['objects'] == 2000 and h['processes'] == 3"
	# what is above 512 bytes is malloc's, not its own allocator's
	run python3 -c 'kept = [bytes(1000) for i in range(2000)]'
	looks "python3" $? 0 'h["live_peak"] > 2000'
done

backend=rseq
"$tool" histogram --svg="$log/plot.svg" -- lua5.4 -e 'local t = {} for i = 1, 999 do t[i] = {i} end' 2>"$log/text"
if grep -q '^labyrinth histogram: [0-9]* objects, [0-9]* bytes, in 1 processes' "$log/text" &&
	grep -q ' not freed ' "$log/text" && grep -q '####' "$log/text"; then
	pass "the table"
else
	fail "the table" "is not there" "$log/text"
fi
if python3 -c 'import sys, xml.dom.minidom as m
d = m.parse(sys.argv[1])
sys.exit(len(d.getElementsByTagName("path")) < 20)' "$log/plot.svg" 2>"$log/err"; then
	pass "the plot"
else
	fail "the plot" "is no SVG with paths" "$log/err"
fi
"$tool" histogram -- "$out/histogram" fork >"$log/out" 2>"$log/text"
if grep -q '^not followed: [0-9]* objects without a place in the table, [1-9][0-9]* frees of unknown ones$' "$log/text"; then
	pass "the table says what was not followed"
else
	fail "the table says what was not followed" "it does not" "$log/text"
fi
# refused NAME CODE TEXT COMMAND...
refused() {
	local name=$1 want=$2 says=$3 code
	shift 3
	timeout --foreground 30 "$@" >"$log/out" 2>"$log/err" </dev/null
	code=$?
	if [ $code -eq "$want" ] && grep -q -e "^labyrinth: $says" "$log/err"; then
		pass "$name: $code"
	else
		fail "$name" "code $code, wanted $want and \"$says\"" "$log/err"
	fi
}
build "$out/refuse" "$root/tests/programs_c/refuse.c" || exit 1
refused "a file that cannot be made" 1 'cannot write /nonexistent/x: No such file' \
	"$tool" histogram --output=/nonexistent/x -- true
refused "a disk that is full" 1 'cannot write /dev/full: No space left' "$tool" histogram --output=/dev/full -- true
refused "a place that is none" 1 'cannot make /nonexistent/labyrinth-histogram\.' \
	env TMPDIR=/nonexistent "$tool" histogram -- true
refused "a process that cannot be made" 1 'cannot run it: Resource temporarily unavailable' \
	"$out/refuse" clone/11 -- "$tool" histogram -- true
refused "a child that nobody waits for" 1 'cannot wait for it: No child processes' \
	bash -c 'trap "" CHLD && exec "$@"' - "$tool" histogram -- true
refused "a name that gnuplot cannot write to" 2 'gnuplot cannot write to such a name: a"b' \
	"$tool" histogram --svg='a"b' -- true
refused "no pipe for gnuplot" 1 'no plot: gnuplot cannot be run' \
	bash -c 'ulimit -n 4 && exec "$@"' - "$tool" histogram --svg="$log/plot2.svg" -- true
# an option cannot hold a comma: then it lies in /tmp
mkdir "$log/a,b"
if TMPDIR=$log/a,b "$tool" histogram --json --output="$log/json" -- true 2>"$log/err" && [ -s "$log/json" ]; then
	pass "a TMPDIR with a comma"
else
	fail "a TMPDIR with a comma" "no figures" "$log/err"
fi
"$tool" histogram -- "$log/none" 2>"$log/err"
code=$?
if [ $code -eq 127 ] && [ "$(find "$log" -name 'labyrinth-histogram*')" = "" ]; then
	pass "a program that is not there: $code, and no file is left"
else
	fail "a program that is not there" "code $code, files: $(ls "$log")" "$log/err"
fi
if LD_PRELOAD=$preload LABYRINTH_OPTIONS=histogram:/etc/passwd /bin/true 2>&1 | grep -q 'this is no file of labyrinth histogram: /etc/passwd'; then
	pass "a file that is none"
else
	fail "a file that is none" "was not refused"
fi
finish

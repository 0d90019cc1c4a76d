#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Heap profiles and page_owner: what jeprof and google-pprof make of a program
# whose heap is known, the kernel's record format, dumps in handlers, messages.
# About 8 s for each back end.
#
# usage: check_profile.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
lib=$(dirname "$preload")
tests=$root/tests

for tool in jeprof google-pprof; do
	command -v $tool >/dev/null || { echo "$0: no $tool: tests/install_tools.sh" >&2 && exit 2; }
done
CC=${CXX:-g++} build "$out/profile" "$tests/programs_c/profile.cc" || exit 1
build "$out/storm" "$tests/programs_c/storm.c" || exit 1
"${CC:-gcc}" -O2 -g -Wall -Wextra -I"$root/include" -o "$dir/owner" "$tests/programs_c/owner.c" \
	-L"$lib" -l:liblabyrinth-preload.so -Wl,-rpath,"$lib" -Wl,-z,now || exit 1

# attributed TEXT TRUTH: do the names have what they have, and all together 95 %?
attributed() {
	python3 - "$1" "$2" <<'END'
import re, sys
truth = {w[1]: int(w[2]) for w in map(str.split, open(sys.argv[2])) if w[0] == "bytes"}
seen, total = {}, 0
for line in open(sys.argv[1]):
    if line.startswith("Total:"):
        total = int(line.split()[1])
        continue
    flat = re.match(r"\s*(\d+)\s+[\d.]+%\s+[\d.]+%\s+\d+\s+[\d.]+%\s+(\w+)", line)
    if flat:
        seen[flat[2]] = seen.get(flat[2], 0) + int(flat[1])
if not total or not truth:
    sys.exit("nothing read")
right = sum(min(seen.get(name, 0), truth[name] * 1.15) for name in truth)
all_of = sum(truth.values())
bad = [n for n in truth if abs(seen.get(n, 0) - truth[n]) > 0.15 * truth[n] + 0.002 * all_of]
print("%.1f %% of %d bytes; %.3f of the truth" % (100 * right / total, total, total / all_of))
for name in bad:
    print("%s: %d, in truth %d" % (name, seen.get(name, 0), truth[name]))
sys.exit(bool(bad) or right < 0.95 * total or abs(total - all_of) > 0.06 * all_of)
END
}

check_tools() { # BACKEND
	local tool heap
	rm -f "$dir"/p.*
	timeout -k 5 60 env "$(backend_environment "$1")" LD_PRELOAD="$preload" \
		LABYRINTH_OPTIONS="profile:1,profile_rate:8k,profile_dump:$dir/p,profile_leak:1" \
		"$out/profile" 2 >"$dir/truth" 2>"$log" || {
		fail "profile, $1" "exit code $?" "$log" && return
	}
	heap=$(echo "$dir"/p.*.heap)
	for tool in jeprof google-pprof; do
		$tool --text --show_bytes "$out/profile" "$heap" >"$dir/text" 2>/dev/null
		if attributed "$dir/text" "$dir/truth" >"$dir/said" 2>&1; then
			pass "$tool, $1: $(tail -n 1 "$dir/said") is attributed"
		else
			fail "$tool, $1" "bytes of other functions" "$dir/said"
		fi
	done
	# root first, and the bytes
	if grep -q '^_start;.*;main;[A-Za-z0-9_]*keep_large[A-Za-z0-9_]* [1-9][0-9]*$' "$dir"/p.*.folded; then
		pass "collapsed stacks, $1"
	else
		fail "collapsed stacks, $1" "no line of keep_large" "$(echo "$dir"/p.*.folded)"
	fi
	if grep -q 'in use: about [0-9]* bytes' "$log" && grep -q '^    [A-Za-z0-9_]*keep_arrays[A-Za-z0-9_]*+0x' "$log"; then
		pass "leak report, $1"
	else
		fail "leak report, $1" "no line of keep_arrays" "$log"
	fi
}

check_owner() { # BACKEND
	local tgid
	env "$(backend_environment "$1")" LABYRINTH_OPTIONS=page_owner:1 \
		timeout -k 5 20 "$dir/owner" "$dir/records" >"$log" 2>&1 ||
		fail "page_owner, $1" "exit code $?" "$log"
	tgid=$(sed -n 's/^tgid \([0-9]*\) .*/\1/p' "$log")
	cat >"$dir/want" <<-END
		4 4 owner_bulk
		3 3 owner_exact
		2 2 owner_exclusive
		5 5 owner_order_0
		24 3 owner_order_3
	END
	if "$tests/page_owner_sort.py" "$dir/records" "$tgid" 'ow) ner, ts 1' >"$dir/got" 2>&1 &&
		cmp -s "$dir/want" "$dir/got"; then
		pass "page_owner's records, written in a handler, $1"
	else
		fail "page_owner's records, $1" "not these pages" "$dir/got"
	fi
}

check_storm() { # BACKEND
	local threads
	for threads in 2 8; do
		if env "$(backend_environment "$1")" LD_PRELOAD="$preload" STORM_DUMP=1 \
			LABYRINTH_OPTIONS=profile:1,page_owner:1,profile_rate:4k \
			timeout -k 5 30 "$out/storm" 2 $threads >"$log" 2>&1 &&
			! grep -q ' dumps=0 ' "$log" &&
			! grep 'labyrinth\[' "$log" | grep -qvE 'page allocation failure|callbacks suppressed'; then
			pass "storm with dumps in handlers, $threads threads, $1:$(grep -o ' dumps=[0-9]*' "$log")"
		else
			fail "storm with dumps in handlers, $threads threads, $1" "see there" "$log"
		fi
	done
}

# says NAME OPTIONS PATTERN COMMAND...
says() {
	local name=$1 options=$2 pattern=$3
	shift 3
	LABYRINTH_OPTIONS=$options timeout -k 5 20 "$@" >"$log" 2>&1
	if grep -q "$pattern" "$log"; then
		pass "$name"
	else
		fail "$name" "no \"$pattern\"" "$log"
	fi
}

for backend in $backends; do
	check_tools "$backend"
	check_owner "$backend"
	check_storm "$backend"
done

run=(env LD_PRELOAD="$preload")
says "a rate of 0 is refused" profile_rate:0 'profile_rate takes BYTES, 1 to' "${run[@]}" true
says "a signal that nobody can catch is refused" profile:1,profile_signal:KILL \
	'profile_signal takes SIGNAL' "${run[@]}" true
says "a file that cannot be written is named" "profile:1,profile_dump:$dir/no/such" \
	"cannot write $dir/no/such.[0-9]*.heap: error 2" "${run[@]}" true
says "check_free:0 has no profiles" check_free:0,profile:1 'need check_free:1' \
	env LD_PRELOAD="$lib/liblabyrinth-preload-nocheck.so" true
# shellcheck disable=SC2016
says "a dump at a signal" "profile:1,page_owner:1,profile_dump:$dir/s,profile_signal:USR2" '^heap profile: ' \
	"${run[@]}" sh -c 'kill -USR2 $$; cat '"$dir"'/s.$$.1.heap'

# a stopped process is read from outside, and is what jeprof reads
tool=$lib/labyrinth
(cd "$dir" && exec "$tool" profile --rate=4k --output="$dir/t" bash -c 'kill -STOP $$') &
child=$!
for _ in $(seq 50); do
	grep -q '^State:.T' /proc/$child/status && break
	sleep 0.1
done
if "$tool" profile --output="$dir/outside.heap" $child >"$log" 2>&1 &&
	jeprof --text --show_bytes "$(command -v bash)" "$dir/outside.heap" >"$log" 2>&1 &&
	grep -q '^Total: [1-9][0-9]* B' "$log"; then
	pass "labyrinth profile of a stopped process"
else
	fail "labyrinth profile of a stopped process" "exit code or nothing in it" "$log"
fi
kill -CONT $child
wait $child
if [ -s "$dir/t.$child.heap" ] && [ -e "$dir/t.$child.folded" ]; then
	pass "labyrinth profile of a program"
else
	fail "labyrinth profile of a program" "no t.$child.heap"
fi

# refused NAME CODE PATTERN ARGUMENT...
refused() {
	local name=$1 want=$2 pattern=$3 code
	shift 3
	timeout -k 5 20 "$tool" profile "$@" >"$log" 2>&1
	code=$?
	if [ $code = "$want" ] && grep -q "$pattern" "$log"; then
		pass "labyrinth profile: $name"
	else
		fail "labyrinth profile: $name" "exit code $code" "$log"
	fi
}
LD_PRELOAD=$preload sleep 20 &
plain=$!
sleep 0.3
refused "a process that takes no samples" 1 'takes no samples' $plain
kill $plain
refused "a process without Labyrinth" 5 'does not contain Labyrinth' $$
refused "no such process" 3 'there is no process' 4194303
refused "a rate of 0" 2 'profile_rate takes BYTES' --rate=0 true
refused "an option that is none" 2 'unknown option' --wrong true
refused "nothing" 2 '^usage: labyrinth profile'
finish

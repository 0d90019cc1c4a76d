#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The examples: each is built as its page says, run, and does what its page says.
# What a page says of the system's allocator is looked at too.
#
# usage: check_examples.sh BUILD-DIRECTORY

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
build=$(realpath "$1")
cd "$root/examples" || exit 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
ulimit -c 0 # one of them crashes
preload=$build/liblabyrinth-preload.so
ln -s "$build/liblabyrinth.so" "$dir/liblabyrinth.so.1"
strict="-O2 -Wall -Wextra -Werror -I$root/include"
linked="-L$build -llabyrinth -Wl,-rpath,$dir -pthread"

# compile NAME SOURCE [flag ...]
compile() {
	local name=$1 source=$2 compiler=${CC:-gcc}
	shift 2
	case $source in *.cc) compiler="${CXX:-g++} -std=c++17" ;; esac
	# shellcheck disable=SC2086 # lists of words
	$compiler $strict -o "$dir/$name" "$source" "$@" >"$log" 2>&1 ||
		fail "$name: compiles" "exit code $?" "$log"
}

# run NAME CODE PATTERN command ...: ends with CODE, and a line has PATTERN
run() {
	local name=$1 code=$2 pattern=$3 got
	shift 3
	# in a shell, which tells of a signal where we do not see it
	bash -c 'timeout -k 5 60 "$@"; exit $?' - "$@" >"$log" 2>&1 </dev/null
	got=$?
	if [ $got != "$code" ]; then
		fail "$name" "exit code $got, not $code" "$log"
	elif ! grep -q -E -e "$pattern" "$log"; then
		fail "$name" "no line with \"$pattern\"" "$log"
	else
		pass "$name"
	fi
}

# shellcheck disable=SC2086 # lists of words
{
	compile crash_report crash_report.c -fno-omit-frame-pointer $linked
	compile profiler profiler.c -fno-omit-frame-pointer -rdynamic $linked
	compile packets packets.c $linked
	compile audio audio.c $linked
	compile oom_log oom_log.c
	compile regresshion regresshion.c -pthread
	compile ring_driver ring_driver.c $linked
	compile klog kernel/klog.c -Ikernel $linked
	compile containers cxx/containers.cc $linked
	compile handler_malloc handler_malloc.c
	compile handler_object handler_malloc.c "$build/labyrinth-malloc.o"
	compile watchdog watchdog.c
}
# the linker warns of dlopen()
${CC:-gcc} -static -O2 -o "$dir/handler_static" handler_malloc.c "$build/labyrinth-malloc.o" >"$log" 2>&1 ||
	fail "handler_static: compiles" "exit code $?" "$log"

run "crash_report: ends by SIGSEGV" 139 'crash: signal SIGSEGV, address 0x0$' "$dir/crash_report"
if [ "$(sed -n 's/.* in \([a-z_]*\)+0x.*crash_report)$/\1/p' "$log" | paste -sd' ')" = "parse_record load_records main" ] ||
	[ "$(sed -n 's/.* in \([a-z_]*\)+0x.*crash_report)$/\1/p' "$log" | paste -sd' ')" = "parse_record load_records main _start" ]; then
	pass "crash_report: names the functions, in order"
else
	fail "crash_report: names" "not parse_record load_records main" "$log"
fi
run "profiler: keeps every sample" 0 '^([1-9][0-9]*) ticks, \1 samples in [1-9][0-9]* pages, 0 lost' "$dir/profiler" 0.5
run "profiler: looks into the program" 0 '%  hash_strings$' "$dir/profiler" 0.2
for exclusive in 1m 64k; do
	run "packets: exclusive:$exclusive" 0 '^5000 packets, 0 bad,' \
		env LABYRINTH_OPTIONS=exclusive:$exclusive "$dir/packets" 5000
done
run "packets: the budget" 0 'taken and given back: [0-9.]+ ns$' "$dir/packets" 100
run "audio: no page fault, none refused" 0 '^Labyrinth +[0-9.]+ +[0-9.]+ +0 +[0-9]+ +0$' \
	env LABYRINTH_OPTIONS=reserve:4m "$dir/audio" 1000
run "oom_log: the log is lost on the system's malloc" 3 'none for the log' "$dir/oom_log"
run "oom_log: and complete on Labyrinth" 0 'out of memory: 200 lines, 7[0-9]* bytes logged' \
	env LD_PRELOAD="$preload" "$dir/oom_log"
run "regresshion: crashes or hangs on the system's malloc" 1 '^one thread: .* [1-9][0-9]* crashed|, [1-9][0-9]* hung' \
	"$dir/regresshion" 10
run "regresshion: all are logged on Labyrinth, one thread" 0 \
	'^one thread: of 40 connections 40 timed out and were logged, 0 crashed, 0 hung' \
	env LD_PRELOAD="$preload" "$dir/regresshion" 40
run "regresshion: two threads, without rseq" 0 \
	'^with a second thread: of 40 connections 40 timed out' \
	env LD_PRELOAD="$preload" GLIBC_TUNABLES=glibc.pthread.rseq=0 "$dir/regresshion" 40
run "ring_driver: refilled in bulk" 0 '^100000 packets, 0 bad; [0-9]* refills, 0 of them short' \
	env LABYRINTH_OPTIONS=reserve:4m "$dir/ring_driver" 100000
run "ring_driver: with short refills" 0 '^10000 packets, 0 bad; .* [1-9][0-9]* of them short' \
	env LABYRINTH_OPTIONS=reserve:64k "$dir/ring_driver" 10000
run "kernel/klog" 0 '^100000 bytes in 7 chunks of 4 pages, 0 failures' "$dir/klog"
run "cxx/containers" 0 '^1000 handlers, 0 wrong, 0 edges wrong' "$dir/containers"
run "static: survives" 0 '^survived [1-9]' "$dir/handler_static" 1
run "static: the object in a dynamic program" 0 '^survived [1-9]' "$dir/handler_object" 1
run "handler_malloc: does not on the system's malloc" 1 '^=> (CRASHED|HUNG)' \
	"$dir/watchdog" 2 "$dir/handler_malloc" 3

# every example has its page, and every page is found from the first one
for file in *.c kernel cxx rust static.md; do
	name=${file%.*}
	[ -d "$file" ] && name=$file/
	grep -q -F "$name" README.md || echo "examples/README.md does not name $file"
	[ -e "${file%.*}.md" ] || [ -e "$file/README.md" ] || grep -q "^## $file" README.md || echo "$file has no page"
done >"$log"
if [ -s "$log" ]; then fail "pages" "missing" "$log"; else pass "pages: each example has one"; fi
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Requests that may not wait, in real programs: in a handler under a filter that kills
# on any system call, without a page fault, not locked, out of memory.  See
# programs_c/atomic.c.
# usage: check_atomic.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

# Readable by the user nobody, wherever the tree is.
dir=$(mktemp -d)
chmod 755 "$dir"
log=$dir/log
group=
# the last process of the group may take its time to end
trap 'rm -rf "$dir"; [ -z "$group" ] || rmdir "$group" || { sleep 1 && rmdir "$group"; }' EXIT
here=$root/tests/programs_c
lib=$(dirname "$preload")
# reserve=8m: room for kinds that hold many pages at once
large=reserve=8m,exclusive=128k

compile() {
	local output=$1
	shift
	"${CC:-gcc}" -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -fno-builtin -I"$root/include" \
		-o "$dir/$output" "$here"/atomic.c "$here"/atomic_kinds.c "$here"/atomic_where.c \
		-pthread -Wl,-z,now "$@"
}

{
	install -m 755 "$preload" "$lib/liblabyrinth.so" "$dir/" &&
		ln -s liblabyrinth.so "$dir/liblabyrinth.so.1" &&
		compile atomic &&
		compile atomic_so -DATOMIC_LINKED "$dir/liblabyrinth.so" -Wl,-rpath,"$dir" &&
		compile atomic_a -DATOMIC_LINKED "$lib/liblabyrinth.a" &&
		"${CXX:-g++}" -std=c++17 -O2 -g -Wall -Wextra -Wshadow -I"$root/include" \
			-o "$dir/atomic_cxx" "$here/atomic_cxx.cc" -Wl,-z,now
} >"$log" 2>&1 || {
	cat "$log"
	echo "0 passed, 1 failed"
	exit 1
}
preload=$dir/${preload##*/}

# run NAME command ...: status 0, and no report of misuse; what it says is in $log
run() {
	local name=$1 code
	shift
	# in a shell: some of what is run are functions
	timeout -k 5 60 bash -c '"$@"' - "$@" >"$log" 2>&1 </dev/null
	code=$?
	if [ $code -ne 0 ]; then
		fail "$name" "exit code $code" "$log"
	elif grep -q 'labyrinth\[[0-9]*\]: BUG' "$log"; then
		fail "$name" "a report of the library" "$log"
	else
		pass "$name"
		return 0
	fi
	return 1
}

# count NAME N PATTERN: in what the last one said
count() {
	local n
	n=$(grep -c -e "$3" "$log")
	if [ "$n" -eq "$2" ]; then
		pass "$1"
	else
		fail "$1" "$n lines with \"$3\", not $2" "$log"
	fi
}

# with OPTIONS command ...: under the preload
with() {
	local options=$1
	shift
	env LD_PRELOAD="$preload" LABYRINTH_OPTIONS="$options" "$@"
}

# limited OPTIONS-OF-ulimit command ...
limited() (
	# shellcheck disable=SC2086
	ulimit $1 && shift && "$@"
)

nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups bash -c '"$@"' - "$@"
}

in_group() {
	echo $BASHPID >"$group/tasks" && "$@"
}
export -f with limited nobody in_group
export preload group

check_handlers() {
	local b=$1 kind

	run "no system call, $b" with $large "$dir/atomic" killed
	run "no system call, liblabyrinth.so, $b" \
		env LABYRINTH_OPTIONS=$large "$dir/atomic_so" killed
	run "no system call, liblabyrinth.a, $b" \
		env LABYRINTH_OPTIONS=$large "$dir/atomic_a" killed
	run "no page fault, $b" with $large "$dir/atomic" faults
	run "no page fault, liblabyrinth.so, $b" \
		env LABYRINTH_OPTIONS=$large "$dir/atomic_so" faults
	for kind in $("$dir/atomic" kinds); do
		run "no page fault at first, $kind, $b" \
			with $large env ATOMIC_WHERE=1 "$dir/atomic" first "$kind"
	done
	run "no page fault, another CPU, $b" with $large "$dir/atomic" moved
	run "no page fault after fork, exclusive, $b" with $large "$dir/atomic" forked 400000
	if run "reports are deferred, $b" with $large "$dir/atomic" reports; then
		count "one report, when it is flushed, $b" 1 'page allocation failure'
		sed -i '/^flush$/,$d' "$log"
		count "none in the handler, $b" 0 'labyrinth'
	fi
	run "small reserve, no system call, $b" with reserve=1m,exclusive=128k "$dir/atomic" \
		only pages
}

check_not_locked() {
	local b=$1 line='not locked in memory.*RLIMIT_MEMLOCK, which is 0'

	if ! type setpriv >/dev/null 2>&1; then
		skip "not locked" "no setpriv"
		return
	fi
	if run "RLIMIT_MEMLOCK 0, nobody, $b" limited "-l 0" nobody with \
		$large "$dir/atomic" unlocked; then
		count "one line says so, $b" 1 "$line"
	fi
	if run "RLIMIT_MEMLOCK 0, nobody, not asked, $b" limited "-l 0" nobody \
		with $large "$dir/atomic" unlocked quiet; then
		count "then nothing is said, $b" 0 "$line"
	fi
	if run "RLIMIT_MEMLOCK 0, statistics, $b" limited "-l 0" nobody with \
		stats=1 "$dir/atomic" kinds; then
		count "they say locked 0, $b" 2 'zone \(reserve\|exclusive\) .* locked 0'
	fi
}

check_no_memory() {
	local b=$1 limit

	for limit in "-v 65536" "-v 262144" "-d 65536"; do
		run "ENOMEM, then 100 pages, ulimit $limit, $b" \
			limited "$limit" with stats=0 "$dir/atomic" enomem
		run "new-handler, 100 pages, ulimit $limit, $b" \
			limited "$limit" with stats=0 "$dir/atomic_cxx"
	done
	run "ENOMEM, then 100 pages, ulimit -v 65536, liblabyrinth.so, $b" \
		limited "-v 65536" "$dir/atomic_so" enomem
	run "ENOMEM, then 100 pages, mmap() fails, $b" with stats=0 "$dir/atomic" enomem filter
	run "ENOMEM, then 100 pages, mmap() fails, liblabyrinth.a, $b" \
		"$dir/atomic_a" enomem filter
}

# A thread waits in a page fault for memory that its cgroup does not have; version 1,
# with the OOM killer off.
check_cgroup() {
	local b=$1

	if [ -z "$group" ] && mkdir "/sys/fs/cgroup/memory/labyrinth.$$" 2>/dev/null; then
		group=/sys/fs/cgroup/memory/labyrinth.$$
	fi
	if [ -z "$group" ] || ! { echo 64M >"$group/memory.limit_in_bytes" &&
		echo 1 >"$group/memory.oom_control"; } 2>/dev/null; then
		skip "cgroup, $b" "no cgroup v1 for memory that we may make"
		return
	fi
	run "out of memory in a cgroup, $b" in_group with $large timeout -k 1 20 "$dir/atomic" cgroup
}

for backend in $backends; do
	export "$(backend_environment "$backend")"
	check_handlers "$backend"
	check_not_locked "$backend"
	check_no_memory "$backend"
	check_cgroup "$backend"
done
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs under limits and in odd surroundings: little address space, no
# locked memory, valgrind, qemu, strace, gdb, no rights, no environment, closed
# descriptors, small stacks, a sandbox, an older kernel, before the start.
#
# usage: check_limits.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source-path=SCRIPTDIR source=check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

# Readable by the user nobody, wherever the tree is.
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'rm -rf "$dir"' EXIT
log=$dir/log
limits=$dir/limits
sandboxed=$dir/sandboxed
limit_seconds=60
python=/usr/bin/python3
python_code='d = {i: str(i) * 9 for i in range(20000)}; print("sum", sum(map(len, d.values())))'
python_says="sum 800010"

for program in limits sandboxed refuse trace tight; do
	build "$out/$program" "$root/tests/programs_c/$program.c" || exit 1
	cp "$out/$program" "$dir/"
done
build "$out/early.so" "$root/tests/programs_c/early.c" -shared -fPIC || exit 1
lib=$(dirname "${preload:-/none}")
refuse=$dir/refuse
if [ -n "$preload" ]; then
	install -m 755 "$preload" "$dir/"
	preload=$dir/${preload##*/}
fi

# expect NAME PATTERN command ...: status 0, PATTERN in the output, no report.
expect() {
	local name=$1 pattern=$2 code
	shift 2
	timeout -k 5 "$limit_seconds" "$@" >"$log" 2>&1 </dev/null
	code=$?
	if [ $code -ne 0 ]; then
		fail "$name" "exit code $code" "$log"
	elif [ -n "$pattern" ] && ! grep -q -e "$pattern" "$log"; then
		fail "$name" "did not print \"$pattern\"" "$log"
	elif grep -q 'labyrinth\[[0-9]*\]: BUG' "$log"; then
		fail "$name" "a report of the library" "$log"
	else
		pass "$name"
	fi
}

# limited OPTIONS-OF-ulimit command ...: in a shell of its own, for expect.
limited() {
	local options=$1
	shift
	# shellcheck disable=SC2086
	bash -c 'ulimit '"$options"' && shift 0 && exec env LD_PRELOAD="$0" "$@"' "$preload" "$@"
}
export -f limited
export preload

# "ok" lines name the back end; another preload than Labyrinth says "other".
ok_line() {
	if [[ ${preload##*/} == *labyrinth* ]]; then
		echo "limits: ok ($1)"
	else
		echo "limits: ok (other)"
	fi
}

need() {
	type "$1" >/dev/null 2>&1 && return 0
	skip "$1" "not installed"
	return 1
}

check_limits() {
	local b=$1 limit

	for limit in "-v 65536" "-v 262144" "-d 65536"; do
		expect "ulimit $limit, until NULL, $b" "$(ok_line "$b")" \
			bash -c 'limited "$@"' - "$limit" "$limits" exhaust
		expect "ulimit $limit, python3, $b" "$python_says" \
			bash -c 'limited "$@"' - "$limit" $python -c "$python_code"
		# shellcheck disable=SC2016
		expect "ulimit $limit, bash, $b" "^3000\$" bash -c 'limited "$@"' - "$limit" \
			bash -c 'for i in {1..3000}; do x[i]=$i$i; done; echo ${#x[@]}'
		if need sqlite3; then
			expect "ulimit $limit, sqlite3, $b" "^500500\$" \
				bash -c 'limited "$@"' - "$limit" sqlite3 :memory: \
				"create table t(a); insert into t with recursive r(n) as
				(select 1 union all select n + 1 from r where n < 1000)
				select n from r; select sum(a) from t;"
		fi
	done
	expect "RLIMIT_AS lowered at run time, $b" "$(ok_line "$b")" \
		env LD_PRELOAD="$preload" "$limits" as-runtime
	expect "RLIMIT_DATA lowered at run time, $b" "$(ok_line "$b")" \
		env LD_PRELOAD="$preload" "$limits" data-runtime
	expect "RLIMIT_MEMLOCK 0, $b" "$(ok_line "$b")" \
		bash -c 'limited "$@"' - "-l 0" "$limits" work
	expect "threads with 64 KiB of stack, $b" "$(ok_line "$b")" \
		bash -c 'limited "$@"' - "-s 64" "$limits" threads
	expect "threads under ulimit -v 131072, small stacks, $b" "$(ok_line "$b")" \
		bash -c 'limited "$@"' - "-s 64 -v 131072" "$limits" threads
}

check_surroundings() {
	local b=$1 tunables

	tunables=$(backend_environment "$b")
	if need setpriv; then
		expect "user nobody, $b" "$(ok_line "$b")" \
			setpriv --reuid=65534 --regid=65534 --clear-groups \
			env LD_PRELOAD="$preload" "$limits" work
		expect "user nobody, RLIMIT_MEMLOCK 0, $b" "$(ok_line "$b")" \
			setpriv --reuid=65534 --regid=65534 --clear-groups \
			bash -c 'limited "$@"' - "-l 0" "$limits" work
	fi
	# The programs above would pass if the library had stepped aside in them:
	# see that it serves a PIE and one that is not (whose own stub for malloc
	# must not be taken for a malloc of its own).
	if [[ ${preload##*/} == *labyrinth* ]]; then
		for program in "$python -c print(1)" "$limits work"; do
			# shellcheck disable=SC2086
			expect "${program%% *} is served, $b" "pcp $b.*zone heap managed [1-9]" \
				bash -c '"$@" 2>&1 | tr "\n" " "' - env LD_PRELOAD="$preload" \
				LABYRINTH_OPTIONS=stats:1 $program </dev/null
		done
	fi
	expect "empty environment, $b" "$(ok_line "$b")" \
		env -i LD_PRELOAD="$preload" "$tunables" "$limits" work
	expect "closed descriptors 0 to 2, $b" "^0\$" \
		bash -c '"$@" <&- >&- 2>&-; echo $?' - env LD_PRELOAD="$preload" "$limits" closed
	limit_seconds=15
	for mode in plain openssh; do
		expect "seccomp, $mode, $b" "sandboxed: ok" \
			env LD_PRELOAD="$preload" "$sandboxed" $mode
		expect "seccomp, $mode, ulimit -v 262144, $b" "sandboxed: ok" \
			bash -c 'limited "$@"' - "-v 262144" "$sandboxed" $mode
	done
	limit_seconds=60
	if need strace; then
		expect "strace, $b" "$(ok_line "$b")" \
			strace -f -o "$dir/strace" -E LD_PRELOAD="$preload" "$limits" work
	fi
	if need gdb; then
		expect "gdb, $b" "exited normally" gdb -nx -batch -ex 'set startup-with-shell off' \
			-ex "set environment LD_PRELOAD $preload" -ex run --args "$limits" work
		expect "gdb, stepping through malloc, $b" "exited normally" \
			gdb -nx -batch -ex 'set startup-with-shell off' -ex 'set pagination off' \
			-ex "set environment LD_PRELOAD $preload" -ex 'break work' -ex run \
			-ex 'break malloc' -ex continue -ex 'stepi 3000' -ex delete \
			-ex continue --args "$limits" work
	fi
}

# says NAME TEXT COMMAND...: it succeeds, and of all lines one is TEXT
says() {
	local name=$1 text=$2
	shift 2
	expect "$name" "" "$@"
	if grep -q -x -e "$text" "$log"; then
		pass "$name: it is said"
	else
		fail "$name" "does not say: $text" "$log"
	fi
}

# Calls that a kernel does not have, or a sandbox refuses: all goes on without.
check_refused() {
	local b=$1 with=(env LD_PRELOAD="$preload") stats

	# MADV_POPULATE_WRITE, before Linux 5.14; then one that cannot give so much
	stats=zone.reserve.managed
	expect "no MADV_POPULATE_WRITE: touched instead, $b" "$stats [1-9]" "$refuse" madvise/22/2/23 -- \
		"${with[@]}" LABYRINTH_OPTIONS=stats:1 "$limits" work
	grep -q "$(ok_line "$b")" "$log" || fail "no MADV_POPULATE_WRITE, $b" "not served" "$log"
	expect "no memory for the reserve, $b" "$stats 0 " "$refuse" madvise/12/2/23 -- \
		"${with[@]}" LABYRINTH_OPTIONS=stats:1 "$limits" work
	grep -q "$(ok_line "$b")" "$log" || fail "no memory for the reserve, $b" "not served" "$log"
	expect "no mremap(), mlock2(), $b" "$(ok_line "$b")" "$refuse" mremap/38 mlock2/38 -- \
		"${with[@]}" "$limits" work
	expect "no mlock2(), and no limit to be read, $b" 'RLIMIT_MEMLOCK, which is unlimited;' \
		"$refuse" mlock2/1 prlimit64/1 -- "${with[@]}" "$dir/trace" kernel
	says "kswapd:1 without MADV_WIPEONFORK, $b" \
		'labyrinth: kswapd:1: no MADV_WIPEONFORK, ordinary calls refill instead (error 0)' \
		"$refuse" madvise/22/2/18 -- "${with[@]}" LABYRINTH_OPTIONS=kswapd:1 true
	says "kswapd:1 without threads, $b" \
		'labyrinth: kswapd:1: no thread, ordinary calls refill instead (error 11)' \
		"$refuse" clone3/38 clone/11 -- "${with[@]}" LABYRINTH_OPTIONS=kswapd:1 lua5.4 -e 'print(("x"):rep(9999):len())'
	[ "$(wc -l <"$log")" = 2 ] || fail "kswapd:1 without threads, $b" "more than once" "$log"
	[ ! -w /proc/pressure/memory ] || says "psi:1 without a trigger, $b" \
		'labyrinth: psi:1: no trigger on /proc/pressure/memory, going on without (error 95)' \
		"$refuse" write/95/2/20 -- "${with[@]}" LABYRINTH_OPTIONS=kswapd:1,psi:1 true
	says "profile:1 without memory, $b" 'labyrinth: profile:1 and page_owner:1: no memory: error 12' \
		bash -c 'limited "$@"' - "-v 40000" env LABYRINTH_OPTIONS=profile:1 true
}

# A library of the program's that is initialised before ours; options that cannot be
# taken; a program with other rights than those of its user.
check_start() {
	local b=$1 program=$dir/set_group

	for option in stats:0 kswapd:1 init_on_free:1 quarantine:64k; do
		expect "malloc() before the start, $option, $b" "^started\$" env LD_PRELOAD="$preload $out/early.so" \
			LABYRINTH_OPTIONS=$option sh -c 'echo started'
	done
	for option in stats:0 init_on_free:1; do
		expect "no address space at the start, and then some, $option, $b" "^tight: ok\$" \
			env LD_PRELOAD="$preload" LABYRINTH_OPTIONS=$option "$dir/tight"
	done
	says "redzone:1 after many objects, $b" \
		'labyrinth: redzone:1: too many objects are in use already; none is looked at' \
		env LD_PRELOAD="$preload $out/early.so" LABYRINTH_OPTIONS=redzone:1 true
	says "check_free:0 and the library that checks, $b" \
		'labyrinth: check_free:0 is a library of its own: preload liblabyrinth-preload-nocheck.so, or .*' \
		env LD_PRELOAD="$preload" LABYRINTH_OPTIONS=check_free:0 true
	says "check_free:1 and the library that does not, $b" \
		'labyrinth: check_free:1 is a library of its own: preload liblabyrinth-preload.so' \
		env LD_PRELOAD="$lib/liblabyrinth-preload-nocheck.so" LABYRINTH_OPTIONS=check_free:1 true
	# the library is part of it: of others the loader takes no LD_PRELOAD in this case
	echo 'int main(void) { return 0; }' >"$program.c"
	"${CC:-gcc}" -o "$program" "$program.c" "$lib/labyrinth-malloc.o" -pthread -ldl || {
		fail "a set-group-ID program, $b" "does not build" && return
	}
	says "options of a program, $b" 'labyrinth stats: pid .*' env LABYRINTH_OPTIONS=stats:1 "$program"
	if [ "$(id -u)" != 0 ]; then
		skip "options of a set-group-ID program, $b" "needs root"
		return
	fi
	chgrp 65534 "$program" && chmod g+s "$program"
	expect "a set-group-ID program takes no options, $b" "" env LABYRINTH_OPTIONS=stats:1 "$program"
	[ ! -s "$log" ] || fail "a set-group-ID program takes no options, $b" "it does" "$log"
}

# Neither has rseq, so these run once, on the try-lock.
check_emulators() {
	local grind=(valgrind --quiet --error-exitcode=99
		"--soname-synonyms=somalloc=nouserintercepts")

	if need valgrind; then
		expect "valgrind, C" "$(ok_line trylock)" env LD_PRELOAD="$preload" \
			"${grind[@]}" "$limits" work
		expect "valgrind, /bin/true" "" env LD_PRELOAD="$preload" "${grind[@]}" /bin/true
		expect "valgrind, python3" "$python_says" env LD_PRELOAD="$preload" PYTHONMALLOC=malloc \
			"${grind[@]}" --error-exitcode=0 $python -c "$python_code"
		expect "valgrind, threads" "$(ok_line trylock)" env LD_PRELOAD="$preload" \
			"${grind[@]}" "$limits" threads
	fi
	if need qemu-x86_64; then
		expect "qemu-user, C" "limits: ok" \
			qemu-x86_64 -E LD_PRELOAD="$preload" "$limits" work
		expect "qemu-user, threads" "limits: ok" \
			qemu-x86_64 -E LD_PRELOAD="$preload" "$limits" threads
		expect "qemu-user, python3" "$python_says" \
			qemu-x86_64 -E LD_PRELOAD="$preload" $python -c "$python_code"
	fi
}

for backend in $backends; do
	export "$(backend_environment "$backend")"
	check_limits "$backend"
	check_surroundings "$backend"
	[[ ${preload##*/} != *labyrinth* ]] || {
		check_refused "$backend"
		check_start "$backend"
	}
done
unset GLIBC_TUNABLES
check_emulators
finish

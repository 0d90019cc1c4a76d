# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# Common part of check_glibc.sh and check_life.sh: options, the watchdog, one
# line per case, and the count in the last line.  The caller sets $build (where
# it may write), may set $usage, and calls suite_options "$@" first.

: "${build:?}"
passed=0
failed=0
skipped=0
preload=build/release/liblabyrinth-preload.so
backend=
# shellcheck disable=SC2034 # for the caller
install=
only=
slow=1

suite_usage() {
	cat <<EOF
usage: $0 [--preload PATH] [--backend rseq|trylock|both] [--only PATTERN]
	[--slow FACTOR] ${usage-}

  --preload PATH   library to test; '' tests the C library's own malloc
                   (default: $preload)
  --backend WHICH  rseq: as the system comes; trylock: with
                   GLIBC_TUNABLES=glibc.pthread.rseq=0 (default: both for
                   Labyrinth, rseq for anything else)
  --only PATTERN   only the cases whose name matches this shell pattern
  --slow FACTOR    multiply every time limit (valgrind, qemu)
EOF
}

suite_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--preload | --backend | --only | --slow)
			[ $# -ge 2 ] || suite_broken "$1 needs an argument"
			case $1 in
			--preload) preload=$2 ;;
			--backend) backend=$2 ;;
			--only) only=$2 ;;
			--slow) slow=$2 ;;
			esac
			shift
			;;
		--preload=*) preload=${1#*=} ;;
		--backend=*) backend=${1#*=} ;;
		--only=*) only=${1#*=} ;;
		--slow=*) slow=${1#*=} ;;
		--install)
			# shellcheck disable=SC2034 # for the caller
			install=1
			;;
		-h | --help)
			suite_usage
			exit 0
			;;
		*)
			suite_usage >&2
			exit 2
			;;
		esac
		shift
	done
	if [ -z "$backend" ]; then
		case ${preload##*/} in
		*labyrinth*) backend=both ;;
		*) backend=rseq ;;
		esac
	fi
	case $backend in
	rseq | trylock) backends=$backend ;;
	both) backends="rseq trylock" ;;
	*) suite_broken "no such back end: $backend" ;;
	esac
}

# suite_broken TEXT: the suite itself cannot run, which is a failure too.
suite_broken() {
	printf 'FAIL %s\n' "$*"
	failed=$((failed + 1))
	suite_end
}

# suite_preload: the library is there, and the loader takes it.
suite_preload() {
	[ -n "$preload" ] || return 0
	[ -f "$preload" ] || suite_broken "no such library: $preload"
	preload=$(realpath "$preload")
	env LD_PRELOAD="$preload" cat /proc/self/maps 2>/dev/null | grep -qF "$preload" ||
		suite_broken "cannot be preloaded: $preload"
}

suite_wanted() {
	# shellcheck disable=SC2254 # $only is a pattern
	[ -z "$only" ] || case $1 in $only) ;; *) return 1 ;; esac
}

suite_skip() {
	skipped=$((skipped + 1))
	printf 'SKIP %s: %s\n' "$1" "$2"
}

suite_fail() {
	failed=$((failed + 1))
	printf 'FAIL %s: %s\n' "$1" "$2"
}

# suite_run NAME SECONDS COMMAND...: one line per back end.  A hang is a
# failure; what the command printed is shown if it fails, and kept in any case.
suite_run() {
	name=$1
	limit=$(($2 * slow))
	shift 2
	suite_wanted "$name" || return 0
	for b in $backends; do
		log=$build/log/$(printf %s "$name" | tr / _).$b
		tmp=$build/tmp.$$
		mkdir -p "$build/log" "$tmp"
		tunables=${GLIBC_TUNABLES-}
		[ "$b" = rseq ] || tunables=${tunables:+$tunables:}glibc.pthread.rseq=0
		began=$(date +%s%N)
		timeout -k 5 "$limit" env TMPDIR="$tmp" SUITE_SLOW="$slow" GLIBC_TUNABLES="$tunables" \
			LD_PRELOAD="$preload" "$@" >"$log" 2>&1 </dev/null
		status=$?
		took=$((($(date +%s%N) - began) / 10000000))
		took=$(printf '%d.%02d s' $((took / 100)) $((took % 100)))
		rm -rf "$tmp"
		case $status in
		0)
			passed=$((passed + 1))
			printf 'PASS %s (%s) %s\n' "$name" "$b" "$took"
			continue
			;;
		77)
			suite_skip "$name ($b)" "$(tail -n 1 "$log")"
			continue
			;;
		124 | 137) why="hung for more than $limit s" ;;
		*)
			if [ "$status" -gt 128 ]; then
				why="killed by signal $((status - 128))"
			else
				why="exit status $status"
			fi
			;;
		esac
		suite_fail "$name ($b) $took" "$why; output in $log"
		tail -n 12 "$log" | sed 's/^/    /'
	done
}

suite_end() {
	printf '%d passed, %d failed' "$passed" "$failed"
	[ "$skipped" -eq 0 ] || printf ', %d skipped' "$skipped"
	printf '\n'
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}

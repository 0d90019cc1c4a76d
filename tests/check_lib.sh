# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# shellcheck disable=SC2034
#
# Shared by the check scripts: options, building, counting.  Source it from the
# root's tests/ directory; then parse_options "$@".

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preload=$root/build/release/liblabyrinth-preload.so
backends="rseq"
seconds=3
out=$root/build/tests
passed=0
failed=0
skipped=0

usage_common() {
	echo "usage: $0 [--preload PATH] [--backend rseq|trylock|both] [--seconds S]" >&2
	exit 2
}

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--preload) preload=$2 && shift ;;
		--preload=*) preload=${1#*=} ;;
		--backend) backends=$2 && shift ;;
		--backend=*) backends=${1#*=} ;;
		--seconds) seconds=$2 && shift ;;
		--seconds=*) seconds=${1#*=} ;;
		*) usage_common ;;
		esac
		shift
	done
	case $backends in
	both) backends="rseq trylock" ;;
	rseq | trylock) ;;
	*) usage_common ;;
	esac
	# "none" runs on the system's allocator, to check the check itself.
	if [ "$preload" = none ]; then
		preload=
	elif [ -r "$preload" ]; then
		preload=$(realpath "$preload")
	else
		echo "$0: no $preload (run make first)" >&2
		exit 2
	fi
	mkdir -p "$out"
}

# The back end follows from whether glibc registers rseq.
backend_environment() {
	case $1 in
	rseq) echo "GLIBC_TUNABLES=glibc.pthread.rseq=1" ;;
	trylock) echo "GLIBC_TUNABLES=glibc.pthread.rseq=0" ;;
	esac
}

# build OUTPUT SOURCE [flag ...]
build() {
	local output=$1 source=$2 header fresh=1
	shift 2
	# the library's structures may have grown since
	for header in "$root"/include/*.h "$root"/tests/programs_c/*.h; do
		[ "$output" -nt "$header" ] || fresh=0
	done
	[ $fresh = 1 ] && [ "$output" -nt "$source" ] && return 0
	"${CC:-gcc}" -O2 -g -Wall -Wextra -I"$root/include" "$@" -o "$output.$$" "$source" \
		-pthread -Wl,-z,now && mv "$output.$$" "$output"
}

pass() {
	passed=$((passed + 1))
	printf 'ok      %s\n' "$1"
}

# fail NAME WHY [FILE]: FILE holds what the program said.
fail() {
	failed=$((failed + 1))
	printf 'FAILED  %s: %s\n' "$1" "$2"
	if [ $# -gt 2 ] && [ -s "$3" ]; then
		tail -n 8 "$3" | cut -c -200 | sed 's/^/        | /'
	fi
}

skip() {
	skipped=$((skipped + 1))
	printf 'skipped %s: %s\n' "$1" "$2"
}

finish() {
	[ "$skipped" -eq 0 ] || echo "$skipped skipped"
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}

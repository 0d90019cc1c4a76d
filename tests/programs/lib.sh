# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What every script of tests/programs shares; sourced as its first command.
#
# In:  PRELOAD  the library under test, or empty for plain glibc
#      WORK     a private directory that exists; made here if unset
# Out: exit status 0 = pass, 77 = the program is not installed, else failure
#
# A script's header tells check_programs.sh the rest:
#   # packages: Debian packages that provide the program
#   # timeout:  seconds until the watchdog ends the script
#   # quick:    yes, if part of --quick
#
# Only what is started by under, spawn or loaded_stdin gets the preload.  Its
# standard error goes to $WORK/stderr; finish() searches all files of $WORK for
# the library's reports, so a script that redirects output keeps it in there.

set -Eeu -o pipefail
export LC_ALL=C.UTF-8 TZ=UTC
unset LD_PRELOAD

WORK_IS_MINE=
if [ -z "${WORK-}" ]; then
	WORK=$(mktemp -d)
	WORK_IS_MINE=yes
fi
# Exported: the driver finds what a script left running by this variable.
export WORK
PRELOAD=${PRELOAD:+$(realpath "$PRELOAD")}
STDERR=$WORK/stderr
: >"$STDERR"

# Lines that only an allocator in trouble writes, or a loader without it.
REPORTS='labyrinth\[[0-9]|^labyrinth:|^ERROR: ld\.so: object '

# Verdicts go to where the script's output goes, whatever is redirected.
exec 7>&1

fail() {
	echo "FAIL: $*" >&7
	exit 1
}

no_jobs() {
	[ -z "$(jobs -pr)" ]
}

# names the line of the script itself, however deep in here it happened
on_error() {
	local line=${BASH_LINENO[${#BASH_LINENO[@]} - 2]}
	echo "FAIL: line $line, status $1: $(sed -n "${line}p" "$SCRIPT")" >&7
}

finish() {
	status=$?
	trap - EXIT ERR
	set +e
	# only what the shell has not yet waited for: no pid that is in use again
	# shellcheck disable=SC2046
	no_jobs || {
		kill -TERM $(jobs -pr)
		until_true 30 no_jobs || kill -KILL $(jobs -pr)
	} 2>/dev/null
	if grep -rhIE --devices=skip "$REPORTS" "$WORK"; then
		echo "FAIL: the lines above report misuse or a failed preload"
		[ $status -ne 0 ] || status=1
	fi
	if [ $status -ne 0 ] && [ -s "$STDERR" ]; then
		echo "--- end of standard error:"
		tail -n 40 "$STDERR"
	fi
	[ -z "$WORK_IS_MINE" ] || rm -rf "$WORK"
	exit $status
}
trap finish EXIT
trap 'on_error $?' ERR
trap 'exit 143' TERM INT HUP
SCRIPT=$(realpath "$0")
cd "$WORK"

# need COMMAND...: exit 77 unless all are installed
need() {
	for cmd; do
		command -v "$cmd" >/dev/null || {
			echo "missing: $cmd"
			exit 77
		}
	done
}

# under COMMAND...: run it with the preload and wait for it
under() {
	env ${PRELOAD:+LD_PRELOAD="$PRELOAD"} "$@" 2>>"$STDERR"
}

# spawn COMMAND...: start it with the preload; its pid is in $pid, and it is
# ended with the script if it still runs
spawn() {
	# <&0: else the shell would give it /dev/null
	(exec env ${PRELOAD:+LD_PRELOAD="$PRELOAD"} "$@") <&0 2>>"$STDERR" &
	pid=$!
}

# until_true TENTHS COMMAND...: repeat it every tenth of a second
until_true() {
	local left=$1
	shift
	until "$@"; do
		[ $((left -= 1)) -gt 0 ] || return 1
		sleep 0.1
	done
}

# loaded_maps FILE: a copy of the program's /proc/self/maps names the preload
loaded_maps() {
	[ -s "$1" ] || fail "no copy of /proc/self/maps in $1"
	[ -z "$PRELOAD" ] || grep -qF " $PRELOAD" "$1" ||
		fail "$PRELOAD is not in $1"
}

maps_of() {
	grep -qF " $PRELOAD" "/proc/$1/maps" 2>/dev/null
}

# loaded PID: the process lives and has the preload mapped
loaded() {
	kill -0 "$1" || fail "process $1 is gone"
	[ -z "$PRELOAD" ] || until_true 100 maps_of "$1" ||
		fail "$PRELOAD is not mapped in process $1"
}

children() {
	pgrep -P "$1" || true
}

# hold COMMAND...: spawn it with a pipe as its standard input, on which it
# waits until release gives it end of file
hold() {
	rm -f hold
	mkfifo hold
	# open for both, or it would wait for the other end here
	exec 9<>hold
	spawn "$@" <hold 9>&-
}

release() {
	exec 9>&-
	wait "$pid"
}

# loaded_stdin COMMAND...: look at a program that reads its standard input
loaded_stdin() {
	hold "$@" >/dev/null
	loaded "$pid"
	# an empty input may well be an error to it
	release || true
}

# stop SIGNAL: end the process $pid of the last spawn; its exit status is ours
stop() {
	kill "-$1" "$pid"
	wait "$pid"
}

# equal GOT WANT WHAT
equal() {
	[ "$1" = "$2" ] || fail "$3: got '$1', want '$2'"
}

# same FILE FILE: byte for byte
same() {
	cmp "$1" "$2" || fail "$1 and $2 differ"
}

answers() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port: set $port to an unprivileged one that nobody listens on
free_port() {
	port=$((20000 + RANDOM % 12000))
	while answers "$port"; do
		port=$((port + 1))
	done
}

# wait_port: until the server $pid answers on $port
wait_port() {
	until_true 200 answers "$port" || fail "no answer on port $port"
	kill -0 "$pid" || fail "the server ended at once"
}

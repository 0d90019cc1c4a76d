#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs the Debian programs of tests/programs/ with the library preloaded and
# checks what they compute.  Usage: see below, or --help.

set -eu
usage() {
	cat <<'TEXT'
usage: tests/check_programs.sh [option...]
  --list            name the programs and their packages, then stop
  --install         install the packages with apt-get (by sudo if not root), then stop
  --quick           only a part of them, under a minute
  --only NAME,...   only these
  --preload PATH    library under test; none = plain glibc
                    (default: build/release/liblabyrinth-preload.so)
  --backend WHICH   rseq (default), trylock or both
Logs are kept in build/programs/.  A missing program is a failure, unless
apt-get cannot install it here.
TEXT
}

root=$(cd "$(dirname "$0")/.." && pwd)
logs=$root/build/programs
preload=$root/build/release/liblabyrinth-preload.so
backends=rseq
action=run
only=
while [ $# -gt 0 ]; do
	case $1 in
	--list) action=list ;;
	--install) action=install ;;
	--quick) action=quick ;;
	--only) only=${2:?--only needs names}; shift ;;
	--preload) preload=${2:?--preload needs a path or none}; shift ;;
	--backend)
		case ${2-} in
		rseq | trylock) backends=$2 ;;
		both) backends="rseq trylock" ;;
		*) usage >&2; exit 2 ;;
		esac
		shift ;;
	--help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

# header NAME KEY: the value of "# KEY: ..." in the script of that name
header() {
	sed -n "s/^# $2: *//p" "$root/tests/programs/$1.sh"
}

names=()
if [ -n "$only" ]; then
	IFS=, read -ra names <<<"$only"
	for name in "${names[@]}"; do
		[ -x "$root/tests/programs/$name.sh" ] || { echo "no program '$name'" >&2; exit 2; }
	done
else
	for script in "$root"/tests/programs/*.sh; do
		name=$(basename "$script" .sh)
		[ "$name" != lib ] || continue
		[ "$action" != quick ] || [ -n "$(header "$name" quick)" ] || continue
		names+=("$name")
	done
fi

list() {
	for name in "${names[@]}"; do
		printf '%-10s %-6s %s\n' "$name" "$(header "$name" quick | sed 's/yes/quick/')" \
			"$(header "$name" packages)"
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# A package may bring a service.  policy-rc.d says no to starting it; one that
# is there already is the administrator's and stays as it is.
install_packages() {
	policy=/usr/sbin/policy-rc.d
	packages=()
	as_root apt-get update
	for name in "${names[@]}"; do
		# a node from elsewhere is good enough
		[ "$name" != node ] || ! command -v node >/dev/null || continue
		for package in $(header "$name" packages); do
			if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then
				packages+=("$package")
			else
				echo "cannot be installed here: $package, for $name" >&2
			fi
		done
	done
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
		trap 'as_root rm -f $policy' EXIT
		as_root chmod 755 $policy
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends --no-upgrade "${packages[@]}"
}

# installable NAME: by apt, as far as it knows without doing it
installable() {
	# shellcheck disable=SC2046
	apt-get install -s $(header "$1" packages) >/dev/null 2>&1
}

# leftovers DIR: the /proc entries of what runs with WORK=DIR in its environment
# or in that directory, which was made for one run and has a name of its own
leftovers() {
	grep -slzxF "WORK=$1" /proc/[0-9]*/environ
	find /proc -maxdepth 2 -name cwd -lname "$1*" 2>/dev/null
}

# end_leftovers DIR: name and end what still runs five seconds later
end_leftovers() {
	local pid left=50
	while [ -n "$(leftovers "$1")" ] && [ $((left -= 1)) -gt 0 ]; do
		sleep 0.1
	done
	for pid in $(leftovers "$1" | sed 's/[^0-9]//g' | sort -u); do
		echo "FAIL: left running: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
		kill -KILL "$pid"
	done 2>/dev/null
}

# run_one NAME BACKEND: log to $log; the exit status is the script's, or 1 if
# it left something running.  timeout puts it into a process group of its own.
run_one() {
	local status=0 tunables=${GLIBC_TUNABLES-}
	work=$(mktemp -d)
	[ "$2" != trylock ] || tunables=${tunables:+$tunables:}glibc.pthread.rseq=0
	env WORK="$work" PRELOAD="$preload" ${tunables:+GLIBC_TUNABLES="$tunables"} \
		timeout -k 10 "$(header "$1" timeout)" \
		"$root/tests/programs/$1.sh" </dev/null >"$log" 2>&1 &
	running=$!
	wait $running || status=$?
	running=
	[ $status -lt 124 ] || echo "FAIL: ended by the watchdog or a signal: status $status" >>"$log"
	end_leftovers "$work" >>"$log"
	if [ $status = 0 ] && grep -qE "$reports|^FAIL" "$log"; then
		status=1
	fi
	rm -rf "$work"
	return $status
}

reports='labyrinth\[[0-9]|^labyrinth:'
running=
interrupted() {
	[ -z "$running" ] || {
		kill "$running"
		wait "$running" || true
		end_leftovers "$work" >>"$log"
		rm -rf "$work"
	}
	exit 130
}
trap interrupted INT TERM HUP

run() {
	local passed=0 failed=0 skipped=0 name backend result note start
	[ "$preload" = none ] || preload=$(realpath -e "$preload") || exit 2
	[ "$preload" != none ] || preload=
	mkdir -p "$logs"
	for backend in $backends; do
		for name in "${names[@]}"; do
			log=$logs/$name.$backend.log
			start=$(date +%s%N)
			status=0
			run_one "$name" "$backend" || status=$?
			result=pass note=
			if [ $status = 77 ] && ! installable "$name"; then
				result=SKIP note="$(tail -n 1 "$log"), and apt-get cannot install it here"
				skipped=$((skipped + 1))
			elif [ $status != 0 ]; then
				result=FAIL note="$(grep -m 1 -E "$reports|^(FAIL|missing)" "$log" || true) (${log#"$root"/})"
				failed=$((failed + 1))
			else
				passed=$((passed + 1))
			fi
			printf '%-10s %-8s %s %6s s  %s\n' "$name" "$backend" $result \
				"$(date +%s%N | awk -v s="$start" '{ printf "%.1f", ($1 - s) / 1e9 }')" "$note"
		done
	done
	echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
	[ $failed = 0 ]
}

case $action in
list) list ;;
install) install_packages ;;
quick) STRESS_SECONDS=3 run ;;
run) run ;;
esac

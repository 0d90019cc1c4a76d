#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The refiller's thread in real programs: none unless asked for, one and only one
# if asked, descriptors and endings as without.
# usage: check_kswapd.sh [--preload PATH] [--backend rseq|trylock|both]

# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"
parse_options "$@"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run OPTIONS COMMAND...: its output goes to $log
run() {
	local options=$1
	shift
	env "$environment" LABYRINTH_OPTIONS="$options" LD_PRELOAD="$preload" "$@" >"$log" 2>&1
}

# expect NAME TEXT: the output is TEXT
expect() {
	if [ "$(cat "$log")" = "$2" ]; then
		pass "$1 ($backend)"
	else
		fail "$1 ($backend)" "expected: $2" "$log"
	fi
}

# the names of the program's threads
threads='for t in /proc/self/task/*; do read -r n <$t/comm; echo "$n"; done'

check_threads() {
	run '' bash -c "$threads"
	expect "no thread without the option" bash
	run psi:1 bash -c "$threads"
	expect "psi:1 alone starts none" bash
	run kswapd:1 bash -c "$threads"
	expect "kswapd:1 starts one" "$(printf 'bash\nkswapd')"
	run kswapd:1 bash -c "( exec bash -c '$threads' )"
	expect "fork and exec start one" "$(printf 'bash\nkswapd')"
}

# The numbers of open descriptors are those of a run without; and where the one
# for the pressure lies.
check_descriptors() {
	local list='for f in /proc/self/fd/*; do [ "${f##*/}" -lt 100 ] && echo "${f##*/}"; done'

	run '' bash -c "sleep 0.2; $list"
	cp "$log" "$log.without"
	run kswapd:1,psi:1 bash -c "sleep 0.2; $list"
	expect "psi:1 leaves low descriptors alone" "$(cat "$log.without")"
	rm -f "$log.without"
	[ -w /proc/pressure/memory ] || {
		skip "psi:1 ($backend)" "no /proc/pressure/memory here"
		return
	}
	run kswapd:1,psi:1 bash -c 'sleep 0.2; readlink /proc/$$/fd/100; exec readlink /proc/self/fd/100'
	expect "psi:1 opens one that exec closes, and opens it anew" "$(printf '%s\n' \
		/proc/pressure/memory /proc/pressure/memory)"
	if run kswapd:1,psi:1 env -u LD_PRELOAD readlink /proc/self/fd/100; then
		fail "psi:1 and a program without us ($backend)" "inherited descriptor 100" "$log"
	else
		pass "psi:1: a program without us inherits nothing ($backend)"
	fi
}

check_endings() {
	run kswapd:1 bash -c 'exit 7'
	[ $? -eq 7 ] && pass "exit status ($backend)" || fail "exit status ($backend)" "lost"
	run kswapd:1 bash -c 'kill -TERM $$'
	[ $? -eq 143 ] && pass "death by a signal ($backend)" ||
		fail "death by a signal ($backend)" "status"
	run kswapd:1 timeout 20 bash -c 'for i in $(seq 300); do ( : ); done; echo done'
	expect "300 subshells" "done"
}

for backend in $backends; do
	environment=$(backend_environment "$backend")
	check_threads
	check_descriptors
	check_endings
done
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
# Run the named make targets, two at a time where there are two CPUs; sum up at the
# end, with the time of each.  What a target printed comes at once when it has ended.
# usage: run_checks.sh MAKE TARGET...
make=$1
shift
passed=0
failed=0
names=
times=()
begin=$(date +%s)
logs=$(mktemp -d)
declare -A target_of started
trap 'rm -rf "$logs"' EXIT
trap 'kill "${!target_of[@]}"; exit 130' INT TERM
$make --no-print-directory -j"$(nproc)" all || exit 1

# wait until one of those that run has ended, and say how
reap() {
	local pid status
	wait -n -p pid "${!target_of[@]}"
	status=$?
	echo "== ${target_of[$pid]}"
	cat "$logs/$pid"
	if [ $status = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		names="$names ${target_of[$pid]}"
	fi
	times+=("$(printf '%-20s %6d s%s' "${target_of[$pid]}" $(($(date +%s) - started[$pid])) \
		"$([ $status = 0 ] || echo '  failed')")")
	echo "== ${times[-1]}"
	unset "target_of[$pid]"
}

lanes=$(nproc)
[ "$lanes" -le 2 ] || lanes=2
for target; do
	[ ${#target_of[@]} -lt "$lanes" ] || reap
	{ exec $make --no-print-directory "$target" >"$logs/$BASHPID" 2>&1; } &
	target_of[$!]=$target
	started[$!]=$(date +%s)
done
while [ ${#target_of[@]} -gt 0 ]; do
	reap
done
printf '%s\n' "${times[@]}"
[ $failed = 0 ] || echo "failed:$names"
echo "together: $(($(date +%s) - begin)) s"
echo "$passed passed, $failed failed"
[ $failed = 0 ]

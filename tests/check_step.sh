#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Every operation interrupted at every instruction: see step/step.h.
# usage: check_step.sh [--lib DIR] [--backend rseq|trylock|both] [--sample N | --all | --every]
#                      [--seconds S] [--seed S] [--mode MODE] [--only TEXT] [--shard I/N]
#                      [--resume]
#
# --lib      where liblabyrinth.a is, usually build/release
# --sample   about so many injections per back end, chosen by the seed
# --all      all of them, but for points that are the same as another (step/step.h)
# --every    those as well
# --seconds  stop each of the four runs after so long
# --shard    the I-th of N parts, from 0
# --resume   leave out what has passed since the last run that was not told so, of the
#            same program: a run of --all that was cut short goes on

root=$(cd "$(dirname "$0")/.." && pwd)
lib=$root/build/release
backends="rseq trylock"
sample=(--sample 10000)
rest=()
resume=

usage() {
	sed -n '4,17s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--lib) lib=$2 && shift ;;
	--backend) backends=$2 && shift ;;
	--all | --every) sample=("$1" --workers "$(nproc)") ;;
	--sample) sample=(--sample "$2") && shift ;;
	--seconds | --seed | --mode | --only | --shard) rest+=("$1" "$2") && shift ;;
	--resume) resume=1 ;;
	*) usage ;;
	esac
	shift || usage
done
[ "$backends" = both ] && backends="rseq trylock"
if [ "$(uname -m)" != x86_64 ]; then
	echo "skipped: this driver knows x86-64 alone"
	echo "0 passed, 0 failed"
	exit 0
fi
if [ ! -r "$lib/liblabyrinth.a" ]; then
	echo "$0: no $lib/liblabyrinth.a (run make first)" >&2
	exit 2
fi

# A library of another tree goes with that tree's headers.
tree=$(cd "$lib/../.." && pwd)
[ -r "$tree/src/page/frame.h" ] || tree=$root
out=$lib/step
mkdir -p "$out"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The library's instructions, and what each may touch: r: nothing but registers, and it
# goes on to the next; j: a direct jump, which touches nothing; m: anything.  Of the
# instructions of which only the operands tell, one that is not known is m.
sorts() {
	awk '/^ *[0-9a-f]+:/ {
		at = $1; sub(":", "", at)
		args = $0; sub(/^[^\t]*\t[a-z0-9]+ */, "", args); sub(/ *[#<].*/, "", args)
		sort = "m"
		if ($2 ~ /^(lea|nop|nopl|nopw)$/)
			sort = "r"
		else if ($2 ~ /^j[a-z]+$/ && args ~ /^[0-9a-f]+$/)
			sort = "j"
		else if ($2 ~ /^(mov|movabs|mov[sz][bwl][wlq]|add|sub|adc|sbb|and|or|xor|not|neg|inc|dec)$/ ||
			 $2 ~ /^(test|cmp|sh[lr]|sa[lr]|ro[lr]|i?mul|bt[src]?|bs[fr]|[lt]zcnt|popcnt)$/ ||
			 $2 ~ /^(set|cmov)[a-z]+$/)
			if (args ~ /^(\$-?0x[0-9a-f]+|%[a-z0-9]+)(,(\$-?0x[0-9a-f]+|%[a-z0-9]+))*$/ &&
			    args !~ /%[c-gs]s/)
				sort = "r"
		print at, sort
	}'
}

# The library's code in a section of its own: so the driver can tell whose
# instruction it is, and objdump lists where the library's instructions begin.
build() {
	local cc=${CC:-gcc} rename
	${LD:-ld} -r -o "$out/lab.o" --whole-archive "$lib/liblabyrinth.a" || return
	rename=$(objdump -h "$lib/liblabyrinth.a" | awk '$2 ~ /^\.text/ { print $2 }' | sort -u |
		sed 's/.*/--rename-section &=lab_text/')
	# shellcheck disable=SC2086
	objcopy $rename "$out/lab.o" || return
	"$cc" -O2 -g -std=gnu11 -fno-pie -no-pie -mno-red-zone -Wall -Wextra \
		-Wno-prio-ctor-dtor -I"$tree/src" -I"$tree/include" -I"$root/tests/step" \
		-o "$out/step" "$root"/tests/step/*.c "$out/lab.o" -pthread -Wl,-z,now || return
	objdump -d --no-show-raw-insn -j lab_text "$out/step" | sorts >"$out/boundaries"
}

# Copying by "rep movsb" traps once a byte under the trap flag.
tunables=glibc.cpu.x86_rep_movsb_threshold=1000000000
tunables=$tunables:glibc.cpu.x86_rep_stosb_threshold=1000000000

# What has passed, of this program with these options.
journal_of() {
	local file=$out/journal-$1 id
	id=$(cat "$out/step" "$out/boundaries" | cksum)" ${sample[0]} ${rest[*]}"
	if [ -z "$resume" ] || [ "$(head -n 1 "$file" 2>/dev/null)" != "$id" ]; then
		echo "$id" >"$file"
	fi
	echo "$file"
}

# run BACKEND BACKEND-SAID [VARIABLE=VALUE]
run() {
	local backend=$1 said=$2 rseq=0
	shift 2
	[ "$backend" = rseq ] && rseq=1
	journal=()
	case ${sample[*]} in --all* | --every*) journal=(--journal "$(journal_of "$backend-$said")") ;; esac
	env "$@" GLIBC_TUNABLES="glibc.pthread.rseq=$rseq:$tunables" "$out/step" \
		--boundaries "$out/boundaries" "${sample[@]}" "${rest[@]}" "${journal[@]}" 2>&1 | tee "$log" |
		sed -u '/^[0-9]* passed, [0-9]* failed$/d'
	if ! grep -q "^step: back end $said" "$log"; then
		echo "FAILED  $backend: the library chose another back end"
		failed=$((failed + 1))
	fi
	if ! tail -n 1 "$log" | grep -q '^[0-9]* passed, [0-9]* failed$'; then
		echo "FAILED  $backend: the driver did not finish"
		failed=$((failed + 1))
		return
	fi
	read -r p _ f _ < <(tail -n 1 "$log")
	passed=$((passed + p))
	failed=$((failed + f))
}

passed=0
failed=0
if ! build; then
	echo "FAILED  build"
	echo "0 passed, 1 failed"
	exit 1
fi
for backend in $backends; do
	run "$backend" "$backend"
	run "$backend" none STEP_FIRST=1
done
if [ $((passed + failed)) -eq 0 ]; then
	echo "FAILED  no job: unknown mode, or no operation has this text"
	failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

#!/bin/bash
# SPDX-License-Identifier: MIT
# Traps that build arrays between any two commands, 300 subshells.
# packages: bash
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"

cat >work.sh <<'SH'
while read -r line; do echo "$line"; done </proc/self/maps >maps
declare -a kept
got=0
trap 'got=$((got + 1)); kept[got % 50]=$(printf "%0*d" $((got % 400)) 0)' USR1
main=$$
(while kill -USR1 $main 2>/dev/null; do sleep 0.002; done) &
storm=$!
declare -A map
total=0
for ((i = 0; i < 300; i++)); do
	word=$(echo "word-$i")
	map[$word]=${word}${word}
	((total += ${#map[$word]}))
done
text=
for ((i = 0; i < 6000; i++)); do
	text+="$i,"
	list=("${map[@]:0:20}")
done
kill $storm
wait $storm 2>/dev/null
trap '' USR1
echo "${#map[@]} $total ${#text} ${#list[@]} ${map[word-299]}"
[ $got -gt 20 ] || echo "only $got signals"
SH
under bash --norc work.sh >got
loaded_maps maps
equal "$(cat got)" "300 4580 28890 20 word-299word-299" output

#!/bin/sh
# SPDX-License-Identifier: MIT
# Each acquire or release names its edge, [word] or [struct.field], in the
# comment above it, and each edge has both ends somewhere under src/.
find src -name '*.[ch]' | sort | xargs awk '
FNR == 1 { edge = "" }
match($0, /\/\* (acquire|release|acq_rel|seq_cst): .*\[[a-z_.]+\]/) {
	match($0, /\[[a-z_.]+\]/); edge = substr($0, RSTART, RLENGTH); at = FNR
	if ($0 !~ /\/\* release:/) acquired[edge] = 1
	if ($0 !~ /\/\* acquire:/) released[edge] = 1
}
/memory_order_(acquire|release|acq_rel|seq_cst)/ && (edge == "" || FNR > at + 5) {
	print FILENAME ":" FNR ": memory order without its [edge]"; bad = 1
}
END {
	for (e in released) { n++; if (!(e in acquired)) { print e ": released, never acquired"; bad = 1 } }
	for (e in acquired) if (!(e in released)) { print e ": acquired, never released"; bad = 1 }
	if (!n) { print "no edges found"; bad = 1 }
	if (!bad) print "pairs: " n " edges, both ends of each are named"
	exit bad
}'

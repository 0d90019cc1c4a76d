#!/bin/bash
# SPDX-License-Identifier: MIT
# Pigeon-hole 9: no way; and a small problem with one solution.
# packages: z3
# timeout: 60
. "$(dirname "$0")/lib.sh"
need z3

loaded_stdin z3 -in
# N + 1 pigeons in N holes
awk -v holes=9 'BEGIN {
	pigeons = holes + 1
	for (p = 1; p <= pigeons; p++) {
		any = ""
		for (h = 1; h <= holes; h++) {
			printf "(declare-const p%d_%d Bool)\n", p, h
			any = any " p" p "_" h
		}
		printf "(assert (or%s))\n", any
	}
	for (h = 1; h <= holes; h++)
		for (p = 1; p <= pigeons; p++)
			for (q = p + 1; q <= pigeons; q++)
				printf "(assert (or (not p%d_%d) (not p%d_%d)))\n", p, h, q, h
	print "(check-sat)"
}' >holes.smt2
cat >sum.smt2 <<'SMT'
(declare-const x Int)
(declare-const y Int)
(assert (and (> x 0) (> y x) (= (* x y) 8633) (= (+ x y) 186)))
(check-sat)
(get-value (x y))
SMT
equal "$(under z3 holes.smt2)" unsat "pigeon-hole"
equal "$(under z3 sum.smt2 | tr -d '\n')" "sat((x 89) (y 97))" "sum"

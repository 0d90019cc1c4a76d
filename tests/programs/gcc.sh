#!/bin/bash
# SPDX-License-Identifier: MIT
# A large C unit and a C++ unit with <regex>: collector over mmap, obstacks,
# vfork in the driver, linker; the objects must equal those made without.
# packages: gcc g++
# timeout: 120
# quick: yes
. "$(dirname "$0")/lib.sh"
need gcc g++ as ld

awk 'BEGIN {
	print "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>"
	for (i = 0; i < 300; i++) {
		printf "struct s%d { int a[%d]; long b; struct s%d *next; };\n", i, i % 9 + 1, i
		printf "static long f%d(struct s%d *s, long x)\n{\n", i, i
		printf "\tfor (int i = 0; i < %d; i++) {\n\t\tswitch ((x + i) %% 5) {\n", i % 9 + 1
		for (k = 0; k < 4; k++)
			printf "\t\tcase %d: s->a[i] += (int)(x * %d) ^ i; break;\n", k, i * 4 + k + 3
		print "\t\tdefault: s->b += s->a[i] >> 1; }\n\t\tx = x * 31 + s->a[i];\n\t}"
		print "\treturn x + s->b;\n}\n"
	}
	print "int main(void)\n{\n\tlong x = 1;\n"
	for (i = 0; i < 300; i++)
		printf "\t{ struct s%d s = { .b = %d }; x = f%d(&s, x) %% 1000003; }\n", i, i, i
	print "\tprintf(\"%ld\\n\", x);\n\treturn 0;\n}"
}' >big.c
cat >re.cc <<'CC'
#include <iostream>
#include <map>
#include <regex>
#include <string>
int main()
{
	std::map<std::string, int> count;
	std::regex re("([a-z]+)([0-9]+)");
	std::string s = "ab12 cd34 ab56 x7 yz";
	for (std::sregex_iterator i(s.begin(), s.end(), re), e; i != e; ++i)
		count[(*i)[1]] += std::stoi((*i)[2]);
	for (auto &c : count)
		std::cout << c.first << '=' << c.second << ' ';
	std::cout << '\n';
}
CC
# the driver waits for the compiler proper, which reads the pipe
hold gcc -x c -c -o held.o -
loaded "$pid"
a_child() {
	child=$(children "$pid" | head -n 1)
	[ -n "$child" ]
}
until_true 100 a_child || fail "no compiler proper"
loaded "$child"
release || fail "gcc of an empty unit: status $?"

build() {
	dir=$1
	shift
	mkdir "$dir"
	"$@" gcc -O2 -c big.c -o "$dir/big.o"
	"$@" g++ -O1 -pipe -c re.cc -o "$dir/re.o"
	"$@" gcc "$dir/big.o" -o "$dir/big"
	"$@" g++ "$dir/re.o" -o "$dir/re"
}
build want env
build got under
for file in big.o re.o big re; do
	same got/$file want/$file
done
equal "$(got/re)" "ab=68 cd=34 x=7 " "C++ program"
equal "$(got/big)" "$(want/big)" "C program"

#!/bin/bash
# SPDX-License-Identifier: MIT
# vfork and ptrace, C++ symbol tables, Python inside; breakpoint, backtrace.
# packages: gdb gcc libc6-dev
# timeout: 60
. "$(dirname "$0")/lib.sh"
need gdb gcc

cat >prog.c <<'C'
#include <stdio.h>
#include <stdlib.h>
struct node { int value; struct node *next; };
static int depth(int n, struct node *list)
{
	struct node here = { n, list };
	int sum = 0;

	if (n > 0)
		return depth(n - 1, &here);
	for (struct node *p = &here; p; p = p->next)
		sum += p->value;
	return sum;
}
int main(void)
{
	char *p = malloc(100);
	int r = depth(20, NULL);

	snprintf(p, 100, "sum %d", r);
	puts(p);
	free(p);
	return 0;
}
C
gcc -g -O0 -o prog prog.c
cat >commands <<'GDB'
set pagination off
set confirm off
set width 0
python open('maps', 'w').write(open('/proc/self/maps').read())
break prog.c:11
run
bt
info args
info types node
python print('frames', sum(1 for _ in iter(lambda f=[gdb.newest_frame()]: f.__setitem__(0, f[0].older()) or f[0], None)))
python print('walk', sum(int(gdb.parse_and_eval('list->' + 'next->' * k + 'value')) for k in range(20)))
delete
continue
GDB
under gdb -nx -batch -x commands ./prog >got </dev/null || fail "gdb: status $?"
loaded_maps maps
equal "$(grep -c '^#[0-9]' got)" 22 "frames of the backtrace"
for line in 'frames 21' 'walk 210' 'sum 210' 'n = 0' 'struct node;' 'exited normally'; do
	grep -qF "$line" got || fail "no '$line': $(cat got)"
done

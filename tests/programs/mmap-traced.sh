#!/bin/bash
# SPDX-License-Identifier: MIT
# A program that maps, protects and unmaps, under strace and under gdb: what
# they see and what it prints; a page it protected faults where it should.
# packages: strace gdb gcc libc6-dev
# timeout: 90
. "$(dirname "$0")/lib.sh"
need strace gdb gcc

cat >prog.c <<'C'
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *guarded;

static void step_into_the_guard(int value)
{
	guarded[4096] = (char)value;
}

int main(int argc, char **argv)
{
	unsigned long sum = 0;
	int i;

	(void)argv;
	for (i = 0; i < 2000; i++) {
		char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		memset(p, i, 4096);
		sum += (unsigned char)p[4095];
		munmap(p, 4096);
	}
	getppid(); /* from here on the calls are the program's */
	guarded = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(guarded + 4096, 4096, PROT_NONE);
	printf("sum %lu\n", sum);
	fflush(stdout);
	if (argc > 1)
		step_into_the_guard(argc);
	munmap(guarded, 8192);
	return 0;
}
C
gcc -g -O0 -o prog prog.c
./prog >want
strace -f -o calls ${PRELOAD:+-E LD_PRELOAD="$PRELOAD"} ./prog >got 2>>"$STDERR"
same got want
# the library serves the pages without a call, and asks once to protect one
if [ -n "$PRELOAD" ]; then
	[ "$(grep -c 'munmap(' calls)" -lt 100 ] || fail "munmap is not served: $(grep -c 'munmap(' calls)"
	equal "$(sed '1,/getppid(/d' calls | grep -c 'mprotect(0x[0-9a-f]*, 4096, PROT_NONE) = 0$')" 1 \
		"calls of mprotect to PROT_NONE"
fi
cat >commands <<'GDB'
set pagination off
set confirm off
set startup-with-shell off
run now
backtrace
print value
info proc mappings
kill
GDB
gdb -q -nx -batch ${PRELOAD:+-ex "set environment LD_PRELOAD $PRELOAD"} -x commands ./prog \
	>debugged 2>>"$STDERR" </dev/null || true
grep -q 'received signal SIGSEGV' debugged || fail "no fault at the guard: $(tail -n 20 debugged)"
grep -q 'step_into_the_guard (value=2)' debugged || fail "$(tail -n 20 debugged)"
grep -q '^\$1 = 2' debugged || fail "$(tail -n 20 debugged)"
[ -z "$PRELOAD" ] || grep -qF "$PRELOAD" debugged || fail "the preload is not in the program"

/* SPDX-License-Identifier: MIT */
/*
 * The two ways to stop at an instruction.
 *
 * The trap flag stops after every instruction, and the handler counts: exact
 * for any code but restartable sequences, which each stop aborts, so that the
 * library leaves them alone after a few attempts.  That path is worth a sweep
 * of its own; what lies behind a sequence that succeeds is not reached.
 *
 * A breakpoint (int3) stops once, at full speed.  Inside a sequence the kernel
 * moves the instruction pointer to the abort handler before the signal frame
 * is made, and that it did is verified.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "labyrinth.h"
#include "step.h"

enum { TRAP_FLAG = 0x100, INT3 = 0xcc, STACK_BYTES = 16 << 10, MAX_BOUNDARIES = 65536 };

/* struct rseq_cs, linux/rseq.h, as the library lays it out */
struct sequence {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

extern unsigned char __start_lab_text[], __stop_lab_text[], __executable_start[], etext[];
extern struct sequence __start___rseq_cs[], __stop___rseq_cs[];
extern unsigned char __start___rseq_abort[], __stop___rseq_abort[];

struct injection injection;
uint64_t trace[TRACE_MAX];
size_t nr_trace;
_Atomic int frozen;

static uintptr_t boundary[MAX_BOUNDARIES];
static unsigned char code[MAX_BOUNDARIES]; /* the byte that int3 replaced */
static size_t nr_boundaries;

static bool is_within(uintptr_t ip, const unsigned char *from, const unsigned char *to)
{
	return ip >= (uintptr_t)from && ip < (uintptr_t)to;
}

bool is_in_sequence(uintptr_t ip)
{
	const struct sequence *s;

	for (s = __start___rseq_cs; s < __stop___rseq_cs; s++)
		if (ip - s->start < s->length)
			return true;
	return false;
}

static bool is_abort(uintptr_t ip)
{
	return is_within(ip, __start___rseq_abort, __stop___rseq_abort);
}

/* the library's own code, or what it calls in libc and in the vDSO */
static bool is_counted(uintptr_t ip)
{
	return is_within(ip, __start_lab_text, __stop_lab_text) || is_abort(ip) ||
	       !is_within(ip, __executable_start, etext);
}

/* ---- what happens there ---- */

static void stay_for_ever(void)
{
	static int never;

	frozen = 1;
	for (;;)
		syscall(SYS_futex, &never, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void act(uintptr_t ip)
{
	int before = errno;

	injection.done = true;
	injection.ip = ip;
	context->ip = ip;
	switch (injection.act) {
	case ACT_NEST:
		injection.nested->run(injection.scenario);
		break;
	case ACT_ABANDON:
		injection.abandoned = true;
		siglongjmp(injection.out, 1);
	case ACT_FREEZE:
		stay_for_ever();
	}
	errno = before;
}

static void on_step(greg_t *regs)
{
	uintptr_t ip = (uintptr_t)regs[REG_RIP];

	if (!is_counted(ip))
		return;
	injection.steps++;
	injection.aborts += is_abort(ip);
	if (injection.tracing && nr_trace < TRACE_MAX)
		trace[nr_trace++] = ip;
	if (injection.steps != injection.target)
		return;
	regs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	act(ip);
}

/* ---- breakpoints ---- */

static size_t boundary_index(uintptr_t ip)
{
	size_t low = 0, high = nr_boundaries;

	while (low + 1 < high) {
		size_t middle = (low + high) / 2;

		if (boundary[middle] <= ip)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void arm(size_t i)
{
	code[i] = *(unsigned char *)boundary[i];
	*(volatile unsigned char *)boundary[i] = INT3;
}

static void disarm(size_t i)
{
	*(volatile unsigned char *)boundary[i] = code[i];
}

static void on_breakpoint(greg_t *regs)
{
	uintptr_t ip = (uintptr_t)regs[REG_RIP] - 1;
	size_t i;

	if (!injection.tracing) {
		i = boundary_index(injection.target);
		disarm(i);
		if (is_in_sequence(boundary[i])) {
			if (!is_abort(ip + 1))
				fail("the kernel did not abort the sequence: ip %#lx", ip + 1);
			injection.aborts++;
		} else {
			regs[REG_RIP] = (greg_t)boundary[i];
		}
		act(boundary[i]);
		return;
	}
	i = boundary_index(ip);
	if (boundary[i] != ip)
		fail("a breakpoint at %#lx that nobody set", ip);
	disarm(i);
	regs[REG_RIP] = (greg_t)ip;
	trace[nr_trace++] = ip;
}

static void arm_all(void)
{
	size_t i;

	for (i = 0; i < nr_boundaries; i++)
		if (!is_in_sequence(boundary[i]))
			arm(i);
}

/* the instructions of the sequences that were entered count as reached */
static void disarm_all(void)
{
	const struct sequence *s;
	size_t i, n = nr_trace;

	for (i = 0; i < nr_boundaries; i++)
		if (!is_in_sequence(boundary[i]) && *(unsigned char *)boundary[i] == INT3)
			disarm(i);
	for (s = __start___rseq_cs; s < __stop___rseq_cs; s++) {
		size_t before = boundary_index(s->start) - 1;

		for (i = 0; i < n && trace[i] != boundary[before]; i++)
			;
		if (i == n)
			continue;
		for (i = before + 1; boundary[i] < s->start + s->length; i++)
			trace[nr_trace++] = boundary[i];
	}
}

bool trap_read_boundaries(const char *path)
{
	uintptr_t from = (uintptr_t)__executable_start & ~4095ul;
	FILE *file = fopen(path, "r");

	while (file && nr_boundaries < MAX_BOUNDARIES &&
	       fscanf(file, "%lx", &boundary[nr_boundaries]) == 1)
		nr_boundaries++;
	if (!file || fclose(file) || !nr_boundaries || nr_boundaries == MAX_BOUNDARIES)
		return false;
	from = boundary[0] & ~4095ul;
	return !mprotect((void *)from, (boundary[nr_boundaries - 1] | 4095) + 1 - from,
			 PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* ---- running ---- */

static void on_trap(int sig, siginfo_t *info, void *arg)
{
	greg_t *regs = ((ucontext_t *)arg)->uc_mcontext.gregs;

	(void)sig;
	if (info->si_code == TRAP_TRACE || info->si_code == TRAP_BRKPT)
		on_step(regs);
	else
		on_breakpoint(regs);
}

/* what the promise says: 16 KiB, with a guard below */
void trap_stack(void)
{
	char *at = mmap(NULL, STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_size = STACK_BYTES };

	if (at == MAP_FAILED || mprotect(at, 4096, PROT_NONE))
		fail("no memory for a stack");
	stack.ss_sp = at + 4096;
	sigaltstack(&stack, NULL);
}

void trap_init(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	trap_stack();
	sigaction(SIGTRAP, &action, NULL);
}

static void trap_flag_on(void)
{
	__asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG) : "memory", "cc");
}

static void trap_flag_off(void)
{
	__asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG) : "memory", "cc");
}

static void run_op(void)
{
	if (injection.how == BY_TRAP_FLAG) {
		trap_flag_on();
		injection.scenario->op(injection.scenario);
		trap_flag_off();
		return;
	}
	injection.scenario->op(injection.scenario);
}

void trap_run(void)
{
	bool breakpoint = injection.how == BY_BREAKPOINT;

	injection.done = injection.abandoned = false;
	injection.steps = injection.aborts = 0;
	nr_trace = injection.tracing ? 0 : nr_trace;
	if (breakpoint && injection.tracing)
		arm_all();
	else if (breakpoint && injection.target)
		arm(boundary_index(injection.target));
	if (!sigsetjmp(injection.out, 1))
		run_op();
	if (breakpoint && injection.tracing)
		disarm_all();
	else if (breakpoint && injection.target && !injection.done)
		disarm(boundary_index(injection.target));
}

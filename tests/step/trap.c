/* SPDX-License-Identifier: MIT */
/*
 * The ways to stop at an instruction.
 *
 * The trap flag stops after every instruction, and the handler counts: exact
 * for any code but restartable sequences, which each stop aborts, so that the
 * library leaves them alone after a few attempts.  That path is worth a sweep
 * of its own; what lies behind a sequence that succeeds is not reached.
 *
 * A breakpoint (int3) stops once, at full speed.  Inside a sequence the kernel
 * moves the instruction pointer to the abort handler before the signal frame
 * is made, and that it did is verified.
 *
 * A count is the first of these at the speed of the second: a breakpoint at an
 * instruction goes off when that is reached for the n-th time, and what is left
 * to the target is stepped.  One more at the beginning of every sequence aborts
 * each as the trap flag does, whose trap comes when the first instruction of
 * the sequence is to be executed, too.
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

enum { TRAP_FLAG = 0x100, INT3 = 0xcc, STACK_BYTES = 16 << 10 };
enum { MAX_BOUNDARIES = 65536, MAX_SEQUENCES = 512 };

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
static char sort[MAX_BOUNDARIES];	   /* what check_step.sh says it may touch */
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

bool is_abort(uintptr_t ip)
{
	return is_within(ip, __start___rseq_abort, __stop___rseq_abort);
}

bool is_of_library(uintptr_t ip)
{
	return is_within(ip, __start_lab_text, __stop_lab_text) || is_abort(ip);
}

/* the library's own code, or what it calls in libc and in the vDSO */
static bool is_counted(uintptr_t ip)
{
	return is_of_library(ip) || !is_within(ip, __executable_start, etext);
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

/* ---- a count ---- */

static unsigned char start_code[MAX_SEQUENCES], at_code;
static bool is_armed, is_stepping_over;

static void put(uintptr_t at, unsigned char byte)
{
	*(volatile unsigned char *)at = byte;
}

static void count_arm(void)
{
	const struct sequence *s;
	size_t i = 0;

	for (s = __start___rseq_cs; s < __stop___rseq_cs; s++, i++) {
		start_code[i] = *(unsigned char *)s->start;
		put(s->start, INT3);
	}
	at_code = *(unsigned char *)injection.at;
	put(injection.at, INT3);
	is_armed = true;
}

static void count_disarm(void)
{
	const struct sequence *s;
	size_t i = 0;

	if (!is_armed)
		return;
	is_armed = false;
	put(injection.at, at_code);
	for (s = __start___rseq_cs; s < __stop___rseq_cs; s++, i++)
		put(s->start, start_code[i]);
}

/* nothing of libc is called while a breakpoint may lie there */
static void on_count(greg_t *regs)
{
	uintptr_t ip = (uintptr_t)regs[REG_RIP] - 1;

	if (ip != injection.at) {
		if (!is_abort(ip + 1)) {
			count_disarm();
			fail("the kernel did not abort the sequence: ip %#lx", ip + 1);
		}
		injection.aborts++;
		return;
	}
	regs[REG_RIP] = (greg_t)ip;
	if (++injection.arrivals < injection.times) {
		put(ip, at_code);
		is_stepping_over = true;
		regs[REG_EFL] |= TRAP_FLAG;
		return;
	}
	count_disarm();
	if (injection.more)
		regs[REG_EFL] |= TRAP_FLAG;
	else
		act(ip);
}

static bool count_stepped_over(greg_t *regs)
{
	if (!is_stepping_over)
		return false;
	is_stepping_over = false;
	injection.aborts += is_abort((uintptr_t)regs[REG_RIP]);
	regs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	put(injection.at, INT3);
	return true;
}

/* ---- the trap flag ---- */

static void on_step(greg_t *regs)
{
	uintptr_t ip = (uintptr_t)regs[REG_RIP];
	bool counts = injection.how == BY_COUNT;

	if (counts && count_stepped_over(regs))
		return;
	if (!is_counted(ip))
		return;
	injection.steps++;
	injection.aborts += is_abort(ip);
	if (injection.tracing && nr_trace < TRACE_MAX)
		trace[nr_trace++] = ip;
	if (injection.steps != (counts ? injection.more : injection.target))
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

static bool make_writable(uintptr_t from, uintptr_t last)
{
	from &= ~4095ul;
	return !mprotect((void *)from, (last | 4095) + 1 - from,
			 PROT_READ | PROT_WRITE | PROT_EXEC);
}

bool trap_read_boundaries(const char *path)
{
	FILE *file = fopen(path, "r");

	while (file && nr_boundaries < MAX_BOUNDARIES &&
	       fscanf(file, "%lx %c", &boundary[nr_boundaries], &sort[nr_boundaries]) == 2)
		nr_boundaries++;
	if (!file || fclose(file) || !nr_boundaries || nr_boundaries == MAX_BOUNDARIES ||
	    __stop___rseq_cs - __start___rseq_cs > MAX_SEQUENCES)
		return false;
	return make_writable(boundary[0], boundary[nr_boundaries - 1]) &&
	       make_writable((uintptr_t)__start___rseq_abort, (uintptr_t)__stop___rseq_abort - 1);
}

bool trap_can_count(uintptr_t ip)
{
	static uintptr_t page;
	static bool can;

	if (is_of_library(ip))
		return true;
	if (page != (ip & ~4095ul)) {
		page = ip & ~4095ul;
		can = make_writable(ip, ip);
	}
	return can;
}

char trap_sort(uintptr_t ip)
{
	size_t i = boundary_index(ip);

	return boundary[i] == ip ? sort[i] : 'm';
}

uintptr_t trap_next(uintptr_t ip)
{
	size_t i = boundary_index(ip);

	return boundary[i] == ip && i + 1 < nr_boundaries ? boundary[i + 1] : 0;
}

/* ---- running ---- */

static void on_trap(int sig, siginfo_t *info, void *arg)
{
	greg_t *regs = ((ucontext_t *)arg)->uc_mcontext.gregs;

	(void)sig;
	if (info->si_code == TRAP_TRACE || info->si_code == TRAP_BRKPT)
		on_step(regs);
	else if (injection.how == BY_COUNT)
		on_count(regs);
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
	switch (injection.how) {
	case BY_TRAP_FLAG:
		trap_flag_on();
		injection.scenario->op(injection.scenario);
		trap_flag_off();
		break;
	case BY_COUNT:
		count_arm();
		injection.scenario->op(injection.scenario);
		trap_flag_off();
		count_disarm();
		break;
	case BY_BREAKPOINT:
		injection.scenario->op(injection.scenario);
	}
}

void trap_run(void)
{
	bool breakpoint = injection.how == BY_BREAKPOINT;

	injection.done = injection.abandoned = false;
	injection.steps = injection.aborts = injection.arrivals = 0;
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

/* SPDX-License-Identifier: MIT */
/*
 * Failures of which a report with a stack is expected; check_trace.sh reads it.
 * usage: trace handler|twice|first|thread|sandbox|altstack|altwrite|kernel|deep|child
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "labyrinth.h"

#pragma weak labyrinth_alloc_page
#pragma weak labyrinth_alloc_pages
#pragma weak labyrinth_event_count
#pragma weak labyrinth_flush_reports

/* no tail call may hide a frame */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")
#define FRAME	     __attribute__((noinline, noclone))

static volatile sig_atomic_t ready, done;
static long faults;

static long faults_so_far(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

FRAME static void exhaust_reserve(void)
{
	while (labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC))
		;
	KEEP_FRAME();
}

FRAME static void fail_in_handler(int signo)
{
	(void)signo;
	exhaust_reserve();
	done = 1;
	KEEP_FRAME();
}

FRAME static void interrupted_work(void)
{
	raise(SIGUSR1);
	KEEP_FRAME();
}

static void handle(int flags)
{
	struct sigaction action = { .sa_handler = fail_in_handler, .sa_flags = flags };

	sigaction(SIGUSR1, &action, NULL);
}

/* several frames that are larger than what is kept: it ends early, and safely */
FRAME static int deep(int n)
{
	char room[4096];
	int got;

	memset(room, n, sizeof(room));
	KEEP_FRAME();
	if (n)
		got = deep(n - 1);
	else
		interrupted_work(), got = 0;
	return got + room[n];
}

/* two pages below the end of its stack, so that the end of a page is not enough */
FRAME static void *in_thread(void *unused)
{
	(void)deep(2);
	KEEP_FRAME();
	return unused;
}

/* interrupted at its first instruction: no return address, which would be one too far */
void first_instruction(void);
__asm__(".text\n"
	".type first_instruction, @function\n"
	"first_instruction:\n\t"
	".cfi_startproc\n\t"
	"ud2\n\t"
	"ret\n\t"
	".cfi_endproc\n"
	".size first_instruction, . - first_instruction\n");

FRAME static void fail_and_skip(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	exhaust_reserve();
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
	KEEP_FRAME();
}

static void trap_first(void)
{
	struct sigaction action = { .sa_sigaction = fail_and_skip, .sa_flags = SA_SIGINFO };

	sigaction(SIGILL, &action, NULL);
	first_instruction();
	KEEP_FRAME();
}

static void *sandboxed(void *unused)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		abort();
	ready = 1;
	for (;;)
		KEEP_FRAME();
	return unused;
}

static void run_thread(void *(*run)(void *), int signal_it)
{
	pthread_t thread;

	pthread_create(&thread, NULL, run, NULL);
	if (!signal_it) {
		pthread_join(thread, NULL);
		return;
	}
	while (!ready)
		sched_yield();
	pthread_kill(thread, SIGUSR1);
	while (!done)
		sched_yield();
}

/* 16 KiB with an inaccessible page on both sides */
static void use_altstack(void)
{
	char *mem = mmap(NULL, 6 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_sp = mem + 4096, .ss_size = 4 * 4096 };

	if (mem == MAP_FAILED || mprotect(stack.ss_sp, stack.ss_size, PROT_READ | PROT_WRITE) ||
	    sigaltstack(&stack, NULL))
		abort();
	memset(stack.ss_sp, 0x5a, stack.ss_size);
}

/* a report that is written on the alternate stack, at once */
FRAME static void write_in_handler(int signo)
{
	(void)signo;
	while (labyrinth_alloc_page(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE))
		;
	KEEP_FRAME();
}

static void alt_write(void)
{
	struct sigaction action = { .sa_handler = write_in_handler, .sa_flags = SA_ONSTACK };
	stack_t stack;
	size_t i;

	use_altstack();
	sigaction(SIGUSR1, &action, NULL);
	interrupted_work();
	sigaltstack(NULL, &stack);
	for (i = 0; ((char *)stack.ss_sp)[i] == 0x5a; i++)
		;
	printf("stack used: %zu of %zu\n", stack.ss_size - i, stack.ss_size);
}

static int child(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		interrupted_work();
		labyrinth_flush_reports();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int ret = 0;

	if (!labyrinth_alloc_page)
		return 3;
	setvbuf(stdout, NULL, _IONBF, 0);
	handle(strcmp(what, "altstack") ? 0 : SA_ONSTACK);
	if (!strcmp(what, "handler")) {
		long before = faults_so_far();

		interrupted_work();
		faults = faults_so_far() - before;
		printf("faults: %ld\n", faults);
	} else if (!strcmp(what, "twice")) {
		interrupted_work();
		interrupted_work();
		labyrinth_flush_reports();
		printf("vdso %s, suppressed %d\n", getauxval(AT_SYSINFO_EHDR) ? "yes" : "no",
		       (int)labyrinth_event_count(LABYRINTH_EV_WARN_SUPPRESSED));
	} else if (!strcmp(what, "thread")) {
		run_thread(in_thread, 0);
	} else if (!strcmp(what, "sandbox")) {
		run_thread(sandboxed, 1);
	} else if (!strcmp(what, "altstack")) {
		use_altstack();
		interrupted_work();
	} else if (!strcmp(what, "altwrite")) {
		alt_write();
	} else if (!strcmp(what, "first")) {
		trap_first();
	} else if (!strcmp(what, "kernel")) {
		write_in_handler(0);
	} else if (!strcmp(what, "deep")) {
		deep(12);
	} else if (!strcmp(what, "child")) {
		ret = child();
	} else {
		return 2;
	}
	labyrinth_flush_reports();
	printf("ok %s\n", what);
	return ret;
}

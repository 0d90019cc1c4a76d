// SPDX-License-Identifier: MIT
/*
 * malloc in a sandbox: after the start no system call is let through but mmap,
 * munmap, mremap, mprotect, madvise, futex, brk, read, write, exit, exit_group,
 * rt_sigreturn and clock_gettime, and memory may not become executable.
 *
 * usage: sandboxed [plain|openssh [quiet]]
 * openssh: flags of mmap() and kinds of madvise() that OpenSSH 9.3 and later
 * refuse fail with EINVAL as well.
 *
 * One thread besides the main one allocates, and a timer set before makes handlers
 * allocate, unless quiet; then a burst of memory is freed.  A forbidden call is named
 * on stderr; exit code 6.
 */
#define _GNU_SOURCE
#include "pattern.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define EXIT_FORBIDDEN 6
#define NR_SLOTS       128u
#define STEPS	       30000u
#define MAX_SIZE       (300u << 10)

#define ALLOWED_MAP    (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)

/* The accumulator holds the call's number up to where a call's own part begins. */
#define LOAD(field)		 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)offsetof(struct seccomp_data, field))
#define RETURN(value)		 BPF_STMT(BPF_RET | BPF_K, (value))
#define SKIP_UNLESS(value, n)	 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)(value), 0, (n))
#define SKIP_UNLESS_ANY(bits, n) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (__u32)(bits), 0, (n))
#define ALLOW(value)		 SKIP_UNLESS(value, 1), RETURN(SECCOMP_RET_ALLOW)
#define REFUSE			 (SECCOMP_RET_ERRNO | EINVAL)
#define NO_EXEC			 LOAD(args[2]), SKIP_UNLESS_ANY(PROT_EXEC, 1), RETURN(SECCOMP_RET_TRAP)
#define COMMON                                                                                     \
	LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),                  \
		RETURN(SECCOMP_RET_KILL_PROCESS), LOAD(nr), ALLOW(SYS_munmap), ALLOW(SYS_mremap),  \
		ALLOW(SYS_futex), ALLOW(SYS_brk), ALLOW(SYS_read), ALLOW(SYS_write),               \
		ALLOW(SYS_exit), ALLOW(SYS_exit_group), ALLOW(SYS_rt_sigreturn),                   \
		ALLOW(SYS_clock_gettime), SKIP_UNLESS(SYS_mprotect, 4), NO_EXEC,                   \
		RETURN(SECCOMP_RET_ALLOW)

/* clang-format off */
static struct sock_filter plain_filter[] = {
	COMMON,
	ALLOW(SYS_madvise),
	SKIP_UNLESS(SYS_mmap, 4), NO_EXEC, RETURN(SECCOMP_RET_ALLOW),
	RETURN(SECCOMP_RET_TRAP),
};

static struct sock_filter openssh_filter[] = {
	COMMON,
	SKIP_UNLESS(SYS_madvise, 12), LOAD(args[2]),
		ALLOW(MADV_NORMAL), ALLOW(MADV_FREE), ALLOW(MADV_DONTNEED),
		ALLOW(MADV_DONTFORK), ALLOW(MADV_WIPEONFORK), RETURN(REFUSE),
	SKIP_UNLESS(SYS_mmap, 7), NO_EXEC, LOAD(args[3]),
		SKIP_UNLESS_ANY(~ALLOWED_MAP, 1), RETURN(REFUSE), RETURN(SECCOMP_RET_ALLOW),
	RETURN(SECCOMP_RET_TRAP),
};
/* clang-format on */

static _Atomic handle_t slots[NR_SLOTS];
static _Atomic unsigned int ready, go, done;
static _Atomic unsigned long handlers;

static void step(uint64_t *rng, size_t max)
{
	uint64_t dice = rng_next(rng), seed;
	size_t size = 1 + rng_size(rng, max), old;
	handle_t out = atomic_exchange(&slots[dice % NR_SLOTS], 0);
	void *block;

	if (out && dice >> 32 & 1) {
		old = block_size(out, &seed);
		block_verify(out);
		block = realloc(handle_block(out), size);
		if (block)
			block_check(block, old, seed, old < size ? old : size);
		out = 0;
	} else {
		block = dice >> 33 & 1 ? malloc(size) : calloc(1, size);
	}
	if (!block)
		die(EXIT_NO_MEMORY, "NULL", block, size, 0);
	if (out) {
		block_verify(out);
		free(handle_block(out));
	}
	out = block_fill(block, size, dice >> 1);
	out = atomic_exchange(&slots[(dice >> 34) % NR_SLOTS], out);
	if (out) {
		block_verify(out);
		free(handle_block(out));
	}
}

static void on_alarm(int sig)
{
	uint64_t rng = atomic_fetch_add(&handlers, 1) << 20;
	int saved = errno;

	(void)sig;
	step(&rng, 16384);
	errno = saved;
}

static void on_forbidden(int sig, siginfo_t *info, void *context)
{
	char line[80];
	size_t len = 0;

	(void)sig;
	(void)context;
	put_text(line, &len, sizeof(line), "sandboxed: forbidden system call ");
	put_hex(line, &len, sizeof(line), (uint64_t)info->si_syscall);
	put_text(line, &len, sizeof(line), "\n");
	if (write(2, line, len) < 0)
		_exit(EXIT_USAGE);
	_exit(EXIT_FORBIDDEN);
}

/* Ends by the system call: the end of a thread in libc makes others. */
static void *other_main(void *arg)
{
	uint64_t rng = 77;

	(void)arg;
	atomic_store(&ready, 1);
	while (!atomic_load(&go))
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	for (unsigned int i = 0; i < STEPS; i++)
		step(&rng, MAX_SIZE);
	atomic_store(&done, 1);
	syscall(SYS_futex, &done, FUTEX_WAKE, 1, NULL, NULL, 0);
	syscall(SYS_exit, 0);
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* After a burst, frees also give memory back and empty stacks, for a second and more. */
static void burst(void)
{
	enum { BLOCKS = 30000, WORK = 200 };
	static void *block[BLOCKS];
	double until;

	for (unsigned int i = 0; i < BLOCKS; i++)
		if ((block[i] = malloc(1000)))
			memset(block[i], 1, 1000);
	for (unsigned int i = 0; i < BLOCKS; i++)
		free(block[i]);
	for (until = now() + 1.5; now() < until;) {
		for (unsigned int i = 0; i < WORK; i++)
			block[i] = malloc(100 + 10 * (size_t)i);
		for (unsigned int i = 0; i < WORK; i++)
			free(block[i]);
	}
}

static int enter_sandbox(int strict)
{
	struct sigaction forbidden = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO };
	struct sock_fprog program = { .len = sizeof(plain_filter) / sizeof(*plain_filter),
				      .filter = plain_filter };

	if (strict) {
		program.len = sizeof(openssh_filter) / sizeof(*openssh_filter);
		program.filter = openssh_filter;
	}
	sigaction(SIGSYS, &forbidden, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
			    &program);
}

int main(int argc, char **argv)
{
	struct sigaction alarm_action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 300 }, { 0, 300 } };
	static const char ok[] = "sandboxed: ok\n";
	int quiet = argc > 2 && !strcmp(argv[2], "quiet");
	pthread_t other;
	uint64_t rng = 3;

	sigaction(SIGALRM, &alarm_action, NULL);
	if (pthread_create(&other, NULL, other_main, NULL)) {
		perror("pthread_create");
		return EXIT_USAGE;
	}
	/* Starting, a thread makes system calls of its own. */
	while (!atomic_load(&ready))
		usleep(100);
	if (!quiet)
		setitimer(ITIMER_REAL, &timer, NULL);
	if (enter_sandbox(argc > 1 && !strcmp(argv[1], "openssh"))) {
		perror("seccomp");
		return EXIT_USAGE;
	}
	atomic_store(&go, 1);
	syscall(SYS_futex, &go, FUTEX_WAKE, 1, NULL, NULL, 0);
	for (unsigned int i = 0; i < STEPS; i++)
		step(&rng, MAX_SIZE);
	while (!atomic_load(&done))
		syscall(SYS_futex, &done, FUTEX_WAIT, 0, NULL, NULL, 0);
	burst();
	if (!quiet && !atomic_load(&handlers))
		die(EXIT_USAGE, "no handler ran", NULL, 0, 0);
	if (write(1, ok, sizeof(ok) - 1) < 0)
		return EXIT_USAGE;
	_exit(EXIT_OK);
}

/* SPDX-License-Identifier: MIT */
/*
 * sigaction(), signal() and their kin are to be those of libc, wrapped or not:
 * what a program installs is what it reads back, and what its handlers see.
 *
 * usage: handlers [--direct] [CASE...]
 *        HANDLERS_WRAPPED in the environment: they are, by atomic_handlers:1
 */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <ucontext.h>

extern int labyrinth_in_atomic(void) __attribute__((weak));
extern unsigned int labyrinth_unwrapped_handlers(void) __attribute__((weak));
extern __sighandler_t __sysv_signal(int sig, __sighandler_t handler);
extern __sighandler_t bsd_signal(int sig, __sighandler_t handler);
extern __sighandler_t sysv_signal(int sig, __sighandler_t handler);
extern int __sigaction(int sig, const struct sigaction *action, struct sigaction *old);
/* by a library whose constructor runs before that of what is preloaded */
extern void early_handler(int sig);
extern volatile int early_runs, early_inside;

static bool wrapped;
static volatile sig_atomic_t runs, was_inside;

static void note(void)
{
	runs++;
	was_inside = labyrinth_in_atomic && labyrinth_in_atomic();
}

static void a(int sig)
{
	(void)sig;
	note();
}

static void b(int sig)
{
	(void)sig;
	note();
	note();
}

static void expect_run(int sig, int more)
{
	sig_atomic_t before = runs;

	raise(sig);
	EXPECT(runs == before + more, "signal %d: %d runs, not %d", sig, (int)(runs - before),
	       more);
	if (more)
		EXPECT(was_inside == wrapped, "signal %d: section %d", sig, (int)was_inside);
}

/* the kernel's view of a signal's handler */
static uintptr_t kernels(int sig)
{
	struct {
		uintptr_t handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} now;

	EXPECT(syscall(SYS_rt_sigaction, sig, NULL, &now, 8) == 0, "rt_sigaction");
	return now.handler;
}

static void round_trip(void)
{
	struct sigaction action = { .sa_handler = a }, old, both, *volatile same = &both;
	static const int flags[] = { 0, SA_RESTART, SA_SIGINFO | SA_NODEFER,
				     SA_ONSTACK | SA_RESETHAND };

	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		if (sig == SIGKILL || sig == SIGSTOP || (sig > 31 && sig < SIGRTMIN))
			continue;
		for (int i = 0; i < 4; i++) {
			action.sa_handler = i % 2 ? a : b;
			action.sa_flags = flags[i];
			sigemptyset(&action.sa_mask);
			sigaddset(&action.sa_mask, 1 + sig % 7);
			EXPECT(sigaction(sig, &action, NULL) == 0, "set %d", sig);
			memset(&old, 0xff, sizeof(old));
			EXPECT(sigaction(sig, NULL, &old) == 0, "get %d", sig);
			EXPECT(old.sa_handler == action.sa_handler, "%d: another handler", sig);
			EXPECT((old.sa_flags & ~0x04000000) == flags[i], "%d: flags %#x, not %#x",
			       sig, (unsigned int)old.sa_flags, (unsigned int)flags[i]);
			EXPECT(sigismember(&old.sa_mask, 1 + sig % 7) == 1, "%d: mask", sig);
			EXPECT((kernels(sig) != (uintptr_t)action.sa_handler) == wrapped,
			       "%d: the kernel has %#lx", sig, kernels(sig));
		}
		/* what the kernel has, put back by who reads it there */
		action.sa_handler = (void (*)(int))kernels(sig);
		EXPECT(sigaction(sig, &action, NULL) == 0, "set %d again", sig);
		EXPECT(kernels(sig) == (uintptr_t)action.sa_handler, "%d: wrapped twice", sig);
		both = (struct sigaction){ .sa_handler = SIG_IGN };
		EXPECT(sigaction(sig, &both, same) == 0 && both.sa_handler == a, "%d: in one", sig);
		EXPECT(kernels(sig) == (uintptr_t)SIG_IGN, "%d: not ignored", sig);
		both.sa_handler = SIG_DFL;
		EXPECT(__sigaction(sig, &both, same) == 0 && both.sa_handler == SIG_IGN, "%d", sig);
		EXPECT(kernels(sig) == (uintptr_t)SIG_DFL, "%d: not the default", sig);
	}
	errno = 0;
	EXPECT(sigaction(SIGKILL, &action, &old) == -1 && errno == EINVAL, "SIGKILL");
	errno = 0;
	EXPECT(sigaction(1000, &action, NULL) == -1 && errno == EINVAL, "signal 1000");
}

#define OLD_STYLE(name)                                                                            \
	do {                                                                                       \
		EXPECT(name(SIGUSR1, SIG_IGN) == SIG_DFL, #name ": not the default at first");     \
		EXPECT(name(SIGUSR1, a) == SIG_IGN, #name ": not ignored");                        \
		EXPECT(name(SIGUSR1, b) == a, #name ": not a");                                    \
		expect_run(SIGUSR1, 2);                                                            \
		EXPECT(name(SIGUSR1, SIG_DFL) == (resets ? SIG_DFL : b), #name ": not b");         \
		errno = 0;                                                                         \
		EXPECT(name(SIGKILL, a) == SIG_ERR && errno == EINVAL, #name ": SIGKILL");         \
	} while (0)

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void old_styles(void)
{
	bool resets = false;
	struct sigaction now;

	OLD_STYLE(signal);
	OLD_STYLE(bsd_signal);
	OLD_STYLE(ssignal);
	OLD_STYLE(sigset);
	resets = true;
	OLD_STYLE(sysv_signal);
	OLD_STYLE(__sysv_signal);
	/* flags of signal() follow siginterrupt(), which changes what is installed, too */
	signal(SIGUSR1, a);
	EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_flags & SA_RESTART, "SA_RESTART");
	siginterrupt(SIGUSR1, 1);
	EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && !(now.sa_flags & SA_RESTART),
	       "no SA_RESTART");
	EXPECT(now.sa_handler == a, "siginterrupt changed the handler");
	expect_run(SIGUSR1, 1);
	signal(SIGUSR1, b);
	EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && !(now.sa_flags & SA_RESTART), "still none");
	/* SIG_HOLD */
	sigset(SIGUSR2, a);
	EXPECT(sigset(SIGUSR2, SIG_HOLD) == a, "sigset: hold");
	expect_run(SIGUSR2, 0);
	EXPECT(sigset(SIGUSR2, b) == SIG_HOLD, "sigset: was held");
	expect_run(SIGUSR2, 2);
}

static struct {
	int sig, signo, value;
	bool masked, self_masked;
	void *context;
} seen;

static void on_info(int sig, siginfo_t *info, void *context)
{
	sigset_t mask;

	note();
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	seen.sig = sig;
	seen.signo = info->si_signo;
	seen.value = info->si_value.sival_int;
	seen.masked = sigismember(&mask, SIGHUP);
	seen.self_masked = sigismember(&mask, sig);
	seen.context = context;
}

static void what_handlers_see(void)
{
	struct sigaction action = { .sa_sigaction = on_info, .sa_flags = SA_SIGINFO }, now;
	union sigval value = { .sival_int = 4711 };
	sigset_t mask;

	sigaddset(&action.sa_mask, SIGHUP);
	sigaction(SIGUSR1, &action, NULL);
	EXPECT(sigqueue(getpid(), SIGUSR1, value) == 0, "sigqueue");
	EXPECT(seen.sig == SIGUSR1 && seen.signo == SIGUSR1 && seen.value == 4711, "arguments");
	EXPECT(seen.masked && seen.self_masked && seen.context, "mask, context");
	EXPECT(was_inside == wrapped, "section");
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	EXPECT(!sigismember(&mask, SIGHUP), "the mask after the handler");
	action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESETHAND;
	sigaction(SIGUSR1, &action, NULL);
	sigqueue(getpid(), SIGUSR1, value);
	EXPECT(!seen.self_masked, "SA_NODEFER");
	sigaction(SIGUSR1, NULL, &now);
	EXPECT(now.sa_handler == SIG_DFL && kernels(SIGUSR1) == 0, "SA_RESETHAND");
}

/* ---- faults ---- */

static sigjmp_buf env;
static char *guarded;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	note();
	if (sig == SIGSEGV && info->si_addr == guarded)
		mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
	else
		siglongjmp(env, 1);
}

static void on_illegal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	note();
	uc->uc_mcontext.gregs[REG_RIP] += 2;
	uc->uc_mcontext.gregs[REG_RAX] = 42;
}

static void faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	volatile char *volatile nowhere = (char *)8;
	long rax = 0;

	guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGSEGV, &action, NULL);
	*(volatile char *)guarded = 5;
	EXPECT(*guarded == 5 && runs == 1, "a fault that is mended");
	if (!sigsetjmp(env, 1))
		*nowhere = 1;
	EXPECT(runs == 2 && was_inside == wrapped, "a fault that is left");
	EXPECT(!labyrinth_in_atomic || !labyrinth_in_atomic(), "a section after a jump");
	action.sa_sigaction = on_illegal;
	sigaction(SIGILL, &action, NULL);
	__asm__ volatile("ud2" : "+a"(rax));
	EXPECT(rax == 42 && runs == 3, "a handler that changes registers");
}

/* ---- many ---- */

enum { HANDLERS = 600, STUBS = 512, BYTES = 16 };

static void many(void)
{
	static const unsigned char code[] = { 0x49, 0xbb }, jump[] = { 0x41, 0xff, 0xe3 };
	unsigned char *at = mmap(NULL, HANDLERS * BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*target)(int) = a;
	struct sigaction action = { .sa_flags = 0 }, old;
	unsigned int before = labyrinth_unwrapped_handlers ? labyrinth_unwrapped_handlers() : 0;
	unsigned int inside = 0;

	for (int i = 0; i < HANDLERS; i++) {
		memcpy(at + i * BYTES, code, 2);
		memcpy(at + i * BYTES + 2, &target, 8);
		memcpy(at + i * BYTES + 10, jump, 3);
	}
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < HANDLERS; i++) {
			sig_atomic_t had = runs;

			action.sa_handler = (void (*)(int))(void *)(at + i * BYTES);
			sigaction(SIGUSR1, &action, NULL);
			raise(SIGUSR1);
			EXPECT(runs == had + 1, "handler %d does not run", i);
			inside += (unsigned int)was_inside;
			sigaction(SIGUSR1, NULL, &old);
			EXPECT(old.sa_handler == action.sa_handler, "handler %d is another", i);
		}
	}
	if (!wrapped)
		return;
	/* a few are the program's own */
	EXPECT(inside > 2 * (STUBS - 20) && inside <= 2 * STUBS, "%u in sections", inside);
	EXPECT(labyrinth_unwrapped_handlers() - before == 2 * HANDLERS - inside, "%u not counted",
	       labyrinth_unwrapped_handlers() - before);
}

/* ---- the rest ---- */

static void early(void)
{
	struct sigaction old;

	EXPECT(sigaction(SIGUSR2, NULL, &old) == 0 && old.sa_handler == early_handler,
	       "not installed");
	raise(SIGUSR2);
	EXPECT(early_runs == 1 && early_inside == wrapped, "%d runs, section %d", early_runs,
	       early_inside);
}

static void waiting(void)
{
	struct signalfd_siginfo info;
	sigset_t set;
	int fd, sig = 0;

	signal(SIGUSR1, a);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	EXPECT(sigwait(&set, &sig) == 0 && sig == SIGUSR1, "sigwait");
	fd = signalfd(-1, &set, 0);
	raise(SIGUSR1);
	EXPECT(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1,
	       "signalfd");
	EXPECT(runs == 0, "the handler ran");
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	expect_run(SIGUSR1, 1);
}

static void *flip(void *arg)
{
	struct sigaction action = { .sa_handler = arg }, old;

	for (int i = 0; i < 100000; i++) {
		sigaction(SIGUSR1, &action, &old);
		if (!EXPECT(old.sa_handler == a || old.sa_handler == b, "neither a nor b"))
			break;
	}
	return NULL;
}

static void concurrent(void)
{
	pthread_t thread;

	signal(SIGUSR1, a);
	pthread_create(&thread, NULL, flip, (void *)a);
	flip((void *)b);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{ "early", early },	      { "round_trip", round_trip },
		{ "old_styles", old_styles }, { "what_handlers_see", what_handlers_see },
		{ "faults", faults },	      { "many", many },
		{ "waiting", waiting },	      { "concurrent", concurrent },
	};

	wrapped = getenv("HANDLERS_WRAPPED") != NULL;
	return check_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}

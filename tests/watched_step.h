/* SPDX-License-Identifier: MIT */
/* A handler in the first instruction at which somebody watches. */
#ifndef WATCHED_STEP_H
#define WATCHED_STEP_H

#include "harness.h"

#include <signal.h>
#include <ucontext.h>

#include "diag/watch.h"

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
enum { TRAP_FLAG = 0x100 };

static void (*watched_step_call)(void);

static void watched_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (!lab_is_watched())
		return;
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	watched_step_call();
	watched_step_call = NULL;
}

/* @run step by step, and in it @call: once, as soon as there are watchers */
static void at_watched_step(void (*run)(void), void (*call)(void))
{
	struct sigaction action = { .sa_sigaction = watched_step, .sa_flags = SA_SIGINFO };

	watched_step_call = call;
	must(sigaction(SIGTRAP, &action, NULL) == 0);
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
	run();
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(unsigned)TRAP_FLAG);
	must(!watched_step_call);
}
#else
static void at_watched_step(void (*run)(void), void (*call)(void))
{
	run();
	call();
}
#endif

#endif /* WATCHED_STEP_H */

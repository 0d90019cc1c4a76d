/* SPDX-License-Identifier: MIT */
/*
 * BUILD=coverage only: processes that end by _exit(), SIGABRT or SIGTERM, become another
 * program or enter a sandbox write their counters too.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

void __gcov_dump(void);

/* in a sandbox nothing can be written any more, and the attempt may be the end */
static volatile sig_atomic_t sealed;

static void dump(void)
{
	sigset_t blocked;

	/* a handler of SIGSYS ends the process: it may have interrupted the writing */
	if (!sealed && (sigprocmask(SIG_BLOCK, NULL, &blocked) || !sigismember(&blocked, SIGSYS)))
		__gcov_dump();
}

EXPORTED int prctl(int option, ...)
{
	unsigned long x[4];
	va_list args;
	int i;

	va_start(args, option);
	for (i = 0; i < 4; i++)
		x[i] = va_arg(args, unsigned long);
	va_end(args);
	/* the first comes before seccomp(2), too, but for who may do without */
	if ((option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP) && !sealed) {
		dump();
		sealed = 1;
	}
	return (int)syscall(SYS_prctl, option, x[0], x[1], x[2], x[3]);
}

EXPORTED _Noreturn void _exit(int status)
{
	dump();
	for (;;)
		syscall(SYS_exit_group, status);
}

EXPORTED int execve(const char *path, char *const argv[], char *const envp[])
{
	int before = errno;

	dump();
	errno = before;
	return (int)syscall(SYS_execve, path, argv, envp);
}

/* ends by the signal all the same; a copy of the library before us writes its own */
static struct sigaction before[2];

static void on_end(int signo)
{
	dump();
	sigaction(signo, &before[signo == SIGTERM], NULL);
	raise(signo);
}

static void catch (int signo)
{
	struct sigaction sa = { .sa_handler = on_end, .sa_flags = SA_NODEFER }, was;

	if (sigaction(signo, NULL, &was) || was.sa_handler == SIG_IGN || was.sa_handler == on_end)
		return;
	before[signo == SIGTERM] = was;
	sigaction(signo, &sa, NULL);
}

/* harness.h calls this as well, in children, whose signals it has reset */
void coverage_catch(void);

__attribute__((constructor)) void coverage_catch(void)
{
	catch (SIGABRT);
	catch (SIGTERM);
}

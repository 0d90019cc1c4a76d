// SPDX-License-Identifier: MIT
/*
 * main() of a glibc test, included at the end of the test.
 *
 * The test runs in a child with a process group of its own, so that whatever
 * it leaves behind (mallocfork2 leaves its signal senders when it crashes) is
 * killed with the group.  SHIM_DIRECT=1 runs it in the first process, for gdb.
 *
 * The test may define TEST_FUNCTION, TIMEOUT, EXPECTED_SIGNAL, EXPECTED_STATUS.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <support/check.h>
#include <support/test-driver.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TEST_FUNCTION
#define TEST_FUNCTION do_test
#endif
#ifndef TIMEOUT
#define TIMEOUT DEFAULT_TIMEOUT
#endif
#ifndef EXPECTED_SIGNAL
#define EXPECTED_SIGNAL 0
#endif
#ifndef EXPECTED_STATUS
#define EXPECTED_STATUS 0
#endif

int *shim_failures;

static pid_t shim_child;

/* Only calls that signal-safety(7) lists: the allocator may be stuck. */
static void shim_timed_out(int signo)
{
	static const char text[] = "timed out\n";
	ssize_t done;

	(void)signo;
	kill(-shim_child, SIGKILL);
	done = write(STDOUT_FILENO, text, sizeof(text) - 1);
	(void)done;
	_exit(124);
}

static int shim_run(void)
{
	int status = TEST_FUNCTION();

	return status ? status : *shim_failures != 0;
}

static int shim_judge(int status)
{
	if (WIFSIGNALED(status)) {
		if (WTERMSIG(status) == EXPECTED_SIGNAL)
			return 0;
		printf("killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
		return 1;
	}
	if (WEXITSTATUS(status) == EXIT_UNSUPPORTED)
		return EXIT_UNSUPPORTED;
	if (EXPECTED_SIGNAL) {
		printf("exit status %d, expected signal %d\n", WEXITSTATUS(status),
		       EXPECTED_SIGNAL);
		return 1;
	}
	if (WEXITSTATUS(status) != EXPECTED_STATUS) {
		printf("exit status %d\n", WEXITSTATUS(status));
		return 1;
	}
	if (*shim_failures) {
		printf("%d failed checks\n", *shim_failures);
		return 1;
	}
	return 0;
}

int main(void)
{
	const struct rlimit no_core = { 0, 0 };
	const char *slow = getenv("SUITE_SLOW"); /* check_glibc.sh --slow */
	int status;

	shim_failures = mmap(NULL, sizeof(*shim_failures), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shim_failures == MAP_FAILED)
		return 1;
	setvbuf(stdout, NULL, _IONBF, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	if (getenv("SHIM_DIRECT"))
		return shim_run();

	shim_child = fork();
	if (shim_child < 0)
		return 1;
	if (shim_child == 0) {
		setpgid(0, 0);
		exit(shim_run());
	}
	setpgid(shim_child, shim_child);
	signal(SIGALRM, shim_timed_out);
	alarm(TIMEOUT * (slow ? (unsigned int)atoi(slow) : 1));
	while (waitpid(shim_child, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	alarm(0);
	kill(-shim_child, SIGKILL);
	return shim_judge(status);
}

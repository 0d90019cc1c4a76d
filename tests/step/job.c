/* SPDX-License-Identifier: MIT */
/* One job: a pair of operations, traced, and then interrupted at every point. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "step.h"

/* of an operation that goes another way each time */
enum { TRACES_MAX = 16 };

struct which which;

static void run_any(const struct mode *mode)
{
	if (mode->first)
		run_first_case();
	else if (mode->act == ACT_FREEZE)
		run_frozen_case();
	else
		(void)run_case();
	context->injections += injection.done;
	context->aborts += injection.aborts;
}

int in_child(void (*run)(const struct mode *), const struct mode *mode)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (!mode->first)
			enter_child();
		run(mode);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("fork: %d", errno);
	return status;
}

/* the instructions that the operation takes, written where the parent reads */
static uint64_t (*shared_trace)[TRACE_MAX];
static size_t *shared_nr;

void job_init(void)
{
	shared_trace = shared(sizeof(*shared_trace));
	shared_nr = shared(sizeof(*shared_nr));
}

static void trace_case(const struct mode *mode)
{
	injection.tracing = true;
	injection.target = 0;
	if (mode->first)
		run_first_case();
	else
		(void)run_case();
	injection.tracing = false;
	memcpy(*shared_trace, trace, nr_trace * sizeof(*trace));
	*shared_nr = nr_trace;
}

bool say_status(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		printf("FAILED  %s, at %lld (ip %#llx): %s (signal %d)\n", context->name,
		       (long long)context->target, (unsigned long long)context->ip,
		       WTERMSIG(status) == SIGALRM ? "hang" : "crash", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 1)
		printf("FAILED  %s: exit code %d\n", context->name, WEXITSTATUS(status));
	/* the caller may be a child that ends by _exit() */
	fflush(stdout);
	return false;
}

static void trace_by(enum how how, const struct mode *mode, bool child)
{
	injection.how = how;
	/* what a process can do once only is traced in a child */
	if (child) {
		if (!say_status(in_child(trace_case, mode)))
			_exit(2);
		nr_trace = *shared_nr;
		memcpy(trace, *shared_trace, nr_trace * sizeof(*trace));
	} else {
		trace_case(mode);
	}
	if (nr_trace == TRACE_MAX)
		fail("the trace is full");
}

static void inject(const struct mode *mode, bool child)
{
	if (!child)
		run_any(mode);
	else if (!say_status(in_child(run_any, mode)))
		_exit(2);
}

/* at one point; once more if the operation did not come there */
static void inject_at(size_t i, const struct mode *mode, bool child)
{
	uint64_t before = context->injections;
	int turn;

	for (turn = 0; turn < 2; turn++) {
		injection.how = mode->how;
		targets_aim(i);
		inject(mode, child);
		if (context->injections > before)
			return;
	}
	context->missed++;
}

/*
 * All points of a trace.  If some were not reached, the operation takes another way
 * than when it was traced: it is traced again, and what is new is taken as well.
 */
static void inject_all(const struct mode *mode, bool child)
{
	uint64_t missed = 0;
	size_t i, n, same;

	do {
		missed = context->missed;
		trace_by(mode->how, mode, child);
		if (!context->traces++)
			context->instructions = nr_trace;
		n = targets_choose(mode->how, which.every, &same);
		context->same += same;
		if (!which.all && n > which.most)
			n = which.most;
		for (i = 0; i < n; i++)
			inject_at(i, mode, child);
		which.most -= which.all ? 0 : n;
	} while (context->missed > missed && context->traces < TRACES_MAX &&
		 (which.all || which.most));
}

void run_job(const struct mode *mode)
{
	bool child =
		mode->act != ACT_NEST || mode->first || injection.scenario->flags & EACH_IN_A_CHILD;

	if (!mode->first && !(injection.scenario->flags & EACH_IN_A_CHILD))
		take_baseline();
	else if (!mode->first)
		injection.target = 0;
	targets_forget();
	if (mode->how == BY_BREAKPOINT && which.once) {
		trace_by(BY_TRAP_FLAG, mode, child);
		targets_note_stepped();
	}
	inject_all(mode, child);
}

/* SPDX-License-Identifier: MIT */
/* One injection, and what must hold after it. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "api/init.h"
#include "labyrinth.h"
#include "page/block.h"
#include "step.h"

/*
 * Pages that one abandoned call may lose: a batch of 64 pages, a slab or a
 * large run, a block in the hands of the purge.
 */
enum { LEAK_MAX = LAB_BLOCK_FRAMES, CASE_SECONDS = 60 };

static struct figures baseline;
static bool has_baseline;

static void check_result(const struct scenario *s)
{
	const char *bytes = outcome.result;
	size_t i;

	if (!outcome.allocates)
		return;
	if (!outcome.result && s->flags & MAY_BE_NULL)
		return;
	if (!outcome.result)
		fail("the operation returned NULL");
	for (i = 0; outcome.zero && i < outcome.size; i++)
		if (bytes[i])
			fail("byte %zu is not zero", i);
	if (outcome.kept && !pattern_holds(outcome.result, outcome.kept, outcome.seed))
		fail("realloc lost the contents");
	(void)own(outcome.result, outcome.size, outcome.how, false);
}

/* run the operation under the injection; errno and the mask are its own */
static void run_op(void)
{
	sigset_t before = { 0 }, after = { 0 };

	(void)sigprocmask(SIG_SETMASK, NULL, &before);
	errno = ERRNO_SENTRY;
	trap_run();
	if (!injection.abandoned && errno != ERRNO_SENTRY)
		fail("errno became %d", errno);
	(void)sigprocmask(SIG_SETMASK, NULL, &after);
	if (memcmp(&before, &after, sizeof(before)))
		fail("the signal mask changed");
}

static uint64_t count_leak(void)
{
	struct figures now = figures();
	uint64_t leak = 0;
	int zone;

	for (zone = 0; zone < 3; zone++) {
		if ((int64_t)now.used[zone] < 0)
			fail("zone %d has %lld more pages free than it manages", zone,
			     (long long)-now.used[zone]);
		if (now.used[zone] < baseline.used[zone] && !injection.abandoned)
			fail("zone %d: %lld pages too many are free", zone,
			     (long long)(baseline.used[zone] - now.used[zone]));
		if (now.used[zone] > baseline.used[zone])
			leak += now.used[zone] - baseline.used[zone];
	}
	return leak;
}

/* of a block that the call was about to return or to free */
static uint64_t pages_of(size_t bytes)
{
	uint64_t unit = bytes > 2 * MIB ? LAB_BLOCK_FRAMES : 1;

	return (bytes / 4096 + unit) / unit * unit;
}

static void check_leak(void)
{
	uint64_t leak, stuck = (stuck_bytes() + 4095) / 4096;

	if (!has_baseline)
		return;
	leak = count_leak();
	if (!injection.abandoned && leak)
		fail("%lld pages leaked", (long long)leak);
	if (leak > LEAK_MAX + stuck + pages_of(injection.scenario->size) + pages_of(outcome.size))
		fail("the abandoned call lost %lld pages", (long long)leak);
	if (leak > context->max_leak)
		context->max_leak = leak;
	if (stuck > context->max_stuck)
		context->max_stuck = stuck;
}

/* the exclusive zone is wiped by fork; bring it back, but for who tests that */
void enter_child(void)
{
	if (injection.scenario->flags & EACH_IN_A_CHILD)
		return;
	drop(take_pages(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE, 0));
	settle();
}

/* true if the operation was interrupted at the target */
bool run_case(void)
{
	const struct scenario *s = injection.scenario;

	alarm(CASE_SECONDS);
	context->target = injection.target;
	context->ip = 0;
	if (injection.nested)
		injection.nested->setup(s);
	s->setup(s);
	run_op();
	if (injection.abandoned) {
		unexhaust();
		verify_all();
		every_kind();
	} else {
		check_result(s);
		check_bulk();
		verify_all();
		check_hints();
	}
	pool_down();
	settle();
	audit(!injection.abandoned);
	check_leak();
	return injection.done;
}

/* in a child of a process that has not called the library yet */
void run_first_case(void)
{
	const struct scenario *s = injection.scenario;

	alarm(CASE_SECONDS);
	context->target = injection.target;
	outcome = (struct outcome){ .size = s->size, .how = BY_FREE, .allocates = true };
	if (s->size2 == LABYRINTH_GFP_KERNEL)
		outcome.how = 0;
	/* the constructor returns nothing */
	outcome.allocates = strcmp(s->name, "first constructor") != 0;
	run_op();
	if (!injection.abandoned)
		check_result(s);
	verify_all();
	lab_init();
	every_kind();
	settle();
	settle();
	audit(!injection.abandoned);
}

/* ---- the frozen thread ---- */

static _Atomic int finished, may_run;

/* without libc: a breakpoint of the victim's may lie there */
static void pause_a_little(void)
{
	static const struct timespec pause = { .tv_nsec = 20000 };
	long status = SYS_nanosleep;

	__asm__ volatile("syscall"
			 : "+a"(status)
			 : "D"(&pause), "S"(NULL)
			 : "rcx", "r11", "memory");
}

static void *victim(void *arg)
{
	(void)arg;
	trap_stack();
	while (!may_run)
		pause_a_little();
	trap_run();
	finished = 1;
	return NULL;
}

/* in a child of its own: what is frozen stays so */
void run_frozen_case(void)
{
	const struct scenario *s = injection.scenario;
	pthread_t thread;
	int turn;

	alarm(CASE_SECONDS);
	context->target = injection.target;
	frozen = finished = may_run = 0;
	s->setup(s);
	if (pthread_create(&thread, NULL, victim, NULL))
		fail("no thread");
	may_run = 1;
	while (!frozen && !finished)
		pause_a_little();
	if (finished)
		return;
	injection.abandoned = true;
	unexhaust();
	for (turn = 0; turn < 3; turn++)
		every_kind();
	settle();
	audit(false);
	check_leak();
}

void take_baseline(void)
{
	const struct scenario *s = injection.scenario;
	int turn;

	every_kind();
	/* at full speed: there is no breakpoint */
	injection.how = BY_BREAKPOINT;
	injection.target = 0;
	injection.tracing = false;
	for (turn = 0; turn < 2; turn++) {
		if (injection.nested)
			injection.nested->setup(s);
		s->setup(s);
		run_op();
		check_result(s);
		check_bulk();
		if (injection.nested)
			injection.nested->run(s);
		pool_down();
		settle();
	}
	audit(true);
	baseline = figures();
	has_baseline = true;
}

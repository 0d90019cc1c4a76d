/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of atomic sections, run with atomic_handlers:1.
 * Whether its handlers run in one it asks by labyrinth_in_atomic(), and by what
 * malloc() does: 64 MiB are to be had outside, and nowhere inside.
 *
 * usage: sections [--seed N] [--direct] [CASE...]
 *        SECTIONS_OFF in the environment: the option is off, and so are sections
 */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

#include "labyrinth.h"

#pragma weak labyrinth_in_atomic
#pragma weak labyrinth_gfp_save
#pragma weak labyrinth_gfp_restore
extern unsigned int labyrinth_unwrapped_handlers(void) __attribute__((weak));

#define NOINLINE __attribute__((noinline))

enum { TOO_MUCH = 64 * MIB, EXIT_BAD = 3 };

static bool off; /* the option, of the whole run */

/* ---- where are we ---- */

static bool outside(void)
{
	void *p = malloc(TOO_MUCH);

	free(p);
	return p && (!labyrinth_in_atomic || !labyrinth_in_atomic());
}

static bool inside(void)
{
	int saved = errno, err;
	void *p, *q;

	if (off)
		return outside();
	errno = 0;
	p = malloc(TOO_MUCH);
	err = errno;
	q = malloc(100);
	free(p);
	free(q);
	errno = saved;
	return !p && err == ENOMEM && q && labyrinth_in_atomic && labyrinth_in_atomic();
}

/* let the reserve fill up, from ordinary slow paths */
static void warm_up(void)
{
	static void *pages[8192];

	for (size_t i = 0; i < 8192; i++)
		pages[i] = malloc(4096);
	for (size_t i = 0; i < 8192; i++)
		free(pages[i]);
}

/* From here on there is rt_sigreturn, write and the end. */
static void forbid_system_calls(void)
{
#define LET(nr)                                                                                    \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1),                                           \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		LET(SYS_rt_sigreturn),
		LET(SYS_exit_group),
		LET(SYS_write),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(*filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		check_give_up("no seccomp");
}

/* ---- handlers ---- */

static void (*body)(void);
static volatile sig_atomic_t runs;

static void run_body(int sig)
{
	(void)sig;
	runs++;
	body();
}

static void install(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	EXPECT(sigaction(sig, &action, NULL) == 0, "sigaction: %s", strerror(errno));
}

/* run @what in a handler, without a system call */
static NOINLINE void in_handler(void (*what)(void))
{
	sig_atomic_t before = runs;

	body = what;
	__asm__ volatile("int3" ::: "memory");
	EXPECT(runs == before + 1, "the handler did not run");
}

static void expect_inside(void)
{
	EXPECT(inside(), "the handler is not in a section");
}

static void plain(void)
{
	install(SIGTRAP, run_body, 0);
	EXPECT(outside(), "a section at the start");
	in_handler(expect_inside);
	EXPECT(outside(), "a section after the handler");
	in_handler(expect_inside);
	EXPECT(outside(), "a section after the second");
}

/* ---- the family, without system calls ---- */

enum { MANY = 2000 };
static void *from_main[MANY], *huge_from_main[4], *left_by_handler[64];

static void use(void *p, size_t size, size_t align, const char *what)
{
	if (!EXPECT(p || size > 32 * KIB, "%s(%zu): NULL", what, size) || !p)
		return;
	EXPECT(is_aligned(p, align), "%s(%zu): %p", what, size, p);
	EXPECT(malloc_usable_size(p) >= size, "%s(%zu): %zu usable", what, size,
	       malloc_usable_size(p));
	pattern_fill(p, size, size);
	EXPECT(pattern_wrong(p, size, size) < 0, "%s(%zu): contents", what, size);
	free(p);
}

static void allocate(size_t size)
{
	void *p;

	use(malloc(size), size, 16, "malloc");
	p = calloc(1, size);
	EXPECT(!p || zero_wrong(p, size) < 0, "calloc(%zu): not zero", size);
	use(p, size, 16, "calloc");
	use(realloc(NULL, size), size, 16, "realloc");
	use(aligned_alloc(64, size), size, 64, "aligned_alloc");
	if (posix_memalign(&p, 4096, size))
		p = NULL;
	use(p, size, 4096, "posix_memalign");
	p = size ? malloc(size / 2 + 1) : NULL;
	if (p) {
		void *q;

		pattern_fill(p, size / 2 + 1, 5);
		q = realloc(p, size);
		if (EXPECT(q || size > 32 * KIB, "realloc to %zu: NULL", size) && q) {
			EXPECT(size < 2 ||
				       pattern_wrong(q, size < size / 2 + 1 ? size : size / 2 + 1,
						     5) < 0,
			       "realloc to %zu: contents", size);
			p = q;
		}
		free(p);
	}
}

static void family_inside(void)
{
	static const size_t sizes[] = { 0,     1,     16,    24,    100,   128,	 129,
					500,   1024,  3000,  3841,  4096,  4097, 8000,
					16384, 20000, 32768, 32769, 100000 };
	void *p;

	expect_inside();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		allocate(sizes[i]);
	for (size_t i = 0; i < 64; i++)
		left_by_handler[i] = malloc(i * 16);
	p = from_main[0];
	from_main[0] = realloc(p, 9000);
	EXPECT(from_main[0] && pattern_wrong(from_main[0], 4096, 1) < 0, "realloc of main's block");
	EXPECT(realloc(huge_from_main[0], 3 * MIB) == huge_from_main[0],
	       "a huge block shrinks in place");
	EXPECT(!realloc(huge_from_main[1], 900 * MIB), "a huge block cannot grow");
	/* more idle memory than any free would leave alone */
	for (size_t i = 0; i < MANY; i++)
		free(from_main[i]);
	for (size_t i = 0; i < 4; i++)
		free(huge_from_main[i]);
	(void)malloc_trim(0);
}

static void family_prepare(void)
{
	for (size_t i = 0; i < MANY; i++)
		from_main[i] = malloc(i % 2 ? 4096 : 50000);
	for (size_t i = 0; i < 4; i++) {
		huge_from_main[i] = malloc(30 * MIB);
		memset(huge_from_main[i], 1, 30 * MIB);
	}
	pattern_fill(from_main[0], 4096, 1);
	usleep(50000);
}

static void family_handler(void)
{
	if (off)
		return check_skip("no sections");
	install(SIGTRAP, run_body, 0);
	family_prepare();
	forbid_system_calls();
	errno = 4711;
	in_handler(family_inside);
	_exit(!check_end());
}

static void family_saved(void)
{
	uintptr_t saved;

	if (!labyrinth_gfp_save)
		return check_skip("no labyrinth_gfp_save()");
	off = false;
	family_prepare();
	saved = labyrinth_gfp_save();
	forbid_system_calls();
	family_inside();
	labyrinth_gfp_restore(saved);
	EXPECT(!labyrinth_in_atomic(), "a section after restore");
	_exit(!check_end());
}

/* What handlers left behind is freed outside as anything else is. */
static void leave_some(void)
{
	for (size_t i = 0; i < 64; i++) {
		left_by_handler[i] = malloc(i * 100);
		if (left_by_handler[i])
			pattern_fill(left_by_handler[i], i * 100, i);
	}
}

static void left_behind(void)
{
	install(SIGTRAP, run_body, 0);
	for (int turn = 0; turn < 1000; turn++) {
		in_handler(leave_some);
		for (size_t i = 0; i < 64; i++) {
			void *p = left_by_handler[i];

			if (!EXPECT(p != NULL, "turn %d: NULL for %zu", turn, i * 100))
				return;
			EXPECT(pattern_wrong(p, i * 100, i) < 0, "contents of %zu", i * 100);
			if (i % 2)
				p = realloc(p, i * 200);
			free(p);
		}
	}
}

/* ---- jumps ---- */

static sigjmp_buf out;
static ucontext_t out_context, here;

static void leave_by_siglongjmp(void)
{
	expect_inside();
	siglongjmp(out, 1);
}

static void leave_by_longjmp(void)
{
	expect_inside();
	longjmp(out, 1);
}

static void leave_by__longjmp(void)
{
	expect_inside();
	_longjmp(out, 1);
}

extern void __longjmp_chk(sigjmp_buf env, int value) __attribute__((noreturn));
static void leave_by_longjmp_chk(void)
{
	expect_inside();
	__longjmp_chk(out, 1);
}

static void leave_by_setcontext(void)
{
	expect_inside();
	setcontext(&out_context);
}

static void leave_by_swapcontext(void)
{
	expect_inside();
	swapcontext(&here, &out_context);
}

/* frames below those of the handler that was left */
static NOINLINE bool outside_deep(void)
{
	char room[65536];

	__asm__ volatile("" ::"r"(room) : "memory");
	return outside();
}

static void jump(void (*by)(void), const char *name, bool context)
{
	static int left, turn;

	for (turn = 0; turn < 3; turn++) {
		left = 0;
		if (context) {
			getcontext(&out_context);
			if (!left++)
				in_handler(by);
		} else if (!sigsetjmp(out, 1)) {
			in_handler(by);
		}
		EXPECT(outside_deep() && outside(), "%s: still in a section", name);
	}
	in_handler(expect_inside);
}

static void jumps(void)
{
	install(SIGTRAP, run_body, SA_NODEFER);
	jump(leave_by_siglongjmp, "siglongjmp", false);
	jump(leave_by_longjmp, "longjmp", false);
	jump(leave_by__longjmp, "_longjmp", false);
	jump(leave_by_longjmp_chk, "__longjmp_chk", false);
	jump(leave_by_setcontext, "setcontext", true);
	jump(leave_by_swapcontext, "swapcontext", true);
}

static NOINLINE void throw_within(jmp_buf env)
{
	longjmp(env, 1);
}

static void jump_within(void)
{
	jmp_buf env;

	if (!setjmp(env))
		throw_within(env);
	expect_inside();
}

static void jumps_within(void)
{
	install(SIGTRAP, run_body, 0);
	in_handler(jump_within);
	EXPECT(outside(), "a section after the handler");
}

/* ---- nesting ---- */

static sigjmp_buf outer_env;

static void on_inner(int sig)
{
	(void)sig;
	expect_inside();
}

static void on_inner_jumping(int sig)
{
	(void)sig;
	expect_inside();
	siglongjmp(outer_env, 1);
}

static void nest(void)
{
	signal(SIGUSR1, on_inner);
	raise(SIGUSR1);
	expect_inside();
	signal(SIGUSR1, on_inner_jumping);
	if (!sigsetjmp(outer_env, 1))
		raise(SIGUSR1);
	expect_inside();
}

static void nest_and_leave(void)
{
	nest();
	memcpy(outer_env, out, sizeof(out));
	raise(SIGUSR1);
}

static void nested(void)
{
	install(SIGTRAP, run_body, 0);
	in_handler(nest);
	EXPECT(outside(), "a section after the handlers");
	if (!sigsetjmp(out, 1))
		in_handler(nest_and_leave);
	EXPECT(outside_deep() && outside(), "a section after a jump out of both");
}

/* ---- alternate stacks ---- */

static char alternate[16 * KIB] __attribute__((aligned(16)));

static void nest_on_it(void)
{
	expect_inside();
	install(SIGUSR1, on_inner, SA_ONSTACK);
	raise(SIGUSR1);
	install(SIGUSR1, on_inner, 0);
	raise(SIGUSR1);
	expect_inside();
}

/* the outer handler on the ordinary stack, the inner one on the alternate one */
static void nest_from_ordinary(void)
{
	expect_inside();
	install(SIGUSR1, on_inner, SA_ONSTACK);
	raise(SIGUSR1);
	expect_inside();
	install(SIGUSR1, on_inner_jumping, SA_ONSTACK);
	if (!sigsetjmp(outer_env, 1))
		raise(SIGUSR1);
	expect_inside();
}

static void on_stack(int flags)
{
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate), .ss_flags = flags };

	EXPECT(sigaltstack(&stack, NULL) == 0, "sigaltstack: %s", strerror(errno));
	install(SIGTRAP, run_body, SA_ONSTACK);
	in_handler(nest_on_it);
	EXPECT(outside(), "a section after the handlers");
	if (!sigsetjmp(out, 1))
		in_handler(leave_by_siglongjmp);
	EXPECT(outside_deep() && outside(), "a section after a jump");
	sigaltstack(&stack, NULL);
	install(SIGTRAP, run_body, 0);
	in_handler(nest_from_ordinary);
	EXPECT(outside(), "a section after the handlers");
}

static void alternate_stack(void)
{
	on_stack(0);
#ifdef SS_AUTODISARM
	on_stack((int)SS_AUTODISARM);
#endif
}

/* ---- fork ---- */

static void wait_for(pid_t pid, const char *what)
{
	int status = -1;

	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%s ended with %#x", what,
	       (unsigned int)status);
}

/* as servers do: the child never returns from the handler */
static void child_lives_on(void)
{
	for (int i = 0; i < 20; i++) {
		char *p = malloc(TOO_MUCH);

		if (!p || labyrinth_in_atomic())
			_exit(EXIT_BAD);
		memset(p, 1, MIB);
		free(p);
	}
	/* its own handlers run in sections as well */
	install(SIGUSR1, on_inner, 0);
	raise(SIGUSR1);
	if (check_case.failed || !outside())
		_exit(EXIT_BAD + 1);
	wait_for(fork() ?: (_exit(outside() ? 0 : EXIT_BAD + 2), 0), "grandchild");
	_exit(check_case.failed ? EXIT_BAD + 3 : 0);
}

static void fork_inside(void)
{
	pid_t pid;

	expect_inside();
	pid = fork();
	if (!pid)
		child_lives_on();
	wait_for(pid, "child of fork");
	expect_inside();
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		child_lives_on();
	wait_for(pid, "child of clone");
	expect_inside();
	pid = vfork();
	if (!pid)
		_exit(0);
	wait_for(pid, "child of vfork");
	expect_inside();
}

static pid_t returned;

static void fork_and_return(void)
{
	returned = fork();
}

static void forks(void)
{
	install(SIGTRAP, run_body, 0);
	in_handler(fork_inside);
	EXPECT(outside(), "a section after the handler");
	in_handler(fork_and_return);
	EXPECT(outside(), "a section after the handler, in parent or child");
	if (!returned) {
		in_handler(expect_inside);
		_exit(check_case.failed ? 1 : 0);
	}
	wait_for(returned, "child that returned");
}

/* ---- threads ---- */

static atomic_int in_thread;
static pthread_key_t key;

static void hold(int sig)
{
	(void)sig;
	expect_inside();
	atomic_store(&in_thread, 1);
	while (atomic_load(&in_thread) == 1)
		;
	expect_inside();
}

static void end_thread(int sig)
{
	(void)sig;
	expect_inside();
	pthread_setspecific(key, (void *)1);
	pthread_exit(NULL);
}

static void at_thread_end(void *arg)
{
	(void)arg;
	EXPECT(outside(), "a section in the destructor of a thread's data");
	atomic_store(&in_thread, 3);
}

static void *thread_main(void *arg)
{
	static __thread char stack_room[16 * KIB];
	stack_t stack = { .ss_sp = stack_room, .ss_size = sizeof(stack_room) };

	if (arg)
		sigaltstack(&stack, NULL);
	raise(SIGUSR1);
	EXPECT(outside(), "a section after the handler");
	raise(SIGUSR2);
	return NULL;
}

static void threads(void)
{
	pthread_t thread;

	install(SIGUSR1, hold, SA_ONSTACK);
	install(SIGUSR2, end_thread, SA_ONSTACK);
	pthread_key_create(&key, at_thread_end);
	for (uintptr_t stack = 0; stack < 2; stack++) {
		atomic_store(&in_thread, 0);
		pthread_create(&thread, NULL, thread_main, (void *)stack);
		while (!atomic_load(&in_thread))
			;
		EXPECT(outside(), "the section of another thread");
		atomic_store(&in_thread, 2);
		pthread_join(thread, NULL);
		EXPECT(atomic_load(&in_thread) == 3, "the destructor did not run");
	}
}

/* ---- the storm ---- */

enum { SLOTS = 256 };
static _Atomic(void *) slots[SLOTS];
static atomic_ulong handlers_run, refused, jumped;
static __thread sigjmp_buf storm_env;
static __thread volatile bool may_jump;
static __thread volatile bool saved_by_main;

static void storm_step(uint64_t *rng, bool atomic)
{
	size_t size = 8 + rng_size(rng, atomic ? 2000 : 50000);
	void *p = rng_next(rng) % 4 ? malloc(size) : calloc(1, size), *q;

	if (p) {
		*(size_t *)p = size;
		pattern_fill((char *)p + 8, size - 8, size);
	} else if (atomic) {
		atomic_fetch_add(&refused, 1);
	} else {
		check_give_up("storm: NULL outside");
	}
	q = atomic_exchange(&slots[rng_below(rng, SLOTS)], p);
	if (q) {
		size = *(size_t *)q;
		if (pattern_wrong((char *)q + 8, size - 8, size) >= 0)
			check_give_up("storm: contents");
		free(q);
	}
}

static void on_storm(int sig)
{
	static atomic_ulong seeds;
	uint64_t rng = atomic_fetch_add(&seeds, 1) + 77;
	int saved = errno;

	(void)sig;
	if (!off && !labyrinth_in_atomic())
		check_give_up("storm: a handler outside");
	storm_step(&rng, true);
	if (!off && !labyrinth_in_atomic())
		check_give_up("storm: a handler's section ended early");
	atomic_fetch_add(&handlers_run, 1);
	errno = saved;
	if (may_jump && rng % 8 == 0) {
		may_jump = false;
		atomic_fetch_add(&jumped, 1);
		siglongjmp(storm_env, 1);
	}
}

/* allocations of ours are never cut short by a jump: it would leak the block in hand */
static NOINLINE void storm_turn(uint64_t *rng)
{
	uintptr_t saved = 0;

	for (int i = 0; i < 64; i++) {
		if (labyrinth_in_atomic())
			check_give_up("storm: a section outside");
		storm_step(rng, false);
	}
	if (labyrinth_gfp_save) {
		saved = labyrinth_gfp_save();
		for (int i = 0; i < 16; i++) {
			storm_step(rng, true);
			if (!labyrinth_in_atomic())
				check_give_up("storm: a section lost");
		}
		labyrinth_gfp_restore(saved);
	}
	if (!sigsetjmp(storm_env, 1)) {
		may_jump = true;
		for (volatile int i = 0; i < 20000; i++)
			;
		may_jump = false;
	}
}

static void *storm_thread(void *arg)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	struct itimerspec spec = { .it_interval.tv_nsec = 100000, .it_value.tv_nsec = 100000 };
	uint64_t rng = (uintptr_t)arg + seed;
	time_t start = time(NULL);
	timer_t timer;

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &spec, NULL))
		check_give_up("no timer");
	/* three seconds; more where others have the CPUs */
	while (time(NULL) < start + 3 ||
	       ((atomic_load(&handlers_run) < 2000 || atomic_load(&jumped) < 20) &&
		time(NULL) < start + 40))
		storm_turn(&rng);
	timer_delete(timer);
	return NULL;
}

static void storm(void)
{
	pthread_t threads_of[2];

	install(SIGRTMIN, on_storm, SA_RESTART);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&threads_of[i], NULL, storm_thread, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(threads_of[i], NULL);
	say("%lu handlers, %lu left by a jump, %lu requests refused", atomic_load(&handlers_run),
	    atomic_load(&jumped), atomic_load(&refused));
	EXPECT(atomic_load(&handlers_run) >= 2000 && atomic_load(&jumped) >= 20,
	       "too few handlers");
	EXPECT(outside(), "a section after the storm");
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{ "plain", plain },
		{ "family_handler", family_handler },
		{ "family_saved", family_saved },
		{ "left_behind", left_behind },
		{ "jumps", jumps },
		{ "jumps_within", jumps_within },
		{ "nested", nested },
		{ "alternate_stack", alternate_stack },
		{ "forks", forks },
		{ "threads", threads },
		{ "storm", storm },
	};

	off = getenv("SECTIONS_OFF") != NULL;
	warm_up();
	return check_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}

/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <sys/syscall.h>

#include "gfp/scope.h"
#include "labyrinth.h"
#include "page/event.h"
#include "page/reserve.h"
#include "pcp/pcp.h"

enum { TOO_MUCH = 64 << 20 };

static bool is_resident(const void *ptr)
{
	return ptr && lab_zone_of(lab_pfn_of(ptr)) == LAB_ZONE_RESERVE;
}

static bool gives_resident(void)
{
	void *p = labyrinth_heap_malloc(10);
	bool resident = is_resident(p);

	labyrinth_free(p);
	return resident;
}

/* ordinary memory is to be had: what no section could get */
static bool is_ordinary(void)
{
	void *p = labyrinth_heap_malloc(TOO_MUCH);

	labyrinth_free(p);
	return p && !labyrinth_in_atomic();
}

enum { NONE, BOTH = 3 };

static unsigned int are_open(void)
{
	return (unsigned int)lab_bound_is_open(&lab_hot_gates.sizes) |
	       (unsigned int)lab_bound_is_open(&lab_hot_gates.frames) << 1;
}

/* Before the first section malloc() has its hot path, and nobody looks at the thread. */
static void test_before_any_section_the_hot_path_is_open(void **state)
{
	(void)state;
	assert_int_equal(lab_word_get(&lab_scope_used), 0);
	assert_int_equal(are_open(), lab_pcp_backend() == LAB_PCP_RSEQ ? BOTH : NONE);
	assert_false(lab_scope_is_atomic());
	assert_int_equal(labyrinth_in_atomic(), 0);
	labyrinth_gfp_restore(labyrinth_gfp_save());
	assert_int_equal(lab_word_get(&lab_scope_used), 1);
	assert_int_equal(are_open(), NONE);
	/* nobody else's */
	lab_vfork_enter();
	lab_vfork_leave();
	assert_int_equal(are_open(), NONE);
	assert_int_equal(lab_word_get(&lab_rseq_gate) & 1, lab_pcp_backend() != LAB_PCP_RSEQ);
	assert_true(is_ordinary());
}

static void *family(unsigned int which, size_t size)
{
	void *p = NULL;

	switch (which) {
	case 0:
		return labyrinth_heap_malloc(size);
	case 1:
		return labyrinth_heap_calloc(size, 1);
	case 2:
		return labyrinth_heap_realloc(NULL, size);
	case 3:
		return labyrinth_heap_reallocarray(NULL, 1, size);
	case 4:
		return labyrinth_heap_memalign(64, size);
	case 5:
		return labyrinth_heap_aligned_alloc(4096, size);
	case 6:
		errno = labyrinth_heap_posix_memalign(&p, 8192, size);
		return p;
	case 7:
		return labyrinth_heap_valloc(size);
	case 8:
		return labyrinth_heap_pvalloc(size);
	default:
		return labyrinth_heap_memalign(8, size);
	}
}
enum { FAMILY = 10 };

/* In a section every call of the family takes resident memory and makes no system call. */
static void test_family_in_a_section_is_resident(void **state)
{
	static const size_t sizes[] = { 0, 1, 24, 100, 1000, 3000, 4096, 5000, 9000, 20000, 40000 };
	static const size_t aligns[FAMILY] = { 16, 16, 16, 16, 64, 4096, 8192, 4096, 4096, 16 };
	enum { SIZES = sizeof(sizes) / sizeof(*sizes) };
	uintptr_t saved;
	uint64_t calls;

	(void)state;
	/* ordinary objects of these sizes lie ready on the stacks */
	for (size_t i = 0; i < SIZES; i++)
		labyrinth_free(labyrinth_heap_malloc(sizes[i]));
	saved = labyrinth_gfp_save();
	calls = lab_os_calls();
	for (unsigned int which = 0; which < FAMILY; which++) {
		for (size_t i = 0; i < SIZES; i++) {
			char *p, *q;

			errno = 4711;
			p = family(which, sizes[i]);
			assert_true(is_resident(p));
			assert_true(errno == (which == 6 ? 0 : 4711));
			assert_int_equal((uintptr_t)p % aligns[which], 0);
			/* a second one where a small reserve has room for it */
			q = sizes[i] > 9000 ? NULL : family(which, sizes[i]);
			assert_true(!q || is_resident(q));
			assert_int_equal((uintptr_t)q % aligns[which], 0);
			assert_true(labyrinth_malloc_usable_size(p) >= sizes[i]);
			if (which == 1)
				assert_true(is_zero(p, sizes[i]));
			memset(p, 0xa5, sizes[i]);
			labyrinth_free(p);
			labyrinth_free(q);
		}
	}
	assert_int_equal(lab_os_calls(), calls);
	labyrinth_gfp_restore(saved);
}

/* What the reserve does not have is refused: NULL, ENOMEM, counted; the floor stays. */
static void test_refusal_in_a_section_is_enomem_and_counted(void **state)
{
	static void *taken[2000];
	uint64_t failed = lab_word_get(&lab_events[LAB_EV_FAIL_ATOMIC_MALLOC]);
	uint64_t min = lab_word_get(&lab_zones[LAB_ZONE_RESERVE].min);
	uintptr_t saved = labyrinth_gfp_save();
	uint64_t calls = lab_os_calls(), refused = 0;
	size_t n = 0;

	(void)state;
	for (unsigned int which = 0; which < FAMILY; which++) {
		errno = 0;
		assert_null(family(which, TOO_MUCH));
		assert_int_equal(errno, ENOMEM);
		refused++;
	}
	while (n < 2000 && (taken[n] = labyrinth_heap_malloc(4096)))
		n++;
	refused++;
	assert_true(n > 10 && n < 2000);
	assert_int_equal(errno, ENOMEM);
	assert_true(lab_word_get(&lab_zones[LAB_ZONE_RESERVE].free) >= (min - min / 2) * 3 / 4);
	assert_int_equal(lab_word_get(&lab_events[LAB_EV_FAIL_ATOMIC_MALLOC]), failed + refused);
	assert_int_equal(labyrinth_event_count(LABYRINTH_EV_FAIL_ATOMIC_MALLOC), failed + refused);
	while (n > 0)
		labyrinth_free(taken[--n]);
	assert_int_equal(lab_os_calls(), calls);
	labyrinth_gfp_restore(saved);
	assert_true(is_ordinary());
}

/* Sections nest, are the thread's own, and end with the outermost restore. */
static void other_thread(unsigned int id, void *unused)
{
	uintptr_t saved;

	(void)unused;
	if (id) {
		must(is_ordinary());
		return;
	}
	saved = labyrinth_gfp_save();
	must(labyrinth_in_atomic() && gives_resident());
	labyrinth_gfp_restore(saved);
	must(is_ordinary());
}

static void test_sections_nest_and_belong_to_the_thread(void **state)
{
	uintptr_t one = labyrinth_gfp_save(), two = labyrinth_gfp_save();

	(void)state;
	assert_int_equal(labyrinth_in_atomic(), 1);
	labyrinth_gfp_restore(two);
	assert_int_equal(labyrinth_in_atomic(), 1);
	run_threads(NR_THREADS, other_thread, NULL);
	assert_int_equal(labyrinth_in_atomic(), 1);
	labyrinth_gfp_restore(one);
	assert_true(is_ordinary());
}

/* realloc() in a section stays where it fits, else copies into resident memory. */
static void test_realloc_in_a_section_keeps_contents(void **state)
{
	static const size_t sizes[] = { 24, 100, 1000, 5000, 20000 };
	char *small = labyrinth_heap_malloc(100), *huge = labyrinth_heap_malloc(5 << 20);
	char *large = labyrinth_heap_malloc(100 << 10), *p = labyrinth_heap_malloc(24);
	uintptr_t saved = labyrinth_gfp_save();
	uint64_t calls = lab_os_calls();

	(void)state;
	fill(p, 7, 24);
	for (size_t i = 1; i < sizeof(sizes) / sizeof(*sizes); i++) {
		p = labyrinth_heap_realloc(p, sizes[i]);
		assert_true(is_resident(p));
		assert_true(is_filled(p, 7, sizes[i - 1]));
		fill(p, 7, sizes[i]);
	}
	assert_ptr_equal(labyrinth_heap_realloc(small, 60), small);
	assert_ptr_equal(labyrinth_heap_realloc(large, 50 << 10), large);
	assert_int_equal(labyrinth_malloc_usable_size(large), 52 << 10);
	/* the pages after it are free again now, and yet not resident: no growth there */
	fill(large, 9, 50 << 10);
	large = labyrinth_heap_realloc(large, 60 << 10);
	assert_true(is_resident(large) && is_filled(large, 9, 50 << 10));
	assert_ptr_equal(labyrinth_heap_realloc(huge, 3 << 20), huge);
	assert_int_equal(labyrinth_malloc_usable_size(huge), 3 << 20);
	errno = 0;
	assert_null(labyrinth_heap_realloc(huge, 9 << 20));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(labyrinth_malloc_usable_size(huge), 3 << 20);
	assert_ptr_equal(labyrinth_heap_realloc(huge, 100), huge);
	assert_null(labyrinth_heap_realloc(p, 0));
	labyrinth_free(small);
	labyrinth_free(large);
	labyrinth_free(huge);
	assert_int_equal(lab_os_calls(), calls);
	labyrinth_gfp_restore(saved);
}

/* free() and trim in a section leave idle memory to later, ordinary frees. */
static void test_free_in_a_section_makes_no_system_call(void **state)
{
	enum { MANY = 600 };
	static void *pages[MANY], *larges[MANY];
	struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	void *huge[4], *last = labyrinth_heap_malloc(100 << 10);
	uint64_t calls, until;
	uintptr_t saved;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		pages[i] = labyrinth_heap_malloc(4096);
		larges[i] = labyrinth_heap_malloc(100 << 10);
	}
	for (int i = 0; i < 4; i++)
		huge[i] = labyrinth_heap_malloc(30 << 20);
	usleep(20000); /* any decay is due */
	saved = labyrinth_gfp_save();
	calls = lab_os_calls();
	for (int i = 0; i < MANY; i++) {
		labyrinth_free(pages[i]);
		labyrinth_free(larges[i]);
	}
	for (int i = 0; i < 4; i++)
		labyrinth_free(huge[i]);
	assert_int_equal(labyrinth_malloc_trim(0), 0);
	assert_int_equal(lab_os_calls(), calls);
	assert_true(lab_word_get(&heap->dirty) > MANY * 25 + 4 * (30 << 8));
	labyrinth_gfp_restore(saved);
	for (until = now_ms() + 3000; lab_os_calls() == calls && now_ms() < until;) {
		labyrinth_free(last);
		last = labyrinth_heap_malloc(100 << 10);
	}
	assert_true(lab_os_calls() > calls);
	labyrinth_free(last);
	assert_int_equal(labyrinth_malloc_trim(0), 1);
}

/* ---- sections of handlers ---- */

/* below all that the caller has on its stack */
static LAB_NOINLINE uintptr_t stack_pointer(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}

static LAB_NOINLINE void enter(struct labyrinth_section *section)
{
	labyrinth_section_enter(section, 0, stack_pointer());
}

/* A handler's section lasts from enter to leave, inside or outside of explicit ones. */
static void test_section_of_a_handler_restores_what_was(void **state)
{
	struct labyrinth_section outer, inner;
	uintptr_t saved;

	(void)state;
	enter(&outer);
	assert_true(labyrinth_in_atomic() && gives_resident());
	/* what it opens and does not close ends with it */
	(void)labyrinth_gfp_save();
	labyrinth_section_leave(&outer);
	assert_true(is_ordinary());
	saved = labyrinth_gfp_save();
	enter(&outer);
	enter(&inner);
	assert_int_equal(labyrinth_in_atomic(), 1);
	labyrinth_section_leave(&inner);
	assert_int_equal(labyrinth_in_atomic(), 1);
	labyrinth_section_leave(&outer);
	assert_int_equal(labyrinth_in_atomic(), 1);
	labyrinth_gfp_restore(saved);
	assert_true(is_ordinary());
}

static LAB_NOINLINE void abandon_here(void (*body)(struct labyrinth_section *))
{
	struct labyrinth_section section;

	enter(&section);
	must(labyrinth_in_atomic());
	body(&section);
	lab_forget();
}

/*
 * Run @body inside a handler's section that is never left in order: so far below that
 * all that the caller calls afterwards is above it, and not among what it has left there.
 */
static LAB_NOINLINE void abandon(void (*body)(struct labyrinth_section *))
{
	volatile char depth[8192];

	depth[0] = 0;
	abandon_here(body);
	depth[0] = 1;
}

static void save_too(struct labyrinth_section *section)
{
	(void)section;
	(void)labyrinth_gfp_save();
	must(labyrinth_in_atomic());
}

static void nothing(struct labyrinth_section *section)
{
	(void)section;
}

/* Whoever is above the frame is not in the section; what it opened has ended too. */
static void test_section_ends_with_its_frame(void **state)
{
	(void)state;
	abandon(nothing);
	assert_int_equal(labyrinth_in_atomic(), 0);
	assert_true(is_ordinary());
	abandon(save_too);
	assert_true(is_ordinary());
	/* to save in place of a look is no way to revive it */
	abandon(save_too);
	assert_int_equal(labyrinth_gfp_save(), 0);
	labyrinth_gfp_restore(0);
	assert_true(is_ordinary());
}

/* A frame that other code has used since is not mistaken for a section. */
static LAB_NOINLINE void deeper(void)
{
	volatile char room[4096];

	room[0] = room[4095] = 0;
	must(!labyrinth_in_atomic());
}

static void destroy(struct labyrinth_section *section)
{
	section->cookie ^= 1;
	deeper();
}

static void test_section_with_a_broken_cookie_has_ended(void **state)
{
	(void)state;
	abandon(destroy);
	assert_true(is_ordinary());
}

/* A jump ends those sections whose frames it leaves, and no others. */
static LAB_NOINLINE void jumps(struct labyrinth_section *outer)
{
	struct labyrinth_section inner;

	enter(&inner);
	/* within the inner handler */
	labyrinth_section_jump(stack_pointer() - 256);
	must(labyrinth_in_atomic() && inner.cookie);
	/* to the outer one */
	labyrinth_section_jump((uintptr_t)outer - 8);
	must(labyrinth_in_atomic() && !inner.cookie && outer->cookie);
	enter(&inner);
	/* out of both */
	labyrinth_section_jump((uintptr_t)outer + 4096);
	must(!inner.cookie && !outer->cookie);
}

static void test_jump_ends_what_it_leaves(void **state)
{
	uintptr_t saved;

	(void)state;
	abandon(jumps);
	assert_true(is_ordinary());
	saved = labyrinth_gfp_save();
	abandon(jumps);
	/* deeper than they were: the frames are no help */
	assert_int_equal(labyrinth_in_atomic(), 1);
	labyrinth_gfp_restore(saved);
	labyrinth_section_jump(stack_pointer());
	assert_true(is_ordinary());
}

static LAB_NOINLINE void not_atomic_when_deep(void)
{
	volatile char room[16384];

	room[0] = room[16383] = 0;
	must(!labyrinth_in_atomic());
}

/* After a jump the frames below are not the handler's, even where they lie deeper. */
static void jump_out(struct labyrinth_section *section)
{
	labyrinth_section_jump((uintptr_t)section + 4096);
	not_atomic_when_deep();
}

static void test_after_a_jump_deep_frames_are_ordinary(void **state)
{
	(void)state;
	abandon(jump_out);
	not_atomic_when_deep();
}

/* ---- other stacks ---- */

enum { STACK_BYTES = 256 << 10 };

static char *two_stacks;

static LAB_NOINLINE void leave_stack_behind(void *unused)
{
	struct labyrinth_section *section = (void *)(two_stacks + 2 * STACK_BYTES - 4096);

	(void)unused;
	labyrinth_section_enter(section, (uintptr_t)two_stacks + STACK_BYTES, stack_pointer());
	must(munmap(two_stacks + STACK_BYTES, STACK_BYTES) == 0);
	must(is_ordinary());
}

static void *leave_stack_thread(void *unused)
{
	leave_stack_behind(unused);
	return NULL;
}

/* An alternate stack that was left is not looked at: it may be gone. */
static void test_section_on_a_stack_that_is_gone_has_ended(void **state)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)state;
	if (!strcmp(HARNESS_SANITIZER, "tsan")) {
		print_message("tsan needs a larger stack than this\n");
		skip();
	}
	/* the thread's stack lies right below the other one, within any guess of its reach */
	two_stacks = mmap(NULL, 2 * STACK_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(two_stacks != MAP_FAILED);
	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstack(&attr, two_stacks, STACK_BYTES), 0);
	assert_int_equal(pthread_create(&thread, &attr, leave_stack_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	munmap(two_stacks, STACK_BYTES);
}

static char alternate[STACK_BYTES] __attribute__((aligned(16)));
static uintptr_t jump_to;

static void on_alternate_stack(int sig)
{
	struct labyrinth_section inner;

	(void)sig;
	labyrinth_section_enter(&inner, (uintptr_t)alternate, jump_to);
	must(labyrinth_in_atomic());
	if (jump_to)
		labyrinth_section_jump(jump_to);
	must((inner.cookie != 0) == !jump_to);
	labyrinth_section_leave(&inner);
}

/* The section on the ordinary stack outlives one on the alternate stack, jump or not. */
static void signal_inside(struct labyrinth_section *outer)
{
	jump_to = (uintptr_t)outer - 16;
	raise(SIGUSR1);
	must(labyrinth_in_atomic() && outer->cookie);
}

static void test_section_outlives_one_on_the_alternate_stack(void **state)
{
	struct sigaction action = { .sa_handler = on_alternate_stack, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	stack_t none = { .ss_flags = SS_DISABLE };

	(void)state;
	assert_int_equal(sigaltstack(&stack, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	abandon(signal_inside);
	assert_true(is_ordinary());
	sigaltstack(&none, NULL);
	signal(SIGUSR1, SIG_DFL);
}

/* ---- fork ---- */

/* the end of a child that is well; the frame of the section is still below us */
static void child_lives_on(struct labyrinth_section *section)
{
	struct labyrinth_section own;

	must(!labyrinth_in_atomic() && is_ordinary());
	enter(&own);
	must(labyrinth_in_atomic() && own.process != section->process);
	if (fork() == 0) {
		must(is_ordinary());
		_exit(0);
	}
	must(labyrinth_in_atomic());
	labyrinth_section_leave(&own);
	must(is_ordinary());
	_exit(0);
}

static void check_end_of(pid_t child)
{
	int status;

	must(child > 0 && waitpid(child, &status, 0) == child);
	must(status == 0);
}

static void fork_inside(struct labyrinth_section *section)
{
	pid_t child = fork();

	if (child == 0)
		child_lives_on(section);
	check_end_of(child);
	must(labyrinth_in_atomic() && section->cookie);
	child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		child_lives_on(section);
	check_end_of(child);
	must(labyrinth_in_atomic() && section->cookie);
}

/* In a child, and in its children, a handler's section has ended; not in the parent. */
static void test_fork_ends_the_section_of_a_handler_in_the_child(void **state)
{
	(void)state;
	abandon(fork_inside);
	assert_true(is_ordinary());
}

/* An explicit section goes on in the child, whose code will close it. */
static void in_explicit(void *saved)
{
	must(labyrinth_in_atomic());
	labyrinth_gfp_restore(*(uintptr_t *)saved);
	must(is_ordinary());
}

static void test_fork_leaves_an_explicit_section_open(void **state)
{
	uintptr_t saved = labyrinth_gfp_save();

	(void)state;
	assert_child_succeeds(in_explicit, &saved);
	labyrinth_gfp_restore(saved);
}

/* ---- handlers at any moment ---- */

static struct {
	lab_word_t handlers, stop;
	lab_word_t target; /* the thread that is interrupted, once it runs */
} storm;

static void on_storm(int sig)
{
	struct labyrinth_section section;
	int atomic = labyrinth_in_atomic();
	void *p;

	(void)sig;
	enter(&section);
	p = labyrinth_heap_malloc(200);
	must(!p || is_resident(p));
	labyrinth_free(p);
	labyrinth_section_leave(&section);
	must(labyrinth_in_atomic() == atomic);
	lab_word_add(&storm.handlers, 1);
}

static void storm_thread(unsigned int id, void *unused)
{
	struct timespec pause = { .tv_nsec = 40000 };
	void *p = NULL;

	(void)unused;
	if (id == 1) {
		while (!lab_word_get(&storm.stop)) {
			if (lab_word_get(&storm.target))
				pthread_kill((pthread_t)lab_word_get(&storm.target), SIGUSR1);
			nanosleep(&pause, NULL);
		}
		return;
	}
	lab_word_set(&storm.target, (uint64_t)pthread_self());
	for (uint64_t until = now_ms() + STRESS_MS; now_ms() < until;) {
		uintptr_t saved;

		p = labyrinth_heap_malloc(200);
		must(p && !is_resident(p));
		labyrinth_free(p);
		saved = labyrinth_gfp_save();
		p = labyrinth_heap_malloc(200);
		must(!p || is_resident(p));
		labyrinth_free(p);
		labyrinth_gfp_restore(saved);
		must(!labyrinth_in_atomic());
	}
	lab_word_set(&storm.stop, 1);
}

/* Handlers leave the interrupted thread in or out of its section, as it was. */
static void test_storm_leaves_the_thread_as_it_was(void **state)
{
	struct sigaction action = { .sa_handler = on_storm };

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	run_threads(2, storm_thread, NULL);
	assert_true(lab_word_get(&storm.handlers) > 100);
	signal(SIGUSR1, SIG_DFL);
}

/* a test that fails leaves no section to the next */
static int restore(void **state)
{
	(void)state;
	labyrinth_gfp_restore(0);
	return 0;
}

/* a reserve with room for what the tests hold at once, full */
static void with_a_reserve(char **argv)
{
	static void *pages[4000];

	if (!getenv("LABYRINTH_OPTIONS")) {
		setenv("LABYRINTH_OPTIONS", "reserve=4m", 1);
		execv("/proc/self/exe", argv);
		must(!"execv");
	}
	for (size_t i = 0; i < 4000; i++)
		pages[i] = labyrinth_heap_malloc(4096);
	for (size_t i = 0; i < 4000; i++)
		labyrinth_free(pages[i]);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_teardown(name, restore)
	const struct CMUnitTest tests[] = {
		TEST(test_before_any_section_the_hot_path_is_open),
		TEST(test_family_in_a_section_is_resident),
		TEST(test_refusal_in_a_section_is_enomem_and_counted),
		TEST(test_sections_nest_and_belong_to_the_thread),
		TEST(test_realloc_in_a_section_keeps_contents),
		TEST(test_free_in_a_section_makes_no_system_call),
		TEST(test_section_of_a_handler_restores_what_was),
		TEST(test_section_ends_with_its_frame),
		TEST(test_section_with_a_broken_cookie_has_ended),
		TEST(test_jump_ends_what_it_leaves),
		TEST(test_after_a_jump_deep_frames_are_ordinary),
		TEST(test_section_on_a_stack_that_is_gone_has_ended),
		TEST(test_section_outlives_one_on_the_alternate_stack),
		TEST(test_fork_ends_the_section_of_a_handler_in_the_child),
		TEST(test_fork_leaves_an_explicit_section_open),
		TEST(test_storm_leaves_the_thread_as_it_was),
	};

	(void)argc;
	with_a_reserve(argv);
	lab_scope_prepare();
	pin_to_one_cpu();
	return cmocka_run_group_tests_name("scope", tests, NULL, NULL);
}

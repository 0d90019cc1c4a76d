/* SPDX-License-Identifier: MIT */
/*
 * Every system call of every operation fails once, and then for good: the
 * operation yields a clean NULL and ENOMEM or succeeds, nothing is lost, and
 * what comes later works.
 */
#include "harness.h"

#include "labyrinth.h"
#include "page/reserve.h"
#include "slab/cache.h"

enum { MIB = 1 << 20, MOST_CALLS = 200 };

/* an operation: what it returns is freed by undo(), NULL: it failed */
struct operation {
	const char *name;
	void *(*run)(void);
	void (*undo)(void *ptr);
};

static void *malloc_small(void)
{
	return labyrinth_heap_malloc(100);
}

static void *malloc_page(void)
{
	return labyrinth_heap_malloc(4096);
}

static void *malloc_large(void)
{
	return labyrinth_heap_malloc(300000);
}

static void *malloc_huge(void)
{
	return labyrinth_heap_malloc(5 * MIB);
}

static void *calloc_huge(void)
{
	char *p = labyrinth_heap_calloc(3, MIB);

	if (p) {
		must(is_zero(p, 3 * MIB));
		memset(p, 1, 3 * MIB);
	}
	return p;
}

static void *calloc_large(void)
{
	char *p = labyrinth_heap_calloc(100, 1000);

	if (p) {
		must(is_zero(p, 100000));
		memset(p, 1, 100000);
	}
	return p;
}

static void *aligned_huge(void)
{
	return labyrinth_heap_memalign(16 * MIB, MIB);
}

static void *posix_large(void)
{
	void *p = NULL;
	int err = labyrinth_heap_posix_memalign(&p, 65536, 100000);

	must(err == 0 || (err == ENOMEM && !p));
	if (err)
		errno = err;
	return p;
}

/* the block to be resized is made before calls fail, see prepare() */
static void *subject;

static void *resize(size_t from, size_t to)
{
	void *p = labyrinth_heap_realloc(subject, to);

	if (!p) {
		must(is_filled(subject, 11, from));
		return NULL;
	}
	must(is_filled(p, 11, from < to ? from : to));
	subject = NULL;
	return p;
}

static void *realloc_small(void)
{
	return resize(64, 20000);
}

static void *realloc_large(void)
{
	return resize(64, 600000);
}

static void *realloc_huge(void)
{
	return resize(64, 7 * MIB);
}

static void *pages_order_9(void)
{
	return labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_ZERO, 9);
}

static void free_order_9(void *p)
{
	labyrinth_free_pages(p, 9);
}

/* enough of them to leave the reserve, which is refilled on the way */
enum { NR_PAGES = 150 };
static void *pages[NR_PAGES];

static void free_pages(void *unused)
{
	(void)unused;
	for (int i = 0; i < NR_PAGES; i++) {
		labyrinth_free_page(pages[i]);
		pages[i] = NULL;
	}
}

static void *many_pages(void)
{
	bool all = true;

	for (int i = 0; i < NR_PAGES; i++) {
		pages[i] = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL);
		if (!pages[i])
			all = false;
		else
			memset(pages[i], 1, LAB_PAGE_BYTES);
	}
	if (all)
		return pages;
	free_pages(NULL);
	errno = ENOMEM;
	return NULL;
}

static void *pool(void)
{
	return labyrinth_mempool_create_kmalloc_pool(3, 5ul * MIB);
}

static void pool_destroy(void *p)
{
	labyrinth_mempool_destroy(p);
}

static const struct operation operations[] = {
	{ "malloc of a small block", malloc_small, labyrinth_free },
	{ "malloc of a page", malloc_page, labyrinth_free },
	{ "malloc of a large block", malloc_large, labyrinth_free },
	{ "malloc of a huge block", malloc_huge, labyrinth_free },
	{ "calloc of a large block", calloc_large, labyrinth_free },
	{ "calloc of a huge block", calloc_huge, labyrinth_free },
	{ "memalign of a huge block", aligned_huge, labyrinth_free },
	{ "posix_memalign", posix_large, labyrinth_free },
	{ "realloc to a class", realloc_small, labyrinth_free },
	{ "realloc to a large block", realloc_large, labyrinth_free },
	{ "realloc to a huge block", realloc_huge, labyrinth_free },
	{ "512 pages", pages_order_9, free_order_9 },
	{ "many single pages", many_pages, free_pages },
	{ "a mempool", pool, pool_destroy },
};
enum { NR_OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

/* nothing in stacks, nothing mapped that is free: the next request has to grow */
static void to_the_bottom(void)
{
	labyrinth_malloc_trim(0);
	(void)lab_heap_purge(true);
}

static void *chain;

/* take whatever can be had without a system call, so that the next one makes some */
static void hog(void)
{
	static const size_t sizes[] = { 4096, 30000, 20000, 1024, 768, 640, 512,
					448,  384,   320,   256,  192, 100, 32769 };
	void *p;

	lab_os_fail_from(1, UINT32_MAX);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		while ((p = labyrinth_heap_malloc(sizes[i]))) {
			*(void **)p = chain;
			chain = p;
		}
	}
	lab_os_fail_from(0, 0);
}

static void unhog(void)
{
	void *p;

	while ((p = chain)) {
		chain = *(void **)p;
		labyrinth_free(p);
	}
}

/* frames in use, but for those of slabs that stay, when nothing else should be */
static uint64_t frames_in_use(void)
{
	uint64_t frames = heap_in_use();
	unsigned int cls;

	for (cls = 1; cls < LAB_NR_CLASSES; cls++)
		frames -= lab_cache_slabs(cls) << lab_class[cls].order;
	return frames;
}

/* At rest no block is claimed nor given up, and every section has its tables. */
static bool is_whole(void)
{
	size_t i;

	for (i = 0; i < lab_nr_sections() * LAB_SECTION_BLOCKS; i++) {
		if (!lab_section_is_ready(i / LAB_SECTION_BLOCKS))
			return false;
		if (block_word(i).whole || block_word(i).dead)
			return false;
	}
	return true;
}

static void flush_pages(void)
{
	void *page;

	while ((page = lab_pcp_pop(LAB_PCP_PAGE))) {
		lab_kind_set(lab_pfn_of(page), LAB_KIND_FREE);
		lab_zone_give(lab_pfn_of(page), 1);
	}
}

static void prepare(void)
{
	unhog();
	flush_pages();
	if (!subject)
		subject = labyrinth_heap_malloc(64);
	must(subject);
	fill(subject, 11, 64);
	to_the_bottom();
}

/* true if the operation ran without a failing call */
static bool fail_once(const struct operation *op, uint64_t nth, uint64_t times)
{
	uint64_t calls, in_use;
	void *p;

	prepare();
	hog();
	in_use = heap_in_use();
	calls = lab_os_calls();
	errno = 4711;
	lab_os_fail_from(nth, times);
	p = op->run();
	lab_os_fail_from(0, 0);
	if (!p && errno != ENOMEM)
		fail_msg("%s, call %u: NULL with errno %d", op->name, (unsigned int)nth, errno);
	calls = lab_os_calls() - calls;
	/* blocks that were filled on the way may have gone on the stack */
	if (!p && heap_in_use() > in_use + 512)
		fail_msg("%s, call %u: NULL, but %d frames more are in use", op->name,
			 (unsigned int)nth, (int)(heap_in_use() - in_use));
	if (p)
		op->undo(p);
	/* later calls work */
	if (!subject)
		prepare();
	p = op->run();
	if (!p)
		fail_msg("%s after call %u failed: not even now", op->name, (unsigned int)nth);
	op->undo(p);
	return calls < nth;
}

static void fail_everywhere(const struct operation *op, uint64_t times)
{
	uint64_t in_use, nth;

	prepare();
	in_use = frames_in_use();
	for (nth = 1; nth < MOST_CALLS; nth++)
		if (fail_once(op, nth, times))
			break;
	if (nth == MOST_CALLS)
		fail_msg("%s: no end of calls", op->name);
	prepare();
	if (frames_in_use() != in_use)
		fail_msg("%s: %d frames are lost", op->name, (int)(frames_in_use() - in_use));
	if (!is_whole())
		fail_msg("%s: blocks or sections are lost", op->name);
	print_message("%-28s %2u calls\n", op->name, (unsigned int)nth - 1);
}

/* Each call fails once: the operation copes or says ENOMEM, and no frame is lost. */
static void test_each_call_that_fails_once_loses_nothing(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < NR_OPERATIONS; i++)
		fail_everywhere(&operations[i], 1);
}

/* From each call on all fail: the operation says ENOMEM, and no frame is lost. */
static void test_from_each_call_on_all_fail_and_nothing_is_lost(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < NR_OPERATIONS; i++)
		fail_everywhere(&operations[i], UINT32_MAX);
}

/* While no memory is to be had, what was freed serves again without a system call. */
static void test_freed_memory_serves_while_the_system_refuses(void **state)
{
	enum { MANY = 3000 };
	static void *ptrs[MANY];
	unsigned int n;

	(void)state;
	to_the_bottom();
	for (n = 0; n < MANY; n++)
		assert_non_null(ptrs[n] = labyrinth_heap_malloc(1000));
	lab_os_fail_from(1, UINT32_MAX);
	for (n = 0; n < MANY; n++)
		labyrinth_free(ptrs[n]);
	for (n = 0; n < MANY; n++)
		assert_non_null(ptrs[n] = labyrinth_heap_malloc(1000));
	/* another class takes over what the first one leaves */
	for (n = 0; n < MANY; n++)
		labyrinth_free(ptrs[n]);
	for (n = 0; n < MANY / 2; n++)
		assert_non_null(ptrs[n] = labyrinth_heap_malloc(1100));
	for (n = 0; n < MANY / 2; n++)
		labyrinth_free(ptrs[n]);
	lab_os_fail_from(0, 0);
}

static void never_null(void *unused)
{
	uint64_t calls, n;

	(void)unused;
	/* memory comes back after 1, 20 and 40 calls that were refused */
	for (n = 1; n <= 41; n += 20) {
		prepare();
		hog();
		errno = 4711;
		lab_os_fail_from(1, n);
		calls = lab_os_calls();
		must(labyrinth_malloc(3 * MIB, LABYRINTH_GFP_KERNEL | LABYRINTH___GFP_NOFAIL));
		must(errno == 4711 && lab_os_calls() - calls > n);
		lab_os_fail_from(0, 0);
	}
	/* what can never be had is refused all the same */
	must(!labyrinth_malloc(SIZE_MAX, LABYRINTH_GFP_KERNEL | LABYRINTH___GFP_NOFAIL));
	must(errno == ENOMEM);
}

/* NOFAIL of an object waits until there is memory, and leaves errno alone. */
static void test_nofail_objects_wait_for_memory(void **state)
{
	(void)state;
	assert_child_succeeds(never_null, NULL);
}

static void grow_failing(void *arg)
{
	uint64_t nth = *(uint64_t *)arg, in_use = heap_in_use(), calls = lab_os_calls();
	size_t sections = lab_nr_sections(), bytes = 200ul * MIB;
	char *p;

	lab_os_fail_from(nth, 1);
	p = labyrinth_heap_malloc(bytes);
	lab_os_fail_from(0, 0);
	calls = lab_os_calls() - calls;
	if (!p) {
		must(errno == ENOMEM);
		must(heap_in_use() == in_use);
		must(lab_nr_sections() <= sections + 4);
		must(is_whole());
	}
	labyrinth_free(p);
	if (calls < nth)
		_exit(77); /* no call failed any more */
	p = labyrinth_heap_malloc(bytes);
	must(p);
	p[0] = p[bytes - 1] = 1;
	labyrinth_free(p);
	must(heap_in_use() == in_use);
	/* frames and small blocks of the new sections work, too */
	for (int i = 0; i < 120; i++)
		must((p = labyrinth_heap_malloc(1500000)) && memset(p, 1, 1500000));
	must(labyrinth_heap_malloc(100));
}

/* New sections whose tables are refused leave all as it was, and later ones work. */
static void test_growth_by_sections_with_any_failing_call_is_undone(void **state)
{
	uint64_t nth;

	(void)state;
	for (nth = 1; nth < 40; nth++) {
		struct outcome out = in_child(grow_failing, &nth);

		if (WIFEXITED(out.status) && WEXITSTATUS(out.status) == 77)
			break;
		if (out.status)
			fail_msg("call %d: %s", (int)nth, out.said);
	}
	assert_in_range(nth, 6, 39);
	print_message("growth by sections: %d calls\n", (int)nth - 1);
}

/* Out of memory to the last frame, a handler's request still gets pages, to its floor. */
static void test_reserve_outlives_the_heap(void **state)
{
	struct lab_zone *reserve = &lab_zones[LAB_ZONE_RESERVE];
	static void *got[200];
	unsigned int n = 0, i;
	void *p;

	(void)state;
	prepare();
	for (i = 0; i < 8; i++)
		lab_reserve_refill(LAB_ZONE_RESERVE);
	lab_os_fail_from(1, UINT32_MAX);
	/* ordinary requests take all there is: pages last, they come from the reserve too */
	for (size_t size = 4096; size >= 16; size /= 16) {
		while ((p = labyrinth_heap_malloc(size))) {
			*(void **)p = chain;
			chain = p;
		}
	}
	assert_true(lab_heap_is_refused());
	assert_true(lab_word_get(&reserve->free) >= lab_word_get(&reserve->min));
	while ((got[n] = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC)))
		n++;
	lab_os_fail_from(0, 0);
	assert_true(n >= lab_word_get(&reserve->min) * 5 / 8);
	while (n-- > 0)
		labyrinth_free_page(got[n]);
	unhog();
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
	lab_word_t failed, done;
} stress;

static void stress_thread(unsigned int id, void *unused)
{
	static const size_t sizes[] = { 50, 4000, 20000, 100000, 1000000, 3 * MIB, 9 * MIB };
	uint64_t seed = stress.seed + id * 7919;

	(void)unused;
	pin_by_id(id);
	while (now_ms() < stress.until) {
		size_t size = sizes[random_below(&seed, 7)];
		uint64_t *p = labyrinth_heap_malloc(size), *q;

		lab_word_add(p ? &stress.done : &stress.failed, 1);
		if (random_below(&seed, 4) == 0)
			lab_os_fail_from(1 + random_below(&seed, 20), random_below(&seed, 10));
		if (!p)
			continue;
		fill(p, id, 40);
		q = labyrinth_heap_realloc(p, size * 2);
		must(is_filled(q ? q : p, id, 40));
		labyrinth_free(q ? q : p);
		if (random_below(&seed, 16) == 0)
			(void)lab_heap_purge(next_random(&seed) & 1);
	}
}

static void trim_here(unsigned int id, void *unused)
{
	(void)unused;
	if (pin_to(id))
		(void)labyrinth_malloc_trim(0);
}

/* Calls that fail at random among threads lose nothing and break nothing. */
static void test_random_failures_among_threads_lose_nothing(void **state)
{
	unsigned int ncpus = (unsigned int)sysconf(_SC_NPROCESSORS_CONF);
	uint64_t frames = 0;

	(void)state;
	stress.seed = new_seed("failing");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	lab_os_fail_from(0, 0);
	print_message("%u requests, %u refused\n", (unsigned int)lab_word_get(&stress.done),
		      (unsigned int)lab_word_get(&stress.failed));
	run_threads(ncpus < 16 ? ncpus : 16, trim_here, NULL);
	for (unsigned int cls = 1; cls < LAB_NR_CLASSES; cls++)
		frames += lab_cache_slabs(cls) << lab_class[cls].order;
	/* malloc()'s pages stay on the stacks: 256 each */
	assert_true(heap_in_use() <= frames + 256ul * ncpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: there is one section still */
		cmocka_unit_test(test_growth_by_sections_with_any_failing_call_is_undone),
		cmocka_unit_test(test_each_call_that_fails_once_loses_nothing),
		cmocka_unit_test(test_from_each_call_on_all_fail_and_nothing_is_lost),
		cmocka_unit_test(test_freed_memory_serves_while_the_system_refuses),
		cmocka_unit_test(test_nofail_objects_wait_for_memory),
		cmocka_unit_test(test_reserve_outlives_the_heap),
		cmocka_unit_test(test_random_failures_among_threads_lose_nothing),
	};

	/* what may wait fails after one round of reclaim */
	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 1;
	pin_to_one_cpu();
	return cmocka_run_group_tests_name("failing", tests, NULL, NULL);
}

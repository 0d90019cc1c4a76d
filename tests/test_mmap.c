/* SPDX-License-Identifier: MIT */
#include "mapping.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/sys.h"

/* what the kernel says of a page, past the library */
static bool is_writable(char *page)
{
	uint64_t set;

	return lab_sys6(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)page, sizeof(set), 0, 0) == 0;
}

/* The shape that is routed, for every number of pages; it reads as zero, used before or not. */
static void test_small_mappings_are_routed_and_zero(void **state)
{
	size_t n, turn;
	char *p;

	(void)state;
	for (n = 1; n <= LAB_MAP_MAX; n++) {
		for (turn = 0; turn < 3; turn++) {
			uint64_t before = info().routed;

			p = map(n);
			assert_int_equal(info().routed, before + 1);
			assert_int_equal((uintptr_t)p % PAGE, 0);
			assert_int_equal(lab_mem_kind(p), LAB_KIND_MAP);
			assert_int_equal(lab_mem_kind(p + (n - 1) * PAGE), LAB_KIND_MAP);
			assert_true(is_zero(p, n * PAGE));
			memset(p, 0xa5, n * PAGE);
			assert_int_equal(unmap(p, n), 0);
			assert_int_not_equal(lab_mem_kind(p), LAB_KIND_MAP);
		}
	}
}

/* All else is the kernel's, its errors too, and is counted. */
static void test_other_requests_are_passed(void **state)
{
	static const struct {
		size_t len;
		int prot, flags;
		off_t offset;
		int err;
	} rows[] = {
		{ (LAB_MAP_MAX + 1) * PAGE, RW, ANON, 0, 0 },
		{ PAGE, PROT_READ, ANON, 0, 0 },
		{ PAGE, RW | PROT_EXEC, ANON, 0, 0 },
		{ PAGE, PROT_NONE, ANON, 0, 0 },
		{ PAGE, RW, ANON | MAP_NORESERVE, 0, 0 },
		{ PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, 0, 0 },
		{ PAGE, RW, ANON, PAGE, 0 },
		{ 0, RW, ANON, 0, EINVAL },
		{ PAGE, RW, ANON, 1, EINVAL },
		{ PAGE, RW, MAP_PRIVATE, 0, EBADF },
		{ PAGE, RW, MAP_ANONYMOUS, 0, EINVAL },
		{ SIZE_MAX, RW, ANON, 0, ENOMEM },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t routed = info().routed, passed = info().passed;
		void *p;

		errno = 0;
		p = labyrinth_mmap(NULL, rows[i].len, rows[i].prot, rows[i].flags, -1,
				   rows[i].offset);
		assert_int_equal(errno, rows[i].err);
		assert_int_equal(p == MAP_FAILED, rows[i].err != 0);
		assert_int_equal(info().passed, passed + 1);
		assert_int_equal(info().routed, routed);
		if (p != MAP_FAILED)
			assert_int_equal(labyrinth_munmap(p, rows[i].len), 0);
	}
	errno = 0;
	assert_int_equal(labyrinth_munmap((void *)1, PAGE), -1);
	assert_int_equal(errno, EINVAL);
}

/* Any part goes back, once; what stays keeps its bytes; a hole is none the second time. */
static void test_part_of_a_mapping_is_unmapped_once(void **state)
{
	char *p = map(8), *again;
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++)
		fill(p + i * PAGE, i << 32, PAGE);
	assert_int_equal(unmap(p + 2 * PAGE, 3), 0);
	assert_int_equal(unmap(p + 2 * PAGE, 3), 0);
	assert_int_equal(unmap(p + PAGE, 4), 0);
	again = map(3);
	assert_true(again + 3 * PAGE <= p + 2 * PAGE || again >= p + 5 * PAGE ||
		    again == p + 2 * PAGE);
	for (i = 0; i < 8; i++)
		if (i < 1 || i > 4)
			assert_true(is_filled(p + i * PAGE, i << 32, PAGE));
	assert_int_equal(unmap(again, 3), 0);
	assert_int_equal(unmap(p, 1), 0);
	assert_int_equal(unmap(p + 5 * PAGE, 3), 0);
}

/* A call that the kernel refuses whatever lies there has changed no page. */
static void test_refused_calls_leave_no_mark(void **state)
{
	char *p = map(4);

	(void)state;
	fill(p, 7, 4 * PAGE);
	assert_int_equal(labyrinth_mprotect(p, 4 * PAGE, 0x10), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(labyrinth_pkey_mprotect(p, 4 * PAGE, PROT_READ, 99), -1);
	assert_int_equal(labyrinth_madvise(p, 4 * PAGE, 99), -1);
	assert_int_equal(labyrinth_mlock2(p, 4 * PAGE, 0x100), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(lab_mem_kind(p), LAB_KIND_MAP);
	assert_int_equal(lab_mem_kind(p + 3 * PAGE), LAB_KIND_MAP);
	assert_true(is_filled(p, 7, 4 * PAGE));
	assert_int_equal(unmap(p, 4), 0);
}

/* A page whose protection, advice or lock was changed comes back as new. */
static void test_changed_pages_are_restored(void **state)
{
	char *p;
	int how;

	(void)state;
	for (how = 0; how < 4; how++) {
		uint64_t before = info().restored;

		p = map(2);
		fill(p, 7, 2 * PAGE);
		if (how == 0)
			assert_int_equal(labyrinth_mprotect(p, PAGE, PROT_NONE), 0);
		else if (how == 1)
			assert_int_equal(labyrinth_madvise(p, PAGE, MADV_DONTFORK), 0);
		else if (how == 2)
			assert_int_equal(labyrinth_mlock(p, PAGE), 0);
		else
			assert_ptr_equal(labyrinth_mmap(p, PAGE, PROT_READ,
							MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
							0),
					 p);
		assert_int_equal(lab_mem_kind(p), LAB_KIND_MAP_CHANGED);
		assert_int_equal(lab_mem_kind(p + PAGE), LAB_KIND_MAP);
		assert_int_equal(unmap(p, 2), 0);
		assert_int_equal(info().restored, before + 1);
		assert_int_equal(lab_mem_kind(p), LAB_KIND_FREE);
		assert_true(is_writable(p));
	}
	assert_int_equal(info().lost, 0);
}

/* Advice that acts once leaves the page as it was. */
static void test_advice_of_the_moment_changes_nothing(void **state)
{
	char *p = map(1);

	(void)state;
	fill(p, 7, PAGE);
	assert_int_equal(labyrinth_madvise(p, PAGE, MADV_DONTNEED), 0);
	assert_true(is_zero(p, PAGE));
	assert_int_equal(lab_mem_kind(p), LAB_KIND_MAP);
	assert_int_equal(labyrinth_posix_madvise(p, PAGE, POSIX_MADV_DONTNEED), 0);
	assert_int_equal(labyrinth_posix_madvise(p, PAGE, 99), EINVAL);
	assert_int_equal(unmap(p, 1), 0);
}

/* At a hole: protection stops there, advice goes on, and both say so. */
static void test_calls_over_a_hole_are_the_kernels(void **state)
{
	char *p = map(3);
	unsigned char vec[3] = { 9, 9, 9 };

	(void)state;
	fill(p, 1, 3 * PAGE);
	assert_int_equal(unmap(p + PAGE, 1), 0);
	errno = 0;
	assert_int_equal(labyrinth_mprotect(p, 3 * PAGE, PROT_READ), -1);
	assert_int_equal(errno, ENOMEM);
	assert_false(is_writable(p));
	assert_true(is_writable(p + 2 * PAGE));
	assert_int_equal(labyrinth_madvise(p, 3 * PAGE, MADV_DONTNEED), -1);
	assert_int_equal(errno, ENOMEM);
	assert_true(is_zero(p, PAGE) && is_zero(p + 2 * PAGE, PAGE));
	assert_int_equal(labyrinth_mincore(p, 3 * PAGE, vec), -1);
	assert_int_equal(errno, ENOMEM);
	assert_true(vec[0] != 9 && vec[1] == 9);
	assert_int_equal(labyrinth_mprotect(p + PAGE, PAGE, 0x40), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(unmap(p, 3), 0);
}

/* Inside a block of malloc's, wherever, the kernel does what it is asked. */
static void test_calls_inside_a_huge_block_are_the_kernels(void **state)
{
	const size_t bytes = 7ul << 20;
	unsigned char vec[2] = { 0, 0 };
	char *block = labyrinth_heap_malloc(bytes), *p;

	(void)state;
	assert_non_null(block);
	fill(block, 5, bytes);
	for (p = block + PAGE; p + 3 * PAGE <= block + bytes; p += 509 * PAGE) {
		assert_int_equal(labyrinth_mincore(p, 2 * PAGE, vec), 0);
		assert_true(vec[0] & vec[1] & 1);
		assert_int_equal(labyrinth_mprotect(p, PAGE, PROT_READ), 0);
		assert_true(!is_writable(p) && is_writable(p + 2 * PAGE));
		assert_int_equal(labyrinth_mprotect(p, PAGE, RW), 0);
		assert_int_equal(labyrinth_madvise(p, PAGE, MADV_DONTNEED), 0);
		assert_true(is_zero(p, PAGE));
		assert_true(is_filled(p + PAGE, 5 + (uint64_t)(p + PAGE - block) / 8, PAGE));
	}
	labyrinth_free(block);
}

/* Below the first section all is the kernel's, and what lies there is found from below. */
static void test_what_lies_below_the_heap_is_the_kernels(void **state)
{
	uintptr_t at = lab_mem.base - 9 * PAGE, next = 0;
	char *p = map(1);

	(void)state;
	assert_int_equal(lab_map_page_at(at, lab_mem.base, &next), LAB_MAP_KERNELS);
	assert_int_equal(next, lab_mem.base);
	for (; at < (uintptr_t)p; at = next) {
		(void)lab_map_page_at(at, (uintptr_t)p + PAGE, &next);
		assert_in_range(next, at + PAGE, (uintptr_t)p);
	}
	assert_int_equal(lab_map_page_at(at, at + PAGE, &next), LAB_MAP_OURS);
	assert_int_equal(unmap(p, 1), 0);
}

/* A piece of no length counts nothing, and those behind it are done. */
static void test_process_madvise_passes_over_empty_pieces(void **state)
{
	char *p = map(2);
	struct iovec vec[] = { { p, 0 }, { p, PAGE }, { p, 0 }, { p + PAGE, PAGE } };
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	(void)state;
	assert_true(self >= 0);
	assert_int_equal(labyrinth_process_madvise(self, vec, 4, MADV_COLD, 0), 2 * PAGE);
	assert_int_equal(labyrinth_process_madvise(self, vec, 1, MADV_COLD, 0), 0);
	assert_int_equal(unmap(p + PAGE, 1), 0);
	assert_int_equal(labyrinth_process_madvise(self, vec, 4, MADV_COLD, 0), PAGE);
	assert_int_equal(unmap(p, 1), 0);
	close(self);
}

/* a mapping that is one to the program, and two to the kernel */
static char *in_two(void)
{
	char *p = map(2);

	fill(p, 3, 2 * PAGE);
	must(lab_sys6(SYS_madvise, (long)p + PAGE, PAGE, MADV_DONTDUMP, 0, 0, 0) == 0);
	return p;
}

static void move_pieces(void *unused)
{
	char *p = in_two(), *to, *q;

	(void)unused;
	/* onto 24 pages of the program's, of which it takes four */
	to = labyrinth_mmap(NULL, 24 * PAGE, PROT_NONE, ANON, -1, 0);
	must(to != MAP_FAILED);
	q = labyrinth_mremap(p, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	must(q == to && is_filled(q, 3, 2 * PAGE) && is_zero(q + 2 * PAGE, 2 * PAGE));
	must(!is_writable(q + 4 * PAGE) && lab_mem_kind(p) == LAB_KIND_FREE);
	/* anywhere */
	p = in_two();
	q = labyrinth_mremap(p, 2 * PAGE, 1000 * PAGE, MREMAP_MAYMOVE, NULL);
	must(q != MAP_FAILED && q != p);
	must(is_filled(q, 3, 2 * PAGE) && is_zero(q + 2 * PAGE, 998 * PAGE));
	must(lab_mem_kind(p) == LAB_KIND_FREE);
	/* nowhere: it stays as it was */
	p = in_two();
	must(labyrinth_mremap(p, 2 * PAGE, 1ul << 46, MREMAP_MAYMOVE, NULL) == MAP_FAILED);
	must(errno == ENOMEM && is_filled(p, 3, 2 * PAGE) && is_writable(p + PAGE));
}

/* What the kernel has in pieces, and would not move, moves as one mapping does. */
static void test_mapping_in_pieces_is_moved(void **state)
{
	(void)state;
	assert_child_succeeds(move_pieces, NULL);
}

/* Everything that was taken goes back to the heap. */
static void test_nothing_leaks(void **state)
{
	enum { MANY = 300 };
	static char *p[MANY];
	uint64_t before, seed = new_seed("leaks");
	int i, turn;

	(void)state;
	pin_to_one_cpu();
	lab_map_trim();
	before = heap_in_use();
	for (turn = 0; turn < 20; turn++) {
		for (i = 0; i < MANY; i++)
			p[i] = map((size_t)i % LAB_MAP_MAX + 1);
		for (i = 0; i < MANY; i++) {
			size_t n = (size_t)i % LAB_MAP_MAX + 1, cut = random_below(&seed, n + 1);

			if (random_below(&seed, 4) == 0)
				must(labyrinth_mprotect(p[i], cut * PAGE, PROT_READ) == 0);
			if (cut)
				assert_int_equal(unmap(p[i], cut), 0);
			if (cut < n)
				assert_int_equal(unmap(p[i] + cut * PAGE, n - cut), 0);
		}
	}
	lab_map_trim();
	assert_int_equal(heap_in_use(), before);
}

/* A child has its own copy, and gives back its own. */
static void child_of_fork(void *arg)
{
	char *p = arg, *q;

	must(is_filled(p, 3, PAGE));
	fill(p, 4, PAGE);
	q = map(1);
	must(q != p && is_zero(q, PAGE));
	must(unmap(p, 1) == 0 && unmap(q, 1) == 0);
}

static void test_fork_copies(void **state)
{
	char *p = map(1);

	(void)state;
	fill(p, 3, PAGE);
	assert_child_succeeds(child_of_fork, p);
	assert_true(is_filled(p, 3, PAGE));
	assert_int_equal(unmap(p, 1), 0);
}

/* Where a page cannot be restored it is lost, and nobody gets it. */
static void lose_a_page(void *arg)
{
	struct rlimit none = { PAGE, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
	uint64_t before = info().lost;
	char *p = map(1);
	int i;

	(void)arg;
	/* what cannot be written does not count, and to make it so is refused */
	must(labyrinth_mprotect(p, PAGE, PROT_READ) == 0);
	must(setrlimit(RLIMIT_DATA, &none) == 0);
	must(unmap(p, 1) == 0);
	must(setrlimit(RLIMIT_DATA, &all) == 0);
	must(info().lost == before + 1);
	must(!is_writable(p));
	for (i = 0; i < 2000; i++)
		must(map(1) != p);
	/* what the program maps there is its own affair */
	must(labyrinth_mmap(p, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
	must(labyrinth_mprotect(p, PAGE, PROT_READ) == 0 && !is_writable(p));
	must(unmap(p, 1) == 0);
}

static void test_page_that_cannot_be_restored_is_lost(void **state)
{
	(void)state;
	assert_child_succeeds(lose_a_page, NULL);
}

/* After mlockall() mappings have to be locked: none is routed. */
static void lock_all(void *arg)
{
	char *p = map(1);
	uint64_t before;

	(void)arg;
	must(labyrinth_mlockall(99) == -1 && errno == EINVAL);
	before = info().routed;
	must(unmap(map(1), 1) == 0);
	must(info().routed == before + 1);
	if (labyrinth_mlockall(MCL_FUTURE))
		return;
	before = info().routed;
	must(unmap(map(1), 1) == 0);
	must(info().routed == before);
	must(unmap(p, 1) == 0);
	must(lab_mem_kind(p) == LAB_KIND_FREE);
}

static void test_mlockall_ends_routing(void **state)
{
	(void)state;
	assert_child_succeeds(lock_all, NULL);
}

/*
 * What the program does to its pages by system calls of its own, past us, does
 * not reach the heap or the reserve.
 */
static void damage(void *arg)
{
	static char *p[100];
	void *page[64];
	int i;

	(void)arg;
	for (i = 0; i < 100; i++)
		p[i] = map(1);
	for (i = 0; i < 100; i++) {
		if (i % 2)
			lab_sys6(SYS_mprotect, (long)p[i], PAGE, PROT_NONE, 0, 0, 0);
		else
			lab_sys6(SYS_munmap, (long)p[i], PAGE, 0, 0, 0, 0);
	}
	for (i = 0; i < 100; i++)
		must(unmap(p[i], 1) == 0);
	lab_map_trim();
	for (i = 0; i < 64; i++) {
		page[i] = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL);
		must(page[i]);
		fill(page[i], 1, PAGE);
	}
	for (i = 0; i < 5000; i++)
		fill(labyrinth_heap_malloc(PAGE), 1, PAGE);
	for (i = 0; i < 100; i++)
		fill(map(1), 1, PAGE);
}

static void test_raw_system_calls_do_not_reach_the_heap(void **state)
{
	(void)state;
	assert_child_succeeds(damage, NULL);
}

/* Threads that take, change and give back never meet on a page. */
static void churn(unsigned int id, void *arg)
{
	uint64_t seed = *(uint64_t *)arg + id, until = now_ms() + STRESS_MS;
	char *mine[16] = { NULL };
	size_t n[16];

	pin_by_id(id);
	while (now_ms() < until) {
		unsigned int i = (unsigned int)random_below(&seed, 16);

		if (mine[i]) {
			must(is_filled(mine[i], (uint64_t)id << 40 | i, n[i] * PAGE));
			if (random_below(&seed, 8) == 0)
				must(labyrinth_mprotect(mine[i], PAGE, PROT_READ) == 0);
			must(unmap(mine[i], n[i]) == 0);
			mine[i] = NULL;
			continue;
		}
		n[i] = 1 + random_below(&seed, random_below(&seed, 2) ? 2 : LAB_MAP_MAX);
		mine[i] = map(n[i]);
		must(is_zero(mine[i], n[i] * PAGE));
		fill(mine[i], (uint64_t)id << 40 | i, n[i] * PAGE);
	}
}

static void test_threads_do_not_share_pages(void **state)
{
	uint64_t seed = new_seed("churn");

	(void)state;
	run_threads(NR_THREADS, churn, &seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_mappings_are_routed_and_zero),
		cmocka_unit_test(test_other_requests_are_passed),
		cmocka_unit_test(test_part_of_a_mapping_is_unmapped_once),
		cmocka_unit_test(test_refused_calls_leave_no_mark),
		cmocka_unit_test(test_changed_pages_are_restored),
		cmocka_unit_test(test_advice_of_the_moment_changes_nothing),
		cmocka_unit_test(test_calls_over_a_hole_are_the_kernels),
		cmocka_unit_test(test_calls_inside_a_huge_block_are_the_kernels),
		cmocka_unit_test(test_what_lies_below_the_heap_is_the_kernels),
		cmocka_unit_test(test_process_madvise_passes_over_empty_pieces),
		cmocka_unit_test(test_mapping_in_pieces_is_moved),
		cmocka_unit_test(test_nothing_leaks),
		cmocka_unit_test(test_fork_copies),
		cmocka_unit_test(test_page_that_cannot_be_restored_is_lost),
		cmocka_unit_test(test_mlockall_ends_routing),
		cmocka_unit_test(test_raw_system_calls_do_not_reach_the_heap),
		cmocka_unit_test(test_threads_do_not_share_pages),
	};

	return cmocka_run_group_tests_name("mmap", tests, NULL, NULL);
}

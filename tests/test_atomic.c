/* SPDX-License-Identifier: MIT */
/*
 * Objects from the reserve.  The program begins with a reserve of its own, large
 * and resident throughout, so that figures are exact and no test has to refill.
 */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "gfp/alloc.h"
#include "labyrinth.h"
#include "page/event.h"
#include "page/reserve.h"
#include "pcp/pcp.h"
#include "slab/atomic.h"

enum {
	ATOMIC = LABYRINTH_GFP_ATOMIC,
	NOWAIT = LABYRINTH_GFP_NOWAIT,
	KERNEL = LABYRINTH_GFP_KERNEL,
	ZERO = LABYRINTH_GFP_ZERO,
	FRAMES = 2048,
};

static struct lab_zone *const zone = &lab_zones[LAB_ZONE_RESERVE];

static uint64_t nr_free(void)
{
	return lab_word_get(&zone->free);
}

static uint64_t nr_slabs(void)
{
	uint64_t n = 0;
	unsigned int cls;

	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++)
		n += lab_atomic_slabs(cls);
	return n;
}

/* everything is back: no slab is left, all frames are free */
static void must_be_all_back(uint64_t all)
{
	(void)lab_atomic_shrink();
	must(nr_slabs() == 0);
	must(nr_free() == all);
}

/* the whole block is stamped by its first bytes */
static void stamp(void *ptr, size_t size, uint64_t tag)
{
	memset(ptr, (int)(tag * 167 + 13), size);
}

static bool is_stamped(const void *ptr, size_t size, uint64_t tag)
{
	const unsigned char *at = ptr;
	size_t i;

	for (i = 0; i < size; i++)
		if (at[i] != (unsigned char)(tag * 167 + 13))
			return false;
	return true;
}

/* ---- one context ---- */

/* Every size is served: aligned, large enough, nobody else's; and all comes back. */
static void test_every_size_is_served_and_comes_back(void **state)
{
	enum { WINDOW = 100 };
	uint64_t all = nr_free(), calls = lab_os_calls();
	void *ptr[WINDOW] = { NULL };
	size_t sizes[WINDOW] = { 0 }, size;
	unsigned int n = 0, i;

	(void)state;
	for (size = 0; size <= 40000; size += size < 5000 ? 7 : 37, n++) {
		i = n % WINDOW;
		if (ptr[i]) {
			assert_true(is_stamped(ptr[i], sizes[i], n - WINDOW));
			labyrinth_free(ptr[i]);
		}
		ptr[i] = lab_atomic_alloc(size, 16, 0);
		assert_non_null(ptr[i]);
		assert_int_equal((uintptr_t)ptr[i] % 16, 0);
		assert_int_equal(lab_zone_of(lab_pfn_of(ptr[i])), LAB_ZONE_RESERVE);
		sizes[i] = labyrinth_malloc_usable_size(ptr[i]);
		assert_true(sizes[i] >= size);
		stamp(ptr[i], sizes[i], n);
	}
	for (i = n - WINDOW; i < n; i++) {
		assert_true(is_stamped(ptr[i % WINDOW], sizes[i % WINDOW], i));
		labyrinth_free(ptr[i % WINDOW]);
	}
	assert_int_equal(lab_os_calls(), calls);
	must_be_all_back(all);
}

/* From any byte of a slab to its object, in every class. */
static void test_index_is_exact(void **state)
{
	unsigned int cls, offset;
	char *frame = block_address(0);

	(void)state;
	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++) {
		assert_int_equal(lab_class[cls].nobj, 4096 / lab_class[cls].size);
		assert_int_equal(lab_class[cls].size % 16, 0);
		assert_true(cls == LAB_CLASS_ATOMIC ||
			    lab_class[cls].size > lab_class[cls - 1].size);
		for (offset = 0; offset < 4096; offset++)
			assert_int_equal(lab_slab_index(frame + offset, cls),
					 offset / lab_class[cls].size);
	}
}

/* A class is as wide as what it serves: no size gets twice what it asked for, from 16 up. */
static void test_classes_are_fitting(void **state)
{
	size_t size, have;
	void *ptr;

	(void)state;
	for (size = 1; size <= LAB_ATOMIC_MAX; size++) {
		ptr = lab_atomic_alloc(size, 1, 0);
		assert_non_null(ptr);
		have = labyrinth_malloc_usable_size(ptr);
		assert_true(have >= size && (have <= 16 || have <= size + size / 2 + 16));
		labyrinth_free(ptr);
	}
	(void)lab_atomic_shrink();
}

/* Any alignment up to a block's, for any size. */
static void test_alignments_hold(void **state)
{
	static const size_t sizes[] = { 0, 1, 17, 100, 672, 1360, 2048, 2049, 4096, 5000, 20000 };
	uint64_t all = nr_free();
	size_t align, i;
	void *ptr, *other;

	(void)state;
	for (align = 1; align <= 64 << 10; align *= 2) {
		for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			other = lab_atomic_alloc(sizes[i], align, 0);
			ptr = lab_atomic_alloc(sizes[i], align, 0);
			assert_true(ptr && other);
			assert_int_equal((uintptr_t)ptr % align, 0);
			assert_int_equal((uintptr_t)other % align, 0);
			memset(ptr, 1, sizes[i]);
			labyrinth_free(other);
			labyrinth_free(ptr);
		}
	}
	assert_null(lab_atomic_alloc(100, 4ul << 20, 0));
	assert_null(lab_atomic_alloc((2ul << 20) + 1, 16, 0));
	assert_null(lab_atomic_alloc(SIZE_MAX, 16, 0));
	must_be_all_back(all);
}

/* Each row of flags stops exactly at its floor, whatever the size of the objects. */
static void test_objects_stop_at_the_floor(void **state)
{
	static const labyrinth_gfp_t rows[] = {
		ATOMIC,
		NOWAIT,
		LABYRINTH___GFP_HIGH,
		0,
		ATOMIC | LABYRINTH___GFP_NOMEMALLOC,
		ATOMIC | LABYRINTH___GFP_MEMALLOC,
	};
	static const size_t sizes[] = { 2048, 1000, 300, 4096 };
	static void *ptr[FRAMES * 16];
	uint64_t all = nr_free(), floor, failed;
	unsigned int row, i, per, n;

	(void)state;
	for (row = 0; row < sizeof(rows) / sizeof(*rows); row++) {
		for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			floor = lab_gfp_floor(LAB_ZONE_RESERVE, rows[row]);
			failed = lab_word_get(&lab_events[LAB_EV_FAIL_ATOMIC_MALLOC]);
			errno = 4711;
			for (n = 0; (ptr[n] = labyrinth_malloc(sizes[i], rows[row])); n++)
				memset(ptr[n], 1, sizes[i]);
			assert_int_equal(errno, 4711);
			assert_int_equal(nr_free(), floor);
			assert_int_equal(lab_word_get(&lab_events[LAB_EV_FAIL_ATOMIC_MALLOC]),
					 failed + 1);
			per = (unsigned int)(4096 / labyrinth_malloc_usable_size(ptr[0]));
			assert_int_equal(n, (all - floor) * per);
			/* and goes on failing until something comes back */
			assert_null(labyrinth_malloc(sizes[i], rows[row]));
			labyrinth_free(ptr[--n]);
			ptr[n] = labyrinth_malloc(sizes[i], rows[row]);
			assert_non_null(ptr[n++]);
			while (n-- > 0)
				labyrinth_free(ptr[n]);
			must_be_all_back(all);
		}
	}
}

/* Runs keep the floor too: what is left of a power of two goes back. */
static void test_runs_give_their_tail_back_and_keep_the_floor(void **state)
{
	uint64_t all = nr_free();
	size_t pages;
	void *ptr;

	(void)state;
	for (pages = 1; pages <= 64; pages++) {
		uint64_t whole = 1ull << lab_order_of(pages);

		ptr = lab_atomic_alloc(pages * 4096 - 5, 16, all - whole);
		assert_non_null(ptr);
		assert_int_equal(nr_free(), all - pages);
		assert_int_equal(labyrinth_malloc_usable_size(ptr), pages * 4096);
		labyrinth_free(ptr);
		if (pages > 1)
			assert_null(lab_atomic_alloc(pages * 4096 - 5, 16, all - whole + 1));
		assert_int_equal(nr_free(), all);
	}
	must_be_all_back(all);
}

/*
 * While there is plenty a class keeps one slab, and a request that would fail
 * gets its frame; below low none is kept.
 */
static void test_a_kept_slab_goes_where_it_is_needed(void **state)
{
	static void *page[FRAMES];
	uint64_t all = nr_free(), low = lab_word_get(&zone->low);
	unsigned int cls, n;

	(void)state;
	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++)
		labyrinth_free(lab_atomic_alloc(lab_class[cls].size, 16, 0));
	assert_int_equal(nr_slabs(), LAB_NR_ATOMIC);
	assert_int_equal(nr_free(), all - LAB_NR_ATOMIC);
	for (n = 0; (page[n] = lab_atomic_alloc(4096, 16, low)); n++)
		;
	assert_int_equal(nr_slabs(), 0);
	assert_int_equal(n, all - low);
	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++)
		labyrinth_free(lab_atomic_alloc(lab_class[cls].size, 16, 0));
	assert_int_equal(nr_slabs(), 0);
	while (n-- > 0)
		labyrinth_free(page[n]);
	assert_int_equal(nr_free(), all);
}

/* Slabs go back as they become free, in any order, without anybody asking. */
static void test_free_slabs_go_back_by_themselves(void **state)
{
	enum { N = 1200 };
	uint64_t seed = new_seed("atomic"), all = nr_free(), most;
	static void *ptr[N];
	unsigned int cls, n;

	(void)state;
	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++) {
		for (n = 0; n < N; n++)
			assert_non_null(ptr[n] = lab_atomic_alloc(lab_class[cls].size, 16, 0));
		most = lab_atomic_slabs(cls);
		assert_int_equal(most, (N + lab_class[cls].nobj - 1) / lab_class[cls].nobj);
		shuffle(ptr, N, &seed);
		for (n = 0; n < N; n++)
			labyrinth_free(ptr[n]);
		if (lab_atomic_slabs(cls) > 2)
			fail_msg("class of %u bytes keeps %llu of %llu slabs", lab_class[cls].size,
				 (unsigned long long)lab_atomic_slabs(cls),
				 (unsigned long long)most);
	}
	must_be_all_back(all);
}

/* What one class left free is used again before a frame is taken. */
static void test_partial_slabs_are_used_first(void **state)
{
	enum { N = 64 };
	uint64_t all = nr_free(), slabs;
	void *ptr[N];
	unsigned int n, cls = LAB_CLASS_ATOMIC + 13;

	(void)state;
	assert_int_equal(lab_class[cls].nobj, 4);
	for (n = 0; n < N; n++)
		ptr[n] = lab_atomic_alloc(1024, 16, 0);
	slabs = lab_atomic_slabs(cls);
	for (n = 0; n < N; n += 2)
		labyrinth_free(ptr[n]);
	for (n = 0; n < N; n += 2)
		assert_non_null(ptr[n] = lab_atomic_alloc(1024, 16, all));
	assert_int_equal(lab_atomic_slabs(cls), slabs);
	for (n = 0; n < N; n++)
		labyrinth_free(ptr[n]);
	must_be_all_back(all);
}

/* ---- the API ---- */

/* Flags: which are refused, which lead to the heap, which clear. */
static void test_flags_lead_where_they_say(void **state)
{
	uint64_t all = nr_free();
	unsigned int turn;
	void *ptr, *other;

	(void)state;
	errno = 0;
	assert_null(labyrinth_malloc(10, ATOMIC | LABYRINTH_GFP_EXCLUSIVE));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(labyrinth_malloc(10, 1u << 25));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(labyrinth_malloc(SIZE_MAX, KERNEL));
	assert_int_equal(errno, ENOMEM);
	errno = 4711;
	assert_null(labyrinth_malloc(SIZE_MAX, ATOMIC));
	ptr = labyrinth_malloc(100, KERNEL);
	assert_int_equal(lab_zone_of(lab_pfn_of(ptr)), LAB_ZONE_HEAP);
	labyrinth_free(ptr);
	for (turn = 0; turn < 2; turn++) {
		labyrinth_gfp_t gfp = turn ? KERNEL : ATOMIC;

		for (size_t size = 1; size <= 20000; size *= 3) {
			ptr = labyrinth_malloc(size, gfp);
			stamp(ptr, labyrinth_malloc_usable_size(ptr), 1);
			labyrinth_free(ptr);
			ptr = labyrinth_malloc(size, gfp | ZERO);
			assert_true(is_zero(ptr, size));
			labyrinth_free(ptr);
		}
	}
	ptr = labyrinth_malloc(0, ATOMIC);
	other = labyrinth_malloc(0, ATOMIC);
	assert_true(ptr && other && ptr != other);
	labyrinth_free(ptr);
	labyrinth_free_sized(other, 0);
	assert_int_equal(errno, 4711);
	must_be_all_back(all);
}

/* realloc moves to ordinary memory where it grows, and keeps what was written. */
static void test_realloc_moves_to_the_heap(void **state)
{
	static const size_t sizes[] = { 1, 16, 100, 1360, 2048, 4096, 20000, 40000, 100000 };
	uint64_t all = nr_free();
	size_t i, have;
	char *ptr, *to;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ptr = lab_atomic_alloc(sizes[i], 16, 0);
		have = labyrinth_malloc_usable_size(ptr);
		stamp(ptr, have, i);
		assert_ptr_equal(labyrinth_heap_realloc(ptr, have), ptr);
		to = labyrinth_heap_realloc(ptr, have + 1);
		assert_ptr_not_equal(to, ptr);
		assert_int_equal(lab_zone_of(lab_pfn_of(to)), LAB_ZONE_HEAP);
		assert_true(is_stamped(to, have, i));
		labyrinth_free(to);
		ptr = lab_atomic_alloc(sizes[i], 16, 0);
		stamp(ptr, have, i);
		to = labyrinth_heap_realloc(ptr, (have + 3) / 4);
		assert_true(is_stamped(to, (have + 3) / 4, i));
		assert_null(labyrinth_heap_realloc(to, 0));
	}
	/* a long run is cut where it is */
	ptr = lab_atomic_alloc(100 << 10, 16, 0);
	assert_ptr_equal(labyrinth_heap_realloc(ptr, 50 << 10), ptr);
	(void)lab_atomic_shrink();
	assert_int_equal(nr_free(), all - 13);
	labyrinth_free(ptr);
	must_be_all_back(all);
}

/* ---- misuse ---- */

static void double_free(void *arg)
{
	size_t size = *(size_t *)arg;
	void *ptr = lab_atomic_alloc(size, 16, 0);

	labyrinth_free(ptr);
	labyrinth_free(ptr);
}

static void interior_free(void *arg)
{
	size_t size = *(size_t *)arg;
	char *ptr = lab_atomic_alloc(size, 16, 0);

	labyrinth_free(ptr + (size > 16 ? 16 : 8));
}

static void realloc_freed(void *arg)
{
	void *ptr = lab_atomic_alloc(*(size_t *)arg, 16, 0);

	labyrinth_free(ptr);
	(void)labyrinth_heap_realloc(ptr, 9999);
}

static void usable_size_freed(void *arg)
{
	void *ptr = lab_atomic_alloc(*(size_t *)arg, 16, 0);

	labyrinth_free(ptr);
	(void)labyrinth_malloc_usable_size(ptr);
}

static void as_a_page(void *arg)
{
	void *ptr = lab_atomic_alloc(*(size_t *)arg, 4096, 0);

	labyrinth_free_page(ptr);
	_exit(labyrinth_malloc_usable_size(ptr) ? 55 : 0);
}

/* Misuse is found at once and reported as that of any other block. */
static void test_misuse_is_reported(void **state)
{
	static const size_t sizes[] = { 1, 64, 100, 512, 2048, 4000, 9000 };
	struct outcome out;
	char text[80];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		void *arg = (void *)&sizes[i];
		bool large = sizes[i] > LAB_ATOMIC_MAX;

		assert_child_aborts(double_free, arg, "BUG: double free of ");
		assert_child_aborts(interior_free, arg, "which is inside a block, not its start (");
		assert_child_aborts(realloc_freed, arg, "BUG: realloc after free of ");
		assert_child_aborts(usable_size_freed, arg,
				    "BUG: malloc_usable_size after free of ");
		if (large)
			continue;
		snprintf(text, sizeof(text), "(size class %zu)",
			 sizes[i] == 1	   ? (size_t)16
			 : sizes[i] == 100 ? (size_t)128
					   : sizes[i]);
		assert_child_aborts(double_free, arg, text);
	}
	i = 4096;
	out = in_child(as_a_page, &i);
	assert_true(WIFEXITED(out.status) && WEXITSTATUS(out.status) == 55);
	assert_non_null(strstr(out.said, "which is not from labyrinth_alloc_pages()"));
}

/* ---- what atomic means ---- */

static struct {
	long faults;
	uint64_t calls, objects;
	unsigned int classes;
} seen;

/* every class until the reserve is empty, all of it written, and back */
static void use_all_of_it(unsigned int classes, uint64_t floor)
{
	static const size_t runs[] = { 4096, 20000, 100000 };
	size_t size;
	void *list, *next;
	unsigned int i;

	for (i = 0; i < classes; i++) {
		size = i < LAB_NR_ATOMIC ? lab_class[LAB_CLASS_ATOMIC + i].size
					 : runs[i - LAB_NR_ATOMIC];
		for (list = NULL;
		     (next = labyrinth_malloc(size,
					      floor ? NOWAIT : ATOMIC | LABYRINTH___GFP_MEMALLOC));
		     list = next, seen.objects++) {
			memset(next, 1, size);
			*(void **)next = list;
		}
		for (; list; list = next) {
			next = *(void **)list;
			labyrinth_free(list);
		}
	}
}

static void on_usr1(int sig)
{
	struct rusage before, after;
	uint64_t calls;

	(void)sig;
	getrusage(RUSAGE_THREAD, &before);
	calls = lab_os_calls();
	use_all_of_it(seen.classes, 0);
	seen.calls = lab_os_calls() - calls;
	getrusage(RUSAGE_THREAD, &after);
	seen.faults = after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt;
}

extern char __executable_start, _end;

/* pages of the program's file, and its other data for reading only; there are holes */
static bool map_program(void)
{
	uintptr_t at = (uintptr_t)&__executable_start & ~4095ul;

	for (; at < (uintptr_t)&_end; at += 4096)
		if (madvise((void *)at, 4096, MADV_POPULATE_READ) && errno != ENOMEM)
			return false;
	return true;
}

/*
 * From a handler all of the reserve is used in every class, down to its last
 * frame: no system call, not one page fault.  Nothing was called before, but
 * the text of the calls themselves is there.
 */
static void test_handlers_take_no_page_fault(void **state)
{
	uint64_t all = nr_free();

	(void)state;
	signal(SIGUSR1, on_usr1);
	if (!map_program()) {
		print_message("this kernel does not map ahead: one call before\n");
		labyrinth_free(labyrinth_malloc(1, ATOMIC));
		assert_null(labyrinth_malloc(4ul << 20, ATOMIC));
	}
	seen.classes = 0;
	raise(SIGUSR1);
	seen.classes = LAB_NR_ATOMIC + 3;
	raise(SIGUSR1);
	assert_true(seen.objects > FRAMES * 16u * 256 / 10);
	assert_int_equal(seen.calls, 0);
	if (harness_touches()[0])
		print_message("%s touches its own memory: faults are not compared\n",
			      harness_touches());
	else
		assert_int_equal(seen.faults, 0);
	must_be_all_back(all);
	signal(SIGUSR1, SIG_DFL);
}

#define ALLOW(nr)                                                                                  \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1),                                           \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void close_the_door(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_rt_sigreturn),
		ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

enum { KEPT = 64, PAIRS = 1000000 };

static void sandboxed_handler(int sig)
{
	static const labyrinth_gfp_t gfps[] = { ATOMIC, NOWAIT, ATOMIC | ZERO, 0 };
	static void *kept[KEPT];
	uint64_t seed = 88172645463325252ull;
	unsigned int i, at;

	(void)sig;
	close_the_door();
	for (i = 0; i < PAIRS; i++) {
		uint64_t dice = next_random(&seed);
		size_t size = dice % (dice & 256 ? 300 : dice & 512 ? 3000 : 50000);

		at = dice >> 16 & (KEPT - 1);
		labyrinth_free(kept[at]);
		/* now and then more than there is */
		kept[at] = labyrinth_malloc(dice % 1000 ? size : 9ul << 20, gfps[dice >> 32 & 3]);
		if (kept[at] && size)
			*(volatile char *)kept[at] = 1;
	}
	use_all_of_it(LAB_NR_ATOMIC + 3, 1);
	for (at = 0; at < KEPT; at++)
		labyrinth_free(kept[at]);
}

static void in_the_sandbox(void *unused)
{
	static void *idle[60];
	unsigned int i;

	(void)unused;
	/* so much idle memory that an ordinary free would give some of it to the system */
	for (i = 0; i < 60; i++)
		must(idle[i] = labyrinth_heap_malloc(1 << 20));
	for (i = 0; i < 60; i++)
		labyrinth_free(idle[i]);
	signal(SIGUSR1, sandboxed_handler);
	raise(SIGUSR1);
	_exit(lab_atomic_shrink() <= LAB_NR_ATOMIC ? 0 : 3);
}

/* A million requests of all kinds in a handler that would be killed for a system call. */
static void test_no_system_call_but_the_return(void **state)
{
	(void)state;
	if (HARNESS_SANITIZER[0]) {
		print_message("%s makes system calls of its own\n", HARNESS_SANITIZER);
		return;
	}
	assert_child_succeeds(in_the_sandbox, NULL);
}

/* ---- many contexts ---- */

enum { NR_STORM = 8, NR_SHARED = 256, NR_OWN = 24 };

struct item {
	uint64_t tag;
	uint32_t size;
	uint32_t check;
};

static _Atomic(struct item *) shared[NR_SHARED];
static uint64_t storm_seed, storm_until;
static _Atomic unsigned long nr_handlers, nr_allocated;

/* what a thread's handler owns */
static _Thread_local struct item *own[NR_OWN];
static _Thread_local uint64_t handler_seed;

static struct item *item_new(uint64_t *seed)
{
	uint64_t dice = next_random(seed);
	size_t size = 16 + dice % (dice & 1024 ? 200 : dice & 2048 ? 2032 : 9000);
	struct item *item = lab_atomic_alloc(size, 16, 16);

	if (!item)
		return NULL;
	memset(item, (int)(dice & 0xff), size);
	item->tag = dice;
	item->size = (uint32_t)size;
	item->check = (uint32_t)(dice * 31 + size);
	nr_allocated++;
	return item;
}

static void item_end(struct item *item)
{
	if (!item)
		return;
	must(item->check == (uint32_t)(item->tag * 31 + item->size));
	for (size_t i = sizeof(*item); i < item->size; i++)
		must(((unsigned char *)item)[i] == (unsigned char)item->tag);
	labyrinth_free(item);
}

static void storm_turn(uint64_t *seed)
{
	struct item *mine = item_new(seed), *old;
	uint64_t dice = next_random(seed);

	/* whoever finds it frees it: another thread, or a handler */
	old = atomic_exchange(&shared[dice % NR_SHARED], mine);
	item_end(old);
}

static void storm_handler(int sig)
{
	unsigned int at;

	(void)sig;
	nr_handlers++;
	at = (unsigned int)random_below(&handler_seed, NR_OWN);
	if (own[at]) {
		item_end(own[at]);
		own[at] = NULL;
	}
	own[at] = item_new(&handler_seed);
	storm_turn(&handler_seed);
}

static timer_t storm_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
	struct itimerspec often = { { 0, 50000 }, { 0, 50000 } };
	timer_t timer;

	event._sigev_un._tid = (int)syscall(SYS_gettid);
	must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	must(timer_settime(timer, 0, &often, NULL) == 0);
	return timer;
}

static void storm_thread(unsigned int id, void *unused)
{
	uint64_t seed = storm_seed + id * 7919;
	timer_t timer;
	sigset_t set;

	(void)unused;
	handler_seed = seed * 3 | 1;
	seed |= 1;
	timer = storm_timer();
	while (now_ms() < storm_until) {
		for (unsigned int turn = 0; turn < 50; turn++)
			storm_turn(&seed);
		if (id == 0)
			(void)lab_atomic_shrink();
	}
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	timer_delete(timer);
	for (unsigned int i = 0; i < NR_OWN; i++)
		item_end(own[i]);
}

/* Threads and their handlers hand each other objects; in the end all is back. */
static void test_storm_keeps_every_object_and_count(void **state)
{
	struct sigaction action = { .sa_handler = storm_handler, .sa_flags = SA_RESTART };
	uint64_t all = nr_free();
	unsigned int i;

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	storm_seed = new_seed("atomic storm");
	storm_until = now_ms() + 4 * STRESS_MS;
	run_threads(NR_STORM, storm_thread, NULL);
	for (i = 0; i < NR_SHARED; i++)
		item_end(atomic_exchange(&shared[i], NULL));
	print_message("%lu handlers, %lu objects\n", nr_handlers, nr_allocated);
	assert_true(nr_handlers > 100 && nr_allocated > 10000);
	must_be_all_back(all);
}

/* threads at the floor: a few frames, many who want them */
static void tight_thread(unsigned int id, void *arg)
{
	uint64_t seed = storm_seed + id * 104729, floor = *(uint64_t *)arg;
	void *held[4] = { NULL };

	seed |= 1;
	while (now_ms() < storm_until) {
		for (unsigned int turn = 0; turn < 200; turn++) {
			void **at = &held[random_below(&seed, 4)];

			labyrinth_free(*at);
			*at = lab_atomic_alloc(1 + random_below(&seed, 5000), 16, floor);
			must(nr_free() >= floor);
		}
	}
	for (unsigned int i = 0; i < 4; i++)
		labyrinth_free(held[i]);
}

/* No interleaving takes a frame below the floor. */
static void test_floor_holds_among_threads(void **state)
{
	uint64_t all = nr_free(), floor = all - 12;

	(void)state;
	storm_seed = new_seed("atomic floor");
	storm_until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, tight_thread, &floor);
	must_be_all_back(all);
}

/* ---- */

/* forget the reserve of the constructor; nothing of it is in use yet */
static int own_reserve(void **state)
{
	(void)state;
	while (lab_pcp_pop(LAB_PCP_API))
		;
	memset(zone, 0, sizeof(*zone));
	return lab_reserve_init(LAB_ZONE_RESERVE, FRAMES, FRAMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: fork() write-protects the reserve like all memory */
		cmocka_unit_test(test_handlers_take_no_page_fault),
		cmocka_unit_test(test_every_size_is_served_and_comes_back),
		cmocka_unit_test(test_index_is_exact),
		cmocka_unit_test(test_classes_are_fitting),
		cmocka_unit_test(test_alignments_hold),
		cmocka_unit_test(test_objects_stop_at_the_floor),
		cmocka_unit_test(test_runs_give_their_tail_back_and_keep_the_floor),
		cmocka_unit_test(test_a_kept_slab_goes_where_it_is_needed),
		cmocka_unit_test(test_free_slabs_go_back_by_themselves),
		cmocka_unit_test(test_partial_slabs_are_used_first),
		cmocka_unit_test(test_flags_lead_where_they_say),
		cmocka_unit_test(test_realloc_moves_to_the_heap),
		cmocka_unit_test(test_storm_keeps_every_object_and_count),
		cmocka_unit_test(test_floor_holds_among_threads),
		cmocka_unit_test(test_misuse_is_reported),
		cmocka_unit_test(test_no_system_call_but_the_return),
	};

	return cmocka_run_group_tests_name("atomic", tests, own_reserve, NULL);
}

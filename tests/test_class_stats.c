/* SPDX-License-Identifier: MIT */
/*
 * The figures of classes, CPUs and zones against the truth: threads and their
 * handlers keep books of all they hold, and when all is quiet the library's
 * books say the same.
 */
#include "harness.h"

#include <limits.h>
#include <stdatomic.h>

#include "labyrinth.h"
#include "page/highatomic.h"
#include "slab/atomic.h"

enum { THREADS = 8, HELD = 400, HANDLER_HELD = 32, CLASSES_MAX = 128, HUGE_MAX = 5 << 20 };

/* what a block was asked as */
enum what { MALLOC, ATOMIC, PAGE, PAGES, MAPPED, NR_WHATS };

struct block {
	void *at;
	size_t bytes; /* asked for; of PAGES, the order */
	enum what what;
};

struct books {
	struct block held[HELD], handler[HANDLER_HELD];
	uint64_t random, random_handler;
	unsigned long calls, handlers;
	pthread_t thread;
};

static struct books books[THREADS];
static __thread struct books *mine;
static atomic_int stop, running;

/* ---- the program's books ---- */

static bool take(struct block *b, uint64_t *random, bool in_handler)
{
	uint64_t dice = random_below(random, 100);

	b->what = dice < 60   ? MALLOC
		  : dice < 75 ? ATOMIC
		  : dice < 85 ? PAGE
		  : dice < 92 ? PAGES
			      : MAPPED;
	b->bytes = random_below(random, 10) ? random_below(random, 2000) + 1
					    : random_below(random, 200000) + 1;
	switch (b->what) {
	case MALLOC:
		if (!in_handler && random_below(random, 500) == 0)
			b->bytes = 2 << 20 | random_below(random, 3 << 20);
		b->at = labyrinth_heap_malloc(b->bytes);
		break;
	case ATOMIC:
		b->bytes = b->bytes % 3000 + 1;
		b->at = labyrinth_malloc(b->bytes, LABYRINTH_GFP_ATOMIC | LABYRINTH___GFP_NOWARN);
		break;
	case PAGE:
		b->at = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC | LABYRINTH___GFP_NOWARN);
		break;
	case PAGES:
		b->bytes %= 4;
		b->at = labyrinth_alloc_pages(LABYRINTH_GFP_NOWAIT | LABYRINTH___GFP_NOWARN,
					      (unsigned int)b->bytes);
		break;
	default:
		b->bytes = b->bytes % 16 + 1;
		b->at = labyrinth_mmap(NULL, b->bytes * LAB_PAGE_BYTES, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (b->at == MAP_FAILED)
			b->at = NULL;
	}
	return b->at != NULL;
}

static void give(struct block *b)
{
	switch (b->what) {
	case PAGE:
		labyrinth_free_page(b->at);
		break;
	case PAGES:
		labyrinth_free_pages(b->at, (unsigned int)b->bytes);
		break;
	case MAPPED:
		must(labyrinth_munmap(b->at, b->bytes * LAB_PAGE_BYTES) == 0);
		break;
	default:
		labyrinth_free(b->at);
	}
	b->at = NULL;
}

static void resize(struct block *b, uint64_t *random)
{
	size_t bytes = random_below(random, 40) ? random_below(random, 100000) + 1
						: random_below(random, HUGE_MAX) + 1;
	void *at = labyrinth_heap_realloc(b->at, bytes);

	if (!at)
		return;
	b->at = at;
	b->bytes = bytes;
}

static void on_signal(int signo)
{
	struct books *b = mine;
	struct block *slot;

	(void)signo;
	if (!b)
		return;
	(void)__atomic_fetch_add(&b->handlers, 1, __ATOMIC_RELAXED);
	slot = &b->handler[random_below(&b->random_handler, HANDLER_HELD)];
	if (slot->at)
		give(slot);
	else
		(void)take(slot, &b->random_handler, true);
}

static void work(unsigned int id, void *arg)
{
	struct books *b = &books[id];

	(void)arg;
	b->thread = pthread_self();
	mine = b;
	atomic_fetch_add(&running, 1);
	while (!atomic_load(&stop)) {
		struct block *slot = &b->held[random_below(&b->random, HELD)];

		b->calls++;
		if (!slot->at)
			(void)take(slot, &b->random, false);
		else if (slot->what == MALLOC && random_below(&b->random, 8) == 0)
			resize(slot, &b->random);
		else
			give(slot);
	}
	mine = NULL;
	atomic_fetch_sub(&running, 1);
	/* the storm sees that we end, before our thread is no more */
	while (atomic_load(&running) > 0)
		sched_yield();
}

/* ---- the library's ---- */

struct truth {
	uint64_t active[CLASSES_MAX], bytes[CLASSES_MAX];
};

static unsigned int class_named(const char *name)
{
	struct labyrinth_class_info info;
	unsigned int i;

	for (i = 0; labyrinth_class_info(i, &info) == 0; i++)
		if (strcmp(info.name, name) == 0)
			return i;
	fail_msg("no class %s", name);
	return 0;
}

/* by the frame's kind, which is what free() goes by */
static unsigned int class_of(const struct block *b)
{
	uint8_t kind = lab_mem_kind(b->at);
	char name[24];

	if (b->what == PAGE || b->what == PAGES)
		return class_named(kind == LAB_KIND_ORDER ? "pages" : "page");
	if (kind == LAB_KIND_LARGE || kind == LAB_KIND_HUGE)
		return class_named(kind == LAB_KIND_LARGE ? "large" : "huge");
	if (kind == LAB_PCP_PAGE)
		return class_named("malloc-page");
	snprintf(name, sizeof(name), "%s-%u", lab_is_atomic_class(kind) ? "atomic" : "malloc",
		 lab_class[kind].size);
	return class_named(name);
}

static void add(struct truth *truth, const struct block *b)
{
	unsigned int i;

	if (!b->at)
		return;
	if (b->what == MAPPED) {
		/* what the kernel served is none of ours */
		if (!lab_mem_covers(b->at))
			return;
		i = class_named("mmap");
		truth->active[i] += b->bytes;
		truth->bytes[i] += b->bytes * LAB_PAGE_BYTES;
		return;
	}
	i = class_of(b);
	truth->active[i]++;
	if (b->what == PAGE || b->what == PAGES)
		truth->bytes[i] += LAB_PAGE_BYTES << (b->what == PAGE ? 0 : b->bytes);
	else
		truth->bytes[i] += labyrinth_malloc_usable_size(b->at);
}

static void assert_truth(const struct truth *before, const char *when)
{
	static struct truth truth;
	struct labyrinth_class_info info;
	struct labyrinth_cpu_info cpu;
	unsigned int i, n, nr_cpus = 0;
	uint64_t all_taken = 0, told_taken = 0;

	truth = *before;
	for (i = 0; i < THREADS; i++) {
		for (n = 0; n < HELD; n++)
			add(&truth, &books[i].held[n]);
		for (n = 0; n < HANDLER_HELD; n++)
			add(&truth, &books[i].handler[n]);
	}
	for (i = 0; labyrinth_class_info(i, &info) == 0; i++) {
		uint64_t taken = 0, given = 0, stacked = 0;

		if (info.active != truth.active[i] || info.bytes != truth.bytes[i])
			fail_msg("%s: %s: active %llu, bytes %llu; in truth %llu, %llu", when,
				 info.name, (unsigned long long)info.active,
				 (unsigned long long)info.bytes,
				 (unsigned long long)truth.active[i],
				 (unsigned long long)truth.bytes[i]);
		for (n = 0; labyrinth_cpu_info(n, i, &cpu) == 0; n++) {
			taken += cpu.taken;
			given += cpu.given;
			stacked += cpu.stacked;
		}
		nr_cpus = n;
		/* the whole is the sum of its parts; atomic classes have none */
		assert_int_equal(info.stacked, stacked);
		if (strncmp(info.name, "atomic", 6) != 0) {
			/* a few are counted for no CPU: those of start-up, and amid signals */
			assert_true(taken <= info.taken && given <= info.given);
			all_taken += info.taken;
			told_taken += taken;
		}
		if (info.per_slab) {
			assert_int_equal(info.objects, info.slabs * info.per_slab);
			assert_true(info.active + info.stacked <= info.objects);
		} else {
			assert_int_equal(info.objects, info.active + info.stacked);
		}
	}
	assert_true(told_taken > all_taken / 2);
	assert_true(nr_cpus >= (unsigned int)sysconf(_SC_NPROCESSORS_CONF) ||
		    nr_cpus == LAB_NR_CPUS);
}

/* Frames out of both zones, by the classes, are those that the zones miss. */
static void assert_zones(void)
{
	struct labyrinth_zone_info heap, reserve;
	struct labyrinth_class_info info;
	uint64_t frames = lab_highatomic_frames();
	unsigned int i;

	for (i = 0; labyrinth_class_info(i, &info) == 0; i++) {
		if (info.per_slab)
			frames += info.slabs * info.slab_pages;
		else if (info.size)
			frames += info.taken - info.given;
		else if (strcmp(info.name, "huge") != 0)
			frames += info.bytes / LAB_PAGE_BYTES;
		else
			/* of huge blocks whole blocks are taken: the caller has none */
			assert_int_equal(info.active, 0);
	}
	(void)labyrinth_zone_info(LABYRINTH_ZONE_HEAP, &heap);
	(void)labyrinth_zone_info(LABYRINTH_ZONE_RESERVE, &reserve);
	assert_int_equal(heap.managed - heap.free + reserve.managed - reserve.free, frames);
}

static void snapshot(struct truth *to)
{
	struct labyrinth_class_info info;
	unsigned int i;

	memset(to, 0, sizeof(*to));
	for (i = 0; labyrinth_class_info(i, &info) == 0; i++) {
		assert_true(i < CLASSES_MAX);
		to->active[i] = info.active;
		to->bytes[i] = info.bytes;
	}
	assert_true(i > 90);
}

static void free_all(bool only_huge)
{
	unsigned int i, n;

	for (i = 0; i < THREADS; i++) {
		for (n = 0; n < HELD; n++)
			if (books[i].held[n].at &&
			    (!only_huge || lab_mem_kind(books[i].held[n].at) == LAB_KIND_HUGE))
				give(&books[i].held[n]);
		for (n = 0; !only_huge && n < HANDLER_HELD; n++)
			if (books[i].handler[n].at)
				give(&books[i].handler[n]);
	}
}

/* ---- the storm ---- */

static unsigned long handlers_run(void)
{
	unsigned long n = 0;
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		n += __atomic_load_n(&books[i].handlers, __ATOMIC_RELAXED);
	return n;
}

static void *storm(void *arg)
{
	/* as long as it takes on a machine that is busy otherwise */
	uint64_t until = now_ms() + 1000, last = until + 60000, random = 4711;
	unsigned long *sent = arg;
	struct labyrinth_class_info info;

	while (atomic_load(&running) < THREADS)
		sched_yield();
	while (now_ms() < until || (handlers_run() < 300 && now_ms() < last)) {
		must(pthread_kill(books[random_below(&random, THREADS)].thread, SIGUSR1) == 0);
		++*sent;
		/* readers are no obstacle, and see no nonsense */
		must(labyrinth_class_info((unsigned int)random_below(&random, 90), &info) == 0);
		must((int64_t)info.active >= 0 && info.active < 1ull << 40);
	}
	atomic_store(&stop, 1);
	return NULL;
}

/* Eight threads, signals whose handlers allocate and free: then all counters are true. */
static void test_counters_are_true_after_a_storm(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	static struct truth before;
	unsigned long sent = 0, calls = 0;
	uint64_t seed = new_seed("class stats");
	pthread_t sender;
	unsigned int i;

	(void)state;
	for (i = 0; i < THREADS; i++) {
		books[i].random = seed + 2 * i;
		books[i].random_handler = ~seed + 2 * i;
	}
	must(sigaction(SIGUSR1, &sa, NULL) == 0);
	snapshot(&before);
	must(pthread_create(&sender, NULL, storm, &sent) == 0);
	run_threads(THREADS, work, NULL);
	pthread_join(sender, NULL);
	for (i = 0; i < THREADS; i++)
		calls += books[i].calls;
	print_message("%lu calls, %lu handlers of %lu signals\n", calls, handlers_run(), sent);
	assert_true(handlers_run() >= 300 && calls > 10000);
	assert_truth(&before, "after the storm");
	free_all(true);
	assert_zones();
	(void)labyrinth_malloc_trim(0);
	assert_truth(&before, "after a trim");
	assert_zones();
	free_all(false);
	assert_truth(&before, "all freed");
	assert_zones();
}

/* Bulk, exact sizes and blocks made single keep the books too. */
static void test_page_calls_keep_the_books(void **state)
{
	static struct truth before;
	struct labyrinth_class_info one, many;
	void *pages[100] = { NULL }, *block, *exact;
	size_t n, got;

	(void)state;
	snapshot(&before);
	n = labyrinth_alloc_pages_bulk(LABYRINTH_GFP_KERNEL, 100, pages);
	assert_true(n >= 16);
	got = n;
	block = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 3);
	exact = labyrinth_alloc_pages_exact(5 * LAB_PAGE_BYTES, LABYRINTH_GFP_KERNEL);
	assert_non_null(block);
	assert_non_null(exact);
	labyrinth_split_page(block, 3);
	(void)labyrinth_class_info(class_named("page"), &one);
	(void)labyrinth_class_info(class_named("pages"), &many);
	/* of the heap or of the reserve: single pages all the same */
	assert_int_equal(one.active + many.active, got + 13 + before.active[class_named("page")] +
							   before.active[class_named("pages")]);
	assert_int_equal(one.bytes + many.bytes, (got + 13) * LAB_PAGE_BYTES +
							 before.bytes[class_named("page")] +
							 before.bytes[class_named("pages")]);
	labyrinth_free_pages_bulk(got, pages);
	for (n = 0; n < 8; n++)
		labyrinth_free_page((char *)block + n * LAB_PAGE_BYTES);
	labyrinth_free_pages_exact(exact, 5 * LAB_PAGE_BYTES);
	assert_truth(&before, "pages freed");
	assert_zones();
}

/* the least time in which all classes were read, of many */
static uint64_t read_all_ns(void)
{
	struct labyrinth_class_info info;
	struct timespec from, to;
	uint64_t least = UINT64_MAX, ns;
	unsigned int turn, i;

	for (turn = 0; turn < 100; turn++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		for (i = 0; labyrinth_class_info(i, &info) == 0; i++)
			;
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec -
		     (uint64_t)from.tv_nsec;
		least = ns < least ? ns : least;
	}
	return least;
}

/* A million objects make reading no slower. */
static void test_reading_takes_constant_time(void **state)
{
	enum { MANY = 1000000 };
	void **many = labyrinth_heap_malloc(MANY * sizeof(*many));
	uint64_t few_ns = read_all_ns(), many_ns;
	size_t i;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < MANY; i++)
		assert_non_null(many[i] = labyrinth_heap_malloc(16 + i % 200));
	many_ns = read_all_ns();
	for (i = 0; i < MANY; i++)
		labyrinth_free(many[i]);
	labyrinth_free(many);
	print_message("all classes: %llu ns, with %d objects %llu ns\n", (unsigned long long)few_ns,
		      MANY, (unsigned long long)many_ns);
	assert_true(many_ns < 3 * few_ns + 1000);
}

/* What there is not is refused. */
static void test_no_such_class_or_cpu(void **state)
{
	struct labyrinth_class_info info;
	struct labyrinth_cpu_info cpu;

	(void)state;
	assert_int_equal(labyrinth_class_info(CLASSES_MAX, &info), -EINVAL);
	assert_int_equal(labyrinth_class_info(UINT_MAX, &info), -EINVAL);
	assert_int_equal(labyrinth_cpu_info(0, UINT_MAX, &cpu), -EINVAL);
	assert_int_equal(labyrinth_cpu_info(LAB_NR_CPUS, 0, &cpu), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counters_are_true_after_a_storm),
		cmocka_unit_test(test_page_calls_keep_the_books),
		cmocka_unit_test(test_reading_takes_constant_time),
		cmocka_unit_test(test_no_such_class_or_cpu),
	};

	return cmocka_run_group_tests_name("class stats", tests, NULL, NULL);
}

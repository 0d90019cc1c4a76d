/* SPDX-License-Identifier: MIT */
/* Profiles and page_owner from within: what is refused, what finds no room, what is written. */
#include "harness.h"

#include <sys/resource.h>

#include "diag/owner.h"
#include "labyrinth.h"
#include "page/frame.h"
#include "slab/sizeclass.h"
#include "watched_step.h"

enum { MIB = 1 << 20, PAGE = LAB_PAGE_BYTES };

/* what @dump writes */
static const char *written(int (*dump)(int fd))
{
	static char text[1 << 20];
	int fd = memfd_create("dump", 0);
	ssize_t got;

	must(fd >= 0 && dump(fd) == 0);
	got = pread(fd, text, sizeof(text) - 1, 0);
	must(got >= 0);
	text[got] = '\0';
	close(fd);
	return text;
}

static unsigned int occurrences(const char *text, const char *of)
{
	unsigned int n = 0;

	for (; (text = strstr(text, of)); text += strlen(of))
		n++;
	return n;
}

/* ---- before the start ---- */

static void see(const struct lab_owner *owner, void *arg)
{
	(void)owner;
	++*(unsigned int *)arg;
}

static unsigned int nr_owners(void)
{
	unsigned int n = 0;

	lab_owner_each(see, &n);
	return n;
}

static void before_start(void *unused)
{
	const struct lab_owner owner = { .address = 0x1000, .bytes = PAGE };

	(void)unused;
	must(labyrinth_profile_dump(1, LABYRINTH_PROFILE_HEAP) == -EINVAL);
	must(labyrinth_page_owner_dump(1) == -EINVAL);
	must(labyrinth_object_owner_dump(1) == -EINVAL);
	must(labyrinth_profile_start((1ul << 40) + 1) == -EINVAL);
	lab_owner_add(&owner);
	lab_owner_remove((void *)0x1000, 0);
	must(nr_owners() == 0 && lab_owner_lost() == 0);
	/* a profile alone owns no pages */
	must(labyrinth_profile_start(1) == 0);
	must(labyrinth_page_owner_dump(1) == -EINVAL);
	must(labyrinth_object_owner_dump(1) == -EINVAL);
}

/* What has not been started cannot be written, and records nothing. */
static void test_nothing_is_there_before_the_start(void **state)
{
	(void)state;
	assert_child_succeeds(before_start, NULL);
}

static void start_rarely(void)
{
	must(labyrinth_profile_start(1ul << 40) == 0);
}

static void allocate_once(void)
{
	must(labyrinth_heap_malloc(12345));
}

static void allocate_while_starting(void *unused)
{
	(void)unused;
	at_watched_step(start_rarely, allocate_once);
	must(nr_owners() == 0);
}

/* Nothing is sampled before the rate is known. */
static void test_rate_is_there_when_samples_are_taken(void **state)
{
	(void)state;
	assert_child_succeeds(allocate_while_starting, NULL);
}

static size_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	must(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	return pages * PAGE;
}

static void limit_to(size_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	must(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void without_memory(void *unused)
{
	/* the depot has 32 MiB, the table 1 and 8: nothing, the first, the first two */
	static const size_t more[] = { 0, 32 * MIB + MIB / 2, 32 * MIB + 4 * MIB };
	size_t was = address_space(), i;

	(void)unused;
	for (i = 0; i < 3; i++) {
		limit_to(was + more[i]);
		must(labyrinth_profile_start(1) == -ENOMEM);
		must(labyrinth_profile_dump(1, LABYRINTH_PROFILE_HEAP) == -EINVAL);
	}
	/* of the table nothing is left */
	limit_to(RLIM_INFINITY);
	must(address_space() <= was + 33 * MIB);
	must(labyrinth_profile_start(1) == 0);
	must(labyrinth_heap_malloc(12345));
	must(nr_owners() > 0);
}

/* Without memory it is not started, and later it may be. */
static void test_start_without_memory_is_refused(void **state)
{
	(void)state;
	if (HARNESS_SANITIZER[0]) {
		print_message("%s needs address space of its own\n", HARNESS_SANITIZER);
		return;
	}
	assert_child_succeeds(without_memory, NULL);
}

/* ---- what is written ---- */

static void bad_descriptors(void *unused)
{
	static const enum labyrinth_profile_format formats[] = { LABYRINTH_PROFILE_HEAP,
								 LABYRINTH_PROFILE_COLLAPSED,
								 LABYRINTH_PROFILE_LEAKS };
	size_t i;

	(void)unused;
	must(labyrinth_profile_start(1) == 0 && labyrinth_page_owner_start() == 0);
	must(labyrinth_heap_malloc(100) && labyrinth_heap_malloc(50000));
	must(labyrinth_alloc_page(LABYRINTH_GFP_KERNEL));
	for (i = 0; i < 3; i++)
		must(labyrinth_profile_dump(-1, formats[i]) == -EBADF);
	must(labyrinth_profile_dump(1, (enum labyrinth_profile_format)3) == -EINVAL);
	must(labyrinth_page_owner_dump(-1) == -EBADF);
	must(labyrinth_object_owner_dump(-1) == -EBADF);
}

/* A descriptor that cannot be written is told, of every format. */
static void test_dumps_return_the_error(void **state)
{
	(void)state;
	assert_child_succeeds(bad_descriptors, NULL);
}

static void objects(void *unused)
{
	char address[40];
	void *ptr;

	(void)unused;
	must(labyrinth_profile_start(1) == 0 && labyrinth_page_owner_start() == 0);
	must((ptr = labyrinth_heap_malloc(30001)));
	snprintf(address, sizeof(address), "Address %p\n", ptr);
	must(strstr(written(labyrinth_object_owner_dump), address));
	must(!strstr(written(labyrinth_page_owner_dump), address));
	labyrinth_free(ptr);
	must(!strstr(written(labyrinth_object_owner_dump), address));
}

/* An object has a record until it is freed. */
static void test_objects_have_records(void **state)
{
	(void)state;
	assert_child_succeeds(objects, NULL);
}

/*
 * 20,000 pairs of 64 bytes, at a rate of 4096: 312 samples, with a standard deviation of
 * 18.  One object serves all pairs, and never leaves the stack of its class.
 */
static void pairs(void *unused)
{
	unsigned int i, n = 0, shift = LAB_LIVE_SHIFT_OF(lab_class_of(64));
	void *ptr;

	(void)unused;
	must(labyrinth_profile_start(4096) == 0);
	for (i = 0; i < 20000; i++) {
		must((ptr = labyrinth_heap_malloc(64)));
		n += lab_byte_get(lab_live_byte(ptr, shift)) == lab_live_marked(ptr);
		labyrinth_free(ptr);
	}
	printf("%u samples\n", n);
	must(n > 204 && n < 420);
	must(nr_owners() == 0 && lab_owner_lost() == 0);
}

/* What a program frees at once is counted like anything else. */
static void test_pairs_are_sampled_by_their_bytes(void **state)
{
	(void)state;
	assert_child_succeeds(pairs, NULL);
}

/* ---- pages that are split ---- */

static void split_pages(void *unused)
{
	static const char one[] = "Page allocated via order 0",
			  four[] = "Page allocated via order 2";
	char *pages;
	int i;

	(void)unused;
	/* what was there before has none */
	must((pages = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 1)));
	must(labyrinth_page_owner_start() == 0);
	labyrinth_split_page(pages, 1);
	must(occurrences(written(labyrinth_page_owner_dump), one) == 0);
	must((pages = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 2)));
	must(occurrences(written(labyrinth_page_owner_dump), four) == 1);
	labyrinth_split_page(pages, 2);
	must(occurrences(written(labyrinth_page_owner_dump), four) == 0);
	must(occurrences(written(labyrinth_page_owner_dump), one) == 4);
	/* one page is as it was */
	labyrinth_split_page(pages, 0);
	must(occurrences(written(labyrinth_page_owner_dump), one) == 4);
	for (i = 0; i < 4; i++) {
		labyrinth_free_page(pages + i * PAGE);
		must(occurrences(written(labyrinth_page_owner_dump), one) == 3u - (unsigned int)i);
	}
}

/* Pages that were split have a record each. */
static void test_split_pages_have_a_record_each(void **state)
{
	(void)state;
	assert_child_succeeds(split_pages, NULL);
}

static lab_stack_t stack_of(uintptr_t ip)
{
	return lab_depot_save(&ip, 1);
}

static void no_room(void *unused)
{
	enum { RECORDS = 64, ORDER = 4 };
	struct lab_owner owner = { .order = ORDER, .bytes = PAGE << ORDER, .sampled = true };
	const struct lab_export_stack_sums *sums;
	unsigned int i, others = 0, n;

	(void)unused;
	must(lab_depot_init() == 0 && lab_owner_init(RECORDS) == 0);
	must((owner.stack = stack_of(4711)));
	sums = lab_depot_stack(owner.stack);
	owner.address = 0x7000000;
	lab_owner_add(&owner);
	must(sums->live == 1 && sums->live_bytes == PAGE << ORDER);
	/* of another order it is another's */
	lab_owner_remove((void *)owner.address, ORDER + 1);
	must(nr_owners() == 1 && sums->live == 1);
	/* others until nearly nothing is left */
	for (i = 1; others < RECORDS - 8 && i < 100000; i++) {
		uint64_t lost = lab_owner_lost();
		struct lab_owner other = { .address = i << 4, .bytes = 16, .order = LAB_OBJECT };

		lab_owner_add(&other);
		others += lab_owner_lost() == lost;
	}
	must(others == RECORDS - 8 && nr_owners() == others + 1);
	lab_owner_split((void *)owner.address, ORDER);
	n = nr_owners() - others;
	/* the first one had the place of all */
	must(n >= 1 && n <= 8);
	must(sums->live == n && sums->live_bytes == n * (uint64_t)PAGE);
	/* there was one allocation */
	must(sums->total == 1 && sums->total_bytes == PAGE << ORDER);
	for (i = 0; i < 1u << ORDER; i++)
		lab_owner_remove((void *)(owner.address + i * PAGE), 0);
	must(nr_owners() == others && sums->live == 0 && sums->live_bytes == 0);
}

/* Of pages that were split, those whose record finds no room count as freed. */
static void test_split_pages_without_room_count_as_freed(void **state)
{
	(void)state;
	assert_child_succeeds(no_room, NULL);
}

static void full_depot(void *unused)
{
	uintptr_t ips[LAB_STACK_MAX] = { 1 };
	struct lab_owner owner = { .address = 0x1000, .bytes = 100, .sampled = true };
	lab_stack_t first, last = 1;
	uint64_t n;

	(void)unused;
	must(lab_depot_save(ips, 1) == 0);
	must(lab_depot_init() == 0 && lab_owner_init(64) == 0);
	must((first = lab_depot_save(ips, LAB_STACK_MAX)));
	for (n = 1; last; n++) {
		ips[1] = n;
		last = lab_depot_save(ips, LAB_STACK_MAX);
	}
	must(lab_depot.refused == 1 && lab_depot.nstacks == n - 1);
	ips[1] = 0;
	must(lab_depot_save(ips, LAB_STACK_MAX) == first);
	/* whose stack is not known is recorded all the same */
	lab_owner_add(&owner);
	must(nr_owners() == 1);
	lab_owner_remove((void *)0x1000, 0);
	must(nr_owners() == 0);
}

/* A depot that is full says so, and knows what it has. */
static void test_full_depot_refuses_new_stacks(void **state)
{
	(void)state;
	assert_child_succeeds(full_depot, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_there_before_the_start),
		cmocka_unit_test(test_start_without_memory_is_refused),
		cmocka_unit_test(test_rate_is_there_when_samples_are_taken),
		cmocka_unit_test(test_dumps_return_the_error),
		cmocka_unit_test(test_objects_have_records),
		cmocka_unit_test(test_pairs_are_sampled_by_their_bytes),
		cmocka_unit_test(test_split_pages_have_a_record_each),
		cmocka_unit_test(test_split_pages_without_room_count_as_freed),
		cmocka_unit_test(test_full_depot_refuses_new_stacks),
	};

	return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}

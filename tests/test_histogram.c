/* SPDX-License-Identifier: MIT */
/* The library's half of labyrinth histogram: the file it takes, and pages. */
#include "harness.h"

#include "diag/histogram.h"
#include "labyrinth.h"

enum { PAGE = LAB_PAGE_BYTES };

static char path[] = "/tmp/labyrinth-test-histogram.XXXXXX";
static struct lab_histogram *file;

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0 || ftruncate(fd, (sizeof(*file) + PAGE - 1) / PAGE * PAGE))
		return -1;
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return -1;
	file->magic = LAB_HISTOGRAM_MAGIC;
	file->version = LAB_HISTOGRAM_VERSION;
	file->bytes = sizeof(*file);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void refused(void *unused)
{
	(void)unused;
	must(lab_histogram_start("/nonexistent/file") == -ENOENT);
	/* the size of a file comes first */
	must(lab_histogram_start("/dev/null") == -EINVAL);
	file->magic++;
	must(lab_histogram_start(path) == -EINVAL);
	file->magic--;
	file->version++;
	must(lab_histogram_start(path) == -EINVAL);
	file->version--;
	file->bytes++;
	must(lab_histogram_start(path) == -EINVAL);
	file->bytes--;
	lab_os_fail_from(1, 1);
	must(lab_histogram_start(path) == -ENOMEM);
	lab_os_fail_from(0, 0);
	/* none of these has counted */
	must(labyrinth_heap_malloc(100));
	must(file->processes == 0 && file->live == 0);
}

/* What is no such file is refused, and so is one that there is no memory for. */
static void test_files_that_are_none_are_refused(void **state)
{
	(void)state;
	assert_child_succeeds(refused, NULL);
}

static uint64_t live(size_t bytes)
{
	return file->size[lab_histogram_index(bytes)].live;
}

static uint64_t ended(size_t bytes)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < LAB_HISTOGRAM_TIMES; i++)
		sum += file->size[lab_histogram_index(bytes)].time[i];
	return sum;
}

static void split(void *unused)
{
	char *pages;
	int i;

	(void)unused;
	/* what was there before is not followed */
	must((pages = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 1)));
	must(lab_histogram_start(path) == 0 && file->processes == 1);
	labyrinth_split_page(pages, 1);
	must(file->live == 0 && live(PAGE) == 0);
	must((pages = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 3)));
	must(live(8 * PAGE) == 1 && live(PAGE) == 0 && file->held == 8 * PAGE);
	labyrinth_split_page(pages, 3);
	must(live(8 * PAGE) == 0 && live(PAGE) == 8 && file->held == 8 * PAGE);
	/* one page is as it was */
	labyrinth_split_page(pages, 0);
	must(live(PAGE) == 8 && file->live == 8);
	for (i = 0; i < 8; i++)
		labyrinth_free_page(pages + i * PAGE);
	must(live(PAGE) == 0 && file->live == 0 && file->held == 0);
	must(ended(PAGE) == 8 && ended(8 * PAGE) == 0);
}

/* Pages that were split count one by one, and are as many bytes. */
static void test_split_pages_count_one_by_one(void **state)
{
	(void)state;
	assert_child_succeeds(split, NULL);
}

/* A class begins where the one before it ends. */
static void test_classes_of_sizes_adjoin(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(lab_histogram_index(0), lab_histogram_index(1));
	for (i = 1; lab_histogram_from(i) < 1ull << 48; i++) {
		assert_int_equal(lab_histogram_index(lab_histogram_from(i)), i);
		assert_int_equal(lab_histogram_index(lab_histogram_from(i) - 1), i - 1);
	}
	assert_int_equal(i, 47 * LAB_HISTOGRAM_STEPS - 1);
	assert_int_equal(lab_histogram_index(1ull << 48), LAB_HISTOGRAM_SIZES - 1);
	assert_int_equal(lab_histogram_index(UINT64_MAX), LAB_HISTOGRAM_SIZES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_that_are_none_are_refused),
		cmocka_unit_test(test_split_pages_count_one_by_one),
		cmocka_unit_test(test_classes_of_sizes_adjoin),
	};

	return cmocka_run_group_tests_name("histogram", tests, make_file, remove_file);
}

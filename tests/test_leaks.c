/* SPDX-License-Identifier: MIT */
/*
 * What is written of a profile, from sums that are made up here.
 */
#include "harness.h"

#include "diag/dump.h"
#include "diag/stackdepot.h"

/* what lab_dump_leaks() writes while one stack has these sums */
static void dump_leaks(uint64_t live, uint64_t live_bytes, char *text, size_t size)
{
	static const uintptr_t ip = 0x5678;
	struct lab_export_stack_sums *stack = lab_depot_stack(lab_depot_save(&ip, 1));
	FILE *to = tmpfile();

	assert_non_null(to);
	lab_word_set(lab_depot_word(&stack->live), live);
	lab_word_set(lab_depot_word(&stack->live_bytes), live_bytes);
	memset(text, 0, size);
	assert_int_equal(lab_dump_leaks(fileno(to)), 0);
	assert_true(pread(fileno(to), text, size - 1, 0) > 0);
	fclose(to);
}

/* sums that are read while they change can be any: three objects of a byte in all, none of some bytes */
static void test_leaks_of_torn_sums(void **state)
{
	char text[1024];

	(void)state;
	dump_leaks(3, 300, text, sizeof(text));
	assert_non_null(
		strstr(text, "in use: about 300 bytes in 3 objects, allocated at 1 places\n"));
	assert_non_null(strstr(text, "  about 300 bytes in 3 objects, from\n"));
	dump_leaks(3, 1, text, sizeof(text));
	assert_non_null(strstr(text, "  about 1 bytes in 3 objects, from\n"));
	dump_leaks(0, 300, text, sizeof(text));
	assert_non_null(
		strstr(text, "in use: about 0 bytes in 0 objects, allocated at 0 places\n"));
	dump_leaks((uint64_t)-1, 300, text, sizeof(text));
	assert_non_null(
		strstr(text, "in use: about 0 bytes in 0 objects, allocated at 0 places\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaks_of_torn_sums),
	};

	if (lab_depot_init())
		return 1;
	return cmocka_run_group_tests_name("leaks", tests, NULL, NULL);
}

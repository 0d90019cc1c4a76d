// SPDX-License-Identifier: MIT
/*
 * The older way to end a test: TEST_FUNCTION is a call, not a function.  Found
 * as "../test-skeleton.c" through the include path of support/.  Some tests
 * include it first and expect the rest of the shim with it.
 */
#include <support/temp_file.h>
#include <support/xthread.h>

static int shim_old_style(void)
{
#ifdef TEST_FUNCTION
	return TEST_FUNCTION;
#else
	return do_test();
#endif
}

#undef TEST_FUNCTION
#define TEST_FUNCTION shim_old_style

#include <support/test-driver.c>

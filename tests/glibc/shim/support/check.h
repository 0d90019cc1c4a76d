/* SPDX-License-Identifier: MIT */
/*
 * Checks for glibc's malloc tests.  A failed check that does not end the test
 * is remembered in a shared page, so that a fork()ed child can report one too.
 */
#ifndef SHIM_SUPPORT_CHECK_H
#define SHIM_SUPPORT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

extern int *shim_failures;

#define SHIM_SAY(...)                                                                              \
	(printf("%s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), putchar('\n'), fflush(stdout))

static inline void support_record_failure(void)
{
	__atomic_fetch_add(shim_failures, 1, __ATOMIC_RELAXED);
}

#define FAIL(...)	       (SHIM_SAY(__VA_ARGS__), support_record_failure())
#define FAIL_RET(...)	       return (FAIL(__VA_ARGS__), 1)
#define FAIL_EXIT(status, ...) (SHIM_SAY(__VA_ARGS__), exit(status))
#define FAIL_EXIT1(...)	       FAIL_EXIT(1, __VA_ARGS__)
#define FAIL_UNSUPPORTED(...)  FAIL_EXIT(77, __VA_ARGS__)

#define TEST_VERIFY(expr)      ((expr) ? (void)0 : FAIL("not true: %s", #expr))
#define TEST_VERIFY_EXIT(expr) ((expr) ? (void)0 : FAIL_EXIT1("not true: %s", #expr))

#define TEST_COMPARE(left, right)                                                                  \
	do {                                                                                       \
		long long shim_l = (long long)(left), shim_r = (long long)(right);                 \
		if (shim_l != shim_r)                                                              \
			FAIL("%s is %lld, %s is %lld", #left, shim_l, #right, shim_r);             \
	} while (0)

#endif

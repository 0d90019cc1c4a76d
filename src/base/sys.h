/* SPDX-License-Identifier: MIT */
/*
 * The raw system call.  libc's wrappers need a finished relocation, set errno
 * and may be cancellation points; these three things are why it is here.
 * Only os/ and fail.c use it.
 */
#ifndef LAB_BASE_SYS_H
#define LAB_BASE_SYS_H

#include <sys/syscall.h>

#include "base/compiler.h"

/** lab_sys6() - make a system call; returns its result or -errno, errno kept */
#if defined(__x86_64__)
static LAB_ALWAYS_INLINE long lab_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static LAB_ALWAYS_INLINE long lab_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "no system call convention for this CPU"
#endif

#endif /* LAB_BASE_SYS_H */

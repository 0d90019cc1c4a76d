/* SPDX-License-Identifier: MIT */
/*
 * The program's own memory calls, handed on to the kernel as they came.  Each
 * returns what the kernel returned, -errno included, and keeps errno.  None is
 * counted or made to fail by the seam of os.h: they are not ours.
 *
 * Inline: a call that we only pass on costs a compare more than the kernel's.
 */
#ifndef LAB_OS_MM_H
#define LAB_OS_MM_H

#include "base/sys.h"

/* A page where nothing is ever mapped: just below the end of user addresses. */
#if defined(__x86_64__)
#define LAB_OS_HOLE_PAGE 0x7ffffffff000ul
#else
#define LAB_OS_HOLE_PAGE 0xfffffffff000ul
#endif

/** lab_os_failed() - is this result of the kernel's an error */
static LAB_ALWAYS_INLINE bool lab_os_failed(long result)
{
	return (unsigned long)result > -4096ul;
}

/** lab_os_pass() - mprotect(2), madvise(2), mlock(2) and all that begin with a range */
static LAB_ALWAYS_INLINE long lab_os_pass(long nr, uintptr_t addr, size_t len, long x, long y)
{
	return lab_sys6(nr, (long)addr, (long)len, x, y, 0, 0);
}

static LAB_ALWAYS_INLINE long lab_os_pass6(long nr, long a, long b, long c, long d, long e, long f)
{
	return lab_sys6(nr, a, b, c, d, e, f);
}

static LAB_ALWAYS_INLINE long lab_os_pass_mmap(uintptr_t addr, size_t len, int prot, int flags,
					       int fd, long offset)
{
	return lab_sys6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, offset);
}

static LAB_ALWAYS_INLINE long lab_os_pass_mremap(uintptr_t from, size_t old_len, size_t new_len,
						 int flags, uintptr_t to)
{
	return lab_sys6(SYS_mremap, (long)from, (long)old_len, (long)new_len, flags, (long)to, 0);
}

/** lab_os_pass_cancellable() - the same for a call that is a cancellation point of libc */
long lab_os_pass_cancellable(long nr, uintptr_t addr, size_t len, long x);

/**
 * lab_os_map_over() - fresh zero memory in place of whatever lies there
 *
 * Resets protection, advice, locks and contents at once.
 *
 * Return: 0 or -errno; then what lay there may be gone.
 */
LAB_NODISCARD int lab_os_map_over(uintptr_t addr, size_t bytes);

/** lab_os_pidfd_is_self() - does this pidfd name the calling process */
bool lab_os_pidfd_is_self(int pidfd);

#endif /* LAB_OS_MM_H */

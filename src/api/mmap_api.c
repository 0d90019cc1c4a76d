/* SPDX-License-Identifier: MIT */
/* mmap() and its kin: libc's semantics and errno, then the kernel or map/. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "api/init.h"
#include "api/options.h"
#include "labyrinth.h"
#include "map/map.h"
#include "os/mm.h"
#include "os/os.h"

static LAB_COLD long fail(long result)
{
	lab_os_set_errno((int)-result);
	return -1;
}

static LAB_ALWAYS_INLINE long as_libc(long result)
{
	return LAB_UNLIKELY(lab_os_failed(result)) ? fail(result) : result;
}

/* ---- mmap, munmap, mremap ---- */

static LAB_NOINLINE long map_pass(void *addr, size_t len, int prot, int flags, int fd, long offset)
{
	uintptr_t at = (uintptr_t)addr;
	long result;

	lab_word_add(&lab_map.passed, 1);
	if (addr && lab_map_touches(at, len))
		return as_libc(lab_map_place(at, len, prot, flags, fd, offset));
	result = lab_os_pass_mmap(at, len, prot, flags, fd, offset);
	if (!lab_os_failed(result) && lab_map_touches((uintptr_t)result, len))
		lab_map_note((uintptr_t)result, len);
	return as_libc(result);
}

LAB_PUBLIC LAB_HOT void *labyrinth_mmap(void *addr, size_t len, int prot, int flags, int fd,
					off_t offset)
{
	size_t limit = lab_word_get(&lab_map.limit);
	void *pages;

	if (LAB_LIKELY(len - 1 < limit && !addr && !offset && prot == (PROT_READ | PROT_WRITE) &&
		       flags == (MAP_PRIVATE | MAP_ANONYMOUS))) {
		if (LAB_LIKELY(len <= LAB_PAGE_BYTES &&
			       lab_pcp_try_pop(LAB_PCP_STACK(LAB_PCP_MAP), &pages))) {
			pages = lab_map_ready(pages);
			if (LAB_LIKELY(pages != NULL))
				return pages;
		}
		pages = lab_map_take((unsigned int)((len - 1) >> LAB_PAGE_SHIFT) + 1);
		if (LAB_LIKELY(pages != NULL))
			return pages;
	}
	return (void *)map_pass(addr, len, prot, flags, fd, offset);
}

LAB_PUBLIC LAB_HOT int labyrinth_munmap(void *addr, size_t len)
{
	uintptr_t pfn = lab_pfn_exact(addr);

	if (!lab_map_touches((uintptr_t)addr, len))
		return (int)as_libc(lab_os_pass(SYS_munmap, (uintptr_t)addr, len, 0, 0));
	/* one page as we made it */
	if (LAB_LIKELY(len - 1 < LAB_PAGE_BYTES && lab_mem_covers_fast(pfn) &&
		       !lab_word_get(&lab_map.locked) &&
		       lab_map_win((lab_pfn_t)pfn, LAB_KIND_MAP, LAB_PCP_MAP))) {
		if (LAB_UNLIKELY(!lab_pcp_try_push(LAB_PCP_STACK(LAB_PCP_MAP),
						   LAB_PCP_CAP(LAB_PCP_MAP), addr)))
			lab_map_unstacked(addr);
		return 0;
	}
	return (int)as_libc(lab_map_unmap((uintptr_t)addr, len));
}

LAB_PUBLIC void *labyrinth_mremap(void *addr, size_t old_len, size_t new_len, int flags, void *to)
{
	uintptr_t from = (uintptr_t)addr;
	long result;

	if (lab_map_touches(from, old_len ? old_len : 1) ||
	    (flags & MREMAP_FIXED && lab_map_touches((uintptr_t)to, new_len)))
		return (void *)as_libc(lab_map_move(from, old_len, new_len, flags, (uintptr_t)to));
	result = lab_os_pass_mremap(from, old_len, new_len, flags, (uintptr_t)to);
	if (!lab_os_failed(result) && lab_map_touches((uintptr_t)result, new_len))
		lab_map_note((uintptr_t)result, new_len);
	return (void *)as_libc(result);
}

/* ---- calls on a range ---- */

static LAB_ALWAYS_INLINE long on_range(const void *addr, size_t len, struct lab_map_call call)
{
	if (!lab_map_touches((uintptr_t)addr, len)) {
		if (call.cancellable)
			return lab_os_pass_cancellable(call.nr, (uintptr_t)addr, len, call.x);
		return lab_os_pass(call.nr, (uintptr_t)addr, len, call.x, call.y);
	}
	return lab_map_act(&call, (uintptr_t)addr, len);
}

LAB_PUBLIC int labyrinth_mprotect(void *addr, size_t len, int prot)
{
	struct lab_map_call call = {
		.nr = SYS_mprotect, .x = prot, .changes = true, .grows_down = prot & PROT_GROWSDOWN
	};

	return (int)as_libc(on_range(addr, len, call));
}

LAB_PUBLIC int labyrinth_pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
	/* libc's way: without a key it is mprotect(), which every kernel has */
	struct lab_map_call call = { .nr = pkey == -1 ? SYS_mprotect : SYS_pkey_mprotect,
				     .x = prot,
				     .y = pkey,
				     .changes = true,
				     .grows_down = prot & PROT_GROWSDOWN };

	return (int)as_libc(on_range(addr, len, call));
}

/*
 * Advice that acts once and leaves no mark on the mapping.  The numbers are
 * the kernel's; this libc's headers do not know them all.
 */
static bool leaves_a_mark(int advice)
{
	const uint64_t none = 1ull << MADV_NORMAL | 1ull << MADV_WILLNEED | 1ull << MADV_DONTNEED |
			      1ull << MADV_FREE | 1ull << 20 /* COLD */ | 1ull << 21 /* PAGEOUT */ |
			      1ull << 22 /* POPULATE_READ */ | 1ull << 23 /* POPULATE_WRITE */ |
			      1ull << 25 /* COLLAPSE */;

	return (unsigned int)advice >= 64 || !(none >> advice & 1);
}

static long advise(void *addr, size_t len, int advice)
{
	struct lab_map_call call = { .nr = SYS_madvise,
				     .x = advice,
				     .changes = leaves_a_mark(advice),
				     /* populating stops at a hole, all else passes over it */
				     .goes_on = advice != 22 && advice != 23 };

	return on_range(addr, len, call);
}

LAB_PUBLIC int labyrinth_madvise(void *addr, size_t len, int advice)
{
	return (int)as_libc(advise(addr, len, advice));
}

LAB_PUBLIC int labyrinth_posix_madvise(void *addr, size_t len, int advice)
{
	/* libc's way: what the kernel calls DONTNEED would lose data */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return (int)-advise(addr, len, advice);
}

LAB_PUBLIC int labyrinth_mlock(const void *addr, size_t len)
{
	struct lab_map_call call = { .nr = SYS_mlock, .changes = true };

	return (int)as_libc(on_range(addr, len, call));
}

LAB_PUBLIC int labyrinth_mlock2(const void *addr, size_t len, unsigned int flags)
{
	struct lab_map_call call = { .nr = flags ? SYS_mlock2 : SYS_mlock,
				     .x = (long)flags,
				     .changes = true };

	return (int)as_libc(on_range(addr, len, call));
}

LAB_PUBLIC int labyrinth_munlock(const void *addr, size_t len)
{
	struct lab_map_call call = { .nr = SYS_munlock };

	return (int)as_libc(on_range(addr, len, call));
}

/*
 * From here on a new mapping may be locked, and what is mapped is: pages that
 * are not would be seen to differ, so none is routed any more.
 */
LAB_PUBLIC int labyrinth_mlockall(int flags)
{
	uint64_t limit = lab_word_get(&lab_map.limit);
	long result;

	lab_word_set(&lab_map.limit, 0);
	lab_word_set(&lab_map.locked, 1);
	result = lab_os_pass(SYS_mlockall, (uintptr_t)flags, 0, 0, 0);
	if (lab_os_failed(result)) {
		/* nothing came of it; some pages may be mapped afresh for nothing */
		lab_word_set(&lab_map.limit, limit);
		if (limit)
			lab_word_set(&lab_map.locked, 0);
	}
	return (int)as_libc(result);
}

LAB_PUBLIC int labyrinth_msync(void *addr, size_t len, int flags)
{
	struct lab_map_call call = {
		.nr = SYS_msync, .x = flags, .goes_on = true, .cancellable = true
	};

	return (int)as_libc(on_range(addr, len, call));
}

LAB_PUBLIC int labyrinth_mincore(void *addr, size_t len, unsigned char *vec)
{
	struct lab_map_call call = { .nr = SYS_mincore, .x = (long)vec };

	return (int)as_libc(on_range(addr, len, call));
}

/* pages of ours are private, which the kernel refuses; others are its own */
LAB_PUBLIC int labyrinth_remap_file_pages(void *addr, size_t len, int prot, size_t pgoff, int flags)
{
	return (int)as_libc(lab_os_pass6(SYS_remap_file_pages, (long)addr, (long)len, prot,
					 (long)pgoff, flags, 0));
}

static bool vector_touches(const struct iovec *vec, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (vec[i].iov_len && lab_map_touches((uintptr_t)vec[i].iov_base, vec[i].iov_len))
			return true;
	return false;
}

/* on this process: a piece at a time; what was done counts, if anything was */
static long advise_self(int pidfd, const struct iovec *vec, size_t n, int advice,
			unsigned int flags)
{
	struct iovec hole = { NULL, LAB_PAGE_BYTES };
	long result, done = 0;
	size_t i;

	/* at NULL, where nothing is: the kernel says whether it takes the advice and the flags */
	result = lab_os_pass6(SYS_process_madvise, pidfd, (long)&hole, 1, advice, flags, 0);
	for (i = 0; result == -ENOMEM && i < n; i++) {
		if (!vec[i].iov_len)
			continue;
		result = advise(vec[i].iov_base, vec[i].iov_len, advice);
		if (result)
			break;
		done += (long)vec[i].iov_len;
		result = -ENOMEM;
	}
	if (i < n)
		return done ? done : result;
	return done;
}

LAB_PUBLIC ssize_t labyrinth_process_madvise(int pidfd, const struct iovec *vec, size_t n,
					     int advice, unsigned int flags)
{
	if (n <= 1024 && vector_touches(vec, n) && lab_os_pidfd_is_self(pidfd))
		return as_libc(advise_self(pidfd, vec, n, advice, flags));
	return as_libc(
		lab_os_pass6(SYS_process_madvise, pidfd, (long)vec, (long)n, advice, flags, 0));
}

/* ---- figures ---- */

LAB_PUBLIC void labyrinth_mmap_info(struct labyrinth_mmap_info *info)
{
	unsigned int i;

	info->routed = 0;
	for (i = 0; i < LAB_MAP_SHARDS; i++)
		info->routed += lab_word_get(&lab_map.routed[i].n);
	info->passed = lab_word_get(&lab_map.passed);
	info->restored = lab_word_get(&lab_map.restored);
	info->lost = lab_word_get(&lab_map.lost);
}

/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "base/sys.h"
#include "os/os.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA	     0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static bool ready;
static lab_word_t calls;
static lab_word_t fail_from;
static lab_word_t fail_until;

/* true if this call has to fail; counts it */
static bool seam(void)
{
	uint64_t nth = lab_word_add(&calls, 1) + 1;
	uint64_t from = lab_word_get(&fail_from);

	return LAB_UNLIKELY(from) && nth >= from && nth < lab_word_get(&fail_until);
}

void lab_os_fail_from(uint64_t nth, uint64_t times)
{
	uint64_t now = lab_word_get(&calls);

	lab_word_set(&fail_from, nth ? now + nth : 0);
	lab_word_set(&fail_until, now + nth + times);
}

uint64_t lab_os_calls(void)
{
	return lab_word_get(&calls);
}

int lab_os_map(uintptr_t addr, size_t bytes)
{
	long got;

	if (seam())
		return -ENOMEM;
	/*
	 * A hint rather than MAP_FIXED_NOREPLACE: kernels and tools that do not
	 * know that flag treat it as a hint anyway, so the check is needed.
	 */
	got = lab_sys6(SYS_mmap, (long)addr, (long)bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (got < 0 && got > -4096)
		return (int)got;
	if ((uintptr_t)got != addr) {
		lab_os_unmap((uintptr_t)got, bytes);
		return -EEXIST;
	}
	return 0;
}

/* map anywhere and unmap again; the address, or -errno */
static long map_briefly(size_t bytes, int prot, int flags)
{
	long got;

	if (seam())
		return -ENOMEM;
	got = lab_sys6(SYS_mmap, 0, (long)bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (got < 0 && got > -4096)
		return got;
	(void)lab_os_unmap((uintptr_t)got, bytes);
	return got;
}

int lab_os_hole(size_t bytes, uintptr_t *addr)
{
	long got = map_briefly(bytes, PROT_NONE, MAP_NORESERVE);

	if (got < 0 && got > -4096)
		return (int)got;
	*addr = (uintptr_t)got;
	return 0;
}

int lab_os_probe(size_t bytes)
{
	/* inaccessible, so that mlockall() does not fill it in; the limits count it all the same */
	long got = map_briefly(bytes, PROT_NONE, 0);

	return got < 0 && got > -4096 ? (int)got : 0;
}

int lab_os_unmap(uintptr_t addr, size_t bytes)
{
	return (int)lab_sys6(SYS_munmap, (long)addr, (long)bytes, 0, 0, 0, 0);
}

static int advise(uintptr_t addr, size_t bytes, int advice)
{
	if (seam())
		return -ENOMEM;
	return (int)lab_sys6(SYS_madvise, (long)addr, (long)bytes, advice, 0, 0, 0);
}

int lab_os_discard(uintptr_t addr, size_t bytes)
{
	return advise(addr, bytes, MADV_DONTNEED);
}

int lab_os_huge(uintptr_t addr, size_t bytes, bool huge)
{
	return advise(addr, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* before Linux 5.18, unless the headers know better */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

int lab_os_discard_locked(uintptr_t addr, size_t bytes)
{
	int err = advise(addr, bytes, MADV_DONTNEED_LOCKED);

	return err == -EINVAL ? lab_os_discard(addr, bytes) : err;
}

int lab_os_move(uintptr_t from, size_t from_bytes, uintptr_t to, size_t to_bytes)
{
	long got;

	if (seam())
		return -ENOMEM;
	got = lab_sys6(SYS_mremap, (long)from, (long)from_bytes, (long)to_bytes,
		       MREMAP_MAYMOVE | MREMAP_FIXED, (long)to, 0);
	return got < 0 && got > -4096 ? (int)got : 0;
}

int lab_os_populate(uintptr_t addr, size_t bytes)
{
	int err = advise(addr, bytes, MADV_POPULATE_WRITE);
	uintptr_t at;

	if (err != -EINVAL)
		return err;
	/* before Linux 5.14: touch; the pages are new, so zero is what they hold */
	for (at = addr; at < addr + bytes; at += LAB_PAGE_BYTES)
		lab_byte_set((lab_byte_t *)at, 0);
	return 0;
}

int lab_os_lock_on_fault(uintptr_t addr, size_t bytes)
{
	if (seam())
		return -ENOMEM;
	return (int)lab_sys6(SYS_mlock2, (long)addr, (long)bytes, MLOCK_ONFAULT, 0, 0, 0);
}

int lab_os_no_huge(uintptr_t addr, size_t bytes)
{
	return advise(addr, bytes, MADV_NOHUGEPAGE);
}

int lab_os_wipe_on_fork(uintptr_t addr, size_t bytes)
{
	return advise(addr, bytes, MADV_WIPEONFORK);
}

int lab_os_keep_on_fork(uintptr_t addr, size_t bytes)
{
	return advise(addr, bytes, MADV_KEEPONFORK);
}

int lab_os_unmergeable(uintptr_t addr, size_t bytes)
{
	return advise(addr, bytes, MADV_UNMERGEABLE);
}

int lab_os_no_dump(uintptr_t addr, size_t bytes)
{
	return advise(addr, bytes, MADV_DONTDUMP);
}

int lab_os_no_access(uintptr_t addr, size_t bytes)
{
	if (seam())
		return -ENOMEM;
	return (int)lab_sys6(SYS_mprotect, (long)addr, (long)bytes, PROT_NONE, 0, 0, 0);
}

int lab_os_map_file(const char *path, size_t bytes, uintptr_t *addr)
{
	long fd = lab_sys6(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
	long at, size;

	if (fd < 0)
		return (int)fd;
	size = lab_sys6(SYS_lseek, fd, 0, SEEK_END, 0, 0, 0);
	at = size < (long)bytes ? -EINVAL
				: lab_sys6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
					   MAP_SHARED, fd, 0);
	(void)lab_sys6(SYS_close, fd, 0, 0, 0, 0, 0);
	if (at < 0 && at > -4096)
		return (int)at;
	*addr = (uintptr_t)at;
	return 0;
}

uint64_t lab_os_lock_limit(void)
{
	struct rlimit limit = { 0 };

	if (lab_sys6(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&limit, 0, 0))
		return UINT64_MAX;
	return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

void lab_os_name(uintptr_t addr, size_t bytes, const char *name)
{
	(void)lab_sys6(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, (long)addr, (long)bytes,
		       (long)name, 0);
}

uint64_t lab_os_clock_ms(void)
{
	struct timespec now;

	if (!ready || clock_gettime(CLOCK_MONOTONIC_COARSE, &now))
		return 0;
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t lab_os_clock_ns(void)
{
	struct timespec now;

	if (!ready || clock_gettime(CLOCK_MONOTONIC, &now))
		return 0;
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* 0: not there; getauxval() then sets errno */
static unsigned long auxiliary(unsigned long type)
{
	int before = errno;
	unsigned long value = getauxval(type);

	/* only then: after fork() the first write here is a page fault */
	if (LAB_UNLIKELY(errno != before))
		errno = before;
	return value;
}

bool lab_os_clock_is_free(void)
{
	/* the coarse clocks are read from memory whatever the clock source is */
	return ready && auxiliary(AT_SYSINFO_EHDR) != 0;
}

long lab_os_gettid(void)
{
	return lab_sys6(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

const char *lab_os_comm(void)
{
	const char *path = ready ? (const char *)auxiliary(AT_EXECFN) : NULL;
	const char *name = path ? path : "?";

	for (; path && *path; path++)
		if (*path == '/' && path[1])
			name = path + 1;
	return name;
}

void lab_os_set_ready(void)
{
	ready = true;
}

bool lab_os_is_ready(void)
{
	return ready;
}

void lab_os_set_errno(int err)
{
	if (LAB_LIKELY(ready))
		errno = err;
}

void lab_os_copy(void *to, const void *from, size_t bytes)
{
	char *t = to;
	const char *f = from;

	if (LAB_LIKELY(ready)) {
		memcpy(to, from, bytes);
		return;
	}
	/* volatile: the compiler must not turn this loop into memcpy */
	while (bytes-- > 0)
		*(volatile char *)t++ = *f++;
}

void lab_os_fill(void *to, unsigned char with, size_t bytes)
{
	unsigned char *t = to;

	if (LAB_LIKELY(ready)) {
		memset(to, with, bytes);
		return;
	}
	while (bytes-- > 0)
		*(volatile unsigned char *)t++ = with;
}

void *lab_os_clear(void *to, size_t bytes)
{
	if (LAB_LIKELY(ready))
		return memset(to, 0, bytes);
	lab_os_fill(to, 0, bytes);
	return to;
}

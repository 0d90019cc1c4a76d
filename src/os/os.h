/* SPDX-License-Identifier: MIT */
/*
 * Every system call but write(2) and the end of the process.  Each function
 * returns 0 or -errno, keeps errno, takes no lock of ours and needs no
 * relocation, so it may be called at any instruction of the program's life.
 */
#ifndef LAB_OS_OS_H
#define LAB_OS_OS_H

#include "base/word.h"

/**
 * lab_os_map() - fresh zero memory, readable and writable, at an address
 * @addr:  page-aligned; the range must lie there or nothing is mapped
 * @bytes: a multiple of the page size
 *
 * Return: 0, -ENOMEM, or -EEXIST if something of the program lies there.
 */
LAB_NODISCARD int lab_os_map(uintptr_t addr, size_t bytes);

/**
 * lab_os_hole() - find an address range that nothing uses now
 * @bytes: its length
 * @addr:  receives its start; nothing stays mapped
 */
LAB_NODISCARD int lab_os_hole(size_t bytes, uintptr_t *addr);

/** lab_os_probe() - would so much memory be given now; nothing stays mapped */
LAB_NODISCARD int lab_os_probe(size_t bytes);

/** lab_os_unmap() - give a range back, address space included */
int lab_os_unmap(uintptr_t addr, size_t bytes);

/** lab_os_discard() - give the memory back, keep the range; it reads as zero */
LAB_NODISCARD int lab_os_discard(uintptr_t addr, size_t bytes);

/** lab_os_huge() - may huge pages back this memory, or may they not; advice */
LAB_NODISCARD int lab_os_huge(uintptr_t addr, size_t bytes, bool huge);

/** lab_os_discard_locked() - the same for memory that is locked in place */
LAB_NODISCARD int lab_os_discard_locked(uintptr_t addr, size_t bytes);

/** lab_os_move() - move pages to a range that the caller owns (mremap) */
LAB_NODISCARD int lab_os_move(uintptr_t from, size_t from_bytes, uintptr_t to, size_t to_bytes);

/** lab_os_populate() - make pages resident and writable without a later fault */
LAB_NODISCARD int lab_os_populate(uintptr_t addr, size_t bytes);

/**
 * lab_os_lock_on_fault() - keep pages in memory from their first touch on
 *
 * Context: at start-up and in page calls that may sleep, never from malloc():
 *          a sandbox that the program has entered since may kill for mlock2(2).
 */
LAB_NODISCARD int lab_os_lock_on_fault(uintptr_t addr, size_t bytes);

/** lab_os_no_huge(), lab_os_wipe_on_fork(), lab_os_unmergeable() - advice */
/* lab_os_keep_on_fork() undoes the second one */
int lab_os_no_huge(uintptr_t addr, size_t bytes);
int lab_os_wipe_on_fork(uintptr_t addr, size_t bytes);
int lab_os_keep_on_fork(uintptr_t addr, size_t bytes);
int lab_os_unmergeable(uintptr_t addr, size_t bytes);

/** lab_os_no_dump() - advice: leave it out of core dumps */
int lab_os_no_dump(uintptr_t addr, size_t bytes);

/** lab_os_no_access() - whoever touches the range gets SIGSEGV; its flags stay */
LAB_NODISCARD int lab_os_no_access(uintptr_t addr, size_t bytes);

/**
 * lab_os_map_file() - a file in memory, shared with all who have it there
 * @bytes: a multiple of the page size; the file has so many, or nothing is mapped
 */
LAB_NODISCARD int lab_os_map_file(const char *path, size_t bytes, uintptr_t *addr);

/** lab_os_lock_limit() - RLIMIT_MEMLOCK, bytes; UINT64_MAX: none, or not known */
uint64_t lab_os_lock_limit(void);

/** lab_os_name() - name a mapping in /proc/PID/maps; best effort */
void lab_os_name(uintptr_t addr, size_t bytes, const char *name);

/** lab_os_clock_ms() - a coarse monotonic clock; 0 before lab_os_ready() */
uint64_t lab_os_clock_ms(void);

/**
 * lab_os_clock_is_free() - is lab_os_clock_ms() answered without a system call
 *
 * False where there is no vDSO (valgrind, emulators): an atomic request then
 * does without the time.
 */
bool lab_os_clock_is_free(void);

/** lab_os_clock_ns() - a fine monotonic clock; no system call where the vDSO has one */
uint64_t lab_os_clock_ns(void);

/** lab_os_gettid() - the calling thread, as the kernel numbers it; a system call */
long lab_os_gettid(void);

/** lab_os_comm() - what execve(2) was given, without its directories; no system call */
const char *lab_os_comm(void);

/**
 * lab_os_set_ready() - libc may be called from now on
 *
 * Set by the library's constructor: our relocations are finished.
 */
void lab_os_set_ready(void);
bool lab_os_is_ready(void);

/** lab_os_set_errno() - errno = @err, where libc is ready to have one */
void lab_os_set_errno(int err);

/** lab_os_copy(), lab_os_clear(), lab_os_fill() - memcpy, memset(0), memset; early ones included */
void lab_os_copy(void *to, const void *from, size_t bytes);
void *lab_os_clear(void *to, size_t bytes); /* returns @to */
void lab_os_fill(void *to, unsigned char with, size_t bytes);

/**
 * lab_os_fail_from() - let the calls of this layer fail, for tests
 * @nth:   the nth call from now is the first to fail with -ENOMEM; 0: none
 * @times: how many fail from there on
 */
void lab_os_fail_from(uint64_t nth, uint64_t times);

/** lab_os_calls() - calls made so far */
uint64_t lab_os_calls(void);

#endif /* LAB_OS_OS_H */

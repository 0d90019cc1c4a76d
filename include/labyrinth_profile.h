/* SPDX-License-Identifier: MIT */
/* Who has allocated what: page_owner, and heap profiles by samples. */
#ifndef LABYRINTH_PROFILE_H
#define LABYRINTH_PROFILE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** enum labyrinth_profile_format - what labyrinth_profile_dump() writes */
enum labyrinth_profile_format {
	LABYRINTH_PROFILE_HEAP,	     /* "heap profile: ... @ heap_v2/RATE": jeprof, pprof */
	LABYRINTH_PROFILE_COLLAPSED, /* "main;f;g BYTES", live: flame graphs */
	LABYRINTH_PROFILE_LEAKS	     /* text for people: what is live, the largest first */
};

/**
 * labyrinth_profile_start() - sample objects and pages by bytes from now on
 * @rate: bytes between two samples, on average, 1 .. 2^40; 0: 524288
 *
 * An object of s bytes is sampled with probability 1 - exp(-s / @rate).  There is no
 * way back; of several calls the first one's rate stays.  The same as the option
 * profile:1.  Loads liblabyrinth-trace.so, if that has not been done.
 *
 * Context: MT-Safe, AS-Unsafe (it loads a library).  System calls.
 * Mirrors: nothing; the sampling is that of jemalloc and gperftools.
 * Return:  0; -EINVAL: @rate; -ENOMEM; -ENOTSUP: this library is the one of check_free:0.
 */
int labyrinth_profile_start(size_t rate);

/**
 * labyrinth_profile_dump() - write what is live and what has been allocated so far
 * @fd: a descriptor that is open for writing
 *
 * Allocations go on meanwhile; each stack's figures are of one moment or another.
 *
 * Context: MT-Safe, AS-Safe.  No lock, no memory from any heap; system calls.
 *          Where another context is naming symbols, names are addresses.
 * Errno:   preserved.
 * Return:  0; -EINVAL: no such format, or not started; -errno of write(2).
 */
int labyrinth_profile_dump(int fd, enum labyrinth_profile_format format);

/**
 * labyrinth_page_owner_start() - record who has allocated each page, from now on
 *
 * The same as the option page_owner:1: pages of labyrinth_alloc_pages() and its kin
 * each, objects by samples, as labyrinth_profile_start(0) takes them.
 *
 * Context: as labyrinth_profile_start().
 * Mirrors: page_owner=on, Documentation/mm/page_owner.rst.
 * Return:  0; -ENOMEM; -ENOTSUP.
 */
int labyrinth_page_owner_start(void);

/**
 * labyrinth_page_owner_dump() - write a record for each page in use
 * @fd: a descriptor that is open for writing
 *
 * In the kernel's format, /sys/kernel/debug/page_owner.  Sampled objects are not
 * among them: labyrinth_object_owner_dump() writes those, "Object" instead of "Page".
 *
 * Context: as labyrinth_profile_dump().
 * Mirrors: read_page_owner(), mm/page_owner.c.
 * Return:  0; -EINVAL: not started; -errno of write(2).
 */
int labyrinth_page_owner_dump(int fd);
int labyrinth_object_owner_dump(int fd);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_PROFILE_H */

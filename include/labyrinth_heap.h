/* SPDX-License-Identifier: MIT */
/* malloc() and its family under names of their own, and what the preload object needs. */
#ifndef LABYRINTH_HEAP_H
#define LABYRINTH_HEAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * labyrinth_heap_malloc() and its family - the heap under names of its own
 *
 * Semantics are those of glibc 2.36's functions without the prefix; errno is
 * set to ENOMEM or EINVAL as theirs.  Link with -llabyrinth for these beside
 * the system's malloc; link or preload liblabyrinth-preload.so to replace it.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free; may make mmap, munmap, mremap,
 *          madvise system calls, but inside an atomic section none.
 */
void *labyrinth_heap_malloc(size_t size);
void *labyrinth_heap_calloc(size_t n, size_t size);
void *labyrinth_heap_realloc(void *ptr, size_t size);
void *labyrinth_heap_reallocarray(void *ptr, size_t n, size_t size);
void *labyrinth_heap_memalign(size_t align, size_t size);
void *labyrinth_heap_aligned_alloc(size_t align, size_t size);
int labyrinth_heap_posix_memalign(void **out, size_t align, size_t size);
void *labyrinth_heap_valloc(size_t size);
void *labyrinth_heap_pvalloc(size_t size);
void labyrinth_free_sized(void *ptr, size_t size);
void labyrinth_free_aligned_sized(void *ptr, size_t align, size_t size);
size_t labyrinth_malloc_usable_size(void *ptr);
int labyrinth_malloc_trim(size_t pad);

/**
 * struct labyrinth_libc - the allocator that a preloaded Labyrinth hides
 *
 * For the preload object alone, which hands it over when the executable
 * brings a malloc of its own.
 */
struct labyrinth_libc {
	void (*free)(void *ptr);
	void *(*realloc)(void *ptr, size_t size);
	void *(*memalign)(size_t align, size_t size);
	size_t (*usable)(void *ptr);
};

/** labyrinth_step_aside() - serve nothing new; forward, but free what is ours */
void labyrinth_step_aside(const struct labyrinth_libc *libc);

/**
 * labyrinth_vfork_gate() - tell of a child that shares our memory
 * @enter: 1 before vfork(), 0 in the parent when it has returned
 *
 * The preload object does so for vfork().  A program that calls clone() with
 * CLONE_VM but not CLONE_SETTLS, and allocates in the child, has to call it.
 */
void labyrinth_vfork_gate(int enter);

/** labyrinth_option_deepbind() - 1 if the option deepbind:1 was given, else 0 */
int labyrinth_option_deepbind(void);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_HEAP_H */

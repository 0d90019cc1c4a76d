/* SPDX-License-Identifier: MIT */
/* malloc() and its family under names of their own, and what the preload object needs. */
#ifndef LABYRINTH_HEAP_H
#define LABYRINTH_HEAP_H

#include <stddef.h>
#include <stdint.h>

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

/** labyrinth_option_atomic_handlers() - 1 if the option atomic_handlers:1 was given, else 0 */
int labyrinth_option_atomic_handlers(void);

/**
 * struct labyrinth_section - the atomic section of one run of a handler
 *
 * For the preload object alone, which calls the program's handlers.  It lies in
 * the frame of the function that calls the handler, and is as alive as that.
 */
struct labyrinth_section {
	uintptr_t cookie, outer, outer_low;
	uint64_t process;
} __attribute__((aligned(16)));

/**
 * labyrinth_section_enter() - this thread's malloc() is atomic while @section's
 *	frame lives, see labyrinth_gfp_save()
 * @section:     in the caller's frame
 * @stack_low:   lowest address of the stack that we run on; 0: not known
 * @interrupted: stack pointer of what the handler has interrupted
 *
 * The section is over when labyrinth_section_leave() is called, the stack pointer
 * is above it or on another stack, or in a child of fork() which lives on in the
 * handler.
 *
 * Context: AS-Safe.  Wait-free.  No system call.
 */
void labyrinth_section_enter(struct labyrinth_section *section, uintptr_t stack_low,
			     uintptr_t interrupted);

/** labyrinth_section_leave() - the handler has returned */
void labyrinth_section_leave(struct labyrinth_section *section);

/**
 * labyrinth_section_jump() - end the sections that a jump is about to leave
 * @stack_pointer: where the jump leads; sections of frames above it go on
 *
 * Context: AS-Safe.  Bounded by the handlers that are nested.
 */
void labyrinth_section_jump(uintptr_t stack_pointer);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_HEAP_H */

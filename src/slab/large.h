/* SPDX-License-Identifier: MIT */
/*
 * What no class serves: large objects are runs of frames inside a block, huge
 * ones are runs of blocks.  Mirrors kmalloc_large(), mm/slub.c.
 */
#ifndef LAB_SLAB_LARGE_H
#define LAB_SLAB_LARGE_H

#include "page/zone.h"

/** lab_large_alloc() - memory of any size, by pages
 * @size:  1 .. PTRDIFF_MAX bytes
 * @align: a power of two; less than a page counts as a page
 * @clean: receives whether all of it reads as zero
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  May make system calls (mmap).
 * Return:  the first byte, or NULL: out of memory.
 */
void *lab_large_alloc(size_t size, size_t align, bool *clean);

/** lab_large_make() - @n adjacent frames of the caller's, in one block, become an object
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  Return: its first byte.
 */
void *lab_large_make(lab_pfn_t pfn, unsigned int n);

/** lab_large_free() - @ptr is the start of a large or huge object of ours
 *
 * No system call if its frames are the reserve's.
 *
 * Return: false: another context has freed it in this moment.
 */
LAB_NODISCARD bool lab_large_free(void *ptr);

/**
 * lab_large_hide(), lab_large_show() - a large or huge object is freed for all who
 *	ask, but keeps its memory; and is as before
 *
 * Return: of hide, false: another context has freed it in this moment.
 */
LAB_NODISCARD bool lab_large_hide(void *ptr);
void lab_large_show(void *ptr);

/** lab_large_bytes() - bytes that belong to the object */
size_t lab_large_bytes(const void *ptr);

/** lab_object_bytes() - the same of an object of any kind, classes included */
size_t lab_object_bytes(const void *ptr);

/**
 * lab_large_clear() - make a block of any size read as zero
 *
 * What is huge is given to the system and comes back as zero when touched.
 */
void lab_large_clear(void *ptr, size_t bytes);

/** lab_large_contains() - does @ptr point into a huge object, past its first frame */
bool lab_large_contains(const void *ptr);

/** lab_large_was() - was @ptr the start of a large or huge object, freed since */
bool lab_large_was(const void *ptr);

/**
 * lab_large_resize() - change an object's size without copying
 *
 * In place, or for a huge object by moving its pages (mremap).
 *
 * Return: its address, possibly new; NULL: it can only be copied, nothing changed.
 */
void *lab_large_resize(void *ptr, size_t size);

#endif /* LAB_SLAB_LARGE_H */

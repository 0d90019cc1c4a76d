/* SPDX-License-Identifier: MIT */
/* The aligned family: glibc's semantics, checks and errno. */
#include <errno.h>

#include "api/heap.h"
#include "diag/watch.h"
#include "gfp/scope.h"
#include "labyrinth.h"
#include "os/os.h"

/* the size of a class whose objects are aligned by it; 0: none */
static size_t aligned_class_bytes(size_t align, size_t size)
{
	unsigned int cls;

	if (align > LAB_PAGE_BYTES || size > LAB_CLASS_MAX)
		return 0;
	if (lab_class_of(size) == LAB_PCP_PAGE)
		return LAB_PAGE_BYTES;
	for (cls = lab_class_of(size); cls < LAB_NR_CLASSES; cls++)
		if (lab_class[cls].size % align == 0)
			return lab_class[cls].size;
	return 0;
}

/* what no class serves */
static void *aligned_large(size_t align, size_t size)
{
	bool clean;
	void *ptr;

	if (lab_scope_is_atomic())
		return lab_alloc_atomic(size, align);
	ptr = lab_large_alloc(size ? size : 1, align, &clean);
	return ptr ? ptr : lab_no_memory();
}

/* @align is a power of two */
static void *aligned_alloc_any(size_t align, size_t size)
{
	size_t bytes;

	if (align <= 16)
		return lab_heap_malloc(size);
	if (size > PTRDIFF_MAX || align > PTRDIFF_MAX / 2)
		return lab_no_memory();
	if (lab_is_aside())
		return lab_libc.memalign(align, size);
	/* with a red zone behind it no class will do */
	bytes = lab_scope_is_atomic() || lab_watch_pad(size) ? 0 : aligned_class_bytes(align, size);
	if (bytes)
		return lab_heap_malloc(bytes);
	return lab_is_watched() ? lab_malloc_watched(align, size, lab_malloc_gfp(), aligned_large)
				: aligned_large(align, size);
}

static size_t round_up_pow2(size_t x)
{
	return x <= 1 ? 1 : 1ul << (lab_log2(x - 1) + 1);
}

/* glibc's: an alignment that is no power of two is rounded up to one */
LAB_PUBLIC void *labyrinth_heap_memalign(size_t align, size_t size)
{
	if (align > SIZE_MAX / 2 + 1) {
		lab_os_set_errno(EINVAL);
		return NULL;
	}
	return aligned_alloc_any(round_up_pow2(align), size);
}

LAB_PUBLIC void *labyrinth_heap_aligned_alloc(size_t align, size_t size)
{
	return labyrinth_heap_memalign(align, size);
}

LAB_PUBLIC int labyrinth_heap_posix_memalign(void **out, size_t align, size_t size)
{
	void *ptr;

	if (align % sizeof(void *) || align == 0 || (align & (align - 1)))
		return EINVAL;
	ptr = aligned_alloc_any(align, size);
	if (!ptr)
		return ENOMEM;
	*out = ptr;
	return 0;
}

LAB_PUBLIC void *labyrinth_heap_valloc(size_t size)
{
	return aligned_alloc_any(LAB_PAGE_BYTES, size);
}

LAB_PUBLIC void *labyrinth_heap_pvalloc(size_t size)
{
	if (size > PTRDIFF_MAX)
		return lab_no_memory();
	return aligned_alloc_any(LAB_PAGE_BYTES, lab_align_up(size, LAB_PAGE_BYTES));
}

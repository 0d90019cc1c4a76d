/* SPDX-License-Identifier: MIT */
/*
 * Sizes and classes.  Classes 1 .. 8 are 16 .. 128 bytes in steps of 16, the
 * alignment that the ABI demands; then eight steps to each doubling, so that
 * rounding up wastes less than 1/8.  Class 0 is none.
 */
#ifndef LAB_SLAB_SIZECLASS_H
#define LAB_SLAB_SIZECLASS_H

#include "page/frame.h"
#include "pcp/pcp.h"

#define LAB_NR_CLASSES 73u
#define LAB_CLASS_MAX  32768u
/* up to here a table leads from a size to its stack */
#define LAB_HOT_MAX 4096u
/* sizes of one page, above the class before it, have a stack of their own */
#define LAB_PAGE_SIZES_ABOVE 3840u

#define LAB_IS_POW2(x)	     (((x) & ((x)-1)) == 0)
/* bytes of an object of class @c */
#define LAB_CLASS_SIZE(c)                                                                          \
	((c) <= 8u                                                                                 \
		 ? (c)*16u                                                                         \
		 : (128u << (((c)-9u) / 8u)) + ((((c)-9u) % 8u) + 1u) * (16u << (((c)-9u) / 8u)))

/* floor(log2(s)) for 64 <= s < 65536, as a constant */
#define LAB_LOG2_OF(s)                                                                             \
	((s) < 128u	? 6u                                                                       \
	 : (s) < 256u	? 7u                                                                       \
	 : (s) < 512u	? 8u                                                                       \
	 : (s) < 1024u	? 9u                                                                       \
	 : (s) < 2048u	? 10u                                                                      \
	 : (s) < 4096u	? 11u                                                                      \
	 : (s) < 8192u	? 12u                                                                      \
	 : (s) < 16384u ? 13u                                                                      \
			: 14u)
/* class of a constant size, 1 .. LAB_CLASS_MAX */
#define LAB_CLASS_OF(s)                                                                            \
	((s) <= 128u ? ((s) + 15u) / 16u                                                           \
		     : 1u + 8u * (LAB_LOG2_OF((s)-1u) - 7u) +                                      \
			       (((s)-1u) >> (LAB_LOG2_OF((s)-1u) - 3u)))

/* exact for all offsets in a slab of up to 256 KiB: 2^18 * 2^15 < 2^35 */
#define LAB_RECIP_SHIFT 35

/*
 * Classes of atomic requests: slabs of one frame, from the reserve
 * (slab/atomic.h).  Fewer than malloc()'s, because each in use ties up a frame:
 * the largest sizes of which 2, 3, 4 ... fit into one.
 */
#define LAB_CLASS_ATOMIC LAB_PCP_NR
#define LAB_NR_ATOMIC	 16u
#define LAB_CLASS_END	 (LAB_CLASS_ATOMIC + LAB_NR_ATOMIC)
#define LAB_ATOMIC_MAX	 2048u

struct lab_class {
	uint32_t size;	/* bytes of an object */
	uint32_t recip; /* ceil(2^35 / size): offset * recip >> 35 is the index */
	uint16_t nobj;	/* objects in a slab, up to 256 */
	uint8_t order;	/* of its frames */
};

/* by kind of frame: malloc()'s, then after a gap for pages the atomic ones */
extern LAB_HIDDEN const struct lab_class lab_class[LAB_CLASS_END];

/* the live map of a class: objects of less than 128 bytes need the fine one */
#define LAB_LIVE_SHIFT_OF(c) ((c) <= 7u ? 4u : 7u)

/* class of a size up to LAB_HOT_MAX, in steps of 16 rounded up; 0 is served as 1 */
extern LAB_HIDDEN const uint8_t lab_size_class[LAB_HOT_MAX / 16 + 1];

/*
 * What the hot paths of malloc() and free() look up, all from one address: they are shorter
 * by what it takes to come by another.  Sizes are in steps of 16, 1 .. 16 the first.
 */
struct lab_hot {
	uintptr_t live[LAB_LIVE128_SHIFT + 1]; /* as in lab_mem, by lab_hot_init() */
	char *pop[LAB_HOT_MAX / 16];	       /* by size: CPU 0's stack */
	char *push[LAB_PCP_PAGE + 1];	       /* by kind */
	uint16_t cap[LAB_PCP_PAGE + 1];
	uint8_t shift_of_kind[256]; /* LAB_LIVE_SHIFT_OF; of any other it does not matter */
	uint8_t shift_of_size[LAB_HOT_MAX / 16];
} LAB_LINE_ALIGNED;
extern LAB_HIDDEN struct lab_hot lab_hot;

/* of a class of malloc() */
static LAB_ALWAYS_INLINE unsigned int lab_live_shift(unsigned int cls)
{
	return lab_hot.shift_of_kind[cls];
}

/**
 * lab_hot_live() - as lab_live_byte()
 *
 * The compiler keeps the count of a shift twice, for itself and as an index.
 */
static LAB_ALWAYS_INLINE lab_byte_t *lab_hot_live(const struct lab_hot *hot, const void *ptr,
						  uintptr_t shift)
{
	uintptr_t index = (uintptr_t)ptr;

#ifdef __x86_64__
	__asm__("shrq %%cl, %[index]" : [index] "+r"(index) : "c"(shift) : "cc");
#else
	index >>= shift;
#endif
	return (lab_byte_t *)(hot->live[shift] + index);
}

/**
 * lab_hot_init() - fill the table in
 *
 * Context: once, by the constructor, before the gates open.
 * Return:  0; -ENOMEM: there is no window, and the hot paths have to stay closed.
 */
LAB_NODISCARD int lab_hot_init(void);

/* class of @size, 0 .. LAB_CLASS_MAX bytes; LAB_PCP_PAGE for a page */
static LAB_ALWAYS_INLINE unsigned int lab_class_of(size_t size)
{
	unsigned int log;

	if (LAB_LIKELY(size <= LAB_HOT_MAX))
		return lab_size_class[(size + 15) / 16];
	log = lab_log2(size - 1);
	return 1 + 8 * (log - 7) + (unsigned int)((size - 1) >> (log - 3));
}

/* bytes of an object of a class, LAB_PCP_PAGE included */
static inline size_t lab_class_bytes(unsigned int cls)
{
	return cls == LAB_PCP_PAGE ? LAB_PAGE_BYTES : lab_class[cls].size;
}

#endif /* LAB_SLAB_SIZECLASS_H */

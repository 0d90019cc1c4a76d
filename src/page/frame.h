/* SPDX-License-Identifier: MIT */
/*
 * mem_map: from an address to what we know of it, and the one gate between
 * the two.  Mirrors the kernel's sparse mem_map (include/linux/mmzone.h).
 *
 * All memory lies in one window of address space.  The window is not
 * reserved: sections of 64 MiB are made usable one by one, by mapping the
 * pieces of the flat tables that describe them, so that a process uses about
 * as much address space as memory (RLIMIT_AS counts it).
 *
 *   kind     a byte per frame: what the frame serves        all that free() reads
 *   live16   a byte per 16 bytes: small objects in use      classes below 128 bytes
 *   live128  a byte per 128 bytes: the same                 classes from 128 bytes, pages
 *   frame    a cache line per frame: slab word, bitmap      slow paths
 *   block    a record per 2 MiB: free frames                slow paths
 *
 * Life of an object is written down outside of it: its live byte holds
 * LAB_LIVE | (address & 127) from malloc to free, and 0 otherwise.  One
 * compare thus tells a live start from an interior pointer, a misaligned one
 * and a second free.  No live byte has LAB_LIVE but of an object whose frame is
 * of a class that malloc() stacks: free() relies on it and looks at no kind.
 * Those of atomic slabs are lab_live_marked() while in use.
 */
#ifndef LAB_PAGE_FRAME_H
#define LAB_PAGE_FRAME_H

#include "base/bits.h"

#define LAB_BLOCK_SHIFT	   21
#define LAB_SECTION_SHIFT  26
#define LAB_BLOCK_FRAMES   512u
#define LAB_SECTION_FRAMES (1u << (LAB_SECTION_SHIFT - LAB_PAGE_SHIFT))
#define LAB_SECTION_BLOCKS (1u << (LAB_SECTION_SHIFT - LAB_BLOCK_SHIFT))
/* 1 TiB of heap at most; less where address space is scarce */
#define LAB_NR_SECTIONS	  16384u

#define LAB_LIVE	  0x80u
#define LAB_LIVE16_SHIFT  4
#define LAB_LIVE128_SHIFT 7

/* Index of a frame in the window. */
typedef uint32_t lab_pfn_t;
#define LAB_PFN_NONE UINT32_MAX

/*
 * What a frame serves.  1 .. LAB_KIND_CLASS_MAX are classes: those that the
 * layers above stack per CPU, slabs and single pages, and then those of slabs
 * for atomic requests (slab/sizeclass.h).  Whoever owns the frame writes its
 * kind.
 */
enum lab_kind {
	LAB_KIND_FREE = 0, /* in a zone, or nothing of ours */
	LAB_KIND_CLASS_MAX = 0x7f,
	LAB_KIND_LARGE,	      /* first frame of a run of frames */
	LAB_KIND_HUGE,	      /* first frame of a run of blocks */
	LAB_KIND_MOVING,      /* was HUGE; realloc() is taking its pages elsewhere */
	LAB_KIND_HIDDEN,      /* was LARGE; freed, and waits in the quarantine */
	LAB_KIND_HIDDEN_HUGE, /* was HUGE; the same */
	LAB_KIND_BODY,	      /* a later frame of a run */
	LAB_KIND_API,	      /* a page of the reserve, handed out; stacked it is a class */
	LAB_KIND_EXCL,	      /* the same, of the exclusive zone */
	LAB_KIND_ORDER,	      /* first frame of other API pages; order in the frame */
	LAB_KIND_PARKED,      /* of the reserve, beyond its cap: not in memory */
	/* pages of mmap(), see map/map.h */
	LAB_KIND_MAP,
	LAB_KIND_MAP_CHANGED,
	LAB_KIND_MAP_HELD,
	LAB_KIND_MAP_LOST,
};

/* One per frame; a slab's or run's facts live in its first frame. */
struct lab_frame {
	lab_word_t word;    /* slab word, see slab/slab.h */
	lab_word_t bits[4]; /* objects that are free */
	lab_word_t next;    /* link of the partial list */
	lab_word_t npages;  /* frames of a large run, order of API pages */
	lab_word_t bytes;   /* bytes of a huge run that are mapped */
} LAB_LINE_ALIGNED;
static_assert(sizeof(struct lab_frame) == LAB_LINE, "a frame's state is one cache line");

struct lab_block;

/* Written by lab_mem_init(), the same values whoever writes them. */
struct lab_mem {
	uintptr_t base;	    /* address of frame 0 */
	lab_word_t covered; /* frames from there on whose tables are all ready */
	lab_byte_t *kind;
	/*
	 * The live maps by their shift, 4 and 7, less what makes ptr >> shift an
	 * index; [12] is the kind map likewise, the other entries are not used.
	 */
	uintptr_t live[13];
	struct lab_frame *frame;
	struct lab_block *block;
	uint64_t nr_sections; /* that the window can hold */
} LAB_LINE_ALIGNED;

extern LAB_HIDDEN struct lab_mem lab_mem;

/* Nonzero: the tables of this section are mapped, and stay so. */
extern LAB_HIDDEN lab_byte_t lab_section_ready[LAB_NR_SECTIONS];

static LAB_ALWAYS_INLINE bool lab_section_is_ready(size_t section)
{
	/* acquire: pairs with lab_section_grow() [section.ready] */
	return atomic_load_explicit(&lab_section_ready[section], memory_order_acquire);
}

/**
 * lab_mem_covers() - is there a table entry for this address
 *
 * The gate.  Every pointer that a program hands in passes here, or through
 * lab_mem_kind(), before any table is read.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
static inline bool lab_mem_covers(const void *ptr)
{
	uintptr_t section = ((uintptr_t)ptr - lab_mem.base) >> LAB_SECTION_SHIFT;

	return section < LAB_NR_SECTIONS && lab_section_is_ready(section);
}

static LAB_ALWAYS_INLINE lab_pfn_t lab_pfn_of(const void *ptr)
{
	return (lab_pfn_t)(((uintptr_t)ptr - lab_mem.base) >> LAB_PAGE_SHIFT);
}

/**
 * lab_mem_covers_fast() - the same with one compare, false for a few
 * @pfn: what lab_pfn_wide() or lab_pfn_exact() made of the pointer
 *
 * Sections become ready in any order.  As long as one is missing, those after
 * it are only found by lab_mem_covers().
 */
static LAB_ALWAYS_INLINE bool lab_mem_covers_fast(uintptr_t pfn)
{
	/* acquire: pairs with cover_more() [mem.covered] */
	return LAB_LIKELY(pfn < atomic_load_explicit(&lab_mem.covered, memory_order_acquire));
}

/* the frame of a pointer that may be anything: too large if it is not ours */
static LAB_ALWAYS_INLINE uintptr_t lab_pfn_wide(const void *ptr)
{
	return ((uintptr_t)ptr - lab_mem.base) >> LAB_PAGE_SHIFT;
}

/* the same, and too large as well if @ptr is not the start of a page */
static LAB_ALWAYS_INLINE uintptr_t lab_pfn_exact(const void *ptr)
{
	uintptr_t offset = (uintptr_t)ptr - lab_mem.base;

	return offset >> LAB_PAGE_SHIFT | offset << (64 - LAB_PAGE_SHIFT);
}

/** lab_mem_kind() - what the frame at @ptr serves; LAB_KIND_FREE if not ours */
static LAB_ALWAYS_INLINE uint8_t lab_mem_kind(const void *ptr)
{
	if (LAB_UNLIKELY(!lab_mem_covers_fast(lab_pfn_wide(ptr))) && !lab_mem_covers(ptr))
		return LAB_KIND_FREE;
	return lab_byte_get(&lab_mem.kind[lab_pfn_wide(ptr)]);
}

static LAB_ALWAYS_INLINE void *lab_frame_address(lab_pfn_t pfn)
{
	return (void *)(lab_mem.base + ((uintptr_t)pfn << LAB_PAGE_SHIFT));
}

static LAB_ALWAYS_INLINE struct lab_frame *lab_frame_at(lab_pfn_t pfn)
{
	return &lab_mem.frame[pfn];
}

/**
 * lab_live_byte() - the live byte of an object at @ptr
 * @shift: LAB_LIVE16_SHIFT or LAB_LIVE128_SHIFT, by the class of the object
 */
static LAB_ALWAYS_INLINE lab_byte_t *lab_live_byte(const void *ptr, unsigned int shift)
{
	return (lab_byte_t *)(lab_mem.live[shift] + ((uintptr_t)ptr >> shift));
}

/** lab_live_value() - what that byte holds while the object is in use */
static LAB_ALWAYS_INLINE uint8_t lab_live_value(const void *ptr)
{
	return (uint8_t)(LAB_LIVE | ((uintptr_t)ptr & 127));
}

/**
 * lab_live_marked() - the same for an object whose free must be seen, or of an atomic slab
 *
 * LAB_LIVE is missing, so the hot path of free() takes it for none.  @ptr: aligned by 16.
 */
static LAB_ALWAYS_INLINE uint8_t lab_live_marked(const void *ptr)
{
	return (uint8_t)(((uintptr_t)ptr & 112) | 1);
}

static LAB_ALWAYS_INLINE void lab_kind_set(lab_pfn_t pfn, uint8_t kind)
{
	lab_byte_set(&lab_mem.kind[pfn], kind);
}

/** lab_kind_fill() - give @n frames from @pfn the same kind */
void lab_kind_fill(lab_pfn_t pfn, size_t n, uint8_t kind);

/**
 * lab_mem_init() - choose the window
 *
 * Context: MT-Safe, AS-Safe: contexts race by compare-exchange and none
 *          waits; each leaves with the same tables.  Two system calls.
 * Return:  0 or -ENOMEM.
 */
LAB_NODISCARD int lab_mem_init(void);

/**
 * lab_section_grow() - make the tables of @n adjacent sections usable
 * @first: receives the first section's number
 *
 * Context: MT-Safe, AS-Safe: growers claim different sections, none waits.
 * Order:   releases [section.ready].
 * Return:  0 or -ENOMEM; the sections claimed are then lost, nothing is mapped.
 */
LAB_NODISCARD int lab_section_grow(size_t n, size_t *first);

/** lab_nr_sections() - sections claimed so far; not all need be ready */
size_t lab_nr_sections(void);

#endif /* LAB_PAGE_FRAME_H */

/* SPDX-License-Identifier: MIT */
/*
 * What the library shows to who reads it from outside, and how its figures are
 * read: by labyrinth(1) in a copy of another process's memory, and by the library
 * itself.  Neither needs the other's help: the process may be stopped or hung.
 *
 * An ELF note, "Labyrinth" of type LAB_EXPORT_NOTE in a segment of the object that
 * contains the library, leads to struct lab_export: its descriptor is the distance
 * from itself, 64 bits.  It is found in stripped and in static programs as well.
 *
 * All is one layout of LAB_EXPORT_VERSION.  What is added comes at the end of a
 * structure, whose size or stride tells; the version changes when a reader of the
 * old one would be wrong.  All counts are exact when nobody is at work.
 */
#ifndef LAB_BASE_EXPORT_H
#define LAB_BASE_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#define LAB_EXPORT_NOTE	   1
#define LAB_EXPORT_VERSION 1u
#define LAB_EXPORT_MAGIC   "Labyrinth export"

/* Items at @at, @stride bytes apart. */
struct lab_export_array {
	const char *at;
	uint32_t n, stride;
};

/*
 * A line of the statistics: objects of one size, or of one use.
 *   taken, given  counters of row @flow, per CPU and of none; of atomic classes, the cache's
 *   stacked       of stacks @stack and following, @nstacks of them: an entry of the nth counts n;
 *                 and of stack @also
 *   bytes         active * @size; or pages, by the counters of row @pages
 */
struct lab_export_row {
	char name[12];
	uint32_t size;	 /* bytes of an object; 0: they differ */
	uint16_t cls;	 /* index in classes; 0: no slabs */
	uint16_t atomic; /* 1: of the atomic caches */
	uint16_t flow;	 /* 0: none */
	uint16_t pages;	 /* 0: none */
	uint16_t stack;	 /* 0: none */
	uint16_t nstacks;
	uint16_t also; /* one more stack, whose entries count 1; 0: none */
};

/* Offsets of words in a zone; zones[n] of heap and reserve, and in the exclusive head. */
struct lab_export_zone {
	uint16_t free, managed, dirty, taken, failed, min, low, high, locked, cap, parked;
};

struct lab_export {
	char magic[sizeof(LAB_EXPORT_MAGIC) - 1];
	uint32_t version, bytes; /* of this structure */
	char release[16];
	uint32_t page_bytes;
	uint32_t flow_at;		     /* offset of the counters in a CPU's area */
	struct lab_export_array rows;	     /* struct lab_export_row */
	struct lab_export_array classes;     /* struct lab_export_class */
	struct lab_export_array stacks;	     /* struct lab_export_stack, by class */
	struct lab_export_array cpus;	     /* areas: stacks, counters */
	struct lab_export_array others;	     /* counters of no CPU, by row: taken, given */
	struct lab_export_array caches;	     /* by class, of malloc */
	struct lab_export_array atomics;     /* by class, from the first atomic one on */
	struct lab_export_array zones;	     /* heap, reserve */
	struct lab_export_array events;	     /* words */
	struct lab_export_array event_names; /* pointers to texts */
	struct lab_export_array routed;	     /* words: mmap()s served, summed up */
	struct lab_export_array ready;	     /* bytes: a section of 64 MiB has blocks */
	const char *possible;		     /* word: CPUs that have stacks */
	uint32_t backend;		     /* 0 none, 1 rseq, 2 trylock */
	uint32_t aside;			     /* 1: the program brings its own malloc */
	const char *exclusive;		  /* word: address of the exclusive zone's head; 0: none */
	const char *mem_base, *mem_block; /* words: address of page 0, of the first block */
	const char *passed;		  /* word: mmap()s left to the kernel */
	struct lab_export_zone zone;
	uint16_t first_atomic;				   /* class */
	uint16_t cache_slabs;				   /* in a cache: word */
	uint16_t atomic_slabs, atomic_taken, atomic_given; /* in an atomic cache: words */
	uint16_t block_bytes, block_bits, block_clean;	   /* of a block; 512 bits each, 1: free */
	uint16_t excl_born, excl_zone, excl_nwords, excl_origin, excl_bits; /* in the head */
	const char *fault; /* struct lab_export_fault, base/export_fault.h */
	const char *depot; /* struct lab_export_depot, base/export_depot.h */
};

/*
 * The first word of a block: 10 bits of free pages, 1 claimed as a whole, 1 mapped,
 * 1 dead, 2 zone.
 */

struct lab_export_class {
	uint32_t size, recip;
	uint16_t nobj; /* objects in a slab */
	uint8_t order; /* log2 of its pages */
};

struct lab_export_stack {
	uint32_t at, cap;
};

/* the layout of a stack's head, and the count of one that is being drained */
struct lab_export_head {
	uint32_t count;
	uint8_t busy;
	uint16_t held;
};
#define LAB_EXPORT_SHUT 0xffffffffu

/*
 * The readers below load what others write.  What is exact at quiescence is a guess
 * while they are at work.
 */

/* A view: the arrays of the same name, of this process or copied from another. */
struct lab_export_view {
	const char *classes, *stacks, *cpus, *others, *caches, *atomics;
	unsigned int nr_cpus;
};

/* The figures of a row, of all CPUs; or, without slabs and bytes, of one. */
struct lab_export_figures {
	uint64_t slabs;	  /* that exist */
	uint64_t objects; /* in them, in use or not; without slabs: active and stacked */
	uint64_t active;  /* in use */
	uint64_t stacked;
	uint64_t bytes; /* of those in use */
	uint64_t taken, given;
};

static inline uint64_t lab_export_word(const void *at)
{
	return __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED);
}

/** lab_export_held() - entries of a stack; its owner may be at work with plain stores */
__attribute__((no_sanitize_thread)) static inline unsigned int lab_export_held(const void *stack)
{
	const volatile struct lab_export_head *head = stack;
	uint32_t count = head->count;
	uint16_t held = head->held;

	if (count != LAB_EXPORT_SHUT)
		return count;
	return held ? held - 1u : 0;
}

/* where the stack of a class lies in a CPU's area */
static inline uint32_t lab_export_stack(const struct lab_export *head,
					const struct lab_export_view *view, unsigned int cls)
{
	const struct lab_export_stack *stack =
		(const void *)(view->stacks + (size_t)cls * head->stacks.stride);

	return stack->at;
}

/* the counters of a row that are of no CPU */
static inline const char *lab_export_other(const struct lab_export *head,
					   const struct lab_export_view *view, unsigned int row)
{
	return view->others + (size_t)row * head->others.stride;
}

/** lab_export_cpu() - what a CPU has to do with a row: taken, given, stacked */
static inline void lab_export_cpu(const struct lab_export *head, const struct lab_export_view *view,
				  const struct lab_export_row *row, unsigned int cpu,
				  struct lab_export_figures *to)
{
	const char *area = view->cpus + (size_t)cpu * head->cpus.stride;
	unsigned int i;

	/* given first: so nobody is seen to have given what was not taken */
	to->given = row->flow ? lab_export_word(area + head->flow_at + 16u * row->flow + 8) : 0;
	to->taken = row->flow ? lab_export_word(area + head->flow_at + 16u * row->flow) : 0;
	to->stacked =
		row->also ? lab_export_held(area + lab_export_stack(head, view, row->also)) : 0;
	for (i = 0; i < row->nstacks; i++)
		to->stacked += (i + 1ull) *
			       lab_export_held(area + lab_export_stack(head, view, row->stack + i));
}

static inline void lab_export_slabs(const struct lab_export *head,
				    const struct lab_export_view *view,
				    const struct lab_export_row *row, struct lab_export_figures *to)
{
	const struct lab_export_class *cls =
		(const void *)(view->classes + (size_t)row->cls * head->classes.stride);
	const char *cache;

	if (row->atomic) {
		cache = view->atomics +
			(size_t)(row->cls - head->first_atomic) * head->atomics.stride;
		to->slabs = lab_export_word(cache + head->atomic_slabs);
		/* given first: active is never too small */
		to->given = lab_export_word(cache + head->atomic_given);
		to->taken = lab_export_word(cache + head->atomic_taken);
	} else {
		cache = view->caches + (size_t)row->cls * head->caches.stride;
		to->slabs = lab_export_word(cache + head->cache_slabs);
	}
	to->objects = to->slabs * cls->nobj;
}

/** lab_export_row_read() - the figures of a row
 *
 * Context: MT-Safe, AS-Safe.  Wait-free: as many loads as there are CPUs.
 */
static inline void lab_export_row_read(const struct lab_export *head,
				       const struct lab_export_view *view,
				       const struct lab_export_row *row,
				       struct lab_export_figures *to)
{
	struct lab_export_figures one;
	uint64_t out, pages = 0;
	unsigned int cpu;

	*to = (struct lab_export_figures){ 0 };
	if (row->flow) {
		to->given = lab_export_word(lab_export_other(head, view, row->flow) + 8);
		to->taken = lab_export_word(lab_export_other(head, view, row->flow));
	}
	if (row->pages)
		pages = lab_export_word(lab_export_other(head, view, row->pages)) -
			lab_export_word(lab_export_other(head, view, row->pages) + 8);
	for (cpu = 0; cpu < view->nr_cpus; cpu++) {
		const char *area = view->cpus + (size_t)cpu * head->cpus.stride + head->flow_at;

		lab_export_cpu(head, view, row, cpu, &one);
		to->taken += one.taken;
		to->given += one.given;
		to->stacked += one.stacked;
		if (row->pages)
			pages += lab_export_word(area + 16u * row->pages) -
				 lab_export_word(area + 16u * row->pages + 8);
	}
	if (row->cls)
		lab_export_slabs(head, view, row, to);
	out = to->taken - to->given;
	/* others at work may have been seen half-way */
	to->active = (int64_t)(out - to->stacked) > 0 ? out - to->stacked : 0;
	if (!row->cls)
		to->objects = to->active + to->stacked;
	to->bytes = row->pages ? ((int64_t)pages > 0 ? pages * head->page_bytes : 0)
			       : to->active * row->size;
}

#endif /* LAB_BASE_EXPORT_H */

/* SPDX-License-Identifier: MIT */
/* No restartable sequences here: the try-lock back end serves. */
#ifndef LAB_OS_RSEQ_NONE_H
#define LAB_OS_RSEQ_NONE_H

#include "os/cpu.h"

#define LAB_RSEQ_USABLE 0

enum lab_rseq_result { LAB_RSEQ_DONE, LAB_RSEQ_EDGE, LAB_RSEQ_ABORTED, LAB_RSEQ_NOCPU };

static inline enum lab_rseq_result lab_rseq_pop(uint64_t gate, void *stack, void **out)
{
	(void)gate, (void)stack, (void)out;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_pop_metered(uint64_t gate, void *stack, ptrdiff_t meter,
							void **out)
{
	(void)gate, (void)stack, (void)meter, (void)out;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_push(uint64_t gate, void *stack, uint32_t cap,
						 void *entry)
{
	(void)gate, (void)stack, (void)cap, (void)entry;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_pop_at(uint64_t gate, char *const *stack, void **out)
{
	(void)gate, (void)stack, (void)out;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_push_at(uint64_t gate, char *const *stack,
						    const uint16_t *cap, void *entry)
{
	(void)gate, (void)stack, (void)cap, (void)entry;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_push_mask(uint64_t gate, void *stack, uint32_t cap,
						      const char *first, size_t size,
						      uint64_t *mask)
{
	(void)gate, (void)stack, (void)cap, (void)first, (void)size, (void)mask;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_pop_many(uint64_t gate, void *stack, void **to,
						     uint32_t want, uint32_t *got)
{
	(void)gate, (void)stack, (void)to, (void)want, (void)got;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_push_many(uint64_t gate, void *stack, uint32_t cap,
						      void *const *from, uint32_t want,
						      uint32_t *got)
{
	(void)gate, (void)stack, (void)cap, (void)from, (void)want, (void)got;
	return LAB_RSEQ_NOCPU;
}

static inline enum lab_rseq_result lab_rseq_add(uint64_t gate, void *word, uint64_t n)
{
	(void)gate, (void)word, (void)n;
	return LAB_RSEQ_NOCPU;
}

#endif /* LAB_OS_RSEQ_NONE_H */

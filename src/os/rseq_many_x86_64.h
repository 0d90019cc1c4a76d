/* SPDX-License-Identifier: MIT */
/* The sequences that move many entries at once; see rseq_x86_64.h. */
#ifndef LAB_OS_RSEQ_MANY_X86_64_H
#define LAB_OS_RSEQ_MANY_X86_64_H

#include "os/rseq_x86_64.h"

/**
 * lab_rseq_push_mask() - put objects on this CPU's stack, as many as it holds
 * @first: address of the object of bit 0 of the mask
 * @size:  bytes from one object to the next
 * @mask:  which; receives those that found no room
 *
 * The highest first, so that they are popped by rising addresses.  Writes slots above
 * the count, then commits all by storing the new count.
 */
static inline enum lab_rseq_result lab_rseq_push_mask(uint64_t gate, void *stack, uint32_t cap,
						      const char *first, size_t size,
						      uint64_t *mask)
{
	uintptr_t at, count, left, object;

	__asm__ goto volatile(
		LAB_RSEQ_BEGIN "testl %k[count], %k[count]\n\t"
			       "js %l[nocpu]\n\t"
			       "movq %[mask], %[left]\n"
			       "5:\n\t"
			       "testq %[left], %[left]\n\t"
			       "jz 6f\n\t"
			       "cmpl %[cap], %k[count]\n\t"
			       "jae 6f\n\t"
			       "bsrq %[left], %[object]\n\t"
			       "btrq %[object], %[left]\n\t"
			       "imulq %[size], %[object]\n\t"
			       "addq %[first], %[object]\n\t"
			       "movq %[object], 8(%[at], %[count], 8)\n\t"
			       "incl %k[count]\n\t"
			       "jmp 5b\n"
			       "6:\n\t" LAB_RSEQ_COMMIT
		: [at] "=&r"(at), [count] "=&r"(count), [left] "=&r"(left), [object] "=&r"(object)
		: LAB_RSEQ_INPUT, [cap] "r"(cap), [first] "r"(first), [size] "r"(size),
		  [mask] "r"(*mask)
		: "memory", "cc"
		: nocpu, aborted);
	*mask = left;
	return LAB_RSEQ_DONE;
nocpu:
	return LAB_RSEQ_NOCPU;
aborted:
	return LAB_RSEQ_ABORTED;
}

/**
 * lab_rseq_pop_many() - take up to @want entries off this CPU's stack
 * @to:  receives them, the top one last
 * @got: receives how many
 *
 * Copies first, two at a time, then commits by storing the new count.
 */
static inline enum lab_rseq_result lab_rseq_pop_many(uint64_t gate, void *stack, void **to,
						     uint32_t want, uint32_t *got)
{
	uintptr_t at, count, n, left, entry;

	__asm__ goto volatile(LAB_RSEQ_BEGIN "testl %k[count], %k[count]\n\t"
					     "js %l[nocpu]\n\t"
					     "movl %[want], %k[n]\n\t"
					     "cmpl %k[count], %k[n]\n\t"
					     "cmoval %k[count], %k[n]\n\t"
					     "subl %k[n], %k[count]\n\t"
					     "leaq 8(%[at], %[count], 8), %[entry]\n\t"
					     "movl %k[n], %k[left]\n"
					     "5:\n\t"
					     "subl $2, %k[left]\n\t"
					     "jb 6f\n\t"
					     "movups (%[entry], %[left], 8), %%xmm0\n\t"
					     "movups %%xmm0, (%[to], %[left], 8)\n\t"
					     "jmp 5b\n"
					     "6:\n\t"
					     "testl $1, %k[n]\n\t"
					     "jz 7f\n\t"
					     "movq (%[entry]), %[entry]\n\t"
					     "movq %[entry], (%[to])\n"
					     "7:\n\t" LAB_RSEQ_COMMIT
			      : [at] "=&r"(at), [count] "=&r"(count), [n] "=&r"(n),
				[left] "=&r"(left), [entry] "=&r"(entry)
			      : LAB_RSEQ_INPUT, [to] "r"(to), [want] "r"(want)
			      : "memory", "cc", "xmm0"
			      : nocpu, aborted);
	*got = (uint32_t)n;
	return LAB_RSEQ_DONE;
nocpu:
	return LAB_RSEQ_NOCPU;
aborted:
	return LAB_RSEQ_ABORTED;
}

/**
 * lab_rseq_push_many() - put up to @want entries on this CPU's stack, as many as it holds
 * @from: the entries; the last that fits becomes the top
 * @got:  receives how many
 *
 * Writes slots above the count, then commits by storing the new count.
 */
static inline enum lab_rseq_result lab_rseq_push_many(uint64_t gate, void *stack, uint32_t cap,
						      void *const *from, uint32_t want,
						      uint32_t *got)
{
	uintptr_t at, count, n, left, slot;

	__asm__ goto volatile(LAB_RSEQ_BEGIN "testl %k[count], %k[count]\n\t"
					     "js %l[nocpu]\n\t"
					     "movl %[cap], %k[n]\n\t"
					     "subl %k[count], %k[n]\n\t"
					     "cmpl %[want], %k[n]\n\t"
					     "cmoval %[want], %k[n]\n\t"
					     "leaq 8(%[at], %[count], 8), %[slot]\n\t"
					     "movl %k[n], %k[left]\n"
					     "5:\n\t"
					     "subl $2, %k[left]\n\t"
					     "jb 6f\n\t"
					     "movups (%[from], %[left], 8), %%xmm0\n\t"
					     "movups %%xmm0, (%[slot], %[left], 8)\n\t"
					     "jmp 5b\n"
					     "6:\n\t"
					     "addl %k[n], %k[count]\n\t"
					     "testl $1, %k[n]\n\t"
					     "jz 7f\n\t"
					     "movq (%[from]), %[left]\n\t"
					     "movq %[left], (%[slot])\n"
					     "7:\n\t" LAB_RSEQ_COMMIT
			      : [at] "=&r"(at), [count] "=&r"(count), [n] "=&r"(n),
				[left] "=&r"(left), [slot] "=&r"(slot)
			      : LAB_RSEQ_INPUT, [cap] "r"(cap), [from] "r"(from), [want] "r"(want)
			      : "memory", "cc", "xmm0"
			      : nocpu, aborted);
	*got = (uint32_t)n;
	return LAB_RSEQ_DONE;
nocpu:
	return LAB_RSEQ_NOCPU;
aborted:
	return LAB_RSEQ_ABORTED;
}

#endif /* LAB_OS_RSEQ_MANY_X86_64_H */

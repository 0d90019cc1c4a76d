/* SPDX-License-Identifier: MIT */
/*
 * Traffic between the per-CPU stacks and the layers below, counted where a batch
 * moves: how many objects of a class came up, how many went back.  What is neither
 * below nor on a stack is in use, so
 *
 *	in use = taken - given, of all CPUs, less what lies on all stacks
 *
 * which costs the hot paths nothing and is exact when nobody is at work: see
 * base/export.h, which reads it.  A call
 * that is abandoned in a slow path (siglongjmp) may leave its batch uncounted, as it
 * may leak it.  What has no stack is counted one by one.
 */
#ifndef LAB_PCP_FLOW_H
#define LAB_PCP_FLOW_H

#include "pcp/pcp.h"

/* Rows 1 .. LAB_PCP_NR - 1 are classes, as far as used; others have no stack. */
enum lab_flow_row {
	LAB_FLOW_LARGE = LAB_PCP_NR, /* runs of frames */
	LAB_FLOW_LARGE_PAGES,
	LAB_FLOW_HUGE, /* runs of blocks */
	LAB_FLOW_HUGE_PAGES,
	LAB_FLOW_ORDER, /* labyrinth_alloc_pages(): several pages, or one of the heap */
	LAB_FLOW_ORDER_PAGES,
	LAB_NR_FLOWS
};

/* Pages of the exclusive zone are not counted: its own figures tell them. */

struct lab_flow {
	lab_word_t taken, given;
};

/* where a CPU's rows begin in its area: behind the stacks of atomic requests, resident */
#define LAB_FLOW_AT 55616u

/*
 * Meters, behind them: 1 + the objects of a class that malloc() may take from this
 * CPU's stack before somebody wants to know, diag/sample.c.  0: nobody does.
 */
#define LAB_METER_AT	  57216u
#define LAB_METER_OF(cls) (LAB_METER_AT + 8u * (cls))
#define LAB_NR_METERS	  (LAB_PCP_PAGE + 1u)
static_assert(LAB_FLOW_AT + LAB_NR_FLOWS * sizeof(struct lab_flow) <= LAB_METER_AT &&
		      LAB_METER_OF(LAB_NR_METERS) <= 1u << LAB_CPU_SHIFT,
	      "flows, meters, end of the area");

/** lab_pcp_meter() - that of the CPU that runs us; 0: of no class, for whoever counts there
 * @cls: 0 .. LAB_PCP_PAGE
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call, but as lab_pcp_cpu().
 */
lab_word_t *lab_pcp_meter(unsigned int cls);

/**
 * lab_pcp_try_pop_metered() - lab_pcp_try_pop_by(), and the meter of @cls goes down by 1
 *
 * By 2 or more where the kernel restarts the sequence.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 * Return:  false: there is no object, or the meter stands at 1 or 0.
 */
LAB_NODISCARD static LAB_ALWAYS_INLINE bool
lab_pcp_try_pop_metered(const lab_word_t *by, size_t stack, unsigned int cls, void **entry)
{
	ptrdiff_t meter = (ptrdiff_t)LAB_METER_OF(cls) - (ptrdiff_t)stack;
	uint64_t gate;

	return lab_gate_open(by, &gate) &&
	       LAB_LIKELY(lab_rseq_pop_metered(gate, (char *)lab_pcp_area + stack, meter, entry) ==
			  LAB_RSEQ_DONE);
}

/* What could not be told of one CPU: before start-up, in a storm of signals, in vfork(). */
extern LAB_HIDDEN struct lab_flow lab_flow_others[LAB_NR_FLOWS];

/**
 * lab_flow_took(), lab_flow_gave() - count @n on this CPU
 * @row: class, or enum lab_flow_row
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call, but as lab_pcp_cpu().
 */
void lab_flow_took(unsigned int row, uint64_t n);
void lab_flow_gave(unsigned int row, uint64_t n);

/**
 * lab_flow_kept() - what came up on this CPU less what went back from it; a figure
 *
 * Below zero where others take what is given here.  Context: as lab_flow_took().
 */
int64_t lab_flow_kept(unsigned int row);

/** lab_pcp_stacked() - entries of a class on the stacks of all CPUs; a figure
 *
 * Context: MT-Safe, AS-Safe.  Wait-free: as many loads as there are CPUs.
 */
uint64_t lab_pcp_stacked(unsigned int cls);

#endif /* LAB_PCP_FLOW_H */

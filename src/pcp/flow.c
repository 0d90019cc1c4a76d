/* SPDX-License-Identifier: MIT */
#include "pcp/flow.h"
#include "base/export.h"

static_assert(offsetof(struct lab_pcp_stack, held) == offsetof(struct lab_export_head, held) &&
		      LAB_RSEQ_SHUT == LAB_EXPORT_SHUT,
	      "readers know the head of a stack");

static_assert(LAB_FLOW_AT >= LAB_PCP_STACK(92u) + 8u * (LAB_PCP_CAP(92u) + 1u) &&
		      LAB_FLOW_AT % LAB_LINE == 0,
	      "counters lie behind the stacks");
static_assert(LAB_FLOW_AT / 4096 == LAB_PCP_STACK(74u) / 4096 &&
		      (LAB_FLOW_AT + LAB_NR_FLOWS * sizeof(struct lab_flow) - 1) / 4096 ==
			      LAB_FLOW_AT / 4096,
	      "atomic requests count on the page that their stacks lie on");

/*
 * Under rseq a CPU's counters have no writer but sequences on this CPU, which add with
 * plain instructions.  Whoever cannot, counts here.
 */
LAB_RESIDENT struct lab_flow lab_flow_others[LAB_NR_FLOWS];

/* Aborts in a row before we count elsewhere. */
enum { RETRIES = 4 };

static struct lab_flow *flow_at(unsigned int cpu, unsigned int row)
{
	return (struct lab_flow *)(void *)(lab_pcp_area[cpu].bytes + LAB_FLOW_AT) + row;
}

/* @at: on CPU 0; @other: the same of nobody */
static void count(lab_word_t *at, lab_word_t *other, uint64_t n)
{
	enum lab_rseq_result result = LAB_RSEQ_ABORTED;
	uint64_t gate;
	int turn;

	for (turn = 0; turn < RETRIES && result == LAB_RSEQ_ABORTED && lab_rseq_open(&gate); turn++)
		result = lab_rseq_add(gate, at, n);
	if (LAB_UNLIKELY(result != LAB_RSEQ_DONE))
		lab_word_add(other, n);
}

void lab_flow_took(unsigned int row, uint64_t n)
{
	if (lab_pcp_backend() == LAB_PCP_TRYLOCK)
		lab_word_add(&flow_at(lab_pcp_cpu(), row)->taken, n);
	else
		count(&flow_at(0, row)->taken, &lab_flow_others[row].taken, n);
}

void lab_flow_gave(unsigned int row, uint64_t n)
{
	if (lab_pcp_backend() == LAB_PCP_TRYLOCK)
		lab_word_add(&flow_at(lab_pcp_cpu(), row)->given, n);
	else
		count(&flow_at(0, row)->given, &lab_flow_others[row].given, n);
}

int64_t lab_flow_kept(unsigned int row)
{
	struct lab_flow *flow = flow_at(lab_pcp_cpu(), row);

	return (int64_t)(lab_word_get(&flow->taken) - lab_word_get(&flow->given));
}

lab_word_t *lab_pcp_meter(unsigned int cls)
{
	return (lab_word_t *)(void *)(lab_pcp_area[lab_pcp_cpu()].bytes + LAB_METER_OF(cls));
}

uint64_t lab_pcp_stacked(unsigned int cls)
{
	unsigned int cpu, nr = lab_cpus_possible();
	uint64_t n = 0;

	for (cpu = 0; cpu < nr; cpu++)
		n += lab_export_held(lab_pcp_area[cpu].bytes + lab_pcp_class[cls].stack);
	return n;
}

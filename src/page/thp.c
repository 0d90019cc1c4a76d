/* SPDX-License-Identifier: MIT */
#include "page/thp.h"
#include "os/os.h"

/* of the mappings that a process may have (vm.max_map_count, 65530) we want few */
enum { FORGO_MAX = 256 };

lab_word_t lab_thp_from;

static lab_word_t forgone;

static uintptr_t address(size_t block)
{
	return (uintptr_t)lab_frame_address((lab_pfn_t)(block * LAB_BLOCK_FRAMES));
}

void lab_thp_prefer(size_t block, size_t n, uint64_t managed)
{
	uint64_t from = lab_word_get(&lab_thp_from);
	size_t i;

	if (!from || managed < from || lab_os_huge(address(block), n << LAB_BLOCK_SHIFT, true))
		return;
	for (i = block; i < block + n; i++)
		lab_word_set(&lab_block_at(i)->huge, 1);
}

void lab_thp_forgo(size_t block)
{
	lab_word_t *huge = &lab_block_at(block)->huge;

	if (LAB_LIKELY(!lab_word_get(huge)) || lab_word_get(&forgone) >= FORGO_MAX ||
	    !lab_word_swap(huge, 1, 0))
		return;
	lab_word_add(&forgone, 1);
	if (lab_os_huge(address(block), 1ul << LAB_BLOCK_SHIFT, false))
		lab_word_set(huge, 1);
}

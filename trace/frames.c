/* SPDX-License-Identifier: MIT */
/*
 * Return addresses, fast: what to do at a frame is asked of libunwind once, and
 * then kept by the address of its code.  A step is two loads from the stack and
 * one look at what is kept.
 *
 * What is kept is a hint: the stack is only read where it is certainly mapped,
 * so a step that is wrong (another object lies there now) gives a wrong frame
 * and nothing worse.  The tag makes that as good as impossible: it is of the
 * address and of the object that lies there now.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "trace/trace.h"

/* a step in a word: tag, kind, both offsets in units of a stack slot */
enum { TAG_BITS = 24, KIND_BITS = 3, CFA_BITS = 21, BP_BITS = 16, SLOT = 8, WAYS = 4 };
enum { SETS = 4096 };

/*
 * One writer at a time for each word.  An entry that two writers share for a
 * moment has an address that does not go with its tag.
 */
static struct {
	_Atomic(uintptr_t) pc[WAYS];
	_Atomic(uint64_t) step[WAYS];
} kept[SETS] __attribute__((aligned(64)));

static _Atomic(uint64_t) nr_cut;
static uintptr_t own_start, library_start;

static uint64_t mix(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15ul;
	return x ^ x >> 32;
}

static uint64_t tag_of(uintptr_t pc, const struct dl_find_object *object)
{
	uint64_t which = mix((uintptr_t)object->dlfo_map_start ^ pc) ^
			 mix((uintptr_t)object->dlfo_eh_frame ^ (uintptr_t)object->dlfo_map_end);

	return mix(which) >> (64 - TAG_BITS);
}

/* 0: it does not fit */
static uint64_t pack(const struct step *step, uint64_t tag)
{
	intptr_t cfa = step->cfa / SLOT, bp = step->bp / SLOT;

	if (step->cfa % SLOT || step->bp % SLOT || cfa < -(1 << (CFA_BITS - 1)) ||
	    cfa >= 1 << (CFA_BITS - 1) || bp < -(1 << (BP_BITS - 1)) || bp >= 1 << (BP_BITS - 1))
		return 0;
	return tag << (64 - TAG_BITS) | (uint64_t)step->kind << (CFA_BITS + BP_BITS) |
	       ((uint64_t)cfa & ((1ul << CFA_BITS) - 1)) << BP_BITS |
	       ((uint64_t)bp & ((1ul << BP_BITS) - 1));
}

static void unpack(uint64_t word, struct step *step)
{
	step->kind = word >> (CFA_BITS + BP_BITS) & ((1 << KIND_BITS) - 1);
	step->cfa = ((int64_t)(word << (64 - CFA_BITS - BP_BITS)) >> (64 - CFA_BITS)) * SLOT;
	step->bp = (int64_t)(int16_t)word * SLOT;
}

static void keep(uintptr_t pc, uint64_t word, unsigned int set)
{
	unsigned int way;

	for (way = 0; way < WAYS; way++)
		if (!atomic_load_explicit(&kept[set].pc[way], memory_order_relaxed) ||
		    atomic_load_explicit(&kept[set].pc[way], memory_order_relaxed) == pc)
			break;
	if (way == WAYS)
		way = mix(pc ^ word) % WAYS;
	atomic_store_explicit(&kept[set].step[way], word, memory_order_relaxed);
	atomic_store_explicit(&kept[set].pc[way], pc, memory_order_relaxed);
}

/* -1: not now */
static int step_of(uintptr_t pc, const struct dl_find_object *object, struct step *step)
{
	unsigned int set = mix(pc) % SETS, way;
	uint64_t tag = tag_of(pc, object), word;

	for (way = 0; way < WAYS; way++) {
		if (atomic_load_explicit(&kept[set].pc[way], memory_order_relaxed) != pc)
			continue;
		word = atomic_load_explicit(&kept[set].step[way], memory_order_relaxed);
		if (word >> (64 - TAG_BITS) == tag) {
			unpack(word, step);
			return 0;
		}
	}
	if (unwind_step(pc, step)) {
		atomic_fetch_add_explicit(&nr_cut, 1, memory_order_relaxed);
		return -1;
	}
	word = pack(step, tag);
	if (word)
		keep(pc, word, set);
	return 0;
}

/* ---- walking ---- */

struct walk {
	uintptr_t ip, sp, bp, bound;
	int exact; /* @ip is where it is, not where it will return to */
};

/* a word of the stack; 0: not there */
static uintptr_t word_at(const struct walk *walk, uintptr_t at)
{
	if (at % SLOT || at < walk->sp || at >= walk->bound || walk->bound - at < SLOT)
		return 0;
	return *(const volatile uintptr_t *)at;
}

/* the kernel's frame: the stack pointer points to a ucontext_t */
static int leave_handler(struct walk *walk)
{
	uintptr_t regs = walk->sp + offsetof(ucontext_t, uc_mcontext.gregs);
	uintptr_t ip = word_at(walk, regs + REG_RIP * SLOT);
	uintptr_t sp = word_at(walk, regs + REG_RSP * SLOT);

	if (!ip || !sp)
		return -1;
	walk->bp = word_at(walk, regs + REG_RBP * SLOT);
	walk->ip = ip;
	walk->sp = sp;
	walk->bound = stack_bound(sp);
	walk->exact = 1;
	return 0;
}

static int leave_frame(struct walk *walk, const struct step *step)
{
	uintptr_t cfa, bp = walk->bp;

	switch (step->kind) {
	case STEP_SP:
		cfa = walk->sp + (uintptr_t)step->cfa;
		break;
	case STEP_BP:
		cfa = walk->bp + (uintptr_t)step->cfa;
		break;
	case STEP_DEREF:
		cfa = word_at(walk, walk->bp + (uintptr_t)step->cfa);
		/* there the frame pointer points to the caller's */
		bp = word_at(walk, walk->bp);
		break;
	case STEP_SIGNAL:
		return leave_handler(walk);
	default:
		return -1;
	}
	if (cfa <= walk->sp || cfa > walk->bound)
		return -1;
	if (step->bp && step->kind != STEP_DEREF)
		bp = word_at(walk, cfa + (uintptr_t)step->bp);
	walk->ip = word_at(walk, cfa - SLOT);
	walk->sp = cfa;
	walk->bp = bp;
	walk->exact = 0;
	return walk->ip ? 0 : -1;
}

static int is_internal(uintptr_t start)
{
	return start == own_start || start == library_start;
}

unsigned int frames_collect(uintptr_t *ips, unsigned int max)
{
	struct dl_find_object object;
	struct stack_view view;
	struct walk walk;
	struct step step;
	unsigned int n = 0, turn;

	VIEW_HERE(&view);
	walk = (struct walk){ .ip = view.ip, .sp = view.sp, .bp = view.bp, .exact = 1 };
	walk.bound = stack_bound(walk.sp);
	/* those of the library count as well: it may have been interrupted */
	for (turn = 0; n < max && turn < 4 * max; turn++) {
		uintptr_t pc = walk.exact ? walk.ip : walk.ip - 1;

		/* most callers lie in the object that was found last */
		if ((turn == 0 || pc < (uintptr_t)object.dlfo_map_start ||
		     pc >= (uintptr_t)object.dlfo_map_end) &&
		    object_find(pc, &object))
			break;
		if (n || !is_internal((uintptr_t)object.dlfo_map_start))
			ips[n++] = walk.ip;
		if (step_of(pc, &object, &step) || leave_frame(&walk, &step))
			break;
	}
	return n;
}

uint64_t frames_cut(void)
{
	return atomic_load_explicit(&nr_cut, memory_order_relaxed);
}

/* where the object begins that @address is in; 0: the program, which is not all library */
static uintptr_t start_of(uintptr_t address)
{
	struct dl_find_object object;

	if (!address || object_find(address, &object) || !*object.dlfo_link_map->l_name)
		return 0;
	return (uintptr_t)object.dlfo_map_start;
}

void frames_init(uintptr_t library)
{
	own_start = start_of((uintptr_t)frames_init);
	library_start = start_of(library);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "slab/sizeclass.h"

/*
 * Orders are chosen so that a slab holds 16 to 256 objects up to 1 KiB or at least
 * 8 larger ones and leaves at most an eleventh of itself unused; of the three largest
 * powers of two, which are asked for one at a time, 4, 2 and 2.
 */
#define SLAB(cls, bytes, ord)                                                                      \
	[cls] = {                                                                                  \
		.size = (bytes),                                                                   \
		.recip = (uint32_t)((1ull << LAB_RECIP_SHIFT) / (bytes)) +                         \
			 (LAB_IS_POW2(bytes) ? 0u : 1u),                                           \
		.nobj = (uint16_t)((4096u << (ord)) / (bytes)),                                    \
		.order = (ord),                                                                    \
	}
#define ONE(cls, ord)	 SLAB(cls, LAB_CLASS_SIZE(cls), ord)
#define ATOMIC(i, bytes) SLAB(LAB_CLASS_ATOMIC + (i), bytes, 0)

const struct lab_class lab_class[LAB_CLASS_END] = {
	ONE(1, 0),	   ONE(2, 0),	       ONE(3, 0),	   ONE(4, 0),
	ONE(5, 1),	   ONE(6, 1),	       ONE(7, 1),	   ONE(8, 1),
	ONE(9, 1),	   ONE(10, 1),	       ONE(11, 1),	   ONE(12, 1),
	ONE(13, 1),	   ONE(14, 1),	       ONE(15, 1),	   ONE(16, 1),
	ONE(17, 1),	   ONE(18, 1),	       ONE(19, 1),	   ONE(20, 1),
	ONE(21, 1),	   ONE(22, 1),	       ONE(23, 1),	   ONE(24, 1),
	ONE(25, 2),	   ONE(26, 2),	       ONE(27, 2),	   ONE(28, 2),
	ONE(29, 2),	   ONE(30, 2),	       ONE(31, 2),	   ONE(32, 2),
	ONE(33, 2),	   ONE(34, 2),	       ONE(35, 2),	   ONE(36, 2),
	ONE(37, 2),	   ONE(38, 2),	       ONE(39, 2),	   ONE(40, 2),
	ONE(41, 3),	   ONE(42, 3),	       ONE(43, 3),	   ONE(44, 3),
	ONE(45, 4),	   ONE(46, 3),	       ONE(47, 3),	   ONE(48, 3),
	ONE(49, 4),	   ONE(50, 4),	       ONE(51, 4),	   ONE(52, 4),
	ONE(53, 5),	   ONE(54, 4),	       ONE(55, 4),	   ONE(56, 3),
	ONE(57, 5),	   ONE(58, 5),	       ONE(59, 5),	   ONE(60, 5),
	ONE(61, 6),	   ONE(62, 5),	       ONE(63, 5),	   ONE(64, 3),
	ONE(65, 6),	   ONE(66, 6),	       ONE(67, 6),	   ONE(68, 6),
	ONE(69, 6),	   ONE(70, 6),	       ONE(71, 6),	   ONE(72, 4),

	ATOMIC(0u, 16u),   ATOMIC(1u, 32u),    ATOMIC(2u, 48u),	   ATOMIC(3u, 64u),
	ATOMIC(4u, 96u),   ATOMIC(5u, 128u),   ATOMIC(6u, 192u),   ATOMIC(7u, 256u),
	ATOMIC(8u, 336u),  ATOMIC(9u, 400u),   ATOMIC(10u, 512u),  ATOMIC(11u, 672u),
	ATOMIC(12u, 816u), ATOMIC(13u, 1024u), ATOMIC(14u, 1360u), ATOMIC(15u, LAB_ATOMIC_MAX),
};

/* the class that malloc() uses for a constant size */
#define USE(s)	   ((s) > LAB_PAGE_SIZES_ABOVE ? LAB_PCP_PAGE : LAB_CLASS_OF(s))
#define I4(of, i)  of(i), of((i) + 1u), of((i) + 2u), of((i) + 3u)
#define I16(of, i) I4(of, i), I4(of, (i) + 4u), I4(of, (i) + 8u), I4(of, (i) + 12u)
#define I64(of, i) I16(of, i), I16(of, (i) + 16u), I16(of, (i) + 32u), I16(of, (i) + 48u)
#define ALL(of)	   I64(of, 1u), I64(of, 65u), I64(of, 129u), I64(of, 193u)

/* of a size in steps of 16 */
#define CLS(i)	 USE((i)*16u)
#define SHIFT(i) LAB_LIVE_SHIFT_OF(CLS(i))

const uint8_t lab_size_class[LAB_HOT_MAX / 16 + 1] = { 1, ALL(CLS) };

#define CAP4(cls)                                                                                  \
	LAB_PCP_CAP(cls), LAB_PCP_CAP((cls) + 1u), LAB_PCP_CAP((cls) + 2u), LAB_PCP_CAP((cls) + 3u)
#define CAP12(cls) CAP4(cls), CAP4((cls) + 4u), CAP4((cls) + 8u)

struct lab_hot lab_hot = {
	.cap = { 0, CAP12(1u), CAP12(13u), CAP12(25u), CAP12(37u), CAP12(49u), CAP12(61u),
		 LAB_PCP_CAP(73u) },
	.shift_of_kind = { [0 ... 7] = LAB_LIVE16_SHIFT, [8 ... 255] = LAB_LIVE128_SHIFT },
	.shift_of_size = { ALL(SHIFT) },
};
static_assert(LAB_LIVE_SHIFT_OF(7u) == LAB_LIVE16_SHIFT &&
		      LAB_LIVE_SHIFT_OF(8u) == LAB_LIVE128_SHIFT,
	      "shift_of_kind says so");

static_assert(LAB_CLASS_OF(LAB_CLASS_MAX) == LAB_NR_CLASSES - 1, "the last class is the largest");
static_assert(LAB_CLASS_SIZE(LAB_NR_CLASSES - 1) == LAB_CLASS_MAX, "the largest size has a class");
static_assert(LAB_CLASS_END - 1 <= LAB_KIND_CLASS_MAX, "an atomic class is a kind of frame");
static_assert(LAB_NR_CLASSES - 1 == LAB_PCP_SLABS, "each class has its stacks");

static char *stack_of(unsigned int cls)
{
	return lab_pcp_area[0].bytes + lab_pcp_class[cls].stack;
}

int lab_hot_init(void)
{
	unsigned int i;

	if (lab_mem_init())
		return -ENOMEM;
	lab_hot.live[LAB_LIVE16_SHIFT] = lab_mem.live[LAB_LIVE16_SHIFT];
	lab_hot.live[LAB_LIVE128_SHIFT] = lab_mem.live[LAB_LIVE128_SHIFT];
	for (i = 0; i < LAB_HOT_MAX / 16; i++)
		lab_hot.pop[i] = stack_of(lab_size_class[i + 1]);
	for (i = 1; i <= LAB_PCP_PAGE; i++)
		lab_hot.push[i] = stack_of(i);
	lab_bound_raise(&lab_hot_gates.sizes, LAB_HOT_MAX / 16);
	return 0;
}

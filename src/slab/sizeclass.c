/* SPDX-License-Identifier: MIT */
#include "slab/sizeclass.h"
#include "page/frame.h"
#include "pcp/pcp.h"

/*
 * Orders are chosen so that a slab holds 32 to 256 small objects or at least
 * 8 larger ones and leaves at most an eleventh of itself unused; of the two largest
 * powers of two, which are asked for one at a time, 4.
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
	ONE(9, 2),	   ONE(10, 2),	       ONE(11, 2),	   ONE(12, 2),
	ONE(13, 2),	   ONE(14, 2),	       ONE(15, 2),	   ONE(16, 2),
	ONE(17, 2),	   ONE(18, 2),	       ONE(19, 2),	   ONE(20, 2),
	ONE(21, 2),	   ONE(22, 2),	       ONE(23, 2),	   ONE(24, 2),
	ONE(25, 3),	   ONE(26, 3),	       ONE(27, 3),	   ONE(28, 3),
	ONE(29, 3),	   ONE(30, 3),	       ONE(31, 3),	   ONE(32, 3),
	ONE(33, 4),	   ONE(34, 4),	       ONE(35, 4),	   ONE(36, 4),
	ONE(37, 4),	   ONE(38, 4),	       ONE(39, 4),	   ONE(40, 4),
	ONE(41, 3),	   ONE(42, 3),	       ONE(43, 3),	   ONE(44, 3),
	ONE(45, 4),	   ONE(46, 3),	       ONE(47, 3),	   ONE(48, 3),
	ONE(49, 4),	   ONE(50, 4),	       ONE(51, 4),	   ONE(52, 4),
	ONE(53, 5),	   ONE(54, 4),	       ONE(55, 4),	   ONE(56, 4),
	ONE(57, 5),	   ONE(58, 5),	       ONE(59, 5),	   ONE(60, 5),
	ONE(61, 6),	   ONE(62, 5),	       ONE(63, 5),	   ONE(64, 4),
	ONE(65, 6),	   ONE(66, 6),	       ONE(67, 6),	   ONE(68, 6),
	ONE(69, 6),	   ONE(70, 6),	       ONE(71, 6),	   ONE(72, 5),

	ATOMIC(0u, 16u),   ATOMIC(1u, 32u),    ATOMIC(2u, 48u),	   ATOMIC(3u, 64u),
	ATOMIC(4u, 96u),   ATOMIC(5u, 128u),   ATOMIC(6u, 192u),   ATOMIC(7u, 256u),
	ATOMIC(8u, 336u),  ATOMIC(9u, 400u),   ATOMIC(10u, 512u),  ATOMIC(11u, 672u),
	ATOMIC(12u, 816u), ATOMIC(13u, 1024u), ATOMIC(14u, 1360u), ATOMIC(15u, LAB_ATOMIC_MAX),
};

/* the class that malloc() uses for a constant size */
#define USE(s) ((s) > LAB_PAGE_SIZES_ABOVE ? LAB_PCP_PAGE : LAB_CLASS_OF(s))
#define I(i)                                                                                       \
	{                                                                                          \
		LAB_PCP_STACK(USE((i)*16u)), USE((i)*16u), LAB_LIVE_SHIFT_OF(USE((i)*16u))         \
	}
#define I4(i)  I(i), I((i) + 1u), I((i) + 2u), I((i) + 3u)
#define I16(i) I4(i), I4((i) + 4u), I4((i) + 8u), I4((i) + 12u)
#define I64(i) I16(i), I16((i) + 16u), I16((i) + 32u), I16((i) + 48u)

/* size 0 is served as 1; multiples of 16 from there on */
struct lab_hot_size lab_hot_size[LAB_HOT_MAX / 16 + 1] = {
	{ LAB_PCP_STACK(1u), 1, LAB_LIVE_SHIFT_OF(1u) }, I64(1u), I64(65u), I64(129u), I64(193u),
};

#define K(cls)                                                                                     \
	{                                                                                          \
		LAB_PCP_STACK(cls), LAB_PCP_CAP(cls), LAB_LIVE_SHIFT_OF(cls)                       \
	}
#define K4(cls)	 K(cls), K((cls) + 1u), K((cls) + 2u), K((cls) + 3u)
#define K12(cls) K4(cls), K4((cls) + 4u), K4((cls) + 8u)

const struct lab_hot_kind lab_hot_kind[LAB_PCP_PAGE + 1] = {
	{ 0, 0, LAB_LIVE16_SHIFT },
	K12(1u),
	K12(13u),
	K12(25u),
	K12(37u),
	K12(49u),
	K12(61u),
	K(73u),
};

static_assert(LAB_CLASS_OF(LAB_CLASS_MAX) == LAB_NR_CLASSES - 1, "the last class is the largest");
static_assert(LAB_CLASS_SIZE(LAB_NR_CLASSES - 1) == LAB_CLASS_MAX, "the largest size has a class");
static_assert(LAB_CLASS_END - 1 <= LAB_KIND_CLASS_MAX, "an atomic class is a kind of frame");
static_assert(LAB_NR_CLASSES - 1 == LAB_PCP_SLABS, "each class has its stacks");

void lab_hot_meter(void)
{
	volatile struct lab_hot_size *hot;
	unsigned int i;

	for (i = 0; i <= LAB_HOT_MAX / 16; i++) {
		hot = &lab_hot_size[i];
		hot->stack = LAB_PCP_EMPTY;
	}
}

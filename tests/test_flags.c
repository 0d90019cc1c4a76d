/* SPDX-License-Identifier: MIT */
/* The flags: what they are called, and which rules a request has to keep. */
#include "harness.h"

#include "gfp/flags.h"
#include "gfp/warn.h"
#include "page/event.h"

/* ---- names ---- */

struct print {
	labyrinth_gfp_t gfp;
	const char *text;
};

/* the kernel's own words: include/trace/events/mmflags.h and its logs */
static const struct print prints[] = {
	{ 0x0, "0x0()" },
	{ 0x820, "0x820(GFP_ATOMIC)" },
	{ 0x920, "0x920(GFP_ATOMIC|__GFP_ZERO)" },
	{ 0x2820, "0x2820(GFP_ATOMIC|__GFP_NOWARN)" },
	{ 0x40820, "0x40820(GFP_ATOMIC|__GFP_COMP)" },
	{ 0x80820, "0x80820(GFP_ATOMIC|__GFP_NOMEMALLOC)" },
	{ 0x20820, "0x20820(GFP_ATOMIC|__GFP_MEMALLOC)" },
	{ 0x80000820, "0x80000820(GFP_ATOMIC|__GFP_EXCLUSIVE)" },
	{ 0x80000920, "0x80000920(GFP_ATOMIC|__GFP_ZERO|__GFP_EXCLUSIVE)" },
	{ 0x821, "0x821(GFP_ATOMIC|GFP_DMA)" },
	{ 0x824, "0x824(GFP_ATOMIC|GFP_DMA32)" },
	{ 0x8820, "0x8820(GFP_ATOMIC|__GFP_NOFAIL)" },
	{ 0xcc0, "0xcc0(GFP_KERNEL)" },
	{ 0xdc0, "0xdc0(GFP_KERNEL|__GFP_ZERO)" },
	{ 0xcc1, "0xcc1(GFP_KERNEL|GFP_DMA)" },
	{ 0xcc4, "0xcc4(GFP_KERNEL|GFP_DMA32)" },
	{ 0xce0, "0xce0(GFP_KERNEL|__GFP_HIGH)" },
	{ 0x2cc0, "0x2cc0(GFP_KERNEL|__GFP_NOWARN)" },
	{ 0x8cc0, "0x8cc0(GFP_KERNEL|__GFP_NOFAIL)" },
	{ 0x4cc0, "0x4cc0(GFP_KERNEL|__GFP_RETRY_MAYFAIL)" },
	{ 0x10cc0, "0x10cc0(GFP_KERNEL|__GFP_NORETRY)" },
	{ 0x12cc0, "0x12cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY)" },
	{ 0x40cc0, "0x40cc0(GFP_KERNEL|__GFP_COMP)" },
	{ 0x40dc0, "0x40dc0(GFP_KERNEL|__GFP_ZERO|__GFP_COMP)" },
	{ 0x52cc0, "0x52cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP)" },
	{ 0xd2cc0, "0xd2cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC)" },
	{ 0x400cc0, "0x400cc0(GFP_KERNEL_ACCOUNT)" },
	{ 0x400dc0, "0x400dc0(GFP_KERNEL_ACCOUNT|__GFP_ZERO)" },
	{ 0x440cc0, "0x440cc0(GFP_KERNEL_ACCOUNT|__GFP_COMP)" },
	{ 0x100cc0, "0x100cc0(GFP_USER)" },
	{ 0x500cc0, "0x500cc0(GFP_USER|__GFP_ACCOUNT)" },
	{ 0x100dc0, "0x100dc0(GFP_USER|__GFP_ZERO)" },
	{ 0x100cc2, "0x100cc2(GFP_HIGHUSER)" },
	{ 0x100dc2, "0x100dc2(GFP_HIGHUSER|__GFP_ZERO)" },
	{ 0x100cca, "0x100cca(GFP_HIGHUSER_MOVABLE)" },
	{ 0x101cca, "0x101cca(GFP_HIGHUSER_MOVABLE|__GFP_WRITE)" },
	{ 0x140cca, "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)" },
	{ 0x140dca, "0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP)" },
	{ 0x1c20ca, "0x1c20ca(GFP_TRANSHUGE_LIGHT)" },
	{ 0x1c24ca, "0x1c24ca(GFP_TRANSHUGE)" },
	{ 0x3c24ca, "0x3c24ca(GFP_TRANSHUGE|__GFP_THISNODE)" },
	{ 0x1d24ca, "0x1d24ca(GFP_TRANSHUGE|__GFP_NORETRY)" },
	{ 0x1c2cca, "0x1c2cca(GFP_TRANSHUGE|__GFP_KSWAPD_RECLAIM)" },
	{ 0xc00, "0xc00(GFP_NOIO)" },
	{ 0xd00, "0xd00(GFP_NOIO|__GFP_ZERO)" },
	{ 0xc40, "0xc40(GFP_NOFS)" },
	{ 0x40c40, "0x40c40(GFP_NOFS|__GFP_COMP)" },
	{ 0x8c40, "0x8c40(GFP_NOFS|__GFP_NOFAIL)" },
	{ 0x2800, "0x2800(GFP_NOWAIT)" },
	{ 0x2900, "0x2900(GFP_NOWAIT|__GFP_ZERO)" },
	{ 0x402800, "0x402800(GFP_NOWAIT|__GFP_ACCOUNT)" },
	{ 0xc2100, "0xc2100(__GFP_ZERO|__GFP_NOWARN|__GFP_COMP|__GFP_NOMEMALLOC)" },
	{ 0x1, "0x1(GFP_DMA)" },
	{ 0x2, "0x2(__GFP_HIGHMEM)" },
	{ 0x4, "0x4(GFP_DMA32)" },
	{ 0x8, "0x8(__GFP_MOVABLE)" },
	{ 0x10, "0x10(__GFP_RECLAIMABLE)" },
	{ 0x20, "0x20(__GFP_HIGH)" },
	{ 0x40, "0x40(__GFP_IO)" },
	{ 0x80, "0x80(__GFP_FS)" },
	{ 0x100, "0x100(__GFP_ZERO)" },
	{ 0x200, "0x200(0x200)" },
	{ 0x400, "0x400(__GFP_DIRECT_RECLAIM)" },
	{ 0x800, "0x800(__GFP_KSWAPD_RECLAIM)" },
	{ 0x1000, "0x1000(__GFP_WRITE)" },
	{ 0x2000, "0x2000(__GFP_NOWARN)" },
	{ 0x4000, "0x4000(__GFP_RETRY_MAYFAIL)" },
	{ 0x8000, "0x8000(__GFP_NOFAIL)" },
	{ 0x10000, "0x10000(__GFP_NORETRY)" },
	{ 0x20000, "0x20000(__GFP_MEMALLOC)" },
	{ 0x40000, "0x40000(__GFP_COMP)" },
	{ 0x80000, "0x80000(__GFP_NOMEMALLOC)" },
	{ 0x100000, "0x100000(__GFP_HARDWALL)" },
	{ 0x200000, "0x200000(__GFP_THISNODE)" },
	{ 0x400000, "0x400000(__GFP_ACCOUNT)" },
	{ 0x800000, "0x800000(__GFP_ZEROTAGS)" },
	{ 0x80000000, "0x80000000(__GFP_EXCLUSIVE)" },
	{ 0x1000820, "0x1000820(GFP_ATOMIC|0x1000000)" },
	{ 0x7f000000, "0x7f000000(0x7f000000)" },
	{ 0xa20, "0xa20(GFP_ATOMIC|0x200)" },
	{ 0xc0, "0xc0(__GFP_IO|__GFP_FS)" },
	{ 0x7, "0x7(GFP_DMA|GFP_DMA32|__GFP_HIGHMEM)" },
};

/* Each mask is printed as the kernel prints it. */
static void test_masks_print_as_the_kernel_prints_them(void **state)
{
	size_t i;
	char buf[512];

	(void)state;
	assert_true(sizeof(prints) / sizeof(prints[0]) >= 60);
	for (i = 0; i < sizeof(prints) / sizeof(prints[0]); i++) {
		errno = 4711;
		assert_int_equal(labyrinth_gfp_print(buf, sizeof(buf), prints[i].gfp),
				 strlen(prints[i].text));
		assert_string_equal(buf, prints[i].text);
		assert_int_equal(errno, 4711);
	}
}

/* the bits that a name stands for, by the public header */
static labyrinth_gfp_t bits_of(const char *name, size_t n)
{
#define NAME(x)                                                                                    \
	{                                                                                          \
#x, LABYRINTH_##x                                                                  \
	}
	static const struct {
		const char *name;
		labyrinth_gfp_t bits;
	} all[] = {
		NAME(GFP_TRANSHUGE),
		NAME(GFP_TRANSHUGE_LIGHT),
		NAME(GFP_HIGHUSER_MOVABLE),
		NAME(GFP_HIGHUSER),
		NAME(GFP_USER),
		NAME(GFP_KERNEL_ACCOUNT),
		NAME(GFP_KERNEL),
		NAME(GFP_NOFS),
		NAME(GFP_ATOMIC),
		NAME(GFP_NOIO),
		NAME(GFP_NOWAIT),
		NAME(GFP_DMA),
		NAME(GFP_DMA32),
		NAME(__GFP_HIGHMEM),
		NAME(__GFP_MOVABLE),
		NAME(__GFP_RECLAIMABLE),
		NAME(__GFP_HIGH),
		NAME(__GFP_IO),
		NAME(__GFP_FS),
		NAME(__GFP_ZERO),
		NAME(__GFP_DIRECT_RECLAIM),
		NAME(__GFP_WRITE),
		NAME(__GFP_KSWAPD_RECLAIM),
		NAME(__GFP_NOWARN),
		NAME(__GFP_NOFAIL),
		NAME(__GFP_RETRY_MAYFAIL),
		NAME(__GFP_NORETRY),
		NAME(__GFP_MEMALLOC),
		NAME(__GFP_COMP),
		NAME(__GFP_NOMEMALLOC),
		NAME(__GFP_HARDWALL),
		NAME(__GFP_THISNODE),
		NAME(__GFP_ACCOUNT),
		NAME(__GFP_ZEROTAGS),
		NAME(__GFP_EXCLUSIVE),
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strlen(all[i].name) == n && strncmp(all[i].name, name, n) == 0)
			return all[i].bits;
	return strncmp(name, "0x", 2) ? 0 : (labyrinth_gfp_t)strtoul(name, NULL, 16);
}

static labyrinth_gfp_t parse(const char *text)
{
	labyrinth_gfp_t bits = 0;
	size_t n;

	text = strchr(text, '(') + 1;
	for (; *text != ')'; text += n + (text[n] == '|')) {
		n = strcspn(text, "|)");
		bits |= bits_of(text, n);
	}
	return bits;
}

/* Whatever is printed says all bits and no other, in front of the names and in them. */
static void test_random_masks_read_back_to_the_same_bits(void **state)
{
	uint64_t seed = new_seed("masks");
	char buf[512];
	int i;

	(void)state;
	for (i = 0; i < 200000; i++) {
		labyrinth_gfp_t gfp = (labyrinth_gfp_t)next_random(&seed);

		if (i & 1)
			gfp &= (labyrinth_gfp_t)next_random(&seed);
		assert_true(labyrinth_gfp_print(buf, sizeof(buf), gfp) < (int)sizeof(buf));
		assert_int_equal(strtoul(buf, NULL, 16), gfp);
		assert_int_equal(parse(buf), gfp);
	}
}

/* A text that is too long is cut and terminated, and its length is that of all of it. */
static void test_print_is_cut_to_the_buffer(void **state)
{
	static const char text[] = "0x920(GFP_ATOMIC|__GFP_ZERO)";
	char buf[64];
	size_t size;

	(void)state;
	for (size = 0; size <= sizeof(buf); size++) {
		memset(buf, '#', sizeof(buf));
		assert_int_equal(labyrinth_gfp_print(buf, size, 0x920), strlen(text));
		if (size) {
			size_t n = size - 1 < strlen(text) ? size - 1 : strlen(text);

			assert_memory_equal(buf, text, n);
			assert_int_equal(buf[n], '\0');
		}
		for (size_t at = size; at < sizeof(buf); at++)
			assert_int_equal(buf[at], '#');
	}
}

/* A line takes flags until it is full, and is not overrun. */
static void test_line_takes_flags_until_it_is_full(void **state)
{
	struct {
		struct lab_line line;
		char behind[64];
	} mem;
	unsigned int before;
	char buf[512];

	(void)state;
	(void)labyrinth_gfp_print(buf, sizeof(buf), 0xffffffff);
	for (before = 0; before < sizeof(mem.line.text); before++) {
		memset(&mem, '#', sizeof(mem));
		lab_line_start(&mem.line);
		mem.line.len = before;
		lab_line_gfp(&mem.line, 0xffffffff);
		assert_true(mem.line.len <= sizeof(mem.line.text) - 1);
		assert_memory_equal(mem.line.text + before, buf, mem.line.len - before);
		for (size_t i = 0; i < sizeof(mem.behind); i++)
			assert_int_equal(mem.behind[i], '#');
	}
}

/* ---- rules ---- */

static uint64_t bad(void)
{
	return labyrinth_event_count(LABYRINTH_EV_BAD_GFP);
}

struct rule {
	labyrinth_gfp_t gfp, after;
	unsigned int order;
	bool accepted;
	const char *says;
};

/*
 * Twice in a child, whose rules have not been broken yet: the first time the
 * line is written, the second time it is not; the event counts both.
 */
static void break_twice(void *arg)
{
	const struct rule *rule = arg;
	labyrinth_gfp_t gfp = rule->gfp;
	uint64_t before = bad();
	struct capture capture;

	for (int i = 0; i < 2; i++) {
		const char *said;

		gfp = rule->gfp;
		errno = 4711;
		capture_start(&capture);
		must(lab_gfp_check(&gfp, rule->order) == rule->accepted);
		must(errno == 4711);
		if (!(rule->gfp & LABYRINTH___GFP_DIRECT_RECLAIM)) {
			/* deferred: nothing yet */
			must(lseek(capture.file, 0, SEEK_END) == 0);
			(void)labyrinth_flush_reports();
		}
		said = capture_end(&capture);
		must(gfp == rule->after);
		if (i == 0 && rule->says) {
			must(strstr(said, "labyrinth["));
			must(strstr(said, "]: WARNING: "));
			must(strstr(said, rule->says));
			must(strchr(said, '\n') == said + strlen(said) - 1);
		} else {
			must(said[0] == '\0');
		}
	}
	must(bad() == before + 2);
}

static void assert_rule(labyrinth_gfp_t gfp, unsigned int order, bool accepted,
			labyrinth_gfp_t after, const char *says)
{
	struct rule rule = { gfp, after, order, accepted, says };

	assert_child_succeeds(break_twice, &rule);
}

/* An order above the largest is refused. */
static void test_order_above_the_largest_is_refused(void **state)
{
	(void)state;
	assert_rule(0xcc0, 10, false, 0xcc0, "the order is above the largest");
	assert_rule(0x820, 10, false, 0x820, "order:10, mode:0x820(GFP_ATOMIC)");
	assert_rule(0x820, 4000000000u, false, 0x820, "the order is above the largest");
	/* the one rule that is silent with __GFP_NOWARN */
	assert_rule(0x2cc0, 10, false, 0x2cc0, NULL);
}

/* Bits that nobody knows are refused, each of them. */
static void test_unknown_bits_are_refused(void **state)
{
	(void)state;
	for (unsigned int bit = 24; bit < 31; bit++)
		assert_rule(0xcc0 | 1u << bit, 0, false, 0xcc0 | 1u << bit, "unknown flags");
	assert_rule(0x1000820, 0, false, 0x1000820, "mode:0x1000820(GFP_ATOMIC|0x1000000)");
}

/* Of the 16 zone combinations those of GFP_ZONE_BAD are put right, the others left alone. */
static void test_bad_zones_are_dropped(void **state)
{
	/* include/linux/gfp.h */
	const unsigned int zone_bad = 1u << (1 | 2) | 1u << (1 | 4) | 1u << (4 | 2) |
				      1u << (1 | 4 | 2) | 1u << (8 | 2 | 1) | 1u << (8 | 4 | 1) |
				      1u << (8 | 4 | 2) | 1u << (8 | 4 | 1 | 2);
	unsigned int zones;

	(void)state;
	for (zones = 0; zones < 16; zones++) {
		labyrinth_gfp_t gfp = 0xcc0 | zones;
		uint64_t before = bad();

		if (zone_bad >> zones & 1) {
			assert_rule(gfp, 0, true, 0xcc0 | (zones & 8),
				    "more than one of __GFP_DMA");
			continue;
		}
		assert_true(lab_gfp_check(&gfp, 0));
		assert_int_equal(gfp, 0xcc0 | zones);
		assert_int_equal(bad(), before);
	}
}

/* A page is movable or reclaimable, not both. */
static void test_two_mobilities_are_dropped(void **state)
{
	(void)state;
	assert_rule(0xcc0 | 0x18, 0, true, 0xcc0, "both __GFP_MOVABLE and __GFP_RECLAIMABLE");
	assert_rule(0x820 | 0x18, 0, true, 0x820, "both __GFP_MOVABLE and __GFP_RECLAIMABLE");
}

/* NOFAIL is for orders 0 and 1. */
static void test_nofail_with_a_large_order_is_warned_of(void **state)
{
	labyrinth_gfp_t gfp = 0x8cc0;
	uint64_t before = bad();

	(void)state;
	assert_true(lab_gfp_check(&gfp, 0) && lab_gfp_check(&gfp, 1));
	assert_int_equal(bad(), before);
	assert_rule(0x8cc0, 2, true, 0x8cc0, "__GFP_NOFAIL with an order above 1");
	/* one rule broken is one event: order 1 is fine */
	assert_rule(0x8cc3, 1, true, 0x8cc0, "more than one of __GFP_DMA");
}

static void fail_twice(void *arg)
{
	labyrinth_gfp_t gfp = *(labyrinth_gfp_t *)arg;
	uint64_t before = bad();
	struct capture capture;
	const char *said;

	for (int i = 0; i < 2; i++) {
		labyrinth_gfp_t same = gfp;

		capture_start(&capture);
		must(lab_gfp_check(&same, 0) && same == gfp);
		lab_gfp_check_failed(gfp, 0);
		(void)labyrinth_flush_reports();
		said = capture_end(&capture);
		must(i || strstr(said, "__GFP_NOFAIL without __GFP_DIRECT_RECLAIM"));
		must(!i || !*said);
	}
	must(bad() == before + 2);
}

/* NOFAIL that may not wait is no fault before it has failed; NOWARN does not mute it. */
static void test_nofail_that_may_not_wait_is_warned_of_when_it_fails(void **state)
{
	labyrinth_gfp_t atomic = 0x8820, nowait = 0xa800;

	(void)state;
	assert_child_succeeds(fail_twice, &atomic);
	assert_child_succeeds(fail_twice, &nowait);
}

static void fail_in_section(void *unused)
{
	uint64_t before = bad();
	struct capture capture;
	uintptr_t saved;
	const char *said;

	(void)unused;
	capture_start(&capture);
	lab_gfp_check_failed(0x8cc0, 0);
	must(bad() == before);
	saved = labyrinth_gfp_save();
	lab_gfp_check_failed(0x8cc0, 0);
	/* GFP_KERNEL, but in a section: deferred */
	must(lseek(capture.file, 0, SEEK_END) == 0);
	labyrinth_gfp_restore(saved);
	must(labyrinth_flush_reports() == 1);
	said = capture_end(&capture);
	must(strstr(said, "__GFP_NOFAIL in an atomic section"));
	must(bad() == before + 1);
}

/* In an atomic section NOFAIL cannot be kept. */
static void test_nofail_in_an_atomic_section_is_warned_of(void **state)
{
	(void)state;
	assert_child_succeeds(fail_in_section, NULL);
}

static void ask_exact(void *unused)
{
	labyrinth_gfp_t gfp = 0x40cc2;
	struct capture capture;
	const char *said;

	(void)unused;
	capture_start(&capture);
	lab_gfp_check_exact(&gfp, 3);
	said = capture_end(&capture);
	must(gfp == 0xcc0);
	must(strstr(said, "exact pages with __GFP_COMP or __GFP_HIGHMEM"));
	must(strstr(said, "order:3, mode:0x40cc2(GFP_KERNEL|__GFP_HIGHMEM|__GFP_COMP)"));
	lab_gfp_check_exact(&gfp, 3);
	must(gfp == 0xcc0);
}

/* Exact pages are not compound. */
static void test_exact_pages_lose_comp_and_highmem(void **state)
{
	(void)state;
	assert_child_succeeds(ask_exact, NULL);
}

/* NORETRY, RETRY_MAYFAIL and NOFAIL in any combination, and what has no meaning here, are no fault. */
static void test_all_other_flags_are_accepted(void **state)
{
	const labyrinth_gfp_t patience =
		LABYRINTH___GFP_NORETRY | LABYRINTH___GFP_RETRY_MAYFAIL | LABYRINTH___GFP_NOFAIL;
	labyrinth_gfp_t gfp, set;
	uint64_t before = bad();
	unsigned int bit;

	(void)state;
	for (set = patience; set; set = (set - 1) & patience) {
		gfp = 0xcc0 | set;
		assert_true(lab_gfp_check(&gfp, 1));
		assert_int_equal(gfp, 0xcc0 | set);
	}
	for (bit = 0; bit < 32; bit++) {
		gfp = 0x820 | 1u << bit;
		if (bit >= 24 && bit < 31)
			continue;
		assert_true(lab_gfp_check(&gfp, LABYRINTH_MAX_PAGE_ORDER * (bit != 15)));
		assert_int_equal(gfp, 0x820 | 1u << bit);
	}
	assert_int_equal(bad(), before);
}

/* A bad request fails with EINVAL, a corrected one is served. */
static void test_page_calls_keep_the_rules(void **state)
{
	struct capture capture;
	void *page;

	(void)state;
	capture_start(&capture);
	errno = 0;
	page = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 10);
	capture_end(&capture);
	assert_null(page);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC | 0x1000000));
	assert_int_equal(errno, EINVAL);
	page = labyrinth_alloc_pages(
		LABYRINTH_GFP_ATOMIC | LABYRINTH___GFP_DMA | LABYRINTH___GFP_DMA32, 1);
	assert_non_null(page);
	labyrinth_free_pages(page, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masks_print_as_the_kernel_prints_them),
		cmocka_unit_test(test_random_masks_read_back_to_the_same_bits),
		cmocka_unit_test(test_print_is_cut_to_the_buffer),
		cmocka_unit_test(test_line_takes_flags_until_it_is_full),
		cmocka_unit_test(test_order_above_the_largest_is_refused),
		cmocka_unit_test(test_unknown_bits_are_refused),
		cmocka_unit_test(test_bad_zones_are_dropped),
		cmocka_unit_test(test_two_mobilities_are_dropped),
		cmocka_unit_test(test_nofail_with_a_large_order_is_warned_of),
		cmocka_unit_test(test_nofail_that_may_not_wait_is_warned_of_when_it_fails),
		cmocka_unit_test(test_nofail_in_an_atomic_section_is_warned_of),
		cmocka_unit_test(test_exact_pages_lose_comp_and_highmem),
		cmocka_unit_test(test_all_other_flags_are_accepted),
		cmocka_unit_test(test_page_calls_keep_the_rules),
	};

	return cmocka_run_group_tests_name("flags", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Bugs that were there once: memory and its limits.  Each case wants a process
 * of its own, so run it as "regress --direct CASE"; the calls of other layers
 * are in regress_calls.c.
 *
 *   served          malloc's address is taken, and Labyrinth serves it; built as
 *                   an executable that is not position-independent as well
 *   failing-huge    requests that fail do not use up address space
 *   shrink          realloc() to fewer bytes succeeds with memory exhausted
 *   move-child      realloc() of a huge block in a child of fork()
 *   move-tight      the same under a limit that allows less and less
 *   move-refused    the same where mremap() fails, as old kernels make it fail
 *   move-abandoned  the same, left by siglongjmp() in the middle
 *   bottom-up       many mappings of the program, which grow upwards (setarch -L)
 *   foreign         a mapping of the program in the heap's way; foreign-many: 12
 *   foreign-move    realloc() of a huge block with such in the way
 *   limit-12g       ulimit -v 12000000: most of it can be had
 */
#define _GNU_SOURCE
#include "regress.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "labyrinth.h"

#define GIB (1ul << 30)

#pragma weak labyrinth_pcp_backend
#pragma weak labyrinth_zone_info

/* ---- who serves ---- */

static void *call(void *(*allocate)(size_t), size_t size)
{
	return allocate(size);
}

static void test_served(void)
{
	void *(*volatile allocate)(size_t) = malloc;
	void (*volatile release)(void *) = free;
	struct labyrinth_zone_info before, after;
	void *block;

	if (!is_labyrinth()) {
		check_skip("not Labyrinth");
		return;
	}
	EXPECT(strcmp(labyrinth_pcp_backend(), "none"), "the back end is none");
	labyrinth_zone_info(LABYRINTH_ZONE_HEAP, &before);
	block = call(allocate, 6 * MIB);
	labyrinth_zone_info(LABYRINTH_ZONE_HEAP, &after);
	EXPECT(block && after.taken >= before.taken + 6 * MIB / 4096,
	       "malloc() was served by another");
	release(block);
	free(call(malloc, 100));
}

/* ---- limits ---- */

static void expect_refused(size_t size)
{
	void *block;

	errno = 0;
	block = malloc(size);
	EXPECT(!block && errno == ENOMEM, "malloc(%zu MiB): %p, errno %d", size / MIB, block,
	       errno);
	free(block);
}

static void test_failing_huge(void)
{
	size_t before, grown, got = 0;
	void *block = malloc(900 * GIB);

	if (block)
		say("malloc(900 GiB) succeeds here");
	before = status_bytes("VmSize:");
	for (int i = 0; !block && i < 20; i++)
		expect_refused(900 * GIB);
	free(block);
	grown = status_bytes("VmSize:") - before;
	EXPECT((ssize_t)grown < 64 * MIB, "no limit: %zu MiB of address space lost", grown / MIB);

	limit_growth(512 * MIB);
	before = status_bytes("VmSize:");
	for (int i = 0; i < 20; i++)
		expect_refused(1000 * MIB);
	grown = status_bytes("VmSize:") - before;
	EXPECT((ssize_t)grown < 16 * MIB, "limit: %zu MiB of address space lost", grown / MIB);
	while (malloc(MIB))
		got++;
	EXPECT(got >= 400, "only %zu of 512 MiB can be had", got);
}

static void test_shrink(void)
{
	static const struct {
		size_t from, to;
	} pairs[] = { { 30000, 100 },	{ 30000, 5000 },       { 200000, 50 },
		      { 5000, 16 },	{ 3 * MIB, 100 },      { 3 * MIB, 100000 },
		      { 300, 100 },	{ 20 * MIB, 3 * MIB }, { 20 * MIB, 40000 },
		      { 70000, 20000 }, { 4096, 1000 } };
	enum { PAIRS = sizeof(pairs) / sizeof(*pairs) };
	char *block[PAIRS], *less;

	limit_growth(128 * MIB);
	for (size_t i = 0; i < PAIRS; i++)
		block[i] = filled(pairs[i].from);
	for (size_t size = MIB; size >= 16; size = size * 3 / 4)
		while (malloc(size))
			;
	for (size_t i = 0; i < PAIRS; i++) {
		if (!EXPECT(block[i], "no memory to begin with"))
			return;
		errno = 0;
		less = realloc(block[i], pairs[i].to);
		if (EXPECT(less && errno == 0, "realloc(%zu -> %zu): %p, errno %d", pairs[i].from,
			   pairs[i].to, (void *)less, errno))
			expect_filled(less, pairs[i].to, "after realloc()");
	}
}

static void test_limit_12g(void)
{
	struct rlimit limit;
	size_t got = 0;

	getrlimit(RLIMIT_AS, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		check_give_up("run this under ulimit -v 12000000");
	while (got < 200 * GIB && malloc(16 * MIB))
		got += 16 * MIB;
	EXPECT(got >= 10 * GIB, "%zu MiB can be had of %zu", got / MIB,
	       (size_t)limit.rlim_cur / MIB);
}

/* ---- realloc() that moves ---- */

static void test_move_child(void)
{
	char *block = malloc(6 * MIB), *other;
	size_t before = 60 * MIB, after = 90 * MIB;
	int status;
	pid_t pid;

	/* inherited and new mappings do not merge: the block is more than one */
	memset(block, 1, 6 * MIB);
	free(block);
	pid = fork();
	if (pid) {
		waitpid(pid, &status, 0);
		EXPECT(status == 0, "the child ended with %x", (unsigned int)status);
		return;
	}
	for (int i = 0; i < 3; i++) {
		block = filled(before);
		other = malloc(3 * MIB);
		memset(other, 1, 3 * MIB);
		block = realloc(block, after);
		expect_filled(block, before, "moved in a child");
		memset(block, 8, after);
		use_huge();
		free(block);
		free(other);
	}
	_exit(check_case.failed != 0);
}

/* realloc() while address space may grow by @room only; true if it was refused. */
static bool move_within(long room)
{
	const size_t before = 20 * MIB, after = 60 * MIB;
	char *block = filled(before), *other = filled(3 * MIB), *moved;
	bool refused;

	limit_growth(room);
	errno = 0;
	moved = realloc(block, after);
	refused = !moved;
	EXPECT(moved || errno == ENOMEM, "errno %d", errno);
	expect_filled(moved ? moved : block, before, moved ? "moved" : "not moved");
	limit_growth(-1);
	use_huge();
	moved = realloc(moved ? moved : block, after);
	expect_filled(moved, before, "moved later");
	expect_filled(other, 3 * MIB, "the neighbour");
	memset(moved, 3, after);
	free(moved);
	free(other);
	use_huge();
	return refused;
}

static void test_move_tight(void)
{
	unsigned int refused = 0;
	int status;
	pid_t pid;

	/* each in a child: what one leaves free and mapped would help the next */
	for (long room = 0; room <= 100; room += 4) {
		pid = fork();
		if (pid == 0) {
			bool was = move_within(room * MIB);

			_exit(check_case.failed ? 2 : was);
		}
		waitpid(pid, &status, 0);
		if (EXPECT(WIFEXITED(status) && WEXITSTATUS(status) < 2, "room %ld MiB: status %x",
			   room, (unsigned int)status))
			refused += (unsigned int)WEXITSTATUS(status);
	}
	EXPECT(refused && refused < 26, "refused %u times of 26", refused);
}

static enum move_kind { MOVE_ENOMEM, MOVE_OLD_KERNEL, LEAVE_BEFORE, LEAVE_AFTER } move_kind;
static sigjmp_buf move_left;
static volatile unsigned int moves_seen;

#define OUR_OWN 0x4c61627972 /* sixth argument of a call that the filter lets pass */

/* mremap(2) past syscall(), which the library hears and which has no use for a sixth argument */
static void kernel_mremap(long from, long from_bytes, long bytes, long flags, long to)
{
	register long r10 __asm__("r10") = flags;
	register long r8 __asm__("r8") = to;
	register long r9 __asm__("r9") = OUR_OWN;
	long result = SYS_mremap;

	__asm__ volatile("syscall"
			 : "+a"(result)
			 : "D"(from), "S"(from_bytes), "d"(bytes), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
}

/* Instead of mremap(): what @move_kind says happens. */
static void on_mremap(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	long from = reg[REG_RDI], from_bytes = reg[REG_RSI], bytes = reg[REG_RDX];
	long flags = reg[REG_R10], to = reg[REG_R8];

	(void)sig, (void)info;
	moves_seen++;
	reg[REG_RAX] = -ENOMEM;
	switch (move_kind) {
	case MOVE_ENOMEM:
		break;
	case MOVE_OLD_KERNEL:
		/* before Linux 6.17: first the target goes, then EFAULT */
		if (flags & MREMAP_FIXED)
			munmap((void *)to, (size_t)bytes);
		reg[REG_RAX] = -EFAULT;
		break;
	case LEAVE_AFTER:
		kernel_mremap(from, from_bytes, bytes, flags, to);
		siglongjmp(move_left, 1);
	case LEAVE_BEFORE:
		siglongjmp(move_left, 1);
	}
}

static void trap_mremap(void)
{
	struct sigaction action = { .sa_sigaction = on_mremap,
				    .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)OUR_OWN, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	sigaction(SIGSYS, &action, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		check_give_up("seccomp");
}

static void test_move_refused(void)
{
	const size_t before = 60 * MIB, after = 90 * MIB;
	char *block, *other;

	trap_mremap();
	for (int i = 0; i < 6; i++) {
		move_kind = i % 2 ? MOVE_OLD_KERNEL : MOVE_ENOMEM;
		block = filled(before);
		other = filled(3 * MIB);
		block = realloc(block, after);
		if (!EXPECT(block, "realloc() fails where it could copy"))
			return;
		expect_filled(block, before, "copied");
		expect_filled(other, 3 * MIB, "the neighbour");
		memset(block, 8, after);
		use_huge();
		free(block);
		free(other);
	}
	EXPECT(moves_seen, "mremap() was never called");
}

static void test_move_abandoned(void)
{
	char *volatile block;
	char *volatile other;

	if (!is_labyrinth()) {
		check_skip("no other malloc can be left by siglongjmp()");
		return;
	}
	trap_mremap();
	/* each run is longer than all that is free, so that it has to move */
	for (volatile size_t mib = 60; mib <= 300; mib += 40) {
		move_kind = moves_seen % 2 ? LEAVE_AFTER : LEAVE_BEFORE;
		block = filled(20 * MIB);
		other = filled(3 * MIB);
		if (!sigsetjmp(move_left, 1))
			block = realloc(block, mib * MIB);
		free(block);
		expect_filled(other, 3 * MIB, "the neighbour");
		use_huge();
		free(other);
		use_huge();
	}
	EXPECT(moves_seen >= 4, "mremap() was called %u times", moves_seen);
}

/* ---- mappings of the program ---- */

static void test_bottom_up(void)
{
	size_t got = 0;

	if (!(personality(0xffffffff) & ADDR_COMPAT_LAYOUT))
		check_give_up("run this under setarch -L");
	free(malloc(10));
	for (int i = 0; i < 30000; i++)
		if (mmap(NULL, 16 * KIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			 0) == MAP_FAILED)
			check_give_up("mmap");
	for (int i = 0; i < 3000; i++) {
		char *block = malloc(100000);

		if (!EXPECT(block, "NULL after %zu MiB", got / MIB))
			return;
		*block = 1;
		got += 100000;
	}
	use_huge();
}

enum { NR_FOREIGN = 12 };
static char *foreign[NR_FOREIGN];

/* @n pages of the program's own, so far from each other, past where the heap is. */
static void place_foreign(int n, size_t apart)
{
	char *start = malloc(100000);

	memset(start, 1, 100000);
	start -= (uintptr_t)start % 4096;
	for (int i = 0; i < n; i++) {
		foreign[i] = mmap(start + (size_t)(i + 1) * apart, 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (foreign[i] == MAP_FAILED)
			foreign[i] = NULL;
		else
			pattern_fill(foreign[i], 4096, (uint64_t)i);
	}
	EXPECT(foreign[0], "no page could be placed");
}

static void expect_foreign(void)
{
	unsigned char resident_byte;

	for (int i = 0; i < NR_FOREIGN; i++) {
		if (!foreign[i])
			continue;
		if (EXPECT(mincore(foreign[i], 4096, &resident_byte) == 0,
			   "the program's mapping %d was unmapped", i))
			EXPECT(pattern_wrong(foreign[i], 4096, (uint64_t)i) < 0,
			       "the program's mapping %d was overwritten", i);
	}
}

static void allocate_among_foreign(void)
{
	char *block;

	for (size_t mib = 10; mib <= 200; mib += 17) {
		block = filled(mib * MIB);
		if (!EXPECT(block, "malloc(%zu MiB) is NULL", mib))
			continue;
		expect_filled(block, mib * MIB, "among mappings");
		if (mib % 2)
			free(block);
	}
	expect_foreign();
	use_huge();
}

static void test_foreign(void)
{
	place_foreign(1, 38 * MIB);
	EXPECT(malloc(44 * MIB), "malloc(44 MiB) is NULL");
	allocate_among_foreign();
}

static void test_foreign_many(void)
{
	place_foreign(NR_FOREIGN, 24 * MIB);
	allocate_among_foreign();
}

static void test_foreign_move(void)
{
	char *block, *other;

	place_foreign(NR_FOREIGN, 24 * MIB);
	for (size_t mib = 20; mib <= 180; mib += 20) {
		block = filled(10 * MIB);
		other = malloc(3 * MIB);
		block = realloc(block, mib * MIB);
		if (!EXPECT(block && other, "realloc() to %zu MiB is NULL", mib))
			continue;
		expect_filled(block, 10 * MIB, "among mappings");
		memset(block, 5, mib * MIB);
		if (mib % 40)
			free(block);
		free(other);
		expect_foreign();
	}
	use_huge();
	expect_foreign();
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{ "served", test_served },
		{ "failing-huge", test_failing_huge },
		{ "shrink", test_shrink },
		{ "move-child", test_move_child },
		{ "move-tight", test_move_tight },
		{ "move-refused", test_move_refused },
		{ "move-abandoned", test_move_abandoned },
		{ "bottom-up", test_bottom_up },
		{ "foreign", test_foreign },
		{ "foreign-many", test_foreign_many },
		{ "foreign-move", test_foreign_move },
		{ "limit-12g", test_limit_12g },
	};

	return check_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}

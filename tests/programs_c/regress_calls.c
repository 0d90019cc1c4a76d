// SPDX-License-Identifier: MIT
/*
 * Bugs that were there once: calls that others interrupt, pages at once, giving back.
 * Each case wants a process of its own: "regress_calls --direct CASE".
 *
 *   vfork            children of vfork() allocate while threads do
 *   abandoned        calls left by siglongjmp(): all sizes work afterwards, and
 *                    what leaks is bounded
 *   atomic-faults    GFP_ATOMIC pages cost no page fault, on no CPU
 *   atomic-sandbox   nor a system call
 *   locked           giving back under mlockall(): check_regress.sh counts calls
 *   falls-back       after a burst the memory goes back to the system
 */
#define _GNU_SOURCE
#include "regress.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "labyrinth.h"

#pragma weak labyrinth_alloc_page
#pragma weak labyrinth_alloc_pages
#pragma weak labyrinth_free_page
#pragma weak labyrinth_free_pages
#pragma weak labyrinth_zone_info
#pragma weak labyrinth_void_alloc_page_gfp_atomic_exclusive

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool needs_labyrinth(void)
{
	if (!is_labyrinth())
		check_skip("not Labyrinth");
	return is_labyrinth();
}

/* ---- vfork ---- */

enum { VFORK_THREADS = 3, VFORK_SLOTS = 64, VFORK_SECONDS = 3, CHILD_TAG = 100 };

static volatile bool stop;

/* Blocks bear their owner's tag while they live; returns how many do not. */
static unsigned int tagged_work(uint64_t tag, long steps)
{
	uint64_t *slot[VFORK_SLOTS] = { NULL };
	unsigned int bad = 0;

	for (long i = 0; i < steps && !stop; i++) {
		uint64_t k = (uint64_t)i * 7 % VFORK_SLOTS;

		if (slot[k]) {
			bad += *slot[k] != (tag << 32 | k);
			*slot[k] = 0;
			free(slot[k]);
		}
		slot[k] = malloc(64);
		*slot[k] = tag << 32 | k;
	}
	for (int k = 0; k < VFORK_SLOTS; k++)
		free(slot[k]);
	return bad;
}

static void *vfork_thread(void *arg)
{
	unsigned int bad = 0;

	while (!stop)
		bad += tagged_work((uintptr_t)arg, 10000);
	EXPECT(!bad, "thread %zu: %u blocks were another's as well", (size_t)arg, bad);
	return NULL;
}

/* The child allocates; true while all is well. */
static bool vfork_round(void)
{
	static volatile unsigned int child_bad;
	int status = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		child_bad = tagged_work(CHILD_TAG, 50000);
		_exit(0);
	}
	if (pid < 0)
		check_give_up("vfork");
	waitpid(pid, &status, 0);
	return EXPECT(status == 0 && !child_bad,
		      "child: status %x, %u blocks were another's as well", (unsigned int)status,
		      child_bad);
}

static void test_vfork(void)
{
	double end = now_seconds() + VFORK_SECONDS;
	pthread_t thread[VFORK_THREADS];

	for (uintptr_t i = 0; i < VFORK_THREADS; i++)
		if (pthread_create(&thread[i], NULL, vfork_thread, (void *)(i + 1)))
			check_give_up("pthread_create");
	while (now_seconds() < end && vfork_round())
		;
	stop = true;
	for (int i = 0; i < VFORK_THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* ---- abandoned calls ---- */

/* A jump loses the object in hand (16 KiB on average) and a batch: 16 to 29 KiB measured. */
enum { JUMPS = 4000, LIVE = 200, LEAK_EACH = 40 * KIB };

static sigjmp_buf jump;
static volatile unsigned int jumps;
static void *volatile live[LIVE];

static void on_alarm(int sig)
{
	(void)sig;
	jumps++;
	siglongjmp(jump, 1);
}

static void every(int microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* A timer's handler leaves malloc() and free() wherever they are. */
static void abandon_calls(const size_t *sizes, size_t nr_sizes, unsigned int wanted)
{
	struct sigaction action = { .sa_handler = on_alarm };
	static volatile uint64_t dice;
	void *block;
	size_t k;

	sigaction(SIGALRM, &action, NULL);
	jumps = 0;
	if (!sigsetjmp(jump, 1))
		every(200);
	while (jumps < wanted) {
		dice = dice * 6364136223846793005u + 1442695040888963407u;
		k = (dice >> 33) % LIVE;
		block = live[k];
		live[k] = NULL;
		free(block);
		block = malloc(sizes[(dice >> 45) % nr_sizes]);
		if (block)
			*(char *)block = 1;
		live[k] = block;
	}
	action.sa_handler = SIG_IGN;
	sigaction(SIGALRM, &action, NULL);
	every(0);
	for (k = 0; k < LIVE; k++)
		free(live[k]), live[k] = NULL;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		check_give_up("sched_setaffinity");
}

static void all_sizes_work(void)
{
	static size_t sizes[LADDER_ROOM];
	size_t n = ladder(sizes, 3 * MIB);
	char *block, *more;

	for (size_t i = 0; i < n; i++) {
		block = filled(sizes[i]);
		more = realloc(block, sizes[i] * 2 + 1);
		if (!EXPECT(block && more, "%zu bytes: NULL", sizes[i]))
			return;
		expect_filled(more, sizes[i], "after abandoned calls");
		free(more);
	}
}

/* Bytes of the heap that are handed out, to the program or to stacks and slabs. */
static size_t heap_used(void)
{
	struct labyrinth_zone_info info;

	labyrinth_zone_info(LABYRINTH_ZONE_HEAP, &info);
	return (info.managed - info.free) * 4096;
}

static void test_abandoned(void)
{
	static const size_t sizes[] = { 64, 4096, 300, 4096, 1000, 20000, 2000, 100000 };
	size_t before, leaked;

	if (!needs_labyrinth())
		return;
	pin(sched_getcpu());
	before = heap_used();
	abandon_calls(sizes, sizeof(sizes) / sizeof(*sizes), JUMPS);
	all_sizes_work();
	malloc_trim(0);
	leaked = heap_used() - before;
	say("%zu KiB leaked by %u abandoned calls", leaked / KIB, jumps);
	EXPECT((ssize_t)leaked < (ssize_t)JUMPS * LEAK_EACH, "%zu KiB leaked", leaked / KIB);
}

/* ---- atomic pages ---- */

/* A fresh reserve of 16 pages, with its floor at 9, has so many for these calls. */
enum { ATOMIC_PAGES = 4, MAX_CPUS = 4 };

/* Allocates pages, writes to them and gives them back; false if there was none. */
static bool atomic_work(void)
{
	char *page[ATOMIC_PAGES], *four = labyrinth_alloc_pages(LABYRINTH_GFP_ATOMIC, 2);
	char *ours = labyrinth_void_alloc_page_gfp_atomic_exclusive();
	bool good = four && ours;

	if (four)
		four[3 * 4096] = 1;
	if (ours)
		*ours = 1;
	labyrinth_free_pages(four, 2);
	for (int i = 0; i < ATOMIC_PAGES; i++) {
		page[i] = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);
		good &= page[i] != NULL;
		if (page[i])
			page[i][100] = 1;
	}
	for (int i = 0; i < ATOMIC_PAGES; i++)
		labyrinth_free_page(page[i]);
	labyrinth_free_page(ours);
	return good;
}

/* What may make system calls grows the reserve. */
static void refill(void)
{
	void *page[8];

	for (int i = 0; i < 8; i++)
		page[i] = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL);
	for (int i = 0; i < 8; i++)
		labyrinth_free_page(page[i]);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

static void test_atomic_faults(void)
{
	long before, after;
	cpu_set_t ours;
	bool good;

	if (!needs_labyrinth())
		return;
	sched_getaffinity(0, sizeof(ours), &ours);
	/* of one CPU all is touched, and of the calls their text */
	pin(sched_getcpu());
	refill();
	(void)atomic_work();
	(void)faults();
	for (int cpu = 0, n = 0; cpu < CPU_SETSIZE && n < MAX_CPUS; cpu++) {
		if (!CPU_ISSET(cpu, &ours))
			continue;
		n++;
		refill();
		pin(cpu);
		before = faults();
		good = atomic_work();
		after = faults();
		EXPECT(good, "CPU %d: no page", cpu);
		EXPECT(after == before, "CPU %d: %ld page faults", cpu, after - before);
	}
}

/* Down to the floors, and all back. */
static void drain(void)
{
	static void *page[1000];
	int n = 0;

	while (n < 500 && (page[n] = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC)))
		n++;
	while (n < 1000 && (page[n] = labyrinth_void_alloc_page_gfp_atomic_exclusive()))
		n++;
	while (n-- > 0)
		labyrinth_free_page(page[n]);
}

static volatile int sandbox_done; /* 1: all pages came, 2: some did not */

/* The filter is this thread's alone; it cannot end, so it spins. */
static void *sandbox_thread(void *arg)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };
	bool good = true;

	(void)arg;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		check_give_up("seccomp");
	for (int i = 0; i < 1000; i++)
		good &= atomic_work();
	for (int i = 0; i < 10; i++)
		drain();
	sandbox_done = good ? 1 : 2;
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

static void test_atomic_sandbox(void)
{
	pthread_t thread;

	if (!needs_labyrinth())
		return;
	pin(sched_getcpu());
	refill();
	if (pthread_create(&thread, NULL, sandbox_thread, NULL))
		check_give_up("pthread_create");
	while (!sandbox_done)
		usleep(1000);
	EXPECT(sandbox_done == 1, "no page");
}

/* ---- giving back ---- */

static void test_locked(void)
{
	enum { BLOCKS = 4000, BYTES = 50000 };
	static char *block[BLOCKS];

	if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
		check_skip("mlockall is refused here");
		return;
	}
	for (int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(BYTES);
		if (!block[i])
			check_give_up("malloc under mlockall is NULL");
		memset(block[i], 1, BYTES);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	for (int i = 0; i < 1000; i++) {
		void *volatile again = malloc(BYTES);

		free(again);
	}
	EXPECT(true, "-");
}

static void test_falls_back(void)
{
	enum { MAX_BLOCKS = 200000, SMALL = 4000, SECONDS = 4 };
	static char *block[MAX_BLOCKS], *small[SMALL];
	size_t total = 0, n = 0, peak, now, size, slot;
	time_t end;

	while (total < 500u * MIB && n < MAX_BLOCKS) {
		size = 1 + rng_size(&seed, rng_below(&seed, 4) ? 2000 : 4 * MIB);
		block[n] = malloc(size);
		if (!block[n])
			check_give_up("NULL");
		memset(block[n++], 1, size);
		total += size;
	}
	peak = status_bytes("VmRSS:");
	while (n > 0)
		free(block[--n]);
	for (end = time(NULL) + SECONDS; time(NULL) < end;) {
		slot = rng_below(&seed, SMALL);
		free(small[slot]);
		size = 1 + rng_below(&seed, 1000);
		small[slot] = malloc(size);
		memset(small[slot], 1, size);
	}
	now = status_bytes("VmRSS:");
	say("peak %zu MiB, then %zu MiB", peak / MIB, now / MIB);
	EXPECT(now < peak / 4, "%zu MiB remain of %zu", now / MIB, peak / MIB);
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{ "vfork", test_vfork },
		{ "abandoned", test_abandoned },
		{ "atomic-faults", test_atomic_faults },
		{ "atomic-sandbox", test_atomic_sandbox },
		{ "locked", test_locked },
		{ "falls-back", test_falls_back },
	};

	return check_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}

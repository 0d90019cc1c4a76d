// SPDX-License-Identifier: MIT
/*
 * The signal storm: threads allocate while timers make handlers on the same
 * threads allocate and map, and both free what the other, or another thread, obtained
 * earlier.  Handlers never undo their own work: a handler that frees what it
 * has just allocated restores the free list it interrupted and hides the bug.
 *
 * usage: storm [seconds [threads [max-size [seed [signals-per-second]]]]]
 *        STORM_LAX_ALIGN in the environment: alignment is not looked at
 *        STORM_DUMP: some of the handlers write profiles and page_owner's records
 * exit:  0 well, 2 hang, 3 corruption, 4 crash, 5 NULL without need
 */
#define _GNU_SOURCE
#include "watchdog.h"

#include "storm_gfp.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_SLOTS      1024u
#define NR_MAPS	      256u
#define MAX_THREADS   64u
#define BURST_MAX     256u
#define STACK_BYTES   (16u << 10)
#define UNUSED	      0x5e
#define DEPTH_MAX     3
#define HUGE_BYTES    (8u << 20)
#define NR_TIMERS     2
#define LIFE_NS	      200000000u /* of a thread, then another takes its place */
#define ERRNO_SENTRY  54321
#define HANDLER_BYTES (64u << 10) /* usual limit of a block made in a handler */

/* From labyrinth.h; absent under other allocators. */
__attribute__((weak)) const char *labyrinth_pcp_backend(void);
__attribute__((weak)) int labyrinth_profile_dump(int fd, enum labyrinth_profile_format format);
__attribute__((weak)) int labyrinth_page_owner_dump(int fd);
__attribute__((weak)) int labyrinth_object_owner_dump(int fd);

/* One per thread: its handlers reach it through `self`. */
struct worker {
	struct watch_thread *watch;
	pthread_t thread;
	unsigned int idx;
	unsigned int generation;
	timer_t timer[NR_TIMERS];
	char *stack;
	int depth;
	uint64_t rng[DEPTH_MAX + 1];
	uint64_t next_seed[DEPTH_MAX + 1];
	uint64_t handlers, nested, handler_blocks;
	_Atomic bool done;
	void *burst[BURST_MAX];
};

static struct worker workers[MAX_THREADS];
static _Atomic handle_t slots[NR_SLOTS];
static _Atomic handle_t map_slots[NR_MAPS];
static _Atomic bool stop;
static unsigned int nr_threads = 2;
static double seconds = 3;
static size_t max_size = 300u << 10;
static uint64_t seed;
static unsigned int rate = 20000;
static bool lax_align;	 /* mimalloc 2.0.9 misaligns aligned_alloc(512, 512), storm or not */
static int dump_fd = -1; /* handlers dump there */
static _Atomic(uint64_t) nr_dumps;
static sigset_t storm_signals;
static _Atomic size_t stack_used; /* the most of any handler's stack */
static __thread struct worker *self;

static void check_zero(const unsigned char *block, size_t size)
{
	uint64_t word;
	size_t idx;

	for (idx = 0; idx < size / 8; idx = pattern_next(size, idx)) {
		memcpy(&word, block + idx * 8, 8);
		if (word)
			die(EXIT_CORRUPT, "calloc() of other than zeros", block, size, idx * 8);
	}
	for (idx = size / 8 * 8; idx < size; idx++)
		if (block[idx])
			die(EXIT_CORRUPT, "calloc() of other than zeros", block, size, idx);
}

static void check_block(const void *block, size_t size, size_t align)
{
	if (!block)
		die(EXIT_NO_MEMORY, "NULL", block, size, align);
	if ((uintptr_t)block % align && !lax_align)
		die(EXIT_CORRUPT, "misaligned", block, size, align);
}

/* Obtain a block by one of the family's functions. */
static void *obtain(uint64_t *rng, size_t size)
{
	uint64_t dice = rng_next(rng);
	size_t align = (size_t)16 << (dice >> 32) % 9;
	void *block = NULL;

	switch (dice % 8) {
	case 0:
		block = calloc(1, size);
		check_block(block, size, size < TINY_LIMIT ? 8 : 16);
		check_zero(block, size);
		return block;
	case 1:
		size = size ? (size + align - 1) & ~(align - 1) : align;
		block = aligned_alloc(align, size);
		check_block(block, size, align);
		return block;
	case 2:
		if (posix_memalign(&block, align, size ? size : 1))
			block = NULL;
		check_block(block, size, align);
		return block;
	case 3:
		block = realloc(NULL, size);
		break;
	default:
		block = malloc(size);
	}
	check_block(block, size, size < TINY_LIMIT ? 8 : 16);
	return block;
}

static handle_t make(int depth, size_t size)
{
	uint64_t block_seed = self->next_seed[depth]++ * MAX_THREADS + self->idx;
	void *block = obtain(&self->rng[depth], size);

	if (block_seed % 64 == 0 && malloc_usable_size(block) < size)
		die(EXIT_CORRUPT, "usable size below the size", block, size, 0);
	return block_fill(block, size, block_seed);
}

static void drop(handle_t handle)
{
	int saved = errno;
	size_t size = block_verify(handle);

	errno = ERRNO_SENTRY;
	free(handle_block(handle));
	if (errno != ERRNO_SENTRY)
		die(EXIT_CORRUPT, "free() changed errno", NULL, size, (uint64_t)errno);
	errno = saved;
}

static handle_t resize(int depth, handle_t handle, size_t size)
{
	uint64_t old_seed, new_seed = self->next_seed[depth]++ * MAX_THREADS + self->idx;
	size_t old_size = block_size(handle, &old_seed);
	void *block;

	if (!size) /* realloc(p, 0) is another test's business */
		size = 1;
	block_check(handle_block(handle), old_size, old_seed, old_size);
	block = realloc(handle_block(handle), size);
	check_block(block, size, size < TINY_LIMIT ? 8 : 16);
	block_check(block, old_size, old_seed, old_size < size ? old_size : size);
	return block_fill(block, size, new_seed);
}

/*
 * The same with mappings: one is made, another goes, protected before or in
 * two parts.  Most are of the size that the library serves.
 */
static void map_step(int depth)
{
	uint64_t dice = rng_next(&self->rng[depth]);
	size_t size = (1 + dice % (dice & 1 << 20 ? 2 : 18)) * 4096, cut;
	handle_t out;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die(EXIT_NO_MEMORY, "mmap()", NULL, size, (uint64_t)errno);
	check_zero((unsigned char *)p, size);
	out = block_fill(p, size, self->next_seed[depth]++ * MAX_THREADS + self->idx);
	out = atomic_exchange(&map_slots[(dice >> 24) % NR_MAPS], out);
	if (!out)
		return;
	size = block_size(out, &(uint64_t){ 0 });
	if (dice >> 40 & 1 && mprotect(handle_block(out), size, PROT_READ))
		die(EXIT_CORRUPT, "mprotect()", handle_block(out), size, (uint64_t)errno);
	(void)block_verify(out);
	cut = (dice >> 48) % (size / 4096 + 1) * 4096;
	p = handle_block(out);
	if ((cut && munmap(p, cut)) || (cut < size && munmap(p + cut, size - cut)))
		die(EXIT_CORRUPT, "munmap()", p, size, (uint64_t)errno);
}

static size_t pick_size(int depth)
{
	uint64_t *rng = &self->rng[depth];
	uint64_t dice = rng_next(rng);

	if (dice % (depth ? 32768 : 4096) == 0)
		return rng_next(rng) % HUGE_BYTES;
	if (depth && dice % 16 && max_size > HANDLER_BYTES)
		return rng_size(rng, HANDLER_BYTES);
	return rng_size(rng, max_size);
}

/* the other kinds of memory; blocks of malloc()'s family join the others */
static void gfp_step(int depth)
{
	uint64_t dice = rng_next(&self->rng[depth]);
	uint64_t block_seed = self->next_seed[depth] * MAX_THREADS + self->idx;
	handle_t block = 0, out;

	self->next_seed[depth] += BULK_PAGES;
	switch (dice >> 56 & 3) {
	case 0:
		bulk_step(dice, block_seed);
		return;
	case 1:
		exclusive_step(dice, block_seed);
		return;
	case 2:
		pool_step(dice, block_seed);
		return;
	default:
		block = object_step(dice, block_seed);
	}
	out = block ? atomic_exchange(&slots[(dice >> 40) % NR_SLOTS], block) : 0;
	if (out)
		drop(out);
}

/* One step: put a block in, take one out, or both; what came out is resized or freed. */
static void step(int depth)
{
	uint64_t dice = rng_next(&self->rng[depth]);
	_Atomic handle_t *slot = &slots[dice % NR_SLOTS];
	handle_t in = 0, out;

	dice >>= 16;
	if (!(dice >> 32 & 3)) {
		map_step(depth);
		return;
	}
	if (storm_pool && !(dice >> 34 & 3)) {
		gfp_step(depth);
		return;
	}
	if (dice % 8 < 5)
		in = make(depth, pick_size(depth));
	out = atomic_exchange(slot, in);
	if (out && dice / 8 % 4 == 0) {
		in = resize(depth, out, pick_size(depth));
		out = atomic_exchange(&slots[(dice >> 8) % NR_SLOTS], in);
	}
	if (out)
		drop(out);
}

/* What the library knows, written by a handler that may have interrupted the same. */
static void dump(uint64_t dice)
{
	int err;

	switch (dice % 5) {
	case 0:
		err = labyrinth_page_owner_dump(dump_fd);
		break;
	case 1:
		err = labyrinth_object_owner_dump(dump_fd);
		break;
	default:
		err = labyrinth_profile_dump(dump_fd, dice % 5 - 2);
	}
	if (err)
		die(EXIT_CORRUPT, "dump", NULL, dice % 5, (uint64_t)-err);
	atomic_fetch_add(&nr_dumps, 1);
}

/*
 * Arrives with the storm's signals blocked and lets them in where another frame
 * has room: SA_NODEFER could be entered again before its first instruction, and
 * 16 KiB hold three frames of a CPU with AVX-512.
 */
static void on_signal(int sig)
{
	int saved = errno, depth = ++self->depth;
	unsigned int steps = 1 + (unsigned int)rng_next(&self->rng[depth]) % 3;

	(void)sig;
	if (depth < DEPTH_MAX)
		pthread_sigmask(SIG_UNBLOCK, &storm_signals, NULL);
	for (unsigned int i = 0; i < steps; i++)
		if (in_section)
			gfp_step(depth);
		else
			step(depth);
	if (dump_fd >= 0 && self->handlers % 256 == 0)
		dump(rng_next(&self->rng[depth]));
	if (depth < DEPTH_MAX)
		pthread_sigmask(SIG_BLOCK, &storm_signals, NULL);
	self->handlers++;
	self->nested += depth > 1;
	self->handler_blocks += steps;
	atomic_fetch_add(&self->watch->handler_ops, 1);
	self->depth--;
	errno = saved;
}

/* Many blocks of one size, so that caches run empty and full. */
static void burst(void)
{
	uint64_t *rng = &self->rng[0];
	unsigned int n = 1 + (unsigned int)rng_next(rng) % BURST_MAX;
	size_t size = rng_size(rng, n > 16 ? 8192 : max_size);
	unsigned int odd = rng_next(rng) & 1;
	handle_t out;

	for (unsigned int i = 0; i < n; i++)
		self->burst[i] = (void *)(uintptr_t)make(0, size);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int at = odd ? n - 1 - i : i;

		out = (handle_t)(uintptr_t)self->burst[at];
		if (i % 4 == 0)
			out = atomic_exchange(&slots[rng_next(rng) % NR_SLOTS], out);
		if (out)
			drop(out);
	}
}

/* Ready before the first allocation of the thread, which is then interrupted as any other. */
static void storm_on(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID };
	uint64_t period = 1000000000ull * nr_threads * NR_TIMERS / rate;
	struct itimerspec spec = { 0 };
	stack_t stack = { .ss_size = STACK_BYTES };

	self->stack = mmap(NULL, STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (self->stack == MAP_FAILED || mprotect(self->stack, 4096, PROT_NONE))
		die(EXIT_USAGE, "no stack", NULL, 0, 0);
	stack.ss_sp = self->stack + 4096;
	memset(stack.ss_sp, UNUSED, STACK_BYTES);
	sigaltstack(&stack, NULL);
	for (int i = 0; i < NR_TIMERS; i++) {
		event.sigev_signo = SIGRTMIN + i;
#ifdef sigev_notify_thread_id
		event.sigev_notify_thread_id = gettid();
#else
		event._sigev_un._tid = gettid();
#endif
		if (timer_create(CLOCK_MONOTONIC, &event, &self->timer[i]))
			die(EXIT_USAGE, "timer_create()", NULL, (uint64_t)errno, 0);
		/* Periods without a common multiple nearby: every phase is met. */
		spec.it_interval.tv_nsec =
			(long)(period + period * (uint64_t)i / 7 + self->idx * 37);
		spec.it_value.tv_nsec = 1 + (long)(rng_next(&self->rng[0]) % period);
		timer_settime(self->timer[i], 0, &spec, NULL);
	}
}

static void storm_off(void)
{
	stack_t none = { .ss_flags = SS_DISABLE };
	size_t unused = 0, used, most = atomic_load(&stack_used);
	sigset_t all, old;

	for (int i = 0; i < NR_TIMERS; i++)
		timer_delete(self->timer[i]);
	/* What is still pending is delivered here, before the stack goes. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sigaltstack(&none, NULL);
	while (unused < STACK_BYTES && self->stack[4096 + unused] == UNUSED)
		unused++;
	used = STACK_BYTES - unused;
	while (most < used && !atomic_compare_exchange_weak(&stack_used, &most, used))
		;
	munmap(self->stack, STACK_BYTES + 4096);
}

static void worker_init(struct worker *worker, unsigned int idx)
{
	worker->idx = idx;
	worker->depth = 0;
	for (int d = 0; d <= DEPTH_MAX; d++) {
		worker->rng[d] = seed ^ (uint64_t)idx << 40 ^ (uint64_t)worker->generation << 8 ^
				 (uint64_t)d;
		worker->next_seed[d] = rng_next(&worker->rng[d]) >> 8;
	}
	worker->generation++;
	atomic_store(&worker->done, false);
}

static void *worker_main(void *arg)
{
	uint64_t end = now_ns() + LIFE_NS;

	self = arg;
	storm_on();
	atomic_store(&self->watch->running, true);
	while (!atomic_load(&stop) && now_ns() < end) {
		for (int i = 0; i < 16; i++)
			step(0);
		burst();
		atomic_fetch_add(&self->watch->main_ops, 1);
	}
	atomic_store(&self->watch->running, false);
	storm_off();
	atomic_store(&self->done, true);
	return NULL;
}

static void worker_start(unsigned int idx)
{
	worker_init(&workers[idx], idx);
	if (pthread_create(&workers[idx].thread, NULL, worker_main, &workers[idx]))
		die(EXIT_USAGE, "pthread_create()", NULL, idx, 0);
}

/* Thread 0 is the main thread: its storm begins before the first malloc() of the process. */
static int storm(struct watch *watch)
{
	uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
	handle_t out;

	for (unsigned int i = 0; i < nr_threads; i++)
		workers[i].watch = &watch->thread[i];
	worker_init(&workers[0], 0);
	self = &workers[0];
	storm_on();
	atomic_store(&self->watch->running, true);
	if (storm_has_gfp())
		storm_gfp_begin();
	for (unsigned int i = 1; i < nr_threads; i++)
		worker_start(i);
	while (now_ns() < end) {
		for (int i = 0; i < 16; i++)
			step(0);
		burst();
		atomic_fetch_add(&self->watch->main_ops, 1);
		for (unsigned int i = 1; i < nr_threads; i++) {
			if (!atomic_load(&workers[i].done))
				continue;
			pthread_join(workers[i].thread, NULL);
			worker_start(i);
		}
	}
	atomic_store(&stop, true);
	for (unsigned int i = 1; i < nr_threads; i++)
		pthread_join(workers[i].thread, NULL);
	atomic_store(&self->watch->running, false);
	storm_off();
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		out = atomic_exchange(&slots[i], 0);
		if (out)
			drop(out);
	}
	if (storm_pool)
		storm_gfp_end();
	return EXIT_OK;
}

static int storm_and_tell(struct watch *watch)
{
	uint64_t handlers = 0, nested = 0, blocks = 0, rounds = 0, threads = 0;
	int verdict = storm(watch);

	for (unsigned int i = 0; i < nr_threads; i++) {
		handlers += workers[i].handlers;
		nested += workers[i].nested;
		blocks += workers[i].handler_blocks;
		threads += workers[i].generation;
		rounds += atomic_load(&watch->thread[i].main_ops);
	}
	printf("storm: stack-used=%zu of %u, gfp-taken=%llu gfp-refused=%llu\n",
	       atomic_load(&stack_used), STACK_BYTES, (unsigned long long)atomic_load(&gfp_taken),
	       (unsigned long long)atomic_load(&gfp_refused));
	printf("storm: handlers=%llu nested=%llu steps-in-handlers=%llu rounds=%llu threads=%llu "
	       "dumps=%llu backend=%s\n",
	       (unsigned long long)handlers, (unsigned long long)nested, (unsigned long long)blocks,
	       (unsigned long long)rounds, (unsigned long long)threads,
	       (unsigned long long)atomic_load(&nr_dumps),
	       labyrinth_pcp_backend ? labyrinth_pcp_backend() : "other");
	fflush(stdout);
	return verdict;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART };
	int verdict;

	seed = now_ns() ^ (uint64_t)getpid() << 32;
	seconds = argc > 1 ? atof(argv[1]) : seconds;
	nr_threads = argc > 2 ? (unsigned int)atoi(argv[2]) : nr_threads;
	max_size = argc > 3 ? strtoul(argv[3], NULL, 0) : max_size;
	seed = argc > 4 ? strtoull(argv[4], NULL, 0) : seed;
	rate = argc > 5 ? (unsigned int)atoi(argv[5]) : rate;
	if (getenv("STORM_DUMP") && labyrinth_profile_dump && labyrinth_page_owner_dump)
		dump_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	lax_align = getenv("STORM_LAX_ALIGN");
	if (nr_threads < 1 || nr_threads > MAX_THREADS || seconds <= 0 || rate < 1) {
		fprintf(stderr,
			"usage: storm [seconds [threads (1..%u) [max-size [seed "
			"[signals-per-second]]]]]\n",
			MAX_THREADS);
		return EXIT_USAGE;
	}
	if (getauxval(AT_MINSIGSTKSZ) * DEPTH_MAX > STACK_BYTES - 4096)
		fprintf(stderr, "storm: signal frames are large here; handlers may overflow\n");
	printf("storm: %g s, %u threads, blocks to %zu bytes, seed %#llx, %u signals/s\n", seconds,
	       nr_threads, max_size, (unsigned long long)seed, rate);
	fflush(stdout);
	sigemptyset(&storm_signals);
	for (int i = 0; i < NR_TIMERS; i++)
		sigaddset(&storm_signals, SIGRTMIN + i);
	action.sa_mask = storm_signals;
	for (int i = 0; i < NR_TIMERS; i++)
		sigaction(SIGRTMIN + i, &action, NULL);
	verdict = watch_run(watch_create(), storm_and_tell);
	printf("storm: %s\n", verdict == EXIT_OK ? "ok" : "FAILED");
	return verdict;
}

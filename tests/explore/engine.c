/* SPDX-License-Identifier: MIT */
/* States, steps, and going back; see explore.h. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "explore.h"

enum { STACK_BYTES = 1 << 16, MAX_DEPTH = 1 << 16, TABLE_LOG = 24, MAX_PENDING = 64 };

static struct coroutine {
	_Alignas(64) char stack[STACK_BYTES];
	void *sp;
	void (*run)(void);
	uintptr_t where; /* the access that it has stopped before */
	bool ended;
} threads[EX_THREADS];

/* check() runs on a stack of its own, so that it can be left */
static struct coroutine checker;

static unsigned int nr_threads;
static void *engine_sp, *checker_sp;

unsigned int ex_self;
unsigned int ex_cpu[EX_THREADS];
bool ex_running, ex_logging, ex_orders, ex_no_memory;

/* ---- coroutines ---- */

void ex_switch(void **from, void *to);
__asm__(".text\n"
	".type ex_switch, @function\n"
	"ex_switch:\n\t"
	"pushq %rbx\n\tpushq %rbp\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
	"movq %rsp, (%rdi)\n\t"
	"movq %rsi, %rsp\n\t"
	"popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbp\n\tpopq %rbx\n\t"
	"ret\n"
	".size ex_switch, .-ex_switch");

unsigned int ex_note(void)
{
	static unsigned int n;

	return ++n;
}

static void leave(void)
{
	ex_settle();
	ex_running = false;
	ex_switch(&threads[ex_self].sp, engine_sp);
}

static void coroutine_main(void)
{
	threads[ex_self].run();
	threads[ex_self].ended = true;
	leave();
	abort();
}

static void coroutine_begin(struct coroutine *c, void (*run)(void))
{
	void **sp = (void **)(c->stack + STACK_BYTES);

	memset(c->stack, 0, STACK_BYTES);
	c->run = run;
	c->ended = false;
	c->where = 0;
	/* as after a call: the return address is 8 modulo 16 */
	*--sp = NULL;
	*--sp = (void *)coroutine_main;
	sp -= 6;
	memset(sp, 0, 6 * sizeof(*sp));
	c->sp = sp;
}

void ex_stop(uintptr_t where)
{
	if (!ex_running)
		return;
	threads[ex_self].where = where;
	leave();
}

static void step(unsigned int t)
{
	ex_self = t;
	ex_running = true;
	ex_switch(&engine_sp, threads[t].sp);
	ex_self = 0;
}

bool ex_is_stack(const void *at)
{
	return (uintptr_t)at - (uintptr_t)threads < sizeof(threads) ||
	       (uintptr_t)at - (uintptr_t)&checker < sizeof(checker);
}

/* ---- the log ---- */

struct entry {
	uint64_t *at;
	uint64_t old;
};

static struct entry *entries;
static size_t nr_entries, max_entries;
static uint64_t *pending[MAX_PENDING];
static unsigned int nr_pending;
static uint64_t memory_hash;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t hash_word(const uint64_t *at, uint64_t value)
{
	return mix((uintptr_t)at * 0x9e3779b97f4a7c15ull + mix(value + 1));
}

void ex_settle(void)
{
	while (nr_pending > 0) {
		uint64_t *at = pending[--nr_pending];

		memory_hash ^= hash_word(at, *at);
	}
}

void ex_log(const void *at, size_t bytes)
{
	uintptr_t word = (uintptr_t)at & ~7ul;

	if (!ex_logging || ex_is_stack(at))
		return;
	ex_settle();
	for (; word < (uintptr_t)at + bytes; word += 8) {
		uint64_t *to = (uint64_t *)word;

		if (nr_entries == max_entries) {
			max_entries = max_entries ? 2 * max_entries : 1 << 16;
			entries = realloc(entries, max_entries * sizeof(*entries));
		}
		entries[nr_entries++] = (struct entry){ to, *to };
		memory_hash ^= hash_word(to, *to);
		if (nr_pending == MAX_PENDING) {
			fprintf(stderr, "explore: one write of %zu bytes\n", bytes);
			exit(2);
		}
		pending[nr_pending++] = to;
	}
}

static void go_back(size_t mark)
{
	ex_settle();
	while (nr_entries > mark) {
		nr_entries--;
		*entries[nr_entries].at = entries[nr_entries].old;
	}
}

/* ---- states ---- */

static struct state {
	uint64_t hash;
	uint32_t before; /* from which state, */
	uint8_t by;	 /* by a step of whom */
	uint32_t after[EX_THREADS];
} * states;
static uint32_t nr_states;
static uint32_t *table;
static uint32_t limit = 2000000;
static bool cut;
static int preemptions = -1; /* how many at most; -1: any number */

static uint64_t stacks_hash(void)
{
	uint64_t hash = 0;
	unsigned int t;

	for (t = 0; t < nr_threads; t++) {
		const struct coroutine *c = &threads[t];
		const uint64_t *at = c->sp, *end = (const uint64_t *)(c->stack + STACK_BYTES);
		uint64_t h = t + 1;

		if (!c->ended)
			for (; at < end; at++)
				h = (h ^ *at) * 0x9e3779b97f4a7c15ull ^ h >> 29;
		hash ^= mix(h);
	}
	return hash;
}

/* the number of the state that we are in, 0: there is no room; *fresh: nobody has been here */
static uint32_t state_now(unsigned int last, unsigned int used, bool *fresh)
{
	uint64_t hash = memory_hash ^ stacks_hash();
	uint32_t slot;

	if (preemptions >= 0)
		hash ^= mix(last * 64 + used + 1);
	slot = (uint32_t)(hash >> 20) & ((1u << TABLE_LOG) - 1);
	for (; table[slot]; slot = (slot + 1) & ((1u << TABLE_LOG) - 1))
		if (states[table[slot]].hash == hash) {
			*fresh = false;
			return table[slot];
		}
	*fresh = nr_states < limit;
	cut |= !*fresh;
	if (!*fresh)
		return 0;
	table[slot] = ++nr_states;
	states[nr_states] = (struct state){ .hash = hash };
	return nr_states;
}

/* ---- the search ---- */

static struct frame {
	uint32_t state;
	size_t mark;
	uint64_t hash;
	unsigned int last, used, next;
	/* of the thread whose step is being tried */
	void *sp;
	uintptr_t where;
	char *image;
	size_t bytes;
	bool saved;
} frames[MAX_DEPTH];
static size_t depth;
static const struct ex_scenario *scenario;
static const char *failed_what;
static char failed_text[256];
static uint64_t nr_steps, nr_ends;

static void save(struct frame *f, unsigned int t)
{
	struct coroutine *c = &threads[t];

	f->sp = c->sp;
	f->where = c->where;
	f->bytes = (size_t)(c->stack + STACK_BYTES - (char *)c->sp);
	f->image = realloc(f->image, f->bytes);
	memcpy(f->image, c->sp, f->bytes);
	f->saved = true;
}

static void restore(struct frame *f, unsigned int t)
{
	struct coroutine *c = &threads[t];

	go_back(f->mark);
	memory_hash = f->hash;
	c->sp = f->sp;
	c->where = f->where;
	c->ended = false;
	memcpy(c->sp, f->image, f->bytes);
	f->saved = false;
}

_Noreturn static void check_failed(void)
{
	ex_settle();
	ex_switch(&checker.sp, checker_sp);
	abort();
}

_Noreturn void ex_fail(const char *what, const char *file, int line)
{
	const char *name = strrchr(file, '/');

	snprintf(failed_text, sizeof(failed_text), "%s (%s:%d)", what, name ? name + 1 : file,
		 line);
	failed_what = failed_text;
	if (!ex_logging) {
		printf("FAILED  %s: setup: %s\n", scenario->name, failed_text);
		exit(1);
	}
	if (!ex_running)
		check_failed();
	threads[ex_self].ended = true;
	leave();
	abort();
}

static void checker_main(void)
{
	scenario->check();
	ex_settle();
	ex_switch(&checker.sp, checker_sp);
	abort();
}

static void check_end(void)
{
	size_t mark = nr_entries;
	uint64_t hash = memory_hash;
	void **sp = (void **)(checker.stack + STACK_BYTES);

	nr_ends++;
	if (!scenario->check)
		return;
	*--sp = NULL;
	*--sp = (void *)checker_main;
	checker.sp = sp - 6;
	ex_switch(&checker_sp, checker.sp);
	if (failed_what)
		return;
	go_back(mark);
	memory_hash = hash;
}

static unsigned int nr_alive(void)
{
	unsigned int t, n = 0;

	for (t = 0; t < nr_threads; t++)
		n += !threads[t].ended;
	return n;
}

static void enter(uint32_t state, unsigned int last, unsigned int used)
{
	struct frame *f = &frames[depth++];

	if (depth == MAX_DEPTH) {
		fprintf(stderr, "explore: too deep\n");
		exit(2);
	}
	f->state = state;
	f->mark = nr_entries;
	f->hash = memory_hash;
	f->last = last;
	f->used = used;
	f->next = 0;
	f->saved = false;
}

/* one step of thread @t from the top frame; true: on to a state that is new */
static void try_step(struct frame *f, unsigned int t)
{
	unsigned int used = f->used;
	uint32_t state;
	bool fresh;

	if (f->last != t && f->last < nr_threads && !threads[f->last].ended) {
		used++;
		if (preemptions >= 0 && used > (unsigned int)preemptions)
			return;
	}
	save(f, t);
	nr_steps++;
	step(t);
	if (failed_what)
		return;
	state = state_now(t, used, &fresh);
	states[f->state].after[t] = state;
	/* an end is looked at in any case */
	if (!fresh && (state || nr_alive())) {
		restore(f, t);
		return;
	}
	if (state) {
		states[state].before = f->state;
		states[state].by = (uint8_t)t;
	}
	if (!nr_alive()) {
		check_end();
		if (!failed_what)
			restore(f, t);
	} else {
		enter(state, t, used);
	}
}

static void search(void)
{
	bool fresh;

	enter(state_now(EX_THREADS, 0, &fresh), EX_THREADS, 0);
	while (depth > 0 && !failed_what) {
		struct frame *f = &frames[depth - 1];

		if (f->saved)
			/* back from what the last step led to */
			restore(f, f->next - 1);
		if (f->next == nr_threads) {
			depth--;
			continue;
		}
		f->next++;
		if (!threads[f->next - 1].ended)
			try_step(f, f->next - 1);
	}
}

/* ---- nobody waits ---- */

/* the first state of a cycle by steps of @t alone, or 0 */
static uint32_t find_cycle(unsigned int t)
{
	uint32_t *colour = calloc(nr_states + 1, sizeof(*colour)), s, at, found = 0;

	for (s = 1; s <= nr_states && !found; s++) {
		for (at = s; at && !colour[at]; at = states[at].after[t])
			colour[at] = s;
		if (at && colour[at] == s)
			found = at;
	}
	free(colour);
	return found;
}

/* ---- the report ---- */

static void print_place(uintptr_t where)
{
	char command[160], line[160] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "addr2line -s -i -e /proc/%d/exe %#lx 2>/dev/null",
		 (int)getpid(), (unsigned long)where - 1);
	pipe = where ? popen(command, "r") : NULL;
	/* the innermost frame that is not a helper of base/word.h */
	while (pipe && fgets(line, sizeof(line), pipe) && !strncmp(line, "word.h", 6))
		;
	if (pipe)
		pclose(pipe);
	line[strcspn(line, " \n")] = '\0';
	printf("%s", line[0] ? line : "its start");
}

static void print_segment(unsigned int t, unsigned int n)
{
	printf("        thread %u: %u steps, ", t, n);
	if (threads[t].ended)
		printf("to its end\n");
	else
		printf("to before "), print_place(threads[t].where), printf("\n");
}

/* run the steps that led here once more, and say where each thread stopped */
static void print_path(const uint8_t *path, size_t n)
{
	size_t i, since = 0;

	for (i = 0; i < n; i++) {
		step(path[i]);
		if (i + 1 == n || path[i + 1] != path[i]) {
			print_segment(path[i], (unsigned int)(i + 1 - since));
			since = i + 1;
		}
	}
}

static size_t path_of_frames(uint8_t *path)
{
	size_t i;

	for (i = 0; i < depth; i++)
		path[i] = (uint8_t)(frames[i].next - 1);
	return depth;
}

static size_t path_of_state(uint32_t state, uint8_t *path)
{
	size_t n = 0, i;
	uint32_t at;

	for (at = state; states[at].before; at = states[at].before)
		n++;
	for (i = n, at = state; i > 0; at = states[at].before)
		path[--i] = states[at].by;
	return n;
}

static void begin(void)
{
	for (nr_threads = 0; nr_threads < EX_THREADS && scenario->thread[nr_threads]; nr_threads++)
		coroutine_begin(&threads[nr_threads], scenario->thread[nr_threads]);
}

static bool run(const struct ex_scenario *which)
{
	static uint8_t path[MAX_DEPTH];
	struct timespec from, to;
	unsigned int t;
	size_t n = 0;

	clock_gettime(CLOCK_MONOTONIC, &from);
	scenario = which;
	scenario->setup();
	begin();
	memory_hash = 0;
	ex_logging = true;
	search();
	if (failed_what)
		n = path_of_frames(path);
	for (t = 0; t < nr_threads && !failed_what; t++) {
		uint32_t state = find_cycle(t);

		if (!state)
			continue;
		snprintf(failed_text, sizeof(failed_text),
			 "thread %u, alone from here on, never ends: it waits for another", t);
		failed_what = failed_text;
		n = path_of_state(state, path);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%s  %s: %u states, %llu steps, %llu ends, %.1f s%s\n",
	       failed_what ? "FAILED" : "ok    ", scenario->name, nr_states,
	       (unsigned long long)nr_steps, (unsigned long long)nr_ends,
	       (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9,
	       cut ? ", cut" : "");
	if (failed_what) {
		const char *what = failed_what;

		printf("        %s\n", what);
		go_back(0);
		begin();
		failed_what = NULL;
		print_path(path, n);
	}
	fflush(stdout);
	return n == 0;
}

static const struct ex_scenario *scenario_at(size_t i)
{
	const struct ex_scenario *s = ex_page_scenarios;

	for (; s->name; s++)
		if (i-- == 0)
			return s;
	for (s = ex_object_scenarios; s->name; s++)
		if (i-- == 0)
			return s;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct ex_scenario *which;
	const char *only = NULL;
	size_t i;
	int c;

	while ((c = getopt(argc, argv, "n:p:s:ol")) != -1) {
		if (c == 'n')
			limit = (uint32_t)strtoul(optarg, NULL, 0);
		else if (c == 'p')
			preemptions = atoi(optarg);
		else if (c == 's')
			only = optarg;
		else if (c == 'o')
			ex_orders = true;
		else if (c == 'l')
			for (i = 0; (which = scenario_at(i)); i++)
				puts(which->name);
		else
			return 2;
	}
	states = malloc(((size_t)limit + EX_THREADS + 2) * sizeof(*states));
	table = calloc(1ul << TABLE_LOG, sizeof(*table));
	if (!states || !table || limit >= 1u << (TABLE_LOG - 1))
		return 2;
	/* one scenario is one process: its setup is not undone */
	for (i = 0; only && (which = scenario_at(i)); i++)
		if (!strcmp(which->name, only))
			return run(which) ? 0 : 1;
	return only ? 2 : 0;
}

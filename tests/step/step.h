/* SPDX-License-Identifier: MIT */
/*
 * The step driver: an operation of the library is interrupted at one chosen
 * instruction, another operation runs in the handler, and everything is
 * verified; then the same one instruction further on.
 *
 *   track.c     blocks that we own: patterns, and a shadow of all memory
 *   state.c     the states that an operation is started in, and the audit
 *   scenario.c  the operations that are interrupted
 *   object.c    those of them that are about objects of the reserve
 *   scenario_map.c  those that map and unmap
 *   scenario_pool.c  mempools and bulk calls
 *   nested.c    the operations that interrupt
 *   trap.c      the trap flag, breakpoints, the handler
 *   case.c      one injection: what is checked after it
 *   target.c    which points of an operation are interrupted, how they are reached
 *   job.c       one job: a pair of operations, in a child
 *   step.c      which jobs there are, workers, totals
 *
 * Left out (but with --every) are points that are provably the same as another:
 *
 * - Between two instructions of which the first changes nothing but registers, and
 *   reads nothing else (check_step.sh marks them 'r', and direct jumps 'j'), the
 *   handler finds the same memory as before the first, and what is interrupted goes
 *   on with the same registers.  The first point of each row of such is taken.
 *   Under the trap flag a row is of instructions that followed each other; in a
 *   trace of breakpoints, which has the first time of each only, of a fall-through.
 *   Points inside a sequence are all taken: where they lie there decides.
 * - With --all and all modes, a breakpoint where stepping gets before it has aborted
 *   any sequence: up to there both are the same run, and behind it too, for the trap
 *   flag is off then.  So with the try-lock next to no breakpoints are left.
 */
#ifndef TESTS_STEP_H
#define TESTS_STEP_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ERRNO_SENTRY 54321
#define KIB	     1024ul
#define MIB	     (1024ul << 10)

/* ---- track.c ---- */

/* How a block goes back. */
enum { BY_FREE = -1, BY_UNMAP = -2 /* else the order for labyrinth_free_pages() */ };

/* Only the ends of a light block are written: there are many of them. */
int own(void *ptr, size_t size, int how, bool light);
/* stop owning; verifies, returns the pointer, frees nothing */
void *disown(int id);
void drop(int id);
void drop_all(void);
void verify_all(void);
void *block_at(int id);
/* first @size bytes of @ptr still hold what own() wrote for block @seed */
bool pattern_holds(const void *ptr, size_t size, uint64_t seed);
uint64_t block_seed(int id);
unsigned int live_of_class(unsigned int cls);
int take(size_t size);
int take_light(size_t size);
int take_pages(uint32_t gfp, unsigned int order);
/* by labyrinth_mmap(); @changed: by labyrinth_mprotect(), to what it was */
int take_map(size_t size, bool changed);
/* the same as take_pages(); -1 if there is none */
int take_atomic(uint32_t gfp, unsigned int order);
int take_object(size_t size);

__attribute__((format(printf, 1, 2))) _Noreturn void fail(const char *format, ...);

/* ---- state.c ---- */

struct figures {
	uint64_t used[3]; /* pages of each zone that are not free */
};

unsigned int class_of(size_t size);
unsigned int stack_count(unsigned int cls);
unsigned int stack_cap(unsigned int cls);
/* bytes that lie on stacks nobody can use any more */
size_t stuck_bytes(void);
void make_warm(size_t size);
void make_many_slabs(size_t size);
void make_active(size_t size);
void make_list(size_t size);
void drop_spare(void);
void make_no_slab(size_t size);
void fill_stack(size_t size, int *ids, unsigned int *n);
void exhaust_reserve(void);
void exhaust_heap(void);
void exhaust_sections(void);
void unexhaust(void);
void check_hints(void);
/* everything back where it came from: stacks, slabs, zones */
void settle(void);
struct figures figures(void);
/* @strict: no call was abandoned, so every equation holds */
void audit(bool strict);

/* ---- scenario.c, nested.c ---- */

enum { EACH_IN_A_CHILD = 1, MAY_BE_NULL = 2, LONG = 4 };

struct scenario {
	const char *name;
	void (*setup)(const struct scenario *s);
	void (*op)(const struct scenario *s);
	size_t size;
	size_t size2;
	int state;
	unsigned int arg;
	unsigned int flags;
};

/* What the operation works on and what it returned. */
struct outcome {
	void *target;
	uint64_t seed;
	size_t kept; /* bytes of the target that the result must hold */
	bool zero;   /* the result must read as zero */
	void *result;
	size_t size;
	int how;
	bool allocates;
};

struct nested {
	const char *name;
	void (*setup)(const struct scenario *s);
	void (*run)(const struct scenario *s);
};

extern struct outcome outcome;
extern const struct scenario scenarios[];
extern const size_t nr_scenarios;
extern const struct scenario firsts[];
extern const size_t nr_firsts;
extern const struct nested nesteds[];
extern const size_t nr_nesteds;
/* those that need no earlier block come first */
extern const size_t nr_nested_fresh;

/* ---- object.c ---- */

/* What the class of an atomic object has, as struct scenario's arg. */
enum {
	OBJ_FRESH,  /* no slab */
	OBJ_ACTIVE, /* one with free objects, from which is taken */
	OBJ_FULL,   /* one without; what the handler frees lies there */
	OBJ_LIST,   /* that one full, another on the list is not */
	OBJ_NONE,   /* no slab, and the reserve is down to its floor */
	OBJ_IDLE,   /* the same, but another class has a slab that is all free */
	OBJ_LAST,   /* of a slab on the list one object is in use */
};

void set_up_object(const struct scenario *s);
void set_up_free_object(const struct scenario *s);
void set_up_realloc_object(const struct scenario *s);
void op_object(const struct scenario *s);
void op_shrink(const struct scenario *s);
void set_up_old_objects(const struct scenario *s);
void objects(const struct scenario *s);
/* what is freed is that block */
void target(int id);
/* scenario_pool.c */
void set_up_pool_alloc(const struct scenario *s);
void set_up_pool_free(const struct scenario *s);
void op_pool_alloc(const struct scenario *s);
void op_pool_kept(const struct scenario *s);
void op_pool_free(const struct scenario *s);
void set_up_old_element(const struct scenario *s);
void elements(const struct scenario *s);
void set_up_bulk(const struct scenario *s);
void op_bulk(const struct scenario *s);
void set_up_free_bulk(const struct scenario *s);
void op_free_bulk(const struct scenario *s);
void keep_bulk(const struct scenario *s);
/* after the operation, and before all must have come back */
void check_bulk(void);
void pool_down(void);
/* scenario_map.c; @arg says in which state, see there */
void set_up_reserve(const struct scenario *s);
void op_shrink_reserve(const struct scenario *s);
void op_grow_reserve(const struct scenario *s);
void set_up_map(const struct scenario *s);
void set_up_remap(const struct scenario *s);
void set_up_unmap(const struct scenario *s);
void op_map(const struct scenario *s);
void op_unmap(const struct scenario *s);
void op_protect(const struct scenario *s);
void op_advise(const struct scenario *s);
void op_remap(const struct scenario *s);
void op_map_over(const struct scenario *s);
void op_map_again(const struct scenario *s);

/* every kind of operation once, verified */
void every_kind(void);

/* ---- trap.c ---- */

enum how { BY_TRAP_FLAG, BY_BREAKPOINT, BY_COUNT };
enum act { ACT_NEST, ACT_ABANDON, ACT_FREEZE };

enum { TRACE_MAX = 1 << 20 };

struct injection {
	enum how how;
	enum act act;
	const struct scenario *scenario;
	const struct nested *nested;
	uint64_t target; /* number of the instruction, or its address; 0: none */
	bool tracing;	 /* note every instruction that is reached */
	/* of a count: to the n-th arrival at @at, then as many instructions more */
	uintptr_t at;
	uint32_t times, more;
	/* results */
	bool done;
	bool abandoned;
	uint64_t steps, aborts, arrivals;
	uintptr_t ip;
	sigjmp_buf out;
};

extern struct injection injection;
extern uint64_t trace[TRACE_MAX];
extern size_t nr_trace;
extern _Atomic int frozen;

void trap_init(void);
void trap_stack(void);
bool trap_read_boundaries(const char *path);
/* run the operation under the injection */
void trap_run(void);
bool is_in_sequence(uintptr_t ip);
bool is_abort(uintptr_t ip);
bool is_of_library(uintptr_t ip);
/* a breakpoint can be set there: in the vDSO perhaps not */
bool trap_can_count(uintptr_t ip);
/* what the instruction may touch: see "Left out" above */
char trap_sort(uintptr_t ip);
/* the instruction behind that one, 0 if it is none of the library's */
uintptr_t trap_next(uintptr_t ip);

/* ---- target.c ---- */

/*
 * Of the trace: how many injections it takes, in any order; @same: left out.
 * What an earlier trace led to is not chosen again.
 */
size_t targets_choose(enum how how, bool every, size_t *same);
/* what the trace, of a stepped run, has is not chosen for breakpoints */
void targets_note_stepped(void);
/* what there was before is no longer known */
void targets_forget(void);
/* the injection is to be the i-th of them */
void targets_aim(size_t i);

/* ---- case.c ---- */

/* Shared with the parent. */
struct context {
	char name[120];
	uint64_t target, ip;
	uint64_t instructions, injections, aborts, max_leak, max_stuck;
	uint64_t same;	 /* points that are the same as another, left out */
	uint64_t missed; /* not reached, twice: the operation went another way */
	uint64_t traces; /* of which the points were taken */
};

extern struct context *context;

void enter_child(void);
bool run_case(void);
void run_first_case(void);
void run_frozen_case(void);
/* what run_case() compares with; call once per child */
void take_baseline(void);

/* ---- job.c ---- */

struct mode {
	const char *name;
	enum how how;
	enum act act;
	bool first;	    /* before the library's constructor */
	unsigned int share; /* of the sample, per mille */
	unsigned int least; /* injections of one job */
};

/* Of the points of a job. */
struct which {
	bool all, every;
	bool once;   /* what the trap flag gets to needs no breakpoint */
	size_t most; /* injections, if not all */
};

extern struct which which;

void job_init(void);
void run_job(const struct mode *mode);
/* returns how the child ended */
int in_child(void (*run)(const struct mode *), const struct mode *mode);
/* false, and why on a line, unless it ended well */
bool say_status(int status);

/* ---- step.c ---- */

void *shared(size_t bytes);
uint64_t random_next(void);
void step_main_early(void);

#endif

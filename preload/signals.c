/* SPDX-License-Identifier: MIT */
/*
 * The option atomic_handlers:1: every handler of the program runs in an atomic
 * section.  sigaction() and its older kin hand a stub of ours to the kernel
 * instead, one for each function that the program installs, and translate back
 * what they return.  So there is no state for a signal, and sigaction() is the
 * one atomic system call that it is without us: SA_RESETHAND, SIG_IGN, fork() and
 * concurrent calls need no thought.
 *
 * A section is over when its handler is left, by return or by a jump: the jumps
 * of libc are intercepted too, to look where they lead.
 *
 * Not seen: handlers installed by the system call itself, or by libc for itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "labyrinth.h"

#if defined(__x86_64__)

#define EXPORT __attribute__((visibility("default")))
/* called or read by the assembly below */
#define INNER __attribute__((visibility("hidden"), used))

typedef void old_style(int sig);
typedef void handler_fn(int sig, siginfo_t *info, void *context);

/* distinct functions that the program may install; bytes of a stub */
enum { NR_HANDLERS = 512, STUB_BYTES = 16 };

/* 1 once the option is known to be on */
INNER char labyrinth_wrapping;

/* in operators.c */
__attribute__((visibility("hidden"))) void labyrinth_find_operators(void);

/* ---- the definitions that ours hide ---- */

#define NEXTS(X)                                                                                   \
	X(sigaction, int, (int, const struct sigaction *, struct sigaction *))                     \
	X(signal, old_style *, (int, old_style *))                                                 \
	X(bsd_signal, old_style *, (int, old_style *))                                             \
	X(ssignal, old_style *, (int, old_style *))                                                \
	X(sysv_signal, old_style *, (int, old_style *))                                            \
	X(__sysv_signal, old_style *, (int, old_style *))                                          \
	X(sigset, old_style *, (int, old_style *))                                                 \
	X(longjmp, void, (void))                                                                   \
	X(_longjmp, void, (void))                                                                  \
	X(siglongjmp, void, (void))                                                                \
	X(__longjmp_chk, void, (void))                                                             \
	X(setcontext, void, (void))                                                                \
	X(swapcontext, void, (void))

#define DECLARE(name, type, params) INNER type(*labyrinth_next_##name) params;
NEXTS(DECLARE)

/* by the constructor; a call that comes before it, on its own */
__attribute__((section(".text.startup"))) static void find_nexts(void)
{
	int saved = errno;

#define FIND(name, type, params) labyrinth_next_##name = (type(*) params)dlsym(RTLD_NEXT, #name);
	NEXTS(FIND)
	errno = saved;
}

#define NEXT(name)                                                                                 \
	(__builtin_expect(!labyrinth_next_##name, 0) ? find_nexts() : (void)0,                     \
	 labyrinth_next_##name)

/* ---- stubs ---- */

/* The function behind each stub; an entry, once written, stays. */
static void *handlers[NR_HANDLERS];

/* how often a function was installed without a section, as all stubs were taken */
static unsigned int unwrapped;

extern __attribute__((visibility("hidden"))) const char labyrinth_stubs[NR_HANDLERS * STUB_BYTES];
INNER void labyrinth_run_handler(int sig, siginfo_t *info, void *context, unsigned int index);

/*
 * A stub adds a fourth argument to the three that the kernel gives to every
 * handler, whatever its flags.  It leaves the stack as it is, and so needs no
 * more for unwinding than that.
 */
__asm__(".pushsection .text.stubs, \"ax\", @progbits\n"
	".balign 64\n"
	".globl labyrinth_stubs\n"
	".hidden labyrinth_stubs\n"
	".type labyrinth_stubs, @function\n"
	"labyrinth_stubs:\n\t"
	".cfi_startproc\n"
	".set .Lindex, 0\n"
	".rept 512\n\t"
	"endbr64\n\t"
	"movl $.Lindex, %ecx\n\t"
	"jmp labyrinth_run_handler\n\t"
	".balign 16\n"
	".set .Lindex, .Lindex + 1\n"
	".endr\n\t"
	".cfi_endproc\n"
	".size labyrinth_stubs, . - labyrinth_stubs\n"
	".popsection\n");

/* the lowest address of the alternate stack, if @frame lies on it; else 0 */
static uintptr_t stack_low(const stack_t *stack, uintptr_t frame)
{
	uintptr_t low = (uintptr_t)stack->ss_sp;

	return !(stack->ss_flags & SS_DISABLE) && frame - low < stack->ss_size ? low : 0;
}

/*
 * The kernel puts the context right above the handler's return address; whoever
 * else calls a stub may have none to give.
 */
void labyrinth_run_handler(int sig, siginfo_t *info, void *context, unsigned int index)
{
	handler_fn *handler = (handler_fn *)__atomic_load_n(&handlers[index], __ATOMIC_RELAXED);
	const ucontext_t *uc = context == __builtin_dwarf_cfa() ? context : NULL;
	struct labyrinth_section section;
	uintptr_t here = (uintptr_t)&section;

	labyrinth_section_enter(&section, uc ? stack_low(&uc->uc_stack, here) : 0,
				uc ? (uintptr_t)uc->uc_mcontext.gregs[REG_RSP] : here);
	handler(sig, info, context);
	labyrinth_section_leave(&section);
}

static int is_stub(const void *handler)
{
	return (uintptr_t)handler - (uintptr_t)labyrinth_stubs < sizeof(labyrinth_stubs);
}

static void note_unwrapped(void)
{
	static const char text[] = "labyrinth: atomic_handlers: more than 512 signal handlers; the "
				   "others run outside of atomic sections\n";
	int saved = errno;

	if (__atomic_fetch_add(&unwrapped, 1, __ATOMIC_RELAXED) == 0 &&
	    write(2, text, sizeof(text) - 1) < 0)
		errno = saved;
}

/** labyrinth_unwrapped_handlers() - how often a handler was installed as it is, for want of stubs */
EXPORT unsigned int labyrinth_unwrapped_handlers(void);
unsigned int labyrinth_unwrapped_handlers(void)
{
	return __atomic_load_n(&unwrapped, __ATOMIC_RELAXED);
}

/* what the kernel is to be given for a function of the program */
static void *wrap(void *handler)
{
	unsigned int i;
	void *seen;

	if (!labyrinth_wrapping || handler == (void *)SIG_DFL || handler == (void *)SIG_IGN ||
	    handler == (void *)SIG_HOLD || handler == (void *)SIG_ERR || is_stub(handler))
		return handler;
	for (i = 0; i < NR_HANDLERS; i++) {
		seen = __atomic_load_n(&handlers[i], __ATOMIC_RELAXED);
		if (!seen && __atomic_compare_exchange_n(&handlers[i], &seen, handler, 0,
							 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			seen = handler;
		if (seen == handler)
			return (void *)(uintptr_t)(labyrinth_stubs + i * STUB_BYTES);
	}
	note_unwrapped();
	return handler;
}

/* the program's function behind what the kernel has */
static void *unwrap(void *handler)
{
	if (!is_stub(handler))
		return handler;
	return __atomic_load_n(&handlers[((const char *)handler - labyrinth_stubs) / STUB_BYTES],
			       __ATOMIC_RELAXED);
}

/* ---- sigaction() and its kin ---- */

EXPORT int sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	int (*next)(int, const struct sigaction *, struct sigaction *) = NEXT(sigaction);
	struct sigaction ours;
	int err;

	if (!labyrinth_wrapping)
		return next(sig, action, old);
	if (action) {
		ours = *action;
		ours.sa_handler = (old_style *)wrap((void *)action->sa_handler);
	}
	err = next(sig, action ? &ours : NULL, old);
	if (!err && old)
		old->sa_handler = (old_style *)unwrap((void *)old->sa_handler);
	return err;
}

__asm__(".globl __sigaction\n"
	".type __sigaction, @function\n"
	".set __sigaction, sigaction\n");

/* libc's own versions stay in charge of flags and masks */
#define OLD_STYLE(name)                                                                            \
	EXPORT old_style *name(int sig, old_style *handler);                                       \
	old_style *name(int sig, old_style *handler)                                               \
	{                                                                                          \
		old_style *(*next)(int, old_style *) = NEXT(name);                                 \
                                                                                                   \
		return (old_style *)unwrap((void *)next(sig, (old_style *)wrap((void *)handler))); \
	}
OLD_STYLE(signal)
OLD_STYLE(bsd_signal)
OLD_STYLE(ssignal)
OLD_STYLE(sysv_signal)
OLD_STYLE(__sysv_signal)
OLD_STYLE(sigset)

/* ---- jumps ---- */

INNER void labyrinth_before_longjmp(const uintptr_t *env);
INNER void labyrinth_before_setcontext(const ucontext_t *to);
INNER void labyrinth_before_swapcontext(ucontext_t *from, const ucontext_t *to);

/* libc keeps the stack pointer rotated and mixed with a secret of the thread */
void labyrinth_before_longjmp(const uintptr_t *env)
{
	enum { STACK_POINTER = 6, ROTATED = 17 };
	uintptr_t secret, sp = env[STACK_POINTER];

	if (!labyrinth_next_longjmp)
		find_nexts();
	if (!labyrinth_wrapping)
		return;
	__asm__("movq %%fs:0x30, %0" : "=r"(secret));
	labyrinth_section_jump((sp >> ROTATED | sp << (64 - ROTATED)) ^ secret);
}

void labyrinth_before_setcontext(const ucontext_t *to)
{
	if (!labyrinth_next_setcontext)
		find_nexts();
	if (labyrinth_wrapping)
		labyrinth_section_jump((uintptr_t)to->uc_mcontext.gregs[REG_RSP]);
}

/* who comes back finds the handler's section ended */
void labyrinth_before_swapcontext(ucontext_t *from, const ucontext_t *to)
{
	(void)from;
	labyrinth_before_setcontext(to);
}

/* End in a jump, with all registers that count as they were. */
#define JUMP(name, before)                                                                         \
	__asm__(".pushsection .text.stubs, \"ax\", @progbits\n"                                    \
		".globl " #name "\n"                                                               \
		".type " #name ", @function\n" #name ":\n\t"                                       \
		".cfi_startproc\n\t"                                                               \
		"endbr64\n\t"                                                                      \
		"movq labyrinth_next_" #name "(%rip), %rax\n\t"                                    \
		"testq %rax, %rax\n\t"                                                             \
		"jz 1f\n\t"                                                                        \
		"cmpb $0, labyrinth_wrapping(%rip)\n\t"                                            \
		"jne 1f\n\t"                                                                       \
		"jmp *%rax\n"                                                                      \
		"1:\n\t"                                                                           \
		"pushq %rdi\n\t"                                                                   \
		".cfi_adjust_cfa_offset 8\n\t"                                                     \
		"pushq %rsi\n\t"                                                                   \
		".cfi_adjust_cfa_offset 8\n\t"                                                     \
		"subq $8, %rsp\n\t"                                                                \
		".cfi_adjust_cfa_offset 8\n\t"                                                     \
		"call " #before "\n\t"                                                             \
		"addq $8, %rsp\n\t"                                                                \
		".cfi_adjust_cfa_offset -8\n\t"                                                    \
		"popq %rsi\n\t"                                                                    \
		".cfi_adjust_cfa_offset -8\n\t"                                                    \
		"popq %rdi\n\t"                                                                    \
		".cfi_adjust_cfa_offset -8\n\t"                                                    \
		"jmp *labyrinth_next_" #name "(%rip)\n\t"                                          \
		".cfi_endproc\n"                                                                   \
		".size " #name ", . - " #name "\n"                                                 \
		".popsection\n");
JUMP(longjmp, labyrinth_before_longjmp)
JUMP(_longjmp, labyrinth_before_longjmp)
JUMP(siglongjmp, labyrinth_before_longjmp)
JUMP(__longjmp_chk, labyrinth_before_longjmp)
JUMP(setcontext, labyrinth_before_setcontext)
JUMP(swapcontext, labyrinth_before_swapcontext)

/* ---- the constructor ---- */

/* what other libraries' constructors have installed before ours ran */
static void wrap_installed(void)
{
	struct sigaction action;
	int sig;

	for (sig = 1; sig < NSIG; sig++)
		if (sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
		    action.sa_handler != SIG_IGN)
			(void)sigaction(sig, &action, NULL);
}

/* a handler must not be the first to look for symbols */
__attribute__((constructor(103))) static void start(void)
{
	int saved = errno;

	find_nexts();
	if (labyrinth_option_atomic_handlers()) {
		labyrinth_find_operators();
		labyrinth_wrapping = 1;
		wrap_installed();
	}
	errno = saved;
}

#endif

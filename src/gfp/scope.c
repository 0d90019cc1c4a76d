/* SPDX-License-Identifier: MIT */
#include "gfp/scope.h"
#include "base/probe.h"
#include "labyrinth.h"
#include "os/cpu.h"
#include "os/os.h"

/* tags in the low bits of the thread's word; the rest is a section's address */
enum { EXPLICIT = 1, HANDLER = 2, TAGS = 15 };
static_assert(_Alignof(struct labyrinth_section) > TAGS, "tags need the low bits of an address");

/* a section's cookie is its address and this */
#define COOKIE 0x6c61627973656374u
/* how far below its section a handler's stack may reach, if nothing better is known */
#define REACH (64ul << 20)

LAB_RESIDENT lab_word_t lab_scope_used;

/*
 * The word is EXPLICIT, or the address of a handler's section with HANDLER, and
 * EXPLICIT in addition if one was opened inside.  A section's memory is read only
 * if the stack pointer lies between @low and it: a stack that was left may have
 * been unmapped.
 */
__thread volatile struct lab_scope lab_scope;

/*
 * Who we are, in a page that the kernel wipes in a child.  A child counts on
 * from its parent's number, so no process has the number of an ancestor.
 */
static struct {
	lab_word_t id;
	char rest[LAB_PAGE_BYTES - sizeof(lab_word_t)];
} process __attribute__((aligned(4096)));
static LAB_RESIDENT lab_word_t generation;

static uint64_t process_id(void)
{
	if (LAB_UNLIKELY(!lab_word_get(&process.id)))
		(void)lab_word_swap(&process.id, 0, lab_word_add(&generation, 1) + 1);
	return lab_word_get(&process.id);
}

void lab_scope_prepare(void)
{
	(void)lab_os_wipe_on_fork((uintptr_t)&process, sizeof(process));
	(void)process_id();
}

static void use_sections(void)
{
	if (LAB_LIKELY(lab_word_get(&lab_scope_used)))
		return;
	/* whoever comes in between closes the gate twice, which does no harm */
	lab_hot_close();
	lab_word_set(&lab_scope_used, 1);
}

static struct labyrinth_section *innermost(void)
{
	return (struct labyrinth_section *)(lab_scope.word & ~(uintptr_t)TAGS);
}

/* is a stack pointer below the innermost section's frame, on its stack */
static bool is_inside(uintptr_t stack_pointer)
{
	uintptr_t section = (uintptr_t)innermost();

	return section - stack_pointer <= section - lab_scope.low;
}

/*
 * End the innermost section if it is over for who is at @stack_pointer.  Where it was
 * left by a jump the frames of others lie there by now, which is what the cookie is for.
 */
__attribute__((no_sanitize_address)) static void settle(uintptr_t stack_pointer)
{
	const struct labyrinth_section *section = innermost();

	if (!(lab_scope.word & HANDLER))
		return;
	if (LAB_LIKELY(is_inside(stack_pointer)) &&
	    LAB_LIKELY(section->cookie == ((uintptr_t)section ^ COOKIE)) &&
	    LAB_LIKELY(section->process == lab_word_get(&process.id)))
		return;
	lab_scope.word = 0;
}

bool lab_scope_look(void)
{
	settle((uintptr_t)__builtin_frame_address(0));
	return lab_scope.word != 0;
}

/* ---- explicit sections ---- */

LAB_PUBLIC uintptr_t labyrinth_gfp_save(void)
{
	uintptr_t saved;

	use_sections();
	/* inside a handler's that has ended there is none to go back to */
	settle((uintptr_t)__builtin_frame_address(0));
	saved = lab_scope.word;
	lab_scope.word = saved | EXPLICIT;
	LAB_PROBE1(section_enter, saved);
	return saved;
}

LAB_PUBLIC void labyrinth_gfp_restore(uintptr_t saved)
{
	LAB_PROBE1(section_leave, saved);
	lab_scope.word = saved;
}

LAB_PUBLIC int labyrinth_in_atomic(void)
{
	return lab_scope_is_atomic();
}

/* ---- sections of handlers ---- */

LAB_PUBLIC void labyrinth_section_enter(struct labyrinth_section *section, uintptr_t stack_low,
					uintptr_t interrupted)
{
	use_sections();
	settle(interrupted);
	section->outer = lab_scope.word;
	section->outer_low = lab_scope.low;
	section->process = process_id();
	section->cookie = (uintptr_t)section ^ COOKIE;
	/* a handler that comes in between must not find the word before what it names */
	lab_forget();
	lab_scope.low = stack_low ? stack_low : (uintptr_t)section - REACH;
	lab_scope.word = (uintptr_t)section | HANDLER;
	LAB_PROBE1(handler_enter, section);
}

LAB_PUBLIC void labyrinth_section_leave(struct labyrinth_section *section)
{
	LAB_PROBE1(handler_leave, section);
	lab_scope.word = section->outer;
	lab_scope.low = section->outer_low;
	section->cookie = 0;
}

LAB_PUBLIC void labyrinth_section_jump(uintptr_t stack_pointer)
{
	settle((uintptr_t)__builtin_frame_address(0));
	/* who was alive when the inner one began is so still: we are below both */
	while (lab_scope.word & HANDLER && !is_inside(stack_pointer))
		labyrinth_section_leave(innermost());
}

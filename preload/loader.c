/* SPDX-License-Identifier: MIT */
/*
 * What concerns the dynamic loader: dlopen() without RTLD_DEEPBIND, and the
 * program that brings its own malloc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <stdlib.h>

#include "labyrinth.h"

/* read by the stub below */
__attribute__((visibility("hidden"))) void *(*labyrinth_next_dlopen)(const char *, int);
__attribute__((visibility("hidden"))) int labyrinth_dlopen_clear = RTLD_DEEPBIND;
__attribute__((visibility("hidden"), used)) void labyrinth_find_dlopen(void);

void labyrinth_find_dlopen(void)
{
	labyrinth_next_dlopen = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
}

/*
 * RTLD_DEEPBIND would bind a module's free() to libc's while its malloc()ed
 * blocks are ours.  The stub ends in a jump rather than a call, so that
 * dlopen() sees its true caller, whose namespace, $ORIGIN and RUNPATH count.
 */
#if defined(__x86_64__)
__asm__(".text\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n\t"
	".cfi_startproc\n\t"
	"endbr64\n\t"
	"movl labyrinth_dlopen_clear(%rip), %eax\n\t"
	"notl %eax\n\t"
	"andl %eax, %esi\n\t"
	"movq labyrinth_next_dlopen(%rip), %rax\n\t"
	"testq %rax, %rax\n\t"
	"jz 1f\n\t"
	"jmp *%rax\n"
	"1:\n\t"
	"pushq %rdi\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %rsi\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"subq $8, %rsp\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"call labyrinth_find_dlopen\n\t"
	"addq $8, %rsp\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %rsi\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %rdi\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"movq labyrinth_next_dlopen(%rip), %rax\n\t"
	"jmp *%rax\n\t"
	".cfi_endproc\n"
	".size dlopen, . - dlopen\n");
#else
void *dlopen(const char *file, int mode)
{
	if (!labyrinth_next_dlopen)
		labyrinth_find_dlopen();
	return labyrinth_next_dlopen(file, mode & ~labyrinth_dlopen_clear);
}
#endif

/*
 * Is a symbol defined at the address that dlsym() found?  In an executable that
 * is not position-independent and takes malloc's address, that address is its
 * own PLT entry, and the symbol there says "undefined": calls still reach us.
 */
static int is_defined(void *address)
{
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	return dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
	       symbol->st_shndx != SHN_UNDEF;
}

/*
 * The executable's own malloc wins over a preloaded one, but what it does not
 * define would come from us.  Then step aside: libc's functions serve, as
 * they would without us.
 */
__attribute__((constructor(102))) static void look_around(void)
{
	void *visible = dlsym(RTLD_DEFAULT, "malloc");
	struct labyrinth_libc libc;

	labyrinth_find_dlopen();
	if (!labyrinth_option_deepbind())
		labyrinth_dlopen_clear = RTLD_DEEPBIND;
	else
		labyrinth_dlopen_clear = 0;
	if (!visible || visible == (void *)labyrinth_heap_malloc || !is_defined(visible))
		return;
	libc.free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	libc.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	libc.memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
	libc.usable = (size_t(*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
	labyrinth_step_aside(&libc);
}

/* SPDX-License-Identifier: MIT */
/* vfork(), with the gate of the per-CPU stacks closed while the child lives. */
#include <errno.h>
#include <sys/types.h>

#include "labyrinth.h"

/*
 * A child of vfork() runs on its parent's memory, per-CPU stacks included, but
 * not under the kernel's protection of restartable sequences.  So the gate is
 * closed while there is one.  The system call has to be made here: the return
 * address waits in a register, as the child will overwrite the stack.
 */
#if defined(__x86_64__)
__asm__(".text\n"
	".globl vfork, __vfork\n"
	".type vfork, @function\n"
	".type __vfork, @function\n"
	"vfork:\n"
	"__vfork:\n\t"
	".cfi_startproc\n\t"
	"endbr64\n\t"
	"subq $8, %rsp\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"call labyrinth_before_vfork\n\t"
	"addq $8, %rsp\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %rdi\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	".cfi_register %rip, %rdi\n\t"
	"movl $58, %eax\n\t" /* SYS_vfork */
	"syscall\n\t"
	"pushq %rdi\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	".cfi_rel_offset %rip, 0\n\t"
	"testl %eax, %eax\n\t"
	"jnz 1f\n\t"
	"ret\n"
	"1:\n\t"
	"movslq %eax, %rdi\n\t"
	"jmp labyrinth_after_vfork\n\t"
	".cfi_endproc\n"
	".size vfork, . - vfork\n");

__attribute__((visibility("hidden"), used)) void labyrinth_before_vfork(void);
__attribute__((visibility("hidden"), used)) pid_t labyrinth_after_vfork(long result);

void labyrinth_before_vfork(void)
{
	labyrinth_vfork_gate(1);
}

/* in the parent, with the system call's result */
pid_t labyrinth_after_vfork(long result)
{
	labyrinth_vfork_gate(0);
	if (result >= 0)
		return (pid_t)result;
	errno = (int)-result;
	return -1;
}
#endif

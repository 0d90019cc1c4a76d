/* SPDX-License-Identifier: MIT */
/*
 * syscall(2), for the calls on memory that Labyrinth has to know of.  Programs
 * use it for calls that their libc lacked a name for.
 *
 * All other numbers go to the kernel from here, without a frame on the stack:
 * some of them return twice, or on another stack.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "labyrinth.h"

#if defined(__x86_64__)
_Static_assert(SYS_mmap == 9 && SYS_mprotect == 10 && SYS_munmap == 11 && SYS_mremap == 25 &&
		       SYS_msync == 26 && SYS_mincore == 27 && SYS_madvise == 28 &&
		       SYS_mlock == 149 && SYS_munlock == 150 && SYS_mlockall == 151 &&
		       SYS_remap_file_pages == 216 && SYS_mlock2 == 325 && SYS_pkey_mprotect == 329,
	       "the stub knows these numbers");

__asm__(".text\n"
	".globl syscall\n"
	".type syscall, @function\n"
	".balign 64\n"
	"syscall:\n\t"
	".cfi_startproc\n\t"
	"endbr64\n\t"
	"cmpl $28, %edi\n\t"
	"ja 1f\n\t"
	"movl $0x1e000e00, %eax\n\t" /* 9, 10, 11, 25 .. 28 */
	"btl %edi, %eax\n\t"
	"jc labyrinth_memory_call\n"
	"0:\n\t"
	"movq %rdi, %rax\n\t"
	"movq %rsi, %rdi\n\t"
	"movq %rdx, %rsi\n\t"
	"movq %rcx, %rdx\n\t"
	"movq %r8, %r10\n\t"
	"movq %r9, %r8\n\t"
	"movq 8(%rsp), %r9\n\t"
	"syscall\n\t"
	"cmpq $-4095, %rax\n\t"
	"jae 2f\n\t"
	"ret\n"
	"1:\n\t"
	"leal -149(%rdi), %eax\n\t"
	"cmpl $2, %eax\n\t"
	"jbe labyrinth_memory_call\n\t"
	"cmpl $216, %edi\n\t"
	"je labyrinth_memory_call\n\t"
	"cmpl $325, %edi\n\t"
	"je labyrinth_memory_call\n\t"
	"cmpl $329, %edi\n\t"
	"je labyrinth_memory_call\n\t"
	"cmpl $440, %edi\n\t"
	"je labyrinth_memory_call\n\t"
	"jmp 0b\n"
	"2:\n\t"
	"movq %rax, %rdi\n\t"
	"jmp labyrinth_syscall_failed\n\t"
	".cfi_endproc\n"
	".size syscall, . - syscall\n");

__attribute__((visibility("hidden"), used)) long labyrinth_syscall_failed(long result);
__attribute__((visibility("hidden"), used)) long
labyrinth_memory_call(long nr, long a, long b, long c, long d, long e, long f);

long labyrinth_syscall_failed(long result)
{
	errno = (int)-result;
	return -1;
}

long labyrinth_memory_call(long nr, long a, long b, long c, long d, long e, long f)
{
	void *at = (void *)a;
	size_t len = (size_t)b;

	switch (nr) {
	case SYS_mmap:
		return (long)labyrinth_mmap(at, len, (int)c, (int)d, (int)e, f);
	case SYS_munmap:
		return labyrinth_munmap(at, len);
	case SYS_mremap:
		return (long)labyrinth_mremap(at, len, (size_t)c, (int)d, (void *)e);
	case SYS_mprotect:
		return labyrinth_mprotect(at, len, (int)c);
	case SYS_pkey_mprotect:
		return labyrinth_pkey_mprotect(at, len, (int)c, (int)d);
	case SYS_madvise:
		return labyrinth_madvise(at, len, (int)c);
	case SYS_mlock:
		return labyrinth_mlock(at, len);
	case SYS_mlock2:
		return labyrinth_mlock2(at, len, (unsigned int)c);
	case SYS_munlock:
		return labyrinth_munlock(at, len);
	case SYS_mlockall:
		return labyrinth_mlockall((int)a);
	case SYS_msync:
		return labyrinth_msync(at, len, (int)c);
	case SYS_mincore:
		return labyrinth_mincore(at, len, (unsigned char *)c);
	case SYS_remap_file_pages:
		return labyrinth_remap_file_pages(at, len, (int)c, (size_t)d, (int)e);
	default:
		return labyrinth_process_madvise((int)a, (const struct iovec *)b, (size_t)c, (int)d,
						 (unsigned int)e);
	}
}
#endif

// SPDX-License-Identifier: MIT
/*
 * Run a program in which the kernel refuses some system calls, as an older one does,
 * or a sandbox: by a seccomp filter that exec() and fork() hand on.
 *
 * usage: refuse CALL/ERROR[/ARGUMENT/VALUE]... -- COMMAND...
 *
 * ERROR is a number; ARGUMENT, from 0, is compared in its lower 32 bits.  Exit code
 * 125: it could not be set up.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name)                                                                                 \
	{                                                                                          \
#name, SYS_##name                                                                  \
	}
static const struct {
	const char *name;
	long number;
} calls[] = {
	CALL(clone3),		CALL(clone),  CALL(madvise),
	CALL(mremap),		CALL(mlock2), CALL(process_vm_writev),
	CALL(process_vm_readv), CALL(prctl),  CALL(write),
	CALL(prlimit64),
};
enum { NR_CALLS = sizeof(calls) / sizeof(*calls), MOST = 64 };

static struct sock_filter code[MOST];
static unsigned short n;

static void add(struct sock_filter line)
{
	if (n == MOST)
		exit(125);
	code[n++] = line;
}

static void load(size_t at)
{
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)at));
}

static void skip_unless(unsigned long value, unsigned char lines)
{
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)value, 0, lines));
}

static void end_with(unsigned int what)
{
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what));
}

static void add_rule(char *text)
{
	const char *name = strtok(text, "/"), *error = strtok(NULL, "/");
	const char *argument = strtok(NULL, "/"), *value = strtok(NULL, "/");
	size_t i;

	for (i = 0; i < NR_CALLS && name && strcmp(calls[i].name, name) != 0; i++)
		;
	if (i == NR_CALLS || !error || !argument != !value) {
		fprintf(stderr, "refuse: what is %s?\n", text);
		exit(125);
	}
	load(offsetof(struct seccomp_data, nr));
	skip_unless((unsigned long)calls[i].number, value ? 3 : 1);
	if (value) {
		load(offsetof(struct seccomp_data, args) + 8 * strtoul(argument, NULL, 0));
		skip_unless(strtoul(value, NULL, 0), 1);
	}
	end_with(SECCOMP_RET_ERRNO | (unsigned int)atoi(error));
}

int main(int argc, char **argv)
{
	struct sock_fprog program = { .filter = code };
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		add_rule(argv[i]);
	end_with(SECCOMP_RET_ALLOW);
	program.len = n;
	if (i + 1 >= argc || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("refuse");
		return 125;
	}
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 125;
}

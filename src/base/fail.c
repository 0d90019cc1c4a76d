/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>

#include "base/fail.h"
#include "base/sys.h"

void lab_line_str(struct lab_line *line, const char *str)
{
	/* the last byte is kept for the newline */
	while (*str && line->len < sizeof(line->text) - 1)
		line->text[line->len++] = *str++;
}

static void line_number(struct lab_line *line, uint64_t value, unsigned int base)
{
	char digits[21];
	unsigned int at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		unsigned int digit = (unsigned int)(value % base);

		digits[--at] = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
		value /= base;
	} while (value);
	lab_line_str(line, digits + at);
}

void lab_line_dec(struct lab_line *line, uint64_t value)
{
	line_number(line, value, 10);
}

void lab_line_hex(struct lab_line *line, uint64_t value)
{
	lab_line_str(line, "0x");
	line_number(line, value, 16);
}

int lab_line_put(struct lab_line *line, int fd)
{
	long ret;

	line->text[line->len++] = '\n';
	ret = lab_sys6(SYS_write, fd, (long)line->text, (long)line->len, 0, 0, 0);
	return ret < 0 ? (int)ret : 0;
}

int lab_line_flush(struct lab_line *line, int fd)
{
	unsigned int at = 0;
	long ret;

	while (at < line->len) {
		ret = lab_sys6(SYS_write, fd, (long)(line->text + at), (long)(line->len - at), 0, 0,
			       0);
		if (ret < 0 && ret != -EINTR)
			return (int)ret;
		at += ret > 0 ? (unsigned int)ret : 0;
	}
	line->len = 0;
	return 0;
}

long lab_getpid(void)
{
	return lab_sys6(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

void lab_line_start(struct lab_line *line)
{
	line->len = 0;
}

void lab_line_start_bug(struct lab_line *line)
{
	line->len = 0;
	lab_line_str(line, "labyrinth[");
	lab_line_dec(line, (uint64_t)lab_getpid());
	lab_line_str(line, "]: BUG: ");
}

_Noreturn void lab_die(void)
{
	long pid = lab_getpid();
	long tid = lab_sys6(SYS_gettid, 0, 0, 0, 0, 0, 0);
	/* the kernel's sigaction: handler, flags, restorer, mask */
	unsigned long dfl[4] = { 0, 0, 0, 0 };
	unsigned long only_abrt = 1ul << (SIGABRT - 1);

	/* first as raise(): the program's own SIGABRT handler may want a say */
	lab_sys6(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&only_abrt, 0, 8, 0, 0);
	lab_sys6(SYS_tgkill, pid, tid, SIGABRT, 0, 0, 0);
	lab_sys6(SYS_rt_sigaction, SIGABRT, (long)dfl, 0, 8, 0, 0);
	lab_sys6(SYS_tgkill, pid, tid, SIGABRT, 0, 0, 0);
	for (;;)
		__builtin_trap();
}

_Noreturn void lab_bug(const char *what)
{
	struct lab_line line;

	lab_line_start_bug(&line);
	lab_line_str(&line, what);
	(void)lab_line_put(&line, 2);
	lab_die();
}

/* SPDX-License-Identifier: MIT */
/* Messages by write(2), from any context, and the end of the process. */
#ifndef LAB_BASE_FAIL_H
#define LAB_BASE_FAIL_H

#include "base/compiler.h"

/* One line under construction; it is cut, never overrun. */
struct lab_line {
	unsigned int len;
	char text[236];
};

/**
 * lab_line_str(), lab_line_dec(), lab_line_hex() - append to a line
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 * Errno:   preserved.
 */
void lab_line_str(struct lab_line *line, const char *str);
void lab_line_dec(struct lab_line *line, uint64_t value);
void lab_line_hex(struct lab_line *line, uint64_t value);

/**
 * lab_line_put() - write the line and a newline to a descriptor
 *
 * Context: MT-Safe, AS-Safe.  write(2).
 * Errno:   preserved.
 * Return:  0 or -errno.
 */
int lab_line_put(struct lab_line *line, int fd);

/**
 * lab_line_flush() - write what is there, without a newline; the line is empty then
 *
 * Short writes are continued, and those that a signal interrupts.  As lab_line_put().
 */
int lab_line_flush(struct lab_line *line, int fd);

/** lab_getpid() - the process, asked anew each time: it may have forked */
long lab_getpid(void);

/** lab_line_start() - an empty line, or one that begins "labyrinth[PID]: BUG: " */
void lab_line_start(struct lab_line *line);
void lab_line_start_bug(struct lab_line *line);

/** lab_die() - end the process by SIGABRT, as abort(3), without libc's locks */
_Noreturn void lab_die(void);

/** lab_bug() - report one line of text and die: an invariant of ours is broken */
_Noreturn void lab_bug(const char *what);

#endif /* LAB_BASE_FAIL_H */

/* SPDX-License-Identifier: MIT */
/* What the watchers know, as text.  Each: AS-Safe, no heap; 0 or -errno of write(2). */
#ifndef LAB_DIAG_DUMP_H
#define LAB_DIAG_DUMP_H

#include "base/fail.h"

/* Text on its way to a descriptor; longer lines than one struct lab_line holds. */
struct lab_dump {
	int fd;
	int err; /* of the first write that failed; then nothing more is written */
	struct lab_line line;
};

void lab_dump_start(struct lab_dump *dump, int fd);
void lab_dump_str(struct lab_dump *dump, const char *str);
void lab_dump_dec(struct lab_dump *dump, uint64_t value);
void lab_dump_hex(struct lab_dump *dump, uint64_t value);
void lab_dump_flush(struct lab_dump *dump);

/** lab_dump_pages(), lab_dump_objects() - the records of page_owner, the kernel's format */
int lab_dump_pages(int fd);
int lab_dump_objects(int fd);

/** lab_dump_heap() - figures by stack, and what is mapped where, for jeprof and pprof */
int lab_dump_heap(int fd);

/** lab_dump_collapsed() - a line for each stack that has live objects, outermost frame first */
int lab_dump_collapsed(int fd);

/** lab_dump_leaks() - the stacks with the most live bytes, by name */
int lab_dump_leaks(int fd);

#endif /* LAB_DIAG_DUMP_H */

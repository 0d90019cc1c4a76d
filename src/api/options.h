/* SPDX-License-Identifier: MIT */
/* LABYRINTH_OPTIONS=key:value,...; parsed without allocating. */
#ifndef LAB_API_OPTIONS_H
#define LAB_API_OPTIONS_H

#include "base/compiler.h"

struct lab_options {
	unsigned int reserve_pages;   /* cap of the reserve */
	unsigned int exclusive_pages; /* cap of the exclusive zone */
	bool check_free;	      /* hold every free against the live bytes: LAB_CHECK_FREE */
	bool stats;		      /* print the zones' figures at exit */
	bool deepbind;		      /* leave RTLD_DEEPBIND to dlopen() */
};

extern LAB_HIDDEN struct lab_options lab_options;

/**
 * lab_options_parse() - read one string of options
 * @text: key:value pairs (or key=value), separated by commas; NULL: none
 *
 * Keys: reserve:SIZE, exclusive:SIZE (bytes, or with k, m), check_free:0|1,
 * stats:0|1, deepbind:0|1.  What is not understood is reported on descriptor 2, by name,
 * and left out; the rest counts.
 *
 * Context: from the constructor.  write(2).
 */
void lab_options_parse(const char *text);

/** lab_options_wrong_build() - say which library has the check_free asked for */
void lab_options_wrong_build(void);

#endif /* LAB_API_OPTIONS_H */

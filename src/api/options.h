/* SPDX-License-Identifier: MIT */
/* LABYRINTH_OPTIONS=key:value,...; parsed without allocating. */
#ifndef LAB_API_OPTIONS_H
#define LAB_API_OPTIONS_H

#include "api/option_value.h"
#include "base/compiler.h"

/* a text of four numbers, see api/option_value.h */
#define LAB_OPTION_FAULT 64

/* A member for each key of api/option_keys.h. */
struct lab_options {
	unsigned int reserve;	  /* pages: cap of the reserve */
	unsigned int exclusive;	  /* pages: of the exclusive zone */
	unsigned int thp;	  /* pages: heap from which on it grows by huge pages; 0: never */
	uint64_t mmap;		  /* pages of one mmap() that may be routed; 0: none */
	uint64_t min_free_kbytes; /* 0: computed, see page/watermark.h */
	uint64_t watermark_scale_factor;
	uint64_t stall_ms;    /* how long GFP_KERNEL waits for a page */
	bool kswapd;	      /* a thread refills */
	bool psi;	      /* and listens to the system's memory pressure */
	bool atomic_handlers; /* every signal handler is an atomic section */
	bool dontdump;	      /* leave the exclusive zone out of core dumps */
	/* faults, diag/fault.h */
	char fail_page_alloc[LAB_OPTION_FAULT];
	char failslab[LAB_OPTION_FAULT];
	uint64_t fail_min_order;
	uint64_t fail_verbose;
	uint64_t fail_seed; /* 0: random */
	uint64_t fail_nth;  /* of the first thread */
	bool fail_ignore_gfp_wait;
	bool fail_task_filter;
	bool make_it_fail;  /* mark the first thread */
	bool init_on_alloc; /* diag/fill.h */
	bool init_on_free;
	bool page_poison;
	bool redzone;		 /* diag/redzone.h */
	unsigned int quarantine; /* pages: of freed objects, diag/quarantine.h */
	/* diag/sample.h, diag/owner.h */
	bool page_owner, profile, profile_leak;
	uint64_t profile_rate;	 /* bytes between two samples, on average */
	uint64_t profile_signal; /* dump at this signal; 0: none */
	char profile_dump[LAB_OPTION_TEXT];
	char histogram[LAB_OPTION_TEXT]; /* a file for labyrinth histogram; empty: none */
	bool trace;			 /* load liblabyrinth-trace.so for stack traces */
	bool check_free;       /* hold every free against the live bytes: LAB_CHECK_FREE */
	uint64_t stats;	       /* enum labyrinth_stats_format of the figures at exit; 0: none */
	uint64_t stats_signal; /* the same when this signal comes; 0: none */
	char stats_file[LAB_OPTION_TEXT]; /* where they go; empty: descriptor 2 */
	bool deepbind;			  /* leave RTLD_DEEPBIND to dlopen() */
};

extern LAB_HIDDEN struct lab_options lab_options;

/**
 * lab_options_parse() - read one string of options
 * @text: key:value pairs (or key=value), separated by commas; NULL: none
 *
 * Keys: api/option_keys.h.  What is not understood is reported on descriptor 2, by
 * name, and left out; the rest counts.
 *
 * Context: from the constructor.  write(2).
 */
void lab_options_parse(const char *text);

/** lab_options_no_histogram() - say that the file cannot be used */
void lab_options_no_histogram(const char *path);

/** lab_options_no_redzone() - say that it cannot be */
void lab_options_no_redzone(void);

/** lab_options_wrong_build() - say which library has the check_free asked for */
void lab_options_wrong_build(void);

#endif /* LAB_API_OPTIONS_H */

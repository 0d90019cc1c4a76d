/* SPDX-License-Identifier: MIT */
/*
 * The keys of LABYRINTH_OPTIONS: X(key, what it takes, kind, lowest, highest).
 * One list for the library and for the launcher, labyrinth(1).
 *
 *   pages   bytes, or with k, m, g; kept as pages
 *   number  within the bounds
 *   on      0 or 1
 *   format  of the figures; 1 is text
 *   signal  its name or number; 0: none
 *   fault   as the kernel's fail_page_alloc=, with slashes for commas
 *   text    as it is; the bounds are those of its length
 *
 * api/option_value.h reads them.
 */
#ifndef LAB_API_OPTION_KEYS_H
#define LAB_API_OPTION_KEYS_H

#define LAB_OPTION_KEYS(X)                                                                         \
	X(reserve, "SIZE", pages, 0, 1 << 18)                                                      \
	X(exclusive, "SIZE", pages, 0, 1 << 18)                                                    \
	X(thp, "SIZE", pages, 0, 1 << 28)                                                          \
	X(mmap, "PAGES", number, 0, 16)                                                            \
	X(min_free_kbytes, "KB", number, 0, 1 << 20)                                               \
	X(watermark_scale_factor, "N", number, 1, 3000)                                            \
	X(stall_ms, "MS", number, 0, 1 << 30)                                                      \
	X(kswapd, "0|1", on, 0, 1)                                                                 \
	X(psi, "0|1", on, 0, 1)                                                                    \
	X(atomic_handlers, "0|1", on, 0, 1)                                                        \
	X(dontdump, "0|1", on, 0, 1)                                                               \
	X(fail_page_alloc, "INTERVAL/PROBABILITY/SPACE/TIMES", fault, 7, 63)                       \
	X(failslab, "INTERVAL/PROBABILITY/SPACE/TIMES", fault, 7, 63)                              \
	X(fail_min_order, "ORDER", number, 0, 10)                                                  \
	X(fail_ignore_gfp_wait, "0|1", on, 0, 1)                                                   \
	X(fail_task_filter, "0|1", on, 0, 1)                                                       \
	X(fail_verbose, "N", number, 0, 2)                                                         \
	X(fail_seed, "N", number, 0, (1ull << 40) - 1)                                             \
	X(fail_nth, "N", number, 0, 1 << 30)                                                       \
	X(make_it_fail, "0|1", on, 0, 1)                                                           \
	X(init_on_alloc, "0|1", on, 0, 1)                                                          \
	X(init_on_free, "0|1", on, 0, 1)                                                           \
	X(page_poison, "0|1", on, 0, 1)                                                            \
	X(quarantine, "SIZE", pages, 0, 1 << 18)                                                   \
	X(redzone, "0|1", on, 0, 1)                                                                \
	X(page_owner, "0|1", on, 0, 1)                                                             \
	X(profile, "0|1", on, 0, 1)                                                                \
	X(profile_rate, "BYTES", number, 1, 1ull << 39)                                            \
	X(profile_dump, "PREFIX", text, 1, 200)                                                    \
	X(profile_signal, "SIGNAL", signal, 0, 64)                                                 \
	X(profile_leak, "0|1", on, 0, 1)                                                           \
	X(histogram, "PATH", text, 1, 255)                                                         \
	X(trace, "0|1", on, 0, 1)                                                                  \
	X(check_free, "0|1", on, 0, 1)                                                             \
	X(stats, "0|1|text|json|prom", format, 0, 3)                                               \
	X(stats_signal, "SIGNAL", signal, 0, 64)                                                   \
	X(stats_file, "PATH", text, 1, 255)                                                        \
	X(deepbind, "0|1", on, 0, 1)

#endif /* LAB_API_OPTION_KEYS_H */

/* SPDX-License-Identifier: MIT */
/*
 * Whoever looks at every request.  Off, that costs nothing: the hot paths pass
 * gates that the first watcher closes for good, and then all goes the slow path,
 * which asks here.  Mirrors post_alloc_hook() and free_pages_prepare(),
 * mm/page_alloc.c.
 */
#ifndef LAB_DIAG_WATCH_H
#define LAB_DIAG_WATCH_H

#include "base/word.h"
#include "labyrinth_gfp.h"

/* What there is to watch with; bits of lab_watchers. */
enum lab_watcher {
	LAB_WATCH_NONE = 0,
	LAB_WATCH_FAULT = 1 << 0,      /* diag/fault.h */
	LAB_WATCH_FILL = 1 << 1,       /* diag/fill.h */
	LAB_WATCH_QUARANTINE = 1 << 2, /* diag/quarantine.h */
	LAB_WATCH_SIZES = 1 << 3,      /* diag/histogram.h */
	LAB_WATCH_REDZONE = 1 << 4,    /* diag/redzone.h */
	LAB_WATCH_OWNER = 1 << 8,      /* diag/owner.h: every page */
	LAB_WATCH_PROFILE = 1 << 9,    /* diag/sample.h: objects and pages, some of them */
};

extern LAB_HIDDEN lab_word_t lab_watchers;

/* One request, of an object or of pages. */
struct lab_request {
	size_t bytes; /* as asked for */
	labyrinth_gfp_t gfp;
	int order; /* of pages; LAB_OBJECT: an object */
};
#define LAB_OBJECT (-1)

/** lab_is_watched() - does anybody look at requests */
static LAB_ALWAYS_INLINE bool lab_is_watched(void)
{
	return LAB_UNLIKELY(lab_word_get(&lab_watchers));
}

/* Those that see what they have to by sampling: malloc()'s hot path stays open. */
#define LAB_WATCH_BY_SAMPLES ((uint64_t)(LAB_WATCH_OWNER | LAB_WATCH_PROFILE))

/** lab_is_watched_closely() - does anybody look at every object */
static LAB_ALWAYS_INLINE bool lab_is_watched_closely(void)
{
	return lab_word_get(&lab_watchers) & ~LAB_WATCH_BY_SAMPLES;
}

/** lab_is_sampled_alone() - are objects counted, and looked at by nobody else */
static LAB_ALWAYS_INLINE bool lab_is_sampled_alone(void)
{
	uint64_t on = lab_word_get(&lab_watchers);

	return LAB_UNLIKELY(on) && !(on & ~LAB_WATCH_BY_SAMPLES);
}

/** lab_is_sampled() - are objects counted; see diag/sample.h */
static LAB_ALWAYS_INLINE bool lab_is_sampled(void)
{
	return lab_word_get(&lab_watchers) & LAB_WATCH_BY_SAMPLES;
}

/**
 * lab_watch_start() - from now on @watchers look at every request, too
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call.  Requests that are under
 *          way are not seen.  Those of LAB_WATCH_BY_SAMPLES are initialised before.
 */
void lab_watch_start(uint64_t watchers);

/** lab_watch_stop() - nobody looks any more; what is closed stays closed */
void lab_watch_stop(void);

/**
 * lab_watch_refuses() - shall this request fail
 *
 * Mirrors should_failslab(), should_fail_alloc_page().
 *
 * Context: MT-Safe, AS-Safe.  No lock, no memory from any heap.
 */
bool lab_watch_refuses(const struct lab_request *request);

/** lab_watch_alloc() - @ptr is about to be handed out; context as above */
void lab_watch_alloc(void *ptr, const struct lab_request *request);

/** lab_watch_object() - the same for an object of malloc() that nobody could refuse */
void lab_watch_object(void *ptr, size_t bytes);

/**
 * lab_watch_free() - the caller gives @ptr back; it is still the caller's
 * @bytes: usable
 *
 * Context: as above.
 * Return:  the object to give back now, @ptr or one that was kept; NULL: none.
 */
void *lab_watch_free(void *ptr, size_t bytes);

/**
 * lab_watch_next() - another object to give back now; NULL: none
 * @short_of: memory is short: any that was kept
 */
void *lab_watch_next(bool short_of);

/** lab_watch_fills() - do watchers look at, or write to, pages before they are cleared */
static inline bool lab_watch_fills(void)
{
	return lab_word_get(&lab_watchers) & LAB_WATCH_FILL;
}

/** lab_watch_pad() - bytes that an object shall have more than were asked for */
size_t lab_watch_pad(size_t bytes);

/** lab_watch_usable() - how many of an object's @bytes are the caller's */
size_t lab_watch_usable(const void *ptr, size_t bytes);

/** lab_watch_free_pages() - the same for pages, of which none is kept */
void lab_watch_free_pages(void *page, unsigned int order);

/** lab_watch_forget() - what was sampled at @ptr will be seen anew, elsewhere or of another size */
void lab_watch_forget(const void *ptr);

/** lab_watch_split() - pages that were one block are freed one by one from now on */
void lab_watch_split(void *page, unsigned int order);

#endif /* LAB_DIAG_WATCH_H */

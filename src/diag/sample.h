/* SPDX-License-Identifier: MIT */
/*
 * Sampling by bytes: a Poisson process, so an object of s bytes is sampled with
 * probability 1 - exp(-s / rate), whoever asks for it, and the figures can be
 * scaled back.
 *
 * malloc()'s hot path is not touched, and yet each object is counted: while
 * somebody samples its gate is closed, not free()'s, and the slow path begins with
 * lab_pcp_try_pop_metered(), which pops from the stack of the class and counts.  A
 * sampled object has another live byte, so that its free goes the slow way, and no
 * other's.
 */
#ifndef LAB_DIAG_SAMPLE_H
#define LAB_DIAG_SAMPLE_H

#include "diag/watch.h"

/**
 * lab_sample_start() - objects are sampled as soon as lab_watch_start() has been called
 * @rate: bytes, 1 .. 2^40; 1: each and every one
 *
 * Context: MT-Safe, AS-Safe.  There is no way back; the first rate stays.
 */
void lab_sample_start(uint64_t rate);

/** lab_sample_rate() - 0: not started */
uint64_t lab_sample_rate(void);

/**
 * lab_sample_alloc() - count @ptr, and record it if it is due
 * @ptr: about to be handed out, marked live
 *
 * With page_owner pages are recorded in any case.  Mirrors __set_page_owner().
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  Page faults; system calls where code is
 *          met for the first time.
 */
void lab_sample_alloc(void *ptr, const struct lab_request *request, bool owner);

/**
 * lab_sample_scale() - how many objects stand behind those that were sampled
 *
 * Return: what the figures of a stack are to be multiplied by.
 */
double lab_sample_scale(uint64_t n, uint64_t bytes);

#endif /* LAB_DIAG_SAMPLE_H */

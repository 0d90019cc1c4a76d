/* SPDX-License-Identifier: MIT */
/* A thread of our own, signals, sleeping and waking; and the system's memory pressure. */
#ifndef LAB_OS_THREAD_H
#define LAB_OS_THREAD_H

#include "base/word.h"

/**
 * lab_os_block_signals() - block all but those that an instruction raises itself
 *
 * SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP and SIGSYS stay as they are: blocked,
 * they would end the process.
 *
 * Return: what lab_os_restore_signals() needs.
 */
uint64_t lab_os_block_signals(void);
void lab_os_restore_signals(uint64_t mask);

/** lab_os_signals_blocked() - the calling thread's mask: bit n - 1 is signal n */
uint64_t lab_os_signals_blocked(void);

/** lab_os_on_signal() - let @handler handle a signal from now on
 *
 * Interrupted system calls go on.  On the alternate stack, where the thread has one,
 * and with all signals blocked.  A program that wants the signal takes it later; of
 * two copies of the library the preloaded one starts last, and is the one at work.
 *
 * Context: at start-up: sigaction(2).  Return: 0 or -errno.
 */
int lab_os_on_signal(int signo, void (*handler)(int signo));

/** lab_os_nap() - sleep for @ms milliseconds, or until a handler has run; no cancellation point */
void lab_os_nap(unsigned int ms);

/**
 * lab_os_futex_wait() - sleep while the lower half of *word holds @value
 *
 * At most @ms milliseconds.  May return early.
 */
void lab_os_futex_wait(lab_word_t *word, uint32_t value, unsigned int ms);

/** lab_os_futex_wake() - wake one that sleeps there */
void lab_os_futex_wake(lab_word_t *word);

/**
 * lab_os_thread_start() - start a detached thread with all signals blocked
 * @run:  its body; returns when the thread shall end
 * @name: up to 15 characters
 *
 * All but libc's own two signals, by which it changes the user of all threads.
 * The stack has LAB_OS_THREAD_STACK bytes beside what libc needs there.
 *
 * Context: MT-Safe, AS-Unsafe: takes libc's locks.  Calls malloc().
 * Return:  0 or -errno.
 */
#define LAB_OS_THREAD_STACK (64u << 10)
LAB_NODISCARD int lab_os_thread_start(void (*run)(void), const char *name);

/**
 * lab_os_is_last_thread() - has every thread ended but the calling one
 *
 * A main thread that has left by pthread_exit() does not count.  False if it
 * cannot be known.  Reads /proc/self/stat once the main thread is gone, not before.
 */
bool lab_os_is_last_thread(void);

/**
 * lab_os_psi_open() - ask to be told of memory pressure: 150 ms of stall in 2 s
 *
 * Opens a descriptor above 99 where it can, closed on exec.  Closes the one that a
 * parent process had opened, if it still is that.
 *
 * Return: 0 or -errno.
 */
LAB_NODISCARD int lab_os_psi_open(void);

/** lab_os_psi_poll() - has there been pressure since the last call; does not sleep */
bool lab_os_psi_poll(void);

#endif /* LAB_OS_THREAD_H */

/* SPDX-License-Identifier: MIT */
#ifndef SHIM_SUPPORT_XTHREAD_H
#define SHIM_SUPPORT_XTHREAD_H

#include <pthread.h>
#include <signal.h>
#include <support/support.h>

#define SHIM_PTHREAD(call)                                                                         \
	do {                                                                                       \
		int shim_err = (call);                                                             \
		if (shim_err)                                                                      \
			FAIL_EXIT1("%s: %s", #call, strerror(shim_err));                           \
	} while (0)

SHIM_CALL pthread_t xpthread_create(pthread_attr_t *attr, void *(*body)(void *), void *closure)
{
	pthread_t thread;

	SHIM_PTHREAD(pthread_create(&thread, attr, body, closure));
	return thread;
}

SHIM_CALL void *xpthread_join(pthread_t thread)
{
	void *result;

	SHIM_PTHREAD(pthread_join(thread, &result));
	return result;
}

SHIM_CALL void xpthread_kill(pthread_t thread, int signo)
{
	SHIM_PTHREAD(pthread_kill(thread, signo));
}

SHIM_CALL void xpthread_barrier_init(pthread_barrier_t *barrier, pthread_barrierattr_t *attr,
				     unsigned int count)
{
	SHIM_PTHREAD(pthread_barrier_init(barrier, attr, count));
}

SHIM_CALL void xpthread_barrier_destroy(pthread_barrier_t *barrier)
{
	SHIM_PTHREAD(pthread_barrier_destroy(barrier));
}

SHIM_CALL int xpthread_barrier_wait(pthread_barrier_t *barrier)
{
	int err = pthread_barrier_wait(barrier);

	if (err && err != PTHREAD_BARRIER_SERIAL_THREAD)
		FAIL_EXIT1("pthread_barrier_wait: %s", strerror(err));
	return err == PTHREAD_BARRIER_SERIAL_THREAD;
}

SHIM_CALL void xpthread_barrierattr_init(pthread_barrierattr_t *attr)
{
	SHIM_PTHREAD(pthread_barrierattr_init(attr));
}

SHIM_CALL void xpthread_barrierattr_destroy(pthread_barrierattr_t *attr)
{
	SHIM_PTHREAD(pthread_barrierattr_destroy(attr));
}

SHIM_CALL void xpthread_barrierattr_setpshared(pthread_barrierattr_t *attr, int shared)
{
	SHIM_PTHREAD(pthread_barrierattr_setpshared(attr, shared));
}

#endif

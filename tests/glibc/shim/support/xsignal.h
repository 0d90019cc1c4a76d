/* SPDX-License-Identifier: MIT */
#ifndef SHIM_SUPPORT_XSIGNAL_H
#define SHIM_SUPPORT_XSIGNAL_H

#include <signal.h>
#include <support/support.h>

SHIM_CALL void xsignal(int signo, void (*handler)(int))
{
	if (signal(signo, handler) == SIG_ERR)
		FAIL_EXIT1("signal(%d): %m", signo);
}

#endif

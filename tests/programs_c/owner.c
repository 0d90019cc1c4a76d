/* SPDX-License-Identifier: MIT */
/*
 * Pages by every call, held by functions whose names tell the order; then the
 * records of page_owner in the file that is named.
 *
 * usage: owner FILE
 */
#include <labyrinth.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone)) static

static void *held[256];
static size_t n;
static int fd, status;

static void hold(void *pages)
{
	if (!pages)
		abort();
	held[n++] = pages;
}

OWN void owner_order_0(void)
{
	for (int i = 0; i < 5; i++)
		hold(labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC));
}

OWN void owner_order_3(void)
{
	for (int i = 0; i < 3; i++)
		hold(labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 3));
}

OWN void owner_exclusive(void)
{
	hold(labyrinth_void_alloc_page_gfp_atomic_exclusive());
	hold(labyrinth_void_alloc_page_gfp_atomic_exclusive());
}

OWN void owner_bulk(void)
{
	if (labyrinth_alloc_pages_bulk(LABYRINTH_GFP_KERNEL, 4, held + n) != 4)
		abort();
	n += 4;
}

OWN void owner_exact(void)
{
	hold(labyrinth_alloc_pages_exact(3 * 4096, LABYRINTH_GFP_KERNEL));
}

OWN void freed_again(void)
{
	for (int i = 0; i < 20; i++)
		labyrinth_free_page(labyrinth_alloc_page(LABYRINTH_GFP_KERNEL));
}

static void on_signal(int signo)
{
	(void)signo;
	status = labyrinth_page_owner_dump(fd);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	/* a name that a careless expression takes apart */
	prctl(PR_SET_NAME, "ow) ner, ts 1");
	owner_order_0();
	owner_order_3();
	owner_exclusive();
	owner_bulk();
	owner_exact();
	freed_again();
	fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || signal(SIGUSR1, on_signal) == SIG_ERR || raise(SIGUSR1))
		return 2;
	printf("tgid %d status %d\n", (int)getpid(), status);
	return status != 0;
}

// SPDX-License-Identifier: MIT
/*
 * malloc() in a signal handler, while main() is in malloc() itself.
 *
 * A timer fires 10,000 times a second.  Its handler allocates a message, puts
 * it where main() finds it, and frees the message that main() had left there;
 * main() does the same, and builds and drops lists in between.  No signal is
 * ever blocked.  C and POSIX forbid such a handler: on most allocators it hangs
 * or corrupts the heap within milliseconds.  On Labyrinth it is correct.
 *
 *   usage: handler_malloc [seconds]       (5)
 *   build: gcc -O2 -o handler_malloc handler_malloc.c
 *   run:   LD_PRELOAD=liblabyrinth-preload.so ./handler_malloc
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NR_MAILBOXES 64u
#define NR_NODES     100u
#define PERIOD_US    100

/* What handler and main() send one another; the text says who allocated it. */
struct message {
	size_t size;
	unsigned char author;
	unsigned char text[];
};

struct node {
	struct node *next;
	char payload[40];
};

static _Atomic(struct message *) mailboxes[NR_MAILBOXES];
static volatile sig_atomic_t handler_runs;
static _Atomic unsigned long handler_mallocs;

/* printf() is not for handlers, and says nothing that write(2) could not. */
static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		_exit(1);
}

static void say_number(unsigned long number)
{
	char digits[24];
	char *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	say(at);
}

static struct message *compose(unsigned char author, size_t size)
{
	struct message *message = malloc(sizeof(*message) + size);

	if (!message) {
		say("out of memory\n");
		_exit(1);
	}
	message->size = size;
	message->author = author;
	memset(message->text, author, size);
	return message;
}

/* Two owners of one block would find the other's writing here. */
static void read_and_free(struct message *message)
{
	if (!message)
		return;
	for (size_t i = 0; i < message->size; i++) {
		if (message->text[i] != message->author) {
			say("corrupted: a message was overwritten\n");
			_exit(1);
		}
	}
	free(message);
}

/* Leave a new message and take the one that was there, whoever left it. */
static void exchange(unsigned char author, unsigned int random)
{
	struct message *mine = compose(author, random >> 8 & 2047);

	read_and_free(atomic_exchange(&mailboxes[random % NR_MAILBOXES], mine));
}

static void on_timer(int sig)
{
	static unsigned int random = 1;
	int saved = errno;

	(void)sig;
	random = random * 1664525u + 1013904223u;
	exchange('h', random >> 8);
	handler_mallocs++;
	handler_runs++;
	errno = saved;
}

/* A little of what programs do: a list is built, and freed from the other end. */
static void build_and_drop_list(void)
{
	struct node *list = NULL, *next;

	for (unsigned int i = 0; i < NR_NODES; i++) {
		next = malloc(sizeof(*next));
		if (!next)
			_exit(1);
		next->next = list;
		list = next;
	}
	for (; list; list = next) {
		next = list->next;
		free(list);
	}
}

static void progress(unsigned long second, unsigned long rounds)
{
	say("second ");
	say_number(second);
	say(": ");
	say_number(rounds);
	say(" rounds of main, ");
	say_number((unsigned long)handler_runs);
	say(" handler runs\n");
}

int main(int argc, char **argv)
{
	const struct itimerval on = { { 0, PERIOD_US }, { 0, PERIOD_US } };
	const struct itimerval off = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	unsigned long rounds = 0, second = 0;
	unsigned long end = argc > 1 ? strtoul(argv[1], NULL, 10) : 5;
	struct timespec start, now;
	unsigned int random = 7;

	clock_gettime(CLOCK_MONOTONIC, &start);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &on, NULL);
	while (second < end) {
		build_and_drop_list();
		random = random * 1664525u + 1013904223u;
		exchange('m', random >> 8);
		rounds++;
		clock_gettime(CLOCK_MONOTONIC, &now);
		now.tv_sec -= now.tv_nsec < start.tv_nsec;
		if ((unsigned long)(now.tv_sec - start.tv_sec) > second)
			progress(++second, rounds);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	for (unsigned int i = 0; i < NR_MAILBOXES; i++)
		read_and_free(atomic_exchange(&mailboxes[i], NULL));
	say("survived ");
	say_number((unsigned long)handler_runs);
	say(" handler runs, ");
	say_number(handler_mallocs);
	say(" mallocs in handlers\n");
	return 0;
}

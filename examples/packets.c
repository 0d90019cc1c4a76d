// SPDX-License-Identifier: MIT
/*
 * Packets received in a SIGIO handler, into exclusive pages.
 *
 * See packets.md.
 *
 *   build: gcc -O2 -o packets packets.c -llabyrinth
 *   run:   LABYRINTH_OPTIONS=exclusive:1m ./packets [packets]     (20000)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <labyrinth.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 16, WINDOW = 64, NR_SLOTS = 256, BYTES = 1400 };

/* no report when there is none: that is foreseen here */
#define EXCLUSIVE (LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE | LABYRINTH___GFP_NOWARN)

struct packet {
	uint32_t number;
	uint8_t text[BYTES - sizeof(uint32_t)];
};

static int sock = -1;

/* Pages with a packet each, from the handler to main(): one writer, one reader. */
static void *slot[NR_SLOTS];
static _Atomic unsigned int head, tail;
static _Atomic unsigned long signals, waits;

/* up to @n exclusive pages; one is a few instructions, from this CPU's stack */
static unsigned int take_pages(unsigned int n, void **page)
{
	unsigned int got = 0;

	while (got < n && (page[got] = labyrinth_alloc_page(EXCLUSIVE)))
		got++;
	return got;
}

static unsigned int room(void)
{
	return NR_SLOTS - (atomic_load(&head) - atomic_load(&tail));
}

/* what has come, 16 packets by one system call, into pages that nobody else has */
static void on_packets(int signo)
{
	int saved = errno, n;

	(void)signo;
	atomic_fetch_add(&signals, 1);
	do {
		struct mmsghdr message[BATCH] = { 0 };
		struct iovec part[BATCH];
		void *page[BATCH] = { NULL };
		unsigned int got = room() < BATCH ? 0 : take_pages(BATCH, page);

		if (!got) {
			/* the packets wait in the socket; main() asks again */
			atomic_fetch_add(&waits, 1);
			break;
		}
		for (unsigned int i = 0; i < got; i++) {
			part[i] = (struct iovec){ page[i], LABYRINTH_PAGE_SIZE };
			message[i].msg_hdr.msg_iov = &part[i];
			message[i].msg_hdr.msg_iovlen = 1;
		}
		n = recvmmsg(sock, message, got, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++) {
			slot[head % NR_SLOTS] = page[i];
			page[i] = NULL;
			atomic_fetch_add(&head, 1);
		}
		labyrinth_free_pages_bulk(BATCH, page);
	} while (n > 0);
	errno = saved;
}

/* an ordinary request lets the zone grow to its cap, before it is needed */
static void fill_zone(void)
{
	void *page[96] = { NULL };

	labyrinth_alloc_pages_bulk(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE |
					   LABYRINTH___GFP_NORETRY | LABYRINTH___GFP_NOWARN,
				   96, page);
	labyrinth_free_pages_bulk(96, page);
}

static int open_socket(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	struct sigaction action = { .sa_handler = on_packets, .sa_flags = SA_RESTART };

	*address = (struct sockaddr_in){ .sin_family = AF_INET };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)address, length) ||
	    getsockname(sock, (struct sockaddr *)address, &length))
		return -1;
	sigaction(SIGIO, &action, NULL);
	if (fcntl(sock, F_SETOWN, getpid()))
		return -1;
	return fcntl(sock, F_SETFL, O_ASYNC | O_NONBLOCK);
}

/* the other side: a window of packets is under way, a byte comes back for each */
static void send_all(const struct sockaddr_in *to, int credits, uint32_t n)
{
	int out = socket(AF_INET, SOCK_DGRAM, 0);
	struct packet packet;
	char credit;

	for (uint32_t i = 0; i < n; i++) {
		if (i >= WINDOW && read(credits, &credit, 1) != 1)
			_exit(1);
		packet.number = i;
		memset(packet.text, (int)(i & 255), sizeof(packet.text));
		if (sendto(out, &packet, sizeof(packet), 0, (const struct sockaddr *)to,
			   sizeof(*to)) < 0)
			_exit(2);
	}
	_exit(0);
}

static int is_good(const struct packet *packet, uint32_t number)
{
	if (packet->number != number)
		return 0;
	for (size_t i = 0; i < sizeof(packet->text); i++)
		if (packet->text[i] != (uint8_t)number)
			return 0;
	return 1;
}

static unsigned long receive_all(int credits, uint32_t n)
{
	unsigned long bad = 0;
	uint32_t number = 0;

	while (number < n) {
		unsigned int at = atomic_load(&tail);
		void *page;

		if (at == atomic_load(&head)) {
			static unsigned long served;
			/* did the handler give up for want of pages or room? */
			if (served != atomic_load(&waits)) {
				served = atomic_load(&waits);
				raise(SIGIO);
			} else {
				nanosleep(&(struct timespec){ 0, 50000 }, NULL);
			}
			continue;
		}
		page = slot[at % NR_SLOTS];
		bad += !is_good(page, number++);
		labyrinth_free_page(page);
		atomic_store(&tail, at + 1);
		if (write(credits, "", 1) != 1)
			bad++;
	}
	return bad;
}

/* what a page costs, taken and given back: the best of ten rounds, in CPU time */
static void show_budget(void)
{
	enum { PAIRS = 100000, ROUNDS = 10 };
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		struct timespec start, end;
		double ns;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
		for (int i = 0; i < PAIRS; i++)
			labyrinth_free_page(labyrinth_alloc_page(EXCLUSIVE));
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
		ns = (double)(end.tv_sec - start.tv_sec) * 1e9 +
		     (double)(end.tv_nsec - start.tv_nsec);
		if (ns / PAIRS < best)
			best = ns / PAIRS;
	}
	printf("100 Gbit/s: a frame of 64 bytes each 6.72 ns, of 1,518 bytes each 123 ns\n"
	       "an exclusive page taken and given back: %.2f ns\n",
	       best);
}

int main(int argc, char **argv)
{
	uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000;
	struct sockaddr_in address;
	unsigned long bad;
	int credits[2], status;
	pid_t sender;

	fill_zone();
	show_budget();
	if (open_socket(&address) || pipe(credits))
		return 1;
	sender = fork();
	if (sender == 0) {
		close(credits[1]);
		send_all(&address, credits[0], n);
	}
	bad = receive_all(credits[1], n);
	waitpid(sender, &status, 0);
	printf("%u packets, %lu bad, %lu signals, %lu times no page or no room\n", n, bad,
	       (unsigned long)signals, (unsigned long)waits);
	return bad || status;
}

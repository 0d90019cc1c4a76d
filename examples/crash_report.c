// SPDX-License-Identifier: MIT
/*
 * A crash handler that writes a symbolised report, with memory that it allocates.
 *
 * See crash_report.md.
 *
 *   build: gcc -O2 -fno-omit-frame-pointer -o crash_report crash_report.c -llabyrinth
 *   run:   ./crash_report
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <labyrinth.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

enum { MAX_FRAMES = 64, MAX_PATH = 256 };

/* One mapped piece of a file, as /proc/self/maps has it. */
struct mapping {
	struct mapping *next;
	uintptr_t low, high, offset;
	char path[MAX_PATH];
};

static void say(const char *text)
{
	if (write(2, text, strlen(text)) < 0)
		_exit(1);
}

static void say_hex(uintptr_t number)
{
	char digits[2 * sizeof(number) + 1], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = "0123456789abcdef"[number % 16];
	while (number /= 16);
	say("0x");
	say(at);
}

/* ---- all of a file in memory of ours: it grows as it is read ---- */

static char *read_file(const char *path)
{
	size_t size = 0, room = 4 * LABYRINTH_PAGE_SIZE;
	char *text = labyrinth_malloc(room, LABYRINTH_GFP_ATOMIC), *more;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (text && fd >= 0 && (n = read(fd, text + size, room - size - 1)) > 0) {
		size += (size_t)n;
		if (size + 1 < room)
			continue;
		more = labyrinth_malloc(2 * room, LABYRINTH_GFP_ATOMIC);
		if (!more)
			break;
		memcpy(more, text, size);
		labyrinth_free(text);
		text = more;
		room *= 2;
	}
	if (text)
		text[size] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static uintptr_t hex(const char **at)
{
	uintptr_t number = 0;

	for (; (**at >= '0' && **at <= '9') || (**at >= 'a' && **at <= 'f'); ++*at)
		number = number * 16 + (uintptr_t)(**at <= '9' ? **at - '0' : **at - 'a' + 10);
	return number;
}

/* "low-high perm offset dev inode   path" */
static struct mapping *parse_mapping(const char *line, size_t length)
{
	struct mapping *map =
		labyrinth_malloc(sizeof(*map), LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_ZERO);
	const char *path = memchr(line, '/', length);

	if (!map)
		return NULL;
	map->low = hex(&line);
	line++;
	map->high = hex(&line);
	line += strlen(" r-xp ");
	map->offset = hex(&line);
	if (path)
		memcpy(map->path, path, strcspn(path, "\n") % MAX_PATH);
	return map;
}

static struct mapping *read_mappings(void)
{
	struct mapping *list = NULL, *map;
	char *text = read_file("/proc/self/maps"), *line = text, *end;

	for (; line && (end = strchr(line, '\n')); line = end + 1) {
		map = parse_mapping(line, (size_t)(end - line));
		if (!map)
			break;
		map->next = list;
		list = map;
	}
	labyrinth_free(text);
	return list;
}

/* ---- symbols ---- */

/* the function of the file that @address (as the file counts) is in */
static const char *find_symbol(const char *elf, uintptr_t address, uintptr_t *start)
{
	const Elf64_Ehdr *head = (const void *)elf;
	const Elf64_Shdr *section = (const void *)(elf + head->e_shoff);
	const char *name = NULL;

	for (int i = 0; i < head->e_shnum; i++) {
		const Elf64_Sym *symbol = (const void *)(elf + section[i].sh_offset);
		const char *names;

		if (section[i].sh_type != SHT_SYMTAB && section[i].sh_type != SHT_DYNSYM)
			continue;
		names = elf + section[section[i].sh_link].sh_offset;
		for (size_t n = section[i].sh_size / sizeof(*symbol); n--; symbol++) {
			if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC ||
			    address - symbol->st_value >= symbol->st_size)
				continue;
			name = names + symbol->st_name;
			*start = symbol->st_value;
		}
	}
	return name;
}

/* where in the file's own counting the byte at @offset is */
static uintptr_t file_address(const char *elf, uintptr_t offset)
{
	const Elf64_Ehdr *head = (const void *)elf;
	const Elf64_Phdr *load = (const void *)(elf + head->e_phoff);

	for (int i = 0; i < head->e_phnum; i++)
		if (load[i].p_type == PT_LOAD && offset - load[i].p_offset < load[i].p_filesz)
			return offset - load[i].p_offset + load[i].p_vaddr;
	return offset;
}

static void say_place(const struct mapping *map, uintptr_t pc)
{
	int fd = open(map->path, O_RDONLY | O_CLOEXEC);
	uintptr_t start = 0, address;
	const char *elf, *name;
	struct stat file;

	if (fd < 0 || fstat(fd, &file))
		return;
	elf = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (elf == MAP_FAILED)
		return;
	if (memcmp(elf, ELFMAG, SELFMAG) == 0 && elf[EI_CLASS] == ELFCLASS64) {
		address = file_address(elf, pc - map->low + map->offset);
		name = find_symbol(elf, address, &start);
		say(" in ");
		say(name ? name : "?");
		if (name) {
			say("+");
			say_hex(address - start);
		}
	}
	munmap((void *)elf, (size_t)file.st_size);
	say(" (");
	say(map->path);
	say(")");
}

static void say_frame(const struct mapping *list, uintptr_t pc, int number)
{
	/* a return address is behind the call: the byte before it is in the caller */
	uintptr_t inside = pc - (number > 0);

	say("  ");
	say_hex(pc);
	for (; list; list = list->next)
		if (inside >= list->low && inside < list->high && list->path[0])
			say_place(list, inside);
	say("\n");
}

/* two words at @address, if they can be read: the kernel looks, not we */
static int peek(uintptr_t address, uintptr_t out[2])
{
	struct iovec to = { out, 2 * sizeof(*out) }, from = { (void *)address, 2 * sizeof(*out) };

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)to.iov_len;
}

static void on_crash(int signo, siginfo_t *info, void *context)
{
	const mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
	uintptr_t frame[2] = { (uintptr_t)machine->gregs[REG_RBP],
			       (uintptr_t)machine->gregs[REG_RIP] };
	struct mapping *list = read_mappings();

	say("crash: signal ");
	say(signo == SIGSEGV ? "SIGSEGV" : "SIGABRT");
	say(", address ");
	say_hex((uintptr_t)info->si_addr);
	say(list ? "\n" : ", no memory for symbols\n");
	for (int i = 0; i < MAX_FRAMES && frame[1]; i++) {
		uintptr_t here = frame[0];

		say_frame(list, frame[1], i);
		if (!here || !peek(here, frame) || frame[0] <= here)
			break;
	}
	say("end of report\n");
	/* the default action comes when we return: SA_RESETHAND */
}

/* ---- a program with a bug ---- */

static int *volatile nowhere;

__attribute__((noipa)) static int parse_record(const char *record)
{
	char *copy = labyrinth_malloc(100, LABYRINTH_GFP_KERNEL);
	int sum;

	memcpy(copy, record, 100);
	sum = *nowhere + copy[0];
	labyrinth_free(copy);
	return sum;
}

__attribute__((noipa)) static int load_records(void)
{
	int sum = 0;

	/* the heap is in use: no handler on another malloc could count on it */
	for (int i = 0; i < 1000; i++) {
		char *record = labyrinth_malloc(100, LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_ZERO);

		if (!record)
			return 1;
		if (i == 999)
			sum += parse_record(record);
		labyrinth_free(record);
	}
	return sum;
}

int main(void)
{
	/* a stack that is there even when the program's own has overflowed */
	stack_t stack = { .ss_sp = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 3),
			  .ss_size = 8 * LABYRINTH_PAGE_SIZE };
	struct sigaction action = { .sa_sigaction = on_crash,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };

	if (!stack.ss_sp || sigaltstack(&stack, NULL))
		return 1;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
	return load_records() ? 1 : 0;
}

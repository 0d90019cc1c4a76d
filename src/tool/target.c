/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tool/target.h"
#include "tool/tool.h"

enum { NOTES_MAX = 1 << 16, PHDRS_MAX = 64 };

bool target_read(const struct target *target, const void *at, void *to, size_t n)
{
	struct iovec local = { to, n };
	struct iovec remote = { (void *)(uintptr_t)at, n };

	return process_vm_readv(target->pid, &local, 1, &remote, 1, 0) == (ssize_t)n;
}

/* ---- /proc ---- */

static FILE *open_proc(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return fopen(path, "re");
}

char target_state(pid_t pid, unsigned long long *start_ticks)
{
	FILE *f = open_proc(pid, "stat");
	char line[1024], state = 0;
	const char *at;

	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) && (at = strrchr(line, ')')) && at[1] == ' ') {
		state = at[2];
		/* field 22, and what follows the name is field 3 */
		if (start_ticks)
			sscanf(at + 2,
			       "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
			       "%*d %*d %*d %*d %*d %llu",
			       start_ticks);
	}
	fclose(f);
	return state;
}

unsigned long target_rss_kb(pid_t pid)
{
	FILE *f = open_proc(pid, "statm");
	unsigned long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * ((unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

static void read_comm(struct target *target)
{
	FILE *f = open_proc(target->pid, "comm");

	strcpy(target->comm, "?");
	if (!f)
		return;
	if (fgets(target->comm, sizeof(target->comm), f))
		target->comm[strcspn(target->comm, "\n")] = '\0';
	fclose(f);
}

/* ---- the note ---- */

static size_t round4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* address of the export by the notes of a segment at @at; 0: not among them */
static uintptr_t find_note(const struct target *target, uintptr_t at, size_t size)
{
	uintptr_t found = 0;
	size_t pos = 0;
	char *notes;

	if (size > NOTES_MAX)
		return 0;
	notes = malloc(size);
	if (!notes || !target_read(target, (void *)at, notes, size))
		size = 0;
	while (!found && pos + sizeof(Elf64_Nhdr) <= size) {
		Elf64_Nhdr note;
		size_t name, desc;
		int64_t distance;

		memcpy(&note, notes + pos, sizeof(note));
		name = pos + sizeof(note);
		desc = name + round4(note.n_namesz);
		pos = desc + round4(note.n_descsz);
		if (pos > size || note.n_type != LAB_EXPORT_NOTE || note.n_descsz != 8 ||
		    note.n_namesz != sizeof("Labyrinth") ||
		    memcmp(notes + name, "Labyrinth", sizeof("Labyrinth")) != 0)
			continue;
		memcpy(&distance, notes + desc, sizeof(distance));
		found = at + desc + (uintptr_t)distance;
	}
	free(notes);
	return found;
}

/* the same of the object whose file is mapped at @base from its start */
static uintptr_t find_export(const struct target *target, uintptr_t base)
{
	Elf64_Phdr phdr[PHDRS_MAX];
	uintptr_t bias = base, found = 0;
	Elf64_Ehdr head;
	unsigned int i;

	if (!target_read(target, (void *)base, &head, sizeof(head)) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phentsize != sizeof(*phdr) || head.e_phnum > PHDRS_MAX ||
	    !target_read(target, (void *)(base + head.e_phoff), phdr, head.e_phnum * sizeof(*phdr)))
		return 0;
	for (i = 0; i < head.e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && phdr[i].p_filesz && phdr[i].p_offset == 0)
			bias = base - phdr[i].p_vaddr;
	for (i = 0; !found && i < head.e_phnum; i++)
		if (phdr[i].p_type == PT_NOTE)
			found = find_note(target, bias + phdr[i].p_vaddr, phdr[i].p_memsz);
	return found;
}

/* pages ever taken, by which the copy at work is told from one that is hidden by it */
static uint64_t taken(const struct target *target, const struct lab_export *head)
{
	uint64_t sum = 0, word;
	unsigned int i;

	for (i = 0; i < head->zones.n; i++)
		if (target_read(target, head->zones.at + i * head->zones.stride + head->zone.taken,
				&word, sizeof(word)))
			sum += word;
	return sum;
}

struct search {
	unsigned int objects; /* ELF files whose header could be read */
	unsigned int libraries, started;
	bool denied;
	bool named; /* a file was called liblabyrinth */
	uint32_t version;
	uint64_t taken;
};

static void look_at(struct target *target, struct search *search, uintptr_t base, const char *path)
{
	uintptr_t at = find_export(target, base);
	struct lab_export head;
	uint64_t n;

	if (!at)
		return;
	search->libraries++;
	if (!target_read(target, (void *)at, &head, sizeof(head)) ||
	    memcmp(head.magic, LAB_EXPORT_MAGIC, sizeof(head.magic)) != 0)
		return;
	search->version = head.version;
	if (head.version != LAB_EXPORT_VERSION || head.bytes < sizeof(head))
		return;
	n = taken(target, &head);
	if (search->started++ && n <= search->taken)
		return;
	search->taken = n;
	target->head = head;
	target->head.release[sizeof(head.release) - 1] = '\0';
	snprintf(target->object, sizeof(target->object), "%s", path);
}

/* every file that is mapped from its start on */
static int look_around(struct target *target, struct search *search)
{
	FILE *f = open_proc(target->pid, "maps");
	char *line = NULL;
	size_t size = 0;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		unsigned long from, offset, inode;
		char perms[5], byte;
		int path = 0;

		if (sscanf(line, "%lx-%*x %4s %lx %*s %lu %n", &from, perms, &offset, &inode,
			   &path) < 4 ||
		    !path || perms[0] != 'r' || offset || !inode)
			continue;
		line[strcspn(line, "\n")] = '\0';
		search->named |= strstr(line + path, "/liblabyrinth") != NULL;
		if (!target_read(target, (void *)from, &byte, 1)) {
			search->denied |= errno == EPERM;
			continue;
		}
		search->objects++;
		look_at(target, search, from, line + path);
	}
	free(line);
	fclose(f);
	return 0;
}

/* ---- opening ---- */

static int refuse(bool quiet, int code, const char *message, const struct target *target,
		  const char *detail)
{
	return quiet ? code : tool_die(code, message, (int)target->pid, detail);
}

static int not_ours(const struct target *target, bool quiet)
{
	char path[32], who[96] = "its memory may not be read";
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", (int)target->pid);
	if (stat(path, &st) == 0 && st.st_uid != geteuid())
		snprintf(who, sizeof(who), "it belongs to user %u", (unsigned int)st.st_uid);
	return refuse(quiet, TOOL_NOT_OURS,
		      "process %d may not be read: %s; run as that user, or as root", target, who);
}

static int no_library(const struct target *target, const struct search *search, bool quiet)
{
	char version[64];

	if (search->started)
		return TOOL_OK;
	if (search->version) {
		snprintf(version, sizeof(version), "%u, and this program reads %u", search->version,
			 LAB_EXPORT_VERSION);
		return refuse(quiet, TOOL_NO_LIBRARY,
			      "process %d has a Labyrinth whose figures are of version %s; use the "
			      "labyrinth of its release",
			      target, version);
	}
	if (search->libraries)
		return refuse(quiet, TOOL_NO_LIBRARY,
			      "process %d (%s) has not started its Labyrinth yet; try again",
			      target, target->comm);
	if (search->named)
		return refuse(
			quiet, TOOL_NO_LIBRARY,
			"process %d (%s) has a Labyrinth that shows no figures: an older one, "
			"or its notes were removed",
			target, target->comm);
	return refuse(quiet, TOOL_NO_LIBRARY,
		      "process %d (%s) does not contain Labyrinth; start it by labyrinth run, or "
		      "link it with -llabyrinth (a static program takes no LD_PRELOAD)",
		      target, target->comm);
}

int target_gone(const struct target *target)
{
	char state = target_state(target->pid, NULL);

	if (state && state != 'Z' && state != 'X')
		return not_ours(target, false);
	return tool_die(TOOL_NO_PROCESS, "process %d (%s) has ended", (int)target->pid,
			target->comm);
}

int target_open(struct target *target, const char *pid, bool quiet)
{
	struct search search = { 0 };
	char *end, state;
	long number;
	int err;

	memset(target, 0, sizeof(*target));
	errno = 0;
	number = strtol(pid, &end, 10);
	if (errno || *end || end == pid || number <= 0 || number > 1 << 30)
		return quiet ? TOOL_USAGE
			     : tool_die(TOOL_USAGE, "not the number of a process: %s", pid);
	target->pid = (pid_t)number;
	state = target_state(target->pid, NULL);
	if (!state)
		return refuse(quiet, TOOL_NO_PROCESS,
			      "there is no process %d%s; labyrinth list shows those with Labyrinth",
			      target, "");
	read_comm(target);
	if (state == 'Z' || state == 'X')
		return refuse(quiet, TOOL_NO_PROCESS,
			      "process %d (%s) has ended, and its parent has not asked for it yet",
			      target, target->comm);
	err = look_around(target, &search);
	if (err == -ENOENT || err == -ESRCH)
		return quiet ? TOOL_NO_PROCESS : target_gone(target);
	if (err == -EACCES || err == -EPERM || (!search.objects && search.denied))
		return not_ours(target, quiet);
	return no_library(target, &search, quiet);
}

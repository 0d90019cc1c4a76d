/* SPDX-License-Identifier: MIT */
/*
 * Loaded objects and their symbols.  _dl_find_object() takes no lock, unlike
 * dl_iterate_phdr() and dladdr(): a thread that is frozen in dlopen() does not
 * stop a report.  Files are read by plain system calls: libc's open() and read()
 * are cancellation points, and mapping a file that is cut meanwhile is a SIGBUS.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trace/trace.h"

int object_find(uintptr_t address, struct dl_find_object *found)
{
	return _dl_find_object((void *)address, found) ? -1 : 0;
}

int object_holds(uintptr_t address, size_t bytes)
{
	struct dl_find_object found;
	const ElfW(Ehdr) * ehdr;
	const ElfW(Phdr) * phdr;
	uintptr_t start, bias;
	int i;

	if (object_find(address, &found))
		return 0;
	start = (uintptr_t)found.dlfo_map_start;
	ehdr = (const void *)start;
	/* the header is the first of what is loaded, in all objects that linkers make */
	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG) || ehdr->e_phentsize != sizeof(*phdr) ||
	    ehdr->e_phoff + ehdr->e_phnum * sizeof(*phdr) > 4096)
		return 0;
	phdr = (const void *)(start + ehdr->e_phoff);
	for (i = 0, bias = start; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD) {
			bias = start - (phdr[i].p_vaddr & ~4095ul);
			break;
		}
	for (i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && phdr[i].p_flags & PF_R &&
		    address >= bias + phdr[i].p_vaddr &&
		    address + bytes <= bias + phdr[i].p_vaddr + phdr[i].p_memsz)
			return 1;
	return 0;
}

/* ---- the file ---- */

static int file_open(const char *path)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static int file_read(int fd, void *to, size_t bytes, uint64_t at)
{
	return syscall(SYS_pread64, fd, to, bytes, at) == (long)bytes ? 0 : -1;
}

/* the function in a symbol table that @value lies in */
static int search(int fd, const Elf64_Shdr *table, uintptr_t value, Elf64_Sym *best)
{
	enum { MANY = 64 };
	static Elf64_Sym symbols[MANY];
	uint64_t done, n, i, total = table->sh_size / sizeof(*symbols);

	for (done = 0; done < total; done += n) {
		n = total - done < MANY ? total - done : MANY;
		if (file_read(fd, symbols, n * sizeof(*symbols),
			      table->sh_offset + done * sizeof(*symbols)))
			return -1;
		for (i = 0; i < n; i++) {
			int type = ELF64_ST_TYPE(symbols[i].st_info);

			if ((type != STT_FUNC && type != STT_GNU_IFUNC) ||
			    symbols[i].st_shndx == SHN_UNDEF || value < symbols[i].st_value ||
			    value - symbols[i].st_value >= symbols[i].st_size)
				continue;
			*best = symbols[i];
			return 0;
		}
	}
	return -1;
}

static int name_in_file(int fd, uintptr_t value, struct place *place)
{
	static const uint32_t types[] = { SHT_SYMTAB, SHT_DYNSYM };
	Elf64_Shdr table, strings;
	Elf64_Ehdr ehdr;
	Elf64_Sym symbol;
	unsigned int t, i;

	if (file_read(fd, &ehdr, sizeof(ehdr), 0) || memcmp(ehdr.e_ident, ELFMAG, SELFMAG) ||
	    ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_shentsize != sizeof(table))
		return -1;
	for (t = 0; t < 2; t++)
		for (i = 0; i < ehdr.e_shnum; i++) {
			if (file_read(fd, &table, sizeof(table), ehdr.e_shoff + i * sizeof(table)))
				return -1;
			if (table.sh_type != types[t] || search(fd, &table, value, &symbol))
				continue;
			if (file_read(fd, &strings, sizeof(strings),
				      ehdr.e_shoff + table.sh_link * sizeof(strings)))
				return -1;
			/* near the end of the table a whole buffer is more than there is */
			memset(place->symbol, 0, sizeof(place->symbol));
			if (syscall(SYS_pread64, fd, place->symbol, sizeof(place->symbol) - 1,
				    strings.sh_offset + symbol.st_name) <= 0)
				return -1;
			place->off = value - symbol.st_value;
			place->size = symbol.st_size;
			return 0;
		}
	return -1;
}

static void copy_base(char *to, size_t size, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n;

	path = slash ? slash + 1 : path;
	n = strlen(path);
	n = n < size ? n : size - 1;
	memcpy(to, path, n);
	to[n] = '\0';
}

void place_of(uintptr_t address, struct place *place)
{
	static const char self[] = "/proc/self/exe";
	struct dl_find_object found;
	const char *path;
	int fd;

	memset(place, 0, sizeof(*place));
	if (object_find(address, &found))
		return;
	path = found.dlfo_link_map->l_name;
	place->is_program = !path || !*path;
	place->off = address - (uintptr_t)found.dlfo_link_map->l_addr;
	copy_base(place->object, sizeof(place->object),
		  place->is_program ? program_invocation_short_name : path);
	fd = file_open(place->is_program ? self : path);
	if (fd < 0)
		return;
	if (name_in_file(fd, place->off, place))
		place->symbol[0] = '\0';
	(void)syscall(SYS_close, fd);
}

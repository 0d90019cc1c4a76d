/* SPDX-License-Identifier: MIT */
/* Records of page_owner as the kernel prints them, and the writing itself. */
#include "diag/dump.h"
#include "diag/owner.h"
#include "gfp/flags.h"
#include "gfp/warn_text.h"
#include "os/file.h"
#include "page/zone.h"

/* ---- writing ---- */

/* so many bytes are left for what is put next */
enum { ROOM = 32 };

void lab_dump_start(struct lab_dump *dump, int fd)
{
	dump->fd = fd;
	dump->err = 0;
	lab_line_start(&dump->line);
}

void lab_dump_flush(struct lab_dump *dump)
{
	size_t done = 0;
	long got;

	while (!dump->err && done < dump->line.len) {
		got = lab_os_write(dump->fd, dump->line.text + done, dump->line.len - done);
		if (got < 0)
			dump->err = (int)got;
		else
			done += (size_t)got;
	}
	lab_line_start(&dump->line);
}

static void make_room(struct lab_dump *dump)
{
	if (dump->line.len + ROOM > sizeof(dump->line.text))
		lab_dump_flush(dump);
}

void lab_dump_str(struct lab_dump *dump, const char *str)
{
	char piece[ROOM];
	unsigned int n;

	while (*str) {
		for (n = 0; n < ROOM - 1 && *str; n++)
			piece[n] = *str++;
		piece[n] = '\0';
		make_room(dump);
		lab_line_str(&dump->line, piece);
	}
}

void lab_dump_dec(struct lab_dump *dump, uint64_t value)
{
	make_room(dump);
	lab_line_dec(&dump->line, value);
}

void lab_dump_hex(struct lab_dump *dump, uint64_t value)
{
	make_room(dump);
	lab_line_hex(&dump->line, value);
}

/* ---- page_owner ---- */

/* by enum lab_zone_id: atomic requests come from what is set aside for them */
static const char *type_of(uint32_t gfp)
{
	if (gfp & LABYRINTH___GFP_MOVABLE)
		return "Movable";
	return gfp & LABYRINTH___GFP_RECLAIMABLE ? "Reclaimable" : "Unmovable";
}

static void put_frame(void *arg, const char *line)
{
	lab_dump_str(arg, line);
	lab_dump_str(arg, "\n");
}

static void put_stack(struct lab_dump *dump, lab_stack_t handle)
{
	const struct labyrinth_trace *trace = lab_warn_trace();
	const struct lab_export_stack_sums *stack = handle ? lab_depot_stack(handle) : NULL;

	if (stack && trace)
		trace->name(stack->ips, (unsigned int)stack->n, false, put_frame, dump);
}

static void put_who(struct lab_dump *dump, const struct lab_owner *owner)
{
	lab_dump_str(dump, ", mask ");
	lab_dump_flush(dump);
	lab_line_gfp(&dump->line, owner->gfp);
	lab_dump_str(dump, ", pid ");
	lab_dump_dec(dump, owner->pid);
	lab_dump_str(dump, ", tgid ");
	lab_dump_dec(dump, owner->tgid);
	lab_dump_str(dump, " (");
	lab_dump_str(dump, owner->comm);
	lab_dump_str(dump, "), ts ");
	lab_dump_dec(dump, owner->ns);
	lab_dump_str(dump, " ns\n");
}

static void put_page(const struct lab_owner *owner, void *arg)
{
	static const char *const zone_name[] = { "heap", "reserve", "exclusive" };
	lab_pfn_t pfn = lab_pfn_of((const void *)owner->address);
	enum lab_zone_id zone = lab_zone_of(pfn);
	struct lab_dump *dump = arg;

	if (owner->order == LAB_OBJECT || dump->err)
		return;
	lab_dump_str(dump, "Page allocated via order ");
	lab_dump_dec(dump, (uint64_t)owner->order);
	put_who(dump, owner);
	lab_dump_str(dump, "PFN ");
	lab_dump_hex(dump, owner->address >> LAB_PAGE_SHIFT);
	lab_dump_str(dump, " type ");
	lab_dump_str(dump, type_of(owner->gfp));
	lab_dump_str(dump, " Block ");
	lab_dump_dec(dump, owner->address >> LAB_BLOCK_SHIFT);
	lab_dump_str(dump, " type ");
	lab_dump_str(dump, type_of(owner->gfp));
	lab_dump_str(dump, " Flags ");
	lab_dump_hex(dump, zone);
	lab_dump_str(dump, "(node=0|zone=");
	lab_dump_str(dump, zone < LAB_NR_ZONES ? zone_name[zone] : "exclusive");
	lab_dump_str(dump, ")\n");
	put_stack(dump, owner->stack);
	lab_dump_str(dump, "\n");
	lab_dump_flush(dump);
}

static void put_object(const struct lab_owner *owner, void *arg)
{
	struct lab_dump *dump = arg;

	if (owner->order != LAB_OBJECT || dump->err)
		return;
	lab_dump_str(dump, "Object allocated via size ");
	lab_dump_dec(dump, owner->bytes);
	put_who(dump, owner);
	lab_dump_str(dump, "Address ");
	lab_dump_hex(dump, owner->address);
	lab_dump_str(dump, "\n");
	put_stack(dump, owner->stack);
	lab_dump_str(dump, "\n");
	lab_dump_flush(dump);
}

static int dump_each(int fd, void (*put)(const struct lab_owner *owner, void *arg))
{
	struct lab_dump dump;

	lab_dump_start(&dump, fd);
	lab_owner_each(put, &dump);
	lab_dump_flush(&dump);
	return dump.err;
}

int lab_dump_pages(int fd)
{
	return dump_each(fd, put_page);
}

int lab_dump_objects(int fd)
{
	return dump_each(fd, put_object);
}

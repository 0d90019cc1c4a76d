/* SPDX-License-Identifier: MIT */
/* The figures as lines of words, each a record by itself. */
#include "api/stats.h"
#include "base/fail.h"
#include "os/cpu.h"

static void put(struct lab_line *line, const char *name, uint64_t value)
{
	lab_line_str(line, name);
	lab_line_dec(line, value);
}

static void start(struct lab_line *line, long pid)
{
	lab_line_start(line);
	lab_line_str(line, "labyrinth stats: pid ");
	lab_line_dec(line, (uint64_t)pid);
}

static LAB_NOINLINE int put_zone(int fd, long pid, enum labyrinth_zone id)
{
	struct labyrinth_zone_info info;
	struct lab_line line;

	(void)labyrinth_zone_info(id, &info);
	start(&line, pid);
	lab_line_str(&line, " zone ");
	lab_line_str(&line, labyrinth_zone_name(id));
	put(&line, " managed ", info.managed);
	put(&line, " free ", info.free);
	if (id != LABYRINTH_ZONE_HEAP) {
		put(&line, " min ", info.min);
		put(&line, " low ", info.low);
		put(&line, " high ", info.high);
		put(&line, " locked ", info.locked);
		put(&line, " cap ", info.cap);
		put(&line, " highatomic ", info.reserved_highatomic);
		put(&line, " zeroed ", info.free_zeroed);
	}
	put(&line, " taken ", info.taken);
	put(&line, " failed ", info.failed);
	return lab_line_put(&line, fd);
}

/* what never happened is not printed */
static LAB_NOINLINE int put_event(int fd, long pid, enum labyrinth_event event)
{
	uint64_t count = labyrinth_event_count(event);
	struct lab_line line;

	if (!count)
		return 0;
	start(&line, pid);
	lab_line_str(&line, " event ");
	lab_line_str(&line, labyrinth_event_name(event));
	put(&line, " ", count);
	return lab_line_put(&line, fd);
}

static LAB_NOINLINE int put_mmap(int fd, long pid)
{
	struct labyrinth_mmap_info info;
	struct lab_line line;

	labyrinth_mmap_info(&info);
	start(&line, pid);
	put(&line, " mmap routed ", info.routed);
	put(&line, " passed ", info.passed);
	put(&line, " restored ", info.restored);
	put(&line, " lost ", info.lost);
	return lab_line_put(&line, fd);
}

/* what was never used is not printed */
static LAB_NOINLINE int put_class(int fd, long pid, const struct labyrinth_class_info *info)
{
	struct lab_line line;

	if (!info->taken)
		return 0;
	start(&line, pid);
	lab_line_str(&line, " class ");
	lab_line_str(&line, info->name);
	put(&line, " size ", info->size);
	put(&line, " slabs ", info->slabs);
	put(&line, " objects ", info->objects);
	put(&line, " active ", info->active);
	put(&line, " bytes ", info->bytes);
	put(&line, " stacked ", info->stacked);
	put(&line, " taken ", info->taken);
	put(&line, " given ", info->given);
	return lab_line_put(&line, fd);
}

static LAB_NOINLINE int put_classes(int fd, long pid)
{
	struct labyrinth_class_info info;
	unsigned int index;
	int err = 0;

	for (index = 0; !err && labyrinth_class_info(index, &info) == 0; index++)
		err = put_class(fd, pid, &info);
	return err;
}

static LAB_NOINLINE int put_cpu(int fd, long pid, unsigned int cpu)
{
	struct lab_stats_cpu sum = lab_stats_cpu(cpu);
	struct lab_line line;

	if (!sum.taken && !sum.given && !sum.stacked)
		return 0;
	start(&line, pid);
	put(&line, " cpu ", cpu);
	put(&line, " stacked ", sum.stacked);
	put(&line, " bytes ", sum.bytes);
	put(&line, " taken ", sum.taken);
	put(&line, " given ", sum.given);
	return lab_line_put(&line, fd);
}

int lab_stats_text(int fd)
{
	unsigned int id;
	long pid = lab_getpid();
	struct lab_line line;
	int err;

	start(&line, pid);
	lab_line_str(&line, " pcp ");
	lab_line_str(&line, labyrinth_pcp_backend());
	lab_line_str(&line, ", counts are pages of 4096 bytes");
	err = lab_line_put(&line, fd);
	for (id = 0; !err && id < LABYRINTH_NR_ZONES; id++)
		err = put_zone(fd, pid, (enum labyrinth_zone)id);
	if (!err)
		err = put_classes(fd, pid);
	for (id = 0; !err && id < lab_cpus_possible(); id++)
		err = put_cpu(fd, pid, id);
	for (id = 0; !err && id < LABYRINTH_NR_EVENTS; id++)
		err = put_event(fd, pid, (enum labyrinth_event)id);
	if (!err)
		err = put_mmap(fd, pid);
	return err;
}

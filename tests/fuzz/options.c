/* SPDX-License-Identifier: MIT */
/* Any string of options leaves options that are in their ranges, and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "api/options.h"
#include "map/map.h"
#include "page/reserve.h"
#include "page/watermark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lab_options defaults;
	static bool saved;
	char *text = malloc(size + 1);

	if (!saved) {
		defaults = lab_options;
		saved = true;
	}
	/* of its own size, so that a read beyond the end is found */
	memcpy(text, data, size);
	text[size] = '\0';
	lab_options = defaults;
	lab_options_parse(text);
	if (lab_options.mmap > LAB_MAP_MAX || lab_options.reserve > LAB_RESERVE_MAX ||
	    lab_options.watermark_scale_factor < 1 ||
	    lab_options.watermark_scale_factor > LAB_SCALE_FACTOR_MAX)
		abort();
	free(text);
	return 0;
}

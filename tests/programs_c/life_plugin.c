// SPDX-License-Identifier: MIT
/*
 * life_plugin*.so: what dlopen() brings.  It allocates when it is loaded, gives
 * blocks to the program and frees the program's, and has thread-local data too
 * large for the static block, so that its first use in a thread allocates.
 */
#include <stdlib.h>
#include <string.h>

#include "life.h"

enum { LOCAL_BYTES = 10000, OWN_BYTES = 5000 };

static __thread unsigned char local[LOCAL_BYTES] = { 1, 2, 3 };
static char *own;

__attribute__((constructor)) static void plugin_constructor(void)
{
	own = malloc(OWN_BYTES);
	memset(own, 'p', OWN_BYTES);
	life_visit(LIFE_PLUGIN_CONSTRUCTOR);
}

__attribute__((destructor)) static void plugin_destructor(void)
{
	for (unsigned int i = 0; i < OWN_BYTES; i++)
		if (own[i] != 'p')
			abort();
	free(own);
	life_visit(LIFE_PLUGIN_DESTRUCTOR);
}

void *plugin_take(size_t size);
void *plugin_take(size_t size)
{
	return malloc(size);
}

void *plugin_resize(void *block, size_t size);
void *plugin_resize(void *block, size_t size)
{
	return realloc(block, size);
}

void plugin_give(void *block);
void plugin_give(void *block)
{
	free(block);
}

/* strdup() is in libc: its malloc() is what libc sees. */
char *plugin_copy(const char *text);
char *plugin_copy(const char *text)
{
	return strdup(text);
}

/* The thread's copy is as the image says, then only changed by this thread. */
int plugin_local(unsigned char value);
int plugin_local(unsigned char value)
{
	if (!local[LOCAL_BYTES - 1] && (local[0] != 1 || local[1] != 2 || local[2] != 3))
		return 0;
	for (unsigned int i = 3; i < LOCAL_BYTES; i++) {
		if (local[i] != local[LOCAL_BYTES - 1])
			return 0;
	}
	memset(local + 3, value, LOCAL_BYTES - 3);
	return 1;
}

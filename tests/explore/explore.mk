# SPDX-License-Identifier: MIT
# The library compiled to call the explorer's hooks; used by check_explore.sh.
CC ?= gcc
FLAGS := -O1 -g -std=gnu11 -Isrc -Iinclude -Itests/explore -ftls-model=initial-exec -DLAB_NO_RSEQ \
	-fno-pie -fno-inline-small-functions -MMD -MP -Wall -Wextra
HOOKED := -fsanitize=thread --param tsan-instrument-func-entry-exit=0 -Wno-tsan
SRC := $(filter-out src/tool/%,$(wildcard src/*/*.c))
OBJ := $(SRC:%.c=$(OUT)/%.o) $(OUT)/tests/explore/scenarios.o $(OUT)/tests/explore/scenarios_object.o
PLAIN := $(OUT)/tests/explore/engine.o $(OUT)/tests/explore/hooks.o $(OUT)/tests/explore/wrap.o

$(OUT)/explore: $(OBJ) $(PLAIN)
	$(CC) -no-pie -o $@ $(OBJ) $(PLAIN) $(WRAPS) -lpthread

# what is not explored: system calls, and the end of the process
$(OUT)/src/os/%.o $(OUT)/src/base/fail.o: HOOKED :=

$(OBJ): $(OUT)/%.o: %.c tests/explore/explore.mk
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(HOOKED) -c -o $@ $<
$(PLAIN): $(OUT)/%.o: %.c tests/explore/explore.mk
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -O2 -c -o $@ $<

-include $(OBJ:.o=.d) $(PLAIN:.o=.d)

# SPDX-License-Identifier: MIT
# Labyrinth.  "make help" lists the targets.

BUILD ?= release
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
MANDIR ?= $(PREFIX)/share/man
V ?= 0
OBJCOPY ?= objcopy
VERSION := $(shell awk '/^\#define LABYRINTH_VERSION_M/ { printf "%d.", $$3 } END { print 0 }' include/labyrinth.h)
SONAME := liblabyrinth.so.$(firstword $(subst ., ,$(VERSION)))
OUT := build/$(BUILD)

WARN := -Wall -Wextra -Wundef -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wpointer-arith -Wwrite-strings -Wframe-larger-than=512
ifeq ($(WERROR),1)
WARN += -Werror
endif
CFLAGS_release := -O2 -g
CFLAGS_debug := -O1 -g -DLAB_DEBUG
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -DLAB_NO_RSEQ
CFLAGS_tsan := -O1 -g -fsanitize=thread -DLAB_NO_RSEQ
CFLAGS_coverage := -O1 -g --coverage -fprofile-update=atomic -fno-inline
ifeq ($(CFLAGS_$(BUILD)),)
$(error BUILD=$(BUILD) is not one of release debug asan tsan coverage)
endif
CFLAGS ?= $(CFLAGS_$(BUILD))
ALL_CFLAGS := $(CFLAGS) -std=gnu11 -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	-fno-plt -fno-semantic-interposition $(WARN) -Isrc -Iinclude -MMD -MP \
	-DLABYRINTH_VERSION='"$(VERSION)"'
SANITIZE := $(filter -fsanitize=% --coverage,$(CFLAGS))
LDFLAGS_SO := -shared -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,noexecstack \
	-Wl,-Bsymbolic-functions -Wl,--no-undefined -Wl,--as-needed $(SANITIZE) $(LDFLAGS)

# labyrinth(1) has a room of its own, src/tool/, and sees no layer of the library
TOOL_SRC := $(wildcard src/tool/*.c)
TOOL_OBJ := $(TOOL_SRC:%.c=$(OUT)/%.o)
CORE_SRC := $(filter-out $(TOOL_SRC),$(wildcard src/*/*.c))
# what the tests run of it is counted in processes that end early, too
CORE_SRC += $(if $(filter coverage,$(BUILD)),tests/coverage/exit.c)
CORE_OBJ := $(CORE_SRC:%.c=$(OUT)/%.o)
PRELOAD_SRC := preload/glibc.c preload/loader.c preload/operators.c preload/signals.c preload/syscall.c \
	preload/vfork.c
PRELOAD_OBJ := $(PRELOAD_SRC:%.c=$(OUT)/%.o)

# exceptions of the C++ library's operator new pass through ours
$(OUT)/preload/operators.o: ALL_CFLAGS += -fexceptions

# the option check_free:0, see src/api/heap.h
NOCHECK_OBJ := $(CORE_OBJ:$(OUT)/src/api/%=$(OUT)/nocheck/src/api/%)

# Stacks in failure reports, by libunwind.  UNWIND=static links one of its own, see trace/libunwind.sh;
# shared the system's; 0 builds without; auto is static, else shared, else 0, and says why.
UNWIND ?= auto
ifeq ($(filter auto static shared 0,$(UNWIND)),)
$(error UNWIND=$(UNWIND) is not one of auto static shared 0)
endif
TRACE := $(if $(filter 0,$(UNWIND)),trace-none,trace-object)
TRACE_SRC := $(wildcard trace/*.c)
TRACE_OBJ := $(TRACE_SRC:%.c=$(OUT)/%.o)
TRACE_LINK := $(OUT)/trace/link
LIBUNWIND := build/libunwind

LIBS := $(OUT)/liblabyrinth.so $(OUT)/liblabyrinth.a $(OUT)/liblabyrinth-preload.so \
	$(OUT)/liblabyrinth-preload-nocheck.so $(OUT)/labyrinth-malloc.o
PRODUCTS := $(LIBS) $(TRACE) $(OUT)/labyrinth

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
else
say = @true
endif

.PHONY: all
all: $(PRODUCTS)

$(OUT)/%.o: %.c Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# what lies beside what: src/layout.ld
LAYOUT := -Wl,-T,src/layout.ld

$(OUT)/liblabyrinth.so: $(CORE_OBJ) src/liblabyrinth.map src/layout.ld
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_SO) $(LAYOUT) -Wl,-soname,$(SONAME) \
		-Wl,--version-script,src/liblabyrinth.map -o $@ $(CORE_OBJ)

# one member: else the one with the constructor would stay behind
$(OUT)/labyrinth-core.o: $(CORE_OBJ)
	$(Q)$(LD) -r -o $@ $(CORE_OBJ)
$(OUT)/liblabyrinth.a: $(OUT)/labyrinth-core.o
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $<

PRELOAD_MAP := preload/preload.map
ifeq ($(BUILD),coverage)
# with what tests/coverage/exit.c catches
PRELOAD_MAP := $(OUT)/preload.map
$(PRELOAD_MAP): preload/preload.map Makefile
	@mkdir -p $(@D)
	$(Q)sed 's/^global:/&\n\t_exit; execve; prctl;/' $< >$@
endif

$(OUT)/liblabyrinth-preload.so: $(CORE_OBJ) $(PRELOAD_OBJ) preload/symbols.ld $(PRELOAD_MAP) src/layout.ld
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_SO) $(LAYOUT) -Wl,-soname,liblabyrinth-preload.so \
		-Wl,--version-script,$(PRELOAD_MAP) -o $@ $(CORE_OBJ) $(PRELOAD_OBJ) \
		preload/symbols.ld

# malloc replaced at link time, in static programs too: what needs no loader
MALLOC_OBJ := $(CORE_OBJ) $(OUT)/preload/glibc.o $(OUT)/preload/syscall.o $(OUT)/preload/vfork.o
$(OUT)/labyrinth-malloc.o: $(MALLOC_OBJ) preload/symbols.ld
	$(call say,LD,$@)
	$(Q)$(LD) -r -o $@ $(MALLOC_OBJ) preload/symbols.ld
	$(Q)$(OBJCOPY) --wildcard --localize-symbol='lab_*' $@

$(OUT)/nocheck/%.o: %.c Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DLAB_CHECK_FREE=0 -c -o $@ $<

$(OUT)/liblabyrinth-preload-nocheck.so: $(NOCHECK_OBJ) $(PRELOAD_OBJ) preload/symbols.ld $(PRELOAD_MAP) \
		src/layout.ld
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_SO) -Wl,-soname,liblabyrinth-preload-nocheck.so \
		-Wl,--version-script,$(PRELOAD_MAP) -o $@ $(NOCHECK_OBJ) $(PRELOAD_OBJ) \
		preload/symbols.ld

# How to link is known once trace/libunwind.sh has looked, and in $(TRACE_LINK) then: hence a second
# make, with LINK=.
.PHONY: trace-object trace-static trace-shared trace-none
trace-object:
	@CC='$(CC)' trace/libunwind.sh $(UNWIND) $(LIBUNWIND) $(TRACE_LINK)
	@link=$$(cat $(TRACE_LINK) 2>/dev/null) && $(MAKE) --no-print-directory LINK=$$link trace-$$link
trace-static trace-shared: $(OUT)/liblabyrinth-trace.so
	@:
trace-none:
	@rm -f $(OUT)/liblabyrinth-trace.so $(OUT)/liblabyrinth-trace.COPYING

UNWIND_LIBS_static := $(LIBUNWIND)/current/libunwind-x86_64.a $(LIBUNWIND)/current/libunwind.a
UNWIND_LIBS_shared := -lunwind-x86_64
# libunwind's names stay out of the program: the object is loaded RTLD_LOCAL and exports nothing.
# What is linked into it is MIT's as well, and its notice has to go along.
ifneq ($(LINK),)
$(OUT)/liblabyrinth-trace.so: $(TRACE_OBJ) trace/trace.map $(filter %.a,$(UNWIND_LIBS_$(LINK)))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_SO) -Wl,-soname,liblabyrinth-trace.so \
		-Wl,--version-script,trace/trace.map -o $@ $(TRACE_OBJ) $(UNWIND_LIBS_$(LINK))
	$(Q)rm -f $(@:.so=.COPYING)
	$(if $(filter static,$(LINK)),$(Q)cp $(LIBUNWIND)/current/COPYING $(@:.so=.COPYING))
$(TRACE_OBJ): $(TRACE_LINK)
endif
$(OUT)/trace/%.o: ALL_CFLAGS += -I. $(if $(filter static,$(LINK)),-isystem $(LIBUNWIND)/current/include)
$(OUT)/src/tool/%.o: ALL_CFLAGS := $(filter-out -Wframe-larger-than=512 -ftls-model=initial-exec,$(ALL_CFLAGS)) \
	-DLABYRINTH_LIBDIR='"$(LIBDIR)"'
$(OUT)/labyrinth: $(TOOL_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(TOOL_OBJ)

-include $(CORE_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(PRELOAD_OBJ:.o=.d) $(NOCHECK_OBJ:.o=.d) $(TRACE_OBJ:.o=.d)

# ---- tests ----
#
# "make check" installs what is missing, then runs everything that must hold on
# every commit.  What takes longer has a target of its own.

TEST_SRC := $(wildcard tests/test_*.c)
TEST_BIN := $(TEST_SRC:tests/%.c=$(OUT)/tests/%)
PRELOAD := $(OUT)/liblabyrinth-preload.so
# T=block: only the unit tests whose name has "block" in it
T ?=
# seconds of each storm
SECONDS ?= 3
BACKEND ?= both

$(OUT)/tests/%: tests/%.c $(CORE_OBJ) $(wildcard tests/*.h) Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -std=gnu11 $(filter-out -Wframe-larger-than=512,$(WARN)) -Isrc -Iinclude \
		-Itests -o $@ $< $(CORE_OBJ) -lcmocka -lpthread $(LDFLAGS)

# the longest first, after what takes no time
CHECKS := check-layers check-pairs check-size check-headers check-symbols check-format check-man check-docs
CHECKS += check-unit check-sections check-glibc check-quick check-trace check-regress check-storm \
	check-life check-limits check-step check-nocheck check-atomic check-mmap check-misuse check-kswapd check-install \
	check-explore check-mutants-apply check-examples check-tools check-fault check-probes check-profile check-histogram

.PHONY: check check-all $(CHECKS) check-programs check-deb check-rust tools
check: tools
	@tests/run_checks.sh $(MAKE) $(CHECKS)

check-all: check
	$(MAKE) check-storm SECONDS=60
	$(MAKE) check-programs

tools:
	@tests/install_tools.sh

check-layers check-pairs check-size check-headers:
	@tests/$(subst -,_,$@).sh
check-symbols: all
	@tests/check_symbols.sh $(OUT)
check-format:
	@find src preload trace include tests bench examples -name '*.[ch]' -o -name '*.hpp' | \
		xargs clang-format --dry-run -Werror && echo "format: as .clang-format says"
check-unit: $(TEST_BIN)
	@tests/run_units.sh $(foreach t,$(sort $(TEST_BIN)),$(if $(if $(T),$(findstring $(T),$(t)),$(t)),$(t)))
check-misuse: all
	@tests/check_misuse.sh --preload $(PRELOAD) --backend $(BACKEND)
check-life: all
	@tests/check_life.sh --preload $(PRELOAD) --backend $(BACKEND)
check-sections: all
	@tests/check_sections.sh --preload $(PRELOAD) --backend $(BACKEND)
check-atomic: all
	@tests/check_atomic.sh --preload $(PRELOAD) --backend $(BACKEND)
check-kswapd: all
	@tests/check_kswapd.sh --preload $(PRELOAD) --backend $(BACKEND)
check-nocheck: all
	@tests/check_life.sh --only 'contents*' --preload $(OUT)/liblabyrinth-preload-nocheck.so
	@$(OUT)/labyrinth run --opt check_free=0 -- cat /proc/self/maps | grep -q preload-nocheck.so \
		&& echo "launcher: check_free=0 takes its library"
check-limits: all
	@tests/check_limits.sh --preload $(PRELOAD) --backend $(BACKEND)
check-regress: all
	@tests/check_regress.sh --preload $(PRELOAD) --backend $(BACKEND)
check-step: all
	@tests/check_step.sh --lib $(OUT)
check-storm: all
	@tests/check_storm.sh --preload $(PRELOAD) --backend $(BACKEND) --seconds $(SECONDS)
check-trace: all
	@tests/check_trace.sh --preload $(PRELOAD) --backend $(BACKEND)
check-profile: all
	@tests/check_profile.sh --preload $(PRELOAD) --backend $(BACKEND)
check-glibc: all
	@tests/check_glibc.sh --preload $(PRELOAD) --backend $(BACKEND)
check-mmap: all
	@tests/check_mmap.sh --preload $(PRELOAD) --backend $(BACKEND)
check-tools: all
	@tests/check_tools.sh --lib $(OUT)
check-histogram: all
	@tests/check_histogram.sh --preload $(PRELOAD) --backend $(BACKEND)
check-probes: all
	@tests/check_probes.sh --preload $(PRELOAD)
check-fault: all
	@tests/check_fault.sh --preload $(PRELOAD) --backend $(BACKEND)
check-man: all
	@tests/check_man.sh --lib $(OUT)
check-examples: all
	@tests/check_examples.sh $(OUT)
check-docs:
	@tests/check_docs.py
# apart: rustc and what it needs are 400 MB
check-rust: all
	@tests/install_tools.sh rust
	@tests/check_rust.sh $(OUT)
check-install: all
	@tests/check_install.sh $(OUT)
# as root: a clean Debian 12, built by debootstrap once and kept in build/debootstrap
check-deb: deb
	@tests/install_tools.sh debootstrap
	@tests/check_deb.sh
check-quick: all
	@tests/check_programs.sh --quick --preload $(PRELOAD) --backend $(BACKEND)
check-programs: all
	@tests/check_programs.sh --install
	@tests/check_programs.sh --preload $(PRELOAD) --backend $(BACKEND)

# ---- the proof ----
#
# check-mutants: deliberate bugs, each caught by a named test.  check-explore: every
# order of a few threads' atomic accesses; STATES=2000000 for the long run.

STATES ?= 100000
# MUTANTS=slab: only those with "slab" in the name or the test
MUTANTS ?=
.PHONY: check-mutants
check-mutants:
	@tests/check_mutants.py $(if $(MUTANTS),--only $(MUTANTS))
check-explore:
	@tests/check_explore.sh --states $(STATES)
check-mutants-apply:
	@tests/check_mutants.py --apply

.PHONY: check-static check-sanitize check-aarch64 check-exhaustive coverage fuzz
check-static:
	@tests/install_tools.sh build check proof
	@tests/check_static.sh
# the unit tests, of which the stress tests are a part
check-sanitize:
	@tests/check_sanitize.sh $(T)
check-aarch64:
	@tests/check_aarch64.sh $(T)
coverage:
	@tests/install_tools.sh build check proof
	@tests/coverage.sh
# the option string, and pointers to every entry; SECONDS for each
fuzz:
	@tests/install_tools.sh build check proof
	@tests/check_fuzz.sh --seconds $(SECONDS)
# everything in full, the longest first; the times are in tests/README.md
check-exhaustive: all
	@tests/run_checks.sh "$(MAKE) STATES=2000000 SECONDS=60" check-step-all check-mutants check-mmap-long \
		check-explore check-sanitize check-static check-aarch64 fuzz check-storm
# RESUME=1: goes on where a run was cut short
check-step-all: all
	@tests/check_step.sh --lib $(OUT) --backend both --all $(if $(RESUME),--resume)
check-mmap-long: all
	@tests/check_mmap.sh --preload $(PRELOAD) --backend both --sequences 1000000

# ---- the main job, and its speed ----

.PHONY: demo bench-quick bench-latency bench-mmap
demo:
	@tests/install_tools.sh build demo
	@$(MAKE) --no-print-directory all
	@examples/demo.sh

bench-quick: all
	@bench/run_quick.sh --install --lib $(OUT) $(BENCH_ARGS)

bench-latency: all
	@bench/run_quick.sh --install --latency --lib $(OUT) $(BENCH_ARGS)
bench-mmap: all
	@bench/run_mmap.sh --lib $(OUT) $(BENCH_ARGS)

# The whole suite: make bench REPEAT=5 ONLY=redis,page-* QUICK=1 ALLOCATORS="name=/path.so"
.PHONY: bench bench-report
REPEAT ?=
ONLY ?=
QUICK ?=
ALLOCATORS ?=
bench: all
	@bench/run_suite.sh --install --lib $(OUT) $(if $(REPEAT),--repeat $(REPEAT)) \
		$(if $(ONLY),--only '$(ONLY)') $(if $(filter-out 0,$(QUICK)),--quick) \
		$(if $(ALLOCATORS),--allocators '$(ALLOCATORS)') $(BENCH_ARGS)
bench-report:
	@python3 bench/suite/report.py $${BENCH_OUT:-build/bench}/results

# ---- install ----

.PHONY: install uninstall clean help
INSTALL := OUT='$(OUT)' VERSION='$(VERSION)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' \
	LIBDIR='$(LIBDIR)' MANDIR='$(MANDIR)' preload/install.sh
install: all
	@$(INSTALL) install
uninstall:
	@$(INSTALL) uninstall

# ---- packages ----

.PHONY: deb dist
deb:
	@tests/install_tools.sh build deb
	@preload/debian/build.sh $(VERSION)

DIST := build/labyrinth-$(VERSION).tar.gz
# the same commit gives the same bytes: git archive takes its time, gzip -n none
dist:
	@mkdir -p build
	git archive --format=tar --prefix=labyrinth-$(VERSION)/ HEAD | gzip -n -9 >$(DIST)
	@sha256sum $(DIST)

clean:
	rm -rf build

help:
	@echo 'make                 libraries and launcher, into build/release'
	@echo 'make demo            install what is missing, build, run the main job'
	@echo 'make check           install what is missing, run all tests of a commit'
	@echo 'make check-programs  30 real programs under the preload, both back ends'
	@echo 'make check-storm     signal storms and fork storms; SECONDS=60 for the long run'
	@echo 'make bench           all workloads beside all allocators; REPEAT=5 ONLY=redis,page-* QUICK=1'
	@echo '                     ALLOCATORS="name=/path.so"; make bench-report: one HTML page of it'
	@echo 'make bench-quick     speed and start-up beside jemalloc; BENCH_ARGS=--help'
	@echo 'make bench-latency   10,000,000 single page allocations, each timed'
	@echo 'make bench-mmap      mmap and its kin beside the system calls'
	@echo 'make check-mutants   deliberate bugs, each of which a test has to catch; MUTANTS=slab'
	@echo 'make check-exhaustive everything in full: all injections, all orders, storms of a minute'
	@echo 'make check-static    cppcheck and clang-tidy; check-sanitize: ASan, UBSan and TSan; check-aarch64'
	@echo 'make coverage        lines of src/ that the tests run, each other one explained; make fuzz'
	@echo 'make check-explore   all orders of atomic accesses of a few threads; STATES=2000000'
	@echo 'make check-unit      unit tests; T=block for one'
	@echo 'make check-fault     requests that fail on purpose, in real programs'
	@echo 'make check-histogram labyrinth histogram; check-probes: the USDT probes'
	@echo 'make check-man       the manual: lint, prototypes, options, messages, examples'
	@echo 'make check-install   install and uninstall; programs built with pkg-config and CMake'
	@echo 'make check-docs      links, tests and numbers that the pages name are there'
	@echo 'make check-examples  the examples do what their pages say; make check-rust: that of Rust'
	@echo 'make check-deb       as root: the packages, installed in a clean Debian 12'
	@echo 'make install         PREFIX=$(PREFIX) DESTDIR=; make uninstall'
	@echo 'make deb             Debian packages, in build/deb; make dist: the source, reproducible'
	@echo 'make clean'
	@echo
	@echo 'checks of make check: $(CHECKS)'
	@echo 'BUILD=release|debug|asan|tsan|coverage  CC= CFLAGS= WERROR=1 V=1 UNWIND=auto|static|shared|0  BACKEND=rseq|trylock|both'

-include $(CORE_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(PRELOAD_OBJ:.o=.d) $(NOCHECK_OBJ:.o=.d)

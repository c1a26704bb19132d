# GNU make. `make help` lists the targets; ./dev installs what they need first.
#
# Everything is found by wildcard, so a new file needs no line here. All that is built lies under $(BUILD):
# objects in obj/, one module for each Lua in <lua>/dpg/core.so, test programs in test/, logs in log/.
# The checked builds (asan, torture, fuzz, coverage) are this same Makefile with another BUILD and other flags.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := module

LUAS   = lua5.4 luajit lua5.1 lua5.2 lua5.3 # the longest suites first: they run side by side
LUA   ?= lua5.4
BUILD  = build
CI    ?=
WERROR ?= $(if $(filter true,$(CI)),1)

SIM_SEEDS    ?= 20000
FUZZ_SECONDS ?= 10
CLANG        ?= $(notdir $(firstword $(shell command -v clang-14 clang) clang))
FORMAT       ?= $(notdir $(firstword $(shell command -v clang-format-14 clang-format) clang-format))

# ---- what there is ----------------------------------------------------------------------------------------------

CORE_C    := $(wildcard csrc/core/*.c)
BINDING_C := $(wildcard csrc/binding/*.c)
SUPPORT_C := $(wildcard test/support/*.c)
SIM_C     := $(wildcard test/sim/*.c)
TESTS     := $(patsubst test/%.c,%,$(wildcard test/test_*.c))
TORTURES  := $(patsubst test/torture/%.c,%,$(wildcard test/torture/*.c))
TORTURE_L := $(patsubst test/torture/%.lua,%,$(wildcard test/torture/*.lua))
FUZZERS   := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
SPECS     := $(shell test -d spec && find spec -name '*_spec.lua')
C_FILES   := $(wildcard csrc/*/*.[ch] test/*.[ch] test/*/*.[ch] spec/*/*.[ch] examples/*/*.[ch] bench/*.[ch])

# `make test LUA=lua5.2` asks for one; without LUA it is all of them, and the runner names those that are missing.
asked = $(filter-out file,$(origin LUA))
SPEC_LUAS = $(if $(asked),$(LUA),$(LUAS))

# ---- flags ------------------------------------------------------------------------------------------------------

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wwrite-strings -Wconversion $(if $(WERROR),-Werror)
# Assigned with = and not ?=, so that a distribution's CFLAGS in the environment can't drop what we rely on:
# give yours as `make CFLAGS=…`. FLAGS is what always holds.
CFLAGS = -O2 -g
FLAGS  = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread $(WARN) -Icsrc/core
CURL_CFLAGS := $(shell pkg-config --cflags libcurl 2>/dev/null)
CURL_LIBS   := $(shell pkg-config --libs libcurl 2>/dev/null || echo -lcurl)
# Short lines while it builds; `make V=1` shows the commands.
Q   = $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')
# LDFLAGS: what a distribution adds when it links. LUA_INCDIR: where lua.h is, if pkg-config is not to be asked; LuaRocks says it.
LDFLAGS    =
LUA_INCDIR =
COMPILE = $(CC) $(FLAGS) $(CURL_CFLAGS) $(CFLAGS) $(EXTRA) -MMD -MP

ifeq ($(shell uname -s),Darwin)
SHARED = -bundle -undefined dynamic_lookup
else
# nodelete: a thread that is still inside TLS must not find its code unmapped when the Lua state closes.
SHARED = -shared -Wl,-z,nodelete
endif

# ---- objects and programs ---------------------------------------------------------------------------------------

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE_O = $(call obj,$(CORE_C))

# Changed flags rebuild, as changed sources do.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LUA_INCDIR)' | cmp -s - $@ || echo '$(COMPILE) $(LUA_INCDIR)' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc $<)
	$(Q)$(COMPILE) -Itest -Itest/support -c -o $@ $<

$(BUILD)/test/%: $(BUILD)/obj/test/%.o $(call obj,$(SUPPORT_C)) $(CORE_O)
	@mkdir -p $(@D)
	$(call say,link $@)
	$(Q)$(CC) -pthread $(EXTRA) -o $@ $^ $(CURL_LIBS)

$(BUILD)/torture/%: $(BUILD)/obj/test/torture/%.o $(call obj,$(SUPPORT_C)) $(CORE_O)
	@mkdir -p $(@D)
	$(call say,link $@)
	$(Q)$(CC) -pthread $(EXTRA) -o $@ $^ $(CURL_LIBS)

$(BUILD)/sim: $(call obj,$(SIM_C)) $(CORE_O)
	$(call say,link $@)
	$(Q)$(CC) -pthread $(EXTRA) -o $@ $^ $(CURL_LIBS)

$(BUILD)/fuzz_%: $(BUILD)/obj/test/fuzz/fuzz_%.o $(CORE_O)
	$(call say,link $@)
	$(Q)$(CC) -pthread $(EXTRA) -fsanitize=fuzzer -o $@ $^ $(CURL_LIBS)

# What test/run preloads besides the sanitizer.
$(BUILD)/%_lua_only.so: test/%_lua_only.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) -shared -o $@ $<
lua_only = $(patsubst %,$(BUILD)/%_lua_only.so,$(filter asan tsan,$(CHECKER)))

# The core is compiled once for all Luas; only the binding sees lua.h.
define lua_rules
$(BUILD)/$(1)/obj/%.o: csrc/binding/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(call say,cc $$< ($(1)))
	$$(Q)$$(COMPILE) $$(if $$(LUA_INCDIR),-I'$$(LUA_INCDIR)',$$$$(pkg-config --cflags $(1))) -c -o $$@ $$<

$(BUILD)/$(1)/dpg/core.so: $(patsubst csrc/binding/%.c,$(BUILD)/$(1)/obj/%.o,$(BINDING_C)) $(CORE_O)
	@mkdir -p $$(@D)
	$$(call say,link $$@)
	$$(Q)$$(CC) $$(SHARED) -pthread $$(EXTRA) $$(LDFLAGS) -o $$@ $$^ $$(CURL_LIBS)
endef
$(foreach l,$(sort $(LUAS) $(LUA)),$(eval $(call lua_rules,$(l))))

# libdpg for those who write C: the core alone, which then shows what dpg.h declares. Until 1.0 a minor version may change
# its structs, so the name that programs look for holds both numbers.
VERSION  := $(shell sed -n 's/^.define DPG_VERSION "\(.*\)"/\1/p' csrc/core/dpg.h)
SO_MINOR  = $(firstword $(subst ., ,$(VERSION))).$(word 2,$(subst ., ,$(VERSION)))
LIBRARY   = $(BUILD)/lib
LIBRARY_O = $(patsubst csrc/core/%.c,$(LIBRARY)/obj/%.o,$(CORE_C))
ifeq ($(shell uname -s),Darwin)
SONAME    = libdpg.$(SO_MINOR).dylib
SO_LINK   = libdpg.dylib
SO_FLAGS  = -dynamiclib -install_name $(LIBDIR)/$(SONAME)
else
SONAME    = libdpg.so.$(SO_MINOR)
SO_LINK   = libdpg.so
SO_FLAGS  = $(SHARED) -Wl,-soname,$(SONAME)
endif

$(LIBRARY)/obj/%.o: csrc/core/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc $< (libdpg))
	$(Q)$(COMPILE) -DDPG_LIBRARY -c -o $@ $<

$(LIBRARY)/libdpg.a: $(LIBRARY_O)
	$(call say,ar $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(LIBRARY)/$(SONAME): $(LIBRARY_O)
	$(call say,link $@)
	$(Q)$(CC) $(SO_FLAGS) -pthread $(EXTRA) $(LDFLAGS) -o $@ $^ $(CURL_LIBS)
	$(Q)ln -sf $(SONAME) $(LIBRARY)/$(SO_LINK)

-include $(shell test -d $(BUILD) && find $(BUILD) -path $(BUILD)/windows -prune -o -name '*.d' -type f -print)

MODULE  = $(BUILD)/$(LUA)/dpg/core.so
C_PROGS = $(TESTS:%=$(BUILD)/test/%)
SIM     = $(if $(SIM_C),$(BUILD)/sim)

# What test/run is asked for, by the names that it prints; what takes longest goes first.
C_SUITES    = $(TESTS:%=c/%)
SIM_SUITE   = $(if $(SIM_C),sim)
SPEC_SUITES = $(if $(SPECS),$(SPEC_LUAS:%=spec/%))
# PUC 5.1 can't yield across pcall nor in a `for`, so tasks there are no place for the specs.
HOST_SUITES = $(SPEC_LUAS:%=host/threads/%) \
  $(foreach l,$(filter-out lua5.1,$(SPEC_LUAS)),host/run/$(l) host/loop/$(l))

have = $(shell for l in $(1); do command -v $$l >/dev/null && pkg-config --exists $$l && echo $$l; done)
run  = CC='$(CC)' MAKE='$(MAKE)' BUILD='$(BUILD)' CI='$(CI)' SIM_SEEDS='$(SIM_SEEDS)' ASKED='$(if $(asked),1)' test/run
# Keep going past a file that does not compile: the runner then names what has not been built, and fails for it.
build = +@mkdir -p $(BUILD)/log && rm -f $(BUILD)/log/build.failed && \
  { $(MAKE) -k BUILD='$(BUILD)' WANTED='$(strip $(1))' wanted || touch $(BUILD)/log/build.failed; }

# ---- targets ----------------------------------------------------------------------------------------------------

module: $(MODULE) ## build the module for LUA (lua5.4)
modules: $(LUAS:%=$(BUILD)/%/dpg/core.so) ## build the module for all five Luas
bench-json: modules ## reading JSON beside lua-cjson, on each installed Lua
	@for l in $(call have,$(LUAS)); do \
	  LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/'$$l'/?.so;;' $$l bench/json.lua || exit 1; done
# ROUNDS=n, WRITE=1 for doc/performance.md, PEER_LUA=lua5.1.
bench: $(addprefix $(BUILD)/,lua5.4/dpg/core.so $(or $(PEER_LUA),luajit)/dpg/core.so bench/native bench/spent) ## beside hand-written C and other clients: CPU for each request
	@BUILD='$(BUILD)' LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/lua5.4/?.so;;' \
	  lua5.4 bench/run.lua $(if $(WRITE),--write) $(ROUNDS)
$(BUILD)/bench/%: bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc $<)
	$(Q)$(COMPILE) -o $@ $< $(CURL_LIBS)
$(BUILD)/bench/alone.so: bench/alone.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc $<)
	$(Q)$(COMPILE) $$(pkg-config --cflags lua5.4) -shared -o $@ $<
INSTRUCTIONS = $(if $(shell command -v valgrind),$(BUILD)/lua5.4/dpg/core.so $(BUILD)/bench/alone.so)
instructions: $(INSTRUCTIONS) $(if $(PROFILE),$(BUILD)/bench/native) ## instructions of a fixed script (WRITE=1 keeps them, PROFILE=me|at-once|write|page|fields: where they go)
	@BUILD='$(BUILD)' CC='$(CC)' CFLAGS='$(CFLAGS)' LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/lua5.4/?.so;;' \
	  lua5.4 bench/instructions.lua $(if $(WRITE),--write) $(if $(PROFILE),--profile $(PROFILE))
wanted: $(WANTED)
	@:

test: ## C tests, the simulator's fixed seeds, specs on every Lua (LUA=lua5.2: on one)
	$(call build,$(C_PROGS) $(SIM) $(addsuffix /dpg/core.so,$(addprefix $(BUILD)/,$(call have,$(SPEC_LUAS)))))
	@$(run) $(SPEC_SUITES) $(filter host/loop/lua5.4,$(HOST_SUITES)) $(SIM_SUITE) $(C_SUITES)

test-c: ## C tests alone
	$(call build,$(C_PROGS))
	@$(run) $(C_SUITES)

spec: ## specs alone (LUA=lua5.2: on one)
	$(call build,$(addsuffix /dpg/core.so,$(addprefix $(BUILD)/,$(call have,$(SPEC_LUAS)))))
	@$(run) $(SPEC_SUITES)

hosts: ## the specs of the public face in every host (nginx: in `test`), on every Lua (LUA=lua5.2: on one)
	$(call build,$(addsuffix /dpg/core.so,$(addprefix $(BUILD)/,$(call have,$(SPEC_LUAS)))))
	@$(run) $(HOST_SUITES)

sim: $(SIM) ## the simulator (SEED=n replays one seed with a trace; SIM_SEEDS=n)
	@$(BUILD)/sim $(if $(SEED),--seed $(SEED),--seeds $(SIM_SEEDS))

check: ## luacheck, clang-format, headers, layers, exports, lists, versions, doc/api.md, links, instructions
	$(call build,$(MODULE) $(INSTRUCTIONS))
	@CC='$(CC)' FLAGS='$(FLAGS)' CFLAGS='$(CFLAGS)' BUILD='$(BUILD)' LUA='$(LUA)' FORMAT='$(FORMAT)' C_FILES='$(C_FILES)' tools/check

# The address sanitizer must come first in the process, so the runner preloads it into the (uninstrumented) Lua.
SANITIZE = -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CHECKED_LUAS = $(if $(asked),$(LUA),lua5.4 luajit)

asan: ## C tests, simulator and specs under ASan, LSan and UBSan
	@CHECKER=asan $(MAKE) BUILD=build/asan CFLAGS='-O1 -g' EXTRA='$(SANITIZE)' SIM_SEEDS=1000 checked

# What has threads in it; ThreadSanitizer sees our own code alone, so libcurl's and Lua's needs no suppressions.
TSAN_TESTS = $(filter test_thread% test_wake test_pipe,$(TESTS))

tsan: ## what has threads, under ThreadSanitizer
	@CHECKER=tsan $(MAKE) BUILD=build/tsan CFLAGS='-O1 -g' EXTRA=-fsanitize=thread TESTS='$(TSAN_TESTS)' \
	  SPECS='$(filter spec/thread_spec.lua,$(SPECS))' SIM_C= checked

valgrind: ## C tests and specs under valgrind
	@CHECKER=valgrind $(MAKE) BUILD=build SIM_C= checked

checked:
	$(call build,$(lua_only) $(C_PROGS) $(SIM) $(addsuffix /dpg/core.so,$(addprefix $(BUILD)/,$(call have,$(CHECKED_LUAS)))))
	@$(run) $(if $(SPECS),$(CHECKED_LUAS:%=spec/%)) $(SIM_SUITE) $(C_SUITES)

torture: ## the 1st, 2nd, 3rd … allocation fails (test/torture), under ASan
	@CHECKER=asan $(MAKE) BUILD=build/torture CFLAGS='-O1 -g' EXTRA='-DDPG_TORTURE $(SANITIZE)' tortured

tortured:
	$(call build,$(lua_only) $(TORTURES:%=$(BUILD)/torture/%) $(if $(TORTURE_L),$(MODULE)))
	@$(run) $(TORTURES:%=torture/%) $(TORTURE_L:%=torture/$(LUA)/%)

fuzz: ## each fuzz target for FUZZ_SECONDS (10); finds are kept in build/fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(MAKE) BUILD=build/fuzz CC=$(CLANG) WERROR= CFLAGS='-O1 -g' \
	  EXTRA='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined' fuzzed

fuzzed:
	$(call build,$(FUZZERS:%=$(BUILD)/fuzz_%))
	@$(run) $(FUZZERS:%=fuzz/%)

coverage: ## lines of the core and the binding that the tests reach
	@find build/cov -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) BUILD=build/cov CFLAGS='-O0 -g' EXTRA=--coverage SIM_SEEDS=200 LUA=$(LUA) test
	@lcov -q -c --no-external -b . -d build/cov -o build/cov/all.info
	@lcov -q -r build/cov/all.info '*/test/*' -o build/cov/dpg.info && lcov --list build/cov/dpg.info

windows: ## the module and the tests for Windows, cross-built and run under wine (doc/windows.md)
	+@BUILD='$(BUILD)' MAKE='$(MAKE)' tools/windows/run

format: ## lay the C files out as .clang-format says
	$(FORMAT) -i $(C_FILES)

library: $(LIBRARY)/libdpg.a $(LIBRARY)/$(SONAME) ## libdpg, the core for C programs: build/lib/libdpg.a and .so

doc: ## the documentation as a site: build/site
	@"$(LUA)" tools/site.lua '$(BUILD)/site'

# ---- packages (doc/packaging.md) ----------------------------------------------------------------------------------

PREFIX  = /usr/local
LIBDIR  = $(PREFIX)/lib
DESTDIR =
# Lua's own number, and where that Lua looks for modules below a prefix.
luaver  = $(shell $(LUA) -e 'io.write((_VERSION:gsub("Lua ", "")))')
LUA_SHARE = $(PREFIX)/share/lua/$(luaver)
LUA_LIB   = $(LIBDIR)/lua/$(luaver)
ZSH_DIR   = $(PREFIX)/share/zsh/site-functions
# The command and the sandbox are packages of their own, as they are rocks of their own.
CLIENT_LUA  = $(shell find lua/dpg -name '*.lua' ! -path 'lua/dpg/sandbox*' ! -path 'lua/dpg/cli*')
SANDBOX_LUA = $(shell find lua/dpg -name '*.lua' -path 'lua/dpg/sandbox*')
CLI_LUA     = $(shell find lua/dpg -name '*.lua' -path 'lua/dpg/cli*')
copy = mkdir -p "$$(dirname '$(DESTDIR)$(3)')" && install -m $(1) $(2) '$(DESTDIR)$(3)'
# A command, run by the Lua that it is installed for.
copy_bin = mkdir -p '$(DESTDIR)$(PREFIX)/bin' && sed '1s|.*|\#!$(if $(filter /%,$(LUA)),$(LUA),/usr/bin/env $(LUA))|' bin/$(1) \
  >'$(DESTDIR)$(PREFIX)/bin/$(1)' && chmod 755 '$(DESTDIR)$(PREFIX)/bin/$(1)'
copy_lua = @for f in $(1); do \
  to='$(DESTDIR)$(LUA_SHARE)'/$${f\#lua/}; mkdir -p "$${to%/*}" && install -m 644 $$f "$$to" || exit 1; done

install: $(MODULE) ## the client for LUA below PREFIX (/usr/local); DESTDIR=, LIBDIR=, LUA_SHARE= and LUA_LIB= as usual
	$(call copy_lua,$(CLIENT_LUA))
	$(call copy,644,types/dpg.lua,$(LUA_SHARE)/dpg/types.lua)
	$(call copy,755,$(MODULE),$(LUA_LIB)/dpg/core.so)

install-sandbox: ## the sandbox for LUA, and bin/dpg-sandbox
	$(call copy_lua,$(SANDBOX_LUA))
	$(call copy_bin,dpg-sandbox)
	$(call copy,644,debian/dpg-sandbox.1,$(PREFIX)/share/man/man1/dpg-sandbox.1)

install-cli: ## the command for LUA, bin/dpg, its man page and completions (ZSH_DIR=)
	$(call copy_lua,$(CLI_LUA))
	$(call copy_bin,dpg)
	$(call copy,644,share/man/man1/dpg.1,$(PREFIX)/share/man/man1/dpg.1)
	$(call copy,644,share/bash-completion/completions/dpg,$(PREFIX)/share/bash-completion/completions/dpg)
	$(call copy,644,share/zsh/site-functions/_dpg,$(ZSH_DIR)/_dpg)
	$(call copy,644,share/fish/vendor_completions.d/dpg.fish,$(PREFIX)/share/fish/vendor_completions.d/dpg.fish)

install-library: library ## libdpg, dpg.h and libdpg.pc below PREFIX
	mkdir -p '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(PREFIX)/include'
	install -m 644 csrc/core/dpg.h '$(DESTDIR)$(PREFIX)/include/dpg.h'
	install -m 644 $(LIBRARY)/libdpg.a '$(DESTDIR)$(LIBDIR)/libdpg.a'
	install -m 755 $(LIBRARY)/$(SONAME) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/$(SO_LINK)'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' csrc/libdpg.pc.in \
	  >'$(DESTDIR)$(LIBDIR)/pkgconfig/libdpg.pc'

TARBALL = $(BUILD)/dist/dpg-$(VERSION).tar.gz
dist: ## the sources of the last commit, which build without git, and a source rock of each package: build/dist
	@BUILD='$(BUILD)' TARBALL='$(TARBALL)' VERSION='$(VERSION)' tools/dist

deb: ## Debian packages of the last commit: build/deb
	@BUILD='$(BUILD)' TARBALL='$(TARBALL)' VERSION='$(VERSION)' tools/deb

deb-try: deb ## those packages in a bare Debian of their own (as root)
	@BUILD='$(BUILD)' tools/deb_try

installed: ## rocks and libdpg, installed from build/dist into fresh folders, run the quickstart on every Lua (LUA=: on one)
	@$(MAKE) BUILD='$(BUILD)' dist
	@BUILD='$(BUILD)' TARBALL='$(TARBALL)' VERSION='$(VERSION)' LUAS='$(call have,$(SPEC_LUAS))' tools/installed

demo: $(MODULE) ## the story, in a screenful
	@LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/$(LUA)/?.so;;' $(LUA) examples/demo.lua

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r t d; do printf '%-12s %s\n' "$$t" "$$d"; done

FORCE:
.PHONY: module modules bench bench-json instructions wanted test test-c spec hosts sim check asan tsan valgrind checked torture tortured fuzz fuzzed \
  coverage windows format doc library install install-sandbox install-cli install-library dist deb deb-try installed demo clean help FORCE

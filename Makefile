# dsyncfs -- `make try` shows it, `make test` proves it; the README has both.
#
# Objects lie in build/$(FLAVOUR)/: release, asan (Address- and UBSanitizer), tsan, valgrind, clang, cov.

FLAVOUR ?= release
PREFIX ?= /usr/local
DESTDIR ?=
bindir = $(PREFIX)/bin
sbindir = $(PREFIX)/sbin
mandir = $(PREFIX)/share/man
docdir = $(PREFIX)/share/doc/dsyncfs
userunitdir = $(PREFIX)/lib/systemd/user
bashdir = $(PREFIX)/share/bash-completion/completions
zshdir = $(PREFIX)/share/zsh/site-functions
fishdir = $(PREFIX)/share/fish/vendor_completions.d

VERSION = 0.1.0
B = build/$(FLAVOUR)

ifeq ($(FLAVOUR),clang)
CC = clang
else ifeq ($(origin CC),default)
CC = gcc
endif

PKGS = fuse3 libxxhash libzstd libssh2 libssl libcrypto zlib libseccomp
WARN = -Wall -Wextra -Wconversion -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith -Wwrite-strings \
	-Wformat=2 -Wno-format-nonliteral -Werror
HARDEN = -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
OPT = -O2 -g
SAN =
ifeq ($(FLAVOUR),asan)
SAN = -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
# As libraries both have an idea of their own of where a report goes.
ifneq ($(CC),clang)
SAN_LINK = -static-libasan -static-libubsan
endif
HARDEN =
OPT = -O1 -g
else ifeq ($(FLAVOUR),tsan)
SAN = -fsanitize=thread
HARDEN =
OPT = -O1 -g
else ifeq ($(FLAVOUR),cov)
SAN = --coverage
HARDEN =
OPT = -O0 -g
else ifeq ($(FLAVOUR),valgrind)
HARDEN =
OPT = -O1 -g
SAN_LINK = -Wl,--wrap=syscall
SAN_OBJ = $(B)/tests/sanitize/openat2.o
endif

PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
CPPFLAGS += -D_GNU_SOURCE -DDSYNCFS_VERSION='"$(VERSION)"' -DFUSE_USE_VERSION=314 -I. -Iengine $(PKG_CFLAGS)
# Such a build is to be looked into while it runs, or writes files at its end.
ifneq ($(filter asan tsan cov valgrind,$(FLAVOUR)),)
CPPFLAGS += -DUNSANDBOXED
endif
CFLAGS += -std=gnu11 $(OPT) $(WARN) $(HARDEN) $(SAN) -pthread
LDFLAGS += $(SAN) $(SAN_LINK) -pthread
ifeq ($(HARDEN),)
else
LDFLAGS += -pie -Wl,-z,relro,-z,now
endif

# Layers, lowest first; each links against itself and those before it.
LAYERS = base journal store sync control cmd
LAYERDIR_base = engine/base
LAYERDIR_journal = engine/journal
LAYERDIR_store = engine/store
LAYERDIR_sync = engine/sync
LAYERDIR_control = engine/control
LAYERDIR_cmd = engine/cmd

MAINS = fs/dsyncfs.c engine/cmd/dsyncfs_sync.c
BACKEND_SRC = $(wildcard backends/*.c backends/*/*.c)
FS_SRC = $(filter-out $(MAINS),$(wildcard fs/*.c))

objs = $(patsubst %.c,$(B)/%.o,$(1))
layer_objs = $(call objs,$(filter-out $(MAINS),$(wildcard $(LAYERDIR_$(1))/*.c)))

$(foreach l,$(LAYERS),$(eval LIB_$(l) = $(B)/lib$(l).a))
LIB_backends = $(B)/libbackends.a
LIB_fs = $(B)/libfs.a
ENGINE_LIBS = $(LIB_cmd) $(LIB_control) $(LIB_sync) $(LIB_store) $(LIB_journal) $(LIB_base)

LIBS_sys = -lxxhash -lzstd -lssh2 -lssl -lcrypto -lz -lseccomp
LIBS_fuse = -lfuse3
LIBS_check := $(shell pkg-config --libs check 2>/dev/null)

PROGS = $(B)/dsyncfs $(B)/dsyncfs-sync

.PHONY: all
all: $(PROGS)

define layer_rule
$(LIB_$(1)): $$(call layer_objs,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rule,$(l))))

$(LIB_backends): $(call objs,$(BACKEND_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(LIB_fs): $(call objs,$(FS_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/dsyncfs: $(B)/fs/dsyncfs.o $(LIB_fs) $(LIB_backends) $(ENGINE_LIBS) $(SAN_OBJ)
	$(CC) $(LDFLAGS) -o $@ $< $(SAN_OBJ) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_fuse) $(LIBS_sys)

$(B)/dsyncfs-sync: $(B)/engine/cmd/dsyncfs_sync.o $(LIB_backends) $(ENGINE_LIBS) $(SAN_OBJ)
	$(CC) $(LDFLAGS) -o $@ $< $(SAN_OBJ) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_sys)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Unit tests: tests/unit/LAYER_name.c links LAYER and everything below it, and tests/unit/lib/*.c.
# LAYER is base journal store sync control cmd, or backends or fs (which get the whole engine).
UNIT_SRC = $(wildcard tests/unit/*.c)
UNIT = $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT_SRC))
TESTLIB_SRC = $(wildcard tests/unit/lib/*.c)
LIB_test = $(B)/libtest.a
$(LIB_test): $(call objs,$(TESTLIB_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

LINK_base = $(LIB_base)
LINK_journal = $(LIB_journal) $(LINK_base)
LINK_store = $(LIB_store) $(LINK_journal)
LINK_sync = $(LIB_sync) $(LINK_store)
LINK_control = $(LIB_control) $(LINK_sync)
LINK_cmd = $(LIB_cmd) $(LINK_control)
LINK_backends = $(LIB_backends) $(LINK_cmd)
LINK_fs = $(LIB_fs) $(LINK_backends)

define unit_rule
$(B)/tests/unit/$(1)_%: $(B)/tests/unit/$(1)_%.o $(LIB_test) $(LINK_$(1))
	$$(CC) $$(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBS_check) \
		$(if $(filter fs,$(1)),$(LIBS_fuse)) $$(LIBS_sys)
endef
$(foreach l,$(LAYERS) backends fs,$(eval $(call unit_rule,$(l))))

.SECONDARY:
.PHONY: unit
unit: $(UNIT)
	@set -e; for t in $(UNIT); do echo "== $$t"; $$t; done

# Programs of the tests against other software; clock.so is preloaded into it, heap.so into ours.
PRELOADED = clock heap
INTEROP = $(patsubst tests/interop/%.c,$(B)/tests/interop/%,$(filter-out $(PRELOADED:%=tests/interop/%.c),$(wildcard tests/interop/*.c))) \
	$(PRELOADED:%=$(B)/tests/interop/%.so) $(B)/tests/bench/bench_sync
$(PRELOADED:%=$(B)/tests/interop/%.so): $(B)/tests/interop/%.so: tests/interop/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 $(WARN) -fPIC -shared -o $@ $< -ldl
$(B)/tests/interop/%: $(B)/tests/interop/%.o $(LIB_test) $(LINK_backends) $(SAN_OBJ)
	$(CC) $(LDFLAGS) -o $@ $< $(SAN_OBJ) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_check) $(LIBS_sys)
.PHONY: interop-programs
interop-programs: $(INTEROP)

# What a sanitizer is to report.
$(B)/tests/sanitize/canary: $(B)/tests/sanitize/canary.o $(SAN_OBJ)
	$(CC) $(LDFLAGS) -o $@ $^

# Random histories with a real Dovecot at the other end, in both roles.
.PHONY: random-dovecot
random-dovecot: all interop-programs
	tests/interop/dsync_random.sh -k $(FIRST) $(if $(filter file,$(origin SEEDS)),1000,$(SEEDS))

# A peer that breaks the protocol: every breakage of every record, in both roles, with each kind of location.
.PHONY: hostile
hostile: all
	tests/interop/hostile.sh -s $(FIRST)

# A mount that is used for long: what it holds in memory stays what it was.
.PHONY: endless
endless: all interop-programs
	OPERATIONS=$(OPERATIONS) tests/fs/endless.sh
OPERATIONS ?= 1000000

# A mail of a gigabyte, a mailbox of a million.
.PHONY: large
large: all interop-programs
	tests/fs/large_mail.sh 1000
	tests/fs/large_box.sh 1000000

# A store that is damaged: each byte of each file, each file cut at each length.
.PHONY: damage
damage: all
	tests/interop/damage.sh -s $(FIRST)

# ---- what must be installed ----

APT_BUILD = gcc libc6-dev make pkg-config libfuse3-dev fuse3 libxxhash-dev \
	libzstd-dev libssh2-1-dev libssl-dev zlib1g-dev uthash-dev libseccomp-dev
APT_TEST = check clang libclang-rt-14-dev llvm dovecot-core dovecot-imapd \
	dovecot-lmtpd neomutt notmuch maildir-utils mblaze isync tmux attr \
	inotify-tools mandoc systemd zsh fish \
	offlineimap3 python3 procps util-linux valgrind universal-ctags rsync strace mutt e2fsprogs iproute2 openssh-server openssh-client openssl bindfs \
	dovecot-sieve aerc maildrop procmail fdm safecat getmail6 git gdb \
	fio stress-ng dbench postmark bonnie++ fsmark xfsprogs perl
APT_DEB = debhelper lintian fakeroot dpkg-dev man-db
# Installs what is missing; with everything there it asks nobody.
define apt_install
	@miss=; for p in $(1); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | \
			grep -q 'ok installed' || miss="$$miss $$p"; \
	done; \
	if [ -n "$$miss" ]; then \
		echo "installing:$$miss"; \
		s=; [ "$$(id -u)" = 0 ] || s=sudo; \
		$$s apt-get update -qq && \
		$$s env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends $$miss >/dev/null; \
	fi
endef
.PHONY: deps deps-build
deps-build:
	$(call apt_install,$(APT_BUILD))
deps:
	$(call apt_install,$(APT_BUILD) $(APT_TEST) $(APT_DEB))

# ---- tests ----

# The whole proof.  deps may install pkg-config's files, so the rest runs in
# a make of its own that sees them.
.PHONY: test check layers interop fstests judges
test: deps
	$(MAKE) all layers
	$(MAKE) check

check: all
	tests/run.sh unit sim clang asan fuzz lint interop fs judges sanitize bench

# Third parties' tests of file systems and mail on the mount; tests/judges/run.sh says what they need.
judges: all
	tests/judges/run.sh $(JUDGES)

# The tests of the programs, with programs that look at themselves, or that valgrind looks at; tests/sanitize/list.sh says which.
.PHONY: sanitize
sanitize:
	FLAVOURS="$(FLAVOURS)" TESTS="$(TESTS)" tests/run.sh sanitize-all

layers:
	tests/layers.sh

.PHONY: asan tsan clang
asan:
	$(MAKE) FLAVOUR=asan all unit
tsan:
	$(MAKE) FLAVOUR=tsan all unit
clang:
	$(MAKE) FLAVOUR=clang all

.PHONY: lint
lint:
	tests/lint.sh

# ---- simulation: whole histories drawn from seeds (tests/sim) ----

SIM_SRC = $(wildcard tests/sim/*.c)
SEEDS ?= 20000
FIRST ?= 1
$(B)/tests/sim/sim: $(call objs,$(SIM_SRC)) $(LIB_test) $(LINK_fs)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_check) \
		$(LIBS_fuse) $(LIBS_sys)
.PHONY: sim
sim: $(B)/tests/sim/sim
	$< -j $$(nproc) $(FIRST) $(SEEDS)

# ---- fuzzing: each tests/fuzz/fuzz_X.c with its seeds in tests/fuzz/corpus/X ----

FUZZ_SRC = $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_NAMES = $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC))
FUZZ_SECONDS ?= 60
FUZZ_B = build/fuzz
FUZZ_FLAGS = -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
FUZZ_LIBSRC = $(filter-out $(MAINS),$(wildcard engine/*/*.c)) $(BACKEND_SRC) $(TESTLIB_SRC)
FUZZ_OBJ = $(patsubst %.c,$(FUZZ_B)/%.o,$(FUZZ_LIBSRC))
$(FUZZ_B)/%.o: %.c
	@mkdir -p $(@D)
	clang $(CPPFLAGS) -std=gnu11 -O1 -g $(WARN) $(FUZZ_FLAGS) -pthread -MMD -MP -c -o $@ $<
$(FUZZ_B)/libfuzzed.a: $(FUZZ_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(FUZZ_B)/fuzz_%: $(FUZZ_B)/tests/fuzz/fuzz_%.o $(FUZZ_B)/libfuzzed.a
	clang -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(LIBS_sys)
.PHONY: fuzz fuzz-build
fuzz-build: $(patsubst %,$(FUZZ_B)/fuzz_%,$(FUZZ_NAMES))
fuzz: fuzz-build
	tests/fuzz/run.sh $(FUZZ_B) $(FUZZ_SECONDS) $(FUZZ_NAMES)

# What the seeds alone reach of each decoder (tests/fuzz/decoders says which files those are); fails below 90 % of its lines.
COV_B = build/fuzz-coverage
COV_FLAGS = -fprofile-instr-generate -fcoverage-mapping
COV_OBJ = $(patsubst %.c,$(COV_B)/%.o,$(FUZZ_LIBSRC))
$(COV_B)/%.o: %.c
	@mkdir -p $(@D)
	clang $(CPPFLAGS) -std=gnu11 -O0 -g $(WARN) $(COV_FLAGS) -pthread -MMD -MP -c -o $@ $<
$(COV_B)/libfuzzed.a: $(COV_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(COV_B)/fuzz_%: $(COV_B)/tests/fuzz/fuzz_%.o $(COV_B)/libfuzzed.a
	clang -fsanitize=fuzzer $(COV_FLAGS) -pthread -o $@ $^ $(LIBS_sys)
.PHONY: fuzz-coverage
fuzz-coverage: $(patsubst %,$(COV_B)/fuzz_%,$(FUZZ_NAMES))
	tests/fuzz/coverage.py $(COV_B) tests/fuzz/decoders $(FUZZ_NAMES)

# ---- speed: ratios measured side by side in one run ----

.PHONY: bench
bench: all $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))
	tests/bench/run.sh $(B)
$(B)/tests/bench/%: $(B)/tests/bench/%.o $(LIB_test) $(LINK_backends) $(SAN_OBJ)
	$(CC) $(LDFLAGS) -o $@ $< $(SAN_OBJ) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_sys) -lm

# ---- see it work, install it ----

.PHONY: try install uninstall
try: deps-build
	$(MAKE) all
	contrib/try.sh $(B)

MAN = $(wildcard man/*.1 man/*.5)
UNITS = $(wildcard contrib/systemd/*@.service contrib/systemd/*@.timer)
EXAMPLES = $(wildcard contrib/examples/*)
FISH = $(wildcard contrib/completion/*.fish)
DOCS = README.md CHANGELOG.md contrib/MIGRATION.md contrib/dsyncfs.conf.example

# The units say where the programs are.
install: all
	install -d $(addprefix $(DESTDIR),$(bindir) $(sbindir) $(mandir)/man1 $(mandir)/man5 $(mandir)/man8 $(docdir)/examples \
		$(userunitdir) $(bashdir) $(zshdir) $(fishdir))
	install -m 755 $(PROGS) $(DESTDIR)$(bindir)
	ln -sf ../bin/dsyncfs $(DESTDIR)$(sbindir)/mount.fuse.dsyncfs
	install -m 644 $(filter %.1,$(MAN)) $(DESTDIR)$(mandir)/man1
	install -m 644 $(filter %.5,$(MAN)) $(DESTDIR)$(mandir)/man5
	ln -sf ../man1/dsyncfs.1 $(DESTDIR)$(mandir)/man8/mount.fuse.dsyncfs.8
	install -m 644 $(DOCS) $(DESTDIR)$(docdir)
	install -m 644 $(EXAMPLES) $(DESTDIR)$(docdir)/examples
	for u in $(notdir $(UNITS)); do \
		sed 's|/usr/bin/dsyncfs|$(bindir)/dsyncfs|' contrib/systemd/$$u >$(DESTDIR)$(userunitdir)/$$u && \
			chmod 644 $(DESTDIR)$(userunitdir)/$$u || exit 1; \
	done
	for p in dsyncfs dsyncfs-sync; do \
		install -m 644 contrib/completion/$$p.bash $(DESTDIR)$(bashdir)/$$p || exit 1; \
	done
	install -m 644 contrib/completion/_dsyncfs contrib/completion/_dsyncfs-sync $(DESTDIR)$(zshdir)
	install -m 644 $(FISH) $(DESTDIR)$(fishdir)
uninstall:
	rm -f $(addprefix $(DESTDIR)$(bindir)/,dsyncfs dsyncfs-sync) $(DESTDIR)$(sbindir)/mount.fuse.dsyncfs \
		$(patsubst man/%.1,$(DESTDIR)$(mandir)/man1/%.1,$(filter %.1,$(MAN))) \
		$(patsubst man/%.5,$(DESTDIR)$(mandir)/man5/%.5,$(filter %.5,$(MAN))) \
		$(DESTDIR)$(mandir)/man8/mount.fuse.dsyncfs.8 \
		$(addprefix $(DESTDIR)$(userunitdir)/,$(notdir $(UNITS))) \
		$(addprefix $(DESTDIR)$(bashdir)/,dsyncfs dsyncfs-sync) \
		$(addprefix $(DESTDIR)$(zshdir)/,_dsyncfs _dsyncfs-sync) \
		$(addprefix $(DESTDIR)$(fishdir)/,$(notdir $(FISH))) \
		$(addprefix $(DESTDIR)$(docdir)/,$(notdir $(DOCS)) $(addprefix examples/,$(notdir $(EXAMPLES))))
	-rmdir $(DESTDIR)$(docdir)/examples $(DESTDIR)$(docdir) 2>/dev/null

# The package: dpkg-buildpackage wants debian/ in a tree of its own.  The files
# are those that git knows, as they are; without git, all.
DEB = build/deb
.PHONY: deb deps-deb
deps-deb:
	$(call apt_install,$(APT_BUILD) $(APT_DEB))
deb: deps-deb
	rm -rf $(DEB)
	mkdir -p $(DEB)/dsyncfs-$(VERSION)
	{ git ls-files -z 2>/dev/null || find . -name build -prune -o -type f -print0; } | \
		xargs -0 cp --parents -t $(DEB)/dsyncfs-$(VERSION)
	mv $(DEB)/dsyncfs-$(VERSION)/contrib/debian $(DEB)/dsyncfs-$(VERSION)/debian
	cd $(DEB)/dsyncfs-$(VERSION) && env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc -j2
	lintian --fail-on error,warning $(DEB)/*.changes
	ls -l $(DEB)/*.deb

.PHONY: format
format:
	clang-format -i $$(git ls-files '*.c' '*.h')

-include $(shell find build -name deb -prune -o -name '*.d' -print 2>/dev/null)

.PHONY: clean
clean:
	rm -rf build

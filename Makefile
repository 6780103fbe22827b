# What a developer types. `make` alone lists the targets.
#
# Everything that is made here lies in .venv/ and .cache/, both ignored by git.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup apt demo test packages corpus bench lint format man clean

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
MAN_PAGES := $(patsubst docs/man/%.md,.cache/man/%,$(wildcard docs/man/*.md))

# The container itself needs a kernel, Python, libseccomp and uidmap. The rest builds the test guests
# (C, i386, musl, Go), the demo's package and the man pages, and is what the acceptance tests pack
# (an archive of every kind) and build with, and brings images in and out. Every target looks
# whether they are there.
PACKAGES := \
  autoconf bubblewrap build-essential busybox-static ca-certificates cmake cpio debhelper debootstrap \
  default-jdk-headless docker-registry dpkg-dev e2fsprogs fakechroot fakeroot fish gcc gcc-multilib \
  git golang-go help2man iproute2 libc6-dev libcap-dev libseccomp2 make man-db mmdebstrap musl-tools \
  ninja-build openssl pandoc pbuilder perl podman procps psmisc python3 python3-dev python3-venv rsync \
  runc sbuild shellcheck skopeo squashfs-tools strace sudo texinfo uidmap util-linux uuid-runtime \
  xorriso zip zsh

# The toolchains of tests/acceptance/corpus, beyond those: 540 MB to fetch, 2.7 GB on the disk.
CORPUS_PACKAGES := \
  ant btrfs-progs cargo clang dosfstools doxygen emacs-nox erlang-base erofs-utils esbuild fossil fp-compiler \
  genisoimage gettext gfortran ghc ghostscript gnupg groff imagemagick lua5.4 mercurial mtools nasm nim \
  nodejs ocaml-nox openssh-client p7zip-full php-cli python3-setuptools python3-wheel r-base-core \
  rpm ruby rustc sbcl sqlite3 subversion swi-prolog-nox texlive-latex-base xsltproc zstd

# Commands that the package of the same name brings, unless another has: the npm of Debian does not
# go together with the nodejs of others, which comes with one of its own.
CORPUS_COMMANDS := npm

# The first of these that is at least 3.11 and can make a venv. The system's own comes first: the
# headers for python-prctl are those of the system's Python.
PYTHONS := $(PYTHON) /usr/bin/python3 python3.13 python3.12 python3.11 python3

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -q -y

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## install what is missing: Debian packages (by apt) and a venv in .venv
	@$(PY) -m compileall -q nsbuild
	@echo "setup: done; the command is $(VENV)/bin/nsbuild"

apt:
	@missing=(); for package in $(PACKAGES) $(CORPUS_PACKAGES); do \
	  status=$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null || true); \
	  [ "$$status" = installed ] || missing+=("$$package"); \
	done; \
	for command in $(CORPUS_COMMANDS); do \
	  type -P "$$command" >/dev/null || missing+=("$$command"); \
	done; \
	if [ $${#missing[@]} -eq 0 ]; then echo "setup: all Debian packages are there"; exit 0; fi; \
	echo "setup: apt installs: $${missing[*]}"; \
	$(APT) update; \
	$(APT) install --no-install-recommends "$${missing[@]}"

$(STAMP): pyproject.toml hatch_build.py $(wildcard libfaketime_ext/*.[ch]) | apt
	@for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	  echo "setup: no Python >= 3.11 with venv found (tried: $(PYTHONS))" >&2; exit 1; fi; \
	if [ ! -x $(PY) ]; then echo "setup: a venv in $(VENV), by $$python"; "$$python" -m venv $(VENV); fi; \
	echo "setup: pip installs nsbuild (editable) and the test tools into $(VENV)"; \
	$(PY) -m pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[test]'
	@$(PY) -m compileall -q nsbuild
	@touch $@

demo: $(STAMP) ## build Debian's hello and an unreproducible project twice and compare
	@tests/acceptance/demo/run.sh

test: $(STAMP) ## all tests; with root also those that need it
	@$(PY) -m pytest $(PYTEST_ARGS)

packages: $(STAMP) ## build real Debian packages twice, bare and inside; writes docs/packages.md
	@$(PY) -m tests.acceptance.packages --write docs/packages.md

corpus: $(STAMP) ## build small projects of many toolchains twice, bare and inside; writes docs/corpus.md
	@$(PY) -m tests.acceptance.corpus --write docs/corpus.md

bench: $(STAMP) ## compare speed with other tools side by side (QUICK=1: shorter)
	@$(PY) -m benchmarks

lint: $(STAMP) ## ruff, mypy, shellcheck, man pages and the house rules
	@$(PY) -m pytest tests/unit/test_house.py $(PYTEST_ARGS)

format: $(STAMP) ## let ruff format and fix the Python files
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

man: $(MAN_PAGES) ## build the man pages into .cache/man
	@echo "man: $(MAN_PAGES)"

.cache/man/%: docs/man/%.md
	@mkdir -p $(@D)
	@pandoc --standalone --from markdown-smart --to man --output $@ $<

clean: ## remove what was built; .venv stays
	@chmod -R u+w .cache 2>/dev/null || true
	@rm -rf .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find nsbuild tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: done"

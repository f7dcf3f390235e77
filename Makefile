# Two commands on a fresh machine with Python 3.11 and git: `make demo` and `make test`.
# Both work in .venv, made here from constraints.txt and left alone while nothing changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Nothing phones home, waiting torch threads spin only shortly, and torch's compiler is not loaded.
export MLFLOW_DISABLE_TELEMETRY := true
export DAGSTER_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 1000
export TORCHDYNAMO_DISABLE := 1

# A venv holds absolute paths: the stamp names the clone's own, so that a moved or copied clone
# makes a new one instead of running the code at the old place.
STAMP := $(VENV)/.installed-$(shell pwd | cksum | cut -d' ' -f1)

.DELETE_ON_ERROR:
.PHONY: help demo test test-system quick deploy test-remote lint docs chaos screenshots constraints constraints-check clean

help:
	@echo "make demo         three whole rounds on the shipped sample, in a fresh workspace at ./demo"
	@echo "make test         all tests that need nothing but the packages"
	@echo "make test-system  the tests that need servers; installs their Debian packages (as root)"
	@echo "make quick        the tests that run no whole jobs and are not slow"
	@echo "make deploy       run JOB of WORKSPACE, its heavy work on the Ray cluster of its ftzard.yaml"
	@echo "make test-remote  try that cluster with 400 rows and one epoch: pass or fail, line by line"
	@echo "make lint         ruff and mypy, with the settings in pyproject.toml"
	@echo "make docs         the documentation into ./site, to be read and searched without a network"
	@echo "make example-NAME  a small workspace: sentiment, emotion, instructions or team"
	@echo "make chaos        kill -9 at random moments of jobs, servers, decisions, ROUNDS=10 times"
	@echo "make screenshots  pictures of the demo's pages into ./screenshots; needs Debian's chromium"
	@echo "make constraints  write constraints.txt anew from requirements.txt (Python 3.11)"
	@echo "make constraints-check  whether they resolve on Python 3.11, 3.12 and 3.13"
	@echo "make clean        remove what was installed and built; the workspace's data stays"

demo: $(STAMP)
	$(BIN)/ftzard demo ./demo

# Two processes, which share the work by file; whole jobs first (tests/conftest.py).
PYTEST = $(BIN)/pytest -q -n 2 --dist loadgroup --no-loadscope-reorder

test: $(STAMP)
	$(PYTEST) -m "not system"

# The servers themselves come as Debian packages, where they are not installed yet.
SYSTEM_STAMP = $(STAMP)-system
SYSTEM_EXTRAS := test,system,docs
DEBIAN = postgresql mariadb-server libreoffice-calc chromium

test-system: $(SYSTEM_STAMP)
	@for package in $(DEBIAN); do dpkg -s $$package >/dev/null 2>&1 || missing=1; done; \
	    if [ -n "$$missing" ]; then apt-get -qq update \
	        && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y $(DEBIAN) >/dev/null; fi
	$(PYTEST) -m system

# The extra is added to what is there; ftzard.yaml says where: compute: {address: …, storage: …}.
REMOTE_STAMP = $(STAMP)-ray

deploy: $(REMOTE_STAMP)
	$(BIN)/ftzard run $(or $(JOB),training_pipeline_job) -w "$(or $(WORKSPACE),.)" compute=ray $(OVERRIDES)

test-remote: $(REMOTE_STAMP)
	$(BIN)/python bench/cluster_check.py -w "$(or $(WORKSPACE),.)" $(OVERRIDES)

quick: $(STAMP)
	$(PYTEST) -m "not jobs and not slow and not system"

# It checks and changes nothing; `.venv/bin/ruff check --fix` mends what is safe to mend.
LINT_STAMP = $(STAMP)-lint

lint: $(LINT_STAMP)
	$(BIN)/ruff check
	$(BIN)/mypy

# Nothing in it is loaded from elsewhere; a link that leads nowhere is an error.
DOCS_STAMP = $(STAMP)-docs

docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

chaos: $(STAMP)
	$(BIN)/python bench/chaos.py $(or $(ROUNDS),10) $(or $(SEED),0)

# Of a workspace that is there, by default the demo's; whoever likes them copies dag.png and
# report.png to docs/.
screenshots: $(STAMP)
	$(BIN)/python tools/screenshots.py $(or $(WORKSPACE),demo) screenshots

# Four small workspaces: sentiment, emotion, instructions, team (examples/README.md).
example-%: $(STAMP)
	@PATH="$(abspath $(BIN)):$$PATH" examples/run.sh $* ./$@

# One retry: package indexes have bad minutes. Only a complete install leaves a stamp.
PIP = python -m pip install -qq --disable-pip-version-check
INSTALL = $(BIN)/$(PIP) -c constraints.txt -e '.[$(1)]'

$(STAMP): constraints.txt requirements.txt pyproject.toml
	@$(call need_python,>=,3.11 or newer)
	@if ls $(VENV)/.installed-* >/dev/null 2>&1 && [ ! -e $@ ]; then \
	    echo "$(VENV) was made at another place: making it anew"; rm -rf $(VENV); fi
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@echo "Installing the pinned packages into $(VENV); the first time takes some minutes"
	@$(call INSTALL,test) || { echo "The install failed; trying once more" >&2; $(call INSTALL,test); }
	@touch $@

$(SYSTEM_STAMP): $(STAMP)
	@$(call INSTALL,$(SYSTEM_EXTRAS))
	@touch $@

$(REMOTE_STAMP): $(STAMP)
	@$(call INSTALL,ray)
	@touch $@

$(LINT_STAMP): $(STAMP)
	@$(call INSTALL,lint)
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@$(call INSTALL,docs)
	@touch $@

# All that pip would install today within requirements.txt. A build tag such as +cpu is cut off: the
# public version is what every index has. CUDA libraries are left to torch, which pins them itself.
FRESH := $(VENV)-constraints

constraints:
	@$(call need_python,==,exactly 3.11)
	rm -rf $(FRESH) && $(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/$(PIP) -e '.[test,system,lint,docs]'
	grep '^#' constraints.txt > constraints.txt.new
	$(FRESH)/bin/python -m pip freeze --all --exclude-editable --exclude pip \
	    | sed -E 's/\+[A-Za-z0-9.]+$$//' | grep -Ev '^(nvidia-|cuda-|triton==)' >> constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf $(FRESH)

# With wheels alone and without those Pythons; what is published as source only is built here.
SOURCE_ONLY := antlr4-python3-runtime rouge-score
TOOLS := pytest pytest-xdist pytest-timeout nbformat trl psutil comet-ml py-rattler ray 'psycopg[binary]' pymysql ruff mypy \
    mkdocs-material 'mkdocstrings[python]'
constraints-check: $(STAMP)
	$(BIN)/python -m pip wheel -qq --no-deps -w $(FRESH) -c constraints.txt $(SOURCE_ONLY)
	@for version in 3.11 3.12 3.13; do \
	    echo "Python $$version"; \
	    $(BIN)/$(PIP) --dry-run --ignore-installed --only-binary=:all: --find-links $(FRESH) \
	        --python-version $$version --target $(FRESH) -c constraints.txt \
	        -r requirements.txt $(TOOLS) || exit 1; \
	done
	rm -rf $(FRESH)

clean:
	rm -rf $(VENV) $(FRESH) build dist site ftzard.egg-info .pytest_cache
	find $(wildcard ftzard tests bench) -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call need_python,OPERATOR,WORDS): stop with a sentence unless PYTHON is 3.11 (or newer).
need_python = $(PYTHON) -c 'import sys; sys.exit(not sys.version_info[:2] $(1) (3, 11))' 2>/dev/null \
    || { echo "FTzard needs Python $(2), which '$(PYTHON)'" \
         "($$($(PYTHON) --version 2>&1 | head -n 1)) is not." \
         "Name another: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }

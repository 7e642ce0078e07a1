# `make help` lists the targets. Variables: VENV (environment folder), PYTHON
# (interpreter that creates it), STACK (default: the maintained forks; upstream:
# mmengine 0.10, mmcv 2.1, torch 2.1), MAX_JOBS (parallel compilations of mmcv),
# TESTS (files and folders), PYTEST_ARGS, PYTEST_WORKERS (0: none beside the main
# process), OMP_NUM_THREADS.

STACK ?= default
VENV ?= .venv$(if $(filter upstream,$(STACK)),-upstream)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TESTS ?= tests projects
PYTEST_ARGS ?=
PYTEST_WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); \
	[ $$n -gt 8 ] && echo 8 || echo $$n)
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install quickstart test lint format docs clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / \
		{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Variables: VENV=$(VENV) PYTHON=$(PYTHON) STACK=$(STACK)'

install: ## create VENV (default .venv) and install what is missing
	@$(PYTHON) tools/setup/install.py '$(VENV)' '$(STACK)'

quickstart: install ## train and compare two tiny models, about 16 min
	'$(BIN)/python' projects/shapes/quickstart.py

# A process a core, each with one thread: tensors in the tests are small, and
# most of the time goes into starting processes. A file stays with one process,
# which makes its fixtures once; tests/conftest.py puts long ones first.
DIST := --dist loadfile --no-loadscope-reorder
test: export OMP_NUM_THREADS ?= 1
test: install ## run all tests (PYTEST_ARGS='-m "not slow"' skips the slow ones)
	'$(BIN)/python' -m pytest $(TESTS) -n $(PYTEST_WORKERS) $(DIST) $(PYTEST_ARGS)

lint: install ## ruff, formatting, docstring coverage
	'$(BIN)/ruff' check .
	'$(BIN)/ruff' format --check .
	'$(BIN)/interrogate' --fail-under 95 harmoclip_mm

format: install ## let ruff fix and format the code
	'$(BIN)/ruff' check --fix .
	'$(BIN)/ruff' format .

# In an environment of its own, since building needs nothing of the stack. The
# pages are links, so that those between folders hold here and in the repository.
DOCS_VENV := $(VENV)-docs
PAGES := README.md CHANGELOG.md CONTRIBUTING.md LICENSE docs configs projects

$(DOCS_VENV)/.made: requirements/docs.txt
	$(PYTHON) -m venv '$(DOCS_VENV)'
	'$(DOCS_VENV)/bin/python' -m pip install -q -r requirements/docs.txt
	@touch '$@'

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(DOCS_VENV)/.made ## build the site of the documentation, build/site/index.html
	@mkdir -p build/pages && ln -sfn $(PAGES:%=../../%) build/pages/
	'$(DOCS_VENV)/bin/mkdocs' build

clean: ## remove build products and caches (not VENV, data, work_dirs)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find harmoclip_mm projects tools tests configs -name __pycache__ -type d \
		-prune -exec rm -rf {} + 2>/dev/null || true

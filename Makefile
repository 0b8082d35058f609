# Needs Python 3.11 to 3.13 and make, nothing else. The tools live in $(VENV), which is brought up to
# date when pyproject.toml or constraints.txt change, and otherwise left alone (no network then).
#   make test PYTHON=python3.12        another interpreter
#   make test VENV=/some/where         another place
#   make test PYTEST_ARGS="-k sudoku"  more words for pytest

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV ?= .venv
EXTRAS ?= arc,dev,docs,export,hub,minigrid,plot,popgym,reference,sb3,slurm
PYTEST_ARGS ?=
BENCH_ARGS ?=
GPU_ARGS ?=
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input -c constraints.txt

# The stamp names the checkout, so that a copied or moved tree does not go on using the one it came from.
HERE := $(shell pwd -P | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(HERE)

.PHONY: help setup quickstart test lint format docs wheel bench gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## make or renew the virtual environment

quickstart: $(READY) ## train a small model on small puzzles and show how it thinks
	@$(PY) -m hrm_rl.cli quickstart

test: $(READY) ## run the tests, but the slow ones and those that need a GPU
	@$(PY) -m pytest $(PYTEST_ARGS)

lint: $(READY) ## ruff, mypy and the import floors
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy -p hrm_rl
	@$(VENV)/bin/lint-imports --no-logo

format: $(READY) ## sort the imports and format the code
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

docs: $(READY) ## build the site into site/, strictly
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@$(PY) docs/solver.py site
	@echo "The site is in site/index.html"

wheel: $(READY) ## build the wheel and the source archive into dist/
	@$(PY) -c "from setuptools import build_meta as b; print(b.build_sdist('dist')); print(b.build_wheel('dist'))"

bench: $(READY) ## time the kernels and a training step on this machine
	@$(PY) -m hrm_rl.cli bench $(BENCH_ARGS)

gpu: $(READY) ## on a GPU: test, time and train for ten minutes; again goes on (GPU_ARGS="--minutes 60")
	@$(PY) benchmarks/gpu.py $(GPU_ARGS)

clean: ## remove the virtual environment, builds and caches; runs/ stays
	if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find hrm_rl tests experiments -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# PYTHON, if it was given, else the first interpreter that runs, is of a version we support, and can make
# a virtual environment.
$(READY): pyproject.toml constraints.txt
	@set -e; \
	probe='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; \
	if ! "$(PY)" -c "$$probe" >/dev/null 2>&1; then \
	  if [ -n "$$(ls -A "$(VENV)" 2>/dev/null)" ] && [ ! -f "$(VENV)/pyvenv.cfg" ]; then \
	    echo "$(VENV) holds something, and no virtual environment: choose another VENV." >&2; exit 1; \
	  fi; \
	  found=; \
	  for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	    if "$$candidate" -c "$$probe" >/dev/null 2>&1; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "hrm_rl needs Python 3.11, 3.12 or 3.13 with its venv module; tried: $(or $(PYTHON),python3 python3.13 python3.12 python3.11)." >&2; \
	    echo "Name one with 'make ... PYTHON=/path/to/python' (on Debian and Ubuntu the module is in python3-venv)." >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$found ($$("$$found" -V)): a minute or more, most of it PyTorch."; \
	  "$$found" -m venv --clear "$(VENV)"; \
	else \
	  echo "Bringing $(VENV) up to date with pyproject.toml and constraints.txt."; \
	fi; \
	rm -f "$(VENV)"/.ready-*; \
	$(PIP_INSTALL) setuptools; \
	$(PIP_INSTALL) --no-build-isolation -e ".[$(EXTRAS)]"; \
	touch "$@"

# Three commands: `make demo`, `make tui` and `make test`. Each sets up what it needs, once.
# The first that runs and is new enough: a name on the PATH may be a shim for a version that is not there.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help demo tui test lint types imports tests clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo: .venv/engine ## run the whole job on the built-in world, in ./demo
	@$(BIN)/t2v demo

tui: .venv/engine ## open the terminal UI
	@$(BIN)/python -m t2v_tui.main

test: lint types imports tests ## run lint, type check, import contracts and all tests

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

imports: .venv/dev
	$(BIN)/lint-imports

# One thread a process: the tests start engines of their own, on every core.
tests: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "t2v needs Python 3.11 or newer; name one: make demo PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/engine: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing t2v and its engine into .venv (once, a few minutes)"
	$(INSTALL) '.[engine]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt .venv/engine
	@echo "installing the test tools into .venv (once)"
	$(INSTALL) '.[engine,dev]'
	@touch $@

clean: ## remove .venv, caches and the demo
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

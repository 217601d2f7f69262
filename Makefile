# Three commands: `make demo`, `make tui` and `make test`. Each sets up what it needs, once, and says beforehand how
# large it is.
# The first that runs and is new enough: a name on the PATH may be a shim for a version that is not there.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help demo tui check test docs programs lint types imports tests quick clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo: .venv/engine ## run the whole job on the built-in world, in ./demo
	@$(BIN)/t2v demo

tui: .venv/engine ## open the terminal UI
	@$(BIN)/python -m t2v_tui.main

check: lint types imports quick ## run lint, type check, import contracts and the quick tests

# K=name: only tests with that in their names or files, and nothing else.
test: programs $(if $(K),,lint types imports) tests ## run all of that with all tests; K=name: only such tests

docs: .venv/docs ## make the documentation, a site that needs no network, in ./site
	@$(BIN)/python docs/make_site.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

imports: .venv/dev
	$(BIN)/lint-imports

# What the tests use of the system; a test whose program is missing all the same is left out by name.
programs:
	@$(or $(PYTHON),python3) setup/programs.py

# One thread a process: the tests start engines of their own, on every core. Each is a new interpreter, so that what was
# compiled once is kept, whatever the variables of this shell say.
TESTING := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
PROCESSES := --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 2)) --dist loadfile --no-loadscope-reorder

# Half of their time the tests wait for a machine or a link, hence two processes more than there are cores. What takes
# longest begins first, by tests/slowest.txt.
tests: .venv/dev | programs
	$(TESTING) $(BIN)/pytest $(PROCESSES) $(if $(K),-k '$(K)') || $(AGAIN)

# What failed beside other tests runs once more with nothing beside it. Red is what fails both times; what passes alone
# has a race or a bound that a busy machine breaks, and the end of the output names it.
AGAIN = { test $$? -eq 1 && echo && echo "once more, with nothing beside them: the tests that failed" && \
	$(TESTING) $(BIN)/pytest --last-failed --last-failed-no-failures none -rap; }

# These wait for nothing, and each process imports the engine, which takes 5 s of a core.
quick: .venv/dev
	$(TESTING) $(BIN)/pytest --numprocesses $$(getconf _NPROCESSORS_ONLN) --dist loadfile --quiet @tests/quick.txt

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "t2v needs Python 3.11 or newer; name one: make demo PYTHON=..." >&2; exit 2; }
	@$(PYTHON) setup/programs.py venv
	$(PYTHON) -m venv .venv

.venv/engine: pyproject.toml constraints.txt | .venv/bin/python
	@$(BIN)/python setup/packages.py
	@echo "installing t2v and its engine into .venv (once, a few minutes)"
	$(INSTALL) '.[engine]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt .venv/engine
	@echo "installing the test tools into .venv (about 125 MB, once)"
	$(INSTALL) '.[engine,web,docs,dev]'
	@touch $@ .venv/docs

.venv/docs: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing what makes the site into .venv (about 25 MB, once)"
	$(INSTALL) '.[docs]'
	@touch $@

clean: ## remove .venv, caches and the demo
	rm -rf .venv .machine demo site .site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

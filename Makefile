# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DIR ?= delist-demo

# Tests start hundreds of commands; each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-failed soak lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   the main job on this machine, in a minute or two"
	@echo "make test   all tests"
	@echo "make soak   the long proofs with their full counts"
	@echo "make lint   ruff, mypy, import-linter"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the program needs to run.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# What PDF reports need of the system. Without apt-get, or without the right to use it, the tests
# of PDF are skipped and say so.
PDF_PACKAGES := libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-noto-core

# What the tests need beside it. One test dependency is built from C++ sources. aics-tlog, which reads
# our ledger's log in the tests, asks for Python 3.12; what we use of it runs on 3.11.
$(VENV)/.installed-dev: $(VENV)/.installed
	@command -v c++ >/dev/null || command -v g++ >/dev/null \
	  || sh -c 'apt-get update && apt-get install --yes --no-install-recommends g++ python3-dev' \
	  || { echo "a C++ compiler is needed for the tests; install g++"; exit 1; }
	@dpkg --status $(PDF_PACKAGES) >/dev/null 2>&1 \
	  || sh -c 'apt-get update && apt-get install --yes --no-install-recommends $(PDF_PACKAGES)' \
	  || echo "PDF reports are not tested; they need $(PDF_PACKAGES)"
	@test -x "$(JAVA_HOME)/bin/java" || command -v java >/dev/null \
	  || sh -c 'apt-get update && apt-get install --yes --no-install-recommends openjdk-17-jre-headless' \
	  || { echo "Java 17 or newer is needed for the tests of Spark; install a JRE"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python aics-tlog==0.2.1
	@touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO_DIR)
	$(BIN)/delist demo --keep $(DEMO_DIR)

# Said before and after: what was left out is not to be overlooked. With CI set the tests fail instead.
NO_CHROMIUM = $(BIN)/python -c 'from tests.fakes.browser import find_chromium as find; find() or \
  print("BROWSER TESTS ARE LEFT OUT: no Chromium here. To run them: apt-get install chromium")'

test: $(VENV)/.installed-dev
	@$(NO_CHROMIUM)
	$(BIN)/python -m tests.warm_up
	$(BIN)/python -m pytest
	@$(NO_CHROMIUM)

# What failed in the last run, one after the other. Tells a fault of the program from a machine that
# was too busy for a moment: the former fails again.
test-failed: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 0 --last-failed --last-failed-no-failures none

soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.warm_up
	DELIST_SOAK=1 $(BIN)/python -m pytest --timeout 3600
	$(BIN)/python -m tests.soak --json soak.json

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(DEMO_DIR) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

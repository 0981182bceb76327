# Two commands need nothing but Python 3.11+, git and make: `make demo` and `make test`. Everything comes from wheels.
.DEFAULT_GOAL := help
.PHONY: help demo up test coverage check faults bench lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each test process has servers of its own. More of them than cores: the fault tests wait for processes more than they compute.
PROCESSES ?= 4
# What is measured computes.
MEASURING ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Absolute, as the processes that tests start have working directories of their own.
COVERAGE := COVERAGE_FILE=$(CURDIR)/.atelier/coverage/data $(BIN)/coverage
# Measuring makes a test take twice the time, so it is not part of `make test`, and those that wait are not measured.
WAITS := tests/api tests/faults
# But for those of the API that go through all of it.
WALKS := $(addprefix tests/api/,test_access.py test_cli.py test_erasures.py test_logins.py)
MEASURED := tests/test_architecture.py $(filter-out $(WAITS) tests/support tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)))

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

# A stamp is newer than what it was made from, or the environment is brought up to date.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: requirements/local.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/local.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.local
	$(PIP) --require-hashes -r requirements/dev.txt
	touch $@

demo: $(VENV)/.local  ## start everything, write one article, leave it as Markdown, HTML, PDF and DOCX
	$(BIN)/atelier demo

up: $(VENV)/.local  ## servers, API and a worker in this terminal
	$(BIN)/atelier up

test: $(VENV)/.dev  ## the tests
	$(BIN)/pytest --numprocesses $(PROCESSES)

coverage: $(VENV)/.dev  ## how much of the code the tests go through that compute
	mkdir -p .atelier/coverage && rm -f .atelier/coverage/data*
	$(COVERAGE) run -m pytest --numprocesses $(MEASURING) $(MEASURED) $(WALKS)
	$(COVERAGE) combine --quiet
	$(COVERAGE) report

check: $(VENV)/.dev  ## lint, types, import rules, known vulnerabilities
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.support.pip_audit

faults: $(VENV)/.dev  ## the long fault runs
	$(BIN)/pytest -m faults

bench: $(VENV)/.dev  ## the figures, as a table and in .atelier/bench.json
	$(BIN)/python -m bench

lock: $(VENV)/.dev  ## hashed requirements from pyproject.toml; UPGRADE=1 takes the newest versions
	$(BIN)/python requirements/lock.py $(if $(UPGRADE),--upgrade)

clean:  ## the environment and all local data
	rm -rf $(VENV) .atelier

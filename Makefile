# make run    start Stemsite on http://127.0.0.1:8000 (PORT=…, DATA_DIR=… to change)
# make test   lint, types and the whole test suite
# make check  lint and types only
# make bench  the benchmark tables of the README (BENCH="engine overshoot …" to choose)

PYTHON      ?= python3
VENV        ?= .venv
BIN         := $(VENV)/bin
BENCH       ?=
PYTEST_ARGS ?= --numprocesses 2 --dist loadgroup

.PHONY: run test check bench format clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	@exec $(BIN)/python -m stemsite.run

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	DATA_DIR=$(VENV)/check-data $(BIN)/python manage.py makemigrations --check --dry-run

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks $(BENCH)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Stemsite needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.installed

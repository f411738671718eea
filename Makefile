# `make demo` and `make test` are all a fresh clone needs: each sets up what it uses.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint fmt clean

demo: $(VENV)/.run
	$(BIN)/rocelab run

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis runs dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rocelab needs Python 3.11 or later; name one with make PYTHON=/path/to/python3"; exit 2; }
	@echo "setting up $(VENV) (first time only)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing pinned dependencies"
	@PIP_CONSTRAINT=constraints.txt $(INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing what the tests need"
	@PIP_CONSTRAINT=constraints.txt $(INSTALL) --editable '.[test]'
	@touch $@

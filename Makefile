# Python 3.11 or newer is all that is needed; everything else is installed into .venv.
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: serve test check bench clean

serve: $(VENV)/.serve
	$(BIN)/spar serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	@for bench in benchmarks/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV); torch is large, so the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet --editable ".[embedded]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV); torch is large, so the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.serve

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

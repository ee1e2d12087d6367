# Thin on purpose. Everything Python lives in .venv inside this checkout; `make demo` is all it takes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check services services-stop bench

demo: $(READY)  ## four drawn cameras, one process, about a minute
	$(BIN)/citywatch demo

test: $(READY)  ## every test, on a real Kafka and a real Redis where they can be had
	.ci/system-packages
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/test

check: $(READY)  ## format, lint, types, who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

services: $(READY)  ## a Kafka and a Redis on free ports; their addresses are printed
	.ci/system-packages
	$(BIN)/python -m tests.support.services start

services-stop: $(READY)
	$(BIN)/python -m tests.support.services stop

bench: $(READY)  ## every claim of the README, measured here
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

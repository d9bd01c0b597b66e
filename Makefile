# What a person types is what CI runs. Each target is a plain command underneath; nothing here is needed to run it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PY := .venv/bin/python
PYTEST := $(PY) -m pytest

.PHONY: help
help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup  ## Run the main job: real flights in, a validated and pushed model out
	@.venv/bin/flightdeck data prepare
	@.venv/bin/flightdeck run

.PHONY: setup
setup:  ## Make the environment for running
	@requirements/install.sh runtime

.PHONY: setup-dev
setup-dev:  ## Make the environment for developing
	@requirements/install.sh dev

.PHONY: test
test: setup-dev  ## Run every test, and report the coverage
	@rm -f .coverage .coverage.*
	@COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/.coverage $(PYTEST) --cov --cov-report=term --cov-report=xml --durations=10 -m "unit"
	@COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/.coverage $(PYTEST) --numprocesses 2 --dist loadscope --cov --cov-append --cov-report=term --cov-report=xml --durations=15 -m "not unit and not kubeflow"

.PHONY: kubeflow-test
kubeflow-test: setup-dev  ## Run the compiled pipeline in containers, with a Docker engine and MariaDB of its own
	@$(PYTEST) --durations=10 -m kubeflow

.PHONY: unit
unit: setup-dev  ## Run the fast tests only
	@$(PYTEST) -m unit

.PHONY: lint
lint: setup-dev  ## Check style, types, dead code, import directions and workflows
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m pyright --level error
	@$(PY) -m vulture
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

.PHONY: format
format: setup-dev  ## Rewrite the code in the project's style
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: benchmark
benchmark: setup-dev  ## Measure quality, ingestion and evaluation against their alternatives
	@$(PY) benchmarks/quality.py
	@$(PY) benchmarks/ingestion.py
	@$(PY) benchmarks/evaluation.py

.PHONY: soak
soak: setup-dev  ## Ask the service for ten minutes while versions are pushed, some corrupt, and rolled back
	@$(PY) -m benchmarks.soak

.PHONY: lock
lock:  ## Resolve the newest allowed versions and pin them with hashes
	@requirements/lock.sh

.PHONY: clean
clean:  ## Remove everything a run made; the environment stays
	@if [ -d build/services ]; then $(PY) -m tests.services.down; fi
	@rm -rf workspace build .pytest_cache .ruff_cache .coverage .coverage.* coverage.xml htmlcov

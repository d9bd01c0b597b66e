# What a person types is what CI runs. Each target is a plain command underneath; nothing here is needed to run it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
BOTH_CORES := --numprocesses 2 --dist loadscope --no-loadscope-reorder
FLIGHTDECK := .venv/bin/flightdeck
# The theme's advertisement is left out. The time of the commit makes a second build the same to the byte.
MKDOCS = NO_MKDOCS_2_WARNING=1 SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct) .venv/bin/mkdocs

# What a release needs to know; docs/ci-cd.md explains each.
MAIN ?= origin/main
IMAGE ?= flightdeck
CRON ?= 0 3 * * 1
STAGING_ENDPOINT ?= http://localhost:8888
PRODUCTION_ENDPOINT ?= http://localhost:8888
COMMIT = $(shell git rev-parse --short=12 HEAD)
TAGGED = --image '$(IMAGE):$(COMMIT)' --set 'kubeflow.resources.Trainer.image="$(IMAGE):$(COMMIT)-gpu"'

.PHONY: help
help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

.PHONY: labs
labs:  ## Make the environment for the labs, and list them
	@requirements/install.sh labs
	@$(FLIGHTDECK) lab list

.PHONY: test
test: setup-dev  ## Run the unit, component and end to end tests
	@$(PYTEST) $(BOTH_CORES) --durations=10 -m unit
	@$(PYTEST) $(BOTH_CORES) --durations=15 -m "(component or e2e) and not proof"

.PHONY: prove
prove:  ## Run what takes too long for every change, before landing and every night
	@$(MAKE) proof-test
	@$(MAKE) labs-test
	@$(MAKE) kubeflow-test

.PHONY: proof-test
proof-test: setup-dev  ## Run the end to end tests that take minutes each: kills, sweeps, replays, reproductions
	@$(PYTEST) $(BOTH_CORES) --durations=15 -m proof

.PHONY: coverage
coverage: setup-dev  ## Run the tests and proofs once more, and report which lines they reach, in all processes
	@rm -f .coverage .coverage.*
	@COVERAGE_PROCESS_START='$(CURDIR)/pyproject.toml' COVERAGE_FILE='$(CURDIR)/.coverage' $(PYTEST) $(BOTH_CORES) --cov --cov-report=term --cov-report=xml -m "unit or component or e2e or proof"

.PHONY: kubeflow-test
kubeflow-test: setup-dev  ## Run the compiled pipeline in containers, with a Docker engine and MariaDB of its own
	@$(PYTEST) --durations=10 -m kubeflow

.PHONY: cluster-test
cluster-test: setup-dev  ## Apply the manifests to a real Kubernetes (KUBECONFIG's, or one of its own) and run pods on it
	@$(PYTEST) --durations=10 -m cluster

.PHONY: flink-test
flink-test: setup-dev  ## Run the pipeline on a real Flink, with the job server of FLINK_JOB_SERVER_JAR=FILE, and kill a part of it
	@$(PY) -m tests.services.flink
	@$(PYTEST) --durations=10 -m flink

.PHONY: labs-test
labs-test: setup-dev  ## Run every lab: solutions pass, every wrong answer fails for its own reason
	@$(PYTEST) --numprocesses 2 --durations=15 -m labs

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
	@.venv/bin/zizmor --offline --quiet .github

.PHONY: data-check
data-check: setup  ## Check the data of a small window against its contract and schema
	@$(FLIGHTDECK) data prepare --config config/small.yaml
	@$(FLIGHTDECK) data check --config config/small.yaml

.PHONY: train-small
train-small: setup  ## Run the pipeline on a small window, in a workspace of its own
	@mkdir -p build/ci
	@$(FLIGHTDECK) data prepare --config config/small.yaml
	@$(FLIGHTDECK) run --config config/small.yaml --json > build/ci/summary.json

.PHONY: compare-with-main
compare-with-main: train-small  ## Train the same where this branch left main, and write build/ci/metrics.md
	@$(FLIGHTDECK) runs against '$(MAIN)' --config config/small.yaml --output build/ci/metrics.md

.PHONY: image
image: setup  ## Build the images of this commit
	@$(FLIGHTDECK) image build --repository '$(IMAGE)'
	@$(FLIGHTDECK) image build --repository '$(IMAGE)' --target gpu
	@$(FLIGHTDECK) image build --repository '$(IMAGE)' --target serve

.PHONY: image-push
image-push: setup  ## Push them to IMAGE=HOST/FOLDER/flightdeck
	@$(FLIGHTDECK) image push --repository '$(IMAGE)'
	@$(FLIGHTDECK) image push --repository '$(IMAGE)' --target gpu
	@$(FLIGHTDECK) image push --repository '$(IMAGE)' --target serve

.PHONY: compile
compile: setup  ## Compile the pipeline of this commit for staging and production, into build/ci
	@mkdir -p build/ci
	@$(FLIGHTDECK) kubeflow compile --config config/staging.yaml $(TAGGED) --output build/ci/staging.yaml
	@$(FLIGHTDECK) kubeflow compile --config config/kubeflow.yaml $(TAGGED) --output build/ci/production.yaml

.PHONY: stage
stage: setup  ## Upload the compiled pipeline to staging, and run it there to its end
	@$(FLIGHTDECK) kubeflow upload --config config/staging.yaml --file build/ci/staging.yaml --set 'kubeflow.endpoint="$(STAGING_ENDPOINT)"'
	@$(FLIGHTDECK) kubeflow submit --config config/staging.yaml --pipeline-version '$(COMMIT)' --name 'staging $(COMMIT)' --wait --set 'kubeflow.endpoint="$(STAGING_ENDPOINT)"'

.PHONY: promote
promote: setup  ## Let production run it, if the run in staging pushed a blessed model
	@$(FLIGHTDECK) kubeflow promote 'staging $(COMMIT)' --file build/ci/production.yaml --cron '$(CRON)' --staging-endpoint '$(STAGING_ENDPOINT)' --set 'kubeflow.endpoint="$(PRODUCTION_ENDPOINT)"'

.PHONY: release
release:  ## All of it: image, image-push, compile, stage, promote
	@$(MAKE) image
	@$(MAKE) image-push
	@$(MAKE) compile
	@$(MAKE) stage
	@$(MAKE) promote

.PHONY: format
format: setup-dev  ## Rewrite the code in the project's style
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: docs
docs: setup-dev  ## Build the documentation site into build/site, strictly
	@$(MKDOCS) build --strict --quiet
	@echo "Open build/site/index.html"

.PHONY: docs-serve
docs-serve: setup-dev  ## Show the documentation while it is written
	@$(MKDOCS) serve

.PHONY: benchmark
benchmark: setup-dev  ## Measure quality and ingestion against their alternatives; writes docs/quality.md
	@$(PY) -m benchmarks.quality --write
	@$(PY) benchmarks/ingestion.py

.PHONY: bench
bench: setup-dev  ## Measure a run against stock TFX and a script without TFX; writes docs/performance.md
	@$(FLIGHTDECK) data prepare
	@$(PY) -m benchmarks.pipeline --repeat 3 --write

.PHONY: serving-peers
serving-peers: setup-dev  ## Measure the service beside KServe's and MLServer's; writes docs/serving-peers.md
	@command -v h2load >/dev/null || requirements/system-packages.sh load
	@$(PY) -m benchmarks.serving_peers --write

.PHONY: growth
growth: setup-dev  ## Measure runs on up to sixteen times the flights; adds them to docs/performance.md
	@$(FLIGHTDECK) data prepare
	@$(PY) -m benchmarks.growth --write

.PHONY: tables
tables: setup-dev  ## Measure ten tables of packages beside trees and a linear model; writes docs/tables.md
	@$(PY) -m benchmarks.tables --write

.PHONY: benchmark-gpu
benchmark-gpu: setup-dev  ## Train on a GPU and on the processors of the same machine, small networks and large ones
	@$(PY) -m benchmarks.accelerator

.PHONY: replay
replay: setup  ## Play the year month by month under each level of maturity, and measure what each is worth
	@$(FLIGHTDECK) data prepare --config config/replay.yaml
	@$(FLIGHTDECK) replay

.PHONY: observe
observe: setup  ## Start Prometheus with our alert rules, break the service, and show the alarms
	@requirements/system-packages.sh prometheus
	@$(FLIGHTDECK) observe

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

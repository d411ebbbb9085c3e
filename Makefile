# What people type here. Everything rests on .venv, made from the committed lock.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types cluster check-cluster lock bench schemas clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## Make .venv from requirements.txt; does nothing when up to date

.venv/ready: requirements.txt pyproject.toml scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup

demo: setup ## Train, gate, register and serve a model on this machine, and show it
	@$(BIN)/modelyard demo

test: setup ## Run the tests
	@$(BIN)/pytest --ignore tests/cluster

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup
	@$(BIN)/mypy

check: lint types test ## Lint, types and tests: what has to pass before a change lands

cluster: setup ## Build Pulumi's engine and a Kubernetes control plane for tests (needs Go; half an hour the first time)
	@$(BIN)/python -m tests.cluster build

check-cluster: cluster ## The tests on the engine and the control plane
	@MODELYARD_CLUSTER=required $(BIN)/pytest tests/cluster

bench: setup ## Measure the local runner and the plan (needs the package registry and Node.js)
	@$(BIN)/python bench/local_run.py
	@$(BIN)/python bench/plan.py

lock: setup ## Resolve the dependencies again and write requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade tests/checkov/requirements.in --universal --python-version 3.11 \
		--generate-hashes --output-file tests/checkov/requirements.txt

schemas: setup ## Write the JSON Schemas of the files in stacks/ again
	@$(BIN)/python -m infra.settings.schemas

clean: ## Remove .venv and the caches of the tools
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info

# The commands of the project. `make` alone lists them.

BIN := .venv/bin
PACKAGES := protocol agent controller simulator

# Seeds of the simulation: on plain memory, and on both stores, which must tell the same story.
SEEDS ?= 5000
SEEDS_BOTH ?= 500

# Coverage in percent, branches included: of the pure layers, and over all.
PURE := protocol/*,agent/core/*,controller/domain/*
PURE_FLOOR := 100
TOTAL_FLOOR := 90

BROKER ?=
WORKERS ?= 2
ARGS ?=
COUNT ?=

.PHONY: help setup demo test lint bench simulate docs lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make the environment .venv (the other commands do this themselves)
	@sh scripts/setup

demo: setup ## show a whole rollout on this machine; through a broker with BROKER=mosquitto; options in ARGS
	@$(if $(BROKER),sh scripts/debian-packages $(BROKER))
	@$(BIN)/tidegate demo $(BROKER:%=--broker %) $(ARGS)

test: lint ## lint, every test, the coverage floors, the simulation; options for pytest in ARGS
	@sh scripts/debian-packages
	$(BIN)/pytest -q -n $(WORKERS) $(PACKAGES:%=--cov=%) --cov-report= $(ARGS)
	$(BIN)/coverage report --include='$(PURE)' --fail-under=$(PURE_FLOOR)
	$(BIN)/coverage report --format=total --fail-under=$(TOTAL_FLOOR)
	$(BIN)/tidegate fuzz --seeds $(SEEDS) --workers $(WORKERS)
	$(BIN)/tidegate fuzz --seeds $(SEEDS_BOTH) --workers $(WORKERS) --store both

lint: setup ## formatting, ruff, mypy, import rules
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup ## benchmarks, with the ratios to the bounds; options in ARGS, of how many devices in COUNT
	@$(BIN)/python -m tests.benchmarks $(if $(COUNT),--devices $(COUNT)) $(ARGS)

simulate: setup ## play SEEDS rollouts in virtual time, with faults; options in ARGS
	@$(BIN)/tidegate fuzz --seeds $(SEEDS) $(ARGS)

docs: setup ## write the tables of the reference and the pictures, run the examples in the documentation and the docstrings
	$(BIN)/python -m tests.docs.page
	$(BIN)/pytest -q --doctest-glob='*.md' docs $(PACKAGES)

# `uv` only resolves here; installing is done by pip. The files hold versions and hashes, no addresses.
UV := .venv-lock/bin/uv
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q
EXTRAS := --extra controller --extra simulator

lock: ## resolve requirements/*.txt anew; UPGRADE=--upgrade for the newest versions
	@test -x $(UV) || { python3 -m venv .venv-lock && .venv-lock/bin/pip install -q uv; }
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements/agent.txt
	$(COMPILE) $(UPGRADE) pyproject.toml $(EXTRAS) -o requirements/all.txt
	$(COMPILE) $(UPGRADE) pyproject.toml $(EXTRAS) --group dev -o requirements/dev.txt
	$(COMPILE) $(UPGRADE) --group goosebit -o requirements/bench-goosebit.txt

clean: ## remove the environments, the caches and what the demo wrote
	rm -rf .venv .venv-lock .venv.lock .coverage .coverage.* htmlcov build dist var
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

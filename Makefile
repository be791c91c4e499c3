# `make` lists the targets. All but up and down need only Python 3.11+, and make the virtual environment themselves.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := beat benchmarks cli dev examples importers scheduler_client scheduler_service shared tests worker

.DEFAULT_GOAL := help
.PHONY: help run test chaos fuzz mutants bench bench-quick lint proto lock up down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/installed ## run the whole system here, on servers found or started privately
	@$(BIN)/python -m dev.run

test: .venv/installed ## run all tests, on one process more than there are cores since many wait, against private servers; ARGS="-k beat" goes to pytest
	@$(BIN)/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 $(ARGS)

chaos: .venv/installed ## break the whole system at random for ten minutes and judge it; ARGS="--seed 7 --minutes 3"
	@$(BIN)/python -m tests.chaos $(ARGS)

fuzz: .venv/installed ## send 100,000 random requests to every method of the API; FUZZ_SEED=7 chooses which, FUZZ_ONLY=4711 one of them
	@FUZZ_REQUESTS=100000 $(BIN)/python -m pytest -n 0 tests/integration/test_conformance.py $(ARGS)

mutants: .venv/installed ## remove each line that protects an invariant, and see a test fail; ARGS="cancel" chooses
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: .venv/installed ## measure it beside its peers and its limits, and write benchmarks/RESULTS.md; ARGS="firing" chooses
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: .venv/installed ## measure ratios in minutes, and fail when one is a third worse than the committed one
	@$(BIN)/python -m benchmarks --quick --gate $(ARGS)

lint: .venv/installed ## style, types, direction of imports, protos, stubs, compose file
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against protos/released.binpb
	$(BIN)/python -m dev.proto --check
	$(BIN)/python -m dev.api_reference --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

proto: .venv/installed ## generate shared/proto and docs/api.md from protos/
	@$(BIN)/python -m dev.proto
	@$(BIN)/python -m dev.api_reference

lock: .venv/installed ## pin the dependencies of pyproject.toml, and the peers, anew; what is pinned stays unless it must move
	$(BIN)/pip-compile --extra=dev --extra=examples --extra=flower --no-emit-find-links --no-emit-index-url --no-emit-options --output-file=requirements-dev.txt --strip-extras pyproject.toml
	$(BIN)/pip-compile --constraint=requirements-dev.txt --extra=examples --extra=flower --no-emit-find-links --no-emit-index-url --no-emit-options --output-file=requirements.txt --strip-extras pyproject.toml
	$(BIN)/pip-compile --no-emit-find-links --no-emit-index-url --no-emit-options --output-file=benchmarks/peers/requirements.txt --strip-extras benchmarks/peers/requirements.in

up: ## run the whole system in Docker
	docker compose up --build --detach --wait

down: ## stop what `make up` started; its volumes stay
	docker compose down

clean: ## remove the virtual environment, caches, and the data of `make run` (.local)
	rm -rf .venv .local build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, as $(PYTHON); install it (Debian 12: apt-get install python3 python3-venv), or name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing the pinned dependencies into .venv ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@

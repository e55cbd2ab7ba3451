# Each goal does its own set-up; it needs Python 3.11+, make and a network. `make help` lists the goals.
PYTHON ?= python3
BIN := .venv/bin
BOOTSTRAP := $(PYTHON) -I stack/bootstrap.py
# URL is used only from make's command line; a URL in the environment belongs to another program.
DEMO_URL := $(if $(findstring command,$(origin URL)),--url '$(URL)')

# Keep compiled modules even if the environment forbids it: without them every start takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test test-fast test-faults check bench bench-identity lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## Start a separate stack, drive one browser from start to finish (URL=https://… to choose the page)
	@$(BOOTSTRAP) demo
	@$(BIN)/python -m stack demo $(DEMO_URL)

up: ## Run the whole stack in the foreground; Ctrl-C stops it
	@$(BOOTSTRAP) up
	@exec $(BIN)/python -m stack up

test: ## Run the tests (ARGS='-k name' or ARGS=path to choose)
	@$(BOOTSTRAP) test
	@$(BIN)/python -m pytest --ignore=tests/faults $(ARGS)

test-fast: ## Run the tests that need neither a browser nor a stack
	@$(BOOTSTRAP) test-fast
	@$(BIN)/python -m pytest --ignore=tests/faults -m 'not integration' $(ARGS)

# Those that measure time run alone, after the others. With ARGS all that is chosen runs together.
test-faults: ## Run the tests that kill, stop and overload the parts of the system; minutes
	@$(BOOTSTRAP) test
	@$(BIN)/python -m pytest -o testpaths=tests/faults $(if $(ARGS),$(ARGS),-m 'not alone')
	@$(if $(ARGS),true,$(BIN)/python -m pytest -n0 -o testpaths=tests/faults -m alone)

check: ## Run the linters, types, import contracts, API schema, migration and layer checks
	@$(BOOTSTRAP) check
	@$(BIN)/python -m stack.checks

bench: ## Measure this machine and print the benchmark table
	@$(BOOTSTRAP) bench
	@$(BIN)/python -m bench $(ARGS)

bench-identity: ## Run public checkers in leased browsers and in plain Chromiums; needs npm
	@$(BOOTSTRAP) test
	@$(BIN)/python -m bench.identity

lock: ## Resolve requirements*.in into the pinned requirements*.txt
	@$(BOOTSTRAP) lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 requirements.in -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 requirements-dev.in -o requirements-dev.txt

clean: ## Remove caches and the virtual environment; keep .browsa/ (your data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/node/node_modules bench/identity/node_modules

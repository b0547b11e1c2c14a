# Every target sets up what it needs in .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check format lint types imports docs bench clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/.demo: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "otel-usage needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "otel-usage needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	touch $@ .venv/.demo

demo: .venv/.demo ## a portal, a few thousand requests, their rows and three reports
	$(BIN)/otel-usage demo

test: .venv/.dev ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: format lint types imports test ## everything that must hold before a commit (docs are tests too)

format: .venv/.dev ## is the code formatted?
	$(BIN)/ruff format --check .

lint: .venv/.dev ## ruff
	$(BIN)/ruff check .

types: .venv/.dev ## mypy --strict
	$(BIN)/mypy

imports: .venv/.dev ## who may import whom
	$(BIN)/lint-imports

docs: .venv/.dev ## the tests of the documentation alone
	$(BIN)/python -m pytest tests/contracts

bench: .venv/.dev ## measure; see benchmarks/README.md
	$(BIN)/python -m benchmarks

clean: ## remove what was made
	rm -rf .venv otel-usage-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

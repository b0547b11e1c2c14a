# Every target sets up what it needs in .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-oldest check format lint types imports docs validate-collector bench soak clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

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

.venv-oldest/.ready: pyproject.toml constraints-oldest.txt
	test -d .venv-oldest || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oldest.txt --editable '.[all,test]'
	touch $@

NOT_OLDEST := $(patsubst %,--ignore=tests/%.py,unit/instrumentation/test_middleware \
	integration/frameworks/test_quart integration/frameworks/test_litestar)

# The documentation speaks of the newest versions. Old releases use what newer Pythons deprecate. Quart needs a newer
# Flask than we do, Litestar a package that an old FastAPI takes for another.
test-oldest: .venv-oldest/.ready ## the frameworks' tests with the oldest versions that are supported
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile -W ignore::DeprecationWarning \
		-W ignore::PendingDeprecationWarning -W ignore::UserWarning -k 'not is_documented' $(NOT_OLDEST) \
		tests/unit/instrumentation tests/unit/exporter tests/integration/frameworks tests/integration/identity

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

validate-collector: ## would a Collector start with collector-config/?
	collector-config/validate

bench: .venv/.dev ## measure; see benchmarks/README.md
	$(BIN)/python -m benchmarks

KILLS ?= 1000

# It prints a seed and a line every hundred kills; after an hour it begins nothing new.
soak: .venv/.dev ## kill servers and commands KILLS=1000 times (half an hour); fails if a row is missing or twice
	$(BIN)/python -m tests.soak --kills $(KILLS)

clean: ## remove what was made
	rm -rf .venv .venv-oldest otel-usage-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

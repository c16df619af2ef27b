# make serve: set everything up and serve.   make test: set everything up and run all checks.
# make bench: set everything up and measure; make bench QUICK=1: in two minutes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SIZE ?= 1GiB
LISTEN ?= 127.0.0.1:5640
METRICS ?= 127.0.0.1:9564
SECONDS ?= 3600
SEED ?=
PACKAGES := server protocol storage
SOURCES := $(PACKAGES) benchmarks tests

.PHONY: serve test check lint types layers unit kernel soak bench clean

serve: $(VENV)/served
	@exec $(BIN)/ram9 serve --listen $(LISTEN) --size $(SIZE) --metrics $(METRICS)

test: check unit

check: lint types layers

lint: $(VENV)/tested
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/tested
	$(BIN)/mypy $(PACKAGES:%=-p ram9.%) -p benchmarks

layers: $(VENV)/tested
	PYTHONPATH=.pkg $(BIN)/lint-imports

unit: $(VENV)/tested
	$(BIN)/pytest -n 2 --dist worksteal

# Only what needs a real Linux client; see tests/kernel/README.md.
kernel: $(VENV)/tested
	$(BIN)/pytest tests/kernel

# Random calls on the server and on tmpfs, until they differ; see CONTRIBUTING.md.
soak: $(VENV)/tested
	$(BIN)/python -m tests.oracle.soak --seconds $(SECONDS) --seed "$(SEED)"

# What `python -m benchmarks all` measures; docs/performance.md tells more.
bench: $(VENV)/benched
	$(BIN)/python -m benchmarks all $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) .pkg build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ram9 needs Python 3.11 or later; say which: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "venv is missing; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/served: $(VENV)/bin/pip pyproject.toml $(wildcard server/*.py server/*/*.py protocol/*.py storage/*.py)
	$(BIN)/pip install --quiet --disable-pip-version-check .
	@touch $@

# The checkers find the packages through an ignored folder of links (see CONTRIBUTING.md); pytest
# runs what the checkout holds.
$(VENV)/tested: $(VENV)/bin/pip pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@mkdir -p .pkg/ram9 && for package in $(PACKAGES); do ln -sfn ../../$$package .pkg/ram9/$$package; done
	@touch $@ && rm -f $(VENV)/served

$(VENV)/benched: $(VENV)/tested
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# A bare machine needs Python 3.11 or newer, make and git; everything else is installed into .venv.
PYTHON ?= python3
PYTEST_ARGS ?=
SCALE_ARGS ?=
VALIDATE_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo docs figures test test-all notebooks lint bench bench-scale coverage validate venv clean

help:
	@echo "make demo    simulate files, fit them, write a store, a figure, a table and a report into demo/"
	@echo "make test    the tests (some minutes)"
	@echo "make notebooks run the notebooks without a browser, and check what they say (two minutes)"
	@echo "make lint    ruff, mypy, import contracts"
	@echo "make docs    the documentation as a site, in build/docs"
	@echo "make figures the figures of the documentation"
	@echo "make bench   accuracy and speed beside scipy, lmfit and xarray"
	@echo "make bench-scale  cost, memory and speed of streaming, 0.05 to 20 GB (docs/scale.md; half an hour, 15 GB of disk)"
	@echo "make coverage how often every kind of interval holds the truth (less than half an hour)"
	@echo "make validate the package beside truth, scipy and pyXpcsViewer, which gets an environment of its own (some minutes)"
	@echo "make clean   remove what these made, .venv too"

demo: $(STAMP)
	$(BIN)/xpcs-dask demo -o demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not cluster and not slurm and not hosts and not notebook and not browser" $(PYTEST_ARGS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -m "slow or cluster or slurm or hosts or notebook or browser" $(PYTEST_ARGS)

notebooks: $(STAMP)
	$(BIN)/python -m pytest tests/notebooks $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -E -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

figures: $(STAMP)
	$(BIN)/python -m docs.figures

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

bench-scale: $(STAMP)
	$(BIN)/python -m tests.benchmarks.scale $(SCALE_ARGS)

coverage: $(STAMP)
	$(BIN)/python -m tests.benchmarks.coverage

validate: $(STAMP)
	$(BIN)/python -m tests.validation $(VALIDATE_ARGS)

venv: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(f"xpcs_dask needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -e ".[test,docs]"
	@touch $@

clean:
	rm -rf $(VENV) demo build dist docs/generated *.egg-info .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

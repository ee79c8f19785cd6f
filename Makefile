# make demo, make test: each makes the environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test matrix faults bench bench-scale bench-gpu gpu evidence-gpu docs catalog lint format clean

demo: $(VENV)/installed
	$(BIN)/smskd demo

test: $(VENV)/installed-dev
	$(BIN)/pytest -n 2

# Trainings that are killed, damaged and resumed; written is the table in docs/concepts/reliability.md.
faults: $(VENV)/installed-dev
	$(BIN)/python -m tests.faults --write docs/concepts/reliability.md

# Every method with about thirty architectures, as teacher and as student; written are tests/matrix and a page of the docs.
matrix: $(VENV)/installed-dev
	$(BIN)/python -m tests.matrix

# Takes some minutes, on a machine that has nothing else to do; written is benchmarks/RESULTS.md.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/table.py

# Cost over size: benchmarks/RESULTS-scale.md, and curves in the docs. The same command goes on.
bench-scale: $(VENV)/installed
	$(BIN)/python benchmarks/scale.py

# The published pairs as in make bench, on a GPU.
bench-gpu: $(VENV)/installed
	$(BIN)/python benchmarks/table.py --gpu --out benchmarks/RESULTS-gpu.md --steps 320
	$(BIN)/python benchmarks/profile_step.py --out benchmarks/PROFILE-gpu.md --precision bf16 --cache memory

comma := ,
CIFAR10 = $(if $(DATA),"data.source={name: parquet$(comma) root: $(abspath $(DATA))}")

# On a GPU, in at most 12 minutes, what tells most first; the same command goes on. DATA is a folder with CIFAR-10 as Parquet.
gpu: $(VENV)/installed-dev
	$(BIN)/python benchmarks/gpu.py $(CIFAR10)

# Likewise, of this the comparison of sequences and joint distillation alone.
evidence-gpu: $(VENV)/installed-dev
	$(BIN)/python benchmarks/evidence.py $(CIFAR10)

# Its pages are in site/, and open from the disk.
docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The lists that smskd methods, anchors, strategies and models show; a test says when they are out of date.
catalog: $(VENV)/installed-dev
	$(BIN)/python -m smskd.cli.catalog_source

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smskd needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

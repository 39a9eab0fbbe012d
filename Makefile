# The two commands of the README, each complete on a fresh machine: they make their own environment in .venv.
.PHONY: demo test lint bench-storage bench-search bench-ingest clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[sentence-transformers,dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m examples.demo $(if $(DOCS),--docs "$(DOCS)")

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench-storage: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[benchmarks]"
	$(BIN)/python benchmarks/storage.py --docs "$(DOCS)"

bench-search: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[benchmarks]"
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/search.py measure --folder bench

bench-ingest: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[benchmarks]"
	taskset -c 0 $(BIN)/python benchmarks/ingest.py measure --folder bench/ingest-$$(date +%s)

clean:
	rm -rf $(VENV) demo bench build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

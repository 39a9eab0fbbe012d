# The two commands of the README, each complete on a fresh machine: they make their own environment in .venv.
.PHONY: demo test applications bench bench-full clean

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
	@# Where Python is told to keep no bytecode, each of the tests' many processes would compile ours anew.
	$(BIN)/python -m compileall -q src tests
	@# Types beside the tests: alone, they would keep one core for a minute.
	@# Threads of FAISS and PyTorch that wait for each other sleep, where they would keep a core from the other tests.
	$(BIN)/mypy & types=$$!; \
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal; tests=$$?; \
	wait $$types && exit $$tests

# The examples of all frameworks: some 300 MB more in the environment.
applications: $(VENV)/applications
	$(BIN)/python -m pytest tests/test_applications.py tests/test_moving.py

$(VENV)/applications: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[applications]"
	@touch $@

# Searching, growing stores, adding and the peers, in short: minutes, and nothing is written to benchmarks/results.
bench: $(VENV)/benchmarks
	$(BIN)/python benchmarks/search.py measure --folder bench --quick
	$(BIN)/python benchmarks/scale.py measure --folder bench --largest 1000 --collected 100 --results bench
	rm -rf bench/ingest
	taskset -c 0 $(BIN)/python benchmarks/ingest.py measure --folder bench/ingest --quick
	$(BIN)/python -m benchmarks.peers measure --folder bench --quick

# All benchmarks in full: hours, and some 10 GB of disk. DOCS is a folder of PDFs.
bench-full: $(VENV)/benchmarks
	@test -d "$(DOCS)" || { echo "Which PDFs? Give their folder: make bench-full DOCS=folder"; exit 2; }
	$(BIN)/python benchmarks/search.py measure --folder bench
	$(BIN)/python benchmarks/scale.py measure --folder bench --largest 1000000
	rm -rf bench/ingest
	taskset -c 0 $(BIN)/python benchmarks/ingest.py measure --folder bench/ingest
	$(BIN)/python benchmarks/responsiveness.py measure --folder bench/responsiveness
	$(BIN)/python -m benchmarks.peers measure --folder bench
	$(BIN)/python benchmarks/embedding.py measure --docs "$(DOCS)" --folder bench
	$(BIN)/python benchmarks/recall.py embed --docs "$(DOCS)" --vectors bench/real.npy
	$(BIN)/python benchmarks/recall.py measure --vectors bench/real.npy
	$(BIN)/python benchmarks/sublinear.py --vectors bench/real.npy
	$(BIN)/python benchmarks/disk.py --docs "$(DOCS)" --folder bench
	$(BIN)/python benchmarks/storage.py --docs "$(DOCS)"
	rm -rf bench/reuse
	$(BIN)/python benchmarks/reuse.py measure --documents "$(DOCS)" --folder bench/reuse

$(VENV)/benchmarks: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[benchmarks,peers]"
	@mkdir -p bench
	@touch $@

clean:
	rm -rf $(VENV) demo bench build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

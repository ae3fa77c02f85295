# Everything a reader types. `make reproduce-table6` needs nothing but Python 3.11 and a package registry.
#   PRESET=smoke|quick|evening|overnight|paper   how big (params/presets.yaml)
#   DATA=replica|d4rl|path:DIR           which offline data
#   WORKERS=n                            processes, default one per processor that may be used
#   ARMS="DT;DT+Synthetic"               train these columns only (make run-...)
#   DEVICE=cuda                          train on a GPU
#   STACKED=1                            all seeds of an arm and data set as one computation: for a GPU
#   SOURCE=authors LOGS=file|folder      the authors' own DT runs instead of ours

PRESET ?= quick
DATA ?= replica
WORKERS ?= 0
ARMS ?=
STACKED ?=
LOGS ?=
SOURCE ?= own
SIZE ?= 1000000
PYTHON ?= python3.11
BIN := .venv/bin
# Where networks are trained: cpu, or cuda, cuda:1, ... for a GPU. Commands and their workers read it from here.
DEVICE ?= cpu
export SYNTHLIB_DEVICE := $(DEVICE)
# One thread per process: two on a busy machine are many times slower than one.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

SYNTHLIB := $(BIN)/python -m synthlib
OPTIONS = --preset $(PRESET) --data $(DATA) --workers $(WORKERS) --logs "$(LOGS)"

.PHONY: help install lab doctor data replica behaviour-policies crosscheck-d4rl check-authors scoreboard
.PHONY: bench bench-avx2 bench-peers
.PHONY: pretraining-floor
.PHONY: test test-quick lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make reproduce-table6   train what is missing, execute the notebook, print the table"
	@echo "make plan-table6        print what that needs and how long it takes; run nothing"
	@echo "make run-table6         only train"
	@echo "make show-table6        print the table from the runs that are done; train nothing"
	@echo "make publish-table6     copy its finished runs to outputs/records, which git keeps"
	@echo "make scoreboard         every claim of the paper beside what the finished runs say"
	@echo "make check-authors LOGS=...   the paper's DT tables out of the authors' own logs, digit by digit"
	@echo "make pretraining-floor  pre-train a small GPT-2 until it is within 0.01 nat of the chain's best loss (minutes)"
	@echo "make notebook-01_datasets     execute one notebook"
	@echo "make lab                open JupyterLab on the notebooks"
	@echo "make doctor             check the installation"
	@echo "make test               the whole test suite (test-quick: under 3 minutes)"
	@echo "make data DATA=d4rl     fetch and check the official files"
	@echo "make replica SIZE=n     roll out replica data of n transitions a tier (ENVIRONMENTS=hopper: one)"
	@echo "make behaviour-policies train the behaviour policies of the replica data again (hours)"
	@echo "make crosscheck-d4rl    compare with the real d4rl and gym in an environment of their own"
	@echo "make bench              how fast: every fast version against its peers, into outputs/bench"
	@echo "make bench-avx2         the same as if the processor had no 512-bit instructions, into outputs/bench-avx2"
	@echo "make bench-peers        fetch d3rlpy and JAX, to be among these peers"
	@echo "options: PRESET=smoke|quick|evening|overnight|paper  DATA=replica|d4rl|path:DIR  WORKERS=n"
	@echo "         DEVICE=cpu|cuda  STACKED=1 (all seeds as one computation)  ARMS=\"DT;DT+Synthetic\" (run-...)"

install: .venv/installed

# The stamp is newer than the lock exactly when what is installed is what the lock says.
.venv/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or say make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

plan-%: .venv/installed
	@$(SYNTHLIB) plan $* $(OPTIONS) --source $(SOURCE)

run-%: .venv/installed
	@$(SYNTHLIB) run $* $(OPTIONS) --arms "$(ARMS)" $(if $(STACKED),--stacked)

show-%: .venv/installed
	@$(SYNTHLIB) show $* $(OPTIONS) --source $(SOURCE)

publish-%: .venv/installed
	@$(SYNTHLIB) publish $* $(OPTIONS)

reproduce-%: .venv/installed
	@$(SYNTHLIB) reproduce $* $(OPTIONS) --source $(SOURCE) $(if $(STACKED),--stacked)

notebook-%: .venv/installed
	@$(SYNTHLIB) notebook $* --preset $(PRESET) --data $(DATA)

scoreboard: .venv/installed
	@$(SYNTHLIB) scoreboard $(OPTIONS)

check-authors: .venv/installed
	@$(SYNTHLIB) check-authors --logs "$(LOGS)"

pretraining-floor: .venv/installed
	@$(BIN)/python -m synthlib.study.pretraining_floor

data: .venv/installed
	@$(BIN)/python -m synthlib.offline.download --data $(DATA)

replica: .venv/installed
	@$(BIN)/python -m synthlib.replica collect --size $(SIZE) $(if $(ENVIRONMENTS),--environments $(ENVIRONMENTS))

behaviour-policies: .venv/installed
	@$(BIN)/python -m synthlib.replica train $(if $(ENVIRONMENTS),--environments $(ENVIRONMENTS))

crosscheck-d4rl: .venv/installed
	$(PYTHON) -m venv build/d4rl
	build/d4rl/bin/python -m pip install --quiet --no-deps --requirement tests/crosscheck/requirements.lock
	$(BIN)/python tests/crosscheck/compare.py build/d4rl/bin/python

bench: .venv/installed
	@$(BIN)/python -m synthlib.bench

# The goals were set on a processor without AVX-512. These are the switches of torch and its MKL; JAX has none.
bench-avx2: export ATEN_CPU_CAPABILITY := avx2
bench-avx2: export MKL_ENABLE_INSTRUCTIONS := AVX2
bench-avx2: .venv/installed
	@$(BIN)/python -m synthlib.bench

# d3rlpy pins another gymnasium, and JAX is only compared with, so both live in a folder of their own.
bench-peers: .venv/installed
	$(BIN)/python -m pip install --quiet --no-deps --target build/bench-peers --requirement tests/crosscheck/bench_peers.lock

lab: .venv/installed
	$(BIN)/jupyter lab notebooks

doctor: .venv/installed
	@$(SYNTHLIB) doctor --data $(DATA)

test: .venv/installed
	$(BIN)/python -m pytest -n 2

test-quick: .venv/installed
	$(BIN)/python -m pytest -n 2 -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache

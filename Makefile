# Everything a reader types. `make reproduce-table6` needs nothing but Python 3.11 to 3.13 and a package registry.
#   PRESET=smoke|quick|evening|overnight|paper   how big (params/presets.yaml)
#   DATA=replica|d4rl|path:DIR           which offline data
#   WORKERS=n                            processes, default one per processor that may be used
#   ARMS="DT;DT+Synthetic"  DATASETS="hopper-medium ant-medium"  SEEDS=3 or "42 666"
#                                        these columns, data sets and seeds (make plan-, run- and show-...)
#   TRAIN=no                             show what is finished, train nothing
#   DEVICE=cuda                          train on a GPU
#   STACKED=1                            runs of one shape as one computation; on a GPU they always are
#   HOURS=2                              run-...: save and end after so many hours
#   ENGINE=slurm                         run-...: through Slurm, of which these are options; HOURS is a job's time limit
#                                        PARTITION= ACCOUNT= CPUS= GPUS= MEMORY=GB PARALLEL=jobs PER_JOB=trainings WATCH=no
#   KEEP_POLICY=1                        keep the fine-tuned policies (make run-, reproduce-)
#   TF32=1                               on a GPU, matrix products of 10 bits; the record says so
#   SOURCE=authors                       the authors' own DT runs instead of ours (LOGS=file|folder: another copy of them)
#   PYTHON=python3.12  VENV=folder       which Python, and where its environment lies
#   TORCH=cpu|cu126|cu130                the build of PyTorch; default: what this machine's GPU driver can use

PRESET ?= quick
DATA ?= replica
WORKERS ?= 0
ARMS ?=
DATASETS ?=
SEEDS ?=
STACKED ?=
HOURS ?=
# here, slurm, or local: submitit without a queue.
ENGINE ?=
PARTITION ?=
ACCOUNT ?=
CPUS ?=
GPUS ?=
MEMORY ?=
PARALLEL ?=
PER_JOB ?=
WATCH ?= yes
STORE ?=
FILE ?= runs.tar
LOGS ?=
SOURCE ?= own
SIZE ?= 1000000
# Of `make watch-`: one of each.
ARM ?=
DATASET ?=
SEED ?=
# Of `make push-` and `make pull`.
HUB ?=
LICENSE ?=
ONLY ?=
# Of `make export` and `make pull`.
FORMAT ?= csv
TO ?=
TORCH ?=
# Options of `make lab` for JupyterLab, such as --ip=0.0.0.0 in a container.
LAB ?=
# The first Python of these that there is. A pyenv shim may be found and not run.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13; do $$python -c '' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# The text of a variable as one word of the shell, whatever characters stand in it.
quoted = '$(subst ','\'',$(value $(1)))'
# Where networks are trained: cpu, or cuda, cuda:1, ... for a GPU. Commands and their workers read it from here.
DEVICE ?= cpu
export SYNTHLIB_DEVICE := $(DEVICE)
TF32 ?=
export SYNTHLIB_TF32 := $(TF32)
TRAIN ?= yes
export SYNTHLIB_TRAIN := $(TRAIN)
KEEP_POLICY ?=
export SYNTHLIB_KEEP_POLICY := $(KEEP_POLICY)
# One thread per process: two on a busy machine are many times slower than one.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

SYNTHLIB := $(BIN)/python -m synthlib
WHAT = --preset $(call quoted,PRESET) --data $(call quoted,DATA)
OPTIONS = $(WHAT) --workers $(call quoted,WORKERS) --logs $(call quoted,LOGS)
SOURCES = $(OPTIONS) --source $(call quoted,SOURCE)
QUEUE = --engine $(call quoted,ENGINE) --partition $(call quoted,PARTITION) --account $(call quoted,ACCOUNT) \
    --cpus $(call quoted,CPUS) --gpus $(call quoted,GPUS) --memory $(call quoted,MEMORY) --parallel $(call quoted,PARALLEL) \
    --per-job $(call quoted,PER_JOB) --watch $(call quoted,WATCH)
PART = --arms $(call quoted,ARMS) --datasets $(call quoted,DATASETS) --seeds $(call quoted,SEEDS)

.PHONY: help install start lab doctor data replica behaviour-policies crosscheck-d4rl check-authors authors-evaluations scoreboard
.PHONY: bench bench-avx2 bench-peers selfcheck first-minutes-on-a-gpu
.PHONY: import-runs pull push-data
.PHONY: pretraining-floor export
.PHONY: book test-book
.PHONY: test test-quick test-slurm attack lint format lock clean FORCE
.DELETE_ON_ERROR:

help:
	@echo "make reproduce-table6   train what is missing, execute the notebook, print the table"
	@echo "make reproduce-figure5  the same for any of the paper's figures, figure1 to figure17"
	@echo "make reproduce-section4_3     the same for section3_2, section4_1, table9, 10, 15, 16, 17: pages without fine-tuning runs"
	@echo "make plan-table6        print what that needs and how long it takes; run nothing"
	@echo "make run-table6         only train; ENGINE=slurm: on a cluster, from its login node"
	@echo "make status-table6      how far that is: done, running, queued, failed, hours left"
	@echo "make show-table6        print the table from the runs that are done; train nothing"
	@echo "make watch-table6       play an episode of a fine-tuned policy, film it, print its score (ARM=, DATASET=, SEED=)"
	@echo "make publish-table6     copy its finished runs to outputs/records, which git keeps"
	@echo "make export-runs-table6 FILE=runs.tar   its finished runs as one file; make import-runs FILE=runs.tar takes them in"
	@echo "make push-table6 HUB=folder|hf://user/name   finished trainings, policies and a card, for others (ONLY=weights)"
	@echo "make push-data HUB=folder|hf://datasets/user/name DATASETS=\"...\"   data sets and a card; LICENSE= for your own"
	@echo "make pull HUB=folder|hf://...   take such trainings into the store, or such data into TO=folder"
	@echo "make scoreboard         every claim of the paper beside what the finished runs say"
	@echo "make check-authors      the paper's DT tables out of the authors' own logs, digit by digit"
	@echo "make export FORMAT=csv|parquet|tensorboard|wandb TO=folder   all trainings as tables, or for a tracker"
	@echo "make pretraining-floor  pre-train a small GPT-2 until it is within 0.01 nat of the chain's best loss (minutes)"
	@echo "make notebook-01_datasets     execute one notebook"
	@echo "make lab                open JupyterLab on copies of the pages; LAB=--ip=0.0.0.0 in a container"
	@echo "make book               a web site of all pages, made of the published runs; trains nothing (test-book: in a browser)"
	@echo "make start              the map: what there is of the paper, page and command, what is trained, what it costs"
	@echo "make doctor             check the installation; STORE=1: verify all trainings and caches, repair what can be"
	@echo "make install            only install; TORCH=cpu|cu126|cu130 chooses the build of PyTorch, PYTHON= the Python"
	@echo "make test               the whole test suite (test-quick: the part without pages and long runs)"
	@echo "make test-slurm         trainings through a real Slurm of one node (packages slurm-wlm and munge, as root)"
	@echo "make attack             power cuts, kills, full disks and flipped bits: what the store loses (a table of zeros)"
	@echo "make data DATA=d4rl     fetch and check the official files (DATASETS=: some of them), or those of DATA=path:DIR"
	@echo "make replica SIZE=n     roll out replica data of n transitions a tier (ENVIRONMENTS=hopper: one)"
	@echo "make behaviour-policies train the behaviour policies of the replica data again (hours)"
	@echo "make crosscheck-d4rl    compare with the real d4rl and gym in an environment of their own"
	@echo "make bench              how fast: every fast version against its peers, into outputs/bench"
	@echo "make selfcheck          DEVICE=cuda: does this GPU compute what the processor does? into outputs/bench-cuda"
	@echo "make first-minutes-on-a-gpu HOURS=0.2   selfcheck, bench, and runs of Table 6's arms for the rest, into FILE=runs.tar"
	@echo "make bench-avx2         the same as if the processor had no 512-bit instructions, into outputs/bench-avx2"
	@echo "make bench-peers        fetch d3rlpy and JAX, to be among these peers; DEVICE=cuda: JAX for this GPU too"
	@echo "options: PRESET=smoke|quick|evening|overnight|paper  DATA=replica|d4rl|path:DIR  WORKERS=n"
	@echo "         TRAIN=no (show what is finished, train nothing)  KEEP_POLICY=1 (keep the fine-tuned policies)"
	@echo "         DEVICE=cpu|cuda (there runs of one shape are one computation)  TF32=1  HOURS=2"
	@echo "         ARMS=\"DT;DT+Synthetic\"  DATASETS=\"hopper-medium ant-medium\"  SEEDS=3 or \"42 666\" (plan-, run-, show-)"

install: $(VENV)/installed

# Made again after a change of the lock, in a copied checkout, for a PYTHON= other than the last one, and for TORCH=.
STALE := $(if $(TORCH),FORCE,$(shell grep -qxF $(call quoted,CURDIR) $(VENV)/installed 2>/dev/null || echo FORCE))
ifneq ($(origin PYTHON),file)
STALE += $(shell grep -qxF "$$("$(PYTHON)" --version 2>&1)" $(VENV)/installed 2>/dev/null || echo FORCE)
endif

$(VENV)/installed: requirements.lock pyproject.toml $(STALE)
	@found=$$("$(PYTHON)" --version 2>/dev/null || echo "not found"); case "$$found" in \
	"Python 3.11."* | "Python 3.12."* | "Python 3.13."*) ;; \
	*) echo "$(or $(PYTHON),python3.11 python3.12 python3.13): $$found. This project runs on Python 3.11, 3.12 and 3.13:" \
	"install one of them, or name it: make PYTHON=/path/to/python3.12"; exit 1 ;; esac
	@"$(PYTHON)" -m synthlib.machine.installation $(VENV) --torch $(call quoted,TORCH)

# What ENGINE=slurm needs besides: the extra slurm.
$(VENV)/queue: $(VENV)/installed
	@$(BIN)/python -m synthlib.machine.installation $(VENV) --queue
	@touch $@

# What tests and checks need besides: the extras dev, minari and slurm.
$(VENV)/developers: $(VENV)/installed
	@$(BIN)/python -m synthlib.machine.installation $(VENV) --developers
	@touch $@

# For developers, after a change of dependencies in pyproject.toml. What is locked stays; `build/uv/bin/uv lock
# --upgrade-package NAME` before it takes the newest version.
lock:
	"$(PYTHON)" -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv==0.13.9
	build/uv/bin/uv lock --python build/uv/bin/python
	build/uv/bin/python -m synthlib.machine.requirements build/uv/bin/uv
	build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	    synthlib/book/settings/requirements.in --output-file synthlib/book/settings/requirements.lock

plan-%: $(VENV)/installed
	@$(SYNTHLIB) plan $* $(SOURCES) $(PART)

run-%: $(VENV)/installed $(if $(filter slurm local,$(ENGINE)),$(VENV)/queue)
	@$(SYNTHLIB) run $* $(OPTIONS) $(PART) $(if $(STACKED),--stacked) --hours $(call quoted,HOURS) $(QUEUE)

status-%: $(VENV)/installed
	@$(SYNTHLIB) status $* $(OPTIONS) $(PART)

show-%: $(VENV)/installed
	@$(SYNTHLIB) show $* $(SOURCES) $(PART)

watch-%: $(VENV)/installed
	@$(SYNTHLIB) watch $* $(OPTIONS) --arms $(call quoted,$(if $(value ARM),ARM,ARMS)) \
	    --datasets $(call quoted,$(if $(value DATASET),DATASET,DATASETS)) \
	    --seeds $(if $(value SEED),$(call quoted,SEED)';',$(call quoted,SEEDS))

publish-%: $(VENV)/installed
	@$(SYNTHLIB) publish $* $(OPTIONS)

export-runs-%: $(VENV)/installed
	@$(SYNTHLIB) export-runs $* $(OPTIONS) --file $(call quoted,FILE)

# HUB is a folder, or hf://user/name (hf://datasets/user/name for data) on the Hugging Face hub.
push-data: $(VENV)/installed
	@$(SYNTHLIB) push-data --data $(call quoted,DATA) --datasets $(call quoted,DATASETS) --hub $(call quoted,HUB) \
	    --license $(call quoted,LICENSE)

push-%: $(VENV)/installed
	@$(SYNTHLIB) push $* $(OPTIONS) $(PART) --hub $(call quoted,HUB) --license $(call quoted,LICENSE) \
	    $(if $(value ONLY),--only $(call quoted,ONLY))

pull: $(VENV)/installed
	@$(SYNTHLIB) pull --hub $(call quoted,HUB) --to $(call quoted,TO)

import-runs: $(VENV)/installed
	@$(SYNTHLIB) import-runs --file $(call quoted,FILE)

reproduce-%: $(VENV)/installed
	@$(SYNTHLIB) reproduce $* $(SOURCES) $(PART) $(if $(STACKED),--stacked)

notebook-%: $(VENV)/installed
	@$(SYNTHLIB) notebook $* $(WHAT)

start: notebook-00_start_here

scoreboard: $(VENV)/installed
	@$(SYNTHLIB) scoreboard $(OPTIONS)

check-authors: $(VENV)/installed
	@$(SYNTHLIB) check-authors --logs $(call quoted,LOGS)

# The table of the authors' evaluations that belongs to the repository, out of a clone of theirs (LOGS=; else it is cloned).
authors-evaluations: $(VENV)/installed
	@$(BIN)/python -m synthlib.report.authors_table $(call quoted,LOGS)

# Sphinx and what tests the site live in an environment of their own: nothing else needs them.
BOOK := build/book
build/venv-book/installed: synthlib/book/settings/requirements.lock | $(VENV)/installed
	$(BIN)/python -m venv --clear build/venv-book
	build/venv-book/bin/python -m pip install --quiet --no-deps --require-hashes --requirement synthlib/book/settings/requirements.lock
	@touch $@

book: $(VENV)/installed build/venv-book/installed
	@$(BIN)/python -m synthlib.book
	@rm -rf $(BOOK)/html
	@build/venv-book/bin/python -m sphinx -W --keep-going --quiet -c synthlib/book/settings -d $(BOOK)/doctrees -b html $(BOOK)/source $(BOOK)/html
	@echo "the book: $(BOOK)/html/index.html"

test-book: book $(VENV)/developers
	SYNTHLIB_BROWSER=1 $(BIN)/python -m pytest tests/book

export: $(VENV)/installed
	@$(SYNTHLIB) export --format $(call quoted,FORMAT) --to $(call quoted,TO)

pretraining-floor: $(VENV)/installed
	@$(BIN)/python -m synthlib.study.pretraining_floor

data: $(VENV)/installed
	@$(BIN)/python -m synthlib.offline.download --data $(call quoted,DATA) -- $(call quoted,DATASETS)

replica: $(VENV)/installed
	@$(BIN)/python -m synthlib.replica collect --size $(SIZE) $(if $(ENVIRONMENTS),--environments $(ENVIRONMENTS))

behaviour-policies: $(VENV)/installed
	@$(BIN)/python -m synthlib.replica train $(if $(ENVIRONMENTS),--environments $(ENVIRONMENTS))

# The old packages that it compares with have no wheels for a newer Python.
crosscheck-d4rl: $(VENV)/installed
	@command -v python3.11 >/dev/null || { echo "python3.11 not found: make crosscheck-d4rl needs it"; exit 1; }
	python3.11 -m venv build/d4rl
	build/d4rl/bin/python -m pip install --quiet --no-deps --requirement tests/crosscheck/requirements.lock
	$(BIN)/python tests/crosscheck/compare.py build/d4rl/bin/python

# The tests that follow the device: a GPU against what is proved on the processor.
selfcheck: $(VENV)/developers
	@$(BIN)/python -m synthlib.bench.selfcheck

# For a GPU that can be had for minutes: selfcheck, bench, and runs for the rest of HOURS=, exported to FILE=.
first-minutes-on-a-gpu: export SYNTHLIB_DEVICE := $(if $(filter cpu,$(DEVICE)),cuda,$(DEVICE))
first-minutes-on-a-gpu: $(VENV)/developers
	@$(BIN)/python -m synthlib.bench.first_minutes --hours $(if $(HOURS),$(call quoted,HOURS),0.2) \
	    --data $(call quoted,DATA) --file $(call quoted,FILE)

bench: $(VENV)/installed
	@$(BIN)/python -m synthlib.bench

# The goals were set on a processor without AVX-512. These are the switches of torch and its MKL; JAX has none.
bench-avx2: export ATEN_CPU_CAPABILITY := avx2
bench-avx2: export MKL_ENABLE_INSTRUCTIONS := AVX2
bench-avx2: $(VENV)/installed
	@$(BIN)/python -m synthlib.bench

bench-peers: $(VENV)/installed
	@$(BIN)/python -m synthlib.bench.peers

lab: $(VENV)/installed
	@$(BIN)/python -m synthlib.lab $(LAB)

doctor: $(VENV)/installed
	@$(SYNTHLIB) doctor $(WHAT) $(if $(STORE),--store)

test: $(VENV)/developers
	$(BIN)/python -m pytest -n 2

test-quick: $(VENV)/developers
	$(BIN)/python -m pytest -n 2 -m "not slow"

# A Slurm of one node, made for the tests and ended after them; left out where there is none.
test-slurm: $(VENV)/developers
	SYNTHLIB_SLURM=1 $(BIN)/python -m pytest -m slurm tests/cluster

# Power cuts and full disks need root, who may mount an image of a disk; they are left out otherwise.
attack: $(VENV)/developers
	@$(BIN)/python -m tests.attacks

lint: $(VENV)/developers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: $(VENV)/developers
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache

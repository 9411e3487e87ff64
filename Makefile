# Two commands: `make report` and `make test`. Both create the environment first where it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
CORES ?= all
# The name of one of workflow/experiments, or a file.
EXPERIMENT ?= default
FILE = $(or $(wildcard workflow/experiments/$(EXPERIMENT).yaml),$(EXPERIMENT))
# The workflow's jobs call `python`: the environment's own.
export PATH := $(BIN):$(PATH)

.PHONY: report test lint types faults slurm-test bench env clean-env

report: env  ## Run an experiment (EXPERIMENT=NAME or FILE) and print the path of its page.
	@$(BIN)/snakemake --cores $(CORES) --configfile $(FILE)
	@$(BIN)/python -c 'import sys, yaml, pathlib; print("The report:", pathlib.Path("report", yaml.safe_load(open(sys.argv[1]))["name"], "index.html").resolve())' $(FILE)

test: env  ## Lint, format, types, and all tests, a real small experiment among them.
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint types
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 12

faults: env  ## The fault suite in full: kills, full disks, damaged files and more.
	$(BIN)/python -m tests.faults

slurm-test: env  ## A small experiment on a Slurm cluster of this machine's own, a node of which dies; needs Debian and root.
	tests/slurm/run $(BIN)

bench: env  ## The benchmark suite: ratios of times within one run, as tables in results/published/bench.
	$(BIN)/python -m tests.bench

lint: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile workflow/experiments/tiny.yaml

types: env
	$(BIN)/mypy

env: $(STAMP)  ## Create the environment in $(VENV).

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ttfm needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another with make PYTHON=...")'
	@echo "Creating the environment in $(VENV): some gigabytes, a few minutes"
	@$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	# pip compiles on one core, this on all; it fails where a package brings a file that only another Python can read.
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

clean-env:
	rm -rf $(VENV)

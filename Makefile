# One word per job; every target does its own set-up from a bare clone. `make help` lists them.
#
# Needed on the machine: Python 3.11 or newer, a Rust toolchain, a C compiler, make. The virtual
# environment lives in .venv; stamps in it make repeated runs quick.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEPS := $(VENV)/.deps
BUILT := $(VENV)/.built
PROFILE ?= quick
JOBS ?=
CARGO_JOBS := $(if $(JOBS),-j$(JOBS))
CARGO := cargo
# The whole workspace, although the extension module is tested through Python: with it selected,
# the dependencies have the features that `maturin` built them with, and are not built twice.
RUST_TESTS := --workspace
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

RUST_SOURCES := $(shell find rust -type f -not -path '*/target/*' \
	\( -name '*.rs' -o -name 'Cargo.toml' -o -path '*/assets/*' \) 2>/dev/null)

DEMO_OUT := demo-out/packs
# The example set holds a row that is longer than a sequence, to show how it is accounted for.
DEMO_PACK := pack examples/demo --tokenizer builtin --max-len 1024 --date 2025-01-01 --overwrite

.PHONY: help demo dev fmt lint test bench wheel sdist assets accept clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(BUILT) $(VENV)/.train ## pack the example set, verify it, show a packed sequence, train on it
	$(BIN)/sftprep $(DEMO_PACK) --out $(DEMO_OUT)
	$(BIN)/sftprep verify $(DEMO_OUT)
	$(BIN)/sftprep inspect $(DEMO_OUT) --row 0
	OMP_NUM_THREADS=1 $(BIN)/sftprep train --random-init examples/small_model.json \
		--shards $(DEMO_OUT) --out demo-out/run-$$(date +%s) --epochs 15 --rows-per-step 2 --lr 3e-3

# torch is large (about 2.5 GB on Linux): only what runs the trainer waits for it. With peft, trl, Ray,
# duckdb and a server for objects, so that no test of them is skipped.
$(VENV)/.train: $(DEPS)
	$(BIN)/python tools/requirements.py train lora ray cloud peers > $(VENV)/train.txt
	$(PIP) install -c tools/constraints.txt -r $(VENV)/train.txt
	touch $@

dev: $(BUILT) ## set up .venv and build the extension module into it

fmt: $(DEPS) ## format Rust and Python
	$(CARGO) fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet .

lint: $(BUILT) ## check format, lints and types of Rust and Python
	$(CARGO) fmt --all --check
	$(CARGO) clippy --profile $(PROFILE) --workspace --all-targets $(CARGO_JOBS) -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest sftprep._core

test: $(BUILT) $(VENV)/.train ## run all tests; those that need the large data sets run on a sample, or skip
	$(CARGO) test --profile $(PROFILE) $(RUST_TESTS) $(CARGO_JOBS)
	$(BIN)/python -m pytest

accept: $(BUILT) $(VENV)/.train ## run all tests in full on the large data sets; a skip for want of data fails
	SFTPREP_REQUIRE_DATA=1 $(CARGO) test --profile $(PROFILE) $(RUST_TESTS) $(CARGO_JOBS)
	SFTPREP_REQUIRE_DATA=1 SFTPREP_HYPOTHESIS=slow $(BIN)/python -m pytest

# Without benches/.peers (made by benches/python/setup_peers.sh, 2.5 GB) peers are left out. Each
# writes its file in benches/results; report.py makes the tables of them.
bench: $(DEPS) $(VENV)/.train ## run the Rust and Python benches on a release build
	$(CARGO) bench $(RUST_TESTS) $(CARGO_JOBS)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release $(CARGO_JOBS)
	rm -f $(BUILT)
	$(BIN)/python benches/python/compare_prepare.py
	$(BIN)/python benches/python/scaling.py
	$(BIN)/python benches/python/memory.py
	$(BIN)/python benches/python/plan.py
	$(BIN)/python benches/python/repack.py
	$(BIN)/python benches/python/compare_readers.py
	$(BIN)/python benches/python/compare_train.py
	if $(BIN)/python -c 'import minijinja' 2> /dev/null; then \
		$(CARGO) build --release -p sftprep-template --example render_speed $(CARGO_JOBS); \
		$(BIN)/python benches/python/compare_render.py; \
	fi
	if [[ -d benches/.peers ]]; then $(BIN)/python benches/python/compare_tokenizers.py; fi
	$(BIN)/python benches/python/report.py

# PATH: maturin looks for zig as a module of the first `python` there.
wheel: $(DEPS) ## build a release wheel into dist/ and try it in an empty environment
	$(PIP) install -c tools/constraints.txt 'maturin[zig]'
	rm -f dist/*.whl
	PATH="$(abspath $(BIN)):$$PATH" maturin build --release --locked --out dist $(CARGO_JOBS) \
		$(if $(filter Linux,$(shell uname -s)),--zig --compatibility manylinux_2_28)
	PYTHON=$(PYTHON) tools/try_wheel.sh dist/*.whl

sdist: $(DEPS) ## build the source distribution into dist/
	$(BIN)/maturin sdist --out dist

assets: $(DEPS) ## train the built-in tokenizer again and remake what depends on it
	$(BIN)/python tools/train_builtin_tokenizer.py
	$(BIN)/python tools/make_demo_files.py
	$(BIN)/python tools/make_picture.py

clean: ## remove everything that the other targets made
	rm -rf $(VENV) target dist demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python -name '*.so' -delete

$(DEPS): pyproject.toml tools/constraints.txt tools/requirements.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "sftprep needs Python 3.11 or newer; say make PYTHON=python3.12" >&2; exit 1; }
	[[ -x $(BIN)/python ]] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/requirements.py base dev > $(VENV)/requirements.txt
	$(PIP) install -c tools/constraints.txt -r $(VENV)/requirements.txt
	touch $@

# The .so lies in python/sftprep/, the environment points there: Python files need no rebuild.
$(BUILT): $(DEPS) Cargo.toml Cargo.lock pyproject.toml $(RUST_SOURCES)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --locked --profile $(PROFILE) $(CARGO_JOBS)
	touch $@

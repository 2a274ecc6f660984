# Every target sets up what it needs in .venv; a second run installs nothing.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed
OLDEST := .oldest
# The oldest scikit-learn that pyproject.toml admits, with the SciPy of its time; everything else as in .venv.
OLDEST_PINS := scikit-learn==1.6.1 scipy==1.14.1
# Old releases beside a new NumPy and a new pytest warn; nothing of ours.
OLDEST_WARNINGS := -W "ignore:A NumPy version" -W "ignore:Passing a non-Collection iterable"

# Tests take one thread each; a process of them needs 2 GB.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal

.PHONY: help setup demo test test-oldest test-all lint docs bench quality paper clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with the package, its extras and the tested pins

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt torch torchvision
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

$(OLDEST)/.installed: Makefile | $(STAMP)
	rm -rf $(OLDEST)
	$(PIP) --no-deps --target $(OLDEST) $(OLDEST_PINS)
	touch $@

demo: $(STAMP) ## the main job: wines, from raw items to recommendations
	$(BIN)/python examples/quickstart.py

lint: $(STAMP) ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint test-oldest ## lint, then all tests that take seconds
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-oldest: $(OLDEST)/.installed ## the scikit-learn contract on the oldest supported release
	PYTHONPATH=$(OLDEST) $(BIN)/python -m pytest tests/test_contract.py $(OLDEST_WARNINGS) -m "not slow" $(PARALLEL)

test-all: lint test-oldest ## also the tests that take minutes
	$(BIN)/python -m pytest $(PARALLEL)

# What other libraries bring to the benchmarks.
RIVALS := $(VENV)/.rivals
$(RIVALS): $(STAMP)
	$(PIP) --constraint constraints.txt --editable '.[rivals]'
	$(PIP) --constraint constraints.txt --no-deps mvlearn
	touch $@

bench: $(STAMP) ## speed, beside other libraries and the last commit measured; fails where a ratio grew by a fifth
	$(BIN)/python -m benchmarks.speed

quality: $(RIVALS) ## planted factors at full size, recommendations and representations on real data; takes an hour
	$(BIN)/python -m benchmarks.planted
	$(BIN)/python -m benchmarks.recommend
	$(BIN)/python -m benchmarks.representation

# make paper DATA=clothing FOLDER=path: the paper's tables and figures, and cold items; resumes where it was stopped
paper: $(STAMP) ## the paper's comparison on DATA (original files in FOLDER; wines need none)
	$(BIN)/python -m benchmarks.paper $(DATA) $(if $(FOLDER),--folder $(FOLDER))

docs: $(STAMP) ## build the documentation strictly into site/
	$(BIN)/mkdocs build --strict

clean: ## remove what the other targets made
	rm -rf $(VENV) $(OLDEST) build dist site .pytest_cache .mypy_cache .ruff_cache

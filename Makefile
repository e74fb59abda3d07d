# make demo    makes and processes a small archive, offline once installed
# make test    the tests
# make flink   the tests that need a Flink cluster; starts one, with Java and Maven
# make lint    ruff and mypy
# make fuzz    the tests with damage, kills and long runs, for an hour instead of a minute
# make bench   compares earmark with its peers; takes an hour or two, rewrites the tables in docs/
# make wheel   installs the wheel into an empty environment and runs the demo there
# make setup   the environment that the others use
# make oracles environments of the Task Library, TensorFlow and Azurite, for comparison in tests

PYTHON ?= python3
VENV ?= .venv
BENCH ?=
BIN := $(VENV)/bin
SETUP := $(VENV)/.done

.PHONY: setup oracles demo test flink lint wheel fuzz bench clean

setup: $(SETUP)

$(SETUP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if (3, 10) <= v <= (3, 13) else "earmark needs Python 3.10 to 3.13; \
	  name one with make PYTHON=python3.12")'
	@echo 'Installing into $(VENV): this takes a few minutes.'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

oracles: $(SETUP)
	$(BIN)/python -m tests.oracles

demo: $(SETUP)
	$(BIN)/earmark demo

test: $(SETUP)
	$(BIN)/pytest -n auto --dist worksteal

flink: $(SETUP)
	EARMARK_FLINK=1 $(BIN)/pytest tests/flink tests/scripts

lint: $(SETUP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

wheel:
	rm -rf build dist && $(PYTHON) -m venv --clear dist/empty
	dist/empty/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	dist/empty/bin/pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd dist && empty/bin/earmark demo

fuzz: $(SETUP)
	EARMARK_KILLS=50 EARMARK_FUZZ_FILES=2400 EARMARK_FUZZ_MARKERS=2000 EARMARK_SOAK_OBJECTS=40000 \
	  $(BIN)/pytest tests/transforms/audio/test_markers.py tests/pipelines/runs/test_damage.py tests/pipelines/runs/test_resuming.py \
	  tests/pipelines/engines/test_memory.py

bench: $(SETUP)
	$(BIN)/python -m benchmarks --write $(BENCH)

clean:
	rm -rf $(VENV) earmark-demo

# Every target installs what it needs, given Python 3.11 or newer, make and a package index.

# The first Python that runs and is new enough: a name on the PATH may be a shim without a Python behind it.
FIND   := for p in python3 python3.13 python3.12 python3.11 python; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done
PYTHON ?= $(shell $(FIND))
VENV   := .venv
BIN    := $(VENV)/bin
KILLS  ?= 100
MINUTES ?= 15
EXAMPLES ?= 300
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Keep compiled modules, even where an image disables them: the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo serve test coverage check format bench bench-postgresql bench-history bench-night bench-console bench-rate-plan kills listen-kills operation-kills model pooled chaos crash-images screenshots clean

help:
	@echo "make demo    run the main workflow end to end on loopback and print what happened"
	@echo "make test    run every test"
	@echo "make coverage  run every test, and list the lines that none ran"
	@echo "make check   check format, lint, types, architecture"
	@echo "make bench   compare throughput with a bare endpoint"
	@echo "make bench-postgresql  compare runs in PostgreSQL with PgQueuer's jobs, measure intake, idle replicas, a held transaction"
	@echo "make bench-history  measure what 1,000, 100,000 and 1,000,000 stored events cost, on each kind of store"
	@echo "make bench-night  run the tasks of a night on call on 1,000,000 stored events, on each kind of store"
	@echo "make bench-console  time every page of the console on 1,000,000 stored events, on each kind of store"
	@echo "make bench-rate-plan  measure when a job of 40 seconds is known with 10 requests in 15 minutes, in real time"
	@echo "make kills   kill the receiver 100 times under load, and measure the recovery"
	@echo "make listen-kills  kill listen 100 times while events arrive, and compare what the application got"
	@echo "make operation-kills  kill receivers 100 times while they change all that matches, and compare what was changed"
	@echo "make pooled  run every test of a store in PostgreSQL through PgBouncer"
	@echo "make chaos   kill, freeze and cut off replicas and PostgreSQL under load, for 15 minutes on each kind of store"
	@echo "make model   compare the store with its model in 300 random examples on each database"
	@echo "make crash-images  cut the power of a recorded receiver at 500 moments, and check what is on the disk"
	@echo "make screenshots  take pictures of every page of the console, for the documentation"
	@echo "make serve   run the receiver with ./receiver.toml"
	@echo "make format  format the code"

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || \
	  { echo "make: no Python 3.11 or newer found; install one, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "make: $(PYTHON) has no venv module (Debian: apt install python3-venv)" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	@echo "Installing the receiver into $(VENV) ..."
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime pyproject.toml
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP) install --upgrade "pip>=25.1"
	@$(PIP) install --group dev
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/tts-receiver demo

serve: $(VENV)/.runtime
	@$(BIN)/tts-receiver serve

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 3 --dist loadfile

coverage: $(VENV)/.dev
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 3 --dist loadfile
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

kills: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.kills --kills $(KILLS)

listen-kills: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.listen_kills --kills $(KILLS)

operation-kills: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.operation_kills --kills $(KILLS)

pooled: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 3 --dist loadfile tests/unit/store -k pooled --pooled

chaos: $(VENV)/.dev
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES)

crash-images: $(VENV)/.dev
	@$(BIN)/python -m tests.power_cuts

screenshots: $(VENV)/.dev
	@$(BIN)/python -m tests.console.screenshots

bench-console: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.console $(if $(SHORT),--events 5000)

# SHORT=1: a job of 5 seconds.
bench-rate-plan: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.rate_plan $(if $(SHORT),--seconds 5)

model: $(VENV)/.dev
	@TTS_MODEL_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/unit/store/test_model.py -q

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks

# SHORT=1: a short run, to see that it works.
bench-postgresql: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.peers $(if $(SHORT),--runs 4000 --rounds 1 --batches 64)
	@$(BIN)/python -m benchmarks.intake_postgresql $(if $(SHORT),--rounds 1 --seconds 1)
	@$(BIN)/python -m benchmarks.idle $(if $(SHORT),--seconds 60)
	@$(BIN)/python -m benchmarks.held_transaction $(if $(SHORT),--seconds 2)

# SHORT=1: a short run, to see that it works.
bench-history: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.history $(if $(SHORT),--short)
	@$(BIN)/python -m benchmarks.held_transaction --rate 200 $(if $(SHORT),--seconds 2)
	@$(BIN)/python -m benchmarks.bulk $(if $(SHORT),--runs 2000)

# SHORT=1: a short run, to see that it works.
bench-night: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.night $(if $(SHORT),--events 5000)

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* *.egg-info

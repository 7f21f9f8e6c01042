# Sallyport: what a person types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed

MUTATE := .venv-mutate
MUTATE_STAMP := $(MUTATE)/.installed

.PHONY: help run test check fmt lock wheel bench bench-engine-stage bench-growth bench-whole-path bench-latency bench-one-hop bench-takeover simulate-faults chaos soak study mutate docs clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sallyport needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP)  ## the whole bus on this machine, a simulated county, and the shift commander's screen; Ctrl-C ends it all
	@$(BIN)/sallyport up --site county --site nyc-history --simulate --watch county-watch

test: $(STAMP)  ## every test, on a real broker and registry
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP)  ## ruff, strict mypy, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(STAMP)  ## format and fix what can be fixed by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock:  ## resolve pyproject.toml into requirements.lock, -bench.lock and -mutate.lock (names, versions, hashes; no address)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --no-emit-find-links --extra dev --output-file requirements.lock pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --no-emit-find-links --group pyproject.toml:bench --output-file requirements-bench.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --no-emit-find-links --no-deps --group pyproject.toml:mutate --output-file requirements-mutate.lock

wheel: $(STAMP)  ## build dist/sallyport-*.whl
	@rm -rf dist && $(BIN)/python -m hatchling build -t wheel

$(BENCH_STAMP): requirements-bench.lock
	@echo "Setting up $(BENCH), the peers of the bench, from requirements-bench.lock ..."
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-bench.lock
	@touch $@

bench: bench-engine-stage bench-whole-path bench-latency bench-growth bench-takeover  ## all benches, one after the other (two and a half hours), into docs/performance.md

bench-engine-stage: $(STAMP) $(BENCH_STAMP)  ## the engine against its peers, measured on this machine and written into docs/performance.md
	@PYTHONPATH=. $(BIN)/python tests/bench/engine_stage.py $(ARGS)

bench-growth: $(STAMP) $(BENCH_STAMP)  ## time and memory of a fact as people and jails grow, written into docs/performance.md
	@PYTHONPATH=. $(BIN)/python tests/bench/growth.py $(ARGS)

bench-whole-path: $(STAMP) $(BENCH_STAMP)  ## inbound record to alert by one worker and by two, written into docs/performance.md
	@PYTHONPATH=. $(BIN)/python tests/bench/whole_path.py $(ARGS)

bench-latency: $(STAMP) $(BENCH_STAMP)  ## publish to readable alert at 100 to 10,000 events/s, written into docs/performance.md
	@PYTHONPATH=. $(BIN)/python tests/bench/publish_to_alert.py $(ARGS)

bench-one-hop: $(STAMP)  ## one hop through Faust by the batch, measured on this machine
	@PYTHONPATH=. $(BIN)/python tests/bench/one_hop.py $(ARGS)

bench-takeover: $(STAMP) $(BENCH_STAMP)  ## from kill -9 of a worker to the first new alert, cold and with a standby, written into docs/performance.md
	@PYTHONPATH=. $(BIN)/python tests/bench/first_alert_after_a_kill.py $(ARGS)

SEEDS ?= 1000
FROM ?= 0
simulate-faults: $(STAMP)  ## the shells under a simulated broker, clock and fate, on all cores: SEEDS=1000 FROM=0; one seed tells its story
	@PYTHONPATH=. $(BIN)/python tests/simulation/simulate_faults.py --seeds $(SEEDS) --from $(FROM)

SEED ?= 1
EVENTS ?= 100000
chaos: $(STAMP)  ## a real bus while workers, broker and registry are killed, stopped and added: SEED=1 EVENTS=100000
	@PYTHONPATH=. $(BIN)/python tests/chaos/chaos.py --seed $(SEED) --events $(EVENTS) $(ARGS)

MINUTES ?= 60
RATE ?= 100
soak: $(STAMP) $(BENCH_STAMP)  ## a real bus in a steady state: is memory, is latency flat? MINUTES=60 RATE=100; into docs/performance.md
	@PYTHONPATH=. $(BIN)/python tests/soak/soak.py --minutes $(MINUTES) --rate $(RATE) $(ARGS)

study: $(STAMP)  ## what the bus would have told a real jail, from lists beside the checkout; into docs/real-data.md
	@PYTHONPATH=. $(BIN)/python tests/study/classification_reviews.py

# On top of .venv, whose packages it sees after its own.
$(MUTATE_STAMP): requirements-mutate.lock $(STAMP)
	@echo "Setting up $(MUTATE), what changes the code, from requirements-mutate.lock ..."
	@$(PYTHON) -m venv --clear $(MUTATE)
	@$(MUTATE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-mutate.lock
	@$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > "$$($(MUTATE)/bin/python -c 'import site; print(site.getsitepackages()[0])')/venv.pth"
	@touch $@

mutate: $(MUTATE_STAMP)  ## change what decides a little, again and again: a test must notice; ARGS=streams.clock for one module
	@$(MUTATE)/bin/python tests/mutation/mutate.py $(ARGS)

docs: $(STAMP)  ## make the pages that are generated from the code
	@$(BIN)/python -m deploy.catalogue

clean:  ## remove the environment and build output (never the bus's state)
	@rm -rf $(VENV) $(BENCH) $(MUTATE) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The commands that everyone uses; each makes what it needs first.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin

.PHONY: repro test test-gpu quick lint bench setup packages extra lock docs

repro: setup
	$(BIN)/retrieval repro

test: setup
	OMP_NUM_THREADS=1 RETRIEVAL_WORKERS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What only an accelerator shows, by any Python that has the library's packages and pytest; it needs neither DVC nor Prefect.
test-gpu:
	$(PYTHON) -m pytest -c tests/gpu/pytest.ini --rootdir . -m gpu tests/gpu tests/extraction tests/aggregation tests/reranking \
		tests/search/test_patch_matching.py tests/finetuning
	$(PYTHON) -m bench.accelerator

quick: setup
	OMP_NUM_THREADS=1 RETRIEVAL_WORKERS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" \
		--ignore tests/end_to_end --ignore tests/tasks --ignore tests/flows --ignore tests/test_stage_graph.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

bench: setup
	$(BIN)/python -m bench.extraction
	$(BIN)/python -m bench.storage
	$(BIN)/python -m bench.evaluation
	$(BIN)/python -m bench.orchestration
	$(BIN)/python -m bench.aggregate
	$(BIN)/python -m bench.hamming
	$(BIN)/python -m bench.quantisation
	$(BIN)/python -m bench.online_time
	$(BIN)/python -m bench.patches
	$(BIN)/python -m bench.clusters
	$(BIN)/python -m bench.instance_search
	$(BIN)/python -m bench.asking
	$(BIN)/python -m bench.throughput
	$(BIN)/python -m bench.accelerator
	$(BIN)/python -m bench.million
	$(BIN)/python -m bench.serving
	$(BIN)/python -m bench.report

setup: .venv/.installed

packages: .venv/.packages

.venv/.packages: requirements.lock
	command -v $(UV) >/dev/null || { $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv; }
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	touch $@

.venv/.installed: .venv/.packages pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q cli flows tasks pipeline
	touch $@

extra: setup
	$(UV) pip install --quiet --python $(BIN)/python "$(PACKAGE)"

lock:
	$(UV) pip compile pyproject.toml --extra dev --extra cluster --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock
	$(UV) pip compile docs/requirements.in --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --output-file docs/requirements.lock

docs: .venv-docs/.installed
	.venv-docs/bin/mkdocs build --strict --quiet

.venv-docs/.installed: docs/requirements.lock setup
	test -x .venv-docs/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv-docs
	$(UV) pip install --quiet --python .venv-docs/bin/python --require-hashes --requirement docs/requirements.lock
	touch $@

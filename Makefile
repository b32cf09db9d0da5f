.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# BLAS threads that spin against each other cost tenfold on a busy machine.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
# Many machines set it. Every service and every attempt would then compile what it imports: a second each.
unexport PYTHONDONTWRITEBYTECODE

##@ Start here
.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Create .venv from the hash-pinned lock

$(STAMP): requirements/dev.lock requirements/bootstrap.lock pyproject.toml
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@$(VENV)/bin/uv pip sync --quiet --python $(PY) --require-hashes requirements/dev.lock
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: setup gateway/api.pb ## Train real data through the whole stack, in under a minute
	@$(PY) clients/demo.py

.PHONY: run
run: setup gateway/api.pb ## Run the whole stack in the foreground; Ctrl-C ends it
	@exec $(PY) -m gateway.stack

##@ Prove
TEST_FOLDERS := $(notdir $(patsubst %/,%,$(wildcard tests/*/)))
# The longest first, so that no worker begins one when the others have nothing left.
FAST := e2e contract integration fuzz unit architecture

.PHONY: test
test: setup gateway/api.pb ## Every test that needs no GPU and no provider key
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(addprefix tests/,$(FAST))

# Prometheus and a collector are fetched into .tools where they are not on PATH: 30 MB, once.
FOLDER_TESTS := $(addprefix test-,$(filter-out faults,$(TEST_FOLDERS)))
.PHONY: $(FOLDER_TESTS)
$(FOLDER_TESTS): test-%: setup gateway/api.pb
	@$(PY) -m pytest tests/$*

.PHONY: faults test-faults
faults: setup gateway/api.pb ## Kill, freeze and starve real processes; FAULTS=long takes its time
	@ls tests/faults/test_*.py | xargs -P 3 -n 2 $(PY) -m pytest
test-faults: faults

.PHONY: chart-check
chart-check: setup ## Lint, render and validate the chart, with the locked helm; and Terraform's files
	@$(PY) -m helm.check

.PHONY: check
check: setup gateway/api.pb ## Formatter, linter, types, imports, protos, edge, chart; fails on a dirty tree
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache
	@$(PY) protos/build.py check
	@$(PY) -m gateway.validate
	@$(PY) -m helm.check
	@git diff --exit-code --stat && test -z "$$(git status --porcelain)" || { git status --short; echo "the tree is dirty"; exit 1; }

##@ Measure
.PHONY: bench-edge
bench-edge: setup gateway/api.pb ## The edge beside an empty handler, Envoy alone, and Flask with gunicorn
	@$(PY) bench/edge.py

.PHONY: bench-upload
bench-upload: setup gateway/api.pb ## A gigabyte of CSV through the edge: seconds, hash, memory
	@$(PY) bench/upload.py

.PHONY: bench-writers
bench-writers: setup ## 32 writers on one SQLite file, beside SQLite's own way to wait
	@$(PY) bench/writers.py

.PHONY: bench-ledger
bench-ledger: setup ## Claims, entries and rates of AI calls, beside a transaction for each of them
	@$(PY) bench/ledger.py

.PHONY: bench-sweep
bench-sweep: setup ## 64 networks as one sweep, beside a job for each of them
	@$(PY) -m bench.sweep

.PHONY: bench-enhance
bench-enhance: setup ## Enhancements beside Optuna's own loop, and whether ADOPT is true; takes half an hour
	@$(PY) -m bench.enhance

.PHONY: bench-ingest
bench-ingest: setup ## Files into Arrow, beside pyarrow's own readers: speed and memory
	@$(PY) bench/ingest.py

.PHONY: bench-large
bench-large: setup ## A CSV of 6 GB trains within 2 GB of memory
	@$(PY) -m bench.large

.PHONY: bench-compute
bench-compute: setup ## Training on one core, beside PyTorch, JAX, scikit-learn, pytabkit; their wheels are 3 GB
	@$(PY) -m bench.compute

.PHONY: bench-accuracy
bench-accuracy: setup gateway/api.pb ## Sixteen real datasets through REST, beside RealMLP and boosted trees; takes hours
	@$(PY) -m bench.accuracy

.PHONY: bench-gateway
bench-gateway: setup gateway/api.pb ## The AI gateway beside LiteLLM's proxy and Portkey's, before one mock vendor
	@$(PY) -m bench.gateway

.PHONY: bench-classical
bench-classical: setup ## logistic, kmeans and linear on one core, beside scikit-learn
	@$(PY) -m bench.classical

.PHONY: bench
bench: bench-classical bench-edge bench-upload bench-writers bench-ledger bench-sweep bench-ingest ## Every benchmark, each beside its peer

##@ Change
PROTOS := $(shell find protos/mlapi -name '*.proto')

.PHONY: proto
proto: setup ## Generate code and descriptors from the protos
	@$(PY) protos/build.py generate

gateway/api.pb: $(PROTOS) protos/build.py | $(STAMP)
	@$(PY) protos/build.py generate

.PHONY: format
format: setup ## Format everything
	@$(VENV)/bin/ruff format --quiet . && $(VENV)/bin/ruff check --quiet --fix .
	@cd protos && ../$(VENV)/bin/buf format -w

.PHONY: lock
lock: setup ## Pin the newest versions that pyproject.toml allows
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade --extra dev pyproject.toml -o requirements/dev.lock
	@for image in "training --extra training --extra scale --extra client" \
			"training-gpu --extra training --extra scale --extra client --extra gpu" \
			"training-ray --extra training --extra scale --extra client --extra ray" \
			"training-gpu-ray --extra training --extra scale --extra client --extra gpu --extra ray" \
			"ai_gateway --extra ai-gateway --extra scale --extra client" "health --extra health --extra scale" "edge --extra edge" \
			"stack --extra training --extra ai-gateway --extra health --extra edge --extra scale --extra client"; do \
		set -- $$image; name=$$1; shift; \
		$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
			-c requirements/dev.lock "$$@" pyproject.toml -o requirements/$$name.lock || exit 1; done
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		-c requirements/dev.lock requirements/descriptors.in -o requirements/descriptors.lock
	@for peers in bench bench-accuracy bench-compute bench-gateway; do \
		$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
			--upgrade requirements/$$peers.in -o requirements/$$peers.lock || exit 1; done
	@$(VENV)/bin/uv pip compile --quiet --universal --prerelease allow --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade requirements/watching.in -o requirements/watching.lock
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade requirements/chart.in -o requirements/chart.lock
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade requirements/ray.in -o requirements/ray.lock
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade requirements/compose.in -o requirements/compose.lock
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-deps requirements/helm.in -o requirements/helm.lock
	@cd bench/gateway/portkey && rm -f package-lock.json && npm install --silent --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

.PHONY: clean
clean: ## Remove what was built, not .data
	@rm -rf $(VENV) .tools gateway/api.pb .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

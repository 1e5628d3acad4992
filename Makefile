# `make run` and `make test` do all the set-up they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OTHERS := $(VENV)/.other-versions
NEO4J  := $(VENV)/.neo4j

.DEFAULT_GOAL := help
.PHONY: help run stop test test-long lint bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kos needs Python 3.11 or newer: make PYTHON=python3.12 run" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "kos needs Python's venv: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(OTHERS): requirements.versions.lock | $(READY)
	-@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $< && touch $@

$(NEO4J): tests/neo4j.pom.xml | $(READY)
	-@rm -rf $(VENV)/neo4j $@ && mvn --batch-mode --quiet --strict-checksums --file $< \
	  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(VENV)/neo4j && touch $@

run: $(READY) ## set up, start the embedded stack, load real data, take the tour
	$(BIN)/kos tour

stop: $(READY) ## stop the embedded stack
	$(BIN)/kos down

lint: $(READY) ## ruff, mypy and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/make_sync.py --check

test: lint ## everything a laptop can, under ten minutes
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: $(READY) $(OTHERS) $(NEO4J) ## full sweeps, PostgreSQL 15 to 18, Neo4j, no superuser
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m long

bench: $(READY) ## every speed claim beside its control; writes docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

lock: $(READY) ## resolve the dependencies again
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
	  --no-emit-find-links --all-extras -o requirements.lock pyproject.toml requirements.build.in
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
	  --no-emit-find-links --no-deps -o requirements.versions.lock requirements.versions.in

clean: ## remove the environment and the embedded stack's data
	-@test -x $(BIN)/kos && $(BIN)/kos down --purge --yes
	rm -rf $(VENV) .kos

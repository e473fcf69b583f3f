VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Material for MkDocs would else advertise its successor in every build.
export NO_MKDOCS_2_WARNING := 1
# What the tests try beyond a plain installation.
EXTRAS := adapt,baselines,faiss,llm,ray,serve,sql,text
# Each process runs on one core. A file's tests stay together, so that its fixtures are made once.
WORKERS ?= 2
PROSE := README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md docs
# A camera, a printer and a tent of the demo shop, which is the same everywhere.
DEMO_ITEMS := D25RD2NSAV D2S0VKAV0K D2G7E8M117

.DEFAULT_GOAL := demo
.PHONY: demo test lint pytest docs clean

demo: $(VENV)/.installed
	$(BIN)/mmsc run demo -w demo
	$(BIN)/mmsc infer -w demo --relation both -k 5 --format table $(addprefix --item ,$(DEMO_ITEMS))
	@echo "The report: demo/report.html"
	@echo "The page: $(BIN)/mmsc serve -w demo, then http://127.0.0.1:8080/"

test: lint pytest

pytest: $(VENV)/.test-installed
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell mmsc_cli tests benchmarks recipes .ci .github Makefile pyproject.toml mkdocs.yml $(PROSE)

docs: $(VENV)/.docs-installed
	$(BIN)/mkdocs build --strict
	@echo "The documentation: site/index.html"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[serve]'
	@touch $@

$(VENV)/.docs-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --group docs
	@touch $@

# Dependency groups need pip 25.1; a fresh environment may have an older one.
$(VENV)/.test-installed: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet -e '.[$(EXTRAS)]' --group test --group lint
	@touch $@

clean:
	rm -rf $(VENV) demo workspace site

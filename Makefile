VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# A camera, a printer and a tent of the demo shop, which is the same everywhere.
DEMO_ITEMS := D25RD2NSAV D2S0VKAV0K D2G7E8M117

.DEFAULT_GOAL := demo
.PHONY: demo test clean

demo: $(VENV)/.installed
	$(BIN)/mmsc run demo -w demo
	$(BIN)/mmsc infer -w demo --relation both -k 5 --format table $(addprefix --item ,$(DEMO_ITEMS))
	@echo "The report: demo/report.html"

test: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e .
	@touch $@

$(VENV)/.test-installed: $(VENV)/.installed pyproject.toml
	$(BIN)/pip install --quiet -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) demo workspace

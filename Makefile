# Everything sets itself up in .venv from Python 3.11 or newer and a package registry.
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs build clean setup setup-test
# Compiled modules are kept, whatever the caller's habit: each program starts seconds sooner.
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV PYTHONPATH PYTHONHOME

BIN := .venv/bin
JOBS ?= 2

help:    ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

demo: setup   ## pretrain, adapt and measure a small ConvNova on the embedded genome (8 minutes)
	@$(BIN)/helicon demo --out demo

test: lint docs   ## run the checks, build the docs, run the tests
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

lint: setup-test   ## check style and types
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@echo "style and types: passed"

docs: setup-test   ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo "documentation: site/index.html"

build: setup-test   ## build the source archive and the wheel into dist/
	@$(BIN)/python -m uv build --quiet --out-dir dist && ls dist

clean:   ## remove what can be made again, the environment included
	@rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

setup:
	@tools/setup run

setup-test:
	@tools/setup test

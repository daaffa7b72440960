# `make train` and `make test` are all a reader needs; both set up what is missing first.
.DEFAULT_GOAL := help
.PHONY: help setup train test test-fast test-hunt test-all lint bench

# The first Python on this machine that is new enough; requirements/install.py says so clearly when none is.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
ifeq ($(strip $(PYTHON)),)
PYTHON := python3
endif
VENV_PYTHON := .venv/bin/python
# More settings for the run: make train ARGS="seed=1 out_dir=runs/seed1"
ARGS ?=

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

setup:  ## build .venv with exact versions and check it (a second call takes a second)
	@$(PYTHON) requirements/install.py

train: setup  ## SFT, GRPO, evaluation and report on the embedded tiny model
	$(VENV_PYTHON) -m rl.train +experiment=med_grpo $(ARGS)

test: setup  ## the tests, without those marked slow or gpu
	$(VENV_PYTHON) -m pytest -m "not slow and not gpu" $(ARGS)

# One process, not pytest-xdist: with two cores Ray, vLLM and the tests of deadlines would wait for each other.
test-fast: setup  ## the pure tests: no process, server, browser or model; at most 90 seconds
	$(VENV_PYTHON) -m pytest --fast tests $(ARGS)

test-hunt: setup  ## inputs of public bug reports and their kinds: about a minute
	$(VENV_PYTHON) -m pytest -m hunt $$(grep -rl "mark[.]hunt" tests --include=*.py) $(ARGS)

test-all: setup  ## every test this machine can run
	$(VENV_PYTHON) -m pytest $(ARGS)

lint: setup  ## ruff (rules and format) and mypy; changes nothing
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

bench: setup  ## one GRPO step against its floor and against TRL (minutes; wants a quiet machine)
	$(VENV_PYTHON) -m tests.bench.step $(ARGS)

# matattn: `make reproduce` regenerates the companion, `make test` checks it. Both set everything up on their first call.

PROFILE ?= quick
# Notebooks side by side; those of the paper profile measure times, too, and are alone.
JOBS    ?= $(if $(filter paper,$(PROFILE)),1,2)
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
             $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP     := .venv/bin/python -m pip --disable-pip-version-check --no-input
# The environment is up to date when this file is there: its name holds the lock, the requirements and the place of the clone.
STAMP   := .venv/.installed-$(shell (cat requirements.lock pyproject.toml; pwd) | cksum | cut -d ' ' -f 1)
CHECKS  := runs/checks
BATCHES := tests/test_runner.py tests/test_batches.py tests/test_cluster.py tests/test_repeat.py
KILLS   ?= 20

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_WAIT_POLICY ?= passive
unexport PYTHONPATH PYTHONHOME JUPYTER_PATH
.DEFAULT_GOAL := help
.PHONY: help venv lock reproduce report figures test check-lint check-types check-notebooks check-smoke check-pytest check-batches \
        check-wheel soak badges lint export site clean-notebooks readme hooks clean

help: ## this list
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/( [a-z-]+)?:.*## /\t/' | awk -F '\t' '{printf "  make %-16s %s\n", $$1, $$2}'

# ---- set-up

venv: $(STAMP) ## the environment in .venv, as locked in requirements.lock
	@:

$(STAMP):
	@test -n "$(PYTHON)" || { echo "matattn needs Python 3.11 or newer on the path; or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python"; exit 1; }
	@.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "set-up 1/4  environment in .venv ($$($(PYTHON) --version))"; rm -rf .venv; $(PYTHON) -m venv .venv; }
	@echo "set-up 2/4  PyTorch"
	@$(PIP) install -qq -c requirements.lock "$$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)"
	@echo "set-up 3/4  the other locked packages"
	@$(PIP) install -qq -r requirements.lock
	@echo "set-up 4/4  matattn itself, editable"
	@$(PIP) install -qq --no-deps -e .
	@rm -f .venv/.installed-*; touch $@

lock: venv ## draw requirements.lock anew from the ranges in pyproject.toml
	$(PIP) install -qq --upgrade-strategy only-if-needed -e '.[run,cluster,dev]'
	@{ sed -n '/^#/p' requirements.lock; $(PIP) freeze --exclude-editable | sed -E -e '/^(#|nvidia-|cuda-|triton|xgboost==)/d' \
	    -e 's/\+(cpu|cu[0-9]+)$$//' -e 's/^xgboost-cpu==(.*)$$/xgboost-cpu==\1 ; sys_platform != "darwin"\nxgboost==\1 ; sys_platform == "darwin"/'; \
	 } > requirements.lock.new && mv requirements.lock.new requirements.lock

hooks: venv ## git and Jupyter hooks that clean and merge notebooks
	nbdev_install_hooks

# ---- the companion

reproduce: venv ## run every experiment (PROFILE=smoke|quick|paper, JOBS=side by side), then the reports
	@status=0; \
	matattn run all --profile $(PROFILE) --jobs $(JOBS) --regenerate --reports || status=1; \
	matattn claims || status=1; \
	echo "reports: runs/reports/   figures: figures/   records: nbs/experiments/records/"; \
	exit $$status

report figures: venv ## rerun the reports on the records that are there; writes figures/
	matattn report

site: export OMP_NUM_THREADS := 1
site: venv ## the notebooks, the API and the figures as pages in _docs/, which need no network
	matattn site

readme: venv ## README.md from nbs/index.ipynb
	matattn readme

badges: venv ## badges, and the cells for Colab, on the notebooks for readers
	python -c 'from matattn.demo.online import write_openings; print(*write_openings(), sep="\n")'

# ---- changing the library

export: venv ## nbs/ -> matattn/
	nbdev_export
	python tests/stubs.py

clean-notebooks: venv ## drop what Jupyter adds to notebooks
	nbdev_clean

lint: venv ## ruff on modules, tests and notebooks
	ruff check .

# ---- tests; the checks run side by side, each with a log under runs/checks/, and pytest's output comes last.
# Notebooks and smoke runs that passed in this clone are not repeated while all that they stand on is the same; FRESH=1 repeats them.

test: venv ## everything that continuous integration runs; FRESH=1: what passed before, too
	@rm -rf $(CHECKS); mkdir -p $(CHECKS); status=0; \
	echo "checks: lint, types, notebooks, smoke, pytest, batches (logs in $(CHECKS)/)"; \
	$(MAKE) --no-print-directory -k -j3 check-notebooks check-batches check-smoke check-pytest check-types check-lint 2>$(CHECKS)/make.log || status=1; \
	cat $(CHECKS)/pytest.log $(CHECKS)/batches.log; \
	test $$status = 0 || { echo "FAILED: $$(cd $(CHECKS) && echo *.failed | sed 's/\.failed//g')"; exit 1; }

# $(call check,name,command): silent when all is well, the whole log when not.
define check
	@start=$$(date +%s); mkdir -p $(CHECKS); \
	if ( $(2) ) >$(CHECKS)/$(1).log 2>&1 </dev/null; then verdict=$$(cat $(CHECKS)/$(1).unchanged 2>/dev/null || echo passed); \
	else verdict=FAILED; touch $(CHECKS)/$(1).failed; fi; \
	echo "  $(1): $$verdict ($$(( $$(date +%s) - start )) s)"; \
	test "$$verdict" != FAILED || { case $(1) in pytest|batches) ;; *) cat $(CHECKS)/$(1).log;; esac; exit 1; }
endef

check-lint: venv
	$(call check,lint,ruff check .)

check-types: venv ## mypy on the library, and on a program that uses it; its memory is in runs/mypy
	$(call check,types,mypy)

# One process for all notebooks: imports are paid once, and joblib's idle workers hold back the end of a second process for 300 s.
check-notebooks: export OMP_NUM_THREADS := 1
check-notebooks: export MATATTN_FIGURES := $(CURDIR)/$(CHECKS)/figures
check-notebooks: export MATATTN_RUNS := $(CURDIR)/$(CHECKS)/notebooks
check-notebooks: venv
	$(call check,notebooks,python tests/unchanged.py notebooks -- nbdev_test --n_workers 0 --timing)

check-smoke: export OMP_NUM_THREADS := 1
check-smoke: export MATATTN_RUNS := $(CURDIR)/$(CHECKS)/smoke
check-smoke: export MATATTN_RECORDS := $(CURDIR)/$(CHECKS)/smoke/records
check-smoke: venv
	$(call check,smoke,python tests/unchanged.py smoke -- matattn run all --profile smoke --jobs 1)

check-pytest: export OMP_NUM_THREADS := 1
check-pytest: venv
	$(call check,pytest,python -m pytest -p no:cacheprovider --durations 5 tests $(BATCHES:%=--ignore=%))

# Tests that mostly wait for notebooks of their own: a third process that needs no third core.
check-batches: export OMP_NUM_THREADS := 1
check-batches: venv
	$(call check,batches,python -m pytest -p no:cacheprovider --durations 5 $(BATCHES))

soak: export OMP_NUM_THREADS := 1
soak: venv ## kill -9 at KILLS=20 random moments of a smoke batch (ONLY="..." of these experiments): the same records as undisturbed
	python tests/soak.py $(ONLY) --kills $(KILLS)

check-wheel: venv ## a wheel alone, in an environment of its own outside the checkout, runs every notebook for readers
	$(call check,wheel,python tests/wheel.py)

clean: ## remove what runs and builds leave (not .venv)
	rm -rf runs _docs build dist *.egg-info .pytest_cache .ruff_cache

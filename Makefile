# Everything runs from a fresh clone with make and Python 3.11 or newer; all that is installed goes into .venv.
#
#   make demo         masks to pictures with the embedded models: writes demo/contact_sheet.png (avatars) and
#                     demo/churches/contact_sheet.png, and says how to start the studio
#   make test         lint, types, tests; those in a browser are skipped, and counted, where there is no Chromium
#   make test-browser the tests in a browser alone, and Chromium (by apt-get) where there is none
#   make setup        install only: the package, editable, with all it needs for tests and development
#   make lint         ruff and mypy alone
#   make fuzz         10,000 altered checkpoints, each opened within 4 seconds and 1 GB or refused in one line (3 minutes; FUZZ=COUNT)
#   make kill-resume  kill fit 100 times, go on, and compare every byte with an undisturbed run (20 minutes; KILLS=COUNT)
#   make clean        remove .venv, demo/ and caches (runs/ stays)
#
# PYTHON=python3.12       another interpreter
# TORCH='torch==2.12.0'   another PyTorch, any pip requirement from 2.11 on (in a .venv that is there already: make clean first)
# TORCH_INDEX=URL         where to look for it besides pip's usual index, as https://download.pytorch.org/whl/cu130; empty: nowhere else
#
# PyPI's PyTorch for Linux brings CUDA along, some gigabytes. Where no NVIDIA GPU is seen, the small CPU build is taken from PyTorch's
# own index, if that can be reached.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-compile # Python compiles what is imported, when it is: a third of the time
CPU_INDEX := https://download.pytorch.org/whl/cpu

# Recursive, so that the question is asked only while PyTorch is being installed.
TORCH_INDEX ?= $(shell [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 && \
	$(PYTHON) -c "import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=3)" 2>/dev/null && echo $(CPU_INDEX))

PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
BROWSER := $(PARALLEL) tests/studio/browser
FUZZ ?= 10000
KILLS ?= 100

.PHONY: demo test test-units test-browser setup lint fuzz kill-resume clean

demo: $(VENV)/.installed
	$(BIN)/proxymask demo
	$(BIN)/proxymask demo --bundle churches
	@echo; echo 'Paint your own masks in the browser:'; echo '  $(BIN)/proxymask studio'

setup: $(VENV)/.installed-dev

test: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory -j 2 lint test-units
	$(BIN)/python -m pytest $(BROWSER)

test-units: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL) --ignore tests/studio/browser

test-browser: $(VENV)/.installed-dev
	.ci/chromium
	BROWSER_TESTS=required $(BIN)/python -m pytest $(BROWSER)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/checkpoints/mutants.py $(FUZZ)

kill-resume: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kill_resume.py --trials $(KILLS)

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, as in: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	index='$(TORCH_INDEX)'; $(PIP) $${index:+--extra-index-url "$$index"} '$(TORCH)'
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[studio]'
	touch $@

# Not by way of .installed: one resolution of the dependencies instead of two.
$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[studio,test,browser,dev,data]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

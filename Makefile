# make demo        draws ice cores, tunes a model on them and finds the layers in new ones, in demo/
# make test        every check;  make test-fast  those that take seconds;  make lint  no tests
#                  Tests on real data run if TFPIPE_REALDATA names its folder; it cannot be shipped.
# make test-bfloat16    the fast tests with --precision auto forced to mixed_bfloat16
# make test-extras      tests of Beam, S3, MLflow and inference runtimes, in .venv-extras: they need other versions
# make wheel       a wheel of tfpipe in dist/, for pip in any environment
# make bench       the table of docs/speed.md, measured here in half an hour; the machine should be quiet
# make docs        the site in build/site/, to be read without a server
# make clean       removes demo/ and caches; .venv stays
# make PYTHON=python3.12 VENV=.venv-3.12 test-fast    with a Python of your choice

VENV ?= .venv
# What is installed there, with exact versions and hashes.
LOCK ?= constraints.txt
# Many tests wait for processes of their own, so one more than cores; 0 is no workers.
WORKERS ?= 3
BIN := $(VENV)/bin
# Where bytecode is not kept, each of the tests' processes compiles every file anew.
export PYTHONDONTWRITEBYTECODE :=
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(USABLE)' 2>/dev/null && echo $$python && break; done)

.PHONY: bench demo docs wheel test test-fast test-bfloat16 test-extras of-extras style lint clean
.DELETE_ON_ERROR:

$(VENV)/.installed: setup.cfg pyproject.toml $(LOCK)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  $(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || { \
	    echo "tfpipe needs Python 3.11, 3.12 or 3.13 with venv; $(if $(PYTHON),$(PYTHON) is not one,none was found)."; \
	    echo "Install one (Debian: apt install python3-venv), or name it: make PYTHON=/path/to/python3.12"; \
	    exit 1; }; \
	  echo "Making $(VENV) with $$($(PYTHON) --version)."; \
	  $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing what $(LOCK) names: TensorFlow and others, a few minutes the first time."
	@# pip compiles on one core, compileall on all; some files of some packages are no modules.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation -e .
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || :
	@touch $@

# Figures are made once, in some minutes, by running what the tutorials show: build/figures/.
docs: $(VENV)/.installed
	$(BIN)/python docs/make_figures.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "The site, for a browser:  build/site/index.html"

# Results stay in build/bench; what is there is not measured again.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/table.py

# Modules that were deleted would go into the wheel from an old build/lib/.
wheel: $(VENV)/.installed
	rm -rf build/lib build/bdist*
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir dist .
	rm -rf build/lib build/bdist*

RAW := raw/melt-layer
PLACES := --data demo/data --models demo/saved_models

demo: $(VENV)/.installed
	test -d demo/data/$(RAW) || $(BIN)/tfpipe sample melt-layer --photos 32 --seed 1 --data demo/data
	$(BIN)/tfpipe pack melt-layer --data demo/data
	ls -d demo/saved_models/melt-layer/*/[0-9]* 2>/dev/null || $(BIN)/tfpipe tune melt-layer --quick $(PLACES)
	test -d demo/new/$(RAW) || $(BIN)/tfpipe sample melt-layer --photos 3 --seed 2 --data demo/new
	$(BIN)/tfpipe predict melt-layer demo/new/$(RAW)/photos --out demo/layers.csv $(PLACES)
	@echo
	@echo "The report, for a browser:  $$(ls -t demo/saved_models/melt-layer/*/[0-9]*/assets.extra/report.html | head -n 1)"
	@echo "The layers found:           demo/layers.csv"
	@echo "The same in pictures:       demo/layers/"

style: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

lint: style
	$(BIN)/mypy

# mypy takes one core for half a minute, and the tests do not fill the others: both at once.
PYTEST := $(BIN)/pytest --dist loadfile --no-loadscope-reorder
TYPES_BESIDE = @$(BIN)/mypy > $(VENV)/mypy.log 2>&1 & mypy=$$!; \
	echo '$(1)'; $(1); tests=$$?; \
	wait $$mypy; types=$$?; echo "mypy: $$(cat $(VENV)/mypy.log)"; exit $$((tests | types))

test: style
	$(call TYPES_BESIDE,$(PYTEST) -n $(WORKERS))
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  command -v google-chrome >/dev/null || \
	  echo "There is no chromium here, so the tests that open the report in a browser were skipped."

test-fast: style
	$(call TYPES_BESIDE,$(PYTEST) -n auto -m "not slow")

# A processor without bfloat16 emulates it, eight times slower.
test-bfloat16: $(VENV)/.installed
	TFPIPE_PRECISION=mixed_bfloat16 $(PYTEST) -n auto -m "not slow"

# Beam wants an older protobuf, and S3 an older python-dateutil, than constraints.txt has.
test-extras:
	$(MAKE) VENV=.venv-extras LOCK=constraints-extras.txt of-extras

EXTRAS_TESTS := tests/data/test_beam_pack.py tests/inference/test_beam_predict.py \
  tests/data/test_other_readers.py tests/serving/test_runtimes.py tests/serving/test_formats_of_models.py \
  tests/serving/test_model_files.py \
  tests/base/test_large_images.py tests/base/test_storage.py tests/workflows/test_tracking.py $(wildcard tests/*/test_stored_*.py)

of-extras: $(VENV)/.installed
	$(PYTEST) -n 2 $(EXTRAS_TESTS)

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .mypy_cache .import_linter_cache
	find tfpipe tuning tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

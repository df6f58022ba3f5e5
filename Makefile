# make tune   install and tune the embedded reference pipeline
# make test   install and run the tests
# make check  install, then lint, types and generated docs
# make docs   rewrite the parts of the docs that are made from code

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGES := $(shell find docs -name '*.md')
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: tune test check docs clean

tune: $(VENV)/.installed
	$(BIN)/tune run reference:sd15-tiny --memory 2GiB --trials 8 --time-limit 40s --trial-timeout 75s --no-ablation \
		--exclude engine --exclude vae_engine --exclude text_encoder_engine

# Two processes with a thread each; then what times itself, with the machine to itself.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not gpu'
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cog --check $(PAGES)

docs: $(VENV)/.installed-dev
	$(BIN)/cog -r $(PAGES)

clean:
	rm -rf $(VENV)

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.venv pyproject.toml constraints.txt
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev]'
	touch $@

# make tune     install and tune the embedded reference pipeline
# make test     install and run the tests
# make check    install, then lint, types and generated docs
# make docs     rewrite the parts of the docs that are made from code
# make resolve  find a wheel of every pinned version for each Python; fetches their metadata alone

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: tune test check docs resolve clean

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
	$(BIN)/cog --check docs/*.md

docs: $(VENV)/.installed-dev
	$(BIN)/cog -r docs/*.md

# pip would judge requirements such as `python_version >= "3.12"` by the Python that it runs on.
resolve: $(VENV)/.venv
	$(INSTALL) uv
	@for version in 3.11 3.12 3.13 3.14; do \
		$(BIN)/uv pip compile -q --no-build --python-version $$version --python-platform x86_64-manylinux_2_28 \
			--all-extras -c constraints.txt pyproject.toml -o /dev/null || exit 1; \
		echo "Python $$version: the versions of constraints.txt have wheels for Linux on x86-64"; \
	done

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

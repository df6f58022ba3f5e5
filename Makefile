# make tune     install, with the runtimes of this machine, and tune the embedded reference pipeline
# make quick    install and run the tests that need no pipeline, within a minute
# make test     install and run the tests
# make test-all install and run the tests, those that take minutes too
# make check    install, then lint, types and generated docs
# make docs     rewrite the parts of the docs that are made from code
# make resolve  find a wheel of every pinned version for each Python; fetches their metadata alone

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGES := $(shell find docs -name '*.md')
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: tune quick test test-all check docs resolve clean

# OpenVINO is made for x86; ONNX Runtime and torch.compile are there anyway.
RUNTIMES := $(if $(filter x86_64 amd64,$(shell uname -m)),[openvino],)

tune: $(VENV)/.installed-runtimes
	$(BIN)/tune run reference:sd15-tiny --height 64 --width 64 --steps 2 --memory 2GiB --trials 12 \
		--time-limit 2m --trial-timeout 1m --no-ablation

# Two processes with a thread each.
TOGETHER := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(VENV)/.installed-dev
	$(TOGETHER) -q --durations=5 --durations-min=1 -m 'not heavy and not slow and not long'

# After the others, what times itself, with the machine to itself.
test: $(VENV)/.installed-dev
	$(TOGETHER) -m 'not slow and not long'
	$(BIN)/python -m pytest -m 'slow and not long'

# Where no test takes minutes, pytest ends with 5. Of generated cases there are fifty times as many.
test-all: test
	$(BIN)/python -m pytest -m 'long' || [ $$? -eq 5 ]
	$(TOGETHER) tests/generated --hypothesis-profile=many

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cog --check $(PAGES)

docs: $(VENV)/.installed-dev
	$(BIN)/python -m tests.gpu.page
	$(BIN)/cog -r $(PAGES)

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

$(VENV)/.installed-runtimes: $(VENV)/.installed
	$(INSTALL) -e '.$(RUNTIMES)'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev]'
	touch $@

# Everything a developer or a new user types. Needs Python 3.11+ and make; the tests' servers come
# from apt. Each target keeps a virtual environment of its own under .venv/.

PYTHON ?= python3
DEMO := .venv/demo
DEV := .venv/dev
# Words to pass on: make test ARGS="tests/unit -k decode"
ARGS ?=
# Test processes side by side: most tests wait for servers, so more than there are processors.
JOBS ?= 4

.PHONY: help demo test lint bench format generate image lock pictures servers clean

help:
	@echo "make demo    see it work: a broker, workers and the exporter, on this machine"
	@echo "make test    install what the tests need, and run them    (ARGS=... for pytest)"
	@echo "make lint    types, style, import contracts"
	@echo "make image   the container image, with Docker"
	@echo "make lock    pin what the image holds anew"
	@echo "make pictures  take the pictures of the docs again"
	@echo "make generate  write dashboards, the chart's files and the reference docs again"
	@echo "make bench   CPU, memory and losses beside Celery's Receiver and Flower"

demo: $(DEMO)/.done
	$(DEMO)/bin/z4j-exporter demo $(ARGS)

test: $(DEV)/.done servers
	$(DEV)/bin/pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(DEV)/.done
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

format: $(DEV)/.done
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

# What is written by programs: dashboards, the chart's copies of files, docs of options and metrics.
generate: $(DEV)/.done
	$(DEV)/bin/python -m dashboards
	$(DEV)/bin/python -m tools.reference
	$(DEV)/bin/python -m tools.chart

image:
	docker build -t ghcr.io/z4j/z4j-exporter:$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' z4j_exporter/__init__.py) --build-arg REVISION=$$(git rev-parse HEAD) .

# What the image holds, pinned by hashes: the newest versions that pyproject.toml allows.
LOCK := pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --upgrade -q
lock: $(DEV)/.done
	$(DEV)/bin/uv $(LOCK) pyproject.toml --extra demo --extra encryption -o requirements.lock
	$(DEV)/bin/uv $(LOCK) requirements-build.in -o requirements-build.lock

pictures: $(DEV)/.done servers
	$(DEV)/bin/python -m tools.pictures

bench: $(DEV)/.done servers
	$(DEV)/bin/python -m benchmarks $(ARGS)

servers:
	@sh tests/support/install-servers.sh

$(DEMO)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(DEMO): about half a minute, this once."
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check -e ".[demo]"
	@touch $@

$(DEV)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(DEV): about half a minute, this once."
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two commands do all the set-up: `make run` serves, `make test` tests. Each target also works by hand, see CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
# The tests start hundreds of Python processes, so compiled modules are kept even where the environment says otherwise.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
# Many tests wait for processes more than they compute. Neighbours stay together: what a module's tests share is made once.
TWO_PER_CORE := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
IN_PARALLEL := -n $(TWO_PER_CORE) --dist worksteal
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILED := $(shell grep -o "[a-z/_]*/[a-z_]*\.py" setup.py)

.PHONY: run test test-long test-all check format fuzz bench demo clean

run: $(INSTALLED)  ## serve on 127.0.0.1:8080 with an embedded Postgres
	@exec $(BIN)/syncline serve $(ARGS)

test: $(INSTALLED)  ## what a newcomer can wait for
	$(PYTEST) $(IN_PARALLEL) -m "not long" $(ARGS)

test-long: $(INSTALLED)
	$(PYTEST) $(IN_PARALLEL) -m long $(ARGS)

test-all: $(INSTALLED)  ## every tier, at the same time: one fills the pauses of the other
	$(PYTEST) $(IN_PARALLEL) $(ARGS)

check: $(INSTALLED)  ## style, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz: $(INSTALLED)  ## a minute of bytes that are nearly right, for whatever reads bytes; ARGS="--seconds 600 gate"
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m bench $(ARGS)

demo: $(INSTALLED)  ## two people type, the server is killed five times, nothing is lost
	$(BIN)/python -m bench.demo $(ARGS)

# Runs again when the lock or a compiled source changes: no module may be an old build of itself.
$(INSTALLED): requirements.txt pyproject.toml setup.py $(COMPILED)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv and compiling the gate and the rooms ..."
	@$(PIP) --require-hashes --no-compile -r requirements.txt
	@$(BIN)/python -m compileall -q -j 0 .venv/lib > /dev/null & $(PIP) --no-deps --no-build-isolation -e . && wait
	@touch $(INSTALLED)

clean:
	rm -rf .venv build *.egg-info *.so $(COMPILED:.py=.*.so) tests/js/node_modules

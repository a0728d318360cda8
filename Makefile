# `make demo` and `make test` set up what they need on the first call and reuse it afterwards.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Extra arguments for installing torch, e.g. TORCH_ARGS="--index-url URL" to choose a wheel index.
TORCH_ARGS ?=
TORCH := torch>=2.6,<2.14

# Blender's own Python module asks for one Python version and for NumPy 1: an environment of its own.
BLENDER_PYTHON ?= $(PYTHON)
BLENDER_VENV := .venv-blender

# Programs to compare with bring another OpenCV, which must not be installed beside ours.
PEERS_VENV := .venv-peers
# Without what it declares: OpenSim, OpenVINO and Qt are for the parts that the benchmarks do not run.
POSE2SIM := pose2sim>=0.10.49,<0.11

.PHONY: demo test test-blender fbx-support soak bench bench-peers format clean

demo: $(VENV)/.ready
	$(BIN)/mocap demo demo

test: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-blender: $(VENV)/.ready-dev $(BLENDER_VENV)/.ready
	MOCAP_BLENDER_PYTHON=$(abspath $(BLENDER_VENV)/bin/python) $(BIN)/python -m pytest tests/mocap/export/test_blender.py

# What `mocap export --format fbx` runs.
fbx-support: $(BLENDER_VENV)/.ready
	@echo "mocap export --format fbx is ready"

soak: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m slow

# One table of everything, in docs and in the README; beside aniposelib and Pose2Sim once `make bench-peers` has been called.
bench: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/run_all.py

bench-peers: $(PEERS_VENV)/.ready
	@echo "make bench compares with aniposelib and Pose2Sim"

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "mocap needs Python 3.11 or 3.12, found " + sys.version.split()[0] + "; next: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# With an NVIDIA GPU the registry's own build (CUDA); elsewhere a CPU build where pip can find one.
$(VENV)/.torch: | $(VENV)/bin/python
	@if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then \
	  echo "installing torch with CUDA"; env -u PIP_FIND_LINKS $(PIP) $(TORCH_ARGS) "$(TORCH)"; \
	elif $(PIP) $(TORCH_ARGS) "torch==2.13.0+cpu" 2>/dev/null; then \
	  echo "installed the CPU build of torch"; \
	else \
	  echo "installing torch (this platform's default build)"; $(PIP) $(TORCH_ARGS) "$(TORCH)"; \
	fi
	@touch $@

$(VENV)/.ready: pyproject.toml $(VENV)/.torch
	@echo "installing mocap and its dependencies"
	@$(PIP) -e .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml $(VENV)/.torch
	@echo "installing mocap, its dependencies and the development tools"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.ready

$(BLENDER_VENV)/.ready:
	@$(BLENDER_PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "bpy 5.0 needs Python 3.11, found " + sys.version.split()[0] + "; next: make fbx-support BLENDER_PYTHON=python3.11")'
	@echo "installing Blender's Python module"
	@$(BLENDER_PYTHON) -m venv $(BLENDER_VENV)
	@$(BLENDER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "bpy==5.0.1" "numpy<2"
	@touch $@

$(PEERS_VENV)/.ready: pyproject.toml
	@echo "installing the programs to compare with"
	@$(PYTHON) -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/bin/python -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"]))' > $(PEERS_VENV)/requirements.txt
	@$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $(PEERS_VENV)/requirements.txt
	@$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "$(POSE2SIM)"
	@touch $@

clean:
	rm -rf $(VENV) $(BLENDER_VENV) $(PEERS_VENV) demo

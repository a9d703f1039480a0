# Two commands are enough: `make demo` runs the main job, `make test` passes the tests.
# Each sets up what it needs: a virtual environment in .venv, and, where run as root on Debian or
# Ubuntu, Mesa's EGL libraries. PYTHON and TORCH may be given: `make test PYTHON=python3.12`.

PYTHON ?= python3
SOAK ?= scene:640x360
TORCH ?= torch==2.13.0
BIN := .venv/bin
READY := .venv/.ready
READY_WEB := .venv/.ready-web

# `make gpu PYTHON=python3` and `make gpu WHEELS=dir` take the interpreter as it is; else .venv is set up and used.
AS_IT_IS := $(WHEELS)$(filter command,$(firstword $(origin PYTHON)))
GPU_PYTHON := $(if $(AS_IT_IS),$(PYTHON),$(BIN)/python)

.PHONY: help setup demo test test-web soak lint format bench gpu wheel clean

help:
	@echo "make demo    encode the procedural scene and write demo/demo.png and demo/preview.mp4"
	@echo "make test    run the tests"
	@echo "make test-web  drive the browser viewer in Chromium"
	@echo "make soak    play with the native viewer for five minutes on a virtual display; nothing may grow (SOAK=clip.mp4)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   measure, and write benchmarks/results/"
	@echo "make gpu     prove and measure the cuda backend on an NVIDIA GPU, and write benchmarks/results/"
	@echo "             (PYTHON=python3: that interpreter as it is; WHEELS=dir: wheels for what it lacks; OUT=dir)"
	@echo "make wheel   build the wheel into dist/"
	@echo "make clean   remove .venv and everything that was built"

setup: $(READY)

$(READY): pyproject.toml tools/setup.sh
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" sh tools/setup.sh

demo: $(READY)
	$(BIN)/texvlm demo --out demo

test: $(READY)
	$(BIN)/python -m pytest -m "not browser"

test-web: $(READY_WEB)
	TEXVLM_REQUIRE=browser,webxr $(BIN)/python -m pytest -m browser tests/viewer/web

soak: $(READY)
	xvfb-run -a -s "-screen 0 1280x1024x24" $(BIN)/python tools/soak_view.py --minutes 5 --input "$(SOAK)"

$(READY_WEB): $(READY) tools/setup_web.sh tests/viewer/web/package.json
	sh tools/setup_web.sh

lint: $(READY)
	$(BIN)/python -m pip install -q -e ".[dev]"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/python -m pip install -q -e ".[dev]"
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/texvlm bench --out benchmarks/results

gpu:
	@$(PYTHON) tools/gpu.py --look
ifeq ($(AS_IT_IS),)
	@$(MAKE) --no-print-directory setup
	@$(GPU_PYTHON) tools/gpu.py --install
endif
	@$(GPU_PYTHON) tools/gpu.py $(if $(WHEELS),--wheels "$(WHEELS)") $(if $(OUT),--out "$(OUT)")

wheel: $(READY)
	$(BIN)/python -m pip wheel -q --no-deps --wheel-dir dist .

clean:
	rm -rf .venv dist build demo .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

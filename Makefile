# tinyconv needs Python 3.10-3.13 and make; everything else is installed into .venv by the first command that needs it.
#
#   make lenet   train LeNet on MNIST, e.g. make lenet ARGS="--epochs 2"
#   make test    lint, type check and the whole test suite: all that CI runs
#   make test-gpu   the tests on an NVIDIA GPU; CuPy is installed for CUDA 13, or as in: make test-gpu CUDA=12
#   make bench   measure the kernels and the training steps, e.g. make bench ARGS="--help"
#   make bench-gpu   the training steps on an NVIDIA GPU beside PyTorch's, e.g. make bench-gpu PYTHON=python3
#   make venv    make .venv with tinyconv and its tools, e.g. make venv PYTHON=python3.12
#   make clean   remove .venv and everything that was built

.POSIX:

PYTHON =
ARGS =
CUDA = 13
WORKERS = 2

BIN = .venv/bin
READY = .venv/ready
PYTEST = $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: help venv lenet test test-gpu bench bench-gpu clean

help:
	@sed -n '/^#  /s/^#  *//p' Makefile

venv: $(READY)

$(READY): pyproject.toml
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.10 python; do \
		if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then \
			echo "making .venv with $$python"; exec "$$python" -m venv --clear .venv; \
		elif [ -n "$(PYTHON)" ]; then break; fi; \
	done; \
	echo 'make: expected Python 3.10-3.13 with its venv module; name one as in: make venv PYTHON=/path/to/python3' >&2; \
	exit 1
	@echo 'installing tinyconv and its tools into .venv (a minute or two)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(READY)

lenet: $(READY)
	$(BIN)/python -m examples.lenet_mnist $(ARGS)

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

# Lint, types, everything; then the core without kernels; then imports on a machine without the optional packages.
test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)
	TINYCONV_BACKEND=reference $(PYTEST) -m 'not slow' tests/core tests/ops tests/layers
	PYTHONPATH="$$PWD/tests/hidden" $(BIN)/python -m pytest tests/test_imports.py

# One process: several would share one GPU. Skips everything, with the reason, where there is none.
test-gpu: $(READY)
	@$(BIN)/python -c 'import cupy' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,cuda$(CUDA)]'
	$(BIN)/python -m pytest --device cuda -m 'not slow' $(ARGS)

# Beside PyTorch, which must be there: PYTHON names the interpreter of an environment that has it.
bench-gpu:
	$(or $(PYTHON),python3) -m benchmarks.gpu $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

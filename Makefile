# SPDX-License-Identifier: BSD-3-Clause
# Names for the project's commands; what they do is in the scripts that they call.
PYTHON = .venv/bin/python

.PHONY: demo test bench bench-compare build lint format clean

demo: build
	@PYTHONPATH=csrc $(PYTHON) -m compat_tests.demo

test: build
	@FFPF_NO_SKIP=1 $(PYTHON) -m pytest -q -n auto --maxprocesses=4 --maxschedchunk=2 --durations=15

bench: build
	@$(PYTHON) -m bench

bench-compare: build
	@$(PYTHON) -m bench.compare

build:
	@compat_tests/prepare.sh

lint: build
	@$(PYTHON) -m pytest -q compat_tests/test_lint.py

format: build
	@$(PYTHON) -m compat_tests.lint --fix

clean:
	rm -rf build pyffpf/_core.c pyffpf/*.so

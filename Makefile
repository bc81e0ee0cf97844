# SPDX-License-Identifier: BSD-3-Clause
# Names for the project's commands; what they do is in the scripts that they call.
PYTHON = .venv/bin/python

.PHONY: demo test test-long bench bench-compare build lint format clean

demo: build
	@PYTHONPATH=csrc $(PYTHON) -m compat_tests.demo

test: build
	@FFPF_NO_SKIP=1 $(PYTHON) -m compat_tests.suite -q -n auto --maxprocesses=4 --maxschedchunk=2 --durations=15

# Minutes more: packages, built and installed.
test-long: test
	@command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap pkg-config >/dev/null
	@FFPF_NO_SKIP=1 $(PYTHON) -m pytest -q --durations=5 compat_tests/packaging/long_*.py

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

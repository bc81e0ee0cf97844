# SPDX-License-Identifier: BSD-3-Clause
"""FFPF for Python. `pyffpf._core` is the C core through cffi: the tests of the rooms below csrc/ use it."""

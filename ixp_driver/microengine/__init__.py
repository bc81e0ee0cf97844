# SPDX-License-Identifier: BSD-3-Clause
"""The instruction set of an emulated microengine, from isa.h; object files; what words mean; one engine to run."""

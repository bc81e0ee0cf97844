# SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks: each measures FFPF against a peer, in turns, in one run. Nothing here is a test."""

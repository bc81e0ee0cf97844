# SPDX-License-Identifier: BSD-3-Clause
"""Regression runs driven by tcpreplay: captures, rates, tools and engines, each compared with stock libpcap."""

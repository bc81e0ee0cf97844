# SPDX-License-Identifier: BSD-3-Clause
"""Whole tools on FFPF, compared with the same tools on stock libpcap."""

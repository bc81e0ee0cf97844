# SPDX-License-Identifier: BSD-3-Clause
"""Small programs over Python's pcap modules, run in processes of their own on stock libpcap and on FFPF."""

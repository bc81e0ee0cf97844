# SPDX-License-Identifier: BSD-3-Clause
"""The packet languages: one folder a language or stage, one file a pass."""

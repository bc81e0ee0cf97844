# SPDX-License-Identifier: BSD-3-Clause
"""The control plane: ffpfd, and what keeps its captures alive when it dies."""

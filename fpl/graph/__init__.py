# SPDX-License-Identifier: BSD-3-Clause
"""graph: the nodes of all flows on one source as one program in the kernel, behind classify.

node.py, which everybody may import, has nothing but types; stage.py is the door to the rest, which is heavy.
"""

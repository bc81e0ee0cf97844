# SPDX-License-Identifier: BSD-3-Clause
"""For tests: work done by a child that is another user."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any


def as_user(uid: int, work: Callable[[], Any], gid: int | None = None) -> Any:
    """What work() returns, as JSON, in a child that is this user, of the group (None: of the same number) and no
    other."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(*[uid if gid is None else gid] * 3)
            os.setresuid(uid, uid, uid)
            os.write(write, json.dumps(work()).encode())
        except BaseException as error:
            os.write(write, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)

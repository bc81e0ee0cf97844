# SPDX-License-Identifier: BSD-3-Clause
"""Runs a notebook in a kernel of its own, as its reader would, and compares what it shows with what it has stored.

    python -m compat_tests.notebook docs/notebook.ipynb       # runs it, and stores what it shows

Text is compared as it is; of pictures, whose octets differ with the versions of those that draw, only that they are
there. A kernel leaves nothing behind: its files are in a folder of the caller's, its sockets too.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

CELL_TIMEOUT_S = 60
FOLDERS = re.compile(r"(?<=file:)(?:/[^/\s)\"<]*)*/")  # in what a picture says of a device
FONT_CACHE = re.compile(r"^(Matplotlib is building the font cache.*\n)+$")  # on a slow machine, in a new folder
KEPT = ("text/plain", "text/html", "image/svg+xml", "image/png")  # forms of an output that are stored


@contextmanager
def environment(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """What a kernel is started with: it, and this process, keep in the folder what they would in the user's home."""
    own = {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "TZ": "UTC",
        **(extra or {}),
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield {**os.environ}
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def manager(folder: Path, command: list[str] | None = None) -> KernelManager:
    """Of a kernel of this Python, not started: its sockets are files, which a network namespace does not hide."""
    made = KernelManager(transport="ipc", connection_file=str(folder / "kernel.json"), ip=str(folder / "socket"))
    spec = made.kernel_spec
    assert spec is not None
    spec.argv = [*(command or []), sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return made


def executed(notebook: NotebookNode, folder: Path, extra: Mapping[str, str] | None = None) -> NotebookNode:
    """The notebook as it is after a run of all its cells, in the folder docs/; CellExecutionError for one that fails.

    folder: for what the kernel writes. extra: environment variables. What matplotlib says when it is first used in a
    folder is left out.
    """
    fresh: NotebookNode = nbformat.from_dict(notebook)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    docs = Path(__file__).resolve().parent.parent / "docs"
    with environment(folder, extra) as environ:
        kernel = manager(folder)
        client = NotebookClient(fresh, km=kernel, timeout=CELL_TIMEOUT_S, record_timing=False)
        try:
            client.execute(cwd=str(docs), env=environ)
        finally:
            kernel.shutdown_kernel(now=True)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not FONT_CACHE.search(output.get("text", ""))]
    return fresh


def shown(cell: NotebookNode) -> list[tuple[str, str]]:
    """What a cell shows: ("stdout", text), ("stderr", text), (kind of picture, "") and ("text/plain", text), pieces
    of one stream together. An object's own text is left out where there is a picture of it."""
    found: list[tuple[str, str]] = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            if found and found[-1][0] == output.name:
                found[-1] = (output.name, found[-1][1] + output.text)
            else:
                found.append((output.name, output.text))
            continue
        pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
        found += [(kind, "") for kind in pictures] or [("text/plain", output.data["text/plain"])]
    return found


def stored(notebook: NotebookNode) -> NotebookNode:
    """The notebook in the form in which it is kept: no times, no versions, no folders, cells numbered from the top."""
    kept: NotebookNode = nbformat.from_dict(notebook)
    kept.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(kept.cells):
        cell.id, cell.metadata = f"cell-{number:02}", nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if "data" in output:
                output.metadata = nbformat.from_dict({})
                data = {kind: FOLDERS.sub("", output.data[kind]) for kind in KEPT if kind in output.data}
                output.data = nbformat.from_dict(data)
    return kept


def main(arguments: list[str]) -> int:
    """Runs the notebooks that are named, and writes them anew with what they show."""
    for name in arguments:
        path = Path(name)
        with tempfile.TemporaryDirectory(prefix="ffpf-notebook-") as folder:
            done: Any = stored(executed(nbformat.read(path, as_version=4), Path(folder)))
        nbformat.write(done, path)
        print(f"{path}: {len(done.cells)} cells, {path.stat().st_size} octets")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

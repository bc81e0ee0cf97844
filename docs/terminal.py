# SPDX-License-Identifier: BSD-3-Clause
"""A recorded shell: commands are typed into a bash in a terminal of its own, and what the screen showed becomes text,
and an SVG that moves.

The terminal is a pty with pyte behind it, so what is kept is what a terminal would have shown. In the SVG all screens
stand below each other, and CSS steps from one to the next; who asks for no motion, and what knows no CSS, shows the
last one. Pauses longer than PAUSE_MAX_S are cut to it; nothing else is changed.
"""

from __future__ import annotations

import codecs
import fcntl
import html
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import pyte

COLUMNS, ROWS = 104, 30
TEXT_ROWS = 600  # of the screen that the text is taken from, which never scrolls
PROMPT = "anna$ "
PS1 = r"\[\e[1;32m\]anna$\[\e[0m\] "  # the same in colour, as bash wants it
PROMPT_RAW = b"anna$\x1b[0m "  # and its end as bash writes it
DONE = re.compile(rb"\x1b\]777;(\d+)\x07")  # what bash writes before each prompt: the exit code
COMMAND_S = 240.0  # a machine may be busy with other work
PAUSE_MAX_S = 1.5
HOLD_S = 4.0  # how long the last screen stays
TOGETHER_S = 0.04  # screens closer than that are one
KEYS = 3  # characters typed at once

CELL, LINE, SIZE = 8.4, 18, 14  # pixels: a character's width, a line's height, the font's size
MARGIN = 12
COLOURS = {  # names that pyte gives: on a light, and on a dark ground
    "default": ("#1f2328", "#e6edf3"), "black": ("#1f2328", "#8b949e"), "red": ("#a40e26", "#ff7b72"),
    "green": ("#116329", "#7ee787"), "brown": ("#7d4e00", "#e3b341"), "blue": ("#0550ae", "#79c0ff"),
    "magenta": ("#8250df", "#d2a8ff"), "cyan": ("#1b7c83", "#76e3ea"), "white": ("#57606a", "#c9d1d9"),
}  # fmt: skip
GROUND = ("#f6f8fa", "#0d1117")
EDGE = ("#d0d7de", "#30363d")


class Span(NamedTuple):
    """Characters of one look."""

    text: str
    colour: str
    bold: bool


Row = tuple[Span, ...]


@dataclass(frozen=True)
class Frame:
    at_s: float  # since the beginning, pauses cut
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Command:
    text: str
    code: int


def row_of(screen: pyte.Screen, number: int) -> Row:
    """A line of the screen, without blanks at its end."""
    cells = [screen.buffer[number][column] for column in range(screen.columns)]
    while cells and cells[-1].data == " ":
        cells.pop()
    spans: list[Span] = []
    for cell in cells:
        look = (cell.fg.removeprefix("bright"), cell.bold)
        if spans and spans[-1][1:] == look:
            spans[-1] = Span(spans[-1].text + cell.data, *look)
        else:
            spans.append(Span(cell.data, *look))
    return tuple(spans)


class Shell:
    """bash in a terminal; a context manager, at whose end it has ended. AssertionError when a command takes longer than
    COMMAND_S, or the shell ends by itself."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], folder: str, key_s: float) -> None:
        """argv: a command that becomes `bash --norc --noprofile -i`; key_s: between keys (0: all at once)."""
        self.commands: list[Command] = []
        self.frames: list[Frame] = []
        self._argv, self._folder, self._key_s = list(argv), folder, key_s
        terminal = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS), "PS1": PS1}
        marks = {
            "PROMPT_COMMAND": r"printf '\033]777;%d\007' $?",
            "HISTFILE": "",
            "BASH_SILENCE_DEPRECATION_WARNING": "1",
        }
        self._environ = {**environ, **terminal, **marks}
        self._screen, self._all = pyte.Screen(COLUMNS, ROWS), pyte.Screen(COLUMNS, TEXT_ROWS)
        self._streams = (pyte.Stream(self._screen), pyte.Stream(self._all))
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = b""
        self._clock, self._last = 0.0, time.monotonic()

    def __enter__(self) -> Shell:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(self._folder)
                os.execvpe(self._argv[0], self._argv, self._environ)
            finally:
                os._exit(127)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._until_prompt("the shell")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._pid, signal.SIGHUP)
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def run(self, text: str, pause_s: float = 0.0) -> None:
        """Types a command, waits for the next prompt, and then so long as a reader needs. Commands are one line."""
        for at in range(0, len(text), KEYS if self._key_s else len(text)):
            os.write(self._fd, text[at : at + KEYS].encode() if self._key_s else text.encode())
            self._read_for(self._key_s * KEYS)
        os.write(self._fd, b"\n")
        self.commands.append(Command(text, self._until_prompt(text)))
        self._read_for(pause_s)

    def text(self) -> str:
        """All that was shown since the beginning, without the prompt that waits; commands are on one line again."""
        rows = ["".join(span.text for span in row_of(self._all, number)) for number in range(TEXT_ROWS)]
        shown = "\n".join(rows).rstrip().removesuffix(PROMPT.rstrip()).rstrip() + "\n"
        for command in self.commands:
            line = PROMPT + command.text
            parts = [line[at : at + COLUMNS].rstrip() for at in range(0, len(line), COLUMNS)]
            shown = shown.replace("\n".join(parts), line)
        return shown

    def _read_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def _until_prompt(self, what: str) -> int:
        """Reads until bash has written its mark and the prompt behind it; the exit code."""
        end = time.monotonic() + COMMAND_S
        while True:
            mark = DONE.search(self._raw)
            if mark and PROMPT_RAW in self._raw[mark.end() :]:
                self._raw = b""
                return int(mark[1])
            assert time.monotonic() < end, f"{what} did not end within {COMMAND_S} s; the screen:\n{self.text()}"
            self._read(0.1)

    def _read(self, seconds: float) -> None:
        if not select.select([self._fd], [], [], seconds)[0]:
            return
        try:
            got = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody has the other side any more
            got = b""
        assert got, f"the shell ended; the screen:\n{self.text()}"
        self._raw += got
        text = self._decoder.decode(got)
        for stream in self._streams:
            stream.feed(text)
        now = time.monotonic()
        self._clock += min(now - self._last, PAUSE_MAX_S)
        self._last = now
        self._keep()

    def _keep(self) -> None:
        rows = tuple(row_of(self._screen, number) for number in range(ROWS))
        if self.frames and self.frames[-1].rows == rows:
            return
        if self.frames and self._clock - self.frames[-1].at_s < TOGETHER_S:
            self.frames[-1] = Frame(self.frames[-1].at_s, rows)
        else:
            self.frames.append(Frame(self._clock, rows))


# ---- the picture


def style(span: Span) -> str:
    """CSS classes of a span."""
    colour = span.colour if span.colour in COLOURS else "default"
    return " ".join([colour, *(["bold"] if span.bold else [])])


def row_svg(row: Row, name: str) -> str:
    """One line of a screen; its width is said, so that columns are straight in any font."""
    length = sum(len(span.text) for span in row)
    spans = "".join(f'<tspan class="{style(span)}">{html.escape(span.text)}</tspan>' for span in row)
    return f'<text id="{name}" textLength="{length * CELL:.1f}" lengthAdjust="spacingAndGlyphs">{spans}</text>'


def steps(frames: Sequence[Frame], seconds: float) -> str:
    """The animation: each screen from its time on."""
    height = ROWS * LINE
    keys = [
        f"{100 * frame.at_s / seconds:.3f}%{{transform:translateY({-number * height}px)}}"
        for number, frame in enumerate(frames)
    ]
    keys[0] = keys[0].replace(keys[0].partition("%")[0], "0", 1)
    return "@keyframes play{" + "".join(keys) + "}"


def rules(which: int) -> str:
    """Colours, for a light (0) or dark (1) ground."""
    text = "".join(f".{name}{{fill:{pair[which]}}}" for name, pair in COLOURS.items())
    return f"{text}.ground{{fill:{GROUND[which]};stroke:{EDGE[which]}}}"


def svg(frames: Sequence[Frame], title: str) -> str:
    """The picture. title: what it shows, for who cannot see it."""
    seconds = frames[-1].at_s + HOLD_S
    names: dict[Row, str] = {}
    screens = []
    for number, frame in enumerate(frames):
        for line, row in enumerate(frame.rows):
            if row:
                name = names.setdefault(row, f"r{len(names)}")
                screens.append(f'<use href="#{name}" y="{(number * ROWS + line) * LINE + SIZE}"/>')
    width, height = round(COLUMNS * CELL), ROWS * LINE
    outer = (width + 2 * MARGIN, height + 2 * MARGIN)
    last = f"transform:translateY({-(len(frames) - 1) * height}px)"
    text = f"font:{SIZE}px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {outer[0]} {outer[1]}" role="img">',
        f"<title>{html.escape(title)}</title>",
        f"<style>text{{{text}}}.bold{{font-weight:bold}}{rules(0)}",
        f"@media(prefers-color-scheme:dark){{{rules(1)}}}",
        f".film{{{last};animation:play {seconds:.2f}s step-end infinite}}",
        "@media(prefers-reduced-motion:reduce){.film{animation:none}}",
        f"{steps(frames, seconds)}</style>",
        "<defs>", *(row_svg(row, name) for row, name in names.items()), "</defs>",
        f'<rect class="ground" x="0.5" y="0.5" width="{outer[0] - 1}" height="{outer[1] - 1}" rx="8"/>',
        f'<svg x="{MARGIN}" y="{MARGIN}" width="{width}" height="{height}"><g class="film">', *screens, "</g></svg>",
        "</svg>", "",
    ])  # fmt: skip

# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of filter graphs, as in the paper's Figure 3: what the users wrote, what runs, and of which kind it is.

Three bands, the stages of a flow from left to right. Above, the flows as their users wrote them, a stage an oval; then
the instances that run, circles coloured by level, with the packets that went in and came out; below the classes,
squares (in large graphs graphviz may put them between the two). Dotted lines lead from a stage to the instance that
serves it, and from there to its class: an instance with two dotted lines from above is shared. An edge between
instances is the thicker the more packets passed.

`Picture` says what is drawn and knows no engine: the embedded engine makes one of its own graph, ffpfd of all flows.
`dot()` gives graphviz' text, `svg()` the picture (by the program `dot` of graphviz).
"""

from __future__ import annotations

import html
import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LEVEL_COLOURS = {"nic": ("#fde3c3", "#c8791e"), "kernel": ("#d3ecd8", "#2f8545"), "userspace": ("#d6e4f7", "#3a6fb0")}
UNKNOWN_COLOURS = ("#eeeeee", "#777777")
FONT = "DejaVu Sans,Helvetica,Arial,sans-serif"
MONO = "DejaVu Sans Mono,Courier,monospace"
INK, FAINT, DROPS = "#222222", "#9a9a9a", "#b3261e"
TEXT_WIDTH = 16  # characters of an expression that fit a line in a circle
TEXT_LINES = 2
DOT_TIMEOUT_S = 60.0
SOFT_BREAKS = re.compile(r"(?<=[-_,&|])|(?=\.)")  # where a line may end within a word
FOLDERS = re.compile(r"(?:file:)?(?<![^\s='\":|])(?:/[^/\s'\"]+)*/(?=[^/\s'\"]+)")


class PictureError(RuntimeError):
    """graphviz is missing, or refuses."""


@dataclass(frozen=True)
class Instance:
    """A filter that runs. Law: packets_in = packets_out + filtered + sum(dropped)."""

    name: str  # unique in the picture
    class_name: str
    expression: str = ""
    level: str = "userspace"  # "nic", "kernel", "userspace"
    inputs: tuple[str, ...] = ()  # names of the instances whose packets come in; none for a device
    packets_in: int = 0
    packets_out: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)  # by cause
    mbuf_bytes: int = 0
    reason: str = ""  # why it runs at that level


@dataclass(frozen=True)
class Stage:
    """One node of a flow as its user wrote it."""

    label: str  # "sampler 2", or the name that the user gave it
    instance: str
    inputs: tuple[int, ...] = ()  # positions of the stages before it


@dataclass(frozen=True)
class FlowShape:
    """One flow: its stages in the order of the text, inputs before what they feed."""

    title: str
    stages: tuple[Stage, ...]
    state: str = ""  # "active", "paused" ...


@dataclass(frozen=True, repr=False)
class Picture:
    """All flows of an engine, and what serves them. ValueError when a name is not there, or the graph has a loop."""

    flows: tuple[FlowShape, ...]
    instances: tuple[Instance, ...]
    title: str = ""

    def __post_init__(self) -> None:
        known = {instance.name for instance in self.instances}
        if len(known) != len(self.instances):
            raise ValueError("two instances have one name")
        for instance in self.instances:
            for name in instance.inputs:
                if name not in known:
                    raise ValueError(f"{instance.name}: there is no instance {name!r}")
        for flow in self.flows:
            for position, stage in enumerate(flow.stages):
                if stage.instance not in known:
                    raise ValueError(f"{flow.title}: there is no instance {stage.instance!r}")
                if any(not 0 <= at < position for at in stage.inputs):
                    raise ValueError(f"{flow.title}: stage {position} has an input that does not come before it")
        self.columns()

    def columns(self) -> dict[str, int]:
        """The column of each instance: the longest way that leads to it from a device."""
        by_name = {instance.name: instance for instance in self.instances}
        found: dict[str, int] = {}
        open_now: set[str] = set()
        for first in by_name:
            stack = [first]
            while stack:
                name = stack[-1]
                missing = [before for before in by_name[name].inputs if before not in found]
                if not missing:
                    found[name] = 1 + max((found[before] for before in by_name[name].inputs), default=-1)
                    open_now.discard(stack.pop())
                elif open_now.intersection(missing) or name in missing:
                    raise ValueError(f"{name}: its packets come back to it")
                else:
                    open_now.add(name)
                    stack.append(missing[0])
        return found

    def dot(self) -> str:
        """The picture as graphviz' text, one statement a line."""
        return "\n".join(["digraph ffpf {", *("\t" + line for line in _statements(self)), "}", ""])

    def svg(self) -> str:
        """The picture as SVG text; PictureError when graphviz' `dot` is not installed or fails."""
        return _render(self.dot(), "svg").decode()

    def save(self, path: Path | str) -> None:
        """Writes the picture in the format that the name ends in: .dot or .gv (text), .svg, .png, .pdf."""
        target = Path(path)
        kind = target.suffix.removeprefix(".").lower()
        if kind in ("dot", "gv"):
            target.write_text(self.dot())
        elif kind in ("svg", "png", "pdf"):
            target.write_bytes(_render(self.dot(), kind))
        else:
            raise ValueError(f"{target}: a picture's name ends in .dot, .gv, .svg, .png or .pdf")

    def __repr__(self) -> str:
        """Short: what it is made of is for programs, and a notebook has this beside the picture."""
        title = f" {self.title!r}" if self.title else ""
        return f"<Picture{title} of {len(self.flows)} flows, {len(self.instances)} instances>"

    def _repr_svg_(self) -> str | None:
        """What a notebook shows; where graphviz is missing the notebook shows `repr` alone."""
        return self.svg() if shutil.which("dot") else None


def _render(text: str, kind: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise PictureError("a picture other than .dot needs graphviz: its program `dot` is not installed")
    command = [program, f"-T{kind}"]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=DOT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise PictureError(f"graphviz needs more than {DOT_TIMEOUT_S:.0f} s for this picture") from None
    if done.returncode != 0:
        raise PictureError(f"graphviz: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def quoted(text: str) -> str:
    """A string of graphviz; nothing in it is an escape sequence of a label."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def wrapped(text: str, width: int = TEXT_WIDTH, lines: int = TEXT_LINES) -> list[str]:
    """The text in at most so many lines, broken at blanks where there are some, else at the marks within a name; cut
    text ends in an ellipsis. Of paths the folders are left out: "/a/b/c.pcap" is "c.pcap"."""
    rest = FOLDERS.sub("", " ".join(text.split()))
    pieces: list[str] = []
    while rest and len(pieces) < lines:
        if len(rest) <= width:
            piece, rest = rest, ""
        else:
            at = rest.rfind(" ", 1, width + 1)
            if at <= width // 3:
                softly = (found.start() for found in SOFT_BREAKS.finditer(rest, width // 3 + 1, width + 1))
                at = max(softly, default=width)
            piece, rest = rest[:at], rest[at:].lstrip()
        pieces.append(piece)
    if rest:
        pieces[-1] = pieces[-1][: width - 1] + "…"
    return pieces


def short_count(number: int) -> str:
    """At most five characters and exact up to 99,999: "617", "12,345", "1.23M", "45.6G"."""
    if number < 100_000:
        return f"{number:,}"
    for unit in ("k", "M", "G", "T"):
        number_of, digits = number / 1000, 0
        if number_of < 999.5 or unit == "T":
            digits = 2 if number_of < 9.995 else 1 if number_of < 99.95 else 0
            return f"{number_of:.{digits}f}{unit}"
        number = number // 1000
    raise AssertionError("a unit was found above")


def edge_width(packets: int) -> float:
    """In points: 1 for none, and an eighth more for each doubling, up to 4."""
    return round(min(4.0, 1.0 + math.log2(packets + 1) / 8), 2)


def _statements(picture: Picture) -> Iterator[str]:
    columns = picture.columns()
    ids = {instance.name: f"i{number}" for number, instance in enumerate(picture.instances)}
    classes = _classes(picture.instances, columns)
    title = f"label={quoted(picture.title)} labelloc=t fontsize=16 " if picture.title else ""
    yield f'graph [rankdir=LR newrank=true nodesep=0.28 ranksep=0.6 bgcolor=white fontname="{FONT}" {title}pad=0.2];'
    yield f'node [fontname="{FONT}" fontsize=10 fontcolor="{INK}" color="#666666"];'
    yield f'edge [fontname="{FONT}" fontsize=9 color="#444444" arrowsize=0.7];'
    # The bands come from below to above: in a picture from left to right, graphviz stacks what comes later higher.
    yield from _class_band(classes, columns)
    yield from _instance_band(picture.instances, ids)
    for number, flow in reversed(list(enumerate(picture.flows))):
        yield from _flow_band(number, flow)
    yield from _links(picture, ids, classes)
    yield from _ranks(picture, columns, ids, classes)


def _classes(instances: Sequence[Instance], columns: Mapping[str, int]) -> dict[str, tuple[str, int]]:
    """By class: its node, and the column of its first instance."""
    found: dict[str, int] = {}
    for instance in instances:
        column = columns[instance.name]
        found[instance.class_name] = min(found.get(instance.class_name, column), column)
    return {name: (f"c{number}", column) for number, (name, column) in enumerate(found.items())}


def _class_band(classes: Mapping[str, tuple[str, int]], columns: Mapping[str, int]) -> Iterator[str]:
    yield f'subgraph cluster_classes {{ label="classes" labelloc=b fontsize=11 fontcolor="{FAINT}" color="#dddddd";'
    yield '\tnode [shape=square style="filled" fillcolor="#f7f7f7" fixedsize=true width=0.95];'
    for name, (node, _) in classes.items():
        label = "\\n".join(quoted(line)[1:-1] for line in wrapped(name, 12))
        yield f'\t{node} [label="{label}"];'
    yield "}"
    yield from _chain({column: node for node, column in classes.values()})


def _chain(heads: Mapping[int, str]) -> Iterator[str]:
    """Keeps the columns of a band in their order where no edge of its own does."""
    in_order = [heads[column] for column in sorted(heads)]
    if len(in_order) > 1:
        yield f"{' -> '.join(in_order)} [style=invis weight=0];"


def _instance_band(instances: Sequence[Instance], ids: Mapping[str, str]) -> Iterator[str]:
    yield f'subgraph cluster_instances {{ label=<{_legend(instances)}> labelloc=b color="#dddddd";'
    yield '\tnode [shape=circle style="filled" penwidth=1.6 fixedsize=true width=1.55];'
    for instance in instances:
        fill, line = LEVEL_COLOURS.get(instance.level, UNKNOWN_COLOURS)
        yield (
            f'\t{ids[instance.name]} [fillcolor="{fill}" color="{line}" label=<{_circle_label(instance)}> '
            f"tooltip={quoted(_tooltip(instance))}];"
        )
    by_name = {instance.name: instance for instance in instances}
    for instance in instances:
        for before in instance.inputs:
            width = edge_width(by_name[before].packets_out)
            yield f"\t{ids[before]} -> {ids[instance.name]} [penwidth={width} weight=4];"
    yield "}"


def _legend(instances: Sequence[Instance]) -> str:
    """The band's name, and the colour of each level that occurs."""
    levels = [level for level in LEVEL_COLOURS if any(instance.level == level for instance in instances)]
    cells = [f'<font color="{FAINT}" point-size="11">instances</font>']
    cells += [f'<font color="{LEVEL_COLOURS[level][1]}" point-size="11">● {level}</font>' for level in levels]
    return " &nbsp; ".join(cells)


def _escaped(text: str) -> str:
    """As text of an HTML-like label: graphviz 2.43 calls one that begins with "]" a syntax error."""
    return html.escape(text).replace("]", "&#93;")


def _circle_label(instance: Instance) -> str:
    lines = [f'<font point-size="11"><b>{_escaped(instance.class_name)}</b></font>']
    lines += [
        f'<font face="{MONO}" point-size="8">{_escaped(line)}</font>'
        for line in wrapped(printable(instance.expression))
    ]
    if instance.inputs:
        lines.append(f'<font point-size="9">in {short_count(instance.packets_in)}</font>')
    lines.append(f'<font point-size="9">out {short_count(instance.packets_out)}</font>')
    lost = sum(instance.dropped.values())
    if lost:
        lines.append(f'<font point-size="9" color="{DROPS}">dropped {short_count(lost)}</font>')
    rows = "".join(f"<tr><td>{line}</td></tr>" for line in lines)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>'


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _tooltip(instance: Instance) -> str:
    words = f"{instance.name}: ({instance.class_name},{instance.expression}) at level {instance.level}"
    if instance.reason:
        words += f" ({instance.reason})"
    words += f": {instance.packets_in:,} packets in, {instance.packets_out:,} out"
    words += "".join(f", {number:,} {cause}" for cause, number in instance.dropped.items() if number)
    return words + (f"; MBuf of {instance.mbuf_bytes:,} octets" if instance.mbuf_bytes else "")


def _flow_band(number: int, flow: FlowShape) -> Iterator[str]:
    paused = flow.state not in ("", "active")
    ink = FAINT if paused else INK
    label = flow.title + (f"  ({flow.state})" if flow.state else "")
    yield (
        f"subgraph cluster_flow{number} {{ label={quoted(label)} labelloc=t labeljust=l fontsize=11 "
        f'fontcolor="{ink}" style="rounded,filled" fillcolor="#fafafa" color="#cccccc";'
    )
    style = '"filled,dashed"' if paused else '"filled"'
    yield f'\tnode [shape=oval style={style} fillcolor="white" color="#8a8a8a" fontcolor="{ink}" margin="0.08,0.04"];'
    for position, stage in enumerate(flow.stages):
        label = "\\n".join(quoted(line)[1:-1] for line in wrapped(stage.label, 22, 3))
        yield f'\tf{number}_{position} [label="{label}"];'
    for position, stage in enumerate(flow.stages):
        for before in stage.inputs:
            yield f"\tf{number}_{before} -> f{number}_{position};"
    yield "}"


def _links(picture: Picture, ids: Mapping[str, str], classes: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    """Stage to instance, instance to class: drawn downwards, but said upwards, for the order of the bands."""
    yield f'edge [style=dotted constraint=false dir=back color="{FAINT}" arrowsize=0.5];'
    for instance in picture.instances:
        yield f"{classes[instance.class_name][0]} -> {ids[instance.name]};"
    for number, flow in reversed(list(enumerate(picture.flows))):
        for position, stage in enumerate(flow.stages):
            yield f"{ids[stage.instance]} -> f{number}_{position};"


def _ranks(
    picture: Picture, columns: Mapping[str, int], ids: Mapping[str, str], classes: Mapping[str, tuple[str, int]]
) -> Iterator[str]:
    """What lies in one column: a stage stands above its instance."""
    for column in range(1 + max(columns.values(), default=-1)):
        nodes = [node for node, at in classes.values() if at == column]
        nodes += [ids[name] for name, at in columns.items() if at == column]
        for number, flow in reversed(list(enumerate(picture.flows))):
            nodes += [f"f{number}_{at}" for at, stage in enumerate(flow.stages) if columns[stage.instance] == column]
        yield f"{{ rank=same; {'; '.join(nodes)} }}"

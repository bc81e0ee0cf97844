# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of filter graphs: what is drawn, where, and that graphviz takes every graph there can be."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyffpf import picture
from pyffpf.picture import FlowShape, Instance, Picture, PictureError, Stage

SVG = "{http://www.w3.org/2000/svg}"


def figure_3() -> Picture:
    """The paper's two flows."""
    instances = (
        Instance("n1", "device", "eth0", "kernel", (), 123456, 123456),
        Instance("n2", "device", "eth1", "kernel", (), 7000, 7000),
        Instance("n3", "sampler", "2", "kernel", ("n1", "n2"), 130456, 65228, mbuf_bytes=4),
        Instance(
            "n4", "FPL-2", 'RETURN "<&>" \\n;', "userspace", ("n3",), 65228, 30000, {"ring": 228}, reason="a loop"
        ),
        Instance("n5", "BPF", "udp port 53", "kernel", ("n3",), 65228, 1200),
        Instance("n6", "bytecount", "", "kernel", ("n4", "n5"), 31200, 31200, mbuf_bytes=8),
        Instance("n7", "BPF", "tcp", "nic", ("n3",), 65228, 31000),
        Instance("n8", "packetcount", "", "kernel", ("n7",), 31000, 31000, mbuf_bytes=8),
    )
    one = FlowShape(
        "first",
        (Stage("device eth0", "n1"), Stage("device eth1", "n2"), Stage("sampler 2", "n3", (0, 1)),
         Stage("FPL-2", "n4", (2,)), Stage("BPF udp port 53", "n5", (2,)), Stage("bytecount", "n6", (3, 4))),
        "active",
    )  # fmt: skip
    other = FlowShape(
        "second",
        (Stage("device eth0", "n1"), Stage("sampler 2", "n3", (0,)), Stage("BPF tcp", "n7", (1,)),
         Stage("packetcount", "n8", (2,))),
        "paused",
    )  # fmt: skip
    return Picture((one, other), instances)


def shapes(svg: str) -> dict[str, tuple[str, float, float]]:
    """Of each node: the SVG element that it is drawn as, and the middle of it."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class") != "node":
            continue
        name = group.findtext(f"{SVG}title") or ""
        ellipse, polygon = group.find(f".//{SVG}ellipse"), group.find(f".//{SVG}polygon")
        if ellipse is not None:
            kind = "circle" if ellipse.get("rx") == ellipse.get("ry") else "oval"
            found[name] = (kind, float(ellipse.get("cx", "0")), float(ellipse.get("cy", "0")))
        elif polygon is not None:
            corners = [tuple(map(float, corner.split(","))) for corner in polygon.get("points", "").split()]
            xs, ys = [x for x, _ in corners], [y for _, y in corners]
            assert max(xs) - min(xs) == pytest.approx(max(ys) - min(ys), abs=0.1)
            found[name] = ("square", (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    return found


def test_ovals_over_circles_over_squares() -> None:
    drawn = shapes(figure_3().svg())
    kinds = {name: kind for name, (kind, _, _) in drawn.items()}
    assert {name for name, kind in kinds.items() if kind == "oval"} == {
        *(f"f0_{n}" for n in range(6)), *(f"f1_{n}" for n in range(4))
    }  # fmt: skip
    assert {name for name, kind in kinds.items() if kind == "circle"} == {f"i{n}" for n in range(8)}
    assert {name for name, kind in kinds.items() if kind == "square"} == {f"c{n}" for n in range(6)}
    below = {kind: [y for one, _, y in drawn.values() if one == kind] for kind in ("oval", "circle", "square")}
    assert max(below["oval"]) < min(below["circle"]) and max(below["circle"]) < min(below["square"])
    first, second = ([y for name, (_, _, y) in drawn.items() if name.startswith(flow)] for flow in ("f0", "f1"))
    assert max(first) < min(second)


def test_a_stage_stands_above_its_instance() -> None:
    shape = figure_3()
    drawn = shapes(shape.svg())
    for number, flow in enumerate(shape.flows):
        for position, stage in enumerate(flow.stages):
            instance = int(stage.instance[1:]) - 1
            assert drawn[f"f{number}_{position}"][1] == pytest.approx(drawn[f"i{instance}"][1], abs=1)


def test_one_sampler_and_two_bpf_instances() -> None:
    text = figure_3().dot()
    circles = re.findall(r"^\s+(i\d) \[fillcolor=.*?<b>([\w-]+)</b>", text, re.MULTILINE)
    names = [name for _, name in circles]
    assert names.count("sampler") == 1 and names.count("BPF") == 2
    assert re.findall(r'c\d \[label="BPF"\]', text) and text.count('label="BPF"') == 1
    sampler = next(node for node, name in circles if name == "sampler")
    assert set(re.findall(rf"{sampler} -> (f\d_\d);", text)) == {"f0_2", "f1_1"}


def test_colours_counts_and_tooltips() -> None:
    svg = figure_3().svg()
    for level, (fill, line) in picture.LEVEL_COLOURS.items():
        assert fill in svg and line in svg and f"● {level}" in svg
    words = " ".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")
    for shown in ("in 65,228", "out 1,200", "dropped 228", "in 130k", "first  (active)", "second  (paused)"):
        assert shown in words
    tips = [link.get("{http://www.w3.org/1999/xlink}title", "") for link in ElementTree.fromstring(svg).iter(f"{SVG}a")]
    assert any(
        'n4: (FPL-2,RETURN "<&>" \\n;) at level userspace (a loop): 65,228 packets in, 30,000 out, 228 ring' in tip
        for tip in tips
    )
    assert any(tip.endswith("MBuf of 8 octets") for tip in tips)


def test_device_has_no_packets_in() -> None:
    text = Picture((), (Instance("d", "device", "eth0", packets_in=3, packets_out=3),)).dot()
    assert "out 3" in text and ">in 3<" not in text


def test_files(tmp_path: Path) -> None:
    shape = figure_3()
    for name, begins in (("g.dot", b"digraph ffpf {"), ("g.svg", b"<?xml"), ("g.png", b"\x89PNG")):
        shape.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
    with pytest.raises(ValueError, match=r"ends in \.dot, \.gv"):
        shape.save(tmp_path / "g.jpeg")


def test_without_graphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    figure_3().save(tmp_path / "g.dot")
    with pytest.raises(PictureError, match="needs graphviz"):
        figure_3().svg()
    assert figure_3()._repr_svg_() is None  # a notebook then shows the line below, and no error
    assert repr(figure_3()) == "<Picture of 2 flows, 8 instances>"


@pytest.mark.parametrize("expression", ["]", "]]>", "a]", "[", "<b>", "&amp;"])
def test_brackets_in_a_circle(expression: str) -> None:
    drawn = ElementTree.fromstring(Picture((), (Instance("d", "device", expression),)).svg())
    assert expression in [text.text for text in drawn.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("flows", "instances", "text"),
    [
        ((), (Instance("a", "x"), Instance("a", "y")), "two instances have one name"),
        ((), (Instance("a", "x", inputs=("b",)),), "a: there is no instance 'b'"),
        ((), (Instance("a", "x", inputs=("a",)),), "come back"),
        ((), (Instance("a", "x", inputs=("b",)), Instance("b", "x", inputs=("a",))), "come back"),
        ((FlowShape("f", (Stage("s", "q"),)),), (), "f: there is no instance 'q'"),
        ((FlowShape("f", (Stage("s", "a", (0,)),)),), (Instance("a", "x"),), "does not come before"),
    ],
)
def test_what_is_no_graph(flows: tuple[FlowShape, ...], instances: tuple[Instance, ...], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Picture(flows, instances)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (99_999, "99,999"), (100_000, "100k"), (999_499, "999k"), (999_500, "1.00M"), (1_234_567, "1.23M"),
     (45_600_000_000, "45.6G"), (7 * 10**15, "7000T")],
)  # fmt: skip
def test_short_count(number: int, text: str) -> None:
    assert picture.short_count(number) == text


def test_wrapped() -> None:
    assert picture.wrapped("") == []
    assert picture.wrapped("file:/data/day/eth0.pcap") == ["eth0.pcap"] == picture.wrapped("/data/eth0.pcap")
    assert picture.wrapped("path='/tmp/my/a.pcap'") == ["path='a.pcap'"]
    assert picture.wrapped("1/100 random") == ["1/100 random"] and picture.wrapped("net 10.0.0.0/8") == [
        "net 10.0.0.0/8"
    ]
    assert picture.wrapped("udp port 53 and host 10.0.0.1", 16, 2) == ["udp port 53 and", "host 10.0.0.1"]
    assert picture.wrapped("bgp-4byte-asn.pcap") == ["bgp-4byte-asn", ".pcap"]
    assert picture.wrapped("device bgp-4byte-asn.pcap", 22) == ["device bgp-4byte-asn", ".pcap"]
    assert picture.wrapped("of10_s4810_long_name", 16) == ["of10_s4810_long_", "name"]
    assert picture.wrapped("-" + "x" * 30, 16) == ["-" + "x" * 15, "x" * 15]
    assert picture.wrapped("x" * 40, 16, 2) == ["x" * 16, "x" * 15 + "…"]
    assert all(len(line) <= 16 for line in picture.wrapped("a bb ccc dddd eeeee ffffff ggggggg", 16, 2))


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Graphs of up to nine instances, and flows that are chains of them, with any text as expression."""
    size = draw(st.integers(1, 9))
    instances: list[Instance] = []
    for number in range(size):
        before = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        instances.append(
            Instance(
                f"n{number}", draw(st.sampled_from(["device", "BPF", "top\nk"])), draw(st.text(max_size=40)),
                draw(st.sampled_from(["nic", "kernel", "userspace", "moon"])), tuple(f"n{at}" for at in sorted(before)),
                draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 2**64 - 1)),
            )
        )  # fmt: skip
    flows = []
    for _ in range(draw(st.integers(0, 3))):
        chain = [instances[-1]]
        while chain[0].inputs:
            chain.insert(0, next(one for one in instances if one.name == chain[0].inputs[0]))
        stages = [Stage(one.expression, one.name, (at - 1,) if at else ()) for at, one in enumerate(chain)]
        flows.append(FlowShape(draw(st.text(max_size=10)), tuple(stages)))
    return Picture(tuple(flows), tuple(instances), draw(st.sampled_from(["", 'a "title"'])))


@settings(max_examples=25, deadline=None, print_blob=True)
@given(pictures())
def test_graphviz_takes_every_graph(shape: Picture) -> None:
    columns = shape.columns()
    assert all(columns[before] < columns[one.name] for one in shape.instances for before in one.inputs)
    drawn = shapes(shape.svg())
    assert len(drawn) == len(shape.instances) + len({one.class_name for one in shape.instances}) + sum(
        len(flow.stages) for flow in shape.flows
    )

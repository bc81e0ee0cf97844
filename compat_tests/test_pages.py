# SPDX-License-Identifier: BSD-3-Clause
"""Every link of every page leads somewhere, and every picture can be shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compat_tests import lint, pages


def project_pages() -> list[str]:
    return lint.tracked("*.md")


@pytest.mark.parametrize("name", project_pages())
def test_links_lead_somewhere(name: str) -> None:
    assert not pages.broken(lint.ROOT / name, lint.ROOT)


@pytest.mark.parametrize("name", lint.tracked("*.svg"))
def test_picture_can_be_shown(name: str) -> None:
    assert not pages.picture_faults((lint.ROOT / name).read_text())


def test_every_page_can_be_reached() -> None:
    """From README.md, by links: a page that nothing points at is not read."""
    reached: set[Path] = set()
    ahead = [lint.ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in pages.links(page) if "://" not in link]
        targets += [target / "README.md" for target in targets if target.is_dir()]
        ahead.extend(target for target in targets if target.suffix == ".md" and target.is_file())
    assert {lint.ROOT / name for name in project_pages()} <= reached


def test_pictures_are_on_a_page() -> None:
    shown = {
        (page.parent / link).resolve()
        for page in (lint.ROOT / name for name in project_pages())
        for link in pages.links(page)
        if link.endswith(".svg")
    }
    assert {lint.ROOT / name for name in lint.tracked("*.svg")} <= shown


@pytest.mark.parametrize("name", [name for name in project_pages() if name.count("/") > 0 and "README" in name])
def test_files_that_a_room_names_are_there(name: str) -> None:
    page = lint.ROOT / name
    named = pages.files_named(page)
    missing = [file for file in named if not any(page.parent.glob(file.replace("NAME", "*")))]
    assert not missing


def test_readmes_figures_are_those_of_results() -> None:
    """Each row's figures stand in the section of RESULTS.md whose letter it has; aims are ours, not results."""
    parts = re.split(r"^## \((\w)\)", (lint.ROOT / "bench" / "RESULTS.md").read_text(), flags=re.MULTILINE)
    results = dict(zip(parts[1::2], parts[2::2], strict=True))
    readme = (lint.ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (\w) \| [^|]+ \| (.*) \|$", readme, re.MULTILINE)
    assert len(rows) > 8
    for letter, cells in rows:
        shown = numbers(re.sub(r"\(aim: [^)]*\)|for 100 times", "", cells))
        assert shown and shown <= numbers(results[letter]), f"{letter}: {cells}"
    for limit in re.findall(r"^- \*\*.*(?:\n  .*)*", readme, re.MULTILINE):
        for words, letters in re.findall(r"([^(]*)\(((?:\w, )*\w)\)", limit):
            decimals = {number for number in numbers(words) if "." in number and number not in ("6.1", "6.4", "6.18")}
            known = set().union(*(numbers(results[letter]) for letter in letters.split(", ")))
            assert decimals <= known | rounded(known), limit


def numbers(text: str) -> set[str]:
    return {found.replace(",", "") for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}


def rounded(figures: set[str]) -> set[str]:
    """To one place: 1.44 may be told as 1.4."""
    return {f"{float(figure):.1f}" for figure in figures}


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One: `two` & three\n## Same\n## Same\n[a](#one-two--three) [b](#same-1) [c](#same-2) [d](gone.md)\n"
        '![e](../out.svg)\n\n| [f](page.md#no) |\n|---|\n| <img src="lost.svg"> |\n\n[g](https://example.org/x)\n'
        "\n    [not](a-link)\n"
    )
    assert not pages.files_named(page)
    page.with_name("room.md").write_text("| `a.c`, `b_*.py`, `c/`, `d.x` | `e.c` |\n| x `f.h` | |\n`g.c`\n")
    assert pages.files_named(page.with_name("room.md")) == ["a.c", "b_*.py", "f.h"]
    words = [line.partition(":")[0] for line in pages.broken(page, tmp_path)]
    assert words == ["#same-2", "gone.md", "../out.svg", "page.md#no", "lost.svg"]


def test_pictures_that_cannot_be_shown_are_found() -> None:
    head = '<svg xmlns="http://www.w3.org/2000/svg"'
    assert pages.picture_faults("<svg") and pages.picture_faults('<html viewBox="0 0 1 1"/>')
    assert pages.picture_faults(f"{head}/>") == ["it has no viewBox, so it cannot be scaled"]
    assert pages.picture_faults(f'{head} viewBox="0 0 1 1"><script/></svg>') == ["it has a <script>"]
    outside = f'{head} viewBox="0 0 1 1"><image href="https://example.org/a.png"/><use href="#a"/></svg>'
    assert pages.picture_faults(outside) == ["<image> needs https://example.org/a.png"]

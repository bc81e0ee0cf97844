# SPDX-License-Identifier: BSD-3-Clause
"""What the project's pages point at: links, anchors, pictures. Nothing is fetched: other hosts are left out.

A page is a file in Markdown; links are those of its text and of the HTML in it. The anchor of a heading is what code
hosts make of it: lower case, without punctuation, hyphens for blanks, and a number behind the second of that name.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

IN_HTML = re.compile(r"\b(?:src|srcset|href)=\"([^\"]+)\"")
NAMED_IN_HTML = re.compile(r"\b(?:id|name)=\"([^\"]+)\"")
SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}href"
INERT = ("script", "foreignObject")  # what a code host takes out of a picture, or does not show


def tokens(page: Path) -> Iterator[Token]:
    """All tokens, those within lines too."""
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page.read_text()):
        yield token
        yield from token.children or ()


def links(page: Path) -> list[str]:
    """What the page points at, in its order: addresses as they are written."""
    found: list[str] = []
    for token in tokens(page):
        if token.type in ("html_block", "html_inline"):
            found.extend(word.split()[0] for value in IN_HTML.findall(token.content) for word in value.split(","))
        for name in ("href", "src"):
            value = token.attrGet(name)
            if value is not None:
                found.append(str(value))
    return found


@cache
def anchors(page: Path) -> frozenset[str]:
    """What may stand behind # in a link to the page."""
    found: dict[str, int] = {}
    names: set[str] = set()
    inside = False
    for token in tokens(page):
        if token.type == "heading_open":
            inside = True
        elif token.type == "inline" and inside:
            text = "".join(part.content for part in token.children or () if part.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            count = found.get(slug, 0)
            found[slug] = count + 1
            names.add(f"{slug}-{count}" if count else slug)
            inside = False
        elif token.type in ("html_block", "html_inline"):
            names.update(NAMED_IN_HTML.findall(token.content))
    return frozenset(names)


def broken(page: Path, root: Path) -> list[str]:
    """The page's links within the project that lead nowhere, each with the reason."""
    wrong = []
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_relative_to(root):
            wrong.append(f"{link}: leads out of the project")
        elif not target.exists():
            wrong.append(f"{link}: there is no such file")
        elif parts.fragment and target.suffix == ".md" and unquote(parts.fragment) not in anchors(target):
            wrong.append(f"{link}: that page has no such heading")
    return wrong


def files_named(page: Path) -> list[str]:
    """Files, and patterns of such, in the first columns of a page's tables."""
    rows = re.findall(r"^\| ([^|]+) \|", page.read_text(), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w*][\w*./-]*\.(?:c|h|py|toml|sh))`", row)]


def picture_faults(text: str) -> list[str]:
    """Why an SVG would not be shown, whole and by itself, on a page."""
    try:
        top = ET.fromstring(text)
    except ET.ParseError as error:
        return [f"it is no XML: {error}"]
    wrong = [] if top.tag == f"{SVG}svg" else [f"its root is {top.tag}"]
    if "viewBox" not in top.attrib:
        wrong.append("it has no viewBox, so it cannot be scaled")
    for element in top.iter():
        name = element.tag.removeprefix(SVG)
        if name in INERT:
            wrong.append(f"it has a <{name}>")
        for target in (element.get(XLINK), element.get("href")):
            if target and not target.startswith(("#", "data:")) and name != "a":
                wrong.append(f"<{name}> needs {target}")
    return wrong

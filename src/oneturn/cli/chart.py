"""A bar chart of token counts as a picture of its own: SVG, or an HTML page around it.

Made as a tree and written by the standard library, so no text from outside can become markup. A
picture needs nothing else to be shown, runs nothing, and is legible on a light and a dark ground.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from ..tools.text import one_line

_WIDTH, _LEFT, _RIGHT = 760, 230, 190
_ROW, _BAR, _TOP = 26, 16, 74
_NAME_CHARS = 28
_LABEL_CHARS = 300
# No variables: not every program that shows SVG knows them.
_STYLE = """
svg text { font: 13px system-ui, sans-serif; fill: #1f2328; }
svg text.title { font-size: 17px; font-weight: 600; }
svg text.soft { fill: #59636e; }
.ground { fill: #ffffff; } .bar { fill: #5b7bd6; } .ours { fill: #1a8a5a; }
@media (prefers-color-scheme: dark) {
  svg text { fill: #e6edf3; }
  svg text.soft { fill: #9198a1; }
  .ground { fill: #0d1117; } .bar { fill: #7d9bf0; } .ours { fill: #3fb983; }
}
"""
_PAGE_STYLE = """
body { background: #ffffff; color: #1f2328; font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 760px; padding: 0 1rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 1.5rem; }
td, th { padding: .15rem .5rem; text-align: left; overflow-wrap: anywhere; }
td:nth-child(n+2), th:nth-child(n+2) { text-align: right; }
@media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3; } }
"""
_NOT_XML = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, its length, the text beside it, and which colour it has."""

    name: str
    tokens: int
    label: str
    kind: Literal["bar", "ours"] = "bar"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for the page below the picture."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def svg(title: str, subtitle: str, bars: Sequence[Bar]) -> str:
    """The chart as an SVG document."""
    drawing = _drawing(title, subtitle, bars)
    style = Element("style")
    style.text = _STYLE
    drawing.insert(0, style)
    return tostring(drawing, encoding="unicode") + "\n"


def html(title: str, subtitle: str, bars: Sequence[Bar], tables: Sequence[Table]) -> str:
    """The chart and the tables as an HTML page."""
    page = Element("html", lang="en")
    head = SubElement(page, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    # The page loads nothing and runs nothing, whatever gets into it.
    policy = {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'",
    }
    SubElement(head, "meta", policy)
    _text(SubElement(head, "title"), title)
    SubElement(head, "style").text = _STYLE + _PAGE_STYLE
    body = SubElement(page, "body")
    body.append(_drawing(title, subtitle, bars))
    for table in tables:
        shown = SubElement(body, "table")
        for tag, rows in (("th", [table.headers]), ("td", table.rows)):
            for row in rows:
                line = SubElement(shown, "tr")
                for cell in row:
                    _text(SubElement(line, tag), cell)
    return "<!doctype html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _drawing(title: str, subtitle: str, bars: Sequence[Bar]) -> Element:
    height = _TOP + _ROW * len(bars) + 14
    drawing = Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=str(_WIDTH),
        height=str(height),
        role="img",
    )
    _text(SubElement(drawing, "title"), f"{title}. {subtitle}")
    SubElement(drawing, "rect", {"class": "ground", "width": "100%", "height": "100%"})
    _text(SubElement(drawing, "text", {"class": "title", "x": "14", "y": "30"}), title)
    _text(SubElement(drawing, "text", {"class": "soft", "x": "14", "y": "52"}), subtitle)
    longest = max((bar.tokens for bar in bars), default=0) or 1
    for place, bar in enumerate(bars):
        top = _TOP + place * _ROW
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * bar.tokens / longest)
        row = SubElement(drawing, "g")
        _text(SubElement(row, "title"), f"{bar.name}: {bar.label}")
        name = SubElement(row, "text", {"x": str(_LEFT - 8), "y": str(top + 13), "text-anchor": "end"})
        _text(name, bar.name if len(bar.name) <= _NAME_CHARS else f"{bar.name[: _NAME_CHARS - 1]}…")
        SubElement(
            row,
            "rect",
            {
                "class": bar.kind,
                "x": str(_LEFT),
                "y": str(top),
                "width": f"{width:.1f}",
                "height": str(_BAR),
                "rx": "2",
            },
        )
        label = SubElement(
            row, "text", {"class": "soft", "x": f"{_LEFT + width + 8:.1f}", "y": str(top + 13)}
        )
        _text(label, bar.label)
    return drawing


def _text(element: Element, text: str) -> None:
    element.text = _NOT_XML.sub("", one_line(text, _LABEL_CHARS))

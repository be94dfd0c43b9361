"""Charts as SVG, drawn on the server: no script, colours by the style of the page.

Bars lie on one scale from zero; columns stand side by side, one a day, in parts. A table beside
a chart says the same to whoever does not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup, escape

_WIDTH, _ROW, _BAR, _LABEL = 420, 46, 16, 16
_SMALL = 4
_VALUE = 66
_SPAN, _TALL, _FOOT, _LEFT = 640, 180, 22, 46
_LEAST_HEIGHT = 1.5


class Bar(Protocol):
    """What is drawn as one bar."""

    @property
    def label(self) -> str:
        """Stands above it."""

    @property
    def count(self) -> int | None:
        """Its length; None is drawn as a stub."""

    @property
    def shown(self) -> str:
        """Stands behind it."""


def bars(title: str, rows: Sequence[Bar]) -> Markup:
    """Draw bars from zero on one scale; a table beside it says the same to screen readers."""
    most = max((row.count or 0 for row in rows), default=0) or 1
    drawn = Markup().join(_bar(number, row, most) for number, row in enumerate(rows))
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _ROW * len(rows), title, drawn
    )


def _bar(number: int, row: Bar, most: int) -> Markup:
    top = number * _ROW
    width = _SMALL  # a stub for what is not told; the smallest number shows too, none does not
    if row.count is not None:
        width = max(_SMALL * (row.count > 0), (_WIDTH - _VALUE) * row.count // most)
    return Markup(
        '<text x="0" y="{}">{}</text><rect class="{}" x="0" y="{}" width="{}" height="{}"/>'
        '<text x="{}" y="{}">{}</text>'
    ).format(
        top + _LABEL - 2,
        escape(row.label),
        "small" if row.count is None else "bar",
        top + _LABEL + 4,
        width,
        _BAR,
        width + 8,
        top + _LABEL + 17,
        row.shown,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        label: beneath it.
        parts: from the bottom up: class of the style, and height.
        told: what a pointer that rests on it is told.
    """

    label: str
    parts: Sequence[tuple[str, float]]
    told: str


def columns(title: str, entries: Sequence[Column], *, most: str, top: float) -> Markup:
    """Draw columns from zero to ``top``, which is written as ``most``."""
    top = top or 1
    wide = (_SPAN - _LEFT) / max(1, len(entries))
    drawn = Markup().join(
        _column(number, entry, wide, top, is_named=number % 7 == len(entries) % 7)
        for number, entry in enumerate(entries)
    )
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<line class="grid" x1="{}" x2="{}" y1="8" y2="8"/>'
        '<text class="small-text" x="{}" y="12" text-anchor="end">{}</text>'
        '<text class="small-text" x="{}" y="{}" text-anchor="end">0</text>{}</svg>'
    ).format(
        _SPAN,
        _TALL + _FOOT,
        title,
        _LEFT,
        _SPAN,
        _TALL,
        _TALL,
        _LEFT,
        _SPAN,
        _LEFT - 6,
        most,
        _LEFT - 6,
        _TALL,
        drawn,
    )


def _column(number: int, entry: Column, wide: float, top: float, *, is_named: bool) -> Markup:
    left, foot, parts = _LEFT + number * wide, float(_TALL), []
    for style, value in entry.parts:
        height = max(_LEAST_HEIGHT, (_TALL - 8) * min(value, top) / top) if value else 0.0
        foot -= height
        if height:
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                ).format(style, left + wide * 0.12, foot, wide * 0.76, height)
            )
    name = (
        Markup('<text class="small-text" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            left + wide / 2, _TALL + 16, entry.label
        )
        if is_named
        else Markup()
    )
    return Markup("<g><title>{}</title>{}</g>{}").format(entry.told, Markup().join(parts), name)

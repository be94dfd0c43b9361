"""Bars as SVG, drawn on the server: no script, colours by the style of the page."""

from collections.abc import Sequence
from typing import Protocol

from markupsafe import Markup, escape

_WIDTH, _ROW, _BAR, _LABEL = 420, 46, 16, 16
_SMALL = 4
_VALUE = 66


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
    width = _SMALL if row.count is None else max(_SMALL, (_WIDTH - _VALUE) * row.count // most)
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

"""Plots of an evaluation, as SVG without script, fonts or anything that is fetched."""

from collections.abc import Sequence
from html import escape
from typing import Any

# Okabe and Ito's colours, which colour-blind people tell apart; lightness differs too.
_FAST, _DEEP, _STRANGER = "#D55E00", "#0072B2", "#8a8a8a"
_INK, _GRID = "#333333", "#dddddd"
_ROW, _LEFT, _WIDTH, _TOP = 22, 170, 760, 46
_BAR = 8


def recall_plot(edits: Sequence[dict[str, Any]]) -> str:
    """Draw what each tier finds of each edit, in percent."""
    height = _TOP + _ROW * len(edits) + 30
    scale = (_WIDTH - _LEFT - 70) / 100
    parts = [
        _text(0, 16, "Copies found, by edit", size=15, weight="bold"),
        _key(0, 34, (("fast", _FAST), ("fast or deep", _DEEP))),
    ]
    for percent in (0, 25, 50, 75, 100):
        x = _LEFT + percent * scale
        parts += [
            _line(x, _TOP, x, height - 26),
            _text(x, height - 10, f"{percent} %", anchor="middle"),
        ]
    for number, edit in enumerate(edits):
        y = _TOP + _ROW * number
        parts.append(_text(_LEFT - 8, y + 14, edit["name"], anchor="end"))
        for offset, tier, colour in ((2, "recall_fast", _FAST), (11, "recall_deep", _DEEP)):
            wide = 100 * edit[tier] * scale
            parts.append(_bar(_LEFT, y + offset, wide, _BAR, colour))
        at = _LEFT + 100 * scale + 8
        parts.append(_text(at, y + 14, f"{100 * edit['recall_deep']:.1f} %"))
    return _svg(_WIDTH, height, parts, "Recall of both tiers by edit, in percent")


def distance_plot(histograms: dict[str, Any], tier: str, *, threshold_bits: float) -> str:
    """Draw how far copies are from their own signal, and from the nearest stranger."""
    own, stranger = histograms[f"own_{tier}"], histograms[f"stranger_{tier}"]
    step, high, left, top = histograms["step_bits"], 190, 50, 46
    wide = (_WIDTH - left - 10) / len(own)
    most = max(*own, *stranger, 1)
    bottom = top + high
    named = "weighted bits" if tier == "deep" else "bits"
    parts = [
        _text(0, 16, f"Distances, {tier} tier ({named})", size=15, weight="bold"),
        _key(0, 34, (("own signal", _DEEP), ("nearest stranger", _STRANGER))),
        _line(left, bottom, _WIDTH - 10, bottom),
    ]
    for number, (ours, theirs) in enumerate(zip(own, stranger, strict=True)):
        x = left + number * wide
        for offset, count, colour in ((1, ours, _DEEP), (wide / 2, theirs, _STRANGER)):
            tall = high * (count / most) ** 0.5
            parts.append(_bar(x + offset, bottom - tall, wide / 2 - 1, tall, colour))
        if number * step % 16 == 0:
            parts.append(_text(x, bottom + 16, str(number * step), anchor="middle"))
    for share in (0.25, 0.5, 1.0):
        y = bottom - high * share**0.5
        parts += [
            _line(left, y, _WIDTH - 10, y),
            _text(left - 6, y + 4, f"{most * share:.0f}", "end"),
        ]
    x = left + threshold_bits / step * wide
    parts += [
        _line(x, top, x, bottom, colour=_INK),
        _text(x + 5, top + 10, f"threshold {threshold_bits:.0f}"),
        _text(left, bottom + 34, "copies, on a scale of square roots; at 128: met nothing"),
    ]
    return _svg(_WIDTH, bottom + 42, parts, f"Distances to own signals and strangers, {tier} tier")


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" font-family="sans-serif">'
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>"
    )


def _text(
    x: float, y: float, words: str, anchor: str = "start", *, size: int = 12, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{_INK}">{escape(words)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, colour: str = _GRID) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
        f'height="{max(height, 0):.1f}" fill="{colour}"/>'
    )


def _key(x: float, y: float, names: Sequence[tuple[str, str]]) -> str:
    parts = []
    for name, colour in names:
        parts += [_bar(x, y - 10, 11, 11, colour), _text(x + 16, y, name)]
        x += 30 + 7.5 * len(name)
    return "".join(parts)

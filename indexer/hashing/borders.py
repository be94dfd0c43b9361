"""Finding the picture in the picture: borders, letter-boxes, screenshots, blurred surroundings.

Looked for in a small reduction of an image, so edges are right to about one part in a
hundred; the search that follows (``guesses``) moves them to their place. Five views of where
a picture ends, each of which may be wrong:

(1) Borders: rows and columns at the rim that are flat are cut, in turns until none is.
(2) Ground: words, buttons and pictures on a screen stand on one colour, with rows of nothing
    else between them. The picture is the longest run without such a row.
(3) Middle: what surrounds a picture in the middle is blurred, so nothing in it steps as
    brightness does at the picture's two edges.
(4) Detail: the same, wherever the picture is: neighbours differ less around it.
(5) Edges: straight lines through most of the image at which brightness steps, and steps more
    than beside them.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.guesses import WHOLE, Rectangle, Reduced

_Luma = NDArray[np.float32]
_Box = tuple[int, int, int, int]  # first and last row, first and last column

_SIDE = 128
_LEAST_SHARE = 0.15
"""Least share of a side that a part has."""
_MOST_PARTS = 4
_NEAR = 0.02
"""Parts that differ by less in every edge are one."""

_FLAT = 4.0
"""Spread of luma along a row, of 255, up to which it is flat: JPEG noise is below."""
_COMMON, _SAME, _NOTHING = 0.06, 2.5, 0.96
"""Share of an image that has the brightness of its ground, how far others of the ground may be
from it, and their share in a row in which nothing else is."""
_RIM, _STAND_OUT, _LEAST_STEP, _MIDDLES = 0.06, 3.0, 0.25, 2
"""Least width of what surrounds a picture in the middle, of the image; how much more brightness
steps at its edges than in what is around, which steps by so much of 255 at least; how many are
taken along each axis."""
_SHARP = 0.45
"""Detail of a row, of that of the rows with most, from which it belongs to the picture."""
_GAP = 3
"""Rows that may look otherwise in the middle of a picture."""
_STEP, _LONG, _PEAK, _MOST_EDGES, _APART, _LOOKED_AT = 6.0, 0.5, 1.8, 3, 3, 12
"""Luma by which an edge steps, the share of the other side along which it does, how much more
than beside it, how many are taken along each axis, how far apart, and of how many."""


def find_parts(reduced: Reduced) -> tuple[Rectangle, ...]:
    """List the parts of an image that may be the picture, the likeliest first.

    None: nothing but the whole image.
    """
    parts: list[Rectangle] = []
    for top, bottom, left, right in _boxes(reduced.luma):
        part = (left, top, right - left, bottom - top)
        if min(part[2:]) < _LEAST_SHARE:
            continue
        if all(_differ(part, other) for other in (WHOLE, *parts)):
            parts.append(part)
        if len(parts) == _MOST_PARTS:
            break
    return tuple(parts)


def _differ(one: Rectangle, other: Rectangle) -> bool:
    ends = ((x, y, x + width, y + height) for x, y, width, height in (one, other))
    return bool(max(abs(a - b) for a, b in zip(*ends, strict=True)) > _NEAR)


def _boxes(luma: _Luma) -> Iterator[tuple[float, ...]]:
    """List top, bottom, left and right of what may be the picture, in shares."""
    fine, step = len(luma), len(luma) // _SIDE
    small = luma.reshape(_SIDE, step, _SIDE, step).mean(axis=(1, 3))
    inner = _without_borders(small, (0, _SIDE, 0, _SIDE))
    yield _shares(inner, _SIDE)
    for box in (*_on_ground(luma), *_in_the_middle(luma)):
        yield _shares(box, fine)
    yield _shares(_without_borders(small, _where_sharp(small)), _SIDE)
    for box in _between_edges(small, inner):
        yield _shares(box, _SIDE)


def _shares(box: _Box, side: int) -> tuple[float, ...]:
    return tuple(place / side for place in box)


def _without_borders(luma: _Luma, box: _Box) -> _Box:
    """Cut flat rows and columns off the rim of a box."""
    top, bottom, left, right = box
    least = int(_LEAST_SHARE * _SIDE)
    while True:
        before = top, bottom, left, right
        while bottom - top > least and _is_flat(luma[top, left:right]):
            top += 1
        while bottom - top > least and _is_flat(luma[bottom - 1, left:right]):
            bottom -= 1
        while right - left > least and _is_flat(luma[top:bottom, left]):
            left += 1
        while right - left > least and _is_flat(luma[top:bottom, right - 1]):
            right -= 1
        if before == (top, bottom, left, right):
            return before


def _is_flat(line: _Luma) -> bool:
    ordered = np.sort(line)
    cut = len(line) // 25  # a speck does not count
    return bool(ordered[len(line) - 1 - cut] - ordered[cut] <= _FLAT)


def _on_ground(luma: _Luma) -> Iterator[_Box]:
    """Look for the longest runs of rows, and columns among them, with more than the ground."""
    levels = np.bincount((luma / _SAME + 0.5).astype(np.intp).ravel())
    for level in np.argsort(-levels)[:2]:
        if levels[level] < _COMMON * luma.size:
            return
        ground = np.abs(luma - level * _SAME) <= _SAME
        for top, bottom in _runs(ground.mean(axis=1) < _NOTHING, gap=1)[:2]:
            columns = _runs(ground[top:bottom].mean(axis=0) < _NOTHING, gap=1)
            if columns:
                yield top, bottom, *columns[0]


def _in_the_middle(luma: _Luma) -> Iterator[_Box]:
    """Look for two edges, as far from either side, that stand out from all beyond them."""
    side = len(luma)
    first, last = int(_RIM * side), int((1 - _LEAST_SHARE) / 2 * side)
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
        steps = np.minimum(steps, steps[::-1])
        around = np.cumsum(steps)[first - 3 : last - 3] / np.arange(first - 2, last - 2)
        here = np.maximum(steps[first - 1 : last - 1], steps[first:last])
        strengths = here / (around + _LEAST_STEP)
        found += [
            (float(strengths[place]), axis, first + int(place))
            for place in np.argsort(-strengths)[:_MIDDLES]
            if strengths[place] > _STAND_OUT
        ]
    found.sort(reverse=True)
    for _, axis, place in found:
        box = (place, side - place, 0, side)
        yield box if axis == 0 else (*box[2:], *box[:2])


def _where_sharp(luma: _Luma) -> _Box:
    """Look for the rows and the columns where neighbours differ most."""
    rows = _sharp_run(np.abs(np.diff(luma, axis=1)).mean(axis=1))
    columns = _sharp_run(np.abs(np.diff(luma[slice(*rows)], axis=0)).mean(axis=0))
    return *rows, *columns


def _sharp_run(detail: NDArray[np.float32]) -> tuple[int, int]:
    runs = _runs(detail > _SHARP * np.percentile(detail, 85))
    return runs[0] if runs else (0, len(detail))


def _runs(rows: NDArray[np.bool_], gap: int = _GAP) -> list[tuple[int, int]]:
    """List the runs of rows that are set, but for short gaps, the longest first."""
    places = np.flatnonzero(rows)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > gap)
    firsts = places[np.concatenate([[0], breaks + 1])].tolist()
    lasts = places[np.concatenate([breaks, [len(places) - 1]])].tolist()
    runs = [(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]
    return sorted(runs, key=lambda run: run[0] - run[1])


def _between_edges(luma: _Luma, box: _Box) -> Iterator[_Box]:
    """List the rectangles between straight edges, those with the strongest first."""
    top, bottom, left, right = box
    rows = _edges(luma[top:bottom, left:right], top)
    columns = _edges(luma[top:bottom, left:right].T, left)
    found = []
    for (y0, y1), (x0, x1) in product(_spans(rows, top, bottom), _spans(columns, left, right)):
        strengths = [rows.get(y, 0.0) for y in (y0, y1)] + [columns.get(x, 0.0) for x in (x0, x1)]
        found.append((sum(strengths), (y0, y1, x0, x1)))
    found.sort(reverse=True)
    yield from (place for strength, place in found if strength > 0)


def _edges(luma: _Luma, offset: int) -> dict[int, float]:
    """Find the rows at which brightness steps along most of their length, and how strongly."""
    steps = np.abs(np.diff(luma, axis=0))
    mean, long = steps.mean(axis=1), (steps > _STEP).mean(axis=1)
    found: dict[int, float] = {}
    rows = np.flatnonzero(long >= _LONG)
    for row in rows[np.argsort(-mean[rows] * long[rows])][:_LOOKED_AT]:
        around = np.concatenate([mean[max(row - 6, 0) : max(row - 1, 0)], mean[row + 2 : row + 7]])
        if not len(around) or mean[row] < _PEAK * np.median(around):
            continue
        place = offset + int(row) + 1
        if all(abs(place - other) > _APART for other in found):
            found[place] = float(long[row])
        if len(found) == _MOST_EDGES:
            break
    return found


def _spans(edges: dict[int, float], first: int, last: int) -> list[tuple[int, int]]:
    places = sorted({first, last, *edges})
    return [(a, b) for a in places for b in places if a < b]

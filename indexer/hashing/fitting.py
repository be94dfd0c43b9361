"""What guesses of edits hash to, and how near one comes to a signal.

A guess only changes weights along the two axes: filter, decimation and DCT are linear, and
fold with the frame into 16 weighted sums along each axis. Formulas: ``pdq``; *web* filter:
``paths``.

Mismatches are weighed by margin: the feed knows of each frequency on which side of the
median it lies, but of the image we know by how much. Ranked by that, measured against what
photographs have of the frequency, the bits of an edited copy differ where they nearly were
equal, those of another image anywhere.
"""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import degrees, radians

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.guesses import WHOLE, Frame, Guess, GuessSet, Rectangle, Reduced
from indexer.hashing.pdq import cosines
from indexer.hashing.variants import HASHED
from indexer.model import DIGEST_BITS, DIGEST_BYTES

_EDGES, _TURN = 4, 4
_FREQUENCIES = 16
_TURNED_OVER = 4  # the variants from here on swap the axes

_MOVES = np.array(
    [
        *((1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 1, 0)),  # one edge
        *((1, -1, 0, 0, 0), (0, 0, 1, -1, 0)),  # the place
        *((1, 1, 0, 0, 0), (0, 0, 1, 1, 0), (1, 1, 1, 1, 0)),  # the size
        (0, 0, 0, 0, 0.9),  # the angle
    ],
    np.float32,
) * np.float32(0.02)
"""Top, bottom, left, right in shares, angle in radians: 2 %, and one degree."""

_MOST_COVERED = 2.01

NO_STEPS, FIRST_STEPS, LAST_STEPS = slice(0, 0), slice(0, 1), slice(1, 4)
"""Which of the four sizes of moves are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How close a guess comes to a digest.

    Attributes:
        distance_bits: Hamming distance, 0-256.
        weighted_bits: the same with every bit weighted by the rank of its margin, so that
            unrelated images are at 128 too; spread 9.2 bits where Hamming has 8.2.
        values: float32[16, 16]: the guess's frequencies, in memory only.
        log_strangers: natural logarithm of how many strangers were to be expected as near
            (``strangers``); None where that was not asked, or too few signals are held.
    """

    guess: Guess
    distance_bits: int
    weighted_bits: float
    values: NDArray[np.float32] = field(repr=False, compare=False)
    log_strangers: float | None = None


def digests_of_guesses(
    reduced: Reduced, guess_set: GuessSet, rectangle: Rectangle = WHOLE
) -> NDArray[np.uint8]:
    """Hash an image in all guesses of a set: uint8[n, 32]."""
    from indexer.hashing import frame_kernels  # noqa: PLC0415 - a third of a second

    vertical, horizontal = _folds(guess_set.axis)
    chosen = np.array([HASHED.index(variant) for variant in guess_set.variants])
    each = len(guess_set) // len(guess_set.turns_deg)
    digests = np.empty((len(guess_set), DIGEST_BYTES), np.uint8)
    for number, turn in enumerate(guess_set.turns_deg):
        made = digests[number * each : (number + 1) * each]
        frame_kernels.coarse(_part(reduced, rectangle, turn), vertical, horizontal, chosen, made)
    return digests


def fit(reduced: Reduced, guess: Guess, digest: bytes, *, steps: slice = NO_STEPS) -> Fit:
    """Measure how close a guess comes to a digest, after some moves towards it.

    Args:
        digest: 32 bytes, a signal's.
        steps: sizes of moves to try, one after the other: of 2 %, 1 %, 0.5 %, 0.25 %.
    """
    from indexer.hashing import refine_kernels  # noqa: PLC0415

    frame, place = guess.frame, HASHED.index(guess.variant)
    _, _, width, height = frame.rectangle
    target = _in_order(np.frombuffer(digest, np.uint8), turned_over=place >= _TURNED_OVER)
    start = [frame.top, frame.bottom, frame.left, frame.right, radians(frame.turn_deg)]
    moved = np.array(start, np.float32)
    values = np.empty((_FREQUENCIES, _FREQUENCIES), np.float32)
    refine_kernels.refine(
        _part(reduced, frame.rectangle, 0.0),
        reduced.aspect * width / height,
        _cosines(turned_over=bool(place & 2)),
        _cosines(turned_over=bool(place & 1)),
        target,
        _scales(),
        _MOVES,
        steps.stop - steps.start,
        0.5**steps.start,
        moved,
        values,
    )
    wrong = (values > _lower_median(values)).reshape(-1) != target
    edges = [float(share) for share in moved[:_EDGES]]
    return Fit(
        guess=Guess(
            frame=Frame(
                top=edges[0], bottom=edges[1], left=edges[2], right=edges[3],
                turn_deg=degrees(float(moved[_TURN])), rectangle=frame.rectangle,
            ),
            variant=guess.variant,
        ),
        distance_bits=int(wrong.sum()),
        weighted_bits=float(margin_weights(values)[wrong].sum()),
        values=values,
    )  # fmt: skip


def weights_of(found: Fit) -> NDArray[np.float32]:
    """Return what each bit of a digest would count against the guess: float32[256].

    In the order of the digest's bits, the highest of the first byte first. Positive where the
    guess has a one, negative where it has none: the weighted distance of any digest is the sum
    of the positive ones less the sum of those where the digest has a one.
    """
    above = found.values > _lower_median(found.values)
    signed = np.where(above.reshape(-1), 1, -1) * margin_weights(found.values)
    turned_over = HASHED.index(found.guess.variant) >= _TURNED_OVER
    square = signed.reshape(_FREQUENCIES, -1)
    ordered = (square.T if turned_over else square).reshape(-1)[::-1]
    return np.ascontiguousarray(ordered, np.float32)


def _in_order(digest: NDArray[np.uint8], *, turned_over: bool) -> NDArray[np.uint8]:
    """Return a digest's bits as the frequencies stand: uint8[256]."""
    bits = np.unpackbits(digest)[::-1].reshape(_FREQUENCIES, -1)
    return np.ascontiguousarray(bits.T if turned_over else bits).reshape(-1)


def margin_weights(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weigh each of 256 frequencies by the rank of its scaled distance from the median; mean 1."""
    margins = (np.abs(values - _lower_median(values)) * _scales()).reshape(-1)
    ranks = np.empty(DIGEST_BITS, np.int64)
    ranks[np.argsort(margins, kind="stable")] = np.arange(DIGEST_BITS)
    return np.asarray((ranks + 0.5) / (DIGEST_BITS / 2))


def _lower_median(values: NDArray[np.float32]) -> np.float32:
    middle = DIGEST_BITS // 2 - 1
    return np.float32(np.partition(values.reshape(-1), middle)[middle])


def _part(reduced: Reduced, rectangle: Rectangle, turn_deg: float) -> NDArray[np.float32]:
    """Cut a part out, once: float32[SIDE, SIDE]."""
    held = reduced.parts.get((rectangle, turn_deg))
    if held is not None:
        return held
    from indexer.hashing import frame_kernels, sampling_kernels  # noqa: PLC0415

    side = frame_kernels.SIDE
    if rectangle == WHOLE and not turn_deg:
        luma = _halved(reduced.luma, len(reduced.luma) // side)
    else:
        # Four samples are averaged for each of the part; more, and fewer are taken as well.
        covered = max(rectangle[2:]) * len(reduced.luma) / side
        source = _halved(reduced.luma, 2) if covered > _MOST_COVERED else reduced.luma
        left, top, width, height = rectangle
        luma = np.empty((side, side), np.float32)
        sampling_kernels.resample(
            source, left, top, width, height, radians(turn_deg), reduced.aspect, luma
        )
    reduced.parts[rectangle, turn_deg] = luma
    return luma


def _halved(luma: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    side = len(luma) // times
    rows = luma.reshape(side, times, -1).sum(axis=1)
    means = rows.reshape(side, side, times).sum(axis=2) / np.float32(times * times)
    return np.ascontiguousarray(means, np.float32)


@lru_cache(maxsize=16)
def _folds(
    axis: tuple[tuple[float, float], ...],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from indexer.hashing import frame_kernels  # noqa: PLC0415

    folds = np.empty((len(axis), frame_kernels.SIDE, _FREQUENCIES), np.float32)
    frame_kernels.folds(np.array(axis, np.float32), _cosines(turned_over=False), folds)
    horizontal = np.ascontiguousarray(folds.transpose(1, 0, 2)).reshape(frame_kernels.SIDE, -1)
    return np.ascontiguousarray(horizontal.T), horizontal


@cache
def _scales() -> NDArray[np.float32]:
    """Frequencies, as lengths: float32[16, 16].

    Photographs have the less of a frequency the higher it is, and so has what a crop took
    away: the same margin says the more.
    """
    axis = np.arange(1, _FREQUENCIES + 1)
    return np.hypot(axis[:, np.newaxis], axis).astype(np.float32)


@cache
def _cosines(*, turned_over: bool) -> NDArray[np.float32]:
    """Frequencies 1-16 of the DCT, frequency last: float32[64, 16].

    ``turned_over``: of the axis read from its end, which changes the sign of the odd ones.
    """
    table = np.array(cosines(), np.float32)
    if turned_over:
        table[:, ::2] *= -1
    return table

"""From what was measured to one document: recall, distances, false matches, thresholds."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from delist.ops.evaluate.edits import EDITS
from delist.ops.evaluate.measuring import Copy, Measured
from delist.ops.evaluate.tails import FalseMatches, extrapolate
from indexer.hashing.explained import THRESHOLD_BITS as DEEP_BITS

FAST_BITS = 31
"""The fast tier's threshold, as the feed's clients use it."""

FAST_THRESHOLDS = (12.0, 16.0, 20.0, 24.0, 28.0, 31.0)
DEEP_THRESHOLDS = (16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0)

FOR_REVIEW, ALONE = 1e-3, 1e-6
"""Most false matches an image, by the upper end of the interval, for which a threshold is
recommended: for matches that a person sees, and for those on which something is done first."""

_PERCENTILES = (5, 25, 50, 75, 95)

Document = dict[str, Any]


def summarise(
    measured: Measured,
    *,
    signals: int,
    seed: int,
    now: datetime,
    settings: Document,
    with_names: bool = False,
) -> Document:
    """Make the report's document: JSON values, and nothing that shows or names a photo.

    Args:
        measured: at least one photo.
        signals: number of signals to carry false matches on to.
        seed: of the run.
        now: when.
        settings: what the run was asked for, as JSON values.
        with_names: also name the files that were missed.
    """
    growth = signals / measured.signals
    groups = _by_edit(measured.copies)
    edits = [
        _of_edit(edit.name, edit.words, groups[edit.name]) for edit in EDITS if edit.name in groups
    ]
    fast = _tail(measured, "fast", FAST_THRESHOLDS, growth, seed)
    deep = _tail(measured, "deep", DEEP_THRESHOLDS, growth, seed)
    document: Document = {
        "made_at": now.isoformat(),
        "settings": settings,
        "photos": len(measured.photos),
        "copies": len(measured.copies),
        "signals_looked_at": measured.signals,
        "signals_extrapolated_to": signals,
        "same_scene_pairs_left_out": measured.same_scene,
        "edits": edits,
        "false_matches": {
            "fast": [asdict(one) for one in fast],
            "deep": [asdict(one) for one in deep],
        },
        "recommended": {
            "fast_for_review_bits": _recommended(fast, FOR_REVIEW),
            "fast_alone_bits": _recommended(fast, ALONE),
            "deep_for_review_bits": _recommended(deep, FOR_REVIEW),
        },
        "histograms": _histograms(measured.copies),
    }
    if with_names:
        document["missed"] = [
            {"file": measured.photos[copy.photo], "edit": copy.edit}
            for copy in measured.copies
            if not copy.own.is_found(FAST_BITS, DEEP_BITS)
        ]
    return document


def _by_edit(copies: Sequence[Copy]) -> dict[str, list[Copy]]:
    found: dict[str, list[Copy]] = {}
    for copy in copies:
        found.setdefault(copy.edit, []).append(copy)
    return found


def _of_edit(name: str, words: str, copies: Sequence[Copy]) -> Document:
    fast = np.array([copy.own.fast_bits for copy in copies])
    deep = np.array([copy.own.match_bits for copy in copies])
    met = np.array([copy.own.deep_bits for copy in copies])
    return {
        "name": name,
        "words": words,
        "copies": len(copies),
        "recall_fast": float((fast <= FAST_BITS).mean()),
        "recall_deep": float(((fast <= FAST_BITS) | (deep <= DEEP_BITS)).mean()),
        "recall_deep_at": {
            f"{bits:.0f}": float(((fast <= FAST_BITS) | (deep <= bits)).mean())
            for bits in DEEP_THRESHOLDS
        },
        "fast_bits": _percentiles(fast),
        "deep_bits": _percentiles(met),
        "nearest_stranger_fast_bits": min(copy.stranger.fast_bits for copy in copies),
        "nearest_stranger_deep_bits": min(copy.stranger.deep_bits for copy in copies),
        "strangers_matched": sum(
            copy.stranger.is_found(FAST_BITS, DEEP_BITS) for copy in copies
        ),
    }  # fmt: skip


def _percentiles(distances: np.ndarray[Any, Any]) -> dict[str, float]:
    values = np.percentile(distances, _PERCENTILES)
    return {str(part): float(value) for part, value in zip(_PERCENTILES, values, strict=True)}


def _tail(
    measured: Measured, tier: str, thresholds: Sequence[float], growth: float, seed: int
) -> list[FalseMatches]:
    distances = np.array(
        [
            float(copy.stranger.fast_bits) if tier == "fast" else copy.stranger.match_bits
            for copy in measured.copies
        ]
    )
    photos = np.array([copy.photo for copy in measured.copies], np.int64)
    return extrapolate(distances, photos, thresholds, growth=growth, seed=seed)


def _recommended(false: Sequence[FalseMatches], most: float) -> float | None:
    """Return the largest threshold whose false matches stay below; None where none does."""
    fitting = [one.threshold_bits for one in false if one.high <= most]
    return max(fitting, default=None)


def _histograms(copies: Sequence[Copy]) -> Document:
    """Count distances in steps of four bits."""
    edges = np.arange(0, 133, 4)
    return {
        "step_bits": 4,
        **{
            name: np.histogram(values, edges)[0].tolist()
            for name, values in (
                ("own_fast", [copy.own.fast_bits for copy in copies]),
                ("own_deep", [copy.own.deep_bits for copy in copies]),
                ("stranger_fast", [copy.stranger.fast_bits for copy in copies]),
                ("stranger_deep", [copy.stranger.deep_bits for copy in copies]),
            )
        },
    }

"""How the console says things: states, clocks, distances, evidence. Pure.

Verdicts speak of intimate images without consent. Whether somebody is naked is never asked.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from delist.model import Action, CaseState, RulingKind, Verdict
from indexer.evidence import Evidence
from indexer.hashing.corroboration import CORROBORATES

VERDICTS: Mapping[Verdict, str] = {
    Verdict.NCII: "Intimate image without consent",
    Verdict.NOT_NCII: "Not the reported image, or not without consent",
    Verdict.UNSURE: "Not sure",
}
SHORT: Mapping[Verdict, str] = {
    Verdict.NCII: "without consent",
    Verdict.NOT_NCII: "something else",
    Verdict.UNSURE: "not sure",
}
STATES: Mapping[CaseState, str] = {
    CaseState.OPEN: "shown in results",
    CaseState.SUPPRESSED: "out of results",
    CaseState.DISMISSED: "dismissed",
    CaseState.WITHDRAWN: "ended",
    CaseState.QUARANTINED: "on hold",
}
KINDS: Mapping[RulingKind, str] = {
    RulingKind.POLICY: "policy",
    RulingKind.REVIEW: "review",
    RulingKind.BLIND: "blind second review",
    RulingKind.APPEAL: "appeal",
    RulingKind.UNDO: "taken back",
}
ACTIONS: Mapping[Action, str] = {
    Action.SUPPRESS: "take it out of results",
    Action.REVIEW: "wait for a person",
    Action.LIFT: "show it in results again",
    Action.KEEP: "leave it as it is",
    Action.HOLD: "hold it until a brake is released",
}
GROUNDS: Mapping[str, tuple[Verdict, str]] = {
    "reported": (Verdict.NCII, "It is the reported image, as the evidence says"),
    "edited": (Verdict.NCII, "It is the reported image, edited"),
    "duplicate": (Verdict.NCII, "A near-duplicate was confirmed before"),
    "context": (Verdict.NCII, "Where and how it is shown speaks of missing consent"),
    "other_picture": (Verdict.NOT_NCII, "It shows something else than was reported"),
    "false_signal": (Verdict.NOT_NCII, "The signal matches pictures that are unrelated"),
    "harmless": (Verdict.NOT_NCII, "It is known: stock, logo, artwork, news"),
    "consent": (Verdict.NOT_NCII, "The person shown has published it themselves"),
    "not_enough": (Verdict.UNSURE, "The evidence does not say enough"),
    "not_there": (Verdict.UNSURE, "It could not be shown, and the evidence does not say enough"),
    "colleague": (Verdict.UNSURE, "A colleague with other knowledge has to look"),
}
"""Standard reasons: the verdict that each stands for, and its words."""

_HASHERS = {
    "cpp": "Meta's way of hashing",
    "web": "the browser's way of hashing",
    "md5": "the bytes of the whole file",
}
_VARIANTS = {
    "upright": "as it is",
    "mirror": "mirrored",
    "flip": "upside down, mirrored",
    "turn180": "turned by 180°",
    "transpose": "mirrored along the diagonal",
    "turn90": "turned by 90°",
    "turn270": "turned by 270°",
    "transverse": "mirrored along the other diagonal",
    "file": "as it is",
}
_GUESS = "deep:"
_EDGES = {"t": "top", "b": "bottom", "l": "left", "r": "right"}
_EDGE = re.compile(r"\b([tblr])([+-])(\d+)")
_TURN = re.compile(r"\bturn([+-])([\d.]+)")
_LAYER = re.compile(r"\+(frame\d+|black)\b")
_PART = re.compile(r"\bpart(\d+)/(\d+)/(\d+)/(\d+)")
_ALIKE, _MIXED = 0.7, 0.3
_LATTICE = 0.5
_RARE = 1.0


def reason_of(ground: str, verdict: Verdict, more: str) -> str:
    """Put a standard reason and a person's own words together.

    Raises:
        ValueError: the standard reason is for another verdict, or none.
    """
    meant, words = GROUNDS.get(ground, (None, ""))
    if meant is not verdict:
        raise ValueError(ground)
    return f"{words}. {more.strip()}" if more.strip() else words


def span(time: timedelta) -> str:
    """Write a time in the largest unit that it has two of."""
    seconds = abs(time.total_seconds())
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def seconds(value: float | None) -> str:
    """Write seconds as ``span`` does; a dash for nothing."""
    return "-" if value is None else span(timedelta(seconds=value))


def due(deadline_at: datetime, now: datetime) -> str:
    """Say what is left of a clock, in words."""
    left = deadline_at - now
    return f"due in {span(left)}" if left > timedelta() else f"overdue by {span(left)}"


def moment(at: datetime | None) -> str:
    """Write a time."""
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def hasher(name: str) -> str:
    """Say along which path an image was hashed."""
    return _HASHERS.get(name, name)


def variant(name: str) -> str:
    """Say what was done to the picture before it matched."""
    if name.startswith(_GUESS):
        return _guess(*name.removeprefix(_GUESS).partition(":")[::2])
    first, *rest = name.split("+")
    words = [_VARIANTS.get(first, first.replace("_", " "))]
    return ", ".join([*words, *map(_layer, rest)])


def _guess(turned: str, frame: str) -> str:
    """Say what the deep tier took a copy for; see ``indexer.hashing.guesses.Frame``."""
    words = [] if turned == "upright" else [_VARIANTS.get(turned, turned)]
    for edge, sign, share in _EDGE.findall(frame):
        where = _EDGES[edge]
        words.append(
            f"{share} % are missing at the {where}"
            if sign == "+"
            else f"{share} % more are there at the {where}"
        )
    for sign, degrees in _TURN.findall(frame):
        words.append(f"turned by {degrees}° {'anticlockwise' if sign == '+' else 'clockwise'}")
    for left, top, width, height in _PART.findall(frame):
        words.append(
            f"in the part that begins {left} % from the left and {top} % from the top"
            f" and is {width} % wide and {height} % high"
        )
    words += [_layer(part) for part in _LAYER.findall(frame)]
    return ", ".join(["as an edited copy", *words])


def _layer(part: str) -> str:
    if part.startswith("frame"):
        return f"picture {part.removeprefix('frame')} of an animation or video"
    return {"black": "on black", "partial": "the file breaks off"}.get(part, part.replace("_", " "))


def evidence(found: Evidence) -> list[tuple[str, str, str]]:
    """Say what else speaks for and against a match: which way, of what, and the words."""
    said = []
    if found.coherence is not None:
        words = f"of the images that match this signal ({found.compared} compared)"
        share = f"{found.coherence:.0%} of pairs resemble each other"
        says = "for" if found.coherence >= _ALIKE else "against"
        says = "note" if _MIXED < found.coherence < _ALIKE else says
        said.append((says, "Coherence", f"{share}, {words}"))
    if found.resembling is not None:
        says = "for" if found.resembling >= _ALIKE else "note"
        share = f"this image resembles {found.resembling:.0%} of the signal's others"
        said.append((says, "Likeness", share))
    if found.expected_per_million is not None:
        says = "for" if found.expected_per_million < _RARE else "against"
        about = f"{found.expected_per_million:.2g}"
        said.append(
            (says, "Background", f"about {about} false matches to expect in a million images")
        )
    for name, value in (("image", found.lattice), ("signal", found.signal_lattice)):
        if value is not None:
            says = "against" if value >= _LATTICE else "note"
            words = "is a grid, stripes or text" if value >= _LATTICE else "is no grid"
            said.append((says, "Lattice", f"the {name} {words} ({value:.2f})"))
    if found.corroboration is not None:
        says = "for" if found.corroboration >= CORROBORATES else "note"
        words = "is the very picture" if says == "for" else "may or may not be the picture"
        said.append((says, "Second hash", f"this {words} that was hashed by who reported it"))
    return said


def risk(value: int) -> tuple[str, str]:
    """Say how much hangs on a case: a word, and the style of its badge."""
    if value >= 70:  # noqa: PLR2004 - of 100
        return "high", "bad"
    return ("middle", "warn") if value >= 45 else ("low", "")  # noqa: PLR2004


def act(name: str) -> str:
    """Write an act of the audit log for people."""
    return name.replace(".", ": ").replace("_", " ")

"""Reading one record of the StopNCII wire format, decoded from JSON, losing nothing of it.

Pure. The rules, in order:

1. What is no object, or names no hash, is refused: nothing could be matched or withdrawn by it.
2. Every other field may be missing, new or misshapen; it is named in ``unknown`` and the
   rest of the record counts all the same. Names are constants, never the offered text.
3. A field that is not understood to the last part is kept as it came, in ``extra``.
4. A case that brings no status of its own takes the aggregate ``hashStatus``; without one
   the word is ``Unknown``, which ends nothing.
5. A record without ``signalType`` whose value has the form of a PDQ digest is taken for one:
   otherwise its withdrawal would be lost, for the kind is part of a signal's identity.

Digests are not validated here.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from indexer.model import CaseStatus, FeedRecord, PartnerFeedback, RefusedRecord, has_ended

PDQ_KIND = "ImagePDQ"
"""The feed's word for a PDQ hash."""

UNKNOWN_WORD = "Unknown"
"""The feed's own word for a kind or status it cannot name."""

NOT_AN_OBJECT = "not_an_object"
NO_HASH_VALUE = "no_hash_value"

SIGNAL_TYPES = frozenset({UNKNOWN_WORD, PDQ_KIND, "VideoMD5", "VideoTMK", "Text", "URL"})
STATUS_WORDS = frozenset({UNKNOWN_WORD, "Received", "Active", "Withdrawn", "Deleted"})
FEEDBACK_WORDS = frozenset(
    {
        UNKNOWN_WORD,
        "None",
        "QualityUnknown",
        "PendingReview",
        "Blocked",
        "NotBlocked",
        "Withdrawn",
        "Deleted",
    }
)

_FIELDS = frozenset(
    {
        "lastModtimestamp",
        "signalType",
        "hashValue",
        "hashStatus",
        "caseNumbers",
        "CSPFeedbacks",
        "hashRegions",
    }
)
_FEEDBACK_FIELDS = frozenset({"source", "feedbackValue", "tags"})
_CASE_REF_FIELDS = ("caseNumber", "caseId", "case", "number", "id")
_CASE_STATUS_FIELDS = ("status", "caseStatus", "hashStatus")
_PDQ_FORM = re.compile(r"\s*[0-9A-Fa-f]{64}\s*")
_LATEST_S = 253_402_300_799
"""The last second of the year 9999: a larger number is no time in unix seconds."""


@dataclass(slots=True)
class _Notes:
    """What a record holds beyond what is understood."""

    unknown: list[str] = field(default_factory=list)
    extra: dict[str, object] = field(default_factory=dict)

    def count(self, name: str) -> None:
        if name not in self.unknown:
            self.unknown.append(name)

    def keep(self, name: str, value: object) -> None:
        self.extra[name] = value


def read_record(entry: object) -> FeedRecord | RefusedRecord:
    """Read one entry of ``hashRecords``, as ``json.loads`` gives it.

    Returns:
        The record; or a refusal (``not_an_object``, ``no_hash_value``) with the entry
        as JSON text.
    """
    if not isinstance(entry, dict):
        return RefusedRecord(reason=NOT_AN_OBJECT, raw=as_json(entry))  # (1)
    value = entry.get("hashValue")
    if not isinstance(value, str) or not value.strip():
        return RefusedRecord(reason=NO_HASH_VALUE, raw=as_json(entry))  # (1)
    notes = _Notes()
    for name in entry:
        if name not in _FIELDS:
            notes.count("field")
            notes.keep(name, entry[name])  # (3)
    if "hashRegions" in entry:
        notes.keep("hashRegions", entry["hashRegions"])
    status = _read_word(entry.get("hashStatus"), STATUS_WORDS, "hashStatus", notes)
    return FeedRecord(
        kind=_read_kind(entry.get("signalType"), value, notes),
        value=_text(value),
        status=status,
        cases=_read_cases(entry.get("caseNumbers"), status, notes),
        feedback=_read_feedbacks(entry.get("CSPFeedbacks"), notes),
        modified_at=_read_modified_at(entry.get("lastModtimestamp"), notes),
        unknown=tuple(notes.unknown),
        extra=as_json(notes.extra) if notes.extra else "",
    )


def read_records(
    entries: Iterable[object],
) -> tuple[tuple[FeedRecord, ...], tuple[RefusedRecord, ...]]:
    """Read entries into those that count and those that are refused, each in order."""
    read = [read_record(entry) for entry in entries]
    return (
        tuple(record for record in read if isinstance(record, FeedRecord)),
        tuple(record for record in read if isinstance(record, RefusedRecord)),
    )


def read_seconds(value: object) -> int | None:
    """Read unix seconds given as an integer, a fraction or digits in quotes; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = int(value) if isinstance(value, int) else int(float(value))
    except (ValueError, OverflowError):  # "soon", NaN, Infinity
        return None
    return seconds if 0 <= seconds <= _LATEST_S else None


def as_json(value: object) -> str:
    """Write a decoded JSON value as ASCII JSON text: equal values give equal text."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)


def _read_kind(given: object, value: str, notes: _Notes) -> str:
    if given is None or given == "":
        notes.count("signalType")
        return PDQ_KIND if _PDQ_FORM.fullmatch(value) else UNKNOWN_WORD  # (5)
    return _read_word(given, SIGNAL_TYPES, "signalType", notes)


def _read_word(given: object, known: frozenset[str], name: str, notes: _Notes) -> str:
    word = _word(given)
    if word not in known or given is None or given == "":
        notes.count(name)  # (2)
    return word


def _read_cases(given: object, aggregate: str, notes: _Notes) -> tuple[CaseStatus, ...]:
    if given is None or given in ([], {}):
        return ()
    if not isinstance(given, dict):
        notes.count("caseNumbers")
        notes.keep("caseNumbers", given)  # (3)
        listed = given if isinstance(given, list) else [given]
        pairs = [pair for item in listed for pair in _case_pairs(item)]
    else:
        pairs = list(given.items())
    cases: dict[str, str] = {}
    for ref, status in pairs:
        word = _read_case_status(status, aggregate, notes)
        # One case named twice is one person's: their withdrawal wins (docs/adr/0003).
        if not has_ended(cases.get(ref, "")):
            cases[ref] = word
    return tuple(CaseStatus(case_ref=_text(ref), status=word) for ref, word in cases.items())


def _read_case_status(given: object, aggregate: str, notes: _Notes) -> str:
    if given is None or given == "":
        notes.count("caseStatus")
        return aggregate  # (4)
    return _read_word(given, STATUS_WORDS, "caseStatus", notes)


def _case_pairs(item: object) -> list[tuple[str, object]]:
    """Find the case and its status in an entry of a list, a shape never seen so far."""
    if not isinstance(item, dict):
        return [(_word(item), None)]
    refs = [item[name] for name in _CASE_REF_FIELDS if isinstance(item.get(name), str | int)]
    if refs:
        statuses = [item[name] for name in _CASE_STATUS_FIELDS if item.get(name) is not None]
        return [(_word(refs[0]), statuses[0] if statuses else None)]
    if item and all(isinstance(status, str) for status in item.values()):
        return list(item.items())
    return [(as_json(item), None)]  # its text is the reference: the case still counts


def _read_feedbacks(given: object, notes: _Notes) -> tuple[PartnerFeedback, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        _keep_feedbacks(given, "CSPFeedbacks", notes)
    listed = given if isinstance(given, list) else [given]
    feedback = []
    for item in listed:
        if isinstance(item, dict):
            feedback.append(_read_feedback(item, given, notes))
        else:
            _keep_feedbacks(given, "CSPFeedbacks", notes)
    return tuple(feedback)


def _read_feedback(item: dict[str, object], given: object, notes: _Notes) -> PartnerFeedback:
    tags = item.get("tags")
    if item.keys() - _FEEDBACK_FIELDS:
        _keep_feedbacks(given, "field", notes)
    if not isinstance(tags, list | None):
        _keep_feedbacks(given, "tags", notes)
        tags = [tags]
    source = item.get("source")
    return PartnerFeedback(
        source="" if source is None else _word(source),
        value=_read_word(item.get("feedbackValue"), FEEDBACK_WORDS, "feedbackValue", notes),
        tags=tuple(_word(tag) for tag in tags or ()),
    )


def _keep_feedbacks(given: object, name: str, notes: _Notes) -> None:
    notes.count(name)
    notes.keep("CSPFeedbacks", given)  # (3)


def _read_modified_at(given: object, notes: _Notes) -> int | None:
    seconds = read_seconds(given)
    if seconds is None and given is not None:
        notes.count("lastModtimestamp")
        notes.keep("lastModtimestamp", given)  # (3)
    return seconds


def _word(given: object) -> str:
    if given is None or given == "":
        return UNKNOWN_WORD
    return _text(given) if isinstance(given, str) else as_json(given)


def _text(given: str) -> str:
    """Make text that every store can encode: JSON may hold half a surrogate pair."""
    return given.encode("utf-8", "backslashreplace").decode("utf-8")

"""Reading StopNCII's records: nothing odd ever costs an active signal or a withdrawal."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.ops.standin import make_record, name_odd_records
from indexer.feed.records import read_record, read_records, read_seconds
from indexer.model import CaseStatus, FeedRecord, RefusedRecord

ODD = name_odd_records(seed=3)


def record(**changes: object) -> FeedRecord:
    read = read_record(make_record(random.Random(1), **changes))
    assert isinstance(read, FeedRecord)
    return read


@pytest.mark.parametrize("name", ODD)
def test_every_odd_record_is_kept(name: str) -> None:
    """Each odd record of the protocol notes is read, with its hash as it was written."""
    read = read_record(ODD[name])

    assert isinstance(read, FeedRecord)
    assert read.value == ODD[name]["hashValue"]
    assert read.kind == ODD[name].get("signalType", "ImagePDQ")


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("case_numbers_empty_list", ()),
        ("case_numbers_null", ()),
        ("case_numbers_missing", ()),
        ("case_numbers_list_of_objects", ("caseNumbers",)),
        ("four_cases", ()),
        ("feedback_missing", ()),
        ("feedback_blocked", ()),
        ("feedback_undefined", ("feedbackValue",)),
        ("new_signal_type", ("signalType",)),
        ("signal_type_missing", ("signalType",)),
        ("video", ()),
        ("new_hash_status", ("hashStatus",)),
        ("hash_status_missing", ("hashStatus",)),
        ("new_case_status", ("caseStatus",)),
        ("time_as_fraction", ()),
        ("time_as_text", ()),
        ("new_field", ("field",)),
    ],
)
def test_what_is_unknown_is_named(name: str, unknown: tuple[str, ...]) -> None:
    """Unknown words and fields are counted by constant names; known oddities are not."""
    read = read_record(ODD[name])

    assert isinstance(read, FeedRecord)
    assert read.unknown == unknown


LIVE = {name: name not in {"withdrawn", "deleted", "withdrawn_without_cases"} for name in ODD}
LIVE["withdrawn_with_undefined_feedback"] = False


@pytest.mark.parametrize("name", ODD)
def test_only_withdrawn_and_deleted_end_a_signal(name: str) -> None:
    """The public client tests the wrong field and keeps withdrawn hashes live; we do not."""
    read = read_record(ODD[name])

    assert isinstance(read, FeedRecord)
    assert read.is_live is LIVE[name]


def test_withdrawal_with_undefined_feedback_counts() -> None:
    """The public client drops this record whole, and with it the withdrawal."""
    read = read_record(ODD["withdrawn_with_undefined_feedback"])

    assert isinstance(read, FeedRecord)
    assert not read.is_live
    assert read.feedback[0].value == "Undefined"


def test_new_signal_type_is_kept() -> None:
    """The public client drops every record of a kind that it does not know."""
    assert record(signalType="ImagePhotoDNA").kind == "ImagePhotoDNA"


@pytest.mark.parametrize("empty", [[], {}, None, ...])
def test_empty_case_numbers_are_no_cases(empty: object) -> None:
    """An empty map can arrive as a list, null or not at all (older public clients abort)."""
    read = record(caseNumbers=empty)

    assert read.cases == ()
    assert read.unknown == ()


@pytest.mark.parametrize(
    ("shape", "cases"),
    [
        (["a", "b"], [("a", "Active"), ("b", "Active")]),
        ("a", [("a", "Active")]),
        ([7], [("7", "Active")]),
        ([{"caseNumber": "a", "status": "Withdrawn"}], [("a", "Withdrawn")]),
        ([{"id": "a"}], [("a", "Active")]),
        ([{"a": "Withdrawn", "b": "Received"}], [("a", "Withdrawn"), ("b", "Received")]),
        ([{"x": {"y": 1}}], [('{"x":{"y":1}}', "Active")]),
    ],
)
def test_cases_in_another_shape_are_not_lost(shape: object, cases: list[tuple[str, str]]) -> None:
    """A list in place of the map keeps its cases; one without a status takes the aggregate."""
    read = record(caseNumbers=shape, hashStatus="Active")

    assert read.cases == tuple(CaseStatus(case_ref=ref, status=word) for ref, word in cases)
    assert "caseNumbers" in read.unknown
    assert json.loads(read.extra)["caseNumbers"] == shape


def test_listed_cases_follow_a_withdrawn_aggregate() -> None:
    """Cases that bring no status must not keep a withdrawn signal live."""
    assert not record(caseNumbers=["a", "b"], hashStatus="Withdrawn").is_live


def test_of_one_case_named_twice_the_withdrawal_counts() -> None:
    """Two words for one case are a contradiction; the withdrawal wins, in either order."""
    both = [{"id": "a", "status": "Withdrawn"}, {"id": "a", "status": "Received"}]

    assert record(caseNumbers=both).cases == record(caseNumbers=both[::-1]).cases
    assert record(caseNumbers=both).cases[0].status == "Withdrawn"


@pytest.mark.parametrize("entry", [None, 7, "text", [], True])
def test_no_object_is_refused(entry: object) -> None:
    """An entry that is no object is refused and kept as it came."""
    assert read_record(entry) == RefusedRecord(reason="not_an_object", raw=json.dumps(entry))


@pytest.mark.parametrize("value", [..., None, "", "  ", 12, ["ab"]])
def test_no_hash_is_refused(value: object) -> None:
    """Without a hash nothing can be matched or withdrawn: refused, and kept."""
    entry = make_record(random.Random(1), hashValue=value)

    read = read_record(entry)

    assert isinstance(read, RefusedRecord)
    assert read.reason == "no_hash_value"
    assert json.loads(read.raw) == entry


@pytest.mark.parametrize("kind", [..., None, ""])
def test_missing_signal_type_is_taken_from_the_form(kind: object) -> None:
    """64 hex digits without a kind are taken for PDQ, or their withdrawal would be lost."""
    assert record(signalType=kind).kind == "ImagePDQ"
    assert record(signalType=kind, hashValue="ab" * 16).kind == "Unknown"
    assert record(signalType=kind).unknown == ("signalType",)


@pytest.mark.parametrize("value", ["0" * 64, "AB" * 32, "ab" * 31 + "a", " " + "ab" * 32])
def test_digests_are_not_judged_here(value: str) -> None:
    """The value is handed on as written; whether it is a digest is decided by the sync."""
    assert record(hashValue=value).value == value


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1625167804, 1625167804),
        (1625167804.75, 1625167804),
        ("1625167804", 1625167804),
        (" 1625167804.5 ", 1625167804),
        (0, 0),
        (-1, None),
        (1625167804000, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e400", None),
        ("soon", None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_times_are_read_leniently(given: object, seconds: int | None) -> None:
    """Integer, fraction and digits in quotes are times; what is none is None."""
    assert read_seconds(given) == seconds


def test_a_time_that_is_none_is_kept_and_counted() -> None:
    """An unreadable time costs the time alone."""
    read = record(lastModtimestamp="soon")

    assert read.modified_at is None
    assert read.unknown == ("lastModtimestamp",)
    assert json.loads(read.extra)["lastModtimestamp"] == "soon"


def test_new_fields_are_kept_and_never_named() -> None:
    """A new field is kept as JSON; its name may hold anything and is not in ``unknown``."""
    read = record(secretCaseName={"a": [1]}, hashRegions=["UK"])

    assert read.unknown == ("field",)
    assert json.loads(read.extra) == {"hashRegions": ["UK"], "secretCaseName": {"a": [1]}}


def test_regions_are_kept_and_not_counted() -> None:
    """``hashRegions`` is a known field that is not interpreted."""
    read = record()

    assert read.unknown == ()
    assert json.loads(read.extra) == {"hashRegions": ["UK"]}


@pytest.mark.parametrize(
    ("shape", "words", "unknown"),
    [
        ({"source": "X", "feedbackValue": "Blocked"}, ["Blocked"], ("CSPFeedbacks",)),
        (["Blocked", {"feedbackValue": "None"}], ["None"], ("CSPFeedbacks",)),
        ([{"feedbackValue": 3}], ["3"], ("feedbackValue",)),
        ([{}], ["Unknown"], ("feedbackValue",)),
        ([{"feedbackValue": "Blocked", "tags": "Nude"}], ["Blocked"], ("tags",)),
        ([{"feedbackValue": "Blocked", "at": 1}], ["Blocked"], ("field",)),
        (7, [], ("CSPFeedbacks",)),
    ],
)
def test_misshapen_feedback_costs_nothing_else(
    shape: object, words: list[str], unknown: tuple[str, ...]
) -> None:
    """Feedback in another shape is read as far as it goes, counted, and the record stays."""
    read = record(CSPFeedbacks=shape)

    assert [feedback.value for feedback in read.feedback] == words
    assert read.unknown == unknown
    assert read.is_live


def test_half_a_surrogate_pair_can_be_stored() -> None:
    """JSON may hold text that UTF-8 cannot; what is read can always be encoded."""
    read = record(caseNumbers={"\ud800": "\udfff"}, hashStatus="\ud800")

    assert read.status.encode()
    assert read.cases[0].case_ref.encode()


def test_a_repr_shows_no_secret() -> None:
    """Logging a record by accident leaks neither digest nor case."""
    entry = make_record(random.Random(5), newField="x")
    (case,) = entry["caseNumbers"]

    shown = repr(read_record(entry)) + repr(read_record({"signalType": case}))

    assert entry["hashValue"] not in shown
    assert case not in shown


# A small alphabet: building the one of all of Unicode takes seconds on a cold machine.
TEXT = st.text("aZ09 -#\x00\u00e9\ud800", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("lastModtimestamp", "signalType", "hashStatus", "caseNumbers", "CSPFeedbacks", "new")


@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_shape_of_any_field_loses_the_record(changes: dict[str, Any]) -> None:
    """Whatever JSON stands in the other fields, a record with a hash is read."""
    read = read_record({"hashValue": "ab" * 32, "signalType": "ImagePDQ"} | changes)

    assert isinstance(read, FeedRecord)
    assert read.value == "ab" * 32


@given(entries=st.lists(JSON, max_size=5))
def test_every_entry_comes_out_once(entries: list[Any]) -> None:
    """Nothing disappears: each entry is a record or a refusal."""
    records, refused = read_records(entries)

    assert len(records) + len(refused) == len(entries)

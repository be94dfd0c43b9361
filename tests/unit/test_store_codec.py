"""Records as bytes: every record comes back as it was; other bytes are never half read."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.errors import StoreDamagedError
from indexer.model import (
    CaseStatus,
    ImageRecord,
    Match,
    MatchEvent,
    PartnerFeedback,
    RowLabel,
    Signal,
    SignalEvent,
    SignalEventKind,
    since,
)
from indexer.store import FeedCursor, QuarantinedRecord, ScanCursor, Tombstone
from indexer.store.codec import RecordCodec
from tests.fakes.signals import NOW

SOAK = bool(os.environ.get("DELIST_SOAK"))
RECORDS = (
    Signal, ImageRecord, Match, MatchEvent, SignalEvent, FeedCursor, ScanCursor, Tombstone,
    QuarantinedRecord,
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
st.register_type_strategy(str, texts)
st.register_type_strategy(int, st.integers(-(1 << 63), (1 << 64) - 1))
st.register_type_strategy(float, st.floats(allow_nan=False))  # NaN differs from itself
st.register_type_strategy(datetime, moments)


def as_records(cls: type) -> st.SearchStrategy[Any]:
    """Draw records with every field, defaults included."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{entry.name: _values(hints[entry.name]) for entry in fields(cls)})


def _values(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type
    if isinstance(hint, UnionType):
        return st.one_of(*map(_values, get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(_values(get_args(hint)[0]), max_size=3).map(tuple)
    return (
        as_records(hint)
        if hint in {CaseStatus, PartnerFeedback, Match, RowLabel}
        else st.from_type(hint)
    )


every_record = pytest.mark.parametrize("cls", RECORDS)


@every_record
@settings(max_examples=1000 if SOAK else 30)
@given(data=st.data())
def test_records_come_back_as_they_were(cls: type, data: st.DataObject) -> None:
    """What is written is read, field by field, also from a memory map's view."""
    record = data.draw(as_records(cls))
    codec: RecordCodec[Any] = RecordCodec(cls)
    raw = codec.encode(record)

    assert codec.decode(raw) == record
    assert codec.decode(memoryview(raw)) == record
    assert codec.encode(codec.decode(raw)) == raw


@every_record
@settings(max_examples=1000 if SOAK else 30)
@given(data=st.data())
def test_cut_records_are_damaged(cls: type, data: st.DataObject) -> None:
    """A record that was cut anywhere, or goes on, is refused as a whole."""
    codec: RecordCodec[Any] = RecordCodec(cls)
    raw = codec.encode(data.draw(as_records(cls)))
    cut = data.draw(st.integers(0, len(raw) - 1))

    for broken in (raw[:cut], raw + b"\x00", raw + raw):
        with pytest.raises(StoreDamagedError, match=cls.__name__):
            codec.decode(broken)


@every_record
@settings(max_examples=1000 if SOAK else 30)
@given(data=st.data())
def test_other_versions_are_damaged(cls: type, data: st.DataObject) -> None:
    """A first byte that is not this version is never read by this layout."""
    codec: RecordCodec[Any] = RecordCodec(cls)
    raw = codec.encode(data.draw(as_records(cls)))
    known = range(1, raw[0] + 1)
    version = data.draw(st.integers(0, 255).filter(lambda number: number not in known))

    with pytest.raises(StoreDamagedError, match="unknown layout"):
        codec.decode(bytes([version]) + raw[1:])


@every_record
@given(st.binary(max_size=60))
@example(b"\x91\xa2\xff\xfe")  # a text that is no UTF-8
def test_any_bytes_are_a_record_or_damaged(cls: type, raw: bytes) -> None:
    """Random bytes never raise another error."""
    for attempt in (raw, b"\x01" + raw, b"\x02" + raw):
        try:
            RecordCodec(cls).decode(attempt)
        except StoreDamagedError as error:
            assert raw.hex() not in str(error) or len(raw) < 3  # noqa: PT017 - either is right


def test_another_number_of_fields_is_damaged() -> None:
    """A record with a field less or more is not read as if the rest fitted."""

    @dataclass(frozen=True, kw_only=True)
    class More(ScanCursor):
        extra: int = 0

    more, fewer = RecordCodec(More), RecordCodec(ScanCursor)
    with pytest.raises(StoreDamagedError):
        fewer.decode(more.encode(More(done=1)))
    with pytest.raises(StoreDamagedError):
        more.decode(fewer.encode(ScanCursor(done=1)))


@dataclass(frozen=True, kw_only=True)
class _Old:
    name: str
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _New:
    name: str
    words: tuple[str, ...] = since(2, ("none",))
    rows: tuple[int, ...]
    count: int = since(3, 7)


@given(name=texts, rows=st.lists(st.integers(0, 99)).map(tuple), data=st.data())
def test_earlier_versions_are_read_with_defaults(
    name: str, rows: tuple[int, ...], data: st.DataObject
) -> None:
    """A field that came later has its default in a record that was written before."""
    codec, old = RecordCodec(_New), RecordCodec(_Old).encode(_Old(name=name, rows=rows))

    assert codec.decode(old) == _New(name=name, rows=rows)
    assert codec.encode(codec.decode(old))[0] == 3
    for broken in (old[: data.draw(st.integers(0, len(old) - 1))], b"\x02" + old[1:]):
        with pytest.raises(StoreDamagedError):
            codec.decode(broken)


def test_image_records_of_version_1_are_read() -> None:
    """Records that were written before rows had labels are read as they were meant."""
    raw = bytes.fromhex(
        "019ec401 6b a3 752f69 c0 c401 73 a9 696d6167652f706e67 01 02 50 01 93 05 06 07 c0 c0"
        "d6ff00000001 d6ff00000002"
    )
    record = RecordCodec(ImageRecord).decode(raw)

    assert (record.rows, record.labels) == ((5, 6, 7), ())
    assert record.label(1) == RowLabel(quality=80)


@pytest.mark.parametrize(
    "change",
    [lambda raw: raw.replace(b"added", b"adder"), lambda raw: raw.replace(b"added", b"ADDED")],
)
def test_unknown_words_in_records_are_damaged(change: Callable[[bytes], bytes]) -> None:
    """A word that is none of an enumeration's is damage, not a value."""
    event = SignalEvent(kind=SignalEventKind.ADDED, signal_key=b"k" * 16, feed="f", at=NOW)
    codec = RecordCodec(SignalEvent)

    with pytest.raises(StoreDamagedError):
        codec.decode(change(codec.encode(event)))
    assert codec.decode(codec.encode(replace(event, sequence=7))).sequence == 7


def test_the_layout_of_version_1_does_not_change() -> None:
    """Bytes that the first release wrote are read for ever; a change needs a new version."""
    assert RecordCodec(ScanCursor).encode(ScanCursor(done=1, target=2, next_chunk=300)) == (
        b"\x01\x93\x01\x02\xcd\x01\x2c"
    )
    stone = Tombstone(feed="f", modified_at=None, withdrawn_at=datetime.fromtimestamp(1, UTC))
    assert RecordCodec(Tombstone).encode(stone) == b"\x01\x93\xa1f\xc0\xd6\xff\x00\x00\x00\x01"
    event = SignalEvent(
        sequence=5, kind=SignalEventKind.WITHDRAWN, signal_key=b"k", feed="f", at=stone.withdrawn_at
    )
    assert RecordCodec(SignalEvent).encode(event) == (
        b"\x01\x95\x05\xa9withdrawn\xc4\x01k\xa1f\xd6\xff\x00\x00\x00\x01"
    )

"""The records of the indexer: when a signal lives, names of variants, silent reprs."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import model
from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    HASHERS,
    VARIANTS,
    Background,
    CaseStatus,
    FeedPage,
    Hasher,
    ImageHash,
    ImageRecord,
    Match,
    PartnerFeedback,
    RefusedRecord,
    RowLabel,
    Signal,
    Variant,
    has_ended,
    is_live,
    layer_of,
    variant_name,
)
from tests.fakes.signals import NOW, make_cases, make_digest, make_image, make_record, make_visit

LIVE_WORDS = ("Received", "Active", "Unknown", "Undefined", "", "Withdraw", "deleted?", "Paused")
ENDED_WORDS = ("Withdrawn", "Deleted", "withdrawn", " DELETED ")
words = st.sampled_from(LIVE_WORDS + ENDED_WORDS)


@pytest.mark.parametrize("word", ENDED_WORDS)
def test_two_words_end_in_any_case(word: str) -> None:
    """Withdrawn and Deleted end, however they are written."""
    assert has_ended(word)
    assert not is_live(status=word, cases=())


@pytest.mark.parametrize("word", LIVE_WORDS)
def test_no_other_word_ends_anything(word: str) -> None:
    """An unknown or misspelt word never costs an active signal."""
    assert not has_ended(word)
    assert is_live(status=word, cases=make_cases(a=word))


@given(words)
def test_without_cases_the_aggregate_decides(status: str) -> None:
    """ADR 0003: no cases."""
    assert is_live(status=status, cases=()) is not has_ended(status)


@given(words, words)
def test_one_case_ends_by_either_word(status: str, case: str) -> None:
    """ADR 0003: of one case, its own word or the aggregate ends the signal."""
    live = is_live(status=status, cases=make_cases(a=case))

    assert live is not (has_ended(status) or has_ended(case))


@given(words, st.lists(words, min_size=2, max_size=5))
def test_several_cases_end_when_all_have(status: str, listed: list[str]) -> None:
    """ADR 0003: a hash of several cases lives until all have ended, whatever the aggregate."""
    cases = tuple(
        CaseStatus(case_ref=str(number), status=word) for number, word in enumerate(listed)
    )

    assert is_live(status=status, cases=cases) is not all(map(has_ended, listed))


def test_each_position_of_a_row_has_one_name() -> None:
    """Sixteen positions and two backgrounds are 32 names: path by path, variant by variant."""
    image = make_image(1, {}, black={})
    names = [(entry.hasher, entry.variant) for entry in image.hashes]

    assert len(names) == len(set(names)) == 2 * DIGESTS_PER_ROW
    assert names[0] == (Hasher.CPP, "upright")
    assert names[9] == (Hasher.WEB, "mirror")
    assert names[16 + 7] == (Hasher.CPP, "transverse+black")
    assert variant_name(15, Background.BLACK) == "transverse+black"


@given(
    position=st.integers(0, 15),
    background=st.sampled_from(Background),
    frame=st.integers(0, 100_000),
    partial=st.booleans(),
)
def test_a_name_says_which_picture_it_is_of(
    position: int, background: Background, frame: int, *, partial: bool
) -> None:
    """Who looks at a match is shown the frame that matched, on the background that it did on."""
    name = variant_name(position, background, frame=frame, partial=partial)
    assert layer_of(name) == (frame, background)


def test_rows_are_named_by_frame_background_and_what_is_missing() -> None:
    """What is usual is left out of a name; each row has a quality of its own."""
    labels = (
        RowLabel(quality=80),
        RowLabel(quality=7, frame=12),
        RowLabel(quality=9, frame=12, partial=True),
    )
    row = make_image(1).rows[0][1]
    rows = ((Background.WHITE, row), (Background.WHITE, row), (Background.BLACK, row))
    image = replace(make_image(1), rows=rows, labels=labels)
    upright = [entry for entry in image.hashes if entry.variant.startswith("upright")]

    assert [(entry.variant, entry.quality) for entry in upright[::2]] == [
        ("upright", 80),
        ("upright+frame12", 7),
        ("upright+frame12+black+partial", 9),
    ]
    assert image.is_partial
    assert not make_image(1).is_partial


def test_hashes_are_the_slices_of_the_row() -> None:
    """Every digest of a row shows up once, in the order of the stored bytes."""
    image = make_image(3)

    assert b"".join(entry.digest for entry in image.hashes) == image.rows[0][1]
    assert {len(entry.digest) for entry in image.hashes} == {DIGEST_BYTES}
    assert {entry.quality for entry in image.hashes} == {80}


def test_stored_orders_do_not_change() -> None:
    """Rows on disk are read by these orders; another order needs another hasher version."""
    assert [hasher.value for hasher in HASHERS] == ["cpp", "web"]
    assert [variant.value for variant in VARIANTS] == [
        "upright", "mirror", "flip", "turn180", "transpose", "turn90", "turn270", "transverse",
    ]  # fmt: skip
    assert [background.value for background in Background] == ["white", "black"]
    assert len(Variant) == 8


SECRET_DIGEST = make_digest(1)
SECRETS = ("secret.example", "case-secret", "doc-secret", SECRET_DIGEST.hex(), repr(SECRET_DIGEST))


def make_secret_records() -> list[object]:
    image = make_image(1, {0: SECRET_DIGEST})
    cases = (CaseStatus(case_ref="case-secret", status="Received"),)
    record = make_record(SECRET_DIGEST, cases=cases, extra="case-secret")
    return [
        image,
        image.hashes[0],
        make_visit(
            "http://secret.example/a",
            image,
            page_urls=("http://secret.example/",),
            aliases=("http://secret.example/b",),
            document_id="doc-secret",
        ),
        ImageRecord(
            key=bytes(16),
            image_url="http://secret.example/a",
            document_id="doc-secret",
            sha256=SECRET_DIGEST,
            mime="image/png",
            width=1,
            height=1,
            quality=1,
            hasher_version=1,
            rows=(0,),
            hashed_at=NOW,
            seen_at=NOW,
        ),
        record,
        FeedPage(records=(record,), last=False, next_token=record.cases[0].case_ref),
        RefusedRecord(reason="x", raw=SECRET_DIGEST.hex()),
        Signal(
            key=bytes(16),
            feed="f",
            kind="ImagePDQ",
            digest=SECRET_DIGEST,
            status="Active",
            cases=cases,
            added_at=NOW,
            changed_at=NOW,
            extra="case-secret",
        ),
        Match(signal_key=bytes(16), feed="f", distance_bits=1, threshold_bits=31,
              content_sha256=SECRET_DIGEST),
    ]  # fmt: skip


@pytest.mark.parametrize("record", make_secret_records(), ids=lambda record: type(record).__name__)
def test_reprs_hide_what_may_not_be_logged(record: object) -> None:
    """Digests, URLs, case references and document ids never show in a repr."""
    shown = repr(record)

    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("record", make_secret_records(), ids=lambda record: type(record).__name__)
def test_records_are_frozen(record: object) -> None:
    """No record can be changed after it was made."""
    first = fields(record)[0].name  # type: ignore[arg-type]

    with pytest.raises(FrozenInstanceError):
        setattr(record, first, None)
    assert not hasattr(record, "__dict__")


def test_every_record_is_keyword_only() -> None:
    """A record cannot be built by position, so a new field never shifts another's value."""
    for cls in (ImageHash, Match, Signal, PartnerFeedback, CaseStatus, model.FeedRecord):
        assert all(entry.kw_only for entry in fields(cls)), cls

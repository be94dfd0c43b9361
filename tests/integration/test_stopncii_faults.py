"""The StopNCII feed against a server that misbehaves, over HTTP on loopback."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from delist.ops.standin import (
    PASSING,
    Fault,
    FaultKind,
    Faults,
    StopNciiStandIn,
    answer_with,
    make_records,
)
from indexer.errors import (
    FeedError,
    FeedProtocolError,
    FeedSettingsError,
    FeedUnavailableError,
    PageTokenExpiredError,
)
from indexer.feed import StopNciiFeed
from indexer.settings import FeedSettings

RECORDS = make_records(6)
NAMED = "T"
SECRETS = {"subscription": "subscription-sEcReT", "function": "function-sEcReT"}


@pytest.fixture
def standin() -> Iterator[StopNciiStandIn]:
    keys = {name: f"{name}-{SECRETS['function']}" for name in ("FetchHashes", "SubmitFeedback")}
    with StopNciiStandIn(
        RECORDS, subscription_key=SECRETS["subscription"], function_keys=keys
    ) as server:
        yield server


@pytest.fixture
def settings(standin: StopNciiStandIn, tmp_path: Path) -> FeedSettings:
    (tmp_path / "subscription").write_text(f"  {standin.subscription_key}\n")
    for endpoint, key in standin.function_keys.items():
        (tmp_path / endpoint).write_text(f"{key}\r\n")
    return FeedSettings(
        name="stopncii",
        type="stopncii",
        base_url=standin.base_url,
        subscription_key_file=tmp_path / "subscription",
        function_key_files={name: tmp_path / name for name in standin.function_keys},
        page_size=3,
        timeout_s=5.0,
    )


def make_feed(settings: FeedSettings, **limits: Any) -> StopNciiFeed:  # noqa: ANN401 - as named there
    return StopNciiFeed(settings, **{"backoff_s": 0.001, "tries": 3, **limits})


def body(**changes: object) -> Fault:
    page: dict[str, object] = {
        "count": 0,
        "nextSetTimestamp": 20,
        "nextPageToken": None,
        "hasMoreRecords": False,
        "hashRecords": [],
    }
    changed = {**page, **changes}
    kept = {name: value for name, value in changed.items() if value is not ...}
    return Fault(kind=FaultKind.BODY, text=json.dumps(kept))


def kind(name: FaultKind) -> Fault:
    return Fault(kind=name)


# --- asking again ---


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_a_passing_fault_is_asked_again(
    standin: StopNciiStandIn, settings: FeedSettings, fault: Fault
) -> None:
    """429 with and without Retry-After, 5xx, broken and cut answers: the next try counts."""
    standin.faults.add(fault, fault)

    page = make_feed(settings).fetch_page(since=0, token=None)

    assert len(page.records) == 3
    assert len(standin.requests) == 3


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_tries_are_bounded(standin: StopNciiStandIn, settings: FeedSettings, fault: Fault) -> None:
    """A fault that stays ends after the allowed tries, as a feed that is unavailable."""
    standin.faults.add(*[fault] * 5)

    with pytest.raises(FeedUnavailableError, match="feed stopncii, FetchHashes"):
        make_feed(settings).fetch_page(since=0, token=None)

    assert len(standin.requests) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_capped(
    standin: StopNciiStandIn, settings: FeedSettings, as_date: bool
) -> None:
    """A server that asks for a day, in seconds or as a date, is asked again after the cap."""
    standin.faults.add(answer_with(429, retry_after_s=86_400, as_date=as_date))

    page = make_feed(settings, retry_after_cap_s=0.01).fetch_page(since=0, token=None)

    assert len(page.records) == 3


def test_retry_after_is_waited_for(standin: StopNciiStandIn, settings: FeedSettings) -> None:
    """The wait that the server names takes the place of our own."""
    standin.faults.add(answer_with(503, retry_after_s=1))

    with capture_logs() as logs:
        make_feed(settings).fetch_page(since=0, token=None)

    assert [entry["wait_s"] for entry in logs if entry["event"] == "feed.retrying"] == [1.0]


def test_a_random_bad_day_loses_nothing(settings: FeedSettings, standin: StopNciiStandIn) -> None:
    """With every second request failing, a whole set is still read."""
    standin.faults = Faults(rate=0.5, seed=11)
    feed = make_feed(settings, tries=20)
    page = feed.fetch_page(since=0, token=None)
    values = {record.value for record in page.records}
    while not page.last:
        page = feed.fetch_page(since=0, token=page.next_token)
        values |= {record.value for record in page.records}

    assert values == {record["hashValue"] for record in RECORDS}


@pytest.mark.parametrize("name", [FaultKind.EMPTY, FaultKind.CUT_JSON])
def test_json_cut_in_the_middle_is_asked_again(
    standin: StopNciiStandIn, settings: FeedSettings, name: FaultKind
) -> None:
    """An answer whose length fits but whose JSON ends too early is no page."""
    standin.faults.add(kind(name))

    assert len(make_feed(settings).fetch_page(since=0, token=None).records) == 3


@pytest.mark.parametrize("name", [FaultKind.STALL, FaultKind.DRIP_BODY, FaultKind.DRIP_HEADERS])
def test_silence_and_dripping_cost_bounded_time(
    standin: StopNciiStandIn, settings: FeedSettings, name: FaultKind
) -> None:
    """A server that says nothing, or a byte at a time for ever, is given up and asked again."""
    standin.faults.add(kind(name))
    feed = make_feed(replace(settings, timeout_s=2.0), deadline_s=0.3)

    assert len(feed.fetch_page(since=0, token=None).records) == 3


def test_a_silent_server_times_out(standin: StopNciiStandIn, settings: FeedSettings) -> None:
    """A silence longer than ``timeout_s`` ends a try."""
    standin.faults.add(*[kind(FaultKind.STALL)] * 2)

    with pytest.raises(FeedUnavailableError, match="ReadTimeout"):
        make_feed(replace(settings, timeout_s=0.1), tries=2).fetch_page(since=0, token=None)


def test_no_server_is_unavailable(settings: FeedSettings) -> None:
    """A refused connection is an unavailable feed."""
    feed = make_feed(replace(settings, base_url="http://127.0.0.1:9/v1"))

    with pytest.raises(FeedUnavailableError, match="ConnectError"):
        feed.fetch_page(since=0, token=None)


def test_an_answer_without_end_is_bounded(standin: StopNciiStandIn, settings: FeedSettings) -> None:
    """An answer beyond the limit is not read to its end, nor asked for again."""
    with pytest.raises(FeedProtocolError, match="larger than 100 bytes"):
        make_feed(settings, max_body_bytes=100).fetch_page(since=0, token=None)

    assert len(standin.requests) == 1


# --- answers that asking again does not mend ---


@pytest.mark.parametrize("status", [400, 404, 408, 410, 418])
def test_a_refused_token_restarts_the_set(
    standin: StopNciiStandIn, settings: FeedSettings, status: int
) -> None:
    """Any refusal of a request with a token means that the token is no longer valid."""
    feed = make_feed(settings)
    token = feed.fetch_page(since=0, token=None).next_token
    standin.faults.add(answer_with(status))

    with pytest.raises(PageTokenExpiredError):
        feed.fetch_page(since=0, token=token)


def test_a_token_is_bound_to_its_start(settings: FeedSettings) -> None:
    """A token taken to another start timestamp is refused: the set starts again."""
    feed = make_feed(settings)
    token = feed.fetch_page(since=0, token=None).next_token

    with pytest.raises(PageTokenExpiredError):
        feed.fetch_page(since=1_625_000_000, token=token)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_refused_start_is_a_matter_of_protocol(
    standin: StopNciiStandIn, settings: FeedSettings, status: int
) -> None:
    """Without a token there is nothing to start again."""
    standin.faults.add(answer_with(status))

    with pytest.raises(FeedProtocolError, match=str(status)):
        make_feed(settings).fetch_page(since=0, token=None)


@pytest.mark.parametrize("name", [FaultKind.HTML, FaultKind.REDIRECT])
def test_another_server_is_told_apart(
    standin: StopNciiStandIn, settings: FeedSettings, name: FaultKind
) -> None:
    """A page or a redirect comes from a portal or a wrong address; it is named, not followed."""
    standin.faults.add(kind(name))

    with pytest.raises(FeedProtocolError, match=r"(text/html|redirect).*feeds\.stopncii\.base_url"):
        make_feed(settings).fetch_page(since=0, token=None)

    assert len(standin.requests) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(kind=FaultKind.BODY, text="[]"), "no JSON object"),
        (Fault(kind=FaultKind.BODY, text="[" * 100_000), "nested"),
        (Fault(kind=FaultKind.BODY, text="null"), "no JSON object"),
        (body(hashRecords=...), "no list hashRecords"),
        (body(hashRecords={}), "no list hashRecords"),
        (body(hashRecords=None, count=3), "no list hashRecords"),
        (body(hasMoreRecords=...), "hasMoreRecords"),
        (body(hasMoreRecords="no"), "hasMoreRecords"),
        (body(hasMoreRecords=True), "no nextPageToken"),
        (body(hasMoreRecords=True, nextPageToken=""), "no nextPageToken"),
    ],
)
def test_what_is_no_page_is_refused(
    standin: StopNciiStandIn, settings: FeedSettings, fault: Fault, message: str
) -> None:
    """Taken for a page, each of these could move the cursor past records never read."""
    standin.faults.add(fault)

    with pytest.raises(FeedProtocolError, match=message):
        make_feed(settings).fetch_page(since=0, token=None)


def test_the_token_just_sent_would_never_end(
    standin: StopNciiStandIn, settings: FeedSettings
) -> None:
    """A page that names itself as the next is an endless loop."""
    standin.faults.add(body(hasMoreRecords=True, nextPageToken=NAMED))

    with pytest.raises(FeedProtocolError, match="never end"):
        make_feed(settings).fetch_page(since=0, token=NAMED)


def test_an_empty_page_may_say_null(standin: StopNciiStandIn, settings: FeedSettings) -> None:
    """``hashRecords: null`` with a count of 0 is an empty list, as serialisers write it."""
    standin.faults.add(body(hashRecords=None))

    page = make_feed(settings).fetch_page(since=0, token=None)

    assert (page.records, page.last, page.cursor) == ((), True, 20)


@pytest.mark.parametrize(
    ("given", "cursor"),
    [(20, 20), (20.9, 20), ("20", 20), (..., None), (None, None), ("later", None)],
)
def test_the_next_set_is_read_leniently(
    standin: StopNciiStandIn, settings: FeedSettings, given: object, cursor: int | None
) -> None:
    """A checkpoint in an odd form, or none, does not cost the page."""
    standin.faults.add(body(nextSetTimestamp=given))

    assert make_feed(settings).fetch_page(since=0, token=None).cursor == cursor


def test_entries_that_are_no_records_cost_no_other(
    standin: StopNciiStandIn, settings: FeedSettings
) -> None:
    """One entry that cannot be read is refused; the page counts."""
    standin.faults.add(body(hashRecords=[None, RECORDS[0], "x", {"hashStatus": "Withdrawn"}]))

    page = make_feed(settings).fetch_page(since=0, token=None)

    assert [record.value for record in page.records] == [RECORDS[0]["hashValue"]]
    assert [refused.reason for refused in page.refused] == [
        "not_an_object",
        "not_an_object",
        "no_hash_value",
    ]


# --- keys ---


@pytest.mark.parametrize("which", ["subscription", "FetchHashes"])
@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"a\nb", b"a\x00b", "\u00e9".encode(), b"\xff"]
)
def test_an_unusable_key_file_is_named(
    standin: StopNciiStandIn,
    settings: FeedSettings,
    tmp_path: Path,
    which: str,
    content: bytes | None,
) -> None:
    """A key file that is missing, empty or holds what no header can: named, never quoted."""
    (tmp_path / which).unlink()
    if content is not None:
        (tmp_path / which).write_bytes(content)

    with pytest.raises(FeedSettingsError, match=rf"feeds\.stopncii\..*key_file.*{which}") as caught:
        make_feed(settings).fetch_page(since=0, token=None)

    assert str(tmp_path / which) in str(caught.value)
    assert standin.requests == []


def test_a_missing_key_setting_is_named(settings: FeedSettings) -> None:
    """A key without a file in the configuration: the configuration key is named."""
    without_function_key = make_feed(replace(settings, function_key_files={}))
    without_subscription_key = make_feed(replace(settings, subscription_key_file=None))

    with pytest.raises(FeedSettingsError, match=r"function_key_files\.FetchHashes: is missing"):
        without_function_key.fetch_page(since=0, token=None)
    with pytest.raises(FeedSettingsError, match="subscription_key_file: is missing"):
        without_subscription_key.fetch_page(since=0, token=None)


@pytest.mark.parametrize("which", ["subscription", "FetchHashes"])
def test_a_wrong_key_names_both_files(
    standin: StopNciiStandIn, settings: FeedSettings, tmp_path: Path, which: str
) -> None:
    """A 401 does not say which key is wrong; both files are named. It is not asked again."""
    (tmp_path / which).write_text("wrong")

    with pytest.raises(FeedSettingsError, match=r"401.*/FetchHashes\).*/subscription\)"):
        make_feed(settings).fetch_page(since=0, token=None)

    assert len(standin.requests) == 1


def test_a_forbidden_answer_is_a_matter_of_keys(
    standin: StopNciiStandIn, settings: FeedSettings
) -> None:
    """A 403, also to a token, is not an expired token."""
    standin.faults.add(answer_with(403))

    with pytest.raises(FeedSettingsError, match="403"):
        make_feed(settings).fetch_page(since=0, token=NAMED)


def test_keys_are_read_anew(
    standin: StopNciiStandIn, settings: FeedSettings, tmp_path: Path
) -> None:
    """A key that is mended or rotated on disk counts from the next request on."""
    feed = make_feed(settings)
    standin.subscription_key = "rotated"
    with pytest.raises(FeedSettingsError):
        feed.fetch_page(since=0, token=None)

    (tmp_path / "subscription").write_text("rotated")

    assert feed.fetch_page(since=0, token=None).records


# --- feedback ---


def test_feedback_is_sent_again_after_a_fault(
    standin: StopNciiStandIn, settings: FeedSettings
) -> None:
    """The public client gives up a POST at once; ours is repeated, which is harmless."""
    standin.faults.add(answer_with(503), kind(FaultKind.CUT_BODY))

    make_feed(settings).send_feedback([(RECORDS[0]["hashValue"], "Blocked")])

    item = {"hashValue": RECORDS[0]["hashValue"], "feedbackValue": "Blocked", "tags": []}
    assert standin.feedback == [item, item]  # the cut answer came after it was taken


def test_feedback_comes_back_once(settings: FeedSettings) -> None:
    """Feedback sent twice shows once on the next fetch, as ours, with a later time."""
    feed = make_feed(replace(settings, page_size=100))
    feed.send_feedback([(RECORDS[0]["hashValue"], "PendingReview")])
    feed.send_feedback([(RECORDS[0]["hashValue"], "Blocked")] * 2)

    page = feed.fetch_page(since=RECORDS[0]["lastModtimestamp"] + 10**6, token=None)

    (record,) = page.records
    assert [(told.source, told.value) for told in record.feedback] == [("Delist", "Blocked")]


def test_no_feedback_asks_nothing(standin: StopNciiStandIn, settings: FeedSettings) -> None:
    """Nothing to say is no request."""
    make_feed(settings).send_feedback([])

    assert standin.requests == []


def test_feedback_in_words_that_do_not_exist_is_refused(settings: FeedSettings) -> None:
    """A word that the feed does not take is an error, not a silent loss."""
    with pytest.raises(FeedProtocolError, match="SubmitFeedback: answered 400"):
        make_feed(settings).send_feedback([("ab" * 32, "ncii")])


def test_a_portal_does_not_take_feedback(standin: StopNciiStandIn, settings: FeedSettings) -> None:
    """A page in answer to feedback means that nobody took it."""
    standin.faults.add(kind(FaultKind.HTML))

    with pytest.raises(FeedProtocolError, match="text/html"):
        make_feed(settings).send_feedback([("ab" * 32, "Blocked")])


# --- nothing leaks ---


LEAKY = [
    *PASSING,
    *(kind(name) for name in (FaultKind.HTML, FaultKind.REDIRECT, FaultKind.EMPTY)),
    *(answer_with(status) for status in (400, 401, 403)),
    Fault(kind=FaultKind.BODY, text=f'{{"hashRecords": ["{RECORDS[0]["hashValue"]}'),
]


@pytest.mark.parametrize("fault", LEAKY, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_no_error_and_no_log_tells_a_secret(
    standin: StopNciiStandIn,
    settings: FeedSettings,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
) -> None:
    """Keys, tokens, digests, bodies and query strings stay out of errors, causes and logs."""
    caplog.set_level(logging.DEBUG)
    feed = make_feed(settings, tries=2)
    token = feed.fetch_page(since=0, token=None).next_token
    assert token is not None
    standin.faults.add(fault, fault)

    with capture_logs() as logs, pytest.raises(FeedError) as caught:
        feed.fetch_page(since=0, token=token)

    told = f"{caught.value} {caught.value!r} {caught.value.__cause__} {caplog.text} {logs}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for secret in (*SECRETS.values(), token[:12], RECORDS[0]["hashValue"][:12], "nextPageToken="):
        assert secret not in told

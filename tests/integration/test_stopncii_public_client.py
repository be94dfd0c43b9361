"""The stand-in is faithful: Meta's public client reads it and writes to it.

And where that client is wrong, our adapter reads the same answers rightly.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from threatexchange.exchanges.clients.stopncii import api
from threatexchange.exchanges.collab_config import CollaborationConfigBase
from threatexchange.exchanges.impl.stop_ncii_api import StopNCIISignalExchangeAPI
from threatexchange.signal_type.pdq.signal import PdqSignal

from delist.ops.standin import (
    StopNciiStandIn,
    answer_with,
    make_records,
    name_odd_records,
    odd_records,
)
from indexer.feed import StopNciiFeed
from indexer.model import FeedPage, FeedRecord
from indexer.settings import FeedSettings

RECORDS = make_records(9)
ODD = name_odd_records()


@pytest.fixture
def standin() -> Iterator[StopNciiStandIn]:
    with StopNciiStandIn(RECORDS, page_size_cap=4) as server:
        yield server


def public_client(standin: StopNciiStandIn) -> api.StopNCIIAPI:
    return api.StopNCIIAPI(
        standin.subscription_key,
        standin.function_keys["FetchHashes"],
        additional_function_keys={
            endpoint: standin.function_keys[endpoint.value] for endpoint in api.StopNCIIEndpoint
        },
        base_url_override=standin.base_url,
    )


def our_pages(standin: StopNciiStandIn, folder: Path, since: int = 0) -> list[FeedPage]:
    (folder / "subscription").write_text(standin.subscription_key)
    (folder / "function").write_text(standin.function_keys["FetchHashes"])
    feed = StopNciiFeed(
        FeedSettings(
            name="stopncii",
            type="stopncii",
            base_url=standin.base_url,
            subscription_key_file=folder / "subscription",
            function_key_files={"FetchHashes": folder / "function"},
        )
    )
    pages = [feed.fetch_page(since=since, token=None)]
    while not pages[-1].last:
        pages.append(feed.fetch_page(since=since, token=pages[-1].next_token))
    return pages


def our_records(standin: StopNciiStandIn, folder: Path) -> dict[str, FeedRecord]:
    pages = our_pages(standin, folder)
    return {record.value: record for page in pages for record in page.records}


def test_the_public_client_pages_through(standin: StopNciiStandIn) -> None:
    """Its iterator reads every record, over several pages, and stops."""
    pages = list(public_client(standin).fetch_hashes_iter())

    values = [record.hashValue for page in pages for record in page.hashRecords]
    assert len(pages) == 3
    assert set(values) == {record["hashValue"] for record in RECORDS}
    assert len(values) > len(RECORDS)  # records repeat across pages
    assert pages[-1].nextPageToken  # a token even on the last page
    assert [page.count for page in pages] == [len(page.hashRecords) for page in pages]


def test_the_public_exchange_fetches(standin: StopNciiStandIn) -> None:
    """Its exchange implementation, as HMA drives it, reads the same hashes."""
    collab = CollaborationConfigBase("ours", StopNCIISignalExchangeAPI.get_name(), enabled=True)
    exchange = StopNCIISignalExchangeAPI(collab, public_client(standin))

    updates: dict[Any, Any] = {}
    for delta in exchange.fetch_iter([PdqSignal], None):
        updates |= delta.updates

    assert {value for _, value in updates} == {record["hashValue"] for record in RECORDS}


def test_the_public_client_posts_feedback(standin: StopNciiStandIn, tmp_path: Path) -> None:
    """Its feedback is taken and is seen on the next fetch, by it and by us."""
    client = public_client(standin)
    client.submit_feedback(
        api.StopNCIISignalType.ImagePDQ,
        RECORDS[2]["hashValue"],
        api.StopNCIICSPFeedbackValue.Blocked,
        {"Nude"},
    )

    (theirs,) = [
        record
        for page in client.fetch_hashes_iter()
        for record in page.hashRecords
        if record.CSPFeedbacks
    ]
    ours = our_records(standin, tmp_path)[RECORDS[2]["hashValue"]]
    assert theirs.lastModtimestamp > RECORDS[2]["lastModtimestamp"]
    assert theirs.CSPFeedbacks[0].source == "Delist"
    assert [(told.value, told.tags) for told in ours.feedback] == [("Blocked", ("Nude",))]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_the_public_client_gets_over_faults(standin: StopNciiStandIn, status: int) -> None:
    """What it repeats, the stand-in makes it repeat."""
    standin.faults.add(answer_with(status))

    assert public_client(standin).fetch_hashes().hashRecords
    assert [seen.status for seen in standin.requests] == [status, 200]


@pytest.mark.parametrize("which", ["subscription", "function"])
def test_wrong_keys_are_401(standin: StopNciiStandIn, which: str) -> None:
    """A wrong subscription key is the gateway's JSON; a wrong function key an empty 401."""
    headers = {
        "Ocp-Apim-Subscription-Key": standin.subscription_key,
        "x-functions-key": standin.function_keys["FetchHashes"],
    }
    headers["Ocp-Apim-Subscription-Key" if which == "subscription" else "x-functions-key"] = (
        standin.function_keys["SubmitFeedback"]
    )

    answer = requests.get(f"{standin.base_url}/FetchHashes", headers=headers, timeout=5)

    assert answer.status_code == 401
    if which == "subscription":
        assert answer.json()["statusCode"] == 401
    else:
        assert answer.content == b""


# --- where the public client is wrong ---


def test_submitted_hashes_need_real_words(standin: StopNciiStandIn) -> None:
    """The public client sends ``StopNCIISignalType.ImagePDQ``; only ``ImagePDQ`` is a word."""
    with pytest.raises(requests.HTTPError, match="400"):
        public_client(standin).submit_hash(api.StopNCIISignalType.ImagePDQ, "ab" * 32)

    headers = {
        "Ocp-Apim-Subscription-Key": standin.subscription_key,
        "x-functions-key": standin.function_keys["SubmitHashes"],
    }
    item = {"signalType": "ImagePDQ", "hashValue": "ab" * 32, "CSPFeedbacks": []}
    answer = requests.post(
        f"{standin.base_url}/SubmitHashes",
        json={"count": 1, "hashRecords": [item]},
        headers=headers,
        timeout=5,
    )
    assert answer.json() == {"count": 1}


@pytest.mark.parametrize("name", ["withdrawn", "deleted"])
def test_a_withdrawal_is_honoured(tmp_path: Path, name: str) -> None:
    """The public exchange keeps a withdrawn hash as a live signal; ours ends it."""
    collab = CollaborationConfigBase("ours", StopNCIISignalExchangeAPI.get_name(), enabled=True)
    with StopNciiStandIn([ODD[name]]) as standin:
        exchange = StopNCIISignalExchangeAPI(collab, public_client(standin))
        (delta,) = exchange.fetch_iter([PdqSignal], None)
        ours = our_records(standin, tmp_path)

    assert list(delta.updates.values()) != [None]  # the bug: None would end it
    assert [record.is_live for record in ours.values()] == [False]


def test_unknown_words_lose_no_record(tmp_path: Path) -> None:
    """The public client drops records with a new word anywhere; ours keeps every one."""
    readable = {name: record for name, record in ODD.items() if name != "feedback_without_tags"}
    with StopNciiStandIn(readable.values()) as standin:
        theirs = public_client(standin).fetch_hashes().hashRecords
        ours = our_records(standin, tmp_path)

    assert set(ours) == {record["hashValue"] for record in readable.values()}
    lost = set(ours) - {record.hashValue for record in theirs}
    for name in ("feedback_undefined", "new_signal_type", "withdrawn_with_undefined_feedback"):
        assert ODD[name]["hashValue"] in lost


def test_feedback_without_tags_does_not_end_the_fetch(tmp_path: Path) -> None:
    """``tags: null`` in one record aborts the public client's whole fetch; ours reads on."""
    with StopNciiStandIn(odd_records()) as standin:
        with pytest.raises(TypeError):
            public_client(standin).fetch_hashes()
        ours = our_records(standin, tmp_path)

    assert len(ours) == len(ODD)


def test_only_the_last_page_tells_the_checkpoint(standin: StopNciiStandIn, tmp_path: Path) -> None:
    """Saved from an early page, as the public client does, the checkpoint skips records.

    The early pages' ``nextSetTimestamp`` lies ahead of what they hold, the last page's is
    lower again (both as in the public fixture). Read from the last page's, nothing is lost.
    """
    pages = our_pages(standin, tmp_path)
    early, last = pages[0].cursor, pages[-1].cursor
    assert early is not None
    assert last is not None

    later = {record.value for page in pages[1:] for record in page.records}
    from_early = {
        record.value for page in our_pages(standin, tmp_path, early) for record in page.records
    }
    assert last < early
    assert later - from_early
    standin.put({**RECORDS[0], "lastModtimestamp": early, "hashStatus": "Withdrawn"})
    from_last = {
        record.value for page in our_pages(standin, tmp_path, last) for record in page.records
    }
    assert RECORDS[0]["hashValue"] in from_last


def test_a_record_that_changes_while_a_set_is_read_comes_again(
    standin: StopNciiStandIn, tmp_path: Path
) -> None:
    """A withdrawal between two pages is part of the same set: it moves behind the token."""
    first = public_client(standin).fetch_hashes()
    standin.put({**RECORDS[0], "hashStatus": "Withdrawn"})

    second = public_client(standin).fetch_hashes(next_page=first.nextPageToken or "")
    third = public_client(standin).fetch_hashes(next_page=second.nextPageToken or "")

    assert RECORDS[0]["hashValue"] in {record.hashValue for record in third.hashRecords}
    assert our_records(standin, tmp_path)[RECORDS[0]["hashValue"]].status == "Withdrawn"


def test_a_token_ages() -> None:
    """A token is refused when its life is over, and the log of requests keeps no token."""
    clock = [1_700_000_000]
    with StopNciiStandIn(
        RECORDS, page_size_cap=4, now=lambda: clock[0], token_life_s=60
    ) as standin:
        first = public_client(standin).fetch_hashes()
        clock[0] += 61
        with pytest.raises(requests.HTTPError, match="400"):
            public_client(standin).fetch_hashes(next_page=first.nextPageToken or "")

        assert [(seen.with_token, seen.status) for seen in standin.requests] == [
            (False, 200),
            (True, 400),
        ]
        assert (first.nextPageToken or "?") not in repr(standin.requests)

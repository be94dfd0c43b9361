"""Following the ledger by asking: what is told, in what order, and what can be acknowledged."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from delist.attestation import erasing
from delist.consumers import Followers, document
from delist.consumers.exclusion import write_exclusion_list
from delist.errors import UnknownConsumerError, UsageError
from delist.model import Basis, RecordAction, RecordDraft, RecordState, SuppressionRecord
from delist.settings import DatabaseSettings
from delist.store import Database, audit, ledger
from tests.fakes.delisting import START, Clock

URL = "https://example.org/a.jpg"
OTHER = "https://example.org/b.jpg"
SUPPRESS, REVOKE = RecordAction.SUPPRESS, RecordAction.REVOKE


def append(
    database: Database,
    action: RecordAction,
    url: str = URL,
    case_id: str = "case1",
    **values: object,
) -> SuppressionRecord:
    draft = RecordDraft(
        action=action,
        state=RecordState.PROVISIONAL,
        case_id=case_id,
        image_url=url,
        content_sha256=hashlib.sha256(b"content").hexdigest(),
        reason_code="because",
        basis=Basis(
            feed="exchange",
            signal="ab" * 16,
            distance_bits=7,
            hasher="cpp",
            variant="upright",
            policy_version="1",
        ),
        **values,  # type: ignore[arg-type]
    )
    with database.write() as connection:
        return ledger.append(connection, draft, now=START)


@pytest.fixture
def database(tmp_path: Path, sql: DatabaseSettings) -> Iterator[Database]:
    with Database(tmp_path / "data", sql) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def followers(database: Database, clock: Clock) -> Followers:
    made = Followers(database, clock_hours=48, clock=clock, sinks=frozenset({"engine"}))
    made.add("search", actor="ana")
    return made


def test_pages_follow_one_another_to_the_end(database: Database, followers: Followers) -> None:
    """Whoever asks behind the number that a page names gets every record once, in order."""
    for number in range(7):
        append(database, SUPPRESS, f"https://example.org/{number}.jpg")
    told, after = [], 0
    while (page := followers.read("search", after=after, limit=3)).instructions:
        told += [instruction.sequence for instruction in page.instructions]
        after = page.next

    assert told == list(range(1, 8))
    assert after == page.head == 7


def test_what_is_not_acknowledged_comes_again(database: Database, followers: Followers) -> None:
    """Reading moves nothing, acknowledging moves for good; lower numbers change nothing."""
    append(database, SUPPRESS)
    append(database, REVOKE)
    assert [len(followers.read("search").instructions) for _ in range(2)] == [2, 2]

    assert followers.acknowledge("search", 1).lag == 1
    assert [told.sequence for told in followers.read("search").instructions] == [2]
    followers.acknowledge("search", 2)
    assert followers.acknowledge("search", 1).position == 2


def test_nobody_acknowledges_what_was_never_given(database: Database, followers: Followers) -> None:
    """A consumer that says so is wrong about what it has: nothing moves."""
    append(database, SUPPRESS)
    append(database, SUPPRESS, OTHER)
    followers.read("search", limit=1)

    with pytest.raises(UsageError, match="up to 1"):
        followers.acknowledge("search", 2)
    with pytest.raises(UsageError, match="ends at record 2"):
        followers.read("search", after=3)
    assert followers.standings()[0].position == 0


def test_an_address_ends_with_the_last_that_hides_it(
    database: Database, followers: Followers
) -> None:
    """What the machine hides for some days does not end what a person confirmed in another case."""
    soon, later = START + timedelta(days=1), START + timedelta(days=2)
    append(database, SUPPRESS, case_id="case1")
    append(database, SUPPRESS, case_id="case2", expires_at=soon)
    append(database, REVOKE, case_id="case1")
    append(database, SUPPRESS, case_id="case3", expires_at=later)
    append(database, REVOKE, case_id="case2")
    append(database, REVOKE, case_id="case3")

    told = followers.read("search", limit=5).instructions
    assert [one.expires_at for one in told] == [None, None, soon, later, later]
    last = followers.read("search", after=5).instructions[0]
    assert (last.suppressed, last.expires_at) == (False, None)


def test_the_state_is_of_all_cases(database: Database, followers: Followers) -> None:
    """An address that two cases hide stays hidden when one of them ends."""
    first = append(database, SUPPRESS, case_id="case1")
    second = append(database, SUPPRESS, case_id="case2")
    append(database, REVOKE, case_id="case1")
    append(database, REVOKE, OTHER, case_id="case3")
    append(database, REVOKE, case_id="case2")

    told = followers.read("search").instructions
    assert [entry.suppressed for entry in told] == [True, True, True, False, False]
    assert [entry.because for entry in told] == [first.id, second.id, second.id, "", ""]
    # The same one by one: an answer does not depend on what is asked for together.
    single = [followers.read("search", after=n, limit=1).instructions[0] for n in range(5)]
    assert single == told


def test_nothing_of_why_is_told(database: Database, followers: Followers) -> None:
    """No feed, no signal, no case, no address, no digest of bytes: keys under the own key."""
    record = append(database, SUPPRESS, document_id="doc-7")
    followers.add("archive", actor="ana")
    search = document(followers.read("search").instructions[0])
    archive = document(followers.read("archive").instructions[0])

    for text in (json.dumps(search), json.dumps(archive)):
        for secret in ("example", "exchange", "ab" * 16, "case1", record.content_sha256, "upright"):
            assert secret not in text
    key = followers.key("search").secret
    assert search["url_key"] == hmac.digest(key, URL.encode(), "sha256")[:16].hex()
    content = hmac.digest(key, hashlib.sha256(b"content").digest(), "sha256")[:16].hex()
    assert search["content_key"] == content
    assert search["document_id"] == "doc-7"
    assert search["url_key"] != archive["url_key"]
    assert search["content_key"] != archive["content_key"]


def test_a_waiting_reader_hears_at_once(database: Database, followers: Followers) -> None:
    """A long poll ends with the record that comes, long before its time is over."""
    found = []

    def read() -> None:
        found.append(followers.read("search", wait_s=60))

    reader = threading.Thread(target=read)
    reader.start()
    append(database, SUPPRESS)
    reader.join(20)

    assert not reader.is_alive()
    assert [told.sequence for told in found[0].instructions] == [1]
    assert followers.read("search", after=1, wait_s=0.05).instructions == []


def test_a_record_that_waits_too_long_is_overdue(
    database: Database, followers: Followers, clock: Clock
) -> None:
    """The clock runs from the oldest record that was not acknowledged."""
    append(database, SUPPRESS)
    append(database, SUPPRESS, OTHER)
    clock.advance(hours=47)
    assert [(one.lag, one.overdue) for one in followers.standings()] == [(2, False)]
    clock.advance(hours=1)
    assert followers.standings()[0].overdue
    assert followers.standings()[0].deadline == START + timedelta(hours=48)

    followers.read("search")
    followers.acknowledge("search", 2)
    assert followers.standings()[0].deadline is None


def test_nothing_is_erased_that_somebody_has_still_to_obey(
    database: Database, followers: Followers
) -> None:
    """What a consumer hides could not be ended any more; at once, it is told what to end."""
    hidden = append(database, SUPPRESS)
    append(database, REVOKE, supersedes=hidden.id)
    act = {"actor": "ana", "reason": "asked for", "now": START}
    with pytest.raises(UsageError, match="search has obeyed the records up to 0"):
        erasing.erase(database, [1, 2], **act)  # type: ignore[arg-type]
    followers.read("search")
    followers.acknowledge("search", 1)
    erasing.erase(database, [1], **act)  # type: ignore[arg-type]
    erasing.erase(database, [2], at_once=True, **act)  # type: ignore[arg-type]

    told = followers.read("search").instructions
    assert [(one.erased, one.supersedes, one.url_key) for one in told] == [(True, hidden.id, "")]


def test_an_address_that_is_hidden_twice_is_not_erased_at_once(
    database: Database, followers: Followers
) -> None:
    """Whoever is told of the erasure alone would show the address, which another case hides."""
    append(database, SUPPRESS, case_id="case2")
    hidden = append(database, SUPPRESS, case_id="case1")
    append(database, REVOKE, case_id="case1", supersedes=hidden.id)
    act = {"actor": "ana", "reason": "asked for", "now": START}
    with pytest.raises(UsageError, match="hidden for another reason too"):
        erasing.erase(database, [2, 3], at_once=True, **act)  # type: ignore[arg-type]

    followers.read("search")
    followers.acknowledge("search", 3)
    assert erasing.erase(database, [2, 3], **act) == 2  # type: ignore[arg-type]


def test_a_position_is_kept_for_one_name_only(database: Database, followers: Followers) -> None:
    """Names are taken once, sinks have theirs, and what is removed is forgotten with its key."""
    append(database, SUPPRESS)
    key = followers.key("search")
    for name in ("search", "engine", "Search", "a/b", ""):
        with pytest.raises(UsageError):
            followers.add(name, actor="ana")
    followers.remove("search", actor="bo")
    for act in (followers.read, followers.key):
        with pytest.raises(UnknownConsumerError):
            act("search")

    assert followers.add("search", actor="ana", from_start=False) != key
    assert followers.read("search").instructions == []
    with database.read() as connection:
        acts = [(entry.actor, entry.act) for entry in audit.after(connection, 0)]
    assert acts == [
        ("ana", "consumer.added"),
        ("bo", "consumer.removed"),
        ("ana", "consumer.added"),
    ]


def test_the_exclusion_list_holds_what_is_in_effect(
    database: Database, followers: Followers, tmp_path: Path
) -> None:
    """Every address in effect, once, by its key and in order; and nothing that was lifted."""
    urls = [f"https://example.org/{number}.jpg" for number in range(300)]
    for url in urls:
        append(database, SUPPRESS, url, case_id=url[-20:])
    append(database, SUPPRESS, urls[0], case_id="another")
    append(database, REVOKE, urls[1], case_id=urls[1][-20:])
    key = followers.key("search")
    path = tmp_path / "list.parquet"
    made = write_exclusion_list(database, path, key, consumer="search", now=START)

    table = parquet.read_table(path)
    wanted = sorted(bytes.fromhex(key.of_url(url)) for url in urls if url != urls[1])
    assert table.column("url_key").to_pylist() == wanted
    assert table.schema.metadata[b"delist.sequence"] == b"302"
    assert (made.keys, made.sequence) == (299, 302)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["list.parquet"]
    assert path.stat().st_mode & 0o077 == 0


def test_an_empty_exclusion_list_is_a_list(
    database: Database, followers: Followers, tmp_path: Path
) -> None:
    """A key of zeros at its end is a key, and no key is an answer too."""
    path = tmp_path / "list.parquet"
    write_exclusion_list(database, path, followers.key("search"), consumer="search", now=START)
    assert parquet.read_table(path).num_rows == 0
    with pytest.raises(UsageError, match="cannot write"):
        write_exclusion_list(
            database, tmp_path / "no" / "list", followers.key("search"), consumer="x", now=START
        )

"""The serving filter's snapshot: right at any moment, whatever becomes of the file."""

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delist.cli import main
from delist.model import Basis, RecordAction, RecordDraft, RecordState
from delist.serving import SuppressionFilter, keep_snapshot
from delist.serving.keeping import OTHER_LEDGER, Built, snapshot_path
from delist.serving.snapshot import address_of, empty_snapshot
from delist.serving.url_kernels import is_plain, normal_form
from delist.settings import DatabaseSettings
from delist.store import Database, ledger
from delist.store.database import news_path
from indexer.errors import InvalidUrlError
from indexer.url import canonical_url
from tests.fakes.delisting import START

BASIS = Basis(
    feed="f", signal="00", distance_bits=0, hasher="cpp", variant="upright", policy_version="1"
)
SUPPRESS, REVOKE = RecordAction.SUPPRESS, RecordAction.REVOKE
Step = tuple[RecordAction, str, str]


SOAK = bool(os.environ.get("DELIST_SOAK"))


def url_of(number: int) -> str:
    return f"https://site.example/{number}.jpg"


def append(database: Database, *steps: Step) -> None:
    with database.write() as connection:
        for action, case_id, url in steps:
            draft = RecordDraft(
                action=action,
                state=RecordState.PROVISIONAL,
                case_id=case_id,
                image_url=url,
                content_sha256="00",
                reason_code="test",
                basis=BASIS,
            )
            ledger.append(connection, draft, now=START)


def erase(database: Database) -> None:
    with database.write() as connection:
        for name in ("suppression_records", "ledger_head"):
            connection.exec_driver_sql(f"delete from {name}")  # noqa: S608


def wait_until(true: Callable[[], bool], within_s: float = 10) -> float:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within_s
        time.sleep(0.01)
    return time.monotonic() - started


def has_switched(results: SuppressionFilter, sequence: int) -> bool:
    results.suppressed([])
    return results.status().snapshot_sequence == sequence


@pytest.fixture
def database(tmp_path: Path, sql: DatabaseSettings) -> Iterator[Database]:
    with Database(tmp_path / "data", sql) as opened:
        yield opened


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "data") as opened:
        yield opened


_URLS = st.builds(
    "{}://{}/{}".format,
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(["a.example", "A.example:80", "\u0646\u0645.example", "b.example:8080"]),
    st.text(alphabet="aA/.%2e?#&=\u00e9 \n", max_size=6),
)
_STEPS = st.one_of(
    st.tuples(st.sampled_from(RecordAction), st.sampled_from(["one", "two"]), _URLS),
    st.sampled_from([0, 1, 64]),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(_STEPS, max_size=14), asked=st.lists(_URLS, max_size=6))
def test_any_history_with_snapshots_at_any_point(
    database: Database, steps: list[Step | int], asked: list[str]
) -> None:
    """As a dictionary says; with any hash, be it one under which all URLs collide."""
    erase(database)
    held: set[tuple[str, str]] = set()
    results = SuppressionFilter(database)
    urls = list(asked)
    for step in steps:
        if isinstance(step, int):
            keep_snapshot(database, now=START, force=True, hash_bits=step)
            continue
        action, case_id, written = step
        url = canonical_url(written)
        append(database, (action, case_id, url))
        (held.add if action is SUPPRESS else held.discard)((case_id, url))
        urls += [written, url]
        assert results.is_suppressed(written) == any(url == name for _, name in held)

    expected = [any(canonical_url(url) == name for _, name in held) for url in urls]
    for asking in (results, SuppressionFilter(database)):
        assert asking.suppressed(urls).tolist() == expected
        assert [asking.is_suppressed(url) for url in urls] == expected
        cases = [{record.case_id for record in asking.records(url)} for url in urls]
        assert cases == [{c for c, name in held if name == canonical_url(url)} for url in urls]


@pytest.mark.parametrize("hash_bits", [0, 3, 64])
def test_no_collision_suppresses_another(sqlite: Database, hash_bits: int) -> None:
    """Hundreds of URLs of one bucket and one hash: yes to each of them, and to no other."""
    append(sqlite, *((SUPPRESS, f"{n}", url_of(n)) for n in range(0, 600, 2)))
    append(sqlite, *((SUPPRESS, "again", url_of(n)) for n in range(0, 600, 20)))

    report = keep_snapshot(sqlite, now=START, hash_bits=hash_bits)

    with SuppressionFilter(sqlite) as results:
        assert results.status().snapshot_urls == report.urls == 300
        urls = [url_of(n) for n in range(600)]
        expected = [n % 2 == 0 for n in range(600)]
        assert results.suppressed(urls).tolist() == expected
        assert [results.is_suppressed(url) for url in urls] == expected
        assert not results.is_suppressed(urls[0][:-1])
        assert not results.is_suppressed(urls[0] + "\0")
        assert len(results.records(url_of(20))) == 2


def test_text_of_any_kind_beside_a_snapshot(sqlite: Database) -> None:
    """Broken escapes, unknown scripts and line breaks; what is no URL is False in a batch."""
    arabic = "https://\u0646\u0645\u0648\u0646\u0647.example/\u062a?x=%zz"
    append(sqlite, (SUPPRESS, "one", canonical_url(arabic)), (SUPPRESS, "two", url_of(1)))
    keep_snapshot(sqlite, now=START)
    yes = [
        url_of(1)[:-2] + "\npg",
        arabic,
        canonical_url(arabic),
        f"\n{url_of(1)}\t",
        "HTTPS://Site.EXAMPLE:443/./1.jpg#x",
    ]
    no = ["", "\n", "x\ny", f"{url_of(1)}\n{url_of(1)}", url_of(1) + "%", "https://\ud800/", "1"]

    with SuppressionFilter(sqlite) as results:
        answers = results.suppressed([*yes, *no, url_of(1), url_of(2)])
        assert answers.tolist() == [True] * len(yes) + [False] * len(no) + [True, False]
        assert all(map(results.is_suppressed, yes))
        with pytest.raises(InvalidUrlError):
            results.is_suppressed("x\ny")


def test_a_case_is_lifted_behind_the_snapshot(database: Database) -> None:
    """A URL of two cases goes with the second; its records say why till then."""
    append(database, (SUPPRESS, "one", url_of(1)), (SUPPRESS, "two", url_of(1)))
    keep_snapshot(database, now=START)
    with SuppressionFilter(database) as results:
        assert [record.case_id for record in results.records(url_of(1))] == ["one", "two"]
        append(database, (REVOKE, "one", url_of(1)))
        assert results.suppressed([url_of(1)])[0]
        assert [record.case_id for record in results.records(url_of(1))] == ["two"]
        append(database, (REVOKE, "two", url_of(1)))
        assert not results.is_suppressed(url_of(1))
        assert results.records(url_of(1)) == []
        assert keep_snapshot(database, now=START, force=True).urls == 0


def test_readers_switch_to_a_new_snapshot(database: Database) -> None:
    """Whoever asks meanwhile is answered from the old one; then the tail is short again."""
    append(database, *((SUPPRESS, f"{n}", url_of(n)) for n in range(20)))
    results = SuppressionFilter(database)
    assert results.status().changed_urls == 20

    assert keep_snapshot(database, now=START).built is Built.WHOLE
    wait_until(lambda: has_switched(results, 20))
    append(database, (REVOKE, "3", url_of(3)), (SUPPRESS, "x", url_of(30)))
    assert results.suppressed([url_of(3), url_of(4), url_of(30)]).tolist() == [False, True, True]
    assert keep_snapshot(database, now=START, force=True).built is Built.MERGED
    wait_until(lambda: has_switched(results, 22))

    assert results.status().changed_urls == 0
    assert results.suppressed([url_of(3), url_of(4), url_of(30)]).tolist() == [False, True, True]


def test_when_it_is_renewed(sqlite: Database) -> None:
    """By size, by age, on demand, and where the clock was put back; never for nothing."""
    first = (SUPPRESS, "one", url_of(1))
    append(sqlite, first)
    keep = [keep_snapshot(sqlite, now=START).built, keep_snapshot(sqlite, now=START, force=True)]
    assert (keep[0], keep[1].built) == (Built.WHOLE, Built.NOTHING)  # type: ignore[union-attr]
    append(sqlite, first)
    for later, built in ((1, Built.NOTHING), (3_600, Built.MERGED), (-60, Built.NOTHING)):
        assert keep_snapshot(sqlite, now=START + timedelta(seconds=later)).built is built
    append(sqlite, first)
    assert keep_snapshot(sqlite, now=START - timedelta(days=1)).built is Built.MERGED
    append(sqlite, *[first] * 1_000)
    assert keep_snapshot(sqlite, now=START - timedelta(days=1)).built is Built.MERGED


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut a snapshot short at every kind of place, and change a byte in each of its parts."""
    places = [struct.unpack_from("<QQ", data, 136 + 24 * number) for number in range(6)]
    cuts = {0, 1, 4, 8, 24, 104, 135, 136, 200, 280, len(data) - 1, len(data) // 2}
    for cut in sorted(cuts | {at for at, _ in places} | {at + size - 1 for at, size in places}):
        yield "it is cut short", data[:cut]
    for at, name in ((20, "header"), (110, "header"), (140, "header")):
        yield f"its {name} is damaged", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    for (at, size), name in zip(
        places, ("starts", "tags", "offsets", "urls", "firsts", "records"), strict=True
    ):
        last = at + size - 1
        for place in (at, last):
            changed = bytes([data[place] ^ 128])
            yield f"its array {name} is damaged", data[:place] + changed + data[place + 1 :]
    yield "it is of another version", data[:4] + b"\2" + data[5:]
    yield "it is of another version", b"\0" * len(data)


def test_a_file_that_cannot_be_used_is_named_and_rebuilt(sqlite: Database) -> None:
    """Cut in half or changed: answers stay right from the ledger, and the next one is whole."""
    append(sqlite, *((SUPPRESS, f"{n}", url_of(n)) for n in range(0, 40, 2)))
    keep_snapshot(sqlite, now=START)
    path = snapshot_path(sqlite.data_dir)
    whole = path.read_bytes()
    expected = [n % 2 == 0 for n in range(40)]
    for reason, data in damaged(whole):
        path.unlink()
        path.write_bytes(data)
        results = SuppressionFilter(sqlite)
        assert results.suppressed([url_of(n) for n in range(40)]).tolist() == expected
        assert (results.status().refused, results.status().reason) == (1, reason)
        assert results.status().snapshot_urls == 0
    report = keep_snapshot(sqlite, now=START)
    assert (report.built, report.refused) == (Built.WHOLE, reason)
    wait_until(lambda: has_switched(results, 20))
    assert results.suppressed([url_of(n) for n in range(40)]).tolist() == expected

    path.unlink()
    assert results.is_suppressed(url_of(0))
    assert SuppressionFilter(sqlite).status().refused == 0
    assert keep_snapshot(sqlite, now=START).built is Built.WHOLE


def test_a_snapshot_of_another_ledger_is_not_used(database: Database) -> None:
    """After a backup was put back, nothing counts that the lost records said."""
    append(database, *((SUPPRESS, f"{n}", url_of(n)) for n in range(10)))
    keep_snapshot(database, now=START)
    results = SuppressionFilter(database)
    assert results.is_suppressed(url_of(5))
    erase(database)
    append(database, *((SUPPRESS, f"{n}", url_of(n)) for n in range(20, 30)))

    for asking in (results, SuppressionFilter(database)):
        urls = [url_of(5), url_of(25)]
        assert asking.suppressed(urls).tolist() == [False, True]
    assert asking.status().reason == OTHER_LEDGER
    report = keep_snapshot(database, now=START)
    assert (report.built, report.refused, report.urls) == (Built.WHOLE, OTHER_LEDGER, 10)


def test_fresh_without_the_hint(database: Database) -> None:
    """Where nothing tells of a commit, as from another machine, it is known within a second."""
    news = news_path(database.data_dir)
    news.unlink(missing_ok=True)
    news.mkdir(parents=True)
    results = SuppressionFilter(database)
    for number in range(3):
        assert not results.is_suppressed(url_of(number))
        append(database, (SUPPRESS, "one", url_of(number)))
        assert wait_until(lambda at=number: results.is_suppressed(url_of(at))) < 1  # type: ignore[misc]


def test_fresh_at_once_with_the_hint(database: Database) -> None:
    """A commit on this machine is known to the next question, also after the file was deleted."""
    results = SuppressionFilter(database)
    for number in range(30):
        assert not results.is_suppressed(url_of(number))
        append(database, (SUPPRESS, "one", url_of(number)))
        assert results.is_suppressed(url_of(number))
    news_path(database.data_dir).unlink()
    append(database, (REVOKE, "one", url_of(1)))
    assert wait_until(lambda: not results.is_suppressed(url_of(1))) < 1
    append(database, (REVOKE, "one", url_of(2)))
    assert not results.is_suppressed(url_of(2))


def test_nobody_else_may_read_it(sqlite: Database) -> None:
    """It holds URLs in plain text."""
    append(sqlite, (SUPPRESS, "one", url_of(1)))
    keep_snapshot(sqlite, now=START)
    folder = snapshot_path(sqlite.data_dir).parent

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert files["suppressions.snapshot"] == files["news"] == 0o600


_BUILD = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from delist.serving import keep_snapshot
from delist.serving.keeping import snapshot_path
from delist.store import Database
for line in sys.stdin:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print("gone", flush=True)
        continue
    with Database(Path(sys.argv[1])) as database:
        print(os.getpid(), flush=True)
        while True:
            keep_snapshot(database, now=datetime.now(UTC), force=True)
            snapshot_path(database.data_dir).unlink()
"""


def test_killed_while_building(sqlite: Database) -> None:
    """At any moment there is a whole snapshot or none, and the next build is not held up."""
    append(sqlite, *((SUPPRESS, f"{n}", url_of(n)) for n in range(0, 3_000, 2)))
    urls = [url_of(n) for n in range(3_000)]
    expected = [n % 2 == 0 for n in range(3_000)]
    with subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(sqlite.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as building:
        assert building.stdin is not None
        assert building.stdout is not None
        for number in range(6):
            building.stdin.write("build\n")
            building.stdin.flush()
            child = int(building.stdout.readline())
            time.sleep(0.1 + 0.013 * number)
            os.kill(child, signal.SIGKILL)
            assert building.stdout.readline() == "gone\n"
            with SuppressionFilter(sqlite) as results:
                assert results.suppressed(urls).tolist() == expected
                assert results.status().refused == 0
    assert keep_snapshot(sqlite, now=START, force=True).urls == 1_500
    assert sorted(p.name for p in snapshot_path(sqlite.data_dir).parent.iterdir()) == [
        *("news", "suppressions.lock", "suppressions.snapshot")
    ]


_ASK = """
import sys
from pathlib import Path
from delist.serving import SuppressionFilter
from delist.store import Database
with SuppressionFilter(Database(Path(sys.argv[1]))) as results:
    for line in sys.stdin:
        print(*results.suppressed(line.split()).astype(int), flush=True)
"""


def test_several_processes_share_it(sqlite: Database) -> None:
    """Each knows each record at once, while snapshots come and go beneath them."""
    command = [sys.executable, "-c", _ASK, str(sqlite.data_dir)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    held: set[int] = set()
    try:
        for number in range(40):
            wanted = number % 3 != 2
            append(sqlite, (SUPPRESS if wanted else REVOKE, "one", url_of(number % 7)))
            (held.add if wanted else held.discard)(number % 7)
            if number % 5 == 0:
                keep_snapshot(sqlite, now=START, force=True)
                time.sleep(0.05)
            for child in children:
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.write(" ".join(map(url_of, range(7))) + "\n")
                child.stdin.flush()
                assert child.stdout.readline().split() == [str(int(n in held)) for n in range(7)]
    finally:
        for child in children:
            child.communicate()


def test_the_command_builds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``suppressions snapshot`` says what it did; a second time there is nothing to do."""
    with Database(tmp_path) as database:
        append(database, (SUPPRESS, "one", url_of(1)))
    command = ["--data-dir", str(tmp_path), "suppressions", "snapshot", "--json"]

    assert main(command) == main(command) == 0

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["built"], first["urls"], first["sequence"]) == ("whole", 1, 1)
    assert second["built"] == "nothing"


def test_an_empty_snapshot_holds_nothing() -> None:
    """Also for the empty text."""
    assert empty_snapshot().find("") == -1


_ALPHABET = "aZ/.%24eEfF?#&=~[]@!'\"<|^\\ :0"


@settings(max_examples=20_000 if SOAK else 1_000, deadline=None)
@given(
    url=st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["http", "https", "httpss", "Http", "HTTPS"]),
        st.sampled_from(["a.b", "A", "a_-1", "", "a@b", "a%41"]),
        st.sampled_from(["", "", ":80", ":443", ":8080", ":080", ":", ":12345", ":0"]),
        st.one_of(
            st.text(alphabet=_ALPHABET, max_size=10),
            st.text(alphabet=_ALPHABET, max_size=10).map("/".__add__),
            st.sampled_from(["#data-sha256=" + "0a" * 32, "/a#data", "/%2e", "/a?", "/?#", "\x7f"]),
        ),
    )
)
def test_the_compiled_form_is_the_canonical_one(url: str) -> None:
    """What compiled code takes a URL for is what ``canonical_url`` makes of it."""
    text = np.frombuffer(url.encode() + b"\n", np.uint8)
    out = np.zeros(3 * len(url) + 2, np.uint8)
    plain = is_plain(np.uint64(address_of(text)), len(url))
    size = normal_form(np.uint64(address_of(text)), len(url), out)

    assert not plain or canonical_url(url) == url
    assert size < 0 or canonical_url(url) == out[:size].tobytes().decode()

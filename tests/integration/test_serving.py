"""The filter that result pages ask."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delist import SuppressionFilter
from delist.model import Basis, RecordAction, RecordDraft, RecordState, Verdict
from delist.settings import DatabaseSettings
from delist.store import Database, ledger
from indexer.errors import InvalidUrlError, SettingsError
from indexer.url import canonical_url
from tests.fakes.delisting import START, World, digest_of, image_near

NEAR = digest_of("near")
URL = "https://site.example/a%20b/c.jpg?x=1&y=2"


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def suppress(world: World, url: str = URL) -> None:
    world.offer(NEAR)
    world.visit(url, image_near({NEAR: 2}))
    world.take_in()


@pytest.mark.parametrize(
    "written",
    [
        URL,
        "HTTPS://SITE.example:443/a%20b/c.jpg?x=1&y=2",
        "https://site.example/z/../a%20b/./c.jpg?x=1&y=2",
        "https://site.example/%61 b/c.jpg?x=1&y=2#fragment",
        "  https://site.example/a%20b/c.jpg?x=1&y=2\n",
    ],
)
def test_urls_are_compared_in_canonical_form(world: World, written: str) -> None:
    """Case of scheme and host, default port, escapes, dot segments and fragment do not matter."""
    suppress(world)

    assert world.results.is_suppressed(written)
    assert world.results.suppressed([written]).tolist() == [True]


@pytest.mark.parametrize(
    "other",
    [
        "http://site.example/a%20b/c.jpg?x=1&y=2",
        "https://site.example/a%20b/c.jpg?y=2&x=1",
        "https://site.example/a%20b/c.jpg?x=1",
        "https://site.example/a%20b/C.jpg?x=1&y=2",
        "https://site.example:8443/a%20b/c.jpg?x=1&y=2",
        "https://www.site.example/a%20b/c.jpg?x=1&y=2",
        "https://site.example/",
    ],
)
def test_other_urls_are_not_suppressed(world: World, other: str) -> None:
    """Another scheme, port, host, path or order of parameters may be another image."""
    suppress(world)

    assert not world.results.is_suppressed(other)


def test_many_urls_at_once(world: World) -> None:
    """A batch answers in order; what is no URL cannot be suppressed, and costs no other answer."""
    suppress(world)

    answers = world.results.suppressed(["no url", URL, "", "ftp://x/", URL.upper(), "http://[::1"])

    assert answers.dtype == np.bool_
    assert answers.tolist() == [False, True, False, False, False, False]
    assert world.results.suppressed([]).shape == (0,)


@pytest.mark.parametrize("text", ["", "site.example/a.jpg", "ftp://site.example/a", "http://", "x"])
def test_one_text_that_is_no_url_is_an_error(world: World, text: str) -> None:
    """Asked about one, the filter says that it is no URL, and does not repeat it."""
    with pytest.raises(InvalidUrlError) as caught:
        world.results.is_suppressed(text)

    assert len(text) < 2 or text not in str(caught.value)


def test_records_say_why(world: World) -> None:
    """The record in effect is the newest one, and none after a revocation."""
    suppress(world)
    (first,) = world.results.records(URL)
    world.decide(world.case_of(URL), Verdict.NCII)
    (second,) = world.results.records(URL)

    assert (first.state, second.state) == (RecordState.PROVISIONAL, RecordState.CONFIRMED)
    assert second == world.ledger()[-1]
    world.withdraw(NEAR)
    world.take_in()
    assert world.results.records(URL) == []


def test_a_url_of_two_cases_is_lifted_with_the_last(world: World) -> None:
    """An alias of one suppressed image that becomes one itself: each case counts."""
    basis = Basis(
        feed="f", signal="00", distance_bits=0, hasher="cpp", variant="upright", policy_version="1"
    )

    def append(action: RecordAction, case_id: str) -> None:
        draft = RecordDraft(
            action=action,
            state=RecordState.PROVISIONAL,
            case_id=case_id,
            image_url=URL,
            content_sha256="00",
            reason_code="test",
            basis=basis,
        )
        with world.delist.database.write() as connection:
            ledger.append(connection, draft, now=START)

    append(RecordAction.SUPPRESS, "one")
    append(RecordAction.SUPPRESS, "two")
    append(RecordAction.REVOKE, "one")
    assert world.results.is_suppressed(URL)
    append(RecordAction.REVOKE, "one")
    assert world.results.is_suppressed(URL)
    append(RecordAction.REVOKE, "two")
    assert not world.results.is_suppressed(URL)


_ASK = """
import sys
from delist import SuppressionFilter
with SuppressionFilter.open(sys.argv[1]) as results:
    for line in sys.stdin:
        print(results.is_suppressed(line.strip()), flush=True)
"""


def test_another_process_knows_at_once(world: World) -> None:
    """An answer is never older than the newest commit, in whichever process it was made."""
    config = str(world.write_configuration())
    with subprocess.Popen(
        [sys.executable, "-c", _ASK, config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def ask() -> str:
            child.stdin.write(f"{URL}\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            return child.stdout.readline().strip()  # type: ignore[union-attr]

        answers = [ask()]
        suppress(world)
        for _ in range(10):
            answers.append(ask())
            world.withdraw(NEAR)
            world.take_in()
            answers.append(ask())
            world.offer(NEAR)
            world.settle()
        child.stdin.close()

    assert answers == ["False", *["True", "False"] * 10]


def test_threads_may_ask_while_records_come(world: World) -> None:
    """While a record takes another's place, nobody sees the URL unsuppressed."""
    suppress(world)
    case = world.case_of(URL)
    over, wrong = threading.Event(), []

    def ask() -> None:
        while not over.wait(0.0005):  # without a pause they leave nobody the interpreter
            if not world.results.is_suppressed(URL) or not world.results.suppressed([URL])[0]:
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for verdict in [Verdict.NCII, Verdict.UNSURE] * 4:
        world.decide(case, verdict)
    over.set()
    for thread in threads:
        thread.join(30)

    assert not wrong


def test_the_filter_opens_what_a_configuration_names(tmp_path: Path) -> None:
    """By file, by data directory; a file that is missing is an error, not an empty filter."""
    config = tmp_path / "delist.toml"
    config.write_text('data_dir = "elsewhere"\n')
    with World(tmp_path / "elsewhere") as world:
        suppress(world)

    with SuppressionFilter.open(config) as results:
        assert results.is_suppressed(URL)
    with SuppressionFilter.open(str(config), data_dir=str(tmp_path / "other")) as results:
        assert not results.is_suppressed(URL)
    with pytest.raises(SettingsError):
        SuppressionFilter.open(tmp_path / "missing.toml")


_HOSTS = st.sampled_from(["a.example", "b.example", "A.example", "a.example:80", "xn--a.example"])
_PATHS = st.text(alphabet="aA/.%2e?#&=é \u202e", max_size=8)
_URLS = st.builds(
    lambda scheme, host, path: f"{scheme}://{host}/{path}",
    st.sampled_from(["http", "https", "HTTP"]),
    _HOSTS,
    _PATHS,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with Database(tmp_path_factory.mktemp("filter")) as database:
        yield database


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(_URLS, st.sampled_from(["one", "two"]), st.sampled_from(RecordAction)),
        max_size=12,
    ),
    asked=st.lists(_URLS, max_size=8),
)
def test_never_a_wrong_answer(
    empty: Database, steps: list[tuple[str, str, RecordAction]], asked: list[str]
) -> None:
    """For any records and any URLs, yes exactly where a record in effect names that very URL."""
    with empty.write() as connection:
        for name in ("suppression_records", "ledger_head"):
            connection.exec_driver_sql(f"delete from {name}")  # noqa: S608
    basis = Basis(
        feed="f", signal="00", distance_bits=0, hasher="cpp", variant="upright", policy_version="1"
    )
    held: set[tuple[str, str]] = set()
    results = SuppressionFilter(empty)
    for number, (url, case_id, action) in enumerate(steps):
        place = (canonical_url(url), case_id)
        with empty.write() as connection:
            draft = RecordDraft(
                action=action,
                state=RecordState.PROVISIONAL,
                case_id=case_id,
                image_url=place[0],
                content_sha256="00",
                reason_code="test",
                basis=basis,
            )
            ledger.append(connection, draft, now=START)
        (held.add if action is RecordAction.SUPPRESS else held.discard)(place)
        if number % 3 == 0:
            results.suppressed([])

    urls = [*asked, *(url for url, _, _ in steps)]
    expected = [any(canonical_url(url) == place for place, _ in held) for url in urls]

    assert results.suppressed(urls).tolist() == expected
    assert SuppressionFilter(empty).suppressed(urls).tolist() == expected
    assert [results.is_suppressed(url) for url in urls] == expected

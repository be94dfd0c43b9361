"""The queue from crawlers to the indexer, on a real NATS server and a real store."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from indexer import Indexer
from indexer.errors import QueueError, StoreError, StoreFullError
from indexer.hashing import hash_bytes
from indexer.model import ImageVisit, PageMark, VisitResult
from indexer.queue.messages import (
    SCHEMA,
    MessageError,
    PageRead,
    decode,
    encode_page,
    encode_visit,
)
from indexer.queue.publishing import Publisher
from indexer.queue.taking import TakenReport, Taker
from indexer.settings import HashingSettings, QueueSettings
from indexer.url import url_key
from tests.contract.sinks.nats import Receiver
from tests.sites import draw_image

PAGE, IMAGE = "http://site.example/page", "http://site.example/a.jpg"
SEEN_AT = datetime(2026, 11, 1, tzinfo=UTC)
VISIT = ImageVisit(
    image_url=IMAGE,
    page_urls=(PAGE,),
    aliases=("http://site.example/b.jpg",),
    etag='"1"',
    hashed=hash_bytes(draw_image(1), HashingSettings()),
    page_marks=frozenset({PageMark.NEWS}),
    seen_at=SEEN_AT,
)
_names = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings(server: Receiver, tmp_path: Path) -> QueueSettings:
    key = tmp_path / "key"
    key.write_text("5a" * 32)
    name = f"Q{next(_names)}"
    settings = QueueSettings(
        servers=(server.url,), stream=name, subject=name, key_file=key, ack_wait_s=1, tries=2,
        max_bytes=1024 * 1024,
    )  # fmt: skip
    asyncio.run(_create_streams(settings))
    return settings


async def _create_streams(settings: QueueSettings) -> None:
    await (await Taker.open(settings)).close()


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with Indexer.open(data_dir=tmp_path / "data") as indexer:
        yield indexer


def take(
    settings: QueueSettings,
    indexer: Indexer,
    *,
    record: Callable[[Sequence[ImageVisit]], Sequence[VisitResult]] | None = None,
    parked: bool = False,
    idle_s: float = 0.1,
) -> TakenReport:
    """Take until nothing is left."""

    async def run() -> TakenReport:
        taker = await Taker.open(settings, parked=parked)
        try:
            return await taker.run(
                record or indexer.record_visits,
                indexer.record_page_keys,
                stop=asyncio.Event(),
                idle_s=idle_s,
            )
        finally:
            await taker.close()

    return asyncio.run(run())


def publish(settings: QueueSettings, *messages: bytes, crawl: str = "one") -> None:
    async def work(publisher: Publisher) -> None:
        for message in messages:
            await publisher.publish(message, crawl=crawl, identity=message)

    with_publisher(settings, work)


def with_publisher(settings: QueueSettings, work: Callable[[Publisher], Awaitable[None]]) -> None:
    async def run() -> None:
        publisher = await Publisher.open(settings)
        try:
            await work(publisher)
        finally:
            await publisher.close()

    asyncio.run(run())


def test_a_message_says_all_that_a_visit_found() -> None:
    """What arrives is what was hashed, to the last bit."""
    assert decode(encode_visit(VISIT)) == VISIT
    page = PageRead(page_url=PAGE, image_keys=(url_key(IMAGE),))
    assert decode(encode_page(page)) == page


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (bytes((SCHEMA + 1,)) + encode_visit(VISIT)[1:], "other_schema"),
        (encode_visit(VISIT)[:-1], "unreadable"),
        (encode_visit(replace(VISIT, image_url="gopher://x")), "unreadable"),
        (encode_visit(VISIT).replace(b"http", b"ht\xfftp"[:4]), "unreadable"),
        (bytes((SCHEMA,)) + b"x", "unreadable"),
        (b"", "unreadable"),
    ],
)
def test_a_message_that_cannot_be_taken_in_is_named(message: bytes, code: str) -> None:
    """Another schema and broken bytes have names; the error repeats nothing."""
    with pytest.raises(MessageError) as raised:
        decode(message)

    assert (raised.value.code, str(raised.value)) == (code, code)


def test_what_is_published_twice_is_recorded_once(
    settings: QueueSettings, indexer: Indexer
) -> None:
    """The message's name is of crawl and content; another crawl's visit is another message."""
    publish(settings, encode_visit(VISIT), encode_visit(VISIT))
    publish(settings, encode_visit(VISIT))
    publish(settings, encode_visit(VISIT), crawl="two")

    report = take(settings, indexer)

    assert (report.messages, report.hashed, report.unchanged) == (2, 1, 1)
    record = indexer.find_image(IMAGE)
    assert record is not None
    assert (record.sha256, record.seen_at) == (VISIT.hashed and VISIT.hashed.sha256, SEEN_AT)


def test_what_a_page_no_longer_names_ends(settings: QueueSettings, indexer: Indexer) -> None:
    """A page that was read anew says nothing more of images that it does not name."""
    named = PageRead(page_url=PAGE, image_keys=(url_key("http://site.example/b.jpg"),))
    publish(settings, encode_visit(VISIT), encode_page(named))
    take(settings, indexer)
    assert marks(indexer) == {PageMark.NEWS}

    publish(settings, encode_page(PageRead(page_url=PAGE, image_keys=())))
    assert take(settings, indexer).pages == 1

    assert marks(indexer) == set()


def marks(indexer: Indexer) -> set[PageMark]:
    with indexer.store.read() as txn:
        by_page = indexer.store.images.page_marks.of_image(txn, url_key(IMAGE), most=10)
    return set().union(*by_page.values())


def test_nothing_is_acknowledged_before_it_is_on_disk(
    settings: QueueSettings, indexer: Indexer
) -> None:
    """A store that fails ends the taking; the messages are given again."""
    publish(settings, encode_visit(VISIT))

    def fail(_visits: Sequence[ImageVisit]) -> Sequence[VisitResult]:
        raise StoreFullError("full")

    with pytest.raises(StoreError):
        take(settings, indexer, record=fail)
    report = take(settings, indexer)

    assert (report.hashed, report.again) == (1, 1)


def test_poison_is_parked_by_name_and_the_rest_goes_on(
    settings: QueueSettings, indexer: Indexer, tmp_path: Path
) -> None:
    """Messages of another schema or key, broken ones, and one that nothing records."""
    other_key = tmp_path / "other"
    other_key.write_text("77" * 32)
    poison = replace(VISIT, image_url="http://site.example/poison.jpg")
    publish(replace(settings, key_file=other_key), encode_visit(VISIT))
    newer = bytes((SCHEMA + 1,)) + b"unknown"
    publish(settings, newer, encode_visit(poison), b"\x01vbroken", encode_visit(VISIT))

    def record(visits: Sequence[ImageVisit]) -> Sequence[VisitResult]:
        if any(visit.image_url == poison.image_url for visit in visits):
            raise ZeroDivisionError
        return indexer.record_visits(visits)

    report = take(settings, indexer, record=record)

    assert (report.messages, report.hashed) == (1, 1)
    assert report.parked == {
        "not_sealed": 1, "other_schema": 1, "unreadable": 1, "not_recorded": 1,
    }  # fmt: skip
    again = take(settings, indexer, parked=True, idle_s=1.5)
    assert again.hashed == 1
    assert again.parked == {"not_sealed": 1, "other_schema": 1, "unreadable": 1}
    assert again.waiting == 3, "what cannot be read stays there, and is not waited for"


def test_a_full_queue_makes_crawlers_wait(settings: QueueSettings, indexer: Indexer) -> None:
    """Publishing waits for room, however long, and goes on once the indexer has made some."""
    keys = tuple(bytes((0,)) * 14 + n.to_bytes(2, "big") for n in range(5000))
    pages = [encode_page(PageRead(page_url=f"{PAGE}{n}", image_keys=keys)) for n in range(15)]

    async def work(publisher: Publisher) -> None:
        async def fill() -> None:
            for page in pages:
                await publisher.publish(page, crawl="one", identity=page)

        filler = asyncio.ensure_future(fill())
        while not publisher.waited_s:  # noqa: ASYNC110 - it is a sum, and nobody tells
            await asyncio.sleep(0.01)
        assert not filler.done()
        taker = await Taker.open(settings)
        stop = asyncio.Event()
        taking = asyncio.ensure_future(
            taker.run(indexer.record_visits, indexer.record_page_keys, stop=stop)
        )
        await filler
        stop.set()
        assert not (await taking).parked
        await taker.close()

    with_publisher(settings, work)


def test_a_server_that_is_away_ends_a_crawl_by_name(
    settings: QueueSettings, indexer: Indexer
) -> None:
    """Without a stream, nothing can be handed over; the error says what to do."""

    async def work(publisher: Publisher) -> None:
        with pytest.raises(QueueError, match="index-from"):
            await publisher.publish(encode_visit(VISIT), crawl="one", identity=b"")

    away = replace(settings, stream="NONE", subject="none", patience_s=0)
    with_publisher(away, work)
    with pytest.raises(QueueError, match="does not answer"):
        take(replace(settings, servers=("nats://127.0.0.1:9",), timeout_s=1.0), indexer)


def test_tls_is_not_left_out(settings: QueueSettings, server: Receiver) -> None:
    """A server that does not ask for TLS is told nothing where tls:// stands."""
    encrypted = replace(settings, servers=(server.url.replace("nats:", "tls:"),), timeout_s=1.0)

    async def work(_: Publisher) -> None:
        pytest.fail("connected")

    with pytest.raises(QueueError) as raised:
        with_publisher(encrypted, work)
    assert raised.value.code == "tls_failed"


def test_what_lies_in_the_queue_tells_nothing(settings: QueueSettings, server: Receiver) -> None:
    """Messages are sealed: no address and no digest on the server's disk or wire."""
    publish(settings, encode_visit(VISIT))
    server.stream = settings.stream
    assert VISIT.hashed is not None
    digest = VISIT.hashed.rows[0][1][:32]

    [message] = server.messages()

    assert message.data is not None
    assert b"site.example" not in message.data
    assert digest not in message.data
    assert "site.example" not in str(message.headers)

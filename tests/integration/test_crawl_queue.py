"""What an installation knows of the queue that crawlers fill: a real NATS server, real stores."""

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nats.js import api

from delist.monitoring import Limits, conditions
from delist.monitoring.exposition import StandingCollector
from delist.monitoring.figures import CrawlQueueFigures
from delist.ops.doctor import Check, examine
from delist.running.work import CRAWL_QUEUE, Work
from indexer.queue.messages import PageRead, encode_page
from indexer.queue.publishing import Publisher
from indexer.queue.taking import Taker
from indexer.settings import QueueSettings
from tests.contract.sinks.harness import Failure
from tests.contract.sinks.nats import Receiver
from tests.fakes.delisting import World

METRIC = "delist_crawl_queue_"
PAGE = "http://site.example/page"
_names = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def world(server: Receiver, tmp_path: Path) -> Iterator[World]:
    """An installation with a queue that `index-from` has not asked for yet."""
    key = tmp_path / "key"
    key.write_text("5a" * 32)
    name = f"C{next(_names)}"
    queue = QueueSettings(
        servers=(server.url,), stream=name, subject=name, key_file=key, timeout_s=1.0
    )
    with World(tmp_path / "data") as world:
        world.delist.settings = replace(world.delist.settings, queue=queue)
        yield world


def take(world: World) -> None:
    """Do what `index-from` does, until nothing is left."""

    async def run() -> None:
        taker = await Taker.open(world.delist.settings.queue)
        indexer = world.delist.indexer
        await taker.run(
            indexer.record_visits, indexer.record_page_keys, stop=asyncio.Event(), idle_s=0.1
        )
        await taker.close()

    asyncio.run(run())


def publish(world: World, *messages: bytes) -> None:
    async def run() -> None:
        publisher = await Publisher.open(world.delist.settings.queue)
        for message in messages:
            await publisher.publish(message, crawl="one", identity=message)
        await publisher.close()

    asyncio.run(run())


def ask(world: World) -> CrawlQueueFigures:
    """Run the job of `delist run`, and read what another process does."""
    assert Work(world.delist).jobs()[CRAWL_QUEUE].call(lambda: False)
    return known(world)


def known(world: World) -> CrawlQueueFigures:
    found = world.delist.monitor().read().cases.crawl_queue
    assert found is not None
    return found


def standing(world: World, limits: Limits | None = None) -> dict[str, str]:
    """Conditions of the queue: codes and details."""
    found = conditions(world.delist.monitor().read(), limits or world.delist.limits)
    return {c.code: c.detail for c in found if c.code.startswith("crawl_queue")}


def metrics(world: World) -> dict[str, float]:
    collector = StandingCollector(world.delist.monitor(), world.delist.limits)
    return {
        sample.name.removeprefix(METRIC): sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.name.startswith(METRIC)
    }


def checks(world: World) -> list[Check]:
    return [check for check in examine(world.delist) if "queue" in check.name.replace("_", " ")]


def page(number: int) -> bytes:
    return encode_page(PageRead(page_url=f"{PAGE}{number}", image_keys=()))


def test_what_waits_is_seen_with_its_age_until_it_is_taken_in(world: World) -> None:
    """The age is of the oldest message; an `index-from` that runs ends it."""
    take(world)
    before = time.time()
    publish(world, page(1))
    between = time.time()
    publish(world, page(2))
    asked = time.time()
    queue = ask(world)
    impatient = Limits(crawl_queue_s=0.0)
    late, patient = standing(world, impatient), standing(world)
    shown = metrics(world)
    (waiting,) = checks(world)
    take(world)
    taken = ask(world)

    assert (queue.waiting, queue.parked, queue.trouble) == (2, 0, "")
    assert asked - between <= queue.oldest_s <= time.time() - before
    assert late.pop("crawl_queue_behind").startswith(
        "2 messages of crawlers not taken in, the oldest for "
    )
    assert late == {}
    assert patient == {}
    assert (shown["waiting_messages"], shown["parked_messages"]) == (2, 0)
    assert shown["oldest_seconds"] == queue.oldest_s
    assert ": 2 messages not taken in, the oldest for " in waiting.detail
    assert (taken.waiting, taken.oldest_s, standing(world, impatient)) == (0, 0.0, {})


def test_the_limit_is_a_setting(world: World) -> None:
    """`queue.late_s`, to the second; what was read stands as it was when it was read."""
    take(world)
    publish(world, page(1))
    queue = ask(world)
    seconds = queue.oldest_s
    settings = world.delist.settings
    world.delist.settings = replace(settings, queue=replace(settings.queue, late_s=1234))

    assert world.delist.limits.crawl_queue_s == 1234
    assert standing(world, Limits(crawl_queue_s=seconds)) == {}
    assert standing(world, Limits(crawl_queue_s=seconds - 1e-6)).keys() == {"crawl_queue_behind"}


def test_what_was_parked_is_for_a_person(world: World) -> None:
    """It is counted for as long as it lies there, and waits no more."""
    take(world)
    publish(world, b"\x01vbroken", page(1))
    take(world)
    queue = ask(world)

    assert (queue.waiting, queue.parked) == (0, 1)
    assert standing(world) == {"crawl_queue_parked": "1 message of crawlers cannot be taken in"}
    assert metrics(world)["parked_messages"] == 1


@pytest.mark.parametrize("failure", [Failure.AWAY, Failure.HANGS])
def test_a_server_that_does_not_answer_is_named(
    world: World, server: Receiver, failure: Failure
) -> None:
    """The figures before it stay, with their age; an answer ends it."""
    take(world)
    publish(world, page(1))
    before = ask(world)
    world.clock.advance(minutes=4)
    server.fail(failure)
    try:
        silent, said = ask(world), standing(world)
    finally:
        server.fail(None)
    age_s = metrics(world)["answer_age_seconds"]
    back = ask(world)

    assert (silent.waiting, silent.oldest_s) == (before.waiting, before.oldest_s)
    (detail,) = [said.pop("crawl_queue_unanswered")]
    assert detail.startswith("the queue's server does not answer")
    assert detail.endswith("; last answered 4 minutes ago")
    assert said == {}
    assert age_s > 240
    assert (back.trouble, standing(world)) == ("", {})


def test_a_queue_that_nobody_asks_is_a_condition(world: World) -> None:
    """Before the first time and when it was long ago: old figures look like good ones."""
    never = standing(world)
    unknown = metrics(world)
    take(world)
    ask(world)
    well = standing(world)
    world.clock.advance(minutes=6)

    text = "nobody has asked what waits in the crawlers' queue"
    assert never == {"crawl_queue_unwatched": f"{text} yet"}
    assert unknown == {}
    assert well == {}
    assert standing(world) == {"crawl_queue_unwatched": f"{text} for 6 minutes"}


def test_streams_of_which_nothing_follows_are_named(world: World, server: Receiver) -> None:
    """One that is not there; one whose messages stay when they were taken in."""
    ask(world)
    missing = standing(world)
    name = world.delist.settings.queue.stream
    config = api.StreamConfig(name=name, subjects=[name], retention=api.RetentionPolicy.LIMITS)
    server.ask(lambda js: js.add_stream(config))
    ask(world)

    assert missing == {
        "crawl_queue_unanswered": "no stream takes the queue's messages: start"
        " `delist index-from`; never answered"
    }
    assert "retention workqueue" in standing(world)["crawl_queue_unanswered"]


def test_servers_without_the_extra_are_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `doctor` wherever it runs, and by all of them where `delist run` lacks it."""
    monkeypatch.setitem(sys.modules, "nats", None)  # as where it is not installed
    text = 'queue.servers needs the extra "cluster": delist[cluster]'
    (alone, _) = checks(world)
    ask(world)

    assert (alone.name, alone.health, alone.detail) == ("crawl queue", "failed", text)
    assert standing(world) == {"crawl_queue_unanswered": f"{text}; never answered"}


def test_without_servers_there_is_neither_job_nor_condition(tmp_path: Path) -> None:
    """One machine that crawls for itself is told nothing of a queue."""
    with World(tmp_path / "data") as world:
        assert CRAWL_QUEUE not in Work(world.delist).jobs()
        assert (standing(world), metrics(world), checks(world)) == ({}, {}, [])

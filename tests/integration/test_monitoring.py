"""Figures and what is made of them: metrics, conditions, readiness, in one's own words."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from delist.errors import UsageError
from delist.model import Verdict
from delist.monitoring import CODES, Limits, Monitor, conditions
from delist.monitoring.exposition import StandingCollector
from delist.ops.exporting import export
from delist.settings import MetricsSettings
from delist.store import consumers, jobs
from delist.store.jobs import JobState
from indexer.settings import FeedSettings
from tests.fakes.delisting import FEED, World, digest_of, image_near

SIGNAL = digest_of("signal")
URL = "https://site.example/a.jpg"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        delist = world.delist
        feeds = (FeedSettings(name=FEED, type="file", path=tmp_path / "feed"),)
        indexer = replace(delist.settings.indexer, feeds=feeds)
        delist.settings = replace(delist.settings, indexer=indexer)
        yield world


def samples(world: World, limits: Limits = Limits()) -> dict[str, float]:  # noqa: B008 - frozen
    """Scrape with a monitor that has read nothing yet."""
    registry = CollectorRegistry()
    registry.register(StandingCollector(fresh(world), limits))
    text = generate_latest(registry).decode()
    assert URL not in text
    assert SIGNAL.hex() not in text
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def fresh(world: World) -> Monitor:
    return world.delist.monitor()


def codes(world: World, limits: Limits = Limits()) -> set[str]:  # noqa: B008 - frozen
    return {found.code for found in conditions(fresh(world).read(), limits)}


def test_the_time_from_feed_to_suppression_survives_a_restart(world: World) -> None:
    """It is made of stored times; a later record about the same image does not count again."""
    world.visit(URL, image_near({SIGNAL: 5}))
    world.offer(SIGNAL)
    world.clock.advance(seconds=40)
    world.settle()
    before = samples(world)
    world.decide(world.case_of(URL), Verdict.NCII)
    after = samples(world)

    assert before["delist_feed_to_suppression_seconds_gcount"] == 1
    assert before["delist_feed_to_suppression_seconds_bucket 30.0"] == 0
    assert before["delist_feed_to_suppression_seconds_bucket 60.0"] == 1
    assert 40 <= before["delist_feed_to_suppression_quantile_seconds 0.99"] < 60
    name = "delist_feed_to_suppression_seconds"
    assert {k: v for k, v in after.items() if k.startswith(name)} == {
        k: v for k, v in before.items() if k.startswith(name)
    }


def test_a_window_follows_the_ledger_and_forgets(world: World) -> None:
    """What is new is taken in at the next look; after a week an image counts no more."""
    monitor = fresh(world)
    world.offer(SIGNAL)
    counts = [monitor.waits().count]
    world.visit(URL, image_near({SIGNAL: 5}))
    world.take_in()
    counts += [monitor.waits().count, monitor.waits().count]
    world.clock.advance(days=8)
    counts += [monitor.waits().count, fresh(world).waits().count]

    assert counts == [0, 1, 1, 0, 0]


def test_an_installation_that_is_well_has_no_condition(world: World) -> None:
    """And one that was never synced, or long ago, has one that names the feed."""
    never = codes(world)
    world.offer(SIGNAL)
    well = codes(world)
    world.clock.advance(hours=2)
    (stale,) = conditions(fresh(world).read(), Limits())

    assert never == {"feed_never_synced"}
    assert well == set()
    assert (stale.code, stale.subject, stale.detail) == (
        "feed_stale",
        FEED,
        "last synced 2 hours ago",
    )


def test_whoever_waits_too_long_is_a_condition(world: World) -> None:
    """A case, a consumer and its trouble, a job that fails, and a missing leader."""
    world.offer(SIGNAL)
    world.visit(URL, image_near({SIGNAL: 25}))
    world.visit(URL + "?suppressed", image_near({SIGNAL: 5}))
    world.take_in()
    now = world.clock()
    with world.delist.database.write() as connection:
        consumers.add(connection, "engine", kind="webhook", position=0, now=now)
        consumers.note_trouble(connection, "engine", code="unreachable", until=now)
        jobs.note(connection, JobState(id="feed-cycle", failures=3, outcome="failed"))
        jobs.note(connection, JobState(id="backup", done_at=now))
    early = codes(world)
    world.clock.advance(hours=50)
    late = codes(world)

    assert early == {"sink_failing", "job_failing", "no_leader"}
    assert late - early == {"case_overdue", "consumer_overdue", "feed_stale", "backup_stale"}
    counted = samples(world)
    assert {code for code in CODES if counted[f"delist_conditions {code}"]} == late
    assert counted["delist_consumer_lag_records engine"] == 1
    assert counted["delist_consumer_lag_seconds engine"] > 49 * 3600
    assert counted["delist_job_failed_runs feed-cycle"] == 3
    assert counted["delist_leader"] == 0


def test_what_fills_up_is_a_condition(world: World) -> None:
    """Map, disk, intake: each by its limit."""
    world.offer(SIGNAL)
    world.visit(URL, image_near({SIGNAL: 5}))
    full = Limits(map_share=0.0, free_bytes=1 << 60, intake_events=0)

    assert codes(world) == set()
    assert codes(world, full) == {"store_nearly_full", "disk_nearly_full", "intake_behind"}


def test_a_ledger_that_was_rolled_back_is_a_condition(world: World) -> None:
    """The published checkpoint is of records that the case store does not have."""
    world.offer(SIGNAL)
    world.visit(URL, image_near({SIGNAL: 5}))
    world.take_in()
    world.delist.ledger_log.checkpoint()
    well = codes(world)
    with world.delist.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM checkpoints")

    assert well == set()
    assert codes(world) == {"ledger_broken"}


def test_a_store_that_was_put_back_is_a_condition(world: World) -> None:
    """Until the feed was read whole; what people report to us directly waits for a person."""
    world.offer(SIGNAL)
    store = world.delist.indexer.store
    store.mark_restored(taken_at=world.clock(), kept="direct")
    with store.write() as txn:
        direct = store.feed_cursors.load(txn, "direct")
        store.feed_cursors.put(txn, "direct", replace(direct, restored_from=world.clock()))
    put_back = {
        (found.code, found.subject): found.mend
        for found in conditions(fresh(world).read(), Limits())
    }

    assert put_back == {
        ("feed_restored", FEED): f"delist feed sync {FEED} --full",
        ("feed_restored", "direct"): "delist accept-restored direct",
    }


def test_run_has_metrics_on_this_machine_only(world: World) -> None:
    """A port of loopback, none unless configured; one that is taken is said to be."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    delist = world.delist
    silent = export(delist)
    delist.settings = replace(delist.settings, metrics=MetricsSettings(port=port))
    assert (silent, export(delist)) == (0, port)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    with pytest.raises(UsageError, match="cannot be used"):
        export(delist)

    assert "delist_leader 0.0" in text
    assert "process_open_fds" in text


def test_a_process_that_stands_by_takes_the_port_over(world: World) -> None:
    """On one machine the one that leads has it: the other does not end for that."""
    with socket.socket() as leading:
        leading.bind(("127.0.0.1", 0))
        leading.listen()
        port = leading.getsockname()[1]
        world.delist.settings = replace(world.delist.settings, metrics=MetricsSettings(port=port))
        with pytest.raises(UsageError, match="cannot be used"):
            export(world.delist)

        assert export(world.delist, stands_by=True) == port

    text, deadline = "", time.monotonic() + 20
    while not text and time.monotonic() < deadline:
        with suppress(URLError), urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        time.sleep(0.05)
    assert "delist_leader 0.0" in text


def test_a_store_that_fails_is_a_metric(world: World) -> None:
    """Prometheus hears that it is down, not an error of ours."""
    world.offer(SIGNAL)
    (world.delist.settings.indexer.data_dir / "delist.sqlite3").write_bytes(b"damaged" * 1000)

    assert samples(world) == {"delist_stores_up": 0.0}

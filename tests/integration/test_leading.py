"""One process does the periodic work: locks, leases, and jobs under way."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import select
from structlog.testing import capture_logs

from delist.build import Delist
from delist.cli import main
from delist.errors import LeaseLostError
from delist.running.jobs import Job, Kind, Stopped
from delist.running.leader import Leader, leads_somewhere
from delist.running.runs import Runs
from delist.running.service import End, Service
from delist.running.watching import Verdict, Watch
from delist.running.work import Work
from delist.settings import DatabaseSettings, JobSettings
from delist.store import Database, jobs, leases
from delist.store.tables import job_leases
from tests.fakes.delisting import START, Clock, World
from tests.fakes.postgres import PostgresServer

QUICK = JobSettings(lease_s=1, stop_s=0)
WITHIN_S = 20


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def shared(postgres: PostgresServer) -> Iterator[DatabaseSettings]:
    name = postgres.create_store()
    yield DatabaseSettings(url=postgres.url(name))
    postgres.drop(name)


def test_one_leads_and_the_next_follows_at_once(tmp_path: Path, sql: DatabaseSettings) -> None:
    """In one place the file lock decides; it is free as soon as it is let go of."""
    with Database(tmp_path, sql) as first, Database(tmp_path, sql) as second:
        leading, waiting = Leader(first, QUICK), Leader(second, QUICK)
        assert leading.take()
        assert not waiting.take()
        assert leads_somewhere(second)

        leading.release()
        assert not leads_somewhere(second)
        assert waiting.take()
        assert waiting.is_sure
        waiting.release()


def test_on_two_machines_the_lease_decides(tmp_path: Path, shared: DatabaseSettings) -> None:
    """A living leader keeps it; one that cannot renew is not sure, and then may not write."""
    with (
        Database(tmp_path / "a", shared) as first,
        Database(tmp_path / "b", shared) as second,
    ):
        leading, waiting = Leader(first, QUICK), Leader(second, QUICK)
        assert leading.take()
        time.sleep(1.5 * QUICK.lease_s)
        assert leading.is_sure
        assert not waiting.take()

        leading._released.set()  # its thread is gone, as if the machine stood still
        wait_until(lambda: not leading.is_sure)
        assert not waiting.take(), "the time to stop is not over"
        wait_until(waiting.take)
        with pytest.raises(LeaseLostError), first.write() as connection:
            jobs.ask(connection, "scan", now=START)
        with second.write() as connection:
            jobs.ask(connection, "scan", now=START)
        leading.release()
        assert waiting.is_sure
        waiting.release()


def test_nobody_begins_while_the_last_one_writes(tmp_path: Path, shared: DatabaseSettings) -> None:
    """A write under an old lease keeps it from changing hands until it has ended."""
    with (
        Database(tmp_path / "a", shared) as first,
        Database(tmp_path / "b", shared) as second,
    ):
        leading, waiting = Leader(first, QUICK), Leader(second, QUICK)
        assert leading.take()
        with first.write():
            leading._released.set()
            time.sleep(1.2 * QUICK.lease_s)
            taken: list[bool] = []
            trying = threading.Thread(target=lambda: taken.append(waiting.take()), daemon=True)
            trying.start()
            trying.join(0.3)
            assert taken == [False]
        wait_until(lambda: waiting.is_sure or waiting.take())
        waiting.release()
        leading.release()


class Rows(Work):
    """A table of jobs that a test writes."""

    def __init__(self, world: World, *rows: Job) -> None:
        super().__init__(world.delist)
        self._rows = rows

    def jobs(self) -> dict[str, Job]:
        return {row.id: row for row in self._rows}


def row(name: str, kind: Kind, call: Callable[[Stopped], bool], *, interval_s: float = 0.2) -> Job:
    return Job(id=name, kind=kind, interval_s=interval_s, call=call, limit_s=60, silence_s=60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        yield world


def test_a_long_job_holds_up_nothing_of_another_kind(world: World) -> None:
    """Nor does it overlap with itself, and it stops when it is asked to."""
    counts = {"scan": 0, "sink": 0}
    enough = threading.Event()

    def scan(stopped: Stopped) -> bool:
        counts["scan"] += 1
        while not stopped():
            time.sleep(0.01)
        return False

    def sink(_stopped: Stopped) -> bool:
        counts["sink"] += 1
        if counts["sink"] > 3:
            enough.set()
        return True

    work = Rows(world, row("scan", Kind.SCANS, scan), row("sink", Kind.SINKS, sink))
    service = Service(world.delist, work=work)
    ended: list[End] = []
    running = threading.Thread(target=lambda: ended.append(service.run()))
    running.start()
    assert enough.wait(WITHIN_S)
    service.stop()
    running.join()

    assert counts["scan"] == 1
    assert ended == [End.IN_TIME]
    with world.delist.database.read() as connection:
        assert jobs.every(connection)["scan"].outcome == "stopped"
    assert not leads_somewhere(world.delist.database)


def test_a_job_that_does_not_stop_when_its_time_is_over_is_seen(world: World) -> None:
    """One that stops is not: it goes on at its next run. Both are on record."""
    release = threading.Event()

    def slow(stopped: Stopped) -> bool:
        while not stopped():
            time.sleep(0.01)
        return False

    def deaf(_stopped: Stopped) -> bool:
        return release.wait(WITHIN_S)

    settings = replace(world.delist.settings, jobs=replace(QUICK, stop_s=1))
    delist = Delist(settings, clock=world.clock)
    delist.__dict__ |= {"indexer": world.delist.indexer, "database": world.delist.database}
    jobs_of = Rows(
        world,
        replace(row("slow", Kind.SCANS, slow), limit_s=0.2),
        replace(row("deaf", Kind.FEEDS, deaf), silence_s=0.4),
    )
    assert Service(delist, work=jobs_of).run() is End.BROKEN
    with world.delist.database.read() as connection:
        found = {state.id: state.outcome for state in jobs.every(connection).values()}
    release.set()

    assert found == {"slow": "stopped", "deaf": "hung"}
    assert not leads_somewhere(world.delist.database)


def test_a_lost_lease_ends_the_work_until_it_is_had_again(
    tmp_path: Path, shared: DatabaseSettings
) -> None:
    """Jobs are asked to stop, nothing is written; the process stands by and can lead again."""
    with World(tmp_path / "data", database=shared) as world, Database(tmp_path, shared) as other:
        began, over = threading.Semaphore(0), threading.Semaphore(0)

        def scan(stopped: Stopped) -> bool:
            began.release()
            while not stopped():
                time.sleep(0.01)
            over.release()
            return False

        settings = replace(world.delist.settings, jobs=replace(QUICK, stop_s=1, lease_s=5))
        delist = Delist(settings, clock=world.clock)
        delist.__dict__ |= {"indexer": world.delist.indexer, "database": world.delist.database}
        service = Service(delist, work=Rows(world, row("scan", Kind.SCANS, scan)))
        running = threading.Thread(target=service.run)
        running.start()
        try:
            assert began.acquire(timeout=WITHIN_S)
            with other.beside() as connection:
                now = other.now(connection)
                number = leases.acquire(
                    connection, "other", place="other", alone=True, now=now, for_s=60
                )
            assert over.acquire(timeout=WITHIN_S)
            assert not began.acquire(timeout=1)
            with other.beside() as connection:
                leases.release(connection, number or 0)
            assert began.acquire(timeout=WITHIN_S)
        finally:
            service.stop()
            running.join()


def test_a_store_that_does_not_answer_ends_the_process_in_time(
    tmp_path: Path, shared: DatabaseSettings
) -> None:
    """No renewal comes through, and neither does the job's own write: nobody else has begun yet."""
    with World(tmp_path / "data", database=shared) as world, Database(tmp_path, shared) as other:
        began, let_go, ended = threading.Event(), threading.Event(), threading.Event()

        def deaf(_stopped: Stopped) -> bool:
            began.set()
            return let_go.wait(WITHIN_S)

        settings = replace(world.delist.settings, jobs=replace(QUICK, stop_s=1, lease_s=5))
        delist = Delist(settings, clock=world.clock)
        delist.__dict__ |= {"indexer": world.delist.indexer, "database": world.delist.database}

        def end_now() -> None:
            with other.read() as connection:
                if leases.is_held(connection, now=other.now(connection)):
                    ended.set()
            let_go.set()

        table = Rows(world, row("deaf", Kind.SCANS, deaf))
        service = Service(delist, work=table, end_now=end_now)
        running = threading.Thread(target=service.run)
        running.start()
        assert began.wait(WITHIN_S)
        with other.beside() as connection:  # keeps the row: what renews and looks has to wait
            connection.execute(select(job_leases).with_for_update())
            assert let_go.wait(WITHIN_S)
        service.stop()
        running.join()
        assert ended.is_set()


def test_a_store_that_is_away_for_long_is_waited_for(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Only at the very start is it a mistake to be told: later it is a server that comes back."""
    name = postgres.create_store()
    database = DatabaseSettings(url=postgres.url(name))
    with World(tmp_path / "data", database=database) as world:
        began, over = threading.Semaphore(0), threading.Semaphore(0)

        def scan(stopped: Stopped) -> bool:
            began.release()
            while not stopped():
                time.sleep(0.01)
            over.release()
            return False

        settings = replace(world.delist.settings, jobs=replace(QUICK, stop_s=2, lease_s=3))
        delist = Delist(settings, clock=world.clock)
        delist.__dict__ |= {"indexer": world.delist.indexer, "database": world.delist.database}
        service = Service(delist, work=Rows(world, row("scan", Kind.SCANS, scan)))
        ended: list[End] = []
        running = threading.Thread(target=lambda: ended.append(service.run()))
        with capture_logs() as said:
            running.start()
            assert began.acquire(timeout=WITHIN_S)
            postgres.execute(f"alter database {name} allow_connections false")
            end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'"
            postgres.execute(end.format(name))
            assert over.acquire(timeout=WITHIN_S)
            wait_until(lambda: "service.lease_unknown" in [entry["event"] for entry in said])
            postgres.execute(f"alter database {name} allow_connections true")
            assert began.acquire(timeout=WITHIN_S)
        service.stop()
        running.join()
    assert ended == [End.IN_TIME]
    postgres.drop(name)


def test_whoever_leads_runs_what_is_asked_for(world: World) -> None:
    """Once, however often it was asked for; the request is gone when it was done."""
    runs: list[int] = []

    def count(_stopped: Stopped) -> bool:
        runs.append(1)
        return True

    work = Rows(world, row("rare", Kind.SCANS, count, interval_s=3600))
    service = Service(world.delist, work=work)
    running = threading.Thread(target=service.run)
    running.start()
    database = world.delist.database

    def asked() -> bool:
        with database.read() as connection:
            return bool(jobs.asked(connection))

    try:
        wait_until(lambda: len(runs) == 1)
        with database.write() as connection:
            jobs.ask(connection, "rare", now=world.clock())
            jobs.ask(connection, "rare", now=world.clock())
        wait_until(lambda: not asked())
        assert len(runs) == 2
    finally:
        service.stop()
        running.join()


def test_who_asks_a_leader_for_a_job_that_it_does_not_have_is_told_so(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two machines with two configurations: whoever asks would wait for ever."""
    database, codes = world.delist.database, list[int]()
    leader = Leader(database, QUICK)
    assert leader.take()
    command = ["--data-dir", str(database.data_dir), "jobs", "run", "retention"]
    asking = threading.Thread(target=lambda: codes.append(main(command)))
    asking.start()

    def asked() -> bool:
        with database.read() as connection:
            return "retention" in jobs.asked(connection)

    wait_until(asked)
    Runs(database, world.clock).open({"rare"})
    asking.join(WITHIN_S)
    leader.release()

    assert codes == [1]
    assert "no such job" in capsys.readouterr().err


def test_what_is_asked_for_during_a_run_is_another_run(world: World) -> None:
    """It may be asked for since something was mended that the run under way began without."""
    began, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def wait(_stopped: Stopped) -> bool:
        began.release()
        return go_on.acquire(timeout=WITHIN_S)

    work = Rows(world, row("rare", Kind.SCANS, wait, interval_s=3600))
    service = Service(world.delist, work=work)
    running = threading.Thread(target=service.run)
    running.start()
    database = world.delist.database
    try:
        for _ in range(3):  # at the start, as asked for, as asked for during that
            assert began.acquire(timeout=WITHIN_S)
            with database.write() as connection:
                jobs.ask(connection, "rare", now=world.clock())
            go_on.release()
        assert began.acquire(timeout=WITHIN_S)
        go_on.release()

        def asked() -> bool:
            with database.read() as connection:
                return bool(jobs.asked(connection))

        wait_until(lambda: not asked())
    finally:
        go_on.release(9)
        service.stop()
        running.join()


def test_what_a_killed_process_did_not_end_is_on_record(tmp_path: Path) -> None:
    """The next one says that it was cut off, and counts it as a failure."""
    clock = Clock()
    with closing(Database(tmp_path)) as database:
        state = jobs.JobState(id="scan", outcome="done", running_since=clock())
        with database.write() as connection:
            jobs.note(connection, state)
        runs = Runs(database, clock)
        runs.open()

    found = runs.states["scan"]
    assert (found.outcome, found.failures, found.running_since) == ("cut_off", 1, None)


def test_whoever_writes_for_long_does_not_keep_it_from_ending(tmp_path: Path, world: World) -> None:
    """Not even what is to be put on record; and in the end nothing is said to run any more."""
    began = threading.Event()

    def slow(stopped: Stopped) -> bool:
        began.set()
        while not stopped():
            time.sleep(0.01)
        return False

    settings = replace(world.delist.settings, jobs=QUICK)
    delist = Delist(settings, clock=world.clock)
    delist.__dict__ |= {"indexer": world.delist.indexer, "database": world.delist.database}
    service = Service(delist, work=Rows(world, row("slow", Kind.SCANS, slow)))
    ended: list[End] = []
    running = threading.Thread(target=lambda: ended.append(service.run()))
    running.start()
    assert began.wait(WITHIN_S)
    with Database(tmp_path / "data") as other, other.write():
        time.sleep(2.7)  # it has been running for long by now: that is to be put on record
        service.stop()
        running.join(5)
        assert ended == [End.CUT_OFF]

    def state() -> jobs.JobState | None:
        with world.delist.database.read() as connection:
            return jobs.every(connection).get("slow")

    wait_until(lambda: (found := state()) is not None and found.outcome == "stopped")
    wait_until(lambda: (found := state()) is not None and found.running_since is None)


def test_what_is_asked_for_is_asked_of_the_scheduler_until_it_begins(world: World) -> None:
    """It leaves a run out where the one before is just ending: the next would be a week away."""
    database, far = world.delist.database, datetime(2099, 1, 1, tzinfo=UTC)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start(paused=True)
    leader, runs = Leader(database, QUICK), Runs(database, world.clock)
    rare = row("rare", Kind.SCANS, lambda _stopped: True, interval_s=9e9)
    look = Watch(
        table={"rare": rare},
        runs=runs,
        scheduler=scheduler,
        leader=leader,
        database=database,
        stop_s=1,
    ).look
    assert leader.take()
    runs.open({"rare"})
    with database.write() as connection:
        jobs.ask(connection, "rare", now=world.clock())
    for _ in range(2):
        scheduler.add_job(runs.under_way, "date", run_date=far, id="rare", replace_existing=True)
        assert look() is Verdict.WELL
        assert scheduler.get_job("rare").next_run_time < far

    runs.run(rare)

    scheduler.modify_job("rare", next_run_time=far)
    assert look() is Verdict.WELL
    assert scheduler.get_job("rare").next_run_time == far
    scheduler.shutdown()
    leader.release()


def test_a_job_that_there_is_no_more_fails_no_more(world: World) -> None:
    """A sink or a folder of backups that was taken out of the configuration alarms nobody."""
    database = world.delist.database
    with database.write() as connection:
        for name in ("backup", "sink-old", "rare"):
            jobs.note(connection, jobs.JobState(id=name, outcome="failed", failures=5))
    service = Service(world.delist, work=Rows(world, row("rare", Kind.SCANS, lambda _s: True)))
    running = threading.Thread(target=service.run)
    running.start()

    def failing() -> dict[str, int]:
        with database.read() as connection:
            return {state.id: state.failures for state in jobs.every(connection).values()}

    try:
        wait_until(lambda: failing() == {"rare": 0})
    finally:
        service.stop()
        running.join()

"""kill -9 at any point of intake: after a repeat the same cases and records, each once."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from delist.model import CaseState
from delist.settings import DatabaseSettings
from tests.conftest import POSTGRESQL, SQLITE
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.forking import Forking, forking
from tests.fakes.postgres import PostgresServer

SOAK = bool(os.environ.get("DELIST_SOAK"))
NEAR, OTHER, GONE = digest_of("near"), digest_of("other"), digest_of("gone")

_INTAKE = """
import os, sys
from pathlib import Path
import delist.intake, delist.review
from delist.build import Delist
def run(folder):
    with Delist.open(Path(folder) / "delist.toml") as delist:
        delist.create()
        print("ready", flush=True)
        sys.stdin.readline()
        report = delist.take_in()
    os._exit(0 if report.complete else 1)
"""


@pytest.fixture(scope="module")
def intake() -> Iterator[Forking]:
    with forking(_INTAKE) as started:
        yield started


def place(number: int) -> str:
    return f"https://site.example/{number}.jpg"


def prepare(folder: Path, database: DatabaseSettings, images: int) -> None:
    """Leave matches, aliases and withdrawals in the logs, part of them taken in already."""
    with World(folder, database=database) as world:
        world.write_configuration()
        world.offer(NEAR, OTHER, GONE)
        near = [{NEAR: 3}, {OTHER: 25}, {GONE: 4}, {GONE: 5, OTHER: 10}]
        world.visit_all(
            {place(n): image_near(near[n % len(near)], name=n) for n in range(images // 2)}
        )
        world.take_in()
        world.withdraw(GONE)
        world.visit_all(
            {place(n): image_near(near[n % len(near)], name=n) for n in range(images // 2, images)}
        )
        world.visit(place(0), None, aliases=("https://cdn.example/0",))
        world.visit(place(4), image_near(name="other bytes"))


def begin(intake: Forking, folder: Path) -> None:
    """Start a process, and let it go once it is ready."""
    intake.start(folder)
    assert intake.heard() == "ready"
    intake.tell()


def outcome(folder: Path, database: DatabaseSettings) -> dict[str, list[Any]]:
    """Everything that intake wrote, without the ids and times that differ from run to run."""
    with World(folder, database=database) as world:
        records = world.ledger()
        assert world.delist.verify_ledger() == len(records)
        assert [record.sequence for record in records] == list(range(1, len(records) + 1))
        report = world.take_in()
        assert (report.matches, world.ledger()) == (0, records)
        with world.delist.database.read() as connection:
            words = connection.exec_driver_sql(
                "select value, outcome is null, count(*) from feedback_outbox"
                " group by 1, 2 order by 1, 2"
            ).all()
            decisions = connection.exec_driver_sql(
                "select image_url, action, actor from decisions join cases"
                " on cases.id = case_id order by decisions.id"
            ).all()
        return {
            "records": [
                (r.action, r.image_url, r.state, r.reason_code, r.basis.distance_bits)
                for r in records
            ],
            "cases": sorted((c.image_url, c.state, len(c.matches)) for c in world.cases()),
            "words": [tuple(row) for row in words],
            "decisions": [tuple(row) for row in decisions],
        }


@pytest.mark.parametrize(
    ("kind", "images", "kills"),
    # Several batches of intake each.
    [(SQLITE, 2800, 24), (POSTGRESQL, 700, 12)]
    if SOAK
    else [(SQLITE, 200, 3), (POSTGRESQL, 120, 2)],
)
def test_killed_intake_ends_as_if_it_never_was(
    tmp_path: Path, postgres: PostgresServer, intake: Forking, kind: str, images: int, kills: int
) -> None:
    """Whatever was under way is done again, whole; nothing is there twice, nothing is missing."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    at = at_killed = DatabaseSettings()
    if kind == POSTGRESQL:
        name = postgres.create_store()
        at = DatabaseSettings(url=postgres.url(name))
    prepare(whole, at, images)
    shutil.copytree(whole, killed)
    if kind == POSTGRESQL:
        at_killed = DatabaseSettings(url=postgres.url(postgres.create(template=name)))
        with World(killed, database=at_killed) as world:
            world.write_configuration()
    begin(intake, whole)
    began = time.monotonic()
    assert intake.wait() == os.EX_OK
    takes_s = time.monotonic() - began

    rng = random.Random(4)
    struck = 0
    for _ in range(kills):
        begin(intake, killed)
        time.sleep(rng.uniform(0, takes_s / 2))
        struck += intake.kill() == -signal.SIGKILL
    begin(intake, killed)
    assert intake.wait() == os.EX_OK

    assert struck >= kills / 2
    expected = outcome(whole, at)
    assert outcome(killed, at_killed) == expected
    assert len(expected["cases"]) > images // 2
    states = {state for _, state, _ in expected["cases"]}
    assert states == {CaseState.OPEN, CaseState.SUPPRESSED, CaseState.WITHDRAWN}

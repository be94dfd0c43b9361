"""How fast a reviewer is served among a million cases, on SQLite and on PostgreSQL.

    python -m tests.benchmarks.case_rates [--cases N] [--database sqlite|postgresql] [--repeats R]

Most cases are rows without images, put in as bulk; those that are decided have images in a real
store and come in through intake. Prints one JSON line for each database.
"""

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert, text

from delist.model import Verdict
from delist.review import Ruling
from delist.settings import DatabaseSettings
from delist.store import Database
from delist.store.tables import case_matches, cases, decisions
from tests.fakes.delisting import START, World, digest_of, image_near
from tests.fakes.postgres import PostgresServer

_CHUNK = 10_000
_PAGE = 50
_SITES, _SIGNALS = 50_000, 200_000
_STATES = (
    ("open", None, 3),
    ("suppressed", None, 1),
    ("suppressed", "ncii", 3),
    ("dismissed", "not_ncii", 2),
    ("withdrawn", None, 1),
)


def rows_of(start: int, stop: int) -> Iterator[tuple[dict[str, Any], ...]]:
    """Make case, match and decision of some numbers, the same in every run."""
    weights = [weight for *_, weight in _STATES]
    for number in range(start, stop):
        dice = random.Random(number)
        state, verdict, _ = dice.choices(_STATES, weights)[0]
        name = f"{number:016x}"
        content = f"{dice.getrandbits(256):064x}"
        opened = START - timedelta(seconds=dice.randrange(30 * 86400))
        deadline = opened + timedelta(hours=48)
        site = f"site-{dice.randrange(_SITES)}.example"
        risk = dice.randrange(100)
        yield (
            {
                "id": name,
                "image_key": f"{dice.getrandbits(128):032x}",
                "image_url": f"https://{site}/{number}.jpg",
                "content_sha256": content,
                "state": state,
                "verdict": verdict,
                "opened_at": opened,
                "deadline_at": deadline,
                "changed_at": opened,
                "decided_at": opened if verdict else None,
                "site": site,
                "path": f"{site}/",
                "queue_at": deadline - timedelta(hours=24 * risk / 100),
                "risk": risk,
                "reach": 1 + dice.randrange(12),
                # One in ten shows what the case before it shows.
                "group_id": f"{number // 10 * 10:016x}" if number % 10 == 1 else name,
                "pending": None,
                "pending_by": "Kim" if dice.random() < 0.05 else "",
                "disputed": False,
                "claimed_by": "",
                "claimed_until": None,
                "awaits_person": state == "open" or (state == "suppressed" and not verdict),
            },
            {
                "case_id": name,
                "signal_key": f"{dice.randrange(_SIGNALS):032x}",
                "feed": "exchange",
                "distance_bits": dice.randrange(32),
                "threshold_bits": 31,
                "hasher": "cpp",
                "variant": "upright",
                "quality": 100,
                "content_sha256": content,
                "support": "withdrawn" if state == "withdrawn" else "active",
                "matched_at": opened,
                "weighted_bits": None,
            },
            {
                "case_id": name,
                "verdict": verdict,
                "action": "review",
                "actor": "Robin" if verdict else "policy",
                "policy_version": "2",
                "reason": "looked at it",
                "content_sha256": content,
                "decided_at": opened,
                "kind": "review" if verdict else "policy",
                "needs": 1,
                "checks": "",
            },
        )


def fill(database: Database, count: int) -> None:
    """Put cases in without the work that intake does for each."""
    for start in range(0, count, _CHUNK):
        tables: tuple[Table, ...] = (cases, case_matches, decisions)
        columns = zip(*rows_of(start, min(count, start + _CHUNK)), strict=True)
        with database.write() as connection:
            for table, rows in zip(tables, columns, strict=True):
                connection.execute(insert(table), list(rows))
    with database.write() as connection:
        connection.execute(text("ANALYZE"))


def timed(act: Callable[[int], object], repeats: int) -> dict[str, float]:
    """Median, and the slowest of twenty, in milliseconds."""
    took = []
    for number in range(repeats):
        began = time.perf_counter()
        act(number)
        took.append((time.perf_counter() - began) * 1e3)
    took.sort()
    return {
        "median_ms": round(statistics.median(took), 2),
        "p95_ms": round(took[int(len(took) * 0.95)], 2),
    }


def measure(world: World, real: Sequence[str], count: int, repeats: int) -> dict[str, Any]:
    """Take the times of what a reviewer does.

    Args:
        real: ids of cases with images.
        count: how many without there are.
    """
    desk = world.delist.desk

    def show_evidence(number: int) -> None:
        world.delist.evidence(desk.show(real[number], "Robin").file.case)

    ruling = Ruling(verdict=Verdict.NCII, actor="Robin", reason="looked at it")
    found: dict[str, Any] = {
        "first_page": timed(lambda _: list(islice(desk.places(), _PAGE)), repeats),
        "first_page_all": timed(
            lambda _: list(islice(desk.places(awaiting_person=False), _PAGE)), repeats
        ),
        "next": timed(lambda _: desk.claim_next("Robin"), repeats),
        "show": timed(lambda n: desk.show(f"{n * 7919 % count:016x}", "Robin"), repeats),
        "show_evidence": timed(show_evidence, repeats),
        "decide": timed(lambda n: world.delist.decide(real[n], ruling), repeats),
    }
    before, began, most = _resident_mb(), time.perf_counter(), 0.0
    for number, _ in enumerate(desk.places(awaiting_person=False), 1):
        found["listed"] = number
        if number % _CHUNK == 0:
            most = max(most, _resident_mb())
    found["list_s"] = round(time.perf_counter() - began, 1)
    found["list_grew_mb"] = round(most - before, 1)
    return found


def run(count: int, repeats: int, database: DatabaseSettings) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        World(Path(folder) / "data", database=database) as world,
    ):
        began = time.perf_counter()
        fill(world.delist.database, count)
        filled_s = time.perf_counter() - began
        signals = [digest_of(("bench", number)) for number in range(repeats)]
        world.offer(*signals)
        images = {
            f"https://real-{number}.example/a.jpg": image_near({signal: 25}, name=number)
            for number, signal in enumerate(signals)
        }
        world.visit_all(images)
        world.take_in()
        real = [world.case_of(url).id for url in images]
        product = world.delist.database.product()
        head = {"database": product, "cases": count + repeats, "filled_s": round(filled_s, 1)}
        return head | measure(world, real, count, repeats)


@contextmanager
def places(names: list[str]) -> Iterator[Iterator[DatabaseSettings]]:
    """Open the databases that were asked for."""
    if "postgresql" not in names:
        yield iter([DatabaseSettings()])
        return
    with PostgresServer() as server:
        made = [DatabaseSettings(url=server.url(server.create_store()))]
        yield iter([DatabaseSettings(), *made] if "sqlite" in names else made)


def main() -> None:
    """Measure each database that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    given = parser.parse_args()
    with places(given.database or ["sqlite", "postgresql"]) as found:
        for database in found:
            print(json.dumps(run(given.cases, given.repeats, database)), flush=True)  # noqa: T201 - its output


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()

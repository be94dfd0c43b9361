"""Re-scans of files on Spark: what the local engine finds, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from delist.errors import UsageError
from delist.rescan.job import Job
from delist.rescan.local import LocalEngine
from delist.rescan.on_spark import SparkEngine
from delist.rescan.work import FileOutcome, read_matches
from indexer.model import ImageVisit
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.exports import write_tables

SIGNALS = [digest_of(number) for number in range(4)]
URLS = [f"https://site.example/{number}.png" for number in range(24)]
FILES = 6
LET_GO_S = 20
KILLED_DRIVER = """
import json, os, signal, sys
from pathlib import Path
import psutil
from delist.build import Delist
from delist.rescan.on_spark import SparkEngine
data, tables, folder = map(Path, sys.argv[1:])
def on_progress(done, files):
    if done == 2:
        started = psutil.Process().children(recursive=True)
        print(json.dumps([child.pid for child in started]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
engine = SparkEngine(workers=1)
with Delist.open(data_dir=data) as delist:
    delist.file_rescans.run([tables], engine, folder=folder, on_progress=on_progress)
"""
ASKED_TO_STOP = """
import os, signal
from delist.cli.scanning import opened_engine
with opened_engine("spark", workers=1) as engine:
    print(engine.pid, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""
Pairs = set[tuple[object, ...]]
long_proof = pytest.mark.skipif(
    not os.environ.get("DELIST_SOAK"), reason="starts a JVM of its own: in `make soak`"
)


class Watched:
    """An engine that notes what was found before it is taken in."""

    def __init__(self, engine: SparkEngine | LocalEngine) -> None:
        self.found: Pairs = set()
        self.outcomes: dict[str, FileOutcome] = {}
        self._engine = engine

    def has_others(self, avoid: frozenset[str]) -> bool:
        return self._engine.has_others(avoid)

    def run(
        self, job: Job, files: Sequence[str], *, avoid: frozenset[str]
    ) -> Generator[FileOutcome, None, None]:
        for outcome in self._engine.run(job, files, avoid=avoid):
            self.outcomes[Path(outcome.file).name] = outcome
            if not outcome.refused:
                table = read_matches(job, outcome.result, outcome.checksum)
                self.found |= {tuple(row.values()) for row in table.to_pylist()}
            yield outcome


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkEngine]:
    engine = SparkEngine(workers=2)
    yield engine
    engine.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "data")
    visits = [
        ImageVisit(image_url=url, hashed=image_near({SIGNALS[n % 4]: n % 40}, name=n))
        for n, url in enumerate(URLS)
    ]
    made.delist.indexer.record_visits(visits)
    made.offer(*SIGNALS)
    yield made
    made.delist.close()


def test_finds_what_processes_find(world: World, tmp_path: Path, spark: SparkEngine) -> None:
    """Matches and refusals are those of the local engine, file by file."""
    folder = tmp_path / "tables"
    good = write_tables(world.delist.indexer.store, URLS, folder, files=FILES)
    pq.write_table(pq.read_table(good[0]).drop_columns(["rows"]), folder / "column.parquet")
    (folder / "cut \udcff ö.parquet").write_bytes(good[0].read_bytes()[:-100])
    here, there = Watched(LocalEngine(workers=1)), Watched(spark)

    local = world.delist.file_rescans.run([folder], here)
    report = world.delist.file_rescans.run([folder], there)

    assert report.refused == local.refused == {"missing_column": 1, "unreadable": 1}
    assert (report.done, report.matches, report.complete) == (FILES, local.matches, True)
    assert there.found == here.found
    assert len(there.found) > len(URLS) / 2
    assert counts(there) == counts(here)


def counts(watched: Watched) -> dict[str, tuple[str, int, int]]:
    found = watched.outcomes.items()
    return {name: (one.refused, one.images, one.digests) for name, one in found}


def test_killed_worker_costs_what_it_held(world: World, tmp_path: Path, spark: SparkEngine) -> None:
    """A worker that dies in the middle of a file is replaced, and the file done again."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=FILES)
    killed_at: list[int] = []

    class Killing(Watched):
        def run(
            self, job: Job, files: Sequence[str], *, avoid: frozenset[str]
        ) -> Generator[FileOutcome, None, None]:
            worker = 0
            for outcome in super().run(job, files, avoid=avoid):
                if not worker:
                    worker = process_of(outcome)
                    os.kill(worker, signal.SIGSTOP)  # it keeps the file that it is given next
                if len(self.outcomes) == FILES - 1:
                    os.kill(worker, signal.SIGKILL)
                    killed_at.append(worker)
                yield outcome

    watched = Killing(spark)
    report = world.delist.file_rescans.run(tables, watched)

    assert (report.done, report.refused, report.complete) == (FILES, {}, True)
    last = list(watched.outcomes.values())[-1]
    assert [process_of(last)] != killed_at
    assert len(killed_at) == 1
    assert world.delist.scan_full().matches == 0  # the store's own finds nothing new or other


def process_of(outcome: FileOutcome) -> int:
    return int(outcome.worker.rpartition(" ")[2])


@long_proof
def test_killed_driver(world: World, tmp_path: Path, spark: SparkEngine) -> None:
    """Nothing outlives it that holds the key or signals; the run goes on behind its manifest."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=FILES)
    folder = tmp_path / "work"
    driver = [sys.executable, "-c", KILLED_DRIVER, tmp_path / "data", tables[0].parent, folder]

    ran = subprocess.run(driver, check=False, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (-signal.SIGKILL, "")
    started = json.loads(ran.stdout)
    assert len(started) >= 3  # the JVM, what forks workers, a worker
    alive = [psutil.Process(pid) for pid in started if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(alive, LET_GO_S)[1]
    watched = Watched(spark)
    report = world.delist.file_rescans.run(tables, watched, folder=folder, resume=True)
    assert (report.resumed, len(watched.outcomes), report.done) == (2, FILES - 2, FILES)
    assert report.complete
    assert world.delist.scan_full().matches == 0


@long_proof
def test_driver_that_is_asked_to_stop(tmp_path: Path) -> None:
    """SIGTERM ends the JVM, and leaves no folder of it."""
    ran = subprocess.run(
        [sys.executable, "-c", ASKED_TO_STOP],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )

    assert (ran.returncode, ran.stderr) == (128 + signal.SIGTERM, "")
    assert not psutil.pid_exists(int(ran.stdout))
    assert not list(tmp_path.iterdir())


def test_cluster_in_the_clear_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Authentication is not enough for a master elsewhere: the key would cross the network."""
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    (tmp_path / "spark-defaults.conf").write_text("spark.authenticate true\n")
    with pytest.raises(UsageError, match="in the clear"):
        SparkEngine(address="spark://127.0.0.1:7077,10.0.0.1:7077", workers=1)


def test_java_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever has no Java is told what to install."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="openjdk-17-jre-headless"):
        SparkEngine(workers=1)

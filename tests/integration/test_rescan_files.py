"""Re-scans of exported files: the store's own matches, whatever dies on the way."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from delist.cli import main
from delist.errors import RescanError, UsageError, WorkerRefusedError
from delist.model import CaseState
from delist.ops.bench.engine_rescans import compare_engines
from delist.rescan.generation import Generation, load_generation
from delist.rescan.job import Job
from delist.rescan.local import LocalEngine
from delist.rescan.running import FilesReport
from delist.rescan.unit import matches_in, merged
from delist.rescan.work import FileOutcome, read_matches
from indexer.ann import ExactIndexes
from indexer.model import Background, HashedImage, Hasher, ImageVisit, RowLabel, Variant
from indexer.tables import batch_of
from tests.fakes.delisting import World, digest_of, image_near, row_near
from tests.fakes.exports import HereEngine, stored_images, write_tables

SIGNALS = [digest_of(number) for number in range(6)]
URLS = [f"https://site.example/{number}.png" for number in range(24)]
KILLED_DRIVER = """
import os, signal, sys
from pathlib import Path
from delist.build import Delist
from tests.fakes.exports import HereEngine
data, tables, folder = map(Path, sys.argv[1:])
def on_progress(done, files):
    if done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
with Delist.open(data_dir=data) as delist:
    delist.file_rescans.run([tables], HereEngine(), folder=folder, on_progress=on_progress)
"""
Held = set[tuple[bytes, bytes, int, str, str, int]]
"""Image, signal, distance, hasher, variant, quality."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "data")
    made.delist.indexer.record_visits(
        [ImageVisit(image_url=url, hashed=image_of(n)) for n, url in enumerate(URLS)]
    )
    yield made
    made.delist.close()


def image_of(number: int) -> HashedImage:
    """Make images near no signal, one or two; opaque, transparent, animated, and cut off."""
    near = {SIGNALS[number % 6]: 20 + number % 13} if number % 2 else {}
    if number % 3 == 0:
        near[SIGNALS[(number + 1) % 6]] = 31 + number % 2  # the threshold, and one bit beyond
    image = image_near(
        near,
        name=number,
        quality=100 - number,
        hasher=Hasher.WEB if number % 5 == 0 else Hasher.CPP,
        variant=tuple(Variant)[number % 8],
        background=Background.BLACK if number % 4 == 1 else Background.WHITE,
    )
    if number % 4 == 3:
        rows = (*image.rows, (Background.WHITE, row_near({SIGNALS[0]: 3}, name=("frame", number))))
        labels = (RowLabel(quality=40), RowLabel(frame=7, quality=90, partial=number % 8 == 3))
        image = replace(image, rows=rows, labels=labels)
    return image


def held(world: World) -> Held:
    """Return what images match, as the store has it."""
    images = world.delist.indexer.store.images
    with world.delist.indexer.store.read() as txn:
        return {
            (
                key,
                match.signal_key,
                match.distance_bits,
                str(match.hasher),
                match.variant or "",
                match.quality or 0,
            )
            for key in images.matching_keys(txn)
            for match in images.matches(txn, key).values()
        }


def named(table: pa.Table) -> Held:
    """Return the same of a table of matches."""
    return {tuple(row.values()) for row in table.to_pylist()}


def signals_of(world: World) -> Generation:
    version, digests, keys = world.delist.indexer.scanner.signals()
    return Generation(ExactIndexes().build(digests), keys, version)


def rescan(world: World, tables: Sequence[Path], **options: object) -> FilesReport:
    engine = options.pop("engine", None) or HereEngine()
    return world.delist.file_rescans.run(tables, engine, **options)  # type: ignore[arg-type]


def test_unit_finds_what_the_store_finds(world: World) -> None:
    """A batch's matches are those of the store's own full re-scan, with all their names."""
    world.offer(*SIGNALS)
    batch = batch_of(stored_images(world.delist.indexer.store, URLS))

    found = matches_in(batch, signals_of(world), threshold_bits=31)

    world.delist.scan_full()
    assert len(found) > len(URLS) / 2
    assert named(found) == held(world)


@pytest.mark.parametrize("threshold_bits", [31, 20, 0])
def test_batches_change_nothing(world: World, threshold_bits: int) -> None:
    """However the images are cut into batches, the matches are the same, in the same order."""
    world.offer(*SIGNALS)
    signals = signals_of(world)
    images = stored_images(world.delist.indexer.store, URLS)
    whole = matches_in(batch_of(images), signals, threshold_bits=threshold_bits)

    table = pa.Table.from_batches([batch_of(images)])
    slices = [table.slice(start, 5).to_batches()[0] for start in range(0, len(images), 5)]
    parts = [matches_in(part, signals, threshold_bits=threshold_bits) for part in slices]

    assert merged(parts).equals(whole)
    assert merged([whole, *parts]).equals(whole)


def test_no_signals_and_no_images(world: World) -> None:
    """Neither an empty feed nor an empty table is an error."""
    images = stored_images(world.delist.indexer.store, URLS[:2])
    assert not len(matches_in(batch_of(images), signals_of(world), threshold_bits=31))
    world.offer(*SIGNALS)
    assert not len(matches_in(batch_of([]), signals_of(world), threshold_bits=31))


def test_matches_go_the_way_of_all_others(world: World, tmp_path: Path) -> None:
    """What files match is logged once, becomes cases, and equals what a full re-scan holds."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=3)
    world.offer(*SIGNALS)

    report = rescan(world, [tmp_path / "tables"])
    again = rescan(world, tables)

    found = held(world)
    assert report.complete
    assert (report.files, report.images, report.signals) == (3, len(URLS), len(SIGNALS))
    assert report.matches == report.logged == len(found)
    assert (again.matches, again.logged) == (report.matches, 0)
    world.delist.scan_full()
    assert held(world) == found
    world.delist.take_in()
    cases = list(world.delist.cases(awaiting_person=False))
    assert len(cases) == report.matching
    assert CaseState.SUPPRESSED in {case.state for case in cases}


def test_only_new_signals(world: World, tmp_path: Path) -> None:
    """A run may take only signals behind a number of the log; the report says the next number."""
    write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=1)
    world.offer(*SIGNALS[:5])
    first = rescan(world, [tmp_path / "tables"])
    world.offer(SIGNALS[5])

    second = rescan(world, [tmp_path / "tables"], after=first.version)

    assert (first.signals, second.signals) == (5, 1)
    assert second.logged == second.matches > 0


def test_image_that_changed_or_went_since(world: World, tmp_path: Path) -> None:
    """What a file says of an image counts only as far as it is still stored so."""
    write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=1)
    world.offer(*SIGNALS)
    world.visit(URLS[1], image_near({}, name="other bytes"))
    world.visit(URLS[5], image_near({}, name="gone"), aliases=(URLS[3],))

    report = rescan(world, [tmp_path / "tables"])

    changed = {url_key_of(world, URLS[1]), url_key_of(world, URLS[5])}
    assert report.elsewhere == 1
    assert report.logged < report.matches
    assert not changed & {match[0] for match in held(world)}


def url_key_of(world: World, url: str) -> bytes:
    record = world.delist.indexer.find_image(url)
    assert record is not None
    return record.key


def test_bad_files_are_named_and_the_rest_goes_on(world: World, tmp_path: Path) -> None:
    """A file that cannot be compared is counted by its reason; the others are compared."""
    folder = tmp_path / "tables"
    good = write_tables(world.delist.indexer.store, URLS, folder, files=2)
    table = pq.read_table(good[0])
    pq.write_table(table.drop_columns(["rows"]), folder / "column.parquet")
    keys = pa.array([b"8" * 8] * len(table), pa.binary(8))
    pq.write_table(table.set_column(0, "image_key", keys), folder / "width.parquet")
    version = table.schema.metadata | {b"delist.version": b"99"}
    pq.write_table(table.replace_schema_metadata(version), folder / "version.parquet")
    pq.write_table(table.replace_schema_metadata({}), folder / "other.parquet")
    (folder / "cut.parquet").write_bytes(good[0].read_bytes()[:-100])
    (folder / "text.parquet").write_text("no table")
    world.offer(*SIGNALS)

    report = rescan(world, [folder])

    assert report.done == 2
    assert report.refused == {
        "missing_column": 1,
        "wrong_width": 1,
        "table_version": 1,
        "not_of_images": 1,
        "unreadable": 2,
    }
    assert report.complete
    with pytest.raises(UsageError):
        rescan(world, [tmp_path / "nowhere"])


def test_killed_driver_costs_what_it_held(world: World, tmp_path: Path) -> None:
    """A run goes on behind the files that were written down, with its own signals.

    A line that was cut off, a table of matches that is gone or damaged, and a file that has
    changed since are done again; nothing else is.
    """
    folder = tmp_path / "work"
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=8)
    world.offer(*SIGNALS[:5])
    driver = [sys.executable, "-c", KILLED_DRIVER, tmp_path / "data", tables[0].parent, folder]
    ran = subprocess.run(driver, check=False, capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    manifest = folder / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])  # (5)
    results = folder / "results"
    lines = [json.loads(line) for line in manifest.read_bytes().splitlines()[1:-1]]
    (results / lines[0]["result"]).unlink()  # (0)
    damaged = results / lines[1]["result"]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")  # (1)
    os.utime(tables[2], ns=(1, 1))  # (2)
    world.offer(SIGNALS[5])
    engine = HereEngine()

    report = rescan(world, tables, folder=folder, resume=True, engine=engine)

    assert engine.asked == [tables[place].name for place in (0, 1, 2, 5, 6, 7)]
    assert (report.resumed, report.done, report.signals) == (2, 8, 5)
    assert report.complete
    world.delist.scan_delta()
    found = held(world)
    world.delist.scan_full()
    assert held(world) == found


def test_worker_that_does_not_fit(world: World, tmp_path: Path) -> None:
    """A worker whose signals are not those of the run, or whose program is another, does nothing.

    No file is lost by it: the run goes on where they fit.
    """
    folder = tmp_path / "work"
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=2)
    world.offer(*SIGNALS)
    engine = HereEngine()
    rescan(world, tables, folder=folder, engine=engine, stopped=lambda: True)
    job = engine.jobs[0]
    sealed = folder / "signals.sealed"
    whole = sealed.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2], b""):
        sealed.write_bytes(damaged)
        with pytest.raises(WorkerRefusedError) as refused:
            load_generation(job)
        assert refused.value.code == "generation_damaged"
    report = rescan(world, tables, folder=folder, resume=True, engine=LocalEngine(workers=1))
    assert report.refused == report.workers_refused == {"generation_damaged": 1}
    assert (report.done, report.to_resume, report.complete) == (1, True, False)
    sealed.unlink()
    with pytest.raises(WorkerRefusedError, match="not there"):
        load_generation(job)
    sealed.write_bytes(whole)
    for other in (replace(job, program="0.0.1"), replace(job, unit=0)):
        with pytest.raises(WorkerRefusedError) as refused:
            load_generation(other)
        assert refused.value.code == "worker_version"

    assert rescan(world, tables, folder=folder, resume=True).complete
    assert held(world)


def test_run_of_another_version_or_without_key(world: World, tmp_path: Path) -> None:
    """Nobody goes on with a run that another version began, or whose key is gone."""
    folder = tmp_path / "work"
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=2)
    world.offer(*SIGNALS)
    rescan(world, tables, folder=folder, stopped=lambda: True)
    manifest = folder / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole.replace(b'"unit": 1', b'"unit": 2'))
    with pytest.raises(RescanError, match="another version"):
        rescan(world, tables, folder=folder, resume=True)
    for other in (b"[]\n", b"{}\n", b'{"run": "../secrets/signal-key"}\n'):
        manifest.write_bytes(other)
        with pytest.raises(RescanError):
            rescan(world, tables, folder=folder, resume=True)
    manifest.write_bytes(whole)
    for key in (tmp_path / "data" / "rescans").glob("*.key"):
        os.utime(key, (0, 0))

    world.delist.compact()

    assert not list((tmp_path / "data").rglob("*.key"))
    with pytest.raises(RescanError, match="key of this run is gone"):
        rescan(world, tables, folder=folder, resume=True)


def test_working_folder_tells_nothing(world: World, tmp_path: Path) -> None:
    """What lies on shared storage names no signal and no image, and nothing stays behind."""
    folder = tmp_path / "work"
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=2)
    world.offer(*SIGNALS)
    rescan(world, tables, folder=folder, stopped=lambda: True)
    left = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    matches = held(world)
    assert len(left) == 3
    assert matches
    for secret in [*SIGNALS, *(match[0] for match in matches), *(match[1] for match in matches)]:
        assert not any(secret in data or secret.hex().encode() in data for data in left)

    rescan(world, tables, folder=folder, resume=True)

    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert not list((tmp_path / "data" / "rescans").iterdir())


def test_one_driver_at_a_time(world: World, tmp_path: Path) -> None:
    """A second driver is refused while the first is at work on the same run."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=1)
    world.offer(*SIGNALS)
    seen: list[str] = []

    def second(_done: int, _all: int) -> None:
        with pytest.raises(RescanError, match="another process"):
            rescan(world, tables)
        seen.append("refused")

    rescan(world, tables, on_progress=second)

    assert seen == ["refused"]


def test_killed_process_costs_what_it_held(world: World, tmp_path: Path) -> None:
    """Processes that are killed are replaced; every file is compared, each once in effect."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=6)
    world.offer(*SIGNALS)
    killed: list[int] = []

    class Killing(LocalEngine):
        def run(
            self, job: Job, files: Sequence[str], *, avoid: frozenset[str] = frozenset()
        ) -> Generator[FileOutcome, None, None]:
            for outcome in super().run(job, files, avoid=avoid):
                if not killed:
                    killed.append(int(outcome.worker.removeprefix("process ")))
                    os.kill(killed[0], signal.SIGKILL)
                yield outcome

    report = rescan(world, tables, engine=Killing(workers=1))

    assert killed
    assert (report.done, report.complete) == (6, True)
    found = held(world)
    assert report.logged == len(found)
    world.delist.scan_full()
    assert held(world) == found


def test_processes_that_die_between_two_runs_are_replaced(world: World, tmp_path: Path) -> None:
    """An engine that is kept does all files of its next run, whatever became of its processes."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=3)
    world.offer(*SIGNALS)
    workers: set[int] = set()

    class Noting(LocalEngine):
        def run(
            self, job: Job, files: Sequence[str], *, avoid: frozenset[str] = frozenset()
        ) -> Generator[FileOutcome, None, None]:
            for outcome in super().run(job, files, avoid=avoid):
                workers.add(int(outcome.worker.removeprefix("process ")))
                yield outcome

    with closing(Noting(workers=1)) as engine:
        first = rescan(world, tables, engine=engine)
        again = rescan(world, tables, engine=engine)
        (kept,) = workers
        os.kill(kept, signal.SIGKILL)
        after = rescan(world, tables, engine=engine)

    assert [report.done for report in (first, again, after)] == [3, 3, 3]
    assert kept in workers
    assert len(workers) == 2


def test_damaged_matches_are_never_taken(world: World, tmp_path: Path) -> None:
    """A table of matches that is not what its worker wrote is refused, and its file named."""
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=1)
    world.offer(*SIGNALS)

    class Damaging(HereEngine):
        def run(
            self, job: Job, files: Sequence[str], *, avoid: frozenset[str] = frozenset()
        ) -> Generator[FileOutcome, None, None]:
            for outcome in super().run(job, files, avoid=avoid):
                path = job.results / outcome.result
                assert read_matches(job, outcome.result, outcome.checksum).num_rows
                path.write_bytes(path.read_bytes()[:-5])
                yield outcome

    report = rescan(world, tables, engine=Damaging())

    assert report.refused == {"result_damaged": 1}
    assert not held(world)


def test_commands_of_the_page(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What docs/scale.md shows works as shown; clusters that are open are refused as bad usage."""
    world.offer(*SIGNALS)
    config = world.write_configuration()
    monkeypatch.chdir(tmp_path)
    for cluster in ("RAY_AUTH_MODE", "SPARK_CONF_DIR"):
        monkeypatch.delenv(cluster, raising=False)
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("    $ delist ")]
    assert len(lines) == 5

    codes = [main(["--config", str(config), "--json", *shlex.split(line)[2:]]) for line in lines]

    printed = capsys.readouterr()
    _export, whole, newer = (json.loads(line) for line in printed.out.splitlines())
    assert printed.err.count("a cluster without") == 2
    assert codes == [0, 0, 0, 2, 2]
    assert (whole["images"], whole["signals"], whole["complete"]) == (len(URLS), len(SIGNALS), True)
    assert whole["intake"]["cases"] == whole["matching"] > 0
    assert newer["signals"] == 0


def test_bench_checks_what_engines_find() -> None:
    """The bench says whether every engine found just the planted matches, and all the same."""
    engines = {"here": HereEngine(), "blind": Blind()}
    opened = lambda name: nullcontext(engines[name])  # noqa: E731 - short
    wanted = {"workers": 1, "rounds": 1}

    (right,) = compare_engines((8_000,), (100,), ("here",), opened, **wanted)
    (wrong,) = compare_engines((8_000,), (100,), ("here", "blind"), opened, **wanted)

    assert (right.rows, right.files, right.planted, right.exact) == (8_000, 1, 2, True)
    assert [result.exact for result in wrong.results] == [True, False]
    assert not wrong.exact


class Blind(HereEngine):
    """An engine that compares no file."""

    def run(
        self, job: Job, files: Sequence[str], *, avoid: frozenset[str] = frozenset()
    ) -> Generator[FileOutcome, None, None]:
        for outcome in super().run(job, files, avoid=avoid):
            yield replace(outcome, refused="blind")

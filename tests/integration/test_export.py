"""Exports: whole or not there, nobody's case in them, and images that come back as they were."""

import random
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from delist.errors import UsageError
from delist.export import writing
from delist.ingest.reports import IngestOptions
from indexer.model import HashedImage, ImageVisit, PageMark, RowLabel
from indexer.tables import StoredImage, batch_of, digests_of, images_of, images_schema
from indexer.url import url_key
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.signals import dump, make_image

CASE = "5f0c7d3e-0000-4000-8000-00000000cafe"
HERE = IngestOptions(processes=1)
THEN = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        yield world


def any_image(seed: int) -> HashedImage:
    """Make an image with whatever an image may have."""
    luck = random.Random(seed)
    hashed = make_image(
        seed, black={} if luck.random() < 0.3 else None, quality=luck.randrange(101)
    )
    if luck.random() < 0.4:
        labels = [RowLabel(frame=n * 3, quality=90 - n, partial=n == 1) for n in range(2)]
        rows = (hashed.rows[0], make_image(seed + 10**6).rows[0])
        hashed = replace(hashed, rows=rows, labels=tuple(labels), quality=90)
    if luck.random() < 0.3:
        hashed = replace(hashed, md5=luck.randbytes(16), mime="video/mp4")
        if luck.random() < 0.5:
            hashed = replace(hashed, rows=(), labels=(), quality=0, width=0, height=0)
    if luck.random() < 0.5:
        hashed = replace(hashed, traits=tuple(luck.randbytes(34) for _ in hashed.rows))
    return replace(hashed, provenance=("c2pa",) if luck.random() < 0.3 else ())


def fill(world: World, count: int) -> None:
    """Store images of every kind, with pages, marks, other addresses and times."""
    luck, visits = random.Random(count), []
    for seed in range(count):
        pages = tuple(f"https://p.example/{luck.randrange(9)}" for _ in range(luck.randrange(3)))
        visits.append(
            ImageVisit(
                image_url=f"https://a.example/{seed}.jpg",
                page_urls=tuple(dict.fromkeys(pages)),
                page_marks=frozenset(luck.sample(list(PageMark), luck.randrange(3))),
                aliases=(f"https://b.example/{seed}",) if luck.random() < 0.3 else (),
                document_id=f"doc {seed}" if luck.random() < 0.3 else None,
                etag=f'"{seed}"' if luck.random() < 0.3 else None,
                last_modified="Sun, 01 Jun 2025 00:00:00 GMT" if luck.random() < 0.3 else None,
                hashed=any_image(seed),
                seen_at=THEN + timedelta(days=seed % 30),
                known_since=THEN - timedelta(days=seed % 7),
            )
        )
    world.delist.indexer.record_visits(visits)


def everything(world: World) -> dict[str, Any]:
    """What is stored of images, whatever numbers their rows have."""
    store = world.delist.indexer.store
    with store.read() as txn:
        records = store.images.after(txn, b"", most=10_000)
        rows = [store.images.rows(txn, record) for record in records]
    found: dict[str, Any] = {
        name: pairs
        for name, pairs in dump(store).items()
        if name.startswith(("image_pages", "image_aliases", "alias", "image_files", "page_marks"))
    }
    return found | {"records": [replace(record, rows=()) for record in records], "rows": rows}


def test_images_come_back_as_they_were(world: World, tmp_path: Path) -> None:
    """An export taken into an empty store leaves the same images, whatever they are made of."""
    fill(world, 300)
    report = world.delist.exports.images(tmp_path / "out", actor="Robin", prefix_digits=1)

    with World(tmp_path / "other") as other:
        taken = other.delist.ingestion.run([tmp_path / "out"], HERE)

        assert (report.rows, taken.hashed, taken.refused) == (300, 300, {})
        assert everything(other) == everything(world)
    assert report.files == len(list((tmp_path / "out" / "images").glob("key=*/part-*.parquet")))


def test_an_export_of_a_store_takes_nothing_from_what_is_newer(
    world: World, tmp_path: Path
) -> None:
    """Bytes that were seen later than the export saw theirs stay; older ones are replaced."""
    fill(world, 1)
    url = "https://a.example/0.jpg"
    world.delist.exports.images(tmp_path / "out", actor="Robin")
    with World(tmp_path / "newer") as newer:
        newer.visit(url, image_near(name="newer"))
        report = newer.delist.ingestion.run([tmp_path / "out"], HERE)
        assert report.outdated == 1
    with World(tmp_path / "older") as older:
        older.visit(url, image_near(name="older"), seen_at=THEN - timedelta(days=1))
        assert older.delist.ingestion.run([tmp_path / "out"], HERE).hashed == 1


def test_the_table_says_what_it_is(world: World, tmp_path: Path) -> None:
    """Name and version stand in the metadata; another version or hasher is refused by name."""
    fill(world, 3)
    world.delist.exports.images(tmp_path / "out", actor="Robin", prefix_digits=0)
    (path,) = (tmp_path / "out" / "images").glob("*.parquet")
    table = parquet.read_table(path)

    assert table.schema.equals(images_schema())
    assert table.schema.metadata[b"delist.table"] == b"images"
    later = table.replace_schema_metadata({**table.schema.metadata, b"delist.version": b"2"})
    parquet.write_table(later, tmp_path / "later.parquet")
    place = table.schema.get_field_index("hasher_version")
    field = table.schema.field(place)
    other = table.set_column(place, field, pa.array([1, 2, 2], pa.uint16()))
    parquet.write_table(other, tmp_path / "hasher.parquet")
    paths = [tmp_path / "later.parquet", tmp_path / "hasher.parquet"]
    with World(tmp_path / "other") as world_2:
        report = world_2.delist.ingestion.run(paths, HERE)
    assert [source.broken for source in report.sources] == ["table_version", ""]
    assert report.sources[1].refused == {"other_hasher_version": 1}


def test_digests_are_one_array(world: World, tmp_path: Path) -> None:
    """What re-scans look up is every hash row, with the row of its image, slices included."""
    fill(world, 50)
    world.delist.exports.images(tmp_path / "out", actor="Robin", prefix_digits=0)
    (path,) = (tmp_path / "out" / "images").glob("*.parquet")
    (batch,) = parquet.read_table(path).combine_chunks().to_batches()

    for part in (batch, batch.slice(7, 20), batch.slice(0, 0)):
        digests, owners = digests_of(part)
        images = list(images_of(part))
        expected = [row for image in images for _, row in image.hashed.rows]
        assert [row.tobytes() for row in digests] == expected
        lengths = [len(image.hashed.rows) for image in images]
        assert owners.tolist() == [n for n, length in enumerate(lengths) for _ in range(length)]
    assert batch_of(list(images_of(batch))).equals(batch)


def test_matches_and_suppressions_name_no_case(world: World, tmp_path: Path) -> None:
    """Neither a case reference nor a digest leaves; of matches no address, of records no signal."""
    signal_digest = digest_of("reported")
    world.offer(signal_digest, cases={CASE: "Active"})
    url = "https://a.example/hit.jpg"
    world.visit(url, image_near({signal_digest: 5}))
    world.take_in()
    folder = tmp_path / "out"
    world.delist.exports.matches(folder, actor="Robin")
    world.delist.exports.suppressions(folder, actor="Robin")

    matches = dataset.dataset(folder / "matches").to_table().to_pylist()
    records = dataset.dataset(folder / "suppressions").to_table().to_pylist()
    assert [(m["image_key"], m["distance_bits"], m["feed"]) for m in matches] == [
        (url_key(url), 5, "exchange")
    ]
    assert [(r["image_url"], r["action"], r["state"]) for r in records] == [
        (url, "suppress", "provisional")
    ]
    secrets = [CASE, signal_digest, world.case_of(url).id, "exchange"]
    assert all(str(word) not in str(records) for word in secrets)
    assert all(str(word) not in str(matches) for word in (CASE, signal_digest, url))


def test_whoever_exports_is_on_record(world: World, tmp_path: Path) -> None:
    """Each export is one entry of the audit log, which says how much, and nothing of what."""
    fill(world, 5)
    world.delist.exports.images(tmp_path / "out", actor="Robin")
    world.delist.exports.matches(tmp_path / "out", actor="Kim")

    entries = [entry for entry in world.delist.audit_entries() if entry.act.startswith("export.")]
    assert [(entry.actor, entry.act) for entry in entries] == [
        ("Robin", "export.images"), ("Kim", "export.matches"),
    ]  # fmt: skip
    assert '"rows": 5' in entries[0].detail
    assert "example" not in entries[0].detail


def test_an_export_is_whole_or_not_there(world: World, tmp_path: Path) -> None:
    """It replaces nothing, its files are its owner's, and what a kill left goes with the next."""
    fill(world, 20)
    left = tmp_path / "out" / ".images.unfinished" / "key=0"
    left.mkdir(parents=True)
    (left / "part-00000.parquet").write_bytes(b"cut")
    world.delist.exports.images(tmp_path / "out", actor="Robin")

    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert names == ["images"]
    files = list((tmp_path / "out" / "images").rglob("*.parquet"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "out" / "images").stat().st_mode) == 0o700
    with pytest.raises(UsageError, match="is there already"):
        world.delist.exports.images(tmp_path / "out", actor="Robin")
    assert sum(parquet.read_metadata(path).num_rows for path in files) == 20


CHILD = """
import os, signal, sys
from pathlib import Path
from delist.build import Delist

def kill(_done, _all):
    os.kill(os.getpid(), signal.SIGKILL)

with Delist.open(data_dir=Path(sys.argv[1])) as delist:
    delist.exports.images(Path(sys.argv[2]), actor="x", on_progress=kill)
"""


def test_a_killed_export_leaves_nothing_in_its_place(world: World, tmp_path: Path) -> None:
    """Nothing is under its name, and the next export takes its place."""
    fill(world, 20)
    data_dir = str(world.delist.settings.indexer.data_dir)
    command = [sys.executable, "-c", CHILD, data_dir, str(tmp_path / "out")]
    ended = subprocess.run(command, check=False, timeout=60)

    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".images.unfinished"]
    assert world.delist.exports.images(tmp_path / "out", actor="Robin").rows == 20
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["images"]


def test_large_tables_are_cut_into_files(tmp_path: Path) -> None:
    """A file has a bounded number of rows; all of them are in one of its files."""
    stored = StoredImage(
        key=bytes(16),
        image_url="https://a.example/1.jpg",
        hashed=replace(make_image(1), size_bytes=0),
        hashed_at=THEN,
        seen_at=THEN,
    )
    with writing.new_folder(tmp_path, "images") as folder:
        parts = writing.Parts(folder, images_schema(), most_rows=4)
        for _ in range(5):
            parts.write(batch_of([stored] * 2))
        parts.end()
    rows = [parquet.read_metadata(path).num_rows for path in sorted(folder.parent.rglob("*.parq*"))]
    assert rows == [4, 4, 2]
    assert (parts.files, parts.rows) == (3, 10)


def test_an_empty_store_exports_tables_without_rows(world: World, tmp_path: Path) -> None:
    """A reader finds the schema, and no row."""
    world.delist.exports.images(tmp_path, actor="Robin")
    world.delist.exports.suppressions(tmp_path, actor="Robin")

    for name in ("images", "suppressions"):
        assert dataset.dataset(tmp_path / name).to_table().num_rows == 0

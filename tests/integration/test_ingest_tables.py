"""Folders and tables: what counts, what is refused by name, and going on after a kill."""

import base64
import gzip
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from delist.errors import DelistError, UsageError
from delist.ingest.rejects import RejectsFile
from delist.ingest.reports import IngestOptions, IngestReport, SourceReport
from tests.fakes.delisting import World, digest_of, flipped
from tests.fakes.signals import dump
from tests.sites import draw_image

HERE = IngestOptions(processes=1)
BASE = "https://a.example"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        yield world


def write(path: Path, form: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a table of any form; bytes as each form has them."""
    if form == "parquet":
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        parquet.write_table(pa.table(columns), path, row_group_size=3)
        return path
    lines = "".join(json.dumps(row, default=_plain) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if form == "jsonl.gz" else lines)
    return path


def _plain(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def rejects_of(report: IngestReport) -> dict[str, str]:
    """Map what was refused to why."""
    paths = [Path(source.rejects) for source in report.sources if source.rejects]
    entries = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return {entry.get("url", entry["at"]): entry["code"] for entry in entries}


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "parquet"])
def test_rows_of_bytes_paths_and_hashes(world: World, tmp_path: Path, form: str) -> None:
    """Each row that can be used is stored and matched; each other is named, and costs no other."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in.jpg").write_bytes(draw_image(2))
    (tmp_path / "out.jpg").write_bytes(draw_image(3))
    (tmp_path / "folder" / "link.jpg").symlink_to("../out.jpg")
    (tmp_path / "folder" / "linked").symlink_to("..")
    os.mkfifo(tmp_path / "folder" / "pipe.jpg")
    signal = digest_of("reported")
    world.offer(signal)
    good = [
        {"url": f"{BASE}/bytes", "bytes": draw_image(1), "page_url": "https://p.example"},
        {"url": f"{BASE}/path", "path": "in.jpg", "document_id": "17"},
        {"url": f"{BASE}/hash", "pdq": flipped(signal, 7).hex(), "quality": 90},
    ]
    bad = {
        "ftp://a.example/x": ({"path": "in.jpg"}, "invalid_url"),
        f"{BASE}/short": ({"pdq": "00ff"}, "invalid_digest"),
        f"{BASE}/above": ({"path": "../out.jpg"}, "outside_folder"),
        f"{BASE}/elsewhere": ({"path": str(tmp_path / "out.jpg")}, "outside_folder"),
        f"{BASE}/link": ({"path": "link.jpg"}, "symlink"),
        f"{BASE}/through": ({"path": "linked/out.jpg"}, "symlink"),
        f"{BASE}/pipe": ({"path": "pipe.jpg"}, "not_a_file"),
        f"{BASE}/gone": ({"path": "gone.jpg"}, "unreadable"),
        f"{BASE}/text": ({"bytes": b"no picture at all"}, "not_an_image"),
        f"{BASE}/nothing": ({}, "no_content"),
    }
    rows = [*good[:1], *({"url": url, **row} for url, (row, _) in bad.items()), *good[1:]]
    path = write(tmp_path / "folder" / f"table.{form}", form, rows)

    report = world.delist.ingestion.run([path], HERE)

    assert rejects_of(report) == {url: code for url, (_, code) in bad.items()}
    assert (report.rows, report.hashed, report.images) == (13, 3, 13)
    assert sum(report.refused.values()) == 10
    assert report.complete
    assert not report.refused_sources
    assert report.matches == 1
    record = world.delist.indexer.find_image(f"{BASE}/path")
    assert record is not None
    assert record.document_id == "17"
    world.take_in()
    match = world.case_of(f"{BASE}/hash").matches[0]
    assert (match.distance_bits, match.variant) == (7, "upright")


def test_a_hash_that_was_brought_never_replaces_bytes(world: World, tmp_path: Path) -> None:
    """What was hashed here stays; bytes take the place of a hash, whenever they come."""
    url, row = f"{BASE}/1.jpg", {"url": f"{BASE}/1.jpg", "pdq": digest_of("other").hex()}
    table = write(tmp_path / "t.jsonl", "jsonl", [row])
    world.delist.ingestion.run([table], HERE)
    brought = world.delist.indexer.find_image(url)
    world.delist.indexer.index_image(draw_image(1), image_url=url)
    hashed = world.delist.indexer.find_image(url)

    again = world.delist.ingestion.run([table], IngestOptions(processes=1, again=True))

    kept = world.delist.indexer.find_image(url)
    assert brought is not None
    assert hashed is not None
    assert kept is not None
    assert (brought.mime, brought.quality) == ("", 0)
    assert hashed.mime == "image/jpeg"
    assert (kept.sha256, kept.provenance, kept.traits) == (
        hashed.sha256, hashed.provenance, hashed.traits,
    )  # fmt: skip
    assert (again.unchanged, again.hashed) == (1, 0)


def test_a_hash_of_unknown_quality_waits_for_a_person(world: World, tmp_path: Path) -> None:
    """Nothing says that the hash is worth anything, so no machine acts on it alone."""
    signal = digest_of("reported")
    world.offer(signal)
    rows = [
        {"url": f"{BASE}/known", "pdq": signal.hex(), "quality": 100},
        {"url": f"{BASE}/unknown", "pdq": signal.hex()},
    ]
    world.delist.ingestion.run([write(tmp_path / "t.jsonl", "jsonl", rows)], HERE)
    world.take_in()

    assert [record.image_url for record in world.ledger()] == [f"{BASE}/known"]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([{"address": "x", "bytes": b"x"}], "missing_column_url"),
        ([{"url": f"{BASE}/1", "picture": b"x"}], "missing_column_content"),
    ],
)
def test_a_table_without_a_column_is_refused_whole(
    world: World, tmp_path: Path, rows: list[dict[str, Any]], code: str
) -> None:
    """It is named with what it lacks; the table beside it is taken in."""
    poor = write(tmp_path / "poor.parquet", "parquet", rows)
    row = {"url": f"{BASE}/2", "bytes": draw_image(2)}
    rich = write(tmp_path / "rich.parquet", "parquet", [row])

    report = world.delist.ingestion.run([poor, rich, tmp_path / "gone.parquet"], HERE)

    assert [source.broken for source in report.sources] == [code, "", "not_found"]
    assert (report.hashed, report.refused) == (1, {code: 1, "not_found": 1})


def test_broken_files_end_where_they_break(world: World, tmp_path: Path) -> None:
    """What came before counts; a file that is not what it says, or a line too long, is named."""
    lines = [json.dumps({"url": f"{BASE}/{n}", "pdq": digest_of(n).hex()}) for n in range(200)]
    text = "\n".join(lines).encode() + b"\n"
    cut = tmp_path / "cut.jsonl.gz"
    packed = gzip.compress(text)
    cut.write_bytes(packed[: len(packed) * 9 // 10])
    odd = tmp_path / "odd.jsonl"
    long = b'{"url": "' + b"x" * (44 * 1024 * 1024) + b'"}\n'
    odd.write_bytes(lines[0].encode() + b'\n[1]\n{"url"\n' + long + lines[1].encode() + b"\n")
    false = tmp_path / "false.parquet"
    false.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    other = tmp_path / "other.bin"
    other.write_bytes(b"something else")
    bomb = tmp_path / "bomb.jsonl.gz"
    bomb.write_bytes(gzip.compress(b"{" + b" " * (96 * 1024 * 1024) + b"}\n"))

    report = world.delist.ingestion.run([cut, odd, false, other, bomb], HERE)

    broken = ["truncated", "", "damaged", "unknown_format", "inflates_too_much"]
    assert [source.broken for source in report.sources] == broken
    assert 100 < report.sources[0].hashed < 200
    assert report.sources[1].refused == {"line_too_long": 1, "not_json": 2}
    assert report.sources[1].rows == 5


def test_a_folder_in_order_with_its_tables(world: World, tmp_path: Path) -> None:
    """Names become addresses; links are named, tables in it are tables, and the rest pictures."""
    folder = tmp_path / "folder"
    for name in ("b/2 x.jpg", "a/1.jpg", "a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw_image(len(name)))
    (folder / "loop").symlink_to(folder)
    (folder / "notes.txt").write_text("no picture")
    row = {"url": f"{BASE}/from-table", "path": "a/1.jpg"}
    write(folder / "table.jsonl", "jsonl", [row])

    options = IngestOptions(processes=1, base_url=f"{BASE}/base")
    report = world.delist.ingestion.run([folder], options)
    nameless = world.delist.ingestion.run([folder / "a"], HERE)

    assert report.hashed == 4
    assert rejects_of(report) == {
        f"{BASE}/base/loop": "symlink",
        f"{BASE}/base/notes.txt": "not_an_image",
    }
    for name in ("base/b/2%20x.jpg", "base/a/1.jpg", "base/a.jpg", "from-table"):
        assert world.delist.indexer.find_image(f"{BASE}/{name}")
    assert nameless.hashed == 1
    place = f"https://local.invalid{folder}/a/1.jpg"
    assert world.delist.indexer.find_image(place) is not None


def test_what_was_refused_is_for_its_owner_alone(world: World, tmp_path: Path) -> None:
    """The file has mode 0600 in a folder of 0700; where nothing was refused there is none."""
    bad = write(tmp_path / "bad.jsonl", "jsonl", [{"url": "x", "pdq": "00"}])
    good = write(tmp_path / "good.jsonl", "jsonl", [{"url": BASE, "pdq": digest_of(1).hex()}])

    report = world.delist.ingestion.run([bad, good], HERE)

    path = Path(report.sources[0].rejects)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert report.sources[1].rejects == ""
    assert list(path.parent.iterdir()) == [path]


def test_one_process_at_a_time_takes_a_source_in(world: World, tmp_path: Path) -> None:
    """The second is told so, and changes nothing."""
    table = write(tmp_path / "t.jsonl", "jsonl", [{"url": "x", "pdq": "00"}])
    first = world.delist.ingestion.run([table], HERE)
    held = Path(first.sources[0].rejects)

    with (
        RejectsFile(held, size_bytes=1000),
        pytest.raises(DelistError, match="another process takes this source in"),
    ):
        world.delist.ingestion.run([table], IngestOptions(processes=1, again=True))
    assert len(held.read_text().splitlines()) == 1


def test_options_that_make_no_sense(world: World, tmp_path: Path) -> None:
    """They are refused before anything is read."""
    with pytest.raises(UsageError, match="--format"):
        world.delist.ingestion.run([tmp_path], IngestOptions(form="tar"))
    with pytest.raises(UsageError, match="--base-url"):
        world.delist.ingestion.run([tmp_path], IngestOptions(base_url="a.example"))


CHILD = """
import sys
from pathlib import Path
from delist.build import Delist
from delist.ingest.reports import IngestOptions

def say(progress):
    print(progress.images, flush=True)

with Delist.open(data_dir=Path(sys.argv[1])) as delist:
    delist.ingestion.run(list(map(Path, sys.argv[2:])), IngestOptions(processes=1), on_progress=say)
"""


def test_a_kill_costs_what_was_under_way(world: World, tmp_path: Path) -> None:
    """Killed again and again, it ends with the same store, counters and refused rows, each once."""
    rows = [
        {"url": f"{BASE}/{n}", "pdq": "no" if n % 50 == 7 else digest_of(n).hex()}
        for n in range(700)
    ]
    table = write(tmp_path / "t.parquet", "parquet", rows)
    lines = write(tmp_path / "t.jsonl", "jsonl", [{**r, "url": r["url"] + "x"} for r in rows])
    expected = world.delist.ingestion.run([table, lines], HERE)
    with World(tmp_path / "killed") as other:
        data_dir = other.delist.settings.indexer.data_dir
    command = [sys.executable, "-c", CHILD, str(data_dir), str(table), str(lines)]
    reached: list[int] = []
    for batches in (2, 7):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            reached += [int(child.stdout.readline()) for _ in range(batches)][-1:]
            child.kill()
    with World(data_dir) as killed:
        report = killed.delist.ingestion.run([table, lines], HERE)

        assert all(count < 1400 for count in reached)
        names = set(SourceReport.__dataclass_fields__) - {"rejects", "was_done"}
        for ours, theirs in zip(report.sources, expected.sources, strict=True):
            assert all(getattr(ours, name) == getattr(theirs, name) for name in names)
            assert Path(ours.rejects).read_bytes() == Path(theirs.rejects).read_bytes()
        found, wanted = dump(killed.delist.indexer.store), dump(world.delist.indexer.store)
        assert found["image_hashes"] == wanted["image_hashes"]
        assert [key for key, _ in found["images"]] == [key for key, _ in wanted["images"]]

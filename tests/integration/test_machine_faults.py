"""A machine that fails us: a clock that is set back, files that may not be written, two versions.

Full disks are in test_full_disk.py, a full map in test_store_environment.py, kills in tests/soak.
"""

import ctypes
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lmdb
import pytest

from delist.build import Delist
from delist.cli import main
from delist.model import Verdict
from delist.settings import DelistSettings, SinkTable
from indexer.settings import IndexerSettings
from tests.fakes.delisting import FEED, World, digest_of, image_near

NEAR, WIDE, GONE, BACK = (digest_of(name) for name in ("near", "wide", "gone", "back"))
URL = "https://site.example/{}.jpg"
_READ_ONLY, _AGAIN = 1, 32

Files = dict[str, bytes]


# -- clocks --------------------------------------------------------------------------------------


def live(world: World, tick: Callable[[], None]) -> None:
    """Let everything happen once, with something done to the clock between any two steps."""
    images = {
        URL.format("near"): image_near({NEAR: 4}, name=1),
        URL.format("wide"): image_near({WIDE: 25}, name=2),
        URL.format("gone"): image_near({GONE: 7}, name=3),
    }
    steps: list[Callable[[], Any]] = [
        lambda: world.offer(NEAR, WIDE, GONE),
        lambda: world.visit_all(images),
        world.take_in,
        world.deliver,
        lambda: world.decide(world.case_of(URL.format("wide")), Verdict.NCII),
        lambda: world.withdraw(GONE),
        world.settle,
        world.delist.ledger_log.checkpoint,
        lambda: world.offer(GONE, BACK),
        lambda: world.visit(URL.format("back"), image_near({BACK: 9}, name=4)),
        world.settle,
        lambda: world.visit(URL.format("near"), image_near(name="other bytes")),
        world.settle,
        lambda: world.delist.keep_snapshot(force=True),
        lambda: world.decide(world.case_of(URL.format("back")), Verdict.NOT_NCII),
        world.settle,
        world.delist.ledger_log.checkpoint,
        lambda: world.delist.compact(at_once=False),
        # What was put off until a time that has been before waits for it, if that is near.
        lambda: world.clock.advance(days=1),
        world.deliver,
    ]
    for step in steps:
        step()
        tick()


def outcome(world: World) -> dict[str, Any]:
    urls = [URL.format(name) for name in ("near", "wide", "gone", "back")]
    return {
        "records": [
            (entry.image_url, entry.action, entry.state, entry.reason_code, entry.basis)
            for entry in world.ledger()
        ],
        "cases": {url: (world.state_of(url), world.case_of(url).verdict) for url in urls},
        "suppressed": world.results.suppressed(urls).tolist(),
        "told": sorted(world.listener.words),
    }


@pytest.mark.parametrize("by", [{"seconds": -2}, {"hours": -30}, {"days": -400}], ids=str)
def test_a_clock_that_goes_back_changes_no_outcome(tmp_path: Path, by: dict[str, float]) -> None:
    """However often it is set back: the same records in the same order, and all proofs hold."""
    with World(tmp_path / "steady") as world:
        live(world, lambda: None)
        expected = outcome(world)
    with World(tmp_path / "back") as world:
        live(world, lambda: world.clock.advance(**by))

        assert outcome(world) == expected
        assert world.delist.verify_ledger() == len(expected["records"])
        assert world.delist.verify_audit_log() > 0
        world.take_in()
        assert outcome(world) == expected


def test_nothing_waits_for_the_time_of_a_clock_that_was_ahead(tmp_path: Path) -> None:
    """What was put off while the clock was a year ahead is done as soon as it is set right."""
    folder = tmp_path / "archive"
    folder.write_text("in the way")
    with World(tmp_path / "data") as world:
        table = SinkTable(
            name="archive", kind="files", values={"folder": str(folder)}, base_dir=tmp_path
        )
        settings = DelistSettings(
            indexer=IndexerSettings(data_dir=tmp_path / "data"), sinks=(table,)
        )
        world.clock.advance(days=365)
        world.offer(NEAR)
        world.visit(URL.format("near"), image_near({NEAR: 4}))
        world.take_in()
        with Delist(settings, clock=world.clock) as delist:
            assert [done.delivered for done in delist.sinks.deliver()] == [0]
            folder.unlink()
            world.clock.advance(days=-365)

            assert [done.delivered for done in delist.sinks.deliver()] == [1]
        assert world.deliver().sent == 1
        assert world.listener.words == [(NEAR.hex(), "PendingReview")]


# -- files that may not be written, and stores of others -----------------------------------------


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an installation with a suppressed image, a waiting one, and news that waits."""
    folder = tmp_path_factory.mktemp("lived")
    with World(folder / "data") as world:
        world.offer(NEAR, WIDE)
        world.visit(URL.format("near"), image_near({NEAR: 4}, name=1))
        world.visit(URL.format("wide"), image_near({WIDE: 25}, name=2))
        world.take_in()
        world.visit(URL.format("new"), image_near({NEAR: 6}, name=3))
        case = world.case_of(URL.format("wide")).id
    (folder / "case").write_text(case)
    (folder / "bank.txt").write_text(f"{BACK.hex()}\n")
    (folder / "delist.toml").write_text(
        'data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "bank.txt"\n'
    )
    return folder


def commands(folder: Path) -> list[list[str]]:
    decide = ["decide", (folder / "case").read_text(), "--verdict", "ncii"]
    return [
        ["feed", "sync"],
        ["intake"],
        ["scan", "full"],
        ["compact"],
        [*decide, "--actor", "Robin", "--reason", "looked at it"],
        ["suppressions", "checkpoint"],
        ["suppressions", "snapshot"],
        ["access-code", FEED],
        ["jobs", "run", "retention"],
    ]


def files(folder: Path) -> Files:
    """Read every file, but for what only says who reads and writes now."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix not in {".lock", ".sqlite3-shm"}
        and path.name not in {"lock.mdb", "delist.sqlite3-shm", "delist.sqlite3-wal"}
    }


def fail(folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that has to fail; returns its one line."""
    code = main(["--config", str(folder / "delist.toml"), *command])
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert (code, len(lines)) == (1, 1), (command, code, said.err)
    assert lines[0].startswith("delist: ")
    assert "internal error" not in lines[0]
    return lines[0]


def succeed(folder: Path, command: list[str]) -> None:
    assert main(["--config", str(folder / "delist.toml"), *command]) == 0, command


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None]]]:
    """Mount a disk, where this process may, and give what lets it be written or not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=32m"):
        pytest.skip(f"no disk can be mounted here: {os.strerror(ctypes.get_errno())}")

    def let_write(may: bool) -> None:
        flags = _AGAIN if may else _AGAIN | _READ_ONLY
        done = libc.mount(b"none", bytes(folder), b"tmpfs", flags, b"")
        assert done == 0, os.strerror(ctypes.get_errno())

    yield folder, let_write
    assert libc.umount2(bytes(folder), 2) == 0


def test_a_disk_that_can_only_be_read(
    lived: Path,
    disk: tuple[Path, Callable[[bool], None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every command says so in one line; once it can be written again, nothing was lost."""
    folder, let_write = disk
    shutil.copytree(lived, folder, dirs_exist_ok=True)
    before = files(folder)
    let_write(False)
    for command in commands(folder):
        fail(folder, command, capsys)
    let_write(True)

    assert files(folder) == before
    for command in commands(folder):
        if command[0] != "access-code":
            succeed(folder, command)
    succeed(folder, ["suppressions", "verify"])
    capsys.readouterr()
    succeed(folder, ["--json", "suppressed", *(URL.format(name) for name in ("near", "new"))])
    assert capsys.readouterr().out.count('"suppressed": true') == 2


def make_newer_case_store(data: Path) -> Path:
    with closing(sqlite3.connect(data / "delist.sqlite3")) as connection:
        connection.execute("update alembic_version set version_num = '0999'")
        connection.commit()
    return data / "delist.sqlite3"


def make_newer_index_store(data: Path) -> Path:
    with closing(lmdb.open(str(data / "store"), max_dbs=64)) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(db=meta, write=True) as txn:
            txn.put(b"schema", b"99")
    return data / "store" / "data.mdb"


@pytest.mark.parametrize(
    ("make_newer", "unconcerned"),
    [
        (make_newer_case_store, {"compact"}),
        (make_newer_index_store, {"suppressions checkpoint", "suppressions snapshot"}),
    ],
)
def test_a_store_of_another_version_is_not_touched(
    lived: Path,
    tmp_path: Path,
    make_newer: Callable[[Path], Path],
    unconcerned: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever store a newer version wrote: who needs it fails by name, and no byte changes."""
    shutil.copytree(lived, tmp_path, dirs_exist_ok=True)
    store = make_newer(tmp_path / "data")
    before = store.read_bytes()

    for command in commands(tmp_path):
        if not {command[0], " ".join(command)} & unconcerned:
            assert "version of delist" in fail(tmp_path, command, capsys)
    assert store.read_bytes() == before

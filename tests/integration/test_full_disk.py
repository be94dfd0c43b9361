"""A full disk: one line, nothing of the write kept, nothing lost, and on when there is room."""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from delist.backup import restore
from delist.errors import DatabaseError, UsageError
from delist.model import CaseState
from delist.settings import DatabaseSettings
from indexer.errors import StoreError, StoreFullError
from indexer.settings import StoreSettings
from indexer.visits import VisitRecorder
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.postgres import PostgresServer
from tests.fakes.signals import (
    NOW,
    add_signals,
    dump,
    make_digest,
    make_image,
    make_lookup,
    make_record,
    make_visit,
    open_store,
    signals,
    sync,
)

ROOT = Path(__file__).parents[2]
DISK_BYTES = 3 << 20
FEW = [make_digest(seed) for seed in range(5)]
MANY = [make_record(make_digest(seed)) for seed in range(10, 9000)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 3 MiB, where this process may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={DISK_BYTES}".encode()
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, options):
        pytest.skip(f"no disk can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(bytes(folder), 2) == 0


def fill(disk: Path) -> Path:
    """Take all room that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def test_a_write_that_does_not_fit_keeps_nothing(disk: Path) -> None:
    """A page of a feed on a full disk: one line that says so; repeated with room, it is there."""
    with open_store(disk / "data") as store:
        add_signals(store, FEW)
        before = dump(store)
        filler = fill(disk)
        with pytest.raises(StoreFullError, match="the disk is full") as raised:
            sync(store, MANY)
        assert "\n" not in str(raised.value)
        assert dump(store) == before
        filler.unlink()
        more = MANY[:1000]
        assert sync(store, more).added == len(more)
    with open_store(disk / "data") as store:
        assert len(signals(store)) == len(FEW) + len(more)


def test_earlier_batches_of_visits_stay(disk: Path) -> None:
    """Batches until the disk is full: every one that returned is whole, the last left nothing."""
    with open_store(disk / "data") as store:
        recorder = VisitRecorder(store, make_lookup(store))
        recorded = 0

        def record(first: int) -> None:
            numbers = range(first, first + 100)
            visits = [make_visit(f"http://x/{number}", make_image(number)) for number in numbers]
            recorder.record(visits, now=NOW)

        with contextlib.suppress(StoreFullError):
            for recorded in itertools.count(step=100):
                record(recorded)
    with open_store(disk / "data") as store, store.read() as txn:
        assert store.images.count(txn) == recorded > 0
        for number in range(recorded):
            found = store.images.find_by_url(txn, f"http://x/{number}")
            assert found is not None
            assert store.images.rows(txn, found) == make_image(number).rows


@pytest.mark.parametrize("room", [0, 1, 2, 3, 5, 8, 12, 16, 40])
def test_a_store_that_cannot_be_created(disk: Path, room: int) -> None:
    """A disk that is full before or while a store is made: one line, and with room a store."""
    filler = fill(disk)
    os.truncate(filler, filler.stat().st_size - 4096 * room)
    try:
        with open_store(disk / "data"):
            assert room > 8
    except StoreError as error:
        assert room < 40
        assert "\n" not in str(error)  # noqa: PT017 - where there is room it is no error
        assert "disk is full" in str(error) or "No space left" in str(error)  # noqa: PT017
    filler.unlink()
    with open_store(disk / "data") as store:
        add_signals(store, FEW)
        assert len(signals(store)) == len(FEW)


def test_a_full_disk_can_be_read(disk: Path) -> None:
    """A store on a full disk opens and answers: look-ups go on."""
    with open_store(disk / "data") as store:
        add_signals(store, FEW)
    fill(disk)
    with open_store(disk / "data") as store:
        assert len(make_lookup(store).views.newest().parts[0].index) == len(FEW)


def test_nothing_is_put_back_onto_a_mount_point(
    disk: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    """No folder can take its name: said before a server's database is filled. Inside it works."""
    archive, name = tmp_path / "a.backup", postgres.create()
    put_back = partial(
        restore,
        archive,
        key=None,
        store=StoreSettings(map_size_bytes=2 << 20),
        database=DatabaseSettings(url=postgres.url(name)),
        actor="Robin",
        now=NOW,
    )
    with World(tmp_path / "data") as world:
        world.delist.backups.take(archive, encrypted=False)

    with pytest.raises(UsageError, match="mount point"):
        put_back(disk)

    assert list(disk.iterdir()) == []
    put_back(disk / "data")
    assert (disk / "data" / "store" / "data.mdb").exists()
    postgres.drop(name)


LIMITED = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from indexer.errors import StoreFullError
from tests.fakes.signals import dump, open_store, sync
from tests.integration.test_full_disk import MANY
with open_store(Path(sys.argv[1])) as store:
    before = dump(store)
    size = (Path(sys.argv[1]) / "store" / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        sync(store, MANY)
    except StoreFullError as error:
        assert dump(store) == before
        print(error)
"""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """A limit on file sizes is a full disk too: an error, no signal that ends the process."""
    with open_store(tmp_path) as store:
        add_signals(store, FEW)
        before = dump(store)
    script = LIMITED.format(root=str(ROOT))
    finished = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("the disk is full")
    assert finished.stdout.count("\n") == 1
    with open_store(tmp_path) as store:
        assert dump(store) == before
        assert sync(store, MANY).added == len(MANY)


def test_a_copy_of_a_full_store_is_whole(disk: Path, tmp_path: Path) -> None:
    """The file that a full disk left behind opens elsewhere as it was before the write."""
    with open_store(disk / "data") as store:
        add_signals(store, FEW)
        before = dump(store)
        fill(disk)
        with pytest.raises(StoreFullError):
            sync(store, MANY)
    shutil.copytree(disk / "data", tmp_path / "copy")
    with open_store(tmp_path / "copy") as store:
        assert dump(store) == before


def test_intake_on_a_full_disk(disk: Path) -> None:
    """What intake cannot write it has not taken in; with room every match has its record, once."""
    near = digest_of("near")
    urls = [f"https://site.example/{number}.jpg" for number in range(120)]
    with World(disk / "data") as world:
        world.offer(near)
        world.visit_all({url: image_near({near: 3}, name=url) for url in urls})
        filler = fill(disk)
        with pytest.raises(DatabaseError, match=r"^the disk is full"):
            world.take_in()
        assert (world.cases(), world.ledger()) == ([], [])
        assert not world.results.is_suppressed(urls[0])
        filler.unlink()
        world.take_in()
        world.take_in()

        assert sorted(record.image_url for record in world.ledger()) == sorted(urls)
        assert {case.state for case in world.cases()} == {CaseState.SUPPRESSED}
        assert world.delist.verify_ledger() == len(urls)
        assert world.results.suppressed(urls).all()

"""Backups: taken while others write, whole or refused by name, and put back without forgetting.

The drill at the end is the disaster: the data directory is gone while a process was writing.
"""

import base64
import io
import itertools
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from delist.backup import RestoreReport, check, make_key, read_key, restore
from delist.backup.sealing import CHUNK_BYTES, SealedReader, SealedWriter
from delist.backup.taking import prune
from delist.direct import ReportedHash
from delist.errors import (
    BackupDamagedError,
    BackupKeyError,
    BackupStoppedError,
    LedgerError,
    RestoredError,
    UsageError,
)
from delist.model import CaseState, Verdict
from delist.policy import DIRECT_FEED
from delist.running.work import Work
from delist.settings import DatabaseSettings
from delist.store import audit, positions
from indexer.match import FEED_KIND_PDQ
from indexer.settings import StoreSettings
from tests.conftest import POSTGRESQL, SQLITE
from tests.fakes.delisting import START, World, digest_of, image_near
from tests.fakes.postgres import PostgresServer

KEY = bytes(range(32))
REF = "C-17"
OURS, OTHER = digest_of("ours"), digest_of("other")
URL = "https://site.example/a.jpg"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    make_key(path)
    return path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as opened:
        yield opened


def put_back(
    world: World, archive: Path, key_file: Path, database: DatabaseSettings = DatabaseSettings()
) -> tuple[World, RestoreReport]:
    """Put a backup back beside; what is opened there follows the same feed, later."""
    into = archive.with_suffix(".restored")
    report = restore(
        archive,
        into,
        read_key(key_file),
        store=StoreSettings(),
        database=database,
        actor="Robin",
        now=world.clock(),
    )
    opened = World(into, database=database)
    opened.feed, opened.clock.now = world.feed, world.clock.now
    return opened, report


def fill(world: World) -> str:
    """One case that a person confirmed, one that waits, a code; returns the code."""
    world.offer(OURS, cases={REF: "Received"})
    world.offer(OTHER)
    world.visit(URL, image_near({OURS: 3}))
    world.visit("https://site.example/b.jpg", image_near({OTHER: 30}, name="b"))
    world.settle()
    world.decide(world.case_of(URL), Verdict.NCII)
    return world.delist.issue_access_code(REF)


@pytest.fixture(params=[(SQLITE, SQLITE), (POSTGRESQL, POSTGRESQL), (POSTGRESQL, SQLITE)])
def both(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[DatabaseSettings, DatabaseSettings]]:
    """Where the cases lie, and an empty place that they are put back into."""
    source, target = request.param
    if source == SQLITE:
        yield DatabaseSettings(), DatabaseSettings()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    names = [server.create_store(), server.create()]
    first, second = (DatabaseSettings(url=server.url(name)) for name in names)
    yield first, second if target == POSTGRESQL else DatabaseSettings()
    for name in names:
        server.drop(name)


def test_what_is_put_back_is_what_was(
    tmp_path: Path, key_file: Path, both: tuple[DatabaseSettings, DatabaseSettings]
) -> None:
    """Cases, records, codes, the filter's answers; also from PostgreSQL into SQLite."""
    source, target = both
    archive = tmp_path / "a.backup"
    with World(tmp_path / "data", database=source) as world:
        code = fill(world)
        report = world.delist.backups.take(archive, key_file=key_file)
        restored, told = put_back(world, archive, key_file, target)
        with restored:
            assert restored.cases() == world.cases()
            assert restored.ledger() == world.ledger()
            assert restored.results.is_suppressed(URL)
            full = restored.delist.survivor_report(REF, access_code=code)
            assert full.images is not None
            assert restored.delist.verify_ledger() == told.records == len(world.ledger())
            # Numbers go on behind those that came along, and the store can be written to.
            restored.sync()
            restored.visit("https://site.example/c.jpg", image_near({OURS: 2}, name="c"))
            restored.settle()
            assert len(restored.ledger()) == len(world.ledger()) + 1
            restored.delist.compact()
    assert told.taken_at == report.taken_at
    assert told.feeds == [world.feed.name]
    for path in restored.delist.settings.indexer.data_dir.rglob("secrets/*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_archive_holds_nothing_to_be_read(tmp_path: Path, key_file: Path, world: World) -> None:
    """No address, digest or case reference; and it is its owner's."""
    fill(world)
    archive = Path(world.delist.backups.take(tmp_path, key_file=key_file).file)

    content = archive.read_bytes()
    for secret in (URL.encode(), b"site.example", OURS, REF.encode()):
        assert secret not in content
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob("*.new")] == []


def test_plain_only_by_a_word(tmp_path: Path, key_file: Path, world: World) -> None:
    """Without a key nothing is written; with one, no plain archive is taken for ours."""
    with pytest.raises(UsageError, match="key"):
        world.delist.backups.take(tmp_path / "a.backup")
    world.delist.backups.take(tmp_path / "b.backup", encrypted=False)

    assert check(tmp_path / "b.backup", None).verified
    with pytest.raises(BackupKeyError, match="not encrypted"):
        check(tmp_path / "b.backup", read_key(key_file))
    assert not (tmp_path / "a.backup").exists()
    with pytest.raises(UsageError, match="there already"):
        world.delist.backups.take(tmp_path / "b.backup", encrypted=False)


def test_keys(tmp_path: Path) -> None:
    """Hex or base64 of 32 bytes; a key that is there is never written over, nor shown."""
    make_key(tmp_path / "k")
    assert len(read_key(tmp_path / "k")) == 32
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="there already"):
        make_key(tmp_path / "k")
    (tmp_path / "b").write_bytes(base64.b64encode(KEY) + b"\n")
    assert read_key(tmp_path / "b") == KEY
    (tmp_path / "c").write_text("secret words")
    with pytest.raises(UsageError) as caught:
        read_key(tmp_path / "c")
    assert "secret words" not in str(caught.value)


# What can be done to an archive.

SIZE = 3 * CHUNK_BYTES + 17
HEADER = 65
CHUNK = 8 + CHUNK_BYTES + 16


def sealed(content: bytes, key: bytes | None = KEY) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, key)
    writer.write(content)
    writer.finish()
    return file.getvalue()


def opened(archive: bytes, key: bytes | None = KEY) -> bytes:
    return SealedReader(io.BytesIO(archive), key).read(2 * SIZE)


def chunk(archive: bytes, number: int) -> bytes:
    return archive[HEADER + number * CHUNK :][:CHUNK]


def with_chunks(archive: bytes, *chunks: bytes) -> bytes:
    return archive[:HEADER] + b"".join(chunks)


def flipped_at(archive: bytes, position: int) -> bytes:
    return archive[:position] + bytes((archive[position] ^ 1,)) + archive[position + 1 :]


ATTACKS: dict[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "empty": (lambda _a, _b: b"", "no backup"),
    "another file": (lambda _a, _b: b"SQLite format 3\0" * 9, "no backup"),
    "cut in the header": (lambda a, _b: a[:40], "cut"),
    "cut behind the header": (lambda a, _b: a[:HEADER], "cut: it ends before chunk 0"),
    "cut within a chunk": (lambda a, _b: a[: HEADER + CHUNK + 99], "cut: it ends within chunk 1"),
    "cut between chunks": (lambda a, _b: a[: HEADER + 2 * CHUNK], "cut: it ends before chunk 2"),
    "an end made up": (
        lambda a, _b: with_chunks(a, b"\x80" + chunk(a, 0)[1:]),
        "chunk 0 of the archive was altered",
    ),
    "a bit of a chunk": (lambda a, _b: flipped_at(a, HEADER + CHUNK + 99), "chunk 1 .* altered"),
    "a bit of the header": (lambda a, _b: flipped_at(a, 30), "key"),
    "two chunks exchanged": (
        lambda a, _b: with_chunks(a, chunk(a, 1), chunk(a, 0), chunk(a, 2), chunk(a, 3)),
        "chunk 1 stands where chunk 0 belongs",
    ),
    "two exchanged, numbered anew": (
        lambda a, _b: with_chunks(a, chunk(a, 0)[:8] + chunk(a, 1)[8:], chunk(a, 1)),
        "chunk 0 .* altered",
    ),
    "one left out": (
        lambda a, _b: with_chunks(a, chunk(a, 0), chunk(a, 2), chunk(a, 3)),
        "chunk 2 stands where chunk 1 belongs",
    ),
    "one of another archive": (
        lambda a, b: with_chunks(a, chunk(a, 0), chunk(b, 1), chunk(a, 2), chunk(a, 3)),
        "chunk 1 .* another archive",
    ),
    "continued": (lambda a, _b: a + b"\0", "goes on behind its end"),
    "a length of 4 GiB": (
        lambda a, _b: a[: HEADER + 4] + b"\xff" * 4 + a[HEADER + 8 :],
        "chunk 0 .* altered",
    ),
}


@pytest.fixture(scope="module")
def archives() -> tuple[bytes, bytes]:
    return sealed(bytes(SIZE)), sealed(bytes(SIZE))


@pytest.mark.parametrize("name", ATTACKS)
def test_what_was_done_to_an_archive_is_named(archives: tuple[bytes, bytes], name: str) -> None:
    """Cut, altered, reordered, mixed: nothing of the wrong chunk is given out."""
    attack, said = ATTACKS[name]

    with pytest.raises((BackupDamagedError, BackupKeyError), match=said):
        opened(attack(*archives))


def test_keys_of_archives() -> None:
    """Another key, and none, are told from damage; equal contents seal to different bytes."""
    archive = sealed(b"content")

    assert opened(archive) == b"content"
    assert sealed(b"content")[HEADER:] != archive[HEADER:]
    with pytest.raises(BackupKeyError, match="not the one"):
        opened(archive, bytes(32))
    with pytest.raises(BackupKeyError, match="is encrypted"):
        opened(archive, None)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
@pytest.mark.parametrize("key", [KEY, None])
def test_any_size_comes_back(size: int, key: bytes | None) -> None:
    """Also where the last chunk is just full, or empty."""
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert opened(sealed(content, key), key) == content


def test_a_damaged_archive_leaves_nothing(
    tmp_path: Path, key_file: Path, world: World, postgres: PostgresServer
) -> None:
    """Neither a folder nor a row, in SQLite or on a server; a full place is not touched."""
    fill(world)
    archive = tmp_path / "a.backup"
    world.delist.backups.take(archive, key_file=key_file)
    content = archive.read_bytes()
    archive.write_bytes(content[:-20])  # all but the end is as it was
    name = postgres.create()
    database = DatabaseSettings(url=postgres.url(name))

    for target in (DatabaseSettings(), database):
        with pytest.raises(BackupDamagedError):
            put_back(world, archive, key_file, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.backup", "data", "key"]
    archive.write_bytes(content)
    restored, _ = put_back(world, archive, key_file, database)
    restored.close()
    with pytest.raises(UsageError, match="not empty"):
        put_back(world, archive, key_file)
    shutil.rmtree(archive.with_suffix(".restored"))
    with pytest.raises(UsageError, match="not empty"):
        put_back(world, archive, key_file, database)
    postgres.drop(name)


def test_an_edited_ledger_is_found_in_an_archive(
    tmp_path: Path, key_file: Path, world: World
) -> None:
    """Whoever has the key can make an archive; the ledger in it still has to verify."""
    fill(world)
    with world.delist.database.write() as connection:
        connection.exec_driver_sql("update suppression_records set case_id = 'x'")
    archive = tmp_path / "a.backup"
    world.delist.backups.take(archive, key_file=key_file)

    with pytest.raises(BackupDamagedError, match="does not verify"):
        check(archive, read_key(key_file))
    with pytest.raises(BackupDamagedError, match="does not verify"):
        put_back(world, archive, key_file)


# What a store that was put back may not do yet.


def test_nothing_is_decided_before_the_feeds_were_read(
    tmp_path: Path, key_file: Path, world: World
) -> None:
    """A signal that was withdrawn since is back; only a whole sync ends it."""
    fill(world)
    archive = tmp_path / "a.backup"
    world.delist.backups.take(archive, key_file=key_file)
    world.withdraw(OURS)
    world.settle()
    assert world.state_of(URL) is CaseState.WITHDRAWN

    restored, _ = put_back(world, archive, key_file)
    with restored:
        for act in (
            restored.take_in,
            restored.delist.send_feedback,
            lambda: restored.decide(restored.case_of(URL), Verdict.NOT_NCII),
        ):
            with pytest.raises(RestoredError, match=r"delist feed sync"):
                act()
        assert restored.results.is_suppressed(URL)  # what was hidden stays so
        restored.sync()
        restored.settle()
        assert restored.state_of(URL) is CaseState.WITHDRAWN
        assert not restored.results.is_suppressed(URL)


def test_direct_reports_need_a_person(tmp_path: Path, key_file: Path, world: World) -> None:
    """They have no feed to ask: somebody withdraws again what was withdrawn, and says so."""
    hashes = [ReportedHash(kind=FEED_KIND_PDQ, value=OURS.hex())]
    world.delist.direct.add(hashes, reference=REF, actor="Robin")
    archive = tmp_path / "a.backup"
    world.delist.backups.take(archive, key_file=key_file)

    restored, report = put_back(world, archive, key_file)
    with restored:
        assert report.direct
        restored.delist.direct.withdraw(REF, actor="Robin")  # which is no word on the others
        with pytest.raises(RestoredError, match="accept-restored direct"):
            restored.take_in()
        restored.delist.accept_restored(DIRECT_FEED, actor="Robin", reason="withdrawn again")
        restored.take_in()
        with pytest.raises(UsageError):
            restored.delist.accept_restored(DIRECT_FEED, actor="Robin", reason="again")
        entries = list(restored.delist.audit_entries(subject=DIRECT_FEED))
        assert entries[-1].act == "restored.accepted"


def test_the_ledger_is_not_signed_twice(tmp_path: Path, key_file: Path, world: World) -> None:
    """Other records under the numbers that somebody has seen signed: never with the same key."""
    fill(world)
    world.delist.ledger_log.checkpoint()
    archive = tmp_path / "a.backup"
    world.delist.backups.take(archive, key_file=key_file)
    world.visit("https://site.example/c.jpg", image_near({OURS: 2}, name="c"))
    world.settle()
    world.delist.ledger_log.checkpoint()
    published = world.delist.ledger_log.folder.checkpoint()
    assert published is not None

    restored, _ = put_back(world, archive, key_file)
    with restored:
        with pytest.raises(LedgerError, match="put back"):
            restored.delist.ledger_log.checkpoint()
        with pytest.raises(LedgerError, match="not known here"):
            restored.delist.resume_log(published, actor="Robin", reason="to go on")
        made = restored.delist.begin_new_log(actor="Robin", reason="disk lost")
        assert restored.delist.ledger_log.checkpoint().moved
        assert str(restored.delist.ledger_log.key) == made.key
        assert made.key.split("+")[0] != made.ended.split("+")[0]  # another origin, too
        assert restored.delist.verify_ledger() == len(restored.ledger())
        assert (Path(made.evidence) / "checkpoint-held").read_text().startswith("delist/")
        entry = list(restored.delist.audit_entries(subject="ledger"))[-1]
        assert (entry.act, entry.actor) == ("ledger.new_log", "Robin")
        data_dir = restored.delist.settings.indexer.data_dir
        assert not (data_dir / "secrets/ledger-key").exists()


def test_the_log_goes_on_if_nothing_was_signed_since(
    tmp_path: Path, key_file: Path, world: World
) -> None:
    """Whoever holds the newest checkpoint shows it."""
    fill(world)
    world.delist.ledger_log.checkpoint()
    archive = tmp_path / "a.backup"
    world.delist.backups.take(archive, key_file=key_file)
    published = world.delist.ledger_log.folder.checkpoint()
    assert published is not None

    restored, _ = put_back(world, archive, key_file)
    with restored:
        restored.delist.resume_log(published, actor="Robin", reason="nothing since")
        assert restored.delist.ledger_log.checkpoint().files > 0
        assert restored.delist.ledger_log.key == world.delist.ledger_log.key
        with pytest.raises(UsageError, match="goes on anyway"):
            restored.delist.resume_log(published, actor="Robin", reason="again")


def test_a_new_log_that_was_cut_off_signs_nothing(world: World) -> None:
    """With the new key there and the old checkpoints still held, all waits for the command."""
    fill(world)
    world.delist.ledger_log.checkpoint()
    data_dir = world.delist.settings.indexer.data_dir
    shutil.copy(data_dir / "secrets/people-key", data_dir / "secrets/ledger-key-2")

    world.delist.__dict__.pop("ledger_log")
    with pytest.raises(LedgerError, match="not of this log"):
        world.delist.ledger_log.checkpoint()
    world.delist.begin_new_log(actor="Robin", reason="once more")
    assert world.delist.ledger_log.checkpoint().moved


def test_a_backup_that_is_stopped_leaves_nothing(
    tmp_path: Path, key_file: Path, world: World
) -> None:
    """At any point; the job says that it did not come to its end, and begins anew."""
    fill(world)
    settings = world.delist.settings
    folder = tmp_path / "backups"
    folder.mkdir()
    world.delist.settings = replace(
        settings, backup=replace(settings.backup, folder=folder, key_file=key_file)
    )
    for asks in (0, 1, 5):
        asked = itertools.count()
        with pytest.raises(BackupStoppedError):
            world.delist.backup(stopped=lambda asked=asked, asks=asks: next(asked) >= asks)
        assert list(folder.iterdir()) == []
    job = Work(world.delist).jobs()["backup"]
    assert (job.call(lambda: True), list(folder.iterdir())) == (False, [])
    assert (job.call(lambda: False), len(list(folder.iterdir()))) == (True, 1)


def test_a_folder_that_is_not_there_is_no_file(
    tmp_path: Path, key_file: Path, world: World
) -> None:
    """A disk that is not mounted fails the job; it does not get one file of the folder's name."""
    settings, folder = world.delist.settings, tmp_path / "backups"
    world.delist.settings = replace(
        settings, backup=replace(settings.backup, folder=folder, key_file=key_file)
    )

    with pytest.raises(UsageError, match="is not there"):
        world.delist.backup()

    assert not folder.exists()


def test_old_backups_end(tmp_path: Path, key_file: Path, world: World) -> None:
    """After their days, the newest apart; other files stay."""
    settings = world.delist.settings
    world.delist.settings = replace(
        settings, backup=replace(settings.backup, folder=tmp_path, key_file=key_file)
    )
    old = Path(world.delist.backup().file)
    (tmp_path / "delist-notes.backup").write_text("mine")
    world.clock.advance(days=36)
    assert world.delist.retain().backups == 0  # it is the newest
    new = Path(world.delist.backup().file)
    assert world.delist.retain(dry_run=True).backups == 1
    assert old.exists()
    assert world.delist.retain().backups == 1

    assert sorted(tmp_path.glob("*.backup")) == sorted([new, tmp_path / "delist-notes.backup"])
    assert prune(tmp_path / "nowhere", keep=START - START, now=START) == 0


# The drill.

IMAGES = 16


def signal_of(number: int) -> bytes:
    return digest_of(("drill", number))


def address(number: int) -> str:
    return f"https://site{number % 7}.example/{number}.jpg"


def step(world: World, number: int) -> None:
    """A signal, an image of it, a withdrawal of one before; and all of it taken in."""
    world.offer(signal_of(number), cases={f"C-{number}": "Received"})
    world.visit(address(number), image_near({signal_of(number): 1 + number % 20}, name=number))
    if number % 4 == 3:
        world.withdraw(signal_of(number - 3))
    world.settle()


def standing(world: World) -> dict[str, CaseState]:
    found = {case.image_url: case.state for case in world.cases()}
    return {url: state for url, state in found.items() if state is not CaseState.WITHDRAWN}


def test_drill(tmp_path: Path, key_file: Path) -> None:
    """A backup is taken while a process writes; then everything is gone but the archive.

    Put back, synced and crawled again, it stands where an undisturbed run stands: same cases,
    same results, each image suppressed once, and the ledger verifies.
    """
    archive = tmp_path / "drill.backup"
    under_way, failed = threading.Event(), list[BaseException]()
    with World(tmp_path / "plain") as undisturbed:
        for number in range(IMAGES):
            step(undisturbed, number)
        expected = standing(undisturbed)
        records = len(undisturbed.ledger())

    with World(tmp_path / "data") as world:
        step(world, 0)
        step(world, 1)
        code_of_1 = world.delist.issue_access_code("C-1")

        def work() -> None:
            try:
                for number in range(2, IMAGES):
                    step(world, number)
                    if number == 6:
                        under_way.set()
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                failed.append(error)
                under_way.set()

        writer = threading.Thread(target=work)
        writer.start()
        assert under_way.wait(60)
        world.delist.backups.take(archive, key_file=key_file)
        writer.join(60)
        assert not failed
        assert standing(world) == expected
    shutil.rmtree(tmp_path / "data")  # the disaster

    assert check(archive, read_key(key_file)).verified
    restored, report = put_back(world, archive, key_file)
    store = restored.delist.indexer.store
    with restored:
        assert 0 < report.records < records
        with restored.delist.database.read() as connection, store.read() as txn:
            for log, name in ((store.images.log, "match"), (store.signals.log, "signal")):
                # What was taken in was in the log: the cases are never ahead of the images.
                assert 0 < positions.load(connection, name) <= log.last_sequence(txn)
        restored.sync()
        for number in range(IMAGES):
            restored.visit(
                address(number), image_near({signal_of(number): 1 + number % 20}, name=number)
            )
        restored.settle()

        assert standing(restored) == expected
        urls = map(address, range(IMAGES))
        assert {url for url in urls if restored.results.is_suppressed(url)} == expected.keys()
        suppressed = [r.image_url for r in restored.ledger() if r.action.value == "suppress"]
        assert len(suppressed) == len(set(suppressed))
        assert restored.delist.verify_ledger() == len(restored.ledger())
        with restored.delist.database.read() as connection:
            assert audit.verify(connection) > 0
        report_of_1 = restored.delist.survivor_report("C-1", access_code=code_of_1)
        assert report_of_1.images is not None

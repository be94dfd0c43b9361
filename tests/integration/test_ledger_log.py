"""The ledger as a log: checkpoints, proofs, witnesses, and what can be done to a store.

What we publish is read by aics-tlog too, another program for the same formats.
"""

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import aics_tlog
import jsonschema
import pytest
from sqlalchemy import insert

from delist.attestation import erasing
from delist.attestation.attesting import LedgerLog
from delist.attestation.proving import check_growth, check_record
from delist.attestation.publishing import LogFolder
from delist.attestation.witnessing import cosign_log
from delist.cli.output import _plain, document_of
from delist.commitments import chain_hash, commitment_of, entry_of, payload_of
from delist.errors import LedgerError, LogProofError, UsageError
from delist.model import ErasedRecord, RecordAction
from delist.schemas import RECORD, load
from delist.serving import SuppressionFilter, keep_snapshot
from delist.settings import DatabaseSettings
from delist.store import Database, audit, ledger, tree
from delist.store.tables import suppression_records
from delist.tlog.checkpoints import cosigned_at
from delist.tlog.notes import KeyKind, Note, SigningKey
from tests.fakes.delisting import START
from tests.fakes.forking import Forking, forking
from tests.integration.test_ledger import COLUMNS, TIMES, draft

WITNESS = SigningKey(name="witness.example/w1", secret=b"\2" * 32)
COSIGNER = WITNESS.verifier(KeyKind.COSIGNATURE)


class Store:
    """A ledger with its log, in a folder."""

    def __init__(self, data_dir: Path, settings: DatabaseSettings) -> None:
        self.data_dir = data_dir
        self.database = Database(data_dir, settings)
        self.log = LedgerLog(self.database, data_dir, origin="", clock=lambda: START)

    def append(self, *numbers: int) -> None:
        with self.database.write() as connection:
            for number in numbers:
                ledger.append(connection, draft(number), now=START)

    def grow(self, count: int) -> None:
        """Append many records at once, as ``ledger.append`` writes them."""
        with self.database.write() as connection:
            last, previous = ledger.head(connection)
            model = ledger.append(connection, draft(last + 1), now=START)
            names = [name for name in COLUMNS if name not in {"sequence", "id", "hash"}]
            row = dict(
                connection.execute(
                    suppression_records.select().where(
                        suppression_records.c.sequence == model.sequence
                    )
                ).one()._mapping
            )  # fmt: skip
            previous, rows = model.hash, []
            for sequence in range(last + 2, last + count + 1):
                made = {name: row[name] for name in names} | {
                    "sequence": sequence, "id": f"{sequence:032x}", "previous_hash": previous,
                }  # fmt: skip
                nonce = bytes.fromhex(row["nonce"])
                made["commitment"] = commitment_of(nonce, payload_of(made)).hex()
                made["hash"] = previous = chain_hash(previous, sequence, made["commitment"])
                rows.append(made)
            if rows:
                connection.execute(insert(suppression_records), rows)
                ledger._move_head(connection, last + count, previous)

    def edit(self, *statements: str) -> None:
        with self.database.write() as connection:
            for statement in statements:
                assert connection.exec_driver_sql(statement).rowcount != 0, statement

    def erase(self, *sequences: int) -> None:
        erasing.erase(self.database, sequences, actor="Kim", reason="wish", now=START)

    def audited(self) -> int:
        """Have everything that is published checked by the other program; returns the size."""
        reader = aics_tlog.FileSystemTileReader(self.log.folder.folder)
        note = aics_tlog.parse_note((self.log.folder.folder / "checkpoint").read_text())
        key = aics_tlog.parse_vkey(str(self.log.key))
        head = aics_tlog.verify_checkpoint(note, key, expected_origin=self.log.key.name)
        assert head.ok, head.error
        aics_tlog.audit_tiles(reader, head.size, head.root)
        with self.database.read() as connection:
            rows = connection.execute(
                suppression_records.select().order_by(suppression_records.c.sequence)
            ).all()
        for row in (rows[0], rows[head.size // 2], rows[head.size - 1]):
            entry = aics_tlog.read_entry(reader, row.sequence - 1, head.size)
            assert entry == entry_of(row.sequence, bytes.fromhex(row.commitment))
        return head.size


@pytest.fixture
def store(tmp_path: Path, sql: DatabaseSettings) -> Iterator[Store]:
    made = Store(tmp_path / "data", sql)
    yield made
    made.database.close()


@pytest.mark.parametrize("steps", [(1,), (255, 1, 1), (300, 500), (3, 700, 1)])
def test_another_program_reads_what_is_published(store: Store, steps: tuple[int, ...]) -> None:
    """Heads, tiles, entries and proofs of every checkpoint are what C2SP's formats say."""
    heads = [(0, aics_tlog.EMPTY_HASH)]
    for count in steps:
        store.grow(count)
        report = store.log.checkpoint()
        assert (report.moved, report.size) == (True, sum(steps[: len(heads)]))
        assert store.audited() == report.size
        with store.database.read() as connection:
            heads.append((report.size, tree.root(connection, report.size)))
    size, root = heads[-1]
    for old, old_root in heads:
        proof = store.log.prove_growth(old).partition("\n\n")[0].split("\n")[1:]
        hashes = [aics_tlog.note.base64.b64decode(line) for line in proof]
        assert aics_tlog.verify_consistency(old, size, old_root, root, hashes) or not old
    assert store.log.verify() == size
    assert not store.log.checkpoint().moved


def test_a_record_is_proved_offline(store: Store) -> None:
    """The proof tells the record, holds by the log's key alone, and for nothing else."""
    store.append(1, 2, 3)
    store.log.checkpoint()
    proof, key = store.log.prove(2), store.log.key

    found = check_record(proof, key)

    assert (found.sequence, found.size, found.origin) == (2, 3, key.name)
    assert found.record is not None
    assert found.record["image_url"] == "https://example.org/2.jpg"
    head, index, rest = proof.partition("index 1")
    for bad in (head + "index 0" + rest, proof.replace("extra ey", "extra e0"), "x" + proof):
        with pytest.raises(LogProofError):
            check_record(bad, key)
    other = check_record(store.log.prove(1), key).record
    assert other is not None
    assert index
    assert other["sequence"] == 1


def test_growth_is_proved_from_an_older_checkpoint(store: Store) -> None:
    """Whoever kept a checkpoint sees that the log goes on from it."""
    store.append(1, 2)
    store.log.checkpoint()
    older = store.log.folder.checkpoint() or ""
    store.append(3, 4, 5)
    store.log.checkpoint()

    grown = check_growth(store.log.prove_growth(2), older, store.log.key)

    assert (grown.old_size, grown.size) == (2, 5)
    with pytest.raises(LogProofError):
        check_growth(store.log.prove_growth(3), older, store.log.key)
    with pytest.raises(UsageError):
        store.log.prove_growth(6)
    with pytest.raises(UsageError):
        store.log.prove(6)


def test_before_anything_is_signed(store: Store) -> None:
    """An empty ledger verifies, signs nothing, and says how to begin."""
    assert store.log.verify() == 0
    assert store.log.checkpoint().size == 0
    with pytest.raises(UsageError, match="no checkpoint yet"):
        store.log.prove(1)


CUT = (
    "delete from suppression_records where sequence > 3",
    """update ledger_head set sequence = 3,
    hash = (select hash from suppression_records where sequence = 3)""",
)


def test_a_ledger_cut_together_with_its_head_shows(store: Store) -> None:
    """The chain alone cannot tell; the tree does, and nothing is signed any more."""
    store.append(1, 2, 3, 4, 5)
    store.log.checkpoint()
    store.edit(*CUT)

    with store.database.read() as connection:
        assert ledger.verify(connection) == 3
    with pytest.raises(LedgerError, match="cut"):
        store.log.verify()
    with pytest.raises(LedgerError, match="cut"):
        store.log.checkpoint()
    store.append(6, 7, 8)
    with pytest.raises(LedgerError):
        store.log.verify()
    with pytest.raises(LedgerError, match="rewritten"):
        store.log.checkpoint()
    assert "\n5\n" in (store.log.folder.checkpoint() or "")


def test_a_ledger_cut_with_tree_and_checkpoints_shows_by_what_was_published(store: Store) -> None:
    """Everything in the database made anew: the published checkpoint says otherwise."""
    store.append(1, 2, 3, 4, 5)
    store.log.checkpoint()
    store.edit(*CUT, "delete from ledger_tiles", "delete from checkpoints")

    for act in (store.log.verify, store.log.checkpoint):
        with pytest.raises(LedgerError, match="rolled back"):
            act()


@pytest.mark.parametrize(
    "statement",
    [
        """update ledger_tiles set hashes =
        (select hashes from ledger_tiles where level = 0 and number = 0) where number = 1""",
        "delete from ledger_tiles where level = 1",
        "delete from ledger_tiles where number = 1",
        "insert into ledger_tiles select 5, 0, hashes from ledger_tiles where level = 1",
        "update checkpoints set size = 299 where size = 300",
        "update checkpoints set note = 'x' where size = 300",
        "update checkpoints set note = replace(note, '300', '299') where size = 300",
        "update checkpoints set ledger_hash = 'x' where size = 300",
        "delete from checkpoints where size = 300",
    ],
)
def test_an_edited_tree_shows(store: Store, statement: str) -> None:
    """Tiles and checkpoints are checked against the records, and against what was published."""
    store.grow(300)
    store.log.checkpoint()
    assert store.log.verify() == 300
    store.edit(statement)

    with pytest.raises(LedgerError):
        store.log.verify()


def test_an_older_copy_of_the_store_shows(tmp_path: Path) -> None:
    """A database put back from a backup: the checkpoint that was published is newer."""
    store = Store(tmp_path / "data", DatabaseSettings())
    store.append(1, 2)
    store.log.checkpoint()
    store.database.close()
    shutil.copy(tmp_path / "data/delist.sqlite3", tmp_path / "older")
    store = Store(tmp_path / "data", DatabaseSettings())
    store.append(3)
    store.log.checkpoint()
    store.database.close()
    for left in (tmp_path / "data").glob("delist.sqlite3*"):
        left.unlink()
    shutil.copy(tmp_path / "older", tmp_path / "data/delist.sqlite3")

    store = Store(tmp_path / "data", DatabaseSettings())
    for act in (store.log.verify, store.log.checkpoint):
        with pytest.raises(LedgerError, match="rolled back"):
            act()
    store.database.close()


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "sequence"])
def test_a_rewritten_record_is_not_signed_over(store: Store, column: str) -> None:
    """An edit shows after a checkpoint too, in each column."""
    store.append(1, 2, 3)
    store.log.checkpoint()
    value = "3 - format" if column == "format" else "'ee'"
    if column in TIMES:
        value = "'2026-03-01 12:00:00.000001'"
    elif column in {"basis_distance_bits", "subject"}:
        value = "77"
    elif column == "action":
        value = "'suppress'"
    elif column in {"commitment", "nonce", "hash", "previous_hash"}:
        value = f"'{'ee' * 32}'"
    store.edit(f"update suppression_records set {column} = {value} where sequence = 2")  # noqa: S608

    with pytest.raises(LedgerError):
        store.log.verify()


def test_a_chain_made_anew_is_not_signed_over(store: Store) -> None:
    """A rewrite with all hashes recomputed leads to another newest record: nothing is signed."""
    store.append(1, 2, 3)
    store.log.checkpoint()
    store.edit("delete from suppression_records", "delete from ledger_head")
    store.append(1, 2, 4, 5)

    with pytest.raises(LedgerError, match="rewritten"):
        store.log.checkpoint()
    with pytest.raises(LedgerError):
        store.log.verify()


def test_another_key_or_origin_is_refused(store: Store) -> None:
    """A lost key or a changed name would fork the log."""
    store.append(1)
    store.log.checkpoint()
    renamed = LedgerLog(store.database, store.data_dir, origin="other", clock=lambda: START)
    with pytest.raises(LedgerError, match="origin"):
        renamed.checkpoint()
    (store.data_dir / "secrets/ledger-key").unlink()
    lost = LedgerLog(store.database, store.data_dir, origin="", clock=lambda: START)
    with pytest.raises(LedgerError):
        lost.verify()
    assert (store.data_dir / "secrets/ledger-key").stat().st_mode & 0o777 == 0o600


def suppressed_and_revoked(store: Store) -> None:
    """1 suppresses, 2 confirms, 3 revokes; 4 suppresses another."""
    one = draft(1)
    with store.database.write() as connection:
        for action, url in (
            (RecordAction.SUPPRESS, one.image_url),
            (RecordAction.SUPPRESS, one.image_url),
            (RecordAction.REVOKE, one.image_url),
            (RecordAction.SUPPRESS, "https://example.org/other.jpg"),
        ):
            made = type(one)(
                **{name: getattr(one, name) for name in one.__dataclass_fields__}
                | {"action": action, "image_url": url}
            )
            ledger.append(connection, made, now=START)


def test_erased_records_leave_their_place(store: Store) -> None:
    """Payload and nonce are gone from the database; chain, tree, proofs and reports hold."""
    suppressed_and_revoked(store)
    store.log.checkpoint()
    store.erase(1, 2, 3)

    assert store.log.verify() == 4
    assert store.audited() == 4
    found = check_record(store.log.prove(2), store.log.key)
    assert (found.sequence, found.record) == (2, None)
    with store.database.read() as connection:
        assert [record.sequence for record in ledger.after(connection, 0)] == [4]
        entries = list(ledger.entries_after(connection, 0))
        said = list(audit.after(connection, 0))
        assert audit.verify(connection) == 3
        rows = connection.exec_driver_sql("select * from suppression_records").all()
    assert [isinstance(entry, ErasedRecord) for entry in entries] == [True, True, True, False]
    assert "1.jpg" not in repr([list(row) for row in rows]) + "".join(e.detail for e in said)
    assert [entry.act for entry in said] == ["record.erased"] * 3
    store.append(7)
    store.log.checkpoint()
    assert store.audited() == 5
    schema = jsonschema.Draft202012Validator(json.loads(load(RECORD)))
    schema.check_schema(schema.schema)
    for entry in entries:
        schema.validate(json.loads(json.dumps(document_of(entry), default=_plain)))


def test_what_has_an_effect_is_not_erased(store: Store) -> None:
    """Neither what hides a result, nor what ended it alone; and all or nothing."""
    suppressed_and_revoked(store)

    for sequences, why in (
        ((4,), "record 4 is in effect"),
        ((3,), "record 2 would be in effect again"),
        ((2, 3), "record 1 would be in effect again"),
        ((1, 4), "record 4 is in effect"),
        ((9,), "no record 9"),
    ):
        with pytest.raises(UsageError, match=why):
            store.erase(*sequences)
    store.erase(1)
    with pytest.raises(UsageError, match="erased before"):
        store.erase(1)
    assert store.log.verify() == 4


def test_a_filter_that_missed_the_revocation(store: Store) -> None:
    """A filter that held the record when both were erased lifts it all the same."""
    suppressed_and_revoked(store)
    with store.database.write() as connection:
        ledger.append(connection, draft(1), now=START)
    results = SuppressionFilter(store.database)
    assert results.is_suppressed(draft(1).image_url)
    with store.database.write() as connection:
        revoked = draft(1)
        values = {name: getattr(revoked, name) for name in revoked.__dataclass_fields__}
        ledger.append(
            connection, type(revoked)(**values | {"action": RecordAction.REVOKE}), now=START
        )
    store.erase(1, 2, 3, 5, 6)

    assert not results.is_suppressed(draft(1).image_url)
    assert results.is_suppressed("https://example.org/other.jpg")
    assert not SuppressionFilter(store.database).is_suppressed(draft(1).image_url)


@pytest.mark.parametrize("column", COLUMNS)
def test_every_edit_of_an_erased_record_shows(store: Store, column: str) -> None:
    """What stays is checked by the audit log, what went by being empty."""
    suppressed_and_revoked(store)
    store.erase(1, 2)
    assert store.log.verify() == 4
    value = {
        "sequence": "77",
        "format": "3 - format",
        "basis_distance_bits": "1",
        "subject": "1",
        "action": "'revoke'",
        **dict.fromkeys(TIMES, "'2026-03-01 12:00:00.000001'"),
    }.get(column, f"'{'e' * 16}'")
    store.edit(f"update suppression_records set {column} = {value} where sequence = 2")  # noqa: S608

    with pytest.raises(LedgerError):
        store.log.verify()


def test_an_erasure_that_nobody_asked_for_shows(store: Store) -> None:
    """A record emptied past the program has no entry in the audit log."""
    suppressed_and_revoked(store)
    store.erase(1)
    with store.database.read() as connection:
        row = connection.execute(
            suppression_records.select().where(suppression_records.c.sequence == 1)
        ).one()
    values = {name: row._mapping[name] for name in COLUMNS}
    kept = {"sequence", "id", "action", "supersedes", "commitment", "format", "hash"}
    kept.add("previous_hash")
    with store.database.write() as connection:
        connection.execute(
            suppression_records.update()
            .where(suppression_records.c.sequence == 2)
            .values({name: value for name, value in values.items() if name not in kept})
        )

    with pytest.raises(LedgerError, match="otherwise than the audit log says"):
        store.log.verify()


def test_a_witness_cosigns_what_goes_on(store: Store, tmp_path: Path) -> None:
    """It cosigns growth, and neither a cut nor another history; `verify` can require it."""
    folder, seen = store.log.folder.folder, tmp_path / "w.seen"
    store.append(1, 2, 3)
    store.log.checkpoint()
    first = (folder / "checkpoint").read_text()
    with pytest.raises(LedgerError, match="not cosigned"):
        store.log.verify(witnesses=[COSIGNER])
    cosign_log(folder, store.log.key, WITNESS, seen, now=START)
    assert store.log.verify(witnesses=[COSIGNER]) == 3
    store.grow(300)
    store.log.checkpoint()
    head = cosign_log(folder, store.log.key, WITNESS, seen, now=START + timedelta(hours=1))

    note = aics_tlog.parse_note((folder / "checkpoint").read_text())
    vkey = aics_tlog.parse_vkey(str(COSIGNER))
    checked = aics_tlog.verify_checkpoint(
        note, aics_tlog.parse_vkey(str(store.log.key)), [vkey], 1, expected_origin=head.origin
    )
    assert (checked.ok, checked.cosignature_count, checked.size) == (True, 1, 303)
    assert store.log.verify(witnesses=[COSIGNER]) == 303
    at_s = cosigned_at(Note.parse((folder / "checkpoint").read_text()), COSIGNER)
    assert at_s == int(START.timestamp()) + 3600
    assert check_record(store.log.prove(7), store.log.key, witnesses=[COSIGNER]).size == 303

    LogFolder(folder).replace_checkpoint(first)
    with pytest.raises(LogProofError, match="cut"):
        cosign_log(folder, store.log.key, WITNESS, seen, now=START)
    fork = Store(tmp_path / "fork", DatabaseSettings())
    shutil.copytree(store.data_dir / "secrets", tmp_path / "fork/secrets")
    fork.grow(310)
    fork.log.checkpoint()
    fork.database.close()
    with pytest.raises(LogProofError, match="does not begin"):
        cosign_log(fork.log.folder.folder, store.log.key, WITNESS, seen, now=START)


CHILD = """
import os, signal
from pathlib import Path
from tests.integration.test_ledger_log import Store, DatabaseSettings
def run(data_dir, url, killed_when):
    store = Store(Path(data_dir), DatabaseSettings(url=url))
    store.log.extend()
    if killed_when != "extended":
        newest, _ = store.log.sign()
        if killed_when == "half":
            place = store.log.folder.folder / "tile/0/001.p"
            place.mkdir(parents=True)
            (store.log.folder.folder / "tile.new").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def child() -> Iterator[Forking]:
    with forking(CHILD) as started:
        yield started


@pytest.mark.parametrize("killed_when", ["extended", "signed", "half"])
def test_killed_between_two_steps(
    store: Store, sql: DatabaseSettings, child: Forking, killed_when: str
) -> None:
    """The tree was extended, the head signed, half a file written: the next run goes on."""
    store.append(1, 2)
    store.log.checkpoint()
    store.grow(298)
    child.start(store.data_dir, sql.url, killed_when)
    assert child.wait() == -signal.SIGKILL
    assert store.log.verify() == 300
    assert store.audited() == 2

    report = store.log.checkpoint()

    assert (report.size, report.moved) == (300, killed_when == "extended")
    assert store.audited() == 300
    assert store.log.verify() == 300
    assert not (store.log.folder.folder / "tile/0/000.p").exists()
    assert not list(store.log.folder.folder.rglob("*.new"))


def test_lost_files_are_published_anew(store: Store) -> None:
    """The folder can be made again from the database."""
    store.grow(600)
    store.log.checkpoint()
    shutil.rmtree(store.log.folder.folder)

    assert store.log.checkpoint().moved is False
    assert store.audited() == 600


def test_scopes_and_dates_are_kept(store: Store) -> None:
    """A scope is one of the known words; dates come back with their zone."""
    one = draft(1)
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    with store.database.write() as connection:
        made = type(one)(
            **values | {"scope": "thumbnail", "expires_at": START, "recheck_at": START}
        )
        ledger.append(connection, made, now=START)
    with pytest.raises(ValueError, match="poster"), store.database.write() as connection:
        ledger.append(connection, type(one)(**values | {"scope": "poster"}), now=START)
    with store.database.read() as connection:
        (record,) = ledger.after(connection, 0)
    assert (record.scope, record.expires_at, record.recheck_at) == ("thumbnail", START, START)
    assert store.log.verify() == 1


def test_an_origin_of_ones_own(tmp_path: Path, sql: DatabaseSettings) -> None:
    """The name in the settings stands in key and checkpoint."""
    with Database(tmp_path, sql) as database:
        log = LedgerLog(database, tmp_path, origin="search.example/log", clock=lambda: START)
        with database.write() as connection:
            ledger.append(connection, draft(1), now=START)
        log.checkpoint()
        assert (log.folder.checkpoint() or "").startswith("search.example/log\n1\n")
        assert str(log.key).startswith("search.example/log+")


def test_a_snapshot_that_missed_the_revocation(store: Store) -> None:
    """Made before the revocation, read after both were erased: it is not used, but made anew."""
    one = draft(1)
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    other = values | {"image_url": "https://example.org/other.jpg"}
    with store.database.write() as connection:
        ledger.append(connection, one, now=START)
        ledger.append(connection, type(one)(**other), now=START)
    assert keep_snapshot(store.database, now=START).urls == 2
    with store.database.write() as connection:
        ledger.append(connection, type(one)(**values | {"action": RecordAction.REVOKE}), now=START)
    store.erase(1, 3)

    assert not SuppressionFilter(store.database).is_suppressed(one.image_url)
    report = keep_snapshot(store.database, now=START)
    assert (report.urls, bool(report.refused)) == (1, True)
    results = SuppressionFilter(store.database)
    assert not results.is_suppressed(one.image_url)
    assert results.is_suppressed("https://example.org/other.jpg")


def test_a_snapshot_that_names_an_erased_record(store: Store) -> None:
    """What took its place counts, and its end ends it."""
    one = draft(1)
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    with store.database.write() as connection:
        ledger.append(connection, one, now=START)
    keep_snapshot(store.database, now=START)
    with store.database.write() as connection:
        ledger.append(connection, one, now=START)
    store.erase(1)
    results = SuppressionFilter(store.database)
    assert results.is_suppressed(one.image_url)
    assert [record.sequence for record in results.records(one.image_url)] == [2]
    with store.database.write() as connection:
        ledger.append(connection, type(one)(**values | {"action": RecordAction.REVOKE}), now=START)
    assert not results.is_suppressed(one.image_url)
    assert not SuppressionFilter(store.database).is_suppressed(one.image_url)

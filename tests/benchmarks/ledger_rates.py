"""How fast the ledger takes records in, signs, publishes, verifies and proves.

    python -m tests.benchmarks.ledger_rates [--records N] [--database sqlite|postgresql]

Appends are measured one record a transaction and a thousand a transaction; the rest of the
records are put in as bulk, with real commitments and hashes. Prints one JSON line; times come
twice, by the wall's clock and, as ``..._cpu_s``, of the processor.
"""

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from delist.attestation.attesting import LedgerLog
from delist.attestation.proving import check_record
from delist.commitments import chain_hash, commitment_of, payload_of
from delist.consumers import ConsumerKey, Followers
from delist.consumers.exclusion import write_exclusion_list
from delist.consumers.following import MOST
from delist.model import Basis, RecordAction, RecordDraft, RecordState
from delist.serving import keep_snapshot
from delist.settings import DatabaseSettings
from delist.store import Database, ledger, tree_check
from delist.store.tables import suppression_records
from tests.fakes.delisting import START
from tests.fakes.postgres import PostgresServer

_CHUNK = 10_000
_SINGLE, _BATCH = 300, 1_000
_CONSUMED = 1_000_000
KEY = ConsumerKey(b"\7" * 32)


def draft(number: int) -> RecordDraft:
    return RecordDraft(
        action=RecordAction.SUPPRESS,
        state=RecordState.PROVISIONAL,
        case_id=f"{number:032x}",
        image_url=f"https://site-{number % 50_000}.example/images/{number}.jpg",
        content_sha256=f"{number:064x}",
        reason_code="intimate_image_without_consent",
        basis=Basis(
            feed="stopncii",
            signal=f"{number % 200_000:032x}",
            distance_bits=number % 32,
            hasher="cpp",
            variant="upright",
            policy_version="1",
        ),
    )


def fill(database: Database, count: int, write: Callable[[list[dict[str, Any]]], None]) -> None:
    """Put records in behind the last, as ``ledger.append`` would."""
    with database.write() as connection:
        last, previous = ledger.head(connection)
        model = ledger.append(connection, draft(last + 1), now=START)
        found = connection.execute(
            suppression_records.select().where(suppression_records.c.sequence == model.sequence)
        ).one()
    row, previous = dict(found._mapping), model.hash
    nonce = bytes.fromhex(row["nonce"])
    for start in range(last + 2, last + count + 1, _CHUNK):
        rows: list[dict[str, Any]] = []
        for sequence in range(start, min(start + _CHUNK, last + count + 1)):
            made = row | {
                "sequence": sequence,
                "id": f"{sequence:032x}",
                "case_id": f"{sequence:032x}",
                "image_url": f"https://site-{sequence % 50_000}.example/images/{sequence}.jpg",
                "previous_hash": previous,
            }
            made["subject"] = ledger.subject_of(made["image_url"])
            made["commitment"] = commitment_of(nonce, payload_of(made)).hex()
            made["hash"] = previous = chain_hash(previous, sequence, made["commitment"])
            rows.append(made)
        write(rows)
    with database.write() as connection:
        ledger._move_head(connection, last + count, previous)


def write_rows(database: Database, rows: list[dict[str, Any]]) -> None:
    with database.write() as connection:
        connection.execute(insert(suppression_records), rows)


def write_file(path: Path, rows: list[dict[str, Any]]) -> None:
    """Past our own checks of each value, which take most of the time."""
    names = [column.name for column in suppression_records.columns]
    places = ", ".join("?" * len(names))
    at = f"{START:%Y-%m-%d %H:%M:%S.%f}"
    values = [tuple((row | {"effective_at": at})[name] for name in names) for row in rows]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma synchronous = off")
        connection.executemany(
            f"insert into suppression_records ({', '.join(names)}) values ({places})",  # noqa: S608
            values,
        )


@contextmanager
def timed(figures: dict[str, Any], name: str) -> Iterator[None]:
    start, spent = time.perf_counter(), time.process_time()
    yield
    figures[name] = round(time.perf_counter() - start, 3)
    figures[f"{name.removesuffix('_s')}_cpu_s"] = round(time.process_time() - spent, 3)


def consume(database: Database) -> int:
    """Follow the ledger as a consumer does, a million records at most; returns how many."""
    followers = Followers(database, clock_hours=48, clock=lambda: START)
    followers.add("bench", actor="bench")
    done = 0
    while done < _CONSUMED:
        page = followers.read("bench", after=done, limit=MOST)
        if not page.instructions:
            break
        done = page.next
        followers.acknowledge("bench", done)
    return done


def measure(database: Database, folder: Path, records: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"records": records}
    log = LedgerLog(database, folder, origin="", clock=lambda: START)
    start = time.perf_counter()
    for number in range(_SINGLE):
        with database.write() as connection:
            ledger.append(connection, draft(number), now=START)
    figures["append_s_single"] = round(_SINGLE / (time.perf_counter() - start))
    start = time.perf_counter()
    with database.write() as connection:
        for number in range(_BATCH):
            ledger.append(connection, draft(number), now=START)
    figures["append_s_batched"] = round(_BATCH / (time.perf_counter() - start))
    with timed(figures, "fill_s"):
        path = folder / "delist.sqlite3"
        write = partial(write_file, path) if path.exists() else partial(write_rows, database)
        fill(database, records - _SINGLE - _BATCH, write)
    with timed(figures, "extend_s"):
        log.extend()
    with timed(figures, "checkpoint_rest_s"):
        log.checkpoint()
    with timed(figures, "checkpoint_again_s"):
        log.checkpoint()
    with database.write() as connection:
        ledger.append(connection, draft(1), now=START)
    with timed(figures, "checkpoint_one_more_s"):
        log.checkpoint()
    with database.read() as connection:
        with timed(figures, "verify_chain_s"):
            found = ledger.verify(connection)
        with timed(figures, "verify_tree_s"):
            tree_check.verify(connection, records=found)
    with timed(figures, "consume_s"):
        figures["consumed"] = consume(database)
    with timed(figures, "exclusion_list_s"):
        made = write_exclusion_list(
            database, folder / "exclusion.parquet", KEY, consumer="bench", now=START
        )
    figures["exclusion_list_bytes"] = made.size_bytes
    with timed(figures, "snapshot_s"):
        figures["snapshot_bytes"] = keep_snapshot(database, now=START).size_bytes
    with timed(figures, "prove_s"):
        proof = log.prove(records // 2)
    with timed(figures, "check_proof_s"):
        check_record(proof, log.key)
    figures["proof_bytes"] = len(proof)
    figures["log_files"] = sum(path.is_file() for path in log.folder.folder.rglob("*"))
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.database == "sqlite":
            with Database(Path(folder)) as database:
                figures = measure(database, Path(folder), given.records)
        else:
            with PostgresServer() as server:
                settings = DatabaseSettings(url=server.url(server.create_store()))
                with Database(Path(folder), settings) as database:
                    figures = measure(database, Path(folder), given.records)
    print(json.dumps({"database": given.database, **figures}))  # noqa: T201 - its output


if __name__ == "__main__":
    main()

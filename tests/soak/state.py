"""What a run has come to, in names that two runs share, and in what two of them differ.

Left out, since it may lawfully differ: ids, nonces, times, numbers and hashes of records (they
follow from the order in which pictures were taken up), rows and pages of files, how often
something was told that may be told twice, blind reviews (drawn by number), snapshots, backups.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lmdb

from delist.build import Delist
from delist.consumers.instructions import document, page
from delist.consumers.keys import ConsumerKey
from delist.model import SuppressionRecord
from indexer.model import Match, MatchEventKind, Signal, SignalEventKind
from tests.soak.outside import Outside
from tests.soak.script import BANK, CROWD, EXCHANGE, Script

State = dict[str, Any]
_LOG_ENTRIES = 1_000_000
_NUMBERS = re.compile(r"\d+")
_TRANSIENT = re.compile(
    r"delist\.sqlite3-(wal|shm)$"
    # Tiles that are not full are named by how full they are.
    r"|^ledger/tile/.*\.p/"
)


class Names:
    """Names that two runs share, of what has keys and ids."""

    def __init__(self, delist: Delist, outside: Outside, script: Script) -> None:
        self._site = outside.site.url
        signals = delist.indexer.store.signals
        self.signals: dict[str, str] = {}
        for number, part in enumerate(script.rounds):
            for report in part.reports:
                key = signals.key(feed=report.feed, kind="ImagePDQ", value=report.digest)
                self.signals.setdefault(key.hex(), f"{report.feed} {report.case_ref}")
            for at, digest in enumerate(part.crowd):
                key = signals.key(feed=CROWD, kind="ImagePDQ", value=digest)
                self.signals[key.hex()] = f"crowd {number} {at}"
        self.images: dict[str, str] = {}

    def signal(self, key: bytes | str) -> str:
        text = key if isinstance(key, str) else key.hex()
        return self.signals.get(text, f"signal {text}")

    def url(self, url: str) -> str:
        return url.removeprefix(self._site)

    def image(self, key: bytes | str) -> str:
        text = key if isinstance(key, str) else key.hex()
        return self.images.get(text, f"image {text}")


def read_state(folder: Path, outside: Outside, script: Script) -> State:
    """Read everything that two runs of a script should have in common.

    ``problems`` is what should not be so in any run.
    """
    problems: list[str] = []
    problems += _stale_readers(folder / "data" / "store")
    with Delist.open(folder / "delist.toml") as delist:
        names = Names(delist, outside, script)
        store = delist.indexer.store
        with store.read() as txn:
            for key, record in _records(delist, txn):
                names.images[key.hex()] = names.url(record.image_url)
        state: State = {
            "images": _images(delist, names, problems),
            "signals": _signals(delist, names, problems),
            "logs": _logs(delist, names),
            "cases": _cases(delist, names),
            "ledger": _ledger(delist, names),
            "said": _said(delist, names),
            "told": outside.words(),
            "files": _files(folder / "data"),
            "left": _left(delist),
        }
        problems += _sinks(delist, folder, outside)
        problems += _proofs(delist)
    state["problems"] = problems
    return state


def differences(expected: State, found: State) -> list[str]:
    """List in what two states differ, and every problem of the second."""
    lines = [f"problem: {problem}" for problem in found["problems"]]
    for section in expected:
        if section != "problems":
            lines += _compare(section, expected[section], found[section])
    return lines


def _compare(place: str, expected: Any, found: Any) -> Iterator[str]:  # noqa: ANN401 - JSON values
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}, key=str):
            yield from _compare(f"{place}, {key}", expected.get(key), found.get(key))
    elif expected != found:
        yield f"{place}: expected {expected}, found {found}"


def _records(delist: Delist, txn: lmdb.Transaction) -> Iterator[tuple[bytes, Any]]:
    images = delist.indexer.store.images
    with txn.cursor(db=images._db) as cursor:
        keys = [bytes(key) for key in cursor.iternext(values=False)]
    for key in keys:
        record = images.find(txn, key)
        assert record is not None
        yield key, record


def _images(delist: Delist, names: Names, problems: list[str]) -> State:
    """Describe every stored image with hashes, pages, other addresses and matches."""
    images = delist.indexer.store.images
    found: State = {}
    rows: Counter[tuple[bytes, int]] = Counter()
    with delist.indexer.store.read() as txn:
        for key, record in _records(delist, txn):
            rows.update((key, row) for row in record.rows)
            hashes = hashlib.sha256(repr(images.rows(txn, record)).encode()).hexdigest()
            found[names.image(key)] = {
                "sha256": record.sha256.hex(),
                "hashes": hashes,
                "place": [record.mime, record.width, record.height, record.quality],
                "pages": [names.url(url) for url in images.pages(txn, key)],
                "aliases": [names.url(url) for url in images.aliases(txn, key)],
                "matches": {
                    names.signal(signal): _match(match)
                    for signal, match in images.matches(txn, key).items()
                },
            }
        held: Counter[tuple[bytes, int]] = Counter()
        for number in range(images.column.chunk_count(txn)):
            chunk = images.column.chunk(txn, number)
            for position, flag in enumerate(chunk.flags):
                if flag:
                    row = number * images.column.rows_per_chunk + position
                    held[chunk.owners[position].tobytes(), row] += 1
    if held != rows:
        problems.append("the column of image hashes has other rows than the images")
    return found


def _match(match: Match) -> list[Any]:
    hasher = match.hasher.value if match.hasher else None
    return [match.feed, match.distance_bits, match.threshold_bits, hasher, match.variant]


def _signals(delist: Delist, names: Names, problems: list[str]) -> State:
    """Describe every signal, tombstone and quarantined record."""
    signals = delist.indexer.store.signals
    live: State = {}
    crowd = []
    rows = []
    with delist.indexer.store.read() as txn:
        for signal in signals.every(txn):
            if signal.kind == "ImagePDQ":
                rows.append((signal.key, signal.row))
            name = names.signal(signal.key)
            if signal.feed == CROWD:
                crowd.append(name)
            else:
                live[name] = _signal(signal)
        with txn.cursor(db=signals._tombstones) as cursor:
            ended = {
                names.signal(bytes(key)): signals._tombstone_codec.decode(raw).modified_at
                for key, raw in cursor
            }
        quarantined = {feed: signals.quarantined(txn, feed) for feed in (EXCHANGE, CROWD, BANK)}
        held = []
        for number in range(signals.column.chunk_count(txn)):
            chunk = signals.column.chunk(txn, number)
            for position, flag in enumerate(chunk.flags):
                if flag:
                    row = number * signals.column.rows_per_chunk + position
                    held.append((chunk.owners[position].tobytes(), row))
    if sorted(held) != sorted(rows):
        problems.append("the column of signals has other rows than the signals")
    digest = hashlib.sha256("\n".join(sorted(crowd)).encode()).hexdigest()
    return {
        "live": live,
        "crowd": [len(crowd), digest],
        "ended": ended,
        "quarantined": quarantined,
    }


def _signal(signal: Signal) -> list[Any]:
    cases = sorted((case.case_ref, case.status) for case in signal.cases)
    feedback = sorted((entry.source, entry.value) for entry in signal.feedback)
    # A file names no times of its own.
    modified_at = None if signal.feed == BANK else signal.modified_at
    return [signal.kind, signal.status, modified_at, str(cases), str(feedback)]


def _logs(delist: Delist, names: Names) -> State:
    """List what happened to each signal, and between each image and signal, in order."""
    store = delist.indexer.store
    of_signals: dict[str, list[str]] = defaultdict(list)
    of_matches: dict[str, list[str]] = defaultdict(list)
    with store.read() as txn:
        for event in store.signals.log.after(txn, 0, limit=_LOG_ENTRIES):
            # Of two changes that came between two reads a feed tells the newer one alone.
            if event.feed != CROWD and event.kind is not SignalEventKind.CHANGED:
                of_signals[names.signal(event.signal_key)].append(event.kind.value)
        for entry in store.images.log.after(txn, 0, limit=_LOG_ENTRIES):
            match = entry.match
            pair = f"{names.image(match.image_key)} {names.signal(match.signal_key)}"
            # Of addresses and pages the log tells only what comes after the match.
            if entry.kind in {MatchEventKind.MATCHED, MatchEventKind.ENDED}:
                of_matches[pair].append(f"{entry.kind.value} {match.distance_bits}")
    return {"signals": dict(of_signals), "matches": dict(of_matches)}


def _cases(delist: Delist, names: Names) -> State:
    found: State = {}
    for case in delist.cases(awaiting_person=False):
        file = delist.case_file(case.id)
        found[names.url(case.image_url)] = {
            "state": case.state.value,
            "verdict": case.verdict and case.verdict.value,
            "content": case.content_sha256,
            "confirmed": case.confirmed_sha256,
            "awaits": [case.awaits_person, case.pending, case.disputed, case.reach],
            "matches": {
                names.signal(match.signal_key): [
                    match.distance_bits,
                    match.hasher,
                    match.variant,
                    match.quality,
                    match.support.value,
                    match.content_sha256,
                ]
                for match in case.matches
            },
            "decisions": [
                [
                    entry.actor,
                    entry.action.value,
                    entry.verdict and entry.verdict.value,
                    entry.reason,
                    entry.content_sha256,
                    entry.kind.value,
                ]
                for entry in file.decisions
            ],
        }
    return found


def _ledger(delist: Delist, names: Names) -> State:
    """List the records about each address, in order."""
    records = list(delist.records_after(0))
    places: dict[str, int] = {}
    found: dict[str, list[list[Any]]] = defaultdict(list)
    for record in records:
        told = found[names.url(record.image_url)]
        places[record.id] = len(told)
        told.append(_record(record, names, places))
    return dict(found)


def _record(record: SuppressionRecord, names: Names, places: Mapping[str, int]) -> list[Any]:
    basis = asdict(record.basis)
    basis["signal"] = names.signal(record.basis.signal)
    return [
        record.action.value,
        record.state.value,
        record.reason_code,
        record.document_id,
        record.content_sha256,
        str(record.scope),
        sorted(basis.items()),
        f"supersedes {places[record.supersedes]}" if record.supersedes else "",
        str(record.expires_at),
    ]


def _said(delist: Delist, names: Names) -> State:
    """List what people did, by the audit log."""
    urls = {case.id: names.url(case.image_url) for case in delist.cases(awaiting_person=False)}
    found: dict[str, list[list[str]]] = defaultdict(list)
    for entry in delist.audit_entries():
        if entry.act == "case.decided":
            found[urls.get(entry.subject, entry.subject)].append([entry.actor, entry.detail])
    return dict(found)


def _left(delist: Delist) -> State:
    """Count what is still to be done: nothing, in any run."""
    counts = {}
    with delist.database.read() as connection:
        for name, condition in (
            ("feedback_outbox", "done_at is null"),
            ("reassessments", "1 = 1"),
            ("set_aside", "1 = 1"),
        ):
            text = f"select count(*) from {name} where {condition}"  # noqa: S608 - from above
            counts[name] = connection.exec_driver_sql(text).scalar_one()
    store = delist.indexer.store
    with store.read() as txn:
        for name, cursor in store.scan_cursors.every(txn).items():
            counts[f"scan {name}"] = cursor.target
        for name in (EXCHANGE, CROWD, BANK):
            counts[f"feed {name}"] = store.feed_cursors.load(txn, name).token
    return counts


def _sinks(delist: Delist, folder: Path, outside: Outside) -> Iterator[str]:
    """Hold what sinks have against the ledger: all of it, in order, in files each once."""
    for name, arrived in (
        ("archive", _lines(folder / "archive")),
        ("hook", _firsts(outside.receiver.arrived)),
    ):
        key = ConsumerKey.load(folder / "data", name)
        with delist.database.read() as connection:
            told = page(connection, 0, limit=1_000_000, key=key)
        expected = [json.loads(json.dumps(document(entry))) for entry in told]
        if [entry["id"] for entry in arrived] != [entry["id"] for entry in expected]:
            numbers = [entry["sequence"] for entry in arrived]
            yield f"sink {name}: has {numbers}, the ledger {len(expected)} records"
        # What an address comes to is told as of then, and may be another as of now.
        elif [_plain(entry) for entry in arrived] != [_plain(entry) for entry in expected]:
            yield f"sink {name}: holds other records than the ledger"


def _plain(entry: Mapping[str, Any]) -> State:
    return {name: value for name, value in entry.items() if name not in {"because", "suppressed"}}


def _lines(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def _firsts(arrived: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what had come before, as a receiver has to."""
    firsts: dict[str, dict[str, Any]] = {}
    for entry in arrived:
        firsts.setdefault(entry["id"], entry)
    return list(firsts.values())


def _proofs(delist: Delist) -> Iterator[str]:
    """Check chains, tree, checkpoints and indexes."""
    for check in (delist.verify_ledger, delist.verify_audit_log, delist.indexer._views.verify):
        try:
            check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            yield f"{check.__qualname__}: {type(error).__name__}: {error}"


def _files(data: Path) -> list[str]:
    """List the kinds of files: names without numbers, so that what a kill left behind shows."""
    paths = (path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())
    kept = [path for path in paths if not _TRANSIENT.search(path) or ".new" in path]
    return sorted({_NUMBERS.sub("N", path) for path in kept})


def _stale_readers(store: Path) -> Iterator[str]:
    """Look for readers of processes that are gone; nobody has the store open now."""
    with closing(lmdb.open(str(store), readonly=True, max_dbs=64)) as environment:
        stale = environment.reader_check()
    if stale:
        yield f"{stale} readers of processes that are gone"

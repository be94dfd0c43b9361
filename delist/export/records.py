"""Matches and suppression records as tables: columns, and batches of rows.

Neither names a case. A match is of keys: that of a signal is a keyed hash, which nobody else can
make, and that of an image leads to its address only with an export of images beside it. A
suppression is told as consumers are told it, with its address.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from delist.model import ErasedRecord, SuppressionRecord
from delist.store import Database, ledger
from indexer.model import Match
from indexer.store import Store
from indexer.tables import metadata, pyarrow
from indexer.url import KEY_BYTES

_BATCH = 8192
_SHA256_BYTES = 32
_SUPPRESSION = (
    "sequence", "id", "action", "state", "scope", "image_url", "document_id", "content_sha256",
    "reason_code", "effective_at", "expires_at", "recheck_at", "supersedes", "erased_at",
)  # fmt: skip


def matches_schema() -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Make the schema of a table of matches."""
    pa = pyarrow()
    key = pa.binary(KEY_BYTES)
    needed = [("image_key", key), ("signal_key", key), ("feed", pa.string())]
    needed += [("distance_bits", pa.uint16()), ("threshold_bits", pa.uint16())]
    optional = [("hasher", pa.string()), ("variant", pa.string()), ("quality", pa.uint8())]
    optional += [("weighted_bits", pa.float64()), ("content_sha256", pa.binary(_SHA256_BYTES))]
    columns = [pa.field(name, kind, nullable=False) for name, kind in needed]
    columns += [pa.field(name, kind) for name, kind in optional]
    return pa.schema(columns, metadata=metadata("matches"))


def suppressions_schema() -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Make the schema of a table of suppression records."""
    pa = pyarrow()
    kinds = {"sequence": pa.int64(), "content_sha256": pa.binary(_SHA256_BYTES)}
    kinds |= {name: pa.timestamp("us", "UTC") for name in _SUPPRESSION if name.endswith("_at")}
    columns = [
        pa.field(
            name, kinds.get(name, pa.string()), nullable=name not in {"sequence", "id", "action"}
        )
        for name in _SUPPRESSION
    ]
    return pa.schema(columns, metadata=metadata("suppressions"))


def match_batches(store: Store) -> Iterator[Any]:
    """Yield all matches, in the order of their images' keys.

    Raises:
        StoreError: the store failed.
    """
    schema, place = matches_schema(), b""
    while True:
        with store.read() as txn:
            found = store.images.matches_after(txn, place, most=_BATCH)
        if not found:
            return
        place = found[-1].image_key + found[-1].signal_key
        yield _batch(schema, [_match(match) for match in found])


def suppression_batches(database: Database) -> Iterator[Any]:
    """Yield all records in their order; of erased ones what is left.

    Raises:
        LedgerError: a record cannot be read.
    """
    schema, after = suppressions_schema(), 0
    while True:
        with database.read() as connection:
            found = ledger.page_after(connection, after, limit=_BATCH)
        if not found:
            return
        after = found[-1].sequence
        yield _batch(schema, [_record(entry) for entry in found])


def _match(match: Match) -> dict[str, Any]:
    values = {entry.name: getattr(match, entry.name) for entry in fields(match)}
    values["hasher"] = None if match.hasher is None else match.hasher.value
    values["content_sha256"] = match.content_sha256 or None
    return values


def _record(entry: SuppressionRecord | ErasedRecord) -> dict[str, Any]:
    values = {name: getattr(entry, name, None) for name in _SUPPRESSION}
    values["action"] = entry.action.value
    if isinstance(entry, SuppressionRecord):
        values["state"], values["scope"] = entry.state.value, entry.scope.value
        values["document_id"] = entry.document_id or None
        values["content_sha256"] = bytes.fromhex(entry.content_sha256) or None
    return values


def _batch(schema: Any, rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - pyarrow's
    pa = pyarrow()
    return pa.RecordBatch.from_arrays(
        [pa.array([row[entry.name] for row in rows], entry.type) for entry in schema], schema=schema
    )

"""The exclusion list: keys of all addresses in effect, as one Parquet file.

For open indexes and archives, which cannot ask for every address that they hold: they make the key
of each (``keys``) and look it up in the list. It is sorted, so that a reader skips most of it.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from delist.consumers.keys import ConsumerKey
from delist.errors import UsageError
from delist.store import Database, effects, ledger

VERSION = "1"
_KEY_BYTES = 16
_ROW_GROUP = 100_000
_CHUNK = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ExclusionList:
    """What was written.

    Attributes:
        keys: how many addresses are to be hidden.
        sequence: the last record that the list knows of.
    """

    keys: int
    sequence: int
    size_bytes: int


def write_exclusion_list(
    database: Database, path: Path, key: ConsumerKey, *, consumer: str, now: datetime
) -> ExclusionList:
    """Write the list; whoever reads the file meanwhile reads the one before.

    Its one column is ``url_key``, 16 bytes each, ascending and without repeats. The file's metadata
    say ``delist.version``, ``delist.consumer``, ``delist.sequence`` and ``delist.built_at``.

    Raises:
        UsageError: the file cannot be written, or the extra ``tables`` is missing.
        LedgerError: the ledger holds a record that cannot be read.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise UsageError('Parquet needs pyarrow: install delist with the extra "tables"') from None
    with database.read() as connection:
        sequence = ledger.head(connection)[0]
        keys = np.unique(np.concatenate(list(_keys(connection, sequence, key))))
    # NumPy drops trailing zero bytes of a value, not of the buffer.
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(_KEY_BYTES), len(keys), [None, pa.py_buffer(keys.tobytes())]
    )
    metadata = {
        "delist.version": VERSION,
        "delist.consumer": consumer,
        "delist.sequence": str(sequence),
        "delist.built_at": now.isoformat(),
    }
    schema = pa.schema([pa.field("url_key", column.type, nullable=False)], metadata=metadata)
    table = pa.Table.from_arrays([column], schema=schema)
    try:
        size = _write(path, lambda file: parquet.write_table(
            table, file, row_group_size=_ROW_GROUP, compression="none",
            sorting_columns=[parquet.SortingColumn(0)],
        ))  # fmt: skip
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    return ExclusionList(keys=len(keys), sequence=sequence, size_bytes=size)


def _keys(connection: Connection, sequence: int, key: ConsumerKey) -> Iterator[NDArray[np.bytes_]]:
    """Iterate over the keys in arrays of many, an empty one first."""
    kind = f"S{_KEY_BYTES}"
    chunk: list[bytes] = []
    yield np.empty(0, kind)
    for url, _ in effects.in_effect(connection, sequence):
        chunk.append(bytes.fromhex(key.of_canonical(url)))
        if len(chunk) == _CHUNK:
            yield np.array(chunk, kind)
            chunk = []
    yield np.array(chunk, kind)


def _write(path: Path, write: Any) -> int:  # noqa: ANN401 - takes an open file
    """Write a whole file beside, then put it in place."""
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        size = Path(name).stat().st_size
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return size

"""The unit of work of a re-scan: a batch of stored images against the signals.

Pure: no I/O, no clock, no settings, so every engine finds the same matches, and the same as the
store's own re-scan (``indexer.lookup``) finds of the same hashes.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from delist.rescan.columns import HashRows, hash_rows
from delist.rescan.generation import Generation
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW
from indexer.url import KEY_BYTES

MATCHES = pa.schema(
    [
        pa.field("image", pa.binary(KEY_BYTES), nullable=False),
        pa.field("signal", pa.binary(KEY_BYTES), nullable=False),
        pa.field("distance_bits", pa.uint8(), nullable=False),
        pa.field("hasher", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("quality", pa.uint8(), nullable=False),
    ]
)
"""One row for each image and signal within the threshold, by the nearest of the image's digests:
its distance, path and variant, and the quality (0-100) of its hash row. Sorted by image, signal.
"""


def matches_in(batch: pa.RecordBatch, signals: Generation, *, threshold_bits: int) -> pa.Table:
    """Find what the images of a batch match; see ``MATCHES``.

    Of equal distances the first digest counts, in the order of rows and within them of positions.

    Args:
        batch: exported images (``indexer.tables``), or of their columns those that
            ``columns.columns_to_read`` names.
        signals: what they are compared with.
        threshold_bits: the largest distance that is a match, in bits, inclusive, 0-31.

    Raises:
        TableRefusedError: a column is missing, or has another type or width.
    """
    rows = hash_rows(batch)
    queries = rows.digests.reshape(-1, DIGEST_BYTES)
    found, keys, distances = signals.find(queries, threshold_bits=threshold_bits)
    row, position = np.divmod(found, DIGESTS_PER_ROW)
    order = _first_of_each(rows.keys[row], keys, distances, rows.places[row], position)
    return _table(rows, row[order], position[order], keys[order], distances[order])


def merged(tables: Sequence[pa.Table]) -> pa.Table:
    """Join the matches of several batches; of an image that is in many of them, the nearest.

    Of equal distances that of the earlier table counts.
    """
    tables = [table for table in tables if table.num_rows]
    if not tables:
        return MATCHES.empty_table()
    joined = pa.concat_tables(tables).combine_chunks()
    distances = joined["distance_bits"].to_numpy()
    order = _first_of_each(
        bytes_of(joined["image"]), bytes_of(joined["signal"]), distances, np.arange(len(distances))
    )
    return joined.take(order)


def bytes_of(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Look at a column of keys as uint8[n, 16]."""
    joined = column.combine_chunks()
    data = np.frombuffer(joined.buffers()[1] or b"", np.uint8)
    start = joined.offset * KEY_BYTES
    return data[start : start + len(joined) * KEY_BYTES].reshape(-1, KEY_BYTES)


def _first_of_each(
    image: NDArray[np.uint8], signal: NDArray[np.uint8], *ranks: NDArray[np.generic]
) -> NDArray[np.intp]:
    """Choose, for each image and signal, the entry of the lowest ranks; in order of the pairs."""
    pairs = np.concatenate([image, signal], axis=1)
    _, pair = np.unique(pairs, axis=0, return_inverse=True)
    order = np.lexsort((*reversed(ranks), pair.reshape(-1)))
    kept: NDArray[np.intp] = order[np.flatnonzero(np.diff(pair.reshape(-1)[order], prepend=-1))]
    return kept


def _table(
    rows: HashRows,
    row: NDArray[np.int64],
    position: NDArray[np.int64],
    signals: NDArray[np.uint8],
    distances: NDArray[np.int32],
) -> pa.Table:
    places = list(zip(row.tolist(), position.tolist(), strict=True))
    return pa.table(
        [
            _binary(rows.keys[row]),
            _binary(signals),
            pa.array(distances.astype(np.uint8)),
            pa.array([rows.hasher(p) for _, p in places], pa.string()),
            pa.array([rows.variant(r, p) for r, p in places], pa.string()),
            pa.array([rows.quality(r) for r, _ in places], pa.uint8()),
        ],
        schema=MATCHES,
    )


def _binary(values: NDArray[np.uint8]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(values), [None, data])

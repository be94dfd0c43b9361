"""The hashes of a batch of exported images (``indexer.tables``) as arrays.

Of a file only ``image_key`` and the fields of ``rows`` that a match is named by are read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from delist.errors import TableRefusedError
from indexer.errors import TableError
from indexer.model import DIGESTS_PER_ROW, HASHERS, ROW_BYTES, VARIANTS, Background, variant_name
from indexer.ports import Digests
from indexer.tables import digests_of, is_of_images
from indexer.url import KEY_BYTES

_KEY, _ROWS = "image_key", "rows"
_FIELDS = ("digests", "background", "frame", "quality", "partial")


@dataclass(frozen=True, slots=True)
class HashRows:
    """The hash rows of a batch. Arrays lie in the batch where they can.

    Attributes:
        keys: uint8[n, 16], of the image of each.
        digests: uint8[n, 16, 32].
        places: int64[n], of each among the rows of its image.
        labels: what else is said of them, a struct array of n.
    """

    keys: NDArray[np.uint8]
    digests: Digests
    places: NDArray[np.int64]
    labels: Any

    def hasher(self, position: int) -> str:
        """Name the path of the digest at a position of a row."""
        return HASHERS[position // len(VARIANTS)].value

    def variant(self, row: int, position: int) -> str:
        """Name the variant of a digest; see ``indexer.model.variant_name``."""
        label = self.labels[row].as_py()
        return variant_name(
            position,
            Background(label["background"]),
            frame=label["frame"],
            partial=label["partial"],
        )

    def quality(self, row: int) -> int:
        """Return the quality of a row, 0-100."""
        return int(self.labels[row]["quality"].as_py())


def columns_to_read(schema: pa.Schema) -> list[str]:
    """Check the schema of a file, and name what is to be read of it.

    Raises:
        TableRefusedError: it is no export of images, of another version, or lacks a column.
    """
    try:
        exported = is_of_images(schema)
    except TableError as error:
        raise TableRefusedError(error.code, str(error)) from None
    if not exported:
        raise TableRefusedError("not_of_images", "it is no export of images")
    _check(schema)
    return [_KEY, *(f"{_ROWS}.list.element.{name}" for name in _FIELDS)]


def hash_rows(batch: pa.RecordBatch) -> HashRows:
    """Look at a batch as arrays.

    Raises:
        TableRefusedError: a column is missing, holds nulls, or has another type or width.
    """
    _check(batch.schema)
    column = batch[_ROWS]
    if batch[_KEY].null_count or column.null_count or column.flatten().null_count:
        raise TableRefusedError("null_values", "a key or a hash is missing")
    digests, owners = digests_of(batch)
    first = np.searchsorted(owners, owners)
    return HashRows(
        keys=_keys(batch[_KEY])[owners],
        digests=digests,
        places=np.arange(len(owners)) - first,
        labels=column.flatten(),
    )


def _check(schema: pa.Schema) -> None:
    for name in (_KEY, _ROWS):
        if name not in schema.names:
            raise TableRefusedError("missing_column", f"there is no column {name}")
    rows = schema.field(_ROWS).type
    if not (pa.types.is_list(rows) and pa.types.is_struct(rows.value_type)):
        raise TableRefusedError("wrong_type", "rows have to be lists of structs")
    known = {entry.name: entry.type for entry in rows.value_type}
    for name in _FIELDS:
        if name not in known:
            raise TableRefusedError("missing_column", f"there is no {name} in rows")
    if known["digests"] != pa.binary(ROW_BYTES) or schema.field(_KEY).type != pa.binary(KEY_BYTES):
        raise TableRefusedError(
            "wrong_width",
            f"keys have {KEY_BYTES} bytes, and a row of {DIGESTS_PER_ROW} digests {ROW_BYTES}",
        )


def _keys(column: pa.FixedSizeBinaryArray) -> NDArray[np.uint8]:
    data = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    start = column.offset * KEY_BYTES
    return data[start : start + len(column) * KEY_BYTES].reshape(-1, KEY_BYTES)

"""Stored images as a table: the schema of exports, and of whatever scans them elsewhere.

One row is one image. Its hash rows, one for each frame and background, are a list of structs whose
``digests`` are 512 bytes each: 16 digests in the order of ``HASHERS`` and, within it, of
``VARIANTS``, as ``HashedImage.rows``. ``digests_of`` gives them as one array without a copy.

A table names itself in the metadata of its schema (``delist.table``, ``delist.version``,
``delist.hasher_version``). A column is only ever added, with a new version; a reader refuses a
version that it does not know. pyarrow, an extra, is loaded when a function is called.

What a table holds is as good as the pictures (digests), and names pages: it is for this machine,
and leaves it only encrypted.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import SettingsError, TableError
from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    HASHER_VERSION,
    MD5_BYTES,
    ROW_BYTES,
    Background,
    HashedImage,
    ImageRecord,
    PageMark,
    RowLabel,
)
from indexer.url import KEY_BYTES

IMAGES = "images"
VERSION = 1
EXTENSION = ".parquet"

_TABLE, _VERSION, _HASHER = b"delist.table", b"delist.version", b"delist.hasher_version"
_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """Everything that is kept of one image, as a table holds it.

    Attributes:
        hashed: its hashes; ``size_bytes`` is not kept, and 0.
        hasher_version: of the program that hashed it.
        aliases: other URLs that lead to it.
        page_marks: pages that say something of it, and what.
    """

    key: bytes
    image_url: str = field(repr=False)
    document_id: str | None = field(default=None, repr=False)
    hashed: HashedImage
    hasher_version: int = HASHER_VERSION
    etag: str | None = field(default=None, repr=False)
    last_modified: str | None = None
    hashed_at: datetime
    seen_at: datetime
    page_urls: tuple[str, ...] = field(default=(), repr=False)
    aliases: tuple[str, ...] = field(default=(), repr=False)
    page_marks: tuple[tuple[str, frozenset[PageMark]], ...] = field(default=(), repr=False)

    @classmethod
    def of_record(
        cls,
        record: ImageRecord,
        rows: tuple[tuple[Background, bytes], ...],
        *,
        page_urls: Sequence[str] = (),
        aliases: Sequence[str] = (),
        page_marks: Sequence[tuple[str, frozenset[PageMark]]] = (),
    ) -> "StoredImage":
        """Put a record and its hash rows together with where the image was seen."""
        hashed = HashedImage(
            rows=rows,
            labels=record.labels,
            quality=record.quality,
            sha256=record.sha256,
            size_bytes=0,
            mime=record.mime,
            width=record.width,
            height=record.height,
            md5=record.md5,
            traits=record.traits,
            provenance=record.provenance,
        )
        return cls(
            key=record.key,
            image_url=record.image_url,
            document_id=record.document_id,
            hashed=hashed,
            hasher_version=record.hasher_version,
            etag=record.etag,
            last_modified=record.last_modified,
            hashed_at=record.hashed_at,
            seen_at=record.seen_at,
            page_urls=tuple(page_urls),
            aliases=tuple(aliases),
            page_marks=tuple(page_marks),
        )


def pyarrow() -> Any:  # noqa: ANN401 - a module without types
    """Load pyarrow.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            'tables need pyarrow: install delist with the extra "tables" or "ingest"'
        ) from None
    return pa


def images_schema() -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Make the schema of a table of images.

    Raises:
        SettingsError: pyarrow is not installed.
    """
    pa = pyarrow()
    moment = pa.timestamp("us", "UTC")
    needed: list[tuple[str, Any]] = [
        ("image_key", pa.binary(KEY_BYTES)),
        ("image_url", pa.string()),
        ("sha256", pa.binary(_SHA256_BYTES)),
        ("mime", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("quality", pa.uint8()),
        ("hasher_version", pa.uint16()),
        ("hashed_at", moment),
        ("seen_at", moment),
        ("rows", pa.list_(pa.field("item", _row_type(pa), nullable=False))),
        ("provenance", _list_of(pa, pa.string())),
        ("page_urls", _list_of(pa, pa.string())),
        ("aliases", _list_of(pa, pa.string())),
        ("page_marks", _list_of(pa, _marks_type(pa))),
    ]
    optional: list[tuple[str, Any]] = [
        ("md5", pa.binary(MD5_BYTES)),
        ("document_id", pa.string()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
    ]
    fields = [pa.field(name, kind, nullable=False) for name, kind in needed]
    fields += [pa.field(name, kind) for name, kind in optional]
    return pa.schema(fields, metadata=metadata(IMAGES))


def metadata(table: str) -> dict[bytes, bytes]:
    """Make the metadata by which a table says what it is."""
    return {
        _TABLE: table.encode(),
        _VERSION: str(VERSION).encode(),
        _HASHER: str(HASHER_VERSION).encode(),
    }


def is_of_images(schema: Any) -> bool:  # noqa: ANN401 - a pyarrow.Schema
    """Say whether a schema is that of an export of images.

    Raises:
        TableError: it says so, of a version that is not known here.
    """
    found = schema.metadata or {}
    if found.get(_TABLE) != IMAGES.encode():
        return False
    if found.get(_VERSION) != str(VERSION).encode():
        raise TableError("table_version", f"a table of images of another version than {VERSION}")
    return True


def batch_of(images: Sequence[StoredImage]) -> Any:  # noqa: ANN401 - a pyarrow.RecordBatch
    """Write images as a batch of rows."""
    schema = images_schema()
    pa = pyarrow()
    columns: dict[str, Any] = {
        "image_key": [image.key for image in images],
        "rows": _rows_array(pa, images),
        "md5": [image.hashed.md5 or None for image in images],
        "page_marks": [
            [{"page_url": url, "marks": sorted(marks)} for url, marks in image.page_marks]
            for image in images
        ],
    }
    for name in ("sha256", "mime", "width", "height", "quality", "provenance"):
        columns[name] = [getattr(image.hashed, name) for image in images]
    for name in schema.names:
        if name not in columns:
            columns[name] = [getattr(image, name) for image in images]
    arrays = [
        array if isinstance(array := columns[entry.name], pa.Array) else pa.array(array, entry.type)
        for entry in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def digests_of(batch: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:  # noqa: ANN401 - a RecordBatch
    """Map the digests of a batch as arrays: what a re-scan looks up.

    Returns:
        Digests, uint8[n, 16, 32], and for each of the n hash rows the row of its image in the
        batch, int64[n].
    """
    column = batch.column("rows")
    digests = column.flatten().field("digests")
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(column), dtype=np.int64), lengths)
    values = np.frombuffer(digests.buffers()[1], np.uint8) if len(digests) else np.empty(0, "u1")
    first = digests.offset * ROW_BYTES
    values = values[first : first + len(digests) * ROW_BYTES]
    return values.reshape(-1, DIGESTS_PER_ROW, DIGEST_BYTES), owners


def images_of(batch: Any) -> Iterator[StoredImage]:  # noqa: ANN401 - a pyarrow.RecordBatch
    """Read the images of a batch.

    Raises:
        TableError: the batch is not of this schema, or a value is out of its range.
    """
    try:
        for values in batch.to_pylist():
            yield _image(values)
    except (KeyError, ValueError, TypeError):
        raise TableError("damaged", "a row of the table cannot be read") from None


def _image(values: dict[str, Any]) -> StoredImage:
    rows = values["rows"]
    labels = tuple(
        RowLabel(frame=row["frame"], quality=row["quality"], partial=row["partial"]) for row in rows
    )
    plain = RowLabel(quality=values["quality"])
    hashed = HashedImage(
        rows=tuple((Background(row["background"]), row["digests"]) for row in rows),
        labels=() if all(label == plain for label in labels) else labels,
        quality=values["quality"],
        sha256=values["sha256"],
        size_bytes=0,
        mime=values["mime"],
        width=values["width"],
        height=values["height"],
        md5=values["md5"] or b"",
        traits=tuple(row["traits"] for row in rows if row["traits"] is not None),
        provenance=tuple(values["provenance"]),
    )
    copied = ("image_url", "document_id", "hasher_version", "etag", "last_modified")
    return StoredImage(
        key=values["image_key"],
        hashed=hashed,
        **{name: values[name] for name in copied},
        hashed_at=values["hashed_at"],
        seen_at=values["seen_at"],
        page_urls=tuple(values["page_urls"]),
        aliases=tuple(values["aliases"]),
        page_marks=tuple(
            (entry["page_url"], _marks(entry["marks"])) for entry in values["page_marks"]
        ),
    )


def _marks(words: Sequence[str]) -> frozenset[PageMark]:
    """Read marks; a word that is not known here says nothing here."""
    found = set()
    for word in words:
        with suppress(ValueError):
            found.add(PageMark(word))
    return frozenset(found)


def _rows_array(pa: Any, images: Sequence[StoredImage]) -> Any:  # noqa: ANN401 - pyarrow
    offsets, flat = [0], list[tuple[Background, bytes, RowLabel, bytes | None]]()
    for image in images:
        hashed = image.hashed
        for number, (background, digests) in enumerate(hashed.rows):
            traits = hashed.traits[number] if number < len(hashed.traits) else None
            flat.append((background, digests, hashed.label(number), traits))
        offsets.append(len(flat))
    kind = _row_type(pa)
    joined = pa.py_buffer(b"".join(digests for _, digests, _, _ in flat))
    columns = {
        "digests": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(ROW_BYTES), len(flat), [None, joined]
        ),
        "background": [background.value for background, _, _, _ in flat],
        "frame": [label.frame for _, _, label, _ in flat],
        "quality": [label.quality for _, _, label, _ in flat],
        "partial": [label.partial for _, _, label, _ in flat],
        "traits": [traits for _, _, _, traits in flat],
    }
    arrays = [
        array if isinstance(array := columns[entry.name], pa.Array) else pa.array(array, entry.type)
        for entry in kind
    ]
    structs = pa.StructArray.from_arrays(arrays, fields=list(kind))
    rows = pa.list_(pa.field("item", kind, nullable=False))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=rows)


def _row_type(pa: Any) -> Any:  # noqa: ANN401 - pyarrow
    needed = [
        ("digests", pa.binary(ROW_BYTES)),
        ("background", pa.string()),
        ("frame", pa.uint32()),
        ("quality", pa.uint8()),
        ("partial", pa.bool_()),
    ]
    fields = [pa.field(name, kind, nullable=False) for name, kind in needed]
    return pa.struct([*fields, pa.field("traits", pa.binary())])


def _marks_type(pa: Any) -> Any:  # noqa: ANN401 - pyarrow
    return pa.struct(
        [
            pa.field("page_url", pa.string(), nullable=False),
            pa.field("marks", _list_of(pa, pa.string()), nullable=False),
        ]
    )


def _list_of(pa: Any, kind: Any) -> Any:  # noqa: ANN401 - pyarrow
    return pa.list_(pa.field("item", kind, nullable=False))

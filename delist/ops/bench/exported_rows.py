"""Tables of made-up images for re-scans of files, and signals of which some are near them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from delist.rescan.generation import write_generation
from delist.rescan.job import GENERATION, RESULTS, UNIT_VERSION, Job, program_version
from indexer.model import (
    DIGEST_BITS,
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    ROW_BYTES,
    Background,
)
from indexer.ports import Digests
from indexer.tables import IMAGES, metadata
from indexer.url import KEY_BYTES

Pair = tuple[bytes, bytes, int]
"""Keys of an image and a signal, and their distance in bits."""

FILE_IMAGES = 62_500
"""Images of a file: a million digests, 32 MB."""

_BATCH_IMAGES = 4_096
_RUN = "0" * 32
_KEY = bytes(32)


@dataclass(frozen=True, slots=True)
class Exported:
    """Tables, and what lies in them near signals that are still to be made.

    Attributes:
        files: paths, in order.
        images: in all files.
        near: digests uint8[n, 32], each some bits from one digest of an image of its own.
        found: the images' keys, and the bits.
    """

    files: Sequence[str]
    images: int
    near: Digests
    found: Sequence[tuple[bytes, int]]


def write_exported(
    folder: Path, rng: np.random.Generator, images: int, *, threshold_bits: int
) -> Exported:
    """Write random digests as files, with two images in each that a signal will match.

    Only the columns that a re-scan reads are there.

    Raises:
        OSError: there is no room.
    """
    files, near, found = [], [], []
    for number, first in enumerate(range(0, images, FILE_IMAGES)):
        count = min(FILE_IMAGES, images - first)
        digests = rng.integers(0, 256, (count, DIGESTS_PER_ROW, DIGEST_BYTES), dtype=np.uint8)
        path = folder / f"part-{number:05}.parquet"
        _write(path, digests, first)
        files.append(str(path))
        for image in rng.choice(count, min(2, count), replace=False).tolist():
            bits = int(rng.integers(0, threshold_bits + 1))
            mask = np.zeros(DIGEST_BITS, np.uint8)
            mask[rng.choice(DIGEST_BITS, bits, replace=False)] = 1
            near.append(digests[image, rng.integers(DIGESTS_PER_ROW)] ^ np.packbits(mask))
            found.append(((first + image).to_bytes(KEY_BYTES), bits))
    return Exported(files, images, np.array(near), found)


def make_job(
    folder: Path,
    rng: np.random.Generator,
    exported: Exported,
    signals: int,
    *,
    threshold_bits: int,
) -> tuple[Job, set[Pair]]:
    """Seal so many signals, those near stored digests among them; returns what is to be found.

    Raises:
        OSError: there is no room.
    """
    digests = rng.integers(0, 256, (signals, DIGEST_BYTES), dtype=np.uint8)
    places = rng.permutation(signals)[: len(exported.near)]
    digests[places] = exported.near[: len(places)]
    keys = np.zeros((signals, KEY_BYTES), np.uint8)
    keys[:, -8:] = np.arange(signals, dtype=">u8").view(np.uint8).reshape(-1, 8)
    (folder / RESULTS).mkdir(exist_ok=True)
    checksum = write_generation(folder / GENERATION, _KEY, digests, keys, version=1, scratch=folder)
    job = Job(
        run=_RUN,
        folder=str(folder),
        program=program_version(),
        unit=UNIT_VERSION,
        threshold_bits=threshold_bits,
        signals=signals,
        version=1,
        generation=checksum,
        begun_at=0,
        key=_KEY,
    )
    pairs = {
        (image, keys[place].tobytes(), bits)
        for place, (image, bits) in zip(places.tolist(), exported.found, strict=False)
    }
    return job, pairs


def _write(path: Path, digests: Digests, first: int) -> None:
    """Write images numbered from ``first``, each of one row: uint8[n, 16, 32]."""
    needed = [
        ("digests", pa.binary(ROW_BYTES)),
        ("background", pa.string()),
        ("frame", pa.uint32()),
        ("quality", pa.uint8()),
        ("partial", pa.bool_()),
    ]
    kind = pa.struct([pa.field(name, of, nullable=False) for name, of in needed])
    rows = pa.list_(pa.field("item", kind, nullable=False))
    schema = pa.schema(
        [
            pa.field("image_key", pa.binary(KEY_BYTES), nullable=False),
            pa.field("rows", rows, nullable=False),
        ],
        metadata=metadata(IMAGES),
    )
    uncompressed = {"compression": "none", "use_dictionary": ["rows.list.element.background"]}
    with pq.ParquetWriter(path, schema, **uncompressed) as writer:
        for start in range(0, len(digests), _BATCH_IMAGES):
            block = np.ascontiguousarray(digests[start : start + _BATCH_IMAGES])
            count = len(block)
            keys = np.zeros((count, KEY_BYTES), np.uint8)
            numbers = np.arange(first + start, first + start + count, dtype=">u8")
            keys[:, -8:] = numbers.view(np.uint8).reshape(-1, 8)
            structs = pa.StructArray.from_arrays(
                [
                    pa.FixedSizeBinaryArray.from_buffers(
                        pa.binary(ROW_BYTES), count, [None, pa.py_buffer(block)]
                    ),
                    pa.array([Background.WHITE.value] * count, pa.string()),
                    pa.array(np.zeros(count, np.uint32)),
                    pa.array(np.full(count, 100, np.uint8)),
                    pa.array(np.zeros(count, np.bool_)),
                ],
                fields=list(kind),
            )
            lists = pa.ListArray.from_arrays(
                pa.array(np.arange(count + 1), pa.int32()), structs, type=rows
            )
            named = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(KEY_BYTES), count, [None, pa.py_buffer(keys)]
            )
            batch = pa.RecordBatch.from_arrays([named, lists], schema=schema)
            writer.write_batch(batch, row_group_size=count)

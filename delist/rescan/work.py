"""What a worker does: one file of hashes against the signals, to one sealed table of matches."""

import io
import json
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from delist.errors import SealedFileError, TableRefusedError, WorkerRefusedError
from delist.rescan.columns import columns_to_read
from delist.rescan.generation import Generation, loaded_generation
from delist.rescan.job import Job
from delist.rescan.sealing import read_sealed, write_sealed
from delist.rescan.unit import MATCHES, matches_in, merged
from indexer.model import DIGESTS_PER_ROW

_BATCH_ROWS = 4_096
_AHEAD = 2
_NAME_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        refused: why it was not compared, as a constant; empty where it was.
        by_worker: whether that is the worker's fault, so that another may do better.
        size_bytes: of the file, as it was read.
        modified_ns: when it was changed last, as it was read.
        result: name of the table of matches in the run's results.
        checksum: of that, hex.
        images: rows of the table that were compared, one an image.
        digests: digests that were compared.
        matches: rows of the table.
        seconds: on the clock, with reading.
        loading_s: of them, seconds until the signals were there; 0 for a worker's later files.
        worker: names the machine or process.
    """

    file: str
    refused: str = ""
    by_worker: bool = False
    size_bytes: int = 0
    modified_ns: int = 0
    result: str = ""
    checksum: str = ""
    images: int = 0
    digests: int = 0
    matches: int = 0
    seconds: float = 0.0
    loading_s: float = 0.0
    worker: str = ""

    def text(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read what ``text`` wrote.

        Raises:
            ValueError, TypeError: it is something else.
        """
        return cls(**json.loads(text))


def scan_file(job: Job, file: str, *, worker: str = "") -> FileOutcome:
    """Compare a file with the signals of a run; its matches are durable when this returns.

    Doing it twice, even at once, does no harm: each writes a table of its own name.

    Returns:
        What became of it; a file or worker that cannot be used is an outcome too.
    """
    started = time.perf_counter()
    worker = worker or f"process {os.getpid()}"
    try:
        signals = loaded_generation(job)
        loading_s = time.perf_counter() - started
        status = Path(file).stat()
        with pq.ParquetFile(file) as table:
            found, images, digests = _compared(table, signals, job)
    except WorkerRefusedError as error:
        return FileOutcome(file=file, refused=error.code, by_worker=True, worker=worker)
    except TableRefusedError as error:
        return FileOutcome(file=file, refused=error.code, worker=worker)
    except FileNotFoundError:
        return FileOutcome(file=file, refused="missing", worker=worker)
    except (pa.ArrowException, OSError, ValueError):
        return FileOutcome(file=file, refused="unreadable", worker=worker)
    try:
        name, checksum = _write(job, file, found)
    except OSError:
        return FileOutcome(file=file, refused="result_unwritable", by_worker=True, worker=worker)
    return FileOutcome(
        file=file,
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        result=name,
        checksum=checksum,
        images=images,
        digests=digests,
        matches=found.num_rows,
        seconds=round(time.perf_counter() - started, 3),
        loading_s=round(loading_s, 3),
        worker=worker,
    )


def read_matches(job: Job, result: str, checksum: str) -> pa.Table:
    """Read the matches of a file; see ``unit.MATCHES``.

    Raises:
        SealedFileError: they are missing, or not what was written.
    """
    data = b"".join(read_sealed(job.results / result, job.key, checksum))
    try:
        table = pa.ipc.open_stream(data).read_all()
    except pa.ArrowException:
        raise SealedFileError("damaged", f"{result} is no table") from None
    if table.schema != MATCHES:
        raise SealedFileError("damaged", f"{result} is another table")
    return table


def _compared(table: pq.ParquetFile, signals: Generation, job: Job) -> tuple[pa.Table, int, int]:
    """Compare all batches of a file, some at a time; returns matches, images and digests."""
    columns = columns_to_read(table.schema_arrow)
    batches = table.iter_batches(_BATCH_ROWS, columns=columns, use_threads=job.threads > 1)
    tables, images, digests = [], 0, 0
    with ThreadPoolExecutor(job.threads) as pool:
        for part in _in_order(pool, batches, signals, job):
            found, part_images, part_digests = part.result()
            images += part_images
            digests += part_digests
            if found.num_rows:
                tables.append(found)
    return merged(tables), images, digests


def _in_order(
    pool: ThreadPoolExecutor, batches: Iterator[pa.RecordBatch], signals: Generation, job: Job
) -> Iterator["Future[tuple[pa.Table, int, int]]"]:
    waiting: deque[Future[tuple[pa.Table, int, int]]] = deque()
    for batch in batches:
        waiting.append(pool.submit(_batch, batch, signals, job.threshold_bits))
        if len(waiting) > _AHEAD * job.threads:
            yield waiting.popleft()
    yield from waiting


def _batch(
    batch: pa.RecordBatch, signals: Generation, threshold_bits: int
) -> tuple[pa.Table, int, int]:
    found = matches_in(batch, signals, threshold_bits=threshold_bits)
    rows = len(batch["rows"].flatten())
    return found, batch.num_rows, rows * DIGESTS_PER_ROW


def _write(job: Job, file: str, found: pa.Table) -> tuple[str, str]:
    """Write matches under a name that nobody else writes; returns the name and the checksum."""
    named = blake2b(file.encode("utf-8", "surrogateescape"), digest_size=_NAME_BYTES).hexdigest()
    name = f"{named}-{secrets.token_hex(4)}.sealed"
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, MATCHES) as stream:
        stream.write_table(found)
    return name, write_sealed(job.results / name, job.key, [buffer.getbuffer()])

"""Exported tables of stored images, for what scans them elsewhere."""

from collections.abc import Generator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from delist.rescan.job import Job
from delist.rescan.work import FileOutcome, scan_file
from indexer.store import Store
from indexer.tables import StoredImage, batch_of


def stored_images(store: Store, urls: Sequence[str]) -> list[StoredImage]:
    """Read images as an export does."""
    found = []
    with store.read() as txn:
        for url in urls:
            record = store.images.find_by_url(txn, url)
            assert record is not None
            found.append(StoredImage.of_record(record, store.images.rows(txn, record)))
    return found


def write_tables(store: Store, urls: Sequence[str], folder: Path, *, files: int) -> list[Path]:
    """Write images into so many files, in order."""
    folder.mkdir(exist_ok=True)
    images = stored_images(store, urls)
    each = -(-len(images) // files)
    paths = []
    for number in range(files):
        path = folder / f"{number:03}.parquet"
        batch = batch_of(images[number * each : (number + 1) * each])
        pq.write_table(pa.Table.from_batches([batch]), path)
        paths.append(path)
    return paths


class HereEngine:
    """Does the work in this process, file by file."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.jobs: list[Job] = []

    def has_others(self, avoid: frozenset[str]) -> bool:  # noqa: ARG002 - the port
        return False

    def run(
        self,
        job: Job,
        files: Sequence[str],
        *,
        avoid: frozenset[str] = frozenset(),  # noqa: ARG002 - the port
    ) -> Generator[FileOutcome, None, None]:
        self.jobs.append(job)
        for file in files:
            self.asked.append(Path(file).name)
            yield scan_file(job, file)

"""The engine of a Spark cluster: the unit of work as tasks of ``mapInArrow``.

A file is a job of one task (ADR 0049): its name goes to a worker, a line about what came of it
comes back as soon as it is there. Hashes and matches never pass through Spark. A task whose
worker dies is done again by Spark, and one that goes on killing workers fails alone.
"""

import os
import socket
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import pyarrow as pa

from delist.errors import RescanError, UsageError
from delist.rescan.job import Job
from delist.rescan.spark_driver import SPARK_ERRORS, Profile, SparkDriver
from delist.rescan.work import FileOutcome, scan_file

_OUTCOME = "outcome"


class SparkEngine:
    """Runs files over the workers of a Spark cluster; to be closed."""

    def __init__(
        self, *, address: str | None = None, workers: int, trust_network: bool = False
    ) -> None:
        """Connect to a cluster, or run tasks on this machine.

        Args:
            address: URL of a Spark master; None runs tasks on this machine.
            workers: most tasks at once.
            trust_network: says that the network between the nodes is encrypted otherwise.

        Raises:
            UsageError: there is no Java, or the cluster would not be safe.
            RescanError: it cannot be reached.
        """
        if address is not None and address.startswith("local"):
            raise UsageError("--address: without it, --engine spark runs on this machine")
        self._workers = workers
        self._driver = SparkDriver(address=address, workers=workers, trust_network=trust_network)

    @property
    def pid(self) -> int:
        """The process of Spark's driver."""
        return self._driver.pid

    def has_others(self, avoid: frozenset[str]) -> bool:  # noqa: ARG002 - the port
        """Say that no other workers can be had: Spark alone chooses who does a task."""
        return False

    def run(
        self,
        job: Job,
        files: Sequence[str],
        *,
        avoid: frozenset[str] = frozenset(),  # noqa: ARG002 - the port
    ) -> Generator[FileOutcome, None, None]:
        """Compare files; outcomes in the order in which they come about.

        A file at which workers die again and again is refused: ``worker_died``.

        Raises:
            RescanError: the cluster failed as a whole; what was yielded counts.
        """
        compared = partial(self._compared, job, self._driver.profile(cpus=job.threads))
        pool = ThreadPoolExecutor(min(self._workers, len(files)))
        try:
            for done in as_completed([pool.submit(compared, file) for file in files]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self._driver.cancel()
            pool.shutdown()

    def close(self) -> None:
        """Leave the cluster, and end what was started here."""
        self._driver.close()

    def _compared(self, job: Job, profile: Profile, file: str) -> FileOutcome:
        scan = partial(_scan, job=job, file=file)
        try:
            rows = self._driver.session.range(1, numPartitions=1)
            (row,) = rows.mapInArrow(scan, f"{_OUTCOME} string", profile=profile).collect()
        except SPARK_ERRORS as error:
            if self._driver.is_gone():
                raise RescanError(f"the Spark cluster failed: {type(error).__name__}") from None
            return FileOutcome(file=file, refused="worker_died", by_worker=True)
        return FileOutcome.of_text(row[_OUTCOME])


def _scan(rows: Iterator[pa.RecordBatch], job: Job, file: str) -> Iterator[pa.RecordBatch]:
    """Do what a worker does, of one file."""
    for _ in rows:  # the one row that makes it a task
        worker = f"{socket.gethostname()}, process {os.getpid()}"
        yield pa.RecordBatch.from_pydict({_OUTCOME: [scan_file(job, file, worker=worker).text()]})

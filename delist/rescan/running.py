"""Re-scanning files: the driver, which alone has the store.

The steps:

(1) Begin: seal the signals of now into the working folder with a new key, and write down the
    run in its manifest. Or go on with a run that was stopped, with its own signals.
(2) Leave out the files that are done: their tables of matches are there and as they were
    written, and the files have not changed since.
(3) Let an engine compare the others, in any order, on any machine.
(4) Check the table of each that is done, then write the file down in the manifest.
(5) Take its matches in: the images are compared again as they are stored here, and what they
    match goes into the match log, as from any other re-scan. A run that goes on does so with all
    its tables again, which changes nothing where it was done before.
(6) Once all is done, destroy the key and remove the folder's content.

A killed worker, node or driver costs what it had in hand. Files hold what was stored when they
were written, so a run moves no position of the store's own re-scans.
"""

import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from delist.errors import RescanError, SealedFileError, UsageError
from delist.rescan.generation import write_generation
from delist.rescan.job import GENERATION, MANIFEST, RESULTS, UNIT_VERSION, Job, program_version
from delist.rescan.keys import RunKeys
from delist.rescan.manifest import Manifest
from delist.rescan.work import FileOutcome, read_matches
from indexer.scan import Scanner
from indexer.store.secret import make_private

Progress = Callable[[int, int], None]
"""Called with files done and files in all."""


class Engine(Protocol):
    """What runs the work of a job over many files; three adapters: processes, Ray, Spark."""

    def run(
        self, job: Job, files: Sequence[str], *, avoid: frozenset[str]
    ) -> Generator[FileOutcome, None, None]:
        """Compare files; one outcome for each, in any order.

        Args:
            job: the run.
            files: what to compare.
            avoid: workers that are to be given nothing.

        Raises:
            RescanError: the engine failed as a whole; what was yielded counts.
        """

    def has_others(self, avoid: frozenset[str]) -> bool:
        """Say whether there are workers besides those to avoid."""


@dataclass(kw_only=True)
class FilesReport:
    """What a re-scan of files did.

    Attributes:
        signals: that the files were compared with.
        version: number of the signal log that they stand at: the next run may begin behind it.
        files: in all.
        done: compared, in this run and before.
        resumed: of them, before it was stopped.
        refused: not compared, by reason.
        images: that were compared, those of ``resumed`` included.
        digests: the same, of digests.
        matches: pairs of image and signal within the threshold.
        matching: images that match, each once a file.
        elsewhere: of them, images that are not stored here.
        logged: matches that are new or changed in the store.
        workers: files that each worker did in this run.
        workers_refused: files that workers refused for their own sake, by reason; others tried.
        to_resume: whether a file was refused for the sake of a worker: it may go on later.
        complete: False when it was stopped, or files were refused by workers.
    """

    signals: int = 0
    version: int = 0
    files: int = 0
    done: int = 0
    resumed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    images: int = 0
    digests: int = 0
    matches: int = 0
    matching: int = 0
    elsewhere: int = 0
    logged: int = 0
    seconds: float = 0.0
    workers: dict[str, int] = field(default_factory=dict)
    workers_refused: dict[str, int] = field(default_factory=dict)
    to_resume: bool = False
    complete: bool = False

    @property
    def refused_files(self) -> int:
        """How many files were not compared."""
        return sum(self.refused.values())


class FileRescans:
    """Re-scans of exported files of hashes."""

    def __init__(
        self,
        scanner: Scanner,
        data_dir: Path,
        *,
        threshold_bits: int,
        keep_for: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        """Keep the keys of runs in ``data_dir``, and none for longer than ``keep_for``."""
        self._scanner = scanner
        self._keys = RunKeys(data_dir)
        self._threshold_bits = threshold_bits
        self._keep_for = keep_for
        self._clock = clock

    def run(
        self,
        paths: Sequence[Path],
        engine: Engine,
        *,
        folder: Path | None = None,
        after: int = 0,
        threads: int = 1,
        resume: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        on_progress: Progress = lambda _done, _all: None,
    ) -> FilesReport:
        """Compare files with the signals, and take in what is found.

        Args:
            paths: Parquet files (``columns``), or folders that hold them at any depth.
            engine: what the work is done with.
            folder: working folder of the run, by this path on every machine; None for one in the
                data directory.
            after: number of the signal log: only signals that were added behind it.
            threads: of one worker.
            resume: go on with the run that was stopped in this folder, if there is one.
            stopped: asked between files.
            on_progress: told after each file.

        Raises:
            UsageError: there are no such files.
            RescanError: another process is at work on this run, it cannot be gone on with, or
                the engine failed as a whole; what was done counts.
            OSError: the working folder cannot be written.
        """
        started = time.monotonic()
        files = list_files(paths)
        folder = (folder or self._keys.folder / "work").absolute()
        self._keys.destroy_old(now=self._clock(), keep_for=self._keep_for)
        for private in (folder, folder / RESULTS):
            make_private(private)
        resumed = self._resumed(folder, threads) if resume else None
        job, manifest = resumed or self._begun(folder, after=after, threads=threads)  # (1)
        report = FilesReport(signals=job.signals, version=job.version, files=len(files))
        try:
            for outcome in self._done_before(job, manifest, files):  # (2)
                report.resumed += 1
                self._take_in(report, job, outcome)
            outcomes = _compared(engine, job, [f for f in files if f not in manifest.done], report)
            with closing(outcomes):  # (3)
                for outcome in outcomes:
                    self._settle(report, job, manifest, outcome)
                    on_progress(report.done + report.refused_files, len(files))
                    if stopped():
                        break
            self._finish(report, job)
        finally:
            manifest.close()
        report.seconds = round(time.monotonic() - started, 3)
        return report

    def _begun(self, folder: Path, *, after: int, threads: int) -> tuple[Job, Manifest]:
        run = uuid.uuid4().hex
        key = self._keys.make(run)
        version, digests, keys = self._scanner.signals(after=after)
        # Locks the folder, so that no other driver's files are removed.
        manifest = Manifest.begin(folder / MANIFEST)
        self._keys.destroy(str(manifest.header.get("run", "")))  # nobody goes on with that one
        try:
            _clear(folder / RESULTS)
            checksum = write_generation(
                folder / GENERATION, key, digests, keys, version=version, scratch=self._keys.folder
            )
            job = Job(
                run=run,
                folder=str(folder),
                program=program_version(),
                unit=UNIT_VERSION,
                threshold_bits=self._threshold_bits,
                signals=len(keys),
                version=version,
                generation=checksum,
                begun_at=int(self._clock().timestamp()),
                threads=threads,
                key=key,
            )
            manifest.write_header(job.written())
        except BaseException:
            manifest.close()
            raise
        return job, manifest

    def _resumed(self, folder: Path, threads: int) -> tuple[Job, Manifest] | None:
        manifest = Manifest.resume(folder / MANIFEST)
        if manifest is None:
            return None
        try:
            key = self._keys.find(str(manifest.header.get("run", "")))
            job = Job.read(manifest.header, folder=folder, threads=threads, key=key)
            self._check(job)
        except BaseException:
            manifest.close()
            raise
        return job, manifest

    def _check(self, job: Job) -> None:
        """Refuse to go on with a run that would not end as it began."""
        if not job.key:
            raise RescanError("the key of this run is gone: it is over, or too old; begin anew")
        if job.program != program_version() or job.unit != UNIT_VERSION:
            raise RescanError("the run was begun by another version; begin anew")
        if job.threshold_bits != self._threshold_bits:
            raise RescanError("the run was begun with another threshold; begin anew")

    def _done_before(
        self, job: Job, manifest: Manifest, files: Sequence[str]
    ) -> Iterator[FileOutcome]:
        """Yield what counts of what the manifest names, and drop the rest from it."""
        for file in files:
            outcome = manifest.done.get(file)
            if outcome is None:
                continue
            try:
                status = Path(file).stat()
                read_matches(job, outcome.result, outcome.checksum)
            except (OSError, SealedFileError):
                status = None
            if status is None or (status.st_size, status.st_mtime_ns) != (
                outcome.size_bytes,
                outcome.modified_ns,
            ):
                del manifest.done[file]
            else:
                yield outcome

    def _settle(
        self, report: FilesReport, job: Job, manifest: Manifest, outcome: FileOutcome
    ) -> None:
        """Count a file; if it was compared, check its table, write it down, and take it in."""
        if not outcome.refused:
            try:
                read_matches(job, outcome.result, outcome.checksum)  # (4)
            except SealedFileError as error:
                outcome = FileOutcome(
                    file=outcome.file, refused=f"result_{error.code}", by_worker=True
                )
        if outcome.refused:
            _count(report.refused, outcome.refused)
            report.to_resume |= outcome.by_worker
            return
        manifest.add(outcome)
        _count(report.workers, outcome.worker)
        self._take_in(report, job, outcome)

    def _take_in(self, report: FilesReport, job: Job, outcome: FileOutcome) -> None:
        """Count what was compared, and let the store look at the images that match."""  # (5)
        found = read_matches(job, outcome.result, outcome.checksum)
        keys = image_keys(found)
        logged, elsewhere = self._scanner.confirm(keys, now=self._clock())
        report.done += 1
        report.images += outcome.images
        report.digests += outcome.digests
        report.matches += found.num_rows
        report.matching += len(keys)
        report.elsewhere += elsewhere
        report.logged += logged

    def _finish(self, report: FilesReport, job: Job) -> None:
        report.complete = report.done + report.refused_files == report.files
        if report.complete and not report.to_resume:  # (6)
            self._keys.destroy(job.run)
            _clear(job.results)
            job.generation_path.unlink(missing_ok=True)
            job.manifest.unlink(missing_ok=True)
        report.complete &= not report.to_resume


def _compared(
    engine: Engine, job: Job, files: Sequence[str], report: FilesReport
) -> Generator[FileOutcome, None, None]:
    """Let an engine compare files; what a worker refuses for its own sake, others try again."""
    left, avoid = list(files), frozenset[str]()
    while left:
        refused: list[FileOutcome] = []
        with closing(engine.run(job, left, avoid=avoid)) as outcomes:
            for outcome in outcomes:
                if outcome.by_worker and outcome.worker:
                    _count(report.workers_refused, outcome.refused)
                    refused.append(outcome)
                else:
                    yield outcome
        avoid |= {outcome.worker for outcome in refused}
        if not engine.has_others(avoid):
            yield from refused
            return
        left = [outcome.file for outcome in refused]


def list_files(paths: Sequence[Path]) -> list[str]:
    """List Parquet files: those named, and those in folders at any depth; sorted, each once.

    Raises:
        UsageError: a path is not there, or none holds any such file.
    """
    found: dict[str, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*.parquet") if _is_whole(file, path))
            found.update(dict.fromkeys(str(file.absolute()) for file in inside))
        elif path.exists():
            found[str(path.absolute())] = None
        else:
            raise UsageError(f"there is no {path}")
    if not found:
        raise UsageError("no Parquet files there: `delist export images` writes them")
    return list(found)


def _is_whole(file: Path, folder: Path) -> bool:
    """Say whether a file is no part of an export that is being written, or was cut short."""
    names = file.relative_to(folder).parts
    return file.is_file() and not any(name.startswith(".") for name in names)


def image_keys(matches: pa.Table) -> list[bytes]:
    """Return the keys of the images of a table of matches, each once."""
    return list(dict.fromkeys(matches["image"].to_pylist()))


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()

"""Taking sources in: the use case behind ``delist ingest``.

Each pass goes over all sources before the next begins, so that pages find the images of every
source of the same command. ``taking`` makes the passes over one source.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from crawler.settings import CrawlSettings
from delist.errors import UsageError
from delist.ingest.pool import Pool
from delist.ingest.reports import (
    IngestOptions,
    IngestProgress,
    IngestReport,
    OnProgress,
    SourceReport,
    together,
)
from delist.ingest.sources.finding import FORMATS, Reading, find_sources
from delist.ingest.sources.source import STAGES
from delist.ingest.sources.warc import ArchiveLimits
from delist.ingest.taking import Taking
from indexer.build import Indexer
from indexer.errors import InvalidUrlError
from indexer.url import canonical_url


class Ingestion:
    """Takes sources in."""

    def __init__(self, indexer: Indexer, crawl_settings: CrawlSettings) -> None:
        self._indexer = indexer
        self._crawl_settings = crawl_settings
        self._hashing = indexer.settings.hashing

    def run(
        self,
        paths: Sequence[Path],
        options: IngestOptions | None = None,
        *,
        on_progress: OnProgress = lambda _progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> IngestReport:
        """Take sources in, each from where it was left.

        Args:
            paths: folders, tables, archives, single images; see ``sources``.
            options: how.
            on_progress: called now and then.
            stopped: asked between batches; what was begun goes on in the next run.

        Raises:
            UsageError: an option makes no sense, or what reads a source is not installed.
            StoreError: the store failed; what was written before stays.
        """
        options = options or IngestOptions()
        reading = self._reading(options)
        work: list[Taking] = []
        reports: list[SourceReport | Taking] = []
        for found in find_sources(paths, reading):
            if isinstance(found, tuple):
                path, code = found
                reports.append(SourceReport(source=str(path), broken=code, refused={code: 1}))
                continue
            taking = Taking(self._indexer, found, options, self._rejects_folder(options))
            work.append(taking)
            reports.append(taking)
        processes = options.processes or len(os.sched_getaffinity(0))
        with Pool(processes, self._indexer.settings, self._crawl_settings) as pool:
            is_complete = self._passes(work, pool, on_progress, stopped)
        return together(
            [entry.report() if isinstance(entry, Taking) else entry for entry in reports],
            complete=is_complete,
        )

    def _passes(
        self,
        work: Sequence["Taking"],
        pool: Pool,
        on_progress: OnProgress,
        stopped: Callable[[], bool],
    ) -> bool:
        total = sum(taking.source.size_bytes for taking in work)
        for stage in STAGES:
            before = 0
            for taking in work:
                images = sum(each.images_now for each in work)
                for done_bytes in taking.run(stage, pool):
                    now = images + taking.images_now
                    on_progress(
                        IngestProgress(
                            stage=stage,
                            done_bytes=before + done_bytes,
                            total_bytes=total,
                            images=now,
                        )
                    )
                    if stopped():
                        return False
                before += taking.source.size_bytes
        return True

    def _rejects_folder(self, options: IngestOptions) -> Path:
        return options.rejects or self._indexer.settings.data_dir / "ingest"

    def _reading(self, options: IngestOptions) -> Reading:
        if options.form not in FORMATS:
            raise UsageError(f'--format: one of {", ".join(FORMATS)}, not "{options.form}"')
        base_url = options.base_url
        if base_url is not None:
            try:
                base_url = canonical_url(base_url)
            except InvalidUrlError as error:
                raise UsageError(f"--base-url: {error}") from None
        return Reading(
            form=options.form,
            base_url=base_url,
            root=options.root,
            limits=ArchiveLimits(
                image_bytes=self._hashing.max_bytes,
                page_bytes=self._crawl_settings.max_page_bytes,
                video_bytes=self._crawl_settings.max_video_bytes,
            ),
        )

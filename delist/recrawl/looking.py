"""One recrawl: looks at the suppressed URLs that are due, in one child process.

(1) Bring the schedule in line with the ledger.
(2) Claim what is due, within what each site has left today.
(3) Look: the crawler fetches these images alone, with conditions, as robots.txt allows, and
    records what it found in the indexer's store. No pixel is kept.
(4) Note what each look came to, and have the cases of changed images looked at again; also where
    somebody else met the change before, since bytes that match nothing are in no log.

A kill between (3) and (4) loses outcomes, not findings: those are in the match log, and the URL
is due again when its claim ends. Errors of a server (403, 5xx, timeouts, robots.txt) change
nothing and are counted by their code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from crawler.errors import CrawlFailedError
from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from delist.intake import IntakeReport
from delist.recrawl.following import claim, follow
from delist.recrawl.outcomes import (
    Held,
    LookOutcome,
    counts_as,
    is_other,
    looked,
    outcome_of,
)
from delist.settings import RecrawlSettings
from delist.store import Database, cases, reassessments, recrawls
from delist.store.recrawls import Recrawl
from indexer.build import Indexer

_NOTED_AT_ONCE = 50


@dataclass(slots=True, kw_only=True)
class RecrawlReport:
    """What a recrawl did.

    Attributes:
        looked: URLs that were looked at; the sum of what follows.
        moved: URLs that lead elsewhere than before.
        refused: URLs that said nothing about their image, by code; nothing changed for them.
        due: URLs that are still due, their site's share of today used up or not.
        complete: False when it was stopped.
        intake: what followed for cases; None before.
    """

    looked: int = 0
    gone: int = 0
    unchanged: int = 0
    changed: int = 0
    moved: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    due: int = 0
    complete: bool = True
    intake: IntakeReport | None = None

    def count(self, outcome: str) -> None:
        """Count one look."""
        self.looked += 1
        if outcome in set(LookOutcome):
            setattr(self, outcome, getattr(self, outcome) + 1)
        else:
            self.refused[outcome] = self.refused.get(outcome, 0) + 1


class _StoppedError(Exception):
    """The caller wants no more."""


class Recrawling:
    """Looks at suppressed URLs again."""

    def __init__(
        self,
        indexer: Indexer,
        database: Database,
        *,
        settings: RecrawlSettings,
        crawl_settings: CrawlSettings,
        config: Path | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._indexer = indexer
        self._database = database
        self._settings = settings
        self._crawl_settings = crawl_settings
        self._config = config
        self._clock = clock

    def run(
        self,
        *,
        limit: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
        allow_private_addresses: bool = False,
    ) -> RecrawlReport:
        """Look at what is due.

        Args:
            limit: most URLs; None leaves it to the settings.
            stopped: asked about once a second; what was found until then is noted.
            allow_private_addresses: also look at loopback and private networks.

        Raises:
            CrawlFailedError: the child ended early; what it had found is noted.
            StoreError, DatabaseError, LedgerError: the step under way was rolled back.
        """
        report = RecrawlReport()
        follow(self._database, self._settings, stopped=stopped)  # (1)
        entries = claim(  # (2)
            self._database,
            self._indexer.store,
            self._settings,
            limit=limit or self._settings.batch,
            now=self._clock(),
            stopped=stopped,
        )
        if entries and not stopped():
            self._look(entries, report, stopped, allow_private_addresses=allow_private_addresses)
        with self._database.read() as connection:
            report.due = recrawls.count_due(connection, now=self._clock())
        return report

    def _look(
        self,
        entries: list[Recrawl],
        report: RecrawlReport,
        stopped: Callable[[], bool],
        *,
        allow_private_addresses: bool,
    ) -> None:
        before = [self._held(entry) for entry in entries]
        waiting: list[tuple[Recrawl, str, Held | None]] = []

        def on_looked(position: int, code: str | None) -> None:
            entry = entries[position]
            after = self._held(entry)
            outcome = outcome_of(code, before[position], after)
            waiting.append((entry, outcome, after))
            if len(waiting) >= _NOTED_AT_ONCE:
                self._note(waiting, report)

        def on_progress(_counts: object) -> None:
            if stopped():
                raise _StoppedError

        job = CrawlJob(
            image_urls=tuple(entry.image_url for entry in entries),
            allow_private_addresses=allow_private_addresses,
        )
        try:
            run_crawl(
                job,
                config=self._config,
                data_dir=self._indexer.settings.data_dir,
                crawl_settings=self._crawl_settings,
                on_progress=on_progress,
                on_looked=on_looked,
            )
        except _StoppedError:
            report.complete = False
        except CrawlFailedError:
            if not stopped():
                raise
            report.complete = False
        finally:
            self._note(waiting, report)

    def _held(self, entry: Recrawl) -> Held | None:
        record = self._indexer.find_image(entry.image_url)
        return None if record is None else Held(record.key, record.sha256)

    def _note(
        self, waiting: list[tuple[Recrawl, str, Held | None]], report: RecrawlReport
    ) -> None:  # (4)
        now = self._clock()
        done = [
            (looked(entry, outcome, self._settings, now=now), outcome, held)
            for entry, outcome, held in waiting
        ]
        anew: list[str] = []
        with self._database.write() as connection:
            for entry, outcome, held in done:
                recrawls.note(connection, entry)
                if outcome in {LookOutcome.CHANGED, LookOutcome.MOVED}:
                    anew.append(entry.url_key)
                case = cases.find(connection, entry.case_id)
                if case is not None and is_other(held, case.content_sha256):
                    anew.append(case.image_key)
            reassessments.ask_for_images(connection, anew, reason="looked_again", now=now)
        for entry, _, _ in done:
            report.count(counts_as(entry, self._settings, now=now))
        waiting.clear()

"""Settings to a working whole: ``Delist``, what commands, jobs and pages hold in their hands.

Each method is one use case on the open stores. Stores open when they are first
needed, so a command pays for what it uses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from delist import access, feedback, reporting, retention, review
from delist.appeals.desk import AppealDesk
from delist.attestation import erasing, succeeding
from delist.attestation.attesting import LedgerLog
from delist.backup import BackupReport, Backups, restored
from delist.casework.benign import BenignBank
from delist.casework.facts import Sources
from delist.casework.views import Rules
from delist.direct import DirectReports
from delist.errors import PolicyChangedError
from delist.feedback import DeliveryReport, submitting
from delist.fetching import GuardedFetch
from delist.governance import Governance
from delist.intake import Intake, IntakeReport
from delist.model import Case, ErasedRecord, SuppressionRecord
from delist.monitoring import CrawlQueue, Limits, Monitor
from delist.people.accounts import Accounts
from delist.people.second_factor import SecondFactor
from delist.people.sessions import Sessions
from delist.people.signing_on import SigningOn
from delist.policy import Policy, parse_policy
from delist.recrawl import Recrawling, RecrawlReport
from delist.reporting import SurvivorReport
from delist.rescan.keys import RunKeys
from delist.retention import RetentionReport
from delist.review import Ruling
from delist.review.desk import CaseFile, Desk
from delist.review.viewing import Viewing
from delist.settings import DelistSettings, load_settings
from delist.sinks import Sinks
from delist.store import Database, audit, cases, ledger, outbox, policies, submissions
from delist.store.audit import AuditEntry
from delist.survivors.opening import Door
from delist.survivors.sealing import Sealer
from delist.survivors.taking import Reports
from delist.tokens import Tokens
from indexer.build import Indexer, utc_now
from indexer.compaction import CompactionReport
from indexer.errors import FeedError
from indexer.evidence import Evidence
from indexer.ports import FeedbackReceiver
from indexer.scan import Progress, ScanReport
from indexer.store import load_or_create_secret
from indexer.sync import SyncReport
from indexer.tables import pyarrow

if TYPE_CHECKING:
    from delist.export import Exports
    from delist.ingest.ingesting import Ingestion
    from delist.rescan.running import FileRescans
    from delist.serving import SnapshotReport, SuppressionFilter

Stopped = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSync:
    """A feed that could not be synced; pages that were applied before stay applied."""

    feed: str
    error: FeedError


def _never() -> bool:
    return False


class Delist:
    """The open whole. Thread-safe; to be opened anew in every process."""

    def __init__(
        self,
        settings: DelistSettings,
        *,
        clock: Callable[[], datetime] = utc_now,
        config_file: Path | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.config_file = config_file

    @classmethod
    def open(cls, config: Path | None = None, *, data_dir: Path | None = None) -> Self:
        """Open the whole of a configuration file; None for the built-in defaults.

        Raises:
            SettingsError: the file cannot be read, or a value is wrong.
        """
        return cls(load_settings(config, data_dir=data_dir), config_file=config)

    @cached_property
    def indexer(self) -> Indexer:
        """The indexer, opened on first use."""
        return Indexer(self.settings.indexer, clock=self.clock)

    @cached_property
    def database(self) -> Database:
        """The case store, opened on first use."""
        return Database(self.settings.indexer.data_dir, self.settings.database)

    @property
    def policy(self) -> Policy:
        """The policy in force: the one that was applied last, else the configured file.

        Raises:
            PolicyError: the configured file cannot be read, or a value is wrong.
        """
        return self._numbered_policy()[1]

    def _numbered_policy(self) -> tuple[int, Policy]:
        with self.database.read() as connection:
            applied = policies.newest(connection)
        if applied is None:
            return 0, self.settings.load_policy()
        name = f"applied policy {applied.version}"
        return applied.id, parse_policy(applied.text, name=name)

    @cached_property
    def _bank(self) -> BenignBank:
        return BenignBank()

    def rules(self, policy: Policy | None = None) -> Rules:
        """What assessing follows: a policy (None for the one in force), and sources of facts.

        Raises:
            RestoredError: the store was put back, and a feed was not read from its beginning yet.
        """
        restored.check_settled(self.indexer.store)
        number: int | None = None
        if policy is None:
            number, policy = self._numbered_policy()
        return Rules(
            policy=policy,
            policy_id=number,
            review_hours=self.settings.review.hours,
            sample_key=self._sample_key,
            sources=Sources(
                evidence=self.indexer.evidence_session().evidence,
                bank=self._bank,
                threshold_bits=self.settings.indexer.matching.threshold_bits,
            ),
        )

    @property
    def governance(self) -> Governance:
        """What a trust team rules: policy, brakes, known-benign images."""
        return Governance(
            indexer=self.indexer,
            database=self.database,
            settings=self.settings,
            rules=self.rules,
            clock=self.clock,
        )

    @cached_property
    def tokens(self) -> Tokens:
        """What programs call the HTTP API with."""
        return Tokens(self.database, clock=self.clock)

    @cached_property
    def people_secret(self) -> bytes:
        """Seals and signs what people sign on with."""
        path = self.settings.indexer.data_dir / "secrets" / "people-key"
        return load_or_create_secret(path)

    @cached_property
    def accounts(self) -> Accounts:
        """Who may sign on, as what."""
        factor = SecondFactor(self.people_secret)
        return Accounts(self.database, factor=factor, clock=self.clock)

    @cached_property
    def signing_on(self) -> SigningOn:
        """How people sign on."""
        return SigningOn(
            self.database, sessions=self.sessions, key=self.people_secret, clock=self.clock
        )

    @cached_property
    def sessions(self) -> Sessions:
        """Which browsers belong to whom, for how long."""
        web = self.settings.web
        return Sessions(
            self.database,
            idle=timedelta(minutes=web.session_idle_minutes),
            age=timedelta(hours=web.session_hours),
            clock=self.clock,
        )

    @property
    def desk(self) -> Desk:
        """What reviewers do."""
        return Desk(
            self.indexer.store,
            self.database,
            rules=self.rules,
            settings=self.settings.review,
            clock=self.clock,
        )

    @cached_property
    def viewing(self) -> Viewing:
        """What shows an image to a person."""
        return Viewing(
            self.database,
            GuardedFetch(user_agent=self.settings.crawler.user_agent),
            self.settings.indexer.hashing,
            rules=self.rules,
            clock=self.clock,
        )

    @cached_property
    def _sample_key(self) -> bytes:
        path = self.settings.indexer.data_dir / "secrets" / "blind-sample-key"
        return load_or_create_secret(path)

    @cached_property
    def direct(self) -> DirectReports:
        """What people report to us directly."""
        return DirectReports(self.indexer.store, self.database, self.clock)

    @cached_property
    def reports(self) -> Reports:
        """Reports that people make here; see also ``survivors.reviewing`` and ``holding``."""
        path = self.settings.indexer.data_dir / "secrets" / "report-key"
        return Reports(
            store=self.indexer.store,
            database=self.database,
            direct=self.direct,
            secret=self._access_secret,
            sealer=Sealer(load_or_create_secret(path)),
            review=self.settings.review,
            web=self.settings.web,
            clock=self.clock,
        )

    @cached_property
    def door(self) -> Door:
        """How survivors open their own case."""
        return Door(
            store=self.indexer.store,
            database=self.database,
            secret=self._access_secret,
            threshold_bits=self.settings.indexer.matching.threshold_bits,
            clock=self.clock,
        )

    @cached_property
    def _access_secret(self) -> bytes:
        path = self.settings.indexer.data_dir / "secrets" / "access-code-key"
        return load_or_create_secret(path)

    @cached_property
    def appeal_desk(self) -> AppealDesk:
        """What appeals work with; see ``appeals``, ``appeal_review`` and ``statements``."""
        return AppealDesk(
            store=self.indexer.store,
            database=self.database,
            secret=self._access_secret,
            rules=self.rules,
            settings=self.settings.appeals,
            clock=self.clock,
        )

    def create(self) -> None:
        """Create what is missing: both stores and the secrets."""
        _ = self.indexer, self.database, self._access_secret, self._sample_key, self.policy
        _ = self.ledger_log.key, self.people_secret, self.reports

    def sync_feeds(
        self,
        names: Sequence[str] = (),
        *,
        full: bool = False,
        stopped: Stopped = _never,
        on_page: Callable[[SyncReport], None] = lambda _report: None,
    ) -> Iterator[SyncReport | FailedSync]:
        """Sync feeds one after the other; one that fails does not hold up the rest.

        Raises:
            SettingsError: a name that is not configured.
            StoreError: the store failed; nothing of the page under way was kept.
        """
        for name in self.indexer.feed_names(names):
            try:
                sync = self.indexer.feed_sync(name)
                yield sync.run(now=self.clock(), full=full, stopped=stopped, on_page=on_page)
            except FeedError as error:
                yield FailedSync(feed=name, error=error)
        self.indexer.publish_index()

    def scan_delta(
        self, *, stopped: Stopped = _never, on_progress: Progress = lambda _done, _all: None
    ) -> ScanReport:
        """Compare new signals with every stored image."""
        return self.indexer.scanner.delta(
            now=self.clock(), stopped=stopped, on_progress=on_progress
        )

    def scan_full(
        self,
        *,
        resume: bool = False,
        stopped: Stopped = _never,
        on_progress: Progress = lambda _done, _all: None,
    ) -> ScanReport:
        """Compare every signal with every stored image."""
        return self.indexer.scanner.full(
            now=self.clock(), resume=resume, stopped=stopped, on_progress=on_progress
        )

    @cached_property
    def file_rescans(self) -> "FileRescans":
        """What re-scans exported files of hashes.

        Raises:
            SettingsError: pyarrow is not installed.
        """
        pyarrow()
        from delist.rescan.running import FileRescans  # noqa: PLC0415 - needs an extra

        settings = self.settings.indexer
        return FileRescans(
            self.indexer.scanner,
            settings.data_dir,
            threshold_bits=settings.matching.threshold_bits,
            keep_for=timedelta(seconds=settings.store.purge_after_s),
            clock=self.clock,
        )

    @cached_property
    def ingestion(self) -> "Ingestion":
        """What takes an existing index or archive in."""
        from delist.ingest.ingesting import Ingestion  # noqa: PLC0415 - loads Scrapy's pages

        return Ingestion(self.indexer, self.settings.crawler)

    @cached_property
    def exports(self) -> "Exports":
        """What writes stored images, matches and records as tables."""
        from delist.export import Exports  # noqa: PLC0415 - loads pyarrow

        return Exports(self.indexer.store, self.database, clock=self.clock)

    @cached_property
    def recrawling(self) -> Recrawling:
        """What looks at suppressed URLs again."""
        return Recrawling(
            self.indexer,
            self.database,
            settings=self.settings.recrawl,
            crawl_settings=self.settings.crawler,
            config=self.config_file,
            clock=self.clock,
        )

    def recrawl(
        self,
        *,
        limit: int | None = None,
        stopped: Stopped = _never,
        allow_private_addresses: bool = False,
    ) -> RecrawlReport:
        """Look at the suppressed URLs that are due, then take in what was found."""
        report = self.recrawling.run(
            limit=limit, stopped=stopped, allow_private_addresses=allow_private_addresses
        )
        report.intake = self.take_in(stopped=stopped)
        return report

    def compact(self, *, at_once: bool = True, stopped: Stopped = _never) -> CompactionReport:
        """Close gaps in the store and overwrite what has gone; see ``Indexer.compact``."""
        settings = self.settings.indexer
        keep_for = timedelta(seconds=settings.store.purge_after_s)
        RunKeys(settings.data_dir).destroy_old(now=self.clock(), keep_for=keep_for)
        return self.indexer.compact(at_once=at_once, stopped=stopped)

    def take_in(self, *, stopped: Stopped = _never) -> IntakeReport:
        """Take the indexer's logs into cases, decisions and records."""
        report = IntakeReport()
        while True:
            intake = Intake(self.indexer.store, self.database, rules=self.rules())
            try:
                return intake.run(now=self.clock(), stopped=stopped, report=report)
            except PolicyChangedError:  # it goes on under the new one
                continue

    def send_feedback(self, *, stopped: Stopped = _never) -> DeliveryReport:
        """Tell the feeds what waits in the outboxes; what fails is tried again later."""
        restored.check_settled(self.indexer.store)
        with self.database.read() as connection:
            if not outbox.waiting(connection) and not submissions.waiting(connection):
                return DeliveryReport(failed={})
        indexer, now = self.indexer, self.clock()
        offered = submitting.deliver(
            self.database,
            indexer.store,
            indexer.hash_receivers(),
            indexer.match_digest_list,
            now=now,
            stopped=stopped,
        )
        receivers: dict[str, FeedbackReceiver] = indexer.feedback_receivers()
        told = feedback.deliver(self.database, indexer.store, receivers, now=now, stopped=stopped)
        return submitting.together(offered, told)

    def decide(self, case_id: str, ruling: Ruling) -> Case:
        """Put a person's verdict into force; see ``review.decide``."""
        return review.decide(
            self.indexer.store,
            self.database,
            case_id,
            ruling,
            rules=self.rules(),
            now=self.clock(),
        )

    def cases(self, *, awaiting_person: bool = True) -> Iterator[Case]:
        """Iterate over the cases that wait for a person, or all, by deadline."""
        with self.database.read() as connection:
            yield from cases.every(connection, awaiting_person=awaiting_person)

    def case_file(self, case_id: str) -> CaseFile:
        """Load everything about one case.

        Raises:
            UnknownCaseError: no case has this id.
        """
        return self.desk.case_file(case_id)

    def evidence(self, case: Case) -> dict[str, Evidence]:
        """Say what else can be said about a case's matches, by signal; see ``Evidence``."""
        image_key = bytes.fromhex(case.image_key)
        return {
            match.signal_key: self.indexer.evidence(image_key, bytes.fromhex(match.signal_key))
            for match in case.matches
        }

    def records_after(self, sequence: int) -> Iterator[SuppressionRecord]:
        """Iterate over the ledger behind a sequence number."""
        with self.database.read() as connection:
            yield from ledger.after(connection, sequence)

    def entries_after(self, sequence: int) -> Iterator[SuppressionRecord | ErasedRecord]:
        """Iterate over the same with what is left of erased records."""
        with self.database.read() as connection:
            yield from ledger.entries_after(connection, sequence)

    @cached_property
    def ledger_log(self) -> LedgerLog:
        """The ledger as a log that others can check."""
        return LedgerLog(
            self.database,
            self.settings.indexer.data_dir,
            origin=self.settings.ledger.origin,
            clock=self.clock,
        )

    def begin_new_log(self, *, actor: str, reason: str) -> succeeding.NewLog:
        """Begin a new log of the ledger, with a new key and origin; see ``succeeding``."""

        def opened() -> LedgerLog:
            self.__dict__.pop("ledger_log", None)
            return self.ledger_log

        return succeeding.begin_anew(
            opened,
            self.database,
            self.settings.indexer.data_dir,
            actor=actor,
            reason=reason,
            now=self.clock(),
        )

    def resume_log(self, checkpoint: str, *, actor: str, reason: str) -> int:
        """Go on with the ledger's log after a backup was put back; see ``succeeding.resume``."""
        return succeeding.resume(
            self.ledger_log,
            self.database,
            checkpoint,
            actor=actor,
            reason=reason,
            now=self.clock(),
        )

    @property
    def backups(self) -> Backups:
        """Copies of both stores and the secrets."""
        return Backups(
            lambda: (self.indexer.store, self.database),
            self.settings,
            config_file=self.config_file,
            clock=self.clock,
        )

    def backup(self, *, stopped: Stopped = _never) -> BackupReport:
        """Take a backup as [backup] says; what a job calls."""
        return self.backups.take(stopped=stopped)

    def accept_restored(self, feed: str, *, actor: str, reason: str) -> None:
        """Take what was put back of a feed as it is; see ``backup.restored``."""
        restored.accept(
            self.indexer.store,
            self.database,
            feed,
            actor=actor,
            reason=reason,
            now=self.clock(),
        )

    def retain(self, *, dry_run: bool = False, stopped: Stopped = _never) -> RetentionReport:
        """Remove what has been kept long enough, as [retention] says; what a job calls."""
        if not dry_run:
            self.reports.erase_old()
        return retention.run(
            self.indexer.store,
            self.database,
            self.settings,
            now=self.clock(),
            dry_run=dry_run,
            stopped=stopped,
        )

    def monitor(self) -> Monitor:
        """Make what reads how this installation stands, in figures."""
        return Monitor(
            indexer=lambda: self.indexer,
            database=lambda: self.database,
            log=lambda: self.ledger_log,
            sinks=lambda: self.sinks,
            crawl_queue=lambda: self.crawl_queue,
            feeds=lambda: [feed.name for feed in self.settings.indexer.feeds],
            clock=self.clock,
        )

    @property
    def limits(self) -> Limits:
        """From where on a figure is not as it should be."""
        settings = self.settings
        return Limits(feed_s=settings.web.stale_s, crawl_queue_s=settings.queue.late_s)

    @property
    def crawl_queue(self) -> CrawlQueue:
        """What asks the queue that crawlers on other machines fill how it stands."""
        return CrawlQueue(self.settings.queue, database=lambda: self.database, clock=self.clock)

    @property
    def sinks(self) -> Sinks:
        """Those who follow the ledger, and what brings it to them."""
        settings = self.settings
        return Sinks(settings.sinks, settings.consumers, self.database, clock=self.clock)

    def erase_records(
        self, sequences: Sequence[int], *, actor: str, reason: str, at_once: bool = False
    ) -> int:
        """Erase what records say; see ``erasing.erase``."""
        return erasing.erase(
            self.database,
            sequences,
            actor=actor,
            reason=reason,
            now=self.clock(),
            at_once=at_once,
        )

    def verify_ledger(self) -> int:
        """Check the ledger, its tree and its checkpoints; returns the number of records.

        Raises:
            LedgerError: an edit, a gap, a changed order or a cut.
        """
        return self.ledger_log.verify()

    def audit_entries(self, after: int = 0, *, subject: str | None = None) -> Iterator[AuditEntry]:
        """Iterate over the audit log behind a number, of one subject or all."""
        with self.database.read() as connection:
            yield from audit.after(connection, after, subject=subject)

    def audit_entries_before(
        self, sequence: int | None, *, subject: str = "", limit: int
    ) -> list[AuditEntry]:
        """Load the entries before a number, or the newest; see ``audit.before``."""
        with self.database.read() as connection:
            return audit.before(connection, sequence, subject=subject, limit=limit)

    def verify_audit_log(self) -> int:
        """Check the audit log; returns the number of entries.

        Raises:
            LedgerError: an edit, a gap or a changed order.
        """
        with self.database.read() as connection:
            return audit.verify(connection)

    def suppression_filter(self) -> "SuppressionFilter":
        """Open the filter that result pages ask, on the same case store."""
        from delist.serving import SuppressionFilter  # noqa: PLC0415 - loads compiled code

        return SuppressionFilter(self.database)

    def keep_snapshot(self, *, force: bool = False) -> "SnapshotReport":
        """Build what the filter maps, or renew it when it is time; see ``serving.keeping``."""
        from delist.serving import keep_snapshot  # noqa: PLC0415 - loads compiled code

        return keep_snapshot(self.database, now=self.clock(), force=force)

    def issue_access_code(self, case_ref: str) -> str:
        """Issue a survivor's access code; see ``access.issue_code``."""
        return access.issue_code(
            self.indexer.store, self.database, self._access_secret, case_ref, now=self.clock()
        )

    def survivor_report(self, case_ref: str, *, access_code: str | None = None) -> SurvivorReport:
        """Report on one case reference, in full with a valid access code.

        Raises:
            UnknownCaseRefError: no feed has named this case reference.
        """
        store = self.indexer.store
        full = access_code is not None and access.is_valid(
            store, self.database, self._access_secret, case_ref, access_code
        )
        return reporting.survivor_report(
            store, self.database, case_ref, full=full, now=self.clock()
        )

    def close(self) -> None:
        """Close what was opened."""
        for name in ("indexer", "database"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

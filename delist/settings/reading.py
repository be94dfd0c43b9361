"""The settings of one configuration file, read and checked."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.settings import CrawlSettings, FrontierSettings
from delist.policy import Policy, read_policy
from delist.settings import checks
from delist.settings.deciding import (
    AppealSettings,
    PolicySettings,
    RecrawlSettings,
    RetentionSettings,
    ReviewSettings,
)
from delist.settings.publishing import ConsumerSettings, LedgerSettings, SinkTable
from delist.settings.running import (
    BackupSettings,
    DatabaseSettings,
    JobSettings,
    MetricsSettings,
    TracingSettings,
)
from delist.settings.web import OidcSettings, WebSettings
from indexer.errors import SettingsError
from indexer.settings import (
    INDEXER_SECTIONS,
    HashingSettings,
    IndexerSettings,
    MatchingSettings,
    QueueSettings,
    ScanSettings,
    StoreSettings,
    read_indexer_settings,
    read_section,
    read_toml,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelistSettings:
    """Everything in one configuration file."""

    indexer: IndexerSettings
    database: DatabaseSettings = DatabaseSettings()
    crawler: CrawlSettings = CrawlSettings()
    frontier: FrontierSettings = FrontierSettings()
    queue: QueueSettings = QueueSettings()
    policy_file: Path | None = None
    review: ReviewSettings = ReviewSettings()
    appeals: AppealSettings = AppealSettings()
    ledger: LedgerSettings = LedgerSettings()
    consumers: ConsumerSettings = ConsumerSettings()
    sinks: tuple[SinkTable, ...] = ()
    web: WebSettings = WebSettings()
    oidc: OidcSettings = OidcSettings()
    jobs: JobSettings = JobSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    backup: BackupSettings = BackupSettings()
    retention: RetentionSettings = RetentionSettings()
    recrawl: RecrawlSettings = RecrawlSettings()

    def load_policy(self) -> Policy:
        """Read the policy in force.

        Raises:
            PolicyError: the file cannot be read, or a value is wrong.
        """
        return Policy() if self.policy_file is None else read_policy(self.policy_file)


SECTIONS: tuple[tuple[str, type], ...] = (
    ("store", StoreSettings),
    ("database", DatabaseSettings),
    ("matching", MatchingSettings),
    ("hashing", HashingSettings),
    ("scan", ScanSettings),
    ("crawler", CrawlSettings),
    ("frontier", FrontierSettings),
    ("queue", QueueSettings),
    ("policy", PolicySettings),
    ("review", ReviewSettings),
    ("appeals", AppealSettings),
    ("ledger", LedgerSettings),
    ("consumers", ConsumerSettings),
    ("web", WebSettings),
    ("web.oidc", OidcSettings),
    ("jobs", JobSettings),
    ("metrics", MetricsSettings),
    ("tracing", TracingSettings),
    ("backup", BackupSettings),
    ("retention", RetentionSettings),
    ("recrawl", RecrawlSettings),
)
_HERE = frozenset(name for name, _ in SECTIONS if "." not in name)
_KNOWN = frozenset(INDEXER_SECTIONS) | _HERE | {"sinks"}
_SINK_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def load_settings(config: Path | None, *, data_dir: Path | None = None) -> DelistSettings:
    """Read a configuration file; None for the built-in defaults in the working directory.

    Raises:
        SettingsError: the file cannot be read, or a value is wrong.
    """
    table: dict[str, Any] = {}
    base_dir = Path.cwd()
    if config is not None:
        base_dir = config.absolute().parent
        table = read_toml(config)
    unknown = sorted(set(table) - _KNOWN)
    if unknown:
        raise SettingsError(f"{unknown[0]}: unknown key; known here: {', '.join(sorted(_KNOWN))}")
    policy = read_section(PolicySettings, table, "policy", base_dir=base_dir)
    database = read_section(DatabaseSettings, table, "database", base_dir=base_dir)
    jobs = read_section(JobSettings, table, "jobs", base_dir=base_dir)
    checks.check_jobs(jobs)
    checks.check_database(database)
    ledger = read_section(LedgerSettings, table, "ledger", base_dir=base_dir)
    checks.check_origin(ledger.origin)
    web = table.get("web", {})
    oidc = OidcSettings()
    if isinstance(web, dict):
        web = dict(web)
        given = {"web.oidc": web.pop("oidc", {})}
        oidc = read_section(OidcSettings, given, "web.oidc", base_dir=base_dir)
        checks.check_oidc(oidc)
    served = read_section(WebSettings, table | {"web": web}, "web", base_dir=base_dir)
    checks.check_proxies(served.proxies)
    backup = read_section(BackupSettings, table, "backup", base_dir=base_dir)
    checks.check_backup(backup)
    tracing = read_section(TracingSettings, table, "tracing", base_dir=base_dir)
    checks.check_tracing(tracing)
    return DelistSettings(
        indexer=read_indexer_settings(table, base_dir=base_dir, data_dir=data_dir),
        database=database,
        crawler=read_section(CrawlSettings, table, "crawler", base_dir=base_dir),
        frontier=read_section(FrontierSettings, table, "frontier", base_dir=base_dir),
        queue=read_section(QueueSettings, table, "queue", base_dir=base_dir),
        metrics=read_section(MetricsSettings, table, "metrics", base_dir=base_dir),
        tracing=tracing,
        policy_file=policy.file,
        review=read_section(ReviewSettings, table, "review", base_dir=base_dir),
        appeals=read_section(AppealSettings, table, "appeals", base_dir=base_dir),
        ledger=ledger,
        consumers=read_section(ConsumerSettings, table, "consumers", base_dir=base_dir),
        sinks=_read_sinks(table.get("sinks", {}), base_dir=base_dir),
        web=served,
        oidc=oidc,
        jobs=jobs,
        backup=backup,
        retention=read_section(RetentionSettings, table, "retention", base_dir=base_dir),
        recrawl=read_section(RecrawlSettings, table, "recrawl", base_dir=base_dir),
    )


def _read_sinks(tables: Any, *, base_dir: Path) -> tuple[SinkTable, ...]:  # noqa: ANN401 - unchecked TOML
    if not isinstance(tables, dict):
        raise SettingsError("sinks: tables [sinks.NAME] are needed")
    found = []
    for name, given in tables.items():
        if not _SINK_NAME.fullmatch(name):
            raise SettingsError(
                "sinks: a sink's name has 1 to 63 lower-case letters, digits, . _ or -, and"
                " begins with a letter or digit"
            )
        if not isinstance(given, dict):
            raise SettingsError(f"sinks.{name}: a table [sinks.{name}] is needed")
        kind = given.get("type")
        if not isinstance(kind, str) or not kind:
            raise SettingsError(f'sinks.{name}.type: is missing, such as "webhook"')
        values = {key: value for key, value in given.items() if key != "type"}
        found.append(SinkTable(name=name, kind=kind, values=values, base_dir=base_dir))
    return tuple(found)

"""All settings of one configuration file, and that file written out with its explanations."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from crawler.settings import CrawlSettings, FrontierSettings
from delist.errors import LogProofError
from delist.policy import Policy, read_policy
from delist.tlog.notes import check_name
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
    setting,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """[database]: where cases, decisions and records lie."""

    url: str = setting(
        "",
        "A PostgreSQL database, without a password: postgresql://user@host/name, as libpq reads\n"
        'it. Needs the extra "postgres". Without url and url_file: SQLite, under data_dir.',
    )
    url_file: Path | None = setting(
        None, "A file that holds the same in one line; there a password may stand."
    )

    def load_url(self) -> str:
        """Read the address; empty for SQLite.

        Raises:
            SettingsError: the file cannot be read, or holds no address; never says what it holds.
        """
        if self.url_file is None:
            return self.url
        try:
            text = self.url_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            # `from None`: a decoding error holds the content.
            raise SettingsError(
                f"database.url_file: {self.url_file} cannot be read: {reason}"
            ) from None
        if not text.startswith(_POSTGRES) or len(text.splitlines()) != 1:
            raise SettingsError(
                f"database.url_file: {self.url_file} must hold one line, postgresql://..."
            )
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """[policy]: what the machine may do on its own."""

    file: Path | None = setting(
        None, "The policy file. Without one, the built-in policy is in force."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """[review]: the work of people."""

    hours: int = setting(48, "Hours that a person has to decide on a case.", low=1, high=24 * 30)
    claim_minutes: int = setting(
        30,
        "Minutes that a case stays with the person who took it from the queue, so that nobody\n"
        "else looks at it meanwhile.",
        low=1,
        high=24 * 60,
    )
    undo_s: int = setting(
        60, "Seconds in which a person can take back what they decided last; 0: never.", low=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppealSettings:
    """[appeals]: requests to look again, of site owners and of survivors."""

    days: int = setting(14, "Days that a person has to decide on an appeal.", low=1, high=365)
    proof_days: int = setting(
        7, "Days in which a site owner has to prove control of the site.", low=1, high=90
    )
    open_per_site: int = setting(
        20,
        "Most appeals of one site, or of one case reference, that wait for a decision. Only those\n"
        "whose proof was found count: a stranger cannot use up a site's share.",
        low=1,
    )
    per_site_day: int = setting(
        20, "Most appeals of one site, or of one case reference, within 24 hours.", low=1
    )
    statement_delay_hours: int = setting(
        72,
        "Hours that a result has to be away from results before its site's owner is told, by a\n"
        "statement or by the answer to an appeal. Whoever planted a copy to see whether somebody\n"
        "reports it should learn little from when it went.",
        low=0,
        high=24 * 90,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """[ledger]: the records as a log that others can check."""

    origin: str = setting(
        "",
        "The log's name in its checkpoints, such as search.example/delist: no spaces, no plus,\n"
        "never changed once something was signed. Without one it is made of the log's key.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """[consumers]: those who obey the ledger."""

    clock_hours: int = setting(
        48, "Hours in which a record has to have reached every consumer.", low=1, high=24 * 30
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkTable:
    """One [sinks.NAME] table, of which only the type is known here.

    Attributes:
        values: what stands beside the type; the adapter of that type reads it.
        base_dir: relative paths are relative to it.
    """

    name: str
    kind: str
    values: Mapping[str, Any] = field(repr=False)
    base_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """[web]: `delist serve`. Numbers of a process count for each of its workers."""

    proxies: tuple[str, ...] = setting(
        (),
        'Addresses or networks of the proxies in front of it, such as "10.0.0.2". Their word on\n'
        "who calls (X-Forwarded-For) and on TLS (X-Forwarded-Proto) is believed, nobody else's.",
    )
    connections: int = setting(512, "Most connections of a process.", low=1)
    hash_threads: int = setting(
        0, "Threads of a process that hash; 0 for as many as there are processors.", low=0, high=256
    )
    hash_queue: int = setting(
        64, "Most images that wait to be hashed; whoever sends one more is told to wait.", low=0
    )
    timeout_s: float = setting(
        30.0, "Longest that receiving one body, or working on it, may take.", low=1, high=600
    )
    batch_bytes: int = setting(
        64 * 1024 * 1024, "Largest body that holds several images, in bytes.", low=1024
    )
    memory_bytes: int = setting(
        512 * 1024 * 1024, "Most bytes of bodies that a process holds at once.", low=1024 * 1024
    )
    requests_per_s: int = setting(500, "Most requests of one token in a second.", low=1)
    wrong_tokens_per_minute: int = setting(
        30, "Most wrong tokens of one address that are looked up in a minute.", low=1
    )
    checks_per_day: int = setting(
        2_000,
        "Most images and digests that one token may check in a day, UTC, without indexing them.\n"
        "Whoever holds an image must not learn by many tries what is known.",
        low=0,
    )
    wait_s: float = setting(
        30.0, "Longest that a reader of the suppression log may wait for news.", low=0, high=300
    )
    stale_s: int = setting(
        3600, "Seconds since a feed's last sync from which on `/readyz` says no.", low=60
    )
    report_days: int = setting(
        90,
        "Days after which contact and statement of a direct report are erased. Its hashes stay\n"
        "until it is withdrawn.",
        low=7,
        high=3650,
    )
    reports_per_day: int = setting(
        500,
        "Most direct reports whose pictures are compared in a day, UTC. Later ones are taken in\n"
        "all the same, and wait for the next day.",
        low=1,
    )
    case_answer_s: float = setting(
        0.5,
        "Least seconds in which a survivor's case opens, or does not: how long it takes must not\n"
        "say which of the two things that open it was wrong.",
        low=0,
        high=10,
    )
    session_idle_minutes: int = setting(
        30, "Minutes without a request after which a person has to sign on again.", low=1, high=1440
    )
    session_hours: int = setting(
        10, "Hours after which a person has to sign on again in any case.", low=1, high=168
    )
    sign_ons_per_minute: int = setting(
        20, "Most tries of one network, in a minute, to sign on.", low=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """[web.oidc]: people sign on at the organisation (OpenID Connect), beside local accounts."""

    issuer: str = setting(
        "",
        "The issuer, https://...; empty: local accounts only. Register .../login/oidc/back there.",
    )
    client_id: str = setting("", "What the issuer knows this installation as.")
    client_secret_file: Path | None = setting(None, "A file that holds the client's secret.")
    scopes: str = setting("openid profile email", "What is asked for.")
    name_claim: str = setting("email", "The claim that names people in the audit log.")
    role_claim: str = setting("groups", "The claim that holds a person's groups.")
    leads: tuple[str, ...] = setting(
        (),
        "Groups whose members are leads. Of several roles the first counts: lead, reviewer,\n"
        "auditor, admin. Who is in none may not sign on.",
    )
    reviewers: tuple[str, ...] = setting((), "Groups whose members are reviewers.")
    auditors: tuple[str, ...] = setting((), "Groups whose members are auditors.")
    admins: tuple[str, ...] = setting((), "Groups whose members are administrators.")
    domains: tuple[str, ...] = setting(
        (), "Domains of e-mail addresses that may sign on; empty: all that the issuer lets in."
    )

    def load_secret(self) -> str:
        """Read the client's secret; empty without a file (a public client).

        Raises:
            SettingsError: the file cannot be read; never says what it holds.
        """
        if self.client_secret_file is None:
            return ""
        try:
            return self.client_secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(
                f"web.oidc.client_secret_file: {self.client_secret_file} cannot be read"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """[backup]: copies of both stores and the secrets."""

    folder: Path | None = setting(
        None, "Where `delist backup` writes when it is not told; best on another machine's disk."
    )
    key_file: Path | None = setting(
        None, "The file of the key, made by `delist backup-key`; keep a copy of it elsewhere."
    )
    keep_days: int = setting(
        35,
        "Days after which backups in that folder are removed; the newest stays. What was\n"
        "withdrawn has to leave backups too.",
        low=1,
        high=366,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecrawlSettings:
    """[recrawl]: when suppressed URLs are looked at again."""

    first_hours: int = setting(
        6,
        "Hours after which a suppressed URL is looked at first, and again after each change. The\n"
        "time doubles with every look that finds the same.",
        low=1,
        high=24 * 30,
    )
    longest_days: int = setting(30, "Days between two looks at most.", low=1, high=365)
    per_site_day: int = setting(
        2_000, "Most looks at the URLs of one site (registrable domain) on a day, UTC.", low=1
    )
    batch: int = setting(500, "Most looks of one recrawl, which is one crawl process.", low=1)
    host_gone_days: int = setting(
        14, "Days without an address for a host's name after which its URLs count as gone.", low=1
    )
    watch_days: int = setting(
        180,
        "Days for which a URL is still looked at after it was lifted since other bytes were\n"
        "there: a copy that comes back is suppressed at once.",
        low=0,
        high=3650,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """[retention]: how long what is over is kept; docs/retention.md has reasons."""

    withdrawn_days: int = setting(
        30,
        "Days after which a withdrawn case is erased, with addresses, matches and decisions, and\n"
        "what its records say, once none of its signals is live.",
        low=0,
        high=3660,
    )
    appeal_days: int = setting(
        180, "Days after its decision in which contact and text of an appeal stay.", low=1
    )
    access_code_days: int = setting(
        90, "Days in which an access code still opens a case reference that has ended.", low=1
    )
    feedback_days: int = setting(
        400, "Days in which words to feeds stay after they were sent.", low=1
    )
    match_log_days: int = setting(
        90, "Days in which entries of the match log stay after intake.", low=1
    )
    signal_log_days: int = setting(
        800, "Days in which entries of the signal log stay; transparency reports count them.", low=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """[jobs]: how often `delist run` does its periodic work."""

    feed_sync_s: int = setting(
        60,
        "Seconds between two syncs of the feeds, each followed by the re-scan for new signals,\n"
        "intake and feedback.",
        low=1,
        high=30 * 24 * 3600,
    )
    full_scan_s: int = setting(
        7 * 24 * 3600,
        "Seconds between two comparisons of everything with everything.",
        low=1,
        high=366 * 24 * 3600,
    )
    stop_s: int = setting(
        10, "Seconds that a job under way may take to stop after SIGTERM.", low=1, high=14
    )
    limit_s: int = setting(
        3600,
        "Seconds after which a job counts as hanging if it shows no sign of life. It is asked to\n"
        "stop; if it does not within stop_s, the process ends with exit code 1, to be started\n"
        "again. Jobs whose interval is shorter are asked to stop after so many seconds anyway.",
        low=1,
        high=7 * 24 * 3600,
    )
    lease_s: int = setting(
        30,
        "Seconds after which another machine that shares the database takes the periodic work\n"
        "over from one that is gone. At least stop_s and 4 more.",
        low=5,
        high=3600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """[metrics]: figures of `delist run` for Prometheus. `delist serve` has its own /metrics."""

    port: int = setting(
        0,
        "Port of `delist run` on this machine's loopback address; 0: none. It asks for no token:\n"
        "its sums are for whoever has an account on this machine.",
        low=0,
        high=65_535,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """[tracing]: how long pieces of work take, sent to an OpenTelemetry collector."""

    endpoint: str = setting(
        "",
        "Where traces are sent, OTLP over HTTP, such as http://localhost:4318/v1/traces; empty:\n"
        'none are made. Needs the extra "otel". They hold no address, digest or case.',
    )
    share: float = setting(1.0, "Share of traces that are kept, 0-1.", low=0, high=1)


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


_SECTIONS: tuple[tuple[str, type], ...] = (
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
_HERE = frozenset(name for name, _ in _SECTIONS if "." not in name)
_KNOWN = frozenset(INDEXER_SECTIONS) | _HERE | {"sinks"}
_LEASE_OVER_STOP_S = 4
_SINK_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

_POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg://")
_SECRET_WORDS = frozenset({"password", "sslpassword"})
_EXAMPLES = {
    "file": "policy.toml",
    "url_file": "/run/secrets/delist-database",
    "folder": "/mnt/backups/delist",
    "key_file": "/etc/delist/backup-key",
    "client_secret_file": "/run/secrets/delist-oidc",
    "token_file": "/run/secrets/delist-queue-token",
    "password_file": "/run/secrets/delist-cluster-password",
    "ca_file": "/etc/delist/cluster-ca.pem",
    "certificate_file": "/run/secrets/delist-cluster.pem",
}
_POLICY_LINE = 'file = "policy.toml"'

_HEAD = """\
# Configuration of Delist. Every key may be left out; the values that are commented out
# are the built-in defaults. Relative paths are relative to this file.

# Where the stores and the local secrets live.
data_dir = "delist-data"

# The feed of StopNCII.org. Each key is a file that holds one line; the endpoints have
# different function keys.
# [feeds.stopncii]
# base_url = "https://api.stopncii.org/v1"
# subscription_key_file = "/run/secrets/stopncii-subscription"
# function_key_files = { FetchHashes = "/run/secrets/stopncii-fetch", \
SubmitFeedback = "/run/secrets/stopncii-feedback", \
SubmitHashes = "/run/secrets/stopncii-hashes" }
# page_size = 800          # records in a page
# timeout_s = 60.0         # longest that one answer may take
# overlap_s = 600          # seconds before the cursor that each sync reads again

# A local bank of signals: 64-hex digests, one a line, or records as StopNCII writes them.
# What disappears from the file is withdrawn.
# [feeds.bank]
# type = "file"
# path = "bank.jsonl"
"""


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
    if jobs.lease_s < jobs.stop_s + _LEASE_OVER_STOP_S:
        raise SettingsError(f"jobs.lease_s: at least stop_s and {_LEASE_OVER_STOP_S} more")
    _check_database(database)
    ledger = read_section(LedgerSettings, table, "ledger", base_dir=base_dir)
    _check_origin(ledger.origin)
    web = table.get("web", {})
    oidc = OidcSettings()
    if isinstance(web, dict):
        web = dict(web)
        given = {"web.oidc": web.pop("oidc", {})}
        oidc = read_section(OidcSettings, given, "web.oidc", base_dir=base_dir)
        _check_oidc(oidc)
    served = read_section(WebSettings, table | {"web": web}, "web", base_dir=base_dir)
    _check_proxies(served.proxies)
    backup = read_section(BackupSettings, table, "backup", base_dir=base_dir)
    _check_backup(backup)
    return DelistSettings(
        indexer=read_indexer_settings(table, base_dir=base_dir, data_dir=data_dir),
        database=database,
        crawler=read_section(CrawlSettings, table, "crawler", base_dir=base_dir),
        frontier=read_section(FrontierSettings, table, "frontier", base_dir=base_dir),
        queue=read_section(QueueSettings, table, "queue", base_dir=base_dir),
        metrics=read_section(MetricsSettings, table, "metrics", base_dir=base_dir),
        tracing=_read_tracing(table, base_dir=base_dir),
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


def _check_database(settings: DatabaseSettings) -> None:
    if not settings.url:
        return
    if settings.url_file is not None:
        raise SettingsError("database.url: stands beside url_file; only one of them can count")
    if not settings.url.startswith(_POSTGRES):
        raise SettingsError("database.url: an address postgresql://... is needed")
    try:
        parts = urlsplit(settings.url)
    except ValueError:
        raise SettingsError("database.url: not a valid address") from None
    words = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.password or parts.fragment or words & _SECRET_WORDS:
        raise SettingsError("database.url: a password must stand in a file; use url_file")


def _check_backup(settings: BackupSettings) -> None:
    # Else only the job would say so, a day later.
    if settings.folder is not None and settings.key_file is None:
        raise SettingsError(
            "backup.key_file: is missing; backups in backup.folder are sealed with a key that"
            " `delist backup-key FILE` makes"
        )


def _check_proxies(proxies: tuple[str, ...]) -> None:
    for proxy in proxies:
        try:
            network = ip_network(proxy)
        except ValueError:
            network = None
        # Everybody would be believed, who says to be anybody; a name is never believed, silently.
        if network is None or not network.prefixlen:
            raise SettingsError('web.proxies: addresses or networks are needed, such as "10.0.0.2"')


def _check_oidc(settings: OidcSettings) -> None:
    if not settings.issuer:
        return
    if not is_private_enough(settings.issuer):
        raise SettingsError("web.oidc.issuer: an address https://... is needed")
    if not settings.client_id:
        raise SettingsError("web.oidc.client_id: is missing")


def is_private_enough(url: str) -> bool:
    """Say whether nobody between us and an address can read along: TLS, or this machine."""
    try:
        parts = urlsplit(url)
        loopback = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and loopback)
    )


def _read_tracing(table: dict[str, Any], *, base_dir: Path) -> TracingSettings:
    tracing = read_section(TracingSettings, table, "tracing", base_dir=base_dir)
    if tracing.endpoint and not is_private_enough(tracing.endpoint):
        raise SettingsError("tracing.endpoint: https://..., or an address of this machine")
    return tracing


def _check_origin(origin: str) -> None:
    if origin:
        try:
            check_name(origin)
        except LogProofError:
            raise SettingsError("ledger.origin: a name without spaces and plus is needed") from None


def annotated_configuration(*, policy_beside: bool = False) -> str:
    """Write the configuration file with every key, its explanation and its default.

    Args:
        policy_beside: whether ``policy.toml`` stands beside it and is to be in force.
    """
    parts = [_HEAD]
    for name, cls in _SECTIONS:
        summary = (cls.__doc__ or "").partition(": ")[2]
        parts.append(f"\n# {summary[:1].upper()}{summary[1:]}\n[{name}]\n")
        parts.extend(f"{line}\n" for line in _setting_lines(cls))
    text = "".join(parts)
    return text.replace(f"# {_POLICY_LINE}", _POLICY_LINE) if policy_beside else text


def _setting_lines(cls: Any) -> Iterator[str]:  # noqa: ANN401 - a dataclass
    for entry in fields(cls):
        yield ""
        yield from (f"# {line}" for line in entry.metadata["doc"].splitlines())
        default = _EXAMPLES[entry.name] if entry.default is None else entry.default
        assert default is not MISSING  # noqa: S101 - every setting has a default
        yield f"# {entry.name} = {_toml(default)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)

"""Settings of the database, the periodic work, and what is said of it."""

from dataclasses import dataclass
from pathlib import Path

from indexer.errors import SettingsError
from indexer.settings import setting

POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg://")


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
        if not text.startswith(POSTGRES) or len(text.splitlines()) != 1:
            raise SettingsError(
                f"database.url_file: {self.url_file} must hold one line, postgresql://..."
            )
        return text


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
class BackupSettings:
    """[backup]: copies of both stores and the secrets."""

    folder: Path | None = setting(
        None,
        "Where `delist backup` writes when it is not told; best on another machine's disk. It has\n"
        "to be there.",
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

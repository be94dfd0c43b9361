"""What one setting alone does not say is wrong: addresses, names, and what goes together.

Each check raises SettingsError, which names the key and what is needed there.
"""

from ipaddress import ip_network
from urllib.parse import parse_qsl, urlsplit

from delist.errors import LogProofError
from delist.settings.running import (
    POSTGRES,
    BackupSettings,
    DatabaseSettings,
    JobSettings,
    TracingSettings,
)
from delist.settings.web import OidcSettings
from delist.tlog.notes import check_name
from indexer.errors import SettingsError

_LEASE_OVER_STOP_S = 4
_SECRET_WORDS = frozenset({"password", "sslpassword"})


def check_database(settings: DatabaseSettings) -> None:
    """Check [database]: one address, and no password in it."""
    if not settings.url:
        return
    if settings.url_file is not None:
        raise SettingsError("database.url: stands beside url_file; only one of them can count")
    if not settings.url.startswith(POSTGRES):
        raise SettingsError("database.url: an address postgresql://... is needed")
    try:
        parts = urlsplit(settings.url)
    except ValueError:
        raise SettingsError("database.url: not a valid address") from None
    words = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.password or parts.fragment or words & _SECRET_WORDS:
        raise SettingsError("database.url: a password must stand in a file; use url_file")


def check_backup(settings: BackupSettings) -> None:
    """Check [backup]: a folder has a key."""
    # Else only the job would say so, a day later.
    if settings.folder is not None and settings.key_file is None:
        raise SettingsError(
            "backup.key_file: is missing; backups in backup.folder are sealed with a key that"
            " `delist backup-key FILE` makes"
        )


def check_proxies(proxies: tuple[str, ...]) -> None:
    """Check [web]: addresses or networks, and not everybody."""
    for proxy in proxies:
        try:
            network = ip_network(proxy)
        except ValueError:
            network = None
        # Everybody would be believed, who says to be anybody; a name is never believed, silently.
        if network is None or not network.prefixlen:
            raise SettingsError('web.proxies: addresses or networks are needed, such as "10.0.0.2"')


def check_oidc(settings: OidcSettings) -> None:
    """Check [web.oidc]: an issuer over TLS, and who we are to it."""
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


def check_origin(origin: str) -> None:
    """Check [ledger]: a name that a log's checkpoints can bear."""
    if origin:
        try:
            check_name(origin)
        except LogProofError:
            raise SettingsError("ledger.origin: a name without spaces and plus is needed") from None


def check_tracing(settings: TracingSettings) -> None:
    """Check [tracing]: a collector that nobody between can read along with."""
    if settings.endpoint and not is_private_enough(settings.endpoint):
        raise SettingsError("tracing.endpoint: https://..., or an address of this machine")


def check_jobs(settings: JobSettings) -> None:
    """Check [jobs]: a lease outlasts a stop."""
    if settings.lease_s < settings.stop_s + _LEASE_OVER_STOP_S:
        raise SettingsError(f"jobs.lease_s: at least stop_s and {_LEASE_OVER_STOP_S} more")

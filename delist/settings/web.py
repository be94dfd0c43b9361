"""Settings of `delist serve` and of signing on."""

from dataclasses import dataclass
from pathlib import Path

from indexer.errors import SettingsError
from indexer.settings import setting


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

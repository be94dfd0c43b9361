"""Typed settings of the indexer, and the reader that turns TOML tables into such settings.

Every field carries its explanation in its metadata; ``config/delist.toml`` and
``delist init`` are written from it, so code and annotated file cannot differ.
"""

import ipaddress
import math
import re
import tomllib
import types
import typing
from dataclasses import MISSING, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from indexer.errors import SettingsError

T = TypeVar("T")
_MIB = 1024 * 1024


def setting(default: Any, doc: str, *, low: int | None = None, high: int | None = None) -> Any:  # noqa: ANN401 - like dataclasses.field
    """Declare one setting: its default, its explanation with unit, its inclusive range."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """[store]: the LMDB environment under the data directory."""

    map_size_bytes: int = setting(
        64 * 1024 * _MIB,
        "Largest size of the store in bytes. Address space, not disk: the file grows as needed.",
        low=_MIB,
        high=1 << 46,
    )
    max_readers: int = setting(
        1024, "Most processes and threads that read at once.", low=8, high=1 << 20
    )
    purge_after_s: int = setting(
        24 * 3600,
        "Seconds after which nothing of a withdrawn signal or of a hash that was dropped is left\n"
        "in any file of the data directory. `delist run` looks four times as often.",
        low=60,
        high=366 * 24 * 3600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingSettings:
    """[matching]: when an image hash matches a signal."""

    threshold_bits: int = setting(
        31, "Largest Hamming distance that is a match, in bits, inclusive.", low=0, high=31
    )
    deep_threshold_bits: float = setting(
        36.0,
        "Largest distance that is a match of the deep tier, inclusive: bits weighted by margin,\n"
        "0-128; unrelated images are about 128 apart. Such a match always waits for a person.",
        low=0,
        high=64,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HashingSettings:
    """[hashing]: limits that hold before an image is decoded."""

    tier: str = setting(
        "fast",
        'What is done for each image. "fast": hashes of both paths, eight dihedral variants.\n'
        '"deep": edits are guessed and undone too: crops, borders, small turns. "policy": deep\n'
        "for images that come near a signal and for those of deep_hosts.",
    )
    deep_hosts: tuple[str, ...] = setting(
        (), 'Hosts whose images are always searched deeply where tier is "policy".'
    )
    deep_budget_ms: int = setting(
        100, "Milliseconds after which no further edits are guessed for an image.", low=1
    )
    max_bytes: int = setting(32 * _MIB, "Largest encoded image, in bytes.", low=1)
    max_pixels: int = setting(
        64_000_000,
        "Largest image, in pixels (width times height). Of an animation, also the pixels of all\n"
        "frames up to the last that is hashed.",
        low=1,
        high=1_000_000_000,
    )
    max_frames: int = setting(
        8, "Most frames of an animation that are hashed, the first included.", low=1, high=64
    )
    max_video_frames: int = setting(
        120,
        "Most frames of a video that are hashed: one a second, or key frames spread evenly over\n"
        'a longer one; 0 refuses videos. Needs the extra "video".',
        low=0,
        high=3600,
    )
    timeout_s: float = setting(
        20.0,
        "Longest that decoding one image may take, in seconds, where another process does it:\n"
        "animations, videos, WebP, AVIF, HEIC, TIFF. A 64-megapixel AVIF takes about four. Frames\n"
        "that were decoded by then count.",
        low=1,
        high=3600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """[scan]: re-scans of stored images."""

    threads: int = setting(
        0, "Threads of a re-scan; 0 for as many as there are processors.", low=0, high=1024
    )
    images_per_s: int = setting(
        0, "Most images that a re-scan streams in a second; 0 for no limit.", low=0
    )
    index_bytes: int = setting(
        4096 * _MIB,
        "Disk that indexes of stored hashes may take, in bytes; 0 for none. One is built when\n"
        "re-scans have spent more time without it than building it takes. 160 bytes a hash.",
        low=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """[queue]: NATS JetStream, by which crawlers tell what they found; docs/cluster.md."""

    servers: tuple[str, ...] = setting(
        (), "Servers of one cluster, tried in order: tls://host:4222. `--to` takes their place."
    )
    stream: str = setting(
        "DELIST_VISITS", "Name of the stream; what cannot be taken in is parked in NAME_PARKED."
    )
    subject: str = setting(
        "delist.visits", "Subject of the messages; those that are parked have SUBJECT.parked."
    )
    key_file: Path | None = setting(
        None,
        "A file with the key that messages are sealed with, the same on every machine: 64 hex\n"
        "digits, as `delist backup-key` writes one.",
    )
    token_file: Path | None = setting(None, "A file with a token.")
    user: str = setting("", "A user, with password_file.")
    password_file: Path | None = setting(None, "A file with the user's password.")
    ca_file: Path | None = setting(
        None, "Certificates (PEM) that are trusted instead of the usual."
    )
    certificate_file: Path | None = setting(
        None, "Our certificate and its key (PEM), where the server asks for one."
    )
    allow_plain: bool = setting(
        False, "Whether nats:// is accepted beyond loopback: where nobody else listens."
    )
    timeout_s: float = setting(
        10.0, "Longest time to connect, and for one answer, in seconds.", low=1, high=600
    )
    patience_s: int = setting(
        300, "Seconds for which a crawler waits for a server that is away.", low=0
    )
    max_bytes: int = setting(
        1024 * _MIB,
        "What a stream that is created holds at most. A full one makes crawlers wait.",
        low=_MIB,
    )
    duplicate_window_s: int = setting(
        7200,
        "Seconds in which a stream that is created tells messages that it has already; longer\n"
        "than frontier.lease_s.",
        low=1,
        high=30 * 86_400,
    )
    ack_wait_s: int = setting(
        60, "Seconds after which what a killed taker had in hand is given again.", low=1, high=3600
    )
    tries: int = setting(
        5, "How often a message is given before it is parked: it cannot be recorded.", low=1
    )
    parked_days: int = setting(14, "Days in which parked messages stay.", low=1, high=3650)
    late_s: int = setting(
        900,
        "Seconds that a message may wait to be taken in. `delist run` looks once a minute, and\n"
        "`delist doctor` and alarms say when one has waited longer.",
        low=1,
        high=7 * 86_400,
    )

    def __post_init__(self) -> None:
        for server in self.servers:
            check_server(
                server,
                schemes=("nats", "tls"),
                where="queue.servers",
                allow_plain=self.allow_plain,
            )
        for name, words in (("stream", self.stream), ("subject", self.subject)):
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", words, re.ASCII) or (
                name == "stream" and "." in words
            ):
                raise SettingsError(f"queue.{name}: letters, digits, _ and - are needed")

    @property
    def parked_stream(self) -> str:
        """Name of the stream with what cannot be taken in."""
        return f"{self.stream}_PARKED"

    def check_login(self) -> None:
        """Check that there is one way to log in, or none.

        Raises:
            SettingsError: there are several, or a half.
        """
        ways = (self.token_file, self.password_file)
        if sum(way is not None for way in ways) > 1:
            raise SettingsError("queue.token_file: only one of the ways to log in can count")
        if bool(self.user) is not (self.password_file is not None):
            raise SettingsError("queue.user: goes with password_file")

    def key(self) -> Path:
        """Return where the key is.

        Raises:
            SettingsError: nobody said so.
        """
        if self.key_file is None:
            raise SettingsError("queue.key_file: is missing; `delist backup-key FILE` makes one")
        return self.key_file


def check_server(server: str, *, schemes: tuple[str, str], where: str, allow_plain: bool) -> None:
    """Check the address of a server that secrets are told to.

    Args:
        server: such as tls://host:4222.
        schemes: the plain one and the encrypted one.
        where: name of the setting.
        allow_plain: whether the plain one is accepted beyond loopback.

    Raises:
        SettingsError: it is none, holds a password, or is plain.
    """
    plain, encrypted = schemes
    try:
        parts = urlsplit(server)
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{where}: not a valid address") from None
    if parts.scheme not in schemes or not parts.hostname or not server.isprintable():
        raise SettingsError(f"{where}: an address {encrypted}://host is needed")
    if parts.username is not None or parts.password is not None or parts.query:
        raise SettingsError(f"{where}: a user, password or token must stand in a file")
    if parts.scheme == plain and not (allow_plain or is_loopback(parts.hostname)):
        raise SettingsError(
            f"{where}: must be {encrypted}://; {plain}:// is accepted on loopback, or with"
            " allow_plain = true in a network where nobody else listens"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """One [feeds.NAME] table.

    Attributes:
        function_key_files: for StopNCII, one file for each endpoint.
    """

    name: str
    type: str
    base_url: str = ""
    subscription_key_file: Path | None = None
    function_key_files: dict[str, Path] = field(default_factory=dict)
    path: Path | None = None
    page_size: int = 800
    timeout_s: float = 60.0
    overlap_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexerSettings:
    """Everything the indexer reads of the configuration."""

    data_dir: Path
    store: StoreSettings = StoreSettings()
    matching: MatchingSettings = MatchingSettings()
    hashing: HashingSettings = HashingSettings()
    scan: ScanSettings = ScanSettings()
    feeds: tuple[FeedSettings, ...] = ()


STOPNCII = "stopncii"
FILE = "file"
STOPNCII_URL = "https://api.stopncii.org/v1"
STOPNCII_ENDPOINTS = ("FetchHashes", "SubmitFeedback", "SubmitHashes")
INDEXER_SECTIONS = ("data_dir", "store", "matching", "hashing", "scan", "feeds")
FAST, DEEP, POLICY = "fast", "deep", "policy"
TIERS = (FAST, DEEP, POLICY)
RESERVED_FEED = "direct"
"""What people report to the engine itself: `delist direct`. No feed to be synced has its name."""
_FEED_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SettingsError: it cannot be read, or is not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def read_indexer_settings(
    table: dict[str, Any], *, base_dir: Path, data_dir: Path | None = None
) -> IndexerSettings:
    """Read the indexer's sections of a parsed configuration; others are not looked at.

    Args:
        table: the parsed TOML file (or an empty dict for the built-in defaults).
        base_dir: directory that relative paths are relative to.
        data_dir: takes the place of the file's ``data_dir`` when given.

    Raises:
        SettingsError: unknown key, wrong type, value out of range.
    """
    stored_dir = table.get("data_dir", "delist-data")
    if not isinstance(stored_dir, str) or not stored_dir:
        raise SettingsError("data_dir: a path in quotes is needed")
    hashing = read_section(HashingSettings, table, "hashing", base_dir=base_dir)
    if hashing.tier not in TIERS:
        raise SettingsError(
            f'hashing.tier: this version knows {", ".join(TIERS)}, not "{hashing.tier}"'
        )
    stored_path = _read_path(stored_dir, where="data_dir", base_dir=base_dir)
    return IndexerSettings(
        data_dir=(data_dir or stored_path).absolute(),
        store=read_section(StoreSettings, table, "store", base_dir=base_dir),
        matching=read_section(MatchingSettings, table, "matching", base_dir=base_dir),
        hashing=hashing,
        scan=read_section(ScanSettings, table, "scan", base_dir=base_dir),
        feeds=_read_feeds(table.get("feeds", {}), base_dir=base_dir),
    )


def settings_of(
    config: str | PathLike[str] | None, *, data_dir: str | PathLike[str] | None = None
) -> IndexerSettings:
    """Read the indexer's part of a configuration file; None for the built-in defaults.

    Raises:
        SettingsError: the file cannot be read, or a value is wrong.
    """
    table, base_dir = {}, Path.cwd()
    if config is not None:
        path = Path(config)
        base_dir = path.absolute().parent
        table = read_toml(path)
    given = None if data_dir is None else Path(data_dir)
    return read_indexer_settings(table, base_dir=base_dir, data_dir=given)


def read_section(cls: type[T], table: dict[str, Any], name: str, *, base_dir: Path) -> T:
    """Read ``[name]`` of a parsed configuration into a settings dataclass.

    Raises:
        SettingsError: unknown key, wrong type, value out of range.
    """
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise SettingsError(f"{name}: a table [{name}] is needed")
    return read_table(cls, section, where=name, base_dir=base_dir)


def read_table(cls: type[T], table: dict[str, Any], *, where: str, base_dir: Path) -> T:
    """Read one TOML table into a settings dataclass; paths become absolute.

    Raises:
        SettingsError: unknown key, wrong type, value out of range, missing key.
    """
    known = {entry.name: entry for entry in fields(cast("Any", cls))}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise SettingsError(
            f"{where}.{unknown[0]}: unknown key; known here: {', '.join(sorted(known))}"
        )
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in table.items():
        checked = _checked(value, hints[name], where=f"{where}.{name}", base_dir=base_dir)
        _check_range(checked, known[name].metadata, where=f"{where}.{name}")
        values[name] = checked
    for name, entry in known.items():
        if name not in values and entry.default is MISSING and entry.default_factory is MISSING:
            raise SettingsError(f"{where}.{name}: is missing")
    return cls(**values)


def _checked(value: Any, hint: Any, *, where: str, base_dir: Path) -> Any:  # noqa: ANN401 - one return a type
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        hint = next(choice for choice in typing.get_args(hint) if choice is not type(None))
        origin = typing.get_origin(hint)
    if hint is Path and isinstance(value, str) and value:
        return _read_path(value, where=where, base_dir=base_dir)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _read_float(value, where=where)
    if hint in {int, str, bool} and type(value) is hint:
        return value
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_checked(entry, inner, where=where, base_dir=base_dir) for entry in value)
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return {
            key: _checked(entry, inner, where=f"{where}.{key}", base_dir=base_dir)
            for key, entry in value.items()
        }
    wanted = "a path in quotes" if hint is Path else getattr(hint, "__name__", str(hint))
    raise SettingsError(f"{where}: {wanted} is needed, not {type(value).__name__}")


def _read_path(text: str, *, where: str, base_dir: Path) -> Path:
    try:
        path = base_dir / Path(text).expanduser()
    except RuntimeError:
        raise SettingsError(f"{where}: ~ names the home of a user that is not known") from None
    if "\0" in text:
        raise SettingsError(f"{where}: a path cannot hold the character NUL")
    return path


def _read_float(value: float, *, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingsError(f"{where}: a finite number is needed")
    return number


def _check_range(value: Any, limits: typing.Mapping[str, Any], *, where: str) -> None:  # noqa: ANN401 - any setting
    low, high = limits.get("low"), limits.get("high")
    if low is not None and value < low:
        raise SettingsError(f"{where}: must be at least {low}, is {value}")
    if high is not None and value > high:
        raise SettingsError(f"{where}: must be at most {high}, is {value}")


def _read_feeds(tables: Any, *, base_dir: Path) -> tuple[FeedSettings, ...]:  # noqa: ANN401 - unchecked TOML
    if not isinstance(tables, dict):
        raise SettingsError("feeds: tables [feeds.NAME] are needed")
    feeds = []
    for name, table in tables.items():
        # The name is part of keys in the store, which have a largest length, and of log fields.
        if not _FEED_NAME.fullmatch(name):
            raise SettingsError("feeds: a feed's name has 1 to 64 letters, digits, . _ or -")
        if name == RESERVED_FEED:
            raise SettingsError(
                f"feeds.{name}: this name is for what `delist direct` adds; choose another"
            )
        if not isinstance(table, dict):
            raise SettingsError(f"feeds.{name}: a table [feeds.{name}] is needed")
        if "name" in table:
            raise SettingsError(f"feeds.{name}.name: unknown key; the table's own name counts")
        given = dict(table)
        given.setdefault("type", STOPNCII if name == STOPNCII else "")
        if given["type"] == STOPNCII:
            given.setdefault("base_url", STOPNCII_URL)
        feed = read_table(
            FeedSettings, {"name": name, **given}, where=f"feeds.{name}", base_dir=base_dir
        )
        _check_feed(feed)
        feeds.append(feed)
    return tuple(feeds)


def _check_feed(feed: FeedSettings) -> None:
    where = f"feeds.{feed.name}"
    if feed.page_size < 1 or feed.timeout_s <= 0 or feed.overlap_s < 0:
        raise SettingsError(
            f"{where}: page_size and timeout_s must be positive, overlap_s not negative"
        )
    if feed.type == FILE:
        if feed.path is None:
            raise SettingsError(f"{where}.path: is missing; a file of digests or records is needed")
        return
    if feed.type != STOPNCII:
        raise SettingsError(f'{where}.type: must be "{STOPNCII}" or "{FILE}", is "{feed.type}"')
    _check_feed_url(feed.base_url, where=f"{where}.base_url")
    for endpoint in feed.function_key_files:
        if endpoint not in STOPNCII_ENDPOINTS:
            known = ", ".join(STOPNCII_ENDPOINTS)
            raise SettingsError(
                f"{where}.function_key_files.{endpoint}: unknown endpoint; known: {known}"
            )


def _check_feed_url(url: str, *, where: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{where}: not a valid URL") from None
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingsError(f"{where}: an absolute https URL is needed")
    # The keys of the feed would travel in the clear.
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingsError(f"{where}: must be https (http is accepted on loopback only)")


def is_loopback(host: str) -> bool:
    """Say whether a host of an address is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

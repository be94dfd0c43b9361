"""The policy file: a text that a trust team reads, to typed values and back.

Every value is in the file that ``delist init`` writes, with its reason.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from delist.errors import PolicyError
from delist.policy.rules import (
    DIRECT_FEED,
    MAX_BITS,
    Band,
    BrakeRules,
    ConfirmedRules,
    DoubtRules,
    GivingBackRules,
    PageRules,
    PeopleRules,
    Policy,
    SupportRules,
)
from indexer.errors import SettingsError
from indexer.settings import read_section, read_table, setting

_T = TypeVar("_T")

_SECTIONS: tuple[tuple[str, type], ...] = (
    ("support", SupportRules),
    ("doubt", DoubtRules),
    ("pages", PageRules),
    ("brakes", BrakeRules),
    ("people", PeopleRules),
    ("confirmed", ConfirmedRules),
    ("giving_back", GivingBackRules),
)
_OLD_KEYS = ("automatic_bits", "min_quality")
_KEYS = ("version", "bands", "review_only_feeds", *(name for name, _ in _SECTIONS), *_OLD_KEYS)


def parse_policy(text: str, *, name: str) -> Policy:
    """Read the text of a policy.

    Args:
        name: of its file, for messages.

    Raises:
        PolicyError: not TOML, an unknown key, a value out of range, a hole or an overlap
            between bands.
    """
    try:
        return _policy_of(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{name} is not valid TOML: {error}") from None
    except (SettingsError, PolicyError) as error:
        raise PolicyError(f"{name}: {error}") from None


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: it cannot be read, or a value is wrong; see ``parse_policy``.
    """
    return parse_policy(read_text(path), name=path.name)


def read_text(path: Path) -> str:
    """Read the text of a policy file.

    Raises:
        PolicyError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{path.name}: cannot read it: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError):
        raise PolicyError(f"{path.name}: is not text in UTF-8") from None


def annotated_policy() -> str:
    """Write the policy file with every key, its explanation and its default."""
    built_in = Policy()
    lines = [
        "# What the machine may do before a person has looked, and what people must do.",
        "# `delist policy simulate FILE` shows what a change would do, `delist policy apply FILE`",
        "# puts it in force. What the machine does is always provisional: a person reviews it.",
        "",
        "# Name of this text; every decision records it. Change it with every edit.",
        f"version = {_toml(built_in.version)}",
        "",
        f'# Feeds that never act without a person. "{DIRECT_FEED}", what people report to us, is',
        "# always one of them.",
        f"review_only_feeds = {_toml(built_in.review_only_feeds)}",
        "",
        "# Bands of distance, in bits. For each feed they cover 0 to 31 without hole or overlap.",
        "# Only variants of the fast tier, of whole pictures, ever act; guesses wait for a person.",
    ]
    lines += [f"# {entry.name}: {_one_line(entry)}" for entry in fields(Band) if entry.metadata]
    for band in built_in.bands:
        lines += ["", "[[bands]]", f"name = {_toml(band.name)}"]
        names = ("from_bits", "to_bits", "action", "supported", "min_quality")
        lines += [f"{name} = {_toml(getattr(band, name))}" for name in names]
    for name, cls in _SECTIONS:
        summary = (cls.__doc__ or "").partition(": ")[2]
        lines += ["", f"# {summary[:1].upper()}{summary[1:]}", f"[{name}]"]
        lines += _setting_lines(cls)
    return "\n".join(lines) + "\n"


def _policy_of(table: dict[str, Any]) -> Policy:
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise PolicyError(f"{unknown[0]}: unknown key; known here: {', '.join(sorted(_KEYS))}")
    values: dict[str, Any] = {name: _section(cls, table, name) for name, cls in _SECTIONS}
    if "bands" in table and any(key in table for key in _OLD_KEYS):
        raise PolicyError("automatic_bits and min_quality stand in for bands; use one of both")
    if "bands" in table:
        values["bands"] = _bands_of(table["bands"])
    elif any(key in table for key in _OLD_KEYS):
        values["bands"] = _old_bands(table)
    head: dict[str, Any] = {
        key: table[key] for key in ("version", "review_only_feeds") if key in table
    }
    read = read_table(_Head, head, where="policy", base_dir=Path())
    return Policy(version=read.version, review_only_feeds=read.review_only_feeds, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    version: str = "2"
    review_only_feeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _OldKeys:
    automatic_bits: int = setting(20, "Last bit of the automatic band.", low=0, high=31)
    min_quality: int = setting(50, "Least quality for it.", low=0, high=100)


def _section(cls: type[_T], table: dict[str, Any], name: str) -> _T:
    return read_section(cls, table, name, base_dir=Path())


def _bands_of(tables: Any) -> tuple[Band, ...]:  # noqa: ANN401 - unchecked TOML
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PolicyError("bands: tables [[bands]] are needed")
    return tuple(
        read_table(Band, table, where=f"bands[{number}]", base_dir=Path())
        for number, table in enumerate(tables, 1)
    )


def _old_bands(table: dict[str, Any]) -> tuple[Band, ...]:
    """Translate the two keys that stood in for bands before there were any."""
    given = {key: table[key] for key in _OLD_KEYS if key in table}
    old = read_table(_OldKeys, given, where="policy", base_dir=Path())
    automatic = Band(
        name="automatic",
        to_bits=old.automatic_bits,
        action="suppress",
        supported="suppress",
        min_quality=old.min_quality,
    )
    if old.automatic_bits == MAX_BITS:
        return (automatic,)
    return (automatic, Band(name="review", from_bits=old.automatic_bits + 1))


def _setting_lines(cls: Any) -> Iterator[str]:  # noqa: ANN401 - a dataclass
    for entry in fields(cls):
        yield ""
        yield from (f"# {line}" for line in entry.metadata["doc"].splitlines())
        assert entry.default is not MISSING  # noqa: S101 - every setting has a default
        yield f"{entry.name} = {_toml(entry.default)}"


def _one_line(entry: Any) -> str:  # noqa: ANN401 - a dataclass's field
    return " ".join(entry.metadata["doc"].splitlines())


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.1f}"
    return f'"{value}"' if isinstance(value, str) else str(value)

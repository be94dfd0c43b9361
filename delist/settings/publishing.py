"""Settings of the ledger and of those who obey it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.settings import setting


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

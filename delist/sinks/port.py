"""What a sink is: the one thing that a new engine's adapter has to be.

A sink is one module of this package (or one that another distribution offers under the entry point
group ``delist.sinks``) with

- ``Settings``: a frozen dataclass of what may stand in ``[sinks.NAME]`` beside ``type``, made of
  ``indexer.settings.setting``, with a field ``urls`` if the receiver can be told plain addresses;
  its ``__post_init__`` refuses what cannot be by a ``SettingsError`` that begins with the key;
- ``open_sink(settings, place)``: makes the sink, and connects to nothing yet.

``tests/contract/test_sinks.py`` says what it must do, whatever it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from delist.consumers.instructions import Instruction
from delist.consumers.keys import ConsumerKey
from indexer.build import utc_now
from indexer.errors import SettingsError

KEYED, PLAIN = "keyed", "plain"
"""What a receiver is told of addresses: keys only, or the addresses themselves."""


def check_urls(urls: str) -> None:
    """Check a setting ``urls``.

    Raises:
        SettingsError: it is neither of both.
    """
    if urls not in {KEYED, PLAIN}:
        raise SettingsError(f'urls: must be "{KEYED}" or "{PLAIN}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sink stands.

    Attributes:
        name: of the sink, as configured.
        data_dir: it may keep files of its own under ``data_dir / "sinks" / name``.
        key: makes the keys of addresses for this sink.
        clock: tells the time, for those who have to write it.
    """

    name: str
    data_dir: Path
    key: ConsumerKey
    clock: Callable[[], datetime] = utc_now


class Sink(Protocol):
    """Takes instructions to one receiver."""

    def deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        """Hand instructions over, in order; they have arrived when this returns.

        Whoever calls may have handed over the same before, whole or in part: the outcome must be
        the same as once. A later instruction about a subject counts, however they are repeated.

        Args:
            batch: not empty, ascending by sequence.

        Returns:
            what the receiver does not take by itself while it takes the others: sequence to a
            reason, a constant of letters and underscores. It is set aside and tried again.

        Raises:
            SinkRefusalError: the receiver does not take this batch as a whole, and does not say
                which part of it is to blame: it is tried in halves.
            SinkError: the receiver cannot be reached, or is not well: all is tried again later.
        """

    def close(self) -> None:
        """Close what was opened. Closing twice does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One document that an engine hides because of us.

    Attributes:
        document: the engine's own id.
        record_id: id of the record that hid it, as the engine keeps it.
    """

    document: str
    record_id: str


@runtime_checkable
class Inspectable(Protocol):
    """A sink that can say what its receiver hides; ``delist sinks check`` compares."""

    def held(self) -> Iterable[Held]:
        """Iterate over the documents that are hidden because of us.

        Raises:
            SinkError: the receiver cannot be asked.
        """

    def lift(self, documents: Sequence[str]) -> None:
        """Show documents again that nothing hides any more.

        Raises:
            SinkError: the receiver cannot be reached.
        """

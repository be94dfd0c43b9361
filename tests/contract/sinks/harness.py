"""What a receiver has to be able to do so that ``test_sinks`` can hold its sink to the contract.

Each module beside this one has a class ``Receiver`` that implements ``Harness``; ``test_sinks``
finds it by itself. A receiver is started once for all tests and emptied before each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, Self

from delist.consumers import ConsumerKey

TIMEOUT_S = 1.0
"""How long a sink waits for an answer in these tests: ``settings`` has to say so."""

POISON_ID = "poison" * 400
"""Document id of the record that a receiver does not take while it is told to ``refuse``."""


class Failure(Enum):
    """What can be wrong with a receiver as a whole."""

    AWAY = "away"
    """Nobody listens there; or what it writes to cannot be written to."""
    BROKEN = "broken"
    """It answers 500, or its like."""
    BUSY = "busy"
    """It answers 429 and asks to be left alone for ``BUSY_S`` seconds."""
    HANGS = "hangs"
    """It takes the connection and never answers."""


BUSY_S = 300


class Capability(Enum):
    """What a receiver can show beyond what all can."""

    RECEIVES = "receives"
    """It is told documents one after the other: ``received`` lists them."""
    REFUSES = "refuses"
    """It can be made to refuse one record and take the others: ``refuse``."""
    KEYED = "keyed"
    """It is told no address: none may be in ``traces``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A page or image that an engine has; ids are the engine's own."""

    id: str
    url: str


class Harness(Protocol):
    """One kind of receiver. ``with`` starts and ends what it consists of."""

    kind: str
    """The sink's type."""
    capabilities: frozenset[Capability]
    failures: frozenset[Failure]
    """What ``fail`` can bring about."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        """Be well, forget all, and, as an engine, hold these documents, none of them hidden.

        Args:
            folder: an empty folder for this test.
            key: of the consumer: tells which address a key is of.
            documents: all addresses and document ids that the test's records are about.
        """

    def settings(self) -> dict[str, Any]:
        """Say what stands in [sinks.NAME], ``type`` included; valid until the next ``reset``."""

    def hidden(self) -> set[str]:
        """Say which of the documents' addresses result pages hide now."""

    def received(self) -> list[dict[str, Any]]:
        """List the documents that arrived, in order, those that came twice twice."""

    def traces(self) -> str:
        """Return everything that the receiver got of us since ``reset``, headers included."""

    def fail(self, failure: Failure | None) -> None:
        """Have this failure from now on; None: be well again, with all that was there before."""

    def refuse(self, *, poison: bool) -> None:
        """Take no record with the document id ``POISON_ID``, or take it again."""

"""Sinks: search engines and others that are brought what the ledger says.

``port`` is what an adapter has to be, ``courier`` brings it what is new, every other module here
is one adapter. This module finds the adapter of a type and opens what is configured.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from delist.consumers import Followers
from delist.consumers.keys import ConsumerKey
from delist.errors import SinkError, UsageError
from delist.settings import ConsumerSettings, SinkTable
from delist.sinks.checking import Agreement, compare
from delist.sinks.courier import Courier, Delivery
from delist.sinks.port import PLAIN, Inspectable, Place, Sink
from delist.store import Database, audit, consumers, ledger
from delist.store.consumers import SetAside
from delist.store.times import is_ahead
from indexer.errors import SettingsError
from indexer.settings import read_table
from indexer.tracing import SINK_DELIVERY, span

__all__ = ["Agreement", "Delivery", "Sinks"]

ENTRY_POINTS = "delist.sinks"
TYPES = (
    "elasticsearch",
    "files",
    "nats",
    "opensearch",
    "solr",
    "tantivy",
    "typesense",
    "webhook",
)


@dataclass(frozen=True, slots=True)
class Configured:
    """A sink as it is configured, and what makes it."""

    name: str
    kind: str
    settings: Any
    open_sink: Callable[[Any, Place], Sink]

    @property
    def plain(self) -> bool:
        """Whether the receiver is told addresses."""
        return getattr(self.settings, "urls", None) == PLAIN


class Sinks:
    """The configured sinks, and what is done with them."""

    def __init__(
        self,
        tables: Sequence[SinkTable],
        settings: ConsumerSettings,
        database: Database,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._tables = {table.name: table for table in tables}
        self._settings = settings
        self._database = database
        self._clock = clock

    @property
    def names(self) -> list[str]:
        """Names of the configured sinks, in order."""
        return sorted(self._tables)

    @cached_property
    def followers(self) -> Followers:
        """Everybody who follows the ledger, sinks included."""
        return Followers(
            self._database,
            clock_hours=self._settings.clock_hours,
            clock=self._clock,
            sinks=frozenset(self._tables),
        )

    def check_settings(self, names: Sequence[str] = ()) -> None:
        """Look at the settings of sinks, and connect to none.

        Args:
            names: of sinks; none for all.

        Raises:
            SettingsError: a sink's type is unknown, or a value is wrong.
        """
        for name in names or self.names:
            self._configured(name)

    def deliver(
        self,
        names: Sequence[str] = (),
        *,
        force: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Delivery]:
        """Bring sinks what is new; one that fails does not hold up the rest.

        Args:
            names: of sinks; none for all.
            force: also what is not due yet.

        Raises:
            SettingsError: a sink is not configured, or a value is wrong.
            DatabaseError: the case store failed.
            LedgerError: the ledger holds a record that cannot be read.
        """
        chosen = [self._configured(name) for name in names or self.names]
        for sink in chosen:
            if stopped():
                return
            yield self._deliver(sink, force=force, stopped=stopped)

    def check(self, name: str, *, mend: bool = False) -> Agreement:
        """Compare what a sink's receiver hides with what the ledger says.

        Raises:
            SinkError: the receiver cannot be asked, or cannot say what it hides.
            SettingsError: the sink is not configured, or a value is wrong.
        """
        configured = self._configured(name)
        with self._open(configured) as sink:
            if not isinstance(sink, Inspectable):
                raise SinkError(
                    "not_inspectable", f"a sink of type {configured.kind} cannot be asked"
                )
            return compare(
                self._database, name, sink, self._key(name), plain=configured.plain, mend=mend
            )

    def aside(self, name: str) -> list[SetAside]:
        """Load what was set aside for a sink, in order.

        Raises:
            SettingsError: the sink is not configured.
        """
        self._table(name)
        with self._database.read() as connection:
            return consumers.aside(connection, name)

    def drop(self, name: str, sequence: int, *, actor: str, reason: str) -> None:
        """Give up bringing a record to a sink; what waited behind it goes on.

        Raises:
            UsageError: the record was not set aside for this sink.
            SettingsError: the sink is not configured.
        """
        self._table(name)
        now = self._clock()
        with self._database.write() as connection:
            if not consumers.take_back(connection, name, [sequence]):
                raise UsageError(f"record {sequence} was not set aside for {name}")
            audit.append(
                connection,
                actor=actor,
                act="sink.dropped",
                subject=name,
                now=now,
                detail={"sequence": sequence, "reason": reason},
            )

    def _deliver(
        self, configured: Configured, *, force: bool, stopped: Callable[[], bool]
    ) -> Delivery:
        if not force and (idle := self._idle(configured.name)) is not None:
            return idle
        with span(SINK_DELIVERY, sink=configured.name) as current:
            done = self._bring(configured, force=force, stopped=stopped)
            current.set("delivered", done.delivered)
            current.set("set_aside", done.set_aside)
            current.set("trouble", done.trouble)
        return done

    def _bring(
        self, configured: Configured, *, force: bool, stopped: Callable[[], bool]
    ) -> Delivery:
        try:
            with self._open(configured) as sink:
                courier = Courier(
                    configured.name,
                    configured.kind,
                    sink,
                    self._database,
                    key=self._key(configured.name),
                    plain=configured.plain,
                    clock=self._clock,
                )
                return courier.run(force=force, stopped=stopped)
        except SinkError as error:
            return Delivery(sink=configured.name, trouble=error.code, reason=str(error))

    def _idle(self, name: str) -> Delivery | None:
        """Say that there is nothing to bring, before anything is opened; None where there is."""
        now = self._clock()
        with self._database.read() as connection:
            consumer = consumers.find(connection, name)
            lag = ledger.head(connection)[0] - (0 if consumer is None else consumer.position)
            if consumer is None:
                return None if lag else Delivery(sink=name)
            aside = consumers.aside_count(connection, name)
            waiting = lag + aside
            if consumer.trouble and is_ahead(
                consumer.next_attempt_at, now=now, longest=consumers.LONGEST_PAUSE
            ):
                return Delivery(
                    sink=name, waiting=waiting, trouble=consumer.trouble, reason="tried again later"
                )
            due = lag or consumer.trouble or consumers.aside_due(connection, name, now=now, limit=1)
            return None if due else Delivery(sink=name, waiting=waiting)

    def _open(self, configured: Configured) -> "_Opened":
        place = Place(
            name=configured.name,
            data_dir=self._database.data_dir,
            key=self._key(configured.name),
            clock=self._clock,
        )
        return _Opened(configured.open_sink(configured.settings, place))

    def _key(self, name: str) -> ConsumerKey:
        return ConsumerKey.load(self._database.data_dir, name)

    def _configured(self, name: str) -> Configured:
        return read_sink(self._table(name))

    def _table(self, name: str) -> SinkTable:
        found = self._tables.get(name)
        if found is None:
            known = ", ".join(self.names) or "none"
            raise SettingsError(f"no sink is called {name}; configured are: {known}")
        return found


class _Opened:
    """An open sink, closed in the end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __enter__(self) -> Sink:
        return self._sink

    def __exit__(self, *_: object) -> None:
        self._sink.close()


def read_sink(table: SinkTable) -> Configured:
    """Read the settings of one sink as its adapter wants them.

    Raises:
        SettingsError: the type is unknown, needs an extra that is missing, or a value is wrong.
    """
    where = f"sinks.{table.name}"
    module = _adapter(table.kind, where)
    try:
        settings = read_table(
            module.Settings, dict(table.values), where=where, base_dir=table.base_dir
        )
    except SettingsError as error:
        text = str(error)  # what a Settings says of itself begins with its key
        raise SettingsError(text if text.startswith(where) else f"{where}.{text}") from None
    return Configured(table.name, table.kind, settings, module.open_sink)


def _adapter(kind: str, where: str) -> Any:  # noqa: ANN401 - a module as ``port`` describes it
    if kind in TYPES:
        try:
            return importlib.import_module(f"delist.sinks.{kind}")
        except ImportError as error:
            raise SettingsError(
                f"{where}.type: {kind} needs a package that is not installed ({error.name});"
                f' install delist with the extra "{kind}"'
            ) from None
    for found in entry_points(group=ENTRY_POINTS, name=kind):
        return found.load()
    raise SettingsError(f"{where}.type: unknown; known are {', '.join(TYPES)}")

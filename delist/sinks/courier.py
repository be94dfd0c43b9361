"""Bringing a sink what is new: in order for each address, at least once, and never lost.

The position of a sink moves in one transaction with what was set aside, after the sink has taken
the batch. A crash in between brings the same batch again. What the receiver refuses by itself is
set aside, with what follows about the same address, so that it does not hold up the rest;
where nothing is taken at all, the fault is not the records', and everything waits.

What was set aside about one address is tried again together, the moment that more comes to it: a
record that a receiver can never take (an engine that has no id for it) must not keep from it the
one that takes its place, or the one that ends it.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from delist.consumers.instructions import Instruction, instructions, page
from delist.consumers.keys import ConsumerKey
from delist.errors import SinkError, SinkRefusalError
from delist.sinks.port import Sink
from delist.store import Database, consumers, ledger
from delist.store.consumers import BEHIND, Consumer, SetAside

BATCH = 500
_FIRST_PAUSE = timedelta(seconds=1)
_FIRST_ASIDE = timedelta(seconds=30)
_MOST_REFUSED = 4
"""Refused one by one while nothing was taken: then it is not the records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one run brought.

    Attributes:
        delivered: instructions that the sink took, those included that had waited.
        set_aside: instructions that it did not take by itself in this run.
        waiting: how many records it lacks now.
        trouble: why the run ended early, as a code; empty when nothing was left.
        reason: the same in words.
    """

    sink: str
    delivered: int = 0
    set_aside: int = 0
    waiting: int = 0
    trouble: str = ""
    reason: str = ""


@dataclass(slots=True)
class _Tally:
    delivered: int = 0
    set_aside: int = 0


class Courier:
    """Brings one sink what is new. One process and thread at a time does so for each sink."""

    def __init__(
        self,
        name: str,
        kind: str,
        sink: Sink,
        database: Database,
        *,
        key: ConsumerKey,
        plain: bool,
        clock: Callable[[], datetime],
        batch: int = BATCH,
    ) -> None:
        """Take an open sink.

        Args:
            plain: whether it is told addresses.
            batch: most instructions handed over at once.
        """
        self._name, self._kind, self._sink = name, kind, sink
        self._database = database
        self._key, self._plain = key, plain
        self._clock = clock
        self._batch = batch

    def run(self, *, force: bool = False, stopped: Callable[[], bool] = lambda: False) -> Delivery:
        """Bring all that is new, until nothing is left or the sink cannot take more.

        Args:
            force: also what is not due yet.

        Raises:
            DatabaseError: the case store failed.
            LedgerError: the ledger holds a record that cannot be read.
        """
        tally = _Tally()
        with alone(self._database.data_dir, self._name) as mine:
            if not mine:
                return self._delivery(tally, "busy", "another process is at it")
            try:
                self._run(tally, force=force, stopped=stopped)
            except SinkError as error:
                self._note_trouble(error)
                return self._delivery(tally, error.code, str(error))
        return self._delivery(tally)

    def _run(self, tally: _Tally, *, force: bool, stopped: Callable[[], bool]) -> None:
        consumer = self._registered(force=force)
        while not stopped() and (self._again(tally) or self._onward(tally)):
            pass
        if consumer.trouble:  # nothing was left to try it with, or all of it was taken
            with self._database.write() as connection:
                consumers.note_reached(connection, self._name, now=self._clock())

    def _registered(self, *, force: bool) -> Consumer:
        with self._database.read() as connection:
            found = consumers.find(connection, self._name)
        now = self._clock()
        if found is None or force:
            with self._database.write() as connection:
                if consumers.find(connection, self._name) is None:
                    consumers.add(connection, self._name, kind=self._kind, position=0, now=now)
                if force:
                    consumers.hurry(connection, self._name, now=now)
                found = consumers.find(connection, self._name)
        assert found is not None  # noqa: S101 - it was added
        if found.kind != self._kind:
            raise SinkError(
                "name_taken",
                f"{self._name} was a consumer of another kind ({found.kind}), and what that one"
                " has is no news to this one: remove it first, or choose another name",
            )
        return found

    def _again(self, tally: _Tally) -> bool:
        """Try again what was set aside and is due; returns whether there may be more."""
        now = self._clock()
        with self._database.read() as connection:
            due = consumers.aside_due(connection, self._name, now=now, limit=self._batch)
            subjects = [entry.subject for entry in due]
            waiting = consumers.aside_about(connection, self._name, subjects)
            found = ledger.entries(connection, [entry.sequence for entry in waiting])
            batch = instructions(connection, found, key=self._key, plain=self._plain)
        if not batch:
            return False
        refused = self._hand_over(batch, known=True)
        # Of an address, whatever follows what was refused is brought again behind it.
        left = {entry.sequence for entry in _to_set_aside(batch, refused, set(), now)}
        taken = [told.sequence for told in batch if told.sequence not in left]
        with self._database.write() as connection:
            consumers.take_back(connection, self._name, taken)
            for entry in due:
                if entry.sequence in refused:
                    until = now + _pause(entry.attempts, _FIRST_ASIDE, consumers.LONGEST_ASIDE)
                    reason = refused[entry.sequence]
                    consumers.postpone(
                        connection, self._name, entry.sequence, reason=reason, until=until
                    )
            consumers.note_reached(connection, self._name, now=now)
        tally.delivered += len(taken)
        return bool(taken)

    def _onward(self, tally: _Tally) -> bool:
        """Bring the next batch; returns whether there may be more."""
        now = self._clock()
        with self._database.read() as connection:
            consumer = consumers.find(connection, self._name)
            assert consumer is not None  # noqa: S101 - see _registered
            batch = page(
                connection,
                consumer.position,
                limit=self._batch,
                key=self._key,
                plain=self._plain,
            )
            subjects = sorted({told.subject for told in batch})
            blocked = consumers.subjects_aside(connection, self._name, subjects)
        if not batch:
            return False
        free = [told for told in batch if told.erased or told.subject not in blocked]
        refused = self._hand_over(free) if free else {}
        aside = _to_set_aside(batch, refused, blocked, now)
        last = batch[-1].sequence
        with self._database.write() as connection:
            consumers.put_aside(connection, self._name, aside)
            more = [entry.subject for entry in aside if entry.subject in blocked]
            consumers.hurry_about(connection, self._name, more, now=now)
            consumers.move(connection, self._name, position=last, handed=last, now=now)
        tally.delivered += len(batch) - len(aside)
        tally.set_aside += len(aside)
        return True

    def _hand_over(self, batch: Sequence[Instruction], *, known: bool = False) -> Mapping[int, str]:
        """Hand a batch over, in halves where it is refused as a whole.

        Where a record about an address is refused, later ones about it are not handed over.

        Args:
            known: that each of them was refused by itself before.

        Raises:
            SinkError: the sink takes nothing now.
        """
        refused: dict[int, str] = {}
        taken = 0
        waiting = [list(batch)]
        while waiting:
            part = waiting.pop()
            stuck = {told.subject for told in batch if told.sequence in refused}
            part = [told for told in part if told.erased or told.subject not in stuck]
            if not part:
                continue
            try:
                answer = self._sink.deliver(part)
            except SinkRefusalError as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                    continue
                answer = {part[0].sequence: error.code}
                blamed = len(refused) + 1
                if not (known or taken) and blamed >= min(_MOST_REFUSED, len(batch)):
                    raise
            refused.update(answer)
            taken += len(part) - len(answer)
        return refused

    def _note_trouble(self, error: SinkError) -> None:
        now = self._clock()
        with self._database.write() as connection:
            consumer = consumers.find(connection, self._name)
            attempts = 0 if consumer is None else consumer.attempts
            pause = _pause(attempts, _FIRST_PAUSE, consumers.LONGEST_PAUSE)
            if error.retry_after_s is not None:
                asked = timedelta(seconds=error.retry_after_s)
                pause = min(max(pause, asked), consumers.LONGEST_PAUSE)
            consumers.note_trouble(connection, self._name, code=error.code, until=now + pause)

    def _delivery(self, tally: _Tally, trouble: str = "", reason: str = "") -> Delivery:
        with self._database.read() as connection:
            consumer = consumers.find(connection, self._name)
            head = ledger.head(connection)[0]
            position = 0 if consumer is None else consumer.position
            aside = consumers.aside_count(connection, self._name)
        return Delivery(
            sink=self._name,
            delivered=tally.delivered,
            set_aside=tally.set_aside,
            waiting=max(0, head - position) + aside,
            trouble=trouble,
            reason=reason,
        )


@contextmanager
def alone(data_dir: Path, name: str) -> Iterator[bool]:
    """Be the one who changes what a sink's receiver has; says whether that is so."""
    path = data_dir / "sinks" / f"{name}.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _to_set_aside(
    batch: Sequence[Instruction], refused: Mapping[int, str], blocked: set[int], now: datetime
) -> list[SetAside]:
    """List what is set aside: what was refused, and what follows about the same address."""
    stuck = set(blocked)
    found: list[SetAside] = []
    for told in batch:
        reason = refused.get(told.sequence)
        if reason is None and (told.erased or told.subject not in stuck):
            continue
        if not told.erased:
            stuck.add(told.subject)
        found.append(
            SetAside(
                sequence=told.sequence,
                subject=told.subject,
                reason=reason or BEHIND,
                since=now,
                attempts=0 if reason is None else 1,
                next_attempt_at=now if reason is None else now + _FIRST_ASIDE,
            )
        )
    return found


def _pause(attempts: int, first: timedelta, longest: timedelta) -> timedelta:
    """Pause longer after each attempt, twice as long each time."""
    doubled: timedelta = first * 2 ** min(attempts, 30)
    return min(doubled, longest)

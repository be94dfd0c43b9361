"""The indexer's end: messages become visits, and are acknowledged once they are on disk.

(1) A batch is fetched, opened and checked. What cannot be read is parked under its reason: sealed
    as it came, in a stream of its own, until somebody looks or it has aged.
(2) The visits are recorded in one durable transaction; then which images each page names.
(3) Only then are the messages acknowledged, which takes them out of the stream. A kill in between
    has them given again, and the same visit recorded twice changes nothing.
(4) What the store refuses by itself is tried alone, given again, and parked after some tries.
(5) A store that fails ends the taking: nothing of the batch is acknowledged.
(6) Of what was parked, each message is tried once: one that stays parked comes again and again,
    to whoever looks next, and is not waited for.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from indexer.errors import QueueError, StoreError
from indexer.model import ImageVisit, VisitOutcome, VisitResult
from indexer.queue.connection import FAULTS, connect, ensure_stream, named
from indexer.queue.messages import MessageError, PageRead, decode
from indexer.queue.publishing import USE
from indexer.queue.sealing import NotSealedError, Seal
from indexer.settings import QueueSettings

BATCH = 64
_FETCH_S = 1.0
_AGAIN_S = 1.0
_PARKED_BYTES = 256 * 1024 * 1024
_DURABLE = "indexer"
REASON_HEADER = "Delist-Parked"

_log = structlog.get_logger()

RecordVisits = Callable[[Sequence[ImageVisit]], Sequence[VisitResult]]
RecordPage = Callable[[str, Collection[bytes]], int]


@dataclass(slots=True, kw_only=True)
class TakenReport:
    """What was taken in.

    Attributes:
        messages: that were acknowledged.
        pages: that were read.
        again: messages that had been given before: to a taker that was killed, or that met an
            error.
        matches: signals matched by images that were hashed.
        parked: messages that cannot be taken in, by reason.
        waiting: messages that are in the stream still.
    """

    messages: int = 0
    pages: int = 0
    hashed: int = 0
    unchanged: int = 0
    outdated: int = 0
    not_held: int = 0
    again: int = 0
    matches: int = 0
    parked: dict[str, int] = field(default_factory=dict)
    waiting: int = 0

    def count(self, results: Sequence[VisitResult]) -> None:
        """Count what became of visits."""
        for result in results:
            name = result.outcome.value
            setattr(self, name, getattr(self, name) + 1)
            if result.outcome is VisitOutcome.HASHED:
                self.matches += len(result.matches)


class Taker:
    """Takes messages in."""

    def __init__(
        self, client: Client, settings: QueueSettings, seal: Seal, *, parked: bool = False
    ) -> None:
        self._client = client
        self._settings = settings
        self._seal = seal
        self._jetstream = client.jetstream(timeout=settings.timeout_s)
        self._parked = settings.parked_stream
        self._from_parked = parked
        self._source = self._parked if parked else settings.stream
        self._left: set[int] = set()
        self.report = TakenReport()

    @classmethod
    async def open(cls, settings: QueueSettings, *, parked: bool = False) -> Self:
        """Connect, and create the streams where they are missing.

        Args:
            settings: the [queue] table.
            parked: take what was parked, not what is new.

        Raises:
            QueueError: no server answers, or it does not let us.
            SettingsError: a file cannot be read.
        """
        seal = Seal.of_file(settings.key(), USE)
        client = await connect(settings, name="delist index-from")
        taker = cls(client, settings, seal, parked=parked)
        for config in taker._streams():
            await ensure_stream(client, config)
        return taker

    async def run(
        self,
        record_visits: RecordVisits,
        record_page: RecordPage,
        *,
        stop: asyncio.Event,
        idle_s: float | None = None,
        on_batch: Callable[[TakenReport], None] = lambda _report: None,
    ) -> TakenReport:
        """Take messages until told to stop.

        Args:
            record_visits: records a batch durably; runs in a thread.
            record_page: ends what a page said of images whose keys are not among these.
            stop: ends it after the batch under way.
            idle_s: also end when nothing has come for so long; None: never.
            on_batch: called after each batch, and now and then while nothing comes.

        Raises:
            StoreError: the store failed, or the queue was away for ``patience_s``; nothing of the
                batch is acknowledged.
        """
        try:
            return await self._run(record_visits, record_page, stop, idle_s, on_batch)
        except FAULTS as error:
            raise named(error) from None

    async def close(self) -> None:
        """Close the connection, once what was acknowledged has been sent."""
        with suppress(*FAULTS):
            await self._client.flush()
        await self._client.close()

    async def _run(
        self,
        record_visits: RecordVisits,
        record_page: RecordPage,
        stop: asyncio.Event,
        idle_s: float | None,
        on_batch: Callable[[TakenReport], None],
    ) -> TakenReport:
        subscription = await self._jetstream.pull_subscribe(
            f"{self._settings.subject}{'.parked' if self._from_parked else ''}",
            durable=_DURABLE,
            stream=self._source,
            config=api.ConsumerConfig(
                ack_wait=self._settings.ack_wait_s,
                # While a killed taker's batch is out, nothing newer overtakes it.
                max_ack_pending=BATCH,
            ),
        )
        heard_at = answered_at = monotonic()
        while not stop.is_set():
            fetched = await _fetch(subscription, min(_FETCH_S, idle_s or _FETCH_S))
            batch = [message for message in fetched if not await self._is_left(message)]
            if batch:
                heard_at = answered_at = monotonic()
                await self._take(batch, record_visits, record_page)
                on_batch(self.report)
                continue
            on_batch(self.report)
            try:
                info = await subscription.consumer_info()
            except FAULTS:
                if monotonic() - answered_at > self._settings.patience_s:
                    raise
                continue
            answered_at = monotonic()
            self.report.waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
            is_idle = idle_s is not None and answered_at - heard_at >= idle_s
            if is_idle and self.report.waiting <= len(self._left):
                break
        return self.report

    async def _take(
        self, batch: list[Msg], record_visits: RecordVisits, record_page: RecordPage
    ) -> None:
        visits: list[tuple[Msg, ImageVisit]] = []
        pages: list[tuple[Msg, PageRead]] = []
        async with self._holding(batch):
            for message in batch:  # (1)
                self.report.again += message.metadata.num_delivered > 1
                try:
                    told = decode(self._seal.open(message.data))
                except NotSealedError:
                    await self._park(message, "not_sealed")
                except MessageError as error:
                    await self._park(message, error.code)
                else:
                    if isinstance(told, PageRead):
                        pages.append((message, told))
                    else:
                        visits.append((message, told))
            if visits:
                await self._record(visits, record_visits)  # (2)
            for message, page in pages:
                await self._record_page(message, page, record_page)

    async def _record(
        self, visits: list[tuple[Msg, ImageVisit]], record_visits: RecordVisits
    ) -> None:
        try:
            results = await asyncio.to_thread(record_visits, [visit for _, visit in visits])
        except StoreError:
            raise  # (5)
        except Exception:  # noqa: BLE001 - (4): the boundary of one message
            if len(visits) == 1:
                await self._give_again(visits[0][0])
                return
            for entry in visits:
                await self._record([entry], record_visits)
            return
        self.report.count(results)
        for message, _ in visits:
            await self._acknowledge(message)

    async def _record_page(self, message: Msg, page: PageRead, record_page: RecordPage) -> None:
        try:
            await asyncio.to_thread(record_page, page.page_url, page.image_keys)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - as above
            await self._give_again(message)
            return
        self.report.pages += 1
        await self._acknowledge(message)

    async def _acknowledge(self, message: Msg) -> None:  # (3)
        self.report.messages += 1
        await message.ack()

    async def _give_again(self, message: Msg) -> None:
        if message.metadata.num_delivered >= self._settings.tries:
            await self._park(message, "not_recorded")
        else:
            await message.nak(delay=_AGAIN_S)

    async def _park(self, message: Msg, reason: str) -> None:
        self.report.parked[reason] = self.report.parked.get(reason, 0) + 1
        _log.warning("queue.parked", reason=reason, again=self._from_parked)
        if self._from_parked:
            self._left.add(message.metadata.sequence.stream)
            await self._is_left(message)
            return
        headers = {**(message.headers or {}), REASON_HEADER: reason}
        headers.pop(api.Header.EXPECTED_STREAM.value, None)
        try:
            await self._jetstream.publish(
                f"{self._settings.subject}.parked",
                message.data,
                stream=self._parked,
                headers=headers,
            )
        except FAULTS as error:
            failure = named(error)
            if failure.code == "full":
                failure = QueueError("parked_full", f"no room for what is parked in {self._parked}")
            raise failure from None
        await message.term()

    async def _is_left(self, message: Msg) -> bool:  # (6)
        """Say whether a message stays where it is; then it is given back."""
        is_left = message.metadata.sequence.stream in self._left
        if is_left:
            await message.nak(delay=self._settings.ack_wait_s)
        return is_left

    @asynccontextmanager
    async def _holding(self, batch: list[Msg]) -> Any:  # noqa: ANN401 - an async iterator of None
        """Tell the server now and then that a batch is being worked on."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(self._settings.ack_wait_s / 3)
                for message in batch:
                    with suppress(*FAULTS):
                        await message.in_progress()

        telling = asyncio.ensure_future(tell())
        try:
            yield
        finally:
            telling.cancel()

    def _streams(self) -> Iterator[api.StreamConfig]:
        settings = self._settings
        yield api.StreamConfig(
            name=settings.stream,
            subjects=[settings.subject],
            retention=api.RetentionPolicy.WORK_QUEUE,  # what is acknowledged leaves the disk
            discard=api.DiscardPolicy.NEW,  # a full stream says so
            max_bytes=settings.max_bytes,
            duplicate_window=float(settings.duplicate_window_s),
        )
        yield api.StreamConfig(
            name=self._parked,
            subjects=[f"{settings.subject}.parked"],
            retention=api.RetentionPolicy.WORK_QUEUE,
            discard=api.DiscardPolicy.NEW,
            max_bytes=min(settings.max_bytes, _PARKED_BYTES),
            max_age=settings.parked_days * 86_400.0,
        )


async def _fetch(subscription: JetStreamContext.PullSubscription, timeout_s: float) -> list[Msg]:
    """Fetch what is there; nothing where nothing comes, or the client is connecting again."""
    try:
        return await subscription.fetch(BATCH, timeout=timeout_s)
    except (TimeoutError, nats.errors.Error):
        return []

"""How the queue stands: what waits, since when, and what was parked. Reads no message.

The server's API is asked itself (``$JS.API.STREAM.INFO``): nats-py leaves out the time of the
oldest message, which could else be learnt by reading that message alone.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.js import api
from nats.js import errors as js_errors

from indexer.errors import QueueError
from indexer.queue.connection import FAULTS, connect, named
from indexer.settings import QueueSettings

LONGEST_S = 5.0
"""To connect, and for each answer: whoever asks every minute does better without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStanding:
    """What the server says of both streams.

    Attributes:
        waiting: messages that are in the stream, those in a taker's hands included.
        oldest_s: seconds for which the oldest of them has been there, by the server's own clock;
            None of none.
        parked: messages that could not be taken in.
    """

    waiting: int
    oldest_s: float | None
    parked: int


class _State(msgspec.Struct):
    messages: int
    first_ts: datetime


class _Config(msgspec.Struct):
    retention: str


class _Stream(msgspec.Struct):
    """What is looked at of an answer; where there is an ``error`` there is nothing else."""

    state: _State
    config: _Config
    ts: datetime | None = None  # servers have told it since 2.10


class _Error(msgspec.Struct):
    code: int
    err_code: int | None = None


class _Refusal(msgspec.Struct):
    error: _Error | None = None


async def look(settings: QueueSettings) -> QueueStanding:
    """Ask how the streams stand; takes three times ``LONGEST_S`` at most.

    Raises:
        QueueError: no server answers; ``no_stream``: `delist index-from` has never run there;
            ``keeps_taken``: the stream keeps what was taken in, so its figures say nothing.
        SettingsError: a file cannot be read.
    """
    hasty = replace(settings, timeout_s=min(settings.timeout_s, LONGEST_S))
    client = await connect(hasty, name="delist run")
    try:
        stream = await _info(client, settings.stream, hasty.timeout_s)
        try:
            parked = (await _info(client, settings.parked_stream, hasty.timeout_s)).state.messages
        except js_errors.NotFoundError:
            parked = 0
    except FAULTS as error:
        raise named(error) from None
    finally:
        await client.close()
    if stream.config.retention != api.RetentionPolicy.WORK_QUEUE.value:
        raise QueueError(
            "keeps_taken",
            "the queue's stream keeps what was taken in: make it anew with the retention workqueue",
        )
    state = stream.state
    oldest_s = ((stream.ts or datetime.now(UTC)) - state.first_ts).total_seconds()
    return QueueStanding(
        waiting=state.messages,
        oldest_s=max(0.0, oldest_s) if state.messages else None,
        parked=parked,
    )


async def _info(client: Client, stream: str, timeout_s: float) -> _Stream:
    answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=timeout_s)
    error = msgspec.json.decode(answer.data, type=_Refusal).error
    if error is not None:
        raised = {"code": error.code, "err_code": error.err_code, "description": ""}
        js_errors.APIError.from_error(raised)
    return msgspec.json.decode(answer.data, type=_Stream)

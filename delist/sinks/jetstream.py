"""One connection to a NATS server, and messages whose storing a stream has confirmed.

The package's own asynchronous publishing is left aside: in 2.16 an error that the server answers
gets lost in it, and looks like silence.
"""

import asyncio
import itertools
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import api
from nats.js import errors as js_errors

from delist.errors import SinkError, SinkRefusalError

# Of the server's JetStream error codes (ADR-7 of NATS).
_MESSAGE_TOO_LARGE = 10054
_WRONG_STREAM = 10060
_FULL = frozenset({10023, 10047, 10077})
_NO_RESPONDERS = "503"

FAULTS = (OSError, nats.errors.Error, TimeoutError, ValueError)
"""What the client raises; ``raise_named`` says it in our words."""


class Publisher:
    """Publishes without waiting for each answer; what is published first is stored first."""

    def __init__(self, client: Client, *, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._inbox = client.new_inbox()
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}

    async def listen(self) -> None:
        """Begin to take answers; before anything else."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._take)

    async def publish(
        self, subject: str, payload: bytes, *, message_id: str
    ) -> asyncio.Future[Msg]:
        """Publish one message; the result is the server's answer, for ``check_stored``."""
        number = str(next(self._numbers))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        headers = {
            api.Header.MSG_ID.value: message_id,
            api.Header.EXPECTED_STREAM.value: self._stream,
        }
        try:
            await self._client.publish(
                subject, payload, reply=f"{self._inbox}.{number}", headers=headers
            )
        except nats.errors.MaxPayloadError as error:
            answer.set_exception(error)
        return answer

    async def _take(self, message: Msg) -> None:
        answer = self._waiting.pop(message.subject.rpartition(".")[2], None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def check_stored(self, answer: Msg | BaseException) -> None:
        """Check that the stream has stored a message, now or before.

        Raises:
            SinkRefusalError: it takes no message as large as this.
            SinkError: it has not, or it was another stream, or nobody listens.
        """
        if isinstance(answer, nats.errors.MaxPayloadError):
            raise SinkRefusalError("too_large", "the server takes no message as large as this")
        if isinstance(answer, BaseException):
            raise answer
        if (answer.headers or {}).get(api.Header.STATUS.value) == _NO_RESPONDERS:
            raise _no_stream()
        try:
            told = json.loads(answer.data)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise SinkError("not_an_ack", "what answered is no JetStream")
        if isinstance(told.get("error"), dict):
            raise _named_answer(told["error"])
        if told.get("stream") != self._stream or type(told.get("seq")) is not int:
            raise SinkError("wrong_stream", "another stream answered than the one configured")


def check_encrypted(server: str, client: Client) -> None:
    """Check that TLS is spoken where it is expected: the client goes on without if not asked for.

    Raises:
        SinkError: the server, or somebody in between, does not ask for it.
    """
    info: Mapping[str, Any] = client._server_info  # noqa: SLF001 - the client tells it nowhere else
    if server.startswith("tls:") and not info.get("tls_required"):
        raise SinkError("tls_failed", "the server does not ask for TLS")


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Make what TLS is spoken with.

    Raises:
        SinkError: the file of certificates cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise SinkError(
            "ca_unreadable", f"{ca_file} cannot be read, or holds no certificate"
        ) from None


def raise_named(error: Exception) -> NoReturn:
    """Say what went wrong in our words; a server's own may repeat what it was sent.

    Raises:
        SinkError: always.
    """
    named = SinkError("broken_off", f"no whole answer ({type(error).__name__})")
    if isinstance(error, js_errors.NoStreamResponseError | js_errors.NotFoundError):
        named = _no_stream()
    elif isinstance(error, js_errors.APIError):
        named = _named_answer({"code": error.code, "err_code": error.err_code})
    elif isinstance(error, ssl.SSLError):
        named = SinkError("tls_failed", "its certificate does not hold, or TLS failed")
    elif isinstance(error, TimeoutError):
        named = SinkError("timed_out", "no answer in time")
    elif isinstance(error, OSError | nats.errors.NoServersError):
        named = SinkError("unreachable", "no connection")
    elif "authoriz" in str(error).lower() or "authentic" in str(error).lower():
        named = SinkError("not_allowed", "the server does not accept the credentials")
    raise named from None


def _no_stream() -> SinkError:
    return SinkError("no_stream", "no stream takes the subject; create it, or set create_stream")


def _named_answer(error: Mapping[str, Any]) -> SinkError:
    status, code = error.get("code"), error.get("err_code")
    text = "JetStream refused the message"
    if type(status) is int and type(code) is int:
        text = f"JetStream answered {status}, error {code}"
    if code == _MESSAGE_TOO_LARGE:
        return SinkRefusalError("too_large", text)
    if code == _WRONG_STREAM:
        return SinkError("wrong_stream", f"{text}: another stream takes the subject")
    if code in _FULL:
        return SinkError("stream_full", f"{text}: the stream has no room")
    return SinkError("not_stored", text)

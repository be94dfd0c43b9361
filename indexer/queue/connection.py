"""One connection to a NATS server, and what goes wrong with it in our words.

A password or token is only told to a server that speaks TLS where TLS is asked for: the client
would go on without. What a server says is in no message: it may repeat what it was sent.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js import api
from nats.js import errors as js_errors

from indexer.errors import QueueError, SettingsError
from indexer.settings import QueueSettings

FAULTS = (OSError, nats.errors.Error, TimeoutError, ValueError)
"""What the client raises; ``named`` says it in our words."""

# Of the server's JetStream error codes (ADR-7 of NATS).
FULL = frozenset({10023, 10047, 10077})
_TOO_LARGE = 10054


async def connect(settings: QueueSettings, *, name: str) -> Client:
    """Connect to one of the servers; when it is gone, the client goes to another by itself.

    Raises:
        QueueError: none answers in time, or takes the credentials.
        SettingsError: a file cannot be read.
    """
    settings.check_login()
    client = Client()
    met: list[Exception] = []

    async def note(error: Exception) -> None:  # the client's own would log what the server says
        # A server that wants another certificate may also close before it has said so.
        if not (met and isinstance(met[0], ssl.SSLError)):
            met[:] = [error]

    try:
        async with asyncio.timeout(settings.timeout_s):
            await client.connect(**_options(settings, client), name=name, error_cb=note)
        _check_encrypted(settings, client)
    except (*FAULTS, QueueError) as error:
        await client.close()
        raise named(met[0] if met and isinstance(error, TimeoutError) else error) from None
    return client


async def ensure_stream(client: Client, config: api.StreamConfig) -> None:
    """Create a stream where it is missing; one that is there is left as it is.

    Raises:
        QueueError: the server does not let us.
    """
    stream = client.jetstream()
    try:
        try:
            await stream.stream_info(str(config.name))
        except js_errors.NotFoundError:
            await stream.add_stream(config)
    except FAULTS as error:
        raise named(error) from None


def named(error: Exception) -> QueueError:
    """Say what went wrong."""
    if isinstance(error, QueueError):
        return error
    code, text = _words(error)
    return QueueError(code, text)


def _words(error: Exception) -> tuple[str, str]:
    if isinstance(error, js_errors.NoStreamResponseError | js_errors.NotFoundError):
        return "no_stream", "no stream takes the queue's messages: start `delist index-from`"
    too_large = isinstance(error, nats.errors.MaxPayloadError)
    if isinstance(error, js_errors.APIError):
        if error.err_code in FULL:
            return "full", "the queue has no room"
        too_large = error.err_code == _TOO_LARGE
        if not too_large:
            return "refused", f"JetStream answered {error.code}, error {error.err_code}"
    if too_large:
        return "too_large", "the queue takes no message as large as this"
    if isinstance(error, ssl.SSLError):
        return "tls_failed", "the queue's certificate does not hold, or TLS failed"
    if "authoriz" in str(error).lower() or "authentic" in str(error).lower():
        return "not_allowed", "the queue's server does not accept the credentials"
    return "unreachable", f"the queue's server does not answer ({type(error).__name__})"


def _options(settings: QueueSettings, client: Client) -> dict[str, Any]:
    options: dict[str, Any] = {
        "servers": list(settings.servers),
        "connect_timeout": settings.timeout_s,
        "max_reconnect_attempts": -1,
    }

    def secret(path: Path) -> Callable[[], str]:
        text = _read(path)

        def tell() -> str:
            _check_encrypted(settings, client)
            return text

        return tell

    if _is_encrypted(settings) or settings.ca_file is not None:
        options["tls"] = _tls_context(settings)
    if settings.token_file is not None:
        options["token"] = secret(settings.token_file)
    if settings.password_file is not None:
        options |= {"user": settings.user, "password": secret(settings.password_file)}
    return options


def _tls_context(settings: QueueSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file)
    except (OSError, ssl.SSLError):
        raise SettingsError("queue: a file of certificates cannot be read, or holds none") from None
    return context


def _is_encrypted(settings: QueueSettings) -> bool:
    return any(server.startswith("tls:") for server in settings.servers)


def _check_encrypted(settings: QueueSettings, client: Client) -> None:
    told: dict[str, Any] = client._server_info  # noqa: SLF001 - the client tells it nowhere else
    if _is_encrypted(settings) and not told.get("tls_required"):
        raise QueueError("tls_failed", "the queue's server does not ask for TLS")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{path} cannot be read: {reason}") from None

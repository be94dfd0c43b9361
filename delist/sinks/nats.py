"""NATS JetStream: each instruction is one message of a stream.

A message has the record's id as ``Nats-Msg-Id``: what is brought again within the stream's
duplicate window is stored once. Behind that window it is there twice, and whoever follows leaves
out numbers that it has. Messages about one address are stored in order; those about different
addresses nearly always are.

Acknowledged is what the stream that is configured says it has stored: a message names the stream
that it expects, and an answer that names another one is none. Needs the extra ``nats``.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from delist.consumers import Instruction, document
from delist.errors import SinkError, SinkRefusalError
from delist.sinks.http import read_secret
from delist.sinks.jetstream import FAULTS, Publisher, check_encrypted, raise_named, tls_context
from delist.sinks.nats_credentials import read_credentials
from delist.sinks.port import KEYED, Place, check_urls
from indexer.errors import SettingsError
from indexer.settings import is_loopback, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """[sinks.NAME] of type "nats"."""

    servers: tuple[str, ...] = setting(
        MISSING, "Servers of one cluster, tried in order: tls://host:4222."
    )
    stream: str = setting("DELIST", "Name of the stream.")
    subject: str = setting("delist.suppressions", "Subject of the messages.")
    create_stream: bool = setting(
        False,
        "Whether the stream is created where it is missing: in files, one copy, nothing ever\n"
        "dropped. One that is there is left as it is.",
    )
    duplicate_window_s: int = setting(
        86_400,
        "Seconds in which a stream that is created tells what it has already. In another stream\n"
        "its own setting counts, two minutes unless said otherwise.",
        low=1,
        high=30 * 86_400,
    )
    credentials_file: Path | None = setting(None, "A .creds file: a JWT and an NKey seed.")
    token_file: Path | None = setting(None, "A file with a token.")
    user: str = setting("", "A user, with password_file.")
    password_file: Path | None = setting(None, "A file with the user's password.")
    ca_file: Path | None = setting(
        None, "Certificates (PEM) that are trusted instead of the usual."
    )
    urls: str = setting(KEYED, '"keyed": no addresses, only keys of them; "plain": both.')
    timeout_s: float = setting(
        10.0, "Longest time to connect, and for answers to a batch, in seconds.", low=1, high=600
    )
    allow_plain: bool = setting(
        False, "Whether nats:// is accepted beyond loopback: where nobody else listens."
    )

    def __post_init__(self) -> None:
        check_urls(self.urls)
        if not self.servers:
            raise SettingsError("servers: at least one is needed, such as tls://host:4222")
        for server in self.servers:
            _check_server(server, allow_plain=self.allow_plain)
        if not self.stream or set(self.stream) & set(" .*>/\\") or not self.stream.isprintable():
            raise SettingsError("stream: a name without blanks, dots, wildcards and slashes")
        words = self.subject.split(".")
        if not all(words) or set(self.subject) & set("*> ") or not self.subject.isprintable():
            raise SettingsError("subject: words with dots between, without blanks and wildcards")
        ways = (self.credentials_file, self.token_file, self.password_file)
        if sum(way is not None for way in ways) > 1:
            raise SettingsError("credentials_file: only one of the ways to log in can count")
        if bool(self.user) is not (self.password_file is not None):
            raise SettingsError("user: goes with password_file")


def _check_server(server: str, *, allow_plain: bool) -> None:
    try:
        parts = urlsplit(server)
        _ = parts.port
    except ValueError:
        raise SettingsError("servers: not a valid address") from None
    if parts.scheme not in {"nats", "tls"} or not parts.hostname or not server.isprintable():
        raise SettingsError("servers: addresses tls://host:4222 are needed")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("servers: a user, password or token must stand in a file")
    if parts.scheme == "nats" and not (allow_plain or is_loopback(parts.hostname)):
        raise SettingsError(
            "servers: must be tls://; nats:// is accepted on loopback, or with allow_plain = true"
            " in a network where nobody else listens"
        )


def open_sink(settings: Settings, place: Place) -> "NatsSink":
    """Make the sink; connects to nothing yet."""
    del place
    return NatsSink(settings)


class NatsSink:
    """Publishes to one stream, over one connection while it is open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runner = asyncio.Runner()
        self._client: Client | None = None
        self._publisher: Publisher | None = None

    def deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        """Hand instructions over; see ``port.Sink``."""
        return self._runner.run(self._deliver(batch))

    def close(self) -> None:
        """Close the connection. Closing twice does nothing."""
        if self._client is not None:
            self._runner.run(self._disconnect())
        self._runner.close()

    async def _deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        try:
            return await self._publish(await self._connected(), batch)
        except FAULTS as error:
            await self._disconnect()
            raise_named(error)
        except SinkError:
            await self._disconnect()
            raise

    # -- publishing ------------------------------------------------------------------------------

    async def _publish(
        self, publisher: Publisher, batch: Sequence[Instruction]
    ) -> Mapping[int, str]:
        """Publish without waiting for each, but never past an unanswered one about the address."""
        refused: dict[int, str] = {}
        stuck: set[int] = set()
        under_way: dict[int, tuple[Instruction, asyncio.Future[Msg]]] = {}
        for told in batch:
            if told.subject in under_way:
                await self._collect(publisher, under_way, refused)
                stuck = {entry.subject for entry in batch if entry.sequence in refused}
            if told.erased or told.subject not in stuck:
                answer = await publisher.publish(
                    self._settings.subject,
                    json.dumps(document(told), separators=(",", ":")).encode(),
                    # What is left of a record that was erased is news to who has the record.
                    message_id=f"{told.id}.erased" if told.erased else told.id,
                )
                under_way[told.subject] = told, answer
        await self._collect(publisher, under_way, refused)
        return refused

    async def _collect(
        self,
        publisher: Publisher,
        under_way: dict[int, tuple[Instruction, asyncio.Future[Msg]]],
        refused: dict[int, str],
    ) -> None:
        """Wait for the answers to all that is under way."""
        sent = list(under_way.values())
        under_way.clear()
        async with asyncio.timeout(self._settings.timeout_s):
            answers = await asyncio.gather(*(answer for _, answer in sent), return_exceptions=True)
        for (told, _), answer in zip(sent, answers, strict=True):
            try:
                publisher.check_stored(answer)
            except SinkRefusalError as error:
                refused[told.sequence] = error.code

    # -- connecting ------------------------------------------------------------------------------

    async def _connected(self) -> Publisher:
        if self._publisher is None:
            self._client = client = await self._connect()
            if self._settings.create_stream:
                await _create_missing(client, self._settings)
            publisher = Publisher(client, stream=self._settings.stream)
            await publisher.listen()
            self._publisher = publisher
        return self._publisher

    async def _connect(self) -> Client:
        failure: Exception = TimeoutError()
        for server in self._settings.servers:
            client = Client()
            options = self._options(server, client)
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    await client.connect(servers=[server], **options)
                check_encrypted(server, client)
            except (*FAULTS, SinkError) as error:
                failure = error
                await client.close()
            else:
                return client
        raise failure

    def _options(self, server: str, client: Client) -> dict[str, Any]:
        settings = self._settings
        options: dict[str, Any] = {
            "name": "delist",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": settings.timeout_s,
            "error_cb": _ignore,  # the default one logs what the server says
        }

        def secret(path: Path) -> Any:  # noqa: ANN401 - a callback, as the client wants it
            text = read_secret(path)

            def tell() -> str:
                check_encrypted(server, client)
                return text

            return tell

        if server.startswith("tls:") or settings.ca_file is not None:
            options["tls"] = tls_context(settings.ca_file)
        if settings.credentials_file is not None:
            credentials = read_credentials(settings.credentials_file)
            options["user_jwt_cb"] = credentials.token
            options["signature_cb"] = credentials.sign
        if settings.token_file is not None:
            options["token"] = secret(settings.token_file)
        if settings.password_file is not None:
            options |= {"user": settings.user, "password": secret(settings.password_file)}
        return options

    async def _disconnect(self) -> None:
        self._publisher = None
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def _create_missing(client: Client, settings: Settings) -> None:
    stream = client.jetstream(timeout=settings.timeout_s)
    try:
        await stream.stream_info(settings.stream)
    except NotFoundError:
        await stream.add_stream(
            name=settings.stream,
            subjects=[settings.subject],
            duplicate_window=float(settings.duplicate_window_s),
        )


async def _ignore(error: Exception) -> None:
    """Say nothing: what failed is raised where it was asked for."""
    del error

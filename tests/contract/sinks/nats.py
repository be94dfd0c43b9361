"""A real NATS server with JetStream, its program from a wheel, on loopback."""

import asyncio
import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import nats
from nats.js import JetStreamContext, api

from delist.consumers import ConsumerKey
from tests.contract.sinks.harness import TIMEOUT_S, Capability, Document, Failure
from tests.contract.sinks.instructions import hidden_after

T = TypeVar("T")
_SMALL, _ANY = 1_500, -1


class Receiver:
    """A stream for each test, on one server."""

    kind = "nats"
    capabilities = frozenset({Capability.RECEIVES, Capability.REFUSES, Capability.KEYED})
    failures = frozenset({Failure.AWAY, Failure.HANGS})

    def __init__(self, *options: str) -> None:
        """Take further options of the server's command line."""
        self._options = options
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="nats-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self._home)

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        del folder
        self.fail(None)
        self._key, self._documents = key, documents
        self.stream = f"DELIST{next(self._numbers)}"
        self.ask(
            lambda js: js.add_stream(
                name=self.stream, subjects=[self.stream.lower()], duplicate_window=3600.0
            )
        )

    def settings(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "servers": [self.url],
            "stream": self.stream,
            "subject": self.stream.lower(),
            "timeout_s": TIMEOUT_S,
        }

    def hidden(self) -> set[str]:
        return hidden_after(self.received(), self._documents, self._key)

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(message.data or b"") for message in self.messages()]

    def traces(self) -> str:
        return "".join(f"{m.subject} {m.headers} {m.data!r}\n" for m in self.messages())

    def fail(self, failure: Failure | None) -> None:
        if failure is Failure.AWAY:
            self._stop()
        elif failure is Failure.HANGS:
            assert self._process is not None
            self._process.send_signal(signal.SIGSTOP)
        elif self._process is None:
            self._start()
        else:
            self._process.send_signal(signal.SIGCONT)

    def refuse(self, *, poison: bool) -> None:
        async def limit(js: JetStreamContext) -> None:
            config = (await js.stream_info(self.stream)).config
            await js.update_stream(config.evolve(max_msg_size=_SMALL if poison else _ANY))

        self.ask(limit)

    # -- the server ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The server's address."""
        return f"nats://127.0.0.1:{self.port}"

    def messages(self) -> list[api.RawStreamMsg]:
        """Read all that the stream holds."""

        async def read(js: JetStreamContext) -> list[api.RawStreamMsg]:
            last = (await js.stream_info(self.stream)).state.last_seq
            return [await js.get_msg(self.stream, seq=number) for number in range(1, last + 1)]

        return self.ask(read)

    def ask(self, what: Callable[[JetStreamContext], Awaitable[T]]) -> T:
        """Ask the server something as another client."""

        async def run() -> T:
            client = await nats.connect(self.url)
            try:
                return await what(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def _start(self) -> None:
        program = Path(sys.executable).parent / "nats-server"
        command = [str(program), "-a", "127.0.0.1", "-p", str(self.port), "-js", *self._options]
        self._process = subprocess.Popen([*command, "-sd", str(self._home)], stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if b"Server is ready" in line:
                return
        raise AssertionError("the server did not start")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.communicate()
            self._process = None

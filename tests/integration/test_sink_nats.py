"""NATS JetStream: a real server, and servers that pretend."""

import asyncio
import base64
import binascii
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.msg import Msg

from delist.consumers import ConsumerKey, Instruction
from delist.errors import SinkError
from delist.settings import SinkTable
from delist.sinks import read_sink
from delist.sinks.port import Place
from indexer.errors import SettingsError
from tests.contract.sinks.nats import Receiver

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def told(*subjects: int, document_id: str = "") -> list[Instruction]:
    """Make instructions about these subjects, numbered from 1 on."""
    return [
        Instruction(
            sequence=number,
            id=f"record{number}",
            suppressed=False,
            url_key=f"{subject:032x}",
            effective_at=NOW,
            subject=subject,
            document_id=document_id,
        )
        for number, subject in enumerate(subjects, 1)
    ]


@pytest.fixture(scope="module")
def started() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(started: Receiver, tmp_path: Path) -> Receiver:
    started.reset(tmp_path, ConsumerKey(bytes(32)), ())
    return started


def deliver(
    values: dict[str, Any], *batches: Sequence[Instruction], folder: Path = Path()
) -> list[dict[int, str]]:
    """Open the sink, bring it these batches, close it; returns what was refused of each."""
    given = {key: value for key, value in values.items() if key != "type"}
    table = SinkTable(name="stream", kind="nats", values=given, base_dir=folder)
    found = read_sink(table)
    place = Place(name="stream", data_dir=folder, key=ConsumerKey(bytes(32)))
    sink = found.open_sink(found.settings, place)
    try:
        return [dict(sink.deliver(batch)) for batch in batches]
    finally:
        sink.close()
        sink.close()


def code_of(values: dict[str, Any], *, folder: Path = Path()) -> str:
    with pytest.raises(SinkError) as refused:
        deliver(values, told(1, 2), folder=folder)
    return refused.value.code


def test_many_are_stored_in_order_and_once(receiver: Receiver) -> None:
    """Nothing waits for each answer, and yet the order holds; what comes again is told by id."""
    batch = told(*range(1, 301), *range(1, 201))
    deliver(receiver.settings(), batch, batch[:10])

    assert [record["sequence"] for record in receiver.received()] == list(range(1, 501))


def test_nothing_overtakes_what_was_refused_about_its_address(receiver: Receiver) -> None:
    """Of what is too large, the number comes back; later ones about the address are not sent."""
    large = replace(told(1, 2, 3)[1], document_id="x" * 3_000)
    one, _, three, four, five = told(1, 2, 3, 2, 1)
    receiver.refuse(poison=True)

    assert deliver(receiver.settings(), [one, large, three, four, five]) == [{2: "too_large"}]
    assert [record["sequence"] for record in receiver.received()] == [1, 3, 5]


def test_what_the_server_itself_is_too_small_for(receiver: Receiver) -> None:
    """A message beyond the server's payload is that message's trouble alone."""
    large = replace(told(1, 2)[1], document_id="x" * 1_100_000)

    assert deliver(receiver.settings(), [told(1)[0], large]) == [{2: "too_large"}]
    assert len(receiver.received()) == 1


def test_what_is_left_of_an_erased_record_is_news(receiver: Receiver) -> None:
    """It has the record's id, and is not taken for the record."""
    record = told(1)[0]
    erased = replace(record, erased=True, url_key="", subject=0)
    deliver(receiver.settings(), [record], [erased], [erased])

    assert [entry["erased"] for entry in receiver.received()] == [False, True]


def test_a_stream_that_is_missing(receiver: Receiver) -> None:
    """It is an error, unless it may be created: then with the window that was asked for."""
    values = receiver.settings() | {"stream": "OTHER", "subject": "other.subject"}
    assert code_of(values) == "no_stream"

    deliver(values | {"create_stream": True, "duplicate_window_s": 1234}, told(1, 2))
    deliver(values | {"create_stream": True, "duplicate_window_s": 99}, told(1, 2, 3))
    info = receiver.ask(lambda js: js.stream_info("OTHER"))
    receiver.ask(lambda js: js.delete_stream("OTHER"))

    assert (info.state.messages, info.config.duplicate_window) == (3, 1234)
    assert info.config.subjects == ["other.subject"]


def test_another_stream_does_not_count(receiver: Receiver) -> None:
    """A subject that another stream takes is not delivered to, and nothing is stored there."""
    assert code_of(receiver.settings() | {"stream": "OTHER"}) == "wrong_stream"
    assert receiver.received() == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"+OK", "not_an_ack"),
        (b"[]", "not_an_ack"),
        (b"{}", "wrong_stream"),
        (b'{"stream": "OTHER", "seq": 1}', "wrong_stream"),
        (b'{"stream": "PRETENDED"}', "wrong_stream"),
        (b'{"error": {"code": 500, "description": "https://site.example/"}}', "not_stored"),
        (b'{"error": {"code": 503, "err_code": 10023}}', "stream_full"),
    ],
)
def test_an_answer_that_is_no_acknowledgement(receiver: Receiver, answer: bytes, code: str) -> None:
    """Somebody who listens on the subject and answers has stored nothing."""
    listening, done = threading.Event(), threading.Event()

    async def pretend() -> None:
        client = await nats.connect(receiver.url)

        async def respond(message: Msg) -> None:
            await message.respond(answer)

        await client.subscribe("pretended", cb=respond)
        await client.flush()
        listening.set()
        await asyncio.to_thread(done.wait, 30)
        await client.close()

    thread = threading.Thread(target=lambda: asyncio.run(pretend()))
    thread.start()
    assert listening.wait(10)
    values = receiver.settings() | {"stream": "PRETENDED", "subject": "pretended"}
    with pytest.raises(SinkError) as refused:
        deliver(values, told(1, 2))
    done.set()
    thread.join()

    assert refused.value.code == code
    assert "site.example" not in str(refused.value)


@contextlib.contextmanager
def server(folder: Path, *options: str) -> Iterator[str]:
    """A second server, with other options; without JetStream."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "nats-server"
    command = [str(program), "-a", "127.0.0.1", "-p", str(port), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=folder) as process:
        assert process.stderr is not None
        assert any(b"Server is ready" in line for line in process.stderr)
        try:
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.kill()


def test_credentials_are_files(receiver: Receiver, tmp_path: Path) -> None:
    """A wrong one is said so; without JetStream nobody takes the subject."""
    token = tmp_path / "token"
    with server(tmp_path, "--auth", "right") as url:
        values = receiver.settings() | {"servers": [url]}
        codes = [code_of(values)]
        values |= {"token_file": "token"}
        for text in ("", "wrong", "right\n"):
            token.write_text(text)
            codes.append(code_of(values, folder=tmp_path))

    assert codes == ["not_allowed", "secret_unreadable", "not_allowed", "no_stream"]


def test_tls_is_not_given_up(receiver: Receiver, tmp_path: Path) -> None:
    """A server that asks for no TLS, as one in between would, is told neither secret nor record."""
    (tmp_path / "token").write_text("secret-token")
    heard = bytearray()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            info = {"server_id": "x", "max_payload": 1 << 20, "auth_required": True}
            connection.sendall(b"INFO " + json.dumps(info).encode() + b"\r\n")
            while part := connection.recv(4096):
                heard.extend(part)
                connection.sendall(b"PONG\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
        values = receiver.settings() | {"servers": [url], "token_file": "token"}
        code = code_of(values, folder=tmp_path)
        thread.join(10)

    assert code == "tls_failed"
    assert b"secret-token" not in heard
    assert b"record" not in heard


def test_the_next_server_is_tried(receiver: Receiver) -> None:
    """One that is down does not matter while another is up."""
    servers = ["nats://127.0.0.1:1", receiver.url]
    assert deliver(receiver.settings() | {"servers": servers}, told(1)) == [{}]
    assert code_of(receiver.settings() | {"servers": servers[:1]}) == "unreachable"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"servers": []}, "servers: at least one"),
        ({"servers": ["nats://nats.example:4222"]}, "servers: must be tls://"),
        ({"servers": ["tls://user:word@nats.example"]}, "servers: a user, password or token"),
        ({"servers": ["http://nats.example"]}, "servers: addresses tls://"),
        ({"stream": "a.b"}, "stream: a name"),
        ({"subject": "a.>"}, "subject: words"),
        ({"subject": "a\r\nPUB b 0"}, "subject: words"),
        ({"user": "me"}, "user: goes with"),
        ({"token_file": "a", "credentials_file": "b"}, "credentials_file: only one"),
        ({"urls": "all"}, "urls: must be"),
    ],
)
def test_settings_that_cannot_be(receiver: Receiver, changes: dict[str, Any], said: str) -> None:
    """The message begins with the key, and holds no password."""
    with pytest.raises(SettingsError) as refused:
        deliver(receiver.settings() | changes)

    assert str(refused.value).startswith(f"sinks.stream.{said}")
    assert "word@" not in str(refused.value)


class Identity:
    """An NKey pair, and the JWTs that it signs; as NATS's own tools make them."""

    _PREFIXES = {"operator": 14 << 3, "account": 0, "user": 20 << 3}  # noqa: RUF012 - a constant

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._prefix = self._PREFIXES[kind]
        self._key = Ed25519PrivateKey.generate()
        self.public = self._encoded(
            bytes([self._prefix]) + self._key.public_key().public_bytes_raw()
        )
        # The seed's own prefix (18 << 3) and the kind's share two bytes.
        first = bytes([(18 << 3) | (self._prefix >> 5), (self._prefix & 31) << 3])
        self.seed = self._encoded(first + self._key.private_bytes_raw())

    @staticmethod
    def _encoded(data: bytes) -> str:
        crc = binascii.crc_hqx(data, 0).to_bytes(2, "little")
        return base64.b32encode(data + crc).decode().rstrip("=")

    def issue(self, about: "Identity") -> str:
        claims = {
            "jti": "1",
            "iat": 1_700_000_000,
            "iss": self.public,
            "name": about.kind,
            "sub": about.public,
            "nats": {"type": about.kind, "version": 2, **_LIMITS.get(about.kind, {})},
        }
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, claims]
        text = ".".join(_url64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_url64(self._key.sign(text.encode()))}"


_ANY = {"subs": -1, "data": -1, "payload": -1}
_LIMITS: dict[str, dict[str, Any]] = {
    "account": {"limits": _ANY | {"conn": -1, "leaf": -1, "imports": -1, "exports": -1}},
    "user": _ANY,
}


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_credentials_file(receiver: Receiver, tmp_path: Path) -> None:
    """A user's JWT and seed log in; another seed, or a file without one, does not."""
    operator, account, user, other = map(Identity, ("operator", "account", "user", "user"))
    (tmp_path / "server.conf").write_text(
        f"operator: {operator.issue(operator)}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}: {operator.issue(account)} }}\n"
    )
    creds = tmp_path / "user.creds"
    codes = []
    with server(tmp_path, "-c", "server.conf") as url:
        for jwt, seed in ((account.issue(user), user.seed), (account.issue(user), other.seed)):
            creds.write_text(
                f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
                f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            )
            values = receiver.settings() | {"servers": [url], "credentials_file": str(creds)}
            codes.append(code_of(values))
        for text in (jwt, creds.read_text().replace(seed, seed[1:] + seed[0])):
            creds.write_text(text)
            codes.append(code_of(values))

    assert codes == ["no_stream", "not_allowed", "secret_unusable", "secret_unusable"]

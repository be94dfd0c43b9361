"""Webhooks: what is signed, what each answer means, and receivers that misbehave."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from delist.consumers import ConsumerKey, Instruction
from delist.errors import SinkError, SinkRefusalError
from delist.settings import SinkTable
from delist.sinks import read_sink
from delist.sinks.port import Place, Sink
from indexer.errors import SettingsError
from tests.contract.sinks.webhook import SECRETS, Receiver

KEY = ConsumerKey(bytes(32))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BATCH = [
    Instruction(
        sequence=number,
        id=f"record{number}",
        suppressed=True,
        because=f"record{number}",
        url_key=f"{number:032x}",
        effective_at=NOW,
        subject=number,
        record_url=f"https://site.example/{number}.jpg",
    )
    for number in range(1, 6)
]


@pytest.fixture(scope="module")
def started() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(started: Receiver, tmp_path: Path) -> Receiver:
    started.reset(tmp_path, KEY, ())
    return started


def configured(folder: Path, **values: Any) -> Sink:  # noqa: ANN401 - TOML
    table = SinkTable(name="engine", kind=values.pop("type"), values=values, base_dir=folder)
    found = read_sink(table)
    place = Place(name="engine", data_dir=folder, key=KEY, clock=lambda: NOW)
    return found.open_sink(found.settings, place)


@contextlib.contextmanager
def opened(receiver: Receiver, folder: Path, **changes: Any) -> Iterator[Sink]:  # noqa: ANN401
    sink = configured(folder, **receiver.settings() | changes)
    yield sink
    sink.close()
    sink.close()


def test_an_equal_batch_has_an_equal_id_and_another_one_another(
    receiver: Receiver, tmp_path: Path
) -> None:
    """Between the same first and last record may be more or fewer: that is another batch."""
    erased = replace(BATCH[1], erased=True, suppressed=False, because="")
    with opened(receiver, tmp_path, batch=3) as sink:
        for batch in (BATCH, BATCH[:3], [BATCH[0], BATCH[2]], [BATCH[0], erased, BATCH[2]]):
            sink.deliver(batch)
    ids = [found for found, _ in receiver.batches]

    assert [len(records) for _, records in receiver.batches] == [3, 2, 3, 2, 3]
    assert ids[0] == ids[2]
    assert len(set(ids)) == 4


def test_each_line_of_the_secret_file_signs(receiver: Receiver, tmp_path: Path) -> None:
    """A secret is exchanged without a moment in which either side's is refused."""
    with opened(receiver, tmp_path) as sink:
        sink.deliver(BATCH)
        receiver.secret_file.write_text("\n".join(SECRETS))
        for secret in SECRETS:
            receiver.secret = secret
            sink.deliver(BATCH)
        receiver.secret_file.write_text(SECRETS[0])
        with pytest.raises(SinkError) as refused:
            sink.deliver(BATCH)

    assert refused.value.code == "not_allowed"


@pytest.mark.parametrize(
    "text", ["", "\n", "whsec_", "whsec_c2hvcnQ=", "c2VjcmV0" * 8, "whsec_???", "\x80", None]
)
def test_a_secret_that_is_none_sends_nothing(
    receiver: Receiver, tmp_path: Path, text: str | None
) -> None:
    """Nothing is sent unsigned, and what the file holds is not repeated."""
    receiver.secret_file.unlink()
    if text is not None:
        receiver.secret_file.write_bytes(text.encode("latin-1"))
    with opened(receiver, tmp_path) as sink, pytest.raises(SinkError) as refused:
        sink.deliver(BATCH)

    assert refused.value.code in {"secret_unreadable", "secret_unusable"}
    assert not text or text.strip() in {"", "whsec_"} or text not in str(refused.value)
    assert receiver.traces() == ""


LATER = timedelta(seconds=90)


@pytest.mark.parametrize(
    ("status", "headers", "code", "retry_after_s"),
    [
        (400, {}, "bad_request", None),
        (409, {}, "conflict", None),
        (413, {}, "too_large", None),
        (422, {}, "unprocessable", None),
        (302, {"Location": "https://elsewhere.example/"}, "redirected", None),
        (401, {}, "not_allowed", None),
        (403, {}, "not_allowed", None),
        (404, {}, "not_found", None),
        (410, {}, "gone", None),
        (418, {}, "unexpected_answer", None),
        (429, {"Retry-After": "17"}, "overloaded", 17),
        (503, {"Retry-After": "9" * 400}, "overloaded", 86_400),
        (503, {"Retry-After": "soon"}, "overloaded", None),
        (503, {"Retry-After": "Sun, 01 Mar 9999 12:00:00 GMT"}, "overloaded", 86_400),
        (500, {"Retry-After": "5"}, "server_error", 5),
    ],
)
def test_what_an_answer_means(
    receiver: Receiver,
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    code: str,
    retry_after_s: float | None,
) -> None:
    """A refusal is about the batch; everything else about the receiver, and waits."""
    receiver.answer = status, headers
    receiver.body = b"https://site.example/1.jpg"
    with opened(receiver, tmp_path) as sink, pytest.raises(SinkError) as refused:
        sink.deliver(BATCH)

    assert (refused.value.code, refused.value.retry_after_s) == (code, retry_after_s)
    assert isinstance(refused.value, SinkRefusalError) is (status in {400, 409, 413, 422})
    assert "site.example" not in str(refused.value)
    assert receiver.batches == []


def test_a_date_to_come_back_counts_from_the_receivers_clock(
    receiver: Receiver, tmp_path: Path
) -> None:
    """Retry-After may be a date; ours and theirs may be apart."""
    at = datetime.now(tz=UTC) + LATER
    receiver.answer = 503, {"Retry-After": format_datetime(at, usegmt=True)}
    with opened(receiver, tmp_path) as sink, pytest.raises(SinkError) as refused:
        sink.deliver(BATCH)

    assert refused.value.retry_after_s == pytest.approx(LATER.total_seconds(), abs=5)


def test_an_answer_without_end_is_cut_off(receiver: Receiver, tmp_path: Path) -> None:
    """It is read up to a limit, and is no trouble for the next request."""
    receiver.body = None
    with opened(receiver, tmp_path) as sink:
        with pytest.raises(SinkError) as refused:
            sink.deliver(BATCH)
        receiver.body = b"{}"
        sink.deliver(BATCH)

    assert refused.value.code == "answer_too_large"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"", "broken_off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "broken_off"),
        (b"SSH-2.0-server\r\n", "broken_off"),
        (None, "timed_out"),
    ],
)
def test_a_receiver_that_breaks_off_or_drips(
    receiver: Receiver, tmp_path: Path, said: bytes | None, code: str
) -> None:
    """Neither a cut answer nor one that drips for ever is one."""
    done = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            if said is not None:
                connection.sendall(said)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not done.wait(0.1):
                connection.sendall(b"X-Drip: 1\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with opened(receiver, tmp_path, url=url) as sink, pytest.raises(SinkError) as refused:
            sink.deliver(BATCH)
        tls = f"https://127.0.0.1:{receiver.port}/"
        with opened(receiver, tmp_path, url=tls) as sink, pytest.raises(SinkError) as no_tls:
            sink.deliver(BATCH)
        done.set()
        thread.join()

    assert (refused.value.code, no_tls.value.code) == (code, "tls_failed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "http://engine.example/"}, "sinks.engine.url: must be https"),
        ({"url": "https://user:word@engine.example/"}, "sinks.engine.url: a user or password"),
        ({"url": "ftp://engine.example/"}, "sinks.engine.url: an absolute https address"),
        ({"url": "https://[engine"}, "sinks.engine.url: not a valid address"),
        ({"urls": "all"}, "sinks.engine.urls: must be"),
        ({"batch": 0}, "sinks.engine.batch: must be at least 1"),
        ({"colour": "red"}, "sinks.engine.colour: unknown key"),
    ],
)
def test_settings_that_cannot_be(
    receiver: Receiver, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """The message begins with the key, and holds no password."""
    with pytest.raises(SettingsError) as refused:
        configured(tmp_path, **receiver.settings() | changes)

    assert str(refused.value).startswith(said)
    assert "word@" not in str(refused.value)


def test_plain_http_and_plain_addresses_where_they_are_wanted(
    receiver: Receiver, tmp_path: Path
) -> None:
    """A private network and a trusted receiver are the operator's to name."""
    configured(
        tmp_path,
        **receiver.settings() | {"url": "http://engine.internal/", "allow_plain_http": True},
    )
    with opened(receiver, tmp_path, urls="plain") as sink:
        sink.deliver([replace(BATCH[0], url=BATCH[0].record_url)])

    assert receiver.received()[0]["url"] == BATCH[0].record_url

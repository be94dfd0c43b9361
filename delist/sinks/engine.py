"""Speaking with a search engine's HTTP interface in JSON; what its answers come to as errors."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from delist.errors import SinkError, SinkRefusalError
from delist.sinks.http import Receiver, check_url, read_secret
from delist.sinks.marking import MarkingSettings
from indexer.errors import SettingsError
from indexer.settings import setting

T = TypeVar("T")

JSON = "application/json"
_LARGEST_ANSWER = 256 * 1024 * 1024
_REFUSALS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(MarkingSettings):
    """How an engine is reached over HTTP."""

    url: str = setting("", "Address of the engine's HTTP interface, without a path of an index.")
    timeout_s: float = setting(30.0, "Longest that one request may take.", low=1, high=600)
    ca_file: Path | None = setting(None, "Certificates (PEM) of who vouches for the engine.")
    allow_plain_http: bool = setting(
        False, "Whether the address may be http beyond this machine: in a network of your own."
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is wrong.
        """
        # A class with slots is made twice, and `super()` without arguments means the first one.
        MarkingSettings.__post_init__(self)
        if not self.url:
            raise SettingsError("url: is missing; the address of the engine is needed")
        check_url(self.url, key="url", allow_plain_http=self.allow_plain_http)


class EngineServer:
    """An engine at an address. Not thread-safe."""

    def __init__(
        self, settings: ServerSettings, credentials: Callable[[], Mapping[str, str]]
    ) -> None:
        """Connect to nothing yet.

        Args:
            credentials: reads the headers that let us in; called for every request, so that a
                secret can be changed while we run.
        """
        self._base = settings.url.rstrip("/")
        self._credentials = credentials
        self._receiver = Receiver(
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
            max_body_bytes=_LARGEST_ANSWER,
        )

    def send(
        self,
        method: str,
        path: Sequence[str],
        *,
        params: Mapping[str, str | int] | None = None,
        body: bytes = b"",
        content_type: str = JSON,
        expected: Sequence[int] = (),
    ) -> tuple[int, bytes]:
        """Send a request.

        Args:
            path: its segments, as they are; they are escaped here.
            expected: statuses beside 2xx that are an answer.

        Returns:
            status and body.

        Raises:
            SinkRefusalError: the engine does not take what was sent.
            SinkError: anything else that went wrong; the code says what.
        """
        answer = self._receiver.send(
            method,
            "/".join([self._base, *(quote(segment, safe="") for segment in path)]),
            params=params,
            content=body,
            headers={"Content-Type": content_type, "Accept": JSON, **self._credentials()},
        )
        if answer.taken or answer.status in expected:
            return answer.status, answer.body
        said = f"answered {answer.status}"
        if answer.status in _REFUSALS:
            raise SinkRefusalError("refused", said)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise SinkError("not_found", f"{said}; check the address and the name of the index")
        raise SinkError("not_taken", said)

    def ask(
        self,
        method: str,
        path: Sequence[str],
        *,
        params: Mapping[str, str | int] | None = None,
        send: object = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Send JSON, or nothing, and read JSON; see ``send``."""
        body = b"" if send is None else json.dumps(send).encode()
        return parsed(self.send(method, path, params=params, body=body)[1])

    def close(self) -> None:
        """Close the connection. Closing twice does nothing."""
        self._receiver.close()


def parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON.

    Raises:
        SinkError: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        # `from None`: the cause holds the answer.
        raise not_understood() from None


def not_understood() -> SinkError:
    """Say that an answer is not what this engine answers."""
    return SinkError("not_understood", "the answer is not what this engine would answer")


@contextmanager
def taking_apart() -> Iterator[None]:
    """Take an answer apart.

    Raises:
        SinkError: it is built otherwise than this engine's answers.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise not_understood() from None


def wrong_schema(name: str, wanted: str) -> SinkError:
    """Say that a field is missing or another than it has to be."""
    return SinkError("wrong_schema", f"the index needs the field {name}: {wanted}")


def basic(path: Path) -> str:
    """Read ``user:password`` from a file into the value of an ``Authorization`` header.

    Raises:
        SinkError: the file cannot be read, or holds something else.
    """
    secret = read_secret(path)
    if ":" not in secret or "\n" in secret:
        raise SinkError("secret_unreadable", f"{path}: a line user:password is needed")
    return "Basic " + base64.b64encode(secret.encode()).decode()


def texts(value: object) -> tuple[str, ...]:
    """Read a field that holds one text or several."""
    found = value if isinstance(value, list) else [value]
    return tuple(text for text in found if isinstance(text, str))


def parts(values: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut into parts of at most ``size``."""
    return [values[first : first + size] for first in range(0, len(values), size)]

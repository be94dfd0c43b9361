"""Webhooks: batches of instructions, signed as Standard Webhooks says (standardwebhooks.com).

One POST brings one batch::

    {"type": "delist.suppressions", "timestamp": "...", "data": {"records": [...]}}

The same records under the same ``webhook-id`` may come again, and single records in another batch:
each record's ``id`` is what tells that it was there before. docs/consumers.md is for who receives.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from datetime import UTC
from http import HTTPStatus
from pathlib import Path

from standardwebhooks import Webhook

from delist.consumers import Instruction, document
from delist.errors import SinkError, SinkRefusalError
from delist.sinks.http import Answer, Receiver, check_url, read_secret
from delist.sinks.port import KEYED, Place, check_urls
from indexer.settings import setting

TYPE = "delist.suppressions"

_PREFIX = "whsec_"
_LEAST_SECRET_BYTES = 24
_MAX_BODY_BYTES = 64 * 1024
_ID_CHARACTERS = 32
# The batch is at fault, not the receiver. Who had it before answers 2xx, and not 409.
_REFUSALS: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "unprocessable",
}
_FAULTS: Mapping[int, str] = {HTTPStatus.NOT_FOUND: "not_found", HTTPStatus.GONE: "gone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """[sinks.NAME] of type "webhook"."""

    url: str = setting(MISSING, "Where batches are sent to: https.")
    secret_file: Path = setting(
        MISSING,
        "A file with the secret that signs batches: whsec_ and base64 of 24 to 64 random bytes.\n"
        "Several lines while it is exchanged: each of them signs.",
    )
    ca_file: Path | None = setting(None, "Certificates (PEM) that are trusted beside the usual.")
    urls: str = setting(KEYED, '"keyed": no addresses, only keys of them; "plain": both.')
    batch: int = setting(100, "Most records in one request.", low=1, high=500)
    timeout_s: float = setting(30.0, "Longest time for one request, in seconds.", low=1, high=600)
    allow_plain_http: bool = setting(
        False, "Whether url may be http: in a private network where nobody else listens."
    )

    def __post_init__(self) -> None:
        check_url(self.url, key="url", allow_plain_http=self.allow_plain_http)
        check_urls(self.urls)


def open_sink(settings: Settings, place: Place) -> "WebhookSink":
    """Make the sink; connects to nothing yet."""
    return WebhookSink(settings, place)


class WebhookSink:
    """Sends batches to one address."""

    def __init__(self, settings: Settings, place: Place) -> None:
        self._settings = settings
        self._clock = place.clock
        self._receiver = Receiver(
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
            max_body_bytes=_MAX_BODY_BYTES,
        )

    def deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        """Hand instructions over; see ``port.Sink``."""
        size = self._settings.batch
        for first in range(0, len(batch), size):
            self._post(batch[first : first + size])
        return {}

    def close(self) -> None:
        """Close the connection."""
        self._receiver.close()

    def _post(self, batch: Sequence[Instruction]) -> None:
        records = [document(told) for told in batch]
        now = self._clock().astimezone(UTC)
        body = json.dumps(
            {"type": TYPE, "timestamp": now.isoformat(), "data": {"records": records}},
            separators=(",", ":"),
        )
        message_id = _id_of(records)
        # Read anew each time: a secret is exchanged without a restart.
        signatures = [
            webhook.sign(message_id, now, body)
            for webhook in read_secrets(self._settings.secret_file)
        ]
        answer = self._receiver.send(
            "POST",
            self._settings.url,
            headers={
                "Content-Type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(signatures),
            },
            content=body.encode(),
        )
        _check(answer)


def read_secrets(path: Path) -> list[Webhook]:
    """Read the secrets of a file, one a line.

    Raises:
        SinkError: it cannot be read, or a line is no secret; never says what it holds.
    """
    found = []
    for number, line in enumerate(read_secret(path).splitlines(), 1):
        text = line.strip()
        try:
            secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if not text.startswith(_PREFIX) or len(secret) < _LEAST_SECRET_BYTES:
            raise SinkError(
                "secret_unusable",
                f"{path}, line {number}: {_PREFIX} and base64 of 24 to 64 random bytes are needed",
            )
        found.append(Webhook(secret))
    return found


def _id_of(records: Sequence[Mapping[str, object]]) -> str:
    """Make the id of a batch from all that it says.

    From less, two batches could have one id, and a receiver would leave out the second: what was
    set aside lies between the same first and last record.
    """
    text = json.dumps(records, separators=(",", ":"))
    return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]}"


def _check(answer: Answer) -> None:
    if answer.taken:
        return
    text = f"answered {answer.status}"
    if answer.status in _REFUSALS:
        raise SinkRefusalError(_REFUSALS[answer.status], text)
    raise SinkError(_FAULTS.get(answer.status, "unexpected_answer"), f"{text}; check the url")

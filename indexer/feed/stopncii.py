"""The StopNCII hash exchange, as a feed and as a receiver of feedback and of hashes.

Its wire format is known from Meta's public client alone; what that client gets wrong
and we do not has a named test in ``tests/contract`` and ``tests/integration``.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from indexer.errors import FeedProtocolError, FeedSettingsError, PageTokenExpiredError
from indexer.feed.exchange import (
    DEFAULT_TRIES,
    Answer,
    HttpExchange,
    Limits,
    Request,
    TryAgainError,
)
from indexer.feed.records import PDQ_KIND, read_records, read_seconds
from indexer.model import FeedPage
from indexer.settings import FeedSettings

EARLIEST_START_S = 10
"""The start of a full listing, as the public client asks for it."""

FETCH = "FetchHashes"
FEEDBACK = "SubmitFeedback"
HASHES = "SubmitHashes"
_FUNCTION_KEY_HEADER = "x-functions-key"
_SUBSCRIPTION_KEY_HEADER = "Ocp-Apim-Subscription-Key"


class StopNciiFeed:
    """Speaks to StopNCII. Each call opens its own connection and reads its keys anew.

    Args:
        settings: the ``[feeds.NAME]`` table; ``timeout_s`` bounds a silence.
        backoff_s: wait before the second try; doubles from try to try.
        tries: requests for one page in all.
        retry_after_cap_s: longest wait that the server may ask for.
        deadline_s: longest time for one try, however busily the server drips bytes.
        max_body_bytes: largest answer, in bytes.
    """

    lists_everything = False

    def __init__(
        self,
        settings: FeedSettings,
        *,
        backoff_s: float = 0.5,
        tries: int = DEFAULT_TRIES,
        retry_after_cap_s: float = 300.0,
        deadline_s: float = 300.0,
        max_body_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._settings = settings
        limits = Limits(
            tries=tries,
            backoff_s=backoff_s,
            retry_after_cap_s=retry_after_cap_s,
            timeout_s=settings.timeout_s,
            deadline_s=deadline_s,
            max_body_bytes=max_body_bytes,
        )
        self._exchange = HttpExchange(limits)

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._settings.name

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        """Fetch one page of the changes since a unix time; see ``indexer.ports.Feed``."""
        params: dict[str, str | int] = {
            "startTimestamp": max(EARLIEST_START_S, since),
            "pageSize": self._settings.page_size,
        }
        if token is not None:
            params["nextPageToken"] = token
        request = self._make_request("GET", FETCH, params=params)
        return self._exchange.send(request, lambda answer: self._read_page(answer, token))

    def send_feedback(self, feedback: Sequence[tuple[str, str]]) -> None:
        """Send (digest in hex, word) pairs in one request; see ``ports.FeedbackReceiver``.

        Retried like a fetch, although the public client does not: the last word on a
        hash from one source replaces the one before, so sending it twice is harmless.
        """
        if not feedback:
            return
        items = [
            {"hashValue": value, "feedbackValue": word, "tags": []} for value, word in feedback
        ]
        body = {"count": len(items), "hashFeedbacks": items}
        request = self._make_request("POST", FEEDBACK, json=body)
        self._exchange.send(request, lambda answer: self._read_receipt(answer, FEEDBACK))

    def submit_hashes(self, digests: Sequence[str], *, word: str, at: datetime) -> None:
        """Offer PDQ digests in one request; see ``ports.HashReceiver``.

        In lower case, as the feed writes them itself: its records are keyed by the text. The
        kind is the feed's bare word, which the public client does not send.
        """
        if not digests:
            return
        items = [
            {
                "lastModtimestamp": int(at.timestamp()),
                "signalType": PDQ_KIND,
                "hashValue": digest.lower(),
                "CSPFeedbacks": [{"tags": [], "feedbackValue": word}],
            }
            for digest in digests
        ]
        request = self._make_request(
            "POST", HASHES, json={"count": len(items), "hashRecords": items}
        )
        self._exchange.send(request, lambda answer: self._read_receipt(answer, HASHES))

    def _make_request(
        self,
        method: str,
        endpoint: str,
        *,
        params: dict[str, str | int] | None = None,
        json: object = None,
    ) -> Request:
        return Request(
            what=f"feed {self.name}, {endpoint}",
            method=method,
            url=f"{self._settings.base_url.rstrip('/')}/{endpoint}",
            headers={
                _FUNCTION_KEY_HEADER: self._read_key(*self._function_key_file(endpoint)),
                _SUBSCRIPTION_KEY_HEADER: self._read_key(*self._subscription_key_file()),
                "Accept": "application/json",
            },
            params=params,
            json=json,
        )

    def _function_key_file(self, endpoint: str) -> tuple[str, Path | None]:
        where = f"feeds.{self.name}.function_key_files.{endpoint}"
        return where, self._settings.function_key_files.get(endpoint)

    def _subscription_key_file(self) -> tuple[str, Path | None]:
        where = f"feeds.{self.name}.subscription_key_file"
        return where, self._settings.subscription_key_file

    @staticmethod
    def _read_key(where: str, path: Path | None) -> str:
        if path is None:
            raise FeedSettingsError(
                f"{where}: is missing; the path of a file with the key is needed"
            )
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            # `from None`: a decoding error holds the content.
            raise FeedSettingsError(f"{where}: {path} cannot be read: {reason}") from None
        if not key:
            raise FeedSettingsError(f"{where}: {path} is empty")
        if not (key.isascii() and key.isprintable()):
            raise FeedSettingsError(
                f"{where}: {path} must hold one line of printable ASCII characters, the key"
            )
        return key

    def _read_page(self, answer: Answer, token: str | None) -> FeedPage:
        self._check_status(answer, FETCH, with_token=token is not None)
        if answer.status != HTTPStatus.OK:
            raise FeedProtocolError(f"feed {self.name}, {FETCH}: answered {answer.status}")
        page = self._parse(answer, FETCH)
        if not isinstance(page, dict):
            raise self._broken("the answer is no JSON object")
        more, next_token = page.get("hasMoreRecords"), page.get("nextPageToken")
        if not isinstance(more, bool):
            # Taken for the last page, it could move the cursor past records never read.
            raise self._broken("hasMoreRecords is neither true nor false")
        if more and (not isinstance(next_token, str) or not next_token):
            raise self._broken("hasMoreRecords is true, but there is no nextPageToken")
        if more and next_token == token:
            raise self._broken("the nextPageToken is the one just sent; this would never end")
        records, refused = read_records(self._entries(page))
        return FeedPage(
            records=records,
            refused=refused,
            last=not more,
            next_token=next_token if more else None,  # one on the last page is normal
            cursor=read_seconds(page.get("nextSetTimestamp")),
        )

    def _entries(self, page: dict[str, Any]) -> list[Any]:
        entries = page.get("hashRecords")
        if isinstance(entries, list):
            return entries
        # Serialisers write an empty list as null; a null that stands for records is no list.
        if "hashRecords" in page and entries is None and page.get("count") == 0:
            return []
        raise self._broken("there is no list hashRecords")

    def _read_receipt(self, answer: Answer, endpoint: str) -> None:
        self._check_status(answer, endpoint, with_token=False)
        if answer.body.strip():  # its shape is not known; that it is JSON is
            self._parse(answer, endpoint)

    def _check_status(self, answer: Answer, endpoint: str, *, with_token: bool) -> None:
        what, status = f"feed {self.name}, {endpoint}", answer.status
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            places = (self._function_key_file(endpoint), self._subscription_key_file())
            files = " and ".join(f"{where} ({path})" for where, path in places)
            raise FeedSettingsError(f"{what}: answered {status}; check the keys in {files}")
        if status >= HTTPStatus.BAD_REQUEST and with_token:
            raise PageTokenExpiredError(f"{what}: answered {status} to a page token")
        if status >= HTTPStatus.BAD_REQUEST:
            raise FeedProtocolError(f"{what}: answered {status}")
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise FeedProtocolError(
                f"{what}: answered {status}, a redirect, which is not followed;"
                f" check feeds.{self.name}.base_url"
            )

    def _parse(self, answer: Answer, endpoint: str) -> object:
        try:
            return json.loads(answer.body)
        except RecursionError:
            raise self._broken("the JSON is nested too deeply") from None
        except ValueError:  # `from None`: the error holds the body
            cut = not answer.body.strip() or answer.body.lstrip()[:1] in {b"{", b"["}
            if cut:
                raise TryAgainError(f"feed {self.name}, {endpoint}: the JSON was cut off") from None
            raise FeedProtocolError(
                f"feed {self.name}, {endpoint}: answered {answer.content_type or 'no content type'}"
                f" instead of JSON; check feeds.{self.name}.base_url"
            ) from None

    def _broken(self, what: str) -> FeedProtocolError:
        return FeedProtocolError(f"feed {self.name}, {FETCH}: {what}")

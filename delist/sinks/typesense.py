"""Sink to Typesense (0.24 and later).

A filter of Typesense compares words, not texts: without regard to case and to most signs, and of
a word only the first 100 characters; longer ones it does not find at all. So what it finds is
compared again by ``marking``, and an address with such a word is refused rather than missed.
Ids with signs that a filter cannot hold are asked for one by one.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from delist.errors import SinkError
from delist.sinks.engine import (
    EngineServer,
    ServerSettings,
    not_understood,
    parsed,
    parts,
    taking_apart,
    texts,
    wrong_schema,
)
from delist.sinks.http import read_secret
from delist.sinks.marking import DOCUMENT_ID, TOO_LONG, Marked, MarkingSink
from delist.sinks.port import Place, Sink
from indexer.errors import SettingsError
from indexer.settings import setting

_LONGEST_WORD = 100
_SEARCHES, _PAGE, _IDS = 50, 250, 100  # the server's own limits, but the last
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,500}")
_NOT_IN_FILTERS = re.compile(r"[`\\\x00-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServerSettings):
    """[sinks.NAME] with type = "typesense"."""

    collection: str = setting("", "The collection, or an alias of it.")
    api_key_file: Path | None = setting(
        None, "File with an API key that may search, import and export documents and get this one."
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is wrong.
        """
        ServerSettings.__post_init__(self)
        if not self.collection:
            raise SettingsError("collection: is missing")
        if self.api_key_file is None:
            raise SettingsError("api_key_file: is missing")


def open_sink(settings: Settings, place: Place) -> Sink:
    """Make the sink; it connects to nothing yet."""
    del place
    return MarkingSink(Typesense(settings), settings)


class Typesense:
    """A collection; see ``marking.Engine``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = EngineServer(settings, self._credentials)
        self._path = ("collections", settings.collection)

    def cannot_find(self, value: str) -> str:
        """Say why a value is of no use here; see ``marking.Engine``."""
        if self._settings.match_by == DOCUMENT_ID:
            return "unusable_document_id" if value in {".", ".."} else ""
        longest = max(map(len, self._words(value)), default=0)
        unusable = longest > _LONGEST_WORD or _NOT_IN_FILTERS.search(value)
        return TOO_LONG if unusable else ""

    def find(self, values: Sequence[str]) -> Iterator[Marked]:
        """Find documents by id, address or key of it."""
        if self._settings.match_by == DOCUMENT_ID:
            return self._by_id(values)
        field = self._settings.match_field
        return self._search([f"{field}:=`{value}`" for value in values])

    def find_by_record(self, records: Sequence[str]) -> Iterator[Marked]:
        """Find documents by what hides them."""
        field = self._settings.record_field
        return self._search([f"{field}:=`{record}`" for record in records])

    def mark(self, marks: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Hide and show documents; returns those that are refused."""
        if not marks:
            return {}
        self._check_schema()
        hidden, record = self._settings.hidden_field, self._settings.record_field
        lines = [
            json.dumps({"id": document, hidden: bool(records), record: list(records)})
            for document, records in marks.items()
        ]
        # The status is 200 whatever became of the lines: each has an answer of its own.
        _, body = self._server.send(
            "POST",
            (*self._path, "documents", "import"),
            params={"action": "update"},
            body="\n".join(lines).encode(),
            content_type="text/plain",
        )
        answers = [parsed(line) for line in body.splitlines() if line.strip()]
        if len(answers) != len(lines):
            raise not_understood()
        refused = {}
        for document, answer in zip(marks, answers, strict=True):
            with taking_apart():
                reason = _reason(answer)
            if reason:
                refused[document] = reason
        return refused

    def hidden(self) -> Iterator[Marked]:
        """Iterate over what is hidden."""
        self._check_schema()
        settings = self._settings
        _, body = self._server.send(
            "GET",
            (*self._path, "documents", "export"),
            params={
                "filter_by": f"{settings.hidden_field}:=true",
                "include_fields": f"id,{settings.hidden_field},{settings.record_field}",
            },
        )
        for line in body.splitlines():
            if line.strip():
                yield self._read(parsed(line))

    def close(self) -> None:
        """Close what was opened."""
        self._server.close()

    def _by_id(self, ids: Sequence[str]) -> Iterator[Marked]:
        plain = [document for document in ids if _PLAIN_ID.fullmatch(document)]
        yield from self._search([f"id:=[{','.join(part)}]" for part in parts(plain, _IDS)])
        for document in sorted(set(ids) - set(plain)):
            status, body = self._server.send(
                "GET", (*self._path, "documents", document), expected=(HTTPStatus.NOT_FOUND,)
            )
            if status != HTTPStatus.NOT_FOUND:
                yield self._read(parsed(body))

    def _search(self, filters: Sequence[str]) -> Iterator[Marked]:
        if filters:
            self._check_schema()
        page, waiting = 1, list(filters)
        while waiting:
            unfinished: list[str] = []
            for part in parts(waiting, _SEARCHES):
                for query, answer in zip(part, self._pages(part, page), strict=True):
                    with taking_apart():
                        hits = [hit["document"] for hit in answer["hits"]]
                    yield from map(self._read, hits)
                    if len(hits) == _PAGE:
                        unfinished.append(query)
            page, waiting = page + 1, unfinished

    def _pages(self, filters: Sequence[str], page: int) -> list[dict[str, Any]]:
        """Ask for one page of what each filter finds."""
        settings = self._settings
        shared = {
            "collection": settings.collection,
            "q": "*",
            "include_fields": ",".join(
                filter(
                    None, ["id", settings.match_field, settings.hidden_field, settings.record_field]
                )
            ),
            "per_page": _PAGE,
            "page": page,
        }
        searches = [{**shared, "filter_by": query} for query in filters]
        answer = self._server.ask("POST", ("multi_search",), send={"searches": searches})
        with taking_apart():
            results: list[dict[str, Any]] = [dict(result) for result in answer["results"]]
        if len(results) != len(filters):
            raise not_understood()
        for result in results:
            if "error" in result:
                raise SinkError("search_failed", f"a search was answered {_code(result)}")
            if result.get("search_cutoff"):
                raise SinkError("search_cut_off", "a search took too long, and found a part only")
        return results

    def _read(self, document: dict[str, Any]) -> Marked:
        settings = self._settings
        field = settings.match_field or "id"
        with taking_apart():
            return Marked(
                document=str(document["id"]),
                values=texts(document.get(field)),
                records=texts(document.get(settings.record_field)),
                hidden=document.get(settings.hidden_field) is True,
            )

    def _words(self, value: str) -> Iterable[str]:
        """Cut a text into words as the collection does."""
        separators, kept = self._signs
        for separator in separators:
            value = value.replace(separator, " ")
        for word in value.split():
            yield "".join(sign for sign in word if sign.isalnum() or sign in kept)

    @property
    def _signs(self) -> tuple[Sequence[str], Sequence[str]]:
        collection = self._collection
        return texts(collection.get("token_separators")), texts(collection.get("symbols_to_index"))

    @cached_property
    def _collection(self) -> dict[str, Any]:
        found = self._server.ask("GET", self._path)
        if not isinstance(found, dict):
            raise not_understood()
        return found

    def _check_schema(self) -> None:
        """Look once whether the fields are there.

        Raises:
            SinkError: one is missing, or another than it has to be.
        """
        _ = self._checked

    @cached_property
    def _checked(self) -> bool:
        settings = self._settings
        with taking_apart():
            fields = [field for field in self._collection["fields"] if field.get("index", True)]
            types = {field["name"]: field["type"] for field in fields}
        if types.get(settings.hidden_field) != "bool":
            raise wrong_schema(settings.hidden_field, "bool, optional")
        if types.get(settings.record_field) != "string[]":
            raise wrong_schema(settings.record_field, "string[], optional")
        if settings.match_field and types.get(settings.match_field) not in {"string", "string[]"}:
            raise wrong_schema(settings.match_field, "string")
        return True

    def _credentials(self) -> dict[str, str]:
        assert self._settings.api_key_file is not None  # noqa: S101 - see Settings
        return {"X-TYPESENSE-API-KEY": read_secret(self._settings.api_key_file)}


def _reason(answer: dict[str, Any]) -> str:
    """Say why a line was not taken; "" where it was, or where there is no such document."""
    if answer["success"] is True:
        return ""
    code = _code(answer)
    if code == HTTPStatus.NOT_FOUND:
        return ""
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise SinkError("overloaded", f"a document was answered {code}")
    return "refused"


def _code(answer: dict[str, Any]) -> int:
    code = answer.get("code")
    return code if isinstance(code, int) else 0

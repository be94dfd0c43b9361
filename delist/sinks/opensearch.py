"""Sink to OpenSearch; ``delist.sinks.elasticsearch`` is the same for Elasticsearch.

Written after the documented interfaces (search with scroll, bulk, mapping), which both have kept
alike since one came of the other. Updates are partial documents by id: no script runs, so a
cluster may forbid scripts, and no value becomes part of one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from delist.errors import SinkError
from delist.sinks.engine import (
    EngineServer,
    ServerSettings,
    basic,
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

_LONGEST_ID_BYTES, _LONGEST_TERM_BYTES = 512, 32_766
_TERMS, _HITS, _LINES = 1_000, 1_000, 500
_KEEP_SCROLL = "1m"
_REFRESH = ("true", "wait_for", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServerSettings):
    """[sinks.NAME] with type = "opensearch" or "elasticsearch"."""

    index: str = setting("", "The index, or an alias that stands for one index.")
    credentials_file: Path | None = setting(None, "File with a line user:password.")
    api_key_file: Path | None = setting(None, "File with an API key, as the engine encoded it.")
    refresh: str = setting(
        "wait_for",
        "When results show what was marked: before the batch counts as delivered, with the next\n"
        'refresh of the index (wait_for) or by one of its own (true); "false": some time later.',
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is wrong.
        """
        ServerSettings.__post_init__(self)
        # A list or a pattern would be read as several indexes.
        if (
            not self.index
            or self.index.startswith(("_", "-"))
            or set(self.index) & set('*?,"<>| \\/')
        ):
            raise SettingsError("index: the name of one index is needed")
        if self.credentials_file is not None and self.api_key_file is not None:
            raise SettingsError("credentials_file: stands beside api_key_file; one can count")
        if self.refresh not in _REFRESH:
            raise SettingsError(f"refresh: must be one of {', '.join(_REFRESH)}")


def open_sink(settings: Settings, place: Place) -> Sink:
    """Make the sink; it connects to nothing yet."""
    del place
    return MarkingSink(OpenSearch(settings), settings)


class OpenSearch:
    """An index; see ``marking.Engine``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = EngineServer(settings, self._credentials)
        self._routing: dict[str, str] = {}

    def cannot_find(self, value: str) -> str:
        """Say why a value is of no use here; see ``marking.Engine``."""
        longest = _LONGEST_ID_BYTES
        if self._settings.match_by != DOCUMENT_ID:
            longest = self._checked
        return TOO_LONG if len(value.encode()) > longest else ""

    def find(self, values: Sequence[str]) -> Iterator[Marked]:
        """Find documents by id, address or key of it."""
        for part in parts(values, _TERMS):
            if self._settings.match_by == DOCUMENT_ID:
                yield from self._search({"ids": {"values": list(part)}})
            else:
                yield from self._search({"terms": {self._settings.match_field: list(part)}})

    def find_by_record(self, records: Sequence[str]) -> Iterator[Marked]:
        """Find documents by what hides them."""
        for part in parts(records, _TERMS):
            yield from self._search({"terms": {self._settings.record_field: list(part)}})

    def mark(self, marks: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Hide and show documents; returns those that are refused."""
        refused: dict[str, str] = {}
        for part in parts(list(marks.items()), _LINES):
            refused.update(self._bulk(part))
        return refused

    def hidden(self) -> Iterator[Marked]:
        """Iterate over what is hidden."""
        return self._search({"term": {self._settings.hidden_field: True}})

    def close(self) -> None:
        """Close what was opened."""
        self._server.close()

    def _bulk(self, part: Sequence[tuple[str, Sequence[str]]]) -> Iterator[tuple[str, str]]:
        """Update some documents; iterates over those that are refused."""
        lines: list[str] = []
        for document, records in part:
            # Others write the same documents: the engine tries again on what they made of them.
            action: dict[str, object] = {"_id": document, "retry_on_conflict": 5}
            if document in self._routing:
                action["routing"] = self._routing[document]
            marks = _nested(self._settings.hidden_field, bool(records))
            _join(marks, _nested(self._settings.record_field, list(records)))
            lines += [json.dumps({"update": action}), json.dumps({"doc": marks})]
        _, body = self._server.send(
            "POST",
            (self._settings.index, "_bulk"),
            params={"refresh": self._settings.refresh},
            body="".join(f"{line}\n" for line in lines).encode(),
            content_type="application/x-ndjson",
        )
        answer = parsed(body)
        # The status is 200 whatever became of the items; `errors` says whether to look at them.
        with taking_apart():
            items = [item["update"] for item in answer["items"]]
        if len(items) != len(part):
            raise not_understood()
        for (document, _), item in zip(part, items, strict=True):
            with taking_apart():
                reason = _reason(int(item["status"]))
            if reason:
                yield document, reason

    def _search(self, query: object) -> Iterator[Marked]:
        """Iterate over everything that a query finds, what was written just now included."""
        _ = self._checked
        settings = self._settings
        self._server.ask("POST", (settings.index, "_refresh"))
        fields = [settings.hidden_field, settings.record_field]
        if settings.match_field:
            fields.append(settings.match_field)
        asked = {
            "query": query,
            "size": _HITS,
            "sort": ["_doc"],
            "_source": False,
            "docvalue_fields": fields,
        }
        answer = self._server.ask(
            "POST", (settings.index, "_search"), params={"scroll": _KEEP_SCROLL}, send=asked
        )
        while True:
            hits = _whole(answer)
            yield from map(self._read, hits)
            scroll = answer.get("_scroll_id")
            if len(hits) < _HITS:
                break
            more = {"scroll": _KEEP_SCROLL, "scroll_id": scroll}
            answer = self._server.ask("POST", ("_search", "scroll"), send=more)
        if scroll:
            self._server.send(
                "DELETE",
                ("_search", "scroll"),
                body=json.dumps({"scroll_id": scroll}).encode(),
                expected=(HTTPStatus.NOT_FOUND,),
            )

    def _read(self, hit: dict[str, Any]) -> Marked:
        with taking_apart():
            return self._marked(hit)

    def _marked(self, hit: dict[str, Any]) -> Marked:
        settings = self._settings
        document, fields = hit["_id"], hit.get("fields", {})
        if "_routing" in hit:
            self._routing[document] = hit["_routing"]
        by_id = settings.match_by == DOCUMENT_ID
        return Marked(
            document=document,
            values=(document,) if by_id else texts(fields.get(settings.match_field)),
            records=texts(fields.get(settings.record_field)),
            hidden=fields.get(settings.hidden_field) == [True],
        )

    @cached_property
    def _checked(self) -> int:
        """Look whether the fields are there; returns how long a value may be, in bytes.

        Raises:
            SinkError: one is missing, or another than it has to be.
        """
        settings = self._settings
        answer = self._server.ask("GET", (settings.index, "_mapping"))
        with taking_apart():
            found = [dict(index["mappings"]) for index in answer.values()]
        if len(found) != 1:
            raise SinkError(
                "several_indexes", f"the alias stands for {len(found)} indexes, not one"
            )
        (mapping,) = found
        if mapping.get("_source") == {"enabled": False}:
            raise SinkError("source_disabled", "the index keeps no _source: nothing can be updated")
        if _field(mapping, settings.hidden_field).get("type") != "boolean":
            raise wrong_schema(settings.hidden_field, "boolean")
        _check_keyword(mapping, settings.record_field)
        if settings.match_by == DOCUMENT_ID:
            return _LONGEST_ID_BYTES
        field = _check_keyword(mapping, settings.match_field)
        # Longer ones are not indexed, and no search finds them: refused rather than missed.
        longest = field.get("ignore_above", _LONGEST_TERM_BYTES)
        return min(_LONGEST_TERM_BYTES, longest) if isinstance(longest, int) else 0

    def _credentials(self) -> dict[str, str]:
        if self._settings.credentials_file is not None:
            return {"Authorization": basic(self._settings.credentials_file)}
        if self._settings.api_key_file is not None:
            return {"Authorization": f"ApiKey {read_secret(self._settings.api_key_file)}"}
        return {}


def _reason(status: int) -> str:
    """Say why an item was not taken; "" where it was, or where there is no such document."""
    if status // 100 == HTTPStatus.OK // 100 or status == HTTPStatus.NOT_FOUND:
        return ""
    if status == HTTPStatus.CONFLICT:
        raise SinkError("conflict", "others keep writing the same documents")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise SinkError("overloaded", f"a document was answered {status}")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise SinkError("not_allowed", f"a document was answered {status}; check the credentials")
    return "refused"


def _whole(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Return the hits of an answer that left nothing out.

    Raises:
        SinkError: some shards did not answer, or not in time.
    """
    with taking_apart():
        if answer["_shards"]["failed"] or answer["timed_out"]:
            raise SinkError("partial_answer", "a part of the index did not answer")
        return list(answer["hits"]["hits"])


def _field(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    """Look a field up by its path: in objects, or as a second field of another."""
    found: Any = mapping
    for step in name.split("."):
        with taking_apart():
            found = {**found.get("fields", {}), **found.get("properties", {})}.get(step, {})
    return found if isinstance(found, dict) else {}


def _check_keyword(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    field = _field(mapping, name)
    as_is = field.get("index", True) and field.get("doc_values", True)
    if field.get("type") != "keyword" or not as_is or "normalizer" in field:
        raise wrong_schema(name, "keyword, indexed, with doc_values and without a normalizer")
    return field


def _nested(name: str, value: object) -> dict[str, Any]:
    """Write a value at a path, as a document holds it."""
    for step in reversed(name.split(".")):
        value = {step: value}
    assert isinstance(value, dict)  # noqa: S101 - there was a step
    return value


def _join(into: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if name in into and isinstance(value, dict):
            _join(into[name], value)
        else:
            into[name] = value

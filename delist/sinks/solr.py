"""Sink to Solr.

Written after the documented interfaces: queries by parameters that name their values, cursors,
atomic updates of documents that exist (``_version_``: 1). An atomic update writes a document again
from the fields that are stored or have doc values, so an index with others is refused.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

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
from delist.sinks.marking import TOO_LONG, Marked, MarkingSink
from delist.sinks.port import Place, Sink
from indexer.errors import SettingsError
from indexer.settings import setting

_LONGEST_TERM_BYTES = 32_766
_TERMS, _HITS, _LINES = 50, 1_000, 500
_FORM_BYTES = 1_000_000
"""Solr takes 2 MiB by default."""
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServerSettings):
    """[sinks.NAME] with type = "solr"."""

    collection: str = setting("", "The collection or core.")
    id_field: str = setting("id", "The schema's uniqueKey.")
    credentials_file: Path | None = setting(None, "File with a line user:password.")
    commit_within_ms: int = setting(
        1_000, "Milliseconds after which results show what was marked.", low=1, high=600_000
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is wrong.
        """
        ServerSettings.__post_init__(self)
        if not self.collection or "," in self.collection:
            raise SettingsError("collection: the name of one collection is needed")
        if not self.id_field.replace("_", "").isalnum():
            raise SettingsError("id_field: letters, digits and _")


def open_sink(settings: Settings, place: Place) -> Sink:
    """Make the sink; it connects to nothing yet."""
    del place
    return MarkingSink(Solr(settings), settings)


class Solr:
    """A collection; see ``marking.Engine``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = EngineServer(settings, self._credentials)
        self._match_field = settings.match_field or settings.id_field

    def cannot_find(self, value: str) -> str:
        """Say why a value is of no use here; see ``marking.Engine``."""
        return TOO_LONG if len(value.encode()) > _LONGEST_TERM_BYTES else ""

    def find(self, values: Sequence[str]) -> Iterator[Marked]:
        """Find documents by id, address or key of it."""
        return self._with_terms(self._match_field, values)

    def find_by_record(self, records: Sequence[str]) -> Iterator[Marked]:
        """Find documents by what hides them."""
        return self._with_terms(self._settings.record_field, records)

    def mark(self, marks: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Hide and show documents; returns those that are refused."""
        for part in parts(list(marks), _LINES):
            self._update({document: marks[document] for document in part})
        return {}

    def hidden(self) -> Iterator[Marked]:
        """Iterate over what is hidden."""
        return self._with_terms(self._settings.hidden_field, ["true"])

    def close(self) -> None:
        """Close what was opened."""
        self._server.close()

    def _update(self, marks: Mapping[str, Sequence[str]]) -> None:
        """Update documents, without those that are gone meanwhile."""
        left = dict(marks)
        for _ in range(_TRIES):
            if not left or self._send(left):
                return
            # One that is gone, or was written meanwhile, and with it all behind it.
            there = {marked.document for marked in self._by_id(list(left))}
            left = {document: records for document, records in left.items() if document in there}
        raise SinkError("conflict", "others keep writing the same documents")

    def _send(self, marks: Mapping[str, Sequence[str]]) -> bool:
        settings = self._settings
        updates = [
            {
                settings.id_field: document,
                settings.hidden_field: {"set": bool(records)},
                settings.record_field: {"set": list(records)},
                "_version_": 1,  # only if there is such a document
            }
            for document, records in marks.items()
        ]
        status, body = self._server.send(
            "POST",
            (settings.collection, "update"),
            params={"commitWithin": settings.commit_within_ms, "versions": "true", "wt": "json"},
            body=json.dumps(updates).encode(),
            expected=(HTTPStatus.CONFLICT,),
        )
        if status == HTTPStatus.CONFLICT:
            return False
        answer = _well(parsed(body))
        with taking_apart():
            adds = answer["adds"]  # id, version, id, version, ...; or pairs, in newer releases
            return marks.keys() <= set(adds[::2] if isinstance(adds, list) else adds)

    def _by_id(self, ids: Sequence[str]) -> Iterator[Marked]:
        return self._with_terms(self._settings.id_field, ids)

    def _with_terms(self, field: str, terms: Sequence[str]) -> Iterator[Marked]:
        """Iterate over the documents with one of these terms, written just now or long ago."""
        if terms:
            self._check_schema()
            self._show_written()
        for part in _forms(terms):
            names = [f"t{number}" for number in range(len(part))]
            # A value is a parameter of its own, which nothing in it can leave.
            asked = {name: f"{{!term f={field} v=$v{name}}}" for name in names}
            asked |= {f"v{name}": term for name, term in zip(names, part, strict=True)}
            asked["q"] = f"{{!bool {' '.join(f'should=${name}' for name in names)}}}"
            yield from self._query(asked)

    def _query(self, asked: Mapping[str, str]) -> Iterator[Marked]:
        settings = self._settings
        fields = [
            settings.id_field,
            self._match_field,
            settings.hidden_field,
            settings.record_field,
        ]
        cursor = "*"
        while True:
            form = {
                **asked,
                "fl": ",".join(dict.fromkeys(fields)),
                "rows": str(_HITS),
                "sort": f"{settings.id_field} asc",
                "cursorMark": cursor,
                "expandMacros": "false",  # `${...}` in a value would be taken for a parameter
                "shards.tolerant": "false",
                "wt": "json",
            }
            _, body = self._server.send(
                "POST",
                (settings.collection, "select"),
                body=urlencode(form).encode(),
                content_type="application/x-www-form-urlencoded",
            )
            answer = _well(parsed(body))
            with taking_apart():
                documents, following = answer["response"]["docs"], str(answer["nextCursorMark"])
            yield from map(self._read, documents)
            if following == cursor:
                return
            cursor = following

    def _read(self, document: dict[str, Any]) -> Marked:
        settings = self._settings
        with taking_apart():
            return Marked(
                document=str(document[settings.id_field]),
                values=texts(document.get(self._match_field)),
                records=texts(document.get(settings.record_field)),
                hidden=document.get(settings.hidden_field) is True,
            )

    def _show_written(self) -> None:
        """Make searches see what was written so far, by us and by others."""
        path = (self._settings.collection, "update")
        _well(self._server.ask("POST", path, params={"softCommit": "true", "wt": "json"}, send=[]))

    def _check_schema(self) -> None:
        _ = self._checked

    @cached_property
    def _checked(self) -> bool:
        """Look whether the fields are there, and whether an update loses nothing.

        Raises:
            SinkError: one is missing, or another than it has to be; or something would be lost.
        """
        settings = self._settings
        names = [settings.id_field, self._match_field, settings.record_field]
        ours = self._fields({"fl": ",".join([*names, settings.hidden_field])})
        for name in names:
            field = ours.get(name, {})
            if not field.get("indexed") or field.get("tokenized") or not _kept(field):
                raise wrong_schema(name, "a string (StrField), indexed and stored")
        if not ours[settings.record_field].get("multiValued"):
            raise wrong_schema(settings.record_field, "multiValued")
        hidden = ours.get(settings.hidden_field, {})
        if not hidden.get("indexed") or not _kept(hidden) or hidden.get("multiValued"):
            raise wrong_schema(settings.hidden_field, "boolean, indexed and stored")
        copied = self._server.ask(
            "GET", (settings.collection, "schema", "copyfields"), params={"wt": "json"}
        )
        with taking_apart():
            targets = {copy["dest"] for copy in copied["copyFields"]}
        lost = sorted(
            name
            for name, field in self._fields({}).items()
            if not (_kept(field) or name in targets or name.startswith("_"))
        )
        if lost:
            raise SinkError(
                "fields_not_stored",
                f"the schema neither stores {', '.join(lost)} nor has doc values of them: an atomic"
                " update would lose them",
            )
        return True

    def _fields(self, chosen: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Load what the schema says of its fields, or of some, dynamic ones among them."""
        listed = self._server.ask(
            "GET",
            (self._settings.collection, "schema", "fields"),
            params={"showDefaults": "true", "includeDynamic": "true", "wt": "json", **chosen},
        )
        with taking_apart():
            return {field["name"]: dict(field) for field in listed["fields"]}

    def _credentials(self) -> dict[str, str]:
        if self._settings.credentials_file is None:
            return {}
        return {"Authorization": basic(self._settings.credentials_file)}


def _well(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return an answer that says that all went well, and of all shards.

    Raises:
        SinkError: it does not.
    """
    with taking_apart():
        header = answer["responseHeader"]
        if header.get("partialResults"):
            raise SinkError("partial_answer", "a part of the index did not answer")
        if header["status"] != 0 or "error" in answer:
            raise not_understood()
        return dict(answer)


def _kept(field: Mapping[str, Any]) -> bool:
    return bool(
        field.get("stored") or (field.get("docValues") and field.get("useDocValuesAsStored", True))
    )


def _forms(terms: Sequence[str]) -> Iterator[list[str]]:
    """Cut terms into parts that one form holds."""
    part: list[str] = []
    size = 0
    for term in terms:
        length = 3 * len(term.encode())
        if part and (len(part) >= _TERMS or size + length > _FORM_BYTES):
            yield part
            part, size = [], 0
        part.append(term)
        size += length
    if part:
        yield part

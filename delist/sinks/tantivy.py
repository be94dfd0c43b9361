"""Sink to a tantivy index in a folder of this machine.

Tantivy changes no document: it is deleted and added again, both in one commit, from the fields
that the index stores. A field that is not stored would be lost in this way, and one whose words
are made by a tokenizer of the engine's own could not be made again: such an index is refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tantivy

from delist.errors import SinkError
from delist.sinks.engine import parts, texts, wrong_schema
from delist.sinks.marking import TOO_LONG, Marked, MarkingSettings, MarkingSink
from delist.sinks.port import Place, Sink
from indexer.errors import SettingsError
from indexer.settings import setting

_LONGEST_TERM_BYTES = 60_000
"""Tantivy leaves out terms beyond about 65,500 bytes."""

_TERMS, _HITS = 500, 1_000
_HEAP_BYTES = 20_000_000
_TOKENIZERS = frozenset({"raw", "default", "en_stem", "whitespace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(MarkingSettings):
    """[sinks.NAME] with type = "tantivy"."""

    path: Path | None = setting(None, "Folder of the index.")
    id_field: str = setting("id", "Field with a document's own id: a raw text.")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is wrong.
        """
        MarkingSettings.__post_init__(self)
        if self.path is None:
            raise SettingsError("path: is missing; the folder of the index is needed")
        if not self.id_field:
            raise SettingsError("id_field: a field is needed")


def open_sink(settings: Settings, place: Place) -> Sink:
    """Make the sink; it opens nothing yet."""
    del place
    return MarkingSink(Tantivy(settings), settings)


class Tantivy:
    """An index in a folder; see ``marking.Engine``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
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
        if not marks:
            return {}
        with self._writer() as writer:
            # Behind the lock: nobody changes a document between our reading and our writing it.
            field = self._settings.id_field
            found = self._documents(self._searcher(), self._any_of(field, list(marks)))
            for name in {document[field][0] for document in found}:
                writer.delete_documents_by_term(field, name)
            for document in found:
                name = document[field][0]
                document[self._settings.hidden_field] = [bool(marks[name])]
                document[self._settings.record_field] = list(marks[name])
                writer.add_document(tantivy.Document.from_dict(document, self._index.schema))
            writer.commit()
        return {}

    def hidden(self) -> Iterator[Marked]:
        """Iterate over what is hidden."""
        searcher = self._searcher()
        query = tantivy.Query.term_query(self._index.schema, self._settings.hidden_field, True)
        for document in self._documents(searcher, query):
            yield self._read(document)

    def close(self) -> None:
        """Close what was opened."""
        self.__dict__.pop("_index", None)

    def _with_terms(self, field: str, terms: Sequence[str]) -> Iterator[Marked]:
        searcher = self._searcher()
        for part in parts(terms, _TERMS):
            for document in self._documents(searcher, self._any_of(field, part)):
                yield self._read(document)

    def _any_of(self, field: str, terms: Sequence[str]) -> tantivy.Query:
        return tantivy.Query.term_set_query(self._index.schema, field, terms)

    def _documents(
        self, searcher: tantivy.Searcher, query: tantivy.Query
    ) -> list[dict[str, list[Any]]]:
        """Load what a query finds, all of it before the first is handed over."""
        with _named():
            found: list[dict[str, list[Any]]] = []
            while True:
                hits = searcher.search(query, limit=_HITS, offset=len(found)).hits
                found += [searcher.doc(address).to_dict() for _, address in hits]
                if len(hits) < _HITS:
                    return found

    def _read(self, document: dict[str, list[Any]]) -> Marked:
        names = texts(document.get(self._settings.id_field))
        if len(names) != 1:
            raise SinkError(
                "no_single_id",
                f"a document has not one {self._settings.id_field}, but {len(names)}",
            )
        return Marked(
            document=names[0],
            values=texts(document.get(self._match_field)),
            records=texts(document.get(self._settings.record_field)),
            hidden=document.get(self._settings.hidden_field) == [True],
        )

    def _searcher(self) -> tantivy.Searcher:
        with _named():
            self._index.reload()
            return self._index.searcher()

    @contextmanager
    def _writer(self) -> Iterator[tantivy.IndexWriter]:
        """Hold the index's one writer; what was not committed is as if it had not been."""
        with _named():
            writer = self._index.writer(_HEAP_BYTES, 1)
        try:
            with _named():
                yield writer
        finally:
            with _named():
                writer.wait_merging_threads()

    @cached_property
    def _index(self) -> tantivy.Index:
        assert self._settings.path is not None  # noqa: S101 - see Settings
        self._check_schema(self._settings.path)
        with _named():
            return tantivy.Index.open(str(self._settings.path))

    def _check_schema(self, path: Path) -> None:
        """Look whether the fields are there, and whether all can be written again.

        Raises:
            SinkError: there is no index, or it is not one that we can mark documents in.
        """
        try:
            fields = json.loads((path / "meta.json").read_text(encoding="utf-8"))["schema"]
            schema = {field["name"]: (field["type"], field["options"]) for field in fields}
        except (OSError, ValueError, KeyError, TypeError):
            raise SinkError("index_unusable", f"{path} holds no index of tantivy") from None
        lost = sorted(name for name, (_, options) in schema.items() if not options.get("stored"))
        if lost:
            raise SinkError(
                "fields_not_stored",
                f"the index does not store {', '.join(lost)}: tantivy changes a document by adding"
                " it again from what is stored, and this would be lost; store these fields, or"
                " mark documents while indexing (docs/engines.md)",
            )
        strange = sorted(_tokenizers(schema.values()) - _TOKENIZERS)
        if strange:
            raise SinkError(
                "tokenizer_unknown",
                f"the index needs the tokenizers {', '.join(strange)}, which only its engine has",
            )
        kind, options = schema.get(self._settings.hidden_field, ("", {}))
        if kind != "bool" or not options.get("indexed"):
            raise wrong_schema(self._settings.hidden_field, "boolean, indexed and stored")
        for name in {self._match_field, self._settings.record_field, self._settings.id_field}:
            kind, options = schema.get(name, ("", {}))
            if kind != "text" or (options.get("indexing") or {}).get("tokenizer") != "raw":
                raise wrong_schema(name, 'text, stored, with the tokenizer "raw"')


def _tokenizers(fields: Iterable[tuple[str, Mapping[str, Any]]]) -> set[str]:
    used = [(options.get("indexing") or {}) for _, options in fields if isinstance(options, dict)]
    return {
        indexing["tokenizer"]
        for indexing in used
        if isinstance(indexing, dict) and "tokenizer" in indexing
    }


@contextmanager
def _named() -> Iterator[None]:
    """Name what tantivy raises: its messages may hold what was searched for, or a document."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, KeyError, TypeError) as error:
        if "LockBusy" in str(error):
            raise SinkError("locked", "another writer holds the index") from None
        raise SinkError(
            "index_unusable", f"the index cannot be used ({type(error).__name__})"
        ) from None

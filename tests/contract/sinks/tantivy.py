"""A tantivy index in a folder. What can be wrong with it: another writer holds it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import tantivy

from delist.consumers import ConsumerKey
from tests.contract.sinks.harness import Capability, Document, Failure


def make_index(folder: Path, *fields: str) -> tantivy.Index:
    """Make an index with these raw fields, a title, and ours."""
    builder = tantivy.SchemaBuilder()
    for name in ("id", *fields, "delist_record"):
        builder.add_text_field(name, stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("title", stored=True)
    builder.add_boolean_field("delist_hidden", stored=True, indexed=True)
    folder.mkdir(exist_ok=True)
    return tantivy.Index(builder.build(), path=str(folder))


def put(index: tantivy.Index, documents: Sequence[dict[str, Any]]) -> None:
    writer = index.writer(20_000_000, 1)
    for entry in documents:
        writer.add_document(tantivy.Document.from_dict(entry, index.schema))
    writer.commit()
    writer.wait_merging_threads()


def find(index: tantivy.Index, query: tantivy.Query) -> list[dict[str, list[Any]]]:
    index.reload()
    searcher = index.searcher()
    return [searcher.doc(place).to_dict() for _, place in searcher.search(query, limit=1000).hits]


class Receiver:
    """An index of pages, each with the key of its address."""

    kind = "tantivy"
    capabilities = frozenset({Capability.KEYED})
    failures = frozenset({Failure.AWAY})

    def __init__(self) -> None:
        self._writer: tantivy.IndexWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fail(None)

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        self.fail(None)
        self._urls = {document.id: document.url for document in documents}
        self._folder = folder / "index"
        self._index = make_index(self._folder, "url_key")
        put(
            self._index, [{"id": entry.id, "url_key": key.of_url(entry.url)} for entry in documents]
        )

    def settings(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "path": str(self._folder),
            "match_by": "url_key",
            "match_field": "url_key",
        }

    def hidden(self) -> set[str]:
        hidden = tantivy.Query.term_query(self._index.schema, "delist_hidden", True)
        return {self._urls[entry["id"][0]] for entry in find(self._index, hidden)}

    def received(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def traces(self) -> str:
        return str(find(self._index, tantivy.Query.all_query()))

    def fail(self, failure: Failure | None) -> None:
        if failure is Failure.AWAY:
            self._writer = self._index.writer(20_000_000, 1)
        elif self._writer is not None:
            self._writer.wait_merging_threads()
            self._writer = None

    def refuse(self, *, poison: bool) -> None:
        raise NotImplementedError

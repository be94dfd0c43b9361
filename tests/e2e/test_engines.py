"""Result pages of real engines: before a case, while it is suppressed, and after its revocation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import tantivy

from delist.build import Delist
from delist.errors import SinkError
from delist.model import Verdict
from delist.sinks import Delivery
from delist.sinks.courier import alone
from indexer.url import canonical_url
from tests.contract.sinks.crash import settings_of
from tests.contract.sinks.tantivy import find, make_index, put
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.typesense import API_KEY, typesense

PLANTED = canonical_url("https://Site.example/a/Photo%20(1),2.jpg?q='`&&x:=y||{z}\\")
OTHERS = {
    "case": PLANTED.replace("Photo", "photo"),
    "prefix": PLANTED.removesuffix("%5C"),
    "plain": "https://site.example/a/photo/2.jpg",
    "bare": "https://site.example/",
}
DOCUMENTS = [
    *({"id": f"planted{n}", "url": PLANTED, "title": "sunny day"} for n in range(3)),
    *({"id": name, "url": url, "title": "sunny day"} for name, url in OTHERS.items()),
]
ALL = sorted(entry["id"] for entry in DOCUMENTS)


class Engine(Protocol):
    """An engine with the documents above, and its result page."""

    def table(self) -> dict[str, Any]: ...

    def results(self) -> Sequence[str]: ...

    def add(self, document: dict[str, str]) -> None: ...


class TypesenseEngine:
    def __init__(self, folder: Path) -> None:
        self._server = typesense()
        self._collection = self._server.collection({"name": "url", "type": "string"})
        self._server.put(self._collection, DOCUMENTS)
        self._secret = folder / "api-key"
        self._secret.write_text(API_KEY)

    def table(self) -> dict[str, Any]:
        return {
            "type": "typesense",
            "url": f"http://127.0.0.1:{self._server.port}",
            "collection": self._collection,
            "api_key_file": str(self._secret),
            "match_by": "url",
            "match_field": "url",
        }

    def results(self) -> Sequence[str]:
        return self._server.search(self._collection, "sunny")

    def add(self, document: dict[str, str]) -> None:
        self._server.put(self._collection, [document])


class TantivyEngine:
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "index"
        self._index = make_index(self._folder, "url")
        put(self._index, DOCUMENTS)

    def table(self) -> dict[str, Any]:
        return {
            "type": "tantivy",
            "path": str(self._folder),
            "match_by": "url",
            "match_field": "url",
        }

    def results(self) -> Sequence[str]:
        words = self._index.parse_query("sunny", ["title"])
        hidden = tantivy.Query.term_query(self._index.schema, "delist_hidden", True)
        parts = [(tantivy.Occur.Must, words), (tantivy.Occur.MustNot, hidden)]
        found = find(self._index, tantivy.Query.boolean_query(parts))
        return sorted(entry["id"][0] for entry in found)

    def add(self, document: dict[str, str]) -> None:
        put(self._index, [document])


@pytest.mark.parametrize("kind", [TypesenseEngine, TantivyEngine])
def test_a_case_leaves_and_comes_back_to_result_pages(
    kind: type[TypesenseEngine | TantivyEngine], tmp_path: Path
) -> None:
    """All documents of the address go, no other; a late one is mended; a revocation shows all."""
    engine: Engine = kind(tmp_path)
    near = digest_of("near")
    with World(tmp_path / "data") as world:
        settings = settings_of(tmp_path / "data", {"engine": engine.table()})

        def deliver() -> Delivery:
            with Delist(settings, clock=world.clock) as delist:
                (delivery,) = delist.sinks.deliver()
            return delivery

        assert deliver().trouble == ""
        assert engine.results() == ALL

        world.offer(near)
        world.visit(PLANTED, image_near({near: 7}))
        world.take_in()
        assert deliver().trouble == ""
        assert engine.results() == sorted(OTHERS)

        world.decide(world.case_of(PLANTED), Verdict.NCII)
        assert deliver().delivered == 1
        engine.add({"id": "late", "url": PLANTED, "title": "sunny day"})
        assert engine.results() == sorted([*OTHERS, "late"])
        with Delist(settings, clock=world.clock) as delist:
            found = delist.sinks.check("engine", mend=True)
        assert (found.in_effect, found.hidden, found.unfounded) == (1, 3, 0)
        assert (found.brought_again, found.lifted) == (1, 0)
        assert engine.results() == sorted(OTHERS)

        world.withdraw(near)
        world.take_in()
        assert deliver().delivered == 1
        assert engine.results() == sorted([*ALL, "late"])


def test_mending_hides_what_is_in_effect_and_shows_what_is_not(tmp_path: Path) -> None:
    """Also where a document is still marked by a record that is over; and nobody else is at it."""
    near = digest_of("near")
    (tmp_path / "engine").mkdir()
    folder = tmp_path / "engine" / "index"
    index = make_index(folder, "url")
    stale = {"delist_hidden": True, "delist_record": ["a record that is over"]}
    put(index, [{"id": "kept", "url": PLANTED} | stale, {"id": "shown", "url": "x"} | stale])
    table = {"type": "tantivy", "path": str(folder), "match_by": "url", "match_field": "url"}
    with World(tmp_path / "data") as world:
        world.offer(near)
        world.visit(PLANTED, image_near({near: 7}))
        world.take_in()
        settings = settings_of(tmp_path / "data", {"engine": table})
        with Delist(settings, clock=world.clock) as delist:
            with alone(tmp_path / "data", "engine"), pytest.raises(SinkError, match="try again"):
                delist.sinks.check("engine", mend=True)
            list(delist.sinks.deliver())
            put(index, [{"id": "late", "url": PLANTED} | stale])
            found = delist.sinks.check("engine")
            assert (found.in_effect, found.hidden, found.unfounded) == (1, 3, 2)
            delist.sinks.check("engine", mend=True)
            assert delist.sinks.check("engine").unfounded == 0
        (record,) = world.ledger()
    hidden = tantivy.Query.term_query(index.schema, "delist_hidden", True)
    marks = {entry["id"][0]: entry["delist_record"] for entry in find(index, hidden)}
    assert marks == {"kept": [record.id], "late": [record.id]}

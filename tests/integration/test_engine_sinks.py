"""What engines do to sinks, and hostile addresses and ids to engines."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
import tantivy as engine_library

from delist.consumers import Instruction
from delist.consumers.keys import ConsumerKey
from delist.errors import SinkError, SinkRefusalError
from delist.model import Scope
from delist.settings import SinkTable
from delist.sinks import read_sink
from delist.sinks.port import Held, Inspectable, Place, Sink
from indexer.errors import SettingsError
from tests.contract.sinks import opensearch, solr, tantivy
from tests.contract.sinks.harness import POISON_ID
from tests.fakes.typesense import API_KEY, typesense

KEY = ConsumerKey(b"\1" * 32)
URL = "https://site.example/a.jpg"
HOSTILE_URLS = [
    "https://site.example/%60,%60x:=y&&(z)||[1]",
    "https://site.example/a,b'c\"d`e\\f\ng{h}$v0;}",
    "https://site.example/{!term%20f=id}*:*",
    "https://site.example/ or delist_hidden:true",
    "https://site.example/é/ü",
    f"https://site.example/{'ab/c-' * 1000}",
]
HOSTILE_IDS = [
    *(
        "a,b",
        "a]b",
        " x ",
        "a`b",
        "a\\",
        "é",
        "n\nl",
        'q"',
        "&&x",
        "(x",
        "x:=y",
        "%2F",
        "a/b",
        "?q#f",
    ),
    *(
        "..x",
        "``x,`y",
        "{!term f=id v=$v1}",
        '"}}\n{"delete":{"_id":"plain"}}',
        "*",
        "$v0",
        "${q}",
        "a${vt0}b",
    ),
    "z" * 500,
]


class Bench(Protocol):
    """An engine with documents."""

    def put(self, documents: Mapping[str, str], **more: Any) -> None: ...  # noqa: ANN401 - fields

    def marks(self) -> dict[str, list[str]]:
        """Return what hides each hidden document."""

    def table(self) -> dict[str, Any]: ...


class TypesenseBench:
    def __init__(self, folder: Path) -> None:
        self._separators = list("/.:-_?=&%,;'()[]{}|*$")
        self.collection = typesense().collection(
            {"name": "url", "type": "string"}, token_separators=self._separators
        )
        self.secret = folder / "secret"
        self.secret.write_text(API_KEY)

    def put(self, documents: Mapping[str, str], **more: Any) -> None:  # noqa: ANN401 - fields
        entries = [{"id": name, "url": url, **more} for name, url in documents.items()]
        typesense().put(self.collection, entries)

    def marks(self) -> dict[str, list[str]]:
        found = typesense().export(self.collection)
        return {
            entry["id"]: entry["delist_record"] for entry in found if entry.get("delist_hidden")
        }

    def table(self) -> dict[str, Any]:
        return {
            "type": "typesense",
            "url": f"http://127.0.0.1:{typesense().port}",
            "collection": self.collection,
            "api_key_file": str(self.secret),
        }


class TantivyBench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "index"
        self.index = tantivy.make_index(self.folder, "url")

    def put(self, documents: Mapping[str, str], **more: Any) -> None:  # noqa: ANN401 - fields
        entries = [{"id": name, "url": url, **more} for name, url in documents.items()]
        tantivy.put(self.index, entries)

    def marks(self) -> dict[str, list[str]]:
        query = engine_library.Query.term_query(self.index.schema, "delist_hidden", True)
        found = tantivy.find(self.index, query)
        return {entry["id"][0]: entry["delist_record"] for entry in found}

    def table(self) -> dict[str, Any]:
        return {"type": "tantivy", "path": str(self.folder)}


class StandIn:
    """OpenSearch or Solr, as documented."""

    def __init__(self, receiver: opensearch.Receiver | solr.Receiver, folder: Path) -> None:
        self.receiver = receiver
        receiver.reset(folder, KEY, ())
        if isinstance(receiver, opensearch.Receiver):
            receiver.mapping["properties"]["url"] = {"type": "keyword"}

    def put(self, documents: Mapping[str, str], **more: Any) -> None:  # noqa: ANN401 - fields
        for name, url in documents.items():
            self.receiver.docs[name] = {"id": name, "url": url, **more}

    def marks(self) -> dict[str, list[str]]:
        found = self.receiver.docs.items()
        return {name: entry["delist_record"] for name, entry in found if entry.get("delist_hidden")}

    def table(self) -> dict[str, Any]:
        table = self.receiver.settings()
        del table["match_by"], table["match_field"]
        return table


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[dict[str, opensearch.Receiver | solr.Receiver]]:
    with opensearch.Receiver() as one, solr.Receiver() as other:
        yield {"opensearch": one, "solr": other}


Make = Callable[[str], Bench]


@pytest.fixture
def make(tmp_path: Path, stand_ins: Mapping[str, Any]) -> Make:
    real = {"typesense": TypesenseBench, "tantivy": TantivyBench}

    def make_one(kind: str) -> Bench:
        return real[kind](tmp_path) if kind in real else StandIn(stand_ins[kind], tmp_path)  # type: ignore[no-any-return]

    return make_one


KINDS = ("typesense", "tantivy", "opensearch", "solr")
BY_URL = {"match_by": "url", "match_field": "url"}


_OPENED: list[Sink] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


def sink_of(bench: Bench, **settings: Any) -> Sink:  # noqa: ANN401 - TOML
    """Open a sink; it is closed after the test."""
    table = bench.table() | settings
    kind = table.pop("type")
    read = read_sink(SinkTable(name="engine", kind=kind, values=table, base_dir=Path("/")))
    _OPENED.append(read.open_sink(read.settings, Place(name="engine", data_dir=Path("/"), key=KEY)))
    return _OPENED[-1]


class Ledger:
    """Writes instructions, in order."""

    def __init__(self) -> None:
        self.sequence = 0

    def say(
        self,
        url: str = URL,
        *,
        because: str = "",
        document: str = "",
        **more: Any,  # noqa: ANN401
    ) -> Instruction:
        self.sequence += 1
        values: dict[str, Any] = {
            "id": because or f"r{self.sequence}",
            "scope": Scope.IMAGE,
            "suppressed": bool(because),
        }
        return Instruction(
            sequence=self.sequence,
            because=because,
            document_id=document,
            url_key=KEY.of_canonical(url),
            record_url=url,
            effective_at=datetime(2026, 3, 1, tzinfo=UTC),
            **(values | more),
        )


@pytest.fixture
def told() -> Ledger:
    return Ledger()


def held_by(sink: Sink) -> list[Held]:
    return sorted(cast("Inspectable", sink).held(), key=lambda entry: entry.document)


def trouble(sink: Sink, batch: Sequence[Instruction]) -> str:
    with pytest.raises(SinkError) as caught:
        sink.deliver(batch)
    assert "site.example" not in f"{caught.value!r}{caught.value}{caught.value.__context__!r}"
    return caught.value.code


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_addresses_and_ids_hide_what_they_name_and_nothing_else(
    kind: str, make: Make, told: Ledger
) -> None:
    """No sign leaves its value: neither in a filter, nor in a body, nor in a path."""
    bench = make(kind)
    pages = {f"page{number}": url for number, url in enumerate(HOSTILE_URLS)}
    others = {f"other{number}": url + "x" for number, url in enumerate(HOSTILE_URLS)}
    ids = dict.fromkeys(HOSTILE_IDS, "https://other.example/")
    bench.put(pages | others | ids | {"plain": "https://plain.example/"})
    findable = dict(pages)
    if (
        kind == "typesense"
    ):  # a backtick or backslash cannot be in a filter; no canonical URL has one
        del findable["page1"]

    by_url, by_id = sink_of(bench, **BY_URL), sink_of(bench)
    refused = by_url.deliver([told.say(url, because="r1") for url in HOSTILE_URLS])
    assert list(refused.values()) == ["too_long_for_engine"] * (len(pages) - len(findable))
    assert bench.marks() == {name: ["r1"] for name in findable}

    assert by_id.deliver([told.say(because=f"i{n}", document=d) for n, d in enumerate(ids)]) == {}
    assert bench.marks().keys() == findable.keys() | ids.keys()
    assert {entry.document for entry in held_by(by_id)} == findable.keys() | ids.keys()

    by_url.deliver([told.say(url) for url in HOSTILE_URLS])
    by_id.deliver([told.say(document=name, supersedes=f"i{n}") for n, name in enumerate(ids)])
    assert bench.marks() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_is_shown_when_the_last_that_hides_it_has_ended(
    kind: str, make: Make, told: Ledger
) -> None:
    """Aliases of an address share the engine's document: the end of one does not show it."""
    bench = make(kind)
    bench.put({"shared": URL})
    sink = sink_of(bench)
    alias = "https://www.site.example/a.jpg"
    batch = [
        told.say(because="r1", document="shared"),
        told.say(alias, because="r2", document="shared"),
    ]
    sink.deliver(batch)
    sink.deliver([told.say(alias, document="shared", supersedes="r2")])
    assert bench.marks() == {"shared": ["r1"]}

    later = [
        told.say(because="r3", document="shared", supersedes="r1"),
        told.say(alias, because="r4", document="shared"),
        told.say(document="shared", supersedes="r3"),
    ]
    sink.deliver(later)
    sink.deliver(later)
    assert bench.marks() == {"shared": ["r4"]}
    assert held_by(sink) == [Held(document="shared", record_id="r4")]
    sink.deliver([told.say("", erased=True, scope=None, supersedes="r4")])
    assert bench.marks() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_found_is_named_and_what_is_not_there_is_no_failure(
    kind: str, make: Make, told: Ledger
) -> None:
    """A record without a document id, one too long to be looked up: set aside, not forgotten."""
    bench = make(kind)
    bench.put({"page": URL, "other": "https://other.example/"})
    by_id, by_url = sink_of(bench), sink_of(bench, **BY_URL)
    batch = [
        told.say(because="r1"),
        told.say("https://gone.example/", because="r2", document="gone"),
        told.say("https://other.example/", because="r3", document="other"),
        told.say(),
    ]
    assert by_id.deliver(batch[:3]) == {batch[0].sequence: "no_document_id"}

    # It is not asked for any more once the end of it has come, too; nor once the engine has
    # given the document an id.
    assert by_id.deliver([batch[0], batch[3]]) == {}
    known = told.say(because="r6", document="page", supersedes="r1")
    assert by_id.deliver([batch[0], known]) == {}
    assert bench.marks().pop("page") == ["r6"]
    assert by_id.deliver([told.say(document="page", supersedes="r6")]) == {}
    word = told.say(f"https://site.example/{'z' * 70_000}", because="r4")
    missing = told.say("https://missing.example/", because="r5")
    assert by_url.deliver([word, missing]) == {word.sequence: "too_long_for_engine"}
    assert bench.marks() == {"other": ["r3"]}


def test_a_scope_that_an_index_does_not_obey_hides_nothing(make: Make, told: Ledger) -> None:
    """An index of pages obeys records about pages; the end of the last record it always obeys."""
    bench = make("tantivy")
    bench.put({"page": URL})
    sink = sink_of(bench, scopes=["page"], **BY_URL)
    sink.deliver([told.say(because="r1")])
    assert bench.marks() == {}
    sink.deliver([told.say(because="r2", scope=Scope.PAGE)])
    assert bench.marks() == {"page": ["r2"]}
    sink.deliver([told.say()])
    assert bench.marks() == {}


@pytest.mark.parametrize("kind", ["typesense", "opensearch", "solr"])
def test_all_documents_of_an_address_are_found(kind: str, make: Make, told: Ledger) -> None:
    """However many there are: pages of results are followed to the end."""
    bench = make(kind)
    names = {f"page{number}": URL for number in range(2_300)}
    bench.put(names | {"case": URL.replace("a.jpg", "A.jpg")})
    sink = sink_of(bench, timeout_s=30.0, **BY_URL)
    sink.deliver([told.say(because="r1")])
    assert bench.marks().keys() == names.keys()
    assert len(held_by(sink)) == 2_300
    cast("Inspectable", sink).lift(sorted(names))
    assert bench.marks() == {}


def test_tantivy_keeps_every_field_as_it_was(tmp_path: Path, told: Ledger) -> None:
    """What is added again has the same values of the same types, and is found by them."""
    folder = tmp_path / "index"
    builder = engine_library.SchemaBuilder()
    for name in ("id", "delist_record"):
        builder.add_text_field(name, stored=True, tokenizer_name="raw")
    builder.add_text_field("title", stored=True, tokenizer_name="en_stem")
    builder.add_boolean_field("delist_hidden", stored=True, indexed=True)
    builder.add_integer_field("number", stored=True, indexed=True)
    builder.add_unsigned_field("large", stored=True, indexed=True)
    builder.add_float_field("weight", stored=True, indexed=True)
    builder.add_date_field("day", stored=True, indexed=True)
    builder.add_json_field("facts", stored=True)
    builder.add_bytes_field("bytes", stored=True, indexed=True)
    builder.add_ip_addr_field("address", stored=True, indexed=True)
    folder.mkdir()
    index = engine_library.Index(builder.build(), path=str(folder))
    entry = {
        "id": ["one"],
        "title": ["sunny days", "and nights"],
        "number": [-3],
        "large": [2**64 - 1],
        "weight": [2.0],
        "day": [datetime(2020, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)],
        "facts": [{"a": [1, 2.0, {"x": None}]}],
        "bytes": [b"\0\1"],
        "address": ["::1"],
    }
    tantivy.put(index, [entry, entry | {"title": ["a second of the same id"]}])
    bench = TantivyBench.__new__(TantivyBench)
    bench.folder, bench.index = folder, index

    sink = sink_of(bench)
    assert sink.deliver([told.say(because="r1", document="one")]) == {}
    found = tantivy.find(index, index.parse_query("day", ["title"]))
    assert found == [entry | {"delist_hidden": [True], "delist_record": ["r1"]}]
    for name in ("number", "large", "weight", "bytes", "address"):
        term = engine_library.Query.term_query(index.schema, name, entry[name][0])
        assert len(tantivy.find(index, term)) == 2, name
    sink.deliver([told.say(document="one", supersedes="r1")])
    assert tantivy.find(index, index.parse_query("night", ["title"])) == [
        entry | {"delist_hidden": [False]}
    ]


def test_an_index_that_cannot_be_marked_says_why(tmp_path: Path, told: Ledger) -> None:
    """A field that is not stored would be lost: nothing is touched, and the message names it."""
    batch = [told.say(because="r1", document="one")]
    bench = TantivyBench(tmp_path)
    folder = tmp_path / "lossy"
    builder = engine_library.SchemaBuilder()
    builder.add_text_field("body", stored=False)
    folder.mkdir()
    engine_library.Index(builder.build(), path=str(folder))

    assert trouble(sink_of(bench, path=str(folder)), batch) == "fields_not_stored"
    assert trouble(sink_of(bench, path=str(tmp_path / "none")), batch) == "index_unusable"
    assert trouble(sink_of(bench, hidden_field="gone"), batch) == "wrong_schema"
    assert trouble(sink_of(bench, match_by="url", match_field="title"), batch) == "wrong_schema"
    bench.put({"one": URL})
    writer = bench.index.writer(20_000_000, 1)
    assert trouble(sink_of(bench), batch) == "locked"
    writer.wait_merging_threads()
    assert sink_of(bench).deliver(batch) == {}


def test_typesense_is_asked_for_the_fields_it_needs(tmp_path: Path, told: Ledger) -> None:
    """A wrong key, a collection that is not there, a field of another type: each has its name."""
    bench = TypesenseBench(tmp_path)
    batch = [told.say(because="r1", document="one")]
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    plain = typesense().collection()
    assert trouble(sink_of(bench, api_key_file=str(wrong)), batch) == "not_allowed"
    assert trouble(sink_of(bench, collection="none"), batch) == "not_found"
    assert trouble(sink_of(bench, record_field="title"), batch) == "wrong_schema"
    assert trouble(sink_of(bench, collection=plain, **BY_URL), batch) == "wrong_schema"


def test_opensearch_items_are_read_one_by_one(
    make: Make, stand_ins: Mapping[str, Any], told: Ledger, tmp_path: Path
) -> None:
    """The answer is 200 whatever became of the items; routing is kept, scrolls are cleared."""
    bench, receiver = make("opensearch"), stand_ins["opensearch"]
    bench.put({"one": URL, "two": "https://site.example/b.jpg", POISON_ID: "https://p.example/"})
    receiver.routing["two"] = "a place"
    sink = sink_of(bench, **BY_URL)
    one, two = told.say(because="r1"), told.say("https://site.example/b.jpg", because="r2")
    three = told.say("https://p.example/", because="r3")

    for status, code in ((409, "conflict"), (429, "overloaded"), (503, "overloaded")):
        receiver.statuses["two"] = [status]
        assert trouble(sink, [one, two]) == code
    receiver.statuses["one"] = [404]
    assert sink.deliver([one]) == {}
    receiver.refuse(poison=True)
    assert sink.deliver([one, two, three]) == {three.sequence: "refused"}
    assert bench.marks() == {"one": ["r1"], "two": ["r2"]}
    assert receiver.scrolls == {}

    receiver.shards_failed = 1
    assert trouble(sink, [one]) == "partial_answer"
    receiver.shards_failed = 0
    wrong = tmp_path / "wrong"
    wrong.write_text("delist:wrong")
    lacking = sink_of(bench, credentials_file=str(wrong), **BY_URL)
    assert trouble(lacking, [one]) == "not_allowed"


def test_opensearch_mappings_that_would_miss_are_refused(
    make: Make, stand_ins: Mapping[str, Any], told: Ledger
) -> None:
    """Analysed text, a normalizer, ignore_above, several indexes; second fields are fine."""
    bench, receiver = make("opensearch"), stand_ins["opensearch"]
    bench.put({"one": URL}, page={"url": URL})
    one = told.say(because="r1")
    fields = receiver.mapping["properties"]
    for wrong in ({"type": "text"}, {"type": "keyword", "normalizer": "lowercase"}):
        fields["url"] = wrong
        assert trouble(sink_of(bench, **BY_URL), [one]) == "wrong_schema"
    fields["url"] = {"type": "keyword", "ignore_above": len(URL) - 1}
    refused = sink_of(bench, **BY_URL).deliver([one])
    assert refused == {one.sequence: "too_long_for_engine"}
    assert bench.marks() == {}
    sink_of(bench, match_by="url", match_field="page.url.raw").deliver([one])
    assert bench.marks() == {"one": ["r1"]}


def test_elasticsearch_lets_in_by_an_api_key(
    make: Make, stand_ins: Mapping[str, Any], told: Ledger, tmp_path: Path
) -> None:
    """The same wire format; the key goes into the header as the engine encoded it."""
    bench, receiver = make("opensearch"), stand_ins["opensearch"]
    bench.put({"one": URL})
    secret = tmp_path / "key"
    secret.write_text("YW4gaWQ6YSBrZXk=\n")
    table = bench.table() | {"type": "elasticsearch", "api_key_file": str(secret)}
    del table["credentials_file"]

    class Elasticsearch(StandIn):
        def table(self) -> dict[str, Any]:
            return dict(table)

    sink = sink_of(Elasticsearch.__new__(Elasticsearch), **BY_URL)
    assert trouble(sink, [told.say(because="r1")]) == "not_allowed"
    assert '"authorization": "ApiKey YW4gaWQ6YSBrZXk="' in receiver.traces()


@pytest.mark.parametrize("kind", ["opensearch", "solr"])
@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"pages": 3}', b"[" * 100_000])
def test_an_answer_that_is_none_is_trouble(
    kind: str, body: bytes, make: Make, stand_ins: Mapping[str, Any], told: Ledger
) -> None:
    """Something else answers there: nothing counts as delivered."""
    bench, receiver = make(kind), stand_ins[kind]
    receiver.status, receiver.body = 200, body
    assert trouble(sink_of(bench, **BY_URL), [told.say(because="r1")]) in {
        "not_understood",
        "several_indexes",
    }


def test_solr_updates_only_what_is_there(
    make: Make, stand_ins: Mapping[str, Any], told: Ledger
) -> None:
    """A document that goes between our finding and marking it fails the batch: the rest is sent."""
    bench, receiver = make("solr"), stand_ins["solr"]
    bench.put({"one": URL, "two": URL, "three": URL, POISON_ID: "https://p.example/"})
    sink = sink_of(bench, **BY_URL)
    receiver.before_update = lambda: receiver.docs.pop("two")
    assert sink.deliver([told.say(because="r1")]) == {}
    assert bench.marks() == {"one": ["r1"], "three": ["r1"]}

    receiver.refuse(poison=True)
    with pytest.raises(SinkRefusalError):
        sink.deliver([told.say("https://p.example/", because="r2")])


def test_solr_schemas_that_would_lose_or_miss_are_refused(
    make: Make, stand_ins: Mapping[str, Any], told: Ledger
) -> None:
    """An atomic update keeps what is stored or has doc values, and what is copied; nothing else."""
    bench, receiver = make("solr"), stand_ins["solr"]
    one = [told.say(because="r1", document="one")]
    receiver.fields.append({"name": "lost", "type": "text_general", "indexed": True})
    assert trouble(sink_of(bench), one) == "fields_not_stored"
    receiver.fields[-1]["docValues"] = True
    assert sink_of(bench).deliver(one) == {}
    assert trouble(sink_of(bench, hidden_field="gone"), one) == "wrong_schema"
    bench.put({"dynamic": "https://other.example/"}, url_s=URL)
    sink_of(bench, match_by="url", match_field="url_s").deliver(one)
    assert bench.marks() == {"dynamic": ["r1"]}
    receiver.fields[0]["tokenized"] = True
    assert trouble(sink_of(bench), one) == "wrong_schema"


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        ("typesense", {"collection": "c", "api_key_file": "k"}, "url"),
        (
            "typesense",
            {"url": "http://engine.example", "collection": "c", "api_key_file": "k"},
            "url",
        ),
        ("typesense", {"url": "https://e.example", "api_key_file": "k"}, "collection"),
        ("typesense", {"url": "https://e.example", "collection": "c"}, "api_key_file"),
        ("tantivy", {}, "path"),
        ("tantivy", {"path": "x", "match_by": "name"}, "match_by"),
        ("tantivy", {"path": "x", "match_by": "url"}, "match_field"),
        ("tantivy", {"path": "x", "match_field": "url"}, "match_field"),
        ("tantivy", {"path": "x", "hidden_field": "a b"}, "hidden_field"),
        ("tantivy", {"path": "x", "record_field": "delist_hidden"}, "record_field"),
        ("tantivy", {"path": "x", "scopes": ["pictures"]}, "scopes"),
        ("opensearch", {"url": "https://e.example", "index": "a,b"}, "index"),
        ("opensearch", {"url": "https://e.example", "index": "a", "refresh": "no"}, "refresh"),
        ("solr", {"url": "https://e.example"}, "collection"),
    ],
)
def test_settings_that_make_no_sense_are_named(
    kind: str, values: dict[str, Any], named: str
) -> None:
    """Before anything is connected to, and with the name of the key."""
    with pytest.raises(SettingsError, match=named):
        read_sink(SinkTable(name="engine", kind=kind, values=values, base_dir=Path("/")))

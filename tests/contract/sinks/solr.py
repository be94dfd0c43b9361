"""A stand-in for Solr on loopback, written after its documentation.

What it keeps of the documented behaviour: a search sees only what was committed; an update with
``_version_`` 1 of a document that is not there fails with 409, and with it all that follow; a
value of a query is what its parameter holds, once macros in it were expanded; cursors need the
unique key in the order.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from delist.consumers import ConsumerKey
from tests.contract.sinks.front import Front
from tests.contract.sinks.harness import POISON_ID, TIMEOUT_S, Capability, Document

COLLECTION = "pages"
STRING = {"type": "string", "indexed": True, "stored": True, "tokenized": False}
FIELDS: list[dict[str, Any]] = [
    {**STRING, "name": "id", "multiValued": False, "required": True, "uniqueKey": True},
    {**STRING, "name": "url_key", "multiValued": False},
    {**STRING, "name": "url", "multiValued": False},
    {**STRING, "name": "delist_record", "multiValued": True},
    {**STRING, "name": "delist_hidden", "type": "boolean", "multiValued": False},
    {"name": "_text_", "type": "text_general", "indexed": True, "stored": False},
    {"name": "body_words", "type": "text_general", "indexed": True, "stored": False},
]
_TERM = re.compile(r"\{!term f=(\w+) v=\$(\w+)\}")
_MACRO = re.compile(r"\$\{(\w+)[^}]*\}")
_ANY = re.compile(r"\{!bool( should=\$\w+)+\}")


class Receiver(Front):
    """One collection.

    Attributes:
        docs: what was written, by id.
        fields: of the schema.
        before_update: called before the next update is looked at.
    """

    kind = "solr"
    capabilities = frozenset({Capability.KEYED, Capability.REFUSES})

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        self.forget()
        self.refuse(poison=False)
        self.fields = deepcopy(FIELDS)
        self.before_update: Callable[[], object] | None = None
        self._urls = {document.id: document.url for document in documents}
        self.docs: dict[str, dict[str, Any]] = {
            entry.id: {"id": entry.id, "url_key": key.of_url(entry.url)} for entry in documents
        }
        self._seen = deepcopy(self.docs)
        self._secret = folder / "secret"
        self._secret.write_text("delist:a password\n")

    def settings(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "url": f"{self.url}/solr",
            "collection": COLLECTION,
            "credentials_file": str(self._secret),
            "match_by": "url_key",
            "match_field": "url_key",
            "timeout_s": TIMEOUT_S,
        }

    def hidden(self) -> set[str]:
        return {self._urls[name] for name, entry in self.docs.items() if entry.get("delist_hidden")}

    def received(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def refuse(self, *, poison: bool) -> None:
        self._poison = poison

    # -- what it is ------------------------------------------------------------------------------

    def respond(
        self,
        method: str,
        path: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, bytes]:
        if headers.get("authorization") != "Basic " + b64encode(b"delist:a password").decode():
            return 401, b"Unauthorized"
        status, answer = self._answer(method, path, params, headers, body)
        header = {"status": 0 if status == 200 else status, "QTime": 1}
        return status, json.dumps({"responseHeader": header, **answer}).encode()

    def _answer(
        self,
        method: str,
        path: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, dict[str, Any]]:
        match method, path:
            case "GET", ["solr", name, "schema", "fields"] if name == COLLECTION:
                assert params["showDefaults"] == "true"
                return 200, {"fields": self._listed(params.get("fl"))}
            case "GET", ["solr", name, "schema", "copyfields"] if name == COLLECTION:
                return 200, {"copyFields": [{"source": "url", "dest": "body_words"}]}
            case "POST", ["solr", name, "update"] if name == COLLECTION:
                assert headers["content-type"] == "application/json"
                if params.get("softCommit") == "true":
                    self._seen = deepcopy(self.docs)
                return self._update(json.loads(body), params)
            case "POST", ["solr", name, "select"] if name == COLLECTION:
                assert headers["content-type"] == "application/x-www-form-urlencoded"
                form = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
                assert len(dict(form)) == len(form)
                return self._select(dict(form))
        return 404, {"error": {"msg": "Not Found", "code": 404}}

    def _listed(self, chosen: str | None) -> list[dict[str, Any]]:
        if chosen is None:
            return self.fields
        names = chosen.split(",")
        dynamic = [
            {**STRING, "name": name, "dynamicBase": "*_s"} for name in names if name[-2:] == "_s"
        ]
        return [field for field in self.fields if field["name"] in names] + dynamic

    def _update(
        self, updates: list[dict[str, Any]], params: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        if not updates:
            return 200, {}
        assert int(params["commitWithin"]) > 0
        if self.before_update is not None:
            self.before_update()
            self.before_update = None
        adds: list[Any] = []
        for update in updates:
            name = update.pop("id")
            assert update.pop("_version_") == 1
            if name not in self.docs:
                text = f"version conflict for {name} expected=1 actual=-1"
                return 409, {"error": {"msg": text, "code": 409}}
            if self._poison and name == POISON_ID:
                text = f"ERROR: [doc={name}] Error adding field"
                return 400, {"error": {"metadata": [], "msg": text, "code": 400}}
            for field, change in update.items():
                ((what, value),) = change.items()
                assert what == "set"
                self.docs[name][field] = value
                if value == []:
                    del self.docs[name][field]
            adds += [name, 1_850_000_000_000_000_000 + len(self.requests)]
        return 200, {"adds": adds} if params.get("versions") == "true" else {}

    def _select(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("expandMacros") != "false":
            form = {key: _MACRO.sub(lambda m: form.get(m[1], ""), form[key]) for key in form}
        assert _ANY.fullmatch(form["q"]), form["q"]
        assert form["sort"] == "id asc"
        found: set[str] = set()
        for name in re.findall(r"\$(\w+)", form["q"]):
            term = _TERM.fullmatch(form[name])
            assert term
            field, value = term[1], form[term[2]]
            found |= {name for name in self._seen if value in self._values(name, field)}
        after = form["cursorMark"]
        names = [name for name in sorted(found) if after == "*" or name > after.removeprefix("at ")]
        page = names[: int(form["rows"])]
        fields = form["fl"].split(",")
        docs = [
            {field: value for field, value in self._seen[name].items() if field in fields}
            for name in page
        ]
        return 200, {
            "response": {"numFound": len(found), "start": 0, "docs": docs},
            "nextCursorMark": f"at {page[-1]}" if page else after,
        }

    def _values(self, name: str, field: str) -> list[str]:
        value = self._seen[name].get(field, [])
        values = value if isinstance(value, list) else [value]
        return [str(entry).lower() if isinstance(entry, bool) else entry for entry in values]

"""A stand-in for OpenSearch on loopback, written after its documentation.

What it keeps of the documented behaviour: a search sees only what was refreshed; bulk bodies are
lines of JSON with an end of line after the last, and each item has a status of its own; searches
go on with a scroll, which is to be cleared; fields come as doc values.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from delist.consumers import ConsumerKey
from tests.contract.sinks.front import Front
from tests.contract.sinks.harness import POISON_ID, TIMEOUT_S, Capability, Document

INDEX = "pages"
KEYWORD = {"type": "keyword"}
PROPERTIES: dict[str, Any] = {
    "url_key": KEYWORD,
    "page": {"properties": {"url": {"type": "text", "fields": {"raw": KEYWORD}}}},
    "delist_hidden": {"type": "boolean"},
    "delist_record": KEYWORD,
}


class Receiver(Front):
    """One index.

    Attributes:
        docs: what was written, by id: the source.
        statuses: of the next items of a bulk, for each id; then it is taken.
        mapping: of the index.
        scrolls: searches that were not cleared.
        shards_failed: of every search from now on.
    """

    kind = "opensearch"
    capabilities = frozenset({Capability.KEYED, Capability.REFUSES})

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        self.forget()
        self.refuse(poison=False)
        self.mapping: dict[str, Any] = {"properties": deepcopy(PROPERTIES)}
        self.statuses: dict[str, list[int]] = {}
        self.routing: dict[str, str] = {}
        self.scrolls: dict[str, list[dict[str, Any]]] = {}
        self.shards_failed = 0
        self._urls = {document.id: document.url for document in documents}
        self.docs: dict[str, dict[str, Any]] = {
            entry.id: {"url_key": key.of_url(entry.url)} for entry in documents
        }
        self._seen = deepcopy(self.docs)
        self._secret = folder / "secret"
        self._write_secret()

    def settings(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "url": self.url,
            "index": INDEX,
            "match_by": "url_key",
            "match_field": "url_key",
            "timeout_s": TIMEOUT_S,
            **self._credentials(),
        }

    def hidden(self) -> set[str]:
        return {
            self._urls[name] for name, entry in self._seen.items() if entry.get("delist_hidden")
        }

    def received(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def refuse(self, *, poison: bool) -> None:
        self._poison = poison

    # -- what it is ------------------------------------------------------------------------------

    def _write_secret(self) -> None:
        self._secret.write_text("delist:a password\n")

    def _credentials(self) -> dict[str, Any]:
        return {"credentials_file": str(self._secret)}

    def _lets_in(self, authorization: str) -> bool:
        return authorization == "Basic " + b64encode(b"delist:a password").decode()

    def respond(
        self,
        method: str,
        path: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, bytes]:
        if not self._lets_in(headers.get("authorization", "")):
            return 401, b"Unauthorized"
        status, answer = self._answer(method, path, params, headers, body)
        return status, json.dumps(answer).encode()

    def _answer(
        self,
        method: str,
        path: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, dict[str, Any]]:
        match method, path:
            case "GET", [name, "_mapping"] if name == INDEX:
                return 200, {INDEX: {"mappings": self.mapping}}
            case "POST", [name, "_refresh"] if name == INDEX:
                self._seen = deepcopy(self.docs)
                return 200, {"_shards": {"total": 2, "successful": 1, "failed": 0}}
            case "POST", [name, "_search"] if name == INDEX:
                return 200, self._search(json.loads(body), params.get("scroll", ""))
            case "POST", ["_search", "scroll"]:
                asked = json.loads(body)
                assert asked["scroll"]
                return 200, self._page(asked["scroll_id"], 1000)
            case "DELETE", ["_search", "scroll"]:
                del self.scrolls[json.loads(body)["scroll_id"]]
                return 200, {"succeeded": True, "num_freed": 1}
            case "POST", [name, "_bulk"] if name == INDEX:
                return self._bulk(params, headers, body)
        return 404, {"error": {"type": "index_not_found_exception"}, "status": 404}

    def _search(self, asked: dict[str, Any], scroll: str) -> dict[str, Any]:
        assert scroll
        assert asked["_source"] is False
        ((kind, query),) = asked["query"].items()
        if kind == "ids":
            found = {name for name in query["values"] if name in self._seen}
        else:
            ((field, wanted),) = query.items()
            terms = wanted if kind == "terms" else [wanted]
            found = {name for name in self._seen if not self._values(name, field).isdisjoint(terms)}
        hits = [self._hit(name, asked["docvalue_fields"]) for name in sorted(found)]
        number = f"scroll{len(self.requests)}"
        self.scrolls[number] = hits
        return self._page(number, asked["size"])

    def _values(self, name: str, field: str) -> set[Any]:
        value: Any = self._seen[name]
        for step in field.removesuffix(".raw").split("."):
            value = value.get(step, []) if isinstance(value, dict) else []
        return set(value) if isinstance(value, list) else {value}

    def _hit(self, name: str, fields: Sequence[str]) -> dict[str, Any]:
        values = {field: sorted(self._values(name, field)) for field in fields}
        hit: dict[str, Any] = {
            "_index": INDEX,
            "_id": name,
            "_score": None,
            "fields": {field: found for field, found in values.items() if found},
        }
        return {**hit, "_routing": self.routing[name]} if name in self.routing else hit

    def _page(self, number: str, size: int) -> dict[str, Any]:
        hits, self.scrolls[number] = self.scrolls[number][:size], self.scrolls[number][size:]
        return {
            "_scroll_id": number,
            "took": 1,
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "failed": self.shards_failed},
            "hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits},
        }

    def _bulk(
        self, params: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if headers["content-type"] != "application/x-ndjson":
            return 406, {"error": "Content-Type header is not supported", "status": 406}
        if not body.endswith(b"\n"):
            reason = "The bulk request must be terminated by a newline [\\n]"
            return 400, {"error": {"type": "illegal_argument_exception", "reason": reason}}
        lines = [json.loads(line) for line in body.split(b"\n")[:-1]]
        items = [
            self._update(action["update"], update["doc"])
            for action, update in zip(lines[::2], lines[1::2], strict=True)
        ]
        if params["refresh"] in {"true", "wait_for"}:
            self._seen = deepcopy(self.docs)
        errors = any(item["status"] >= 300 for item in items)
        return 200, {
            "took": 1,
            "errors": errors,
            "items": [{"update": {"_index": INDEX, **item}} for item in items],
        }

    def _update(self, action: dict[str, Any], doc: dict[str, Any]) -> dict[str, Any]:
        name = action["_id"]
        if name not in self.docs or action.get("routing") != self.routing.get(name):
            kind, status = "document_missing_exception", 404
        elif self._poison and name == POISON_ID:
            kind, status = "mapper_parsing_exception", 400
        elif self.statuses.get(name):
            kind, status = "some_exception", self.statuses[name].pop(0)
        else:
            self.docs[name] |= doc
            return {"_id": name, "result": "updated", "status": 200}
        return {"_id": name, "status": status, "error": {"type": kind, "reason": f"[{name}]"}}

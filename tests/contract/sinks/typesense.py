"""A real Typesense, behind a server that passes requests on and can misbehave."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from delist.consumers import ConsumerKey
from tests.contract.sinks.front import Front
from tests.contract.sinks.harness import TIMEOUT_S, Capability, Document
from tests.fakes.typesense import API_KEY, typesense


class Receiver(Front):
    """A collection of pages, each with the key of its address."""

    kind = "typesense"
    capabilities = frozenset({Capability.KEYED})

    def __enter__(self) -> Self:
        typesense()
        return super().__enter__()

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        self.forget()
        self._urls = {document.id: document.url for document in documents}
        self.collection = typesense().collection({"name": "url_key", "type": "string"})
        typesense().put(
            self.collection,
            [{"id": document.id, "url_key": key.of_url(document.url)} for document in documents],
        )
        self._key_file = folder / "api-key"
        self._key_file.write_text(API_KEY)

    def settings(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "url": self.url,
            "collection": self.collection,
            "api_key_file": str(self._key_file),
            "match_by": "url_key",
            "match_field": "url_key",
            "timeout_s": TIMEOUT_S,
        }

    def hidden(self) -> set[str]:
        found = typesense().export(self.collection)
        return {self._urls[entry["id"]] for entry in found if entry.get("delist_hidden")}

    def received(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def refuse(self, *, poison: bool) -> None:
        raise NotImplementedError

    def respond(
        self,
        method: str,
        path: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, bytes]:
        answer = typesense().client.request(
            method,
            "/" + "/".join(path),
            params=params,
            content=body,
            headers={
                "X-TYPESENSE-API-KEY": headers["x-typesense-api-key"],
                "Content-Type": headers["content-type"],
            },
        )
        return answer.status_code, answer.content

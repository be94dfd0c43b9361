"""The pages that there are: who may see them, and that no form is without its guard."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from delist.web.people.guards import SignOnGuard, form_guard, strict_form_guard
from tests.fakes.web import Web, opened

ROOT = Path(__file__).parents[2]
SAFE = {"GET", "HEAD"}
LOOKS_ITSELF = {"/logout"}
"""Asks for the person, and the form of whoever has signed on, in its own code."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with opened(tmp_path_factory.mktemp("pages") / "data") as web:
        yield web


def asked_of(dependant: Dependant) -> Iterator[object]:
    """Iterate over what a route depends on, and what that depends on."""
    for inner in dependant.dependencies:
        yield inner.call
        yield from asked_of(inner)


def pages(app: FastAPI) -> Iterator[tuple[str, set[str], set[object]]]:
    """Iterate over path, methods and dependencies of all that is no part of the API."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and not route.include_in_schema:
            methods = set(route.methods or ())
            yield str(route.path), methods, set(asked_of(route.original_route.dependant))


def who(asked: set[object]) -> str:
    guards = [guard for guard in asked if isinstance(guard, SignOnGuard)]
    if not guards:
        return "anybody"
    # Several guards are all asked; the one with the fewest roles says who passes.
    roles = min((guard.roles for guard in guards), key=lambda roles: len(roles) or 9)
    return ", ".join(f"`{role}`" for role in roles) or "who has signed on"


def test_no_form_is_without_its_guard(web: Web) -> None:
    """What changes something asks who it is, or at least where the form comes from."""
    guards = {form_guard, strict_form_guard}
    for path, methods, asked in pages(web.app):
        if methods <= SAFE or path in LOOKS_ITSELF:
            continue
        assert guards & asked or any(isinstance(one, SignOnGuard) for one in asked), path


def test_the_console_is_for_people_who_have_signed_on(web: Web) -> None:
    """Every path below /console and /me wants a person."""
    for path, _, asked in pages(web.app):
        if path.split("/")[1] in {"console", "me"}:
            assert any(isinstance(one, SignOnGuard) for one in asked), path


def test_the_table_of_the_security_page_lists_all_pages(web: Web) -> None:
    """docs/security.md says of every page who may see it, and names no other."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(/\S*)` \| ([A-Z, ]+) \| ([^|]*) \|", text, re.MULTILINE)
    listed = {
        (path, method.strip()): told.strip()
        for path, methods, told in rows
        for method in methods.split(",")
    }
    found = {
        (path, method): who(asked)
        for path, methods, asked in pages(web.app)
        for method in methods - {"HEAD"}
    }

    assert listed == found

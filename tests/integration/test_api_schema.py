"""schemathesis over the OpenAPI document: what it says is what the app does."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.fakes.delisting import digest_of, image_near
from tests.fakes.web import EVERYTHING, Web, opened

NEAR = digest_of("near")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("schema") / "data"
    with opened(folder, requests_per_s=10_000, checks_per_day=1_000_000, wait_s=0.01) as found:
        found.world.offer(NEAR)
        found.world.visit("https://site.example/a.jpg", image_near({NEAR: 25}))
        found.world.take_in()
        found.world.delist.sinks.followers.add("engine", actor="operator")
        yield found


BOUNDED = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
ELSEWHERE = "/v1/appeals/{appeal_id}/prove"
"""Fetches from other sites."""


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_route_does_what_the_document_says(web: Web, mode: GenerationMode) -> None:
    """No 500, no status or shape that is not described, nothing accepted that should not be."""
    headers = web.headers(*EVERYTHING, name="engine")
    schema = schemathesis.openapi.from_asgi("/openapi.json", web.app)
    operations = [found.ok() for found in schema.get_all_operations()]
    tried = sum(
        sent_to(operation, mode, headers) for operation in operations if operation.path != ELSEWHERE
    )

    assert tried > 50


def sent_to(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> int:  # noqa: ANN401 - of schemathesis
    """Send what schemathesis makes up for one route; returns how many that were."""
    # No document says which bytes are an image, and which text is one of its addresses.
    left_out = [positive_data_acceptance] if "/images/" in operation.path else []
    tried = 0

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        nonlocal tried
        tried += 1
        case.call_and_validate(headers=headers, excluded_checks=left_out)

    with suppress(Unsatisfiable):  # a route to which nothing wrong can be sent
        check()
    return tried

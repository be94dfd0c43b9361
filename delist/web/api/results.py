"""Which results must not be shown: what result pages ask."""

from fastapi import APIRouter, Request
from pydantic import Field

from delist.serving import SuppressionFilter
from delist.web.api.shapes import Given, Told, Url, answers, metrics_of
from delist.web.tokens import ServeCaller

_MOST_URLS = 1_000

router = APIRouter(tags=["results"])


class Urls(Given):
    """Addresses of images of one result page, or of several."""

    urls: list[Url] = Field(min_length=1, max_length=_MOST_URLS)


class Suppressed(Told):
    """One answer for each address, in the order in which they were sent."""

    suppressed: list[bool]


@router.post("/v1/suppressed", responses=answers(400, 408, 413, 422))
def are_suppressed(request: Request, _caller: ServeCaller, given: Urls) -> Suppressed:
    """Say of each address whether its result is suppressed; of no address of ours: no."""
    results = request.app.state.results
    assert isinstance(results, SuppressionFilter)  # noqa: S101 - set by create_app
    metrics_of(request).lookups.labels("address").inc(len(given.urls))
    return Suppressed(suppressed=results.suppressed(given.urls).tolist())

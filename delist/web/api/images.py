"""Hashing, checking and indexing images. Bytes are in memory until the answer, and nowhere else.

What a check answers: whether something matches, and to those who review also what and how
closely. A distance would tell whoever edits an image how far there is still to go.
"""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from delist.tokens import ApiToken, TokenScope
from delist.web.api import uploads
from delist.web.api.shapes import Given, Told, answers, delist_of, metrics_of, pool_of
from delist.web.problems import Problem
from delist.web.tokens import IndexCaller
from indexer.errors import ImageRefusedError, InvalidUrlError
from indexer.match import parse_digest, parse_md5
from indexer.model import MD5_BYTES, HashedImage, Match
from indexer.url import canonical_url

HASH, CHECK, CHECK_BATCH = "/v1/images/hash", "/v1/images/check", "/v1/images/check-batch"
INDEX = "/v1/images/index"
_MOST_DIGESTS, _MOST_PAGES, _MOST_URL, _MOST_ID = 1_000, 1_000, 8_000, 1_000
_DIGEST = r"^([0-9A-Fa-f]{64}|[0-9A-Fa-f]{32})$"

router = APIRouter(tags=["images"])


class Hash(Told):
    """One hash."""

    hasher: str
    variant: str
    digest: str = Field(description="Hex: 64 digits of PDQ, 32 of a video's MD5.")


class Hashes(Told):
    """All hashes of one image or video."""

    sha256: str
    mime: str
    width: int
    height: int
    quality: int = Field(description="0-100; below 50 the hashes say little.")
    incomplete: str | None = Field(description="Why not all of it was hashed, or null.")
    hashes: list[Hash]


class Found(Told):
    """One signal that matches; for those who review."""

    feed: str
    signal: str
    distance_bits: int
    hasher: str | None
    variant: str | None


class Checked(Told):
    """Whether one image or digest matches a signal.

    `matched` is null where it was not hashed: never take that for no.
    """

    matched: bool | None
    refusal: str | None = Field(default=None, description="Why it was not hashed, or null.")
    matches: list[Found] | None = Field(
        default=None, description="Null unless the token also reviews."
    )


class CheckedBatch(Told):
    """One answer for each, in the order in which they were sent."""

    results: list[Checked]


class Digests(Given):
    """Digests to be checked."""

    digests: list[str] = Field(
        min_length=1,
        max_length=_MOST_DIGESTS,
        json_schema_extra={"items": {"type": "string", "pattern": _DIGEST}},
    )


class Indexed(Told):
    """An image that was stored and matched."""

    matched: bool


@router.post(HASH, openapi_extra=uploads.RAW_BODY, responses=answers(408, 413, 415, 422))
async def hash_image(request: Request, _caller: IndexCaller) -> Hashes:
    """Hash an image or a video; nothing is stored, nothing is looked up."""
    data = await uploads.raw_image(request)
    hashed = await pool_of(request).run(delist_of(request).indexer.hash_image, data)
    return Hashes(
        sha256=hashed.sha256.hex(),
        mime=hashed.mime,
        width=hashed.width,
        height=hashed.height,
        quality=hashed.quality,
        incomplete=None if hashed.incomplete is None else hashed.incomplete.value,
        hashes=[
            Hash(hasher=entry.hasher.value, variant=entry.variant, digest=entry.digest.hex())
            for entry in hashed.hashes
        ],
    )


@router.post(CHECK, openapi_extra=uploads.RAW_BODY, responses=answers(408, 413, 415, 422))
async def check_image(request: Request, caller: IndexCaller) -> Checked:
    """Hash an image or a video and look it up; nothing is stored, the check is on record."""
    data = await uploads.raw_image(request)
    hashed = await pool_of(request).run(delist_of(request).indexer.hash_image, data)
    await _spend(request, caller, 1)
    return await _look_up(request, caller, hashed)


_IMAGES = {"type": "array", "items": uploads.BINARY, "minItems": 1, "maxItems": uploads.MOST_IMAGES}


@router.post(
    CHECK_BATCH,
    openapi_extra=uploads.form_body({"images": _IMAGES}, ["images"]),
    responses=answers(408, 413, 415, 422),
)
async def check_images(request: Request, caller: IndexCaller) -> CheckedBatch:
    """Hash and look up several images; one that is refused does not hold up the rest."""
    form = await uploads.form(
        request, files="images", most_files=uploads.MOST_IMAGES, known=frozenset()
    )
    await _spend(request, caller, len(form.images))
    results: list[Checked] = []
    for data in form.images:
        try:
            hashed = await pool_of(request).run(delist_of(request).indexer.hash_image, data)
        except ImageRefusedError as error:
            results.append(Checked(matched=None, refusal=error.code.value))
        else:
            results.append(await _look_up(request, caller, hashed))
    return CheckedBatch(results=results)


@router.post("/v1/digests/check", responses=answers(400, 408, 413, 422))
def check_digests(request: Request, caller: IndexCaller, given: Digests) -> CheckedBatch:
    """Look digests up: 64 hex digits of PDQ, 32 of a video's MD5. The check is on record."""
    delist = delist_of(request)
    digests = [
        parse_md5(text) if len(text) == 2 * MD5_BYTES else parse_digest(text)
        for text in given.digests
    ]
    delist.tokens.spend_checks(caller, len(digests), most=delist.settings.web.checks_per_day)
    indexer = delist.indexer
    metrics_of(request).lookups.labels("digest").inc(len(digests))
    md5s = iter(indexer.match_md5s([d for d in digests if len(d) == MD5_BYTES]))
    pdqs = iter(indexer.match_digest_list([d for d in digests if len(d) != MD5_BYTES]))
    found = [next(md5s if len(digest) == MD5_BYTES else pdqs) for digest in digests]
    return CheckedBatch(results=[_checked(caller, matches) for matches in found])


_URL = {"type": "string", "format": "uri", "maxLength": _MOST_URL}
_VISIT = {
    "image": uploads.BINARY,
    "image_url": _URL,
    "page_urls": {"type": "array", "items": _URL, "maxItems": _MOST_PAGES},
    "document_id": {"type": "string", "minLength": 1, "maxLength": _MOST_ID},
}


@router.post(
    INDEX,
    openapi_extra=uploads.form_body(_VISIT, ["image", "image_url"]),
    responses=answers(408, 413, 415, 422),
)
async def index_image(request: Request, _caller: IndexCaller) -> Indexed:
    """Hash an image, store its hashes under its address and match it; durable with the answer."""
    known = frozenset(_VISIT) - {"image"}
    form = await uploads.form(request, files="image", most_files=1, known=known)
    image_url, document_id = _one(form, "image_url"), _one(form, "document_id")
    pages = form.fields["page_urls"]
    if image_url is None or len(pages) > _MOST_PAGES:
        raise Problem(422, "invalid_form", "one image_url is needed, and at most 1000 page_urls")
    for url in (image_url, *pages):
        _check_url(url)
    indexer = delist_of(request).indexer
    matches = await pool_of(request).run(
        indexer.index_image,
        form.images[0],
        image_url=image_url,
        page_urls=pages,
        document_id=document_id,
    )
    metrics_of(request).lookups.labels("image").inc()
    return Indexed(matched=bool(matches))


def _one(form: uploads.Form, name: str) -> str | None:
    given = form.fields[name]
    most = _MOST_ID if name == "document_id" else _MOST_URL
    if len(given) > 1 or any(not 0 < len(text) <= most or "\0" in text for text in given):
        raise Problem(422, "invalid_form", f"{name}: one text of at most {most} characters")
    return given[0] if given else None


def _check_url(url: str) -> None:
    """Refuse before hashing what would be refused after it."""
    if len(url) > _MOST_URL:
        raise InvalidUrlError(f"an address of at most {_MOST_URL} characters is needed")
    canonical_url(url)


async def _spend(request: Request, caller: ApiToken, number: int) -> None:
    delist = delist_of(request)
    most = delist.settings.web.checks_per_day
    await run_in_threadpool(delist.tokens.spend_checks, caller, number, most=most)


async def _look_up(request: Request, caller: ApiToken, hashed: HashedImage) -> Checked:
    matches = await pool_of(request).run(delist_of(request).indexer.match, hashed)
    metrics_of(request).lookups.labels("image").inc()
    return _checked(caller, matches)


def _checked(caller: ApiToken, matches: Sequence[Match]) -> Checked:
    if TokenScope.REVIEW not in caller.scopes:
        return Checked(matched=bool(matches))
    found = [
        Found(
            feed=match.feed,
            signal=match.signal_key.hex(),
            distance_bits=match.distance_bits,
            hasher=match.hasher.value if match.hasher else None,
            variant=match.variant,
        )
        for match in matches
    ]
    return Checked(matched=bool(found), matches=found)

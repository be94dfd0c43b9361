"""Images as they are sent to us: held in memory, never on disk.

Starlette's own way of reading forms writes what is larger than a megabyte to a temporary file;
here the parser's spool never is full, since a body ends before.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from delist.web.problems import Problem

MOST_IMAGES = 64
_MOST_FIELDS = 1_200
_MOST_FIELD_BYTES = 64 * 1024
_RAW = ("image/", "video/", "application/octet-stream")
_FORM = "multipart/form-data"


class _InMemory(MultiPartParser):
    """Keeps every file in memory: no body is as large as the spool."""

    spool_max_size = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form that was read. Nothing of it shows in a ``repr``."""

    images: list[bytes] = field(repr=False)
    fields: dict[str, list[str]] = field(repr=False)


async def raw_image(request: Request) -> bytes:
    """Read a body that is one image or video.

    Raises:
        Problem: 415, it is said to be something else; or see ``Bodies``.
    """
    kind = request.headers.get("content-type", _RAW[-1]).lower()
    if not kind.startswith(_RAW):
        raise Problem(415, "wrong_media_type", "the bytes of an image are needed")
    return await request.body()


async def form(request: Request, *, files: str, most_files: int, known: frozenset[str]) -> Form:
    """Read a form.

    Args:
        files: name of the fields that are images.
        known: names of the other fields.

    Raises:
        Problem: 415 or 422, it is no form, or not this one.
    """
    if not request.headers.get("content-type", "").lower().startswith(_FORM):
        raise Problem(415, "wrong_media_type", f"{_FORM} is needed")
    parser = _InMemory(
        request.headers,
        _stream(request),
        max_files=most_files,
        max_fields=_MOST_FIELDS,
        max_part_size=_MOST_FIELD_BYTES,
    )
    try:
        read = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError, LookupError):
        raise Problem(422, "invalid_form", "the form cannot be read, or holds too much") from None
    try:
        return await _checked(read, files, known)
    finally:
        await read.close()


async def _stream(request: Request) -> AsyncGenerator[bytes]:
    async for part in request.stream():
        yield part


async def _checked(read: FormData, files: str, known: frozenset[str]) -> Form:
    images: list[bytes] = []
    fields: dict[str, list[str]] = {name: [] for name in known}
    for name, value in read.multi_items():
        if isinstance(value, UploadFile) and name == files:
            images.append(await value.read())
        elif isinstance(value, str) and name in known:
            fields[name].append(value)
        else:
            raise Problem(422, "invalid_form", "the form holds a field that is not known")
    if not images:
        raise Problem(422, "invalid_form", f'a file in the field "{files}" is needed')
    return Form(images=images, fields=fields)


RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/octet-stream", "image/*", "video/*")
        },
    }
}
"""What OpenAPI says of ``raw_image``."""


def form_body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Describe a form for OpenAPI."""
    schema = {
        "type": "object",
        "properties": json.loads(json.dumps(properties)),
        "required": required,
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {_FORM: {"schema": schema}}}}


BINARY = {"type": "string", "format": "binary"}
"""One image in a form."""

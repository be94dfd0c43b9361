"""Errors as strangers see them: in their language, without a word of what went wrong inside.

The language is the one of the page they come from: of its form, where that was read, else of the
address, else what the browser prefers.
"""

from fastapi import Request
from fastapi.responses import Response

from delist.web.public.frame import message, visitor_of


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


_BROKEN = (
    _("That did not arrive whole"),
    _("Please go back, load the page again, and try once more."),
)
_NOT_HERE = (
    _("That cannot be done here"),
    _("Please go back and use the buttons of the page."),
)
_FAILED = (
    _("Something went wrong on our side"),
    _("It is not your fault. Please try again in a while."),
)
_WORDS: dict[int, tuple[str, str]] = {
    400: _BROKEN,
    403: _NOT_HERE,
    404: (
        _("There is nothing here"),
        _("Perhaps the address is mistyped, or the page is no longer there."),
    ),
    405: _NOT_HERE,
    408: _BROKEN,
    413: (
        _("That is too large"),
        _("Please go back and send less at once. Images never have to be sent to us."),
    ),
    422: (
        _("Something in the form is not right"),
        _("Please go back, look at the form, and try again."),
    ),
    429: (
        _("Please wait a little"),
        _("There were many tries in a short time. Please try again in some minutes."),
    ),
    503: (
        _("Not possible at the moment"),
        _("Please try again in a while. If you were sending a form, go back and send it again."),
    ),
}
_FORGED = (
    _("This form cannot be used any more"),
    _("Nothing was sent. Please go back, load the page again, and fill it in once more."),
)
_FIRST_PAGE = _("First page")
_OF_PEOPLE = ("/console", "/me", "/login", "/logout")


def is_for_strangers(path: str) -> bool:
    """Say whether a page is none of those for people who sign on."""
    return not any(path == start or path.startswith(f"{start}/") for start in _OF_PEOPLE)


def public_error(
    request: Request, status: int, *, forged: bool = False, retry: str = ""
) -> Response:
    """Write an error in the frame of public pages.

    Args:
        forged: the form was not made by a page of ours.
        retry: seconds after which another try makes sense, or "".
    """
    chosen: str = getattr(request.state, "lang", "") or request.query_params.get("lang", "")
    visitor = visitor_of(request, chosen)
    heading, told = _FORGED if forged else _WORDS.get(status, _FAILED if status >= 500 else _BROKEN)  # noqa: PLR2004 - of HTTP
    say = visitor.words.say
    return message(
        request,
        visitor,
        heading=say(heading),
        sentences=(say(told),),
        status=status,
        back="/",  # no way back to a form leads over a link
        back_words=say(_FIRST_PAGE),
        wait_s=int(retry) if retry.isdecimal() else 0,
        # What was asked for is in no link: it is a stranger's words.
        path="/",
        ways="link",
    )

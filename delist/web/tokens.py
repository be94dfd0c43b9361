"""Who calls: the token of a request, before anything else of it is read.

1. Without a token, or with something that cannot be one, nothing is looked up.
2. A wrong one counts against its address. Whoever has shown a valid one before is not held up by
   that: behind one proxy everybody has one address.
3. A valid one is asked for again after ``_FRESH_S``, so a revoked one is good for no longer.
4. It has its own rate, whatever its address.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from delist.errors import DatabaseError
from delist.tokens import ApiToken, Tokens, TokenScope, token_id_of
from delist.web import problems
from delist.web.limits import RateLimiter, network_of
from delist.web.problems import Problem

CALLER = "delist.caller"
_FRESH_S = 1.0
_MOST_KNOWN = 2_000
_MOST_CHARACTERS = 200
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="delist"'}

_bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token of `delist token add`."
)


@dataclass(frozen=True, slots=True)
class _Known:
    token: ApiToken
    asked_at: datetime


class Authentication:
    """Lets through what needs no token, and what comes with a valid one.

    Args:
        private: whether a path needs a token.
        per_s: requests of one token in a second.
        wrong_per_minute: wrong tokens of one address that are looked up in a minute.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens,
        clock: Callable[[], datetime],
        private: Callable[[str], bool],
        per_s: float,
        wrong_per_minute: int,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._clock = clock
        self._private = private
        self._rate = RateLimiter(per_s=per_s, burst=2 * per_s)
        self._wrong = RateLimiter(per_s=wrong_per_minute / 60, burst=wrong_per_minute)
        # By hash: the tokens themselves are not kept in memory.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not self._private(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            scope[CALLER] = await self._caller(scope)
        except Problem as problem:
            await problems.response(problem)(scope, receive, send)
            return
        except DatabaseError as error:
            failed = problems.of_error(error) or Problem(503, "store_unavailable")
            await problems.response(failed)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> ApiToken:
        text = _given(scope)
        if token_id_of(text) is None:  # (1)
            raise Problem(401, "no_token", "a token is needed", headers=_CHALLENGE)
        key, now = sha256(text.encode()).digest(), self._clock()
        known = self._known.get(key)
        fresh = known is not None and now - known.asked_at < timedelta(seconds=_FRESH_S)
        if known is None or not fresh:
            known = await self._ask(text, key, scope, now)
        if not known.token.is_valid(now):
            raise Problem(401, "wrong_token", "this token opens nothing", headers=_CHALLENGE)
        _wait(self._rate.take(known.token.id))  # (4)
        return known.token

    async def _ask(self, text: str, key: bytes, scope: Scope, now: datetime) -> _Known:
        client = scope.get("client")
        network = network_of(client[0] if client else "")
        is_new = key not in self._known
        if is_new:
            # (2) Taken before looking up: many at once must not all be looked up.
            _wait(self._wrong.take(network))
        token = await run_in_threadpool(self._tokens.find, text)
        if token is None:
            self._known.pop(key, None)
            raise Problem(401, "wrong_token", "this token opens nothing", headers=_CHALLENGE)
        if is_new:
            self._wrong.give_back(network)
        await run_in_threadpool(self._tokens.note_use, token)
        self._known[key] = known = _Known(token, now)  # (3)
        self._known.move_to_end(key)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known


def _given(scope: Scope) -> str:
    given = Headers(scope=scope).getlist("authorization")
    if len(given) != 1 or len(given[0]) > _MOST_CHARACTERS:
        return ""
    scheme, _, text = given[0].partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _wait(seconds: float) -> None:
    if seconds > 0:
        retry = {"Retry-After": str(ceil(seconds))}
        raise Problem(429, "too_many_requests", "wait before you try again", headers=retry)


def caller(
    request: Request,
    needed: SecurityScopes,
    _credentials: Annotated[object, Security(_bearer)] = None,
) -> ApiToken:
    """Return who calls, who must have every scope that the route needs.

    Raises:
        Problem: 403, a scope is missing; 401 where no token was looked for.
    """
    found = request.scope.get(CALLER)
    if not isinstance(found, ApiToken):
        raise Problem(401, "no_token", "a token is needed", headers=_CHALLENGE)
    if not set(needed.scopes) <= found.scopes:
        raise Problem(403, "wrong_scope", "this token is not for that")
    return found


IndexCaller = Annotated[ApiToken, Security(caller, scopes=[TokenScope.INDEX])]
ServeCaller = Annotated[ApiToken, Security(caller, scopes=[TokenScope.SERVE])]
FollowCaller = Annotated[ApiToken, Security(caller, scopes=[TokenScope.FOLLOW])]
ReviewCaller = Annotated[ApiToken, Security(caller, scopes=[TokenScope.REVIEW])]
MetricsCaller = Annotated[ApiToken, Security(caller, scopes=[TokenScope.METRICS])]
AdminCaller = Annotated[ApiToken, Security(caller, scopes=[TokenScope.ADMIN])]

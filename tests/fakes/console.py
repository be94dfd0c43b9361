"""People who have signed on, and a queue as a reviewer meets it on a working day."""

import itertools
from collections.abc import Sequence

from starlette.testclient import TestClient

from delist.model import Verdict
from delist.people import Role, SignOn
from delist.review import Ruling
from delist.store import people
from delist.store.brakes import BrakeKind
from delist.store.people import HeldPerson
from delist.web.people.cookies import SESSION
from indexer.model import Variant
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.web import Web

ORIGIN = "https://delist.example"
_ids = itertools.count(1)


def begin_session(world: World, name: str, role: Role, **liked: object) -> str:
    """Sign somebody on; returns the session's token."""
    delist = world.delist
    values = {
        "grey": True, "mute": True, "blur_px": 24, "break_minutes": 45, "theme": "system",
        "shown_s": 0,
    }  # fmt: skip
    with delist.database.write() as connection:
        held = people.named(connection, name)
        if held is None:
            held = HeldPerson(
                id=f"{next(_ids):016x}",
                name=name,
                role=role.value,
                created_at=delist.clock(),
                **(values | liked),  # type: ignore[arg-type] # as above
            )
            people.add(connection, held)
        return delist.sessions.begin(
            connection, held, signed_on_by=SignOn.ACCOUNT, browser="Chromium on Linux"
        )


class Visitor:
    """Somebody at a browser without a screen."""

    def __init__(self, web: Web, name: str, role: Role, **liked: object) -> None:
        token = begin_session(web.world, name, role, **liked)
        self.client = TestClient(web.app, base_url=ORIGIN, follow_redirects=False)
        self.client.cookies.set(SESSION, token)
        session = web.world.delist.sessions.find(token)
        assert session is not None
        self.csrf = session.csrf

    def get(self, path: str):  # noqa: ANN201 - the client's own
        return self.client.get(path)

    def post(self, path: str, **form: object):  # noqa: ANN201 - the client's own
        return self.client.post(
            path, data={"csrf": self.csrf, **form}, headers={"Sec-Fetch-Site": "same-origin"}
        )


def seed(world: World, *, cases: int = 14) -> Sequence[str]:
    """Fill the stores with a working day: near and far, old and new, grouped, decided, stopped.

    Returns the ids of the cases.
    """
    signals = [digest_of(f"signal {number}") for number in range(cases)]
    for number, signal in enumerate(signals):
        blocked = ("Bumble", "Meta")[: number % 3] if number % 4 == 0 else ()
        world.offer(signal, cases={f"C-{1000 + number}": "Received"}, blocked_by=blocked)
    hosts = ("photos.example", "board.example.org", "tube.example.net", "mirror.example.com")
    variants = (Variant.UPRIGHT, Variant.MIRROR, Variant.UPRIGHT, Variant.TURN_90)
    for number, signal in enumerate(signals):
        host = hosts[number % 4]
        distance = (4, 12, 23, 29, 18)[number % 5]
        world.visit(
            f"https://cdn.{host}/media/2026/{number:04d}.jpg",
            image_near({signal: distance}, name=number, variant=variants[number % 4]),
            page_urls=[f"https://{host}/thread/{number}?p={page}" for page in range(1, number % 4)],
        )
        if number == cases // 2:
            world.take_in()
            world.clock.advance(hours=30)
    for copy in range(3):
        world.visit(
            f"https://cdn.{hosts[copy]}/copies/{copy}.jpg",
            image_near({signals[2]: 23, digest_of("own"): 100 + copy}, name=2),
            page_urls=[f"https://{hosts[copy]}/gallery/{copy}"],
        )
    world.take_in()
    world.clock.advance(hours=20)
    found = [case.id for case in world.delist.cases()]
    for case_id, verdict in zip(found[-3:], Verdict, strict=True):
        world.delist.decide(case_id, Ruling(verdict=verdict, actor="Kim", reason="looked at it"))
    key = world.case_of("https://cdn.photos.example/media/2026/0004.jpg").matches[0].signal_key
    world.delist.governance.stop(
        BrakeKind.SIGNAL, key, actor="Lee", reason="matches stock photographs"
    )
    world.take_in()
    world.clock.advance(minutes=5)
    return found

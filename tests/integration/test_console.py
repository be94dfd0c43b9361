"""The review console: who may do what, what is on record, what a reviewer is spared."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fastapi.routing import APIRoute
from PIL import Image

from delist.appeal_record import Asks
from delist.appeals import asking
from delist.direct import hash_of_image
from delist.fetching import FetchLimits, GuardedFetch, Resolve
from delist.model import CaseState, RulingKind, Verdict
from delist.people import Role
from delist.policy import annotated_policy
from delist.review.viewing import Viewing
from delist.store import exposures
from delist.store.brakes import BrakeKind
from delist.survivors.statement import Written, check
from delist.web.console import MODULES
from indexer.deadline import Deadline
from indexer.hashing import hash_image
from tests.fakes.console import ORIGIN, Visitor, begin_session
from tests.fakes.delisting import digest_of, image_near
from tests.fakes.web import Web, opened
from tests.sites import Site, draw_image, serve_site

ROOT = Path(__file__).parents[2]
URL = "https://site.example/a.jpg"
BYTES = draw_image(3)
QUICK = FetchLimits(timeout_s=1.0, deadline_s=2.0)
HERE: Resolve = lambda _host, _port: ["127.0.0.1"]  # noqa: E731 - a resolver of one answer


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve_site() as serving:
        serving.put("/a.jpg", BYTES, Content_Type="image/jpeg")
        yield serving


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with opened(tmp_path / "data") as opened_web:
        yield opened_web


@pytest.fixture
def robin(web: Web) -> Visitor:
    return Visitor(web, "Robin", Role.REVIEWER)


def use(web: Web, fetch: GuardedFetch) -> None:
    """Let images be fetched so."""
    delist = web.world.delist
    hashing = delist.settings.indexer.hashing
    delist.viewing = Viewing(
        delist.database, fetch, hashing, rules=delist.rules, clock=delist.clock
    )


def fetching(*, allow_private: bool = False, resolve: Resolve = HERE) -> GuardedFetch:
    return GuardedFetch(
        user_agent="crawler", allow_private=allow_private, resolve=resolve, limits=QUICK
    )


def waiting(web: Web, url: str = URL, bits: int = 25, cases: object = None, **seen: object) -> str:
    """Let an image match a signal so far away that a person has to look; returns the case's id."""
    signal = digest_of(("signal", url))
    web.world.offer(signal, cases=cases)
    web.world.visit(url, image_near({signal: bits}, name=url), **seen)
    web.world.take_in()
    return web.world.case_of(url).id


def photographed(web: Web, url: str, data: bytes = BYTES, variant: str = "upright") -> str:
    """The same for a real image, whose bytes are at the address."""
    hashed = hash_image(data, max_bytes=10**8, max_pixels=10**8)
    web.world.offer(next(each.digest for each in hashed.hashes if each.variant == variant))
    web.world.visit(url, hashed)
    web.world.take_in()
    return web.world.case_of(url).id


def form_of(text: str) -> dict[str, str]:
    """Read the hidden fields of the form that decides."""
    form = text[text.index('id="decide"') :]
    return dict(re.findall(r'<input type="hidden" name="(seen|said)" value="([^"]*)"', form))


def decide(visitor: Visitor, case_id: str, verdict: Verdict = Verdict.NCII, **more: object):  # noqa: ANN201 - the client's
    shown = visitor.get(f"/console/cases/{case_id}").text
    ground = {Verdict.NCII: "reported", Verdict.NOT_NCII: "harmless", Verdict.UNSURE: "not_enough"}
    fields = form_of(shown) | {"verdict": verdict.value, "ground": ground[verdict]} | more
    return visitor.post(f"/console/cases/{case_id}/decision", **fields)


def enact(web: Web, folder: Path, old: str, new: str) -> None:
    """Put a policy with one other value in force."""
    policy = folder / "policy.toml"
    text = annotated_policy().replace(old, new).replace('version = "2"', 'version = "2b"')
    policy.write_text(text)
    web.world.delist.governance.apply(policy, actor="Lee", reason="a test")


def acts(web: Web, act: str) -> list[str]:
    return [entry.detail for entry in web.world.delist.audit_entries() if entry.act == act]


def people_decisions(web: Web, case_id: str) -> list[RulingKind]:
    found = web.world.delist.case_file(case_id).decisions
    return [entry.kind for entry in found if entry.kind is not RulingKind.POLICY]


def routes() -> list[tuple[str, str]]:
    found = [route for module in MODULES for route in module.router.routes]
    return [(next(iter(r.methods)), r.path) for r in found if isinstance(r, APIRoute)]


def test_each_route_is_open_to_the_roles_that_the_docs_name(web: Web) -> None:
    """docs/security.md lists every route of the console; all other roles get 403."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(/console\S*)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    listed = {(method, path): {w.strip(" `") for w in who.split(",")} for path, method, who in rows}
    assert set(listed) == set(routes())

    visitors = {role: Visitor(web, f"one {role}", role) for role in Role}
    for (method, path), who in listed.items():
        concrete = re.sub(r"\{\w+\}", "7", path)
        for role, visitor in visitors.items():
            answer = visitor.get(concrete) if method == "GET" else visitor.post(concrete)
            may = any(role.covers(Role(one)) for one in who)
            assert (answer.status_code != 403) is may, (method, path, role)


def test_nobody_gets_in_without_a_session_or_a_form_of_ours(web: Web, robin: Visitor) -> None:
    """A stranger is led to the sign-on; a form without the session's token does nothing."""
    case_id = waiting(web)
    for method, path in routes():
        stranger = web.client.request(
            method, re.sub(r"\{\w+\}", case_id, path), follow_redirects=False
        )
        assert stranger.status_code == 303
        assert stranger.headers["location"].startswith("/login")
    for path in ("decision", "image", "claim"):
        forged = robin.client.post(
            f"/console/cases/{case_id}/{path}",
            data={"csrf": "0" * 64, "verdict": "ncii"},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        cross = robin.client.post(
            f"/console/cases/{case_id}/{path}",
            data={"csrf": robin.csrf},
            headers={"Sec-Fetch-Site": "cross-site"},
        )
        assert (forged.status_code, cross.status_code) == (403, 403)
    assert people_decisions(web, case_id) == []


def test_an_image_is_shown_after_it_is_on_record(web: Web, robin: Visitor, site: Site) -> None:
    """Small, re-encoded, blurred first, never kept by a browser; each view with its step."""
    use(web, fetching(allow_private=True))
    case_id = photographed(web, f"http://photos.example:{site.port}/a.jpg")
    robin.post(f"/console/cases/{case_id}/claim")

    veiled = robin.post(f"/console/cases/{case_id}/image", step="veiled")
    clear = robin.post(f"/console/cases/{case_id}/image", step="clear")

    for answer in (veiled, clear):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["delist-changed"] == "no"
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.mode == "L"  # grey, as this person likes it
        assert BYTES[2:200] not in answer.content
    assert len(veiled.content) < len(clear.content)
    assert [re.findall(r'"step": "(\w+)"', d)[0] for d in acts(web, exposures.IMAGE_VIEWED)] == [
        "veiled", "clear",
    ]  # fmt: skip
    assert clear.headers["delist-seen"] == "1"


def test_of_an_animation_the_picture_is_shown_that_matched(
    web: Web, robin: Visitor, site: Site
) -> None:
    """The first may be there to look harmless, and a person would let the rest go."""
    use(web, fetching(allow_private=True))
    frames = [Image.open(io.BytesIO(draw_image(seed))).convert("RGB") for seed in (5, 6, 7)]
    written = io.BytesIO()
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:], duration=100)
    site.put("/b.gif", written.getvalue(), Content_Type="image/gif")
    url = f"http://photos.example:{site.port}/b.gif"
    case_id = photographed(web, url, written.getvalue(), "upright+frame2")

    shown = robin.post(f"/console/cases/{case_id}/image", step="clear")

    assert shown.headers["delist-frame"] == "2"
    picture = np.asarray(Image.open(io.BytesIO(shown.content)), np.float64)
    size = picture.shape[::-1]
    off = [np.abs(picture - np.asarray(frame.convert("L").resize(size))).mean() for frame in frames]
    assert off[2] < min(off[0], off[1]) / 2


def test_other_bytes_than_were_decided_on_are_named(web: Web, robin: Visitor, site: Site) -> None:
    """What is at the address now is not what the case is about."""
    use(web, fetching(allow_private=True))
    case_id = waiting(web, f"http://photos.example:{site.port}/a.jpg")

    assert robin.post(f"/console/cases/{case_id}/image").headers["delist-changed"] == "yes"


def test_another_look_at_what_was_shown_is_on_record_too(
    web: Web, robin: Visitor, site: Site
) -> None:
    """Nothing is fetched for it; what was not shown before cannot be said to have been seen."""
    use(web, fetching(allow_private=True))
    case_id = photographed(web, f"http://photos.example:{site.port}/a.jpg")
    robin.post(f"/console/cases/{case_id}/claim")
    again = f"/console/cases/{case_id}/image/again"
    early = robin.post(again)
    robin.post(f"/console/cases/{case_id}/image", step="veiled")
    fetched = len(site.paths())
    answers = [robin.post(again, step=step) for step in ("veiled", "clear")]

    assert (early.status_code, [answer.status_code for answer in answers]) == (409, [204, 409])
    assert answers[0].headers["delist-seen"] == "1"
    assert len(site.paths()) == fetched
    assert ['"again": true' in detail for detail in acts(web, exposures.IMAGE_VIEWED)] == [
        False, True,
    ]  # fmt: skip


def test_an_image_that_lies_in_its_page_is_not_fetched(web: Web, robin: Visitor) -> None:
    """It has no address; the page is not asked in its place, and its hash is not shown."""
    mark = "#data-sha256=" + "ab" * 32
    case_id = waiting(web, f"https://site.example/page{mark}")

    answer = robin.post(f"/console/cases/{case_id}/image")

    assert (answer.status_code, "lies in its page" in answer.text) == (422, True)
    assert "abab" not in robin.get(f"/console/cases/{case_id}").text


class Leading(GuardedFetch):
    """A web whose first answer leads elsewhere; what follows is asked in earnest."""

    def __init__(self, location: str, answers: Sequence[str]) -> None:
        left = list(answers)
        super().__init__(
            user_agent="crawler", resolve=lambda _host, _port: [left.pop(0)], limits=QUICK
        )
        self.location = location

    def ask(self, url: str, *, max_bytes: int, deadline: Deadline) -> tuple[httpx2.Response, bytes]:
        if url.endswith("/a.jpg"):
            return httpx2.Response(302, headers={"Location": self.location}), b""
        return super().ask(url, max_bytes=max_bytes, deadline=deadline)


@pytest.mark.parametrize(
    ("url", "fetch"),
    [
        ("http://169.254.169.254/a.jpg", fetching()),
        ("http://[::ffff:127.0.0.1]:{port}/a.jpg", fetching()),
        ("http://2130706433:{port}/a.jpg", fetching()),
        ("http://photos.example:{port}/a.jpg", fetching()),
        ("http://photos.example:{port}/a.jpg", fetching(resolve=lambda *_: ["1.1.1.1", "::1"])),
        ("http://photos.example/a.jpg", Leading("http://127.0.0.1:{port}/b.jpg", [])),
        ("http://photos.example/a.jpg", Leading("http://169.254.169.254/latest", [])),
        ("http://photos.example/a.jpg", Leading("http://photos.example/b.jpg", ["127.0.0.1"])),
        ("http://photos.example/a.jpg", Leading("http://[::ffff:10.0.0.1]/b.jpg", [])),
        ("http://photos.example/a.jpg", Leading("file:///etc/passwd", [])),
        ("http://photos.example/a.jpg", Leading("/a.jpg", [])),
    ],
    ids=[
        "metadata service", "IPv6-mapped", "a number", "a name of this machine", "one of two",
        "redirect here", "redirect to metadata", "second look-up", "redirect IPv6-mapped",
        "redirect to a file", "redirects without end",
    ],
)  # fmt: skip
def test_no_address_that_is_not_public_is_asked(
    web: Web, robin: Visitor, site: Site, url: str, fetch: GuardedFetch
) -> None:
    """However it is written, and wherever a name or redirect leads; nothing counts as seen."""
    if isinstance(fetch, Leading):
        fetch.location = fetch.location.format(port=site.port)
    use(web, fetch)
    case_id = waiting(web, url.format(port=site.port))
    before = site.paths()

    answer = robin.post(f"/console/cases/{case_id}/image")

    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/plain")
    assert "example" not in answer.text
    assert site.paths() == before
    assert acts(web, exposures.IMAGE_VIEWED) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing"),
        (b"<html>no image", "no image"),
        (BYTES[:100], "could not be shown"),
    ],
    ids=["a drawing", "a page", "a part"],
)
def test_what_is_no_picture_never_reaches_a_browser(
    web: Web, robin: Visitor, site: Site, body: bytes, says: str
) -> None:
    """Whatever the site calls it: words, not bytes."""
    use(web, fetching(allow_private=True))
    site.put("/bad", body, Content_Type="image/jpeg")
    case_id = waiting(web, f"http://photos.example:{site.port}/bad")

    answer = robin.post(f"/console/cases/{case_id}/image")

    assert (answer.status_code, answer.headers["content-type"][:10]) == (422, "text/plain")
    assert says in answer.text


def test_one_person_looks_at_a_time(web: Web, robin: Visitor, site: Site) -> None:
    """A case with somebody else shows neither image nor form, and takes no verdict."""
    use(web, fetching(allow_private=True))
    kim = Visitor(web, "Kim", Role.REVIEWER)
    case_id = waiting(web, f"http://photos.example:{site.port}/a.jpg")
    fields = form_of(
        (kim.post(f"/console/cases/{case_id}/claim"), kim.get(f"/console/cases/{case_id}"))[1].text
    )

    shown = robin.get(f"/console/cases/{case_id}").text
    image = robin.post(f"/console/cases/{case_id}/image")
    robin.post(f"/console/cases/{case_id}/decision", verdict="ncii", ground="reported", **fields)

    assert "One person looks at a time" in shown
    assert 'id="decide"' not in shown
    assert (image.status_code, "Kim is at work" in image.text) == (409, True)
    assert people_decisions(web, case_id) == []
    assert "Kim is at work on this case" in robin.get("/console").text


def test_a_verdict_leads_on_and_can_be_taken_back(web: Web, robin: Visitor) -> None:
    """To the next case, with a minute to take it back; after that, not."""
    first, second = waiting(web), waiting(web, "https://other.example/b.jpg")
    robin.post(f"/console/cases/{first}/claim")

    onward = decide(robin, first)

    assert onward.headers["location"] == f"/console/cases/{second}?undo={first}"
    assert f'action="/console/cases/{first}/undo"' in robin.get(onward.headers["location"]).text
    assert web.world.case_of("https://site.example/a.jpg").state is CaseState.SUPPRESSED
    back = robin.post(f"/console/cases/{first}/undo")
    assert back.headers["location"] == f"/console/cases/{first}"
    assert web.world.case_of("https://site.example/a.jpg").verdict is None
    decide(robin, first)
    web.world.clock.advance(seconds=61)
    robin.post(f"/console/cases/{first}/undo")
    assert web.world.case_of("https://site.example/a.jpg").verdict is Verdict.NCII


def test_a_form_that_is_sent_again_decides_nothing(web: Web, robin: Visitor) -> None:
    """Replayed, or sent late by a second window."""
    case_id = waiting(web)
    robin.post(f"/console/cases/{case_id}/claim")
    fields = form_of(robin.get(f"/console/cases/{case_id}").text)
    path = f"/console/cases/{case_id}/decision"
    verdict = {"ground": "harmless", "verdict": "not_ncii"}

    wrong = robin.post(path, **fields, **(verdict | {"ground": "reported"}))
    assert "that reason is for another verdict" in robin.get(wrong.headers["location"]).text
    robin.post(path, **fields, **verdict)
    robin.post(path, **fields, **verdict)

    assert people_decisions(web, case_id) == [RulingKind.REVIEW]
    assert "somebody has decided since" in robin.get("/console").text


def test_a_group_is_decided_with_one_look(web: Web, robin: Visitor) -> None:
    """Near-duplicates follow when asked for, and count as images that nobody had to see."""
    signal = digest_of("group")
    web.world.offer(signal)
    for number in range(3):
        near = {signal: 25, digest_of("own"): 100 + number}
        web.world.visit(f"https://site{number}.example/a.jpg", image_near(near, name="same"))
    web.world.take_in()
    case_id = web.world.case_of("https://site0.example/a.jpg").id
    robin.post(f"/console/cases/{case_id}/claim")
    assert "Also decide 2 near-duplicates" in robin.get(f"/console/cases/{case_id}").text

    decide(robin, case_id, group="true")

    assert {case.verdict for case in web.world.cases()} == {Verdict.NCII}
    shift = robin.get("/console/shift").text
    assert re.search(r"Decided without one</dt><dd>3<", shift)


def test_what_strangers_wrote_stays_text(web: Web, robin: Visitor) -> None:
    """HTML in an address, a host or a reason is shown, and is no HTML; no address opens."""
    nasty = "https://site.example/%3Cimg%20src=x%20onerror=alert(1)%3E/<b>'\"&x.jpg"
    page = 'https://xn--<script>alert(1)</script>.example/"><script>alert(2)</script>'
    case_id = waiting(web, nasty, page_urls=["https://board.example/<script>alert(2)</script>"])
    robin.post(f"/console/cases/{case_id}/claim")
    decide(robin, case_id, more="<script>alert(3)</script>")

    found = robin.get(f"/console/cases/{case_id}").text
    searched = robin.post("/console/search", text=page).text

    for text in (found, searched):
        assert "<script>alert" not in text
        assert "<b>'" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;alert(3)" in found
    assert 'href="http' not in found
    assert "hxxps://site[.]example/" in found


def test_a_blind_second_review_tells_nothing(web: Web, tmp_path: Path) -> None:
    """Neither who decided nor what, nor what others did on the site; and then nothing of both."""
    enact(web, tmp_path, "blind_sample_percent = 5.0", "blind_sample_percent = 100.0")
    case_id = waiting(web)
    web.world.decide(case_id, Verdict.NOT_NCII)
    sam = Visitor(web, "Sam", Role.REVIEWER)

    given = sam.post("/console/blind").headers["location"]
    shown = sam.get(given).text

    assert given == f"/console/cases/{case_id}"
    assert "Blind second review" in shown
    assert not {"Robin", "dismissed", "looked at it", "The site before"} & set(
        re.findall(r"Robin|dismissed|looked at it|The site before", shown)
    )
    review_id = re.findall(r"/console/blind/(\d+)", shown)[0]
    done = sam.post(
        f"/console/blind/{review_id}", verdict="ncii", ground="reported", **form_of(shown)
    )
    assert done.headers["location"] == "/console"
    assert web.world.case_of("https://site.example/a.jpg").disputed
    assert "No blind second review" in sam.get(robin_path(sam)).text


def robin_path(visitor: Visitor) -> str:
    return str(visitor.post("/console/blind").headers["location"])


def test_policy_may_want_the_image_to_be_seen(
    web: Web, robin: Visitor, site: Site, tmp_path: Path
) -> None:
    """Then no verdict from the evidence alone; else it is offered."""
    use(web, fetching(allow_private=True))
    case_id = waiting(web, f"http://photos.example:{site.port}/a.jpg")
    robin.post(f"/console/cases/{case_id}/claim")
    assert "Decide from the evidence" in robin.get(f"/console/cases/{case_id}").text
    enact(web, tmp_path, "decide_unseen = true", "decide_unseen = false")

    decide(robin, case_id)
    assert people_decisions(web, case_id) == []
    robin.post(f"/console/cases/{case_id}/image")
    decide(robin, case_id)
    assert people_decisions(web, case_id) == [RulingKind.REVIEW]


def test_a_search_leaves_no_trace_of_what_was_searched(web: Web, robin: Visitor) -> None:
    """By id, by address however it is written, by host; on record is that somebody searched."""
    case_id = waiting(web, "https://cdn.site.example.org/a.jpg")

    for text in (case_id, "hxxps://cdn[.]site[.]example[.]org/a.jpg", "example.org"):
        assert f"/console/cases/{case_id}" in robin.post("/console/search", text=text).text
    assert (
        "No case was found" in robin.post("/console/search", text="https://site.example/b.jpg").text
    )
    assert robin.post("/console/search", text="\x00 <b>").status_code == 422
    assert robin.get("/console/search?text=x").status_code == 422
    assert "example" not in "".join(acts(web, "case.searched"))
    assert len(acts(web, "case.searched")) == 4


def test_a_break_gives_back_what_was_taken(web: Web) -> None:
    """After the minutes that the person has set, it is proposed; the clock begins anew."""
    robin = Visitor(web, "Robin", Role.REVIEWER, break_minutes=20)
    case_id = waiting(web)
    robin.post(f"/console/cases/{case_id}/claim")
    due = r'id="break-due" role="status"( hidden)?>'
    assert re.search(due, robin.get("/console").text)[1] is not None  # type: ignore[index]
    web.world.clock.advance(minutes=21)
    assert re.search(due, robin.get("/console").text)[1] is None  # type: ignore[index]

    robin.post("/console/break")

    assert re.search(due, robin.get("/console").text)[1] is not None  # type: ignore[index]
    assert web.world.delist.desk.held("Robin") == []
    assert "Your shift has ended" in robin.post("/console/shift/end").text


def test_figures_come_from_what_is_stored(web: Web, robin: Visitor) -> None:
    """Time from feed to suppression, decisions and overdue cases, as page and as CSV."""
    waiting(web, "https://near.example/a.jpg", bits=4)
    case_id = waiting(web)
    robin.post(f"/console/cases/{case_id}/claim")
    decide(robin, case_id)
    waiting(web, "https://other.example/c.jpg")
    web.world.clock.advance(hours=49)
    robin = Visitor(web, "Robin", Role.REVIEWER)

    found = robin.get("/console/figures").text
    rows = robin.get("/console/figures.csv").text.splitlines()

    assert rows[0] == "day,suppressed,p50_s,p99_s,ncii,not_ncii,unsure"
    day = next(row for row in rows if row.startswith("2026-03-01"))
    assert re.fullmatch(r"2026-03-01,2,\d+\.\d,\d+\.\d,1,0,0", day)
    assert "<dt>Overdue now</dt><dd>2 of 2</dd>" in found
    assert found.count("<svg") == 3


def test_the_audit_log_is_for_auditors(web: Web, robin: Visitor) -> None:
    """Every view is there; an auditor sees it and decides nothing."""
    case_id = waiting(web)
    robin.get(f"/console/cases/{case_id}")
    ada = Visitor(web, "Ada", Role.AUDITOR)

    listed = ada.get(f"/console/audit?subject={case_id}").text
    checked = ada.post("/console/audit/verify").headers["location"]

    assert "case: viewed" in listed
    assert "are as they were written" in ada.get(checked).text


def test_an_appeal_is_decided_by_another_person(web: Web) -> None:
    """Who decided before is told so, and is refused; a replayed form decides nothing more."""
    waiting(web, bits=4, cases={"C-1": "Received"})
    web.world.decide(web.world.case_of(URL), Verdict.NCII)
    web.world.clock.advance(hours=1)
    appeal = asking.open_for_holder(
        web.world.delist.appeal_desk, "C-1", URL, asks=Asks.LIFT, text="<b>mine</b>", proof="image"
    )
    path = f"/console/appeals/{appeal.id}"
    robin, kim = (Visitor(web, name, Role.REVIEWER) for name in ("Robin", "Kim"))
    seen = re.findall(r'name="seen" value="(\w+)"', kim.get(path).text)[0]
    given = {"finding": "overturned", "more": "it is theirs", "seen": seen}

    assert "Another person has to" in robin.get(path).text
    robin.post(f"{path}/decision", **given)
    assert "another person has to decide" in robin.get("/console").text
    assert web.world.state_of(URL) is CaseState.SUPPRESSED
    assert "&lt;b&gt;mine" in kim.get(path).text
    kim.post(f"{path}/decision", **given)
    kim.post(f"{path}/decision", **(given | {"finding": "upheld"}))
    assert web.world.state_of(URL) is CaseState.DISMISSED


def test_a_brake_is_released_by_a_lead_with_a_reason(web: Web, robin: Visitor) -> None:
    """Reviewers see what is stopped, and why; on record is who released it."""
    waiting(web)
    key = web.world.case_of(URL).matches[0].signal_key
    web.world.delist.governance.stop(BrakeKind.SIGNAL, key, actor="Lee", reason="<i>stock</i>")
    lee = Visitor(web, "Lee", Role.LEAD)

    assert "&lt;i&gt;stock" in robin.get("/console/brakes").text
    assert "/console/brakes/release" not in robin.get("/console/brakes").text
    lee.post("/console/brakes/release", kind="signal", name=key, more="they are copies")

    assert web.world.delist.governance.brakes() == []
    assert len(acts(web, "brake.released")) == 1


def test_a_direct_report_stands_beside_its_case(web: Web, robin: Visitor, site: Site) -> None:
    """What it says and where, viewed on record; who it is from, on its own page only."""
    hashed = hash_image(BYTES, max_bytes=10**8, max_pixels=10**8)
    picture = hash_of_image(hashed)
    assert picture.second is not None
    statement = check(
        Written(
            role="self", pictures=(f"{picture.value}:{bytes(picture.second).hex()}",),
            addresses="board.example/x", details="the <second> one", good_faith=True,
            contact="a@post.example", name="Amina",
        )
    )  # fmt: skip
    web.world.delist.reports.take(statement, form="a form")
    web.world.visit(f"{site.url}/a.jpg", hashed)
    web.world.settle()
    case_id = web.world.case_of(f"{site.url}/a.jpg").id

    shown = robin.get(f"/console/cases/{case_id}").text
    report_id = re.findall(r'href="/console/reports/(\w+)"', shown)[0]

    assert "the &lt;second&gt; one" in shown
    assert "hxxps://board[.]example/x" in shown
    assert not {"Amina", "a@post.example"} & set(re.findall(r"Amina|a@post\.example", shown))
    assert "a@post.example" in robin.get(f"/console/reports/{report_id}").text
    assert len(acts(web, "report.viewed")) == 2
    robin.post(f"/console/reports/{report_id}/close", outcome="acted")
    assert "No report waits" in robin.get("/console/reports").text


def test_an_expired_session_shows_nothing_more(web: Web) -> None:
    """Also not an image: the page is loaded anew, and leads to the sign-on."""
    robin = Visitor(web, "Robin", Role.REVIEWER)
    case_id = waiting(web)
    web.world.clock.advance(hours=11)

    answer = robin.post(f"/console/cases/{case_id}/image")

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?")
    assert begin_session(web.world, "Robin", Role.REVIEWER)
    assert ORIGIN.startswith("https")

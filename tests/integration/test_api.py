"""The HTTP API: who may call what, what an answer tells, and what an error repeats."""

import json
import re
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from delist.cli import main
from delist.consumers import ConsumerKey
from delist.model import CaseState
from delist.ops.pictures import draw_photo, encode
from delist.tokens import TokenScope
from delist.web.app import api_routes, create_app, needs_token
from delist.web.headers import API_POLICY, PAGE_POLICY
from indexer.hashing import hash_image
from tests.fakes.delisting import FEED, START, digest_of, image_near
from tests.fakes.web import EVERYTHING, Web, opened

ROOT = Path(__file__).parents[2]
PUBLIC = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json")}
MARK = "marked-secret-value"
URL = "https://site.example/a.jpg"
NEAR = digest_of("near")
PHOTO = encode(draw_photo(1), "JPEG", quality=80)
JSON = "application/problem+json"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One app for the tests that do not mind what others did."""
    with opened(tmp_path_factory.mktemp("web") / "data") as opened_web:
        yield opened_web


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Web]:
    """An app of one's own, in which a photo is known and a case waits for a person."""
    with opened(tmp_path / "data", checks_per_day=5) as web:
        known = hash_image(PHOTO, max_bytes=10**8, max_pixels=10**8).hashes[0].digest
        web.world.offer(known, NEAR)
        web.world.visit(URL, image_near({NEAR: 25}))
        web.world.take_in()
        yield web


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", "0" * 32, path)


def scopes_of(web: Web) -> dict[tuple[str, str], str]:
    """Say which scope each route wants, as the OpenAPI document has it."""
    found = {("GET", "/openapi.json"): ""}
    for path, methods in web.app.openapi()["paths"].items():
        for method, operation in methods.items():
            wanted = [s for entry in operation.get("security", []) for s in entry["token"]]
            found[method.upper(), path] = " ".join(wanted)
    return found


def test_nothing_but_the_public_routes_answers_without_a_token(web: Web) -> None:
    """Every route under /v1, known or not, and the metrics: 401 and a challenge."""
    routes = set(api_routes(web.app))
    assert {(m, p) for m, p in routes if not needs_token(p)} == PUBLIC

    for method, path in routes - PUBLIC | {("GET", "/v1/nothing"), ("DELETE", "/v1")}:
        answer = web.client.request(method, concrete(path), json={})
        assert (answer.status_code, path) == (401, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "no_token"


def test_each_route_wants_one_scope_and_no_other_will_do(web: Web) -> None:
    """A token with every scope but the one that the route wants gets 403 and learns nothing."""
    for (method, path), scope in scopes_of(web).items():
        if (method, path) in PUBLIC:
            assert not scope
            continue
        others = web.headers(*(EVERYTHING - {TokenScope(scope)}))
        answer = web.client.request(method, concrete(path), headers=others)
        # What is wrong with the body may be said first; never anything of what we hold.
        assert answer.status_code in {403, 422}, path
        if path.startswith("/v1/images"):
            continue
        bodies = {
            "/v1/suppressed": {"urls": [URL]},
            "/v1/digests/check": {"digests": ["0" * 64]},
            "/v1/consumers/{name}/ack": {"sequence": 0},
            "/v1/cases/{case_id}/decisions": {
                "verdict": "ncii",
                "reason": "r",
                "content_token": "0",
            },
            "/v1/appeals": {"url": URL, "contact": "c", "text": "t"},
            "/v1/appeals/{appeal_id}/decision": {"outcome": "upheld", "reason": "r", "seen": "0"},
        }
        answer = web.client.request(
            method, concrete(path), headers=others, json=bodies.get(path, {})
        )
        assert (answer.status_code, path) == (403, path)


def test_the_table_of_the_security_page_is_the_list_of_routes(web: Web) -> None:
    """docs/security.md says of every route who may call it, and names no other."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+) (/\S*)` \| ([^|]*) \|", text, re.MULTILINE)
    listed = {
        (method, path): "" if who.strip() == "anybody" else who.strip().strip("`")
        for method, path, who in rows
    }

    assert listed == scopes_of(web)


def test_expired_and_revoked_tokens_open_nothing(fresh: Web) -> None:
    """Both are as good as none, within a second."""
    tokens, clock = fresh.world.delist.tokens, fresh.world.clock
    until = clock() + timedelta(hours=1)
    _, short = tokens.add("short", {TokenScope.ADMIN}, actor="operator", expires_at=until)
    _, long = tokens.add("long", {TokenScope.ADMIN}, actor="operator")

    def status(text: str) -> int:
        headers = {"Authorization": f"Bearer {text}"}
        return fresh.client.get("/v1/status", headers=headers).status_code

    assert (status(short), status(long)) == (200, 200)
    clock.advance(hours=1)
    assert (status(short), status(long)) == (401, 200)
    tokens.revoke("long", actor="operator")
    clock.advance(seconds=1)
    assert status(long) == 401
    acts = [entry.act for entry in fresh.world.delist.audit_entries()]
    assert [act for act in acts if act.startswith("token.")] == [
        "token.added", "token.added", "token.used", "token.used", "token.revoked",
    ]  # fmt: skip


def test_a_token_is_stored_as_a_hash_only(fresh: Web) -> None:
    """Whoever reads the whole data directory cannot call."""
    _, text = fresh.world.delist.tokens.add("one", {TokenScope.SERVE}, actor="operator")
    secret = text[-43:].encode()
    files = [path for path in fresh.world.delist.database.data_dir.rglob("*") if path.is_file()]

    assert len(text) == len("delist_0123456789_") + 43
    assert not any(secret in path.read_bytes() for path in files)


def test_a_thousand_wrong_tokens_do_not_lock_out_who_is_known(fresh: Web) -> None:
    """Thirty are looked up, the others are told to wait; the right one passes all the time."""
    right = fresh.headers("admin")
    assert fresh.client.get("/v1/status", headers=right).status_code == 200
    wrong = [f"Bearer delist_{n:010d}_{'A' * 43}" for n in range(1000)]
    statuses = [
        fresh.client.get("/v1/status", headers={"Authorization": text}).status_code
        for text in wrong
    ]

    assert 30 <= statuses.count(401) < 60
    assert statuses.count(429) == 1000 - statuses.count(401)
    assert fresh.client.get("/v1/status", headers=right).status_code == 200


def test_each_token_has_its_rate(tmp_path: Path) -> None:
    """Whoever asks too fast is told how long to wait; others are not held up."""
    with opened(tmp_path / "data", requests_per_s=1) as web:
        fast, other = web.headers("admin"), web.headers("admin")
        statuses = [web.client.get("/v1/status", headers=fast).status_code for _ in range(9)]
        late = web.client.get("/v1/status", headers=fast)

        assert statuses[:2] == [200, 200]
        assert late.status_code == 429
        assert int(late.headers["retry-after"]) >= 1
        assert web.client.get("/v1/status", headers=other).status_code == 200


def test_every_response_has_the_security_headers_and_is_not_kept(web: Web) -> None:
    """Also errors, those of routes that do not exist included."""
    answers = [
        web.client.get(path) for path in ("/healthz", "/readyz", "/openapi.json", "/x", "/v1/x")
    ]
    answers.append(web.client.post("/healthz"))

    assert [answer.status_code for answer in answers] == [200, 503, 200, 404, 401, 405]
    for answer in answers:
        page = answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"] == (PAGE_POLICY if page else API_POLICY)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_no_error_repeats_what_was_sent(web: Web) -> None:
    """Wherever a value stands, and however wrong it is: a problem without it."""
    all_of_it = web.headers(*EVERYTHING)
    client = web.client

    def post(path: str, **sent: Any) -> Any:  # noqa: ANN401 - a response of httpx2
        return client.post(path, headers=all_of_it, **sent)

    form = {"images": (MARK, PHOTO)}
    answers = {
        404: [
            client.get(f"/v1/cases/{MARK}", headers=all_of_it),
            client.get(f"/v1/{MARK}", headers=all_of_it),
            client.get("/v1/suppressions", headers=all_of_it),
        ],
        405: [client.delete(f"/v1/cases/{MARK}", headers=all_of_it)],
        400: [
            client.post(
                "/v1/suppressed",
                content=f'{{"urls": ["{MARK}',
                headers={**all_of_it, "content-type": "application/json"},
            ),
            client.post(
                "/v1/suppressed",
                content="[" * 100_000,
                headers={**all_of_it, "content-type": "application/json"},
            ),
        ],
        415: [client.post(
            "/v1/images/hash", content=MARK, headers={**all_of_it, "content-type": "text/plain"}
        )],
        422: [
            post("/v1/suppressed", json={"urls": [URL], MARK: MARK}),
            post("/v1/suppressed", json={"urls": [{MARK: MARK}]}),
            post("/v1/digests/check", json={"digests": [MARK]}),
            post("/v1/images/hash", content=MARK.encode()),
            post("/v1/images/check-batch", files=form, data={MARK: MARK}),
            post("/v1/images/index", files={"image": (MARK, PHOTO)}, data={"image_url": MARK}),
            client.get(f"/v1/cases?limit={MARK}", headers=all_of_it),
            client.get(f"/v1/signals/{MARK}", headers=all_of_it),
        ],
    }  # fmt: skip
    for status, found in answers.items():
        for answer in found:
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == JSON
            assert MARK not in answer.text
            assert {"type", "title", "status", "code"} <= answer.json().keys()
            assert answer.json()["status"] == status


def test_an_error_that_nobody_foresaw_shows_no_value(
    web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer is a problem, and the log names the place and the kind of error only."""
    app = create_app(web.world.delist)

    @app.get("/v1/broken", tags=["test"])
    def _broken() -> None:
        raise RuntimeError(MARK)

    answer = TestClient(app).get("/v1/broken", headers=web.headers("admin"))
    logged = capsys.readouterr()

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-security-policy"] == API_POLICY
    assert MARK not in answer.text + logged.out + logged.err
    assert "RuntimeError" in logged.out + logged.err
    app.state.results.close()


def test_a_check_tells_an_indexing_job_yes_or_no_and_a_reviewer_how_closely(fresh: Web) -> None:
    """A distance would tell whoever edits an image how far there is still to go."""
    index, both = fresh.headers("index", name="job"), fresh.headers("index", "review", name="Kim")

    plain = fresh.client.post("/v1/images/check", headers=index, content=PHOTO).json()
    full = fresh.client.post("/v1/images/check", headers=both, content=PHOTO).json()
    files = [("images", ("a", PHOTO)), ("images", ("b", b"no image"))]
    batch = fresh.client.post("/v1/images/check-batch", headers=index, files=files).json()

    assert plain == {"matched": True, "refusal": None, "matches": None}
    assert full["matches"][0]["distance_bits"] == 0
    assert batch["results"] == [
        plain, {"matched": None, "refusal": "not_an_image", "matches": None},
    ]  # fmt: skip


def test_checks_are_on_record_and_end_with_the_days_quota(fresh: Web) -> None:
    """Five a day here: the one beyond learns nothing; the audit log has numbers, no digests."""
    token, headers = fresh.token("index", name="job")
    sent = {"digests": [NEAR.hex(), "0" * 64]}

    answers = [fresh.client.post("/v1/digests/check", headers=headers, json=sent) for _ in range(3)]
    last = fresh.client.post("/v1/images/check", headers=headers, content=PHOTO)
    fresh.world.clock.advance(days=1)
    tomorrow = fresh.client.post("/v1/images/check", headers=headers, content=PHOTO)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [entry["matched"] for entry in answers[0].json()["results"]] == [True, False]
    assert answers[2].json()["code"] == "quota_spent"
    assert "results" not in answers[2].text
    assert (last.status_code, tomorrow.status_code) == (200, 200)
    noted = [e for e in fresh.world.delist.audit_entries() if e.act == "token.checked"]
    assert [(e.actor, e.subject, e.detail) for e in noted] == [
        ("job", token.id, f'{{"items": {number}}}') for number in (2, 2, 1, 1)
    ]


def test_an_indexed_image_is_stored_by_its_address_and_its_bytes_nowhere(
    fresh: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a case like one that was crawled. No temporary file is made for its bytes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    picture = PHOTO + b"\0" * 3_000_000
    url, page = "https://shop.example/b.jpg", "https://shop.example/"

    answer = fresh.client.post(
        "/v1/images/index",
        headers=fresh.headers("index"),
        files={"image": ("b.jpg", picture)},
        data={"image_url": url, "page_urls": [page], "document_id": "doc 7"},
    )
    fresh.world.take_in()
    record = fresh.world.delist.indexer.find_image(url)

    assert (answer.status_code, answer.json()) == (200, {"matched": True})
    assert record is not None
    assert record.document_id == "doc 7"
    assert fresh.world.delist.case_file(fresh.world.case_of(url).id).page_urls == [page]


def test_result_pages_ask_for_many_addresses_at_once(fresh: Web) -> None:
    """What a person's verdict suppressed is said to be; what is no address is not."""
    case = fresh.world.case_of(URL)
    serve, review = fresh.headers("serve"), fresh.headers("review", name="Kim")
    asked = {"urls": [URL, "https://other.example/", "no address"]}

    def suppressed() -> list[bool]:
        return fresh.client.post("/v1/suppressed", headers=serve, json=asked).json()["suppressed"]

    before = suppressed()
    shown = fresh.client.get(f"/v1/cases/{case.id}", headers=review).json()
    decision = {"verdict": "ncii", "reason": "seen", "content_token": shown["content_token"]}
    decided = fresh.client.post(f"/v1/cases/{case.id}/decisions", headers=review, json=decision)

    assert (before, decided.status_code) == ([False] * 3, 200)
    assert suppressed() == [True, False, False]


def test_who_decides_is_the_tokens_name(fresh: Web) -> None:
    """Nobody can claim, decide or look as somebody else: names in a request are not known."""
    kim, robin = fresh.headers("review", name="Kim"), fresh.headers("review", name="Robin")
    case = fresh.client.post("/v1/cases/next", headers=kim).json()
    path = f"/v1/cases/{case['id']}"
    decision = {"verdict": "not_ncii", "reason": "seen", "content_token": case["content_token"]}

    claimed = fresh.client.post(f"{path}/claim", headers=robin)
    other = fresh.client.post(f"{path}/decisions", headers=robin, json=decision)
    as_kim = fresh.client.post(
        f"{path}/decisions", headers=robin, json={**decision, "actor": "Kim"}
    )
    done = fresh.client.post(f"{path}/decisions", headers=kim, json=decision)
    undone = fresh.client.post(f"{path}/undo", headers=kim)

    assert [claimed.status_code, other.status_code, as_kim.status_code] == [409, 409, 422]
    assert done.json()["case"]["state"] == CaseState.DISMISSED
    assert undone.json()["state"] == CaseState.OPEN
    assert fresh.client.post("/v1/cases/next", headers=robin).status_code == 200
    assert fresh.client.post("/v1/cases/next", headers=kim).status_code == 204
    entries = list(fresh.world.delist.audit_entries(subject=case["id"]))
    assert {entry.actor for entry in entries if entry.act.startswith("case.decided")} <= {"Kim"}
    assert {entry.actor for entry in entries if entry.act == "case.viewed"} == {"Kim", "Robin"}


def test_lists_name_no_address_and_a_case_no_digest_and_no_reference(fresh: Web) -> None:
    """Only who looks at one case sees where its image is, and that is on record."""
    review = fresh.headers("review", name="Kim")
    ref = "5f0c7d3e-0000-4000-8000-00000000000a"
    fresh.world.offer(NEAR, cases={ref: "Active"})
    listed = fresh.client.get("/v1/cases?every=true", headers=review)
    shown = fresh.client.get(f"/v1/cases/{listed.json()['cases'][0]['id']}", headers=review)
    key = shown.json()["matches"][0]["signal_key"]
    signal = fresh.client.get(f"/v1/signals/{key}", headers=review)
    unknown = fresh.client.get(f"/v1/signals/{NEAR.hex()[:32]}", headers=review)
    fresh.world.withdraw(NEAR)
    gone = fresh.client.get(f"/v1/signals/{key}", headers=review)

    assert "site.example" not in listed.text
    assert URL in shown.text
    assert (signal.json()["state"], signal.json()["references"]) == ("live", 1)
    assert (gone.json()["state"], unknown.status_code) == ("withdrawn", 404)
    everything = listed.text + shown.text + signal.text + gone.text
    content = fresh.world.case_of(URL).content_sha256
    assert not any(secret in everything for secret in (ref, NEAR.hex(), content))


def test_a_consumer_reads_waits_and_acknowledges_for_itself_alone(fresh: Web) -> None:
    """A reader that waits is answered when the record comes; another's place cannot be moved."""
    fresh.world.delist.sinks.followers.add("engine", actor="operator")
    engine, other = fresh.headers("follow", name="engine"), fresh.headers("follow", name="other")
    got: list[dict[str, object]] = []

    def wait() -> None:
        answer = fresh.client.get("/v1/suppressions?wait_s=20", headers=engine)
        got.append(answer.json())

    waiting = threading.Thread(target=wait)
    waiting.start()
    case = fresh.world.case_of(URL)
    fresh.client.post(
        f"/v1/cases/{case.id}/decisions",
        headers=fresh.headers("review", name="Kim"),
        json={"verdict": "ncii", "reason": "seen", "content_token": case.content_sha256[:16]},
    )
    waiting.join(15)
    ack = {"sequence": got[0]["next"]}
    stolen = fresh.client.post("/v1/consumers/engine/ack", headers=other, json=ack)
    done = fresh.client.post("/v1/consumers/engine/ack", headers=engine, json=ack)
    standing = fresh.client.get("/v1/consumers", headers=fresh.headers("admin")).json()

    key: ConsumerKey = fresh.world.delist.sinks.followers.key("engine")
    assert got[0]["instructions"][0]["url_key"] == key.of_canonical(URL)  # type: ignore[index]
    assert "site.example" not in str(got)
    assert (stolen.status_code, done.status_code) == (403, 200)
    assert (done.json()["lag"], standing["consumers"][0]["position"]) == (0, ack["sequence"])
    unknown = fresh.client.get("/v1/suppressions", headers=other)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_consumer")


def test_an_appeal_is_taken_in_and_shown_with_what_it_holds(fresh: Web) -> None:
    """Taking it in says the same of an address that is known and of one that is not."""
    kim = fresh.headers("review", name="Kim")
    asked = [
        fresh.client.post(
            "/v1/appeals", headers=kim, json={"url": url, "contact": "me", "text": "why"}
        ).json()
        for url in (URL, "https://site.example/unknown.jpg")
    ]
    listed = fresh.client.get("/v1/appeals?every=true", headers=kim)
    shown = fresh.client.get(f"/v1/appeals/{asked[0]['appeal_id']}", headers=kim).json()

    assert [sorted(entry) for entry in asked] == [["appeal_id", "places", "token", "until"]] * 2
    assert len(listed.json()["appeals"]) == 2
    assert "site.example" not in listed.text
    assert (shown["image_url"], shown["contact"], shown["case_id"]) == (URL, "me", None)


def test_metrics_count_by_route_and_never_name_a_path(fresh: Web) -> None:
    """A path may hold an id; what strangers make up adds no series."""
    headers = fresh.headers("metrics", "review")
    for path in (f"/v1/cases/{MARK}", f"/{MARK}"):
        fresh.client.get(path, headers=headers)
    text = fresh.client.get("/metrics", headers=headers).text

    wanted = 'delist_http_requests_total{method="GET",route="/v1/cases/{case_id}",status="404"} 1.0'
    assert wanted in text
    assert "delist_cases_awaiting_person 1.0" in text
    assert "delist_stores_up 1.0" in text
    assert MARK not in text


def test_readiness_names_the_part_and_no_feed(tmp_path: Path) -> None:
    """Without a sync, and long after one, a process is not ready; operators see which feed."""
    with opened(tmp_path / "data") as web:
        never = web.client.get("/readyz")
        web.world.offer(NEAR)
        synced = web.client_of_new_app().get("/readyz")
        web.world.clock.advance(hours=2)
        client = web.client_of_new_app()
        stale = client.get("/readyz")
        told = client.get("/v1/status", headers=web.headers("admin")).json()

    assert (never.status_code, never.json()["parts"]["feeds"]) == (503, "stale")
    assert (synced.status_code, synced.json()["ready"]) == (200, True)
    assert (stale.status_code, stale.json()["parts"]["feeds"]) == (503, "stale")
    assert FEED not in never.text + synced.text + stale.text
    assert told["feed_ages_s"][FEED] > 7000
    assert stale.json()["troubles"] == ["feed_stale"]
    (trouble,) = (found for found in told["conditions"] if found["code"] == "feed_stale")
    assert (trouble["subject"], trouble["detail"]) == (FEED, "last synced 2 hours ago")


def test_a_case_store_that_fails_is_said_to_and_costs_no_more(tmp_path: Path) -> None:
    """Not ready, and 503 for who calls; a process that answers at all stays alive."""
    with opened(tmp_path / "data") as web:
        headers = web.headers("serve")
        web.world.delist.database.close()
        for path in web.world.delist.database.data_dir.glob("delist.sqlite3*"):
            path.unlink()
        (web.world.delist.database.data_dir / "delist.sqlite3").write_bytes(b"broken" * 1000)
        client = web.client
        ready = client.get("/readyz")
        asked = client.post("/v1/suppressed", headers=headers, json={"urls": [URL]})
        alive = client.get("/healthz")

    assert (ready.status_code, ready.json()["parts"]["cases"]) == (503, "failing")
    assert (asked.status_code, asked.json()["code"]) == (503, "store_unavailable")
    assert "sqlite" not in asked.text
    assert alive.status_code == 200


def test_nothing_is_decided_on_a_store_that_was_put_back(fresh: Web) -> None:
    """A 503 that says why, and that trying again in a moment does not help."""
    review = fresh.headers("review", name="Kim")
    case = fresh.client.post("/v1/cases/next", headers=review).json()
    path = f"/v1/cases/{case['id']}/decisions"
    decision = {"verdict": "ncii", "reason": "seen", "content_token": case["content_token"]}
    fresh.world.delist.indexer.store.mark_restored(taken_at=START, kept="none")
    answer = fresh.client.post(path, headers=review, json=decision)

    assert (answer.status_code, answer.json()["code"]) == (503, "restored")
    assert "put back from a backup" in answer.json()["detail"]
    assert fresh.world.case_of(URL).verdict is None


def test_tokens_are_made_listed_and_revoked_from_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What opens is shown once; a wrong scope or a time that is over is refused."""
    base = ["--data-dir", str(tmp_path), "--json", "token"]

    def run(*words: str) -> tuple[int, list[dict[str, Any]]]:
        code = main([*base, *words])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    code, (made,) = run("add", "crawler", "--scope", "index,serve", "--expires", "2999-01-01")
    _, listed = run("list")
    revoked, _ = run("revoke", "crawler")
    again, _ = run("revoke", "crawler")
    wrong, _ = run("add", "x", "--scope", "everything")
    over, _ = run("add", "x", "--scope", "index", "--expires", "2001-01-01")
    _, last = run("list")

    assert (code, revoked, again, wrong, over) == (0, 0, 2, 2, 2)
    assert made["token"].startswith(f"delist_{made['id']}_")
    assert made["scopes"] == ["index", "serve"]
    assert "token" not in listed[0]
    assert (listed[0]["state"], last[0]["state"]) == ("valid", "revoked")

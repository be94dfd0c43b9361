"""Steps 1 to 5: the scene, the feed, the crawl, what it leads to, and a person's decision."""

from typing import Any

from delist.ops.demo.album import COPIES, EDITS, Role
from delist.ops.demo.reports import OTHER_SIGNALS
from delist.ops.demo.stage import Stage, Step
from delist.ops.demo.telling import count_of
from delist.ops.standin import name_odd_records
from indexer.model import Hasher

_THROTTLED, _ANSWERED = 429, 200


def set_scene(stage: Stage, step: Step) -> None:
    """Site and stand-in are up, and a configuration names them."""
    album, site = stage.album, stage.site
    stage.commands.start()
    stage.configure()
    reported = album.hashers[: COPIES + 1]
    odd = len(name_odd_records())
    step.counts = {
        "photos": len(album.pictures),
        "pages": len(site.pages),
        "copies": len(album.having(Role.COPY, Role.FURTHER, Role.LATE)),
        "signals": len(reported) + OTHER_SIGNALS + odd,
        "odd_records": odd,
    }
    stage.narrator.say(
        f"A website at {site.base_url}/ shows {count_of(len(album.pictures), 'photo')} on"
        f" {count_of(len(site.pages), 'page')}. {step.counts['copies']} of them are edited copies"
        " of photos that somebody reported. All are drawn by the program."
    )
    stage.narrator.say(
        f"A stand-in of StopNCII at {stage.standin.base_url} holds"
        f" {count_of(step.counts['signals'], 'signal')}: hashes of {len(reported)} reported"
        f" photos ({reported.count(Hasher.CPP)} made as Meta's C++ does,"
        f" {reported.count(Hasher.WEB)} as the browser does), {OTHER_SIGNALS} of photos that are"
        f" nowhere here, and {odd} odd records of the kinds that StopNCII is known or expected to"
        " send. It has never seen a photo."
    )


def sync_feed(stage: Stage, step: Step) -> None:
    """The feed is read, although its first answer is a refusal."""
    [report] = stage.commands.run("feed", "sync")
    asked = [seen.status for seen in stage.standin.requests if seen.endpoint == "FetchHashes"]
    step.counts = _some(report, "pages", "records", "active", "withdrawn", "quarantined", "unknown")
    step.counts |= {"throttled": asked.count(_THROTTLED), "kept": sum(report["kept"].values())}
    step.expect_counts(throttled=1, pages=asked.count(_ANSWERED))
    reported = OTHER_SIGNALS + COPIES + 1
    step.expect(step.counts["active"] >= reported, "signals are missing after the sync")
    stage.narrator.say(
        "The stand-in turned the first request away (429, come back in a second); the client"
        f" waited and asked again. {count_of(report['records'], 'record')} on"
        f" {count_of(report['pages'], 'page')}: {report['active']} signals are matched from now on."
        f" Of the odd ones, {step.counts['kept']} of other kinds are kept,"
        f" {report['quarantined']} without a usable hash are in quarantine, and"
        f" {count_of(report['unknown'], 'unknown word')} cost no signal."
    )


def crawl_site(stage: Stage, step: Step) -> None:
    """Every image is visited, hashed in memory and matched; intake decides what may act."""
    [report] = stage.commands.run("crawl", f"{stage.site.base_url}/", "--allow-private-addresses")
    intake = report["intake"]
    step.counts = _some(report, "pages", "images", "hashed", "matches")
    step.counts |= {"refused": sum(report["refused"].values()), "crawl_s": report["seconds"]}
    step.counts |= _some(intake, "cases", "suppressed", "review")
    photos = len(stage.album.pictures)
    step.expect_counts(pages=len(stage.site.pages), images=photos, hashed=photos, refused=0)
    step.expect_counts(matches=COPIES + 1, cases=COPIES + 1, suppressed=COPIES, review=1)
    stage.expected = stage.urls_of(stage.album.having(Role.COPY))
    stage.narrator.say(
        f"{count_of(report['pages'], 'page')} and {count_of(report['images'], 'image')} in"
        f" {report['seconds']:.1f} s; each image was hashed in memory, both ways, upright and in"
        f" seven mirrorings and turns, and compared. {report['matches']} match a signal:"
        f" {intake['suppressed']} close enough to be suppressed at once, provisionally, and"
        f" {intake['review']} that waits for a person."
    )


def ask_results(stage: Stage, step: Step) -> None:
    """Every planted copy is suppressed, and no other image is."""
    answers = stage.check_results(step)
    stage.narrator.table(_edits(stage, answers))
    others = len(answers) - len(stage.expected)
    stage.narrator.say(
        f"{step.counts['suppressed'] - step.counts['wrong']} of {len(stage.expected)} planted"
        f" copies are suppressed; {step.counts['wrong']} of the {others} other images are."
    )


def let_person_decide(stage: Stage, step: Step) -> None:
    """What lies beyond the automatic band waits for a person, and their word counts."""
    listed = stage.commands.run("cases", "list")
    waiting = [case for case in listed if case["state"] == "open"]
    step.counts = {"listed": len(listed), "open": len(waiting)}
    step.expect_counts(listed=COPIES + 1, open=1)
    edit = stage.album.having(Role.FURTHER)[0].edit
    for case in waiting[:1]:
        step.counts["distance_bits"] = case["distance_bits"]
        stage.narrator.say(
            f"{len(listed)} cases are listed: those that are suppressed provisionally, for a person"
            f" to confirm, and one that is open. It has {edit} and is {case['distance_bits']} bits"
            " away; up to 20 the machine may act alone, up to 31 it may only ask."
        )
        reason = "same picture with a caption bar"
        words = ("--verdict", "ncii", "--actor", "demo-reviewer", "--reason", reason)
        [decided] = stage.commands.run("decide", case["id"], *words)
        step.expect(decided["state"] == "suppressed", f"the case is {decided['state']}")
    stage.expected |= stage.urls_of(stage.album.having(Role.FURTHER))
    stage.check_results(step)
    stage.narrator.say(f"Now {step.counts['suppressed']} images are suppressed.")


def _edits(stage: Stage, answers: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Say of every kind of copy how many are suppressed, and at what distance they matched."""
    rows = []
    for edit in EDITS:
        copies = [picture for picture in stage.album.having(Role.COPY) if picture.edit == edit]
        records = [answers[stage.site.url_of(picture)]["records"] for picture in copies]
        bits = [str(held[0]["basis"]["distance_bits"]) for held in records if held]
        found = f"{len(bits)} of {len(copies)} suppressed"
        rows.append((edit, f"{found}, matched at {' and '.join(bits) or 'no'} bits"))
    return rows


def _some(report: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: report[name] for name in names}

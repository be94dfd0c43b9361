"""Steps 6 to 10: a new report, a withdrawal, what survivors and the feed hear, the ledger."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from delist.ops.demo.album import FURTHER, Role
from delist.ops.demo.reports import ASKS
from delist.ops.demo.stage import Stage, Step
from delist.ops.demo.telling import count_of

_PENDING, _BLOCKED = "PendingReview", "Blocked"
_PHOTOS = "/photos/"


def report_later(stage: Stage, step: Step) -> None:
    """A new signal reaches images that are indexed already, without a recrawl."""
    copies = stage.album.having(Role.LATE)
    requests = stage.site.requests
    stage.standin.put(stage.reports.late_record())
    reported_at = datetime.now(UTC)
    [report] = stage.commands.run("feed", "sync")
    stage.expected |= stage.urls_of(copies)
    answers = stage.check_results(step)
    records = [record for p in copies for record in answers[stage.site.url_of(p)]["records"]]
    times = [datetime.fromisoformat(record["effective_at"]) for record in records]
    step.counts |= {"added": report["added"], "compared": report["scan"]["images"]}
    step.counts |= {"matches": report["scan"]["matches"], "scan_s": report["scan"]["seconds"]}
    step.counts["site_requests"] = stage.site.requests - requests
    step.expect_counts(added=1, matches=len(copies), site_requests=0)
    if times:
        step.counts["feed_to_suppression_s"] = round((max(times) - reported_at).total_seconds(), 3)
    matches = count_of(report["scan"]["matches"], "match", "matches")
    stage.narrator.say(
        "One more person reports a photo; copies of it were crawled before anybody had reported it."
        f" The sync brought {count_of(report['added'], 'new signal')}, and the re-scan compared it"
        f" with the stored hashes of all images: {matches}, suppressed"
        f" {step.counts.get('feed_to_suppression_s', 0):.1f} s after the feed had it. The website"
        f" was asked for nothing ({count_of(step.counts['site_requests'], 'request')})."
    )


def withdraw(stage: Stage, step: Step) -> None:
    """What rested on a withdrawn report alone is lifted; what others reported too stays."""
    lifted = stage.album.copies_of(*stage.reports.only_withdrawn)
    records = stage.reports.withdrawal()
    for record in records:
        stage.standin.put(record)
    withdrawn_at = datetime.now(UTC)
    [report] = stage.commands.run("feed", "sync")
    seconds = round((datetime.now(UTC) - withdrawn_at).total_seconds(), 3)
    stage.expected -= stage.urls_of(lifted)
    stage.check_results(step)
    step.counts |= {"withdrawn": report["withdrawn"], "lifted": report["intake"]["revoked"]}
    step.counts["feed_to_lifting_s"] = seconds
    step.expect_counts(withdrawn=len(lifted), lifted=len(lifted))
    stage.narrator.say(
        f"A person withdraws the report of {count_of(len(records), 'photo')}."
        f" {count_of(report['withdrawn'], 'signal')} left the store, and"
        f" {count_of(report['intake']['revoked'], 'suppression')} ended within {seconds:.1f} s;"
        " the photo that somebody else reported too stays suppressed, and so do"
        f" {step.counts['suppressed'] - 1} others."
    )


def tell_survivor(stage: Stage, step: Step) -> None:
    """Hosts and counts for everybody, addresses for the holder of the access code."""
    run, case_ref = stage.commands.run, stage.asker
    [summary] = run("report", "survivor", case_ref)
    [issued] = run("access-code", case_ref)
    stage.access_code = issued["code"]
    words = ("report", "survivor", case_ref, "--access-code", stage.access_code)
    [full] = run(*words)
    page = stage.commands.write("report.html", *words, "--format", "html")
    addresses = [url for image in full.get("images", ()) for url in image["image_urls"]]
    text = page.read_text(encoding="utf-8")
    step.counts = {name: full[name] for name in ("found", "delisted", "under_review")}
    step.counts |= {"hosts": len(summary["hosts"]), "addresses": len(addresses)}
    step.counts["addresses_without_code"] = json.dumps(summary).count(_PHOTOS)
    step.counts["addresses_in_html"] = sum(url in text for url in addresses)
    mine = len(stage.reports.of(ASKS))
    step.expect_counts(found=mine, delisted=mine, under_review=0, hosts=1)
    step.expect_counts(addresses=mine, addresses_in_html=mine, addresses_without_code=0)
    step.expect(
        not any("http" in url or "." in url.split("/")[2].replace("[.]", "") for url in addresses),
        "an address in the report would open",
    )
    stage.narrator.say(
        f"Without the code: {summary['found']} images found on"
        f" {count_of(len(summary['hosts']), 'host')}, {summary['delisted']} delisted, no address."
        f" With the code: the {count_of(len(addresses), 'address', 'addresses')} too, written so"
        " that they do not open by accident. The case is made up, so it may be shown here."
    )


def tell_feed(stage: Stage, step: Step) -> None:
    """The feed heard of every signal that matched, and of no other."""
    told = [(item["hashValue"], item["feedbackValue"]) for item in stage.standin.feedback]
    last = dict(told)
    step.counts = {"words": dict(Counter(word for _, word in told)), "signals": len(last)}
    digests = stage.album.digests
    expected = {d: _BLOCKED if n == FURTHER else _PENDING for n, d in enumerate(digests)}
    step.expect(last == expected, "the feed was not told what became of its signals")
    stage.narrator.say("What the stand-in received, a word for each hash that matched:")
    stage.narrator.table((word, str(count)) for word, count in step.counts["words"].items())
    stage.narrator.say(
        f"{_PENDING} with the first match; {_BLOCKED} after the person's decision in step 5."
    )


def read_ledger(stage: Stage, step: Step) -> None:
    """The ledger is as it was written, and whoever replays it gets the same results."""
    [verified] = stage.commands.run("suppressions", "verify")
    path = stage.commands.write("suppressions.jsonl", "suppressions", "export")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    actions = Counter(record["action"] for record in records)
    in_effect = _replay(records)
    step.counts = {"records": verified["records"], "exported": len(records), **actions}
    step.counts["in_effect"] = len(in_effect)
    lifted = len(stage.album.copies_of(*stage.reports.only_withdrawn))
    step.expect_counts(exported=verified["records"], revoke=lifted)
    step.expect(verified["verified"] is True, "the ledger does not verify")
    step.expect(in_effect == stage.expected, "a replay of the ledger gives other results")
    stage.narrator.say(
        f"{count_of(len(records), 'record')}, chained and all as written:"
        f" {actions['suppress']} to suppress, {actions['revoke']} to lift. Whoever applies them in"
        f" order suppresses {count_of(len(in_effect), 'image')}, the same as Delist's own filter."
    )


def _replay(records: list[dict[str, Any]]) -> set[str]:
    in_effect: set[str] = set()
    for record in records:
        if record["action"] == "suppress":
            in_effect.add(record["image_url"])
        else:
            in_effect.discard(record["image_url"])
    return in_effect

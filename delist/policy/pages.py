"""What pages say of an image, as the policy weighs it: never for acting, seldom against. Pure.

Whoever shows an image writes the page, so a mark may be planted to hurt somebody or to escape:

(1) No mark speaks for acting alone.
(2) Urgent marks bring a person sooner to what is still shown, and change nothing else.
(3) A doubtful mark sends a match to a person where most sites that show the image bear it. It does
    not count where a page that shows it labels itself as for adults or bears an urgent mark, where
    people have confirmed images of the same site, and once the machine has acted: what is hidden
    stays so until a person has looked.
(4) What waits for such a mark is urgent, too, so that a page cannot buy time by it; and so is what
    was hidden in spite of it.
"""

from collections.abc import Iterator

from delist.policy.checks import Check, Says
from delist.policy.facts import CaseFacts, MarkFacts
from delist.policy.rules import PageRules
from indexer.model import PageMark

_SAYS = {
    PageMark.ADULT: "label themselves as for adults",
    PageMark.ABUSE_WORDS: "name the abuse in their title or address",
    PageMark.IMAGE_WORDS: "name the abuse in what they write about it",
    PageMark.NEWS: "say that they are news articles",
    PageMark.NEWS_IMAGE: "name it as the picture of their news article",
    PageMark.ARTICLE: "say that they are articles",
    PageMark.DECORATION: "show it as a logo or an icon",
}
NAME, DOUBT = "page", "page_doubt"


def page_checks(facts: CaseFacts, rules: PageRules) -> Iterator[Check]:
    """Say what the pages say, and whether that sends the image to a person."""
    pages = facts.pages
    for found in pages.marked:
        sooner = "; a person sees it sooner" if found.mark in rules.urgent else ""
        text = f"{found.pages} of {pages.pages} pages that show it {_SAYS[found.mark]}{sooner}"
        yield Check(name=NAME, says=Says.NOTE, text=text)  # (1), (2)
    doubt = _doubtful(facts, rules)
    if doubt is None:
        return
    outweighed = _outweighed(facts, rules)
    if not outweighed and facts.acted:
        outweighed = "the machine has acted, which stands until a person decides"
    what = f"on most sites that show it, pages {_SAYS[doubt.mark]}"
    yield Check(
        name=DOUBT,
        says=Says.NOTE if outweighed else Says.AGAINST,
        text=f"{what}; that does not count: {outweighed}" if outweighed else what,
    )


def urgency(facts: CaseFacts, rules: PageRules, *, hidden: bool) -> int:
    """Return the points of risk that pages add for the queue.

    Args:
        hidden: the image is suppressed already: then what may be wrong about that is urgent.
    """
    doubted = _doubtful(facts, rules) is not None and not _outweighed(facts, rules)  # (4)
    named = any(found.mark in rules.urgent for found in facts.pages.marked)
    return rules.urgent_risk if doubted or (named and not hidden) else 0


def _doubtful(facts: CaseFacts, rules: PageRules) -> MarkFacts | None:
    """Find the first doubtful mark that most sites bear."""
    for found in facts.pages.marked:
        if found.mark in rules.doubtful and 2 * found.sites > facts.pages.sites:
            return found
    return None


def _outweighed(facts: CaseFacts, rules: PageRules) -> str:
    """Say why a doubtful mark says nothing here, or nothing if it does."""  # (3)
    marks = {found.mark for found in facts.pages.marked}
    if PageMark.ADULT in marks or not marks.isdisjoint(rules.urgent):
        return "a page says otherwise"
    if facts.site.confirmed:
        return "people confirmed images of this site"
    return ""

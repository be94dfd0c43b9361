"""The report of an evaluation: one HTML file that stands alone, and a table for terminals."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from delist.errors import UsageError
from delist.ops.evaluate.plots import distance_plot, recall_plot
from delist.ops.evaluate.summary import ALONE, FAST_BITS, FOR_REVIEW
from indexer.hashing.explained import THRESHOLD_BITS as DEEP_BITS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 sans-serif; color: #222; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .25em .7em; text-align: right }
th:first-child, td:first-child { text-align: left } tr { border-bottom: 1px solid #ddd }
th { vertical-align: bottom } svg { max-width: 100%; height: auto; margin: 1em 0 }
"""
_LIMITS = """\
Only the edits named here were tried, on these photos; others make other marks.
Strangers are the other signals at hand. If they are few, or of another kind than those of a feed, \
the false matches of a feed are not known from them.
False matches among more signals than were looked at are carried on along a straight line (of \
logarithms). Pictures of simple shapes, screens of text, flags and logos collide more often than \
photographs.
Photos of one scene that were not recognised as such count as strangers, so rates are too high \
rather than too low.""".splitlines()


def write_report(folder: Path, document: dict[str, Any]) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json``; returns their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    page, data = folder / "report.html", folder / "report.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(html_of(document), encoding="utf-8")
        data.write_text(json.dumps(document, indent=1), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out: cannot write {folder}: {error.strerror}") from None
    return page, data


def html_of(document: dict[str, Any]) -> str:
    """Lay the report out as a page without script, which fetches nothing."""
    histograms = document["histograms"]
    return "".join((
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>Delist: evaluation</title><style>{_STYLE}</style></head><body>",
        "<h1>How well edited copies are found again</h1>",
        f"<p>{escape(_what(document))}</p>",
        recall_plot(document["edits"]),
        _table(_EDIT_HEAD, _edit_rows(document)),
        distance_plot(histograms, "fast", threshold_bits=FAST_BITS),
        distance_plot(histograms, "deep", threshold_bits=DEEP_BITS),
        f"<h2>False matches an image, among {document['signals_extrapolated_to']:,} signals</h2>",
        _table(_FALSE_HEAD, _false_rows(document)),
        f"<h2>Recommended</h2>{_list(_advice(document))}",
        f"<h2>What this cannot see</h2>{_list(_LIMITS)}",
        _missed(document),
        "</body></html>\n",
    ))  # fmt: skip


def text_of(document: dict[str, Any]) -> str:
    """Lay the report out for a terminal."""
    lines = [_what(document), ""]
    for head, rows in (
        (_EDIT_HEAD, list(_edit_rows(document))),
        (_FALSE_HEAD, list(_false_rows(document))),
    ):
        widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        lines.append("")
    return "\n".join([*lines, *_advice(document)])


_EDIT_HEAD = (
    *("edit", "copies", "fast %", "fast or deep %"),
    *("own, median", "own, 95 %", "nearest stranger", "matched"),
)
_FALSE_HEAD = ("tier and threshold", "seen", "expected", "lower", "upper")


def _what(document: dict[str, Any]) -> str:
    return (
        f"{document['photos']:,} photos, {document['copies']:,} edited copies, "
        f"{document['signals_looked_at']:,} signals; hashes as the feed's "
        f"{document['settings']['hasher']} path; fast within {FAST_BITS} bits, deep within "
        f"{DEEP_BITS:.0f} weighted bits (columns own and stranger). "
        f"{document['same_scene_pairs_left_out']:,} pairs that show one scene are left out."
    )


def _edit_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for edit in document["edits"]:
        yield (
            edit["name"],
            f"{edit['copies']:,}",
            f"{100 * edit['recall_fast']:.1f}",
            f"{100 * edit['recall_deep']:.1f}",
            f"{edit['deep_bits']['50']:.0f}",
            f"{edit['deep_bits']['95']:.0f}",
            f"{edit['nearest_stranger_deep_bits']:.0f}",
            f"{edit['strangers_matched']:,}",
        )


def _false_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for tier in ("fast", "deep"):
        for one in document["false_matches"][tier]:
            yield (
                f"{tier} {one['threshold_bits']:.0f}",
                f"{one['observed']:,}",
                *(f"{one[name]:.1e}" for name in ("rate", "low", "high")),
            )


def _advice(document: dict[str, Any]) -> Iterator[str]:
    words = (
        ("fast_for_review_bits", "Fast, for a person to look at", FOR_REVIEW),
        ("fast_alone_bits", "Fast, where something is done first", ALONE),
        ("deep_for_review_bits", "Deep, for a person to look at", FOR_REVIEW),
    )
    for key, what, most in words:
        bits = document["recommended"][key]
        found = "none of those tried" if bits is None else f"up to {bits:.0f} bits"
        yield f"{what} (at most {most:.0e} false matches an image, upper end): {found}."


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def _list(lines: Iterator[str] | Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _missed(document: dict[str, Any]) -> str:
    if "missed" not in document:
        return ""
    lines = [f"{one['file']}: {one['edit']}" for one in document["missed"]]
    return f"<h2>Missed</h2>{_list(lines)}"

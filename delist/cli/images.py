"""Commands on images: ``hash``, ``check``, ``crawl``, ``scan``, ``intake``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.settings import CrawlJob
from delist.cli.clustering import crawl_with_others
from delist.cli.context import Context, Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.scanning import LOCAL, EngineName, check_store_engine, scan_files
from delist.cli.steps import send_feedback, take_in
from delist.errors import UsageError
from indexer.errors import InvalidDigestError
from indexer.match import parse_digest, parse_md5
from indexer.model import FILE_VARIANT, MD5_BYTES, HashedImage, Match
from indexer.settings import DEEP, FAST

if TYPE_CHECKING:
    from delist.cli.files import FileOutcome
    from indexer.build import Indexer

Paths = Annotated[list[Path] | None, typer.Argument(help="Files or folders.")]
_DIGESTS_PER_BATCH = 4096


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("hash")(hash_files)
    app.command("check")(check)
    app.command("crawl")(crawl)
    app.command("intake")(intake)
    scans = typer.Typer(help="Re-scans of stored images.", no_args_is_help=True)
    scans.command("delta")(scan_delta)
    scans.command("full")(scan_full)
    scans.command("recrawl")(recrawl)
    scans.command("files")(scan_files)
    app.add_typer(scans, name="scan")


def hash_files(ctx: typer.Context, paths: Annotated[list[Path], typer.Argument()]) -> None:
    """Hash files or folders; nothing is stored."""
    from delist.cli.files import hash_paths

    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist:
        limits = delist.settings.indexer.hashing
        for outcome in hash_paths(paths, limits):
            code = max(code, _show_refusal(context, outcome))
            if isinstance(outcome.hashed, HashedImage):
                _show_hashes(context, outcome.path, outcome.hashed)
    leave(code)


def check(
    ctx: typer.Context,
    paths: Paths = None,
    digests: Annotated[
        str | None,
        typer.Option(
            help="A file of digests, one a line: 64 hex digits of PDQ, 32 of a video's MD5;"
            " - for standard input."
        ),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(help='"fast", or "deep": edits are undone too. Default: the configuration.'),
    ] = None,
) -> None:
    """Hash files or folders, or take digests, and look them up; nothing is stored."""
    from delist.cli.files import hash_paths

    context = context_of(ctx)
    if tier not in {None, FAST, DEEP}:
        raise UsageError(f'--tier: "{FAST}" or "{DEEP}", not "{tier}"')
    if bool(paths) == (digests is not None):
        raise UsageError("check: name either files or --digests FILE")
    with context.open() as delist:
        if digests is not None:
            code = _check_digests(context, delist.indexer, digests)
        else:
            code = Exit.DONE
            limits = delist.settings.indexer.hashing
            deep = (tier or limits.tier) != FAST
            for outcome in hash_paths(paths or [], limits, deep=deep):
                code = max(code, _show_refusal(context, outcome))
                if isinstance(outcome.hashed, HashedImage):
                    matches = delist.indexer.match(outcome.hashed)
                    _show_matches(
                        context,
                        "path",
                        str(outcome.path),
                        matches,
                        shortcomings=_shortcomings(outcome.hashed),
                    )
    leave(code)


def crawl(  # noqa: PLR0913, PLR0917 - typer reads options off the arguments
    ctx: typer.Context,
    urls: Annotated[
        list[str] | None, typer.Argument(help="Pages, images or sitemaps; none to join others.")
    ] = None,
    depth: Annotated[int, typer.Option(help="Page links followed away from a seed.", min=0)] = 1,
    max_pages: Annotated[
        int | None, typer.Option(help="Most pages that are visited.", min=1)
    ] = None,
    sitemap: Annotated[
        bool, typer.Option("--sitemap", help="Also read the hosts' sitemaps.")
    ] = False,
    allow_private_addresses: Annotated[
        bool,
        typer.Option(
            "--allow-private-addresses", help="Also fetch from loopback and private networks."
        ),
    ] = False,
    frontier: Annotated[
        str | None, typer.Option(help="Share the crawl: redis://HOST:PORT/DB. Needs --to.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Hand what is found to `delist index-from`: nats://HOST.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the shared crawl.")] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Wait for URLs of others when the frontier is empty.")
    ] = False,
) -> None:
    """Crawl with Scrapy; images are hashed, stored and matched, then taken in.

    With --frontier and --to, several crawlers share one crawl, and none of them has a store.
    """
    from crawler.runner import run_crawl

    context = context_of(ctx)
    urls = urls or []
    job = CrawlJob(
        urls=tuple(urls),
        depth=depth,
        max_pages=max_pages,
        sitemap=sitemap,
        allow_private_addresses=allow_private_addresses,
        stay=stay,
    )
    if frontier or to:
        crawl_with_others(context, job, frontier=frontier, to=to, name=name)
        return
    if stay or name:
        raise UsageError("crawl: --stay and --name go with --frontier and --to")
    with context.open() as delist:
        with context.output.progress("crawl") as advance:

            def on_progress(counts: dict[str, Any]) -> None:
                word = f"{counts.get('pages', 0)} pages, {counts.get('images', 0)} images"
                advance(0, None, word)

            result = run_crawl(
                job,
                config=context.config_in_use,
                data_dir=delist.settings.indexer.data_dir,
                crawl_settings=delist.settings.crawler,
                on_progress=on_progress,
            )
        document = document_of(result)
        document["intake"] = take_in(context, delist)
    document["refused_seeds"] = [
        {"url": urls[position], "code": code} for position, code in result.refused_seeds
    ]
    for position, reason in result.refused_seeds:
        context.output.error(f"{urls[position]}: refused ({reason})")
    context.output.result(document)
    leave(Exit.REFUSED if result.refused_seeds else Exit.DONE)


def intake(ctx: typer.Context) -> None:
    """Turn the match and signal logs into cases, decisions and records."""
    context = context_of(ctx)
    with context.open() as delist:
        context.output.result(take_in(context, delist))


def scan_delta(
    ctx: typer.Context,
    intake: Annotated[bool, typer.Option(help="Turn matches into cases and records.")] = True,
    engine: EngineName = LOCAL,
) -> None:
    """Compare signals that are new since the last scan with every stored image."""
    check_store_engine(engine)
    context = context_of(ctx)
    with context.open() as delist:
        with context.output.progress("re-scan") as advance:
            report = delist.scan_delta(on_progress=lambda done, total: advance(done, total, ""))
        document = document_of(report)
        if intake:
            document["intake"] = take_in(context, delist)
        delist.indexer.keep_indexes()
    context.output.result(document)


def scan_full(
    ctx: typer.Context,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped scan was.")
    ] = False,
    intake: Annotated[bool, typer.Option(help="Turn matches into cases and records.")] = True,
    engine: EngineName = LOCAL,
) -> None:
    """Compare every signal with every stored image."""
    check_store_engine(engine)
    context = context_of(ctx)
    with context.open() as delist:
        with context.output.progress("re-scan") as advance:
            report = delist.scan_full(
                resume=resume, on_progress=lambda done, total: advance(done, total, "")
            )
        document = document_of(report)
        if intake:
            document["intake"] = take_in(context, delist)
    context.output.result(document)


def recrawl(
    ctx: typer.Context,
    limit: Annotated[
        int | None, typer.Option(help="Most URLs; default: recrawl.batch.", min=1)
    ] = None,
    allow_private_addresses: Annotated[
        bool,
        typer.Option(
            "--allow-private-addresses", help="Also look at loopback and private networks."
        ),
    ] = False,
) -> None:
    """Look at the suppressed URLs that are due: still there, gone, changed or moved."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.recrawl(limit=limit, allow_private_addresses=allow_private_addresses)
        send_feedback(context, delist)
    context.output.result(document_of(report))


def _check_digests(context: Context, indexer: "Indexer", source: str) -> Exit:
    from delist.cli.files import read_digests

    code = Exit.DONE
    for lines in _batches(read_digests(source)):
        parsed: list[bytes | InvalidDigestError] = [_parsed(line) for line in lines]
        good = [digest for digest in parsed if isinstance(digest, bytes)]
        found = iter(_look_up(indexer, good))
        for line, digest in zip(lines, parsed, strict=True):
            if isinstance(digest, InvalidDigestError):
                code = Exit.REFUSED
                error = {"code": "invalid_digest", "message": str(digest)}
                context.output.result({"digest": line, "error": error}, f"{line}  {digest}")
            else:
                _show_matches(context, "digest", line, next(found))
    return code


def _parsed(line: str) -> bytes | InvalidDigestError:
    try:
        return parse_md5(line) if len(line) == 2 * MD5_BYTES else parse_digest(line)
    except InvalidDigestError as error:
        return error


def _look_up(indexer: "Indexer", digests: Sequence[bytes]) -> list[list[Match]]:
    """Look up digests of pictures and MD5s of files; results in the same order."""
    of_files = [len(digest) == MD5_BYTES for digest in digests]
    pairs = list(zip(digests, of_files, strict=True))
    files = iter(indexer.match_md5s([digest for digest, is_file in pairs if is_file]))
    pictures = iter(indexer.match_digest_list([d for d, is_file in pairs if not is_file]))
    return [next(files if is_file else pictures) for is_file in of_files]


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _DIGESTS_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _show_refusal(context: Context, outcome: "FileOutcome") -> Exit:
    if outcome.error is None:
        return Exit.DONE
    code, message = outcome.error
    context.output.result(
        {"path": str(outcome.path), "error": {"code": code, "message": message}},
        f"{outcome.path}  refused ({code}): {message}",
    )
    return Exit.REFUSED if outcome.named else Exit.DONE


def _show_hashes(context: Context, path: Path, hashed: HashedImage) -> None:
    hashes = [
        {"hasher": entry.hasher.value, "variant": entry.variant, "digest": entry.digest.hex()}
        for entry in hashed.hashes
    ]
    document = {
        "path": str(path),
        "sha256": hashed.sha256.hex(),
        "mime": hashed.mime,
        "width": hashed.width,
        "height": hashed.height,
        "quality": hashed.quality,
        **_shortcomings(hashed),
        "hashes": hashes,
    }
    lines = [
        f"{entry['digest']}  {entry['hasher']}  quality {hashed.quality}  {path}"
        for entry in hashes
        if entry["variant"] == "upright"
    ]
    lines += [
        f"{entry['digest']}  {entry['hasher']}  whole file  {path}"
        for entry in hashes
        if entry["variant"] == FILE_VARIANT
    ]
    text = "\n".join(lines)
    if hashed.incomplete is not None:
        text += f"\n{path}  not all of it could be decoded ({hashed.incomplete})"
    context.output.result(document, text)


def _shortcomings(hashed: HashedImage) -> dict[str, Any]:
    """Say what is wrong with an image that was hashed all the same; nothing if nothing is."""
    if hashed.incomplete is None:
        return {}
    return {"incomplete": hashed.incomplete.value, "partial": hashed.is_partial}


def _show_matches(
    context: Context,
    key: str,
    name: str,
    matches: Sequence[Match],
    shortcomings: dict[str, Any] | None = None,
) -> None:
    found = [
        {
            "feed": match.feed,
            "signal": match.signal_key.hex(),
            "distance_bits": match.distance_bits,
            "hasher": match.hasher.value if match.hasher else None,
            "variant": match.variant,
            **({"weighted_bits": match.weighted_bits} if match.is_deep else {}),
        }
        for match in matches
    ]
    lines = [
        f"{name}  matches {entry['feed']} {entry['signal']} at {entry['distance_bits']} bits"
        + (f" ({entry['hasher'] or 'undone'}, {entry['variant']})" if entry["variant"] else "")
        for entry in found
    ]
    document = {key: name, **(shortcomings or {}), "matches": found}
    context.output.result(document, "\n".join(lines) or f"{name}  no match")

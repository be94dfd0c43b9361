"""Whoever answers look-ups: ourselves and others, behind one form.

``threatexchange PDQIndex``
    The public client's index as its users ask it: ``query`` with one digest in hex.
``faiss multi-hash``
    The faiss index inside it, asked directly, a batch at once: without the client's Python.
    Both are one index, filled through faiss, which is faster than the client's own filling.
``faiss flat``
    ``IndexBinaryFlat``: every digest is compared.
``flat scan``
    The same in a kernel of our own, see ``flat_scan``.

All of them are exact at 31 bits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np

from delist.ops.bench.timing import Say, peer_is_installed, resident_bytes, timed
from indexer.ann import MihIndex, NeighbourIndex, choose_index
from indexer.model import DIGEST_BITS, DIGEST_BYTES
from indexer.ports import Digests, Found

OURS, CLIENT, MULTI_HASH = "delist", "threatexchange PDQIndex", "faiss multi-hash"
FLAT, SCAN = "faiss flat", "flat scan"

_LEAST_MEASURED_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """An index that is built, and how it is asked.

    Attributes:
        ask: what is timed; takes uint8[n, 32].
        found: the same as arrays, by query, then distance, then position.
        build_s: seconds that building took.
        size_bytes: what it holds; None where that cannot be told.
        owner: what has to live as long as the index, or empties it.
    """

    name: str
    ask: Callable[[Digests], object]
    found: Callable[[Digests], Found]
    build_s: float
    size_bytes: int | None
    owner: object = None


def contestants(
    held: Digests, *, threshold_bits: int, with_peer: bool, say: Say
) -> Iterator[Contestant]:
    """Build each index over ``held``, uint8[n, 32], one after the other; ourselves first."""
    say("building ours")
    yield ours(held, threshold_bits)
    if with_peer and peer_is_installed():
        say("building the peer's")
        yield from peers(held, threshold_bits)
    say("building the flat ones")
    yield faiss_flat(held, threshold_bits)
    yield flat_scan(held, threshold_bits)


def ours(held: Digests, threshold_bits: int) -> Contestant:
    """Index as Delist does for this number; compiled code is loaded before the time starts."""
    warm = np.zeros((64, DIGEST_BYTES), np.uint8)
    for kind in (MihIndex, NeighbourIndex):
        kind(warm).find(warm[:1], threshold_bits=threshold_bits)

    def build() -> Any:  # noqa: ANN401 - one of ours
        index = choose_index(held)
        index.find(held[:1], threshold_bits=threshold_bits)  # what is built when first asked for
        return index

    def ask(queries: Digests) -> Found:
        found: Found = index.find(queries, threshold_bits=threshold_bits)
        return found

    build_s, index = timed(build)
    arrays = getattr(index, "arrays", None)
    size = held.nbytes if arrays is None else arrays.size_bytes
    return Contestant(name=OURS, ask=ask, found=ask, build_s=build_s, size_bytes=size)


def peers(held: Digests, threshold_bits: int) -> Iterator[Contestant]:
    """Build the public client's index once, and ask it both ways."""
    from threatexchange.signal_type.pdq.pdq_index import PDQIndex  # noqa: PLC0415 - optional

    before = resident_bytes()
    client: Any = PDQIndex()
    client.local_id_to_entry = _Positions()
    multi_hash = client.index.faiss_index
    build_s, _ = timed(multi_hash.add_with_ids, held, np.arange(len(held)))
    client.index.mih_index.nflip = threshold_bits // client.index.mih_index.nhash
    after = resident_bytes()
    grown = after - before if after is not None and before is not None else 0
    size = grown if grown > _LEAST_MEASURED_BYTES else None

    def one_by_one(queries: Digests) -> list[Sequence[Any]]:
        return [client.query(query.tobytes().hex()) for query in queries]

    def found(queries: Digests) -> Found:
        answers = one_by_one(queries)
        matches = [
            (row, match.metadata, match.similarity_info.distance)
            for row, answer in enumerate(answers)
            for match in answer
        ]
        return in_order(*np.array(matches, np.int64).reshape(-1, 3).T)

    if client.get_match_threshold() == threshold_bits:
        yield Contestant(name=CLIENT, ask=one_by_one, found=found, build_s=build_s, size_bytes=size)
    direct = of_faiss(MULTI_HASH, multi_hash, threshold_bits, build_s=build_s, size_bytes=size)
    yield replace(direct, owner=client)


class _Positions(Sequence[Any]):
    """What the client's entries are to it, without their memory: entry n is named n."""

    def __getitem__(self, position: Any) -> Any:  # noqa: ANN401 - the base's signature
        return "", int(position)

    def __len__(self) -> int:
        return 0


def faiss_flat(held: Digests, threshold_bits: int) -> Contestant:
    """Build faiss's flat index."""
    index = faiss.IndexBinaryFlat(DIGEST_BITS)
    build_s, _ = timed(index.add, held)
    return of_faiss(FLAT, index, threshold_bits, build_s=build_s, size_bytes=held.nbytes)


def flat_scan(held: Digests, threshold_bits: int) -> Contestant:
    """Build the flat scan of our own."""
    from delist.ops.bench.flat_scan import FlatScan  # noqa: PLC0415 - compiles

    build_s, index = timed(FlatScan, held)

    def ask(queries: Digests) -> Found:
        return index.find(queries, threshold_bits=threshold_bits)

    return Contestant(
        name=SCAN,
        ask=ask,
        found=lambda queries: in_order(*ask(queries)),
        build_s=build_s,
        size_bytes=index.size_bytes,
    )


def of_faiss(
    name: str,
    index: Any,  # noqa: ANN401 - a binary index of faiss
    threshold_bits: int,
    *,
    build_s: float,
    size_bytes: int | None,
) -> Contestant:
    """Ask an index of faiss, whose radius leaves out the radius itself."""

    def ask(queries: Digests) -> Any:  # noqa: ANN401 - faiss's arrays
        return index.range_search(queries, threshold_bits + 1)

    def found(queries: Digests) -> Found:
        limits, distances, positions = ask(queries)
        rows = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
        return in_order(rows, positions, distances)

    return Contestant(name=name, ask=ask, found=found, build_s=build_s, size_bytes=size_bytes)


def in_order(rows: Any, positions: Any, distances: Any) -> Found:  # noqa: ANN401 - arrays
    """Bring matches in the order that ``AnnIndex.find`` promises."""
    order = np.lexsort((positions, distances, rows))
    return (
        rows[order].astype(np.int64),
        positions[order].astype(np.int64),
        distances[order].astype(np.int32),
    )

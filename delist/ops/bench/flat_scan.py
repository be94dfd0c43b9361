"""The strongest flat scan that we can write: a rival to what is indexed.

Every query is compared with every digest, sixteen queries at once with eight digests side by
side, so that a digest is loaded once for sixteen comparisons. Only the first 128 bits are
counted; where these differ by no more than the radius (three unrelated pairs in 10**9), the
rest is. Hence exact, and faster than any scan that counts all bits. With AVX-512 eight
words are a register; without, LLVM takes several.
"""

# ruff: noqa: ANN401, ARG001 - numba calls these with its own objects, by place

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from indexer.ann.lanes import compiled, count_ones, llvm_function
from indexer.ports import Digests, Found

_LANES, _QUERIES, _WORDS = 8, 16, 4
_NUMBER = ir.IntType(64)
_VECTOR = ir.VectorType(_NUMBER, _LANES)
_SAME_LANE = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), None)


class FlatScan:
    """Exact look-ups in a fixed set of digests by comparing with all. Thread-safe."""

    def __init__(self, digests: Digests) -> None:
        """Hold a copy of ``digests``, uint8[n, 32], word by word."""
        self._count = len(digests)
        self._words = np.zeros((_WORDS, -(-self._count // _LANES) * _LANES), np.uint64)
        self._words[:, : self._count] = digests.view(np.uint64).T
        self.size_bytes = self._words.nbytes

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within the threshold, 0-127, of each query; in no order."""
        asked = np.zeros((-(-len(queries) // _QUERIES) * _QUERIES, _WORDS), np.uint64)
        asked[: len(queries)] = queries.view(np.uint64)
        matches = np.empty((4 * len(queries) + 1024, 3), np.int64)
        while True:
            found = _scan(self._words, asked, self._count, len(queries), threshold_bits, matches)
            if found <= len(matches):
                rows, positions, distances = matches[:found].T
                return rows, positions, distances.astype(np.int32)
            matches = np.empty((found, 3), np.int64)


def _any_near(_context: Any, words: Any, slot: Any, asked: Any, row: Any, radius: Any) -> Any:
    """Say whether, in their first 128 bits, one of 8 digests is near one of 16 queries."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held, queries = (
            context.make_array(signature.args[place])(context, builder, args[place])
            for place in (0, 2)
        )
        rows = builder.extract_value(held.shape, 1)

        def load(word: int) -> Any:
            at = builder.add(args[1], builder.mul(rows, _NUMBER(word)))
            pointer = builder.bitcast(builder.gep(held.data, [at]), _VECTOR.as_pointer())
            vector = builder.load(pointer)
            vector.align = 8
            return vector

        def spread(value: Any) -> Any:
            none = ir.Constant(_VECTOR, ir.Undefined)
            one = builder.insert_element(none, value, ir.IntType(32)(0))
            return builder.shuffle_vector(one, one, _SAME_LANE)

        def differing(query: int, word: int) -> Any:
            at = builder.mul(builder.add(args[3], _NUMBER(query)), _NUMBER(_WORDS))
            key = builder.load(builder.gep(queries.data, [builder.add(at, _NUMBER(word))]))
            return builder.call(count_bits, [builder.xor(first_words[word], spread(key))])

        count_bits = llvm_function(builder, f"llvm.ctpop.v{_LANES}i64", _VECTOR, _VECTOR)
        smaller = llvm_function(builder, f"llvm.umin.v{_LANES}i64", _VECTOR, _VECTOR, _VECTOR)
        first_words = load(0), load(1)
        least = spread(_NUMBER(256))
        for query in range(_QUERIES):
            distances = builder.add(differing(query, 0), differing(query, 1))
            least = builder.call(smaller, [least, distances])
        near = builder.icmp_unsigned("<=", least, spread(args[4]))
        return builder.zext(builder.bitcast(near, ir.IntType(_LANES)), _NUMBER)

    return types.uint64(words, types.int64, asked, types.int64, types.int64), generate


any_near: Any = intrinsic(_any_near)


@compiled(
    types.int64(
        types.uint64[:, ::1], types.uint64[:, ::1], types.int64, types.int64, types.int64,
        types.int64[:, ::1],
    )
)  # fmt: skip
def _scan(
    words: NDArray[np.uint64],
    asked: NDArray[np.uint64],
    digests: int,
    queries: int,
    radius: int,
    matches: NDArray[np.int64],
) -> int:
    """Fill ``matches``, int64[room, 3]: query, digest, distance; returns how many there are."""
    found = 0
    for first in range(0, queries, _QUERIES):
        for slot in range(0, digests, _LANES):
            if any_near(words, slot, asked, first, radius):
                for place in range(slot, min(slot + _LANES, digests)):
                    for query in range(first, min(first + _QUERIES, queries)):
                        distance = 0
                        for word in range(_WORDS):
                            distance += count_ones(words[word, place] ^ asked[query, word])
                        if distance <= radius:
                            if found < len(matches):
                                matches[found, 0] = query
                                matches[found, 1] = place
                                matches[found, 2] = distance
                            found += 1
    return found

"""Machine instructions over a whole digest at once, for ``neighbour_kernels``.

A digest of 32 bytes is sixteen lanes of 16 bits, one a band. Digests are read wherever they
start: no address has to be a multiple of anything. LLVM finds the best form for the processor
at hand; one without gather or compress gets a load or a branch a lane, and the same answers.

numba's cache looks only at the file a kernel is in: who changes this file touches
``neighbour_kernels.py`` too.
"""

# ruff: noqa: ANN401, ARG001 - numba calls these with its own objects, by place

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from indexer.ann.lanes import llvm_function
from indexer.ann.mih_arrays import BAND_BITS, BANDS
from indexer.ann.neighbour_arrays import GROUP_OF_ROWS, WORDS

_BIT, _HALF, _INT, _LONG = (ir.IntType(bits) for bits in (1, 16, 32, 64))
_HALVES, _INTS, _LONGS, _BITS = (ir.VectorType(lane, BANDS) for lane in (_HALF, _INT, _LONG, _BIT))
_ROWS = ir.VectorType(_LONG, GROUP_OF_ROWS)
_DIGEST_BYTES = 2 * BANDS
_BAND_NUMBERS = range(BANDS)


def _constants(lane: Any, values: Any) -> Any:
    values = list(values)
    return ir.Constant(ir.VectorType(lane, len(values)), [ir.Constant(lane, v) for v in values])


def _spread(builder: Any, value: Any, lanes: Any) -> Any:
    one = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, _INT(0))
    same = ir.Constant(ir.VectorType(_INT, lanes.count), None)
    return builder.shuffle_vector(one, one, same)


def _ahead(builder: Any, lanes: Any, bands: int) -> Any:
    """Give each lane the value of the band so many further on the circle."""
    order = _constants(_INT, ((band + bands) % BANDS for band in _BAND_NUMBERS))
    return builder.shuffle_vector(lanes, lanes, order)


def _data(context: Any, builder: Any, signature: Any, args: Any, place: int) -> Any:
    return context.make_array(signature.args[place])(context, builder, args[place]).data


def _load(builder: Any, pointer: Any, lanes: Any, align: int) -> Any:
    loaded = builder.load(builder.bitcast(pointer, lanes.as_pointer()))
    loaded.align = align
    return loaded


def _digest(builder: Any, data: Any, row: Any) -> Any:
    start = builder.gep(data, [builder.mul(row, _LONG(_DIGEST_BYTES))])
    return _load(builder, start, _HALVES, 1)


def _bands_in(_context: Any, digests: Any, row: Any, bitmaps: Any) -> Any:
    """Look each band's value up in that band's bitmap of 2,048 words; bit i: band i is in."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = _data(context, builder, signature, args, 0)
        values = builder.zext(_digest(builder, data, args[1]), _INTS)
        offsets = _constants(_INT, (band << (BAND_BITS - 5) for band in _BAND_NUMBERS))
        words = builder.add(builder.lshr(values, _constants(_INT, [5] * BANDS)), offsets)
        first = builder.ptrtoint(_data(context, builder, signature, args, 2), _LONG)
        steps = builder.shl(builder.zext(words, _LONGS), _constants(_LONG, [2] * BANDS))
        pointers = ir.VectorType(_INT.as_pointer(), BANDS)
        places = builder.inttoptr(builder.add(_spread(builder, first, _LONGS), steps), pointers)
        gather = llvm_function(
            builder, f"llvm.masked.gather.v{BANDS}i32.v{BANDS}p0", _INTS, pointers, _INT,
            _BITS, _INTS,
        )  # fmt: skip
        undefined = ir.Constant(_INTS, ir.Undefined)
        every = _constants(_BIT, [1] * BANDS)
        held = builder.call(gather, [places, _INT(4), every, undefined])
        bits = builder.lshr(held, builder.and_(values, _constants(_INT, [31] * BANDS)))
        return builder.zext(builder.bitcast(builder.trunc(bits, _BITS), _HALF), _LONG)

    return types.uint64(digests, types.int64, bitmaps), generate


def _append_bands(
    _context: Any, digests: Any, row: Any, chosen: Any, tag: Any, keys: Any, sketches: Any,
    held: Any,
) -> Any:  # fmt: skip
    """Append the chosen bands' keys, ``tag << 20 | band << 16 | value``, and their sketches."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = _data(context, builder, signature, args, 0)
        values = builder.zext(_digest(builder, data, args[1]), _INTS)
        shift = _constants(_INT, [BAND_BITS] * BANDS)
        high = builder.shl(_ahead(builder, values, 2), shift)
        sketches_ = builder.or_(_ahead(builder, values, 1), high)
        tag = builder.shl(builder.trunc(args[3], _INT), _INT(20))
        bands = _constants(_INT, (band << BAND_BITS for band in _BAND_NUMBERS))
        keys_ = builder.or_(builder.or_(values, bands), _spread(builder, tag, _INTS))
        chosen = builder.bitcast(builder.trunc(args[2], _HALF), _BITS)
        store = llvm_function(
            builder, f"llvm.masked.compressstore.v{BANDS}i32", ir.VoidType(), _INTS,
            _INT.as_pointer(), _BITS,
        )  # fmt: skip
        for place, lanes in ((4, keys_), (5, sketches_)):
            end = builder.gep(_data(context, builder, signature, args, place), [args[6]])
            builder.call(store, [lanes, end, chosen])
        return builder.add(args[6], builder.ctpop(args[2]))

    numbers = (types.int64, types.uint64, types.int64)
    return types.int64(digests, *numbers, keys, sketches, types.int64), generate


def _near_line(_context: Any, sketches: Any, slot: Any, key: Any, limit: Any) -> Any:
    """Compare 16 sketches from ``slot`` on with ``key``; bit i: slot + i is within ``limit``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = builder.gep(_data(context, builder, signature, args, 0), [args[1]])
        differing = builder.xor(_load(builder, start, _INTS, 4), _spread(builder, args[2], _INTS))
        count_bits = llvm_function(builder, f"llvm.ctpop.v{BANDS}i32", _INTS, _INTS)
        distances = builder.call(count_bits, [differing])
        near = builder.icmp_unsigned("<=", distances, _spread(builder, args[3], _INTS))
        return builder.zext(builder.bitcast(near, _HALF), _LONG)

    return types.uint64(sketches, types.int64, types.uint32, types.uint32), generate


def _compare(_context: Any, digests: Any, row: Any, others: Any, other: Any, allowed: Any) -> Any:
    """Compare two digests in full: ``distance << 16 | starts``.

    Bit i of starts: band i differs by less than ``allowed[i]`` bits, and together with the
    two that follow by less than ``allowed[16 + i]``.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = _digest(builder, _data(context, builder, signature, args, 0), args[1])
        two = _digest(builder, _data(context, builder, signature, args, 2), args[3])
        count_bits = llvm_function(builder, f"llvm.ctpop.v{BANDS}i16", _HALVES, _HALVES)
        bits = builder.call(count_bits, [builder.xor(one, two)])
        limits = _data(context, builder, signature, args, 4)
        own = _load(builder, limits, _HALVES, 2)
        joint = _load(builder, builder.gep(limits, [_LONG(BANDS)]), _HALVES, 2)
        three = builder.add(bits, builder.add(_ahead(builder, bits, 1), _ahead(builder, bits, 2)))
        starts = builder.and_(
            builder.icmp_unsigned("<", bits, own), builder.icmp_unsigned("<", three, joint)
        )
        total = llvm_function(builder, f"llvm.vector.reduce.add.v{BANDS}i16", _HALF, _HALVES)
        distance = builder.zext(builder.call(total, [bits]), _LONG)
        starts = builder.zext(builder.bitcast(starts, _HALF), _LONG)
        return builder.or_(builder.shl(distance, _LONG(BANDS)), starts)

    return types.uint64(digests, types.int64, others, types.int64, allowed), generate


def _first_words(_context: Any, digests: Any, row: Any, columns: Any) -> Any:
    """Store the first words of eight digests from ``row`` on side by side, then the second."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = _data(context, builder, signature, args, 0)
        start = builder.gep(data, [builder.mul(args[1], _LONG(_DIGEST_BYTES))])
        pairs = [  # two digests of four words each
            _load(builder, builder.gep(start, [_LONG(2 * _DIGEST_BYTES * pair)]), _ROWS, 1)
            for pair in range(GROUP_OF_ROWS // 2)
        ]
        columns = _data(context, builder, signature, args, 2)
        for word in range(WORDS):
            few = _constants(_INT, (word, word + 4, word + 8, word + 12))
            low, high = (builder.shuffle_vector(*pairs[at : at + 2], few) for at in (0, 2))
            column = builder.shuffle_vector(low, high, _constants(_INT, range(GROUP_OF_ROWS)))
            place = builder.gep(columns, [_LONG(GROUP_OF_ROWS * word)])
            builder.store(column, builder.bitcast(place, _ROWS.as_pointer())).align = 8
        return context.get_dummy_value()

    return types.void(digests, types.int64, columns), generate


def _near_rows(_context: Any, columns: Any, words: Any, place: Any, limit: Any) -> Any:
    """Compare eight digests' first words with the words ``place``; bit i: digest i is near."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        columns, words = (_data(context, builder, signature, args, place) for place in (0, 1))
        count_bits = llvm_function(builder, f"llvm.ctpop.v{GROUP_OF_ROWS}i64", _ROWS, _ROWS)
        total = ir.Constant(_ROWS, None)
        for word in range(WORDS):
            column = _load(builder, builder.gep(columns, [_LONG(GROUP_OF_ROWS * word)]), _ROWS, 8)
            place = builder.add(builder.mul(args[2], _LONG(WORDS)), _LONG(word))
            other = builder.load(builder.gep(words, [place]))
            differing = builder.xor(column, _spread(builder, other, _ROWS))
            total = builder.add(total, builder.call(count_bits, [differing]))
        near = builder.icmp_unsigned("<=", total, _spread(builder, args[3], _ROWS))
        return builder.zext(builder.bitcast(near, ir.IntType(GROUP_OF_ROWS)), _LONG)

    return types.uint64(columns, words, types.int64, types.uint64), generate


bands_in: Callable[..., Any] = intrinsic(_bands_in)
append_bands: Callable[..., Any] = intrinsic(_append_bands)
near_line: Callable[..., Any] = intrinsic(_near_line)
compare: Callable[..., Any] = intrinsic(_compare)
first_words: Callable[..., Any] = intrinsic(_first_words)
near_rows: Callable[..., Any] = intrinsic(_near_rows)

"""Machine instructions that Python and NumPy have no word for, for compiled kernels.

LLVM finds the best form for the processor at hand: with AVX-512 the 32 lanes are two
registers and a count of bits is one instruction; without, they are more of each.

numba's cache looks only at the file a kernel is in. Who changes this file, or a constant in
``mih_arrays``, touches ``mih_kernels.py`` too.
"""

# ruff: noqa: ANN401, ARG001 - numba calls these with its own objects, by place

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from indexer.ann.mih_arrays import LANES


def llvm_function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Declare a function of LLVM's own, or find its declaration."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _near(_context: Any, sketches: Any, slot: Any, key: Any, limit: Any) -> Any:
    """Compare LANES sketches from ``slot`` on with ``key``; bit i: slot + i is within limit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(32), LANES)
        first_lane = ir.Constant(ir.IntType(32), 0)

        def spread(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, first_lane)
            return builder.shuffle_vector(one, one, ir.Constant(lanes, None))

        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        held = builder.load(builder.bitcast(builder.gep(data, [args[1]]), lanes.as_pointer()))
        held.align = 4
        count_bits = llvm_function(builder, f"llvm.ctpop.v{LANES}i32", lanes, lanes)
        distances = builder.call(count_bits, [builder.xor(held, spread(args[2]))])
        near = builder.icmp_unsigned("<=", distances, spread(args[3]))
        return builder.zext(builder.bitcast(near, ir.IntType(LANES)), ir.IntType(64))

    return types.uint64(sketches, types.int64, types.uint32, types.uint32), generate


def _prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of ``array[index]``; harmless for any index."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        ask = llvm_function(
            builder, "llvm.prefetch.p0", ir.VoidType(), pointer, number, number, number
        )
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), pointer)
        builder.call(ask, [address, number(0), number(3), number(1)])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _count_ones(_context: Any, _word: Any) -> Any:
    return types.int64(types.uint64), lambda _, builder, __, args: builder.ctpop(args[0])


def _lowest_one(_context: Any, _word: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def compiled(signature: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile with numba: at once for a signature, else into the kernels that call it."""

    def compile_(function: Callable[..., Any]) -> Callable[..., Any]:
        if signature is None:
            kernel: Callable[..., Any] = njit(nogil=True)(function)
            return kernel
        try:
            return njit(signature, nogil=True, cache=True)(function)  # type: ignore[no-any-return]
        except (RuntimeError, OSError):  # no folder that may be written to, or no space in it
            return njit(signature, nogil=True)(function)  # type: ignore[no-any-return]

    return compile_


near: Callable[..., Any] = intrinsic(_near)
prefetch: Callable[..., Any] = intrinsic(_prefetch)
count_ones: Callable[..., Any] = intrinsic(_count_ones)
lowest_one: Callable[..., Any] = intrinsic(_lowest_one)

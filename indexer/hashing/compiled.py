"""How the hasher's inner loops are compiled: by numba, once for each machine.

The machine code is kept beside its source or, where that cannot be written, in
the user's cache directory; where neither can be, each process compiles for
itself. Several processes may compile at once: each writes a file of its own and
renames it. The cache holds code as trusted as the ``.pyc`` files beside it.

Kernels do not hold the GIL. fastmath stays off: sums are added in the order
written, and no product is fused with a sum.
"""

import pickle
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.core.caching import FunctionCache

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}
# What reading or writing the cache lets through: nowhere to write, a full disk, a file
# that a crash left half written.
_CACHE_ERRORS = (RuntimeError, OSError, EOFError, ValueError, LookupError, pickle.PickleError)


def inlined(function: _Function) -> _Function:
    """Compile as a part of whichever kernel calls it."""
    return cast("_Function", numba.njit(**_OPTIONS)(function))


def expanded(function: _Function) -> _Function:
    """Write into whichever kernel calls it, before anything is compiled.

    For what is called hundreds of times with arrays: LLVM may leave a call a call, and an array
    is seven arguments. (numba calls it inlining; it makes compiling slower.)
    """
    return cast("_Function", numba.njit(inline="always", **_OPTIONS)(function))


def kernel(*arguments: types.Type) -> Callable[[_Function], _Function]:
    """Compile for these arguments now, or load what was compiled before.

    Whatever a kernel finds out it writes into an array that it is given.
    """
    signature = types.void(*arguments)

    def compile_(function: _Function) -> _Function:
        try:
            try:
                return _cached(function, signature)
            except _CACHE_ERRORS:
                # A broken file is written anew.
                FunctionCache(function).flush()  # type: ignore[no-untyped-call]
                return _cached(function, signature)
        except _CACHE_ERRORS:
            return cast("_Function", numba.njit(signature, **_OPTIONS)(function))

    return compile_


def _cached(function: _Function, signature: object) -> _Function:
    return cast("_Function", numba.njit(signature, cache=True, **_OPTIONS)(function))


def array(kind: types.Type, dimensions: int, *, readonly: bool = False) -> types.Type:
    """Name a contiguous array; a readonly one takes both kinds."""
    return types.Array(kind, dimensions, "C", readonly=readonly)

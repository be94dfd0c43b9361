"""Compiles once what every process of the tests reads: ``python -m tests.warm_up``.

Workers start at the same moment, and each would compile all kernels for itself, most of a minute
of processor time apiece; the commands that tests start would read their sources anew each time.
Where all is compiled this takes two seconds.
"""

import compileall
import importlib
import os
import pkgutil
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("crawler", "delist", "indexer")
KERNELS = ("indexer.hashing", "indexer.ann", "delist.serving", "delist.ops.bench")
"""Packages with kernels: numba compiles one as its module is imported."""


def import_all(package: str) -> None:
    """Import every module of a package."""
    found = importlib.import_module(package)
    for module in pkgutil.iter_modules(found.__path__, f"{package}."):
        importlib.import_module(module.name)


def main() -> int:
    """Compile; returns 0, or 1 when a source cannot be compiled."""
    compiled = [compileall.compile_dir(ROOT / name, quiet=1) for name in PACKAGES]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
        list(processes.map(import_all, KERNELS))
    return 0 if all(compiled) else 1


if __name__ == "__main__":
    sys.exit(main())

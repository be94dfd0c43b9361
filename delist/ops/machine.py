"""What ``delist doctor`` says of the machine: who can read the files, room, what memory leaves.

Digests and keys are in memory. They leave it by a core dump or by swap, which the service's unit
forbids (config/deploy/systemd); a process that was started by hand has neither.
"""

import resource
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from delist.settings import DelistSettings

_GIB = 1024**3
_LOW_DISK_BYTES = 2 * _GIB
_OTHERS = 0o077
_FOR_ANYBODY = frozenset({"ca_file"})
_SWAPS = Path("/proc/swaps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing about the machine; ``mend`` is empty when all is well."""

    detail: str
    mend: str = ""


def modes(data_dir: Path, settings: DelistSettings) -> Remark:
    """Look for files that others can read: of the data directory, and secrets beside it."""
    for path in _private(data_dir, settings):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # gone meanwhile, or not ours to look at
        if mode & _OTHERS:
            return Remark(detail=f"{path} can be read by others", mend=f"chmod go-rwx {path}")
    return Remark(detail="data directory and secrets are private")


def disk(data_dir: Path) -> Remark:
    """Say how much room there is."""
    free = shutil.disk_usage(data_dir if data_dir.exists() else Path.cwd()).free
    mend = "free some space" if free < _LOW_DISK_BYTES else ""
    return Remark(detail=f"{free / _GIB:.1f} GiB free", mend=mend)


def memory() -> Remark:
    """Say whether memory can come to a disk: as a core dump, or by swapping."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_CORE)
    swaps = _SWAPS.read_text().splitlines()[1:] if _SWAPS.exists() else []
    if swaps:
        return Remark(
            detail="memory may be swapped to disk, keys and digests with it",
            mend="swap to an encrypted device, or run the units of config/deploy/systemd, which"
            " forbid it",
        )
    cores = "no core dumps" if soft == 0 else "core dumps are allowed to this shell"
    return Remark(detail=f"no swap, {cores}; the units of config/deploy/systemd forbid both")


def _private(data_dir: Path, settings: DelistSettings) -> Iterator[Path]:
    """Iterate over what nobody else may read."""
    yield data_dir
    yield data_dir / "secrets"
    yield from sorted((data_dir / "secrets").rglob("*"))
    yield from sorted(data_dir.glob("delist.sqlite3*"))
    yield from sorted((data_dir / "store").glob("*"))
    for part in (
        settings.database, settings.oidc, settings.backup, settings.queue, settings.frontier,
    ):  # fmt: skip
        values = {each.name: getattr(part, each.name) for each in fields(part)}
        yield from _secret_files(values, Path())
    for sink in settings.sinks:
        yield from _secret_files(sink.values, sink.base_dir)
    for feed in settings.indexer.feeds:
        if feed.subscription_key_file is not None:
            yield feed.subscription_key_file
        yield from feed.function_key_files.values()


def _secret_files(values: Mapping[str, Any], base_dir: Path) -> Iterator[Path]:
    """Iterate over the files of keys and passwords that a table names."""
    for name, value in values.items():
        if name.endswith("_file") and name not in _FOR_ANYBODY and value:
            yield base_dir / str(value)

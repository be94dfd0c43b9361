"""Parquet tables: of addresses with bytes, paths or hashes, or our own exports of images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from delist.ingest.rows import Place, Refused, Row
from delist.ingest.sources.columns import COLUMNS, missing, row_of
from delist.ingest.sources.source import DAMAGED, SourceEndedError
from indexer.errors import TableError
from indexer.tables import StoredImage, images_of, is_of_images, pyarrow

ROW_GROUP_TOO_LARGE = "row_group_too_large"

_MOST_GROUP_BYTES = 4 * 1024 * 1024 * 1024
_ROWS_OF_BYTES, _ROWS_OF_HASHES = 16, 1024


class ParquetSource:
    """One Parquet file. Places count row groups, and rows behind the beginning of one."""

    form = "parquet"

    def __init__(self, path: Path, *, folder: str) -> None:
        """Prepare to read a file; ``folder`` is what its paths are below."""
        self.path = path
        found = path.stat()
        self.size_bytes, self.modified_ns = found.st_size, found.st_mtime_ns
        self._folder = folder
        pyarrow()

    def rows(self, stage: str, place: Place) -> Iterator[Row]:
        """See ``Source``."""
        del stage
        pa = pyarrow()
        try:
            # Buffered: a row group of bytes is not held whole.
            with pa.parquet.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
                is_ours = is_of_images(file.schema_arrow)
                names = None if is_ours else self._columns(file.schema_arrow.names)
                before = 0
                for group in range(file.metadata.num_row_groups):
                    skip = place.skip if group == place.offset else 0
                    if group >= place.offset:
                        yield from self._group(file, group, names, skip=skip, before=before)
                    before += file.metadata.row_group(group).num_rows
        except TableError as error:
            raise SourceEndedError(error.code) from None
        except (pa.ArrowException, OSError, ValueError, MemoryError):
            # Of what the file holds nothing is passed on.
            raise SourceEndedError(DAMAGED) from None

    def _columns(self, names: list[str]) -> list[str]:
        if lacking := missing(names):
            raise SourceEndedError(lacking)
        return [name for name in COLUMNS if name in names]

    def _group(
        self,
        file: Any,  # noqa: ANN401 - a ParquetFile
        group: int,
        names: list[str] | None,
        *,
        skip: int,
        before: int,
    ) -> Iterator[Row]:
        """Yield the rows of one row group but the first ``skip``; ``before`` lie before it."""
        if file.metadata.row_group(group).total_byte_size > _MOST_GROUP_BYTES:
            after = Place(offset=group + 1)
            yield Row(at=f"row {before}", content=Refused(ROW_GROUP_TOO_LARGE), next=after)
            return
        has_bytes = names is not None and bool({"bytes", "image"}.intersection(names))
        batches = file.iter_batches(
            batch_size=_ROWS_OF_BYTES if has_bytes else _ROWS_OF_HASHES,
            row_groups=[group],
            columns=names,
            use_threads=False,
        )
        number, rows = 0, max(1, file.metadata.num_rows)
        for batch in batches:
            found = images_of(batch) if names is None else iter(batch.to_pylist())
            for values in found:
                number += 1
                if number <= skip:
                    continue
                at, after = f"row {before + number - 1}", Place(offset=group, skip=number)
                done = self.size_bytes * (before + number) // rows
                if isinstance(values, StoredImage):
                    yield _row_of_ours(values, at=at, following=after, done_bytes=done)
                else:
                    yield row_of(
                        values, folder=self._folder, at=at, following=after, done_bytes=done
                    )


def _row_of_ours(image: StoredImage, *, at: str, following: Place, done_bytes: int) -> Row:
    return Row(
        at=at,
        url=image.image_url,
        content=image,
        page_urls=image.page_urls,
        document_id=image.document_id,
        seen_at=image.seen_at,
        next=following,
        done_bytes=done_bytes,
    )

"""The table of examples that `export=` adds to a run, for other viewers."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from weakspot.findings import Findings, Media
from weakspot.findings.export import ExampleTable
from weakspot.pipeline.progress import progress
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import RUN_FOLDER, atomic_file, writing
from weakspot.slices import Slices

FORMATS = ("parquet",)
FILE = "examples.parquet"

log = logging.getLogger(__name__)


def check_export(export: str | None) -> None:
    """Check the value of `export=`.

    Raises:
        ValueError: If it is not one of the formats.
    """
    if export is not None and export not in FORMATS:
        raise ValueError(f"export={export!r} is unknown; there is export={' and export='.join(FORMATS)}")


def export_examples(
    findings: Findings,
    slices: Slices,
    predictions: Predictions,
    folder: Path,
    media: Media | None = None,
    texts: Sequence[str] | None = None,
) -> Path:
    """Write every example to `examples.parquet`, and log the command that opens it.

    Args:
        findings: The run's findings.
        slices: The run's slices.
        predictions: The predictions that they were found in.
        folder: The run's folder.
        media: Previews by row.
        texts: The text of each example.

    Returns:
        The file; it appears completely or not at all.

    Raises:
        OSError: If the disk is full or not writable; the message says what to do.
    """
    file = folder / FILE
    with progress("exporting: placing the examples") as report_progress:
        table = ExampleTable(findings, slices, predictions, media, texts)
        with (
            writing(folder, RUN_FOLDER),
            atomic_file(file) as draft,
            pq.ParquetWriter(draft, table.schema) as writer,
        ):
            done = 0
            for block in table.blocks():
                writer.write_batch(block)
                done += len(block)
                report_progress("exporting the examples", done, len(table))
    log.info("examples → %s: pip install embedding-atlas, then", file)
    log.info("  %s", viewer_command(file, table.schema))
    return file


def viewer_command(file: Path, schema: pa.Schema) -> str:
    """Return the command that opens the file in embedding-atlas."""
    shown = [word for name in ("image", "text") if name in schema.names for word in (f"--{name}", name)]
    return shlex.join(["embedding-atlas", str(file), "--x", "x", "--y", "y", *shown])

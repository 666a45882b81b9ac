"""The file in which a run of a sweep records what it measured, or how it ended, for the sweep's table."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from weakspot.launch.run_folders import run_folder
from weakspot.legible import printable_lines

RESULT = "result.json"
"""The file's name. A run that ended well has one too, with its numbers if there are any."""

FAILED, STOPPED, INTERRUPTED = "failed", "stopped by fail_if", "interrupted"
"""How a run may end if not well: a key of the file, whose value says why, and the word for it in the table."""


def write_result(folder: Path, result: Mapping[str, float | str | None]) -> None:
    """Write what a run of a sweep measured, or how it ended, into its folder; other runs write no such file."""
    from weakspot.pipeline.processes import is_main_process

    if HydraConfig.get().mode != RunMode.MULTIRUN or not is_main_process():
        return
    from weakspot.predictions.atomic_files import atomic_file, writing

    known = {
        name: value
        for name, value in result.items()
        if isinstance(value, str) or (value is not None and math.isfinite(value))
    }
    with writing(folder, "hydra.sweep.dir"), atomic_file(folder / RESULT) as draft:
        draft.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def write_outcome(outcome: str, reason: str) -> None:
    """Write how a sweep's run ended, and why, to its folder for the table; print it at once if that is impossible."""
    try:
        write_result(run_folder(), {outcome: reason})
    except OSError:
        print_outcome(f"run {HydraConfig.get().job.num}", outcome, reason)


def print_outcome(run: str, outcome: str, reason: str) -> None:
    """Print how a run ended, and why; what `fail_if` found is printed on separate lines."""
    text = "\n" + indent(reason, "  ") if outcome == STOPPED else f" {reason}"
    print(printable_lines(f"{run} {outcome}:{text}"), file=sys.stderr, flush=True)


def read_result(folder: Path) -> dict[str, Any]:
    """Return the result that a run has written; empty if it cannot be read."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}

"""The table with which a sweep ends: what was set in each of its runs, and what came of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from weakspot.config.schemas import BrowseConfig
from weakspot.launch.sweeps import FAILED, INTERRUPTED, OVERRIDES, RESULT, Sweep
from weakspot.legible import printable, printable_lines

_MOST_NUMBERS = 3  # of a run, so that its row fits


def print_sweep_summary(sweep: Sweep) -> None:
    """Print a row for every run that the sweep has begun: its folder, what was set, its numbers or that it failed."""
    from weakspot.pipeline.processes import is_main_process
    from weakspot.tracking.console import output_console

    if not is_main_process():
        return
    runs = sweep.runs()
    if runs:
        output_console().print(_summary(sweep, runs))


def _summary(sweep: Sweep, runs: Sequence[Path]) -> Group:
    """Return what rich prints: a table, without settings that all runs share, and why each run failed that did."""
    words = [_words_typed(run) for run in runs]
    shared = set.intersection(*map(set, words)) if len(runs) > 1 else set()
    results, ends = [_numbers(run, sweep) for run in runs], [_end(run, sweep) for run in runs]
    measures = list(dict.fromkeys(name for result in results for name in result))
    table = Table()
    for column in ("run", "settings"):
        table.add_column(column, overflow="fold")
    for column in [*measures, *(["ended"] if any(ends) else [])]:
        table.add_column(column, justify="right")
    failures = []
    for run, typed, result, end in zip(runs, words, results, ends, strict=True):
        name = str(run.relative_to(sweep.folder))
        settings = " ".join(word for word in typed if word not in shared)
        cells = [name, settings, *(result.get(measure, "–") for measure in measures), *end]
        table.add_row(*(escape(printable(cell)) for cell in cells))
        if FAILED in end:
            failures.append(Text(printable_lines(f"run {name} failed: {end[FAILED]}")))
    where = f"The runs of this sweep, below {sweep.folder}{_where_to_look(sweep, runs)}"
    return Group(Text(printable(where)), table, *failures)


def _where_to_look(sweep: Sweep, runs: Sequence[Path]) -> str:
    """Return the command that shows the reports, if there are any."""
    from weakspot.pipeline.discover import REPORT

    if not any(sweep.has_written(run / REPORT) for run in runs):
        return ""
    folder = sweep.folder
    listed = any(folder.is_relative_to(each) for each in BrowseConfig().folders)
    folders = "" if listed else " " + shlex.quote(f"folders=[{folder}]")
    return f" (python browse.py{folders} shows them)"


def _words_typed(run: Path) -> list[str]:
    """Return what was set for a run; references in it are left as they are."""
    words = OmegaConf.to_container(OmegaConf.load(run / OVERRIDES), resolve=False)
    return [str(word) for word in words] if isinstance(words, list) else []


def _numbers(run: Path, sweep: Sweep) -> dict[str, str]:
    """Return what a run found or measured, by name; empty where it has not come so far."""
    from weakspot.findings import Findings
    from weakspot.findings.numbers import count, decimal, share_of
    from weakspot.findings.record import FILE

    result = _read_result(run, sweep)
    if result:
        numbers = {name: value for name, value in result.items() if isinstance(value, int | float)}
        return {name: f"{value:.4g}" for name, value in list(numbers.items())[:_MOST_NUMBERS]}
    if not sweep.has_written(run / FILE):
        return {}
    try:
        findings = Findings.load(run)
    except (OSError, ValueError):  # damaged since, which whoever opens the run is told
        return {}
    whole = findings.whole
    confirmed = (
        sum(one.confirmed for one in findings.findings) if findings.confirmation.tested else "none tested"
    )
    found = {"confirmed findings": f"{confirmed} of {count(len(findings.findings))}"}
    if whole.accuracy is not None:
        found["accuracy of all"] = share_of(whole.accuracy, whole.examples)
    elif whole.error is not None:
        found[f"{whole.measure} of all"] = decimal(whole.error)
    return found


def _end(run: Path, sweep: Sweep) -> dict[str, str]:
    """Return how a run ended without a result, and why; empty for one that did not."""
    return {name: str(why) for name, why in _read_result(run, sweep).items() if name in (FAILED, INTERRUPTED)}


def _read_result(run: Path, sweep: Sweep) -> dict[str, Any]:
    """Return what a run left as its result; empty where it left nothing that can be read."""
    if not sweep.has_written(run / RESULT):
        return {}
    try:
        result = json.loads((run / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}

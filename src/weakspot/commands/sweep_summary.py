"""The table at the end of a sweep, with the settings and the outcome of each run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from weakspot.config.schemas import BrowseConfig
from weakspot.launch.sweep_results import FAILED, INTERRUPTED, RESULT, STOPPED, print_outcome, read_result
from weakspot.launch.sweeps import Sweep, SweepRun
from weakspot.legible import printable

_MOST_NUMBERS = 3  # of a run, so that its row fits

_NOT_BEGUN = "not begun"

_NOT_FINISHED = "did not finish"  # a run that has left no result, such as one whose process was killed


def print_sweep_summary(sweep: Sweep) -> None:
    """Print a table of a sweep's runs, if any has begun, and below it why runs failed."""
    from weakspot.pipeline.processes import is_main_process
    from weakspot.tracking.console import output_console

    if not (is_main_process() and sweep.has_begun()):
        return
    runs = sweep.runs()
    settings = _different_settings(runs)
    ends = [_end(run, sweep) for run in runs]
    where = f"The runs of this sweep, below {sweep.folder}{_where_to_look(sweep, runs)}"
    output_console().print(Group(Text(printable(where)), _table(sweep, runs, settings, ends)))
    for run, words, end in zip(runs, settings, ends, strict=True):
        which = f"run {run.name}" + (f" ({words})" if words and len(runs) > 1 else "")
        for outcome in end.keys() & {FAILED, STOPPED}:
            print_outcome(which, outcome, end[outcome])


def _different_settings(runs: Sequence[SweepRun]) -> list[str]:
    """Return the settings of each run, without those that all runs share."""
    shared = set.intersection(*(set(run.words) for run in runs)) if len(runs) > 1 else set()
    return [" ".join(word for word in run.words if word not in shared) for run in runs]


def _table(
    sweep: Sweep, runs: Sequence[SweepRun], settings: Sequence[str], ends: Sequence[Mapping[str, str]]
) -> Table:
    numbers = [_numbers(run, sweep) for run in runs]
    measures = list(dict.fromkeys(name for each in numbers for name in each))
    table = Table()
    for column in ("run", "settings"):
        table.add_column(column, overflow="fold")
    for column in [*measures, *(["outcome"] if any(ends) else [])]:
        table.add_column(column, justify="right")
    for run, words, each, end in zip(runs, settings, numbers, ends, strict=True):
        cells = [run.name, words, *(each.get(measure, "–") for measure in measures), *end]
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table


def _where_to_look(sweep: Sweep, runs: Sequence[SweepRun]) -> str:
    """Return the command that shows the reports, if there are any."""
    from weakspot.pipeline.discover import REPORT

    if not any(run.folder and sweep.has_written(run.folder / REPORT) for run in runs):
        return ""
    folder = sweep.folder
    listed = any(folder.is_relative_to(each) for each in BrowseConfig().folders)
    folders = "" if listed else " " + shlex.quote(f"folders=[{folder}]")
    return f" (python browse.py{folders} shows them)"


def _numbers(run: SweepRun, sweep: Sweep) -> dict[str, str]:
    """Return what a run found or measured, by name; empty if it has not got that far."""
    from weakspot.findings import Findings
    from weakspot.findings.numbers import count, decimal, share_of
    from weakspot.findings.record import FILE

    if run.folder is None:
        return {}
    result = read_result(run.folder) if sweep.has_written(run.folder / RESULT) else {}
    numbers = {name: value for name, value in result.items() if isinstance(value, int | float)}
    if numbers:
        return {name: f"{value:.4g}" for name, value in list(numbers.items())[:_MOST_NUMBERS]}
    if not sweep.has_written(run.folder / FILE):
        return {}
    try:
        findings = Findings.load(run.folder, tables=False)
    except (OSError, ValueError, RecursionError):  # damaged since; opening the run reports it
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


def _end(run: SweepRun, sweep: Sweep) -> dict[str, str]:
    """Return how a run ended, and why, if it did not end well; otherwise empty."""
    if run.folder is None:
        return {_NOT_BEGUN: ""}
    if not sweep.has_written(run.folder / RESULT):
        return {_NOT_FINISHED: ""}
    result = read_result(run.folder)
    return {outcome: str(result[outcome]) for outcome in (FAILED, STOPPED, INTERRUPTED) if outcome in result}

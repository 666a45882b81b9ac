"""The table with which a sweep ends: what was set in each of its runs, and what came of it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from weakspot.config import BrowseConfig
from weakspot.launch import CONFIG, Sweep
from weakspot.legible import printable

RESULT = "result.json"
"""The file of a run of a sweep that holds its numbers, where no findings do."""

_OVERRIDES = ".hydra/overrides.yaml"
_MOST_NUMBERS = 3  # of a run, so that its row fits


def write_result(folder: Path, numbers: Mapping[str, float | None]) -> None:
    """Write what a run of a sweep measured into its folder, for the sweep's table; other runs leave no such file."""
    from weakspot.pipeline.processes import is_main_process

    if HydraConfig.get().mode != RunMode.MULTIRUN or not is_main_process():
        return
    from weakspot.predictions.atomic_files import atomic_file, writing

    measured = {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}
    with writing(folder, "hydra.sweep.dir"), atomic_file(folder / RESULT) as draft:
        draft.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def print_sweep_summary(sweep: Sweep) -> None:
    """Print a row for every run that the sweep has begun: its folder, what was set, its numbers."""
    from weakspot.pipeline.processes import is_main_process
    from weakspot.tracking.console import output_console

    if not is_main_process():
        return
    runs = sorted(
        (
            file.parents[1]
            for file in sweep.folder.glob(f"**/{_OVERRIDES}")
            if sweep.has_written(file) and (file.parents[1] / CONFIG).is_file()
        ),
        key=lambda run: (len(run.name), run.name),  # 10 comes after 9
    )
    if runs:
        output_console().print(_table(sweep, runs))


def _table(sweep: Sweep, runs: Sequence[Path]) -> Group:
    """Return what rich prints: settings that all runs share are left out."""
    words = [_words_typed(run) for run in runs]
    shared = set.intersection(*map(set, words)) if len(runs) > 1 else set()
    results = [_result(run, sweep) for run in runs]
    measures = list(dict.fromkeys(name for result in results for name in result))
    table = Table()
    for column in ("run", "settings"):
        table.add_column(column, overflow="fold")
    for column in measures:
        table.add_column(column, justify="right")
    for run, typed, result in zip(runs, words, results, strict=True):
        settings = " ".join(word for word in typed if word not in shared)
        cells = [str(run.relative_to(sweep.folder)), settings, *(result.get(name, "–") for name in measures)]
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return Group(
        Text(printable(f"The runs of this sweep, below {sweep.folder}{_where_to_look(sweep.folder, runs)}")),
        table,
    )


def _where_to_look(folder: Path, runs: Sequence[Path]) -> str:
    """Return the command that shows the reports, if there are any."""
    from weakspot.pipeline.discover import REPORT

    if not any((run / REPORT).is_file() for run in runs):
        return ""
    listed = any(folder.is_relative_to(each) for each in BrowseConfig().folders)
    folders = "" if listed else " " + shlex.quote(f"folders=[{folder}]")
    return f" (python browse.py{folders} shows them)"


def _words_typed(run: Path) -> list[str]:
    """Return what was set for a run; references in it are left as they are."""
    words = OmegaConf.to_container(OmegaConf.load(run / _OVERRIDES), resolve=False)
    return [str(word) for word in words] if isinstance(words, list) else []


def _result(run: Path, sweep: Sweep) -> dict[str, str]:
    """Return what a run found or measured, by name; empty where it has not come so far."""
    from weakspot.findings import Findings
    from weakspot.findings.numbers import count, decimal, share_of
    from weakspot.findings.record import FILE

    try:
        if sweep.has_written(run / RESULT):
            numbers = json.loads((run / RESULT).read_text(encoding="utf-8"))
            return {name: f"{value:.4g}" for name, value in list(numbers.items())[:_MOST_NUMBERS]}
        if not sweep.has_written(run / FILE):
            return {}
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

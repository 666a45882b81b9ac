"""MCP tools for the runs below some folders; they only read, and return plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from weakspot.app.loaded_runs import LoadedRuns
from weakspot.app.run_files import check_files_inside
from weakspot.app.run_index import RunIndex, RunSummary
from weakspot.findings import Finding, Findings
from weakspot.findings.compare_slices import compare_slices
from weakspot.findings.comparison import Comparison
from weakspot.findings.entries import AuditedSet, Confirmation, Example
from weakspot.findings.json_schema import json_schema
from weakspot.findings.record import FILE
from weakspot.findings.runs_to_compare import check_comparable
from weakspot.legible import as_utf8

_FINDING = TypeAdapter(Finding)
_EXAMPLE = TypeAdapter(Example)
_WHOLE = TypeAdapter(AuditedSet)
_CONFIRMATION = TypeAdapter(Confirmation)
_COMPARISON = TypeAdapter(Comparison)


class McpTools:
    """Answers questions about runs, which are identified by their name from `list_runs` and never by a path.

    Args:
        folders: The folders of runs; nothing else is read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._runs = RunIndex(folders)
        self._loaded_runs = LoadedRuns(self._runs)

    def list_runs(self) -> dict[str, Any]:
        """List every run below the folders, newest first: its name for the other tools, its settings, its headline.

        If a run's files are damaged, `damage` says why, and there is no headline.
        """
        return {
            "runs": [
                {
                    "run": run.digest,
                    "folder": as_utf8(str(run.folder)),
                    "created": run.created.isoformat(timespec="seconds"),
                    "method": run.method,
                    "dataset": run.dataset,
                    "model": run.model,
                    "title": run.title,
                    "slices": run.n_slices,
                    "damage": run.damage,
                }
                for run in self._runs.all()
                if not run.is_comparison
            ]
        }

    def get_findings(self, run: str) -> dict[str, Any]:
        """Return what a run found: headline, audited set, how it was tested, and each finding without its details.

        Args:
            run: A run's name, from list_runs.
        """
        findings = self._findings(run)
        return {
            "title": findings.title,
            "method": findings.method,
            "seeks": findings.seeks,
            "dataset": findings.dataset,
            "model": findings.model,
            "split": findings.split,
            "command": findings.command,
            "whole": _WHOLE.dump_python(
                findings.whole,
                mode="json",
                exclude={"classes", "pairs", "weak_values", "values_of_large_error"},
            ),
            "confirmation": _CONFIRMATION.dump_python(findings.confirmation, mode="json"),
            "notes": list(findings.notes),
            "findings": [
                _FINDING.dump_python(finding, mode="json", exclude={"portrait", "top_examples"})
                for finding in findings.findings
            ],
        }

    def get_finding(self, run: str, number: int) -> dict[str, Any]:
        """Return all that is known about a finding: its evidence, its name, attributes inside and outside, words.

        Args:
            run: A run's name, from list_runs.
            number: The finding's number, from get_findings.
        """
        finding = self._finding(self._findings(run), number)
        return dict(_FINDING.dump_python(finding, mode="json"))

    def examples(self, run: str, number: int, limit: int = 20) -> dict[str, Any]:
        """List examples of a finding, highest membership first: id, label, prediction, loss, attributes.

        Args:
            run: A run's name, from list_runs.
            number: The finding's number, from get_findings.
            limit: The most examples to return; a run keeps attributes only of the examples that its report shows.
        """
        findings = self._findings(run)
        finding = self._finding(findings, number)
        table = findings.memberships
        inside = np.asarray(table["group"]) == "finding"
        inside &= (np.asarray(table["number"]) == number) & (np.asarray(table["weight"]) > 0)
        rows = finding.portrait.top[: max(limit, 0)]
        try:
            examples = [findings.example(row) for row in rows]
        except KeyError as error:  # findings.json may come from elsewhere
            raise ValueError(f"The run's {FILE} shows row {error} but does not describe it.") from error
        return {
            "members": int(inside.sum()),
            "examples": [
                {**_EXAMPLE.dump_python(example, mode="json"), "weight": weight}
                for example, weight in zip(examples, finding.portrait.weights, strict=False)
            ],
        }

    def compare(self, before: str, after: str) -> dict[str, Any]:
        """Return which slices of two runs are fixed, persist, are new or unclear, each tested on unsearched examples.

        Args:
            before: The earlier run's name, from list_runs.
            after: The later run's name.
        """
        if before == after:
            raise ValueError("Both are the same run: choose two.")
        earlier, later = (self._loaded_runs.load(self._run(name)).to_compare for name in (before, after))
        check_comparable(earlier, later)
        return dict(_COMPARISON.dump_python(compare_slices(earlier, later), mode="json"))

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of findings.json, which says what every field means."""
        return json_schema()

    def _run(self, name: str) -> RunSummary:
        run = self._runs.find(name)
        if run is None or run.is_comparison:
            raise ValueError(f"There is no run {name!r}; list_runs returns the names of all runs.")
        return run

    def _findings(self, name: str) -> Findings:
        run = self._run(name)
        check_files_inside(run.folder)
        return Findings.load(run.folder)

    def _finding(self, findings: Findings, number: int) -> Finding:
        for finding in findings.findings:
            if finding.number == number:
                return finding
        known = ", ".join(str(finding.number) for finding in findings.findings) or "none"
        raise ValueError(f"There is no finding {number}; its numbers are: {known}.")

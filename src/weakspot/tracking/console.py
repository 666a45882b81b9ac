"""Writes summaries of findings and comparisons to the console."""

from __future__ import annotations

import os

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from weakspot.findings import VERDICTS, Contrast, Difference, Finding, Findings
from weakspot.findings.comparison import STATUSES, Comparison
from weakspot.findings.numbers import count, decimal, percent, probability, share_of, signed
from weakspot.legible import printable

_SHOWN = 10
_FILE_COLUMNS = 120  # the width of output that is not shown on a terminal


def output_console() -> Console:
    """Return the console to print on: as wide as the terminal, or 120 columns if there is none."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_FILE_COLUMNS)


def findings_summary(findings: Findings) -> Group:
    """Summarise findings: the headline, a line for each finding, and how the slices were tested.

    Args:
        findings: The findings; nothing is computed here.

    Returns:
        A renderable for rich.
    """
    whole = findings.whole
    facts = [f"{findings.method}: {_slice_count(findings)}"]
    if whole.accuracy is not None:
        of = (
            f"the {count(whole.examples)} predicted {whole.category}"
            if whole.category
            else f"all {count(whole.examples)}"
        )
        facts.append(f"accuracy of {of}: {share_of(whole.accuracy, whole.examples)}")
    if whole.error is not None:
        facts.append(f"{whole.measure} of all {count(whole.examples)}: {decimal(whole.error)}")
    if whole.category_f1 is not None:
        facts.append(f"F1: {decimal(whole.category_f1)}")
    parts: list[Text | Table] = [Text(printable(findings.title), style="bold"), _text("; ".join(facts))]
    if findings.findings:
        parts.append(_table(findings))
        more = len(findings.findings) - _SHOWN
        if more > 0:
            parts.append(Text(f"and {more} more, in the report"))
    return Group(*parts, _text(findings.confirmation.explanation), *map(_text, findings.notes))


def comparison_summary(comparison: Comparison) -> Group:
    """Summarise a comparison: the headline, a line for each slice by its status, and how the slices were tested.

    Args:
        comparison: The comparison; nothing is computed here.

    Returns:
        A renderable for rich.
    """
    shares = comparison.higher_is_better
    show = percent if shares else decimal
    before, after, change = comparison.before, comparison.after, comparison.change
    whole = f"{comparison.measure} of all: {show(before.measured.inside)} → {show(after.measured.inside)}"
    if change.interval is not None:
        low, high = (signed(bound, shares) for bound in change.interval)
        points = " points" if shares else ""
        whole += f" ({signed(change.value, shares)}{points}, 95\u202f% interval {low} to {high})"
    parts: list[Text | Table] = [Text(printable(comparison.title), style="bold"), _text(whole)]
    if comparison.slices:
        table = Table()
        for column in ("slice", "found", "status"):
            table.add_column(column, overflow="fold")
        for column in (f"{comparison.measure} before", "after", "change (95\u202f%)"):
            table.add_column(column, justify="right")
        for one in (one for status in STATUSES for one in comparison.of(status)):
            numbers = [
                "–" if performance is None else show(performance.inside.inside)
                for performance in (one.before, one.after)
            ]
            table.add_row(
                escape(printable(one.name)), one.found, one.status, *numbers, _change(one.change, shares)
            )
        parts.append(table)
    return Group(*parts, _text(comparison.explanation), *map(_text, comparison.notes))


def _change(change: Difference | None, shares: bool) -> str:
    if change is None:
        return "–"
    if change.interval is None:
        return signed(change.value, shares)
    low, high = (signed(bound, shares) for bound in change.interval)
    return f"{signed(change.value, shares)} ({low} to {high})"


def _slice_count(findings: Findings) -> str:
    """Return how many slices were found, or, for a tree, how many of its clusters fail."""
    if not findings.clusters:
        return _plural(len(findings.slices), "slice")
    clusters = sum(cluster.clusters for cluster in findings.clusters if cluster.leaf)
    fail = "fails" if len(findings.slices) == 1 else "fail"
    return f"{len(findings.slices) or 'none'} of {_plural(clusters, 'cluster')} {fail}"


def _table(findings: Findings) -> Table:
    table = Table()
    table.add_column("finding", overflow="fold", ratio=2)
    table.add_column("examples", justify="right")
    held_out = any(finding.held_out is not None for finding in findings.findings)
    if held_out:
        table.add_column("held out", justify="right")
    measures = [
        ("accuracy", percent),
        ("error", decimal),
        ("loss", decimal),
    ]
    name, show = next(
        (column for column in measures if any(getattr(f, column[0]) is not None for f in findings.findings)),
        measures[-1],
    )
    table.add_column(f"of all {findings.whole.counted}", justify="right")
    table.add_column(f"{findings.whole.measure if name == 'error' else name} (outside)", justify="right")
    table.add_column("verdict", overflow="fold")
    for finding in findings.findings[:_SHOWN]:
        contrast: Contrast | None = getattr(finding, name)
        inside = "–" if contrast is None else show(contrast.inside)
        if contrast is not None and contrast.outside is not None:
            inside += f" ({show(contrast.outside)})"
        table.add_row(
            escape(printable(finding.subject)),
            finding.size_text,
            *([count(None if finding.held_out is None else round(finding.held_out))] if held_out else []),
            percent(finding.errors_explained),
            inside,
            _verdict(finding),
        )
    return table


def _verdict(finding: Finding) -> str:
    p = "" if finding.p_corrected is None else f", p {probability(finding.p_corrected)}"
    return f"{VERDICTS[finding.verdict]}{p}"


def _text(words: str) -> Text:
    """Return text without control characters, with which class names and values could control the terminal."""
    return Text(printable(words))


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

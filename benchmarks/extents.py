"""How far the stated accuracy of a confirmed finding can be trusted, and what the randomness of its cross-fit adds.

    python benchmarks/extents.py                              # some minutes
    python benchmarks/extents.py --sets 40                    # a look
    python benchmarks/extents.py --docs docs/evidence.md      # also write the tables into the page

Every set has one true slice, a twentieth of its rows, in which the model is wrong two to four times as often as
elsewhere (20 %). There are sets of 2000 rows, and small ones, in which few errors show where an extent ends. Scan
searches one half, and what it finds is tested on the other, as `discover.py` does it; the true error rate of every row
is known.

The first table shows how often the 95 % interval of the accuracy inside covers the true accuracy inside, and by how
much the stated accuracy is off on average. For all slices and for the confirmed ones, the truth is the accuracy of the
held-out rows, on which they are tested as they are; for confirmed findings, that of all rows that a finding is stated
to hold. The second table, for sets of 2000 rows, repeats the confirmed findings of every fourth set with eight seeds of
the halves in which extents are cross-fitted, at several numbers of halvings. It shows how far the stated accuracy
varies over the seeds (root mean square of the standard deviation), beside the half width of its interval, and how long
the cross-fits of one set take.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from planted.pages import write_between

from weakspot import Findings, Predictions, Scan
from weakspot.evaluation import confirm
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.findings import regions
from weakspot.findings.extent import cross_fitted_weights
from weakspot.pipeline.search import search

MARK = "extents"
RATE = 0.2
SETTINGS = ((2000, 2), (2000, 3), (400, 4), (200, 4))  # rows, and how many times as many errors
HALVINGS = (1, 4, 8, 16, 32)
SEEDS = 8
KINDS = ("all slices", "confirmed slices", "confirmed findings")


class TimedCrossFit:
    """Cross-fits with a given number of halvings, and adds up the seconds that this takes."""

    def __init__(self, halvings: int) -> None:
        self.halvings, self.seconds = halvings, 0.0

    def __call__(self, *args: Any) -> np.ndarray:
        started = time.perf_counter()
        weights = cross_fitted_weights(*args, halvings=self.halvings)
        self.seconds += time.perf_counter() - started
        return weights


def error_of(
    stated: Contrast | None, weights: np.ndarray, truth: np.ndarray
) -> tuple[float, bool, bool] | None:
    """Return by how much the stated accuracy exceeds the truth, and whether that is below or above the interval."""
    if stated is None or stated.interval is None or weights.sum() <= 0:
        return None
    true = float(weights @ truth / weights.sum())
    return stated.inside - true, true < stated.interval[0], true > stated.interval[1]


def errors_of_set(p: Predictions, run: Any, truth: np.ndarray) -> dict[str, list[Any]]:
    """Return the errors of the accuracies stated for one set, by kind."""
    held = np.asarray(run.confirm)
    tested, weights = p.take(held), np.asarray(run.slices.weights)[:, held]
    errors: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for evidence, own in zip(
        confirm(weights, tested.losses, tested.correct, tested.labels), weights, strict=True
    ):
        error = error_of(evidence.accuracy, own, truth[held])
        errors["all slices"].append(error)
        errors["confirmed slices"] += [error] if evidence.verdict == "confirmed" else []
    findings = build(p, run)
    inside = np.zeros((len(findings.findings), len(p)))
    for member in findings.memberships.to_pylist():
        if member["group"] == "finding":
            inside[member["number"] - 1, member["row"]] = member["weight"]
    for one, own in zip(findings.findings, inside, strict=True):
        error = error_of(one.accuracy, own, truth)
        errors["confirmed findings"] += [error] if one.confirmed else []
    return errors


def accuracies(p: Predictions, run: Any, cross_fit: TimedCrossFit) -> list[list[Contrast]]:
    """Return the accuracy of each finding under every seed, for findings that all seeds confirm."""
    found: dict[Any, list[Contrast]] = defaultdict(list)
    with patch.object(regions, "cross_fitted_weights", cross_fit):
        for seed in range(SEEDS):
            for one in build(p, run, seed).findings:
                if one.confirmed and one.accuracy is not None and one.accuracy.interval is not None:
                    found[one.parts, one.labels].append(one.accuracy)
    return [contrasts for contrasts in found.values() if len(contrasts) == SEEDS]


def build(p: Predictions, run: Any, seed: int = 0) -> Findings:
    return Findings.build(p, run.slices, confirm=run.confirm, source=run.source, seed=seed, projection="none")


def coverage_table(errors: dict[tuple[str, int, int], list[Any]]) -> list[str]:
    lines = [
        "| rows | errors in the slice | what is stated | how many | interval holds the truth | truth below "
        "| truth above | stated less true accuracy, mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (kind, rows, times), found in errors.items():
        known = np.array([error for error in found if error is not None], dtype=float).reshape(-1, 3)
        off, below, above = known.mean(axis=0)
        cells = f"{1 - below - above:.3f} | {below:.3f} | {above:.3f} | {100 * off:+.1f} points"
        lines.append(f"| {rows} | ×{times} | {kind} | {len(known)} | {cells} |")
    return lines


def spread_table(stated: dict[int, list[list[Contrast]]], seconds: dict[int, float]) -> list[str]:
    lines = [
        "| halvings | findings | standard deviation over seeds | half width of the interval | ratio | seconds a set |",
        "|---|---|---|---|---|---|",
    ]
    for halvings, found in stated.items():
        inside = np.array([[one.inside for one in contrasts] for contrasts in found])
        widths = [np.ptp(np.array(one.interval)) for contrasts in found for one in contrasts]
        deviation, half = float(np.sqrt(inside.var(axis=1, ddof=1).mean())), float(np.mean(widths)) / 2
        cells = f"{100 * deviation:.1f} points | {100 * half:.1f} points | {deviation / half:.2f}"
        lines.append(f"| {halvings} | {len(found)} | {cells} | {seconds[halvings]:.4f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=400, help="of each of the four kinds")
    parser.add_argument("--docs", type=Path, help="a page to write the tables into")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    errors: dict[tuple[str, int, int], list[Any]] = {
        (kind, *setting): [] for setting in SETTINGS for kind in KINDS
    }
    stated: dict[int, list[list[Contrast]]] = {halvings: [] for halvings in HALVINGS}
    cross_fits = [TimedCrossFit(halvings) for halvings in HALVINGS]
    repeated = 0
    for rows, times in SETTINGS:
        for seed in range(options.sets):
            p, planted = planted_predictions(float(times), rows, seed)
            run = search(Scan(draws=0), p, confirm=0.5)
            of_set = errors_of_set(p, run, 1 - RATE * np.where(planted, times, 1))
            for kind, found in of_set.items():
                errors[kind, rows, times] += found
            if rows == 2000 and of_set["confirmed findings"] and seed % 4 == 0:
                repeated += 1
                for cross_fit in cross_fits:
                    stated[cross_fit.halvings] += accuracies(p, run, cross_fit)
    seconds = {one.halvings: one.seconds / max(repeated, 1) / SEEDS for one in cross_fits}
    text = "\n\n".join("\n".join(table) for table in (coverage_table(errors), spread_table(stated, seconds)))
    print(text)
    if options.docs:
        write_between(options.docs, MARK, text)


if __name__ == "__main__":
    main()

"""How long the texts of each slice are, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import Contrast, loss_contrast
from weakspot.findings.record import Findings
from weakspot.methods.registry import audit_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices


@dataclass(frozen=True)
class Lengths:
    """The lengths of one group of texts.

    Attributes:
        name: "all", or the slice's name.
        size: In examples.
        mean: Words in a text, with its 95 % interval; None of an empty group.
        middle: The quartiles between which the middle half of the texts lies; None of an empty group.
        words: Distinctive words of the slice, the most telling first.
    """

    name: str
    size: float
    mean: Contrast | None
    middle: tuple[float, float] | None
    words: tuple[str, ...] = ()


def lengths_of(
    findings: Findings, predictions: Predictions, slices: Slices, texts: Sequence[str], most: int
) -> list[Lengths]:
    """The lengths of all audited texts, and of those of the first slices; words are what blanks part.

    Args:
        findings: What is said of the slices; their words are from here.
        predictions: The record, whose counts weigh.
        slices: Of the same examples.
        texts: What is written in each.
        most: How many slices are described.

    Returns:
        One for all texts, then one for each slice.
    """
    rows = np.flatnonzero(audit_of(slices, predictions).rows)
    counts = np.ones(len(rows)) if predictions.counts is None else predictions.counts[rows].astype(np.float64)
    long = np.array([len(texts[row].split()) for row in rows.tolist()], dtype=np.float64)
    found = [_lengths("all", long, counts, counts)]
    for one in findings.slices[:most]:
        mass = counts * np.asarray(slices.weights[one.number - 1])[rows]
        words = tuple(word.text for word in one.portrait.words)
        found.append(_lengths(one.name, long, mass, counts, words))
    return found


def _lengths(
    name: str,
    long: Float[np.ndarray, " r"],
    mass: Float[np.ndarray, " r"],
    counts: Float[np.ndarray, " r"],
    words: tuple[str, ...] = (),
) -> Lengths:
    size = float(mass.sum())
    if size <= 0:
        return Lengths(name, size, None, None, words)
    return Lengths(name, size, loss_contrast(long, mass, counts - mass, None), _quartiles(long, mass), words)


def _quartiles(values: Float[np.ndarray, " r"], mass: Float[np.ndarray, " r"]) -> tuple[float, float]:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(mass[order]) / mass.sum()
    lower, upper = np.minimum(np.searchsorted(reached, [0.25, 0.75]), len(values) - 1)
    return float(values[order[lower]]), float(values[order[upper]])
